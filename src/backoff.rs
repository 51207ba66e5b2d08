//! Backoff: the pauses between tries of what has failed.
//!
//! Exponential backoff (Metcalfe and Boggs, *Ethernet: Distributed Packet Switching for Local Computer Networks*, CACM
//! 1976); with jitter (Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog 2015, "equal jitter") where many
//! peers may try in step. A [`Backoff`] is a value: it reads no clock, waits for nothing, and takes chance from the
//! caller's generator. The caller bounds the number of tries, or the time for them.
//!
//! Crates for this bring the loop and the sleep of a runtime along, which the pure core must not have; the pauses alone
//! are the few lines below.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// The rule for the pauses between tries, and the number of tries that have failed so far.
///
/// A constant of this type is a rule; a copy of it counts. Where failures are counted anyway, in a table for example,
/// [`Backoff::after`] tells the pause by that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    growth: Growth,
    failures: u32,
}

/// How a pause follows from the number of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// Each pause is longer than the last by the first one.
    Linear,
    /// Each pause is this many times the last.
    Exponential(u32),
}

impl Backoff {
    /// Pauses that are all the same.
    pub(crate) const fn steady(pause: Duration) -> Backoff {
        Backoff::exponential(pause, 1, pause)
    }

    /// Pauses of `min`, twice that, four times that, and so on, at most `max`.
    pub(crate) const fn doubling(min: Duration, max: Duration) -> Backoff {
        Backoff::exponential(min, 2, max)
    }

    /// Pauses that begin with `min`, each `factor` times the last, at most `max`.
    pub(crate) const fn exponential(min: Duration, factor: u32, max: Duration) -> Backoff {
        Backoff { min, max, growth: Growth::Exponential(factor), failures: 0 }
    }

    /// Pauses of `min`, twice that, three times that, and so on, at most `max`.
    pub(crate) const fn linear(min: Duration, max: Duration) -> Backoff {
        Backoff { min, max, growth: Growth::Linear, failures: 0 }
    }

    /// Counts a failure and gives the pause before the next try.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.peek();
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Like [`Backoff::next`], drawn from the upper half of that pause, so that several peers do not try in step.
    pub(crate) fn next_jittered(&mut self, chance: &mut impl Rng) -> Duration {
        self.next().mul_f64(chance.random_range(0.5..1.0))
    }

    /// The pause that [`Backoff::next`] would give.
    pub(crate) fn peek(&self) -> Duration {
        self.after(self.failures)
    }

    /// The pause after a failure that this many failures in a row preceded.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        let times = match self.growth {
            Growth::Linear => failures.saturating_add(1),
            Growth::Exponential(factor) => factor.saturating_pow(failures),
        };
        self.min.saturating_mul(times).min(self.max)
    }

    /// The number of failures since the beginning, or since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes a success: the next pause is the first one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds(mut backoff: Backoff) -> [u64; 6] {
        std::array::from_fn(|_| backoff.next().as_secs())
    }

    #[test]
    fn pauses_grow_as_they_are_said_to() {
        assert_eq!(seconds(Backoff::steady(3 * SECOND)), [3; 6]);
        assert_eq!(seconds(Backoff::doubling(2 * SECOND, 30 * SECOND)), [2, 4, 8, 16, 30, 30]);
        assert_eq!(seconds(Backoff::exponential(SECOND, 4, 15 * SECOND)), [1, 4, 15, 15, 15, 15]);
        assert_eq!(seconds(Backoff::linear(2 * SECOND, 9 * SECOND)), [2, 4, 6, 8, 9, 9]);
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::doubling(SECOND, 60 * SECOND);
        assert_eq!([backoff.next(), backoff.next(), backoff.peek()], [SECOND, 2 * SECOND, 4 * SECOND]);
        assert_eq!(backoff.failures(), 2);
        backoff.reset();
        assert_eq!((backoff.failures(), backoff.next()), (0, SECOND));
    }

    /// Goal: one seed gives one row of pauses, each in the upper half of the pause without jitter.
    #[test]
    fn jitter_shortens_by_half_at_most_and_comes_from_the_seed() {
        let row = |seed| {
            let (mut backoff, mut chance) =
                (Backoff::doubling(SECOND, 60 * SECOND), ChaCha8Rng::seed_from_u64(seed));
            std::array::from_fn::<Duration, 12, _>(|_| {
                let whole = backoff.peek();
                let pause = backoff.next_jittered(&mut chance);
                assert!(whole / 2 <= pause && pause <= whole, "{pause:?} of {whole:?}");
                pause
            })
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
    }

    proptest! {
        /// Goal: after any number of failures a pause is within its bounds and no shorter than the last.
        #[test]
        fn pauses_stay_within_their_bounds(
            min in 0u64..100_000, more in 0u64..10_000_000, factor in 1u32..10, failures: u32,
        ) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min + more));
            for rule in [Backoff::exponential(min, factor, max), Backoff::linear(min, max)] {
                let (pause, later) = (rule.after(failures), rule.after(failures.saturating_add(1)));
                prop_assert!(min <= pause && pause <= later && later <= max, "{:?}: {:?}, {:?}", rule, pause, later);
            }
        }
    }
}
