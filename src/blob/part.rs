//! The part file of a transfer: it lies in incoming/ until it becomes an object.
//!
//! Every [`Store::checkpoint_every`] chunks its bytes are synced and marked (see [`super::marks`]), so that a restart
//! goes on from there without hashing them again.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bulk::Cache;
use super::change::Change;
use super::claim::Claim;
use super::disk::{Access, DiskFile, read_full_at};
use super::error::{BlobError, IoContext, Result, is_unreadable};
use super::journal::{Entry, Journal, Journaled};
use super::layout::OBJECT_MODE;
use super::marks::{Kept, Marks, Run, Stamps, is_harmless};
use super::promises::Promise;
use super::store::Store;
use super::tables::Kind;
use super::twin::Twin;
use crate::id::ContentId;
use crate::outboard::{Complete, Outboard};
use crate::wire::{Link, ObjectInfo, limits};

/// One object on its way in: its file, and the room and the claim for it.
pub(super) struct Part {
    pub store: Store,
    pub content: ContentId,
    pub length: u64,
    file: Box<dyn DiskFile>,
    twin: Option<Arc<Twin>>,
    marks: Mutex<Marks>,
    promise: Mutex<Promise>,
    claim: Claim,
}

impl Drop for Part {
    /// Nobody writes to the files from now on: a later stamp is that of somebody else.
    fn drop(&mut self) {
        self.note_stamps(false);
        if let Some(twin) = &self.twin {
            twin.leave();
        }
    }
}

impl Part {
    /// Opens or creates the part of an object of this length; `scattered` if its chunks come in any order. Returns what
    /// is marked of it too.
    ///
    /// # Errors
    /// [`BlobError::AlreadyReceiving`] while another receiver has the object, [`BlobError::AlreadyHere`] when the
    /// object is complete, [`BlobError::NoRoom`] or [`BlobError::NoRoomLately`] when it does not fit, and the errors of
    /// the disk.
    pub fn open(store: &Store, content: ContentId, length: u64, scattered: bool) -> Result<(Part, Kept)> {
        let layout = store.layout();
        layout.check()?;
        if length > limits::FILE_BYTES_MAX {
            return Err(BlobError::TooLong { length });
        }
        let claim = Claim::new(store.receiving(), content)?;
        // This check holds the claim, so no other receiver is under way. "Already here" applies only to checked bytes;
        // wrong bytes make room for the right ones.
        if store.check(&content)? {
            return Err(BlobError::AlreadyHere { content });
        }
        let stamp_of = |path: PathBuf| layout.disk.stat(&path).ok().map(|stat| stat.stamp);
        let stamps = stamp_of(layout.part(&content))
            .map(|part| Stamps { part, twin: stamp_of(layout.received_folder().twin(&content)) });
        let read = stamps.map(|stamps| Marks::read(layout, &content, length, &stamps));
        let twin = store.twin_of(&content, length, read.as_ref());
        let (kept, there) = (read.unwrap_or_default(), stamps.map_or(0, |stamps| stamps.part.length));
        let here = if kept.scattered { kept.bytes(there) } else { there };
        let promise = Mutex::new(store.promise(length, here)?);
        let marks = Mutex::new(Marks::begin(layout, &content, length, scattered, &kept)?);
        let file = open_file(store, &content)?;
        let part = Part { store: store.clone(), content, length, file, twin, marks, promise, claim };
        // Opening may have changed the mode.
        part.note_stamp();
        Ok((part, kept))
    }

    /// Writes the bytes of all pieces, one after the other, from this offset on.
    ///
    /// # Errors
    /// [`BlobError::Io`] when the disk is full or fails: the file and its marks are removed.
    pub fn write(&self, pieces: &mut [IoSlice<'_>], offset: u64) -> Result<()> {
        let mut again = if self.twin.is_some() { pieces.to_vec() } else { Vec::new() };
        let cache = Cache::for_length(self.length);
        self.file.write_pieces_at(pieces, offset, cache).map_err(|source| self.abandon(source))?;
        if let Some(twin) = &self.twin {
            twin.write(&mut again, offset, cache);
        }
        Ok(())
    }

    /// Fills `bytes` from this offset on as far as the file reaches; returns the number of bytes read. `None` if the disk
    /// cannot read them.
    ///
    /// # Errors
    /// [`BlobError::Io`] for any other failure.
    pub fn read(&self, bytes: &mut [u8], offset: u64) -> Result<Option<usize>> {
        match read_full_at(&*self.file, bytes, offset) {
            Err(error) if is_unreadable(&error) => Ok(None),
            read => read.map(Some).during("read", &self.path()),
        }
    }

    /// Notes that these bytes of an earlier transfer are the object's, although no mark says so: perhaps the twin has not
    /// got them.
    pub fn found(&self, bytes: &[u8], offset: u64) {
        if let Some(twin) = &self.twin {
            twin.write(&mut [IoSlice::new(bytes)], offset, Cache::for_length(self.length));
        }
    }

    /// The length of the file.
    ///
    /// # Errors
    /// The errors of the disk.
    pub fn file_length(&self) -> Result<u64> {
        Ok(self.file.stamp().during("read", &self.path())?.length)
    }

    /// Cuts the file.
    ///
    /// # Errors
    /// The errors of the disk.
    pub fn cut_to(&self, length: u64) -> Result<()> {
        self.file.set_length(length).during("cut", &self.path())?;
        if let Some(twin) = &self.twin {
            twin.set_length(length);
        }
        Ok(())
    }

    /// Notes that so many bytes were written, and that `here` bytes of the object are there now.
    pub fn wrote(&self, bytes: u64, here: u64) {
        self.promise.lock().unwrap_or_else(PoisonError::into_inner).written(bytes);
        self.claim.has(here);
    }

    /// Notes the stamps of the files in the marks, if there are any.
    pub fn note_stamp(&self) {
        self.note_stamps(true);
    }

    fn note_stamps(&self, under_way: bool) {
        let mut marks = self.marks();
        if marks.is_begun()
            && let Ok(stamps) = self.stamps()
        {
            marks.stamp(&stamps, under_way);
        }
    }

    fn stamps(&self) -> io::Result<Stamps> {
        let twin = self.twin.as_ref().and_then(|twin| twin.stamp());
        Ok(Stamps { part: self.file.stamp()?, twin })
    }

    fn path(&self) -> PathBuf {
        self.store.layout().part(&self.content)
    }

    /// Whether marks that were kept go on, so that their runs are not written again.
    pub fn has_marks(&self) -> bool {
        self.marks().is_begun()
    }

    /// Makes the marks say that the file may have holes, before it has any.
    ///
    /// # Errors
    /// The errors of the disk.
    pub fn begin_marks(&self) -> Result<()> {
        let stamps = self.stamps().during("read", &self.path())?;
        self.marks().create(self.store.layout(), &stamps)
    }

    /// Syncs the bytes so far and marks these chunks, which are among them.
    ///
    /// # Errors
    /// [`BlobError::Sync`]: the store is poisoned then. Without room for the marks the transfer goes on without them.
    pub fn checkpoint(&self, runs: &[Run]) -> Result<()> {
        let layout = self.store.layout();
        layout.sync_data(&*self.file, &self.path())?;
        if let Some(twin) = &self.twin {
            twin.checkpoint();
        }
        let stamps = self.stamps().during("read", &self.path())?;
        match self.marks().add(layout, runs, &stamps) {
            Err(error) if is_harmless(&error) => {
                tracing::debug!(content = %self.content, %error, "chunks were not marked");
                Ok(())
            }
            added => added,
        }
    }

    /// Makes an object of the file, durable and visible, and links it under these names in the same commit.
    ///
    /// # Errors
    /// [`BlobError::Sync`] poisons the store. A full disk removes the bytes, also if only the commit finds no room.
    pub fn become_object(&self, complete: &Complete, kind: Kind, links: &[Link]) -> Result<ObjectInfo> {
        let (outboard, now) = (complete.outboard(), self.store.wall_ms());
        let placed = match Journal::takes(self.length) {
            true => self.place_by_journal(kind, links, now).map(Some),
            false => self.place(outboard).map(|()| None),
        };
        if let Err(BlobError::Sync { .. } | BlobError::Io { .. }) = placed {
            // Bytes that a failed sync left in the page cache must not be taken for the bytes on disk.
            self.remove();
        }
        if let Err(error) = &placed {
            self.store.note_failed_write(self.length, error);
        }
        let journaled = placed?;
        if let Some(twin) = &self.twin {
            twin.note_whole();
        }
        self.store.layout().remove_quietly(&self.store.layout().marks(&self.content));
        let content = *complete.content();
        // The bytes were hashed on their way in. The store trusts the stamp of the file that is now in its place.
        if let Ok(stamp) = self.file.stamp() {
            self.store.checks().note(content, stamp, self.store.now());
        }
        let info = ObjectInfo { content, length: self.length, outboard: outboard.digest() };
        // Another peer counts on this copy from now on.
        self.store.uses().promised(&content);
        let changes = came(info, kind, links, now);
        let noted = match &journaled {
            Some(_) => self.store.index().submit_journaled(changes),
            None => self.store.index().submit(changes),
        };
        if let Err(error) = noted {
            self.store.note_failed_write(self.length, &error);
            self.take_back();
            return Err(error);
        }
        self.store.promises().succeeded(self.length);
        for link in links.iter().take(limits::LINKS_PER_OBJECT_MAX) {
            self.store.show_link(&link.name);
        }
        Ok(info)
    }

    /// Removes the file and its marks after a failed write, and frees its blocks. Returns the error for the receiver.
    fn abandon(&self, source: io::Error) -> BlobError {
        self.remove();
        let error = BlobError::Io { doing: "write", path: self.path(), source };
        self.store.note_failed_write(self.length, &error);
        error
    }

    /// Removes the file and its marks, and frees the file's blocks.
    pub fn remove(&self) {
        self.cut();
        self.store.remove_part(&self.content);
    }

    /// Puts the bytes, the outboard, the name and the folder in place, in this order.
    fn place(&self, outboard: &Outboard) -> Result<()> {
        let layout = self.store.layout();
        let part = layout.part(&self.content);
        self.file.set_mode(OBJECT_MODE).during("make read-only", &part)?;
        layout.sync_file(&*self.file, &part)?;
        if !outboard.midstates().is_empty() {
            layout.publish_bytes(&outboard.to_bytes(), &layout.outboard(&self.content))?;
        }
        let object = layout.object(&self.content);
        layout.publish_by(&object, || {
            // The lock ensures that a fault found in an earlier file of this object is not attributed to this one.
            let _lock = self.store.object_locks().lock(&self.content.0);
            layout.disk.rename(&part, &object)
        })
    }

    /// Appends the object to the journal, and puts its bytes in place without a sync.
    fn place_by_journal(&self, kind: Kind, links: &[Link], came_ms: u64) -> Result<Journaled<'_>> {
        let (layout, content) = (self.store.layout(), self.content);
        let part = layout.part(&content);
        let mut bytes = vec![0; self.length as usize];
        let read = read_full_at(&*self.file, &mut bytes, 0).during("read", &part)?;
        bytes.truncate(read);
        // The journal has the bytes that are acknowledged: those of the file may be others since they were hashed.
        let found = ContentId::of(&bytes);
        if found != content {
            return Err(BlobError::Mismatch { content, found, resumed: 0 });
        }
        let entry = Entry { content, kind, came_ms, links: links.to_vec(), bytes: bytes.into() };
        let journaled = self.store.journal_objects(&[entry])?;
        self.file.set_mode(OBJECT_MODE).during("make read-only", &part)?;
        let object = layout.object(&content);
        layout.place_unsynced(&object, || {
            let _lock = self.store.object_locks().lock(&content.0);
            layout.disk.rename(&part, &object)
        })?;
        Ok(journaled)
    }

    /// Removes an object from its place that the index did not take: it would be unknown, and would take the room that
    /// the next try needs. After a failed sync nothing is touched.
    fn take_back(&self) {
        let layout = self.store.layout();
        let object = layout.object(&self.content);
        let _lock = self.store.object_locks().lock(&self.content.0);
        let is_own = |own| layout.disk.stat(&object).is_ok_and(|there| there.stamp.is_same_file(&own));
        if layout.check().is_ok() && self.file.stamp().is_ok_and(is_own) {
            self.store.checks().forget(&self.content);
            self.cut();
            layout.remove_quietly(&object);
            layout.remove_quietly(&layout.outboard(&self.content));
        }
    }

    /// Frees the blocks of the file, which the open handle would keep until the receiver is dropped.
    fn cut(&self) {
        if let Err(error) = self.file.set_length(0) {
            tracing::warn!(content = %self.content, %error, "cannot cut what was received");
        }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Removes a part, its marks and its twin.
    pub(super) fn remove_part(&self, content: &ContentId) {
        self.layout().remove_quietly(&self.layout().part(content));
        self.layout().remove_quietly(&self.layout().marks(content));
        self.layout().remove_quietly(&self.layout().received_folder().twin(content));
    }

    /// The number of bytes that are here of an object in incoming/; 0 if no part of it is.
    pub fn received_bytes(&self, content: &ContentId) -> u64 {
        let part = || self.layout().disk.stat(&self.layout().part(content));
        self.receiving().bytes(content).unwrap_or_else(|| part().map_or(0, |part| part.length()))
    }
}

fn open_file(store: &Store, content: &ContentId) -> Result<Box<dyn DiskFile>> {
    let (disk, path) = (&store.layout().disk, store.layout().part(content));
    match disk.stat(&path) {
        Ok(_) => {
            // A crash between chmod and rename leaves the part read-only.
            disk.set_mode(&path, 0o600).during("open", &path)?;
            disk.open(&path, Access::Update).during("open", &path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&path).during("create", &path),
        Err(error) => Err(error).during("open", &path),
    }
}

/// The changes to the index for an object that has come. Its bytes were hashed on their way in, so it counts as verified
/// from the beginning.
pub(super) fn came(info: ObjectInfo, kind: Kind, links: &[Link], at_ms: u64) -> impl Iterator<Item = Change> {
    let content = info.content;
    let links = links.iter().take(limits::LINKS_PER_OBJECT_MAX);
    let linked = links.map(move |link| Change::Link {
        name: link.name.clone(),
        clock: link.clock,
        content: Some(content),
    });
    let came = [
        Change::Object(info, kind),
        Change::Used(vec![(content, at_ms)]),
        Change::Verified(vec![(content, at_ms)]),
    ];
    came.into_iter().chain(linked)
}
