//! Peers, the messages between them, their faults, and the clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::drift::world_time;
use super::lock::Lock;
use super::mailbox::Mailbox;
use super::network::{Network, Slot, mixed};
use super::places::slot_of;
use super::queue::Queue;
use super::revoked::Revoked;
use super::searches::{Outcome, Searches};
use super::storage::{Files, News};
use super::tasks::Tasks;
use super::traffic::{Connections, Purpose, Sent};
use super::violations::Oracle;
use crate::chord::{Event, Node, Output, PhaseKind, ReplyTo, Rules, Token, View};
use crate::config::RingSettings;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Datagram, Entry, Member, MembershipReply, MembershipRequest, limits};

/// Peers, the messages between them, and the clock.
pub struct World {
    pub(super) now: Moment,
    pub(super) seed: u64,
    /// The source of the world's own choices; the network and each peer have their own.
    pub(super) rng: ChaCha8Rng,
    /// The settings of new peers.
    pub settings: RingSettings,
    /// The time between pings.
    pub interval: Duration,
    /// The number of contacts that a new peer keeps.
    pub contacts_max: usize,
    /// The greatest drift of a new peer's clock, in millionths.
    pub drift_ppm_max: i64,
    /// The rules of new peers.
    pub(super) rules: Rules,
    /// The ways between the peers.
    pub network: Network,
    /// The oracle that checks the invariants.
    pub oracle: Oracle,
    pub(super) peers: Vec<Option<Box<Process>>>,
    pub(super) queue: Queue<Delivery>,
    pub(super) tasks: Tasks,
    /// The last id that a task was given: for a timer, a question, a stream or a lookup.
    pub(super) ids: Arc<Lock<u64>>,
    pub(super) searches: Searches,
    /// The files' side; `None` in a world without files.
    pub(super) files: Option<Box<Files>>,
    pub(super) replies: BTreeMap<ReplyTo, (Slot, u32, Ask)>,
    next_reply: u64,
    /// The number of the next reply at earlier moments.
    old_replies: VecDeque<(Moment, u64)>,
    pub(super) next_identity: u32,
    pub(super) revoked: Revoked,
    /// The living members, by position.
    pub(super) living: BTreeMap<Position, Slot>,
    events: Vec<(Moment, Position, Event)>,
    /// Whether events are kept for a later reader.
    keeps_events: bool,
    pub(super) log: Option<Vec<String>>,
    steps: u64,
}

/// One process of a peer: the state that dies with it, and the disk, which does not.
pub(super) struct Process {
    pub node: Node,
    pub up: bool,
    /// The number of this process among those of its slot: answers to an earlier process are dropped.
    pub generation: u32,
    pub(super) paused: bool,
    pub(super) held: VecDeque<Delivery>,
    /// The moment of the next wake; earlier ones that are still queued are void.
    pub(super) wake_at: Option<Moment>,
    pub(super) drift_ppm: i64,
    pub(super) connections: Connections,
    pub sent: Sent,
    /// The incarnation on its disk; the remembered members are on its disk too.
    pub(super) incarnation_on_disk: u64,
    pub(super) remembered: Option<Vec<Member>>,
    pub(super) started_at: Moment,
    /// The state that its tasks share with the world, once it has tasks.
    pub(super) mailbox: Option<Arc<Mailbox>>,
    /// The moment of its death, if it is dead.
    pub(super) died_at: Option<Moment>,
    pub(super) seen_version: u64,
    /// The view of a subscriber that takes a new view with each new version. For checks, in small worlds.
    pub(super) shown: Option<View>,
    pub(super) seen_member: bool,
    /// Whether this process was a member at some time.
    pub(super) was_member: bool,
    /// The number of copies of its disk that were started.
    pub(super) clones: u64,
    /// Whether the peer is gone and the world has forgotten what it knew.
    pub(super) is_shed: bool,
}

impl Process {
    /// Whether it has died, or has left and waits for nothing more.
    fn is_past(&self) -> bool {
        !self.up || self.node.phase() == PhaseKind::Ended && self.node.poll_timeout().is_none()
    }
}

/// Whether `QUOIT_LOG_EVENTS` asks for a log of every event of every world.
pub(super) fn is_shown() -> bool {
    std::env::var_os("QUOIT_LOG_EVENTS").is_some()
}

/// The part of the simulation that an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Node(Token),
    Task(u64),
}

#[derive(Debug)]
pub(super) enum Delivery {
    Wake(Slot),
    Persisted {
        to: Slot,
        generation: u32,
        incarnation: u64,
    },
    Datagram {
        from: Entry,
        to: Entry,
        slot: Slot,
        datagram: Datagram,
    },
    Request {
        from: Entry,
        asker: Slot,
        generation: u32,
        ask: Ask,
        to: Slot,
        whom: Option<Position>,
        request: MembershipRequest,
    },
    Reply {
        to: Slot,
        generation: u32,
        ask: Ask,
        from: Entry,
        reply: MembershipReply,
    },
    /// A moment that a task waits for has come.
    Timer {
        slot: Slot,
        generation: u32,
        timer: u64,
    },
    /// News for a peer's work with files.
    Files(Slot, Box<News>),
}

impl Delivery {
    fn slot(&self) -> Slot {
        match self {
            Delivery::Wake(slot)
            | Delivery::Datagram { slot, .. }
            | Delivery::Timer { slot, .. }
            | Delivery::Files(slot, _) => *slot,
            Delivery::Persisted { to, .. } | Delivery::Request { to, .. } | Delivery::Reply { to, .. } => *to,
        }
    }

    /// The place of the peer that sent it, unless it comes through a helper.
    fn sender(&self) -> Option<Slot> {
        match self {
            Delivery::Datagram { from, .. } | Delivery::Reply { from, .. } => Some(slot_of(&from.address)),
            Delivery::Request { asker, .. } => Some(*asker),
            Delivery::Files(_, news) => news.sender(),
            Delivery::Wake(_) | Delivery::Persisted { .. } | Delivery::Timer { .. } => None,
        }
    }
}

impl World {
    /// An empty world. Everything random in it comes from the seed.
    pub fn new(seed: u64, settings: RingSettings) -> World {
        World {
            now: Moment(1),
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed),
            settings,
            interval: Duration::from_secs(1),
            contacts_max: limits::MEMBERS_MAX,
            drift_ppm_max: 0,
            rules: Rules::default(),
            network: Network::new(mixed(seed)),
            oracle: Oracle::default(),
            peers: Vec::new(),
            queue: Queue::default(),
            tasks: Tasks::default(),
            ids: Arc::default(),
            searches: Searches::default(),
            files: None,
            replies: BTreeMap::new(),
            next_reply: 0,
            old_replies: VecDeque::new(),
            next_identity: 0,
            revoked: Revoked::default(),
            living: BTreeMap::new(),
            events: Vec::new(),
            keeps_events: true,
            log: is_shown().then(Vec::new),
            steps: 0,
        }
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_to(self.now + duration);
    }

    /// Lets time pass until a moment.
    pub fn run_to(&mut self, end: Moment) {
        while self.queue.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Lets time pass until a condition holds.
    ///
    /// # Errors
    /// The last complaint of the condition, when it does not hold in time.
    pub fn run_until(
        &mut self,
        within: Duration,
        holds: impl Fn(&World) -> Result<(), String>,
    ) -> Result<Duration, String> {
        let (begin, end) = (self.now, self.now + within);
        loop {
            match holds(self) {
                Ok(()) => return Ok(self.now - begin),
                Err(why) if self.now >= end => return Err(why),
                Err(_) => self.run_for(LOOK_EVERY),
            }
        }
    }

    /// The views of the running peers, by position.
    pub fn views(&self) -> Vec<View> {
        let mut views: Vec<View> = self.nodes().map(Node::view).collect();
        views.sort_by_key(|view| view.me.position);
        views
    }

    /// The view of one numbered peer, if it runs.
    pub fn view(&self, number: u8) -> Option<View> {
        self.nodes().find(|node| node.me().position == Position::of_number(number)).map(Node::view)
    }

    /// The nodes of all running processes, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.peers.iter().flatten().filter(|peer| peer.up).map(|peer| &peer.node)
    }

    /// The node at a place, if its process runs.
    pub fn node(&self, slot: Slot) -> Option<&Node> {
        self.process(slot).filter(|peer| peer.up).map(|peer| &peer.node)
    }

    /// The peer at a place, whether its process runs or not.
    pub fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.process(slot).map(|peer| peer.node.me())
    }

    /// The slots of the living members, by position.
    pub fn living(&self) -> &BTreeMap<Position, Slot> {
        &self.living
    }

    /// A random living member.
    pub fn random_member(&mut self) -> Option<Slot> {
        let point = Position(self.rng.random());
        self.first_at_or_after(&point)
    }

    /// The true owner of a key among the living members.
    pub fn first_at_or_after(&self, key: &Position) -> Option<Slot> {
        self.living.range(*key..).chain(self.living.iter()).map(|(_, slot)| *slot).next()
    }

    /// The events so far, except pings.
    pub fn events(&self) -> &[(Moment, Position, Event)] {
        &self.events
    }

    /// Forgets the events so far.
    pub fn forget_events(&mut self) {
        self.events.clear();
    }

    /// Stops the record of [`World::events`]: in a long run it would take all memory.
    pub(super) fn keep_no_events(&mut self) {
        (self.events, self.keeps_events) = (Vec::new(), false);
    }

    /// Forgets data that is no longer needed: requests whose askers no longer wait and, in a world without files, the
    /// knowledge of peers that are gone. None of these peers may be started again.
    pub(super) fn forget_the_past(&mut self) {
        let (now, fresh) = (self.now, self.next_reply);
        self.old_replies.push_back((now, fresh));
        let answered_within = self.interval * ANSWERED_WITHIN_INTERVALS + ANSWERED_WITHIN;
        let is_over = |mark: &&(Moment, u64)| now.since(mark.0) >= answered_within;
        while self.old_replies.get(1).as_ref().is_some_and(is_over) {
            self.old_replies.pop_front();
        }
        if let Some((_, first)) = self.old_replies.front().filter(is_over) {
            self.replies = self.replies.split_off(&ReplyTo(*first));
        }
        if self.files.is_some() {
            return;
        }
        // Lookups of these peers that are under way may still tell them of others.
        let knows = |peer: &&mut Box<Process>| !peer.is_shed || !peer.node.members().is_empty();
        for peer in self.peers.iter_mut().flatten().filter(knows) {
            if peer.is_past() {
                (peer.is_shed, peer.remembered, peer.shown) = (true, None, None);
                peer.node.shed();
            }
        }
    }

    /// How much of the past a world keeps: events, requests whose askers no longer wait, and members that gone peers
    /// know.
    #[cfg(test)]
    pub(super) fn kept(&self) -> [usize; 3] {
        let known =
            self.peers.iter().flatten().filter(|peer| peer.is_past()).map(|peer| peer.node.members().len());
        let awaited_from = self.old_replies.front().map_or(0, |(_, first)| *first);
        [self.events.len(), self.replies.range(..ReplyTo(awaited_from)).count(), known.sum()]
    }

    /// The present moment of the world.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The number of simulated events so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The moment of a peer's death, if it is dead.
    pub fn died_at(&self, slot: Slot) -> Option<Moment> {
        self.process(slot)?.died_at
    }

    /// The moment of a peer's last start.
    pub fn started_at(&self, slot: Slot) -> Option<Moment> {
        self.process(slot).map(|peer| peer.started_at)
    }

    /// All peers that ever were in the world.
    pub fn slots(&self) -> Vec<Slot> {
        (0..self.peers.len() as Slot).filter(|slot| self.process(*slot).is_some()).collect()
    }

    /// The bytes that a peer has sent so far, dead or alive.
    pub fn sent(&mut self, slot: Slot) -> Sent {
        let others = self.process(slot).map(|peer| peer.connections.others()).unwrap_or_default();
        for other in others {
            if self.is_kept(slot, other) {
                self.touch(slot, other);
            }
        }
        self.process(slot).map(|peer| peer.sent).unwrap_or_default()
    }

    /// The lookups that have ended since the last call.
    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        self.searches.take_outcomes()
    }

    /// The number of lookups under way.
    pub fn searches_under_way(&self) -> usize {
        self.searches.under_way()
    }

    pub(super) fn step(&mut self) {
        let Some((at, delivery)) = self.queue.pop() else { return };
        self.now = self.now.max(at);
        self.steps += 1;
        self.oracle_tick();
        let slot = delivery.slot();
        let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut).filter(|p| p.up) else {
            return self.not_delivered(delivery);
        };
        if peer.paused {
            peer.held.push_back(delivery);
            return;
        }
        if self.log.is_some() {
            self.note(|| format!("{delivery:?}"));
        }
        if let Some(from) = delivery.sender() {
            self.compare_revocations(slot, from);
        }
        self.deliver(slot, delivery);
        self.drain(slot);
        self.heed_revocations(slot);
        self.go_on();
    }

    fn deliver(&mut self, slot: Slot, delivery: Delivery) {
        let local = self.local_time(slot);
        let reply_to = ReplyTo(self.next_reply);
        let Some(peer) = self.running(slot) else { return };
        match delivery {
            Delivery::Wake(_) => {
                peer.wake_at = None;
                if peer.node.poll_timeout().is_some_and(|at| at <= local) {
                    peer.node.handle_timeout(local);
                }
            }
            Delivery::Persisted { generation, incarnation, .. } => {
                if generation == peer.generation {
                    peer.incarnation_on_disk = peer.incarnation_on_disk.max(incarnation);
                    peer.node.handle_persisted(local, incarnation);
                }
            }
            Delivery::Datagram { from, to, datagram, .. } => {
                if peer.node.me().position == to.position {
                    let is_ping = matches!(datagram, Datagram::Ping { .. });
                    peer.node.handle_datagram(local, &from, datagram);
                    if is_ping {
                        self.hear_clock(slot, &from);
                    }
                }
            }
            Delivery::Request { from, asker, generation, ask, whom, request, .. } => {
                if whom.is_none_or(|position| position == peer.node.me().position) {
                    peer.node.handle_request(local, &from, reply_to, request);
                    self.next_reply += 1;
                    self.replies.insert(reply_to, (asker, generation, ask));
                }
            }
            Delivery::Reply { generation, ask, from, reply, .. } => {
                if generation != peer.generation {
                    return;
                }
                match ask {
                    Ask::Node(token) => peer.node.handle_reply(local, token, Ok((from, reply))),
                    Ask::Task(token) => self.deliver_answer(slot, token, reply),
                }
            }
            Delivery::Files(_, news) => self.deliver_news(slot, *news),
            Delivery::Timer { generation, timer, .. } => self.deliver_timer(slot, generation, timer),
        }
    }

    /// Carries out the outputs of a node.
    pub(super) fn drain(&mut self, slot: Slot) {
        loop {
            let Some(peer) = self.running(slot) else { return };
            let Some(output) = peer.node.poll_output() else { break };
            let generation = peer.generation;
            match output {
                Output::Request { token, to, request, .. } => {
                    self.send_request(slot, &to, Ask::Node(token), request, Purpose::Maintenance);
                }
                Output::Reply { to, reply } => {
                    if let Some((asker, generation, ask)) = self.replies.remove(&to) {
                        self.send_reply(slot, asker, generation, ask, reply);
                    }
                }
                Output::Datagram { to, datagram } => self.send_datagram(slot, to, datagram),
                Output::Persist { incarnation } => {
                    let done = Delivery::Persisted { to: slot, generation, incarnation };
                    self.queue.put(self.now + PERSIST_TIME, done);
                }
                Output::Forget { entry } => self.forget_streams(slot, &entry),
                Output::Event(Event::PingsSent(_) | Event::PingReceived(_) | Event::PingAnswered(_)) => {}
                Output::Event(event) => {
                    if matches!(event, Event::Ended(_)) {
                        self.end_tasks(slot);
                    }
                    if self.keeps_events {
                        let position = self.entry(slot).map_or(Position::ZERO, |me| me.position);
                        self.events.push((self.now, position, event));
                    }
                }
            }
        }
        self.schedule_wake(slot);
        self.look_at(slot);
    }

    pub(super) fn schedule_wake(&mut self, slot: Slot) {
        let now = self.now;
        let Some(peer) = self.running(slot) else { return };
        let Some(at) = peer.node.poll_timeout() else { return };
        let at = world_time(at, peer.drift_ppm).max(now);
        if peer.wake_at.is_none_or(|scheduled| at < scheduled) {
            peer.wake_at = Some(at);
            self.queue.put(at, Delivery::Wake(slot));
        }
    }

    /// After every step of a peer, updates whether it is a member and lets the oracle check it.
    pub(super) fn look_at(&mut self, slot: Slot) {
        let is_compared = self.steps.is_multiple_of(VIEWS_COMPARED_EVERY);
        let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let is_member = peer.up && peer.node.is_member();
        let version = peer.node.version();
        let changed = peer.seen_version != version || peer.seen_member != is_member;
        if cfg!(debug_assertions) && peer.node.members().len() <= VIEWS_COMPARED_MAX {
            if peer.seen_version != version {
                peer.shown = Some(peer.node.view());
            } else if is_compared {
                let current = peer.shown.as_ref().is_none_or(|shown| peer.node.is_shown_in(shown));
                assert!(current, "{:?} changed what it shows without a new version", peer.node.me());
            }
        }
        if !changed {
            return;
        }
        peer.seen_version = version;
        let position = peer.node.me().position;
        if peer.seen_member != is_member {
            peer.seen_member = is_member;
            if is_member {
                peer.was_member = true;
                self.living.insert(position, slot);
            } else if self.living.get(&position) == Some(&slot) {
                self.living.remove(&position);
            }
        }
        self.look_at_neighbours(slot);
        self.oracle_look(slot);
    }

    pub(super) fn process(&self, slot: Slot) -> Option<&Process> {
        self.peers.get(slot as usize)?.as_deref()
    }

    pub(super) fn running(&mut self, slot: Slot) -> Option<&mut Process> {
        self.peers.get_mut(slot as usize)?.as_deref_mut().filter(|peer| peer.up)
    }
}

/// The number of known members up to which the steps of a peer are checked for an unannounced change of its view.
const VIEWS_COMPARED_MAX: usize = 16;
/// Of so many steps one is checked: that takes longer than the step, and an unannounced change stays for many steps.
const VIEWS_COMPARED_EVERY: u64 = 8;
/// The time after which an unanswered request is no longer answered, since its asker has given up: this span plus this
/// many intervals.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
const ANSWERED_WITHIN_INTERVALS: u32 = 4;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The time until an incarnation is on disk.
const PERSIST_TIME: Duration = Duration::from_millis(2);
