//! The schedule of repair rounds.
//!
//! A round is due after every change of this peer's neighbours, and of their room, once they have been the same for a moment; after an
//! object or record came that others may lack; again and again after a round that could not do all; and now and then
//! without any reason. A round covers the objects and records that are here when it begins; later ones lead to another
//! round.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::chord::{PhaseKind, View};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::Entry;

/// The schedule by which a peer makes its rounds of repair, one at a time.
///
/// Law: after any call, re-arm [`RepairSchedule::poll_timeout`]. Every [`RepairSchedule::begin`] that returns true is
/// followed by one [`RepairSchedule::end`].
#[derive(Debug, Clone)]
pub struct RepairSchedule {
    /// The time for which changes are gathered.
    settle: Duration,
    /// Whether this peer is active: only active peers make rounds.
    active: bool,
    /// The neighbours at the beginning of the last round.
    neighbours: Option<Neighbours>,
    /// The neighbours in the last view.
    seen: Option<Neighbours>,
    /// The moment since which the neighbours differ from the last round's, and the moment at which they should have
    /// been the same for long enough.
    changed: Option<(Moment, Moment)>,
    running: bool,
    /// The moment at which another round is due; set during a round as well, for after it.
    due: Option<Moment>,
    /// The pauses after rounds that could not do all.
    retry: Backoff,
}

/// The predecessor, the successors, and which of them have no room.
type Neighbours = (Option<Entry>, Vec<Entry>, Vec<Position>);

impl RepairSchedule {
    /// The schedule of a peer with this ping interval, before its first round. Changes are gathered for one interval,
    /// within bounds. So several in a row are one, and no files move while a ring is still coming together, or while a
    /// peer that starts anew is in no list for a moment.
    pub fn new(interval: Duration) -> RepairSchedule {
        RepairSchedule {
            settle: interval.clamp(SETTLE_MIN, SETTLE_MAX),
            active: false,
            neighbours: None,
            seen: None,
            changed: None,
            running: false,
            due: None,
            retry: RETRY,
        }
    }

    /// Takes notice of the ring as it is now.
    pub fn look(&mut self, now: Moment, view: &View) {
        let was_active = std::mem::replace(&mut self.active, view.phase == PhaseKind::Active);
        let neighbours = view.predecessor.iter().chain(&view.successors).map(|entry| entry.position);
        let full = neighbours.filter(|position| view.full.contains(position)).collect();
        let seen = (view.predecessor.clone(), view.successors.clone(), full);
        // An entering peer may know its neighbours already.
        let is_new = !was_active || self.seen.as_ref() != Some(&seen);
        let differs = self.neighbours.as_ref() != Some(&seen);
        self.seen = Some(seen);
        if self.active && is_new && (differs || self.changed.is_some()) {
            let (since, _) = self.changed.unwrap_or((now, now));
            self.changed = Some((since, (now + self.settle).min(since + self.settle * PUT_OFF_MAX)));
        }
    }

    /// Asks for a round, since an object or record came that others may lack.
    pub fn want(&mut self, now: Moment) {
        self.hasten(now);
    }

    /// The moment at which a round is due; `None` while one is running, or while this peer is not active.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let changed = self.changed.map(|(_, due)| due);
        self.due.into_iter().chain(changed).min().filter(|_| self.active && !self.running)
    }

    /// Begins a round with this view if one is due. Returns whether it begins.
    pub fn begin(&mut self, now: Moment, view: &View) -> bool {
        self.look(now, view);
        if self.poll_timeout().is_none_or(|due| due > now) {
            return false;
        }
        self.neighbours.clone_from(&self.seen);
        self.running = true;
        self.due = None;
        self.changed = None;
        true
    }

    /// Ends the round; `incomplete` if it could not do all.
    pub fn end(&mut self, now: Moment, incomplete: bool) {
        self.running = false;
        let pause = if incomplete {
            self.retry.next()
        } else {
            self.retry.reset();
            PERIOD
        };
        let wanted = self.due.is_some();
        let pause = if wanted { Duration::ZERO } else { pause };
        self.due = Some(now + pause + self.settle);
        if let Some((_, due)) = &mut self.changed {
            *due = now + self.settle;
        }
    }

    fn hasten(&mut self, now: Moment) {
        let soon = now + self.settle;
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }
}

/// The bounds of the time for which changes of the ring are gathered before a round.
const SETTLE_MIN: Duration = Duration::from_millis(150);
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// The most times as long as that a round is put off while changes go on.
const PUT_OFF_MAX: u32 = 4;
/// The pauses after rounds that could not do all, up to the period.
const RETRY: Backoff = Backoff::doubling(Duration::from_secs(2), PERIOD);
/// The time between two rounds without any change.
const PERIOD: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{view, view_of};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    /// A schedule after a first round at 1 s that ended at once.
    fn after_a_round() -> RepairSchedule {
        let mut schedule = RepairSchedule::new(SECOND);
        schedule.look(at(0), &view(20));
        assert_eq!(schedule.poll_timeout(), Some(at(1)));
        assert!(schedule.begin(at(1), &view(20)));
        schedule.end(at(1), false);
        schedule
    }

    #[test]
    fn without_any_change_a_round_is_made_now_and_then() {
        let mut schedule = after_a_round();
        assert_eq!(schedule.poll_timeout(), Some(at(32)), "half a minute, and the time to settle");
        schedule.look(at(20), &view(20));
        assert_eq!(schedule.poll_timeout(), Some(at(32)), "a look changes nothing");
        assert!(!schedule.begin(at(31), &view(20)));
        assert!(schedule.begin(at(32), &view(20)));
        assert_eq!(schedule.poll_timeout(), None, "one at a time");
    }

    #[test]
    fn changes_in_a_row_are_one() {
        let mut schedule = after_a_round();
        schedule.look(at(5), &view_of(20, &[10, 30, 40]));
        assert_eq!(schedule.poll_timeout(), Some(at(6)));
        schedule.look(at(6), &view_of(20, &[10, 30]));
        assert_eq!(schedule.poll_timeout(), Some(at(7)), "put off by the next one");
        assert!(!schedule.begin(at(6), &view_of(20, &[10, 30])));
        assert!(schedule.begin(at(7), &view_of(20, &[10, 30])));
        schedule.end(at(7), false);
        assert_eq!(schedule.poll_timeout(), Some(at(38)));
    }

    /// Goal: a neighbour that restarts, and is in no list for a moment, is back before a round begins. Endless changes
    /// do not put off a round for ever.
    #[test]
    fn a_round_waits_for_quiet_but_not_for_ever() {
        let mut schedule = after_a_round();
        schedule.look(at(5), &view_of(20, &[10, 30, 50]));
        let ms = |ms| at(5) + Duration::from_millis(ms);
        schedule.look(ms(990), &view_of(20, &[10, 50]));
        assert!(!schedule.begin(ms(1_000), &view_of(20, &[10, 50])), "30 is on its way");
        schedule.look(ms(1_020), &view_of(20, &[10, 30, 50]));
        assert_eq!(schedule.poll_timeout(), Some(ms(2_020)));
        for i in 2..40 {
            let others: &[u8] = if i % 2 == 0 { &[10, 30] } else { &[10, 30, 50] };
            schedule.look(ms(i * 500), &view_of(20, others));
        }
        assert_eq!(schedule.poll_timeout(), Some(at(9)));
    }

    #[test]
    fn an_object_that_comes_during_a_round_leads_to_another() {
        let mut schedule = after_a_round();
        assert!(schedule.begin(at(32), &view(20)));
        schedule.want(at(33));
        assert_eq!(schedule.poll_timeout(), None);
        schedule.end(at(40), true);
        assert_eq!(schedule.poll_timeout(), Some(at(41)));
        assert!(schedule.begin(at(41), &view(20)));
        schedule.look(at(42), &view_of(20, &[10]));
        schedule.end(at(43), false);
        assert_eq!(schedule.poll_timeout(), Some(at(44)));
    }

    #[test]
    fn an_incomplete_round_is_tried_again_later_and_later() {
        let mut schedule = after_a_round();
        let mut pauses = Vec::new();
        let mut now = schedule.poll_timeout().unwrap();
        for _ in 0..6 {
            assert!(schedule.begin(now, &view(20)));
            schedule.end(now, true);
            pauses.push((schedule.poll_timeout().unwrap() - now - SECOND).as_secs());
            now = schedule.poll_timeout().unwrap();
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30]);
        assert!(schedule.begin(now, &view(20)));
        schedule.end(now, false);
        assert!(schedule.begin(now + PERIOD + SECOND, &view(20)));
        schedule.end(now, true);
        assert_eq!(schedule.poll_timeout(), Some(now + RETRY.peek() + SECOND), "from the beginning");
    }

    /// Goal: a neighbour that is full, and one that has room again, lead to a round; another peer does not.
    #[test]
    fn a_change_of_a_neighbours_room_leads_to_a_round() {
        let mut schedule = after_a_round();
        let full = |number: u8| View { full: [super::super::sample::peer(number)].into(), ..view(20) };
        schedule.look(at(5), &full(99));
        assert_eq!(schedule.poll_timeout(), Some(at(32)));
        schedule.look(at(6), &full(30));
        assert!(schedule.begin(at(7), &full(30)));
        schedule.end(at(7), false);
        schedule.look(at(9), &view(20));
        assert_eq!(schedule.poll_timeout(), Some(at(10)));
    }

    /// Goal: a peer that knew its neighbours before it was in the ring still makes its first round.
    #[test]
    fn the_first_round_is_made_whenever_the_neighbours_were_met() {
        let mut schedule = RepairSchedule::new(SECOND);
        schedule.look(at(0), &View { phase: PhaseKind::Entering, ..view(20) });
        assert_eq!(schedule.poll_timeout(), None);
        schedule.look(at(1), &view(20));
        assert_eq!(schedule.poll_timeout(), Some(at(2)));
        assert!(schedule.begin(at(2), &view(20)));
    }

    #[test]
    fn only_an_active_peer_repairs() {
        let mut schedule = RepairSchedule::new(SECOND);
        let entering = View { phase: PhaseKind::Entering, ..view(20) };
        schedule.look(at(0), &entering);
        schedule.want(at(0));
        assert!(schedule.poll_timeout().is_none() && !schedule.begin(at(9), &entering));
        assert!(schedule.begin(at(9), &view(20)), "what was wanted meanwhile");
        schedule.end(at(9), false);
        let leaving = View { phase: PhaseKind::Leaving, ..view_of(20, &[]) };
        schedule.look(at(10), &leaving);
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn the_time_to_settle_follows_the_interval_within_bounds() {
        let due = |interval| {
            let mut schedule = RepairSchedule::new(interval);
            schedule.look(at(0), &view(20));
            schedule.poll_timeout().unwrap().since(at(0))
        };
        assert_eq!(due(Duration::from_millis(50)), SETTLE_MIN);
        assert_eq!(due(SECOND), SECOND);
        assert_eq!(due(60 * SECOND), SETTLE_MAX);
    }

    proptest! {
        /// Goal: an active peer with no round under way always has one due within the period, and within the settling
        /// time after its neighbours changed.
        #[test]
        fn a_round_is_always_due(steps in prop::collection::vec((0u8..5, 0u64..40), 1..60)) {
            let mut schedule = RepairSchedule::new(SECOND);
            let (mut now, mut running) = (at(0), false);
            let mut joined = false;
            schedule.look(now, &view_of(20, &[10, 30]));
            for (step, wait) in steps {
                now = now + SECOND * wait as u32;
                match step {
                    0 => joined = !joined,
                    1 => schedule.want(now),
                    2 if running => {
                        schedule.end(now, wait % 2 == 0);
                        running = false;
                    }
                    _ => {}
                }
                let view = if joined { view_of(20, &[10, 25, 30]) } else { view_of(20, &[10, 30]) };
                schedule.look(now, &view);
                if step == 3 {
                    running |= schedule.begin(now, &view);
                }
                let due = schedule.poll_timeout();
                prop_assert_eq!(due.is_none(), running);
                let within = if step < 2 { SECOND } else { PERIOD + SECOND };
                prop_assert!(running || due.unwrap() <= now + within);
            }
        }
    }
}
