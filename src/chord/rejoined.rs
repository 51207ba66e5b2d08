//! Members that were believed dead for a while and are back.
//!
//! They, with others that were away, may have been a ring of their own: what was stored there is with them, and
//! comes to where it belongs only with the next rounds of repair. A death that is contradicted at once, as others
//! had only heard of it, kept nobody apart.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::id::Position;
use crate::time::Moment;
use crate::wire::Entry;

/// Who came back lately, at most [`Rejoined::MAX`].
#[derive(Debug, Clone, Default)]
pub(super) struct Rejoined {
    /// Deaths that were learned of just now.
    fresh: BTreeMap<Position, Moment>,
    /// The latest one last.
    recent: VecDeque<(Moment, Entry)>,
}

impl Rejoined {
    pub(super) const MAX: usize = 1_024;
    /// For how long that is of interest: several rounds of repair.
    const FOR: Duration = Duration::from_secs(60);

    /// A member is believed dead.
    pub(super) fn died(&mut self, now: Moment, position: Position) {
        if self.fresh.len() < Rejoined::MAX {
            self.fresh.insert(position, now);
        }
    }

    /// A member that was believed dead lives, in this life.
    pub(super) fn lives(&mut self, now: Moment, entry: &Entry) {
        if self.fresh.remove(&entry.position).is_some() {
            return;
        }
        self.recent.retain(|(_, known)| known.position != entry.position);
        if self.recent.len() == Rejoined::MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, entry.clone()));
    }

    /// Forgets those that came back long ago, and that a death is fresh after so long.
    pub(super) fn forget(&mut self, now: Moment, fresh_for: Duration) {
        self.fresh.retain(|_, at| now.since(*at) <= fresh_for);
        while self.recent.front().is_some_and(|(at, _)| now.since(*at) > Rejoined::FOR) {
            self.recent.pop_front();
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.recent.iter().map(|(_, entry)| entry)
    }

    /// What this takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.recent.capacity() * size_of::<(Moment, Entry)>()
            + self.fresh.len() * size_of::<(Position, Moment)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyHash;
    use crate::wire::{Address, Life};

    fn entry(number: u64, incarnation: u64) -> Entry {
        let mut position = Position::ZERO;
        position.0[..8].copy_from_slice(&number.to_be_bytes());
        let address = Address::new("127.0.0.1:1").unwrap();
        Entry::from(Life { position, incarnation, key: KeyHash([0; 32]), address })
    }

    fn second(n: u64) -> Moment {
        Moment(n * 1_000_000)
    }

    #[test]
    fn who_came_back_is_known_for_a_minute_in_its_last_life() {
        let mut rejoined = Rejoined::default();
        rejoined.lives(second(0), &entry(1, 1));
        rejoined.lives(second(1), &entry(2, 1));
        rejoined.lives(second(5), &entry(1, 2));
        rejoined.forget(second(61), FRESH);
        assert_eq!(rejoined.entries().collect::<Vec<_>>(), [&entry(2, 1), &entry(1, 2)]);
        rejoined.forget(second(62), FRESH);
        assert_eq!(rejoined.entries().collect::<Vec<_>>(), [&entry(1, 2)]);
    }

    #[test]
    fn a_death_that_is_contradicted_at_once_kept_nobody_apart() {
        let mut rejoined = Rejoined::default();
        for (number, back_at) in [(1, 3), (2, 4)] {
            rejoined.died(second(0), entry(number, 1).position);
            rejoined.forget(second(back_at), FRESH);
            rejoined.lives(second(back_at), &entry(number, 2));
        }
        assert_eq!(rejoined.entries().collect::<Vec<_>>(), [&entry(2, 2)]);
    }

    #[test]
    fn they_are_bounded() {
        let mut rejoined = Rejoined::default();
        for number in 0..=Rejoined::MAX as u64 {
            rejoined.lives(second(0), &entry(number, 1));
        }
        assert_eq!(rejoined.entries().count(), Rejoined::MAX);
        assert_eq!(rejoined.entries().next(), Some(&entry(1, 1)));
        for number in 0..=Rejoined::MAX as u64 {
            rejoined.died(second(0), entry(number, 1).position);
        }
        assert_eq!(rejoined.fresh.len(), Rejoined::MAX);
    }

    const FRESH: Duration = Duration::from_secs(3);
}
