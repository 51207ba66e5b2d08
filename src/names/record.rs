//! One record: its place among the others, and the one that replaces it.

use crate::id::{ContentId, FileName, Position, RecordId};
use crate::time::Timestamp;
use crate::wire::{NameRecord, ObjectInfo, RecordTarget, SignedRecord};

/// The rank of a record; the greater one wins. An honest writer dates no two records alike; of two by one that does,
/// all peers must take the same.
pub type Rank = (Timestamp, Position, RecordId);

/// A decoded record whose signature was checked by the code that built this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRecord {
    signed: SignedRecord,
    record: NameRecord,
}

impl CheckedRecord {
    /// Joins a record as it travels with its decoded form. The caller has checked the signature.
    pub fn new(signed: SignedRecord, record: NameRecord) -> CheckedRecord {
        CheckedRecord { signed, record }
    }

    /// The decoded form of the record.
    pub fn record(&self) -> &NameRecord {
        &self.record
    }

    /// The signed form of the record, as it travels.
    pub fn signed(&self) -> &SignedRecord {
        &self.signed
    }

    /// The id of the record.
    pub fn id(&self) -> RecordId {
        self.signed.id()
    }

    /// The reading that a peer's hybrid logical clock takes from the record at this time: no record moves it further
    /// ahead than a client may be.
    pub fn clock_seen(&self, now_unix_ms: u64) -> Timestamp {
        self.record.clock.min(Timestamp::of_unix_ms(now_unix_ms.saturating_add(CLOCK_AHEAD_MAX_MS)))
    }

    /// The rank of the record among the records of its name.
    pub fn rank(&self) -> Rank {
        rank(&self.record, &self.id())
    }
}

pub(super) fn rank(record: &NameRecord, id: &RecordId) -> Rank {
    (record.clock, record.writer, *id)
}

/// The content that a record stands for; `None` for a tombstone.
pub fn content_of(record: &NameRecord) -> Option<ContentId> {
    object_of(record).map(|object| object.content)
}

/// The object that a record stands for; `None` for a tombstone.
pub fn object_of(record: &NameRecord) -> Option<ObjectInfo> {
    match record.target {
        RecordTarget::Content { content, length, outboard }
        | RecordTarget::Tree { content, length, outboard } => Some(ObjectInfo { content, length, outboard }),
        RecordTarget::Tombstone => None,
    }
}

/// The tree that a record stands for; `None` if it stands for a file, or is a tombstone.
pub fn tree_of(record: &NameRecord) -> Option<ObjectInfo> {
    object_of(record).filter(|_| matches!(record.target, RecordTarget::Tree { .. }))
}

/// The record that gives a name a new target. It is dated after the one that it replaces, however far that one's writer
/// was ahead of this one.
pub fn next_record(
    name: FileName,
    edit: &NameEdit,
    current: Option<&CheckedRecord>,
    clock: Timestamp,
    writer: Position,
) -> NameRecord {
    let replaced = current.map(CheckedRecord::id);
    let settled = edit.settles.iter().filter(|id| Some(**id) != replaced).copied();
    let clock = current.map_or(clock, |old| clock.max(old.record.clock.next(0)));
    NameRecord {
        name,
        target: edit.target,
        clock,
        writer,
        version: current.map_or(1, |old| old.record.version.saturating_add(1)),
        replaces: replaced.into_iter().chain(settled).collect(),
    }
}

/// A change that a person makes to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameEdit {
    /// The file that the name stands for from now on, or a tombstone.
    pub target: RecordTarget,
    /// The siblings that the new record settles; at most [`VERSIONS_MAX`](super::VERSIONS_MAX).
    pub settles: Vec<RecordId>,
}

impl NameEdit {
    /// Whether a name with this record needs no new one.
    pub fn changes_nothing(&self, current: &NameRecord) -> bool {
        self.target == current.target && self.settles.is_empty()
    }
}

/// The change to another target. It settles no siblings.
impl From<RecordTarget> for NameEdit {
    fn from(target: RecordTarget) -> NameEdit {
        NameEdit { target, settles: Vec::new() }
    }
}

/// The record that an owner has of a name, and the greatest record of the other voters: that is given to the owner
/// before it is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Greatest {
    greatest: Option<CheckedRecord>,
    /// Whether the greatest record is another peer's, so that the owner lacks it.
    lacked: bool,
}

impl Greatest {
    /// Begins with the record that the owner has.
    pub fn new(owner_has: Option<CheckedRecord>) -> Greatest {
        Greatest { greatest: owner_has, lacked: false }
    }

    /// Takes the record of a replica. If a replica does not answer, its record had fewer than W other copies, or
    /// another asked peer has it, too.
    pub fn hear(&mut self, replica_has: CheckedRecord) {
        if self.greatest.as_ref().is_none_or(|greatest| replica_has.rank() > greatest.rank()) {
            self.greatest = Some(replica_has);
            self.lacked = true;
        }
    }

    /// The record to give to the owner first, if it lacks the greatest one.
    pub fn to_bring(&self) -> Option<&SignedRecord> {
        self.greatest.as_ref().filter(|_| self.lacked).map(CheckedRecord::signed)
    }

    /// The greatest record: the one that counts.
    pub fn into_current(self) -> Option<CheckedRecord> {
        self.greatest
    }
}

/// The most that a client's clock may be ahead of the owner's, in milliseconds.
pub const CLOCK_AHEAD_MAX_MS: u64 = 5 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::super::sample::{checked, record, target, versioned};
    use super::super::{NameHistory, VERSIONS_MAX};
    use super::*;
    use crate::wire::{Replaces, codec};

    #[test]
    fn the_next_record_replaces_the_current_one() {
        let (name, now, writer) =
            (FileName::new("a.txt").unwrap(), Timestamp::of_unix_ms(9), Position::of_number(7));
        let first = next_record(name.clone(), &target(b"x").into(), None, now, writer);
        assert_eq!((first.version, first.clock, first.writer), (1, now, writer));
        assert_eq!(first.replaces, Replaces::Nothing);
        let current = checked(versioned(3, 1, 6, None));
        let next = next_record(name.clone(), &RecordTarget::Tombstone.into(), Some(&current), now, writer);
        assert_eq!((next.version, &next.replaces), (7, &Replaces::Current(current.id())));
        assert_eq!((content_of(&next), content_of(&first)), (None, Some(ContentId::of(b"x"))));
        let last = checked(versioned(3, 1, u64::MAX, None));
        assert_eq!(next_record(name, &target(b"x").into(), Some(&last), now, writer).version, u64::MAX);
    }

    #[test]
    fn the_owner_takes_the_next_record() {
        let mut history = NameHistory::default();
        history.merge(record(1, 1, None), VERSIONS_MAX).unwrap();
        let current = checked(history.current.clone().unwrap());
        let name = current.record().name.clone();
        let next =
            next_record(name, &target(b"x").into(), Some(&current), Timestamp::of_unix_ms(2), Position::ZERO);
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
