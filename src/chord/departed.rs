//! Members that left or were forgotten, and may have kept records or files that no answering member has seen.
//!
//! The other keepers hold what such a member kept for the ring, and repair makes new copies from theirs. A keeper that
//! does not answer at that time makes none. So departed members count for as long as any member is away: until every
//! member has answered for one whole minute.

use std::collections::BTreeSet;
use std::time::Duration;

use super::counted::Counted;
use super::memory::TREE_ENTRY_BYTES;
use crate::id::Position;
use crate::time::Moment;

/// The departed members, at most [`Departed::MAX`].
#[derive(Debug, Clone, Default)]
pub(super) struct Departed {
    gone: Counted<BTreeSet<Position>>,
    /// The moment since which every member answers and no member has departed.
    all_here_since: Option<Moment>,
}

impl Departed {
    pub(super) const MAX: usize = 1_024;
    /// The time for which every member has to answer: several rounds of repair.
    const FOR: Duration = Duration::from_secs(60);

    /// Notes that a member left, or was forgotten.
    pub(super) fn left(&mut self, position: Position) {
        self.all_here_since = None;
        if self.gone.len() < Departed::MAX {
            self.gone.change().insert(position);
        }
    }

    /// The peer is a member again.
    pub(super) fn lives(&mut self, position: &Position) {
        if self.gone.contains(position) {
            self.gone.change().remove(position);
        }
    }

    /// Lets time pass: departed members no longer count once every member has answered for long enough.
    pub(super) fn look(&mut self, now: Moment, somebody_is_away: bool) {
        if somebody_is_away || self.gone.is_empty() {
            self.all_here_since = None;
            return;
        }
        let since = *self.all_here_since.get_or_insert(now);
        if now.since(since) >= Departed::FOR {
            self.gone.change().clear();
            self.all_here_since = None;
        }
    }

    /// The number of changes to the set of departed members.
    pub(super) fn changes(&self) -> u64 {
        self.gone.changes()
    }

    pub(super) fn positions(&self) -> BTreeSet<Position> {
        BTreeSet::clone(&self.gone)
    }

    /// The memory that this set takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.gone.len() * TREE_ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Moment {
        Moment(n * 1_000_000)
    }

    #[test]
    fn they_count_until_every_member_answered_for_a_minute() {
        let peer = Position::of_number;
        let mut departed = Departed::default();
        departed.left(peer(1));
        departed.left(peer(2));
        departed.lives(&peer(2));
        // A member is away at 60 s, so that the minute begins anew.
        for (at, somebody_is_away) in [(0, false), (59, false), (60, true), (61, false), (120, false)] {
            departed.look(second(at), somebody_is_away);
            assert_eq!(departed.positions(), [peer(1)].into(), "at {at} s");
        }
        let changes = departed.changes();
        departed.look(second(121), false);
        assert!(departed.positions().is_empty() && departed.changes() > changes);
        let changes = departed.changes();
        departed.look(second(300), false);
        assert_eq!(departed.changes(), changes, "there is nothing to change");
    }
}
