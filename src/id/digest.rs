//! The digest of a set of objects and name records: two peers that hold the same have the same digest.

use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ContentId, Position};

/// The digest of a set of objects and name records: their number, and the sum modulo 2^128 of one hash for each.
///
/// The sum does not depend on the order, so that what comes is added and what goes is subtracted. It tells sets apart
/// that differ by chance. A member that searches for names or contents with a chosen sum can hide from two peers that
/// they hold different sets; it can do no more than that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SetDigest {
    /// The number of objects, plus the number of names with records.
    pub count: u64,
    /// The sum of the hashes.
    pub sum: u128,
}

impl SetDigest {
    /// The digest of the set of this object alone, kept as a replica.
    pub fn of_object(content: &ContentId) -> SetDigest {
        SetDigest::of_one(&[b"object", &content.0])
    }

    /// The digest of the set of one object alone that is only cached, from its digest as a replica: no peer may count on
    /// it, so that it is not the same.
    pub fn cached(self) -> SetDigest {
        SetDigest { sum: self.sum.rotate_left(64), ..self }
    }

    /// The digest of the set of this name's records alone; `history` are the bytes of all records that are kept of it.
    pub fn of_records(key: &Position, history: &[u8]) -> SetDigest {
        SetDigest::of_one(&[b"record", &key.0, history])
    }

    fn of_one(parts: &[&[u8]]) -> SetDigest {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        let sum = hash.finalize().iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        SetDigest { count: 1, sum }
    }
}

/// The digest of two sets without common elements together.
impl Add for SetDigest {
    type Output = SetDigest;

    fn add(self, other: SetDigest) -> SetDigest {
        SetDigest { count: self.count.wrapping_add(other.count), sum: self.sum.wrapping_add(other.sum) }
    }
}

/// The digest of a set without the elements of a part of it.
impl Sub for SetDigest {
    type Output = SetDigest;

    fn sub(self, other: SetDigest) -> SetDigest {
        SetDigest { count: self.count.wrapping_sub(other.count), sum: self.sum.wrapping_sub(other.sum) }
    }
}

impl std::iter::Sum for SetDigest {
    fn sum<I: Iterator<Item = SetDigest>>(digests: I) -> SetDigest {
        digests.fold(SetDigest::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_is_no_record_of_the_same_key() {
        let content = ContentId::of(b"a");
        assert_ne!(SetDigest::of_object(&content), SetDigest::of_records(&content.key(), b""));
        assert_ne!(SetDigest::of_object(&content), SetDigest::of_object(&content).cached());
        assert_ne!(SetDigest::of_records(&content.key(), b"1"), SetDigest::of_records(&content.key(), b"2"));
    }

    proptest! {
        /// Goal: whatever came and went in whatever order, the digest is that of a recount; and other sets have other
        /// digests.
        #[test]
        fn any_history_gives_the_digest_of_a_recount(
            steps in prop::collection::vec((0u8..12, prop::option::of(0u8..4)), 0..60),
            other in prop::collection::btree_map(0u8..12, 0u8..4, 0..12),
        ) {
            let one = |key: u8, value: u8| match value {
                0 => SetDigest::of_object(&ContentId::of(&[key])),
                value => SetDigest::of_records(&Position::of_number(key), &[value]),
            };
            let recount = |held: &BTreeMap<u8, u8>| held.iter().map(|(key, value)| one(*key, *value)).sum::<SetDigest>();
            let (mut held, mut digest) = (BTreeMap::new(), SetDigest::default());
            for (key, value) in steps {
                let before = match value {
                    Some(value) => held.insert(key, value),
                    None => held.remove(&key),
                };
                digest = digest - before.map_or(SetDigest::default(), |before| one(key, before));
                digest = digest + value.map_or(SetDigest::default(), |value| one(key, value));
            }
            prop_assert_eq!(digest, recount(&held));
            prop_assert_eq!(digest.count, held.len() as u64);
            prop_assert_eq!(recount(&other) == digest, other == held);
        }
    }
}
