//! One record: its place among the others, and the one that replaces it.

use super::history::CLOCK_AHEAD_MAX_MS;
use crate::id::{ContentId, FileName, Position, RecordId};
use crate::time::Timestamp;
use crate::wire::{NameRecord, ObjectInfo, RecordTarget, SignedRecord};

/// What decides between two records, the greater one wins. An honest writer dates no two alike; of one
/// that does, all peers must take the same.
pub type Rank = (Timestamp, Position, RecordId);

/// A record that was read, and whose signature whoever made this has checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRecord {
    signed: SignedRecord,
    record: NameRecord,
}

impl CheckedRecord {
    /// A record as it travels, and the same decoded. The caller has checked the signature.
    pub fn new(signed: SignedRecord, record: NameRecord) -> CheckedRecord {
        CheckedRecord { signed, record }
    }

    /// The decoded record.
    pub fn record(&self) -> &NameRecord {
        &self.record
    }

    /// As it travels.
    pub fn signed(&self) -> &SignedRecord {
        &self.signed
    }

    /// Which record it is.
    pub fn id(&self) -> RecordId {
        self.signed.id()
    }

    /// What a peer's hybrid logical clock takes from it at this time: no record moves it further ahead than
    /// a client may be.
    pub fn clock_seen(&self, now_unix_ms: u64) -> Timestamp {
        self.record.clock.min(Timestamp::of_unix_ms(now_unix_ms.saturating_add(CLOCK_AHEAD_MAX_MS)))
    }

    /// Its place among the records of its name.
    pub fn rank(&self) -> Rank {
        rank(&self.record, &self.id())
    }
}

pub(super) fn rank(record: &NameRecord, id: &RecordId) -> Rank {
    (record.clock, record.writer, *id)
}

/// What a record stands for, if it is no tombstone.
pub fn content_of(record: &NameRecord) -> Option<ContentId> {
    match record.target {
        RecordTarget::Content { content, .. } => Some(content),
        RecordTarget::Tombstone => None,
    }
}

/// The object that a record names; nothing where the name stands for nothing.
pub fn object_of(record: &NameRecord) -> Option<ObjectInfo> {
    match record.target {
        RecordTarget::Content { content, length, outboard } => Some(ObjectInfo { content, length, outboard }),
        RecordTarget::Tombstone => None,
    }
}

/// The record that makes a name stand for something else than it does now. It is dated after the one that it
/// replaces, however far that one's writer was ahead of this one.
pub fn next_record(
    name: FileName,
    target: RecordTarget,
    current: Option<&CheckedRecord>,
    clock: Timestamp,
    writer: Position,
) -> NameRecord {
    let clock = current.map_or(clock, |old| clock.max(old.record.clock.next(0)));
    NameRecord {
        name,
        target,
        clock,
        writer,
        version: current.map_or(1, |old| old.record.version.saturating_add(1)),
        replaces: current.map(CheckedRecord::id),
    }
}

/// What an owner that is still taking over has of a name, and the greatest record that its replicas have:
/// that is given to the owner before it is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Greatest {
    greatest: Option<CheckedRecord>,
    /// The owner has no greater one.
    lacked: bool,
}

impl Greatest {
    /// The owner has this.
    pub fn new(owner_has: Option<CheckedRecord>) -> Greatest {
        Greatest { greatest: owner_has, lacked: false }
    }

    /// A replica has this. One that does not answer had less than W copies beside it, or another of those
    /// who are asked has the record, too.
    pub fn hear(&mut self, replica_has: CheckedRecord) {
        if self.greatest.as_ref().is_none_or(|greatest| replica_has.rank() > greatest.rank()) {
            self.greatest = Some(replica_has);
            self.lacked = true;
        }
    }

    /// What is given to the owner first.
    pub fn to_bring(&self) -> Option<&SignedRecord> {
        self.greatest.as_ref().filter(|_| self.lacked).map(CheckedRecord::signed)
    }

    /// The record that counts.
    pub fn into_current(self) -> Option<CheckedRecord> {
        self.greatest
    }
}

#[cfg(test)]
mod tests {
    use super::super::NameHistory;
    use super::super::sample::{checked, record, target, versioned};
    use super::*;
    use crate::wire::codec;

    #[test]
    fn the_next_record_replaces_the_current_one() {
        let (name, now, writer) =
            (FileName::new("a.txt").unwrap(), Timestamp::of_unix_ms(9), Position::of_number(7));
        let first = next_record(name.clone(), target(b"x"), None, now, writer);
        assert_eq!((first.version, first.replaces, first.clock, first.writer), (1, None, now, writer));
        let current = checked(versioned(3, 1, 6, None));
        let next = next_record(name.clone(), RecordTarget::Tombstone, Some(&current), now, writer);
        assert_eq!((next.version, next.replaces), (7, Some(current.id())));
        assert_eq!((content_of(&next), content_of(&first)), (None, Some(ContentId::of(b"x"))));
        let last = checked(versioned(3, 1, u64::MAX, None));
        assert_eq!(next_record(name, target(b"x"), Some(&last), now, writer).version, u64::MAX);
    }

    #[test]
    fn the_owner_takes_the_next_record() {
        let mut history = NameHistory::default();
        history.merge(record(1, 1, None)).unwrap();
        let current = checked(history.current.clone().unwrap());
        let name = current.record().name.clone();
        let next = next_record(name, target(b"x"), Some(&current), Timestamp::of_unix_ms(2), Position::ZERO);
        assert_eq!(history.accepts(&next, 2), Ok(()));
        assert!(codec::encode(&next).is_ok());
    }

    #[test]
    fn no_record_moves_a_clock_far_ahead() {
        let record = checked(record(400_000, 1, None));
        assert_eq!(record.clock_seen(399_000), record.record().clock);
        assert_eq!(record.clock_seen(1_000), Timestamp::of_unix_ms(301_000));
    }

    #[test]
    fn only_a_record_that_the_owner_lacks_is_brought() {
        let [old, own, new] = [1, 2, 3].map(|clock| record(clock, 1, None));
        let mut greatest = Greatest::new(Some(checked(own.clone())));
        assert_eq!(greatest.to_bring(), None);
        greatest.hear(checked(old.clone()));
        greatest.hear(checked(own.clone()));
        assert_eq!(greatest.to_bring(), None, "it has that");
        greatest.hear(checked(new.clone()));
        greatest.hear(checked(old.clone()));
        assert_eq!(greatest.to_bring(), Some(&new));
        assert_eq!(greatest.into_current(), Some(checked(new)));
        let mut nothing = Greatest::new(None);
        assert_eq!(nothing.clone().into_current(), None);
        nothing.hear(checked(old.clone()));
        assert_eq!(nothing.to_bring(), Some(&old));
    }

    #[test]
    fn of_two_records_of_one_date_all_bring_the_same() {
        let (one, other) = (versioned(5, 1, 1, None), versioned(5, 1, 2, None));
        let heard = |records: [&SignedRecord; 2]| {
            let mut greatest = Greatest::default();
            records.into_iter().for_each(|record| greatest.hear(checked(record.clone())));
            greatest.into_current()
        };
        assert_eq!(heard([&one, &other]), heard([&other, &one]));
    }
}
