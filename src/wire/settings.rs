//! The encoding of the ring's settings.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{KeepVersions, RingSettings};

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

#[cfg(test)]
mod tests {
    use super::super::codec::{decode, encode};
    use super::*;

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
        let long = encode(&(0_u8, 3_u8, 8_u8, 16_u8, 30 * 24 * 3_600_u32)).unwrap();
        assert!(decode::<RingSettings>(&long).is_err(), "the default has one encoding");
    }
}
