//! The answers of a node to the requests of others.

use super::{Node, Phase, Purpose};
use crate::chord::claims::{TOLD_MAX, Teller};
use crate::chord::output::ReplyTo;
use crate::chord::timing::probe_timeout;
use crate::chord::view::Route;
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
        from: &Teller,
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
                let successor = self.ring.successors().first().cloned();
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
                self.ingest_own_report(now, from, MemberState::Left);
                if self.check_state(from, &from.entry.position, predecessor.as_ref(), &successors).is_ok() {
                    self.ingest_living(now, from, predecessor.into_iter().chain(successors));
                }
                self.ring.hurry(now);
                MembershipReply::Noted
            }
            MembershipRequest::Contacts { after } => {
                MembershipReply::Contacts { members: self.members.page_after(&after) }
            }
            MembershipRequest::MayLeave => {
                if self.lets_go(&from.entry) {
                    MembershipReply::Proceed
                } else {
                    MembershipReply::Wait
                }
            }
        })
    }

    fn answer_neighbour(&mut self, now: Moment, from: &Teller, request: NeighbourRequest) -> NeighbourReply {
        if matches!(request, NeighbourRequest::Probe) {
            return NeighbourReply::Alive;
        }
        if matches!(self.phase, Phase::Checking(_))
            && let NeighbourRequest::State { members } = request
        {
            // The asker may know that this peer is counted no more.
            self.ingest_gossip(now, from, members, TOLD_MAX);
            return NeighbourReply::Inactive;
        }
        if !self.is_member() && self.rules.only_members_answer {
            return NeighbourReply::Inactive;
        }
        match request {
            NeighbourRequest::Probe => NeighbourReply::Alive,
            NeighbourRequest::State { members } => {
                self.ingest_gossip(now, from, members, TOLD_MAX);
                self.answer_state(&from.entry)
            }
            NeighbourRequest::Notify => {
                self.rectify(now, from);
                NeighbourReply::Noted
            }
            NeighbourRequest::Changed => {
                self.ring.hurry(now);
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
        let relays = self.requests.relays().count();
        let may = matches!(request, NeighbourRequest::Probe | NeighbourRequest::State { .. });
        if !may || relays >= RELAYS_MAX || target.position == self.me.position {
            return Some(MembershipReply::Relayed(Err(RelayFailure::Refused)));
        }
        let timeout = probe_timeout(self.interval);
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
