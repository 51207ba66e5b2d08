//! When the next whole search for lost contents is due.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::chord::View;
use crate::id::Position;
use crate::time::Moment;

/// The ring as it was at the last whole search, and when that was.
#[derive(Debug, Default)]
pub(in crate::peer) struct LostSearch(Mutex<Option<(Ring, Moment)>>);

/// The members on which the answer of a search depends: the owner's range, and who may have the contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ring {
    predecessor: Option<Position>,
    lives: BTreeMap<Position, u64>,
}

impl Ring {
    pub(super) fn of(view: &View) -> Ring {
        let lives = view.alive().map(|entry| (entry.position, entry.incarnation)).collect();
        Ring { predecessor: view.predecessor.as_ref().map(|entry| entry.position), lives }
    }
}

impl LostSearch {
    /// Whether a whole search is due.
    pub(super) fn is_due(&self, now: Moment, ring: &Ring) -> bool {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().is_none_or(|(known, at)| known != ring || now.since(*at) >= EVERY)
    }

    /// Notes that a whole search has ended.
    pub(super) fn is_done(&self, now: Moment, ring: Ring) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((ring, now));
    }
}

/// The time between two whole searches in a ring whose members do not change.
const EVERY: Duration = Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_search_follows_each_change_of_the_ring() {
        let search = LostSearch::default();
        let ring = |lives: &[(u8, u64)]| Ring {
            predecessor: None,
            lives: lives.iter().map(|(peer, life)| (Position::of_number(*peer), *life)).collect(),
        };
        assert!(search.is_due(Moment(1), &ring(&[])), "the first one");
        search.is_done(Moment(1), ring(&[(1, 1)]));
        assert!(!search.is_due(Moment(2), &ring(&[(1, 1)])));
        assert!(search.is_due(Moment(2), &ring(&[(1, 2)])) && search.is_due(Moment(2), &ring(&[])));
        assert!(search.is_due(Moment(1) + EVERY, &ring(&[(1, 1)])));
    }
}
