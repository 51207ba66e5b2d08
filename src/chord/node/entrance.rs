//! How a node comes into its ring.

use std::time::Duration;

use rand::RngExt as _;

use super::{Answer, Node, Phase, Purpose};
use crate::chord::claims::{Origin, TOLD_MAX, Teller};
use crate::chord::entering::{Due, Entering, Round, Start, Step, Way, judge_welcome};
use crate::chord::join_failure::JoinFailure;
use crate::chord::lives::may_be_mine;
use crate::chord::output::{EndReason, Event};
use crate::config::RingSettings;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, Fault, Member, MemberState, MembershipRequest, Target};

impl Node {
    pub(super) fn enter(&mut self, now: Moment, start: Start) {
        self.ring.take_query();
        self.requests.forget(|_| true);
        match &start {
            Start::Form { contacts } => {
                self.settings.get_or_insert_default();
                self.given.expect(now, contacts.clone());
            }
            Start::Resume { remembered, given } if remembered.is_empty() => self.given.meet(given.clone()),
            Start::Found | Start::Join { .. } | Start::Resume { .. } => {}
        }
        match Entering::begin(now, start) {
            Some(entering) => {
                self.phase = Phase::Entering(entering);
                self.entrance_timeout(now);
            }
            None => {
                self.settings.get_or_insert_default();
                self.phase = Phase::Active;
                self.became_active(now);
            }
        }
    }

    pub(super) fn entrance_timeout(&mut self, now: Moment) {
        let timeout = self.request_timeout();
        let awaits_answer = self.requests.is_pending(|purpose| matches!(purpose, Purpose::Join(_)));
        let met = self.members.alive().map(Target::from);
        let Phase::Entering(entering) = &mut self.phase else { return };
        match entering.note_timeout(now, timeout, awaits_answer, met) {
            Due::Nothing => {}
            Due::Fail(why) => self.end(EndReason::JoinFailed(why)),
            Due::Ask(peer) => self.ask_to_join(now, Target::from(&peer), Vec::new()),
            Due::Enter(silent) => self.found_again(now, silent),
            Due::Knock { targets, waiting } => {
                self.report_waiting(waiting);
                let members = self.members.for_message();
                for target in targets {
                    let asked = |purpose: &Purpose| matches!(purpose, Purpose::Join(asked) if *asked == target.address);
                    if !self.requests.is_pending(asked) {
                        self.ask_to_join(now, target, members.clone());
                    }
                }
            }
        }
    }

    pub(super) fn join_answered(&mut self, now: Moment, answer: Answer) {
        let pause = Duration::from_millis(self.rng.random_range(20..100));
        let timeout = self.request_timeout();
        let Phase::Entering(entering) = &mut self.phase else { return };
        let (from, reply) = match answer {
            Ok(answer) => answer,
            Err(silence) => {
                let way = entering.note_silence(now, timeout, silence);
                return self.follow_way(now, way);
            }
        };
        match entering.note_reply(now, timeout, pause, from.entry.clone(), reply) {
            None => {}
            Some(Step::Way(way)) => self.follow_way(now, Some(way)),
            Some(Step::Welcome { predecessor, successors, settings, members }) => {
                self.welcomed(now, &from, predecessor, successors, settings, members);
            }
            Some(Step::Forming { settings, members }) => self.met_forming(now, &from, settings, members),
            Some(Step::LaterLife(incarnation)) => self.told_of_later_life(now, &from, incarnation),
        }
    }

    /// Compares the first successors with the given contacts.
    pub(super) fn compare_given_order(&mut self, now: Moment) {
        let real: Vec<Position> = self.ring.successors().iter().take(2).map(|e| e.position).collect();
        if let Some(given) = self.given.compare(now, self.interval, self.members.alive(), &real) {
            self.event(Event::OrderDiffers { given, real });
        }
    }

    fn follow_way(&mut self, now: Moment, way: Option<Way>) {
        match way {
            None => {}
            Some(Way::Ask(next)) => self.ask_to_join(now, Target::from(&next), Vec::new()),
            Some(Way::Fail(why)) => self.end(EndReason::JoinFailed(why)),
        }
    }

    /// Takes an asked peer's claim that this peer has lived longer than it knows.
    fn told_of_later_life(&mut self, now: Moment, from: &Teller, incarnation: u64) {
        if incarnation < self.me.incarnation {
            return;
        }
        let may_be = may_be_mine(&self.me, incarnation);
        let believes = may_be && self.rules.stale_life_raised;
        let Phase::Entering(entering) = &mut self.phase else { return };
        if entering.note_later_life(now, &from.entry.position, believes) {
            // Some lives are skipped: the other life may contradict the news of its end meanwhile.
            let step = self.lives.raise_far_above(incarnation, &mut self.rng);
            self.change_life(step);
        } else if !may_be && from.origin != Origin::Forwarded {
            let fault = Fault::BadIncarnation;
            self.event(Event::Misbehaved { peer: from.entry.position, fault });
        }
    }

    fn met_forming(&mut self, now: Moment, from: &Teller, settings: RingSettings, members: Vec<Member>) {
        if settings != self.settings() {
            let failure = JoinFailure::OtherSettings { of: from.entry.position, settings };
            return self.end(EndReason::JoinFailed(failure));
        }
        self.ingest_gossip(now, from, members, TOLD_MAX);
        let Phase::Entering(entering) = &mut self.phase else { return };
        if entering.note_present(&from.entry) {
            match entering.close_round() {
                Round::Enter(silent) => self.found_again(now, silent),
                Round::Wait(waiting) => self.report_waiting(waiting),
            }
        }
    }

    /// Becomes a member of a ring that forms, or comes back, with these members taken for dead.
    fn found_again(&mut self, now: Moment, silent: Vec<Member>) {
        self.settings.get_or_insert_default();
        self.judge_size(now);
        self.phase = Phase::Active;
        for member in silent {
            self.learn(now, Member { state: MemberState::Dead, ..member });
        }
        // The living members in order are the first list, whatever the ring's size.
        self.rebuild();
        self.became_active(now);
        self.copy_contacts(now);
    }

    fn welcomed(
        &mut self,
        now: Moment,
        host: &Teller,
        before_host: Option<Entry>,
        successors: Vec<Entry>,
        settings: RingSettings,
        members: Vec<Member>,
    ) {
        let (me, host_at) = (&self.me.position, &host.entry.position);
        if let Err(why) = judge_welcome(me, host_at, self.settings.as_ref(), &settings, &successors) {
            return self.end(EndReason::JoinFailed(why));
        }
        self.settings = Some(settings);
        let alive = members.iter().filter(|member| member.state == MemberState::Alive).count();
        if alive < self.members.whole_below(settings) {
            self.ingest_gossip(now, host, members, TOLD_MAX);
        } else {
            self.ingest_quietly(now, host, members.into_iter().take(TOLD_MAX));
        }
        self.ingest_living(now, host, successors.iter().chain(&before_host).chain([&host.entry]).cloned());
        self.judge_size(now);
        self.phase = Phase::Active;
        if self.is_small() {
            self.rebuild();
        } else {
            let (ring, known, _) = self.ring_parts();
            ring.join(known, host.entry.clone(), &successors);
        }
        self.became_active(now);
        self.copy_contacts(now);
        // The predecessor, the second predecessor and the successor learn of it at once.
        let first = self.ring.successors().first().cloned();
        let mut neighbours: Vec<Entry> = first.into_iter().chain([host.entry.clone()]).collect();
        neighbours.extend(before_host);
        neighbours.sort_by_key(|entry| entry.position);
        neighbours.dedup_by_key(|entry| entry.position);
        neighbours.retain(|entry| entry.position != self.me.position);
        for entry in &neighbours {
            self.notify(now, entry);
        }
    }

    fn became_active(&mut self, now: Moment) {
        self.ring.hurry(now);
        self.given.compare_at(now + self.interval);
        self.announce_myself();
        self.event(Event::Active);
        if self.is_small() {
            self.exchange_with_all(now);
        }
    }

    fn report_waiting(&mut self, waiting: Option<Vec<String>>) {
        if let Some(waiting) = waiting {
            self.event(Event::WaitingFor(waiting));
        }
    }

    /// Asks a peer to let this one in. A peer that forms a ring, or comes back, tells these members that it has met.
    fn ask_to_join(&mut self, now: Moment, to: Target, met: Vec<Member>) {
        let Phase::Entering(entering) = &self.phase else { return };
        let forming = entering.is_forming().then_some(met);
        let purpose = Purpose::Join(to.address.clone());
        let request = MembershipRequest::Join { settings: self.settings, forming };
        self.ask(now, to, request, self.request_timeout(), purpose);
    }
}
