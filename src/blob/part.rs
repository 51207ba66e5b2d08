//! The part file of a transfer: it lies in incoming/ until it becomes an object.
//!
//! Every [`Store::checkpoint_every`] chunks its bytes are synced and marked (see [`super::marks`]), so that a restart
//! goes on from there without hashing them again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::change::Change;
use super::claim::Claim;
use super::disk::{Access, DiskFile, read_full_at};
use super::error::{BlobError, IoContext, Result};
use super::journal::{Entry, Journal, Journaled};
use super::layout::OBJECT_MODE;
use super::marks::{Kept, Marks, Run, is_harmless};
use super::promises::Promise;
use super::store::Store;
use super::tables::Kind;
use crate::id::ContentId;
use crate::outboard::{Complete, Outboard};
use crate::wire::{Link, ObjectInfo, limits};

/// One object on its way in: its file, and the room and the claim for it.
pub(super) struct Part {
    pub store: Store,
    pub content: ContentId,
    pub length: u64,
    pub file: Box<dyn DiskFile>,
    marks: Mutex<Marks>,
    promise: Mutex<Promise>,
    claim: Claim,
}

impl Drop for Part {
    /// Nobody writes to the file from now on: a later stamp is that of somebody else.
    fn drop(&mut self) {
        let mut marks = self.marks();
        if marks.is_begun()
            && let Ok(stamp) = self.file.stamp()
        {
            marks.stamp(&stamp, false);
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
        let there = layout.disk.stat(&layout.part(&content)).ok().map(|part| part.stamp);
        let kept = there.as_ref().map(|part| Marks::read(layout, &content, length, part)).unwrap_or_default();
        let there = there.map_or(0, |part| part.length);
        let here = if kept.scattered { kept.bytes(there) } else { there };
        let promise = Mutex::new(store.promise(length, here)?);
        let marks = Mutex::new(Marks::begin(layout, &content, length, scattered, &kept)?);
        let file = open_file(store, &content, length)?;
        let part = Part { store: store.clone(), content, length, file, marks, promise, claim };
        // Opening may have changed the mode.
        part.note_stamp();
        Ok((part, kept))
    }

    /// Notes that so many bytes were written, and that `here` bytes of the object are there now.
    pub fn wrote(&self, bytes: u64, here: u64) {
        self.promise.lock().unwrap_or_else(PoisonError::into_inner).written(bytes);
        self.claim.has(here);
    }

    /// Notes the stamp of the file in the marks, if there are any.
    pub fn note_stamp(&self) {
        let mut marks = self.marks();
        if marks.is_begun()
            && let Ok(stamp) = self.file.stamp()
        {
            marks.stamp(&stamp, true);
        }
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
        let path = self.store.layout().part(&self.content);
        let stamp = self.file.stamp().during("read", &path)?;
        self.marks().create(self.store.layout(), &stamp)
    }

    /// Syncs the bytes so far and marks these chunks, which are among them.
    ///
    /// # Errors
    /// [`BlobError::Sync`]: the store is poisoned then. Without room for the marks the transfer goes on without them.
    pub fn checkpoint(&self, runs: &[Run]) -> Result<()> {
        let layout = self.store.layout();
        let path = layout.part(&self.content);
        layout.sync_data(&*self.file, &path)?;
        let stamp = self.file.stamp().during("read", &path)?;
        match self.marks().add(layout, runs, &stamp) {
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
        self.store.note_whole_twin(complete.content());
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
    pub fn abandon(&self, source: std::io::Error) -> BlobError {
        self.remove();
        let path = self.store.layout().part(&self.content);
        let error = BlobError::Io { doing: "write", path, source };
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
        let entry = Entry { content, kind, came_ms, links: links.to_vec(), bytes };
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
    /// Removes a part and its marks.
    pub(super) fn remove_part(&self, content: &ContentId) {
        self.layout().remove_quietly(&self.layout().part(content));
        self.layout().remove_quietly(&self.layout().marks(content));
    }

    /// The number of bytes that are here of an object in incoming/; 0 if no part of it is.
    pub fn received_bytes(&self, content: &ContentId) -> u64 {
        let part = || self.layout().disk.stat(&self.layout().part(content));
        self.receiving().bytes(content).unwrap_or_else(|| part().map_or(0, |part| part.length()))
    }
}

fn open_file(store: &Store, content: &ContentId, length: u64) -> Result<Box<dyn DiskFile>> {
    let (disk, path) = (&store.layout().disk, store.layout().part(content));
    match disk.stat(&path) {
        Ok(_) => {
            // A crash between chmod and rename leaves the part read-only.
            disk.set_mode(&path, 0o600).during("open", &path)?;
            disk.open(&path, Access::Update).during("open", &path)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let file = disk.create(&path).during("create", &path)?;
            Ok(store.with_twin(content, length, file))
        }
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
