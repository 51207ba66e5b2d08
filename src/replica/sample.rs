//! Rings of numbered peers for the tests of this module.

use crate::chord::{PhaseKind, Table, View};
use crate::config::RingSettings;
use crate::id::{KeyHash, Position};
use crate::wire::{Address, Entry, Life, Member, MemberState};

pub(super) fn peer(number: u8) -> Position {
    Position::of_number(number)
}

pub(super) fn entry(number: u8) -> Entry {
    let address = Address::new("127.0.0.1:1").unwrap();
    Entry::from(Life { position: peer(number), incarnation: 1, key: KeyHash([0; 32]), address })
}

pub(super) fn numbers<'a>(peers: impl IntoIterator<Item = &'a Position>) -> Vec<u8> {
    peers.into_iter().map(|peer| peer.number().unwrap()).collect()
}

pub(super) fn numbers_of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
    entries.into_iter().map(|entry| entry.position.number().unwrap()).collect()
}

/// The view of one peer of a small ring that knows all others.
pub(super) fn view_of(me: u8, others: &[u8]) -> View {
    view_with(me, others, &[])
}

/// Like [`view_of`], with some members that do not answer.
pub(super) fn view_with(me: u8, others: &[u8], away: &[u8]) -> View {
    let mut clockwise: Vec<Entry> = others.iter().map(|number| entry(*number)).collect();
    clockwise.sort_by_key(|other| peer(me).distance_to(&other.position));
    let member = |number: &u8, state| Member { entry: entry(*number), state };
    let mut members: Vec<Member> = others.iter().map(|number| member(number, MemberState::Alive)).collect();
    members.extend(away.iter().map(|number| member(number, MemberState::Dead)));
    let settings = RingSettings::default();
    View {
        me: entry(me),
        phase: PhaseKind::Active,
        settings: Some(settings),
        predecessor: clockwise.last().cloned(),
        successors: clockwise.into_iter().take(settings.successors.into()).collect(),
        members: Table::of(members),
        acquaintances: Vec::new(),
        rejoined: Default::default(),
        departed: Default::default(),
        full: Default::default(),
        small: true,
        waiting_for: Vec::new(),
        turn: Default::default(),
    }
}

/// The view of one of the peers 10, 20, 30, 40, 50.
pub(super) fn view(me: u8) -> View {
    let others: Vec<u8> = [10, 20, 30, 40, 50].into_iter().filter(|number| *number != me).collect();
    view_of(me, &others)
}
