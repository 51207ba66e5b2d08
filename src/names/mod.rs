//! Name records: which of two wins, and what becomes of the other.
//!
//! Pure. The greatest (clock, writer) wins, everywhere and in whatever order records arrive; of two
//! that a writer dates alike, the one with the greater id. A record that loses although the winner did
//! not replace it is a sibling: it stays in the history with its bytes. Signatures are checked by whoever
//! receives a record, before it comes here.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{Position, RecordId};
use crate::time::Timestamp;
use crate::wire::{NameRecord, RecordError, SignedRecord};

/// What a peer keeps of one name: the winner and the records before and beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NameHistory {
    /// The record that counts.
    pub current: Option<SignedRecord>,
    /// Records that lost, latest first, at most [`HISTORY_MAX`].
    pub past: Vec<PastRecord>,
}

/// A record that lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRecord {
    /// It.
    pub record: SignedRecord,
    /// The winner, or one that it stands upon, does not name this one as replaced.
    pub sibling: bool,
}

/// Why the owner of a name does not take a client's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutRefusal {
    /// It does not replace the current record.
    Conflict,
    /// Its clock is too far ahead, in milliseconds.
    ClockAhead {
        /// By how much.
        ms: u64,
    },
    /// Its clock is not after the one that it replaces.
    ClockBehind,
}

impl NameHistory {
    /// Merges a record. Returns whether anything changed.
    ///
    /// # Errors
    /// [`RecordError`] when the record cannot be read; nothing is changed then.
    pub fn merge(&mut self, incoming: SignedRecord) -> Result<bool, RecordError> {
        let id = incoming.id();
        let new = incoming.decode()?;
        if self.knows(&id) {
            return Ok(false);
        }
        let Some(current) = self.current.clone() else {
            self.current = Some(incoming);
            return Ok(true);
        };
        let old = current.decode()?;
        if rank(&new, &id) > rank(&old, &current.id()) {
            let sibling = new.replaces != Some(current.id());
            self.current = Some(incoming);
            self.push(PastRecord { record: current, sibling });
        } else {
            let sibling = !self.is_replaced(&id, &old);
            self.push(PastRecord { record: incoming, sibling });
        }
        self.recount_siblings();
        Ok(true)
    }

    /// Whether the owner takes this record from a client at this time.
    ///
    /// # Errors
    /// [`PutRefusal`] says why not.
    pub fn accepts(&self, record: &NameRecord, now_unix_ms: u64) -> Result<(), PutRefusal> {
        let ahead = record.clock.unix_ms().saturating_sub(now_unix_ms);
        if ahead > CLOCK_AHEAD_MAX_MS {
            return Err(PutRefusal::ClockAhead { ms: ahead });
        }
        let current =
            self.current.as_ref().map(|c| (c.id(), c.decode().map_or(Timestamp::default(), |r| r.clock)));
        match current {
            Some((id, _)) if record.replaces != Some(id) => Err(PutRefusal::Conflict),
            None if record.replaces.is_some() => Err(PutRefusal::Conflict),
            Some((_, clock)) if record.clock <= clock => Err(PutRefusal::ClockBehind),
            _ => Ok(()),
        }
    }

    /// Records that lost without being replaced.
    pub fn siblings(&self) -> impl Iterator<Item = &SignedRecord> {
        self.past.iter().filter(|past| past.sibling).map(|past| &past.record)
    }

    fn knows(&self, id: &RecordId) -> bool {
        self.current.iter().chain(self.past.iter().map(|past| &past.record)).any(|record| record.id() == *id)
    }

    /// Whether the winner, or a record in the history, names this one as replaced.
    fn is_replaced(&self, id: &RecordId, current: &NameRecord) -> bool {
        let past = self.past.iter().filter_map(|past| past.record.decode().ok());
        past.chain([current.clone()]).any(|record| record.replaces == Some(*id))
    }

    fn push(&mut self, past: PastRecord) {
        self.past.push(past);
        self.past.sort_by_cached_key(|past| {
            std::cmp::Reverse(past.record.decode().ok().map(|record| rank(&record, &past.record.id())))
        });
        self.past.truncate(HISTORY_MAX);
    }

    /// A record that came late may be the link that shows another to be an ancestor.
    fn recount_siblings(&mut self) {
        let all = self.current.iter().chain(self.past.iter().map(|past| &past.record));
        let replaced: BTreeSet<RecordId> = all.filter_map(|record| record.decode().ok()?.replaces).collect();
        for past in &mut self.past {
            past.sibling = !replaced.contains(&past.record.id());
        }
    }
}

/// What decides between two records. An honest writer dates no two alike; of one that does, all peers
/// must take the same.
fn rank(record: &NameRecord, id: &RecordId) -> (Timestamp, Position, RecordId) {
    (record.clock, record.writer, *id)
}

/// How many past records of a name are kept.
pub const HISTORY_MAX: usize = 16;
/// How far a client's clock may be ahead of the owner's, in milliseconds.
pub const CLOCK_AHEAD_MAX_MS: u64 = 5 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{ContentId, FileName, OutboardDigest, Position};
    use crate::wire::{RecordTarget, codec};

    fn record(clock: u64, writer: u8, replaces: Option<RecordId>) -> SignedRecord {
        versioned(clock, writer, 1, replaces)
    }

    fn versioned(clock: u64, writer: u8, version: u64, replaces: Option<RecordId>) -> SignedRecord {
        let content = ContentId::of(&[clock as u8, writer]);
        let body = codec::encode(&NameRecord {
            name: FileName::new("a.txt").unwrap(),
            target: RecordTarget::Content { content, length: 2, outboard: OutboardDigest([0; 32]) },
            clock: Timestamp::of_unix_ms(clock),
            writer: Position::of_number(writer),
            version,
            replaces,
        });
        SignedRecord { body: body.unwrap(), signature: vec![0; 64], certificate: Vec::new() }
    }

    proptest! {
        /// Goal: one winner everywhere, in whatever order and however often records arrive.
        #[test]
        fn merging_commutes(
            written in prop::collection::vec((0u64..6, 0u8..3, 1u64..4), 1..8),
            rotate in 0usize..8,
        ) {
            // A writer may date several records alike.
            let one_of = |(clock, writer, version): &(u64, u8, u64)| versioned(*clock, *writer, *version, None);
            let records: Vec<_> = written.iter().map(one_of).collect();
            let mut one = NameHistory::default();
            let mut other = NameHistory::default();
            for r in &records {
                one.merge(r.clone()).unwrap();
            }
            let middle = rotate % records.len();
            for r in records[middle..].iter().chain(&records[..middle]).rev().chain(&records) {
                other.merge(r.clone()).unwrap();
            }
            prop_assert_eq!(one, other);
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
            assert!(history.merge(r.clone()).unwrap());
        }
        assert_eq!(history.current, Some(third.clone()));
        assert_eq!(history.siblings().collect::<Vec<_>>(), [&beside]);
        assert!(!history.merge(first).unwrap(), "known already");
    }

    #[test]
    fn the_owner_takes_only_what_replaces_the_current_record() {
        let first = record(1_000, 1, None);
        let mut history = NameHistory::default();
        assert_eq!(history.accepts(&first.decode().unwrap(), 1_000), Ok(()));
        history.merge(first.clone()).unwrap();
        let blind = record(2_000, 1, None).decode().unwrap();
        assert_eq!(history.accepts(&blind, 2_000), Err(PutRefusal::Conflict));
        let late = record(900, 1, Some(first.id())).decode().unwrap();
        assert_eq!(history.accepts(&late, 2_000), Err(PutRefusal::ClockBehind));
        let far = record(400_000, 1, Some(first.id())).decode().unwrap();
        assert_eq!(history.accepts(&far, 2_000), Err(PutRefusal::ClockAhead { ms: 398_000 }));
    }
}
