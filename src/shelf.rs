//! The functions of a [`Store`] that the flows of [`crate::files`] use. They block: a running peer calls them on
//! threads of their own, a simulated peer in virtual time.

pub(crate) mod value;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::blob::{
    self, BlobError, ChunkFate, ChunkReceiver, Copy, KeptName, KeptRecord, Kind, Receiver, SmallObject, Store,
};
use crate::files::{CopyHere, DiskError, DiskFault, HeldPage, HistoryChange, KeptAs, Placed};
use crate::id::{ContentId, FileName, KeyRange, Position};
use crate::names::{Grave, NameHistory};
use crate::replica::{Holdings, Presence};
use crate::wire::{Link, MissingReason, ObjectInfo, OfferedRecord, PeerName, Reference, limits, shortened};
use value::Unreadable;

impl DiskError for BlobError {
    fn fault(&self) -> DiskFault {
        match self {
            BlobError::AlreadyHere { .. } => DiskFault::AlreadyHere,
            BlobError::AlreadyReceiving { .. } => DiskFault::AlreadyReceiving,
            BlobError::Mismatch { resumed, .. } => DiskFault::Mismatch { resumed: *resumed > 0 },
            BlobError::Overrun { .. } => DiskFault::WrongChunk,
            _ => DiskFault::Other,
        }
    }

    fn missing_reason(&self) -> MissingReason {
        match self {
            BlobError::NoRoom { length, free } => MissingReason::NoRoom { length: *length, free: *free },
            // The object may be here in a moment, or its sender may have gone.
            BlobError::AlreadyReceiving { .. } => MissingReason::Refused(self.to_string()),
            BlobError::TooLong { .. } => MissingReason::Final(self.to_string()),
            _ => MissingReason::Disk(in_short(self.to_string())),
        }
    }
}

/// The reason that another peer is told when this one cannot read an object that it was to send.
pub(crate) fn not_given(giver: &PeerName, error: &BlobError) -> MissingReason {
    MissingReason::NotGiven(match error {
        BlobError::Rotten { .. } => format!("the copy at peer {giver} was bad"),
        BlobError::NotHere { .. } => format!("the copy at peer {giver} is gone"),
        error => in_short(format!("peer {giver} cannot read its copy: {error}")),
    })
}

fn in_short(text: String) -> String {
    shortened(text, limits::REASON_BYTES_MAX)
}

/// Makes an object of the received bytes, durable on return, and links names to it.
///
/// # Errors
/// The errors of [`Receiver::finish_linked`].
pub(crate) fn finish(receiver: Receiver, kept_as: KeptAs, links: &[Link]) -> Result<ObjectInfo, BlobError> {
    receiver.finish_linked(kind_of(kept_as), links)
}

/// Makes an object of the received chunks, durable on return, and links names to it.
///
/// # Errors
/// The errors of [`ChunkReceiver::finish`].
pub(crate) fn finish_chunks(
    receiver: &ChunkReceiver,
    kept_as: KeptAs,
    links: &[Link],
) -> Result<ObjectInfo, BlobError> {
    receiver.finish(kind_of(kept_as), links)
}

/// Checks a chunk, given in pieces, and writes it if it is linked.
///
/// # Errors
/// The errors of [`ChunkReceiver::place`].
pub(crate) fn place(receiver: &ChunkReceiver, index: u64, pieces: &[Bytes]) -> Result<Placed, BlobError> {
    Ok(match receiver.place(index, pieces)? {
        ChunkFate::Linked => Placed::Linked,
        ChunkFate::Unlinked { reached } => Placed::Wrong { reached },
    })
}

/// Keeps small objects whose bytes are here, all at once; durable on return. One result for each, in their order.
pub(crate) fn keep_batch(
    store: &Store,
    batch: Vec<SmallObject>,
    kept_as: KeptAs,
) -> Vec<Result<ObjectInfo, BlobError>> {
    store.keep_small(batch, kind_of(kept_as))
}

/// All bytes of those of these objects that are here and small, in their order, each checked; `most_bytes` bytes at most.
/// `None` for the others.
pub(crate) fn read_small(store: &Store, contents: &[ContentId], most_bytes: u64) -> Vec<Option<Bytes>> {
    let mut left = most_bytes;
    let mut read = |content: &ContentId| -> Option<Bytes> {
        // A long object is not hashed in order to be refused.
        let length = store.info(content).ok()??.length;
        if length > limits::BATCHED_OBJECT_BYTES_MAX.min(left) || !store.check(content).ok()? {
            return None;
        }
        let bytes = store.read(content, 0).ok()?.read_piece().ok()?;
        left -= length;
        Some(bytes)
    };
    contents.iter().map(&mut read).collect()
}

fn kind_of(kept_as: KeptAs) -> Kind {
    match kept_as {
        KeptAs::Replica => Kind::Replica,
        KeptAs::Requested => Kind::Requested,
    }
}

/// Marks an object that is already here as belonging here, under these names, and renews its lease. A link that cannot be
/// made leaves it as it is. True if the object is still here.
///
/// # Errors
/// The error of the index.
pub(crate) fn keep_linked(
    store: &Store,
    content: ContentId,
    links: &[Link],
    leased_unix_ms: u64,
) -> Result<bool, BlobError> {
    // With its lease renewed, the object is not freed from here on.
    store.renew_leases(vec![content], leased_unix_ms)?;
    let is_here = store.promote(&content)?;
    if is_here && let Err(error) = links.iter().try_for_each(|link| store.link(link, content)) {
        tracing::warn!(%content, %error, "its names are not linked here");
    }
    Ok(is_here)
}

/// The description of an object that is here, as far as that shows without reading it; `None` also if the disk cannot tell.
pub(crate) fn held_info(store: &Store, content: &ContentId) -> Option<ObjectInfo> {
    store.contains(content).unwrap_or(false).then(|| store.info(content).ok()?).flatten()
}

/// Whether an object is here with the right bytes, which are checked; it belongs here from now on.
///
/// # Errors
/// The error of the index or of the disk.
pub(crate) fn vouch(store: &Store, content: &ContentId) -> Result<bool, BlobError> {
    Ok(store.check(content)? && store.promote(content)?)
}

/// The copy of an object here, if there is one.
///
/// # Errors
/// The error of the index.
pub(crate) fn copy_here(store: &Store, content: &ContentId) -> Result<Option<CopyHere>, BlobError> {
    Ok(store.kept_copy(content)?.map(copy_of))
}

/// The next copies here, after this one.
///
/// # Errors
/// The error of the index.
pub(crate) fn copies_after(store: &Store, after: Option<ContentId>) -> Result<Vec<CopyHere>, BlobError> {
    Ok(store.copies_after(after, COPIES_PER_PAGE)?.into_iter().map(copy_of).collect())
}

fn copy_of(copy: Copy) -> CopyHere {
    CopyHere {
        content: copy.object.content,
        length: copy.object.length,
        kept_as: match copy.kind {
            Kind::Replica => KeptAs::Replica,
            Kind::Requested => KeptAs::Requested,
        },
        pinned: copy.pinned,
        surplus_since_ms: copy.surplus_since_ms,
    }
}

/// Renews the leases of the objects that are here. Links each name that stands for its object now, and takes away the
/// links of the others.
///
/// # Errors
/// The error of the index.
pub(crate) fn renew_leases(
    store: &Store,
    references: &[Reference],
    at_unix_ms: u64,
) -> Result<(), BlobError> {
    store.renew_leases(references.iter().map(|reference| reference.content).collect(), at_unix_ms)?;
    for Reference { content, link, current } in references {
        match (*current, store.linked(&link.name)?) {
            (true, linked) if linked != Some(*content) && store.info(content)?.is_some() => {
                store.link(link, *content)?;
            }
            (false, Some(linked)) if linked == *content => store.unlink(&link.name, link.clock)?,
            _ => {}
        }
    }
    Ok(())
}

/// At most `max` names that are kept here, after this key, each with its history; `None` for one that cannot be decoded,
/// which is told.
///
/// # Errors
/// The error of the index.
pub(crate) fn histories_after(
    store: &Store,
    after: Option<Position>,
    max: usize,
) -> Result<Vec<(Position, Option<NameHistory>)>, BlobError> {
    let readable = |(key, bytes): (Position, Vec<u8>)| match decoded(&key, Some(&bytes)) {
        Ok(history) => (key, Some(history)),
        Err(error) => {
            store.tell_unreadable(error.key, error.reason);
            (key, None)
        }
    };
    Ok(store.records_after(after, max)?.into_iter().map(readable).collect())
}

/// The info of an object that is here, and the names that are linked to it.
///
/// # Errors
/// [`BlobError::NotHere`], or the error of the index.
pub(crate) fn info_and_links(
    store: &Store,
    content: ContentId,
) -> Result<(ObjectInfo, Vec<Link>), BlobError> {
    let info = store.info(&content)?.ok_or(BlobError::NotHere { content })?;
    Ok((info, store.names_of(&content)?))
}

/// Hashes an object that is here, to check that its bytes are right.
///
/// # Errors
/// [`BlobError::Rotten`] when they are not, or the error of the disk.
pub(crate) fn look_at_own(store: &Store, content: ContentId) -> Result<(), BlobError> {
    match store.scrub(&content)? {
        true => Ok(()),
        false => Err(BlobError::Rotten { content, reason: "its bytes are other ones".to_owned() }),
    }
}

/// The history that is kept of a name; empty if nothing is kept.
///
/// # Errors
/// Why the history cannot be read.
pub(crate) fn history(store: &Store, key: &Position) -> Result<NameHistory, String> {
    let bytes = store.record(key).map_err(|error| error.to_string())?;
    decoded(key, bytes.as_deref()).map_err(|error| error.to_string())
}

/// The history in these bytes; an empty one if there are none.
fn decoded(key: &Position, bytes: Option<&[u8]>) -> Result<NameHistory, Unreadable> {
    bytes.map_or(Ok(NameHistory::default()), |bytes| value::decode(key_in_words(key), bytes))
}

/// The key of a record as people see it.
fn key_in_words(key: &Position) -> String {
    format!("the name with key {key}")
}

/// The value that the index keeps of a history: its bytes, and its name if it holds a sibling.
///
/// # Errors
/// When the history does not fit.
pub(crate) fn kept(history: &NameHistory) -> Result<KeptRecord, String> {
    let bytes = value::encode(history).map_err(|error| error.to_string())?;
    Ok(KeptRecord { bytes, sibling: name_with_sibling(history) })
}

/// The name of a history that holds a sibling.
fn name_with_sibling(history: &NameHistory) -> Option<FileName> {
    history.siblings().next().and_then(|sibling| sibling.decode().ok()).map(|record| record.name)
}

/// Notes which names have siblings, where the index does not know it yet. A record that cannot be read has no say.
///
/// # Errors
/// The error of the index.
pub(crate) fn look_for_siblings(store: &Store) -> Result<(), BlobError> {
    store.look_for_siblings(|key, bytes| match decoded(key, Some(bytes)) {
        Ok(history) => name_with_sibling(&history),
        Err(error) => {
            store.tell_unreadable(error.key, error.reason);
            None
        }
    })
}

/// The histories that are kept of some names, in the order of their keys here; see [`history`].
///
/// # Errors
/// Why one of them cannot be read.
pub(crate) fn histories(store: &Store, keys: &[Position]) -> Result<Vec<NameHistory>, String> {
    let records = store.records(keys).map_err(|error| error.to_string())?;
    let read = |(key, bytes): (&Position, Option<Vec<u8>>)| decoded(key, bytes.as_deref());
    keys.iter().zip(records).map(read).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// Changes the histories of names, all with one commit; durable on return. One result for each, in their order. A history
/// that cannot be decoded is not overwritten, unless its change `heals`: then it counts as empty, and its bytes go to
/// quarantine before others take their place.
///
/// # Errors
/// For each name, why its history cannot be read or written.
pub(crate) fn change_histories<T>(
    store: &Store,
    changes: Vec<HistoryChange<T>>,
) -> Vec<Result<T, MissingReason>> {
    let keys: Vec<Position> = changes.iter().map(|change| change.key).collect();
    let mut changes = changes.into_iter();
    let mut done = Vec::with_capacity(keys.len());
    let written = store.update_records(&keys, |_, bytes, grave| {
        // Each change is asked for once, in its order.
        let (new, result) = change_history(store, bytes, grave, changes.next()?);
        done.push(result.map_err(MissingReason::Disk));
        new
    });
    match written {
        Ok(()) => done,
        Err(error) => keys.iter().map(|_| Err(error.missing_reason())).collect(),
    }
}

/// The new bytes of a history, if it changed, and the value that the change returned.
fn change_history<T>(
    store: &Store,
    bytes: Option<&[u8]>,
    grave: Option<blob::Grave>,
    HistoryChange { key, heals, change }: HistoryChange<T>,
) -> (Option<KeptName>, Result<T, String>) {
    let unreadable = match decoded(&key, bytes) {
        Err(error) if heals => Some(error),
        _ => None,
    };
    let readable = bytes.filter(|_| unreadable.is_none());
    let (new, result) = changed_history(&key, readable, grave, change);
    if let (Some(bytes), Some(error), Some(_)) = (bytes, unreadable, &new)
        && let Err(error) = store.quarantine_record(&key, bytes, &error.to_string())
    {
        return (None, Err(error.to_string()));
    }
    (new, result)
}

/// The new bytes of a history, if it changed, and the value that `change` returned.
fn changed_history<T>(
    key: &Position,
    bytes: Option<&[u8]>,
    grave: Option<blob::Grave>,
    change: impl FnOnce(&mut NameHistory) -> (bool, T),
) -> (Option<KeptName>, Result<T, String>) {
    let mut history = match decoded(key, bytes) {
        Ok(history) => history,
        Err(error) => return (None, Err(error.to_string())),
    };
    history.grave = grave.map(|(clock, until_unix_ms)| Grave { clock, until_unix_ms });
    match change(&mut history) {
        (false, result) => (None, Ok(result)),
        (true, result) => match kept_name(&history) {
            Ok(kept) => (Some(kept), Ok(result)),
            Err(error) => (None, Err(error)),
        },
    }
}

/// All that the index keeps of a history: no record if it has none, and the memory of a removal.
fn kept_name(history: &NameHistory) -> Result<KeptName, String> {
    let record = history.current.is_some().then(|| kept(history)).transpose()?;
    Ok(KeptName { record, grave: history.grave.map(|grave| (grave.clock, grave.until_unix_ms)) })
}

/// When this peer was last active in its ring, in milliseconds since the Unix epoch. An index that does not say so, of an
/// earlier program or built anew, stands for the date of its newest record: so long at least the peer was there. `None`
/// without records.
///
/// # Errors
/// The error of the index.
pub(crate) fn active_ms(store: &Store) -> Result<Option<u64>, BlobError> {
    if let Some(active_ms) = store.active_ms()? {
        return Ok(Some(active_ms));
    }
    let mut newest = None;
    for_each_record(store, |_, history| {
        let current = history.current.and_then(|current| current.decode().ok());
        newest = newest.max(current.map(|record| record.clock.unix_ms()));
    })?;
    Ok(newest)
}

/// Notes, durably, that tombstones up to this date may be dropped from now on; and ends the memories of removals whose
/// time, at most `slack_ms`, is over.
///
/// # Errors
/// The error of the index.
pub(crate) fn note_dropped(
    store: &Store,
    up_to_ms: u64,
    now_ms: u64,
    slack_ms: u64,
) -> Result<(), BlobError> {
    store.note_dropped(up_to_ms)?;
    store.end_graves(now_ms, now_ms.saturating_add(slack_ms))
}

/// Counts the objects that were freed here as present: no name refers to them, so they are not taken back from a peer
/// that has not freed them yet.
///
/// # Errors
/// The error of the index.
pub(crate) fn pass_over_freed(
    store: &Store,
    presence: &mut [(ContentId, Presence)],
) -> Result<(), BlobError> {
    for (content, presence) in presence.iter_mut().filter(|(_, presence)| *presence != Presence::Here) {
        if store.was_freed(content)? {
            *presence = Presence::Here;
        }
    }
    Ok(())
}

/// For each offered record, whether it is known here. A history that cannot be read is told, and counts as one without
/// that record: the offer goes on, and the write of the record then fails.
///
/// # Errors
/// The error of the index.
pub(crate) fn known_records(store: &Store, offered: &[OfferedRecord]) -> Result<Vec<bool>, BlobError> {
    let is_known = |offered: &OfferedRecord| -> Result<bool, BlobError> {
        match decoded(&offered.key, store.record(&offered.key)?.as_deref()) {
            Ok(history) => Ok(history.knows(&offered.id)),
            Err(error) => {
                store.tell_unreadable(error.key, error.reason);
                Ok(false)
            }
        }
    };
    offered.iter().map(is_known).collect()
}

/// All objects and records that are here.
///
/// # Errors
/// The error of the index.
pub(crate) fn holdings(store: &Store) -> Result<Holdings, BlobError> {
    let objects = store.object_ids()?.into_iter().map(|(content, _)| content).collect();
    let mut records = BTreeMap::new();
    for_each_record(store, |key, history| {
        records.insert(key, history.into_records().collect());
    })?;
    Ok(Holdings { objects, records })
}

/// The content of a range here: at most `max` objects, and the records of at most `max` names. A history that cannot be read
/// is told, and passed over.
///
/// # Errors
/// The error of the index.
pub(crate) fn held(store: &Store, range: &KeyRange, max: usize) -> Result<HeldPage, BlobError> {
    let rows = store.held(range, max)?;
    let mut page = HeldPage { objects: rows.objects, records: Vec::new(), rest: rows.rest };
    for (key, bytes) in rows.records {
        match decoded(&key, Some(&bytes)) {
            Ok(history) => page.records.extend(history.into_records().map(|record| (key, record))),
            Err(error) => store.tell_unreadable(error.key, error.reason),
        }
    }
    Ok(page)
}

/// Visits the history of each name, in the order of the keys. A history that cannot be read is told, and passed over:
/// it is never taken for an empty one.
///
/// # Errors
/// The error of the index.
pub(crate) fn for_each_record(
    store: &Store,
    mut visit: impl FnMut(Position, NameHistory),
) -> Result<(), BlobError> {
    let mut after = None;
    loop {
        let page = store.records_after(after, RECORDS_PER_PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (key, bytes) in page {
            match decoded(&key, Some(&bytes)) {
                Ok(history) => visit(key, history),
                Err(error) => store.tell_unreadable(error.key, error.reason),
            }
        }
    }
}

/// The number of copies that are read at a time.
const COPIES_PER_PAGE: usize = 1_000;
/// The number of records that are read at a time.
const RECORDS_PER_PAGE: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    /// Goal: one history that cannot be read hides no other one: the leases of the objects of all others are renewed.
    #[test]
    fn histories_after_an_unreadable_one_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), std::sync::Arc::new(crate::blob::RealDisk)).unwrap();
        let keys = [1, 2, 3].map(Position::of_number);
        for (key, is_bad) in keys.iter().zip([false, true, false]) {
            let bytes = if is_bad { vec![0xff; 40] } else { kept(&NameHistory::default()).unwrap().bytes };
            store.put_record(*key, bytes).unwrap();
        }
        let read = histories_after(&store, None, 10).unwrap();
        let readable: Vec<(Position, bool)> =
            read.iter().map(|(key, history)| (*key, history.is_some())).collect();
        assert_eq!(readable, [(keys[0], true), (keys[1], false), (keys[2], true)]);
        assert_eq!(histories_after(&store, Some(keys[1]), 10).unwrap().len(), 1);
    }

    /// Goal: the small objects that are here and sound, each time that they are asked for, within the bound of bytes; never
    /// a long one, which is not even hashed, nor a rotten one.
    #[test]
    fn small_objects_are_read_together() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), std::sync::Arc::new(crate::blob::RealDisk)).unwrap();
        let long = vec![7; limits::BATCHED_OBJECT_BYTES_MAX as usize + 1];
        let texts: [&[u8]; 4] = [b"one", b"", &long[1..], b"rotten"];
        let small = texts.map(|text| SmallObject {
            content: ContentId::of(text),
            links: Vec::new(),
            bytes: Bytes::copy_from_slice(text),
        });
        assert!(store.keep_small(small.to_vec(), Kind::Replica).iter().all(Result::is_ok));
        let mut receiver = store.receive(ContentId::of(&long), long.len() as u64).unwrap();
        receiver.write(&long).unwrap();
        receiver.finish(Kind::Replica).unwrap();
        let path = |content: &ContentId| {
            let hex = content.to_string();
            dir.path().join("objects").join(&hex[..2]).join(hex)
        };
        let rotten = path(&ContentId::of(b"rotten"));
        std::fs::remove_file(&rotten).unwrap();
        std::fs::write(&rotten, b"Rotten").unwrap();
        let [one, empty, whole, rotten] = texts.map(ContentId::of);
        let (long, absent) = (ContentId::of(&long), ContentId::of(b"absent"));
        let read = read_small(&store, &[one, absent, empty, long, whole, rotten, one], 1 << 20);
        let lengths: Vec<Option<usize>> = read.iter().map(|bytes| bytes.as_ref().map(Bytes::len)).collect();
        assert_eq!(lengths, [Some(3), None, Some(0), None, Some(65_536), None, Some(3)]);
        assert_eq!(read[0].as_deref(), Some(&b"one"[..]));
        let bounded = read_small(&store, &[whole, one, one, whole, empty], 65_536 + 5);
        let given: Vec<bool> = bounded.iter().map(Option::is_some).collect();
        assert_eq!(given, [true, true, false, false, true]);
    }

    /// Goal: the record of another keeper takes the place of one that cannot be read; its bytes and the reason are kept.
    /// A change that heals nothing leaves it as it is.
    #[test]
    fn another_keepers_record_heals_one_that_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), std::sync::Arc::new(crate::blob::RealDisk)).unwrap();
        let key = Position::of_number(4);
        store.put_record(key, vec![0xff; 40]).unwrap();
        let healed = NameHistory {
            grave: Some(Grave { clock: Timestamp(7), until_unix_ms: 9 }),
            ..NameHistory::default()
        };
        let change_one = |heals, change: fn(&mut NameHistory, NameHistory) -> bool| {
            let new = healed.clone();
            let change = HistoryChange::new(key, heals, move |history| (change(history, new), ()));
            change_histories(&store, vec![change]).remove(0)
        };
        let change = |heals, changes| match changes {
            true => change_one(heals, |history, new| {
                *history = new;
                true
            }),
            false => change_one(heals, |_, _| false),
        };
        assert!(change(false, true).unwrap_err().to_string().contains("cannot be read"));
        change(true, false).unwrap();
        assert_eq!(store.record(&key).unwrap(), Some(vec![0xff; 40]));
        change(true, true).unwrap();
        assert_eq!(store.record(&key).unwrap(), None, "a history without a record is no record");
        let place = dir.path().join("quarantine").join(format!("record-{key}"));
        assert_eq!(std::fs::read(&place).unwrap(), [0xff; 40]);
        let reason = std::fs::read_to_string(place.with_added_extension("reason")).unwrap();
        assert!(reason.contains("cannot be read"), "{reason}");
        let comes_back = |history: &mut NameHistory, healed| {
            assert_eq!(*history, healed, "the memory of a removal comes back");
            false
        };
        change_one(false, comes_back).unwrap();
        note_dropped(&store, 5, 9, 100).unwrap();
        note_dropped(&store, 3, 9, 100).unwrap();
        assert_eq!((store.dropped_ms().unwrap(), active_ms(&store).unwrap()), (5, None));
        let is_over = |history: &mut NameHistory, _| {
            assert_eq!(history.grave, None);
            false
        };
        change_one(false, is_over).unwrap();
        store.note_active(11).unwrap();
        assert_eq!(active_ms(&store).unwrap(), Some(11));
    }

    /// Goal: an unreadable record is neither overwritten nor taken for absent, and a failed write is reported as a
    /// failure.
    #[test]
    fn a_history_that_cannot_be_read_stays_as_it_is() {
        let untouched = |_: &mut NameHistory| -> (bool, ()) { panic!("there is nothing to change") };
        let key = Position::of_number(4);
        let (new, result) = changed_history(&key, Some(&[0xff; 40]), None, untouched);
        assert_eq!(new, None);
        assert!(result.unwrap_err().contains(&format!("{key} cannot be read")));
        let (new, result) = changed_history(&key, None, None, |_| (false, 7));
        assert_eq!((new, result), (None, Ok(7)));
        let (new, result) = changed_history(&key, None, None, |_| (true, 7));
        assert_eq!((new, result), (Some(KeptName::default()), Ok(7)));
    }

    /// Found by reading the code: a peer whose own copy had gone bad said that the receiver refused it.
    #[test]
    fn a_copy_that_is_bad_here_is_not_the_receivers_fault() {
        let giver = PeerName { position: Position::of_number(36), name: None };
        let said = |error| not_given(&giver, &error).to_string();
        let content = ContentId::of(b"a");
        assert_eq!(
            said(BlobError::Rotten { content, reason: "it ends after 3 bytes".to_owned() }),
            "was not given it: the copy at peer 36 was bad"
        );
        assert_eq!(said(BlobError::NotHere { content }), "was not given it: the copy at peer 36 is gone");
        let path = std::path::PathBuf::from("o");
        let source = std::io::Error::other("no such device");
        assert_eq!(
            said(BlobError::Io { doing: "read", path, source }),
            "was not given it: peer 36 cannot read its copy: cannot read o: no such device"
        );
    }
}
