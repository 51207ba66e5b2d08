//! Members that left, or were forgotten, and may have kept what nobody else who answers has seen.
//!
//! What such a member kept for the ring is with its other keepers, and repair makes copies of it again. A keeper that
//! does not answer at that time makes none. So those that went count as long as somebody is away: until there was a
//! minute in which every member answered.

use std::collections::BTreeSet;
use std::time::Duration;

use super::members::TREE_ENTRY_BYTES;
use crate::id::Position;
use crate::time::Moment;

/// Who went, at most [`Departed::MAX`].
#[derive(Debug, Clone, Default)]
pub(super) struct Departed {
    gone: BTreeSet<Position>,
    /// Since when every member answers and nobody went.
    all_here_since: Option<Moment>,
}

impl Departed {
    pub(super) const MAX: usize = 1_024;
    /// For how long every member has to answer: several rounds of repair.
    const FOR: Duration = Duration::from_secs(60);

    /// A member left, or was forgotten.
    pub(super) fn left(&mut self, position: Position) {
        self.all_here_since = None;
        if self.gone.len() < Departed::MAX {
            self.gone.insert(position);
        }
    }

    /// It is a member again.
    pub(super) fn lives(&mut self, position: &Position) {
        self.gone.remove(position);
    }

    /// Lets time pass. Says whether those that went count no more.
    pub(super) fn look(&mut self, now: Moment, somebody_is_away: bool) -> bool {
        if somebody_is_away || self.gone.is_empty() {
            self.all_here_since = None;
            return false;
        }
        let since = *self.all_here_since.get_or_insert(now);
        let is_over = now.since(since) >= Departed::FOR;
        if is_over {
            *self = Departed::default();
        }
        is_over
    }

    pub(super) fn positions(&self) -> BTreeSet<Position> {
        self.gone.clone()
    }

    /// What this takes, in bytes.
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
        assert!(!departed.look(second(0), false) && !departed.look(second(59), false));
        assert!(!departed.look(second(60), true), "somebody is away");
        assert!(!departed.look(second(61), false) && !departed.look(second(120), false));
        assert_eq!(departed.positions(), [peer(1)].into());
        assert!(departed.look(second(121), false));
        assert!(departed.positions().is_empty());
        assert!(!departed.look(second(300), false), "there is nothing to change");
    }
}
