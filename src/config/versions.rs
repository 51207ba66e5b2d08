//! How many versions of a name a ring keeps, and for how long.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How many versions of a name a ring keeps, and for how long the bytes of a version stay once another one replaced it.
///
/// The count bounds the list of a name's versions. The time bounds the bytes of its earlier ones; those of the current
/// version always stay. More of either takes more disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepVersions {
    /// The most versions of a name, the current one among them: 1 to [`KeepVersions::COUNT_MAX`].
    pub count: u8,
    /// The time after which a version that was replaced has no claim to its bytes, in seconds: 1 to
    /// [`KeepVersions::SECONDS_MAX`].
    pub seconds: u32,
}

impl KeepVersions {
    /// The most versions: the records of so many fit one message.
    pub const COUNT_MAX: u8 = 20;
    /// The longest time: ten years.
    pub const SECONDS_MAX: u32 = 3_650 * DAY_SECONDS;
    /// 16 versions, and 30 days.
    pub const DEFAULT: KeepVersions = KeepVersions { count: 16, seconds: 30 * DAY_SECONDS };

    /// The time for which the bytes of a replaced version stay.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// The time with its unit, the largest that divides it: `30d`.
    pub fn time(&self) -> String {
        let units = [(DAY_SECONDS, 'd'), (3_600, 'h'), (60, 'm')];
        let divides = |(seconds, _): &(u32, char)| self.seconds.is_multiple_of(*seconds);
        let (seconds, unit) = units.into_iter().find(divides).unwrap_or((1, 's'));
        format!("{}{unit}", self.seconds / seconds)
    }

    pub(super) fn is_within_bounds(&self) -> bool {
        (1..=Self::COUNT_MAX).contains(&self.count) && (1..=Self::SECONDS_MAX).contains(&self.seconds)
    }
}

impl Default for KeepVersions {
    fn default() -> KeepVersions {
        KeepVersions::DEFAULT
    }
}

/// Reads a number of versions, a time, or both with a comma between, in either order: `8`, `90d`, `8,90d`. A bound that is not
/// named has its default. Units of time are s, m, h and d.
impl FromStr for KeepVersions {
    type Err = String;

    fn from_str(text: &str) -> Result<KeepVersions, String> {
        let wrong = || {
            let (most, days) = (KeepVersions::COUNT_MAX, KeepVersions::SECONDS_MAX / DAY_SECONDS);
            format!("1 to {most} versions, a time from 1s to {days}d, or both: 8, 90d or 8,90d")
        };
        let (mut count, mut seconds) = (None, None);
        for part in text.split(',') {
            match read_part(part).ok_or_else(wrong)? {
                Part::Count(value) if count.is_none() => count = Some(value),
                Part::Seconds(value) if seconds.is_none() => seconds = Some(value),
                _ => return Err(wrong()),
            }
        }
        let default = KeepVersions::DEFAULT;
        let keep = KeepVersions {
            count: count.unwrap_or(default.count),
            seconds: seconds.unwrap_or(default.seconds),
        };
        Some(keep).filter(KeepVersions::is_within_bounds).ok_or_else(wrong)
    }
}

enum Part {
    Count(u8),
    Seconds(u32),
}

fn read_part(part: &str) -> Option<Part> {
    let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
    let (number, unit) = part.split_at(digits);
    let seconds = match unit {
        "" => return number.parse().ok().map(Part::Count),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => DAY_SECONDS,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(seconds).map(Part::Seconds)
}

/// As [`FromStr`] reads it: `16,30d`.
impl fmt::Display for KeepVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.count, self.time())
    }
}

const DAY_SECONDS: u32 = 24 * 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_are_read_in_either_order() {
        let keep = |count, seconds| Ok(KeepVersions { count, seconds });
        for (text, expected) in [
            ("1", keep(1, 30 * DAY_SECONDS)),
            ("20", keep(20, 30 * DAY_SECONDS)),
            ("90d", keep(16, 90 * DAY_SECONDS)),
            ("8,12h", keep(8, 12 * 3_600)),
            ("1s,2", keep(2, 1)),
            ("3650d", keep(16, KeepVersions::SECONDS_MAX)),
            ("5m", keep(16, 300)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
            assert_eq!(expected.clone().unwrap().to_string().parse(), expected, "{text}");
        }
        assert_eq!(KeepVersions::DEFAULT.to_string(), "16,30d");
    }

    #[test]
    fn what_is_no_bound_is_refused_with_the_bounds() {
        for bad in [
            "",
            "0",
            "-1",
            "21",
            "256",
            "99999999999999999999",
            "0d",
            "-3d",
            "3651d",
            "4294967295d",
            "1w",
            "16,",
            ",16",
            "16,16",
            "1d,2d",
            "16,30d,1",
            "1.5d",
            "d",
            "16 30d",
            "٣",
            "NaN",
        ] {
            let why = bad.parse::<KeepVersions>().unwrap_err();
            assert_eq!(why, "1 to 20 versions, a time from 1s to 3650d, or both: 8, 90d or 8,90d", "{bad}");
        }
    }
}
