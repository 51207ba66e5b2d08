//! The records that a peer keeps of one name, and the records that it takes from others and from clients.
//!
//! Of all records of a name that it was ever given, a peer keeps the latest ones, as many as its ring keeps versions. So
//! peers that were given the same records keep the same, in whatever order they came.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::grave::Grave;
use super::record::{CLOCK_AHEAD_MAX_MS, CheckedRecord, rank};
use crate::config::KeepVersions;
use crate::id::RecordId;
use crate::time::Timestamp;
use crate::wire::{NameRecord, PutRole, RecordError, SignedRecord, StorageReply};

/// The records that a peer keeps of one name: the winner and the records before and beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NameHistory {
    /// The record that won.
    pub current: Option<SignedRecord>,
    /// Records that lost, latest first, fewer than [`VERSIONS_MAX`].
    pub past: Vec<PastRecord>,
    /// The memory of a removal whose records are gone. It stays at this peer, and is no part of what peers compare.
    #[serde(skip)]
    pub grave: Option<Grave>,
}

/// A record that lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRecord {
    /// The record, with its signature.
    pub record: SignedRecord,
    /// Whether it is a sibling: neither the winner nor a record in the history names this one as replaced.
    pub sibling: bool,
}

/// Why the owner of a name does not take a client's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutRefusal {
    /// The record does not replace the current one.
    Conflict,
    /// The record's clock is too far ahead.
    ClockAhead {
        /// The lead of the record's clock, in milliseconds.
        ms: u64,
    },
    /// The record's clock is not after that of the record that it replaces.
    ClockBehind,
}

impl PutRefusal {
    /// The owner's answer to the client, with the current record of this history.
    pub fn into_reply(self, history: &NameHistory) -> StorageReply {
        match self {
            PutRefusal::Conflict | PutRefusal::ClockBehind => {
                StorageReply::Conflict { current: history.current.clone() }
            }
            PutRefusal::ClockAhead { ms } => {
                StorageReply::Refused(format!("the writer's clock is {ms} ms ahead"))
            }
        }
    }
}

impl NameHistory {
    /// Takes a record in a role (`PutRecord`): as a replica any record, as the owner of the name one that
    /// [`NameHistory::accepts`]. The same record again comes from a client, or a network, that did not hear the answer.
    /// Of all records the latest `versions` stay. Returns whether anything changed.
    /// # Errors
    /// [`PutRefusal`] gives the reason; nothing is changed then.
    pub fn put(
        &mut self,
        new: &CheckedRecord,
        role: PutRole,
        now_unix_ms: u64,
        versions: usize,
    ) -> Result<bool, PutRefusal> {
        let again = self.current.as_ref().is_some_and(|current| current.id() == new.id());
        if role == PutRole::Owner && !again {
            self.accepts(new.record(), now_unix_ms)?;
        }
        Ok(self.merge(new.signed().clone(), versions).unwrap_or(false))
    }

    /// Merges a record, and keeps the latest `versions` of all. Returns whether anything changed.
    ///
    /// # Errors
    /// [`RecordError`] when the record cannot be read; nothing is changed then.
    pub fn merge(&mut self, incoming: SignedRecord, versions: usize) -> Result<bool, RecordError> {
        let id = incoming.id();
        let new = incoming.decode()?;
        if self.knows(&id) || self.grave.is_some_and(|grave| new.clock <= grave.clock) {
            return Ok(false);
        }
        let Some(current) = self.current.clone() else {
            self.current = Some(incoming);
            return Ok(true);
        };
        let old = current.decode()?;
        if rank(&new, &id) > rank(&old, &current.id()) {
            self.current = Some(incoming);
            self.push(current);
        } else if self.is_bygone(&new, &id, versions) {
            return Ok(false);
        } else {
            self.push(incoming);
        }
        self.cut(versions);
        Ok(true)
    }

    /// Checks whether the owner takes this record from a client at this time. A record that follows the current one
    /// closely does not count as ahead, so that a wrong clock that got through once blocks the name for no writer.
    ///
    /// # Errors
    /// [`PutRefusal`] gives the reason.
    pub fn accepts(&self, record: &NameRecord, now_unix_ms: u64) -> Result<(), PutRefusal> {
        let current =
            self.current.as_ref().map(|c| (c.id(), c.decode().map_or(Timestamp::default(), |r| r.clock)));
        let ahead = record.clock.unix_ms().saturating_sub(now_unix_ms);
        let follows = current.is_some_and(|(_, clock)| record.clock <= clock.next(0));
        if ahead > CLOCK_AHEAD_MAX_MS && !follows {
            return Err(PutRefusal::ClockAhead { ms: ahead });
        }
        match current {
            Some((id, _)) if !record.replaces.contains(&id) => Err(PutRefusal::Conflict),
            None => match self.grave {
                // The writer may have been told of the removal by a peer that has not dropped it yet.
                Some(grave) if record.clock > grave.clock => Ok(()),
                Some(_) => Err(PutRefusal::ClockBehind),
                None if !record.replaces.ids().is_empty() => Err(PutRefusal::Conflict),
                None => Ok(()),
            },
            Some((_, clock)) if record.clock <= clock => Err(PutRefusal::ClockBehind),
            _ => Ok(()),
        }
    }

    /// Records that lost without being replaced.
    pub fn siblings(&self) -> impl Iterator<Item = &SignedRecord> {
        self.past.iter().filter(|past| past.sibling).map(|past| &past.record)
    }

    /// All records that are kept, the winner first.
    pub fn into_records(self) -> impl Iterator<Item = SignedRecord> {
        self.current.into_iter().chain(self.past.into_iter().map(|past| past.record))
    }

    /// Whether this record is kept, as the winner or in the history.
    pub fn knows(&self, id: &RecordId) -> bool {
        self.current.iter().chain(self.past.iter().map(|past| &past.record)).any(|record| record.id() == *id)
    }

    /// Whether so many later records are kept that this one, which is not the winner, would be cut off again.
    fn is_bygone(&self, record: &NameRecord, id: &RecordId, versions: usize) -> bool {
        if self.past.len() + 1 < versions {
            return false;
        }
        let kept = versions.saturating_sub(2);
        let last = self.past.get(kept).and_then(|last| Some((last.record.decode().ok()?, last.record.id())));
        versions <= 1 || last.is_some_and(|(last, last_id)| rank(record, id) < rank(&last, &last_id))
    }

    fn push(&mut self, record: SignedRecord) {
        self.past.push(PastRecord { record, sibling: false });
        self.past.sort_by_cached_key(|past| {
            std::cmp::Reverse(past.record.decode().ok().map(|record| rank(&record, &past.record.id())))
        });
    }

    /// Keeps the latest so many records, and counts the siblings among them.
    pub(super) fn cut(&mut self, versions: usize) {
        self.past.truncate(versions.saturating_sub(1));
        self.recount_siblings();
    }

    /// Counts the siblings anew: a record that came late may be the link that shows another to be an ancestor.
    fn recount_siblings(&mut self) {
        let all = self.current.iter().chain(self.past.iter().map(|past| &past.record));
        let decoded: Vec<NameRecord> = all.filter_map(|record| record.decode().ok()).collect();
        let replaced: BTreeSet<RecordId> =
            decoded.iter().flat_map(|record| record.replaces.ids()).copied().collect();
        for past in &mut self.past {
            past.sibling = !replaced.contains(&past.record.id());
        }
    }
}

/// Records that were given to this peer and are older than all that it keeps of their names: it does not want them
/// again. Bounded; a forgotten one is given once more.
#[derive(Debug, Clone, Default)]
pub struct Bygones(BTreeSet<RecordId>);

impl Bygones {
    /// Notes that a record was given, and is not kept.
    pub fn hear(&mut self, id: RecordId) {
        if self.0.len() >= BYGONES_MAX {
            self.0.clear();
        }
        self.0.insert(id);
    }

    /// Whether a record is one of them.
    pub fn knows(&self, id: &RecordId) -> bool {
        self.0.contains(id)
    }
}

/// The most bygone records that are remembered: 128 KiB.
const BYGONES_MAX: usize = 4_096;
/// The most records of a name that any ring keeps.
pub const VERSIONS_MAX: usize = KeepVersions::COUNT_MAX as usize;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::next_record;
    use super::super::sample::{checked, record, versioned};
    use super::*;
    use crate::wire::RecordTarget;

    const VERSIONS: usize = KeepVersions::DEFAULT.count as usize;

    proptest! {
        /// Goal: the same versions everywhere, for any order and number of arrivals of records, and any number of versions
        /// that the ring keeps; the latest ones.
        #[test]
        fn merging_commutes(
            written in prop::collection::vec((0u64..6, 0u8..3, 1u64..4, 0usize..16), 1..12),
            rotate in 0usize..12,
            versions in 1usize..7,
        ) {
            // A writer may give several records the same date, and name any record as replaced.
            let mut records: Vec<SignedRecord> = Vec::new();
            for (clock, writer, version, replaced) in &written {
                let replaced = records.get(*replaced).map(SignedRecord::id);
                records.push(versioned(*clock, *writer, *version, replaced));
            }
            let mut one = NameHistory::default();
            let mut other = NameHistory::default();
            for r in &records {
                one.merge(r.clone(), versions).unwrap();
            }
            let middle = rotate % records.len();
            for r in records[middle..].iter().chain(&records[..middle]).rev().chain(&records) {
                other.merge(r.clone(), versions).unwrap();
            }
            prop_assert_eq!(&one, &other);
            // It is associative: what two peers keep, joined, is what one keeps that was given all.
            let (mut left, mut right) = (NameHistory::default(), NameHistory::default());
            for (i, r) in records.iter().enumerate() {
                if i < middle { &mut left } else { &mut right }.merge(r.clone(), versions).unwrap();
            }
            for r in right.into_records() {
                left.merge(r, versions).unwrap();
            }
            prop_assert_eq!(&one, &left);
            let mut ranks: Vec<_> = records.iter().map(|r| rank(&r.decode().unwrap(), &r.id())).collect();
            ranks.sort();
            ranks.dedup();
            let latest = ranks.split_off(ranks.len().saturating_sub(versions));
            let kept: Vec<_> = one.into_records().map(|r| rank(&r.decode().unwrap(), &r.id())).collect();
            prop_assert_eq!(kept, latest.into_iter().rev().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_replaced_record_is_no_sibling_even_if_it_comes_late() {
        let first = record(1, 1, None);
        let second = record(2, 1, Some(first.id()));
        let third = record(3, 2, Some(second.id()));
        let beside = record(2, 7, Some(first.id()));
        let mut history = NameHistory::default();
        for r in [&third, &first, &beside, &second] {
            assert!(history.merge(r.clone(), VERSIONS).unwrap());
        }
        assert_eq!(history.current, Some(third.clone()));
        assert_eq!(history.siblings().collect::<Vec<_>>(), [&beside]);
        assert!(!history.merge(first, VERSIONS).unwrap(), "known already");
    }

    /// Reported: a peer took an old version that a former keeper offered, cut it off again, and counted a change, in
    /// every round.
    #[test]
    fn a_version_older_than_a_full_history_changes_nothing() {
        let mut history = NameHistory::default();
        for clock in 2..=17 {
            assert!(history.merge(record(clock, 1, None), VERSIONS).unwrap());
        }
        assert_eq!(history.past.len() + 1, VERSIONS);
        let before = history.clone();
        let old = record(1, 1, None);
        assert!(!history.merge(old.clone(), VERSIONS).unwrap());
        assert_eq!(history, before);
        assert_eq!(history.put(&checked(old.clone()), PutRole::Replica, 20, VERSIONS), Ok(false));
        assert!(!history.knows(&old.id()));
        assert!(history.merge(record(19, 1, None), VERSIONS).unwrap(), "a later one is taken");
    }

    #[test]
    fn bygones_are_bounded() {
        let mut bygones = Bygones::default();
        let id = |n: u64| record(n, 1, None).id();
        assert!(!bygones.knows(&id(1)));
        for n in 0..=BYGONES_MAX as u64 {
            bygones.hear(id(n));
            assert!(bygones.knows(&id(n)) && bygones.0.len() <= BYGONES_MAX);
        }
    }

    #[test]
    fn the_owner_takes_only_what_replaces_the_current_record() {
        let first = record(1_000, 1, None);
        let mut history = NameHistory::default();
        assert_eq!(history.accepts(&first.decode().unwrap(), 1_000), Ok(()));
        history.merge(first.clone(), VERSIONS).unwrap();
        let blind = record(2_000, 1, None).decode().unwrap();
        assert_eq!(history.accepts(&blind, 2_000), Err(PutRefusal::Conflict));
        let late = record(900, 1, Some(first.id())).decode().unwrap();
        assert_eq!(history.accepts(&late, 2_000), Err(PutRefusal::ClockBehind));
        let far = record(400_000, 1, Some(first.id())).decode().unwrap();
        assert_eq!(history.accepts(&far, 2_000), Err(PutRefusal::ClockAhead { ms: 398_000 }));
    }

    /// Goal: any writer can replace a record if the clock of its writer, or of its owner, was an hour ahead.
    #[test]
    fn a_clock_that_was_far_ahead_keeps_nobody_from_the_name() {
        let hour = 3_600_000;
        let ahead = checked(record(hour, 1, None));
        let mut history = NameHistory::default();
        history.merge(ahead.signed().clone(), VERSIONS).unwrap();
        let name = ahead.record().name.clone();
        let next = next_record(
            name,
            &RecordTarget::Tombstone.into(),
            Some(&ahead),
            Timestamp::of_unix_ms(5),
            ahead.record().writer,
        );
        assert_eq!(next.clock, ahead.record().clock.next(0));
        assert_eq!(history.accepts(&next, 5), Ok(()));
        let farther = record(hour + 1, 1, Some(ahead.id())).decode().unwrap();
        assert_eq!(history.accepts(&farther, 5), Err(PutRefusal::ClockAhead { ms: hour - 4 }));
    }

    #[test]
    fn a_replica_takes_what_the_owner_would_not_and_the_owner_the_same_once_more() {
        let first = checked(record(1_000, 1, None));
        let mut history = NameHistory::default();
        assert_eq!(history.put(&first, PutRole::Owner, 1_000, VERSIONS), Ok(true));
        assert_eq!(history.put(&first, PutRole::Owner, 1_000, VERSIONS), Ok(false), "the answer was lost");
        let blind = checked(record(2_000, 1, None));
        let refusal = history.put(&blind, PutRole::Owner, 2_000, VERSIONS).unwrap_err();
        let current = history.current.clone();
        assert_eq!(refusal.into_reply(&history), StorageReply::Conflict { current });
        assert_eq!(history.current.as_ref(), Some(first.signed()), "nothing changed");
        assert_eq!(history.put(&blind, PutRole::Replica, 0, VERSIONS), Ok(true));
        assert!(history.knows(&first.id()) && history.current.as_ref() == Some(blind.signed()));
        let far = PutRefusal::ClockAhead { ms: 7 }.into_reply(&history);
        assert!(matches!(far, StorageReply::Refused(why) if why.contains("7 ms ahead")));
    }
}
