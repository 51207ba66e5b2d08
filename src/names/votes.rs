//! The votes of the peers around a name key on a name.
//!
//! A record counts from any peer, since its signature is checked. The [`Election`] tells which peers' votes it
//! takes to deny a name.

use std::collections::BTreeMap;

use super::record::CheckedRecord;
use crate::id::{Position, RecordId};
use crate::replica::Election;
use crate::wire::NameRecord;

/// The vote of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The record that the peer has.
    pub record: Option<CheckedRecord>,
    /// Whether the peer is still taking over its range: then its "no" is no vote.
    pub syncing: bool,
}

/// The votes that were heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Votes {
    greatest: Option<CheckedRecord>,
    /// The record that each peer named, if it named any.
    said: BTreeMap<Position, Option<RecordId>>,
    election: Election,
}

/// The verdict on a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The greatest record that any voter has.
    Found(Box<NameRecord>),
    /// The name is unknown: had a record been acknowledged, one of the voters that said no would have it.
    Unknown,
    /// No voter has a record, and votes are missing.
    CannotTell {
        /// The peers that did not answer, are still taking over, or are away.
        silent: Vec<Position>,
        /// The silent peers that did answer: they are still taking over.
        taking_over: Vec<Position>,
        /// Whether some of the silent peers were asked, and may vote in a moment: they are still taking over, or could
        /// not be reached right now. The others are known to be away.
        in_a_moment: bool,
    },
}

impl Votes {
    /// A count without any vote yet, for this election.
    pub fn new(election: Election) -> Votes {
        Votes { greatest: None, said: BTreeMap::new(), election }
    }

    /// Takes the vote of one peer; `None` if it did not answer, or not in a usable way.
    pub fn hear(&mut self, peer: Position, vote: Option<Vote>) {
        let Some(Vote { record, syncing }) = vote else { return };
        self.said.insert(peer, record.as_ref().map(CheckedRecord::id));
        // The record of a peer that is taking over may be old.
        self.election.hear(&peer, !syncing);
        if let Some(record) = record
            && self.greatest.as_ref().is_none_or(|greatest| record.rank() > greatest.rank())
        {
            self.greatest = Some(record);
        }
    }

    /// Whether the rest need not be waited for. No single vote suffices: an owner that has just become one may lack
    /// what the owner before it and another replica have acknowledged.
    pub fn is_over(&self) -> bool {
        match self.greatest {
            Some(_) => self.has_the_newest(),
            None => self.election.is_over(),
        }
    }

    /// Whether the newest record that was acknowledged is among the votes, if there is one.
    pub fn has_the_newest(&self) -> bool {
        self.election.has_the_newest() || self.election.all_were_heard()
    }

    /// The greatest record, and those of the voters that named another one or none: they are behind.
    pub fn behind(&self) -> Option<(&CheckedRecord, Vec<Position>)> {
        let greatest = self.greatest.as_ref()?;
        let behind = self.said.iter().filter(|(_, said)| **said != Some(greatest.id()));
        Some((greatest, behind.map(|(peer, _)| *peer).collect()))
    }

    /// The greatest record among the votes.
    pub fn into_greatest(self) -> Option<CheckedRecord> {
        self.greatest
    }

    /// Whether there is a verdict even if the rest do not answer.
    pub fn is_decided(&self) -> bool {
        match self.greatest {
            Some(_) => self.has_the_newest(),
            None => self.election.is_decided(),
        }
    }

    /// The verdict of the votes so far.
    pub fn verdict(self) -> Verdict {
        match self.greatest {
            Some(greatest) => Verdict::Found(Box::new(greatest.record().clone())),
            None if self.election.is_decided() => Verdict::Unknown,
            None => Verdict::CannotTell {
                silent: self.election.silent().into_iter().collect(),
                taking_over: self.election.taking_over().into_iter().collect(),
                in_a_moment: self.election.may_change(),
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

    /// Five peers are asked; peer 1 owns the name, and three keep it.
    fn votes(away: &[u8]) -> Votes {
        let asked = (1..=5).filter(|n| !away.contains(n)).map(peer);
        let away = away.iter().map(|n| peer(*n));
        Votes::new(Election::new(3, &Position::ZERO, asked, away, []))
    }

    #[test]
    fn a_no_needs_so_many_words_that_one_of_them_would_have_it() {
        let mut votes = votes(&[3]);
        let missing = |silent: &[u8], taking_over: &[u8], in_a_moment| {
            let [silent, taking_over] =
                [silent, taking_over].map(|peers| peers.iter().copied().map(peer).collect());
            Verdict::CannotTell { silent, taking_over, in_a_moment }
        };
        votes.hear(peer(2), None);
        votes.hear(peer(1), no(true));
        assert_eq!(votes.clone().verdict(), missing(&[1, 2, 3, 4, 5], &[1], true));
        votes.hear(peer(1), no(false));
        votes.hear(peer(2), no(false));
        votes.hear(peer(5), no(false));
        assert_eq!(votes.clone().verdict(), missing(&[3, 4], &[], true), "these two may have it");
        votes.hear(peer(4), no(false));
        assert!(votes.is_over());
        assert_eq!(votes.clone().verdict(), Verdict::Unknown, "3 alone is no quorum");
        votes.hear(peer(3), has(4, false));
        assert!(matches!(votes.verdict(), Verdict::Found(_)), "it answers, whatever was known of it");
        let mut votes = self::votes(&[3, 4]);
        [1, 2, 5].map(peer).into_iter().for_each(|peer| votes.hear(peer, no(false)));
        assert!(!votes.is_over(), "3 and 4 are away");
        assert_eq!(votes.verdict(), missing(&[3, 4], &[], false), "nobody who was asked is silent");
    }

    #[test]
    fn a_record_counts_whoever_has_it() {
        let mut votes = votes(&[]);
        votes.hear(peer(4), has(5, true));
        votes.hear(peer(2), has(7, false));
        assert!(!votes.is_over() && !votes.is_decided(), "1 and 3 may have a newer one");
        votes.hear(peer(3), no(false));
        assert!(votes.is_over());
        let greatest = record(7, 1, None).decode().unwrap();
        assert_eq!(votes.verdict(), Verdict::Found(Box::new(greatest)));
    }

    /// Reported: the first replica of a dead owner, now the owner, answered for all with the version before the last.
    #[test]
    fn an_owner_alone_does_not_have_the_newest() {
        let mut votes = votes(&[]);
        votes.hear(peer(1), has(5, false));
        assert!(!votes.is_over());
        votes.hear(peer(3), has(7, false));
        assert!(votes.is_over(), "two of the first three meet every two that have it");
        let newest = record(7, 1, None).decode().unwrap();
        assert_eq!(votes.into_greatest().map(|greatest| greatest.record().clone()), Some(newest));
    }

    #[test]
    fn those_that_named_an_older_record_or_none_are_behind() {
        let mut votes = votes(&[]);
        assert!(votes.behind().is_none());
        [has(5, false), has(7, false), no(true), None].into_iter().zip(1..).for_each(|(vote, number)| {
            votes.hear(peer(number), vote);
        });
        let (greatest, behind) = votes.behind().unwrap();
        assert_eq!((greatest.id(), behind), (checked(record(7, 1, None)).id(), vec![peer(1), peer(3)]));
    }

    proptest! {
        /// Goal: the verdict is never "unknown" while one voter has a record, or while the voters without a "no" may be
        /// a quorum. It is "unknown" once all say no. The order of the answers does not matter.
        #[test]
        fn a_no_is_a_no_of_enough(
            // Each asked peer does not answer, syncs, says no, or has a record.
            answers in prop::collection::vec(0u8..4, 1..8),
            rotate in 0usize..8,
        ) {
            let asked: Vec<(Position, u8)> =
                answers.iter().enumerate().map(|(i, answer)| (peer(i as u8), *answer)).collect();
            let heard = |order: &mut dyn Iterator<Item = &(Position, u8)>| {
                let all = asked.iter().map(|(peer, _)| *peer);
                let mut votes = Votes::new(Election::new(3, &Position::ZERO, all, [], []));
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
            let (any, missing) = (answers.contains(&3), answers.iter().filter(|answer| **answer < 2).count());
            match verdict {
                Verdict::Found(record) => {
                    let greatest = asked.iter().filter(|(_, a)| *a == 3).map(|(p, _)| p.number()).max();
                    prop_assert_eq!(record.clock.unix_ms(), u64::from(greatest.unwrap().unwrap()));
                }
                Verdict::Unknown => prop_assert!(!any),
                Verdict::CannotTell { silent, taking_over, in_a_moment } => {
                    prop_assert!(!any && missing > 0);
                    let missing = asked.iter().filter(|(_, a)| *a < 2).map(|(peer, _)| *peer);
                    prop_assert_eq!(silent, missing.collect::<Vec<_>>());
                    let syncing = asked.iter().filter(|(_, a)| *a == 1).map(|(peer, _)| *peer);
                    prop_assert_eq!(taking_over, syncing.collect::<Vec<_>>());
                    prop_assert!(in_a_moment);
                }
            }
        }
    }
}
