//! The count of refused tickets.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts refused tickets, and bounds the lines that are told of them.
#[derive(Debug, Default)]
pub(in crate::peer) struct RefusedTickets(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    total: u64,
    lines: u32,
    since: Option<Instant>,
}

impl RefusedTickets {
    /// Counts one more; returns the number so far if a line may be told of it.
    pub(super) fn count(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.total += 1;
        if told.since.is_none_or(|since| now.saturating_duration_since(since) >= LINES_TIME) {
            (told.since, told.lines) = (Some(now), 0);
        }
        told.lines += 1;
        (told.lines <= LINES_MAX).then_some(told.total)
    }
}

/// The most lines about refused tickets in this time: a flood does not fill the log.
const LINES_MAX: u32 = 16;
const LINES_TIME: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_guesses_does_not_fill_the_log() {
        let (refused, begin) = (RefusedTickets::default(), Instant::now());
        let told = (0..1_000).filter_map(|_| refused.count(begin)).count();
        assert_eq!(told, LINES_MAX as usize);
        assert_eq!(refused.count(begin + LINES_TIME), Some(1_001));
    }
}
