//! How many versions of a name a ring keeps, and for how long; and the encoding of the ring's settings.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RingSettings;

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

/// In words: `3 replicas, 8 successors, and 16 versions of a name, their bytes for 30d`.
impl fmt::Display for RingSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RingSettings { replicas, successors, versions } = self;
        write!(
            f,
            "{replicas} replicas, {successors} successors, and {} versions of a name, their bytes for {}",
            versions.count,
            versions.time()
        )
    }
}

/// R and r, one byte each, while the versions that are kept are the default: as before there was this setting. Otherwise
/// a zero, which no valid R is, then R, r, the number of versions and the seconds.
impl Serialize for RingSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let RingSettings { replicas, successors, versions } = self;
        if is_short(self) {
            return (replicas, successors).serialize(serializer);
        }
        let mut tuple = serializer.serialize_tuple(LONG_FIELDS)?;
        tuple.serialize_element(&LONG)?;
        tuple.serialize_element(replicas)?;
        tuple.serialize_element(successors)?;
        tuple.serialize_element(&versions.count)?;
        tuple.serialize_element(&versions.seconds)?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for RingSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RingSettings, D::Error> {
        deserializer.deserialize_tuple(LONG_FIELDS, SettingsVisitor)
    }
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = RingSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of a ring")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<RingSettings, A::Error> {
        fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(fields: &mut A) -> Result<T, A::Error> {
            fields.next_element()?.ok_or_else(|| A::Error::custom("the settings end early"))
        }
        let first: u8 = next(&mut fields)?;
        if first != LONG {
            let successors = next(&mut fields)?;
            return Ok(RingSettings { replicas: first, successors, versions: KeepVersions::DEFAULT });
        }
        let (replicas, successors) = (next(&mut fields)?, next(&mut fields)?);
        let versions = KeepVersions { count: next(&mut fields)?, seconds: next(&mut fields)? };
        let settings = RingSettings { replicas, successors, versions };
        if is_short(&settings) {
            return Err(A::Error::custom("the settings have two encodings"));
        }
        Ok(settings)
    }
}

fn is_short(settings: &RingSettings) -> bool {
    settings.replicas != LONG && settings.versions == KeepVersions::DEFAULT
}

/// The first byte of the longer encoding.
const LONG: u8 = 0;
/// The number of fields of the longer encoding.
const LONG_FIELDS: usize = 5;
const DAY_SECONDS: u32 = 24 * 3_600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::{decode, encode};

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

    /// Goal: the settings of a ring with the default are the two bytes that they always were.
    #[test]
    fn the_default_adds_no_byte_and_every_value_comes_back() {
        assert_eq!(encode(&RingSettings::default()).unwrap(), [3, 8]);
        for replicas in [0, 1, 3, 255] {
            for versions in [KeepVersions::DEFAULT, KeepVersions { count: 1, seconds: u32::MAX }] {
                let settings = RingSettings { replicas, successors: 2, versions };
                let bytes = encode(&settings).unwrap();
                assert_eq!(decode::<RingSettings>(&bytes), Ok(settings));
                assert!((1..bytes.len()).all(|short| decode::<RingSettings>(&bytes[..short]).is_err()));
            }
        }
        let long = encode(&(0_u8, 3_u8, 8_u8, 16_u8, 30 * DAY_SECONDS)).unwrap();
        assert!(decode::<RingSettings>(&long).is_err(), "the default has one encoding");
    }
}
