//! The backoff for silent members. They are asked again now and then, since they may be back: less often each time.
//!
//! Every peer of a ring does that. So the longest pause grows with the number of peers, and all together ask a member
//! that has long been silent about once a minute. After a long split each half still finds the other within a minute or
//! so: the fewer peers remember a member, the more often each asks it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::time::Moment;
use crate::wire::Address;

/// The addresses that this peer has asked in vain, and when it asks next. At most [`Silences::MAX`]; an address beyond
/// that is not recorded, and is asked without backoff.
#[derive(Debug, Clone, Default)]
pub(super) struct Silences(BTreeMap<Address, Silence>);

#[derive(Debug, Clone)]
struct Silence {
    times: u32,
    next: Moment,
    /// The moment at which the silence is forgotten, unless the address is asked again before.
    until: Moment,
}

impl Silences {
    pub(super) const MAX: usize = 4_096;

    /// Whether the backoff for this address has passed.
    pub(super) fn may_ask(&self, now: Moment, address: &Address) -> bool {
        self.0.get(address).is_none_or(|silence| silence.next <= now)
    }

    /// Notes that this address is asked now. `step` is the first pause; `askers` is the number of peers that do the
    /// same.
    pub(super) fn asked(&mut self, now: Moment, address: &Address, step: Duration, askers: usize) {
        if self.0.len() >= Silences::MAX {
            self.0.retain(|_, silence| silence.until > now);
        }
        if self.0.len() >= Silences::MAX && !self.0.contains_key(address) {
            return;
        }
        let times = self.0.get(address).map_or(0, |silence| silence.times.saturating_add(1));
        let longest = EACH.saturating_mul(askers.clamp(1, Silences::MAX) as u32).max(step);
        let pause = Backoff::doubling(step, longest).after(times);
        let silence = Silence { times, next: now + pause, until: now + pause * 2 + EACH };
        self.0.insert(address.clone(), silence);
    }

    /// Notes that a peer at this address is alive.
    pub(super) fn broken(&mut self, address: &Address) {
        self.0.remove(address);
    }

    /// The memory that this takes, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.0.len() * super::memory::TREE_ENTRY_BYTES
    }
}

/// The time between two questions to a member that has long been silent, by all peers together.
const EACH: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(port: u16) -> Address {
        Address::new(&format!("127.0.0.1:{port}")).unwrap()
    }

    /// The seconds at which a silent member is asked within an hour, if the rule is evaluated each second.
    fn asked_within_an_hour(askers: usize) -> Vec<u64> {
        let mut silences = Silences::default();
        let at = |second| Moment(second * 1_000_000);
        let mut asked = Vec::new();
        for second in 0..3_600 {
            if silences.may_ask(at(second), &address(1)) {
                silences.asked(at(second), &address(1), 4 * SECOND, askers);
                asked.push(second);
            }
        }
        asked
    }

    #[test]
    fn it_declines_to_one_a_minute_for_all_together() {
        assert_eq!(asked_within_an_hour(1)[..7], [0, 4, 12, 28, 60, 120, 180]);
        for askers in [1, 2, 6, 20] {
            let last = asked_within_an_hour(askers).into_iter().filter(|second| *second >= 1_800);
            let all = last.count() * askers;
            assert!(all <= 30 + 2 * askers, "{askers} peers ask {all} times in half an hour");
        }
    }

    #[test]
    fn each_address_by_itself_until_somebody_is_there() {
        let mut silences = Silences::default();
        let now = Moment(0);
        silences.asked(now, &address(1), SECOND, 3);
        assert!(!silences.may_ask(now, &address(1)) && silences.may_ask(now, &address(2)));
        silences.broken(&address(1));
        assert!(silences.may_ask(now, &address(1)));
        for port in 1..=Silences::MAX as u16 + 1 {
            silences.asked(now, &address(port), SECOND, 3);
        }
        assert_eq!(silences.0.len(), Silences::MAX);
        silences.asked(now + 2 * EACH, &address(60_000), SECOND, 3);
        assert_eq!(silences.0.len(), 1, "the others were forgotten");
    }
}
