//! How long a store, or a change to a name, goes on without success.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bytes::StreamError;
use super::progress::Progress;
use crate::backoff::Backoff;
use crate::time::Moment;

/// The patience of a store or of a change to a name: it goes on while something moves, and for the timeout after that.
pub(super) struct Patience {
    timeout: Duration,
    pub progress: Arc<Progress>,
    seen: u64,
    /// When something moved last.
    pub moved: Moment,
    begun: Moment,
    /// The error of the client, if it gave nothing when it was last asked.
    pub silence: Option<StreamError>,
}

impl Patience {
    pub fn begin(now: Moment, timeout: Duration, progress: Arc<Progress>) -> Patience {
        Patience { timeout, progress, seen: 0, moved: now, begun: now, silence: None }
    }

    /// The time that the store took, or the timeout itself if that ended it.
    pub fn waited(&self, now: Moment) -> Duration {
        let elapsed = now.since(self.begun);
        // No try begins that could not end before the deadline.
        match (elapsed + RETRY.peek()).checked_sub(self.timeout) {
            Some(more) if more < Duration::from_secs(1) => self.timeout,
            Some(_) => Duration::from_secs(elapsed.as_secs()),
            None => Duration::from_millis(elapsed.as_millis().max(1) as u64),
        }
    }

    pub fn deadline(&mut self, now: Moment) -> Moment {
        let done = self.progress.done.load(Ordering::Relaxed);
        if done != self.seen {
            self.seen = done;
            self.moved(now);
        }
        self.moved + self.timeout
    }

    /// Takes back all movement since then: it led nowhere.
    pub fn nothing_moved_since(&mut self, moved: Moment) {
        self.moved = moved;
        self.seen = self.progress.done.load(Ordering::Relaxed);
    }

    pub fn moved(&mut self, now: Moment) {
        self.moved = now;
        self.silence = None;
    }

    /// Notes bytes that another peer gives, or that move further down the chain.
    pub fn joined(&mut self, now: Moment, bytes: u64, length: u64) {
        self.moved(now);
        let done = self.progress.done.load(Ordering::Relaxed);
        if self.progress.total.load(Ordering::Relaxed) == 0 {
            self.progress.begin(bytes.min(length), length);
        } else {
            self.progress.advance(bytes.min(length.saturating_sub(done)));
        }
    }
}

/// The pause between two tries.
pub(super) const RETRY: Backoff = Backoff::steady(Duration::from_millis(250));

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the timeout ends a store in which no bytes move, not one that takes long.
    #[test]
    fn patience_lasts_as_long_as_something_moves() {
        let at = |seconds| Moment::default() + Duration::from_secs(seconds);
        let progress = Arc::new(Progress::default());
        let mut patience = Patience::begin(at(0), Duration::from_secs(30), progress.clone());
        assert_eq!(patience.deadline(at(1)), at(30), "nothing moved");
        progress.advance(1);
        assert_eq!(patience.deadline(at(2)), at(32), "a byte went");
        assert_eq!(patience.deadline(at(3)), at(32), "and no other");
    }
}
