//! The bounds within which hearsay is believed: how many strangers one peer may tell of, and how far a report may
//! exceed what a member itself confirmed.

use std::collections::BTreeMap;

use super::memory::TREE_ENTRY_BYTES;
use crate::id::Position;
use crate::wire::limits::{INCARNATION_LEAP_MAX, MEMBERS_MAX};
use crate::wire::{Entry, Member, MemberState};

/// The tellers of members that this peer has not met, and the incarnations that members confirmed themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Hearsay {
    /// Members that were never met, each with the peer that told of it.
    told: BTreeMap<Position, Position>,
    /// The number of such members of each teller.
    tellers: BTreeMap<Position, usize>,
    /// The last incarnation of a member that its own word confirmed.
    confirmed: BTreeMap<Position, u64>,
}

impl Hearsay {
    /// The most members never met that one peer may tell of: a liar fills at most this much of the table.
    pub(super) const TOLD_BY_ONE_MAX: usize = MEMBERS_MAX / 4;

    /// Whether this peer may tell of one more member that was never met here.
    pub(super) fn may_tell(&self, teller: &Position) -> bool {
        self.tellers.get(teller).is_none_or(|told| *told < Hearsay::TOLD_BY_ONE_MAX)
    }

    /// Notes that `teller` told of a member.
    pub(super) fn note_told(&mut self, of: Position, teller: Position) {
        self.note_met(&of);
        self.told.insert(of, teller);
        *self.tellers.entry(teller).or_default() += 1;
    }

    /// Notes that a member was met, or is forgotten: it no longer counts against its teller.
    pub(super) fn note_met(&mut self, position: &Position) {
        let Some(teller) = self.told.remove(position) else { return };
        if let Some(told) = self.tellers.get_mut(&teller) {
            *told -= 1;
            if *told == 0 {
                self.tellers.remove(&teller);
            }
        }
    }

    /// Notes that a member's own word confirmed this life.
    pub(super) fn note_confirmed(&mut self, entry: &Entry) {
        let confirmed = self.confirmed.entry(entry.position).or_default();
        *confirmed = (*confirmed).max(entry.incarnation);
    }

    /// Forgets a member.
    pub(super) fn forget(&mut self, position: &Position) {
        self.confirmed.remove(position);
        self.note_met(position);
    }

    /// Whether hearsay about a member can be believed, where `known` is what this peer knows of it. It may exceed the
    /// last incarnation the member itself confirmed by at most a leap. Earlier hearsay does not count: step by step it
    /// would lead beyond what the member itself believes, and the member could not contradict it. News that the member
    /// is alive may leap twice as far, so that every believed death can be contradicted, by hearsay too.
    pub(super) fn may_be(&self, known: Option<&Member>, report: &Member) -> bool {
        if known.is_some_and(|known| known.entry.incarnation >= report.entry.incarnation) {
            return true;
        }
        let confirmed = self.confirmed.get(&report.entry.position).copied().unwrap_or(0);
        let leap = match report.state {
            MemberState::Alive => CONTRADICTED_LEAP_MAX,
            MemberState::Left | MemberState::Dead => INCARNATION_LEAP_MAX,
        };
        report.entry.incarnation <= confirmed.saturating_add(leap)
    }

    /// The memory that this takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        (self.told.len() + self.tellers.len() + self.confirmed.len()) * TREE_ENTRY_BYTES
    }
}

/// The most by which the incarnation that contradicts a believed death may exceed the last confirmed one.
pub(super) const CONTRADICTED_LEAP_MAX: u64 = 2 * INCARNATION_LEAP_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::sample::entry;

    fn report(incarnation: u64, state: MemberState) -> Member {
        Member { entry: entry(1).with_incarnation(incarnation), state }
    }

    /// Rule: every believed death can be contradicted.
    #[test]
    fn hearsay_leaps_a_bounded_way_beyond_the_confirmed_life() {
        let mut hearsay = Hearsay::default();
        hearsay.note_confirmed(&entry(1).with_incarnation(5));
        let dead = |incarnation| hearsay.may_be(None, &report(incarnation, MemberState::Dead));
        assert!(dead(5 + INCARNATION_LEAP_MAX) && !dead(6 + INCARNATION_LEAP_MAX));
        let alive = |incarnation| hearsay.may_be(None, &report(incarnation, MemberState::Alive));
        assert!(alive(5 + 2 * INCARNATION_LEAP_MAX) && !alive(6 + 2 * INCARNATION_LEAP_MAX));
        let known = report(u64::MAX, MemberState::Alive);
        assert!(
            hearsay.may_be(Some(&known), &report(u64::MAX, MemberState::Dead)),
            "of a life that is known"
        );
    }

    #[test]
    fn a_teller_is_relieved_of_members_that_were_met() {
        let mut hearsay = Hearsay::default();
        let teller = entry(9).position;
        let stranger = |number: u64| {
            let mut position = Position::ZERO;
            position.0[..8].copy_from_slice(&number.to_be_bytes());
            position
        };
        for number in 0..Hearsay::TOLD_BY_ONE_MAX as u64 {
            assert!(hearsay.may_tell(&teller));
            hearsay.note_told(stranger(number), teller);
        }
        assert!(!hearsay.may_tell(&teller) && hearsay.may_tell(&entry(8).position));
        hearsay.note_told(stranger(0), entry(8).position);
        assert!(hearsay.may_tell(&teller), "another peer told of it since");
        hearsay.note_met(&stranger(1));
        hearsay.forget(&stranger(2));
        assert_eq!(hearsay.tellers[&teller], Hearsay::TOLD_BY_ONE_MAX - 3);
    }
}
