//! How a node finds out, after a pause of its process, whether the ring still counts it.

use std::collections::BTreeSet;

use super::{Answer, Node, Phase, Purpose};
use crate::chord::claims::TOLD_MAX;
use crate::chord::entering::Start;
use crate::chord::output::{Output, ReplyTo};
use crate::chord::pause::{Checking, Verdict};
use crate::chord::timing::death_timeout;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{
    Entry, Member, MemberState, MembershipReply, MembershipRequest, NeighbourReply, NeighbourRequest,
    RelayFailure, Target,
};

impl Node {
    /// Looks for a pause; to be called first at every step.
    pub(super) fn notice_pause(&mut self, now: Moment) {
        let paused = self.pause.note_step(now, death_timeout(self.interval));
        if paused && self.is_member() {
            self.check_membership(now);
        }
    }

    pub(super) fn checking_timeout(&mut self, now: Moment) {
        if let Phase::Checking(checking) = &self.phase {
            let verdict = checking.note_timeout(now);
            self.follow_verdict(now, verdict);
        }
    }

    pub(super) fn check_answered(&mut self, now: Moment, whom: &Position, answer: Answer) {
        if !matches!(self.phase, Phase::Checking(_)) {
            return;
        }
        let answered = match answer {
            Ok((from, MembershipReply::Neighbour(NeighbourReply::State { members, .. }))) => {
                self.ingest_gossip(now, &from, members, TOLD_MAX);
                true
            }
            // The peer is busy or entering itself: it says nothing of this peer, but it is alive.
            Ok(_) => true,
            Err(_) => false,
        };
        let life = (!self.lives.is_saving()).then_some(self.me.incarnation);
        if let Phase::Checking(checking) = &mut self.phase {
            let verdict = checking.note_answer(whom, answered, life);
            self.follow_verdict(now, verdict);
        }
    }

    /// The members to come back through: the nearest, and random ones.
    pub fn remembered(&self) -> Vec<Member> {
        let near = self.members.clockwise_from(&self.me.position).take(ASKED_MAX);
        let mut seen = BTreeSet::from([self.me.position]);
        let mut entries: Vec<Entry> = near.chain(self.acquaintances.iter()).cloned().collect();
        entries.retain(|entry| seen.insert(entry.position));
        let as_known = |entry: Entry| match self.members.at(&entry.position) {
            Some(known) => known.clone(),
            None => Member { entry, state: MemberState::Alive },
        };
        let mut members: Vec<Member> = entries.into_iter().map(as_known).collect();
        members.extend(
            self.members.iter().filter(|m| !seen.contains(&m.entry.position)).take(ASKED_MAX).cloned(),
        );
        members
    }

    /// Stops acting as a member, and asks whether the ring still counts this peer. It drops the requests it was waiting
    /// for: no peer was silent but itself.
    fn check_membership(&mut self, now: Moment) {
        if self.members.alive_count() == 0 {
            return;
        }
        let leaving = matches!(self.phase, Phase::Leaving);
        self.stop_waiting();
        self.detector.begin_anew(now);
        self.phase = Phase::Checking(Checking::begin(now, leaving, self.me.incarnation));
        self.ask_whether_counted(now);
    }

    fn follow_verdict(&mut self, now: Moment, verdict: Option<Verdict>) {
        match verdict {
            None => {}
            Some(Verdict::AskAgain) => self.ask_whether_counted(now),
            Some(Verdict::JoinAgain) => {
                let remembered = self.remembered();
                self.enter(now, Start::Resume { remembered, given: Vec::new() });
            }
            Some(Verdict::Counted { leaving }) => {
                self.phase = if leaving { Phase::Leaving } else { Phase::Active };
                self.ring.hurry(now);
            }
        }
    }

    fn ask_whether_counted(&mut self, now: Moment) {
        let neighbours = self.ring.predecessor().into_iter().chain(self.ring.successors());
        let mut whom: Vec<Entry> = neighbours.chain(self.acquaintances.iter()).cloned().collect();
        let mut seen = BTreeSet::from([self.me.position]);
        whom.retain(|entry| seen.insert(entry.position));
        whom.truncate(ASKED_MAX);
        let timeout = self.request_timeout();
        let Phase::Checking(checking) = &mut self.phase else { return };
        checking.ask(now, whom.iter().map(|entry| entry.position), timeout);
        for entry in whom {
            let request =
                MembershipRequest::Neighbour(NeighbourRequest::State { members: vec![self.myself()] });
            let purpose = Purpose::Check(entry.position);
            self.ask(now, Target::from(&entry), request, timeout, purpose);
        }
    }

    /// Drops the answers that are due from before a pause, and tells the peers that wait for a relayed answer.
    fn stop_waiting(&mut self) {
        let relays: Vec<ReplyTo> = self.requests.relays().collect();
        for to in relays {
            let reply = MembershipReply::Relayed(Err(RelayFailure::Unanswered));
            self.output(Output::Reply { to, reply });
        }
        self.ring.stop_asking();
        self.requests.forget(|_| true);
    }
}

/// The number of peers that are asked, and of each kind of peers that are remembered.
const ASKED_MAX: usize = 32;
