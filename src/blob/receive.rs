//! Receiving an object in order: it is hashed while it is written, checked, and made visible in one step.
//!
//! The order that makes a file durable: bytes and mode synced, outboard synced and in its place, object renamed into
//! its place, its folder synced, index committed. Until the rename the bytes lie in incoming/, where a later transfer
//! continues from the last whole chunk. A small object is appended to the journal instead of the two syncs and the
//! durable commit (see [`super::journal`]).

use std::io::IoSlice;
use std::time::{Duration, SystemTime};

use super::claim::Claim;
use super::error::{BlobError, IoContext as _, Result};
use super::layout::Layout;
use super::marks::{Kept, runs_of};
use super::part::Part;
use super::store::Store;
use super::tables::Kind;
use crate::id::ContentId;
use crate::outboard::{CHUNK_BYTES, ChunkHasher, Complete, Midstate};
use crate::wire::{Link, ObjectInfo};

/// One object on its way in. If it is dropped before its end, its bytes stay, so that the transfer can be resumed.
pub struct Receiver {
    part: Part,
    hasher: ChunkHasher,
    resumed: u64,
    /// The whole chunks from the beginning on that are marked.
    marked: u64,
    /// Whether the part file is gone after a failed write; then no more bytes are taken.
    abandoned: bool,
}

impl Store {
    /// Begins or continues to receive an object of this length.
    ///
    /// # Errors
    /// [`BlobError::AlreadyReceiving`] while another receiver has the object, [`BlobError::AlreadyHere`] when the
    /// object is complete, [`BlobError::NoRoom`] or [`BlobError::NoRoomLately`] when it does not fit, and the errors of
    /// the disk.
    pub fn receive(&self, content: ContentId, length: u64) -> Result<Receiver> {
        let (part, kept) = Part::open(self, content, length, false)?;
        let hasher = ChunkHasher::default();
        let mut receiver = Receiver { part, hasher, resumed: 0, marked: 0, abandoned: false };
        receiver.resume(&kept)?;
        Ok(receiver)
    }

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
                self.remove_part(&content);
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl Receiver {
    /// The content id of the object.
    pub fn content(&self) -> ContentId {
        self.part.content
    }

    /// The length of the object, in bytes.
    pub fn length(&self) -> u64 {
        self.part.length
    }

    /// The offset of the next wanted byte. It is a whole number of chunks at first.
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

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`BlobError::Overrun`] for more bytes than the length; none of the piece is taken. [`BlobError::Io`] when the
    /// disk is full or fails; all bytes so far are removed, and the receiver is at its end. [`BlobError::Sync`] poisons
    /// the store.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_pieces(&[bytes])
    }

    /// Like [`Receiver::write`], for bytes that lie in several pieces; they are written in one step.
    ///
    /// # Errors
    /// The errors of [`Receiver::write`]; none of the pieces is taken if they are too long.
    pub fn write_pieces<P: AsRef<[u8]>>(&mut self, pieces: &[P]) -> Result<()> {
        self.part.store.layout().check()?;
        if self.abandoned {
            return Err(self.incomplete());
        }
        let length: u64 = pieces.iter().map(|piece| piece.as_ref().len() as u64).sum();
        if length > self.part.length - self.offset() {
            return Err(BlobError::Overrun { content: self.part.content, length: self.part.length });
        }
        let mut hashed = Vec::with_capacity(pieces.len() + 1);
        for piece in pieces {
            let mut piece = piece.as_ref();
            while !piece.is_empty() {
                let room = CHUNK_BYTES - self.offset() % CHUNK_BYTES;
                let (bytes, rest) = piece.split_at(piece.len().min(room as usize));
                self.hasher.update(bytes);
                hashed.push(IoSlice::new(bytes));
                if self.offset().is_multiple_of(CHUNK_BYTES) {
                    self.write_hashed(&mut hashed)?;
                    self.part.note_stamp();
                    self.mark()?;
                }
                piece = rest;
            }
        }
        self.write_hashed(&mut hashed)
    }

    /// Writes the last bytes that were hashed.
    fn write_hashed(&mut self, pieces: &mut Vec<IoSlice<'_>>) -> Result<()> {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let offset = self.offset() - length;
        if let Err(error) = self.part.write(pieces, offset) {
            self.abandoned = true;
            return Err(error);
        }
        pieces.clear();
        self.part.wrote(length, self.offset());
        self.part.note_stamp();
        Ok(())
    }

    /// Checks the whole object, and makes it durable and visible.
    ///
    /// # Errors
    /// [`BlobError::Incomplete`] keeps the bytes. [`BlobError::Mismatch`] removes them. [`BlobError::Sync`] poisons the
    /// store. A full disk removes them, also if only the commit finds no room.
    pub fn finish(self, kind: Kind) -> Result<ObjectInfo> {
        self.finish_linked(kind, &[])
    }

    /// Like [`Receiver::finish`], and links the object under these names in the same commit.
    ///
    /// # Errors
    /// The errors of [`Receiver::finish`].
    pub fn finish_linked(self, kind: Kind, links: &[Link]) -> Result<ObjectInfo> {
        self.part.store.layout().check()?;
        if self.abandoned || self.offset() != self.part.length {
            return Err(self.incomplete());
        }
        let content = self.part.content;
        match Complete::hashed(self.hasher, &content) {
            Ok(complete) => self.part.become_object(&complete, kind, links),
            Err(found) => {
                self.part.store.remove_part(&content);
                Err(BlobError::Mismatch { content, found, resumed: self.resumed })
            }
        }
    }

    /// Gives the transfer up for good: the sender does not want the bytes kept.
    pub fn discard(mut self) {
        self.abandoned = true;
        self.part.store.remove_part(&self.part.content);
    }

    /// Goes on behind the chunks of an earlier transfer, and cuts off what follows them. Marked chunks are believed while
    /// nobody else has written to the part; all others are hashed. A part with holes serves as far as it is marked.
    fn resume(&mut self, kept: &Kept) -> Result<()> {
        let here = self.part.file_length()?.min(self.part.length);
        if kept.trusted {
            let mut prefix = kept.prefix();
            prefix.truncate((here / CHUNK_BYTES) as usize);
            self.hasher = ChunkHasher::resume(prefix);
            self.marked = if self.part.has_marks() { self.offset() / CHUNK_BYTES } else { 0 };
        }
        let whole = if kept.scattered { self.offset() / CHUNK_BYTES } else { here / CHUNK_BYTES };
        let mut chunk = vec![0; if whole > 0 { CHUNK_BYTES as usize } else { 0 }];
        for index in self.offset() / CHUNK_BYTES..whole {
            // Bytes that the disk cannot read are received again.
            if self.part.read(&mut chunk, index * CHUNK_BYTES)? != Some(chunk.len()) {
                break;
            }
            self.hasher.update(&chunk);
            self.part.found(&chunk, index * CHUNK_BYTES);
        }
        self.resumed = self.offset();
        self.part.wrote(0, self.offset());
        self.part.cut_to(self.offset())?;
        self.part.note_stamp();
        Ok(())
    }

    /// Syncs and marks the chunks so far, if it is time.
    fn mark(&mut self) -> Result<()> {
        let midstates = self.hasher.midstates();
        let whole = midstates.len() as u64;
        if whole - self.marked < self.part.store.checkpoint_chunks() || self.offset() == self.part.length {
            return Ok(());
        }
        let state = |index: u64| match index {
            0 => Some(Midstate::INITIAL),
            _ => midstates.get(index as usize - 1).copied(),
        };
        let runs = runs_of(self.marked..whole, state);
        self.part.checkpoint(&runs)?;
        self.marked = whole;
        Ok(())
    }

    fn incomplete(&self) -> BlobError {
        let offset = if self.abandoned { 0 } else { self.offset() };
        BlobError::Incomplete { content: self.part.content, offset, length: self.part.length }
    }
}
