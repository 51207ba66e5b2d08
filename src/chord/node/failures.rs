//! How a node carries out what its failure detector wants.

use super::{Answer, Node, Purpose};
use crate::chord::claims::{Origin, Teller};
use crate::chord::detector::{Contact, MISSES_BESIDE_DEATH, MISSES_OF_SILENCE, Ping, Step, Unreached};
use crate::chord::output::{Event, Output};
use crate::chord::timing::{jittered, probe_timeout, relay_timeout};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{
    Datagram, Entry, Member, MemberState, MembershipReply, MembershipRequest, NeighbourReply,
    NeighbourRequest, Target,
};

impl Node {
    /// The peers whose silence counts from their ping on; any packet of theirs is a sign of life.
    pub fn awaited(&self) -> impl Iterator<Item = &Entry> {
        self.detector.awaited()
    }

    /// The network has taken a packet from this very life of a peer since it was last pinged, if only an
    /// acknowledgement. Its answers may be late, behind other bytes on a slow line, but the peer is not dead.
    pub fn handle_sign_of_life(&mut self, _now: Moment, from: &Entry) {
        self.detector.note_packet(from);
    }

    /// Watches the two nearest successors and the predecessor.
    pub(super) fn watch_neighbours(&mut self, now: Moment) {
        self.detector.watch(now, self.interval, self.ring.nearest().cloned().collect());
    }

    pub(super) fn detector_timeout(&mut self, now: Moment) {
        for position in self.detector.note_misses(now) {
            let nearest = self.members.clockwise_from(&self.me.position);
            let steps = self.detector.evaluate_misses(position, nearest, &mut self.rng);
            self.carry_out(now, steps);
        }
        if self.detector.is_ping_due(now) {
            self.send_pings(now);
        }
    }

    /// Takes a sign of life from a peer, of any kind.
    pub(super) fn note_contact(&mut self, now: Moment, from: &Teller) {
        if from.origin != Origin::Forwarded {
            self.members.note_met(&from.entry.position);
            self.silences.broken(&from.entry.address);
            // A peer that is wrongly believed dead has not heard of it, or it would have contradicted; an exchange
            // tells it.
            if self.members.note_confirmed(&from.entry) {
                self.exchange(now, from.entry.clone());
            }
        }
        match self.detector.note_contact(&from.entry) {
            Contact::LaterLife => self.exchange(now, from.entry.clone()),
            contact => self.welcome_stranger(now, contact),
        }
    }

    pub(super) fn handle_pong(&mut self, now: Moment, from: &Teller, sequence: u64, full: bool) {
        if !self.detector.has_sent(sequence) {
            return;
        }
        self.event(Event::PingAnswered(from.entry.position));
        self.partners.note_pong(&from.entry.position, sequence);
        self.rooms.hear(now, from.entry.position, full);
        self.note_contact(now, from);
    }

    /// Suspects a peer that left a request unanswered, which counts as the first miss.
    pub(super) fn suspect(&mut self, now: Moment, entry: &Entry) {
        let ping = self.detector.start_suspicion(now, self.interval, entry, MISSES_OF_SILENCE);
        self.send_ping(ping);
    }

    /// Suspects the rest of the list after a neighbour was found dead.
    pub(super) fn suspect_all(&mut self, now: Moment, entries: &[Entry]) {
        for entry in entries {
            let ping = self.detector.start_suspicion(now, self.interval, entry, MISSES_BESIDE_DEATH);
            self.send_ping(ping);
        }
    }

    /// Probes a peer that another one told of.
    pub(super) fn probe_stranger(&mut self, now: Moment, entry: &Entry) {
        let nearest = self.members.clockwise_from(&self.me.position);
        let steps = self.detector.probe_stranger(entry, nearest, &mut self.rng);
        self.carry_out(now, steps);
    }

    pub(super) fn probe_answered(
        &mut self,
        now: Moment,
        target: Position,
        helper: Option<Position>,
        answer: Answer,
    ) {
        let way = match (helper, &answer) {
            (None, Ok((from, MembershipReply::Gone { .. }))) if from.entry.position == target => {
                self.detector.unwatch(&from.entry);
                return self.ingest_own_report(now, from, MemberState::Left);
            }
            (None, Ok((from, _))) if from.entry.position == target => return self.reached(now, target, None),
            (Some(helper), Ok((_, MembershipReply::Relayed(Ok(NeighbourReply::Alive))))) => {
                return self.reached(now, target, Some(helper));
            }
            (None, _) => Unreached::Direct,
            (Some(helper), Ok(_)) => Unreached::Through(helper),
            (Some(helper), Err(_)) => Unreached::HelperSilent(helper),
        };
        let nearest = self.members.clockwise_from(&self.me.position);
        let steps = self.detector.note_unreached(target, way, nearest, &mut self.rng);
        self.carry_out(now, steps);
    }

    fn reached(&mut self, now: Moment, target: Position, helper: Option<Position>) {
        let Some(contact) = self.detector.note_reached(&target) else { return };
        self.welcome_stranger(now, contact);
        let helper = helper.and_then(|helper| self.members.at(&helper)).map(|member| member.entry.clone());
        if let Some(helper) = helper {
            self.detector.reach_through(target, helper);
        }
    }

    fn welcome_stranger(&mut self, now: Moment, contact: Contact) {
        if let Contact::StrangerReached(entry) = contact {
            self.learn(now, Member { entry, state: MemberState::Alive });
        }
    }

    fn send_pings(&mut self, now: Moment) {
        let pings = self.detector.ping_all(now, self.interval);
        let me = self.me.position;
        let mut to: Vec<Position> = pings.iter().map(|ping| ping.to.position).collect();
        for ping in pings {
            self.send_ping(Some(ping));
        }
        if !to.is_empty() {
            to.sort_by_key(|position| me.distance_to(position));
            self.event(Event::PingsSent(to));
        }
        self.ping_partner(now);
        let next = now + jittered(self.interval, &mut self.rng);
        self.detector.ping_at(next);
    }

    fn send_ping(&mut self, ping: Option<Ping>) {
        let Some(Ping { to, sequence }) = ping else { return };
        let news = self.members.take_news(self.listener(&to), None);
        self.output(Output::Datagram { to, datagram: Datagram::Ping { sequence, news } });
    }

    fn carry_out(&mut self, now: Moment, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Probe(target) => {
                    let purpose = Purpose::DirectProbe(target.position);
                    let request = MembershipRequest::Neighbour(NeighbourRequest::Probe);
                    self.ask(now, Target::from(&target), request, probe_timeout(self.interval), purpose);
                }
                Step::ProbeThrough { target, helper } => {
                    let purpose = Purpose::HelperProbe { target: target.position, helper: helper.position };
                    let request = MembershipRequest::Relay { target, request: NeighbourRequest::Probe };
                    self.ask(now, Target::from(&helper), request, relay_timeout(self.interval), purpose);
                }
                Step::Dead(entry) => self.learn(now, Member { entry, state: MemberState::Dead }),
            }
        }
    }
}
