//! The answers of a node to the requests of others.

use super::judge::TOLD_MAX;
use super::node::{Node, Phase, Purpose};
use super::output::ReplyTo;
use super::view::Route;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{
    Entry, MemberState, MembershipReply, MembershipRequest, NeighbourReply, NeighbourRequest, RelayFailure,
    Target,
};

impl Node {
    /// Computes an answer, or `None` if the answer comes later.
    pub(super) fn answer(
        &mut self,
        now: Moment,
        from: &Entry,
        to: ReplyTo,
        request: MembershipRequest,
    ) -> Option<MembershipReply> {
        match self.phase {
            // Some neighbours have not heard the farewell yet: a neighbour that lists this peer may list no other but
            // the asker.
            Phase::Gone { .. } if matches!(request, MembershipRequest::MayLeave) && self.says_farewell() => {
                return Some(MembershipReply::Wait);
            }
            Phase::Gone { .. } | Phase::Ended => {
                let successor = self.successors.first().cloned();
                return Some(MembershipReply::Gone { successor });
            }
            Phase::Entering(_) | Phase::Active | Phase::Leaving | Phase::Checking(_) => {}
        }
        Some(match request {
            MembershipRequest::Neighbour(request) => {
                MembershipReply::Neighbour(self.answer_neighbour(now, from, request))
            }
            MembershipRequest::Join { settings, forming } => self.answer_join(now, from, settings, forming),
            MembershipRequest::FindOwner { key } => self.answer_find_owner(&key),
            MembershipRequest::Relay { target, request } => return self.relay(now, to, target, request),
            MembershipRequest::Left { predecessor, successors } => {
                self.hear_from(now, from, MemberState::Left);
                if self.check_state(&from.into(), from, predecessor.as_ref(), &successors).is_ok() {
                    self.hear_of(now, &from.into(), predecessor.into_iter().chain(successors));
                }
                self.stabilise_at = now;
                MembershipReply::Noted
            }
            MembershipRequest::Contacts { after } => {
                MembershipReply::Contacts { members: self.members.page_after(&after) }
            }
            MembershipRequest::MayLeave => {
                if self.lets_go(from) {
                    MembershipReply::Proceed
                } else {
                    MembershipReply::Wait
                }
            }
        })
    }

    fn answer_neighbour(&mut self, now: Moment, from: &Entry, request: NeighbourRequest) -> NeighbourReply {
        if matches!(request, NeighbourRequest::Probe) {
            return NeighbourReply::Alive;
        }
        if matches!(self.phase, Phase::Checking(_))
            && let NeighbourRequest::State { members } = request
        {
            // The asker may know that this peer is counted no more.
            self.hear_all(now, &from.into(), members, TOLD_MAX);
            return NeighbourReply::Inactive;
        }
        if !self.is_member() && self.rules.only_members_answer {
            return NeighbourReply::Inactive;
        }
        match request {
            NeighbourRequest::Probe => NeighbourReply::Alive,
            NeighbourRequest::State { members } => {
                self.hear_all(now, &from.into(), members, TOLD_MAX);
                self.answer_state(from)
            }
            NeighbourRequest::Notify => {
                self.rectify(now, from);
                NeighbourReply::Noted
            }
            NeighbourRequest::Changed => {
                self.stabilise_at = now;
                NeighbourReply::Noted
            }
        }
    }

    fn answer_find_owner(&self, key: &Position) -> MembershipReply {
        match self.local().route(key) {
            Some(Route::Owner { owner, predecessor, successors }) => {
                MembershipReply::Owner { owner, predecessor, successors }
            }
            Some(Route::Near(peers)) => MembershipReply::Near { peers },
            Some(Route::Closer(peers)) => MembershipReply::Closer { peers },
            None => MembershipReply::Inactive,
        }
    }

    fn relay(
        &mut self,
        now: Moment,
        to: ReplyTo,
        target: Entry,
        request: NeighbourRequest,
    ) -> Option<MembershipReply> {
        let relays = self.count_pending(|purpose| matches!(purpose, Purpose::Relay(_)));
        let may = matches!(request, NeighbourRequest::Probe | NeighbourRequest::State { .. });
        if !may || relays >= RELAYS_MAX || target.position == self.me.position {
            return Some(MembershipReply::Relayed(Err(RelayFailure::Refused)));
        }
        let timeout = self.probe_timeout();
        self.ask(
            now,
            Target::from(&target),
            MembershipRequest::Neighbour(request),
            timeout,
            Purpose::Relay(to),
        );
        None
    }
}

/// The most requests that a peer relays at the same time.
const RELAYS_MAX: usize = 64;
