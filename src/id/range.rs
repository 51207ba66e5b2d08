//! Ranges of keys, as numbers: from a first key to a last one, without going around zero.

use serde::{Deserialize, Serialize};

use super::Position;

/// The keys from a first one to a last one, both included. A range of the circle that goes around zero is two of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key of the range.
    pub first: Position,
    /// The last key of the range, not before the first one. A range that another peer names may break this: then it
    /// contains no key.
    pub last: Position,
}

impl KeyRange {
    /// All keys.
    pub const WHOLE: KeyRange = KeyRange { first: Position::ZERO, last: Position::MAX };

    /// The keys that a peer at `to` owns if its predecessor stands at `after`: clockwise after `after`, up to `to`. If
    /// both are the same, these are all keys.
    pub fn owned(after: &Position, to: &Position) -> Vec<KeyRange> {
        match after.next() {
            _ if after == to => vec![KeyRange::WHOLE],
            None => vec![KeyRange { first: Position::ZERO, last: *to }],
            Some(first) if first <= *to => vec![KeyRange { first, last: *to }],
            Some(first) => {
                vec![KeyRange { first: Position::ZERO, last: *to }, KeyRange { first, last: Position::MAX }]
            }
        }
    }

    /// Whether a key is in the range.
    pub fn contains(&self, key: &Position) -> bool {
        self.first <= *key && *key <= self.last
    }

    /// The keys that both ranges contain; `None` if there are none.
    pub fn common(&self, other: &KeyRange) -> Option<KeyRange> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(KeyRange { first, last })
    }

    /// The parts of the range, in order: one for each value of the first hexadecimal digit in which the first and the
    /// last key differ. A range of one key has one part, itself.
    pub fn parts(&self) -> Vec<KeyRange> {
        let Some(place) = (0..DIGITS).find(|place| digit(&self.first, *place) != digit(&self.last, *place))
        else {
            return vec![*self];
        };
        let block = |value| {
            let first = with_rest(&self.first, place, value, 0);
            self.common(&KeyRange { first, last: with_rest(&self.first, place, value, 0xf) })
        };
        (digit(&self.first, place)..=digit(&self.last, place)).filter_map(block).collect()
    }
}

impl Position {
    /// The next point of the circle; `None` after the last one.
    pub fn next(&self) -> Option<Position> {
        (*self != Position::MAX).then(|| Position::MAX.distance_to(self))
    }
}

/// The hexadecimal digit at this place, the greatest first.
fn digit(key: &Position, place: usize) -> u8 {
    let byte = key.0[place / 2];
    if place.is_multiple_of(2) { byte >> 4 } else { byte & 0xf }
}

/// The key with another digit at one place, and the same digit `rest` at all places after it.
fn with_rest(key: &Position, place: usize, value: u8, rest: u8) -> Position {
    let mut bytes = key.0;
    bytes[place / 2] = match place % 2 {
        0 => value << 4 | rest,
        _ => bytes[place / 2] & 0xf0 | value,
    };
    bytes[place / 2 + 1..].fill(rest << 4 | rest);
    Position(bytes)
}

/// The hexadecimal digits of a key.
const DIGITS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::owns;
    use super::super::tests::position;
    use super::*;

    #[test]
    fn the_whole_circle_has_sixteen_parts() {
        let parts = KeyRange::WHOLE.parts();
        assert_eq!(parts.len(), 16);
        assert_eq!(parts[2].first.as_bytes()[..2], [0x20, 0]);
        assert_eq!(parts[2].last.as_bytes()[..2], [0x2f, 0xff]);
        let one = KeyRange { first: Position::MAX, last: Position::MAX };
        assert_eq!(one.parts(), [one]);
        assert_eq!(KeyRange::owned(&Position::MAX, &Position::MAX), [KeyRange::WHOLE]);
        assert_eq!(KeyRange::owned(&Position::MAX, &Position::of_number(7)).len(), 1);
    }

    proptest! {
        /// Goal: the ranges of an owner contain just the keys that it owns.
        #[test]
        fn an_owners_ranges_are_what_it_owns(after in position(), to in position(), key in position()) {
            let ranges = KeyRange::owned(&after, &to);
            prop_assert_eq!(ranges.iter().filter(|range| range.contains(&key)).count(), usize::from(owns(&after, &key, &to)));
            prop_assert!(ranges.iter().all(|range| range.first <= range.last));
        }

        /// Goal: the parts of a range follow each other without a gap, and there are at least two of more than one key.
        #[test]
        fn parts_make_up_the_range(a in position(), b in position()) {
            let range = KeyRange { first: a.min(b), last: a.max(b) };
            let parts = range.parts();
            prop_assert_eq!((parts[0].first, parts[parts.len() - 1].last), (range.first, range.last));
            prop_assert!(parts.windows(2).all(|pair| pair[0].last.next() == Some(pair[1].first)));
            prop_assert!(parts.len() <= 16 && (parts.len() > 1 || a == b));
        }
    }
}
