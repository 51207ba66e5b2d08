//! How a node takes reports on members, and what follows from them. [`crate::chord::reports`] says which are taken in.

use super::{Node, Phase};
use crate::chord::claims::{Teller, check_state};
use crate::chord::lives::Standing;
use crate::chord::output::{Event, Output};
use crate::chord::reports::{Hearer, Intake, event_of};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, Fault, Member, MemberState};

impl Node {
    /// Takes news of members, or members themselves, that another peer tells of. A report that no peer can have made in
    /// good faith is left out, and convicts the teller.
    pub(super) fn ingest_gossip(&mut self, now: Moment, teller: &Teller, members: Vec<Member>, most: usize) {
        if members.len() > most {
            self.convict(teller, Fault::BadList);
        }
        for member in members.into_iter().take(most) {
            self.ingest(now, teller, member, true);
        }
    }

    /// Like [`Node::ingest_quietly`], for peers that are said to be alive.
    pub(super) fn ingest_living(
        &mut self,
        now: Moment,
        teller: &Teller,
        entries: impl IntoIterator<Item = Entry>,
    ) {
        let alive = |entry| Member { entry, state: MemberState::Alive };
        self.ingest_quietly(now, teller, entries.into_iter().map(alive));
    }

    /// Takes reports on members that are no news: neighbours of the teller, say, of which others hear by other ways. They
    /// are not passed on, except while the ring is nearly small.
    pub(super) fn ingest_quietly(
        &mut self,
        now: Moment,
        teller: &Teller,
        members: impl IntoIterator<Item = Member>,
    ) {
        let is_news = self.exchanges_whole() && !matches!(self.phase, Phase::Entering(_));
        for member in members {
            self.ingest(now, teller, member, is_news);
        }
    }

    /// Takes a peer's report on itself: that it is alive, or leaves. Through a helper it is hearsay.
    pub(super) fn ingest_own_report(&mut self, now: Moment, from: &Teller, state: MemberState) {
        self.ingest(now, from, Member { entry: from.entry.clone(), state }, true);
    }

    /// Checks the state of a neighbour as `teller` reports it. A bad state convicts the teller.
    pub(super) fn check_state(
        &mut self,
        teller: &Teller,
        whom: &Position,
        predecessor: Option<&Entry>,
        successors: &[Entry],
    ) -> Result<(), Fault> {
        let most = self.settings().successors.into();
        check_state(whom, predecessor, successors, most).inspect_err(|fault| self.convict(teller, *fault))
    }

    /// Merges a report on a member, tells it on, and does what follows from it.
    pub(super) fn learn(&mut self, now: Moment, member: Member) {
        self.take_in(now, member, true, None);
    }

    fn ingest(&mut self, now: Moment, teller: &Teller, member: Member, is_news: bool) {
        match self.hearer().judge(teller, &member) {
            Intake::Convict(fault) => self.convict(teller, fault),
            Intake::Drop => {}
            Intake::Confirm { is_new } => {
                let entry = member.entry.clone();
                if is_new {
                    self.take_in(now, member, is_news, None);
                }
                self.members.note_confirmed(&entry);
            }
            Intake::Merge => self.take_in(now, member, is_news, None),
            Intake::Probe => self.probe_stranger(now, &member.entry),
            Intake::MergeStranger { accountable } => self.take_in(now, member, is_news, Some(accountable)),
        }
    }

    /// The facts that the rules of reports need.
    fn hearer(&self) -> Hearer<'_> {
        let (me, members) = (&self.me, &self.members);
        Hearer { me, is_member: self.is_member(), settings: self.settings(), members }
    }

    /// Merges a report on a member, and does what follows from it. `is_news` says whether it is told on to others;
    /// `teller` is the peer that accounts for a member which was unknown.
    fn take_in(&mut self, now: Moment, member: Member, is_news: bool, teller: Option<Position>) {
        if member.entry.position == self.me.position {
            return self.learn_of_myself(&member);
        }
        let position = member.entry.position;
        let before = match teller {
            Some(_) => None,
            None => self.members.at(&position).cloned(),
        };
        if before.is_none() && self.has_no_place_for(&member) {
            // A peer with few contacts keeps few of the members that it hears of: it passes their news on and forgets
            // them.
            if is_news {
                self.members.announce_once(member.entry.clone());
            }
        } else {
            if let Some(teller) = teller {
                self.members.note_told(position, teller);
            }
            if !self.members.merge(member.clone(), is_news) {
                return;
            }
            self.thin_out();
        }
        let event = event_of(before.as_ref().map(|before| before.state), &member, self.is_member());
        self.outputs.extend(event.map(Output::Event));
        match member.state {
            MemberState::Alive => self.note_alive(now, before.as_ref(), &member.entry),
            MemberState::Left | MemberState::Dead => self.note_end(now, before.as_ref(), member),
        }
        self.judge_size(now);
        if self.is_small() {
            self.rebuild();
        }
    }

    /// A member is alive that was not known so before.
    fn note_alive(&mut self, now: Moment, before: Option<&Member>, entry: &Entry) {
        self.silences.broken(&entry.address);
        if let Some(old) = before.filter(|before| before.entry.key == entry.key) {
            self.ring.replace_life(&old.entry, entry);
        }
        if before.is_some_and(|before| before.state == MemberState::Dead) {
            self.rejoined.lives(now, entry.position);
        }
        self.departed.lives(&entry.position);
        let (ring, known, _) = self.ring_parts();
        ring.consider(known, entry);
    }

    /// A life of a member is over.
    fn note_end(&mut self, now: Moment, before: Option<&Member>, Member { entry, state }: Member) {
        let (position, before) = (entry.position, before.map(|before| before.state));
        let left = state == MemberState::Left;
        if !left && before != Some(MemberState::Dead) {
            self.rejoined.died(now, position);
        }
        if left && before != Some(MemberState::Left) {
            self.departed.left(position);
        }
        self.output(Output::Forget { entry: entry.clone() });
        self.note_neighbour_end(now, &entry);
    }

    /// Thins the table out to its budget. Neighbours and partners stay; of the others, the one that crowds most goes.
    fn thin_out(&mut self) {
        let neighbours = self.settings().neighbours();
        while self.members.is_over_budget(neighbours) {
            let pins = self.ring.iter().chain(self.partners.iter());
            let pinned = |entry: &Entry| pins.clone().any(|pin| pin.position == entry.position);
            if !self.members.thin_out(&self.me.position, pinned) {
                return;
            }
        }
    }

    /// Whether an unknown member would be forgotten at once in favour of the others.
    fn has_no_place_for(&mut self, member: &Member) -> bool {
        let neighbours = self.settings().neighbours();
        let pins = self.ring.iter().chain(self.partners.iter());
        member.state == MemberState::Alive
            && self.members.would_go(&self.me.position, &member.entry.position, neighbours, pins)
    }

    /// Takes a report on this peer itself.
    fn learn_of_myself(&mut self, report: &Member) {
        let standing = match self.phase {
            Phase::Gone { .. } | Phase::Ended => return,
            Phase::Entering(_) => Standing::Entering { address_given: self.address_given },
            Phase::Active | Phase::Leaving => Standing::Member,
            Phase::Checking(_) => Standing::Checking,
        };
        let step = self.lives.judge_report(&self.me, report, standing, &self.rules, &mut self.rng);
        self.change_life(step);
    }

    fn convict(&mut self, teller: &Teller, fault: Fault) {
        if teller.is_direct() {
            self.event(Event::Misbehaved { peer: teller.entry.position, fault });
        }
    }
}
