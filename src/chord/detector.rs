//! Failure detection: pings to the neighbours, then a probe, direct and through helpers.
//!
//! After the second missed ping a probe goes out on a reliable stream, directly and through two helpers, after SWIM. A
//! peer is dead if it missed three pings, left the direct probe unanswered, and was reached by no helper. Slow is not
//! dead: any sign of life begins the count anew, even one below this protocol (see [`Node::handle_sign_of_life`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::seq::SliceRandom as _;

use super::node::{Node, Purpose};
use super::output::{Event, Output, Unanswered};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{
    Address, Datagram, Entry, Member, MemberState, MembershipReply, MembershipRequest, NeighbourReply,
    NeighbourRequest, Target,
};

/// The watched peers, and the state of each watch.
#[derive(Debug, Clone)]
pub(super) struct Detector {
    watches: BTreeMap<Position, Watch>,
    /// The helpers through which peers are reached that cannot be reached directly.
    via: BTreeMap<Position, Entry>,
    ping_at: Moment,
    next_sequence: u64,
    /// Other addresses at which this peer was said to live, and how often it began a new life for each.
    elsewhere: BTreeMap<Address, u8>,
}

#[derive(Debug, Clone)]
struct Watch {
    entry: Entry,
    misses: u32,
    /// The sequence number of the last ping, and the moment until which its answer is due.
    outstanding: Option<(u64, Moment)>,
    probe: Probe,
    /// Whether this is a suspicion: the peer is not a neighbour, and is watched only until it answers or is found dead.
    suspect: bool,
    /// Whether the peer is unknown so far: it becomes a member once it was reached.
    stranger: bool,
    /// The number of queries it has left unanswered although it is alive.
    slowness: u32,
}

impl Watch {
    fn of(entry: Entry) -> Watch {
        Watch {
            entry,
            misses: 0,
            outstanding: None,
            probe: Probe::None,
            suspect: false,
            stranger: false,
            slowness: 0,
        }
    }

    /// Whether the peer's present silence may lead to its death.
    fn is_awaited(&self) -> bool {
        !self.stranger && (self.outstanding.is_some() || self.misses > 0)
    }

    /// Whether the peer is pinged: a neighbour always, any other until it has missed enough pings for a death.
    fn is_pinged(&self) -> bool {
        !self.suspect || self.misses < MISSES_DEAD
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Probe {
    None,
    /// The ways that are still unanswered: the direct one, and the helpers.
    Running {
        direct: bool,
        helpers: BTreeSet<Position>,
        tried: BTreeSet<Position>,
    },
    Failed,
}

impl Detector {
    pub(super) fn new(now: Moment) -> Detector {
        Detector {
            watches: BTreeMap::new(),
            via: BTreeMap::new(),
            ping_at: now,
            next_sequence: 0,
            elsewhere: BTreeMap::new(),
        }
    }

    /// Remembers the helper through which a peer is reached; for a peer that is not watched, only for a while.
    fn reach_through(&mut self, target: Position, helper: Entry) {
        if self.via.len() >= WATCHES_MAX {
            self.via.retain(|position, _| self.watches.contains_key(position));
        }
        self.via.insert(target, helper);
    }

    /// Another address is said to run this peer's very life. Returns whether to begin a new life, so that one of the
    /// two processes ends. Not for ever: behind an address translator one process has several addresses.
    pub(super) fn is_lived_elsewhere(&mut self, address: &Address) -> bool {
        if self.elsewhere.len() >= ELSEWHERE_MAX && !self.elsewhere.contains_key(address) {
            return false;
        }
        let times = self.elsewhere.entry(address.clone()).or_default();
        *times = times.saturating_add(1);
        *times <= NEW_LIVES_MAX
    }

    /// The sequence number of one more ping.
    pub(super) fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    /// Begins anew, as if no peer had been asked; neighbours stay watched.
    pub(super) fn begin_anew(&mut self, now: Moment) {
        self.watches.retain(|_, watch| !watch.suspect);
        for watch in self.watches.values_mut() {
            (watch.misses, watch.outstanding, watch.probe) = (0, None, Probe::None);
        }
        self.ping_at = now;
    }

    pub(super) fn next_timeout(&self) -> Option<Moment> {
        let due = self.watches.values().filter_map(|w| w.outstanding.map(|(_, at)| at));
        due.chain([self.ping_at]).min()
    }
}

impl Node {
    /// Watches the two nearest successors and the predecessor, and no other peer for long.
    pub(super) fn watch_neighbours(&mut self, now: Moment) {
        let neighbours: Vec<Entry> =
            self.successors.iter().take(2).chain(&self.predecessor).cloned().collect();
        let is_neighbour = |w: &Watch| {
            neighbours.iter().any(|n| n.position == w.entry.position && n.incarnation == w.entry.incarnation)
        };
        let is_beside = |w: &Watch| neighbours.iter().any(|n| n.position == w.entry.position);
        self.detector.watches.retain(|_, w| is_neighbour(w) || (w.suspect && !is_beside(w)));
        let mut fresh = false;
        for entry in neighbours {
            let watch = self.detector.watches.entry(entry.position).or_insert_with(|| {
                fresh = true;
                Watch::of(entry)
            });
            watch.suspect = false;
        }
        if fresh {
            self.detector.ping_at = self.detector.ping_at.min(now + self.interval / 4);
        }
    }

    pub(super) fn detector_timeout(&mut self, now: Moment) {
        let missed: Vec<Position> = self
            .detector
            .watches
            .iter_mut()
            .filter(|(_, w)| w.outstanding.is_some_and(|(_, at)| at <= now))
            .map(|(position, watch)| {
                watch.outstanding = None;
                watch.misses += 1;
                *position
            })
            .collect();
        for position in missed {
            self.weigh(now, position);
        }
        if self.detector.ping_at <= now {
            self.send_pings(now);
        }
    }

    /// The peers whose silence counts from their ping on; any packet of theirs is a sign of life.
    pub fn awaited(&self) -> impl Iterator<Item = &Entry> {
        self.detector.watches.values().filter(|watch| watch.is_awaited()).map(|watch| &watch.entry)
    }

    /// The network has taken a packet from this very life of a peer since it was last pinged, if only an
    /// acknowledgement. Its answers may be late, behind other bytes on a slow line, but the peer is not dead.
    pub fn handle_sign_of_life(&mut self, _now: Moment, from: &Entry) {
        let Some(watch) = self.detector.watches.get_mut(&from.position) else { return };
        let same_life = (watch.entry.key, watch.entry.incarnation) == (from.key, from.incarnation);
        // A stranger becomes a member by its own words only.
        if !same_life || watch.stranger {
            return;
        }
        (watch.misses, watch.probe, watch.outstanding) = (0, Probe::None, None);
        if watch.suspect {
            self.detector.watches.remove(&from.position);
        }
    }

    /// Takes a sign of life from a peer, of any kind.
    pub(super) fn heard(&mut self, now: Moment, from: &Entry) {
        if !self.second_hand {
            self.members.met(&from.position);
            self.silences.broken(&from.address);
            // A peer that is wrongly believed dead has not heard of it, or it would have contradicted; an exchange
            // tells it.
            if self.members.prove(from) {
                self.exchange(now, from.clone());
            }
        }
        let Some(watch) = self.detector.watches.get_mut(&from.position) else {
            self.detector.via.remove(&from.position);
            return;
        };
        if from.key != watch.entry.key {
            // Another peer wants this one's place: its message is no sign of life of the watched peer.
        } else if from.incarnation > watch.entry.incarnation {
            // A later life: its own answer tells whether it is in the ring again.
            self.exchange(now, from.clone());
        } else {
            watch.misses = 0;
            watch.probe = Probe::None;
            watch.outstanding = None;
            self.detector.via.remove(&from.position);
            let stranger = watch.stranger.then(|| watch.entry.clone());
            if watch.suspect {
                self.detector.watches.remove(&from.position);
            }
            if let Some(entry) = stranger {
                self.learn(now, Member { entry, state: MemberState::Alive });
            }
        }
    }

    /// A relayed message names a later life of a watched peer: no sign of life, but the peer's own answer may be one.
    pub(super) fn heard_of_later_life(&mut self, now: Moment, from: &Entry) {
        let of_earlier =
            |watch: &Watch| watch.entry.key == from.key && watch.entry.incarnation < from.incarnation;
        if self.detector.watches.get(&from.position).is_some_and(of_earlier) {
            self.exchange(now, from.clone());
        }
    }

    pub(super) fn handle_pong(&mut self, now: Moment, from: &Entry, sequence: u64) {
        if sequence >= self.detector.next_sequence {
            return; // never asked
        }
        self.event(Event::PingAnswered(from.position));
        self.gossip.answered(&from.position, sequence);
        self.heard(now, from);
    }

    /// Begins a suspicion: a peer left a request unanswered, which counts as the first miss.
    pub(super) fn suspect(&mut self, now: Moment, entry: &Entry) {
        self.doubt(now, entry, 1);
    }

    /// Suspects the rest of the list after a neighbour was found dead, since others may have died with it: each that
    /// leaves one ping unanswered is probed. Otherwise a row of deaths would take a death's time for every two of them.
    pub(super) fn doubt_all(&mut self, now: Moment, entries: &[Entry]) {
        for entry in entries {
            self.doubt(now, entry, MISSES_DEAD - 1);
        }
    }

    /// Watches a peer that is not a neighbour until it answers or is found dead.
    fn doubt(&mut self, now: Moment, entry: &Entry, misses: u32) {
        if self.detector.watches.contains_key(&entry.position) || self.detector.watches.len() >= WATCHES_MAX {
            return; // its pings will tell
        }
        let sequence = self.detector.take_sequence();
        let outstanding = Some((sequence, now + self.interval / 2));
        let watch = Watch { misses, outstanding, suspect: true, ..Watch::of(entry.clone()) };
        self.detector.watches.insert(entry.position, watch);
        let news = self.members.take_news(self.listener(entry), None);
        self.output(Output::Datagram { to: entry.clone(), datagram: Datagram::Ping { sequence, news } });
    }

    /// Probes a peer that another one told of: it becomes a member once it was reached.
    pub(super) fn meet(&mut self, now: Moment, entry: &Entry) {
        if self.detector.watches.contains_key(&entry.position) || self.detector.watches.len() >= WATCHES_MAX {
            return;
        }
        let watch = Watch { misses: MISSES_DEAD, suspect: true, stranger: true, ..Watch::of(entry.clone()) };
        self.detector.watches.insert(entry.position, watch);
        self.start_probe(now, entry.position);
    }

    /// Gives a neighbour that left a query unanswered more time for the next one: if it lives, it is slow.
    pub(super) fn wait_longer_for(&mut self, position: &Position) {
        if let Some(watch) = self.detector.watches.get_mut(position) {
            watch.slowness = (watch.slowness + 1).min(SLOWNESS_MAX);
        }
    }

    /// The factor by which a peer has longer for its answer than others.
    pub(super) fn patience(&self, position: &Position) -> u32 {
        self.detector.watches.get(position).map_or(1, |watch| 1 + watch.slowness)
    }

    /// The helper through which a peer is reached, if it is not reached directly.
    pub(super) fn via(&self, position: &Position) -> Option<&Entry> {
        self.detector.via.get(position)
    }

    /// Ends the watch on this life of a peer.
    pub(super) fn unwatch(&mut self, entry: &Entry) {
        let of_this_life = |w: &Watch| w.entry.incarnation <= entry.incarnation;
        if self.detector.watches.get(&entry.position).is_some_and(of_this_life) {
            self.detector.watches.remove(&entry.position);
        }
        self.detector.via.remove(&entry.position);
    }

    pub(super) fn probe_answered(
        &mut self,
        now: Moment,
        target: Position,
        helper: Option<Position>,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        if let (None, Ok((from, MembershipReply::Gone { .. }))) = (&helper, &answer)
            && from.position == target
        {
            self.unwatch(from);
            return self.hear_from(now, from, MemberState::Left);
        }
        let reached = match (&helper, &answer) {
            (None, Ok((from, _))) => from.position == target,
            (Some(_), Ok((_, MembershipReply::Relayed(Ok(NeighbourReply::Alive))))) => true,
            _ => false,
        };
        let Some(watch) = self.detector.watches.get_mut(&target) else { return };
        if reached {
            watch.misses = 0;
            watch.probe = Probe::None;
            watch.outstanding = None;
            let (suspect, stranger) = (watch.suspect, watch.stranger.then(|| watch.entry.clone()));
            if suspect {
                self.detector.watches.remove(&target);
            }
            if let Some(entry) = stranger {
                self.learn(now, Member { entry, state: MemberState::Alive });
            }
            let helper = helper.and_then(|h| self.members.at(&h)).map(|m| m.entry.clone());
            if let Some(helper) = helper {
                self.detector.reach_through(target, helper);
            }
            return;
        }
        let Probe::Running { direct, helpers, .. } = &mut watch.probe else { return };
        match helper {
            None => *direct = false,
            Some(helper) => {
                helpers.remove(&helper);
                // A helper that is silent itself proves nothing: another takes its place.
                if answer.is_err() {
                    self.ask_helpers(now, target, 1);
                }
            }
        }
        if let Some(watch) = self.detector.watches.get_mut(&target)
            && matches!(&watch.probe, Probe::Running { direct: false, helpers, .. } if helpers.is_empty())
        {
            watch.probe = Probe::Failed;
        }
        self.weigh(now, target);
    }

    fn send_pings(&mut self, now: Moment) {
        let due = now + self.interval / 2;
        let targets: Vec<Entry> =
            self.detector.watches.values().filter(|w| w.is_pinged()).map(|w| w.entry.clone()).collect();
        for entry in &targets {
            let sequence = self.detector.take_sequence();
            if let Some(watch) = self.detector.watches.get_mut(&entry.position) {
                watch.outstanding = Some((sequence, due));
            }
            let news = self.members.take_news(self.listener(entry), None);
            self.output(Output::Datagram { to: entry.clone(), datagram: Datagram::Ping { sequence, news } });
        }
        if !targets.is_empty() {
            let me = self.me.position;
            let mut to: Vec<Position> = targets.iter().map(|e| e.position).collect();
            to.sort_by_key(|position| me.distance_to(position));
            self.event(Event::PingsSent(to));
        }
        self.ping_partner(now);
        self.detector.ping_at = now + self.jittered(self.interval);
    }

    /// Judges the misses so far: starts a probe, or declares the peer dead.
    fn weigh(&mut self, now: Moment, position: Position) {
        let Some(watch) = self.detector.watches.get(&position) else { return };
        match watch.probe {
            Probe::None if watch.misses >= MISSES_PROBE => self.start_probe(now, position),
            Probe::Failed if watch.misses >= MISSES_DEAD => {
                let entry = watch.entry.clone();
                let stranger = watch.stranger;
                self.detector.watches.remove(&position);
                if !stranger {
                    self.learn(now, Member { entry, state: MemberState::Dead });
                }
            }
            Probe::None | Probe::Running { .. } | Probe::Failed => {}
        }
    }

    fn start_probe(&mut self, now: Moment, position: Position) {
        let Some(watch) = self.detector.watches.get_mut(&position) else { return };
        watch.probe = Probe::Running { direct: true, helpers: BTreeSet::new(), tried: BTreeSet::new() };
        let target = Target::from(&watch.entry);
        let request = MembershipRequest::Neighbour(NeighbourRequest::Probe);
        self.ask(now, target, request, self.probe_timeout(), Purpose::DirectProbe(position));
        self.ask_helpers(now, position, HELPERS);
    }

    fn ask_helpers(&mut self, now: Moment, position: Position, count: usize) {
        let Some(watch) = self.detector.watches.get(&position) else { return };
        let Probe::Running { tried, .. } = &watch.probe else { return };
        let target = watch.entry.clone();
        let doubtful = |p: &Position| self.detector.watches.get(p).is_some_and(|w| w.misses > 0);
        let mut helpers: Vec<Entry> = self
            .members
            .clockwise_from(&self.me.position)
            .take(HELPERS_AMONG)
            .filter(|e| e.position != position && !tried.contains(&e.position))
            .cloned()
            .collect();
        // A peer that missed a ping itself is a helper only if there is no other.
        if !helpers.iter().all(|e| doubtful(&e.position)) {
            helpers.retain(|e| !doubtful(&e.position));
        }
        if tried.len() >= HELPERS_MAX {
            helpers.clear();
        }
        helpers.shuffle(&mut self.rng);
        let timeout = self.relay_timeout();
        for helper in helpers.into_iter().take(count) {
            if let Some(Watch { probe: Probe::Running { helpers, tried, .. }, .. }) =
                self.detector.watches.get_mut(&position)
            {
                helpers.insert(helper.position);
                tried.insert(helper.position);
            }
            let request =
                MembershipRequest::Relay { target: target.clone(), request: NeighbourRequest::Probe };
            let purpose = Purpose::HelperProbe { target: position, helper: helper.position };
            self.ask(now, Target::from(&helper), request, timeout, purpose);
        }
    }

    /// The timeout of a relayed request: a probe's time for the helper's own try, and half of that for the way.
    pub(super) fn relay_timeout(&self) -> Duration {
        self.probe_timeout().mul_f64(1.5)
    }
}

/// The number of missed pings after which a probe goes out.
const MISSES_PROBE: u32 = 2;
/// The number of missed pings that a death takes.
const MISSES_DEAD: u32 = 3;
/// The most by which the waiting factor for a slow peer exceeds one.
const SLOWNESS_MAX: u32 = 3;
/// The number of helpers that a probe has at a time.
const HELPERS: usize = 2;
/// The number of helpers that a probe has in all.
const HELPERS_MAX: usize = 5;
/// The number of next members that helpers are drawn from.
const HELPERS_AMONG: usize = 64;
/// The most other addresses at which a peer takes notice of its own life, and the most new lives for each.
const ELSEWHERE_MAX: usize = 8;
const NEW_LIVES_MAX: u8 = 3;
/// The most peers that are watched at once, suspects included.
pub(super) const WATCHES_MAX: usize = 64;
