//! How a node answers JOIN. The rules are in [`crate::chord::admission`].

use super::{Node, Phase};
use crate::chord::admission::{Host, Joiner, Place, judge_place, members_beside};
use crate::chord::claims::{TOLD_MAX, Teller};
use crate::config::RingSettings;
use crate::time::Moment;
use crate::wire::{Entry, Member, MemberState, MembershipReply, Refusal};

impl Node {
    pub(super) fn answer_join(
        &mut self,
        now: Moment,
        teller: &Teller,
        settings: Option<RingSettings>,
        forming: Option<Vec<Member>>,
    ) -> MembershipReply {
        let joiner = Joiner { entry: &teller.entry, settings, returns: forming.is_some() };
        match self.host().judge(joiner) {
            Err(refusal) => return MembershipReply::Refused(refusal),
            Ok(None) => {}
            Ok(Some(earlier)) => self.learn(now, Member { entry: earlier, state: MemberState::Dead }),
        }
        match self.phase {
            Phase::Entering(_) => self.answer_forming(now, teller, forming),
            // A joiner we already list as alive is admitted even while we leave; refusing would make each wait for the
            // other.
            Phase::Leaving if !self.host().counts(&teller.entry) => {
                MembershipReply::Refused(Refusal::Leaving)
            }
            Phase::Checking(_) => MembershipReply::Busy,
            _ => self.answer_place(now, teller),
        }
    }

    /// The facts that the rules of admission need.
    fn host(&self) -> Host<'_> {
        Host { me: &self.me, settings: self.settings, members: &self.members }
    }

    fn answer_place(&mut self, now: Moment, teller: &Teller) -> MembershipReply {
        let joiner = &teller.entry;
        let undefined = self.ring.is_undefined(self.known());
        match judge_place(self.local(), undefined, self.rules.join_checked_again, joiner) {
            Place::Closer(peers) => MembershipReply::Closer { peers },
            Place::Busy => MembershipReply::Busy,
            Place::Here { predecessor, successors } => {
                let members = self.members_for_joiner(joiner);
                if self.is_small() {
                    self.ingest_own_report(now, teller, MemberState::Alive);
                }
                MembershipReply::Welcome { predecessor, successors, settings: self.settings(), members }
            }
        }
    }

    fn members_for_joiner(&self, joiner: &Entry) -> Vec<Member> {
        let mut members = self.members_for(joiner);
        if !self.exchanges_whole() {
            members.extend(members_beside(&self.members, joiner, self.settings()));
        }
        // The joiner's own entry, with the address that this peer sees: it may not know its own address.
        members.push(Member { entry: joiner.clone(), state: MemberState::Alive });
        members
    }

    fn answer_forming(
        &mut self,
        now: Moment,
        from: &Teller,
        forming: Option<Vec<Member>>,
    ) -> MembershipReply {
        if let Some(members) = forming {
            self.ingest_gossip(now, from, members, TOLD_MAX);
            self.ingest_own_report(now, from, MemberState::Alive);
            if let Phase::Entering(entering) = &mut self.phase {
                entering.note_present(&from.entry);
            }
        }
        let mut members = self.members.for_message();
        members.push(self.myself());
        MembershipReply::Forming { settings: self.settings(), members }
    }
}
