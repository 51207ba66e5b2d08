//! The check for room: it decides whether an object fits before any of its bytes move.
//!
//! An object fits if the file system has its bytes free, beside a reserve and the bytes that other incoming transfers
//! still lack, and has the few inodes that the object takes. If a write failed for lack of room although the figures
//! promised some (because of a quota, or the longest file that a process or a file system may have), it is tried once
//! more. After that an object that is no shorter is refused unread, for a time that grows with each failure, or until
//! much more room is free than before.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{BlobError, Result};
use super::store::Store;
use crate::backoff::Backoff;
use crate::outboard::chunk_count;
use crate::time::Moment;

/// The room that a file system leaves to a process without privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The number of free bytes.
    pub free: u64,
    /// The size of the file system, in bytes.
    pub total: u64,
    /// The number of files that it can still hold; `None` if it has no limit.
    pub inodes: Option<u64>,
}

impl Room {
    /// Asks the operating system for the room of a path's file system.
    ///
    /// # Errors
    /// The error of `statvfs`.
    pub fn of(path: &Path) -> io::Result<Room> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Room {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            // Some file systems make inodes as needed, and report none.
            inodes: (stat.f_files > 0).then_some(stat.f_favail),
        })
    }

    /// The part that is kept for the index, the records and the logs of this and other programs: a share of the whole,
    /// within bounds.
    fn reserve(&self) -> u64 {
        (self.total / RESERVE_SHARE).clamp(RESERVE_MIN, RESERVE_MAX)
    }

    /// The bytes that objects may take.
    fn for_objects(&self) -> u64 {
        self.free.saturating_sub(self.reserve())
    }

    fn has_inodes(&self) -> bool {
        self.inodes.is_none_or(|inodes| inodes >= INODES_RESERVED + INODES_PER_OBJECT)
    }
}

/// The room promised to the transfers of one store, and the last failure for lack of room.
#[derive(Default)]
pub(super) struct Promises {
    /// The bytes that transfers under way still lack.
    promised: Arc<AtomicU64>,
    setback: Mutex<Option<Setback>>,
}

/// A write that failed for lack of room.
#[derive(Debug, Clone)]
struct Setback {
    /// The shortest length of objects that are refused.
    length: u64,
    /// The pauses after further failures.
    backoff: Backoff,
    until: Moment,
    /// The number of bytes that were free at that time.
    free: u64,
    why: String,
}

/// The bytes that one transfer still lacks; dropping it frees them for others.
pub(super) struct Promise {
    promised: Arc<AtomicU64>,
    left: u64,
}

impl Promise {
    fn new(promised: Arc<AtomicU64>, left: u64) -> Promise {
        promised.fetch_add(left, Ordering::SeqCst);
        Promise { promised, left }
    }

    /// Notes that this many bytes are written now; they are no longer free.
    pub(super) fn written(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.promised.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.left, Ordering::SeqCst);
    }
}

impl Promises {
    /// Notes that a write of an object of this length failed for lack of room, with this many bytes free.
    fn failed(&self, length: u64, free: u64, why: &BlobError, now: Moment) {
        let mut setback = self.lock();
        let length = setback.as_ref().map_or(length, |last| last.length.min(length));
        let mut backoff = setback.as_ref().map_or(BACKOFF, |last| last.backoff);
        let pause = if setback.is_some() { backoff.next() } else { Duration::ZERO };
        *setback = Some(Setback { length, backoff, until: now + pause, free, why: why.to_string() });
    }

    /// Notes that an object of this length was written: a refusal of objects of its length is over.
    pub(super) fn succeeded(&self, length: u64) {
        self.lock().take_if(|setback| setback.length <= length);
    }

    fn refuses(&self, length: u64, free: u64, now: Moment) -> Option<BlobError> {
        let mut setback = self.lock();
        setback.take_if(|setback| free >= setback.free.saturating_add(setback.length.clamp(1, MUCH_MORE)));
        let setback = setback.as_ref().filter(|s| s.length <= length && s.until > now)?;
        Some(BlobError::NoRoomLately { length, why: setback.why.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Setback>> {
        self.setback.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Clears the last failure, because a person wants an object here: the write is tried again, however recent the
    /// failure.
    pub fn try_again(&self) {
        self.promises().lock().take();
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

/// The reserve: this part (1/64) of the file system, with its least and greatest number of bytes.
const RESERVE_SHARE: u64 = 64;
const RESERVE_MIN: u64 = 1 << 20;
const RESERVE_MAX: u64 = 256 << 20;
/// The inodes of one object: object, outboard, the folders of both, and a link.
const INODES_PER_OBJECT: u64 = 5;
/// The inodes kept for the index, temporary files, and other files of a peer.
const INODES_RESERVED: u64 = 16;
const OUTBOARD_BYTES_PER_CHUNK: u64 = 32;
/// How long nothing is tried after a write that failed twice or more often: 15 s, and an hour at most.
const BACKOFF: Backoff = Backoff::doubling(Duration::from_secs(15), Duration::from_secs(3_600));
/// The number of additional free bytes after which a failed write is tried again at once.
const MUCH_MORE: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(7_000_000);

    fn failure() -> BlobError {
        BlobError::NoRoom { length: 1, free: 0 }
    }

    #[test]
    fn the_reserve_is_a_share_within_bounds() {
        let reserve = |total| Room { free: total, total, inodes: None }.reserve();
        assert_eq!([reserve(1), reserve(1 << 30), reserve(1 << 50)], [1 << 20, 16 << 20, 256 << 20]);
        let room = |inodes| Room { free: 100 << 20, total: 128 << 20, inodes };
        assert_eq!(room(None).for_objects(), 98 << 20);
        assert_eq!([None, Some(21), Some(20)].map(|inodes| room(inodes).has_inodes()), [true, true, false]);
    }

    #[test]
    fn a_setback_counts_for_what_is_no_shorter_until_something_as_long_was_written() {
        let promises = Promises::default();
        promises.failed(1_000, 7, &failure(), NOW);
        assert!(promises.refuses(1_000, 7, NOW).is_none(), "once more, at once");
        promises.failed(1_000, 7, &failure(), NOW);
        assert!(promises.refuses(999, 7, NOW).is_none());
        assert!(promises.refuses(1_000, 7, NOW).is_some() && promises.refuses(2_000, 1_006, NOW).is_some());
        promises.succeeded(999);
        assert!(promises.refuses(1_000, 7, NOW).is_some());
        promises.succeeded(1_000);
        assert!(promises.refuses(2_000, 7, NOW).is_none());
    }

    #[test]
    fn freed_room_ends_a_setback() {
        let promises = Promises::default();
        for length in [100 << 20, 1_000] {
            promises.failed(length, 7, &failure(), NOW);
            promises.failed(length, 7, &failure(), NOW);
            let enough = 7 + length.min(MUCH_MORE);
            assert!(promises.refuses(length, enough - 1, NOW).is_some());
            assert!(promises.refuses(length, enough, NOW).is_none());
        }
    }

    #[test]
    fn setbacks_last_longer_each_time_and_not_for_ever() {
        let promises = Promises::default();
        let mut pauses = Vec::new();
        for _ in 0..11 {
            promises.failed(10, 0, &failure(), NOW);
            let until = promises.lock().as_ref().unwrap().until;
            pauses.push(until.since(NOW).as_secs());
        }
        assert_eq!(pauses, [0, 15, 30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
    }

    #[test]
    fn a_promise_is_given_back() {
        let promised = Arc::new(AtomicU64::new(0));
        let mut promise = Promise::new(promised.clone(), 100);
        promise.written(30);
        assert_eq!(promised.load(Ordering::SeqCst), 70);
        promise.written(1_000);
        assert_eq!(promised.load(Ordering::SeqCst), 0);
        drop(promise);
        assert_eq!(promised.load(Ordering::SeqCst), 0);
    }
}
