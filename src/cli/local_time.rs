//! Times of day as people read them: by the clock and the time zone of the machine on which they are shown.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The present time, in the time zone of this machine.
#[derive(Debug, Clone)]
pub(super) struct LocalTime(Zoned);

impl LocalTime {
    pub(super) fn now() -> LocalTime {
        LocalTime(Zoned::now())
    }

    /// This second since the Unix epoch, in this zone.
    #[cfg(test)]
    pub(super) fn at(second: i64, zone: TimeZone) -> LocalTime {
        LocalTime(Timestamp::from_second(second).unwrap().to_zoned(zone))
    }

    /// The present second since the Unix epoch.
    pub(super) fn second(&self) -> u64 {
        u64::try_from(self.0.timestamp().as_second()).unwrap_or_default()
    }

    /// The time of day of this millisecond since the Unix epoch, "12:04"; with the date unless it is today. `None` for
    /// a time out of any calendar.
    pub(super) fn of_day(&self, unix_ms: u64) -> Option<String> {
        let time = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
        let time = time.to_zoned(TimeZone::clone(self.0.time_zone()));
        let form = if time.date() == self.0.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
        Some(time.strftime(form).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let zone = || TimeZone::fixed(jiff::tz::offset(1));
        // 2026-11-26, 00:30 in this zone.
        let now = LocalTime::at(1_795_649_400, zone());
        assert_eq!(now.of_day(1_795_649_400_000).unwrap(), "00:30");
        assert_eq!(now.of_day(1_795_649_400_000 - 3_600_000).unwrap(), "2026-11-25 23:30");
        assert_eq!(now.of_day(u64::MAX), None);
        assert_eq!(now.second(), 1_795_649_400);
    }
}
