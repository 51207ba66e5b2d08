//! One iterative lookup: ask ever closer peers until one names the owner of a key.
//!
//! Each answer is held against the rules and against what the asker knows. One that contradicts itself is
//! dropped. One that passes over a peer which is known to live and lies nearer is kept in mind while that
//! peer is asked itself.

use std::collections::BTreeSet;

use super::judge::{check_closer, check_owner};
use super::{Route, View};
use crate::config::RingSettings;
use crate::id::Position;
use crate::wire::{Entry, Fault, MembershipReply};

/// A lookup under way. Drive it: take a [`Step`], ask, give the answer, again.
#[derive(Debug)]
pub struct Lookup {
    key: Position,
    /// Not asked yet, the nearest to the key last; who is distrusted goes first, to be asked last.
    candidates: Vec<Entry>,
    /// The nearest living peers at or after the key, as the asker knows them, nearest last.
    beyond: Vec<Entry>,
    distrusted: BTreeSet<Position>,
    asked: BTreeSet<Position>,
    successors_max: usize,
    found: Option<Step>,
    /// An answer that passes over somebody who is known to live, and who gave it.
    passed_over: Option<(Position, Step)>,
    doubts: Vec<Doubt>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask this peer who owns the key.
    Ask(Entry),
    /// The owner is known.
    Found {
        /// It.
        owner: Entry,
        /// Who stands before it.
        predecessor: Option<Entry>,
        /// Who stands after it.
        successors: Vec<Entry>,
    },
    /// Nobody is left to ask.
    Failed,
}

/// An answer that was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// Who gave it.
    pub peer: Position,
    /// What is wrong with it.
    pub fault: Fault,
    /// It contradicts itself. Otherwise it contradicts what others say, which in a ring that changes at the
    /// moment may be no fault.
    pub certain: bool,
}

impl Lookup {
    /// Begins with what this peer knows. Those who are distrusted are asked last.
    pub fn new(view: &View, key: Position, distrusted: BTreeSet<Position>) -> Lookup {
        let mut beyond: Vec<Entry> = view.alive().cloned().collect();
        beyond.sort_by_key(|entry| distance(&key, &entry.position));
        beyond.truncate(BEYOND_MAX);
        beyond.reverse();
        let mut lookup = Lookup {
            key,
            candidates: Vec::new(),
            beyond,
            distrusted,
            asked: BTreeSet::new(),
            successors_max: view.settings.map_or(RingSettings::SUCCESSORS_MAX, |s| s.successors).into(),
            found: None,
            passed_over: None,
            doubts: Vec::new(),
        };
        lookup.asked.insert(view.me.position);
        match view.route(&key) {
            Some(Route::Owner { owner, predecessor, successors }) => {
                lookup.found = Some(Step::Found { owner, predecessor, successors });
            }
            Some(Route::Closer(closer)) => {
                lookup.add(closer);
                lookup.add(view.successors.clone());
            }
            None => lookup.beyond.clear(),
        }
        lookup
    }

    /// What to do next.
    pub fn next_step(&mut self) -> Step {
        if let Some(found) = &self.found {
            return found.clone();
        }
        if self.asked.len() > ASKED_MAX {
            return self.last_resort();
        }
        let next = match &self.passed_over {
            // Whoever was passed over is asked before anybody else.
            Some(_) => self.next_beyond(),
            None => self.candidates.pop().or_else(|| self.next_beyond()),
        };
        match next {
            Some(entry) => {
                self.asked.insert(entry.position);
                Step::Ask(entry)
            }
            None => self.last_resort(),
        }
    }

    /// What the asked peer said; anything but an owner or closer peers counts as no answer.
    pub fn answered(&mut self, from: &Position, reply: MembershipReply) {
        match reply {
            MembershipReply::Owner { owner, predecessor, successors } => {
                let most = self.successors_max;
                match check_owner(&self.key, from, &owner, predecessor.as_ref(), &successors, most) {
                    Err(fault) => self.doubts.push(Doubt { peer: *from, fault, certain: true }),
                    Ok(()) => self.weigh(*from, owner, predecessor, successors),
                }
            }
            MembershipReply::Closer { peers } => match check_closer(&self.key, from, &peers) {
                Err(fault) => self.doubts.push(Doubt { peer: *from, fault, certain: true }),
                Ok(()) => self.add(peers),
            },
            MembershipReply::Gone { successor: Some(successor) } => self.add(vec![successor]),
            _ => {}
        }
    }

    /// Whose answers were wrong so far.
    pub fn doubts(&self) -> &[Doubt] {
        &self.doubts
    }

    /// An answer that is whole: believed, unless it passes over somebody.
    fn weigh(&mut self, from: Position, owner: Entry, predecessor: Option<Entry>, successors: Vec<Entry>) {
        let reach = distance(&self.key, &owner.position);
        let nearer = |entry: &Entry| distance(&self.key, &entry.position) < reach;
        let passes_over =
            self.beyond.iter().any(|entry| nearer(entry) && !self.asked.contains(&entry.position));
        let found = Step::Found { owner, predecessor, successors };
        let earlier = self.passed_over.take();
        if passes_over && earlier.is_none() {
            self.passed_over = Some((from, found));
            return;
        }
        if let Some((peer, Step::Found { owner, .. })) = earlier
            && distance(&self.key, &owner.position) > reach
        {
            self.doubts.push(Doubt { peer, fault: Fault::WrongOwner, certain: false });
        }
        self.found = Some(found);
    }

    fn next_beyond(&mut self) -> Option<Entry> {
        while let Some(next) = self.beyond.pop() {
            if !self.asked.contains(&next.position) {
                return Some(next);
            }
        }
        None
    }

    /// Whoever was passed over does not answer, so the answer may be right.
    fn last_resort(&mut self) -> Step {
        match self.passed_over.take() {
            Some((_, found)) => {
                self.found = Some(found.clone());
                found
            }
            None => Step::Failed,
        }
    }

    /// Adds peers that were not asked yet, keeping the nearest to the key last.
    fn add(&mut self, peers: Vec<Entry>) {
        for peer in peers {
            if !self.asked.contains(&peer.position)
                && !self.candidates.iter().any(|c| c.position == peer.position)
            {
                self.candidates.push(peer);
            }
        }
        let (key, distrusted) = (self.key, &self.distrusted);
        self.candidates.sort_by_key(|c| {
            (!distrusted.contains(&c.position), std::cmp::Reverse(c.position.distance_to(&key)))
        });
        let surplus = self.candidates.len().saturating_sub(CANDIDATES_MAX);
        self.candidates.drain(..surplus);
    }
}

/// How far a peer lies behind a key; the owner of the key first.
fn distance(key: &Position, peer: &Position) -> Position {
    if key == peer { Position::ZERO } else { key.distance_to(peer) }
}

/// How many peers one lookup asks.
const ASKED_MAX: usize = 64;
/// How many it keeps in mind.
const CANDIDATES_MAX: usize = 32;
/// How many of those that lie at or after the key are asked when nobody else knows, or are passed over.
const BEYOND_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::PhaseKind;
    use crate::id::KeyHash;
    use crate::wire::{Address, Member, MemberState};

    fn entry(number: u8) -> Entry {
        let address = Address::new("127.0.0.1:1").unwrap();
        Entry { position: Position::of_number(number), incarnation: 1, key: KeyHash([0; 32]), address }
    }

    /// Peer 10 knows these alive, and two successors.
    fn view(members: &[u8]) -> View {
        let member = |n: &u8| Member { entry: entry(*n), state: MemberState::Alive };
        View {
            me: entry(10),
            phase: PhaseKind::Active,
            settings: Some(RingSettings { replicas: 3, successors: 2 }),
            predecessor: Some(entry(240)),
            successors: vec![entry(20), entry(30)],
            members: members.iter().map(member).collect(),
            small: false,
            waiting_for: Vec::new(),
        }
    }

    fn owner(owner: u8, before: u8) -> MembershipReply {
        MembershipReply::Owner {
            owner: entry(owner),
            predecessor: Some(entry(before)),
            successors: Vec::new(),
        }
    }

    fn asks(lookup: &mut Lookup) -> Option<u8> {
        match lookup.next_step() {
            Step::Ask(entry) => entry.position.number(),
            _ => None,
        }
    }

    fn found(lookup: &mut Lookup) -> Option<u8> {
        match lookup.next_step() {
            Step::Found { owner, .. } => owner.position.number(),
            _ => None,
        }
    }

    fn lookup(key: u8, members: &[u8], distrusted: &[u8]) -> Lookup {
        let distrusted = distrusted.iter().map(|number| Position::of_number(*number)).collect();
        Lookup::new(&view(members), Position::of_number(key), distrusted)
    }

    const ALL: [u8; 6] = [20, 30, 100, 150, 200, 240];

    #[test]
    fn the_nearest_before_the_key_is_asked_and_believed() {
        let mut lookup = lookup(120, &ALL, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&Position::of_number(100), owner(150, 100));
        assert_eq!((found(&mut lookup), lookup.doubts().len()), (Some(150), 0));
    }

    #[test]
    fn who_is_passed_over_is_asked_itself() {
        let mut lookup = lookup(120, &ALL, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        let liar = Position::of_number(100);
        lookup.answered(&liar, owner(200, 100));
        assert_eq!(asks(&mut lookup), Some(150), "it lives, and lies nearer");
        lookup.answered(&Position::of_number(150), owner(150, 100));
        assert_eq!(found(&mut lookup), Some(150));
        assert_eq!(lookup.doubts(), [Doubt { peer: liar, fault: Fault::WrongOwner, certain: false }]);
    }

    /// Goal: an asker that lags behind does not call an honest answer a lie.
    #[test]
    fn who_is_passed_over_and_silent_may_be_dead() {
        let mut lookup = lookup(120, &ALL, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&Position::of_number(100), owner(200, 100));
        // All that are known at or after the key are asked, and say nothing that helps.
        while let Some(_silent) = asks(&mut lookup) {}
        assert_eq!((found(&mut lookup), lookup.doubts().len()), (Some(200), 0));
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_dropped_and_somebody_else_asked() {
        for wrong in [
            owner(100, 30),
            MembershipReply::Owner { owner: entry(100), predecessor: None, successors: vec![entry(150)] },
            MembershipReply::Closer { peers: vec![entry(30)] },
        ] {
            let mut lookup = lookup(120, &ALL, &[]);
            assert_eq!(asks(&mut lookup), Some(100));
            lookup.answered(&Position::of_number(100), wrong);
            assert!(lookup.doubts()[0].certain);
            assert_eq!(asks(&mut lookup), Some(30), "the next best before the key");
            assert_eq!(asks(&mut lookup), Some(20));
            assert_eq!(asks(&mut lookup), Some(150), "then whoever stands after it");
            lookup.answered(&Position::of_number(150), owner(150, 100));
            assert_eq!(found(&mut lookup), Some(150));
        }
    }

    #[test]
    fn who_lied_is_asked_last() {
        let mut lookup = lookup(120, &ALL, &[100]);
        assert_eq!(asks(&mut lookup), Some(30));
    }

    #[test]
    fn a_lookup_ends_whatever_is_answered() {
        let mut lookup = lookup(120, &ALL, &[]);
        let mut asked = 0;
        while let Step::Ask(whom) = lookup.next_step() {
            asked += 1;
            let byte = 100 + (asked % 20) as u8;
            let mut peer = entry(0);
            peer.position.0 = [byte; 32];
            peer.position.0[31] = asked as u8;
            lookup.answered(&whom.position, MembershipReply::Closer { peers: vec![peer] });
        }
        assert!(asked <= ASKED_MAX + 1, "{asked}");
    }
}
