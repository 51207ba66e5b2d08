//! How a node leaves, and forgets members that do not come back.

use super::{Node, Phase, Purpose};
use crate::id::{KeyHash, Position};
use crate::time::Moment;
use crate::wire::limits::INCARNATION_MAX;
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

    /// Whether a neighbour that leaves may go. It may not while this peer's list names no other living peer.
    pub(super) fn lets_go(&mut self, whom: &Entry) -> bool {
        let successors = self.ring.successors();
        let is_other = |entry: &Entry| entry.position != whom.position && !self.members.is_gone(entry);
        if !self.is_small() && successors.len() > 1 && !successors.iter().any(is_other) {
            return false;
        }
        !matches!(self.phase, Phase::Leaving) || self.departure.lets_go(&self.me.position, &whom.position)
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
        let mut told: Vec<Entry> = if self.is_small() {
            self.members.alive().cloned().collect()
        } else {
            self.ring.nearest().cloned().chain(self.second_predecessor()).collect()
        };
        told.sort_by_key(|entry| entry.position);
        told.dedup_by_key(|entry| entry.position);
        for entry in told {
            self.ask(now, Target::from(&entry), farewell.clone(), self.request_timeout(), Purpose::Farewell);
        }
        self.phase = Phase::Gone { until: now + self.interval * 2 };
        self.settle(now);
    }

    /// No longer counts a member that does not answer, and tells the ring. Its last life and the next one are declared
    /// over, so that the peer may come back with a later one. Returns false if there is no such member.
    pub fn forget(&mut self, now: Moment, whom: &Position) -> bool {
        let known = self.members.at(whom).filter(|known| known.state == MemberState::Dead);
        let Some(entry) = known.map(|known| known.entry.clone()) else { return false };
        self.declare_left(now, &entry)
    }

    /// No longer counts a member whose key was revoked, whether it answers or not, and tells the ring. Returns false if
    /// there is no such member with this key.
    pub fn expel(&mut self, now: Moment, whom: &Position, key: &KeyHash) -> bool {
        let known = self.members.at(whom).filter(|known| known.state != MemberState::Left);
        let Some(entry) = known.map(|known| known.entry.clone()) else { return false };
        *whom != self.me.position && entry.key == *key && self.declare_left(now, &entry)
    }

    fn declare_left(&mut self, now: Moment, entry: &Entry) -> bool {
        let over = entry.incarnation.saturating_add(1).min(INCARNATION_MAX);
        self.learn(now, Member { entry: entry.with_incarnation(over), state: MemberState::Left });
        self.settle(now);
        self.members.at(&entry.position).is_none_or(|known| known.state == MemberState::Left)
    }

    /// Whether a farewell of this peer is still unanswered.
    pub(super) fn says_farewell(&self) -> bool {
        self.requests.is_pending(|purpose| matches!(purpose, Purpose::Farewell))
    }

    /// The predecessor's predecessor, as far as the known members tell.
    fn second_predecessor(&self) -> Option<Entry> {
        let predecessor = self.ring.predecessor()?;
        let before = self.members.clockwise_from(&predecessor.position).last();
        before.filter(|entry| entry.position != self.me.position).cloned()
    }
}
