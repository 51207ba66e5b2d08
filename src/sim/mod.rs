//! A deterministic world for the pure core: virtual time, one seed, faults on demand.
//!
//! It drives [`Node`]s through the same inputs and outputs as the network driver does. The same seed
//! gives the same run. What it checks is in [`check`].

pub mod check;
mod experiment;

pub use experiment::{Experiment, ExperimentError, Health, Report, Spread};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::chord::{Event, Node, NodeConfig, Output, ReplyTo, Start, Token, Unanswered, View};
use crate::config::RingSettings;
use crate::id::{KeyHash, Position, sha256};
use crate::time::Moment;
use crate::wire::{Address, Datagram, Entry, Member, MembershipReply, MembershipRequest, Target};

/// The seeds of a test: these, or the one that `QUOIT_SEED` names.
pub fn seeds(range: std::ops::Range<u64>) -> Vec<u64> {
    match std::env::var("QUOIT_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => range.collect(),
    }
}

/// Peers, the messages between them, and the clock.
pub struct World {
    now: Moment,
    rng: ChaCha8Rng,
    /// What new peers are made with.
    pub settings: RingSettings,
    /// Between pings.
    pub interval: Duration,
    /// How many datagrams of a hundred are lost.
    pub datagram_loss_percent: u32,
    peers: BTreeMap<Address, SimPeer>,
    queue: BTreeMap<(Moment, u64), Delivery>,
    next_sequence: u64,
    cut: BTreeSet<(Address, Address)>,
    latency_factor: BTreeMap<Address, u32>,
    relays: BTreeMap<ReplyTo, (Address, Token)>,
    events: Vec<(Moment, Position, Event)>,
}

struct SimPeer {
    node: Node,
    up: bool,
    paused: VecDeque<Delivery>,
    is_paused: bool,
    /// When the next wake is due; earlier ones that are still queued are void.
    wake_at: Option<Moment>,
    /// What survives a crash: the incarnation and the remembered members.
    incarnation_on_disk: u64,
    remembered: Vec<Member>,
}

enum Delivery {
    Wake(Address),
    Persisted(Address, u64),
    Datagram { from: Entry, to: Entry, datagram: Datagram },
    Request { from: Entry, to: Target, token: Token, request: MembershipRequest },
    Reply { to: Address, token: Token, answer: Result<(Entry, MembershipReply), Unanswered> },
}

impl World {
    /// An empty world.
    pub fn new(seed: u64, settings: RingSettings) -> World {
        World {
            now: Moment(1),
            rng: ChaCha8Rng::seed_from_u64(seed),
            settings,
            interval: Duration::from_secs(1),
            datagram_loss_percent: 0,
            peers: BTreeMap::new(),
            queue: BTreeMap::new(),
            next_sequence: 0,
            cut: BTreeSet::new(),
            latency_factor: BTreeMap::new(),
            relays: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// Starts a numbered peer; its address follows from its number.
    pub fn start(&mut self, number: u8, start: Start) {
        self.start_as(number, number, 1, start);
    }

    /// Starts a peer with the key of one number at the position of another, with an incarnation.
    pub fn start_as(&mut self, number: u8, key: u8, incarnation: u64, start: Start) {
        let address = address_of(if number == key { u16::from(number) } else { 1_000 + u16::from(key) });
        self.start_at(address, number, key, incarnation, start);
    }

    /// Starts one more process with the identity of a numbered peer, at another address.
    pub fn start_clone(&mut self, number: u8, incarnation: u64, start: Start) {
        self.start_at(address_of(2_000 + u16::from(number)), number, number, incarnation, start);
    }

    fn start_at(&mut self, address: Address, number: u8, key: u8, incarnation: u64, start: Start) {
        let settings = (!matches!(start, Start::Join { .. })).then_some(self.settings);
        let me = Entry {
            position: Position::of_number(number),
            incarnation,
            key: KeyHash(sha256(&[key])),
            address: address.clone(),
        };
        let address_given = true;
        let config = NodeConfig {
            me,
            address_given,
            settings,
            interval: self.interval,
            start,
            seed: self.rng.next_u64(),
        };
        let node = Node::new(self.now, config);
        let peer = SimPeer {
            node,
            up: true,
            paused: VecDeque::new(),
            is_paused: false,
            wake_at: None,
            incarnation_on_disk: incarnation,
            remembered: Vec::new(),
        };
        self.peers.insert(address.clone(), peer);
        self.drain(&address);
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
            self.run_until(Duration::from_secs(10), check::one_ordered_ring)
                .unwrap_or_else(|why| panic!("peer {number} does not get in: {why}"));
        }
    }

    /// Ends a peer without notice.
    pub fn crash(&mut self, numbers: &[u8]) {
        for number in numbers {
            let address = address_of(u16::from(*number));
            if let Some(peer) = self.peers.get_mut(&address) {
                peer.up = false;
                peer.remembered = peer.node.view().members;
            }
        }
    }

    /// Starts a crashed peer again, from what its disk remembers.
    pub fn restart(&mut self, number: u8) {
        let Some(peer) = self.peers.get(&address_of(u16::from(number))) else { return };
        let remembered = peer.remembered.clone();
        self.start_as(number, number, peer.incarnation_on_disk + 1, Start::Resume { remembered });
    }

    /// Lets a peer leave; it hands nothing over, since there are no files here.
    pub fn leave(&mut self, number: u8) {
        let address = address_of(u16::from(number));
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.node.begin_leaving(now);
            peer.node.depart(now);
        }
        self.drain(&address);
    }

    /// Stops a peer's process, or lets it go on.
    pub fn pause(&mut self, number: u8, paused: bool) {
        let address = address_of(u16::from(number));
        let Some(peer) = self.peers.get_mut(&address) else { return };
        peer.is_paused = paused;
        let held: Vec<Delivery> = if paused { Vec::new() } else { peer.paused.drain(..).collect() };
        for delivery in held {
            self.schedule(Duration::ZERO, delivery);
        }
    }

    /// Cuts both directions between two groups.
    pub fn cut(&mut self, one: &[u8], other: &[u8]) {
        for a in one {
            for b in other {
                let (a, b) = (address_of(u16::from(*a)), address_of(u16::from(*b)));
                self.cut.insert((a.clone(), b.clone()));
                self.cut.insert((b, a));
            }
        }
    }

    /// Mends every cut.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Makes everything to and from a peer that many times slower.
    pub fn slow(&mut self, number: u8, factor: u32) {
        self.latency_factor.insert(address_of(u16::from(number)), factor);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step_before(end) {}
        self.now = end;
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
                Err(_) => self.run_for(Duration::from_millis(10)),
            }
        }
    }

    /// The views of the peers that run, by position.
    pub fn views(&self) -> Vec<View> {
        let mut views: Vec<View> =
            self.peers.values().filter(|peer| peer.up).map(|peer| peer.node.view()).collect();
        views.sort_by_key(|view| view.me.position);
        views
    }

    /// The view of one peer that runs.
    pub fn view(&self, number: u8) -> Option<View> {
        self.views().into_iter().find(|view| view.me.position == Position::of_number(number))
    }

    /// What happened so far.
    pub fn events(&self) -> &[(Moment, Position, Event)] {
        &self.events
    }

    /// The present.
    pub fn now(&self) -> Moment {
        self.now
    }

    fn step_before(&mut self, end: Moment) -> bool {
        match self.queue.first_key_value() {
            Some((&(at, _), _)) if at <= end => {}
            _ => return false,
        }
        if let Some(((at, _), delivery)) = self.queue.pop_first() {
            self.now = self.now.max(at);
            self.deliver(delivery);
        }
        true
    }

    fn deliver(&mut self, delivery: Delivery) {
        let now = self.now;
        let address = match &delivery {
            Delivery::Wake(to) | Delivery::Persisted(to, _) | Delivery::Reply { to, .. } => to.clone(),
            Delivery::Datagram { to, .. } => to.address.clone(),
            Delivery::Request { to, .. } => to.address.clone(),
        };
        let Some(peer) = self.peers.get_mut(&address).filter(|peer| peer.up) else { return };
        if peer.is_paused {
            peer.paused.push_back(delivery);
            return;
        }
        match delivery {
            Delivery::Wake(_) => {
                peer.wake_at = None;
                if peer.node.poll_timeout().is_some_and(|at| at <= now) {
                    peer.node.handle_timeout(now);
                }
            }
            Delivery::Persisted(_, incarnation) => {
                peer.incarnation_on_disk = incarnation;
                peer.node.handle_persisted(now, incarnation);
            }
            Delivery::Datagram { from, to, datagram } => {
                if peer.node.me().position == to.position {
                    peer.node.handle_datagram(now, &from, datagram);
                }
            }
            Delivery::Request { from, to, token, request } => {
                if to.position.is_none_or(|position| position == peer.node.me().position) {
                    let reply_to = ReplyTo(self.next_sequence);
                    self.next_sequence += 1;
                    self.relays.insert(reply_to, (from.address.clone(), token));
                    peer.node.handle_request(now, &from, reply_to, request);
                }
            }
            Delivery::Reply { token, answer, .. } => peer.node.handle_reply(now, token, answer),
        }
        self.drain(&address);
    }

    /// Carries out what a node wants.
    fn drain(&mut self, address: &Address) {
        loop {
            let Some(peer) = self.peers.get_mut(address) else { return };
            let me = peer.node.me().clone();
            let Some(output) = peer.node.poll_output() else { break };
            match output {
                Output::Request { token, to, request, .. } => {
                    let target = to.address.clone();
                    self.send(address, &target, false, Delivery::Request { from: me, to, token, request });
                }
                Output::Reply { to, reply } => {
                    if let Some((asker, token)) = self.relays.remove(&to) {
                        let answer = Ok((me, reply));
                        let reply = Delivery::Reply { to: asker.clone(), token, answer };
                        self.send(address, &asker, false, reply);
                    }
                }
                Output::Datagram { to, datagram } => {
                    let target = to.address.clone();
                    self.send(address, &target, true, Delivery::Datagram { from: me, to, datagram });
                }
                Output::Persist { incarnation } => {
                    self.schedule(
                        Duration::from_millis(2),
                        Delivery::Persisted(address.clone(), incarnation),
                    );
                }
                Output::Forget { .. } => {}
                Output::Event(event) => self.events.push((self.now, me.position, event)),
            }
        }
        let now = self.now;
        let Some(peer) = self.peers.get_mut(address) else { return };
        if let Some(at) = peer.node.poll_timeout()
            && peer.wake_at.is_none_or(|scheduled| at < scheduled)
        {
            peer.wake_at = Some(at);
            self.schedule(at.max(now) - now, Delivery::Wake(address.clone()));
        }
    }

    fn send(&mut self, from: &Address, to: &Address, datagram: bool, delivery: Delivery) {
        let lost = datagram && self.rng.random_range(0..100) < self.datagram_loss_percent;
        let cut = self.cut.contains(&(from.clone(), to.clone()));
        let factor = |address| self.latency_factor.get(address).copied().unwrap_or(1);
        let factor = factor(from).max(factor(to));
        let latency = Duration::from_micros(self.rng.random_range(500..5_000)) * factor;
        if !lost && !cut {
            self.schedule(latency, delivery);
        }
    }

    fn schedule(&mut self, after: Duration, delivery: Delivery) {
        let key = (self.now + after, self.next_sequence);
        self.next_sequence += 1;
        self.queue.insert(key, delivery);
    }
}

/// How to reach a numbered peer of this world.
pub fn contact(number: u8) -> Target {
    Target { address: address_of(u16::from(number)), position: Some(Position::of_number(number)) }
}

fn address_of(port: u16) -> Address {
    Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 12_000 + port)))
}
