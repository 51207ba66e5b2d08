//! The ring's time: the median of the clocks around a peer.
//!
//! One wrong clock, a neighbour's or a peer's own, does not move the median of several. Of two clocks that differ, it
//! cannot be told which is right: then the later one counts, so that neither is refused for being ahead.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::Position;
use crate::time::Moment;

/// The readings of other clocks, relative to the monotonic clock by which a peer decides. So this machine's own clock
/// may be set meanwhile.
#[derive(Debug, Clone, Default)]
pub struct RingClock {
    /// The reading of each clock, less the moment at which it was heard, in milliseconds; and that moment.
    heard: BTreeMap<Position, (i64, Moment)>,
}

impl RingClock {
    /// Takes the reading of a peer's clock. The time that it was on its way is far below what counts here.
    pub fn hear(&mut self, now: Moment, from: Position, its_unix_ms: u64) {
        self.heard.retain(|_, (_, at)| now.since(*at) <= HEARD_FOR);
        if self.heard.len() < HEARD_MAX || self.heard.contains_key(&from) {
            self.heard.insert(from, (clamped(its_unix_ms, millis(now)), now));
        }
    }

    /// The lead of the ring's time over this machine's clock, in milliseconds: the median of all clocks that were heard
    /// lately and this one. A difference within [`CLOCK_WRONG_MS`] counts as 0.
    pub fn offset_ms(&self, now: Moment, own_unix_ms: u64) -> i64 {
        let own = clamped(own_unix_ms, millis(now));
        let mut offsets: Vec<i64> = self.lately(now).map(|its| its.saturating_sub(own)).chain([0]).collect();
        offsets.sort_unstable();
        let median = offsets[offsets.len() / 2];
        if median.unsigned_abs() > CLOCK_WRONG_MS { median } else { 0 }
    }

    /// The error of this machine's own clock against the ring's time, in milliseconds, positive if it is behind; `None`
    /// if it is right or too few other clocks were heard.
    pub fn own_error_ms(&self, now: Moment, own_unix_ms: u64) -> Option<i64> {
        let judges = self.lately(now).count();
        Some(self.offset_ms(now, own_unix_ms)).filter(|offset| *offset != 0 && judges >= JUDGES_MIN)
    }

    /// The ring's time in milliseconds since the Unix epoch, when this machine's clock shows `own_unix_ms`.
    pub fn unix_ms(&self, now: Moment, own_unix_ms: u64) -> u64 {
        own_unix_ms.saturating_add_signed(self.offset_ms(now, own_unix_ms))
    }

    fn lately(&self, now: Moment) -> impl Iterator<Item = i64> {
        self.heard.values().filter(move |(_, at)| now.since(*at) <= HEARD_FOR).map(|(its, _)| *its)
    }
}

fn millis(moment: Moment) -> u64 {
    moment.0 / 1_000
}

fn clamped(more: u64, less: u64) -> i64 {
    (i128::from(more) - i128::from(less)).clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// The greatest difference, in milliseconds, at which a clock still counts as right.
pub const CLOCK_WRONG_MS: u64 = 10_000;
/// The time for which a clock that was heard counts: pings may be a minute apart.
const HEARD_FOR: Duration = Duration::from_secs(180);
/// The most clocks that are kept.
const HEARD_MAX: usize = 32;
/// The fewest other clocks that can call this machine's clock wrong.
const JUDGES_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const HALF_AN_HOUR: i64 = 30 * 60 * 1_000;

    /// A clock that has heard of other clocks, each ahead by its offset.
    fn heard(offsets: &[i64]) -> RingClock {
        let mut clock = RingClock::default();
        for (number, offset) in (1..).zip(offsets) {
            let its = NOW.saturating_add_signed(*offset);
            clock.hear(Moment::default(), Position::of_number(number), its);
        }
        clock
    }

    fn judged(offsets: &[i64]) -> (i64, Option<i64>) {
        let clock = heard(offsets);
        (clock.offset_ms(Moment::default(), NOW), clock.own_error_ms(Moment::default(), NOW))
    }

    #[test]
    fn most_clocks_are_right() {
        let late = HALF_AN_HOUR;
        assert_eq!(judged(&[]), (0, None));
        assert_eq!(judged(&[late, 0, 3]), (0, None), "one of the others is wrong");
        assert_eq!(judged(&[-late, 0, 3]), (0, None));
        assert_eq!(judged(&[late, late + 5, late - 5]), (late, Some(late)), "this one is behind");
        assert_eq!(judged(&[-late, -late, -late]), (-late, Some(-late)), "this one is ahead");
        assert_eq!(judged(&[late, late]), (late, Some(late)));
        assert_eq!(judged(&[900, -900, 4_000]), (0, None), "clocks differ a little");
    }

    /// Goal: of two clocks, neither is called wrong. The later one bounds the future, so neither refuses the other.
    #[test]
    fn of_two_the_later_one_counts() {
        assert_eq!(judged(&[HALF_AN_HOUR]), (HALF_AN_HOUR, None));
        assert_eq!(judged(&[-HALF_AN_HOUR]), (0, None));
    }

    #[test]
    fn a_clock_heard_long_ago_counts_no_more() {
        let clock = heard(&[HALF_AN_HOUR, HALF_AN_HOUR]);
        let later = Moment::default() + HEARD_FOR + Duration::from_millis(1);
        assert_eq!((clock.offset_ms(later, NOW), clock.unix_ms(later, NOW)), (0, NOW));
        assert_eq!(clock.unix_ms(Moment::default(), NOW), NOW + HALF_AN_HOUR as u64);
    }

    /// Goal: a clock that is set right is right at once, whatever it heard before.
    #[test]
    fn this_machines_clock_is_set() {
        let clock = heard(&[HALF_AN_HOUR, HALF_AN_HOUR, HALF_AN_HOUR]);
        let later = Moment::default() + Duration::from_secs(10);
        let right = NOW + HALF_AN_HOUR as u64 + 10_000;
        assert_eq!((clock.own_error_ms(later, right), clock.unix_ms(later, right)), (None, right));
        assert_eq!(clock.unix_ms(later, NOW + 10_000), right, "and before that by the ring's");
    }

    #[test]
    fn it_is_bounded() {
        let mut clock = heard(&[]);
        for number in 0..=255 {
            clock.hear(Moment::default(), Position::of_number(number), u64::MAX);
        }
        assert_eq!(clock.heard.len(), HEARD_MAX);
        assert_eq!(clock.unix_ms(Moment::default(), u64::MAX), u64::MAX);
    }
}
