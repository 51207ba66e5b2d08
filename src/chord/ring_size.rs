//! The judgement whether the ring is small: whether membership is a map or the corrected Chord protocol.
//!
//! The protocol holds from r + 2 members on (Zave 2017: r + 1 base members and one more). Below that every peer knows
//! every other one, and the successor list is the living others in order.

use std::time::Duration;

use crate::time::Moment;

/// The size of the ring as this peer judges it: small or large.
#[derive(Debug, Clone)]
pub(super) struct RingSize {
    small: bool,
    /// The moment since which so few are known alive that a large ring may have become small.
    few_since: Option<Moment>,
}

impl RingSize {
    /// A ring is taken for small until more members are known.
    pub(super) fn new() -> RingSize {
        RingSize { small: true, few_since: None }
    }

    /// Whether the ring is taken for small.
    pub(super) fn is_small(&self) -> bool {
        self.small
    }

    /// Whether a large ring may be about to become small.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.few_since.is_some()
    }

    /// Judges by whether few members are known alive. A member that took the ring for large waits one `period` before
    /// it believes that it became small: it may hear of a death long before it has met the peers that came meanwhile,
    /// and a list of the few that it knows would pass over them. `at_once` leaves the wait out, for a peer that has
    /// nothing better. Returns whether the ring has just become small.
    pub(super) fn judge(&mut self, now: Moment, few: bool, period: Duration, at_once: bool) -> bool {
        if !few || self.small {
            (self.small, self.few_since) = (few, None);
            return false;
        }
        let since = *self.few_since.get_or_insert(now);
        if since + period > now && !at_once {
            return false;
        }
        (self.small, self.few_since) = (true, None);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(1);

    fn at(tenths: u64) -> Moment {
        Moment(tenths * 100_000)
    }

    fn large() -> RingSize {
        let mut size = RingSize::new();
        assert!(!size.judge(at(0), false, PERIOD, false) && !size.is_small());
        size
    }

    /// Rule: a ring becomes large at once, and small after a period in which few members were known all the time.
    #[test]
    fn a_large_ring_becomes_small_after_one_period() {
        let mut size = large();
        assert!(!size.judge(at(10), true, PERIOD, false) && size.is_in_doubt());
        assert!(!size.judge(at(19), true, PERIOD, false) && !size.is_small());
        assert!(size.judge(at(20), true, PERIOD, false) && size.is_small());
        assert!(!size.judge(at(30), true, PERIOD, false), "it has been small before");
    }

    #[test]
    fn many_members_end_the_doubt() {
        let mut size = large();
        size.judge(at(10), true, PERIOD, false);
        size.judge(at(15), false, PERIOD, false);
        assert!(!size.is_in_doubt());
        assert!(!size.judge(at(20), true, PERIOD, false), "the period begins anew");
    }

    #[test]
    fn a_peer_with_an_empty_list_does_not_wait() {
        let mut size = large();
        assert!(size.judge(at(10), true, PERIOD, true) && size.is_small());
    }
}
