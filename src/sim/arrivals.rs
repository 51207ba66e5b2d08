//! Peers that come into a world in special ways: at any position, as copies of others, or with invented state.

use super::network::Slot;
use super::places::{SLOT_OF_SELF_PLACED, address_of, numbered, slot_of};
use super::world::World;
use crate::chord::{Node, Start, Table};
use crate::id::Position;
use crate::wire::{Entry, Life, Member, MemberState, Target};

impl World {
    /// Like [`World::start_clone`], for any peer: starts a process with a copy of its disk, each copy started once more
    /// often than the one before. Returns its slot; `None` if there is no such peer, or it was never a member.
    pub fn clone_slot(&mut self, slot: Slot) -> Option<Slot> {
        let peer = self.peers.get_mut(slot as usize)?.as_mut()?;
        let remembered = match peer.was_member && peer.up {
            true => peer.node.remembered(),
            false => peer.remembered.clone()?,
        };
        peer.clones += 1;
        let incarnation = peer.incarnation_on_disk + 1 + peer.clones;
        let at = SLOT_OF_SELF_PLACED + self.next_identity;
        let me = peer.node.me().with_incarnation(incarnation).with_address(address_of(at));
        self.next_identity += 1;
        self.note(|| format!("clone {slot} to {at}"));
        self.start_entry(me, Start::Resume { remembered, given: Vec::new() });
        Some(at)
    }

    /// Starts one more peer at any position. Returns its slot.
    pub fn start_at(&mut self, position: Position, start: Start) -> Slot {
        let placed = self.next_self_placed(1);
        let me = Entry::from(Life { position, ..(*placed).clone() });
        let slot = slot_of(&me.address);
        self.start_entry(me, start);
        slot
    }

    /// Starts one more self-placed peer that joins through this one. Returns its slot; `None` if there is no such peer.
    pub fn join_through(&mut self, known: Slot) -> Option<Slot> {
        let known = Target::from(self.entry(known)?);
        let me = self.next_self_placed(1);
        let slot = slot_of(&me.address);
        self.start_entry(me, Start::Join { known });
        Some(slot)
    }

    /// Puts a numbered peer into the world with these neighbours and known members, right or wrong.
    pub fn put_with(&mut self, number: u8, predecessor: Option<u8>, successors: &[u8], known: &[u8]) {
        let entry = |number: &u8| numbered(Slot::from(*number), *number, *number, 1);
        let alive = |number: &u8| Member { entry: entry(number), state: MemberState::Alive };
        let (slot, settings) = (Slot::from(number), Some(self.settings));
        let config = self.config(slot, entry(&number), Start::Found, settings);
        let predecessor = predecessor.as_ref().map(entry);
        let successors = successors.iter().map(entry).collect();
        let contacts = Table::of(known.iter().filter(|known| **known != number).map(alive));
        let node = Node::converged(self.now, config, predecessor, successors, contacts);
        self.put(slot, node, 1);
    }

    /// Sets the greatest drift of the clocks, in millionths. Must be called before any time has passed.
    pub fn drift(&mut self, ppm_max: i64) {
        self.drift_ppm_max = ppm_max;
        for slot in 0..self.peers.len() {
            let drift = self.drift_of(slot as Slot);
            if let Some(peer) = &mut self.peers[slot] {
                peer.drift_ppm = drift;
            }
        }
    }

    /// Lets a numbered peer begin to leave: it takes no new work, and stays until [`World::leave`].
    pub fn begin_leaving(&mut self, number: u8) {
        let slot = Slot::from(number);
        let now = self.local_time(slot);
        if let Some(peer) = self.running(slot) {
            peer.node.begin_leaving(now);
        }
        self.drain(slot);
    }

    /// Runs `steps` events, or all that there are.
    pub fn run_steps(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step();
        }
    }
}
