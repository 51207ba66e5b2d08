//! The work of the world for the tasks of its processes: it lets them go on, carries out their requests, and wakes
//! them.

use std::sync::Arc;

use super::mailbox::{Effect, Mailbox};
use super::network::Slot;
use super::places::slot_of;
use super::traffic::Purpose;
use super::world::{Ask, Delivery, World};
use crate::chord::{Node, hop_timeout};
use crate::time::Moment;
use crate::wire::{MembershipReply, Target};

impl World {
    /// The mailbox of a running process.
    pub(super) fn mailbox(&mut self, slot: Slot) -> Option<Arc<Mailbox>> {
        let (now, ids) = (self.now, self.ids.clone());
        let hop_timeout = hop_timeout(Some(self.network.round_trip_max()));
        let peer = self.running(slot)?;
        let new = || Arc::new(Mailbox::new((slot, peer.generation), ids));
        let mailbox = peer.mailbox.get_or_insert_with(new).clone();
        mailbox.set_now(now, hop_timeout);
        Some(mailbox)
    }

    /// Lets all tasks go on as far as they can.
    pub(super) fn go_on(&mut self) {
        while let Some(task) = self.tasks.next_woken() {
            let Some(mailbox) = self.mailbox(task.0) else { continue };
            self.before_step(task.0);
            self.tasks.poll(task);
            if self.loses_power(task.0) {
                // The effects that it wanted in this step are dropped.
                self.crash_slot(task.0);
                continue;
            }
            while let Some(effect) = mailbox.take_effect() {
                self.carry_out(&mailbox, effect);
            }
            self.count_step(task.0);
        }
    }

    fn carry_out(&mut self, mailbox: &Arc<Mailbox>, effect: Effect) {
        let (slot, generation) = mailbox.process;
        let local = self.local_time(slot);
        match effect {
            Effect::Spawn(task) => self.tasks.spawn(slot, task),
            Effect::Timer { at: Moment(u64::MAX), .. } => {}
            Effect::Timer { at, timer } => self.queue.put(at, Delivery::Timer { slot, generation, timer }),
            Effect::Ask { token, to, request } => {
                if self.helper_between(slot, slot_of(&to.address)).is_some() {
                    mailbox.asks_through_a_helper(to.position);
                }
                self.send_request(slot, &Target::from(&to), Ask::Task(token), request, Purpose::Lookup);
            }
            Effect::Heard(whom, reply) => {
                self.tell_node(slot, |node| node.handle_lookup_answer(local, &whom, &reply));
            }
            Effect::Silence(whom) => self.tell_node(slot, |node| node.handle_lookup_silence(local, &whom)),
            Effect::Found(found) => self.end_search(found),
            Effect::Files(effect) => self.carry_out_with_files(slot, *effect),
        }
    }

    pub(super) fn tell_node(&mut self, slot: Slot, what: impl FnOnce(&mut Node)) {
        if let Some(peer) = self.running(slot) {
            what(&mut peer.node);
        }
        self.drain(slot);
    }

    pub(super) fn deliver_timer(&mut self, slot: Slot, generation: u32, timer: u64) {
        let Some(mailbox) = self.mailbox(slot).filter(|mailbox| mailbox.process.1 == generation) else {
            return;
        };
        mailbox.timer(timer);
    }

    pub(super) fn deliver_answer(&mut self, slot: Slot, token: u64, reply: MembershipReply) {
        if let Some(mailbox) = self.mailbox(slot) {
            mailbox.answered(token, reply);
        }
    }

    /// Ends all tasks of a process.
    pub(super) fn end_tasks(&mut self, slot: Slot) {
        self.tasks.end(slot);
        self.searches.end(slot);
        if let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) {
            peer.mailbox = None;
        }
        self.end_keeper(slot);
    }
}
