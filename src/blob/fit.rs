//! The check for room: it decides whether an object fits before any of its bytes move.
//!
//! An object fits if the file system has its bytes free, beside a reserve and the bytes that other incoming transfers
//! still lack, and has the few inodes that the object takes; and if the capacity that a person set has its bytes left.
//! Objects that are only a cache give way.
//!
//! If a write failed for lack of room although the figures promised some (because of a quota, or the longest file that
//! a process or a file system may have), it is tried once more. After that an object that is no shorter is refused
//! unread, for a time that grows with each failure, or until much more room is free than before.

use super::error::{BlobError, Result};
use super::promises::Promise;
use super::room::{Limits, Room, Taken};
use super::store::Store;
use crate::outboard::chunk_count;

impl Store {
    /// Clears the last failure, because a person wants an object here: the write is tried again, however recent the
    /// failure.
    pub fn try_again(&self) {
        self.promises().clear();
    }

    /// Sets the limits for the objects here, and evicts what is only a cache as far as they are exceeded.
    ///
    /// # Errors
    /// The errors of [`Store::trim`].
    pub fn set_limits(&self, limits: Limits) -> Result<()> {
        *self.limits() = limits;
        self.trim().map(drop)
    }

    /// Whether an object of this length, of which nothing is here yet, could be taken now, beside `others` bytes of
    /// objects that are going to be asked for. The cache makes room where that is needed.
    ///
    /// # Errors
    /// [`BlobError::NoRoom`], [`BlobError::NoInodes`] and [`BlobError::NoRoomLately`] when it could not.
    pub fn room_for(&self, length: u64, others: u64) -> Result<()> {
        let room = self.room();
        self.check_room(room, length, 1)?;
        let (_, cached) = self.index().cached_totals()?;
        let free = self.free_for_objects(room)?.saturating_add(cached).saturating_sub(others);
        if on_disk(length, length) <= free { Ok(()) } else { Err(BlobError::NoRoom { length, free }) }
    }

    /// The size of the file system, in bytes; `None` if it does not tell.
    pub fn disk_bytes(&self) -> Option<u64> {
        self.room().map(|room| room.total)
    }

    /// Keeps room for the bytes of an object beyond `offset`, until the promise is dropped. Where room is lacking, the
    /// cached objects go that were not used for the longest time.
    ///
    /// # Errors
    /// The errors of [`Store::room_for`].
    pub(super) fn promise(&self, length: u64, offset: u64) -> Result<Promise> {
        let room = self.room();
        self.check_room(room, length, 1)?;
        // The bytes are promised first and checked then: of two transfers that come at the same time, not both take the
        // last room.
        let left = on_disk(length, length - offset.min(length));
        let promise = Promise::new(self.promises().under_way.clone(), left, length);
        let lacking = self.overdrawn(room)?;
        if lacking == 0 {
            return Ok(promise);
        }
        // The cache does not go in vain.
        if self.index().cached_totals()?.1 >= lacking {
            self.evict(lacking)?;
            if self.overdrawn(self.room())? == 0 {
                return Ok(promise);
            }
        }
        drop(promise);
        Err(BlobError::NoRoom { length, free: self.free_for_objects(self.room())? })
    }

    /// Keeps room for several objects of which nothing is here, all with one promise; `None` if they do not fit together as
    /// things are: each of them is then asked for alone.
    pub(super) fn promise_all(&self, lengths: &[u64]) -> Result<Option<Promise>> {
        let room = self.room();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if self.check_room(room, longest, lengths.len() as u64).is_err() {
            return Ok(None);
        }
        let left = lengths.iter().map(|length| on_disk(*length, *length)).sum();
        let promise = Promise::new(self.promises().under_way.clone(), left, lengths.iter().sum());
        Ok((self.overdrawn(room)? == 0).then_some(promise))
    }

    /// Checks that a write of this length has not failed a moment ago for lack of room, and that there are inodes for so
    /// many objects.
    fn check_room(&self, room: Option<Room>, length: u64, objects: u64) -> Result<()> {
        let free = room.map_or(0, |room| room.free);
        if let Some(refused) = self.promises().refuses(length, free, self.now()) {
            return Err(refused);
        }
        match room {
            Some(room) if !room.has_inodes(objects) => Err(BlobError::NoInodes),
            _ => Ok(()),
        }
    }

    /// The bytes that further objects may take.
    pub(super) fn free_for_objects(&self, room: Option<Room>) -> Result<u64> {
        Ok(self.limits().free_for_objects(room.as_ref(), self.taken()?))
    }

    /// The bytes by which all promises exceed the room.
    fn overdrawn(&self, room: Option<Room>) -> Result<u64> {
        let Taken { held, lacking, coming } = self.taken()?;
        let here = Taken { held, lacking: 0, coming: 0 };
        let limits = *self.limits();
        let on_disk = Limits { capacity: None, ..limits }.free_for_objects(room.as_ref(), here);
        let of_capacity = limits.free_for_objects(None, here);
        Ok(lacking.saturating_sub(on_disk).max(coming.saturating_sub(of_capacity)))
    }

    fn taken(&self) -> Result<Taken> {
        let (lacking, coming) = self.promises().under_way.totals();
        Ok(Taken { held: self.index().totals()?.1, lacking, coming })
    }

    /// Notes a failed write of an object of this length if room was lacking.
    pub(super) fn note_failed_write(&self, length: u64, why: &BlobError) {
        if why.lacks_room() {
            let free = self.room().map_or(0, |room| room.free);
            self.promises().failed(length, free, why, self.now());
        }
    }

    /// The room of the file system; `None` if it does not report it: then a write shows it.
    pub(super) fn room(&self) -> Option<Room> {
        self.layout().disk.room(&self.layout().root).ok()
    }
}

/// The bytes that `left` bytes of an object of this length take on the disk, its outboard included.
fn on_disk(length: u64, left: u64) -> u64 {
    left.saturating_add(chunk_count(length).saturating_mul(OUTBOARD_BYTES_PER_CHUNK))
}

const OUTBOARD_BYTES_PER_CHUNK: u64 = 32;
