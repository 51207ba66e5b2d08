//! The ways in which peers come into a world: as a ring that has been together for long, or one by one.

use std::collections::VecDeque;
use std::time::Duration;

use super::network::{Slot, mixed};
use super::places::{
    SLOT_OF_CLONE, SLOT_OF_SELF_PLACED, SLOT_OF_THIEF, address_of, contact, numbered, slot_of,
};
use super::traffic::Connections;
use super::world::{Process, World};
use crate::chord::{Node, NodeConfig, Rules, Start, Table};
use crate::config::RingSettings;
use crate::id::{KeyHash, Position, sha256};
use crate::wire::{Address, Entry, Life, Member, MemberState, Target};

impl World {
    /// A ring of self-placed peers that has been together for long: all lists are right, and each peer has the contacts
    /// that it would have.
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

    /// Sets the rules of all peers from now on; wrong rules show what the oracle detects.
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

    /// Starts one more self-placed peer that joins through a random member. Returns its slot; `None` if there is no
    /// member.
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
    /// When a join does not complete.
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

    pub(super) fn config(
        &mut self,
        slot: Slot,
        me: Entry,
        start: Start,
        settings: Option<RingSettings>,
    ) -> NodeConfig {
        // Each peer has a seed of its own, so that events of others do not change what it draws.
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
            mailbox: None,
            died_at: None,
            seen_version: u64::MAX,
            shown: None,
            seen_member: false,
            was_member: false,
            clones,
            is_shed: false,
        };
        self.peers[at] = Some(Box::new(process));
        self.schedule_wake(slot);
        self.look_at(slot);
    }

    pub(super) fn next_self_placed(&mut self, incarnation: u64) -> Entry {
        let identity = self.next_identity;
        let address = self.next_address();
        let bytes = [self.seed.to_be_bytes().as_slice(), identity.to_be_bytes().as_slice()].concat();
        let position = Position(sha256(&bytes));
        Entry::from(Life { position, incarnation, key: KeyHash(position.0), address })
    }

    /// An address that no peer has had.
    pub(super) fn next_address(&mut self) -> Address {
        self.next_identity += 1;
        address_of(SLOT_OF_SELF_PLACED + self.next_identity - 1)
    }
}

/// The ranks ahead of a peer at which its contacts stand, in a ring of `count` peers: all, or thinning out with the
/// distance if the budget is smaller.
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
        // The predecessor, which every peer knows.
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
