//! A peer takes over what belongs to it, in each of its lives.
//!
//! What a joiner should keep is kept by the R peers after it and by the R before. It asks each of them for
//! it (`Sync`), until that one has given all or nothing more comes. As long as one of them may have more,
//! the joiner is *syncing*: it takes and gives what it is asked, but its "no" is no vote. A peer that was
//! believed dead and contradicts it does the same in its new life: meanwhile others have stood in its place.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::chord::View;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, StorageReply};

/// What a peer takes over.
#[derive(Debug, Clone, Default)]
pub struct TakeOver {
    /// The life in which it is done, or was begun; none before the first.
    life: Option<u64>,
    begun: Moment,
    /// Those that may have more, and when they last gave something.
    sources: BTreeMap<Position, (Entry, Moment)>,
    objects: u64,
    bytes: u64,
}

impl TakeOver {
    /// That of a founder: in its first life there is nothing to take over.
    pub fn of_founder(me: &Entry) -> TakeOver {
        TakeOver { life: Some(me.incarnation), ..TakeOver::default() }
    }

    /// Begins anew once this peer is a member in another life than before: those that are to be asked now, each
    /// again as [`TakeOver::hear`] says. Nothing where nothing has begun; else what was asked before does not count
    /// any more.
    pub fn begin(&mut self, now: Moment, view: &View) -> Option<Vec<Entry>> {
        if !view.is_member() || self.life == Some(view.me.incarnation) {
            return None;
        }
        let copies = view.settings.unwrap_or_default().replicas.into();
        let near: Vec<&Entry> = view.alive().collect();
        let around = near.iter().take(copies).chain(near.iter().rev().take(copies));
        let sources = around.map(|entry| (entry.position, ((*entry).clone(), now))).collect();
        *self = TakeOver { life: Some(view.me.incarnation), begun: now, sources, ..TakeOver::default() };
        Some(self.sources.values().map(|(entry, _)| entry.clone()).collect())
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

    /// Whether nobody has anything more to give to this peer in the life that it has.
    pub fn is_over(&self, view: &View) -> bool {
        self.life == Some(view.me.incarnation) && self.sources.is_empty()
    }

    /// How many objects came, and their bytes; since when.
    pub fn taken(&self) -> (u64, u64, Moment) {
        (self.objects, self.bytes, self.begun)
    }
}

/// Whether a peer's "no" is no vote: it is taking over, or it is no member.
pub fn has_no_vote(view: &View, takeover: &TakeOver) -> bool {
    !view.is_member() || !takeover.is_over(view)
}

/// Before a peer that has not given all is asked again.
const PAUSE: Duration = Duration::from_millis(150);
/// For how long a peer asks one that has not given all and gives nothing.
const PROGRESS_WITHIN: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{numbers_of, peer, view, view_of};
    use super::*;
    use crate::chord::PhaseKind;
    use crate::config::RingSettings;

    fn synced(objects: u64, complete: bool) -> StorageReply {
        StorageReply::Synced { objects, bytes: 10 * objects, records: 0, complete }
    }

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000)
    }

    fn later_life(view: View, incarnation: u64) -> View {
        View { me: view.me.with_incarnation(incarnation), ..view }
    }

    fn with_copies(view: View, replicas: u8) -> View {
        View { settings: Some(RingSettings { replicas, ..RingSettings::default() }), ..view }
    }

    fn begun(view: &View) -> (TakeOver, Vec<u8>) {
        let mut takeover = TakeOver::default();
        let asked = takeover.begin(at(0), view).unwrap();
        (takeover, numbers_of(&asked))
    }

    #[test]
    fn the_neighbours_on_both_sides_are_asked_each_once() {
        let asked = |copies| begun(&with_copies(view(30), copies)).1;
        assert_eq!(asked(1), [20, 40]);
        assert_eq!(asked(2), [10, 20, 40, 50]);
        assert_eq!(asked(3), [10, 20, 40, 50]);
        let alone = view_of(30, &[]);
        assert!(begun(&alone).0.is_over(&alone));
    }

    #[test]
    fn it_is_over_when_all_have_given_all_or_are_silent() {
        let view = with_copies(view(30), 1);
        let (mut takeover, _) = begun(&view);
        assert_eq!(takeover.hear(at(10), &peer(20), Some(&synced(3, true))), None);
        assert!(!takeover.is_over(&view));
        assert_eq!(takeover.hear(at(10), &peer(40), Some(&synced(1, false))), Some(PAUSE));
        assert_eq!(takeover.hear(at(200), &peer(40), None), None);
        assert!(takeover.is_over(&view));
        assert_eq!(takeover.taken(), (4, 40, at(0)));
        assert_eq!(takeover.hear(at(300), &peer(40), Some(&synced(9, false))), None, "too late");
        assert_eq!(takeover.taken(), (4, 40, at(0)));
        assert_eq!(takeover.begin(at(400), &view), None, "once in each life");
    }

    #[test]
    fn each_life_takes_over_anew() {
        let first = with_copies(view(30), 1);
        let mut takeover = TakeOver::of_founder(&first.me);
        assert!(takeover.is_over(&first) && takeover.begin(at(0), &first).is_none());
        let second = later_life(first, 2);
        assert!(has_no_vote(&second, &takeover), "before anybody was asked");
        let outside = View { phase: PhaseKind::Entering, ..second.clone() };
        assert_eq!(takeover.begin(at(5), &outside), None);
        assert!(takeover.begin(at(10), &second).is_some());
        assert_eq!(takeover.hear(at(15), &peer(20), Some(&synced(3, true))), None);
        let third = later_life(second, 3);
        assert!(takeover.begin(at(20), &third).is_some());
        assert_eq!(takeover.hear(at(40), &peer(40), None), None);
        assert!(has_no_vote(&third, &takeover), "20 gave to an earlier life");
        assert_eq!(takeover.hear(at(40), &peer(20), Some(&synced(3, true))), None);
        assert!(!has_no_vote(&third, &takeover));
        assert!(has_no_vote(&View { phase: PhaseKind::Checking, ..third }, &takeover));
    }

    #[test]
    fn who_gives_nothing_for_a_while_is_not_waited_for() {
        let view = view_of(30, &[20]);
        let (mut takeover, _) = begun(&view);
        assert_eq!(takeover.hear(at(14_000), &peer(20), Some(&synced(0, false))), Some(PAUSE));
        assert_eq!(takeover.hear(at(14_500), &peer(20), Some(&synced(2, false))), Some(PAUSE), "progress");
        assert_eq!(takeover.hear(at(29_000), &peer(20), Some(&synced(0, false))), Some(PAUSE));
        assert_eq!(takeover.hear(at(29_350), &peer(20), Some(&synced(0, false))), None);
        assert!(takeover.is_over(&view));
    }

    proptest! {
        /// Goal: syncing ends: no peer that gives nothing is asked for longer than the limit.
        #[test]
        fn it_ends(others in prop::collection::btree_set(0u8..=255, 0..20), copies in 1u8..5) {
            let others: Vec<u8> = others.into_iter().filter(|number| *number != 30).collect();
            let view = with_copies(view_of(30, &others), copies);
            let mut takeover = TakeOver::default();
            let sources = takeover.begin(at(0), &view).unwrap();
            prop_assert_eq!(sources.len(), others.len().min(2 * usize::from(copies)));
            for source in &sources {
                let (mut now, mut asked) = (at(0), 0);
                while let Some(pause) = takeover.hear(now, &source.position, Some(&synced(0, false))) {
                    now = now + pause;
                    asked += 1;
                    prop_assert!(asked <= PROGRESS_WITHIN.as_millis() / PAUSE.as_millis());
                }
            }
            prop_assert!(takeover.is_over(&view));
        }
    }
}
