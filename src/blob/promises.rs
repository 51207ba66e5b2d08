//! The bytes of the disk that transfers under way are promised, and the last failure for lack of room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::BlobError;
use crate::backoff::Backoff;
use crate::time::Moment;

/// The room promised to the transfers of one store, and the last failure for lack of room.
#[derive(Default)]
pub(super) struct Promises {
    pub under_way: Arc<UnderWay>,
    setback: Mutex<Option<Setback>>,
}

/// The transfers under way of one store.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// The bytes that they still lack on the disk.
    lacking: AtomicU64,
    /// The whole lengths of their objects.
    coming: AtomicU64,
}

impl UnderWay {
    /// The bytes that they still lack, and the whole lengths of their objects.
    pub fn totals(&self) -> (u64, u64) {
        (self.lacking.load(Ordering::SeqCst), self.coming.load(Ordering::SeqCst))
    }
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

/// The bytes that one transfer still lacks, and the length of its object; dropping it frees them for others.
pub(super) struct Promise {
    under_way: Arc<UnderWay>,
    left: u64,
    whole: u64,
}

impl Promise {
    /// A promise for an object of `whole` bytes, of which `left` are still to be written.
    pub fn new(under_way: Arc<UnderWay>, left: u64, whole: u64) -> Promise {
        under_way.lacking.fetch_add(left, Ordering::SeqCst);
        under_way.coming.fetch_add(whole, Ordering::SeqCst);
        Promise { under_way, left, whole }
    }

    /// Notes that this many bytes are written now; they are no longer free.
    pub fn written(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.under_way.lacking.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.under_way.lacking.fetch_sub(self.left, Ordering::SeqCst);
        self.under_way.coming.fetch_sub(self.whole, Ordering::SeqCst);
    }
}

impl Promises {
    /// Notes that a write of an object of this length failed for lack of room, with this many bytes free.
    pub fn failed(&self, length: u64, free: u64, why: &BlobError, now: Moment) {
        let mut setback = self.lock();
        let length = setback.as_ref().map_or(length, |last| last.length.min(length));
        let mut backoff = setback.as_ref().map_or(BACKOFF, |last| last.backoff);
        let pause = if setback.is_some() { backoff.next() } else { Duration::ZERO };
        *setback = Some(Setback { length, backoff, until: now + pause, free, why: why.to_string() });
    }

    /// Clears the last failure: the next write is tried, however recent that failure was.
    pub fn clear(&self) {
        self.lock().take();
    }

    /// Notes that an object of this length was written: a refusal of objects of its length is over.
    pub fn succeeded(&self, length: u64) {
        self.lock().take_if(|setback| setback.length <= length);
    }

    pub fn refuses(&self, length: u64, free: u64, now: Moment) -> Option<BlobError> {
        let mut setback = self.lock();
        setback.take_if(|setback| free >= setback.free.saturating_add(setback.length.clamp(1, MUCH_MORE)));
        let setback = setback.as_ref().filter(|s| s.length <= length && s.until > now)?;
        Some(BlobError::NoRoomLately { length, why: setback.why.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Setback>> {
        self.setback.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        let under_way = Arc::new(UnderWay::default());
        let mut promise = Promise::new(under_way.clone(), 100, 300);
        promise.written(30);
        assert_eq!(under_way.totals(), (70, 300));
        promise.written(1_000);
        assert_eq!(under_way.totals(), (0, 300));
        drop(promise);
        assert_eq!(under_way.totals(), (0, 0));
    }
}
