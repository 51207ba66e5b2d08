//! What the peers around a name key say of a name.
//!
//! The first 2R − 1 members from the key on have a word. A record counts whoever has it, since its
//! signature is checked. "There is none" needs the word of all of them: who does not answer, is known to
//! be away or is still taking over its range may be the one that has it.

use std::collections::BTreeSet;

use super::record::CheckedRecord;
use crate::id::Position;
use crate::wire::NameRecord;

/// One peer's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The record that it has.
    pub record: Option<CheckedRecord>,
    /// It is still taking over its range: its "no" is no vote.
    pub syncing: bool,
}

impl Vote {
    /// The record for which nobody else need be asked when it is the owner of the name that says it.
    pub fn if_it_suffices(&self) -> Option<&NameRecord> {
        self.record.as_ref().filter(|_| !self.syncing).map(CheckedRecord::record)
    }
}

/// The words that were heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Votes {
    greatest: Option<CheckedRecord>,
    /// Asked, and have no word yet.
    silent: BTreeSet<Position>,
    away: BTreeSet<Position>,
    apart: BTreeSet<Position>,
}

/// What they come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The greatest record that any of them has.
    Found(Box<NameRecord>),
    /// All of them say that there is none.
    Unknown,
    /// None has a record, and the word of these is missing.
    CannotTell {
        /// Who did not answer, is still taking over, or is away.
        silent: Vec<Position>,
        /// Some of these were asked, and may have a word in a moment: they are still taking over, or could not be
        /// reached right now. The others are known to be away.
        in_a_moment: bool,
    },
}

impl Votes {
    /// The first from the name key on are asked, and those that may have kept it apart from these, for what they kept:
    /// what they take over at the moment does not matter. Those that are away would be asked if they were not.
    pub fn new(
        first: impl IntoIterator<Item = Position>,
        apart: impl IntoIterator<Item = Position>,
        away: impl IntoIterator<Item = Position>,
    ) -> Votes {
        let apart: BTreeSet<Position> = apart.into_iter().collect();
        let silent = first.into_iter().chain(apart.iter().copied()).collect();
        Votes { greatest: None, silent, away: away.into_iter().collect(), apart }
    }

    /// Hears one of them; `None` when it did not answer, or nothing that can be used.
    pub fn hear(&mut self, peer: Position, vote: Option<Vote>) {
        let Some(Vote { record, syncing }) = vote else { return };
        if record.is_some() || !syncing || self.apart.contains(&peer) {
            self.silent.remove(&peer);
            self.away.remove(&peer);
        }
        if let Some(record) = record
            && self.greatest.as_ref().is_none_or(|greatest| record.rank() > greatest.rank())
        {
            self.greatest = Some(record);
        }
    }

    /// What they come to, as far as they were heard.
    pub fn verdict(self) -> Verdict {
        let Votes { greatest, silent, away, apart: _ } = self;
        match greatest {
            Some(greatest) => Verdict::Found(Box::new(greatest.record().clone())),
            None if silent.is_empty() && away.is_empty() => Verdict::Unknown,
            None => Verdict::CannotTell {
                silent: silent.union(&away).copied().collect(),
                in_a_moment: !silent.is_empty(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{checked, record};
    use super::*;

    fn peer(number: u8) -> Position {
        Position::of_number(number)
    }

    fn no(syncing: bool) -> Option<Vote> {
        Some(Vote { record: None, syncing })
    }

    fn has(clock: u64, syncing: bool) -> Option<Vote> {
        Some(Vote { record: Some(checked(record(clock, 1, None))), syncing })
    }

    #[test]
    fn who_is_asked_for_what_it_kept_apart_has_a_vote_while_it_takes_over() {
        let mut votes = Votes::new([peer(1)], [peer(2), peer(3)], []);
        votes.hear(peer(1), no(false));
        votes.hear(peer(2), no(true));
        let missing = Verdict::CannotTell { silent: vec![peer(3)], in_a_moment: true };
        assert_eq!(votes.clone().verdict(), missing);
        let mut found = votes.clone();
        found.hear(peer(3), has(1, true));
        assert!(matches!(found.verdict(), Verdict::Found(_)));
        votes.hear(peer(3), no(false));
        assert_eq!(votes.verdict(), Verdict::Unknown);
    }

    #[test]
    fn a_no_needs_the_word_of_all() {
        let mut votes = Votes::new([1, 2].map(peer), [], [3].map(peer));
        votes.hear(peer(1), no(false));
        let missing = |silent: &[u8], in_a_moment| {
            let silent = silent.iter().map(|number| peer(*number)).collect();
            Verdict::CannotTell { silent, in_a_moment }
        };
        votes.hear(peer(2), None);
        assert_eq!(votes.clone().verdict(), missing(&[2, 3], true));
        votes.hear(peer(2), no(true));
        assert_eq!(votes.clone().verdict(), missing(&[2, 3], true));
        votes.hear(peer(2), no(false));
        assert_eq!(votes.clone().verdict(), missing(&[3], false), "nobody who was asked is silent");
        votes.hear(peer(3), no(false));
        assert_eq!(votes.verdict(), Verdict::Unknown, "it answers, whatever was known of it");
    }

    #[test]
    fn a_record_counts_whoever_has_it() {
        let mut votes = Votes::new([1, 2, 3].map(peer), [], [4].map(peer));
        votes.hear(peer(1), has(5, true));
        votes.hear(peer(2), has(7, false));
        votes.hear(peer(3), no(false));
        let greatest = record(7, 1, None).decode().unwrap();
        assert_eq!(votes.verdict(), Verdict::Found(Box::new(greatest)));
    }

    #[test]
    fn only_an_owner_that_has_taken_over_speaks_for_all() {
        assert!(has(5, false).unwrap().if_it_suffices().is_some());
        assert_eq!(has(5, true).unwrap().if_it_suffices(), None);
        assert_eq!(no(false).unwrap().if_it_suffices(), None);
    }

    proptest! {
        /// Goal: "there is none" never comes out while one of those asked is silent, away or syncing; nor
        /// while one has a record. The order of the answers decides nothing.
        #[test]
        fn a_no_is_a_no_of_everybody(
            // For each of those asked: does not answer, syncs, says no, has a record.
            answers in prop::collection::vec(0u8..4, 1..8),
            away in 0u8..3,
            rotate in 0usize..8,
        ) {
            let asked: Vec<(Position, u8)> =
                answers.iter().enumerate().map(|(i, answer)| (peer(i as u8), *answer)).collect();
            let away: Vec<Position> = (100..100 + away).map(peer).collect();
            let heard = |order: &mut dyn Iterator<Item = &(Position, u8)>| {
                let mut votes = Votes::new(asked.iter().map(|(peer, _)| *peer), [], away.clone());
                for (peer, answer) in order {
                    let clock = u64::from(peer.number().unwrap());
                    votes.hear(*peer, match answer {
                        0 => None,
                        1 => no(true),
                        2 => no(false),
                        _ => has(clock, clock % 2 == 0),
                    });
                }
                votes.verdict()
            };
            let middle = rotate % asked.len();
            let verdict = heard(&mut asked.iter());
            prop_assert_eq!(&verdict, &heard(&mut asked[middle..].iter().chain(&asked[..middle]).rev()));
            let (any, all_no) = (answers.contains(&3), away.is_empty() && answers.iter().all(|a| *a == 2));
            match verdict {
                Verdict::Found(record) => {
                    let greatest = asked.iter().filter(|(_, a)| *a == 3).map(|(p, _)| p.number()).max();
                    prop_assert_eq!(record.clock.unix_ms(), u64::from(greatest.unwrap().unwrap()));
                }
                Verdict::Unknown => prop_assert!(all_no && !any),
                Verdict::CannotTell { silent, in_a_moment } => {
                    prop_assert!(!any && !all_no);
                    let missing = asked.iter().filter(|(_, a)| *a < 2).map(|(peer, _)| *peer);
                    prop_assert_eq!(silent, missing.chain(away.clone()).collect::<Vec<_>>());
                    prop_assert_eq!(in_a_moment, answers.iter().any(|answer| *answer < 2));
                }
            }
        }
    }
}
