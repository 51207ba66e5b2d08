//! The changes to the index, each made within a transaction.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::ReadableTable;

use super::graves::Grave;
use super::log::LogPlace;
use super::tables::{
    BUILT, BYTES, KNOWN, Kind, LOG_FILE, LOG_OFFSET, NAMES, NAMES_OF, NUMBERS, OBJECTS, RECORDS, REMEMBERED,
    REPLICA, REQUESTED, SIBLINGS_KNOWN, VALUES, VERIFIED_KNOWN, read_name, read_object,
};
use super::{digests, graves, keeping, leases, siblings, verified};
use crate::id::{ContentId, FileName, Position, SetDigest};
use crate::time::Timestamp;
use crate::wire::ObjectInfo;

/// The index entry of an object, as seen in the transaction that may remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRow {
    /// The content id, length and outboard digest of the object.
    pub object: ObjectInfo,
    /// Why the object is here.
    pub kind: Kind,
    /// The date of its lease in milliseconds since the Unix epoch, if it has one.
    pub leased_unix_ms: Option<u64>,
}

/// The removal of an object, if a condition holds.
pub(super) struct Discard {
    content: ContentId,
    still: Box<dyn Fn(&ObjectRow) -> bool + Send + Sync>,
    /// Whether the object is removed because no name refers to it.
    of_lapsed: bool,
    /// Whether the last transaction that looked at the condition removed the object.
    done: AtomicBool,
}

impl Discard {
    pub fn new(content: ContentId, still: impl Fn(&ObjectRow) -> bool + Send + Sync + 'static) -> Discard {
        Discard { content, still: Box::new(still), of_lapsed: false, done: AtomicBool::new(false) }
    }

    /// The removal of an object that no name refers to.
    pub fn of_lapsed(
        content: ContentId,
        still: impl Fn(&ObjectRow) -> bool + Send + Sync + 'static,
    ) -> Discard {
        Discard { of_lapsed: true, ..Discard::new(content, still) }
    }

    /// Whether the object was removed, once the change was submitted.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Discard").field(&self.content).finish()
    }
}

/// One change to the index.
#[derive(Debug)]
pub(super) enum Change {
    /// An object is here. An object that is already a replica stays one.
    Object(ObjectInfo, Kind),
    /// An object and its links are no longer here.
    Forget(ContentId),
    /// Like `Forget`, if a condition holds; the files of the object are doomed then.
    Discard(Arc<Discard>),
    /// The files of these doomed objects are gone.
    Swept(Vec<ContentId>),
    /// An object is pinned, or no longer.
    Pin(ContentId, bool),
    /// Names refer to these objects, as of this time in milliseconds since the Unix epoch.
    Leased(Vec<ContentId>, u64),
    /// A copy has been one too many since this time in milliseconds since the Unix epoch, or, with `None`, is not.
    Surplus(ContentId, Option<u64>),
    /// Objects were used, at these times in milliseconds since the Unix epoch; only a cache remembers that.
    Used(Vec<(ContentId, u64)>),
    /// These objects, of these lengths in bytes, are only a cache; for an index that has not listed them yet.
    Cached(Vec<(ContentId, u64)>),
    /// A name stands for an object here, or for none (`None`), unless a later clock says otherwise.
    Link { name: FileName, clock: Timestamp, content: Option<ContentId> },
    /// The record of a name key; `None` removes it.
    Record(Position, Option<KeptRecord>),
    /// The memory of a removal under a name key; `None` ends it.
    Grave(Position, Option<Grave>),
    /// The memories end that last until the first time or less, or beyond the second, both in milliseconds since the
    /// Unix epoch.
    GravesEnded(u64, u64),
    /// The number of this name, for the next start.
    Number(&'static str, u64),
    /// The record of a name key, as the log of records has it.
    Replayed(Position, Option<Vec<u8>>),
    /// The index has all records of the log before this place.
    Logged(LogPlace),
    /// Whether the history under a name key holds a sibling: the name, if it does.
    Sibling(Position, Option<FileName>),
    /// Every record was looked through for siblings.
    SiblingsKnown,
    /// Objects that were verified, each with the time; those that are not here are left out.
    Verified(Vec<verified::Row>),
    /// Every object has its row in the tables of verifications.
    VerifiedKnown,
    /// The remembered members, encoded.
    Remembered(Vec<u8>),
    /// Names and absence of the members, encoded.
    Known(Vec<u8>),
    /// The index was built up from the folders, or began empty with them.
    Built,
    /// Nothing changes. Submitted durably, it makes all earlier changes durable.
    Flush,
}

impl Change {
    /// Whether the log of records makes this change durable before the index has it. A removal does not count: the memory
    /// of it is in the index alone.
    pub fn is_in_log(&self) -> bool {
        matches!(self, Change::Record(_, Some(_)))
    }
}

/// The value that is kept of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// The history of the name, opaque here.
    pub bytes: Vec<u8>,
    /// The name, if its history holds a sibling.
    pub sibling: Option<FileName>,
}

/// All that is kept under a name key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptName {
    /// The record to keep; `None` removes it.
    pub record: Option<KeptRecord>,
    /// The memory of a removal whose records are gone.
    pub grave: Option<Grave>,
}

/// A record, and no memory of a removal.
impl From<Vec<u8>> for KeptName {
    fn from(bytes: Vec<u8>) -> KeptName {
        KeptName { record: Some(bytes.into()), grave: None }
    }
}

/// A history without a sibling.
impl From<Vec<u8>> for KeptRecord {
    fn from(bytes: Vec<u8>) -> KeptRecord {
        KeptRecord { bytes, sibling: None }
    }
}

type Applied = std::result::Result<(), redb::Error>;

/// Makes one change, within a transaction.
pub(super) fn apply(transaction: &redb::WriteTransaction, change: &Change) -> Applied {
    match change {
        Change::Object(info, kind) => insert_object(transaction, info, *kind),
        Change::Forget(content) => forget_object(transaction, content),
        Change::Discard(discard) => apply_discard(transaction, discard),
        Change::Swept(contents) => keeping::swept(transaction, contents),
        Change::Pin(content, pinned) => pin_object(transaction, content, *pinned),
        Change::Leased(contents, at) => {
            for content in contents {
                let here = transaction.open_table(OBJECTS)?.get(&content.0)?.is_some();
                leases::renew(transaction, content, here, *at)?;
            }
            Ok(())
        }
        Change::Surplus(content, since_ms) => keeping::mark_surplus(transaction, content, *since_ms),
        Change::Used(uses) => keeping::used(transaction, uses),
        Change::Cached(cached) => keeping::list_cached(transaction, cached),
        Change::Link { name, clock, content } => set_link(transaction, name, *clock, content.as_ref()),
        Change::Record(key, record) => {
            siblings::set(transaction, key, record.as_ref().and_then(|record| record.sibling.as_ref()))?;
            set_record(transaction, key, record.as_ref().map(|record| record.bytes.as_slice()))
        }
        Change::Grave(key, grave) => graves::set(transaction, key, *grave),
        Change::GravesEnded(now_ms, last_ms) => graves::end(transaction, *now_ms, *last_ms),
        Change::Number(name, number) => {
            transaction.open_table(NUMBERS)?.insert(*name, *number)?;
            Ok(())
        }
        Change::Replayed(key, bytes) => set_record(transaction, key, bytes.as_deref()),
        Change::Logged(place) => note_logged(transaction, *place),
        Change::Sibling(key, name) => siblings::set(transaction, key, name.as_ref()),
        Change::SiblingsKnown => {
            transaction.open_table(NUMBERS)?.insert(SIBLINGS_KNOWN, 1)?;
            Ok(())
        }
        Change::VerifiedKnown => {
            transaction.open_table(NUMBERS)?.insert(VERIFIED_KNOWN, 1)?;
            Ok(())
        }
        Change::Verified(rows) => {
            for (content, at_ms) in rows {
                if transaction.open_table(OBJECTS)?.get(&content.0)?.is_some() {
                    verified::set(transaction, content, *at_ms)?;
                }
            }
            Ok(())
        }
        Change::Remembered(bytes) => {
            transaction.open_table(VALUES)?.insert(REMEMBERED, bytes.as_slice())?;
            Ok(())
        }
        Change::Known(bytes) => {
            transaction.open_table(VALUES)?.insert(KNOWN, bytes.as_slice())?;
            Ok(())
        }
        Change::Flush => Ok(()),
        Change::Built => {
            transaction.open_table(NUMBERS)?.insert(BUILT, 1)?;
            Ok(())
        }
    }
}

fn set_record(transaction: &redb::WriteTransaction, key: &Position, record: Option<&[u8]>) -> Applied {
    let digest = |record: &[u8]| SetDigest::of_records(key, record);
    let mut records = transaction.open_table(RECORDS)?;
    let before = match record {
        Some(record) => records.insert(&key.0, record)?.map(|before| digest(before.value())),
        None => records.remove(&key.0)?.map(|before| digest(before.value())),
    };
    digests::change(transaction, &key.0, record.map(digest).unwrap_or_default(), before.unwrap_or_default())
}

fn note_logged(transaction: &redb::WriteTransaction, place: LogPlace) -> Applied {
    let mut numbers = transaction.open_table(NUMBERS)?;
    numbers.insert(LOG_FILE, place.file)?;
    numbers.insert(LOG_OFFSET, place.offset)?;
    Ok(())
}

fn insert_object(transaction: &redb::WriteTransaction, info: &ObjectInfo, kind: Kind) -> Applied {
    let mut objects = transaction.open_table(OBJECTS)?;
    let known = objects.get(&info.content.0)?.map(|row| read_object(&info.content.0, row.value()));
    let kind = match (kind, known) {
        (Kind::Requested, None | Some((_, Kind::Requested))) => REQUESTED,
        _ => REPLICA,
    };
    objects.insert(&info.content.0, (info.length, &info.outboard.0, kind))?;
    let went = known.map(|(_, kind)| digests::of_object(&info.content, kind == Kind::Requested));
    let came = digests::of_object(&info.content, kind == REQUESTED);
    digests::change(transaction, &info.content.0, came, went.unwrap_or_default())?;
    keeping::came(transaction, &info.content, (kind == REQUESTED).then_some(info.length))?;
    if known.is_none() {
        leases::came(transaction, &info.content)?;
    }
    verified::set(transaction, &info.content, verified::NEVER)?;
    add_bytes(transaction, info.length, known.map_or(0, |(known, _)| known.length))
}

fn pin_object(transaction: &redb::WriteTransaction, content: &ContentId, pinned: bool) -> Applied {
    let cached = {
        let objects = transaction.open_table(OBJECTS)?;
        let row = objects.get(&content.0)?.map(|row| read_object(&content.0, row.value()));
        row.filter(|(_, kind)| *kind == Kind::Requested).map(|(object, _)| object.length)
    };
    keeping::pin(transaction, content, pinned, cached)
}

fn apply_discard(transaction: &redb::WriteTransaction, discard: &Discard) -> Applied {
    let content = &discard.content;
    let row = {
        let objects = transaction.open_table(OBJECTS)?;
        objects.get(&content.0)?.map(|row| read_object(&content.0, row.value()))
    };
    let goes = match row {
        Some((object, kind)) if !keeping::is_pinned_in(transaction, content)? => {
            let leased_unix_ms = leases::lease_in(transaction, content)?;
            (discard.still)(&ObjectRow { object, kind, leased_unix_ms })
        }
        _ => false,
    };
    discard.done.store(goes, Ordering::SeqCst);
    if goes {
        forget_object(transaction, content)?;
        leases::went(transaction, content, discard.of_lapsed)?;
        keeping::doom(transaction, content)?;
    }
    Ok(())
}

fn forget_object(transaction: &redb::WriteTransaction, content: &ContentId) -> Applied {
    keeping::went(transaction, content)?;
    let removed =
        transaction.open_table(OBJECTS)?.remove(&content.0)?.map(|row| (row.value().0, row.value().2));
    if let Some((_, kind)) = removed {
        let went = digests::of_object(content, kind == REQUESTED);
        digests::change(transaction, &content.0, SetDigest::default(), went)?;
    }
    verified::forget(transaction, content)?;
    let mut names = transaction.open_table(NAMES)?;
    let mut names_of = transaction.open_table(NAMES_OF)?;
    loop {
        // The rows are removed one by one, since a range cannot be walked while rows are taken out of it.
        let name = match names_of.range((&content.0, "")..)?.next().transpose()? {
            Some((key, _)) if *key.value().0 == content.0 => key.value().1.to_owned(),
            _ => break,
        };
        names_of.remove((&content.0, name.as_str()))?;
        names.remove(name.as_str())?;
    }
    add_bytes(transaction, 0, removed.map_or(0, |(length, _)| length))
}

fn set_link(
    transaction: &redb::WriteTransaction,
    name: &FileName,
    clock: Timestamp,
    content: Option<&ContentId>,
) -> Applied {
    let mut names = transaction.open_table(NAMES)?;
    let mut names_of = transaction.open_table(NAMES_OF)?;
    let current = names.get(name.as_str())?.map(|row| read_name(row.value()));
    if let Some((current_clock, linked)) = current {
        if clock < current_clock {
            return Ok(());
        }
        if let Some(linked) = linked {
            names_of.remove((&linked.0, name.as_str()))?;
        }
    }
    names.insert(name.as_str(), (clock.0, content.map(|content| &content.0)))?;
    if let Some(content) = content {
        names_of.insert((&content.0, name.as_str()), clock.0)?;
    }
    Ok(())
}

fn add_bytes(transaction: &redb::WriteTransaction, more: u64, less: u64) -> Applied {
    let mut numbers = transaction.open_table(NUMBERS)?;
    let bytes = numbers.get(BYTES)?.map_or(0, |row| row.value());
    numbers.insert(BYTES, bytes.saturating_sub(less).saturating_add(more))?;
    Ok(())
}
