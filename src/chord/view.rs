//! What a peer believes of the ring at one moment, as a value that others may keep.

use crate::config::RingSettings;
use crate::id::{Position, between, owns};
use crate::wire::limits::CLOSER_MAX;
use crate::wire::{Entry, Member, MemberState};

/// A snapshot of a [`super::Node`].
#[derive(Debug, Clone)]
pub struct View {
    /// This peer.
    pub me: Entry,
    /// How far it is.
    pub phase: PhaseKind,
    /// The ring's settings; none before they are known.
    pub settings: Option<RingSettings>,
    /// Who stands before it; none while alone.
    pub predecessor: Option<Entry>,
    /// Who stands after it, at most r.
    pub successors: Vec<Entry>,
    /// All known members and former members, by position, this one not among them.
    pub members: Vec<Member>,
    /// Membership is the small ring's map.
    pub small: bool,
    /// Not active yet: for whom it waits (labels or addresses).
    pub waiting_for: Vec<String>,
}

/// How far a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseKind {
    /// On its way into the ring.
    Entering,
    /// A member.
    Active,
    /// A member that takes nothing new.
    Leaving,
    /// Out of the ring.
    Ended,
}

/// Where a key belongs, as far as one peer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To this peer.
    Owner {
        /// It.
        owner: Entry,
        /// Who stands before it: the owner's range begins after there.
        predecessor: Option<Entry>,
        /// Who stands after it.
        successors: Vec<Entry>,
    },
    /// These lie closer; nearest to the key first.
    Closer(Vec<Entry>),
}

impl View {
    /// Whether this peer takes part in the ring.
    pub fn is_member(&self) -> bool {
        matches!(self.phase, PhaseKind::Active | PhaseKind::Leaving)
    }

    /// Whether this peer owns a key.
    pub fn owns(&self, key: &Position) -> bool {
        self.is_member()
            && match &self.predecessor {
                Some(predecessor) => owns(&predecessor.position, key, &self.me.position),
                None => true,
            }
    }

    /// Where a key belongs; `None` when this peer is no member.
    pub fn route(&self, key: &Position) -> Option<Route> {
        if !self.is_member() {
            return None;
        }
        if self.owns(key) {
            return Some(Route::Owner {
                owner: self.me.clone(),
                predecessor: self.predecessor.clone(),
                successors: self.successors.clone(),
            });
        }
        Some(self.route_by_list(key).unwrap_or_else(|| Route::Closer(self.closest_before(key))))
    }

    /// The members that answer, clockwise from this peer.
    pub fn alive(&self) -> impl Iterator<Item = &Entry> {
        let me = self.me.position;
        let after = self.members.iter().filter(move |m| m.entry.position > me);
        let before = self.members.iter().filter(move |m| m.entry.position < me);
        after.chain(before).filter(|m| m.state == MemberState::Alive).map(|m| &m.entry)
    }

    /// The members that do not answer.
    pub fn away(&self) -> impl Iterator<Item = &Entry> {
        self.members.iter().filter(|m| m.state == MemberState::Dead).map(|m| &m.entry)
    }

    /// How many members there are, answering or not, this one included, as far as is known.
    pub fn members_count(&self) -> usize {
        1 + self.members.iter().filter(|m| m.state != MemberState::Left).count()
    }

    /// Whether this life of this peer is known to be over.
    pub fn is_gone(&self, entry: &Entry) -> bool {
        self.members.binary_search_by_key(&entry.position, |m| m.entry.position).is_ok_and(|i| {
            let known = &self.members[i];
            known.entry.incarnation > entry.incarnation
                || (known.entry.incarnation == entry.incarnation && known.state != MemberState::Alive)
        })
    }

    /// Known members between this peer and a key, nearest to the key first.
    pub fn closest_before(&self, key: &Position) -> Vec<Entry> {
        let me = self.me.position;
        let mut closer: Vec<Entry> = self
            .alive()
            .chain(self.successors.iter().filter(|s| !self.is_gone(s)))
            .filter(|entry| between(&me, &entry.position, key))
            .cloned()
            .collect();
        closer.sort_by_key(|entry| entry.position.distance_to(key));
        closer.dedup_by_key(|entry| entry.position);
        closer.truncate(CLOSER_MAX);
        closer
    }

    /// The owner among the successors, if the key lies in their reach. In a small ring, that is always.
    fn route_by_list(&self, key: &Position) -> Option<Route> {
        let list: Vec<&Entry> = if self.small {
            self.alive().collect()
        } else {
            self.successors.iter().filter(|s| !self.is_gone(s)).collect()
        };
        let mut before = &self.me;
        for (i, entry) in list.iter().enumerate() {
            if owns(&before.position, key, &entry.position) {
                let mut successors: Vec<Entry> = list[i + 1..].iter().map(|e| (*e).clone()).collect();
                if self.small {
                    successors.push(self.me.clone());
                    successors.extend(list[..i].iter().map(|e| (*e).clone()));
                    successors.truncate(self.settings.map_or(8, |s| usize::from(s.successors)));
                }
                return Some(Route::Owner {
                    owner: (*entry).clone(),
                    predecessor: Some(before.clone()),
                    successors,
                });
            }
            before = entry;
        }
        None
    }
}
