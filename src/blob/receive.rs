//! Receiving an object: it is hashed while it is written, checked, and made visible in one step.
//!
//! The order that makes a file durable: bytes and mode synced, outboard synced and in its place, object renamed into
//! its place, its folder synced, index committed. Until the rename the bytes lie in incoming/, where a later transfer
//! continues from the last whole chunk.

use std::io::IoSlice;
use std::time::{Duration, SystemTime};

use super::bulk::Cache;
use super::change::Change;
use super::claim::Claim;
use super::disk::{Access, DiskFile, read_full_at};
use super::error::{BlobError, IoContext, Result, is_unreadable};
use super::layout::{Layout, OBJECT_MODE};
use super::promises::Promise;
use super::store::Store;
use super::tables::Kind;
use crate::id::ContentId;
use crate::outboard::{CHUNK_BYTES, ChunkHasher, Midstate, Outboard, OutboardError};
use crate::wire::{Link, ObjectInfo, limits};

/// One object on its way in. If it is dropped before its end, its bytes stay, so that the transfer can be resumed.
pub struct Receiver {
    store: Store,
    content: ContentId,
    length: u64,
    file: Box<dyn DiskFile>,
    hasher: ChunkHasher,
    trusted: Option<Outboard>,
    resumed: u64,
    /// Whether the part file is gone after a failed write; then no more bytes are taken.
    abandoned: bool,
    promise: Promise,
    _claim: Claim,
}

impl Store {
    /// Begins or continues to receive an object of this length.
    ///
    /// # Errors
    /// [`BlobError::AlreadyReceiving`] while another receiver has the object, [`BlobError::AlreadyHere`] when the
    /// object is complete, [`BlobError::NoRoom`] or [`BlobError::NoRoomLately`] when it does not fit, and the errors of
    /// the disk.
    pub fn receive(&self, content: ContentId, length: u64) -> Result<Receiver> {
        self.layout().check()?;
        if length > limits::FILE_BYTES_MAX {
            return Err(BlobError::TooLong { length });
        }
        let claim = Claim::new(self.receiving(), content)?;
        // This check holds the claim, so no other receiver is under way. "Already here" applies only to checked bytes;
        // wrong bytes make room for the right ones.
        if self.check(&content)? {
            return Err(BlobError::AlreadyHere { content });
        }
        let part = self.layout().disk.stat(&self.layout().part(&content));
        let mut receiver = Receiver {
            promise: self.promise(length, part.map_or(0, |part| part.length()))?,
            file: open_part(self, &content, length)?,
            store: self.clone(),
            content,
            length,
            hasher: ChunkHasher::default(),
            trusted: None,
            resumed: 0,
            abandoned: false,
            _claim: claim,
        };
        receiver.resume()?;
        Ok(receiver)
    }
}

impl Store {
    /// Removes parts that no transfer continues: parts that were not written to for `unused_for`, and the oldest of
    /// more than `keep_max`. Returns the number of removed parts.
    ///
    /// # Errors
    /// When incoming/ cannot be listed.
    pub fn expire_parts(&self, unused_for: Duration, keep_max: usize) -> Result<usize> {
        let layout = self.layout();
        let folder = layout.incoming();
        let mut parts: Vec<(SystemTime, ContentId)> = Vec::new();
        for name in layout.disk.read_dir(&folder).during("list", &folder)? {
            let Some(content) = Layout::content_of_part(&name) else { continue };
            // A part that is gone by now needs no removal.
            let Ok(stat) = layout.disk.stat(&layout.part(&content)) else { continue };
            parts.push((stat.modified.unwrap_or(SystemTime::UNIX_EPOCH), content));
        }
        parts.sort_unstable_by_key(|(modified, _)| std::cmp::Reverse(*modified));
        let (mut removed, now) = (0, layout.disk.wall_clock());
        for (rank, (modified, content)) in parts.into_iter().enumerate() {
            let is_old = now.duration_since(modified).is_ok_and(|age| age >= unused_for);
            // A transfer under way owns its part.
            if (is_old || rank >= keep_max)
                && let Ok(_claim) = Claim::new(self.receiving(), content)
            {
                layout.remove_quietly(&layout.part(&content));
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl Receiver {
    /// The content id of the object.
    pub fn content(&self) -> ContentId {
        self.content
    }

    /// The length of the object, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The offset of the next wanted byte. It is a whole number of chunks at first and after a
    /// [`BlobError::ChunkMismatch`].
    pub fn offset(&self) -> u64 {
        self.hasher.offset()
    }

    /// The midstate at the last chunk boundary.
    pub fn midstate(&self) -> Midstate {
        self.hasher.midstate()
    }

    /// The midstates so far: s(1), s(2), …
    pub fn midstates(&self) -> &[Midstate] {
        self.hasher.midstates()
    }

    /// Makes each chunk be checked against the next midstate of this outboard from now on. Chunks that are already here
    /// and do not match are dropped without an error, and [`Receiver::offset`] goes back.
    ///
    /// # Errors
    /// [`BlobError::Outboard`] when the outboard is for a file of another length.
    pub fn check_against(&mut self, outboard: &Outboard) -> Result<()> {
        if outboard.length() != self.length {
            let found = outboard.midstates().len() as u64;
            let expected = crate::outboard::chunk_count(self.length) - 1;
            let source = OutboardError::Count { length: self.length, expected, found };
            return Err(BlobError::Outboard { content: self.content, source });
        }
        let pairs = self.hasher.midstates().iter().zip(outboard.midstates());
        let good = pairs.take_while(|(ours, theirs)| ours == theirs).count();
        self.trusted = Some(outboard.clone());
        let comparable = self.hasher.midstates().len().min(outboard.midstates().len());
        if good < comparable { self.rewind(good as u64) } else { Ok(()) }
    }

    /// Drops the bytes of an incomplete chunk when another sender begins: each chunk is to come from one sender, so
    /// that a wrong chunk identifies its sender.
    ///
    /// # Errors
    /// The errors of the disk.
    pub fn drop_part_of_chunk(&mut self) -> Result<()> {
        let whole = self.offset() / CHUNK_BYTES;
        if self.abandoned || self.offset().is_multiple_of(CHUNK_BYTES) || self.offset() == self.length {
            return Ok(());
        }
        self.rewind(whole)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`BlobError::Overrun`] for more bytes than the length; none of the piece is taken. [`BlobError::ChunkMismatch`]
    /// against a trusted outboard; the chunk is dropped, and the receiver continues from [`Receiver::offset`].
    /// [`BlobError::Io`] when the disk is full or fails; all bytes so far are removed, and the receiver is at its end.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_pieces(&[bytes])
    }

    /// Like [`Receiver::write`], for bytes that lie in several pieces; they are written in one step.
    ///
    /// # Errors
    /// The errors of [`Receiver::write`]; none of the pieces is taken if they are too long.
    pub fn write_pieces<P: AsRef<[u8]>>(&mut self, pieces: &[P]) -> Result<()> {
        self.store.layout().check()?;
        if self.abandoned {
            return Err(self.incomplete());
        }
        let length: u64 = pieces.iter().map(|piece| piece.as_ref().len() as u64).sum();
        if length > self.length - self.offset() {
            return Err(BlobError::Overrun { content: self.content, length: self.length });
        }
        let mut checked = Vec::with_capacity(pieces.len() + 1);
        for piece in pieces {
            let mut piece = piece.as_ref();
            while !piece.is_empty() {
                let room = CHUNK_BYTES - self.offset() % CHUNK_BYTES;
                let (part, rest) = piece.split_at(piece.len().min(room as usize));
                self.hasher.update(part);
                checked.push(IoSlice::new(part));
                if self.offset().is_multiple_of(CHUNK_BYTES) {
                    self.check_last_chunk()?;
                    self.write_checked(&mut checked)?;
                }
                piece = rest;
            }
        }
        self.write_checked(&mut checked)
    }

    /// Writes the last bytes that were hashed.
    fn write_checked(&mut self, pieces: &mut Vec<IoSlice<'_>>) -> Result<()> {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let (offset, cache) = (self.offset() - length, Cache::for_length(self.length));
        if let Err(source) = self.file.write_pieces_at(pieces, offset, cache) {
            return Err(self.abandon(source));
        }
        pieces.clear();
        self.promise.written(length);
        Ok(())
    }

    /// Checks the whole object, and makes it durable and visible.
    ///
    /// # Errors
    /// [`BlobError::Incomplete`] keeps the bytes. [`BlobError::Mismatch`] removes them; with a trusted outboard only
    /// the last chunk goes, as [`BlobError::ChunkMismatch`]. [`BlobError::Sync`] poisons the store. A full disk removes
    /// them, also if only the commit finds no room.
    pub fn finish(self, kind: Kind) -> Result<ObjectInfo> {
        self.finish_linked(kind, &[])
    }

    /// Like [`Receiver::finish`], and links the object under these names in the same commit.
    ///
    /// # Errors
    /// The errors of [`Receiver::finish`].
    pub fn finish_linked(mut self, kind: Kind, links: &[Link]) -> Result<ObjectInfo> {
        self.store.layout().check()?;
        if self.abandoned || self.offset() != self.length {
            return Err(self.incomplete());
        }
        let (found, outboard) = self.hasher.clone().finish();
        if found != self.content {
            return Err(self.refuse(found));
        }
        let placed = self.place(&outboard);
        if let Err(BlobError::Sync { .. } | BlobError::Io { .. }) = placed {
            // Bytes that a failed sync left in the page cache must not be taken for the bytes on disk.
            self.remove_part();
        }
        if let Err(error) = &placed {
            self.store.note_failed_write(self.length, error);
        }
        placed?;
        self.store.note_whole_twin(&found);
        // The bytes were hashed on their way in. The store trusts the stamp of the file that is now in its place.
        if let Ok(stamp) = self.file.stamp() {
            self.store.checks().note(found, stamp, self.store.now());
        }
        let info = ObjectInfo { content: found, length: self.length, outboard: outboard.digest() };
        let linked = links.iter().take(limits::LINKS_PER_OBJECT_MAX).map(|link| Change::Link {
            name: link.name.clone(),
            clock: link.clock,
            content: Some(found),
        });
        // Another peer counts on this copy from now on.
        self.store.uses().promised(&found);
        // The bytes were hashed on their way in, so the object counts as verified from the beginning.
        let now = self.store.wall_ms();
        let came = [
            Change::Object(info, kind),
            Change::Used(vec![(found, now)]),
            Change::Verified(vec![(found, now)]),
        ];
        if let Err(error) = self.store.index().submit(came.into_iter().chain(linked)) {
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

    /// Gives the transfer up for good: the sender does not want the bytes kept.
    pub fn discard(mut self) {
        self.abandoned = true;
        self.store.layout().remove_quietly(&self.store.layout().part(&self.content));
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

    /// Hashes the whole chunks of an earlier transfer, and cuts off what follows them.
    fn resume(&mut self) -> Result<()> {
        let path = self.store.layout().part(&self.content);
        let here = self.file.stamp().during("read", &path)?.length.min(self.length);
        let whole = here / CHUNK_BYTES;
        let mut chunk = vec![0; if whole > 0 { CHUNK_BYTES as usize } else { 0 }];
        for index in 0..whole {
            match read_full_at(&*self.file, &mut chunk, index * CHUNK_BYTES) {
                Ok(read) if read == chunk.len() => self.hasher.update(&chunk),
                // Bytes that the disk cannot read are received again.
                Err(error) if !is_unreadable(&error) => return Err(error).during("read", &path),
                _ => break,
            }
        }
        self.resumed = self.offset();
        self.file.set_length(self.offset()).during("cut", &path)
    }

    /// Checks, with a trusted outboard, that the chunk that has just become complete leads to the next midstate.
    fn check_last_chunk(&mut self) -> Result<()> {
        let whole = self.hasher.midstates().len();
        if whole == 0 || !self.offset().is_multiple_of(CHUNK_BYTES) {
            return Ok(());
        }
        let expected = self.trusted.as_ref().and_then(|outboard| outboard.midstates().get(whole - 1));
        if expected.is_none_or(|expected| *expected == self.hasher.midstate()) {
            return Ok(());
        }
        let chunk = whole as u64 - 1;
        self.rewind(chunk)?;
        Err(BlobError::ChunkMismatch { content: self.content, chunk })
    }

    fn rewind(&mut self, chunks: u64) -> Result<()> {
        self.hasher.rewind(chunks);
        self.resumed = self.resumed.min(self.offset());
        let path = self.store.layout().part(&self.content);
        self.file.set_length(self.offset()).during("cut", &path)
    }

    /// Decides what to do with a complete file that does not match.
    fn refuse(&mut self, found: ContentId) -> BlobError {
        let last = crate::outboard::chunk_count(self.length) - 1;
        if self.trusted.is_some() && last > 0 {
            // All chunks before the last agreed with the outboard; they may serve another transfer.
            return match self.rewind(last) {
                Ok(()) => BlobError::ChunkMismatch { content: self.content, chunk: last },
                Err(error) => error,
            };
        }
        self.store.layout().remove_quietly(&self.store.layout().part(&self.content));
        BlobError::Mismatch { content: self.content, found, resumed: self.resumed }
    }

    fn incomplete(&self) -> BlobError {
        let offset = if self.abandoned { 0 } else { self.offset() };
        BlobError::Incomplete { content: self.content, offset, length: self.length }
    }

    fn abandon(&mut self, source: std::io::Error) -> BlobError {
        self.abandoned = true;
        self.remove_part();
        let path = self.store.layout().part(&self.content);
        let error = BlobError::Io { doing: "write", path, source };
        self.store.note_failed_write(self.length, &error);
        error
    }

    /// Removes the part and frees its blocks.
    fn remove_part(&self) {
        self.cut();
        self.store.layout().remove_quietly(&self.store.layout().part(&self.content));
    }

    /// Frees the blocks of the file, which the open handle would keep until the receiver is dropped.
    fn cut(&self) {
        if let Err(error) = self.file.set_length(0) {
            tracing::warn!(content = %self.content, %error, "cannot cut what was received");
        }
    }
}

impl Store {
    /// The length in bytes of an object's partial transfer in incoming/; 0 if incoming/ has no part of the object.
    pub fn received_bytes(&self, content: &ContentId) -> u64 {
        self.layout().disk.stat(&self.layout().part(content)).map_or(0, |part| part.length())
    }
}

fn open_part(store: &Store, content: &ContentId, length: u64) -> Result<Box<dyn DiskFile>> {
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
