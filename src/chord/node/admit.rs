//! Admission to the ring: the asked peer's side of JOIN, and the refusals.

use super::{Node, Phase};
use crate::chord::claims::{TOLD_MAX, Teller};
use crate::config::RingSettings;
use crate::id::between;
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
        let from = &teller.entry;
        if let (Some(mine), Some(theirs)) = (self.settings, settings)
            && mine != theirs
        {
            return MembershipReply::Refused(Refusal::SettingsDiffer(mine));
        }
        // A former member was reached before, however it names its address now.
        let known = self.members.at(&from.position).is_some_and(|known| known.entry.key == from.key);
        if !known && from.address.is_loopback() != self.me.address.is_loopback() {
            return MembershipReply::Refused(Refusal::LoopbackRing { address: from.address.clone() });
        }
        if let Some(refusal) = self.identity_clash(now, from, forming.is_some()) {
            return refusal;
        }
        match self.phase {
            Phase::Entering(_) => self.answer_forming(now, teller, forming),
            // A joiner we already list as alive is admitted even while we leave; refusing would make each wait for the
            // other.
            Phase::Leaving if !self.counts(from) => MembershipReply::Refused(Refusal::Leaving),
            Phase::Checking(_) => MembershipReply::Busy,
            _ => self.place(now, teller),
        }
    }

    /// Whether this very life is a living member, as far as this peer knows.
    fn counts(&self, entry: &Entry) -> bool {
        let of_it = |known: &Member| known.entry == *entry && known.state == MemberState::Alive;
        self.members.at(&entry.position).is_some_and(of_it)
    }

    /// JOIN at the asked peer: the place is here, or closer peers are named.
    fn place(&mut self, now: Moment, teller: &Teller) -> MembershipReply {
        let (joiner, me) = (&teller.entry, self.me.position);
        let here = self.ring.successors().first().is_none_or(|first| {
            first.position == joiner.position || between(&me, &joiner.position, &first.position)
        });
        if !here && self.rules.join_checked_again {
            let mut peers = self.local().closest_before(&joiner.position);
            peers.retain(|peer| peer.position != joiner.position);
            return MembershipReply::Closer { peers };
        }
        if self.ring.is_undefined(self.known()) {
            return MembershipReply::Busy;
        }
        let mut successors = self.ring.successors().to_vec();
        successors.retain(|entry| entry.position != joiner.position);
        if successors.is_empty() {
            successors.push(self.me.clone());
        }
        let predecessor = self.ring.predecessor().cloned().filter(|p| p.position != joiner.position);
        let mut members = self.members_for(joiner);
        if !self.exchanges_whole() {
            // Enough members that the joiner does not take the ring for a small one, even if some of them are dead.
            let near =
                self.members.clockwise_from(&joiner.position).take(self.settings().known_whole_below());
            members.extend(near.map(|entry| Member { entry: entry.clone(), state: MemberState::Alive }));
        }
        // The joiner's own entry, with the address that this peer sees: it may not know its own address.
        members.push(Member { entry: joiner.clone(), state: MemberState::Alive });
        if self.is_small() {
            self.ingest_own_report(now, teller, MemberState::Alive);
        }
        MembershipReply::Welcome { predecessor, successors, settings: self.settings(), members }
    }

    /// Checks a joiner at a known position: it is the same identity again, or another one.
    fn identity_clash(&mut self, now: Moment, from: &Entry, returns: bool) -> Option<MembershipReply> {
        if from.position == self.me.position {
            return Some(MembershipReply::Refused(if from.key == self.me.key {
                Refusal::Stale { incarnation: self.me.incarnation }
            } else {
                Refusal::PositionTaken { by: self.me.clone() }
            }));
        }
        let known = self.members.at(&from.position)?.clone();
        let alive = known.state == MemberState::Alive;
        // A first-time joiner with the key of a living peer has no more right to its place than another key has; a peer
        // that comes back from its data directory may be that living peer itself.
        let elsewhere = known.entry.address != from.address && !returns;
        if alive && (known.entry.key != from.key || elsewhere) {
            return Some(MembershipReply::Refused(Refusal::PositionTaken { by: known.entry }));
        }
        let later = from.incarnation > known.entry.incarnation;
        // The same life from another address is another process with a copy of the identity.
        let same =
            alive && from.incarnation == known.entry.incarnation && from.address == known.entry.address;
        if !later && !same {
            return Some(MembershipReply::Refused(Refusal::Stale { incarnation: known.entry.incarnation }));
        }
        if later && alive {
            self.learn(now, Member { entry: known.entry, state: MemberState::Dead });
        }
        None
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
