//! How long the records of a name stay.
//!
//! A tombstone lives for [`NameTerms::tombstones_for`]. Then it goes, and with it all that it and its predecessors
//! removed: of a name that was not written again, nothing stays. The life is longer than a peer may have been away
//! without dropping its names (see `absence`), so each keeper of an older record has seen the tombstone by then.
//!
//! The keepers of a name do not drop a tombstone at the same moment. A keeper that has dropped it remembers its date
//! for a while, as a *grave*, and takes no record of the name up to that date: so the others cannot bring it back one
//! record at a time, least of all a file without its tombstone.
//!
//! A file that was written beside a removal, and that no person has settled, keeps the tombstone alive.

use std::time::Duration;

use super::grave::Grave;
use super::history::NameHistory;
use crate::time::{Timestamp, millis};
use crate::wire::{RecordTarget, SignedRecord};

/// The times by which records of names go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameTerms {
    /// How long a tombstone lives. Longer lets a peer be away for longer, and costs the room of the tombstones.
    pub tombstones_for: Duration,
    /// By how much clocks, and the moments at which peers do the same, may differ: the margin of every comparison.
    pub slack: Duration,
    /// The time between two looks: at how long this peer was away, and at what has to go.
    pub tick: Duration,
    /// The time between two walks over all names.
    pub walk: Duration,
}

impl Default for NameTerms {
    fn default() -> NameTerms {
        let day = Duration::from_secs(86_400);
        NameTerms { tombstones_for: 90 * day, slack: 7 * day, tick: day / 24, walk: day }
    }
}

impl NameTerms {
    /// How long a tombstone lives in a ring that keeps the bytes of versions for so long: a version that could still
    /// be restored does not go with it.
    pub fn life_ms(&self, versions_for: Duration) -> u64 {
        millis(self.tombstones_for.max(versions_for))
    }

    /// The longest time for which a peer may have been away so that its names count: a week less than a tombstone lives.
    pub fn away_max_ms(&self, versions_for: Duration) -> u64 {
        self.life_ms(versions_for).saturating_sub(self.slack_ms())
    }

    /// The slack in milliseconds.
    pub fn slack_ms(&self) -> u64 {
        millis(self.slack)
    }
}

impl NameHistory {
    /// Drops what the ring keeps no longer: records beyond its number of `versions`, and each tombstone that is dated
    /// `gone_before_ms` or earlier, with all records before it. Returns whether anything changed.
    pub fn tidy(
        &mut self,
        now_unix_ms: u64,
        gone_before_ms: u64,
        versions: usize,
        terms: &NameTerms,
    ) -> bool {
        let excess = self.has_excess(versions);
        if excess {
            self.cut(versions);
        }
        let Some((at, clock)) = self.ended(gone_before_ms) else { return excess };
        match at {
            0 => (self.current, self.past) = (None, Vec::new()),
            _ => self.cut(at),
        }
        let clock = self.grave.map_or(clock, |grave| grave.clock.max(clock));
        self.grave = Some(Grave { clock, until_unix_ms: now_unix_ms.saturating_add(terms.slack_ms()) });
        true
    }

    /// Whether [`NameHistory::tidy`] would change anything.
    pub fn is_untidy(&self, gone_before_ms: u64, versions: usize) -> bool {
        self.has_excess(versions) || self.ended(gone_before_ms).is_some()
    }

    fn has_excess(&self, versions: usize) -> bool {
        self.past.len() >= versions.max(1)
    }

    /// Forgets all records that are dated `before_ms` or earlier; the memory of removals stays. Returns whether anything
    /// changed.
    pub fn forget(&mut self, before_ms: u64) -> bool {
        let records = self.current.iter().chain(self.past.iter().map(|past| &past.record));
        let is_later = |record: &SignedRecord| record.decode().is_ok_and(|r| r.clock.unix_ms() > before_ms);
        let later = records.take_while(|record| is_later(record)).count();
        let all = usize::from(self.current.is_some()) + self.past.len();
        match later {
            _ if later == all => return false,
            0 => (self.current, self.past) = (None, Vec::new()),
            _ => self.cut(later),
        }
        true
    }

    /// The place of the latest tombstone that is dated `before_ms` or earlier, counted from the winner, and its date;
    /// `None` while a file that nobody has settled stands beside it.
    fn ended(&self, before_ms: u64) -> Option<(usize, Timestamp)> {
        let current = self.current.iter().map(|record| (record, false));
        let all: Vec<_> = current.chain(self.past.iter().map(|past| (&past.record, past.sibling))).collect();
        let decoded: Vec<_> =
            all.iter().filter_map(|(record, sibling)| Some((record.decode().ok()?, *sibling))).collect();
        if decoded.len() < all.len() {
            return None;
        }
        let is_tombstone = |target: &RecordTarget| *target == RecordTarget::Tombstone;
        let at = decoded
            .iter()
            .position(|(record, _)| is_tombstone(&record.target) && record.clock.unix_ms() <= before_ms)?;
        let is_open = decoded[at..].iter().any(|(record, sibling)| *sibling && !is_tombstone(&record.target));
        (!is_open).then(|| (at, decoded[at].0.clock))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::VERSIONS_MAX;
    use super::super::record::{CheckedRecord, next_record};
    use super::super::sample::{checked, record, target, versioned};
    use super::*;
    use crate::id::{FileName, Position};
    use crate::wire::{PutRole, codec};

    const DAY: u64 = 86_400_000;
    const NOW: u64 = 200 * DAY;
    const GONE: u64 = NOW - 90 * DAY;
    const TERMS: fn() -> NameTerms = NameTerms::default;

    fn tombstone(clock: u64, replaces: Option<&SignedRecord>) -> SignedRecord {
        let mut record = versioned(clock, 1, 2, replaces.map(SignedRecord::id)).decode().unwrap();
        record.target = RecordTarget::Tombstone;
        let body = codec::encode(&record).unwrap();
        SignedRecord { body, ..versioned(clock, 1, 2, None) }
    }

    fn of<'a>(records: impl IntoIterator<Item = &'a SignedRecord>) -> NameHistory {
        let mut history = NameHistory::default();
        for record in records {
            history.merge(record.clone(), VERSIONS_MAX).unwrap();
        }
        history
    }

    fn kept(history: &NameHistory) -> Vec<SignedRecord> {
        history.clone().into_records().collect()
    }

    fn tidied(mut history: NameHistory) -> (bool, NameHistory) {
        let untidy = history.is_untidy(GONE, 16);
        let changed = history.tidy(NOW, GONE, 16, &TERMS());
        assert_eq!(untidy, changed);
        (changed, history)
    }

    /// Goal: a removed name goes whole when its tombstone is 90 days old, and no older record brings it back.
    #[test]
    fn a_tombstone_goes_after_its_time_with_all_before_it() {
        let first = record(DAY, 1, None);
        let removal = tombstone(GONE, Some(&first));
        let later = tombstone(GONE + 1, Some(&first));
        assert!(!tidied(of([&first, &later])).0, "it is a moment too young");
        let (changed, mut history) = tidied(of([&first, &removal]));
        assert!(changed && kept(&history).is_empty());
        for record in [&removal, &first, &record(GONE >> 1, 7, None)] {
            assert!(!history.merge(record.clone(), 16).unwrap(), "a slower keeper offers it");
            assert!(!history.knows(&record.id()));
        }
        assert!(history.merge(record(GONE + 1, 1, None), 16).unwrap(), "the name is written again");
        assert_eq!(kept(&history).len(), 1);
    }

    #[test]
    fn of_a_name_that_was_written_again_the_later_versions_stay() {
        let first = record(DAY, 1, None);
        let removal = tombstone(2 * DAY, Some(&first));
        let again = record(3 * DAY, 1, Some(removal.id()));
        let newest = record(4 * DAY, 1, Some(again.id()));
        let (changed, history) = tidied(of([&first, &removal, &again, &newest]));
        assert!(changed);
        assert_eq!(kept(&history), [newest, again]);
        assert!(!tidied(history).0);
        assert!(!tidied(of([&first, &record(2 * DAY, 1, Some(first.id()))])).0, "a file is no tombstone");
    }

    /// Goal: a file that was stored on one side of a split while the other side removed its name stays until a person has
    /// settled that, however old both are.
    #[test]
    fn an_unsettled_file_keeps_the_tombstone() {
        let first = record(DAY, 1, None);
        let beside = record(2 * DAY, 3, Some(first.id()));
        let removal = tombstone(3 * DAY, Some(&first));
        let (changed, history) = tidied(of([&first, &beside, &removal]));
        assert!(!changed && kept(&history).len() == 3 && history.siblings().count() == 1);
        let mut settled = removal.decode().unwrap();
        settled.clock = settled.clock.next(4 * DAY);
        settled.replaces = [removal.id(), beside.id()].into_iter().collect();
        let settled = SignedRecord { body: codec::encode(&settled).unwrap(), ..removal.clone() };
        let (changed, history) = tidied(of([&first, &beside, &removal, &settled]));
        assert!(changed && kept(&history).is_empty());
        let lost = tombstone(2 * DAY, Some(&first));
        let winner = record(3 * DAY, 5, Some(first.id()));
        let (changed, history) = tidied(of([&first, &lost, &winner]));
        assert!(changed, "a tombstone that lost goes like any other");
        assert_eq!(kept(&history), [winner]);
    }

    /// Goal: the owner that has dropped a tombstone takes the record of a writer that was still told of it.
    #[test]
    fn a_writer_may_replace_a_tombstone_that_the_owner_has_dropped() {
        let removal = checked(tombstone(GONE, None));
        let (_, mut history) = tidied(of([removal.signed()]));
        let name = FileName::new("a.txt").unwrap();
        let next = |current: Option<&CheckedRecord>, clock: u64| {
            let clock = Timestamp::of_unix_ms(clock);
            let record =
                next_record(name.clone(), &target(b"x").into(), current, clock, Position::of_number(2));
            let body = codec::encode(&record).unwrap();
            checked(SignedRecord { body, ..removal.signed().clone() })
        };
        assert_eq!(history.accepts(next(None, NOW).record(), NOW), Ok(()));
        let after = next(Some(&removal), NOW);
        assert_eq!(history.put(&after, PutRole::Owner, NOW, 16), Ok(true));
        let (_, history) = tidied(of([removal.signed()]));
        assert!(history.accepts(next(None, DAY).record(), NOW).is_err(), "it would be lost at once");
    }

    #[test]
    fn stale_names_are_forgotten_and_later_ones_stay() {
        let (old, new) = (record(DAY, 1, None), record(3 * DAY, 1, None));
        let mut history = of([&old]);
        assert!(history.forget(DAY) && kept(&history).is_empty() && !history.forget(DAY));
        let mut history = of([&old, &new]);
        assert!(history.forget(2 * DAY) && !history.forget(2 * DAY));
        assert_eq!(kept(&history), [new], "the rest comes back from the others");
    }

    proptest! {
        /// Goal: keepers that were given the same versions, in any order, and that tidy at different times, have the same in
        /// the end, and nothing that was removed.
        #[test]
        fn tidying_commutes(
            removals in prop::collection::vec(any::<bool>(), 1..10),
            order in Just((0..10_usize).collect::<Vec<_>>()).prop_shuffle(),
            tidies in prop::collection::vec(any::<bool>(), 10),
        ) {
            let mut records: Vec<SignedRecord> = Vec::new();
            for (i, removal) in (1..).zip(&removals) {
                let last = records.last();
                records.push(match removal {
                    true => tombstone(i * DAY, last),
                    false => record(i * DAY, 1, last.map(SignedRecord::id)),
                });
            }
            let all_at_once = tidied(of(&records)).1;
            let mut other = NameHistory::default();
            for (i, tidy) in order.iter().zip(&tidies) {
                let Some(record) = records.get(*i) else { continue };
                other.merge(record.clone(), 16).unwrap();
                if *tidy {
                    other.tidy(NOW, GONE, 16, &TERMS());
                }
            }
            other.tidy(NOW, GONE, 16, &TERMS());
            prop_assert_eq!(kept(&all_at_once), kept(&other));
            let last = removals.iter().rposition(|removal| *removal).map_or(0, |at| at + 1);
            let after: Vec<SignedRecord> = records.split_off(last).into_iter().rev().collect();
            prop_assert_eq!(kept(&other), after);
        }
    }
}
