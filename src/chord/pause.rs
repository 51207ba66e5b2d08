//! The check after a pause of the whole process: whether the ring still counts this peer.
//!
//! A process that was stopped, or whose machine slept, wakes with the belief that it owns its range, while others may
//! have taken its place. So a peer that finds more time between two turns than a death takes stops acting as owner. It
//! drops the requests it was waiting for (no peer was silent but itself), and asks its neighbours and some peers that
//! it remembers. If any of them declared it dead, it takes a new incarnation and joins again; otherwise it goes on
//! where it was.

use std::collections::BTreeSet;
use std::time::Duration;

use super::entrance::Start;
use super::judge::{TOLD_MAX, Teller};
use super::node::{Node, Phase, Purpose};
use super::output::{ReplyTo, Unanswered};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{
    Entry, Member, MembershipReply, MembershipRequest, NeighbourReply, NeighbourRequest, RelayFailure, Target,
};

/// A peer that asks whether it is still counted.
#[derive(Debug, Clone)]
pub(super) struct Checking {
    /// Whether the peer was leaving when it was stopped.
    leaving: bool,
    /// The incarnation in which it was stopped.
    life: u64,
    /// The peers that have not answered yet.
    asked: BTreeSet<Position>,
    answered: usize,
    /// The moment at which it asks again if no peer has answered.
    pub(super) again_at: Moment,
    rounds: u32,
}

impl Node {
    /// Looks for a pause; to be called first at every turn.
    pub(super) fn notice_pause(&mut self, now: Moment) {
        let paused = now.since(self.last_turn);
        self.last_turn = now;
        if paused > self.death_timeout().max(PAUSE_MIN)
            && matches!(self.phase, Phase::Active | Phase::Leaving)
        {
            self.check_membership(now);
        }
    }

    /// The time until others declare this peer dead: three pings, half an interval for the last one, and the probes.
    pub(super) fn death_timeout(&self) -> Duration {
        self.interval * 7 / 2
    }

    pub(super) fn checking_timeout(&mut self, now: Moment) {
        let Phase::Checking(checking) = &self.phase else { return };
        if checking.again_at > now {
            return;
        }
        if checking.rounds >= ROUNDS_MAX {
            return self.come_back(now);
        }
        self.ask_whether_counted(now);
    }

    pub(super) fn check_answered(
        &mut self,
        now: Moment,
        whom: &Position,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        if !matches!(self.phase, Phase::Checking(_)) {
            return;
        }
        let answered = match answer {
            Ok((from, MembershipReply::Neighbour(NeighbourReply::State { members, .. }))) => {
                self.hear_all(now, &Teller::from(&from), members, TOLD_MAX);
                true
            }
            // The peer is busy or entering itself: it says nothing of this peer, but it is alive.
            Ok(_) => true,
            Err(_) => false,
        };
        let Phase::Checking(checking) = &mut self.phase else { return };
        checking.asked.remove(whom);
        checking.answered += usize::from(answered);
        if !checking.asked.is_empty() {
            return;
        }
        let (answered, leaving, life) = (checking.answered, checking.leaving, checking.life);
        if self.persisting.is_some() || self.me.incarnation != life {
            // Another peer has declared this one dead; the next life may be on disk already.
            return self.come_back(now);
        }
        if answered > 0 {
            self.phase = if leaving { Phase::Leaving } else { Phase::Active };
            self.stabilise_at = now;
        }
    }

    /// Stops acting as a member, and asks whether the ring still counts this peer.
    fn check_membership(&mut self, now: Moment) {
        if self.members.alive_count() == 0 {
            return;
        }
        let leaving = matches!(self.phase, Phase::Leaving);
        self.stop_waiting();
        self.detector.begin_anew(now);
        self.phase = Phase::Checking(Checking {
            leaving,
            life: self.me.incarnation,
            asked: BTreeSet::new(),
            answered: 0,
            again_at: now,
            rounds: 0,
        });
        self.ask_whether_counted(now);
    }

    fn ask_whether_counted(&mut self, now: Moment) {
        let neighbours = self.predecessor.iter().chain(&self.successors);
        let mut whom: Vec<Entry> = neighbours.chain(self.gossip.acquaintances()).cloned().collect();
        let mut seen = BTreeSet::from([self.me.position]);
        whom.retain(|entry| seen.insert(entry.position));
        whom.truncate(ASKED_MAX);
        let timeout = self.request_timeout();
        let Phase::Checking(checking) = &mut self.phase else { return };
        checking.asked = whom.iter().map(|entry| entry.position).collect();
        checking.rounds += 1;
        checking.again_at = now + timeout + RETRY;
        for entry in whom {
            let me = Member { entry: self.me.clone(), state: crate::wire::MemberState::Alive };
            let request = MembershipRequest::Neighbour(NeighbourRequest::State { members: vec![me] });
            let purpose = Purpose::Check(entry.position);
            self.ask(now, Target::from(&entry), request, timeout, purpose);
        }
    }

    /// Enters the ring again, through the members that are known.
    fn come_back(&mut self, now: Moment) {
        let remembered = self.remembered();
        self.enter(now, Start::Resume { remembered, given: Vec::new() });
    }

    /// The members to come back through: the nearest, and random ones.
    pub fn remembered(&self) -> Vec<Member> {
        let near = self.members.clockwise_from(&self.me.position).take(ASKED_MAX);
        let mut seen = BTreeSet::from([self.me.position]);
        let mut entries: Vec<Entry> = near.chain(self.gossip.acquaintances()).cloned().collect();
        entries.retain(|entry| seen.insert(entry.position));
        let as_known = |entry: Entry| match self.members.at(&entry.position) {
            Some(known) => known.clone(),
            None => Member { entry, state: crate::wire::MemberState::Alive },
        };
        let mut members: Vec<Member> = entries.into_iter().map(as_known).collect();
        members.extend(
            self.members.iter().filter(|m| !seen.contains(&m.entry.position)).take(ASKED_MAX).cloned(),
        );
        members
    }

    /// Drops the answers that are due from before a pause, and tells the peers that wait for a relayed answer.
    fn stop_waiting(&mut self) {
        let relays: Vec<ReplyTo> = self.relays_under_way();
        for to in relays {
            let reply = MembershipReply::Relayed(Err(RelayFailure::Unanswered));
            self.output(super::output::Output::Reply { to, reply });
        }
        self.query = None;
        self.busy_tries = 0;
        self.forget_pending(|_| true);
    }
}

/// The shortest pause that makes a peer ask, however short its interval is.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The number of peers that are asked.
const ASKED_MAX: usize = 32;
/// The number of rounds of asking before this peer joins anew.
const ROUNDS_MAX: u32 = 3;
/// The pause between two rounds, beside the time that an answer may take.
const RETRY: Duration = Duration::from_millis(250);
