//! Faults from outside, of peers and of the ways between them.

use super::network::Slot;
use super::places::slot_of;
use super::traffic::Connections;
use super::world::{Delivery, World};
use crate::chord::Start;
use crate::wire::{Entry, Life, Member, Target};

impl World {
    /// Ends peers without notice.
    pub fn crash(&mut self, numbers: &[u8]) {
        for number in numbers {
            self.crash_slot(Slot::from(*number));
        }
    }

    /// Like [`World::crash`], for any peer.
    pub fn crash_slot(&mut self, slot: Slot) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut).filter(|p| p.up) else {
            return;
        };
        peer.up = false;
        peer.died_at = Some(now);
        // The remembered members are saved, as a running peer saves them while it is a member.
        if peer.was_member {
            peer.remembered = Some(peer.node.remembered());
        }
        peer.connections = Connections::default();
        peer.held.clear();
        self.crash_keeper(slot);
        self.note(|| format!("crash {slot}"));
        self.look_at(slot);
    }

    /// Starts a crashed peer again, with the state that its disk remembers.
    pub fn restart(&mut self, number: u8) {
        self.restart_slot(Slot::from(number));
    }

    /// Like [`World::restart`], for any peer.
    pub fn restart_slot(&mut self, slot: Slot) {
        let Some(peer) = self.process(slot).filter(|peer| !peer.up) else { return };
        // A peer that was never a member has nothing to come back to.
        let Some(remembered) = peer.remembered.clone() else { return };
        let me = peer.node.me().with_incarnation(peer.incarnation_on_disk + 1);
        self.note(|| format!("restart {slot}"));
        self.start_entry(me, Start::Resume { remembered, given: Vec::new() });
    }

    /// Starts a crashed peer again at another address, with its disk; a person names these contacts. Returns its new
    /// slot; `None` if it was never a member.
    pub fn restart_elsewhere(&mut self, slot: Slot, contacts: &[Slot]) -> Option<Slot> {
        let peer = self.process(slot).filter(|peer| !peer.up)?;
        let remembered = peer.remembered.clone()?;
        let (me, incarnation) = (peer.node.me().clone(), peer.incarnation_on_disk + 1);
        let given = contacts.iter().filter_map(|slot| self.entry(*slot)).map(Target::from).collect();
        let address = self.next_address();
        let new = slot_of(&address);
        let me = Life { position: me.position, incarnation, key: me.key, address };
        self.note(|| format!("restart {slot} at {new}"));
        self.move_files(slot, new);
        self.start_entry(Entry::from(me), Start::Resume { remembered, given });
        Some(new)
    }

    /// Starts a crashed peer from an old copy of its data directory, made when it had just joined: it believes to be in
    /// its first incarnation, and has no files.
    pub fn restore_slot(&mut self, slot: Slot) {
        let peer = self.peers.get_mut(slot as usize).and_then(Option::as_mut).filter(|peer| !peer.up);
        let Some(peer) = peer else { return };
        peer.incarnation_on_disk = 0;
        self.with_disk(slot, |disk| disk.lose());
        self.restart_slot(slot);
    }

    /// Whether a crashed peer was a member when it crashed and remembers a peer that still is one.
    pub fn could_return(&self, number: u8) -> bool {
        self.process(Slot::from(number)).is_some_and(|peer| {
            let lives = |member: &Member| self.living.contains_key(&member.entry.position);
            !peer.up && peer.node.is_member() && peer.remembered.iter().flatten().any(lives)
        })
    }

    /// Lets a peer leave. In a world with files it hands them over first.
    pub fn leave(&mut self, number: u8) {
        self.leave_slot(Slot::from(number));
    }

    /// Like [`World::leave`], for any peer.
    pub fn leave_slot(&mut self, slot: Slot) {
        let now = self.local_time(slot);
        self.note(|| format!("leave {slot}"));
        if self.files.is_some() {
            return self.begin_handing_over(slot, true);
        }
        if let Some(peer) = self.running(slot) {
            peer.node.begin_leaving(now);
            peer.node.depart(now);
        }
        self.drain(slot);
    }

    /// Stops a peer's process, or lets it continue.
    pub fn pause(&mut self, number: u8, paused: bool) {
        self.pause_slot(Slot::from(number), paused);
    }

    /// Like [`World::pause`], for any peer.
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

    /// A peer knows that the key of another one was revoked: nothing passes between the two any more, and the peer takes
    /// the other out of the ring. News of the other may come back from peers that do not know yet; then a running peer
    /// does this again.
    pub fn expel(&mut self, by: Slot, whom: Slot) {
        let Some(entry) = self.entry(whom).cloned() else { return };
        let now = self.local_time(by);
        self.network.refuse(by, whom);
        if let Some(peer) = self.running(by) {
            peer.node.expel(now, &entry.position, &entry.key);
        }
        self.drain(by);
    }

    /// A user of a peer forgets a member, as the command `forget` does. Returns whether it is forgotten: not if it answers, or
    /// if the peer does not count it as away.
    pub fn forget(&mut self, by: Slot, whom: Slot) -> bool {
        let answers = self.node(whom).is_some() && self.is_way(by, self.helper_between(by, whom), whom);
        let Some(position) = self.entry(whom).map(|entry| entry.position).filter(|_| !answers) else {
            return false;
        };
        let now = self.local_time(by);
        let forgotten = self.running(by).is_some_and(|peer| peer.node.forget(now, &position));
        self.note(|| format!("{by} forgets {whom}: {forgotten}"));
        self.drain(by);
        forgotten
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

    /// Repairs every cut and every partition of the network.
    pub fn heal(&mut self) {
        self.note(|| "heal".to_owned());
        self.network.heal();
    }

    /// Makes everything to and from a numbered peer slower by this factor.
    pub fn slow(&mut self, number: u8, factor: u32) {
        self.network.set_slow(Slot::from(number), factor);
    }
}
