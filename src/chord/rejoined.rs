//! Members that were believed dead for a while and are back.
//!
//! They may have formed a ring of their own with others that were away. They keep the files that were stored there, and
//! these reach their owners only with the next rounds of repair. A death that is contradicted at once, because others
//! had it from hearsay, separated no peer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::counted::Counted;
use super::memory::TREE_ENTRY_BYTES;
use crate::id::Position;
use crate::time::Moment;

/// The members that came back lately, at most [`Rejoined::MAX`].
#[derive(Debug, Clone, Default)]
pub(super) struct Rejoined {
    /// Recent deaths, with the time at which each was learned.
    fresh: BTreeMap<Position, Moment>,
    /// Recent returns with their times, the latest last.
    recent: Counted<VecDeque<(Moment, Position)>>,
}

impl Rejoined {
    pub(super) const MAX: usize = 1_024;
    /// The least time for which a return is kept: several rounds of repair.
    const FOR: Duration = Duration::from_secs(60);

    /// Notes that a member is believed dead.
    pub(super) fn died(&mut self, now: Moment, position: Position) {
        if self.fresh.len() < Rejoined::MAX {
            self.fresh.insert(position, now);
        }
    }

    /// Notes that a member that was believed dead is alive.
    pub(super) fn lives(&mut self, now: Moment, position: Position) {
        if self.fresh.remove(&position).is_some() {
            return;
        }
        let recent = self.recent.change();
        recent.retain(|(_, known)| *known != position);
        if recent.len() == Rejoined::MAX {
            recent.pop_front();
        }
        recent.push_back((now, position));
    }

    /// Forgets old returns, and deaths older than `death_timeout`.
    pub(super) fn forget(&mut self, now: Moment, death_timeout: Duration) {
        self.fresh.retain(|_, at| now.since(*at) <= death_timeout);
        let kept_for = Rejoined::FOR.max(death_timeout * 4);
        while self.recent.front().is_some_and(|(at, _)| now.since(*at) > kept_for) {
            self.recent.change().pop_front();
        }
    }

    /// The number of changes to the set of members that came back.
    pub(super) fn changes(&self) -> u64 {
        self.recent.changes()
    }

    pub(super) fn positions(&self) -> BTreeSet<Position> {
        self.recent.iter().map(|(_, position)| *position).collect()
    }

    /// The memory that this takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.recent.capacity() * size_of::<(Moment, Position)>() + self.fresh.len() * TREE_ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u64) -> Position {
        let mut position = Position::ZERO;
        position.0[..8].copy_from_slice(&number.to_be_bytes());
        position
    }

    fn second(n: u64) -> Moment {
        Moment(n * 1_000_000)
    }

    fn back(rejoined: &Rejoined) -> Vec<Position> {
        rejoined.positions().into_iter().collect()
    }

    #[test]
    fn a_member_that_came_back_is_known_for_a_minute() {
        let mut rejoined = Rejoined::default();
        rejoined.lives(second(0), peer(1));
        rejoined.lives(second(1), peer(2));
        rejoined.lives(second(5), peer(1));
        rejoined.forget(second(61), DEATH);
        assert_eq!(back(&rejoined), [peer(1), peer(2)]);
        rejoined.forget(second(62), DEATH);
        assert_eq!(back(&rejoined), [peer(1)]);
        rejoined.forget(second(100), Duration::from_secs(24));
        assert_eq!(back(&rejoined), [peer(1)], "pings are rare");
    }

    #[test]
    fn a_death_that_is_contradicted_at_once_kept_nobody_apart() {
        let mut rejoined = Rejoined::default();
        for (number, back_at) in [(1, 3), (2, 4)] {
            rejoined.died(second(0), peer(number));
            rejoined.forget(second(back_at), DEATH);
            rejoined.lives(second(back_at), peer(number));
        }
        assert_eq!(back(&rejoined), [peer(2)]);
    }

    #[test]
    fn they_are_bounded() {
        let mut rejoined = Rejoined::default();
        for number in 0..=Rejoined::MAX as u64 {
            rejoined.lives(second(0), peer(number));
        }
        assert_eq!(rejoined.positions().len(), Rejoined::MAX);
        assert!(!rejoined.positions().contains(&peer(0)), "the first one went");
        for number in 0..=Rejoined::MAX as u64 {
            rejoined.died(second(0), peer(number));
        }
        assert_eq!(rejoined.fresh.len(), Rejoined::MAX);
    }

    const DEATH: Duration = Duration::from_secs(3);
}
