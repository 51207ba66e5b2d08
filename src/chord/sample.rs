//! Peers for the unit tests of this module.

use crate::id::{KeyHash, Position};
use crate::wire::{Address, Entry, Life};

/// A peer with this number, in its first life, at a port of its own.
pub(super) fn entry(number: u8) -> Entry {
    Entry::from(Life {
        position: Position::of_number(number),
        incarnation: 1,
        key: KeyHash([number; 32]),
        address: Address::new(&format!("127.0.0.1:{}", 12_000 + u16::from(number))).unwrap(),
    })
}

/// Peers with these numbers.
pub(super) fn entries(numbers: &[u8]) -> Vec<Entry> {
    numbers.iter().map(|number| entry(*number)).collect()
}
