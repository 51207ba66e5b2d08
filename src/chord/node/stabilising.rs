//! How a node carries out what its neighbourhood wants: stabilise queries, notices and exchanges.

use rand::RngExt as _;
use rand::seq::IteratorRandom as _;

use super::{Answer, Node, Phase, Purpose};
use crate::chord::claims::{TOLD_MAX, Teller};
use crate::chord::entering::Start;
use crate::chord::neighbourhood::{Adopted, Approach, Next, Query};
use crate::chord::output::Event;
use crate::chord::timing::relay_timeout;
use crate::time::Moment;
use crate::wire::{
    Address, Entry, Member, MemberState, MembershipReply, MembershipRequest, NeighbourReply,
    NeighbourRequest, Target,
};

impl Node {
    pub(super) fn stabilise_timeout(&mut self, now: Moment) {
        let (interval, exchanges_whole) = (self.interval, self.exchanges_whole());
        let (ring, known, rng) = self.ring_parts();
        if !ring.begin_period(now, interval, known, exchanges_whole, rng) {
            return;
        }
        self.judge_size(now);
        if self.is_small() {
            self.exchange_small(now);
        } else {
            let (ring, known, _) = self.ring_parts();
            if let Some(query) = ring.stabilise(now, known) {
                self.send_query(now, query);
            }
            if self.exchanges_whole() {
                self.reach_out(now);
            } else {
                self.ask_given_contacts(now);
            }
        }
    }

    /// Between two queries: asks the next candidate, if any; alone in a large ring, takes the way back in.
    pub(super) fn continue_stabilising(&mut self, now: Moment) {
        let (ring, known, _) = self.ring_parts();
        match ring.next(now, known) {
            None => {}
            Some(Next::Approach(candidate)) => self.approach(now, candidate),
            Some(Next::JoinAgain) => {
                let remembered = self.members.iter().cloned().collect();
                self.enter(now, Start::Resume { remembered, given: Vec::new() });
            }
        }
    }

    /// Takes the notice of a peer that believes that it stands beside this one.
    pub(super) fn rectify(&mut self, now: Moment, from: &Teller) {
        self.ingest_own_report(now, from, MemberState::Alive);
        let (ring, known, _) = self.ring_parts();
        ring.rectify(known, &from.entry, !from.is_direct());
    }

    /// The answer to a stabilise query: the list, unless it is undefined at the moment.
    pub(super) fn answer_state(&mut self, from: &Entry) -> NeighbourReply {
        if self.ring.is_undefined(self.known()) {
            return NeighbourReply::Busy;
        }
        NeighbourReply::State {
            predecessor: self.ring.predecessor().cloned(),
            successors: self.ring.successors().to_vec(),
            members: self.members_for(from),
        }
    }

    /// Judges whether the ring is small. With no peer left in its own list a member has nothing better than the map.
    pub(super) fn judge_size(&mut self, now: Moment) {
        let few = self.members.alive_count() + 1 < self.settings().chord_from();
        let at_once = self.ring.successors().is_empty() || !self.is_member();
        if self.size.judge(now, few, self.interval, at_once) {
            self.rebuild();
        }
    }

    /// Takes the living members in order as the list.
    pub(super) fn rebuild(&mut self) {
        let (ring, known, _) = self.ring_parts();
        if ring.rebuild(known) {
            self.forget_query();
        }
    }

    /// The end of a peer, for all that keep contact with it.
    pub(super) fn note_neighbour_end(&mut self, now: Moment, entry: &Entry) {
        self.detector.unwatch(entry);
        self.partners.end(&entry.position);
        let interval = self.interval;
        let (ring, known, _) = self.ring_parts();
        let ended = ring.note_end(now, interval, known, entry);
        if ended.query_is_over {
            self.forget_query();
        }
        self.suspect_all(now, &ended.suspects);
    }

    /// Reports the changes of the neighbours.
    pub(super) fn report_neighbours(&mut self, now: Moment) {
        let Some(changes) = self.ring.take_changes() else { return };
        for (rank, new) in (1..).zip(changes.successors) {
            if let Some(new) = new {
                self.event(Event::SuccessorChanged(rank, new));
            }
        }
        if let Some(new) = changes.predecessor {
            self.event(Event::PredecessorChanged(new));
        }
        if changes.first_changed && !self.is_small() {
            // The second predecessor of the peer that came or went learns of it at once.
            if let Some(predecessor) = self.ring.predecessor().cloned() {
                let request = MembershipRequest::Neighbour(NeighbourRequest::Changed);
                self.ask(now, Target::from(&predecessor), request, self.request_timeout(), Purpose::Notify);
            }
        }
        self.watch_neighbours(now);
    }

    pub(super) fn query_answered(&mut self, now: Moment, answer: Answer) {
        let Some(query) = self.ring.take_query() else { return };
        let (teller, reply) = match answer {
            Ok((teller, MembershipReply::Neighbour(reply))) => (teller, reply),
            Ok((helper, MembershipReply::Relayed(Ok(reply)))) => (helper.as_helper(), reply),
            // A helper that has left says so of itself, not of the asked peer.
            Ok((teller, MembershipReply::Gone { successor }))
                if teller.entry.position == query.whom().position =>
            {
                let gone = teller.with_entry(query.whom());
                self.ingest_living(now, &gone, successor);
                return self.ingest_own_report(now, &gone, MemberState::Left);
            }
            Ok(_) | Err(_) => {
                if query.is_of_candidate() {
                    self.notify_first(now);
                }
                self.detector.wait_longer_for(&query.whom().position);
                return self.suspect(now, query.whom());
            }
        };
        match reply {
            NeighbourReply::State { predecessor, successors, members } => {
                self.ring.note_state(now, &query);
                self.ingest_gossip(now, &teller, members, TOLD_MAX);
                if self.is_small() {
                    return;
                }
                match self.check_state(&teller, &query.whom().position, predecessor.as_ref(), &successors) {
                    Ok(()) => self.adopt(now, &teller, &query, predecessor, successors),
                    // The list of that peer is unusable. This peer's own knowledge of the peers behind it takes the
                    // place of the list.
                    Err(_) => {
                        let after = query.whom().position;
                        let known: Vec<Entry> = self.members.clockwise_from(&after).cloned().collect();
                        self.adopt(now, &teller, &query, None, known);
                    }
                }
            }
            NeighbourReply::Busy => {
                let (ring, _, rng) = self.ring_parts();
                ring.note_busy(now, &query, rng);
            }
            _ => self.ring.note_no_state(),
        }
    }

    pub(super) fn exchange_answered(&mut self, now: Moment, answer: Answer) {
        match answer {
            Ok((
                from,
                MembershipReply::Neighbour(NeighbourReply::State { predecessor, successors, members }),
            )) => {
                self.ingest_gossip(now, &from, members, TOLD_MAX);
                if self.check_state(&from, &from.entry.position, predecessor.as_ref(), &successors).is_ok() {
                    self.ingest_living(now, &from, predecessor.into_iter().chain(successors));
                }
            }
            Ok((from, MembershipReply::Gone { .. })) => {
                self.ingest_own_report(now, &from, MemberState::Left);
            }
            Ok((Teller { entry: from, .. }, MembershipReply::Neighbour(NeighbourReply::Inactive))) => {
                // The peer runs again but is not in the ring: the known life is over.
                let known = self.members.at(&from.position).map(|m| m.entry.clone());
                let earlier = |known: &Entry| known.key == from.key && known.incarnation < from.incarnation;
                if let Some(entry) = known.filter(earlier) {
                    self.learn(now, Member { entry, state: MemberState::Dead });
                }
            }
            _ => {}
        }
    }

    /// Exchanges members with every living member of a small ring; used when this peer has just become one.
    pub(super) fn exchange_with_all(&mut self, now: Moment) {
        let all: Vec<Entry> =
            self.members.alive().take(usize::from(self.settings().successors) + 1).cloned().collect();
        for entry in all {
            self.exchange(now, entry);
        }
    }

    pub(super) fn notify(&mut self, now: Moment, whom: &Entry) {
        let request = MembershipRequest::Neighbour(NeighbourRequest::Notify);
        self.ask(now, Target::from(whom), request, self.request_timeout(), Purpose::Notify);
    }

    /// Whether members are exchanged whole: the ring is small, or nearly so.
    pub(super) fn exchanges_whole(&self) -> bool {
        self.members.are_exchanged_whole(self.settings())
    }

    /// The members to send to a peer: all, while the ring is small or nearly so. Always the correction for that peer,
    /// if any, and this peer itself.
    pub(super) fn members_for(&self, whom: &Entry) -> Vec<Member> {
        let mut members = if self.exchanges_whole() {
            self.members.for_message()
        } else {
            self.members.correction_for(whom).into_iter().collect()
        };
        members.push(self.myself());
        members
    }

    /// Notes that a member that may not answer is asked: the backoff begins.
    pub(super) fn asks_in_silence(&mut self, now: Moment, address: &Address) {
        let askers = self.members.alive_count() + 1;
        self.silences.asked(now, address, self.interval * REACH_OUT_EVERY, askers);
    }

    /// Asks a peer for its state, outside of STABILISE.
    pub(super) fn exchange(&mut self, now: Moment, with: Entry) {
        let members = self.members_for(&with);
        self.exchange_with(now, Target::from(&with), members);
    }

    fn approach(&mut self, now: Moment, candidate: Entry) {
        let (ring, known, _) = self.ring_parts();
        match ring.approach(now, known, candidate) {
            Approach::Query(query) => self.send_query(now, query),
            Approach::Adopted => self.notify_first(now),
        }
    }

    fn send_query(&mut self, now: Moment, query: Query) {
        let whom = query.whom().clone();
        let patience = self.detector.patience(&whom.position);
        let request = NeighbourRequest::State { members: self.members_for(&whom) };
        self.ring.begin_query(query);
        match self.detector.via(&whom.position).cloned() {
            None => {
                let request = MembershipRequest::Neighbour(request);
                let timeout = self.request_timeout() * patience;
                self.ask(now, Target::from(&whom), request, timeout, Purpose::Query);
            }
            Some(helper) => {
                let request = MembershipRequest::Relay { target: whom, request };
                let timeout = relay_timeout(self.interval) * patience;
                self.ask(now, Target::from(&helper), request, timeout, Purpose::Query);
            }
        }
    }

    /// Adopts the answer to a query, then follows FROM_PRED or notifies the first successor.
    fn adopt(
        &mut self,
        now: Moment,
        teller: &Teller,
        query: &Query,
        predecessor: Option<Entry>,
        list: Vec<Entry>,
    ) {
        if !self.ring.wants_answer(self.known(), query) {
            return;
        }
        let teller = teller.with_entry(query.whom());
        self.ingest_living(now, &teller, list.iter().chain(&predecessor).cloned());
        let (ring, known, _) = self.ring_parts();
        let Adopted { candidate, believed_dead } = ring.adopt(known, query, predecessor, list);
        if let Some(dead) = believed_dead {
            // If the peer is alive, it has to hear of its death to contradict it; otherwise it would stand beside the
            // ring until another peer tells it.
            self.exchange(now, dead);
        }
        match candidate {
            Some(candidate) => self.approach(now, candidate),
            None => self.notify_first(now),
        }
    }

    fn notify_first(&mut self, now: Moment) {
        if let Some(first) = self.ring.successors().first().cloned() {
            self.notify(now, &first);
        }
    }

    fn forget_query(&mut self) {
        self.requests.forget(|purpose| matches!(purpose, Purpose::Query));
    }

    fn exchange_small(&mut self, now: Moment) {
        let first = self.ring.successors().first().cloned();
        if let Some(first) = first.clone() {
            self.exchange(now, first);
        }
        let random = self.members.alive().choose(&mut self.rng).cloned();
        if let Some(entry) = random.filter(|e| first.as_ref().is_none_or(|s| s.position != e.position)) {
            self.exchange(now, entry);
        }
        self.reach_out(now);
    }

    /// Now and then, asks a member that did not answer: it may be back, or may never have been gone.
    fn reach_out(&mut self, now: Moment) {
        if self.rng.random_range(0..REACH_OUT_EVERY) == 0 {
            let silences = &self.silences;
            let due = self.members.away().filter(|entry| silences.may_ask(now, &entry.address));
            if let Some(entry) = due.choose(&mut self.rng).cloned() {
                self.asks_in_silence(now, &entry.address);
                self.exchange(now, entry);
            }
        }
        self.ask_given_contacts(now);
    }

    /// Asks the given contacts until they are met.
    fn ask_given_contacts(&mut self, now: Moment) {
        let due = self.given.unmet(self.members.alive()).iter();
        let due = due.filter(|contact| self.silences.may_ask(now, &contact.address));
        for contact in due.cloned().collect::<Vec<_>>() {
            // Only this peer was told of the contact, so no other peer asks.
            self.silences.asked(now, &contact.address, self.interval, 1);
            self.exchange_with(now, contact, vec![self.myself()]);
        }
    }

    /// Like [`Node::exchange`], unless that peer was asked already, or this one has left.
    fn exchange_with(&mut self, now: Moment, with: Target, members: Vec<Member>) {
        if matches!(self.phase, Phase::Gone { .. } | Phase::Ended) {
            return;
        }
        let asked = |purpose: &Purpose| matches!(purpose, Purpose::Exchange(asked) if *asked == with.address);
        if !self.requests.is_pending(asked) {
            let request = MembershipRequest::Neighbour(NeighbourRequest::State { members });
            let purpose = Purpose::Exchange(with.address.clone());
            self.ask(now, with, request, self.request_timeout(), purpose);
        }
    }
}

/// The number of stabilise periods in which a member that is away is asked once, on average.
const REACH_OUT_EVERY: u32 = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chord::NodeConfig;
    use crate::chord::output::Output;
    use crate::chord::sample::{entries, entry};
    use crate::chord::table::Table;
    use crate::config::RingSettings;
    use crate::wire::limits::MEMBERS_MAX;

    /// Reported: a helper that had left answered `Gone`, and the asker believed that the asked peer had left.
    #[test]
    fn a_helper_that_has_left_says_nothing_of_the_asked_peer() {
        let (now, interval) = (Moment(1_000_000), Duration::from_secs(1));
        let config = NodeConfig {
            me: entry(100),
            address_given: true,
            settings: Some(RingSettings { replicas: 3, successors: 2, ..RingSettings::default() }),
            interval,
            contacts_max: MEMBERS_MAX,
            start: Start::Found,
            seed: 1,
        };
        let known = [20, 40, 60, 80, 120, 140, 160, 180, 200, 220];
        let contacts =
            Table::of(entries(&known).into_iter().map(|entry| Member { entry, state: MemberState::Alive }));
        let mut node = Node::converged(now, config, Some(entry(80)), entries(&[120, 140]), contacts);
        node.detector.reach_through(entry(120).position, entry(60));
        let mut at = now;
        let token = loop {
            at = node.poll_timeout().unwrap().max(at);
            node.handle_timeout(at);
            let asked = std::iter::from_fn(|| node.poll_output()).find_map(|output| match output {
                Output::Request { token, request: MembershipRequest::Relay { target, .. }, .. } => {
                    (target == entry(120)).then_some(token)
                }
                _ => None,
            });
            if let Some(token) = asked {
                break token;
            }
        };
        node.handle_reply(at, token, Ok((entry(60), MembershipReply::Gone { successor: None })));
        let state = |number| node.members().at(&entry(number).position).map(|member| member.state);
        assert_eq!(state(120), Some(MemberState::Alive));
        assert_eq!(node.successors()[0], entry(120));
    }
}
