//! How a node leaves, and forgets members that do not come back.

use super::{Node, Phase, Purpose};
use crate::chord::departure::{can_spare, told_of_departure};
use crate::id::{KeyHash, Position};
use crate::time::Moment;
use crate::wire::{Entry, Member, MemberState, MembershipRequest, Target};

impl Node {
    /// Begins to leave: takes nothing new from now on, but still answers and keeps its range.
    pub fn begin_leaving(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Active) {
            self.phase = Phase::Leaving;
            self.departure.begin_anew();
        }
        self.settle(now);
    }

    /// Stays after all: takes new objects again.
    pub fn stay(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Leaving) {
            self.phase = Phase::Active;
            self.departure.begin_anew();
            self.shown.touch();
        }
        self.settle(now);
    }

    /// Begins to ask the neighbours whether this leaving peer may go (`MayLeave`).
    pub fn ask_turn(&mut self) {
        if matches!(self.phase, Phase::Leaving) {
            self.departure.ask();
        }
    }

    /// Notes that all neighbours let this peer go; the view's `turn` says whether it does.
    pub fn take_turn(&mut self) {
        self.departure.take();
    }

    /// Whether a neighbour that leaves may go.
    pub(super) fn lets_go(&mut self, whom: &Entry) -> bool {
        let leaving = matches!(self.phase, Phase::Leaving);
        can_spare(self.known(), &self.ring, whom)
            && (!leaving || self.departure.lets_go(&self.me.position, &whom.position))
    }

    /// Tells the neighbours and goes; `Ended` follows after two ping intervals of answering `Gone`.
    pub fn depart(&mut self, now: Moment) {
        // A peer that was stopped meanwhile, and checks whether it is still counted, goes all the same.
        if !matches!(self.phase, Phase::Active | Phase::Leaving | Phase::Checking(_)) {
            return;
        }
        let farewell = MembershipRequest::Left {
            predecessor: self.ring.predecessor().cloned(),
            successors: self.ring.successors().to_vec(),
        };
        for entry in told_of_departure(self.known(), &self.ring) {
            self.ask(now, Target::from(&entry), farewell.clone(), self.request_timeout(), Purpose::Farewell);
        }
        self.phase = Phase::Gone { until: now + self.interval * 2 };
        self.settle(now);
    }

    /// No longer counts a member that does not answer, and tells the ring. Returns false if there is no such member.
    pub fn forget(&mut self, now: Moment, whom: &Position) -> bool {
        let Some(report) = self.members.forgotten(whom) else { return false };
        self.end_membership(now, report)
    }

    /// No longer counts a member whose key was revoked, whether it answers or not, and tells the ring. Returns false if
    /// there is no such member with this key.
    pub fn expel(&mut self, now: Moment, whom: &Position, key: &KeyHash) -> bool {
        let Some(report) = self.members.expelled(whom, key) else { return false };
        *whom != self.me.position && self.end_membership(now, report)
    }

    fn end_membership(&mut self, now: Moment, report: Member) -> bool {
        let whom = report.entry.position;
        self.learn(now, report);
        self.settle(now);
        self.members.at(&whom).is_none_or(|known| known.state == MemberState::Left)
    }

    /// Whether a farewell of this peer is still unanswered.
    pub(super) fn says_farewell(&self) -> bool {
        self.requests.is_pending(|purpose| matches!(purpose, Purpose::Farewell))
    }
}
