//! How a node takes reports on members, and what follows from them.

use super::{Node, Phase};
use crate::chord::claims::{Teller, check_lives, check_state};
use crate::chord::hearsay::CONTRADICTED_LEAP_MAX;
use crate::chord::lives::Standing;
use crate::chord::members::is_more;
use crate::chord::output::{Event, Output};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::limits::INCARNATION_MAX;
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

    /// Whether others may believe that this peer has had such a life.
    pub(super) fn may_be_mine(&self, incarnation: u64) -> bool {
        let most = self.me.incarnation.saturating_add(CONTRADICTED_LEAP_MAX).min(INCARNATION_MAX);
        incarnation <= most
    }

    /// The correction for a peer about itself. If it is believed over, or in a later life, it must hear that to
    /// contradict it. If its life is also lived at another address, it must hear that, or neither of two processes
    /// would end.
    pub(super) fn correction_for(&self, whom: &Entry) -> Option<Member> {
        let known = self.members.at(&whom.position)?;
        let elsewhere = known.entry.incarnation == whom.incarnation && known.entry.address != whom.address;
        (self.members.is_gone(whom) || elsewhere).then(|| known.clone())
    }

    /// Merges a report on a member, tells it on, and does what follows from it.
    pub(super) fn learn(&mut self, now: Moment, member: Member) {
        self.take_in(now, member, true, None);
    }

    fn ingest(&mut self, now: Moment, teller: &Teller, member: Member, is_news: bool) {
        if let Err(fault) = check_lives(std::slice::from_ref(&member.entry)) {
            return self.convict(teller, fault);
        }
        let position = member.entry.position;
        let before = self.members.at(&position);
        let known = position != self.me.position && !is_more(&member, before);
        if position == teller.entry.position && teller.is_direct() {
            let entry = member.entry.clone();
            if !known {
                self.take_in(now, member, is_news, None);
            }
            self.members.note_confirmed(&entry);
            return;
        }
        if known {
            return; // as most reports are
        }
        // By leaps, this peer's incarnations would soon be used up.
        if position == self.me.position {
            if self.may_be_mine(member.entry.incarnation) {
                self.learn(now, member);
            }
            return;
        }
        let is_stranger = before.is_none();
        let hearsay = self.members.hearsay();
        if !hearsay.may_be(before, &member) {
            return;
        }
        let accountable = teller.accountable(&self.me.position);
        if !is_stranger {
            self.take_in(now, member, is_news, None);
        } else if member.state == MemberState::Alive && self.meets_strangers() {
            self.probe_stranger(now, &member.entry);
        } else if hearsay.may_tell(&accountable) {
            self.take_in(now, member, is_news, Some(accountable));
        }
    }

    /// Whether strangers have to be met. In a ring that is small, or nearly so, every peer comes to know every other.
    /// There a stranger has to be reached, by this peer or by others, before it counts: invented members would
    /// otherwise own keys.
    fn meets_strangers(&self) -> bool {
        self.is_member() && self.exchanges_whole()
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
                self.members.announce(member.clone());
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
        let before_state = before.map(|before| before.state);
        self.silences.broken(&entry.address);
        if let Some(old) = before.filter(|before| before.entry.key == entry.key) {
            self.ring.replace_life(&old.entry, entry);
        }
        if before_state == Some(MemberState::Dead) {
            self.rejoined.lives(now, entry.position);
        }
        self.departed.lives(&entry.position);
        if before_state != Some(MemberState::Alive) && self.is_member() {
            self.event(Event::Alive(entry.position));
        }
        let (ring, known, _) = self.ring_parts();
        ring.consider(known, entry);
    }

    /// A life of a member is over.
    fn note_end(&mut self, now: Moment, before: Option<&Member>, Member { entry, state }: Member) {
        let (position, before) = (entry.position, before.map(|before| before.state));
        let left = state == MemberState::Left;
        if before == Some(MemberState::Alive) {
            self.event(if left { Event::Left(position) } else { Event::Dead(position) });
        }
        if left && before == Some(MemberState::Dead) {
            self.event(Event::Forgotten(position));
        }
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
