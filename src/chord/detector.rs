//! Failure detection: pings to the neighbours, then a probe, direct and through helpers.
//!
//! After the second missed ping a probe goes out on a reliable stream, directly and through two
//! helpers, after SWIM. Dead is who missed three pings, left the direct probe unanswered, and was
//! reached by no helper. Slow is not dead: any sign of life begins the count anew, also one below this protocol (see
//! [`Node::handle_sign_of_life`]).

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

/// Who is watched, and how it goes.
#[derive(Debug, Clone)]
pub(super) struct Detector {
    watches: BTreeMap<Position, Watch>,
    /// Who is reached through whom, where there is no direct way.
    via: BTreeMap<Position, Entry>,
    ping_at: Moment,
    next_sequence: u64,
    /// Where else this peer was said to live, and how often it began a new life for that.
    elsewhere: BTreeMap<Address, u8>,
}

#[derive(Debug, Clone)]
struct Watch {
    entry: Entry,
    misses: u32,
    /// The sequence of the last ping, and until when its answer is due.
    outstanding: Option<(u64, Moment)>,
    probe: Probe,
    /// Not a neighbour: only whether it is dead is wanted.
    suspect: bool,
    /// Not known yet: it becomes a member once it was reached.
    stranger: bool,
    /// How many queries it has left unanswered, although it lives.
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

    /// Whether its death may come of what it leaves unanswered now.
    fn is_awaited(&self) -> bool {
        !self.stranger && (self.outstanding.is_some() || self.misses > 0)
    }

    /// Neighbours always; others until enough pings were missed for their death.
    fn is_pinged(&self) -> bool {
        !self.suspect || self.misses < MISSES_DEAD
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Probe {
    None,
    /// Unanswered so far: the direct way, and the helpers.
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

    /// Keeps in mind through whom a peer is reached; of peers that are not watched only for a while.
    fn reach_through(&mut self, target: Position, helper: Entry) {
        if self.via.len() >= WATCHES_MAX {
            self.via.retain(|position, _| self.watches.contains_key(position));
        }
        self.via.insert(target, helper);
    }

    /// This peer's very life is said to be lived at another address. Whether to begin a new one, so that one of two
    /// processes ends: not for ever, since behind an address translator one process has several addresses.
    pub(super) fn is_lived_elsewhere(&mut self, address: &Address) -> bool {
        if self.elsewhere.len() >= ELSEWHERE_MAX && !self.elsewhere.contains_key(address) {
            return false;
        }
        let times = self.elsewhere.entry(address.clone()).or_default();
        *times = times.saturating_add(1);
        *times <= NEW_LIVES_MAX
    }

    /// A number for one more ping.
    pub(super) fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    /// As if nobody had been asked anything: whoever is a neighbour is watched from now on.
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
    /// Watches both nearest successors and the predecessor, and nobody else for long.
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

    /// The peers whose next silence counts: from the ping on, any packet of theirs is a sign of life.
    pub fn awaited(&self) -> impl Iterator<Item = &Entry> {
        self.detector.watches.values().filter(|watch| watch.is_awaited()).map(|watch| &watch.entry)
    }

    /// The network has taken a packet of this very life of a peer since it was pinged last, if only an
    /// acknowledgement. Its answers may be late, behind other bytes on a slow line, but it is not dead.
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

    /// A sign of life from a peer, of whatever kind.
    pub(super) fn heard(&mut self, now: Moment, from: &Entry) {
        if !self.second_hand {
            self.members.met(&from.position);
            self.silences.broken(&from.address);
            // Whoever is wrongly believed dead does not know of it, or would have contradicted; an exchange tells it.
            if self.members.prove(from) {
                self.exchange(now, from.clone());
            }
        }
        let Some(watch) = self.detector.watches.get_mut(&from.position) else {
            self.detector.via.remove(&from.position);
            return;
        };
        if from.key != watch.entry.key {
            // Another peer that wants this one's place: it says nothing of whoever stands there.
        } else if from.incarnation > watch.entry.incarnation {
            // A later life: whether it is in the ring again, its own answer tells.
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

    /// Somebody is said to ask: no sign of life, but its own answer may be one.
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

    /// A peer left a request unanswered, which counts as the first miss: find out whether it is dead.
    pub(super) fn suspect(&mut self, now: Moment, entry: &Entry) {
        self.doubt(now, entry, 1);
    }

    /// A neighbour was found dead, and others in the list may have died with it: whoever of them leaves one ping
    /// unanswered is probed. Else a row of deaths would take a death's time for every two of them.
    pub(super) fn doubt_all(&mut self, now: Moment, entries: &[Entry]) {
        for entry in entries {
            self.doubt(now, entry, MISSES_DEAD - 1);
        }
    }

    /// Watches a peer that is no neighbour until it answers or is found dead.
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

    /// Somebody tells of a peer that this one does not know: it is one once it was reached.
    pub(super) fn meet(&mut self, now: Moment, entry: &Entry) {
        if self.detector.watches.contains_key(&entry.position) || self.detector.watches.len() >= WATCHES_MAX {
            return;
        }
        let watch = Watch { misses: MISSES_DEAD, suspect: true, stranger: true, ..Watch::of(entry.clone()) };
        self.detector.watches.insert(entry.position, watch);
        self.start_probe(now, entry.position);
    }

    /// A neighbour left a query unanswered. If it lives, it is slow, and the next one has more time.
    pub(super) fn wait_longer_for(&mut self, position: &Position) {
        if let Some(watch) = self.detector.watches.get_mut(position) {
            watch.slowness = (watch.slowness + 1).min(SLOWNESS_MAX);
        }
    }

    /// How many times as long as others a peer has for its answer.
    pub(super) fn patience(&self, position: &Position) -> u32 {
        self.detector.watches.get(position).map_or(1, |watch| 1 + watch.slowness)
    }

    /// Through whom a peer is reached, if not directly.
    pub(super) fn via(&self, position: &Position) -> Option<&Entry> {
        self.detector.via.get(position)
    }

    /// Nothing more is to be found out about this peer.
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

    /// Decides what the misses so far mean.
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
        // Who missed a ping itself is asked only where there is nobody else.
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

    /// A helper needs a probe's time for its own try, and half of that for the way.
    pub(super) fn relay_timeout(&self) -> Duration {
        self.probe_timeout().mul_f64(1.5)
    }
}

/// After how many missed pings a probe goes out.
const MISSES_PROBE: u32 = 2;
/// How many missed pings a death takes.
const MISSES_DEAD: u32 = 3;
/// How many times longer than others a slow peer is waited for, at most, less one.
const SLOWNESS_MAX: u32 = 3;
/// How many helpers a probe has at a time.
const HELPERS: usize = 2;
/// How many helpers a probe has in all.
const HELPERS_MAX: usize = 5;
/// From how many of the next members helpers are drawn.
const HELPERS_AMONG: usize = 64;
/// At how many other addresses a peer takes notice of its own life, and how often for each.
const ELSEWHERE_MAX: usize = 8;
const NEW_LIVES_MAX: u8 = 3;
/// How many peers are watched at once, suspects included.
pub(super) const WATCHES_MAX: usize = 64;
