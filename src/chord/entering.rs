//! The way into the ring: form it with others that start as well, join it, or come back.
//!
//! Each round asks every door (a contact or a remembered member). An answer may name closer peers; the peers on that way
//! are asked one after the other, until one lets this peer in.

use std::time::Duration;

use super::claims::check_list;
use super::join_failure::JoinFailure;
use super::output::Unanswered;
use crate::config::RingSettings;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::limits::CLOSER_MAX;
use crate::wire::{Entry, Member, MemberState, MembershipReply, Refusal, Target};

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
    /// The last error on the way in.
    trouble: Option<JoinFailure>,
    rounds: u32,
    /// Whether a member of a ring has answered in this round: then that ring is the one to enter.
    found_ring: bool,
    /// The peers that this peer last reported to wait for.
    reported: Vec<String>,
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

/// The action that is due while this peer enters the ring.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// The way in ends here, for this reason.
    Fail(JoinFailure),
    /// Ask this peer.
    Ask(Entry),
    /// Enter, with these remembered members taken for dead.
    Enter(Vec<Member>),
    /// Ask these peers, unless an answer is due from there. First report that this peer waits for these, if anything
    /// changed.
    Knock {
        /// The peers to ask.
        targets: Vec<Target>,
        /// The labels or addresses of the peers that are waited for.
        waiting: Option<Vec<String>>,
    },
}

/// The end of a round of asking.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Round {
    /// Enter, with these remembered members taken for dead.
    Enter(Vec<Member>),
    /// Wait on, for these peers if the list changed.
    Wait(Option<Vec<String>>),
}

/// The next step on the way to this peer's place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Way {
    /// Ask this peer, which stands nearer to this peer's place.
    Ask(Entry),
    /// The way in ends here, for this reason.
    Fail(JoinFailure),
}

/// The step that a reply leads to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// The asked peer does not let this peer in.
    Way(Way),
    /// This peer is let in.
    Welcome {
        /// The predecessor of the peer that lets it in.
        predecessor: Option<Entry>,
        /// The successors of this peer.
        successors: Vec<Entry>,
        /// The settings of the ring.
        settings: RingSettings,
        /// Members of the ring.
        members: Vec<Member>,
    },
    /// The asked peer forms a ring too, with these settings, and has met these members.
    Forming {
        /// The settings that it brings.
        settings: RingSettings,
        /// The members that it has met.
        members: Vec<Member>,
    },
    /// The asked peer says that this peer has had a life with this incarnation.
    LaterLife(u64),
}

impl Entering {
    /// Begins to enter. `None` if there is no peer to ask: then this peer is a member at once, and founds a ring.
    pub(super) fn begin(now: Moment, start: Start) -> Option<Entering> {
        let door = |target: Target, remembered| Door { target, remembered, present: false };
        let (kind, doors, deadline): (_, Vec<Door>, _) = match start {
            Start::Found => return None,
            Start::Form { contacts } => {
                (Kind::Form, contacts.into_iter().map(|contact| door(contact, None)).collect(), None)
            }
            Start::Join { known } => (Kind::Join, vec![door(known, None)], Some(now + JOIN_TIMEOUT)),
            Start::Resume { remembered, given } => {
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
            return None;
        }
        Some(Entering {
            kind,
            doors,
            path: Vec::new(),
            hops: 0,
            next_at: now,
            deadline,
            trouble: None,
            rounds: 0,
            found_ring: false,
            reported: Vec::new(),
            again: None,
            later_lives: Vec::new(),
        })
    }

    /// The moment at which [`Entering::note_timeout`] is due.
    pub(super) fn next_timeout(&self) -> Moment {
        self.deadline.map_or(self.next_at, |deadline| deadline.min(self.next_at))
    }

    /// The peers that this peer is about to ask, the next one last.
    pub(super) fn to_ask(&self) -> impl Iterator<Item = &Entry> {
        self.path.iter().chain(&self.again)
    }

    /// The labels or addresses of the peers that this peer waits for.
    pub(super) fn waiting_for(&self) -> Vec<String> {
        let label = |door: &Door| match door.target.position {
            Some(position) => position.label(),
            None => door.target.address.to_string(),
        };
        self.awaited().filter(|door| !door.present).map(label).collect()
    }

    /// Whether the asked peers learn that this one forms a ring, or comes back into it, too.
    pub(super) fn is_forming(&self) -> bool {
        self.kind != Kind::Join
    }

    /// Lets time pass. `awaits_answer` says whether a question of this peer is unanswered; `timeout` is the time that an
    /// answer may take; `met` are the forming peers that were met.
    pub(super) fn note_timeout(
        &mut self,
        now: Moment,
        timeout: Duration,
        awaits_answer: bool,
        met: impl Iterator<Item = Target>,
    ) -> Due {
        if self.deadline.is_some_and(|at| at <= now) {
            return Due::Fail(self.trouble.clone().unwrap_or(JoinFailure::Silent));
        }
        if self.next_at > now {
            return Due::Nothing;
        }
        // The busy peer most likely knows this peer's place: the way there need not be found anew.
        if let Some(busy) = self.again.take() {
            self.hops += 1;
            self.next_at = now + timeout;
            return Due::Ask(busy);
        }
        let mut waiting = None;
        // A peer that comes back must have been able to hear from every remembered peer.
        if self.rounds > 0 && (self.kind != Kind::Resume || !awaits_answer) {
            match self.close_round() {
                Round::Enter(silent) => return Due::Enter(silent),
                Round::Wait(changed) => waiting = changed,
            }
        }
        Due::Knock { targets: self.begin_round(now, met), waiting }
    }

    /// Asks at once: this peer was refused for its incarnation, and has a greater one now.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.next_at = now;
    }

    /// Takes the silence of an asked peer: the next one on the way is asked.
    pub(super) fn note_silence(
        &mut self,
        now: Moment,
        timeout: Duration,
        silence: Unanswered,
    ) -> Option<Way> {
        let Unanswered { why, refused } = silence;
        if refused && self.kind == Kind::Join && self.hops == 0 {
            return Some(Way::Fail(JoinFailure::Unanswered(why)));
        }
        if self.trouble.is_none() || self.path.is_empty() {
            self.trouble = Some(JoinFailure::Unanswered(why));
        }
        self.follow_path(now, timeout)
    }

    /// Takes the reply of an asked peer. `pause` is the time, drawn at random, after which a busy peer is asked again.
    pub(super) fn note_reply(
        &mut self,
        now: Moment,
        timeout: Duration,
        pause: Duration,
        from: Entry,
        reply: MembershipReply,
    ) -> Option<Step> {
        self.found_ring |= matches!(
            reply,
            MembershipReply::Closer { .. }
                | MembershipReply::Busy
                | MembershipReply::Refused(Refusal::Leaving)
        );
        match reply {
            MembershipReply::Welcome { predecessor, successors, settings, members } => {
                Some(Step::Welcome { predecessor, successors, settings, members })
            }
            MembershipReply::Closer { peers } if self.hops < HOPS_MAX => {
                self.path = peers;
                self.path.truncate(CLOSER_MAX);
                self.path.reverse();
                self.follow_path(now, timeout).map(Step::Way)
            }
            MembershipReply::Forming { settings, members } => {
                if self.kind == Kind::Join {
                    self.try_later(now + ROUND_PAUSE, JoinFailure::Forming(from.position));
                    return None;
                }
                Some(Step::Forming { settings, members })
            }
            MembershipReply::Refused(Refusal::Stale { incarnation }) => Some(Step::LaterLife(incarnation)),
            MembershipReply::Busy if self.hops < HOPS_MAX => {
                self.try_later(now + pause, JoinFailure::Busy);
                self.again = Some(from);
                None
            }
            MembershipReply::Refused(Refusal::Leaving) | MembershipReply::Busy => {
                self.try_later(now + pause, JoinFailure::BusyOrLeaving);
                None
            }
            MembershipReply::Refused(refusal) => {
                let failure = JoinFailure::Refused { by: from.position, refusal };
                Some(Step::Way(Way::Fail(failure)))
            }
            MembershipReply::Gone { successor: Some(successor) } => {
                self.path.push(successor);
                self.follow_path(now, timeout).map(Step::Way)
            }
            _ => {
                self.try_later(now + pause, JoinFailure::InNoRing(from.position));
                None
            }
        }
    }

    /// Takes the claim of an asked peer that this peer has lived longer than it knows. `may_be` says whether it can
    /// have. A liar could use up this peer's incarnations. So this peer believes only a bounded number of such reports
    /// of one peer, and of all together. Returns whether the claim is believed: then a greater incarnation is to be
    /// taken.
    pub(super) fn note_later_life(&mut self, now: Moment, from: &Position, may_be: bool) -> bool {
        let often = self.later_lives.iter().filter(|teller| *teller == from).count();
        if may_be && often < LATER_LIVES_BY_ONE_MAX && self.later_lives.len() < LATER_LIVES_MAX {
            self.later_lives.push(*from);
            return true;
        }
        self.trouble = Some(JoinFailure::ImpossibleLife(*from));
        self.next_at = self.next_at.max(now + ROUND_PAUSE);
        false
    }

    /// Notes that a peer forms a ring too. Returns whether all that this peer waits for do.
    pub(super) fn note_present(&mut self, from: &Entry) -> bool {
        for door in &mut self.doors {
            if door.target.position == Some(from.position) || door.target.address == from.address {
                door.target.position = Some(from.position);
                door.present = true;
            }
        }
        self.awaited().all(|door| door.present)
    }

    /// Ends a round of asking: is this peer in?
    pub(super) fn close_round(&mut self) -> Round {
        let all = self.awaited().all(|door| door.present);
        let any = self.doors.iter().any(|door| door.present);
        let last_one = self.awaited().all(|door| {
            door.remembered.as_ref().is_some_and(|m| m.state == MemberState::Dead) && !door.present
        });
        let enters = match self.kind {
            Kind::Form => all,
            Kind::Join => false,
            // Remembered peers do not all come back at once; those that do are met in the second round. The last peer
            // alive need not wait.
            Kind::Resume => !self.found_ring && (all || (any && self.rounds > 1) || last_one),
        };
        if enters {
            let silent = self.doors.iter().filter(|door| !door.present);
            return Round::Enter(silent.filter_map(|door| door.remembered.clone()).collect());
        }
        let waiting = self.waiting_for();
        let changed = self.reported != waiting;
        self.reported.clone_from(&waiting);
        Round::Wait(changed.then_some(waiting))
    }

    /// The peers that must be present, or known as gone, before this peer is in. For a peer that comes back, a given
    /// contact is only one more way.
    fn awaited(&self) -> impl Iterator<Item = &Door> {
        let any = self.kind != Kind::Resume;
        self.doors.iter().filter(move |door| any || door.remembered.is_some())
    }

    /// Begins a round: every door and all forming peers that were met are asked.
    fn begin_round(&mut self, now: Moment, met: impl Iterator<Item = Target>) -> Vec<Target> {
        self.rounds += 1;
        self.found_ring = false;
        self.hops = 0;
        self.path.clear();
        self.again = None;
        self.next_at = now + ROUND_PAUSE;
        let mut targets: Vec<Target> = self.doors.iter().map(|door| door.target.clone()).collect();
        if self.is_forming() {
            targets.extend(met.take(DOORS_MAX));
        }
        targets
    }

    /// The next peer on the way to this peer's place.
    fn follow_path(&mut self, now: Moment, timeout: Duration) -> Option<Way> {
        let Some(next) = self.path.pop().filter(|_| self.hops < HOPS_MAX) else {
            self.next_at = self.next_at.min(now + ROUND_PAUSE);
            return None;
        };
        self.hops += 1;
        // No new round begins while this way may still lead in.
        self.next_at = self.next_at.max(now + timeout);
        Some(Way::Ask(next))
    }

    fn try_later(&mut self, at: Moment, trouble: JoinFailure) {
        self.trouble = Some(trouble);
        self.next_at = self.next_at.min(at);
    }
}

/// Judges the settings and the list with which `host` lets the peer at `me` in. `brought` are the settings that this peer
/// itself brings: they were validated before, and must be those of the ring.
///
/// # Errors
/// Why this peer cannot come in.
pub(super) fn judge_welcome(
    me: &Position,
    host: &Position,
    brought: Option<&RingSettings>,
    settings: &RingSettings,
    successors: &[Entry],
) -> Result<(), JoinFailure> {
    match brought {
        Some(mine) if mine != settings => {
            return Err(JoinFailure::OtherSettings { of: *host, settings: *settings });
        }
        Some(_) => {}
        None => settings.validate().map_err(|error| JoinFailure::BadSettings { of: *host, error })?,
    }
    check_list(me, successors, settings.successors.into())
        .map_err(|fault| JoinFailure::BadSuccessors { by: *host, fault })
}

/// The timeout of a join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(4);
/// The most claims of a later life of this peer that are believed of one peer, and of all together.
const LATER_LIVES_BY_ONE_MAX: usize = 3;
const LATER_LIVES_MAX: usize = 64;
/// The pause between rounds of asking.
const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// The most hops of a join.
const HOPS_MAX: u32 = 64;
/// The most peers of each kind (remembered, given, met) that one round asks.
const DOORS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::sample::{entries, entry};
    use crate::wire::Fault;

    const TIMEOUT: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(50);

    fn at(hundredths: u64) -> Moment {
        Moment(hundredths * 10_000)
    }

    fn form(numbers: &[u8]) -> Entering {
        let contacts = entries(numbers).iter().map(Target::from).collect();
        Entering::begin(at(0), Start::Form { contacts }).unwrap()
    }

    fn join() -> Entering {
        Entering::begin(at(0), Start::Join { known: Target::from(&entry(1)) }).unwrap()
    }

    fn resume(members: &[(u8, MemberState)]) -> Entering {
        let remembered =
            members.iter().map(|(number, state)| Member { entry: entry(*number), state: *state }).collect();
        Entering::begin(at(0), Start::Resume { remembered, given: Vec::new() }).unwrap()
    }

    fn knock(entering: &mut Entering, hundredths: u64) -> Due {
        entering.note_timeout(at(hundredths), TIMEOUT, false, std::iter::empty())
    }

    fn reply(entering: &mut Entering, from: u8, reply: MembershipReply) -> Option<Step> {
        entering.note_reply(at(0), TIMEOUT, PAUSE, entry(from), reply)
    }

    #[test]
    fn a_founder_does_not_enter() {
        assert!(Entering::begin(at(0), Start::Found).is_none());
        let nobody = Start::Resume { remembered: Vec::new(), given: Vec::new() };
        assert!(Entering::begin(at(0), nobody).is_none());
    }

    #[test]
    fn a_ring_is_formed_when_all_contacts_are_present() {
        let mut entering = form(&[1, 2]);
        let Due::Knock { targets, waiting: None } = knock(&mut entering, 0) else { panic!("it knocks") };
        assert_eq!(targets.len(), 2);
        assert!(!entering.note_present(&entry(1)));
        let waiting = Round::Wait(Some(vec![entry(2).position.label()]));
        assert_eq!(entering.close_round(), waiting);
        assert_eq!(entering.close_round(), Round::Wait(None), "it is said once");
        assert!(entering.note_present(&entry(2)));
        assert_eq!(knock(&mut entering, 25), Due::Enter(Vec::new()));
    }

    #[test]
    fn the_named_peers_are_asked_nearest_first() {
        let mut entering = join();
        knock(&mut entering, 0);
        let closer = MembershipReply::Closer { peers: entries(&[30, 20]) };
        assert_eq!(reply(&mut entering, 1, closer), Some(Step::Way(Way::Ask(entry(30)))));
        let silent = || Unanswered::from("silent".to_owned());
        assert_eq!(entering.note_silence(at(0), TIMEOUT, silent()), Some(Way::Ask(entry(20))));
        assert_eq!(entering.note_silence(at(0), TIMEOUT, silent()), None);
        assert_eq!(entering.next_timeout(), at(25), "a new round follows soon");
    }

    #[test]
    fn a_join_ends_after_four_seconds_with_the_last_trouble() {
        let mut entering = join();
        knock(&mut entering, 0);
        assert_eq!(reply(&mut entering, 1, MembershipReply::Inactive), None);
        let in_no_ring = JoinFailure::InNoRing(entry(1).position);
        assert_eq!(knock(&mut entering, 400), Due::Fail(in_no_ring));
        assert_eq!(knock(&mut join(), 400), Due::Fail(JoinFailure::Silent));
    }

    #[test]
    fn a_busy_peer_is_asked_again_before_a_new_round() {
        let mut entering = join();
        knock(&mut entering, 0);
        assert_eq!(reply(&mut entering, 1, MembershipReply::Busy), None);
        assert_eq!((entering.next_timeout(), knock(&mut entering, 5)), (at(5), Due::Ask(entry(1))));
    }

    #[test]
    fn a_refusal_for_good_ends_the_join() {
        let refused = Unanswered { why: "wrong ring".to_owned(), refused: true };
        let failure = JoinFailure::Unanswered("wrong ring".to_owned());
        assert_eq!(join().note_silence(at(0), TIMEOUT, refused.clone()), Some(Way::Fail(failure)));
        assert_eq!(form(&[1]).note_silence(at(0), TIMEOUT, refused), None, "others may still come");
    }

    /// A peer that comes back never founds a second ring: it waits for another, unless it was the last one alive.
    #[test]
    fn a_peer_that_comes_back_waits_for_another() {
        let mut entering = resume(&[(1, MemberState::Alive), (2, MemberState::Alive)]);
        for round in 0..3 {
            assert!(matches!(knock(&mut entering, round * 25), Due::Knock { .. }), "round {round}");
        }
        entering.note_present(&entry(1));
        let silent = vec![Member { entry: entry(2), state: MemberState::Alive }];
        assert_eq!(knock(&mut entering, 75), Due::Enter(silent));
        let mut last = resume(&[(1, MemberState::Dead)]);
        knock(&mut last, 0);
        assert!(matches!(knock(&mut last, 25), Due::Enter(_)), "all others were dead before");
    }

    #[test]
    fn a_ring_that_was_found_is_the_one_to_enter() {
        let mut entering = resume(&[(1, MemberState::Alive), (2, MemberState::Alive)]);
        knock(&mut entering, 0);
        knock(&mut entering, 25);
        entering.note_present(&entry(1));
        reply(&mut entering, 2, MembershipReply::Closer { peers: Vec::new() });
        assert!(matches!(entering.close_round(), Round::Wait(_)));
    }

    /// Rule: a liar cannot use up this peer's incarnations.
    #[test]
    fn a_peer_is_believed_three_times_that_this_one_lived_longer() {
        let mut entering = resume(&[(1, MemberState::Alive)]);
        let believed = (0..10).filter(|_| entering.note_later_life(at(0), &entry(1).position, true)).count();
        assert_eq!(believed, LATER_LIVES_BY_ONE_MAX);
        assert!(!entering.note_later_life(at(0), &entry(2).position, false), "no peer has lived that long");
        let others = (0..100).map(|number| entry(number).position);
        let all = others.filter(|other| entering.note_later_life(at(0), other, true)).count();
        assert!(all < LATER_LIVES_MAX);
    }

    #[test]
    fn a_welcome_is_judged() {
        let (me, host) = (entry(100).position, entry(90).position);
        let judge = |brought, settings: RingSettings, successors: &[u8]| {
            judge_welcome(&me, &host, brought, &settings, &entries(successors))
        };
        let settings = RingSettings::default();
        assert_eq!(judge(None, settings, &[120, 140]), Ok(()));
        assert_eq!(judge(Some(&settings), settings, &[120]), Ok(()));
        let other = RingSettings { replicas: 2, ..settings };
        let differ = judge(Some(&other), settings, &[120]).unwrap_err();
        assert_eq!(differ, JoinFailure::OtherSettings { of: host, settings });
        assert_eq!(differ.other_settings(), Some(settings));
        let bad = RingSettings { replicas: 0, ..settings };
        assert!(matches!(judge(None, bad, &[120]), Err(JoinFailure::BadSettings { .. })));
        let fault = Fault::BadList;
        let out_of_order = judge(None, settings, &[140, 120]);
        assert_eq!(out_of_order, Err(JoinFailure::BadSuccessors { by: host, fault }));
    }
}
