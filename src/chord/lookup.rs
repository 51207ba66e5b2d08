//! One iterative lookup: ask ever closer peers until one names the owner of a key.

use std::collections::BTreeSet;

use super::{Route, View};
use crate::id::Position;
use crate::wire::{Entry, MembershipReply};

/// A lookup under way. Drive it: take a [`Step`], ask, give the answer, again.
#[derive(Debug)]
pub struct Lookup {
    key: Position,
    /// Not asked yet, the nearest to the key last.
    candidates: Vec<Entry>,
    asked: BTreeSet<Position>,
    found: Option<Step>,
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

impl Lookup {
    /// Begins with what this peer knows.
    pub fn new(view: &View, key: Position) -> Lookup {
        let mut lookup = Lookup { key, candidates: Vec::new(), asked: BTreeSet::new(), found: None };
        lookup.asked.insert(view.me.position);
        match view.route(&key) {
            Some(Route::Owner { owner, predecessor, successors }) => {
                lookup.found = Some(Step::Found { owner, predecessor, successors });
            }
            Some(Route::Closer(closer)) => {
                lookup.add(closer);
                lookup.add(view.successors.clone());
            }
            None => {}
        }
        lookup
    }

    /// What to do next.
    pub fn next_step(&mut self) -> Step {
        if let Some(found) = &self.found {
            return found.clone();
        }
        if self.asked.len() > ASKED_MAX {
            return Step::Failed;
        }
        match self.candidates.pop() {
            Some(entry) => {
                self.asked.insert(entry.position);
                Step::Ask(entry)
            }
            None => Step::Failed,
        }
    }

    /// What the asked peer said; anything but an owner or closer peers counts as no answer.
    pub fn answered(&mut self, reply: MembershipReply) {
        match reply {
            MembershipReply::Owner { owner, predecessor, successors } => {
                self.found = Some(Step::Found { owner, predecessor, successors });
            }
            MembershipReply::Closer { peers } => self.add(peers),
            MembershipReply::Gone { successor: Some(successor) } => self.add(vec![successor]),
            _ => {}
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
        let key = self.key;
        self.candidates.sort_by_key(|c| std::cmp::Reverse(c.position.distance_to(&key)));
        let surplus = self.candidates.len().saturating_sub(CANDIDATES_MAX);
        self.candidates.drain(..surplus);
    }
}

/// How many peers one lookup asks.
const ASKED_MAX: usize = 64;
/// How many it keeps in mind.
const CANDIDATES_MAX: usize = 32;
