//! Time as values: nothing here reads a clock.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on a monotonic clock, in microseconds since an origin that the driver chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The time since `earlier`, or zero if that lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Moment> for Moment {
    type Output = Duration;

    fn sub(self, earlier: Moment) -> Duration {
        self.since(earlier)
    }
}

/// A span in whole milliseconds; the greatest number where it is longer than that.
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A hybrid logical clock's reading (Kulkarni et al., *Logical Physical Clocks*, OPODIS 2014):
/// milliseconds since the Unix epoch in the upper 48 bits, a counter in the lower 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    const COUNTER_BITS: u32 = 16;

    /// The reading of a physical clock, its counter at zero.
    pub fn of_unix_ms(ms: u64) -> Timestamp {
        Timestamp(ms << Self::COUNTER_BITS)
    }

    /// The physical part, in milliseconds since the Unix epoch.
    pub fn unix_ms(self) -> u64 {
        self.0 >> Self::COUNTER_BITS
    }

    /// The next reading after this one: the physical clock if it is ahead, else this reading plus one.
    #[must_use]
    pub fn next(self, unix_ms: u64) -> Timestamp {
        Timestamp(Timestamp::of_unix_ms(unix_ms).0.max(self.0.saturating_add(1)))
    }
}

/// The physical part as RFC 3339 in UTC, to the second.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.unix_ms()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(time) => write!(f, "{:.0}", time.round(jiff::Unit::Second).unwrap_or(time)),
            None => f.write_str("beyond the calendar"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_moves_forward_when_the_clock_does_not() {
        let first = Timestamp::default().next(1_000);
        let second = first.next(1_000);
        let third = second.next(400);
        assert!(first < second && second < third);
        assert_eq!(third.unix_ms(), 1_000);
        assert_eq!(third.next(2_000), Timestamp::of_unix_ms(2_000));
        assert_eq!(Timestamp::of_unix_ms(0).to_string(), "1970-01-01T00:00:00Z");
    }
}
