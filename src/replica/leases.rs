//! Leases: how long an object stays after the last name that referred to it.
//!
//! The owner of a name renews, once in each period, the leases of the objects that the name refers to, at their
//! replicas. The other keepers of the name do so every third time: the owner may be unable to read what it keeps. A
//! replica whose lease has lapsed frees the object. Rules that keep a wrong clock, or a ring in trouble, from
//! freeing what is needed:
//!
//! - An object without a lease gets one when it is first looked at.
//! - A peer frees nothing before it has seen the whole ring, with no member away, for two periods: each owner of names has
//!   renewed by then, whatever the clocks say.
//! - A lease that is dated in the future counts from now on.
//! - A renewal is dated no earlier than the last look at the leases. Between two looks a peer's view of the ring's time
//!   may go back and come forward again, and no look sees a jump.
//! - A peer whose range grows frees nothing for two periods: nobody has renewed the leases of the copies that it has of the
//!   new part by chance.
//! - A peer that sees the ring's time jump frees nothing for two periods, and renews at once: by the new time, every lease
//!   may seem to have lapsed. (Machines without a clock of their own may all be years behind until their line to the
//!   outside comes up.)
//! - The lease is looked at again in the transaction that removes the object.

use std::collections::BTreeMap;
use std::time::Duration;

use super::freeing::KeptRange;
use crate::id::ContentId;
use crate::time::{Moment, millis};

/// The times of leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The time between two renewals. Shorter costs traffic.
    pub period: Duration,
    /// How long an object stays after the last renewal; at least two periods.
    pub kept_for: Duration,
}

impl Default for LeaseTerms {
    fn default() -> LeaseTerms {
        let day = Duration::from_secs(86_400);
        LeaseTerms { period: day, kept_for: 7 * day }
    }
}

impl LeaseTerms {
    /// The time between two looks at leases.
    pub fn tick(&self) -> Duration {
        self.period / TICKS_PER_PERIOD
    }

    /// The latest date of a lease of an object that no name refers to any more: a renewal is overdue by half a period.
    pub fn unreferenced_before(&self, now_unix_ms: u64) -> u64 {
        now_unix_ms.saturating_sub(millis(self.period + self.period / 2))
    }

    /// When a lease of this date lapses.
    pub fn lapses_at(&self, leased_unix_ms: u64) -> u64 {
        leased_unix_ms.saturating_add(millis(self.kept_for))
    }

    /// The latest date of a lease that has lapsed at this time, both in milliseconds since the Unix epoch.
    pub fn lapsed_before(&self, now_unix_ms: u64) -> u64 {
        now_unix_ms.saturating_sub(millis(self.kept_for))
    }
}

/// When this peer renews, and when it may free objects.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeaseSchedule {
    renewed: Option<Moment>,
    renewals: u32,
    whole_since: Option<Moment>,
    /// The moment of the last look, and the ring's time then, in milliseconds since the Unix epoch.
    looked: Option<(Moment, u64)>,
    /// The range that this peer kept at the last look.
    kept: Option<KeptRange>,
}

/// The work that is due at a look at the leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeasesDue {
    /// The leases of the objects that this peer's names refer to are renewed.
    pub renew: bool,
    /// This time those of all names that this peer keeps, not only of those that it owns.
    pub of_all_kept: bool,
    /// Objects whose lease has lapsed are freed.
    pub free: bool,
}

impl LeaseSchedule {
    /// Looks at the ring, whose time is `ring_ms` in milliseconds since the Unix epoch, and of which this peer keeps this
    /// range. `whole`: this peer is active in it, and no member is away.
    pub fn look(
        &mut self,
        now: Moment,
        ring_ms: u64,
        kept: KeptRange,
        (active, whole): (bool, bool),
        terms: &LeaseTerms,
    ) -> LeasesDue {
        let jumped = self.looked.replace((now, ring_ms)).is_some_and(|(then, then_ms)| {
            let expected = then_ms.saturating_add(millis(now.since(then)));
            expected.abs_diff(ring_ms) > millis(terms.tick())
        });
        if jumped {
            (self.whole_since, self.renewed) = (None, None);
        }
        if self.kept.replace(kept).is_some_and(|before| kept.reaches_beyond(&before)) {
            self.whole_since = None;
        }
        self.whole_since = match (active && whole, self.whole_since) {
            (true, since) => since.or(Some(now)),
            (false, _) => None,
        };
        let renew = active && self.renewed.is_none_or(|at| now.since(at) >= terms.period);
        let of_all_kept = renew && self.renewals.is_multiple_of(RENEWALS_PER_KEEPERS);
        if renew {
            self.renewed = Some(now);
            self.renewals = self.renewals.wrapping_add(1);
        }
        let free = self.whole_since.is_some_and(|since| now.since(since) >= terms.period * 2);
        LeasesDue { renew, of_all_kept, free }
    }

    /// The date of a lease that is renewed while the ring's time is `ring_ms`, both in milliseconds since the Unix epoch.
    pub fn date(&self, ring_ms: u64) -> u64 {
        self.looked.map_or(ring_ms, |(_, looked_ms)| looked_ms.max(ring_ms))
    }

    /// Notes that a renewal did not reach all replicas: it is made again at the next look.
    pub fn renew_again(&mut self) {
        self.renewed = None;
    }
}

/// The leases of one peer, in memory: of a simulated disk.
#[derive(Debug, Clone, Default)]
pub struct LeaseBook {
    /// The last renewal of each object, in milliseconds since the Unix epoch; `None` for an object that was freed.
    leases: BTreeMap<ContentId, Option<u64>>,
}

impl LeaseBook {
    /// Renews the lease of an object that is here, or was freed here.
    pub fn renew(&mut self, content: &ContentId, here: bool, at_unix_ms: u64) {
        match here {
            true => drop(self.leases.insert(*content, Some(at_unix_ms))),
            false => drop(self.leases.remove(content)),
        }
    }

    /// Whether the lease of an object that is here has lapsed. One without a lease, or with one dated in the future, gets
    /// one now.
    pub fn look(&mut self, content: &ContentId, now_unix_ms: u64, terms: &LeaseTerms) -> bool {
        let lease = self.leases.entry(*content).or_default().get_or_insert(now_unix_ms);
        *lease = (*lease).min(now_unix_ms);
        *lease <= terms.lapsed_before(now_unix_ms)
    }

    /// Whether the lease of an object has lapsed by this date; none is given.
    pub fn is_lapsed(&self, content: &ContentId, lapsed_before_unix_ms: u64) -> bool {
        self.leases.get(content).copied().flatten().is_some_and(|at| at <= lapsed_before_unix_ms)
    }

    /// Notes that an object was freed: it is not taken back from a peer that has not freed it yet.
    pub fn freed(&mut self, content: &ContentId) {
        self.leases.insert(*content, None);
    }

    /// Whether an object was freed, and no name has referred to it since.
    pub fn was_freed(&self, content: &ContentId) -> bool {
        self.leases.get(content) == Some(&None)
    }

    /// Notes that an object has come: its lease begins anew.
    pub fn came(&mut self, content: &ContentId) {
        self.leases.remove(content);
    }
}

/// Every so many renewals include the names that other peers own. Three periods are far less than a lease lasts.
const RENEWALS_PER_KEEPERS: u32 = 3;
/// The number of looks at the leases in one period.
const TICKS_PER_PERIOD: u32 = 24;

#[cfg(test)]
mod tests {
    use super::super::sample::view_of;
    use super::*;

    const DAY: u64 = 86_400_000;

    fn at(days: u64) -> Moment {
        Moment::default() + Duration::from_millis(days * DAY)
    }

    /// Whether to renew, and whether to free.
    fn looked(schedule: &mut LeaseSchedule, at: Moment, active: bool, whole: bool) -> (bool, bool) {
        looked_at(schedule, at, at.0 / 1_000, active, whole)
    }

    fn looked_at(
        schedule: &mut LeaseSchedule,
        at: Moment,
        ring_ms: u64,
        active: bool,
        whole: bool,
    ) -> (bool, bool) {
        let LeasesDue { renew, free, .. } =
            schedule.look(at, ring_ms, kept(&[10, 20, 30, 40]), (active, whole), &LeaseTerms::default());
        (renew, free)
    }

    fn of_all_kept(schedule: &mut LeaseSchedule, at: Moment) -> bool {
        let kept = kept(&[10, 20, 30, 40]);
        schedule.look(at, at.0 / 1_000, kept, (true, true), &LeaseTerms::default()).of_all_kept
    }

    /// The range that peer 50 keeps beside these.
    fn kept(others: &[u8]) -> KeptRange {
        KeptRange::of(&view_of(50, others), 3)
    }

    #[test]
    fn every_third_renewal_is_of_all_kept_names() {
        let mut schedule = LeaseSchedule::default();
        let of_all: Vec<bool> = (0..6).map(|day| of_all_kept(&mut schedule, at(day))).collect();
        assert_eq!(of_all, [true, false, false, true, false, false]);
        let half = Duration::from_millis(DAY / 2);
        assert!(!of_all_kept(&mut schedule, at(5) + half), "none is due");
    }

    /// Goal (design §5): no peer frees anything while a member is away, nor before all owners have renewed.
    #[test]
    fn nothing_is_freed_before_the_ring_was_whole_for_two_periods() {
        let mut schedule = LeaseSchedule::default();
        assert_eq!(looked(&mut schedule, at(0), false, false), (false, false));
        assert_eq!(looked(&mut schedule, at(1), true, true), (true, false));
        assert_eq!(looked(&mut schedule, at(2), true, true), (true, false));
        assert_eq!(looked(&mut schedule, at(3), true, true), (true, true));
        assert_eq!(looked(&mut schedule, at(4), true, false), (true, false), "a member is away");
        assert_eq!(looked(&mut schedule, at(5), true, true), (true, false));
        let half = Duration::from_millis(DAY / 2);
        assert_eq!(looked(&mut schedule, at(5) + half, true, true), (false, false));
        schedule.renew_again();
        assert_eq!(looked(&mut schedule, at(5) + half, true, true), (true, false));
        assert_eq!(looked(&mut schedule, at(7), true, true), (true, true));
    }

    /// Reported: a peer with an old surplus copy became a keeper, and freed the copy, since nobody had renewed its lease.
    #[test]
    fn nothing_is_freed_for_two_periods_after_the_range_has_grown() {
        let mut schedule = LeaseSchedule::default();
        let mut look = |day: u64, others: &[u8]| {
            let terms = LeaseTerms::default();
            schedule.look(at(day), day * DAY, kept(others), (true, true), &terms).free
        };
        let (all, fewer) = ([10, 20, 30, 40], [10, 20, 40]);
        assert_eq!([0, 1, 2].map(|day| look(day, &all)), [false, false, true]);
        assert_eq!([3, 4, 5].map(|day| look(day, &fewer)), [false, false, true]);
        assert!(look(6, &all), "a range that shrinks has no new copies");
    }

    /// Reported: the clocks of a ring without a line to the outside were set forward by years, and every file was freed,
    /// since all leases were older than seven days at once.
    #[test]
    fn nothing_is_freed_for_two_periods_after_the_time_has_jumped() {
        for (forward, back) in [(400, 0), (0, 400), (1, 0)] {
            let mut schedule = LeaseSchedule::default();
            let ring_ms = |day: u64, jumped: bool| {
                let (forward, back) = if jumped { (forward, back) } else { (0, 0) };
                (1_000 + day + forward - back) * DAY
            };
            for day in 0..3 {
                looked_at(&mut schedule, at(day), ring_ms(day, false), true, true);
            }
            let half = at(2) + Duration::from_millis(DAY / 2);
            let jumped = ring_ms(2, true) + DAY / 2;
            assert_eq!(looked_at(&mut schedule, half, jumped, true, true), (true, false), "renewed at once");
            let later = looked_at(&mut schedule, at(4), ring_ms(4, true), true, true);
            assert_eq!(later, (true, false));
            let soon = looked_at(&mut schedule, at(5), ring_ms(5, true), true, true);
            assert_eq!(soon, (true, true));
        }
        let (mut schedule, hour) = (LeaseSchedule::default(), DAY / 24);
        for day in 0..3 {
            looked_at(&mut schedule, at(day), day * DAY + day * hour, true, true);
        }
        let drifted = looked_at(&mut schedule, at(3), 3 * DAY + 3 * hour, true, true);
        assert_eq!(drifted, (true, true), "a clock that drifts by an hour a day has not jumped");
    }

    /// Found by a plan: a clock was an hour behind between two looks, and right at both; the lease that was renewed meanwhile
    /// lapsed a second later.
    #[test]
    fn a_renewal_is_dated_no_earlier_than_the_last_look() {
        let mut schedule = LeaseSchedule::default();
        assert_eq!(schedule.date(5 * DAY), 5 * DAY);
        looked(&mut schedule, at(10), true, true);
        assert_eq!([9, 10, 11].map(|day| schedule.date(day * DAY)), [10, 10, 11].map(|day| day * DAY));
    }

    #[test]
    fn an_object_that_is_not_renewed_for_a_day_and_a_half_is_on_its_way_out() {
        let terms = LeaseTerms::default();
        assert_eq!(terms.unreferenced_before(10 * DAY), 8 * DAY + DAY / 2);
        assert_eq!(terms.lapses_at(3 * DAY), 10 * DAY);
        assert_eq!(terms.lapsed_before(terms.lapses_at(3 * DAY)), 3 * DAY);
    }

    #[test]
    fn a_lease_lapses_seven_days_after_the_last_renewal() {
        let (terms, content) = (LeaseTerms::default(), ContentId::of(b"x"));
        let mut book = LeaseBook::default();
        assert!(!book.look(&content, 10 * DAY, &terms), "it has one from now on");
        assert!(!book.look(&content, 17 * DAY - 1, &terms));
        assert!(
            book.look(&content, 17 * DAY, &terms) && book.is_lapsed(&content, terms.lapsed_before(17 * DAY))
        );
        book.renew(&content, true, 17 * DAY);
        assert!(
            !book.look(&content, 23 * DAY, &terms)
                && !book.is_lapsed(&content, terms.lapsed_before(23 * DAY))
        );
    }

    /// Goal: a clock that was a year ahead for a moment frees nothing early, and keeps nothing for a year.
    #[test]
    fn a_lease_of_the_future_counts_from_now_on() {
        let (terms, content) = (LeaseTerms::default(), ContentId::of(b"x"));
        let mut book = LeaseBook::default();
        book.renew(&content, true, 400 * DAY);
        assert!(!book.look(&content, 10 * DAY, &terms));
        assert!(book.look(&content, 17 * DAY, &terms));
    }

    #[test]
    fn a_freed_object_is_not_taken_back_until_a_name_refers_to_it() {
        let content = ContentId::of(b"x");
        let mut book = LeaseBook::default();
        assert!(!book.was_freed(&content));
        book.freed(&content);
        assert!(book.was_freed(&content) && !book.is_lapsed(&content, u64::MAX));
        book.renew(&content, false, DAY);
        assert!(!book.was_freed(&content));
        book.freed(&content);
        book.came(&content);
        assert!(!book.was_freed(&content));
    }
}
