//! Peers, the messages between them, their faults, and the clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::network::{Network, Slot, mixed};
use super::oracle::Oracle;
use super::queue::Queue;
use super::replay::is_shown;
use super::search::{Outcome, Searches};
use super::storage::{Files, News};
use super::traffic::{self, Connections, Purpose, Sent};
use crate::chord::{Event, Node, NodeConfig, Output, ReplyTo, Rules, Start, Table, Token, View};
use crate::config::RingSettings;
use crate::id::{KeyHash, Position, sha256};
use crate::time::Moment;
use crate::wire::{
    Address, Datagram, Entry, Life, Member, MemberState, MembershipReply, MembershipRequest, Target, codec,
    limits,
};

/// Peers, the messages between them, and the clock.
pub struct World {
    pub(super) now: Moment,
    pub(super) seed: u64,
    /// For whom to choose; the network and each peer have their own.
    pub(super) rng: ChaCha8Rng,
    /// What new peers are made with.
    pub settings: RingSettings,
    /// Between pings.
    pub interval: Duration,
    /// How many contacts a new peer keeps.
    pub contacts_max: usize,
    /// How much the clock of a new peer goes wrong at most, in millionths.
    pub drift_ppm_max: i64,
    /// The rules of new peers.
    rules: Rules,
    /// The ways between the peers.
    pub network: Network,
    /// What is held against the rules.
    pub oracle: Oracle,
    pub(super) peers: Vec<Option<Box<Process>>>,
    pub(super) queue: Queue<Delivery>,
    pub(super) searches: Searches,
    /// Nothing in a world without files.
    pub(super) files: Option<Box<Files>>,
    pub(super) replies: BTreeMap<ReplyTo, (Slot, u32, Ask)>,
    next_reply: u64,
    pub(super) next_identity: u32,
    /// Living members, by position.
    pub(super) living: BTreeMap<Position, Slot>,
    events: Vec<(Moment, Position, Event)>,
    pub(super) log: Option<Vec<String>>,
    steps: u64,
}

/// One process of a peer: what dies with it, and the disk, which does not.
pub(super) struct Process {
    pub node: Node,
    pub up: bool,
    /// Which process of this slot it is: answers to an earlier one are nobody's.
    pub generation: u32,
    paused: bool,
    held: VecDeque<Delivery>,
    /// When the next wake is due; earlier ones that are still queued are void.
    wake_at: Option<Moment>,
    pub(super) drift_ppm: i64,
    connections: Connections,
    pub sent: Sent,
    /// On its disk: the incarnation and the remembered members.
    pub(super) incarnation_on_disk: u64,
    pub(super) remembered: Option<Vec<Member>>,
    started_at: Moment,
    /// Since when it is dead, if it is.
    died_at: Option<Moment>,
    seen_version: u64,
    seen_member: bool,
    /// This process was a member at some time.
    pub(super) was_member: bool,
    /// How many copies of its disk were started.
    pub(super) clones: u64,
}

/// For what an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Node(Token),
    Search(u64),
    Files(u64),
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
    /// For what a peer does with files.
    Files(Slot, Box<News>),
    /// A peer that a search asked takes long, or is not waited for any more.
    SearchTimeout {
        search: u64,
        whom: Entry,
        for_good: bool,
    },
}

impl Delivery {
    fn slot(&self) -> Option<Slot> {
        match self {
            Delivery::Wake(slot) | Delivery::Datagram { slot, .. } | Delivery::Files(slot, _) => Some(*slot),
            Delivery::Persisted { to, .. } | Delivery::Request { to, .. } | Delivery::Reply { to, .. } => {
                Some(*to)
            }
            Delivery::SearchTimeout { .. } => None,
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
            searches: Searches::default(),
            files: None,
            replies: BTreeMap::new(),
            next_reply: 0,
            next_identity: 0,
            living: BTreeMap::new(),
            events: Vec::new(),
            log: is_shown().then(Vec::new),
            steps: 0,
        }
    }

    /// A ring of so many self-placed peers that has been together for long: all lists are right, and each
    /// peer has the contacts that it would have.
    pub fn converged(
        seed: u64,
        settings: RingSettings,
        count: usize,
        interval: Duration,
        contacts_max: usize,
    ) -> World {
        let mut world = World::new(seed, settings);
        (world.interval, world.contacts_max) = (interval, contacts_max);
        let mut entries: Vec<Entry> = (0..count).map(|_| world.next_self_placed(1)).collect();
        entries.sort_by_key(|entry| entry.position);
        let alive = |entry: &Entry| Member { entry: entry.clone(), state: MemberState::Alive };
        let all = Table::of(entries.iter().map(alive));
        world.oracle.safety = false;
        let ranks = contact_ranks(count, contacts_max.saturating_add(settings.neighbours()));
        for (i, me) in entries.iter().enumerate() {
            let contacts = all.pick(i, &ranks);
            let successors =
                (1..count).take(settings.successors.into()).map(|step| entries[(i + step) % count].clone());
            let predecessor = (count > 1).then(|| entries[(i + count - 1) % count].clone());
            let slot = slot_of(&me.address);
            let config = world.config(slot, me.clone(), Start::Found, Some(settings));
            let node = Node::converged(world.now, config, predecessor, successors.collect(), contacts);
            world.put(slot, node, 1);
        }
        world.oracle.safety = true;
        world
    }

    /// All peers go by these rules from now on; wrong ones show what the oracle sees.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        self.peers.iter_mut().flatten().for_each(|peer| peer.node.set_rules(rules));
    }

    /// Starts a numbered peer; its address follows from its number.
    pub fn start(&mut self, number: u8, start: Start) {
        self.start_as(number, number, 1, start);
    }

    /// Starts a peer with the key of one number at the position of another, with an incarnation.
    pub fn start_as(&mut self, number: u8, key: u8, incarnation: u64, start: Start) {
        let slot = if number == key { Slot::from(number) } else { SLOT_OF_THIEF + Slot::from(key) };
        self.start_entry(numbered(slot, number, key, incarnation), start);
    }

    /// Starts one more process with the identity of a numbered peer, at another address.
    pub fn start_clone(&mut self, number: u8, incarnation: u64, start: Start) {
        let slot = SLOT_OF_CLONE + Slot::from(number);
        self.start_entry(numbered(slot, number, number, incarnation), start);
    }

    pub(super) fn start_entry(&mut self, me: Entry, start: Start) {
        let settings = (!matches!(start, Start::Join { .. })).then_some(self.settings);
        let founds = matches!(start, Start::Found);
        let (slot, incarnation) = (slot_of(&me.address), me.incarnation);
        let config = self.config(slot, me, start, settings);
        let local = self.local_time(slot);
        let node = Node::new(local, config);
        self.put(slot, node, incarnation);
        self.start_keeper(slot, founds, false);
        self.drain(slot);
    }

    /// One more self-placed peer joins through a random member. Where it is; nothing where there is no member.
    pub fn join_one(&mut self) -> Option<Slot> {
        let known = self.random_member()?;
        let me = self.next_self_placed(1);
        let slot = slot_of(&me.address);
        let known = Target::from(self.entry(known)?);
        self.start_entry(me, Start::Join { known });
        Some(slot)
    }

    /// Founds a ring with the first number and lets the others join through it, one after the other.
    ///
    /// # Panics
    /// When a join does not end.
    pub fn grow(&mut self, numbers: &[u8]) {
        for (i, number) in numbers.iter().enumerate() {
            match i {
                0 => self.start(*number, Start::Found),
                _ => self.start(*number, Start::Join { known: contact(numbers[0]) }),
            }
            self.run_until(Duration::from_secs(10), super::check::one_ordered_ring)
                .unwrap_or_else(|why| panic!("peer {number} does not get in: {why}"));
        }
    }

    /// Ends peers without notice.
    pub fn crash(&mut self, numbers: &[u8]) {
        for number in numbers {
            self.crash_slot(Slot::from(*number));
        }
    }

    /// As [`World::crash`], of any peer.
    pub fn crash_slot(&mut self, slot: Slot) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut).filter(|p| p.up) else {
            return;
        };
        peer.up = false;
        peer.died_at = Some(now);
        // As a running peer does, which writes down whom it knows while it is a member.
        if peer.was_member {
            peer.remembered = Some(peer.node.remembered());
        }
        peer.connections = Connections::default();
        peer.held.clear();
        self.crash_keeper(slot);
        self.note(|| format!("crash {slot}"));
        self.look_at(slot);
    }

    /// Starts a crashed peer again, from what its disk remembers.
    pub fn restart(&mut self, number: u8) {
        self.restart_slot(Slot::from(number));
    }

    /// As [`World::restart`], of any peer.
    pub fn restart_slot(&mut self, slot: Slot) {
        let Some(peer) = self.process(slot).filter(|peer| !peer.up) else { return };
        // Who was never a member has nothing to come back to.
        let Some(remembered) = peer.remembered.clone() else { return };
        let me = peer.node.me().with_incarnation(peer.incarnation_on_disk + 1);
        self.note(|| format!("restart {slot}"));
        self.start_entry(me, Start::Resume { remembered });
    }

    /// Whether a crashed peer was a member when it crashed and remembers somebody who still is one.
    pub fn could_return(&self, number: u8) -> bool {
        self.process(Slot::from(number)).is_some_and(|peer| {
            let lives = |member: &Member| self.living.contains_key(&member.entry.position);
            !peer.up && peer.node.is_member() && peer.remembered.iter().flatten().any(lives)
        })
    }

    /// Lets a peer leave. Where there are files, it hands them over first.
    pub fn leave(&mut self, number: u8) {
        self.leave_slot(Slot::from(number));
    }

    /// As [`World::leave`], of any peer.
    pub fn leave_slot(&mut self, slot: Slot) {
        let now = self.local_time(slot);
        self.note(|| format!("leave {slot}"));
        if self.files.is_some() {
            return self.begin_handing_over(slot);
        }
        if let Some(peer) = self.running(slot) {
            peer.node.begin_leaving(now);
            peer.node.depart(now);
        }
        self.drain(slot);
    }

    /// Stops a peer's process, or lets it go on.
    pub fn pause(&mut self, number: u8, paused: bool) {
        self.pause_slot(Slot::from(number), paused);
    }

    /// As [`World::pause`], of any peer.
    pub fn pause_slot(&mut self, slot: Slot, paused: bool) {
        let now = self.now;
        self.note(|| format!("pause {slot}: {paused}"));
        let Some(peer) = self.running(slot) else { return };
        peer.paused = paused;
        let held: Vec<Delivery> = if paused { Vec::new() } else { peer.held.drain(..).collect() };
        for delivery in held {
            self.queue.put(now, delivery);
        }
    }

    /// Cuts both directions between two groups of numbered peers.
    pub fn cut(&mut self, one: &[u8], other: &[u8]) {
        for a in one {
            for b in other {
                self.network.cut(Slot::from(*a), Slot::from(*b));
                self.network.cut(Slot::from(*b), Slot::from(*a));
            }
        }
    }

    /// Mends every cut.
    pub fn heal(&mut self) {
        self.note(|| "heal".to_owned());
        self.network.heal();
    }

    /// Makes everything to and from a numbered peer that many times slower.
    pub fn slow(&mut self, number: u8, factor: u32) {
        self.network.set_slow(Slot::from(number), factor);
    }

    /// Lets time pass.
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
    /// What the condition last said, when it does not hold in time.
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

    /// The views of the peers that run, by position.
    pub fn views(&self) -> Vec<View> {
        let mut views: Vec<View> = self.nodes().map(Node::view).collect();
        views.sort_by_key(|view| view.me.position);
        views
    }

    /// The view of one numbered peer that runs.
    pub fn view(&self, number: u8) -> Option<View> {
        self.nodes().find(|node| node.me().position == Position::of_number(number)).map(Node::view)
    }

    /// The nodes of all processes that run, in no order that means anything.
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

    /// Where the living members are, by position.
    pub fn living(&self) -> &BTreeMap<Position, Slot> {
        &self.living
    }

    /// A living member, by chance.
    pub fn random_member(&mut self) -> Option<Slot> {
        let point = Position(self.rng.random());
        self.first_at_or_after(&point)
    }

    /// The living member that owns a key in truth.
    pub fn first_at_or_after(&self, key: &Position) -> Option<Slot> {
        self.living.range(*key..).chain(self.living.iter()).map(|(_, slot)| *slot).next()
    }

    /// What happened so far, pings aside.
    pub fn events(&self) -> &[(Moment, Position, Event)] {
        &self.events
    }

    /// Forgets what happened so far.
    pub fn forget_events(&mut self) {
        self.events.clear();
    }

    /// The present.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// How many events of the simulation there were.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Since when a peer is dead, if it is.
    pub fn died_at(&self, slot: Slot) -> Option<Moment> {
        self.process(slot)?.died_at
    }

    /// When a peer was started last.
    pub fn started_at(&self, slot: Slot) -> Option<Moment> {
        self.process(slot).map(|peer| peer.started_at)
    }

    /// All peers that there ever were.
    pub(super) fn slots(&self) -> Vec<Slot> {
        (0..self.peers.len() as Slot).filter(|slot| self.process(*slot).is_some()).collect()
    }

    /// What a peer has sent so far, dead or alive.
    pub fn sent(&mut self, slot: Slot) -> Sent {
        let others = self.process(slot).map(|peer| peer.connections.others()).unwrap_or_default();
        for other in others {
            if self.is_kept(slot, other) {
                self.touch(slot, other);
            }
        }
        self.process(slot).map(|peer| peer.sent).unwrap_or_default()
    }

    /// Begins to look up a key from a member; see [`World::take_outcomes`].
    pub fn search(&mut self, from: Slot, key: Position) {
        let Some(node) = self.node(from) else { return };
        let lookup = node.lookup(key, Default::default());
        let id = self.searches.begin(from, key, self.now, lookup);
        self.drive_search(id);
    }

    /// The searches that have ended since this was asked last.
    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        self.searches.take_outcomes()
    }

    /// How many searches are under way.
    pub fn searches_under_way(&self) -> usize {
        self.searches.under_way()
    }

    pub(super) fn step(&mut self) {
        let Some((at, delivery)) = self.queue.pop() else { return };
        self.now = self.now.max(at);
        self.steps += 1;
        self.oracle_tick();
        let Some(slot) = delivery.slot() else { return self.deliver_timeout(delivery) };
        let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut).filter(|p| p.up) else {
            return;
        };
        if peer.paused {
            peer.held.push_back(delivery);
            return;
        }
        if self.log.is_some() {
            self.note(|| format!("{delivery:?}"));
        }
        self.deliver(slot, delivery);
        self.drain(slot);
        self.go_on_with_files();
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
                    peer.node.handle_datagram(local, &from, datagram);
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
                    Ask::Search(id) => {
                        peer.node.handle_lookup_answer(local, &from, &reply);
                        self.search_answered(id, &from, reply);
                    }
                    Ask::Files(token) => self.deliver_answer(slot, token, reply),
                }
            }
            Delivery::Files(_, news) => self.deliver_news(slot, *news),
            Delivery::SearchTimeout { .. } => {}
        }
    }

    /// Carries out what a node wants.
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
                        self.end_keeper(slot);
                    }
                    let position = self.entry(slot).map_or(Position::ZERO, |me| me.position);
                    self.events.push((self.now, position, event));
                }
            }
        }
        self.schedule_wake(slot);
        self.look_at(slot);
    }

    fn schedule_wake(&mut self, slot: Slot) {
        let now = self.now;
        let Some(peer) = self.running(slot) else { return };
        let Some(at) = peer.node.poll_timeout() else { return };
        let at = world_time(at, peer.drift_ppm).max(now);
        if peer.wake_at.is_none_or(|scheduled| at < scheduled) {
            peer.wake_at = Some(at);
            self.queue.put(at, Delivery::Wake(slot));
        }
    }

    pub(super) fn send_request(
        &mut self,
        from: Slot,
        to: &Target,
        ask: Ask,
        request: MembershipRequest,
        purpose: Purpose,
    ) {
        let slot = slot_of(&to.address);
        let bytes = traffic::stream_bytes(codec::encoded_length(&request).unwrap_or(0));
        let dialled = self.connect(from, slot, purpose);
        let Some(peer) = self.running(from) else { return };
        // The answer is acknowledged by a packet of its own.
        peer.sent.count(purpose, bytes + traffic::ACK_BYTES);
        let (entry, generation) = (peer.node.me().clone(), peer.generation);
        let delivery = Delivery::Request {
            from: entry,
            asker: from,
            generation,
            ask,
            to: slot,
            whom: to.position,
            request,
        };
        if let Some(delay) = self.network.stream(from, slot) {
            self.queue.put(self.now + dialled + delay, delivery);
        }
    }

    fn send_reply(&mut self, from: Slot, to: Slot, generation: u32, ask: Ask, reply: MembershipReply) {
        let bytes = traffic::stream_bytes(codec::encoded_length(&reply).unwrap_or(0));
        let purpose = if matches!(ask, Ask::Node(_)) { Purpose::Maintenance } else { Purpose::Lookup };
        let Some(peer) = self.running(from) else { return };
        peer.sent.count(purpose, bytes);
        let me = peer.node.me().clone();
        if let Some(delay) = self.network.stream(from, to) {
            self.queue.put(self.now + delay, Delivery::Reply { to, generation, ask, from: me, reply });
        }
    }

    fn send_datagram(&mut self, from: Slot, to: Entry, datagram: Datagram) {
        let slot = slot_of(&to.address);
        let is_pong = matches!(datagram, Datagram::Pong { .. });
        let bytes = traffic::datagram_bytes(codec::encoded_length(&datagram).unwrap_or(0));
        let dialled = self.connect(from, slot, Purpose::Maintenance);
        let Some(peer) = self.running(from) else { return };
        // A pong is acknowledged by a packet of its own, which whoever pinged sends.
        let acknowledgement = if is_pong { 0 } else { traffic::ACK_BYTES };
        peer.sent.count(Purpose::Maintenance, bytes + acknowledgement);
        let me = peer.node.me().clone();
        for delay in self.network.datagram(from, slot) {
            let (from, to, datagram) = (me.clone(), to.clone(), datagram.clone());
            self.queue.put(self.now + dialled + delay, Delivery::Datagram { from, to, slot, datagram });
        }
    }

    /// Uses the connection between two peers, or makes one: how long that takes.
    pub(super) fn connect(&mut self, from: Slot, to: Slot, purpose: Purpose) -> Duration {
        let now = self.now;
        let used = |one, other| self.process(one).filter(|p| p.up).and_then(|p| p.connections.used(other));
        let known = used(from, to).filter(|_| used(to, from).is_some() || self.node(to).is_none());
        if known.is_some_and(|used| now.since(used) < traffic::UNUSED_MAX || self.is_kept(from, to)) {
            self.touch(from, to);
            return Duration::ZERO;
        }
        if !self.network.carries(from, to) || !self.network.carries(to, from) || self.node(to).is_none() {
            // First packets that nobody answers.
            if let Some(peer) = self.running(from) {
                peer.sent.count(purpose, traffic::HANDSHAKE_BYTES);
            }
            return Duration::ZERO;
        }
        self.disconnect(from, to);
        for (one, other) in [(from, to), (to, from)] {
            let full = self.process(one).is_some_and(|peer| peer.connections.are_full());
            let oldest =
                self.process(one).and_then(|peer| peer.connections.oldest(|slot| self.is_kept(one, slot)));
            if let Some(oldest) = oldest.filter(|_| full) {
                self.disconnect(one, oldest);
            }
            if let Some(peer) = self.running(one) {
                peer.sent.count(purpose, traffic::HANDSHAKE_BYTES);
                peer.connections.open(other, now);
            }
        }
        let round_trip = self.network.delay(from, to) + self.network.delay(to, from);
        round_trip * 2 + traffic::HANDSHAKE_TIME
    }

    /// Uses a connection, on which keep-alives were sent since it was used last.
    fn touch(&mut self, from: Slot, to: Slot) {
        let now = self.now;
        for (one, other) in [(from, to), (to, from)] {
            if let Some(peer) = self.running(one) {
                let keep_alives = peer.connections.touch(other, now);
                peer.sent.count(Purpose::Maintenance, keep_alives * traffic::KEEP_ALIVE_BYTES);
            }
        }
    }

    /// Ends the connection between two peers at both ends, if there is one.
    fn disconnect(&mut self, one: Slot, other: Slot) {
        let now = self.now;
        for (one, other) in [(one, other), (other, one)] {
            if let Some(peer) = self.running(one) {
                let keep_alives = peer.connections.close(other, now);
                peer.sent.count(Purpose::Maintenance, keep_alives * traffic::KEEP_ALIVE_BYTES);
            }
        }
    }

    /// Whether one of two peers keeps a connection with the other.
    fn is_kept(&self, one: Slot, other: Slot) -> bool {
        let keeps = |one, other| {
            let other = self.entry(other).map(|entry| entry.position);
            self.node(one).zip(other).is_some_and(|(node, other)| node.keeps_contact_with(&other))
        };
        keeps(one, other) || keeps(other, one)
    }

    /// After every step of a peer: is it a member, and what does the oracle say?
    fn look_at(&mut self, slot: Slot) {
        let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let is_member = peer.up && peer.node.is_member();
        let changed = peer.seen_version != peer.node.version() || peer.seen_member != is_member;
        if !changed {
            return;
        }
        peer.seen_version = peer.node.version();
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

    /// The present by the clock of one peer.
    pub(super) fn local_time(&self, slot: Slot) -> Moment {
        let drift = self.process(slot).map_or_else(|| self.drift_of(slot), |peer| peer.drift_ppm);
        local_time(self.now, drift)
    }

    pub(super) fn drift_of(&self, slot: Slot) -> i64 {
        if self.drift_ppm_max == 0 {
            return 0;
        }
        let span = 2 * self.drift_ppm_max as u64 + 1;
        (mixed(self.seed ^ u64::from(slot)) % span) as i64 - self.drift_ppm_max
    }

    pub(super) fn config(
        &mut self,
        slot: Slot,
        me: Entry,
        start: Start,
        settings: Option<RingSettings>,
    ) -> NodeConfig {
        // Of its own, so that what happens to others does not change what a peer draws.
        let seed = mixed(mixed(self.seed ^ u64::from(slot) << 32).wrapping_add(me.incarnation));
        let (interval, contacts_max) = (self.interval, self.contacts_max);
        NodeConfig { me, address_given: true, settings, interval, contacts_max, start, seed }
    }

    pub(super) fn put(&mut self, slot: Slot, mut node: Node, incarnation: u64) {
        node.set_rules(self.rules);
        let at = slot as usize;
        if self.peers.len() <= at {
            self.peers.resize_with(at + 1, || None);
        }
        let (generation, sent, remembered, clones) = match self.peers[at].as_ref() {
            Some(old) => (old.generation + 1, old.sent, old.remembered.clone(), old.clones),
            None => Default::default(),
        };
        let process = Process {
            node,
            up: true,
            generation,
            paused: false,
            held: VecDeque::new(),
            wake_at: None,
            drift_ppm: self.drift_of(slot),
            connections: Connections::default(),
            sent,
            incarnation_on_disk: incarnation,
            remembered,
            started_at: self.now,
            died_at: None,
            seen_version: u64::MAX,
            seen_member: false,
            was_member: false,
            clones,
        };
        self.peers[at] = Some(Box::new(process));
        self.schedule_wake(slot);
        self.look_at(slot);
    }

    pub(super) fn next_self_placed(&mut self, incarnation: u64) -> Entry {
        let identity = self.next_identity;
        self.next_identity += 1;
        let bytes = [self.seed.to_be_bytes().as_slice(), identity.to_be_bytes().as_slice()].concat();
        let position = Position(sha256(&bytes));
        let (key, address) = (KeyHash(position.0), address_of(SLOT_OF_SELF_PLACED + identity));
        Entry::from(Life { position, incarnation, key, address })
    }
}

/// A numbered peer, with the key of another one or its own.
pub(super) fn numbered(slot: Slot, number: u8, key: u8, incarnation: u64) -> Entry {
    let (position, key) = (Position::of_number(number), KeyHash(sha256(&[key])));
    Entry::from(Life { position, incarnation, key, address: address_of(slot) })
}

/// How to reach a numbered peer of a world.
pub fn contact(number: u8) -> Target {
    Target { address: address_of(Slot::from(number)), position: Some(Position::of_number(number)) }
}

pub(super) fn address_of(slot: Slot) -> Address {
    // The port is there because every address has one.
    Address::new(&format!("p{slot}:1")).unwrap_or_else(|error| unreachable!("{error}"))
}

/// The slot that an address of [`address_of`] names.
pub(super) fn slot_of(address: &Address) -> Slot {
    let digits = address.as_str().bytes().skip(1).take_while(u8::is_ascii_digit);
    digits.fold(0, |slot, digit| slot * 10 + Slot::from(digit - b'0'))
}

fn local_time(world: Moment, drift_ppm: i64) -> Moment {
    Moment(world.0.saturating_add_signed(world.0 as i64 / 1_000 * drift_ppm / 1_000))
}

/// The first moment of the world at which a peer's clock is there.
fn world_time(local: Moment, drift_ppm: i64) -> Moment {
    let mut world = Moment(local.0.saturating_add_signed(-(local.0 as i64 / 1_000 * drift_ppm / 1_000)));
    while local_time(world, drift_ppm) < local {
        world.0 += 1 + (local.0 - local_time(world, drift_ppm).0) / 2;
    }
    world
}

/// How many ranks ahead the contacts of a peer stand, in a ring of so many: all, or as they thin out with the
/// distance where the budget is smaller.
fn contact_ranks(count: usize, budget: usize) -> Vec<usize> {
    if count <= budget + 1 {
        return (1..count).collect();
    }
    // Dense up to a rank d, then each 1 + 1/d times as far as the one before: d (1 + ln(count / d)) of them.
    let ranks_of = |dense: f64| {
        let mut ranks: Vec<usize> = Vec::new();
        let mut rank = 1.0f64;
        while (rank as usize) < count - 1 && ranks.len() <= budget {
            ranks.push(rank as usize);
            rank += (rank / dense).max(1.0);
        }
        // Whoever stands before it, as every peer knows.
        ranks.push(count - 1);
        ranks
    };
    let (mut low, mut high) = (0.5, count as f64);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if ranks_of(middle).len() <= budget {
            low = middle;
        } else {
            high = middle;
        }
    }
    ranks_of(low)
}

const SLOT_OF_THIEF: Slot = 1_000;
const SLOT_OF_CLONE: Slot = 2_000;
pub(super) const SLOT_OF_SELF_PLACED: Slot = 4_096;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long an incarnation takes to be on disk.
const PERSIST_TIME: Duration = Duration::from_millis(2);
