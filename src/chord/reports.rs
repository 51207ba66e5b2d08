//! Reports on members: which of them are taken in, and which events they are to people.

use super::claims::{Teller, check_lives};
use super::lives::may_be_mine;
use super::members::{Members, is_more};
use super::output::Event;
use crate::config::RingSettings;
use crate::id::Position;
use crate::wire::{Entry, Fault, Member, MemberState};

/// The little that the rules need to know of the peer that hears a report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hearer<'a> {
    /// The entry of this peer.
    pub me: &'a Entry,
    /// Whether this peer takes part in the ring.
    pub is_member: bool,
    /// The settings of the ring.
    pub settings: RingSettings,
    /// The known members.
    pub members: &'a Members,
}

/// The step that a report on a member leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Intake {
    /// No peer can have made the report in good faith: it convicts the teller.
    Convict(Fault),
    /// The report is not new, or is not believed.
    Drop,
    /// The member's own word: it confirms this life. A new one is merged before that.
    Confirm {
        /// Whether the report is new.
        is_new: bool,
    },
    /// The report is merged.
    Merge,
    /// A stranger may be alive: it is merged once it was reached.
    Probe,
    /// A stranger is merged, on the account of the peer that told of it.
    MergeStranger {
        /// The peer that accounts for the stranger.
        accountable: Position,
    },
}

impl Hearer<'_> {
    /// Judges a report on a member.
    pub(super) fn judge(&self, teller: &Teller, report: &Member) -> Intake {
        if let Err(fault) = check_lives(std::slice::from_ref(&report.entry)) {
            return Intake::Convict(fault);
        }
        let (position, me) = (&report.entry.position, &self.me.position);
        let before = self.members.at(position);
        let is_new = position == me || is_more(report, before);
        if *position == teller.entry.position && teller.is_direct() {
            return Intake::Confirm { is_new };
        }
        if !is_new {
            return Intake::Drop; // as most reports are
        }
        // By leaps, this peer's incarnations would soon be used up.
        if position == me {
            let may_be = may_be_mine(self.me, report.entry.incarnation);
            return if may_be { Intake::Merge } else { Intake::Drop };
        }
        let hearsay = self.members.hearsay();
        if !hearsay.may_be(before, report) {
            return Intake::Drop;
        }
        if before.is_some() {
            return Intake::Merge;
        }
        if report.state == MemberState::Alive && self.meets_strangers() {
            return Intake::Probe;
        }
        let accountable = teller.accountable(me);
        if hearsay.may_tell(&accountable) { Intake::MergeStranger { accountable } } else { Intake::Drop }
    }

    /// Whether strangers have to be met. In a ring that is small, or nearly so, every peer comes to know every other.
    /// There a stranger has to be reached, by this peer or by others, before it counts: invented members would
    /// otherwise own keys.
    fn meets_strangers(&self) -> bool {
        self.is_member && self.members.are_exchanged_whole(self.settings)
    }
}

/// The event that a new report on a member is to people, where `before` is what was known of the member. Peers that are
/// not members themselves report no arrivals.
pub(super) fn event_of(before: Option<MemberState>, report: &Member, is_member: bool) -> Option<Event> {
    let position = report.entry.position;
    match (before, report.state) {
        (Some(MemberState::Alive), MemberState::Alive) => None,
        (_, MemberState::Alive) => is_member.then_some(Event::Alive(position)),
        (Some(MemberState::Alive), MemberState::Left) => Some(Event::Left(position)),
        (Some(MemberState::Alive), MemberState::Dead) => Some(Event::Dead(position)),
        (Some(MemberState::Dead), MemberState::Left) => Some(Event::Forgotten(position)),
        (_, MemberState::Left | MemberState::Dead) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::hearsay::{CONTRADICTED_LEAP_MAX, Hearsay};
    use crate::chord::sample::entry;
    use crate::wire::Life;
    use crate::wire::limits::{INCARNATION_LEAP_MAX, INCARNATION_MAX, MEMBERS_MAX};

    const ME: u8 = 100;
    const TELLER: u8 = 50;

    /// A peer at 100 in a ring of r = 2, and the members that it knows.
    struct Bench {
        members: Members,
        is_member: bool,
    }

    impl Bench {
        fn new(known: impl IntoIterator<Item = (u8, MemberState)>) -> Bench {
            let mut members = Members::new(MEMBERS_MAX);
            for (number, state) in known {
                members.merge(Member { entry: entry(number), state }, false);
            }
            Bench { members, is_member: true }
        }

        /// A ring in which members are not exchanged whole.
        fn large() -> Bench {
            Bench::new((1..=40).map(|number| (number, MemberState::Alive)))
        }

        fn judge(&self, teller: &Teller, report: Member) -> Intake {
            let settings = RingSettings { successors: 2, ..RingSettings::default() };
            let (me, members) = (&entry(ME), &self.members);
            Hearer { me, is_member: self.is_member, settings, members }.judge(teller, &report)
        }
    }

    fn teller() -> Teller {
        Teller::direct(&entry(TELLER))
    }

    fn report(number: u8, incarnation: u64, state: MemberState) -> Member {
        Member { entry: entry(number).with_incarnation(incarnation), state }
    }

    /// Rule: a message against the rules costs its sender (design, laws): no peer lives in life 0.
    #[test]
    fn an_impossible_life_convicts_the_teller() {
        let bench = Bench::large();
        for incarnation in [0, INCARNATION_MAX + 1] {
            let intake = bench.judge(&teller(), report(3, incarnation, MemberState::Alive));
            assert_eq!(intake, Intake::Convict(Fault::BadIncarnation));
        }
    }

    /// Rule: the greatest (incarnation, state) stands (SWIM, Das et al. 2002).
    #[test]
    fn only_a_greater_report_is_new() {
        let bench = Bench::large();
        assert_eq!(bench.judge(&teller(), report(3, 1, MemberState::Alive)), Intake::Drop);
        assert_eq!(bench.judge(&teller(), report(3, 1, MemberState::Dead)), Intake::Merge);
        assert_eq!(bench.judge(&teller(), report(3, 2, MemberState::Alive)), Intake::Merge);
    }

    /// Rule: a member's own word over its connection confirms its life, whether it is new or not (design, law 4); through a
    /// helper it is hearsay.
    #[test]
    fn a_members_own_word_confirms_its_life() {
        let bench = Bench::large();
        let own = Teller::direct(&entry(3));
        let told = |incarnation| report(3, incarnation, MemberState::Alive);
        assert_eq!(bench.judge(&own, told(1)), Intake::Confirm { is_new: false });
        let far = 1 + 5 * INCARNATION_LEAP_MAX;
        assert_eq!(bench.judge(&own, told(far)), Intake::Confirm { is_new: true });
        let forwarded = Teller::forwarded(&entry(3));
        assert_eq!(bench.judge(&forwarded, told(2)), Intake::Merge);
        assert_eq!(bench.judge(&forwarded, told(far)), Intake::Drop, "hearsay leaps a bounded way");
    }

    /// Rule: hearsay exceeds the confirmed life by at most a leap, so that every false death can be contradicted.
    #[test]
    fn hearsay_beyond_a_leap_is_dropped() {
        let bench = Bench::large();
        let dead = |incarnation| bench.judge(&teller(), report(3, incarnation, MemberState::Dead));
        assert_eq!(dead(INCARNATION_LEAP_MAX), Intake::Merge);
        assert_eq!(dead(INCARNATION_LEAP_MAX + 2), Intake::Drop);
    }

    /// Rule: a peer that finds itself marked raises its incarnation (design, small rings), but no teller can use up its
    /// incarnations by leaps.
    #[test]
    fn a_report_on_this_peer_leaps_a_bounded_way() {
        let bench = Bench::large();
        let of_me = |incarnation| bench.judge(&teller(), report(ME, incarnation, MemberState::Dead));
        assert_eq!(of_me(1), Intake::Merge);
        assert_eq!(of_me(1 + CONTRADICTED_LEAP_MAX), Intake::Merge);
        assert_eq!(of_me(2 + CONTRADICTED_LEAP_MAX), Intake::Drop);
    }

    /// Rule: strangers are met before they count, while every peer comes to know every other (architecture, transport).
    #[test]
    fn a_small_ring_meets_strangers_first() {
        let mut bench = Bench::new([(1, MemberState::Alive), (TELLER, MemberState::Alive)]);
        let merged = Intake::MergeStranger { accountable: entry(TELLER).position };
        let judge = |bench: &Bench, state| bench.judge(&teller(), report(200, 1, state));
        assert_eq!(judge(&bench, MemberState::Alive), Intake::Probe);
        assert_eq!(judge(&bench, MemberState::Dead), merged, "a dead stranger owns no key");
        assert_eq!(
            judge(&Bench::large(), MemberState::Alive),
            merged,
            "a dial for each stranger is too much"
        );
        bench.is_member = false;
        assert_eq!(judge(&bench, MemberState::Alive), merged, "an entering peer believes its host");
    }

    /// Rule: every list has a bound (design, laws): one teller accounts for at most a quarter of the table, and all
    /// forwarded senders together for as much as one peer.
    #[test]
    fn a_teller_accounts_for_a_bounded_number_of_strangers() {
        let mut bench = Bench::large();
        let stranger = report(200, 1, MemberState::Alive);
        let forwarded = Teller::forwarded(&entry(TELLER));
        let own = entry(ME).position;
        let on_own = Intake::MergeStranger { accountable: own };
        assert_eq!(bench.judge(&forwarded, stranger.clone()), on_own);
        for number in 0..Hearsay::TOLD_BY_ONE_MAX as u64 {
            let mut position = Position::ZERO;
            position.0[..8].copy_from_slice(&number.to_be_bytes());
            let entry = Entry::from(Life { position, ..(*entry(0)).clone() });
            bench.members.note_told(entry.position, own);
        }
        assert_eq!(bench.judge(&forwarded, stranger.clone()), Intake::Drop);
        let of_teller = Intake::MergeStranger { accountable: entry(TELLER).position };
        assert_eq!(bench.judge(&teller(), stranger), of_teller);
    }

    /// Rule: people hear of each arrival, death and departure once.
    #[test]
    fn a_change_of_state_is_one_event() {
        use MemberState::{Alive, Dead, Left};
        let at = entry(3).position;
        let event = |before, after| event_of(before, &report(3, 1, after), true);
        assert_eq!(event(None, Alive), Some(Event::Alive(at)));
        assert_eq!(event(Some(Dead), Alive), Some(Event::Alive(at)));
        assert_eq!(event(Some(Alive), Alive), None, "a later life");
        assert_eq!(event(Some(Alive), Dead), Some(Event::Dead(at)));
        assert_eq!(event(Some(Alive), Left), Some(Event::Left(at)));
        assert_eq!(event(Some(Dead), Left), Some(Event::Forgotten(at)));
        assert_eq!(event(None, Dead), None);
        assert_eq!(event(None, Left), None);
        assert_eq!(event_of(None, &report(3, 1, Alive), false), None, "before this peer is a member");
    }
}
