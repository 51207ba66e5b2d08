//! The messages between peers: their cost, and the connections that carry them.

use std::time::Duration;

use super::network::Slot;
use super::places::slot_of;
use super::traffic::{self, Purpose};
use super::world::{Ask, Delivery, World};
use crate::wire::{Datagram, Entry, MembershipReply, MembershipRequest, Target, codec};

impl World {
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
        // A separate packet acknowledges the answer.
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
        let helper = self.helper_of(ask, from, slot);
        if let Some(delay) = self.stream_delay(from, helper, slot) {
            self.queue.put(self.now + dialled + delay, delivery);
        }
    }

    pub(super) fn send_reply(
        &mut self,
        from: Slot,
        to: Slot,
        generation: u32,
        ask: Ask,
        reply: MembershipReply,
    ) {
        let bytes = traffic::stream_bytes(codec::encoded_length(&reply).unwrap_or(0));
        let purpose = if matches!(ask, Ask::Node(_)) { Purpose::Maintenance } else { Purpose::Lookup };
        let Some(peer) = self.running(from) else { return };
        peer.sent.count(purpose, bytes);
        let me = peer.node.me().clone();
        self.oracle_hears(from, &reply);
        let helper = self.helper_of(ask, from, to);
        if let Some(delay) = self.stream_delay(from, helper, to) {
            self.queue.put(self.now + delay, Delivery::Reply { to, generation, ask, from: me, reply });
        }
    }

    pub(super) fn send_datagram(&mut self, from: Slot, to: Entry, datagram: Datagram) {
        let slot = slot_of(&to.address);
        let is_pong = matches!(datagram, Datagram::Pong { .. } | Datagram::FullPong { .. });
        let bytes = traffic::datagram_bytes(codec::encoded_length(&datagram).unwrap_or(0));
        let dialled = self.connect(from, slot, Purpose::Maintenance);
        let Some(peer) = self.running(from) else { return };
        // The peer that pinged acknowledges a pong with a separate packet.
        let acknowledgement = if is_pong { 0 } else { traffic::ACK_BYTES };
        peer.sent.count(Purpose::Maintenance, bytes + acknowledgement);
        let me = peer.node.me().clone();
        let waits = self.network.line_wait(from, slot, self.now);
        for delay in self.network.datagram(from, slot) {
            let (from, to, datagram) = (me.clone(), to.clone(), datagram.clone());
            self.queue
                .put(self.now + dialled + waits + delay, Delivery::Datagram { from, to, slot, datagram });
        }
    }

    /// The helper that passes on a request about the ring, and its answer: here only tasks ask through one.
    fn helper_of(&self, ask: Ask, one: Slot, other: Slot) -> Option<Slot> {
        matches!(ask, Ask::Task(_)).then(|| self.helper_between(one, other)).flatten()
    }

    /// The first member that both peers reach, if they do not reach each other. (A running peer asks the members that
    /// it has a connection with, and finds one of them.)
    pub(super) fn helper_between(&self, one: Slot, other: Slot) -> Option<Slot> {
        if self.is_way(one, None, other) {
            return None;
        }
        let mut others = self.living().values().copied().filter(|slot| *slot != one && *slot != other);
        others.find(|slot| self.is_way(one, Some(*slot), other))
    }

    /// Whether two peers reach each other, by way of the helper if there is one.
    pub(super) fn is_way(&self, one: Slot, helper: Option<Slot>, other: Slot) -> bool {
        let both_ways = |a, b| self.network.carries(a, b) && self.network.carries(b, a);
        match helper {
            None => both_ways(one, other),
            Some(helper) => self.runs(helper) && both_ways(one, helper) && both_ways(helper, other),
        }
    }

    /// The delay of a frame; `None` if there is no longer a way.
    pub(super) fn stream_delay(&mut self, from: Slot, helper: Option<Slot>, to: Slot) -> Option<Duration> {
        let waits = self.network.line_wait(from, to, self.now);
        let delay = match helper {
            None => self.network.stream(from, to)?,
            Some(helper) if !self.runs(helper) => return None,
            Some(helper) => self.network.stream(from, helper)? + self.network.stream(helper, to)?,
        };
        Some(waits + delay)
    }

    fn runs(&self, slot: Slot) -> bool {
        self.process(slot).is_some_and(|peer| peer.up)
    }

    /// Uses the connection between two peers, or makes one; returns the time that this takes.
    pub(super) fn connect(&mut self, from: Slot, to: Slot, purpose: Purpose) -> Duration {
        let now = self.now;
        let used = |one, other| self.process(one).filter(|p| p.up).and_then(|p| p.connections.used(other));
        let known = used(from, to).filter(|_| used(to, from).is_some() || self.node(to).is_none());
        if known.is_some_and(|used| now.since(used) < traffic::UNUSED_MAX || self.is_kept(from, to)) {
            self.touch(from, to);
            return Duration::ZERO;
        }
        if !self.network.carries(from, to) || !self.network.carries(to, from) || self.node(to).is_none() {
            // The first packets get no answer.
            if let Some(peer) = self.running(from) {
                peer.sent.count(purpose, traffic::HANDSHAKE_BYTES);
            }
            return Duration::ZERO;
        }
        self.disconnect(from, to);
        for (one, other) in [(from, to), (to, from)] {
            let full = self.process(one).filter(|peer| peer.connections.are_full());
            let oldest = full.and_then(|peer| peer.connections.oldest(|slot| self.is_kept(one, slot)));
            if let Some(oldest) = oldest {
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

    /// Uses a connection, and counts the keep-alives that were sent on it since its last use.
    pub(super) fn touch(&mut self, from: Slot, to: Slot) {
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
    pub(super) fn is_kept(&self, one: Slot, other: Slot) -> bool {
        let keeps = |one, other| {
            let other = self.entry(other).map(|entry| entry.position);
            self.node(one).zip(other).is_some_and(|(node, other)| node.keeps_contact_with(&other))
        };
        keeps(one, other) || keeps(other, one)
    }
}
