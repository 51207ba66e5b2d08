//! One iterative lookup: asks ever closer peers, until the owner of a key says that it owns it.
//!
//! One table holds the peers around the key: those at or after it, nearest first, then the asker, then those before it.
//! Each is unasked, asked, answered, confirmed (it said that it owns the key) or failed (silent, or contradicts itself).
//! A peer *stands* if it confirmed, or if it answered and was named at or after the key, by any peer.
//! The end: the owner is the nearest peer that stands, once each nearer one was asked and is no longer awaited. If it did
//! not confirm, a peer before the key must list it, while one is left to ask. If all nearer ones fail, the asker owns it.
//! Ask next: peers named at or after the key, then those before it, then those after it that only the asker knows; once a
//! peer stands, only nearer ones, and those before the key until it is listed. The nearest go first, distrusted ones last.
//! While one is slow the next is asked, three at most. A confirmation fails nearer peers that were asked and are silent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::claims::{check_closer, check_near, check_owner};
use super::view::{Local, Route, View, distance_behind};

use crate::config::RingSettings;
use crate::id::{Position, between};
use crate::wire::{Entry, Fault, MembershipReply};

/// A lookup under way. To drive it: take a [`Step`], ask, report the outcome, and repeat.
#[derive(Debug)]
pub struct Lookup {
    me: Position,
    key: Position,
    /// The peers known around the key, by their distance after it; the peers before the key are the most distant ones.
    /// Its bound is [`KNOWN_MAX`] peers on each side, and those named in the answers of [`ASKED_MAX`] peers.
    table: BTreeMap<Position, Known>,
    distrusted: BTreeSet<Position>,
    successors_max: usize,
    found: Option<Step>,
    faults: Vec<Evidence>,
}

/// A peer in the table.
#[derive(Debug)]
struct Known {
    entry: Entry,
    state: State,
    /// Whether somebody named it at or after the key: another peer, the asker's own route, or it itself.
    named: bool,
    /// The list that this peer gave when it named another peer as the owner: that owner and the peers after it.
    list: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The lookup has not asked the peer.
    Unasked,
    /// The peer was asked and may still answer.
    Asked,
    /// The peer answered, and did not claim the key.
    Answered,
    /// The peer answered that it owns the key.
    Confirmed { predecessor: Option<Entry>, successors: Vec<Entry> },
    /// The peer gave no answer, or one that does not count.
    Failed,
}

/// The groups in which peers are asked, the first one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// Peers that were named at or after the key; all nearer peers, once a peer stands.
    After,
    /// Peers before the key, which may know closer peers or list the owner.
    Before,
    /// Peers after the key that only the asker knows.
    Unnamed,
}

/// The next step of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask this peer who owns the key.
    Ask(Entry),
    /// Ask no other peer before one of the asked peers answers or fails.
    Wait,
    /// The lookup has found the owner.
    Found {
        /// The owner of the key.
        owner: Entry,
        /// The predecessor of the owner.
        predecessor: Option<Entry>,
        /// The peers after the owner.
        successors: Vec<Entry>,
    },
    /// The lookup failed: no peer is left to ask.
    Failed,
}

/// The evidence of a fault in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The peer that gave the answer.
    pub peer: Position,
    /// The kind of fault.
    pub fault: Fault,
    /// Whether the answer contradicts itself. Otherwise it contradicts what others say, which may be no fault while the
    /// ring changes.
    pub certain: bool,
}

impl Lookup {
    /// Begins with this peer's own knowledge. Distrusted peers are asked last.
    pub fn new(view: &View, key: Position, distrusted: BTreeSet<Position>) -> Lookup {
        Lookup::with(view.local(), key, distrusted)
    }

    pub(super) fn with(local: Local<'_>, key: Position, distrusted: BTreeSet<Position>) -> Lookup {
        let mut lookup = Lookup {
            me: local.me.position,
            key,
            table: BTreeMap::new(),
            distrusted,
            successors_max: local.successors_max.min(RingSettings::SUCCESSORS_MAX.into()),
            found: None,
            faults: Vec::new(),
        };
        let route = match local.route(&key) {
            None => return lookup,
            Some(Route::Owner { owner, predecessor, successors })
                if local.small || owner.position == local.me.position =>
            {
                lookup.found = Some(Step::Found { owner, predecessor, successors });
                return lookup;
            }
            Some(route) => route,
        };
        let after = local.nearest_at_or_after(&key, KNOWN_MAX);
        // The asker never queries itself: its knowledge is its answer. If there may be more peers between the key and
        // itself, it cannot tell that all of them have failed.
        let asker = if after.len() < KNOWN_MAX { State::Answered } else { State::Failed };
        lookup.add(local.me.clone()).state = asker;
        match route {
            Route::Owner { owner, successors, .. } => lookup.take_list(local.me, owner, successors),
            Route::Near(peers) => lookup.take_near(&peers),
            Route::Closer(_) => {}
        }
        for entry in after.into_iter().chain(local.nearest_before(&key, KNOWN_MAX)) {
            lookup.add(entry);
        }
        lookup
    }

    /// The next step: a peer to ask, a wait, or the end of the lookup.
    pub fn next_step(&mut self) -> Step {
        if let Some(found) = &self.found {
            return found.clone();
        }
        let step = self.decide();
        match &step {
            Step::Ask(entry) => self.add(entry.clone()).state = State::Asked,
            Step::Found { owner, .. } => {
                self.judge_claims(&owner.position);
                self.found = Some(step.clone());
            }
            Step::Wait | Step::Failed => {}
        }
        step
    }

    /// Takes an asked peer's reply; any reply but an owner or peers to ask counts as no answer.
    pub fn answered(&mut self, from: &Entry, reply: MembershipReply) {
        let (key, position) = (self.key, &from.position);
        let checked = match reply {
            MembershipReply::Owner { owner, predecessor, successors } => {
                let most = self.successors_max;
                check_owner(&key, position, &owner, predecessor.as_ref(), &successors, most).map(|()| {
                    if owner.position == *position {
                        self.give_up_nearer_than(position);
                        self.add(from.clone()).entry = owner;
                        return State::Confirmed { predecessor, successors };
                    }
                    self.take_list(from, owner, successors);
                    State::Answered
                })
            }
            MembershipReply::Near { peers } => check_near(&key, position, &peers).map(|()| {
                // A peer that knows the peers nearest after the key stands among them.
                self.add(from.clone()).named = true;
                self.take_near(&peers);
                State::Answered
            }),
            MembershipReply::Closer { peers } => check_closer(&key, position, &peers).map(|()| {
                for peer in peers {
                    if between(&self.me, &peer.position, &key) {
                        self.add(peer);
                    }
                }
                State::Answered
            }),
            MembershipReply::Gone { successor: Some(successor) } => {
                if between(&self.me, &successor.position, &key) {
                    self.add(successor);
                } else {
                    self.take_near([&successor]);
                }
                Ok(State::Failed)
            }
            _ => Ok(State::Failed),
        };
        let state = checked.unwrap_or_else(|fault| {
            self.record_fault(position, fault, true);
            State::Failed
        });
        self.add(from.clone()).state = state;
    }

    /// Notes that an asked peer will not answer.
    pub fn failed(&mut self, whom: &Position) {
        let distance = self.distance(whom);
        if let Some(peer) = self.table.get_mut(&distance) {
            peer.state = State::Failed;
        }
    }

    /// The faults in the answers so far.
    pub fn faults(&self) -> &[Evidence] {
        &self.faults
    }

    /// The two rules: the end, and whom to ask next.
    fn decide(&self) -> Step {
        let asker = self.distance(&self.me);
        let owner = self.table.iter().find(|(distance, peer)| peer.stands(**distance <= asker));
        let is_listed = owner.is_some_and(|(_, peer)| self.is_listed(peer));
        // `None`: the answer of this peer does not matter any more.
        let group = |distance: &Position, peer: &Known| match owner {
            Some((owner, _)) if distance < owner => Some(Group::After),
            Some(_) => (!is_listed && *distance > asker).then_some(Group::Before),
            None if peer.named => Some(Group::After),
            None if *distance > asker => Some(Group::Before),
            None => Some(Group::Unnamed),
        };
        let in_groups = |state: State| {
            let peers = self.table.iter().filter(move |(_, peer)| peer.state == state);
            peers.filter_map(|(distance, peer)| Some((group(distance, peer)?, peer)))
        };
        let awaited = in_groups(State::Asked).map(|(group, _)| group).min();
        let next = in_groups(State::Unasked).min_by_key(|(group, peer)| self.turn(*group, peer));
        let asked = self.table.values().filter(|peer| peer.state != State::Unasked).count();
        let open = self.table.values().filter(|peer| peer.state == State::Asked).count();
        match (next, owner) {
            (_, Some(_)) if awaited == Some(Group::After) => Step::Wait,
            (Some(_), _) if open >= OPEN_MAX => Step::Wait,
            (Some((_, next)), _) if asked <= ASKED_MAX => Step::Ask(next.entry.clone()),
            _ if awaited.is_some() => Step::Wait,
            (_, Some((_, owner))) => self.found(owner),
            _ => self.asker_in_the_end().map_or(Step::Failed, |asker| self.found(asker)),
        }
    }

    /// The key by which unasked peers are ordered: group, trust, nearness.
    fn turn(&self, group: Group, peer: &Known) -> (Group, bool, Position) {
        let position = &peer.entry.position;
        let nearness = match group {
            Group::Before => position.distance_to(&self.key),
            Group::After | Group::Unnamed => self.distance(position),
        };
        (group, self.distrusted.contains(position), nearness)
    }

    /// Whether the peer itself or the list of another says that it owns the key once all nearer peers are dead.
    fn is_listed(&self, peer: &Known) -> bool {
        peer.has_confirmed() || self.successors_listed(&peer.entry.position).is_some()
    }

    /// The peers after this one in the lists that peers gave; the list of the peer nearest before the key counts first.
    fn successors_listed(&self, position: &Position) -> Option<&[Entry]> {
        self.table.values().rev().find_map(|peer| {
            let at = peer.list.iter().position(|entry| entry.position == *position)?;
            Some(&peer.list[at + 1..])
        })
    }

    /// The asker, if all nearer peers have failed.
    fn asker_in_the_end(&self) -> Option<&Known> {
        let asker = self.distance(&self.me);
        let all_failed = self.table.range(..asker).all(|(_, peer)| peer.state == State::Failed);
        self.table.get(&asker).filter(|asker| asker.state == State::Answered && all_failed)
    }

    fn found(&self, owner: &Known) -> Step {
        let (predecessor, successors) = match &owner.state {
            State::Confirmed { predecessor, successors } => (predecessor.clone(), successors.clone()),
            _ => (None, self.successors_listed(&owner.entry.position).unwrap_or_default().to_vec()),
        };
        Step::Found { owner: owner.entry.clone(), predecessor, successors }
    }

    /// Records a fault of each peer whose claim names a farther peer than the owner, if the owner has confirmed.
    fn judge_claims(&mut self, owner: &Position) {
        let owner = self.distance(owner);
        if !self.table.get(&owner).is_some_and(Known::has_confirmed) {
            return;
        }
        let is_wrong = |peer: &&Known| {
            let itself = peer.has_confirmed().then_some(&peer.entry);
            let claimed = itself.or(peer.list.first());
            claimed.is_some_and(|claimed| self.distance(&claimed.position) > owner)
        };
        let wrong = self.table.values().filter(is_wrong).map(|peer| peer.entry.position);
        for peer in wrong.filter(|peer| *peer != self.me).collect::<Vec<_>>() {
            self.record_fault(&peer, Fault::WrongOwner, false);
        }
    }

    fn record_fault(&mut self, peer: &Position, fault: Fault, certain: bool) {
        self.faults.push(Evidence { peer: *peer, fault, certain });
    }

    /// Takes the owner that a peer named, and the peers after that owner.
    fn take_list(&mut self, by: &Entry, owner: Entry, successors: Vec<Entry>) {
        if owner.position == self.me {
            self.add(owner.clone()).named = true;
        }
        let until_itself = successors.iter().take_while(|entry| entry.position != by.position);
        self.take_near(std::iter::once(&owner).chain(until_itself));
        self.add(by.clone()).list = std::iter::once(owner).chain(successors).collect();
    }

    /// Takes peers that were named at or after the key. The asker stands only if it is named as the owner: the other
    /// peers that are named with it come first.
    fn take_near<'a>(&mut self, peers: impl IntoIterator<Item = &'a Entry>) {
        let me = self.me;
        for entry in peers.into_iter().filter(|entry| entry.position != me) {
            let peer = self.add(entry.clone());
            peer.named = true;
            if peer.state == State::Unasked && entry.incarnation > peer.entry.incarnation {
                peer.entry = entry.clone();
            }
        }
    }

    /// Counts nearer peers that are silent as failed: the peer that has confirmed takes them for dead as well. If one of
    /// them answers before the end, its answer counts.
    fn give_up_nearer_than(&mut self, confirmed: &Position) {
        let distance = self.distance(confirmed);
        for (_, peer) in self.table.range_mut(..distance).filter(|(_, peer)| peer.state == State::Asked) {
            peer.state = State::Failed;
        }
    }

    /// The table's entry for a peer; an unknown peer is added as unasked.
    fn add(&mut self, entry: Entry) -> &mut Known {
        let distance = self.distance(&entry.position);
        let unasked = || Known { entry, state: State::Unasked, named: false, list: Vec::new() };
        self.table.entry(distance).or_insert_with(unasked)
    }

    fn distance(&self, position: &Position) -> Position {
        distance_behind(&self.key, position)
    }
}

impl Known {
    fn has_confirmed(&self) -> bool {
        matches!(self.state, State::Confirmed { .. })
    }

    /// Whether this peer owns the key if no nearer peer does.
    fn stands(&self, at_or_after_the_key: bool) -> bool {
        match self.state {
            State::Confirmed { .. } => true,
            State::Answered => self.named && at_or_after_the_key,
            State::Unasked | State::Asked | State::Failed => false,
        }
    }
}

/// The time that one peer of a lookup has before the next one is asked: four round trips, within bounds.
pub fn hop_timeout(round_trip: Option<Duration>) -> Duration {
    round_trip.map_or(HOP_TIMEOUT_MIN, |trip| (trip * 4).clamp(HOP_TIMEOUT_MIN, HOP_GIVEN_UP))
}

/// The least time that one peer of a lookup has before the next one is asked.
const HOP_TIMEOUT_MIN: Duration = Duration::from_millis(250);
/// The time after which an asked peer is no longer expected to answer.
pub const HOP_GIVEN_UP: Duration = Duration::from_secs(1);
/// The most peers that one lookup asks.
const ASKED_MAX: usize = 64;
/// The most peers that it waits for at the same moment. With more, the lookup would ask ever worse peers for what the
/// first of them would have answered. As in Kademlia (Maymounkov and Mazières, IPTPS 2002).
const OPEN_MAX: usize = 3;
/// The most peers that it takes from the asker's own knowledge on each side of the key. After a mass death most of them
/// may be silent.
const KNOWN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::sample::{entries, entry};
    use crate::chord::{PhaseKind, Table};
    use crate::wire::{Life, Member, MemberState};

    /// Peer 10 knows these alive, and two successors.
    fn view(members: &[u8]) -> View {
        let member = |n: &u8| Member { entry: entry(*n), state: MemberState::Alive };
        View {
            me: entry(10),
            phase: PhaseKind::Active,
            settings: Some(RingSettings { replicas: 3, successors: 2, ..RingSettings::default() }),
            predecessor: Some(entry(240)),
            successors: vec![entry(12), entry(14)],
            members: Table::of(members.iter().map(member)),
            acquaintances: Vec::new(),
            rejoined: Default::default(),
            departed: Default::default(),
            full: Default::default(),
            small: false,
            waiting_for: Vec::new(),
            turn: Default::default(),
        }
    }

    fn owner(owner: u8, before: u8) -> MembershipReply {
        owner_with_list(owner, before, &[])
    }

    fn owner_with_list(owner: u8, before: u8, after: &[u8]) -> MembershipReply {
        let predecessor = Some(entry(before));
        MembershipReply::Owner { owner: entry(owner), predecessor, successors: entries(after) }
    }

    fn near(peers: &[u8]) -> MembershipReply {
        MembershipReply::Near { peers: entries(peers) }
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

    const ALL: [u8; 6] = [12, 14, 100, 150, 200, 240];
    /// Too few and too far apart to tell that the contacts around a key are all that there are.
    const FEW: [u8; 4] = [12, 14, 100, 240];

    /// Goal: in a ring that is known whole a lookup is one hop, to the owner.
    #[test]
    fn the_known_owner_is_asked_first() {
        let all: Vec<u8> = (0..25).map(|i| i * 10).filter(|n| *n != 10).collect();
        let mut lookup = lookup(125, &all, &[]);
        assert_eq!(asks(&mut lookup), Some(130));
        lookup.answered(&entry(130), owner(130, 120));
        assert_eq!((found(&mut lookup), lookup.faults().len()), (Some(130), 0));
    }

    #[test]
    fn the_nearest_before_the_key_names_the_owner_and_the_owner_confirms() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(150, 100));
        assert_eq!(asks(&mut lookup), Some(150));
        lookup.answered(&entry(150), owner(150, 100));
        assert_eq!((found(&mut lookup), lookup.faults().len()), (Some(150), 0));
    }

    /// Goal: a slow peer is not waited for, and may still answer.
    #[test]
    fn the_next_best_is_asked_while_the_first_is_slow() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        assert_eq!(asks(&mut lookup), Some(14));
        lookup.answered(&entry(100), owner(150, 100));
        assert_eq!(asks(&mut lookup), Some(150));
        lookup.answered(&entry(150), owner(150, 100));
        assert_eq!(found(&mut lookup), Some(150));
    }

    #[test]
    fn the_lookup_waits_while_an_asked_peer_may_answer() {
        let mut lookup = lookup(13, &[12, 14], &[]);
        while asks(&mut lookup).is_some() {}
        assert_eq!(lookup.next_step(), Step::Wait);
        lookup.failed(&Position::of_number(12));
        assert_eq!(lookup.next_step(), Step::Wait);
        lookup.answered(&entry(14), owner(14, 12));
        assert_eq!(found(&mut lookup), Some(14));
    }

    /// Goal: right after deaths, the list of a peer before the key leads to the first living peer behind it,
    /// although no peer has noticed the deaths yet.
    #[test]
    fn after_dead_owners_the_first_living_peer_is_the_owner() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner_with_list(150, 100, &[160, 170]));
        for dead in [150, 160] {
            assert_eq!(asks(&mut lookup), Some(dead));
            lookup.failed(&Position::of_number(dead));
        }
        assert_eq!(asks(&mut lookup), Some(170));
        lookup.answered(&entry(170), near(&[160]));
        assert_eq!((found(&mut lookup), lookup.faults().len()), (Some(170), 0));
    }

    /// Goal: slow is not dead: no peer takes the place of an owner that may still answer.
    #[test]
    fn a_slow_owner_stays_the_owner() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner_with_list(150, 100, &[170]));
        assert_eq!(asks(&mut lookup), Some(150));
        assert_eq!(asks(&mut lookup), Some(170), "while 150 is slow");
        lookup.answered(&entry(170), near(&[150]));
        assert_eq!(lookup.next_step(), Step::Wait);
        lookup.answered(&entry(150), owner(150, 100));
        assert_eq!(found(&mut lookup), Some(150));
    }

    /// Goal: a peer whose predecessor has just died finds itself.
    #[test]
    fn the_asker_is_the_owner_if_all_nearer_peers_fail() {
        let mut lookup = lookup(230, &[12, 14, 100, 240], &[]);
        while let Some(dead) = asks(&mut lookup) {
            lookup.failed(&Position::of_number(dead));
        }
        assert_eq!(found(&mut lookup), Some(10));
    }

    /// Goal: other peers know the predecessor's death already; the asker asks no peer but the predecessor.
    #[test]
    fn an_asker_that_is_named_as_the_owner_asks_only_the_nearer_peers() {
        let mut lookup = lookup(230, &[12, 14, 100, 240], &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(10, 100));
        assert_eq!(asks(&mut lookup), Some(240), "it may live");
        lookup.failed(&Position::of_number(240));
        assert_eq!(found(&mut lookup), Some(10));
    }

    #[test]
    fn the_successor_names_a_new_owner() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(150, 100));
        assert_eq!(asks(&mut lookup), Some(150));
        lookup.answered(&entry(150), near(&[130]));
        assert_eq!(asks(&mut lookup), Some(130));
        lookup.answered(&entry(130), owner(130, 100));
        assert_eq!(found(&mut lookup), Some(130));
    }

    /// Goal: a death that others have noticed costs the asker no more than the time after which it asks the next peer.
    #[test]
    fn a_confirmed_owner_does_not_wait_for_a_nearer_peer_that_was_asked_before() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner_with_list(150, 100, &[170]));
        assert_eq!(asks(&mut lookup), Some(150));
        assert_eq!(asks(&mut lookup), Some(170), "while 150 is slow");
        lookup.answered(&entry(170), owner(170, 100));
        assert_eq!((found(&mut lookup), lookup.faults().len()), (Some(170), 0));
    }

    /// Goal: a peer that no list names may have living peers before it that nobody has named yet.
    #[test]
    fn a_peer_that_did_not_confirm_waits_for_the_lists_of_peers_before_the_key() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!([asks(&mut lookup), asks(&mut lookup)], [Some(100), Some(14)]);
        lookup.answered(&entry(14), near(&[150]));
        assert_eq!(asks(&mut lookup), Some(150));
        lookup.answered(&entry(150), near(&[]));
        assert_eq!(asks(&mut lookup), Some(12), "100 is slow, and may list a nearer peer");
        lookup.failed(&Position::of_number(12));
        assert_eq!(lookup.next_step(), Step::Wait);
        lookup.answered(&entry(100), owner(130, 100));
        assert_eq!(asks(&mut lookup), Some(130));
        lookup.answered(&entry(130), owner(130, 100));
        assert_eq!(found(&mut lookup), Some(130));
    }

    #[test]
    fn a_nearer_peer_that_a_claim_passes_over_is_asked() {
        let mut lookup = lookup(120, &ALL, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(200, 100));
        assert_eq!(asks(&mut lookup), Some(200));
        lookup.answered(&entry(200), owner(200, 100));
        assert_eq!(asks(&mut lookup), Some(150), "it lives, and lies nearer");
        assert_eq!(lookup.next_step(), Step::Wait);
        lookup.answered(&entry(150), owner(150, 100));
        assert_eq!(found(&mut lookup), Some(150));
        let liars = lookup.faults().iter().map(|fault| (fault.peer.number(), fault.certain));
        assert_eq!(liars.collect::<Vec<_>>(), [(Some(200), false), (Some(100), false)]);
    }

    /// Goal: an asker that lags behind does not call an honest answer a lie.
    #[test]
    fn a_claim_is_believed_if_the_passed_over_peer_is_silent() {
        let mut lookup = lookup(120, &ALL, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(200, 100));
        assert_eq!(asks(&mut lookup), Some(200));
        lookup.answered(&entry(200), owner(200, 100));
        // All that are known at or after the key are asked, and say nothing that helps.
        while let Some(silent) = asks(&mut lookup) {
            lookup.failed(&Position::of_number(silent));
        }
        assert_eq!((found(&mut lookup), lookup.faults().len()), (Some(200), 0));
    }

    /// Goal: after a row of deaths, the asker asks the peers that the answer depends on, not all others first.
    #[test]
    fn nearer_peers_are_asked_before_another_takes_the_place_of_the_owner() {
        let mut lookup = lookup(120, &ALL, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(200, 100));
        assert_eq!(asks(&mut lookup), Some(200));
        lookup.answered(&entry(200), near(&[]));
        assert_eq!(asks(&mut lookup), Some(150), "it is known, and lies nearer");
        lookup.failed(&Position::of_number(150));
        assert_eq!((found(&mut lookup), lookup.faults().len()), (Some(200), 0));
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_dropped_and_the_next_peer_is_asked() {
        for wrong in [
            owner(100, 14),
            MembershipReply::Owner { owner: entry(100), predecessor: None, successors: vec![entry(150)] },
            MembershipReply::Closer { peers: vec![entry(14)] },
            near(&[110]),
        ] {
            let mut lookup = lookup(120, &ALL, &[]);
            assert_eq!(asks(&mut lookup), Some(100));
            lookup.answered(&entry(100), wrong);
            assert!(lookup.faults()[0].certain);
            assert_eq!(asks(&mut lookup), Some(14), "the next best before the key");
            assert_eq!(asks(&mut lookup), Some(12));
            assert_eq!(asks(&mut lookup), Some(150), "then whoever stands after it");
            lookup.answered(&entry(150), owner(150, 100));
            assert_eq!(found(&mut lookup), Some(150));
        }
    }

    #[test]
    fn a_distrusted_peer_is_asked_last() {
        let mut lookup = lookup(120, &ALL, &[100]);
        assert_eq!(asks(&mut lookup), Some(14));
    }

    #[test]
    fn a_lookup_ends_whatever_is_answered() {
        let mut lookup = lookup(120, &ALL, &[]);
        let mut asked = 0;
        while let Step::Ask(whom) = lookup.next_step() {
            asked += 1;
            let mut position = Position([100 + (asked % 20) as u8; 32]);
            position.0[31] = asked as u8;
            let peer = Entry::from(Life { position, ..(*entry(0)).clone() });
            let peers = vec![peer];
            lookup.answered(
                &whom,
                match asked % 2 {
                    0 => MembershipReply::Closer { peers },
                    _ => MembershipReply::Near { peers },
                },
            );
        }
        assert!(asked <= ASKED_MAX + 1, "{asked}");
        assert_eq!(lookup.next_step(), Step::Failed);
    }
}
