//! The check for room: it decides whether an object fits before any of its bytes move.
//!
//! An object fits if the file system has its bytes free, beside a reserve and the bytes that other incoming transfers
//! still lack, and has the few inodes that the object takes. If a write failed for lack of room although the figures
//! promised some (because of a quota, or the longest file that a process or a file system may have), it is tried once
//! more. After that an object that is no shorter is refused unread, for a time that grows with each failure, or until
//! much more room is free than before.

use std::sync::atomic::Ordering;

use super::error::{BlobError, Result};
use super::promises::Promise;
use super::room::Room;
use super::store::Store;
use crate::outboard::chunk_count;

impl Store {
    /// Clears the last failure, because a person wants an object here: the write is tried again, however recent the
    /// failure.
    pub fn try_again(&self) {
        self.promises().clear();
    }

    /// Whether an object of this length, of which nothing is here yet, could be taken now, beside `others` bytes of
    /// objects that are going to be asked for.
    ///
    /// # Errors
    /// [`BlobError::NoRoom`], [`BlobError::NoInodes`] and [`BlobError::NoRoomLately`] when it could not.
    pub fn room_for(&self, length: u64, others: u64) -> Result<()> {
        let _others = Promise::new(self.promises().promised.clone(), others);
        self.promise(length, 0).map(drop)
    }

    /// The number of bytes that further objects may take, and the size of the file system in bytes; `None` if the disk
    /// does not tell.
    pub fn space(&self) -> Option<(u64, u64)> {
        let promised = self.promises().promised.load(Ordering::SeqCst);
        self.room().map(|room| (room.for_objects().saturating_sub(promised), room.total))
    }

    /// Keeps room for the bytes of an object beyond `offset`, until the promise is dropped.
    ///
    /// # Errors
    /// The errors of [`Store::room_for`].
    pub(super) fn promise(&self, length: u64, offset: u64) -> Result<Promise> {
        let (promises, room) = (self.promises(), self.room());
        if let Some(refused) = promises.refuses(length, room.map_or(0, |room| room.free), self.now()) {
            return Err(refused);
        }
        let left = length - offset.min(length);
        let outboard = chunk_count(length).saturating_mul(OUTBOARD_BYTES_PER_CHUNK);
        // The bytes are promised first and checked then: of two transfers that come at the same time, not both take the
        // last room.
        let promise = Promise::new(promises.promised.clone(), left.saturating_add(outboard));
        let promised = promises.promised.load(Ordering::SeqCst);
        // If the file system does not report its room, the write will show it.
        let Some(room) = self.room() else { return Ok(promise) };
        if !room.has_inodes() {
            return Err(BlobError::NoInodes);
        }
        if promised <= room.for_objects() {
            return Ok(promise);
        }
        let free = room.for_objects().saturating_sub(promised - promise.left);
        Err(BlobError::NoRoom { length, free })
    }

    /// Notes a failed write of an object of this length if room was lacking.
    pub(super) fn note_failed_write(&self, length: u64, why: &BlobError) {
        if why.lacks_room() {
            let free = self.room().map_or(0, |room| room.free);
            self.promises().failed(length, free, why, self.now());
        }
    }

    fn room(&self) -> Option<Room> {
        self.layout().disk.room(&self.layout().root).ok()
    }
}

const OUTBOARD_BYTES_PER_CHUNK: u64 = 32;
