//! The copies of one object or record, and when they are enough.
//!
//! Only durable copies count, and of these only copies at peers that are not known to be away or to have left. An
//! acknowledged object or record has enough of them, and the owner of its key knows of it: either the owner has a copy,
//! or its disk takes none and the others hold.

use std::collections::{BTreeMap, BTreeSet};

use super::placement::store_replicas;
use crate::chord::View;
use crate::config::RingSettings;
use crate::id::Position;
use crate::wire::{Entry, MemberState, Missing, MissingReason, StorageReply, Wait};

/// The number of copies that a store wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopiesWanted {
    /// The number of durable copies that acknowledge a store.
    pub needed: usize,
    /// The number of copies there will be in the end: min(R, members).
    pub most: usize,
}

/// The requested number of copies cannot be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{least} to {most} copies can be waited for, not {asked}")]
pub struct WaitError {
    /// The requested number of copies.
    pub asked: u8,
    /// The quorum: fewer copies acknowledge nothing.
    pub least: usize,
    /// The number of copies that there will be.
    pub most: usize,
}

impl CopiesWanted {
    /// The copies that a store waits for in a ring of this number of members, whether they answer or not.
    ///
    /// # Errors
    /// [`WaitError`] when the requested number is out of bounds.
    pub fn new(wait: Wait, settings: &RingSettings, members: usize) -> Result<CopiesWanted, WaitError> {
        let (least, most) = (settings.write_quorum(members), settings.copies(members));
        let needed = match wait {
            Wait::Quorum => least,
            Wait::All => most,
            Wait::Copies(asked) if (least..=most).contains(&usize::from(asked)) => usize::from(asked),
            Wait::Copies(asked) => return Err(WaitError { asked, least, most }),
        };
        Ok(CopiesWanted { needed, most })
    }
}

/// The peers with a durable copy, and the peers without one and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copies {
    durable: BTreeSet<Position>,
    missing: BTreeMap<Position, MissingReason>,
}

impl Copies {
    /// Takes a report on one copy; any other reply is ignored. Returns whether there is one more copy now.
    pub fn hear(&mut self, word: StorageReply) -> bool {
        match word {
            StorageReply::Durable { peer } => {
                self.missing.remove(&peer);
                self.durable.insert(peer)
            }
            StorageReply::Missing(copy) => {
                if !self.durable.contains(&copy.peer) {
                    self.missing.insert(copy.peer, copy.reason);
                }
                false
            }
            _ => false,
        }
    }

    /// Takes the answer of one replica to a record that it was given.
    pub fn hear_answer(&mut self, peer: Position, answer: Result<StorageReply, MissingReason>) {
        let reason = match answer {
            Ok(StorageReply::Put { .. }) => {
                self.hear(StorageReply::Durable { peer });
                return;
            }
            Ok(_) => MissingReason::Refused("it broke the protocol".to_owned()),
            Err(reason) => reason,
        };
        self.hear(StorageReply::Missing(Missing { peer, reason }));
    }

    /// Takes the report of a name's owner on all copies of a record. It covers all: a copy that was missing before is
    /// not missing any more, unless the owner says so.
    pub fn hear_all(&mut self, durable: Vec<Position>, missing: Vec<Missing>) {
        self.missing.clear();
        for peer in durable {
            self.hear(StorageReply::Durable { peer });
        }
        for copy in missing {
            self.hear(StorageReply::Missing(copy));
        }
    }

    /// The owner's answer to the writer of a record with this key: the peers that have it, from the owner on, and the
    /// peers that do not.
    pub fn into_put(self, key: &Position) -> StorageReply {
        let missing = self.missing();
        let mut durable: Vec<Position> = self.durable.into_iter().collect();
        durable.sort_by_key(|peer| key.distance_to(peer));
        StorageReply::Put { durable, missing }
    }

    /// Whether this peer reported its copy as durable.
    pub fn has(&self, peer: &Position) -> bool {
        self.durable.contains(peer)
    }

    /// The peers that have a copy and are not known to be away or to have left: only they count.
    pub fn living(&self, view: &View) -> BTreeSet<Position> {
        let stays = |peer: &&Position| {
            let known = view.members.at(peer);
            known.is_none_or(|member| member.state == MemberState::Alive) && !view.departed.contains(*peer)
        };
        self.durable.iter().filter(stays).copied().collect()
    }

    /// Whether there are at least `needed` living copies.
    pub fn are_enough(&self, view: &View, needed: usize) -> bool {
        self.living(view).len() >= needed
    }

    /// Whether the object or record may be acknowledged with `needed` copies, while `owner` owns its key. An owner
    /// whose disk is full is still the owner; the others hold.
    pub fn acknowledge(&self, view: &View, needed: usize, owner: &Position) -> bool {
        let living = self.living(view);
        living.len() >= needed && (living.contains(owner) || self.has_failed(owner))
    }

    /// The missing copies, each with the reason that was reported.
    pub fn missing(&self) -> Vec<Missing> {
        self.missing.iter().map(|(peer, reason)| Missing { peer: *peer, reason: reason.clone() }).collect()
    }

    /// The missing copies out of `most`: those with a reported reason, and those of members that do not answer at all.
    pub fn missing_of(&self, view: &View, most: usize) -> Vec<Missing> {
        let mut missing = self.missing();
        for entry in view.away() {
            if missing.len() + self.durable.len() < most
                && missing.iter().all(|copy| copy.peer != entry.position)
            {
                missing.push(Missing { peer: entry.position, reason: MissingReason::Unreachable });
            }
        }
        missing
    }

    /// The peers that still need the object (see [`store_replicas`]), once the chain has had its turn. A final reason
    /// stays final; a peer that refused for the moment, or did not answer, may take it now.
    pub fn to_complete(&self, view: &View, copies: usize) -> Vec<Entry> {
        let lacks = |peer: &Position| !self.has(peer) && !self.has_refused(peer);
        store_replicas(view, copies).into_iter().filter(|replica| lacks(&replica.position)).collect()
    }

    /// The missing copies with a final reason: waiting does not help.
    pub fn hopeless(&self) -> impl Iterator<Item = Missing> {
        self.missing().into_iter().filter(|copy| copy.reason.is_final())
    }

    /// Whether `needed` living copies are out of reach: too many of the peers in the `most` places for them have
    /// refused for good.
    pub fn are_out_of_reach(&self, view: &View, needed: usize, most: usize) -> bool {
        let members = || view.alive().chain([&view.me]);
        let refused = self.hopeless().filter(|copy| members().any(|member| member.position == copy.peer));
        !self.are_enough(view, needed) && most.saturating_sub(refused.count()) < needed
    }

    fn has_failed(&self, peer: &Position) -> bool {
        self.missing.get(peer).is_some_and(MissingReason::is_of_its_disk)
    }

    fn has_refused(&self, peer: &Position) -> bool {
        self.missing.get(peer).is_some_and(MissingReason::is_final)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{numbers, numbers_of, peer, view_with};
    use super::*;

    fn durable(number: u8) -> StorageReply {
        StorageReply::Durable { peer: peer(number) }
    }

    fn missing(number: u8, reason: MissingReason) -> StorageReply {
        StorageReply::Missing(Missing { peer: peer(number), reason })
    }

    fn full() -> MissingReason {
        MissingReason::Disk("full".to_owned())
    }

    /// Goal: the copy of a replica that reported it as durable, and left before the store ended, does not count.
    #[test]
    fn a_replica_that_left_counts_no_more() {
        let mut copies = Copies::default();
        for number in [10, 20, 30] {
            copies.hear(durable(number));
        }
        let view = View { departed: [peer(20)].into(), ..view_with(10, &[40], &[30]) };
        assert_eq!(numbers(&copies.living(&view)), [10]);
        assert!(!copies.acknowledge(&view, 2, &peer(10)));
        let back = view_with(10, &[20, 40], &[30]);
        assert_eq!(numbers(&copies.living(&back)), [10, 20]);
    }

    #[test]
    fn one_copy_is_one_however_often_it_is_told() {
        let mut copies = Copies::default();
        assert!(!copies.hear(missing(4, MissingReason::Unreachable)));
        assert_eq!(copies.missing().len(), 1);
        assert!(copies.hear(durable(4)));
        assert!(!copies.hear(durable(4)));
        assert!(copies.missing().is_empty());
        assert!(!copies.hear(missing(4, full())), "it is there");
        assert!(copies.missing().is_empty() && copies.has(&peer(4)));
    }

    #[test]
    fn the_owner_has_a_copy_or_said_that_its_disk_takes_none() {
        let view = view_with(10, &[20, 30, 40], &[50]);
        let mut copies = Copies::default();
        copies.hear(durable(30));
        copies.hear(durable(40));
        assert!(!copies.acknowledge(&view, 2, &peer(20)), "it has not said a word");
        copies.hear(missing(20, MissingReason::Unreachable));
        assert!(!copies.acknowledge(&view, 2, &peer(20)), "it may answer yet");
        copies.hear(missing(20, full()));
        assert!(copies.acknowledge(&view, 2, &peer(20)));
        assert!(!copies.acknowledge(&view, 3, &peer(20)), "the others have to hold it");
        assert!(copies.acknowledge(&view, 2, &peer(30)), "whoever owns it now");
        copies.hear(durable(50));
        assert!(!copies.are_enough(&view, 3), "away");
    }

    #[test]
    fn the_owner_of_a_name_speaks_of_all_copies() {
        let mut copies = Copies::default();
        let gone = |number| Missing { peer: peer(number), reason: MissingReason::Unreachable };
        copies.hear_all(vec![peer(20)], vec![gone(30), gone(40)]);
        copies.hear_all(vec![peer(30)], vec![gone(50)]);
        assert_eq!(copies.missing(), [gone(50)], "40 is no replica any more");
        assert!(copies.has(&peer(20)) && copies.has(&peer(30)));
        let answered = StorageReply::Put { durable: Vec::new(), missing: Vec::new() };
        copies.hear_answer(peer(5), Ok(answered));
        copies.hear_answer(peer(6), Ok(StorageReply::Noted));
        copies.hear_answer(peer(7), Err(full()));
        let StorageReply::Put { durable, missing } = copies.into_put(&peer(25)) else { panic!() };
        assert_eq!(numbers(&durable), [30, 5, 20], "from the key on");
        assert_eq!(numbers(missing.iter().map(|copy| &copy.peer)), [6, 7, 50]);
    }

    #[test]
    fn members_that_do_not_answer_are_missing_as_far_as_copies_are() {
        let view = view_with(10, &[20], &[30, 40]);
        let mut copies = Copies::default();
        copies.hear(durable(10));
        copies.hear(missing(30, full()));
        let who = |copies: &Copies, most| -> Vec<u8> {
            copies.missing_of(&view, most).iter().map(|copy| copy.peer.number().unwrap()).collect()
        };
        assert_eq!(who(&copies, 3), [30, 40]);
        copies.hear(durable(20));
        assert_eq!(who(&copies, 3), [30]);
    }

    #[test]
    fn the_owner_completes_what_is_not_hopeless() {
        let view = view_with(10, &[20, 30, 40, 50], &[]);
        let mut copies = Copies::default();
        copies.hear(durable(10));
        copies.hear(missing(20, full()));
        copies.hear(missing(30, MissingReason::Unreachable));
        assert_eq!(numbers_of(&copies.to_complete(&view, 4)), [30, 40]);
        let hopeless: Vec<Missing> = copies.hopeless().collect();
        assert_eq!(hopeless, [Missing { peer: peer(20), reason: full() }]);
    }

    #[test]
    fn the_number_of_awaited_copies_has_bounds() {
        let settings = RingSettings::default();
        let wanted = |wait, members| {
            CopiesWanted::new(wait, &settings, members).map(|wanted| (wanted.needed, wanted.most))
        };
        assert_eq!(wanted(Wait::Quorum, 7), Ok((2, 3)));
        assert_eq!(wanted(Wait::All, 7), Ok((3, 3)));
        assert_eq!(wanted(Wait::All, 2), Ok((2, 2)));
        assert_eq!(wanted(Wait::Copies(2), 7), Ok((2, 3)));
        for asked in [0, 1, 4, 255] {
            assert_eq!(wanted(Wait::Copies(asked), 7), Err(WaitError { asked, least: 2, most: 3 }));
        }
        assert_eq!(wanted(Wait::Copies(1), 1), Ok((1, 1)));
    }

    fn word() -> impl Strategy<Value = StorageReply> {
        let who = 1u8..8;
        prop_oneof![
            who.clone().prop_map(durable),
            who.clone().prop_map(|peer| missing(peer, MissingReason::Unreachable)),
            who.clone().prop_map(|peer| missing(peer, full())),
            who.prop_map(|peer| missing(peer, MissingReason::Refused("no".to_owned()))),
        ]
    }

    proptest! {
        /// Goal: an acknowledged file survives W − 1 deaths: W different peers, none of them known to be away, said
        /// that it is on their disk.
        #[test]
        fn nothing_is_acknowledged_below_its_quorum(
            words in prop::collection::vec(word(), 0..20),
            away in prop::collection::btree_set(1u8..8, 0..4),
            members in 1usize..9,
            owner in 1u8..8,
        ) {
            let alive: Vec<u8> = (1..8).filter(|number| !away.contains(number)).collect();
            let away: Vec<u8> = away.into_iter().collect();
            let view = view_with(100, &alive, &away);
            let needed = CopiesWanted::new(Wait::Quorum, &RingSettings::default(), members).unwrap().needed;
            let mut copies = Copies::default();
            for word in &words {
                copies.hear(word.clone());
            }
            let holds = |number: u8| words.contains(&durable(number)) && alive.contains(&number);
            let living = (1..8).filter(|number| holds(*number)).count();
            prop_assert_eq!(copies.are_enough(&view, needed), living >= needed);
            if copies.acknowledge(&view, needed, &peer(owner)) {
                prop_assert!(living >= needed);
                prop_assert!(holds(owner) || words.contains(&missing(owner, full())));
            } else {
                prop_assert!(living < needed || !holds(owner));
            }
            // In any order of reports, a peer that has a copy is never missing.
            prop_assert!(copies.missing().iter().all(|copy| !copies.has(&copy.peer)));
        }
    }
}
