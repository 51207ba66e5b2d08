//! The places of peers: numbered peers, and the addresses of all.

use super::network::Slot;
use crate::id::{KeyHash, Position, sha256};
use crate::wire::{Address, Entry, Life, Target};

/// The entry of a numbered peer, with its own key or that of another number.
pub(super) fn numbered(slot: Slot, number: u8, key: u8, incarnation: u64) -> Entry {
    let (position, key) = (Position::of_number(number), KeyHash(sha256(&[key])));
    Entry::from(Life { position, incarnation, key, address: address_of(slot) })
}

/// The target by which a numbered peer of a world is reached.
pub fn contact(number: u8) -> Target {
    Target { address: address_of(Slot::from(number)), position: Some(Position::of_number(number)) }
}

pub(super) fn address_of(slot: Slot) -> Address {
    // The port is there only because every address has one.
    Address::new(&format!("p{slot}:1")).unwrap_or_else(|error| unreachable!("{error}"))
}

/// The slot that an address of [`address_of`] names.
pub(super) fn slot_of(address: &Address) -> Slot {
    let digits = address.as_str().bytes().skip(1).take_while(u8::is_ascii_digit);
    digits.fold(0, |slot, digit| slot * 10 + Slot::from(digit - b'0'))
}

pub(super) const SLOT_OF_THIEF: Slot = 1_000;
pub(super) const SLOT_OF_CLONE: Slot = 2_000;
pub(super) const SLOT_OF_SELF_PLACED: Slot = 4_096;
