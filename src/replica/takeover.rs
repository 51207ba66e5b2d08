//! A joiner takes over what belongs to it.
//!
//! What a joiner should keep is kept by the R peers after it and by the R before. It asks each of them for
//! it (`Sync`), until that one has given all or nothing more comes. As long as one of them may have more,
//! the joiner is *syncing*: it takes and gives what it is asked, but its "no" is no vote.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::chord::View;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, StorageReply};

/// A joiner's take-over; it is syncing while this is not over.
#[derive(Debug, Clone)]
pub struct TakeOver {
    /// Those that may have more, and when they last gave something.
    sources: BTreeMap<Position, (Entry, Moment)>,
    objects: u64,
    bytes: u64,
}

impl TakeOver {
    /// Begins, with R copies of everything; once this peer is a member.
    pub fn begin(now: Moment, view: &View, copies: usize) -> TakeOver {
        let near: Vec<&Entry> = view.alive().collect();
        let around = near.iter().take(copies).chain(near.iter().rev().take(copies));
        let sources = around.map(|entry| (entry.position, ((*entry).clone(), now))).collect();
        TakeOver { sources, objects: 0, bytes: 0 }
    }

    /// Those that are asked now: each at once, and again as [`TakeOver::hear`] says.
    pub fn sources(&self) -> impl Iterator<Item = &Entry> {
        self.sources.values().map(|(entry, _)| entry)
    }

    /// Hears what one of them answered; `None` when it did not. Says after how long it is asked again, if it
    /// is.
    pub fn hear(&mut self, now: Moment, from: &Position, answer: Option<&StorageReply>) -> Option<Duration> {
        let (_, progress) = self.sources.get_mut(from)?;
        let again = match answer {
            Some(StorageReply::Synced { objects, bytes, complete, .. }) => {
                self.objects = self.objects.saturating_add(*objects);
                self.bytes = self.bytes.saturating_add(*bytes);
                if *objects > 0 {
                    *progress = now;
                }
                !complete && (now + PAUSE).since(*progress) < PROGRESS_WITHIN
            }
            // Another keeper of the same has it too, or repair brings it later.
            _ => false,
        };
        if !again {
            self.sources.remove(from);
        }
        again.then_some(PAUSE)
    }

    /// Whether nobody has anything more to give.
    pub fn is_over(&self) -> bool {
        self.sources.is_empty()
    }

    /// How many objects came, and their bytes.
    pub fn taken(&self) -> (u64, u64) {
        (self.objects, self.bytes)
    }
}

/// Whether a peer's "no" is no vote: it is taking over, or it is no member.
pub fn has_no_vote(view: &View, taking_over: bool) -> bool {
    taking_over || !view.is_member()
}

/// Before a peer that has not given all is asked again.
const PAUSE: Duration = Duration::from_millis(150);
/// For how long a joiner asks a peer that has not given all and gives nothing.
const PROGRESS_WITHIN: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{numbers_of, peer, view, view_of};
    use super::*;
    use crate::chord::PhaseKind;

    fn synced(objects: u64, complete: bool) -> StorageReply {
        StorageReply::Synced { objects, bytes: 10 * objects, records: 0, complete }
    }

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000)
    }

    #[test]
    fn the_neighbours_on_both_sides_are_asked_each_once() {
        let asked = |copies| numbers_of(TakeOver::begin(at(0), &view(30), copies).sources());
        assert_eq!(asked(1), [20, 40]);
        assert_eq!(asked(2), [10, 20, 40, 50]);
        assert_eq!(asked(3), [10, 20, 40, 50]);
        assert!(TakeOver::begin(at(0), &view_of(30, &[]), 3).is_over(), "alone");
    }

    #[test]
    fn it_is_over_when_all_have_given_all_or_are_silent() {
        let mut takeover = TakeOver::begin(at(0), &view(30), 1);
        assert_eq!(takeover.hear(at(10), &peer(20), Some(&synced(3, true))), None);
        assert!(!takeover.is_over());
        assert_eq!(takeover.hear(at(10), &peer(40), Some(&synced(1, false))), Some(PAUSE));
        assert_eq!(takeover.hear(at(200), &peer(40), None), None);
        assert!(takeover.is_over());
        assert_eq!(takeover.taken(), (4, 40));
        assert_eq!(takeover.hear(at(300), &peer(40), Some(&synced(9, false))), None, "too late");
        assert_eq!(takeover.taken(), (4, 40));
    }

    #[test]
    fn only_a_member_that_has_taken_over_has_a_vote() {
        let outside = View { phase: PhaseKind::Entering, ..view(30) };
        assert!(has_no_vote(&view(30), true) && has_no_vote(&outside, false));
        assert!(!has_no_vote(&view(30), false));
    }

    #[test]
    fn who_gives_nothing_for_a_while_is_not_waited_for() {
        let mut takeover = TakeOver::begin(at(0), &view_of(30, &[20]), 1);
        assert_eq!(takeover.hear(at(14_000), &peer(20), Some(&synced(0, false))), Some(PAUSE));
        assert_eq!(takeover.hear(at(14_500), &peer(20), Some(&synced(2, false))), Some(PAUSE), "progress");
        assert_eq!(takeover.hear(at(29_000), &peer(20), Some(&synced(0, false))), Some(PAUSE));
        assert_eq!(takeover.hear(at(29_350), &peer(20), Some(&synced(0, false))), None);
        assert!(takeover.is_over());
    }

    proptest! {
        /// Goal: syncing ends: no peer that gives nothing is asked for longer than the limit.
        #[test]
        fn it_ends(others in prop::collection::btree_set(0u8..=255, 0..20), copies in 1usize..5) {
            let others: Vec<u8> = others.into_iter().filter(|number| *number != 30).collect();
            let mut takeover = TakeOver::begin(at(0), &view_of(30, &others), copies);
            let sources: Vec<Entry> = takeover.sources().cloned().collect();
            prop_assert_eq!(sources.len(), others.len().min(2 * copies));
            for source in &sources {
                let (mut now, mut asked) = (at(0), 0);
                while let Some(pause) = takeover.hear(now, &source.position, Some(&synced(0, false))) {
                    now = now + pause;
                    asked += 1;
                    prop_assert!(asked <= PROGRESS_WITHIN.as_millis() / PAUSE.as_millis());
                }
            }
            prop_assert!(takeover.is_over());
        }
    }
}
