//! The ring's order: STABILISE, FROM_PRED and RECTIFY in a large ring, the members' map in a small one.

use std::time::Duration;

use rand::RngExt as _;
use rand::seq::IteratorRandom as _;

use super::entrance::Start;
use super::judge::{TOLD_MAX, Teller};
use super::node::{Node, Phase, Purpose};
use super::output::Unanswered;
use crate::id::{Position, between};
use crate::time::Moment;
use crate::wire::{
    Address, Entry, Member, MemberState, MembershipReply, MembershipRequest, NeighbourReply,
    NeighbourRequest, Target,
};

/// A stabilise query under way.
#[derive(Debug, Clone)]
pub(super) struct Query {
    whom: Entry,
    kind: QueryKind,
    began: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueryKind {
    /// STABILISE: the first successor is asked.
    Successor,
    /// FROM_PRED: a living peer is asked that may lie before the first successor.
    Candidate,
}

impl Query {
    pub(super) fn whom(&self) -> &Entry {
        &self.whom
    }

    /// Whether the query belongs to FROM_PRED.
    pub(super) fn is_of_candidate(&self) -> bool {
        self.kind == QueryKind::Candidate
    }
}

impl Node {
    pub(super) fn stabilise_timeout(&mut self, now: Moment) {
        if self.stabilise_at > now {
            return;
        }
        // Changes are noticed at once; without any, every second period is enough. A list that is too short, or names a
        // peer that is gone, is not quiet.
        let whole = self.successors.len() >= usize::from(self.settings.successors)
            && !self.successors.iter().any(|entry| self.members.is_gone(entry));
        let changed = std::mem::take(&mut self.neighbours_changed);
        let quiet = !changed && whole && !self.exchanges_whole();
        self.stabilise_at = now + self.jittered(self.interval * (1 + u32::from(quiet)));
        self.judge_size(now);
        if self.is_small() {
            self.exchange_small(now);
        } else {
            self.stabilise(now);
            if self.exchanges_whole() {
                self.reach_out(now);
            } else {
                self.ask_strangers(now);
            }
        }
    }

    /// RECTIFY, and a chance for FROM_PRED: a living peer believes that it stands beside this one.
    pub(super) fn rectify(&mut self, now: Moment, from: &Entry) {
        self.hear_from(now, from, MemberState::Alive);
        if self.is_small() || self.members.is_gone(from) || from.position == self.me.position {
            return;
        }
        // On a helper's word, a peer becomes a neighbour only if it is known to be alive.
        if self.second_hand && !self.members.alive().any(|known| known.position == from.position) {
            return;
        }
        let closer = match &self.predecessor {
            None => true,
            Some(old) => {
                between(&old.position, &from.position, &self.me.position) || self.members.is_gone(old)
            }
        };
        if closer {
            self.predecessor = Some(from.clone());
        }
        self.consider(from);
    }

    /// Remembers a living peer that may lie before the first successor.
    pub(super) fn consider(&mut self, entry: &Entry) {
        if !self.is_small()
            && self.lies_before_first(&entry.position)
            && self.candidates.len() < CANDIDATES_MAX
        {
            self.candidates.insert(entry.position, entry.clone());
        }
    }

    /// The answer to a stabilise query: the list, unless it is undefined at the moment.
    pub(super) fn answer_state(&mut self, from: &Entry) -> NeighbourReply {
        if self.is_undefined() {
            return NeighbourReply::Busy;
        }
        NeighbourReply::State {
            predecessor: self.predecessor.clone(),
            successors: self.successors.clone(),
            members: self.members_for(from),
        }
    }

    /// Whether this peer's list is undefined to others: it awaits an answer that changes the list.
    pub(super) fn is_undefined(&self) -> bool {
        self.query.is_some() && !self.is_small() && self.rules.busy_while_asking
    }

    /// Handles the end of a peer: dead list entries are not dialled, and no query waits for it.
    pub(super) fn departed(&mut self, now: Moment, entry: &Entry) {
        self.unwatch(entry);
        self.gossip.departed(entry);
        if self.successors.iter().any(|known| known.position == entry.position) {
            // Other peers than its predecessor have a list to fill up, too.
            self.stabilise_at = self.stabilise_at.min(now + self.interval / 2);
        }
        self.candidates.remove(&entry.position);
        if self.query.as_ref().is_some_and(|q| self.members.is_gone(&q.whom)) {
            self.end_query();
        }
        if self.drop_dead_heads() {
            self.stabilise_at = now;
            let died = self.members.at(&entry.position).is_some_and(|m| m.state == MemberState::Dead);
            if died && !self.is_small() {
                let rest = self.successors.clone();
                self.doubt_all(now, &rest);
            }
        }
        if !self.rules.predecessor_kept {
            self.predecessor.take_if(|predecessor| self.members.is_gone(predecessor));
        }
    }

    /// Replaces an old life of a peer in the list by its new life.
    pub(super) fn replace_life(&mut self, old: &Entry, new: &Entry) {
        for entry in self.successors.iter_mut().chain(&mut self.predecessor) {
            if entry.position == new.position && entry.incarnation <= old.incarnation {
                *entry = new.clone();
            }
        }
    }

    /// The small ring's list: the living others in order.
    pub(super) fn rebuild(&mut self) {
        self.end_query();
        self.candidates.clear();
        let r = usize::from(self.settings.successors);
        self.successors = self.members.clockwise_from(&self.me.position).take(r).cloned().collect();
        self.predecessor = self.members.clockwise_from(&self.me.position).last().cloned();
    }

    /// Between two queries: asks the next candidate, if any; alone in a large ring, takes the way back in.
    pub(super) fn continue_stabilising(&mut self, now: Moment) {
        if self.is_small() || self.query.is_some() {
            return;
        }
        self.drop_dead_heads();
        if self.successors.is_empty() {
            // The list is wholly dead: the way back leads through remembered members, nearest first. Peers that this
            // skips are found by stabilising, as FROM_PRED walks back towards this peer.
            let Some(next) = self.members.clockwise_from(&self.me.position).next().cloned() else {
                let remembered = self.members.iter().cloned().collect();
                return self.enter(now, Start::Resume { remembered, given: Vec::new() });
            };
            self.successors.push(next);
            self.stabilise_at = now;
        }
        while let Some((position, entry)) = self.candidates.pop_first() {
            if self.lies_before_first(&position) && !self.members.is_gone(&entry) {
                return self.ask_candidate(now, entry);
            }
        }
    }

    pub(super) fn query_answered(
        &mut self,
        now: Moment,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        let Some(query) = self.query.take() else { return };
        let (teller, reply) = match answer {
            Ok((teller, MembershipReply::Neighbour(reply))) => (Teller::from(&teller), reply),
            Ok((helper, MembershipReply::Relayed(Ok(reply)))) => (Teller::through_a_helper(helper), reply),
            Ok((_, MembershipReply::Gone { successor })) => {
                self.hear_of(now, &Teller::from(&query.whom), successor);
                self.hear_from(now, &query.whom, MemberState::Left);
                return;
            }
            Ok(_) | Err(_) => {
                if query.kind == QueryKind::Candidate {
                    self.notify_first(now);
                }
                self.wait_longer_for(&query.whom.position);
                return self.suspect(now, &query.whom);
            }
        };
        match reply {
            NeighbourReply::State { predecessor, successors, members } => {
                self.busy_tries = 0;
                // Answers that take as long as the period would leave this peer busy all the time.
                self.stabilise_at = self.stabilise_at.max(now + now.since(query.began));
                self.hear_all(now, &teller, members, TOLD_MAX);
                if self.is_small() {
                    return;
                }
                match self.check_state(&teller, &query.whom, predecessor.as_ref(), &successors) {
                    Ok(()) => self.adopt(now, &query, predecessor, successors),
                    // Its list is worth nothing: this peer's own knowledge of the peers behind it takes its place.
                    Err(_) => {
                        let after = query.whom.position;
                        let known: Vec<Entry> = self.members.clockwise_from(&after).cloned().collect();
                        self.adopt(now, &query, None, known);
                    }
                }
            }
            NeighbourReply::Busy if self.busy_tries < BUSY_TRIES_MAX => {
                self.busy_tries += 1;
                // In proportion to the round trip: otherwise, far apart, all peers would be busy asking which peers are
                // busy.
                let unit = BUSY_WAIT.max(now.since(query.began));
                let wait = unit.mul_f64(0.5 + self.rng.random::<f64>() * f64::from(self.busy_tries));
                self.stabilise_at = now + wait;
            }
            _ => self.busy_tries = 0,
        }
    }

    pub(super) fn exchange_answered(
        &mut self,
        now: Moment,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        match answer {
            Ok((
                from,
                MembershipReply::Neighbour(NeighbourReply::State { predecessor, successors, members }),
            )) => {
                let teller = Teller::from(&from);
                self.hear_all(now, &teller, members, TOLD_MAX);
                if self.check_state(&teller, &from, predecessor.as_ref(), &successors).is_ok() {
                    self.hear_of(now, &teller, predecessor.into_iter().chain(successors));
                }
            }
            Ok((from, MembershipReply::Gone { .. })) => {
                self.hear_from(now, &from, MemberState::Left);
            }
            Ok((from, MembershipReply::Neighbour(NeighbourReply::Inactive))) => {
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
            self.members.alive().take(usize::from(self.settings.successors) + 1).cloned().collect();
        for entry in all {
            self.exchange(now, entry);
        }
    }

    pub(super) fn notify(&mut self, now: Moment, whom: &Entry) {
        let request = MembershipRequest::Neighbour(NeighbourRequest::Notify);
        self.ask(now, Target::from(whom), request, self.request_timeout(), Purpose::Notify);
    }

    /// Whether the ring is small, or nearly so.
    pub(super) fn exchanges_whole(&self) -> bool {
        self.members.alive_count() + 1 < self.settings.known_whole_below()
            && !self.members.is_full(self.settings.neighbours())
    }

    /// The correction for a peer about itself. If it is believed over, or in a later life, it must hear that to
    /// contradict it. If its life is also lived at another address, it must hear that, or neither of two processes
    /// would end.
    pub(super) fn must_hear(&self, whom: &Entry) -> Option<Member> {
        let known = self.members.at(&whom.position)?;
        let elsewhere = known.entry.incarnation == whom.incarnation && known.entry.address != whom.address;
        (self.members.is_gone(whom) || elsewhere).then(|| known.clone())
    }

    /// The members to send to a peer: all, while the ring is small or nearly so. Always the correction for that peer,
    /// if any, and this peer itself.
    pub(super) fn members_for(&self, whom: &Entry) -> Vec<Member> {
        let whole = self.exchanges_whole();
        let mut members = if whole { self.members.for_message() } else { Vec::new() };
        if !whole {
            members.extend(self.must_hear(whom));
        }
        members.push(Member { entry: self.me.clone(), state: MemberState::Alive });
        members
    }

    /// STABILISE: asks the first successor for its list.
    fn stabilise(&mut self, now: Moment) {
        if self.query.is_some() {
            return;
        }
        self.drop_dead_heads();
        // A peer that is known to live before the first successor should take its place, however it became known.
        let nearest = self.members.clockwise_from(&self.me.position).next().cloned();
        if let Some(nearest) = nearest {
            self.consider(&nearest);
        }
        if let Some(first) = self.successors.first().cloned() {
            self.send_query(now, Query { whom: first, kind: QueryKind::Successor, began: now });
        }
    }

    /// FROM_PRED: asks a candidate for its list, or, without that rule, adopts it at once.
    fn ask_candidate(&mut self, now: Moment, candidate: Entry) {
        if self.rules.candidate_asked_first {
            return self.send_query(now, Query { whom: candidate, kind: QueryKind::Candidate, began: now });
        }
        self.take_first(&candidate, self.successors.clone());
        self.notify_first(now);
    }

    fn send_query(&mut self, now: Moment, query: Query) {
        let whom = query.whom.clone();
        let patience = self.patience(&whom.position);
        let request = NeighbourRequest::State { members: self.members_for(&whom) };
        self.query = Some(query);
        match self.via(&whom.position).cloned() {
            None => {
                let request = MembershipRequest::Neighbour(request);
                let timeout = self.request_timeout() * patience;
                self.ask(now, Target::from(&whom), request, timeout, Purpose::Query);
            }
            Some(helper) => {
                let request = MembershipRequest::Relay { target: whom, request };
                let timeout = self.relay_timeout() * patience;
                self.ask(now, Target::from(&helper), request, timeout, Purpose::Query);
            }
        }
    }

    /// Adopts the answer to a query: `succ := whom :: L[..r-1]`, then FROM_PRED or notify.
    fn adopt(&mut self, now: Moment, query: &Query, predecessor: Option<Entry>, list: Vec<Entry>) {
        let whom = &query.whom;
        let still = match query.kind {
            QueryKind::Successor => self.successors.first().is_some_and(|s| s.position == whom.position),
            QueryKind::Candidate => self.lies_before_first(&whom.position),
        };
        if !still || self.members.is_gone(whom) {
            return;
        }
        self.hear_of(now, &whom.into(), list.iter().chain(&predecessor).cloned());
        self.take_first(whom, list);
        let mut between_us =
            predecessor.filter(|p| query.kind == QueryKind::Successor && self.lies_before_first(&p.position));
        if let Some(dead) = between_us.take_if(|p| self.members.is_gone(p)) {
            // One of the two is wrong. If the peer is alive, it has to hear of its death to contradict it; otherwise it
            // would stand beside the ring until another peer tells it.
            self.exchange(now, dead);
        }
        match between_us {
            Some(p) => self.ask_candidate(now, p),
            None => self.notify_first(now),
        }
    }

    /// `succ := first :: list[..r-1]`.
    fn take_first(&mut self, first: &Entry, list: Vec<Entry>) {
        match self.successors.first_mut() {
            Some(old) if old.position != first.position && !self.rules.list_in_one_step => {
                *old = first.clone()
            }
            _ => self.successors = self.chain(first, list),
        }
    }

    /// `first :: list`, cut to r entries and at the first entry that is not in order clockwise up to this peer: no
    /// self, no duplicate, whatever the other side says. An entry is replaced by a later life that this peer knows to
    /// be alive and the other side may not know yet.
    pub(super) fn chain(&self, first: &Entry, list: Vec<Entry>) -> Vec<Entry> {
        let mut chain = vec![first.clone()];
        for entry in list {
            let last = &chain[chain.len() - 1];
            if chain.len() >= usize::from(self.settings.successors)
                || !between(&last.position, &entry.position, &self.me.position)
            {
                break;
            }
            let later = self.members.at(&entry.position).filter(|known| {
                let again = known.entry.key == entry.key && known.entry.incarnation > entry.incarnation;
                again && known.state == MemberState::Alive
            });
            chain.push(later.map_or(entry, |known| known.entry.clone()));
        }
        chain
    }

    fn notify_first(&mut self, now: Moment) {
        if let Some(first) = self.successors.first().cloned() {
            self.notify(now, &first);
        }
    }

    fn lies_before_first(&self, position: &Position) -> bool {
        self.successors.first().is_some_and(|first| between(&self.me.position, position, &first.position))
    }

    /// `succ := succ[1..] ++ [pad]` while the first is dead. Returns whether it was.
    fn drop_dead_heads(&mut self) -> bool {
        let dead = self.successors.iter().take_while(|s| self.members.is_gone(s)).count();
        if self.is_small() || dead == 0 {
            return false;
        }
        self.successors.drain(..dead);
        true
    }

    fn end_query(&mut self) {
        if self.query.take().is_some() {
            self.forget_pending(|purpose| matches!(purpose, Purpose::Query));
        }
    }

    fn exchange_small(&mut self, now: Moment) {
        if let Some(first) = self.successors.first().cloned() {
            self.exchange(now, first);
        }
        let random = self.members.alive().choose(&mut self.rng).cloned();
        if let Some(entry) =
            random.filter(|e| self.successors.first().is_none_or(|s| s.position != e.position))
        {
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
        self.ask_strangers(now);
    }

    /// Notes that a member that may not answer is asked: the backoff begins.
    pub(super) fn asks_in_silence(&mut self, now: Moment, address: &Address) {
        let askers = self.members.alive_count() + 1;
        self.silences.asked(now, address, self.interval * REACH_OUT_EVERY, askers);
    }

    /// Asks the given contacts until they are met.
    fn ask_strangers(&mut self, now: Moment) {
        let mut strangers = std::mem::take(&mut self.strangers);
        strangers.retain(|stranger| self.met(stranger).is_none());
        self.strangers.clone_from(&strangers);
        strangers.retain(|stranger| self.silences.may_ask(now, &stranger.address));
        for stranger in strangers {
            // Only this peer was told of the contact, so no other peer asks.
            self.silences.asked(now, &stranger.address, self.interval, 1);
            let me = Member { entry: self.me.clone(), state: MemberState::Alive };
            self.exchange_with(now, stranger, vec![me]);
        }
    }

    /// Asks a peer for its state, outside of STABILISE.
    pub(super) fn exchange(&mut self, now: Moment, with: Entry) {
        let members = self.members_for(&with);
        self.exchange_with(now, Target::from(&with), members);
    }

    /// Like [`Node::exchange`], unless that peer was asked already, or this one has left.
    fn exchange_with(&mut self, now: Moment, with: Target, members: Vec<Member>) {
        if matches!(self.phase, Phase::Gone { .. } | Phase::Ended) {
            return;
        }
        if !self.is_pending(|purpose| matches!(purpose, Purpose::Exchange(asked) if *asked == with.address)) {
            let request = MembershipRequest::Neighbour(NeighbourRequest::State { members });
            let purpose = Purpose::Exchange(with.address.clone());
            self.ask(now, with, request, self.request_timeout(), purpose);
        }
    }
}

/// The number of times a busy peer is asked again before the next period.
const BUSY_TRIES_MAX: u8 = 5;
/// The shortest unit of the random wait after `Busy`.
const BUSY_WAIT: Duration = Duration::from_millis(20);
/// The most living peers that are remembered as possible first successors.
const CANDIDATES_MAX: usize = 32;
/// The number of stabilise periods in which a member that is away is asked once, on average.
const REACH_OUT_EVERY: u32 = 4;
