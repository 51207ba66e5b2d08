//! The way into the ring: found it, form it with others that start as well, join it, or come back.

use std::time::Duration;

use rand::RngExt as _;

use super::judge::{TOLD_MAX, Teller, check_list};
use super::node::{Node, Phase, Purpose};
use super::output::{EndReason, Event, Unanswered};
use crate::config::RingSettings;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::limits::CLOSER_MAX;
use crate::wire::{Entry, Fault, Member, MemberState, MembershipReply, MembershipRequest, Refusal, Target};

/// The way in which a node comes into its ring.
#[derive(Debug, Clone)]
pub enum Start {
    /// Found a ring alone, at once.
    Found,
    /// Form a ring with others that start as well: active once all contacts have answered.
    Form {
        /// The contacts FIRST and SECOND.
        contacts: Vec<Target>,
    },
    /// Join through a known peer, within 4 seconds (`JOIN_TIMEOUT`) or not at all.
    Join {
        /// The known peer through which this one comes in.
        known: Target,
    },
    /// Come back through remembered members. This never founds a second ring: a peer that was not the last one waits
    /// for another.
    Resume {
        /// Members as they were known when this peer stopped.
        remembered: Vec<Member>,
        /// Contacts that a person named, which are tried first: the remembered members may have moved.
        given: Vec<Target>,
    },
}

/// The given contacts FIRST and SECOND, until they are compared with the real order.
#[derive(Debug, Clone)]
pub(super) struct GivenOrder {
    contacts: Vec<Target>,
    /// The moment of the next comparison.
    pub(super) at: Moment,
    /// Whether all contacts were members at the last comparison.
    met: bool,
}

/// A peer on its way in.
#[derive(Debug, Clone)]
pub(super) struct Entering {
    kind: Kind,
    doors: Vec<Door>,
    /// The peers to ask next on the way to this peer's place, nearest last.
    path: Vec<Entry>,
    hops: u32,
    /// The moment at which the next round of asking begins.
    next_at: Moment,
    deadline: Option<Moment>,
    /// The last error on the way in, in words for people.
    trouble: String,
    rounds: u32,
    /// Whether a member of a ring has answered in this round: then that ring is the one to enter.
    met_ring: bool,
    /// The peers that this peer last reported to wait for.
    said: Vec<String>,
    /// A busy peer that is asked again at the next timeout.
    again: Option<Entry>,
    /// The peers that said, and were believed, that this peer has had a later life.
    later_lives: Vec<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Form,
    Join,
    Resume,
}

/// A peer to ask, and the outcome so far.
#[derive(Debug, Clone)]
struct Door {
    target: Target,
    /// The member as it was remembered.
    remembered: Option<Member>,
    /// Whether it answered that it is forming a ring too.
    present: bool,
}

impl Entering {
    pub(super) fn next_timeout(&self) -> Option<Moment> {
        [Some(self.next_at), self.deadline].into_iter().flatten().min()
    }

    /// The peers that must be present, or known as gone, before this peer is in. For a peer that comes back, a given
    /// contact is only one more way.
    fn awaited(&self) -> impl Iterator<Item = &Door> {
        let any = self.kind != Kind::Resume;
        self.doors.iter().filter(move |door| any || door.remembered.is_some())
    }

    /// The peers that this peer is about to ask, the next one last.
    pub(super) fn to_ask(&self) -> impl Iterator<Item = &Entry> {
        self.path.iter().chain(&self.again)
    }

    pub(super) fn waiting_for(&self) -> Vec<String> {
        let label = |door: &Door| match door.target.position {
            Some(position) => position.label(),
            None => door.target.address.to_string(),
        };
        self.awaited().filter(|door| !door.present).map(label).collect()
    }
}

impl Node {
    pub(super) fn enter(&mut self, now: Moment, start: Start) {
        self.query = None;
        self.forget_pending(|_| true);
        let door = |target: Target, remembered| Door { target, remembered, present: false };
        let (kind, doors, deadline): (_, Vec<Door>, _) = match start {
            Start::Found => {
                self.settings_known = true;
                self.phase = Phase::Active;
                return self.became_active(now);
            }
            Start::Form { contacts } => {
                self.settings_known = true;
                self.given_order = Some(GivenOrder { contacts: contacts.clone(), at: now, met: false });
                self.strangers = contacts.clone();
                (Kind::Form, contacts.into_iter().map(|c| door(c, None)).collect(), None)
            }
            Start::Join { known } => (Kind::Join, vec![door(known, None)], Some(now + JOIN_TIMEOUT)),
            Start::Resume { remembered, given } => {
                if remembered.is_empty() {
                    self.strangers.clone_from(&given);
                }
                let mut members: Vec<Member> =
                    remembered.into_iter().filter(|m| m.state != MemberState::Left).collect();
                members.sort_by_key(|m| m.state);
                members.truncate(DOORS_MAX);
                let known = members.into_iter().map(|m| door(Target::from(&m.entry), Some(m)));
                let given = given.into_iter().take(DOORS_MAX).map(|target| door(target, None));
                (Kind::Resume, given.chain(known).collect(), None)
            }
        };
        if kind == Kind::Resume && doors.is_empty() {
            self.settings_known = true;
            self.phase = Phase::Active;
            return self.became_active(now);
        }
        let (path, trouble) = (Vec::new(), String::new());
        self.phase = Phase::Entering(Entering {
            kind,
            doors,
            path,
            hops: 0,
            next_at: now,
            deadline,
            trouble,
            rounds: 0,
            met_ring: false,
            said: Vec::new(),
            again: None,
            later_lives: Vec::new(),
        });
        self.entrance_timeout(now);
    }

    pub(super) fn entrance_timeout(&mut self, now: Moment) {
        let Phase::Entering(entering) = &self.phase else { return };
        if entering.deadline.is_some_and(|at| at <= now) {
            let trouble = if entering.trouble.is_empty() { "it does not answer" } else { &entering.trouble };
            let reason = trouble.to_owned();
            return self.end(EndReason::JoinFailed(reason));
        }
        if entering.next_at > now {
            return;
        }
        // The busy peer most likely knows this peer's place: the way there need not be found anew.
        if let Some(busy) = entering.again.clone() {
            return self.ask_again(now, &busy);
        }
        // A peer that comes back must have been able to hear from every remembered peer.
        let heard_all = entering.kind != Kind::Resume || !self.is_joining();
        if entering.rounds > 0 && heard_all && self.close_round(now) {
            return;
        }
        self.knock(now);
    }

    /// Tries a join again that was refused for this peer's incarnation, after the incarnation was raised.
    pub(super) fn retry_entrance(&mut self, now: Moment) {
        if let Phase::Entering(entering) = &mut self.phase {
            entering.next_at = now;
        }
    }

    pub(super) fn join_answered(
        &mut self,
        now: Moment,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        let pause = Duration::from_millis(self.rng.random_range(20..100));
        let Phase::Entering(entering) = &mut self.phase else { return };
        let (from, reply) = match answer {
            Ok(answer) => answer,
            Err(Unanswered { why, refused: true }) if entering.kind == Kind::Join && entering.hops == 0 => {
                return self.end(EndReason::JoinFailed(why));
            }
            Err(Unanswered { why, .. }) => {
                if entering.trouble.is_empty() || entering.path.is_empty() {
                    entering.trouble = why;
                }
                return self.follow_path(now);
            }
        };
        entering.met_ring |= matches!(
            reply,
            MembershipReply::Closer { .. }
                | MembershipReply::Busy
                | MembershipReply::Refused(Refusal::Leaving)
        );
        match reply {
            MembershipReply::Welcome { predecessor, successors, settings, members } => {
                self.welcomed(now, from, predecessor, successors, settings, members);
            }
            MembershipReply::Closer { peers } if entering.hops < HOPS_MAX => {
                entering.path = peers;
                entering.path.truncate(CLOSER_MAX);
                entering.path.reverse();
                self.follow_path(now);
            }
            MembershipReply::Forming { settings, members } => self.met_forming(now, &from, settings, members),
            MembershipReply::Refused(Refusal::Stale { incarnation }) => {
                self.told_of_later_life(now, &from, incarnation);
            }
            MembershipReply::Busy if entering.hops < HOPS_MAX => {
                entering.trouble = "it is busy".to_owned();
                entering.next_at = entering.next_at.min(now + pause);
                entering.again = Some(from);
            }
            MembershipReply::Refused(Refusal::Leaving) | MembershipReply::Busy => {
                entering.trouble = "it is busy, or leaving".to_owned();
                entering.next_at = entering.next_at.min(now + pause);
            }
            MembershipReply::Refused(refusal) => {
                let who = from.position.label();
                self.end(EndReason::JoinFailed(format!("refused by peer {who}: {refusal}")));
            }
            MembershipReply::Gone { successor: Some(successor) } => {
                entering.path.push(successor);
                self.follow_path(now);
            }
            _ => {
                entering.trouble = format!("peer {} is in no ring", from.position.label());
                entering.next_at = entering.next_at.min(now + pause);
            }
        }
    }

    /// Handles an asked peer's claim that this peer has lived longer than it knows. A liar would use its lives up, so
    /// only so much is believed of one life, and only so often of one peer.
    fn told_of_later_life(&mut self, now: Moment, from: &Entry, incarnation: u64) {
        if incarnation < self.me.incarnation {
            return;
        }
        let may_be = self.may_be_mine(incarnation);
        let second_hand = self.second_hand;
        let Phase::Entering(entering) = &mut self.phase else { return };
        let often = entering.later_lives.iter().filter(|teller| **teller == from.position).count();
        let full = entering.later_lives.len() >= LATER_LIVES_MAX;
        if self.rules.stale_life_raised && may_be && often < LATER_LIVES_BY_ONE_MAX && !full {
            entering.later_lives.push(from.position);
            // Some lives are skipped: the other life may contradict the news of its end meanwhile.
            return self.raise_incarnation_far_above(incarnation);
        }
        let who = from.position.label();
        entering.trouble = format!("peer {who} says that this peer has lived longer than it can have");
        entering.next_at = entering.next_at.max(now + RETRY);
        if !may_be && !second_hand {
            self.event(Event::Misbehaved { peer: from.position, fault: Fault::BadIncarnation });
        }
    }

    fn met_forming(&mut self, now: Moment, from: &Entry, settings: RingSettings, members: Vec<Member>) {
        let Phase::Entering(entering) = &mut self.phase else { return };
        if entering.kind == Kind::Join {
            entering.trouble = format!("peer {} is itself still waiting for its ring", from.position.label());
            entering.next_at = entering.next_at.min(now + RETRY);
            return;
        }
        if settings != self.settings {
            let refusal = Refusal::SettingsDiffer(settings);
            let who = from.position.label();
            return self.end(EndReason::JoinFailed(format!("peer {who} brings other settings: {refusal}")));
        }
        self.hear_all(now, &from.into(), members, TOLD_MAX);
        self.mark_present(from);
        let Phase::Entering(entering) = &self.phase else { return };
        let all = entering.awaited().all(|door| door.present);
        if all {
            self.close_round(now);
        }
    }

    /// Whether a request to let this peer in is still unanswered.
    fn is_joining(&self) -> bool {
        self.is_pending(|purpose| matches!(purpose, Purpose::Join(_)))
    }

    pub(super) fn mark_present(&mut self, from: &Entry) {
        let Phase::Entering(entering) = &mut self.phase else { return };
        for door in &mut entering.doors {
            if door.target.position == Some(from.position) || door.target.address == from.address {
                door.target.position = Some(from.position);
                door.present = true;
            }
        }
    }

    /// Ends a round of asking. Returns whether this peer is in.
    fn close_round(&mut self, now: Moment) -> bool {
        let Phase::Entering(entering) = &self.phase else { return false };
        let all = entering.awaited().all(|door| door.present);
        let any = entering.doors.iter().any(|door| door.present);
        let last_one = entering.awaited().all(|door| {
            door.remembered.as_ref().is_some_and(|m| m.state == MemberState::Dead) && !door.present
        });
        let active = match entering.kind {
            Kind::Form => all,
            Kind::Join => false,
            // Remembered peers do not all come back at once; those that do are met in the second round. The last peer
            // alive need not wait.
            Kind::Resume => !entering.met_ring && (all || (any && entering.rounds > 1) || last_one),
        };
        if !active {
            let waiting = entering.waiting_for();
            if let Phase::Entering(entering) = &mut self.phase
                && entering.said != waiting
            {
                entering.said.clone_from(&waiting);
                self.event(Event::WaitingFor(waiting));
            }
            return false;
        }
        let silent: Vec<Member> =
            entering.doors.iter().filter(|d| !d.present).filter_map(|d| d.remembered.clone()).collect();
        self.settings_known = true;
        self.judge_size(now);
        self.phase = Phase::Active;
        for member in silent {
            self.learn(now, Member { state: MemberState::Dead, ..member });
        }
        // The living members in order are the first list, whatever the ring's size.
        self.rebuild();
        self.became_active(now);
        self.copy_contacts(now);
        true
    }

    fn welcomed(
        &mut self,
        now: Moment,
        host: Entry,
        before_host: Option<Entry>,
        successors: Vec<Entry>,
        settings: RingSettings,
        members: Vec<Member>,
    ) {
        if self.settings_known && settings != self.settings {
            let refusal = Refusal::SettingsDiffer(settings);
            return self.end(EndReason::JoinFailed(format!("refused by this peer itself: {refusal}")));
        }
        // Settings that this peer itself brings were validated before.
        if !self.settings_known
            && let Err(error) = settings.validate()
        {
            let who = host.position.label();
            return self
                .end(EndReason::JoinFailed(format!("the ring of peer {who} has bad settings: {error}")));
        }
        if let Err(fault) = check_list(&self.me.position, &successors, settings.successors.into()) {
            let who = host.position.label();
            let reason = format!("as this peer's successors, peer {who} names {fault}");
            return self.end(EndReason::JoinFailed(reason));
        }
        self.settings = settings;
        self.settings_known = true;
        let teller = Teller::from(&host);
        let alive = members.iter().filter(|member| member.state == MemberState::Alive).count();
        if alive < settings.known_whole_below() {
            self.hear_all(now, &teller, members, TOLD_MAX);
        } else {
            self.hear_quietly(now, &teller, members.into_iter().take(TOLD_MAX));
        }
        self.hear_of(now, &teller, successors.iter().chain(&before_host).chain([&host]).cloned());
        self.judge_size(now);
        self.phase = Phase::Active;
        // One reply, one step: j.succ := m.succ ; j.pred := m.
        if self.is_small() {
            self.rebuild();
        } else if let Some((first, rest)) = successors.split_first() {
            let whole = self.rules.join_in_one_step;
            self.successors = self.chain(first, if whole { rest.to_vec() } else { Vec::new() });
            self.predecessor = whole.then(|| host.clone());
        }
        self.became_active(now);
        self.copy_contacts(now);
        // The predecessor, the second predecessor and the successor learn of it at once.
        let mut neighbours: Vec<Entry> = self.successors.first().cloned().into_iter().chain([host]).collect();
        neighbours.extend(before_host);
        neighbours.sort_by_key(|entry| entry.position);
        neighbours.dedup_by_key(|entry| entry.position);
        neighbours.retain(|entry| entry.position != self.me.position);
        for entry in &neighbours {
            self.notify(now, entry);
        }
    }

    fn became_active(&mut self, now: Moment) {
        self.stabilise_at = now;
        if let Some(given) = &mut self.given_order {
            given.at = now + self.interval;
        }
        self.members.announce(Member { entry: self.me.clone(), state: MemberState::Alive });
        self.event(Event::Active);
        if self.is_small() {
            self.exchange_with_all(now);
        }
    }

    /// Compares the first successors with the given contacts, once all contacts have been members for a while.
    pub(super) fn compare_given_order(&mut self, now: Moment) {
        let Some(mut given) = self.given_order.take_if(|given| given.at <= now) else { return };
        let contacts: Option<Vec<Position>> =
            given.contacts.iter().map(|contact| self.met(contact)).collect();
        let Some(contacts) = contacts else {
            let at = now + self.interval;
            self.given_order = Some(GivenOrder { at, met: false, ..given });
            return;
        };
        if !given.met {
            (given.met, given.at) = (true, now + self.interval * ORDER_AFTER);
            self.given_order = Some(given);
            return;
        }
        let real: Vec<Position> = self.successors.iter().take(2).map(|e| e.position).collect();
        let wrong = contacts.iter().zip(&real).any(|(given, real)| given != real);
        if wrong && real.len() == 2 {
            self.event(Event::OrderDiffers { given: contacts, real });
        }
    }

    /// The position of a contact, if it is a member.
    pub(super) fn met(&self, contact: &Target) -> Option<Position> {
        let is_it = |entry: &&Entry| match contact.position {
            Some(position) => entry.position == position,
            None => entry.address == contact.address,
        };
        self.members.alive().find(is_it).map(|entry| entry.position)
    }

    /// Asks every door and all forming peers that were met, unless an answer is due from there.
    fn knock(&mut self, now: Moment) {
        let timeout = self.request_timeout();
        let met: Vec<Target> = self.members.alive().take(DOORS_MAX).map(Target::from).collect();
        let members = self.members.for_message();
        let Phase::Entering(entering) = &mut self.phase else { return };
        entering.rounds += 1;
        entering.met_ring = false;
        entering.hops = 0;
        entering.path.clear();
        entering.again = None;
        entering.next_at = now + RETRY;
        let mut targets: Vec<Target> = entering.doors.iter().map(|door| door.target.clone()).collect();
        let forming = (entering.kind != Kind::Join).then_some(members);
        if forming.is_some() {
            targets.extend(met);
        }
        for target in targets {
            if !self.is_pending(|p| matches!(p, Purpose::Join(asked) if *asked == target.address)) {
                self.send_join(now, target, forming.clone(), timeout);
            }
        }
    }

    /// Asks the next peer on the way to this peer's place.
    fn follow_path(&mut self, now: Moment) {
        let timeout = self.request_timeout();
        let Phase::Entering(entering) = &mut self.phase else { return };
        let Some(next) = entering.path.pop().filter(|_| entering.hops < HOPS_MAX) else {
            entering.next_at = entering.next_at.min(now + RETRY);
            return;
        };
        entering.hops += 1;
        // No new round begins while this way may still lead in.
        entering.next_at = entering.next_at.max(now + timeout);
        let forming = (entering.kind != Kind::Join).then(Vec::new);
        self.send_join(now, Target::from(&next), forming, timeout);
    }

    /// Asks a peer again that was busy.
    fn ask_again(&mut self, now: Moment, busy: &Entry) {
        let timeout = self.request_timeout();
        let Phase::Entering(entering) = &mut self.phase else { return };
        entering.again = None;
        entering.hops += 1;
        entering.next_at = now + timeout;
        let forming = (entering.kind != Kind::Join).then(Vec::new);
        self.send_join(now, Target::from(busy), forming, timeout);
    }

    fn send_join(&mut self, now: Moment, to: Target, forming: Option<Vec<Member>>, timeout: Duration) {
        let settings = self.settings_known.then_some(self.settings);
        let purpose = Purpose::Join(to.address.clone());
        self.ask(now, to, MembershipRequest::Join { settings, forming }, timeout, purpose);
    }
}

/// The timeout of a join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(4);
/// The most claims of a later life of this peer that are believed of one peer, and of all together.
const LATER_LIVES_BY_ONE_MAX: usize = 3;
const LATER_LIVES_MAX: usize = 64;
/// The pause between rounds of asking.
const RETRY: Duration = Duration::from_millis(250);
/// The most hops of a join.
const HOPS_MAX: u32 = 64;
/// The most peers of each kind (remembered, given, met) that one round asks.
const DOORS_MAX: usize = 32;
/// The number of intervals after all contacts were met at which the real order is compared with theirs.
const ORDER_AFTER: u32 = 5;
