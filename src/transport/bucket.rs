//! A token bucket: a burst at once, and a rate in the long run.
//!
//! Not the crate governor: its keyed limiters can only be asked by paying, while here a source pays for failures and is
//! checked before; and its tables have no upper bound.

use std::time::{Duration, Instant};

/// The allowed burst and rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// The number of tokens that may be taken at once.
    pub(super) burst: f64,
    /// The number of tokens that are added per second.
    pub(super) per_second: f64,
}

/// The tokens that one source or peer has left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now: Instant) -> Bucket {
        Bucket { rate, tokens: rate.burst, at: now }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// Puts back a token that was taken.
    pub(super) fn put_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.rate.burst);
    }

    /// The part of the burst that is left, 0.0 to 1.0; nothing is taken.
    pub(super) fn left(&mut self, now: Instant) -> f64 {
        self.refill(now);
        if self.tokens < 1.0 { 0.0 } else { self.tokens / self.rate.burst }
    }

    /// The time until the next token is there.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        self.refill(now);
        Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / self.rate.per_second)
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate.per_second).min(self.rate.burst);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let now = Instant::now();
        let mut bucket = Bucket::full(Rate { burst: 3.0, per_second: 2.0 }, now);
        assert!((0..3).all(|_| bucket.take(now)));
        assert!(!bucket.take(now));
        assert_eq!((bucket.left(now), bucket.wait(now)), (0.0, Duration::from_millis(500)));
        assert!(bucket.take(now + Duration::from_millis(600)));
        assert!(!bucket.take(now + Duration::from_millis(700)));
        let later = now + Duration::from_secs(60);
        assert!((bucket.left(later) - 1.0).abs() < 1e-9, "never more than the burst");
        assert!(bucket.take(now), "a clock that goes back takes nothing away");
    }
}
