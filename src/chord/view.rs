//! A peer's beliefs about the ring at one moment, as a value that others may keep.

use std::collections::BTreeSet;

use super::table::Table;
use crate::config::RingSettings;
use crate::id::{Position, between, owns};
use crate::wire::limits::CLOSER_MAX;
use crate::wire::{Entry, MemberState};

/// A snapshot of a [`super::Node`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The peer whose view this is.
    pub me: Entry,
    /// The phase of this peer: entering, active, leaving, checking or ended.
    pub phase: PhaseKind,
    /// The ring's settings; `None` before they are known.
    pub settings: Option<RingSettings>,
    /// The predecessor; `None` while alone.
    pub predecessor: Option<Entry>,
    /// The successor list, at most r entries.
    pub successors: Vec<Entry>,
    /// All known members and former members, by position, without this peer.
    pub members: Table,
    /// Random members, through which another ring is found.
    pub acquaintances: Vec<Entry>,
    /// Members that were believed dead for a while and came back in the last minute; the time is longer where pings are
    /// rare.
    pub rejoined: BTreeSet<Position>,
    /// Members that left or were forgotten, while others may have missed what they kept: since then, there was no whole
    /// minute in which every member answered.
    pub departed: BTreeSet<Position>,
    /// The peers that say in their pongs that they have no room for further files, as far as this one pings them; itself
    /// among them if it has none.
    pub full: BTreeSet<Position>,
    /// Whether membership is the small ring's map.
    pub small: bool,
    /// The peers that an entering peer waits for (labels or addresses); empty once it is active.
    pub waiting_for: Vec<String>,
    /// The turn of this peer while it leaves: whether it may go.
    pub turn: Turn,
}

/// Whether a leaving peer may go. Of several neighbours that leave, one goes at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Turn {
    /// The leaving peer has not asked yet, or has let another peer go first since it asked.
    #[default]
    Unasked,
    /// The leaving peer asks its neighbours whether it may go.
    Asked,
    /// The leaving peer goes next, and lets no neighbour go before it.
    Taken,
}

/// The phase of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseKind {
    /// The peer is on its way into the ring.
    Entering,
    /// The peer is a member.
    Active,
    /// The peer is a member that takes nothing new.
    Leaving,
    /// The process was stopped for so long that the ring may not count the peer any more; it asks.
    Checking,
    /// The peer is out of the ring.
    Ended,
}

/// The place of a key, as far as one peer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The owner of the key is known.
    Owner {
        /// The owner of the key.
        owner: Entry,
        /// The predecessor of the owner: the owner's range begins after it.
        predecessor: Option<Entry>,
        /// The peers after the owner.
        successors: Vec<Entry>,
    },
    /// One of these owns the key, as far as contacts tell, most likely the first. They stand at or after the key,
    /// nearest first; each of them knows best itself. Empty: no living peer is known between the key and this peer.
    Near(Vec<Entry>),
    /// These peers lie closer to the key; the nearest first.
    Closer(Vec<Entry>),
}

impl View {
    /// Whether this peer takes part in the ring.
    pub fn is_member(&self) -> bool {
        matches!(self.phase, PhaseKind::Active | PhaseKind::Leaving)
    }

    /// Whether this peer owns a key.
    pub fn owns(&self, key: &Position) -> bool {
        self.local().owns(key)
    }

    /// The place of a key; `None` when this peer is not a member.
    pub fn route(&self, key: &Position) -> Option<Route> {
        self.local().route(key)
    }

    /// The members that answer, clockwise from this peer.
    pub fn alive(&self) -> impl Iterator<Item = &Entry> {
        self.members.clockwise_from(&self.me.position)
    }

    /// The members that do not answer.
    pub fn away(&self) -> impl Iterator<Item = &Entry> {
        self.members.away()
    }

    /// The number of members, answering or not, this one included, as far as is known.
    pub fn members_count(&self) -> usize {
        1 + self.members.iter().filter(|m| m.state != MemberState::Left).count()
    }

    /// Whether this life of the peer is known to be over.
    pub fn is_gone(&self, entry: &Entry) -> bool {
        self.members.is_gone(entry)
    }

    /// Known members between this peer and a key, nearest to the key first.
    pub fn closest_before(&self, key: &Position) -> Vec<Entry> {
        self.local().closest_before(key)
    }

    pub(super) fn local(&self) -> Local<'_> {
        Local {
            me: &self.me,
            is_member: self.is_member(),
            predecessor: self.predecessor.as_ref(),
            successors: &self.successors,
            successors_max: self.settings.unwrap_or_default().successors.into(),
            members: &self.members,
            small: self.small,
        }
    }
}

/// The part of a peer that routing needs, borrowed from its node or from a view of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local<'a> {
    pub me: &'a Entry,
    pub is_member: bool,
    pub predecessor: Option<&'a Entry>,
    pub successors: &'a [Entry],
    pub successors_max: usize,
    pub members: &'a Table,
    pub small: bool,
}

impl<'a> Local<'a> {
    pub(super) fn owns(&self, key: &Position) -> bool {
        let before = self.predecessor.map(|predecessor| &predecessor.position);
        self.is_member && before.is_none_or(|before| owns(before, key, &self.me.position))
    }

    pub(super) fn route(&self, key: &Position) -> Option<Route> {
        if !self.is_member {
            return None;
        }
        if self.owns(key) {
            // In a large ring a joiner may be known by news before it has become the predecessor: its own word counts.
            if *key != self.me.position && !self.small {
                let nearer = self.nearest_at_or_after(key, CLOSER_MAX);
                if !nearer.is_empty() {
                    return Some(Route::Near(nearer));
                }
            }
            return Some(Route::Owner {
                owner: self.me.clone(),
                predecessor: self.predecessor.cloned(),
                successors: self.successors.to_vec(),
            });
        }
        let route = self.route_by_list(key).or_else(|| self.route_by_contacts(key));
        Some(route.unwrap_or_else(|| Route::Closer(self.closest_before(key))))
    }

    /// Known members between this peer and a key, nearest to the key first, at most as many as one answer names.
    pub(super) fn closest_before(&self, key: &Position) -> Vec<Entry> {
        self.nearest_before(key, CLOSER_MAX)
    }

    /// Known members between this peer and a key, nearest to the key first, at most `most`.
    pub(super) fn nearest_before(&self, key: &Position, most: usize) -> Vec<Entry> {
        let me = &self.me.position;
        let contacts = self.members.counter_clockwise_from(key).take_while(|e| between(me, &e.position, key));
        let successors = self.successors.iter().filter(|entry| !self.members.is_gone(entry));
        let mut closer: Vec<Entry> = contacts
            .take(most)
            .chain(successors)
            .filter(|entry| between(me, &entry.position, key))
            .cloned()
            .collect();
        closer.sort_by_key(|entry| entry.position.distance_to(key));
        closer.dedup_by_key(|entry| entry.position);
        closer.truncate(most);
        closer
    }

    /// The owner among the successors, if the key lies in their reach. In a small ring, it always does.
    fn route_by_list(&self, key: &Position) -> Option<Route> {
        let list: Vec<&Entry> = if self.small {
            self.members.clockwise_from(&self.me.position).collect()
        } else {
            self.successors.iter().filter(|s| !self.members.is_gone(s)).collect()
        };
        let mut before = self.me;
        for (i, entry) in list.iter().enumerate() {
            if owns(&before.position, key, &entry.position) {
                let mut successors: Vec<Entry> = list[i + 1..].iter().map(|e| (*e).clone()).collect();
                if self.small {
                    successors.push(self.me.clone());
                    successors.extend(list[..i].iter().map(|e| (*e).clone()));
                    successors.truncate(self.successors_max);
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

    /// The members at or after a key, if this peer knows at least every second member around there, or if the key lies
    /// just behind this peer.
    fn route_by_contacts(&self, key: &Position) -> Option<Route> {
        let spacing = self.spacing()?;
        let back = key.distance_to(&self.me.position);
        let behind = back < spacing.times(WINDOW as u64) && back < self.me.position.distance_to(key);
        if !behind && !self.knows_around(key, &spacing) {
            return None;
        }
        let near = self.nearest_at_or_after(key, CLOSER_MAX);
        // An empty list: no living peer is known between the key and this peer, so its predecessor is dead and not
        // replaced yet.
        (behind || !near.is_empty()).then_some(Route::Near(near))
    }

    /// The members that answer at or after a key, up to this peer, nearest first, at most `most`.
    pub(super) fn nearest_at_or_after(&self, key: &Position, most: usize) -> Vec<Entry> {
        let me = &self.me.position;
        let reach = |entry: &&Entry| entry.position == *key || between(key, &entry.position, me);
        let at = self.members.at(key).filter(|member| member.state == MemberState::Alive);
        let after = self.members.clockwise_from(key).take_while(reach);
        let mut near: Vec<Entry> =
            at.map(|member| &member.entry).into_iter().chain(after).take(most).cloned().collect();
        // The predecessor need not be among the contacts.
        let predecessor = self.predecessor.filter(|p| reach(p) && !self.members.is_gone(p));
        if let Some(predecessor) = predecessor.filter(|p| near.iter().all(|n| n.position != p.position)) {
            near.push(predecessor.clone());
            near.sort_by_key(|entry| distance_behind(key, &entry.position));
            near.truncate(most);
        }
        near
    }

    /// Whether the contacts around a key are at least half as dense as the ring is.
    fn knows_around(&self, key: &Position, spacing: &Position) -> bool {
        let before = self.members.counter_clockwise_from(key).take(WINDOW);
        let after = self.members.clockwise_from(key).take(WINDOW);
        let (before, after): (Vec<&Entry>, Vec<&Entry>) = (before.collect(), after.collect());
        let (Some(first), Some(last)) = (before.last(), after.last()) else { return false };
        let (mut all, mut span) = (before.len() + after.len(), first.position.distance_to(&last.position));
        if all >= self.members.alive_count() {
            (all, span) = (self.members.alive_count(), Position::MAX);
        }
        span <= spacing.times(2 * all as u64)
    }

    /// The average distance between members, by the nearest contacts ahead; or by the successor list, if the contacts
    /// are far thinner than that. `None` if no peer is known.
    fn spacing(&self) -> Option<Position> {
        let me = &self.me.position;
        let (mut last, mut count) = (None, 0);
        for entry in self.members.clockwise_from(me).take(WINDOW * 2) {
            (last, count) = (Some(entry), count + 1);
        }
        let known = last.map(|last| me.distance_to(&last.position).divided_by(count));
        let listed = self
            .successors
            .last()
            .map(|last| me.distance_to(&last.position).divided_by(self.successors.len() as u64));
        match (known, listed) {
            (Some(known), Some(listed)) if known > listed.times(by_far(self.successors.len())) => {
                Some(listed)
            }
            (known, listed) => known.or(listed),
        }
    }
}

/// The distance of a peer behind a key; zero for a peer at the key.
pub(super) fn distance_behind(key: &Position, peer: &Position) -> Position {
    if key == peer { Position::ZERO } else { key.distance_to(peer) }
}

/// The number of contacts on each side of a key that tell how dense they are there.
const WINDOW: usize = 16;

/// The ratio of contact spacing to successor spacing above which contacts are too thin to tell how dense the ring is.
/// The fewer successors, the more often they stand that close together by chance: for two or for eight, in 2 to 5 of
/// 100 places.
fn by_far(successors: usize) -> u64 {
    (WINDOW / successors.max(1)).max(2) as u64
}
