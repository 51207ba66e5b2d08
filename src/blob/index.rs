//! The index: what is here, under which names, and the name records, in one redb file.
//!
//! Each change is durable when its call returns. Threads that wait for the disk at the same time
//! share one transaction: whoever finds nobody writing writes for all that wait (group commit).
//! A failed commit poisons the store.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
};

use super::error::{BlobError, Result};
use super::layout::Layout;
use crate::id::{ContentId, FileName, OutboardDigest, Position};
use crate::time::Timestamp;
use crate::wire::{Link, ObjectInfo, limits};

/// Why an object is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The ring put it here: as the owner of its key, or a peer behind it.
    Replica,
    /// It was requested here.
    Requested,
}

/// One change to the index.
#[derive(Debug)]
pub(super) enum Change {
    /// An object is here. One that is a replica already stays one.
    Object(ObjectInfo, Kind),
    /// An object is not here any more, nor are its links.
    Forget(ContentId),
    /// A name stands for an object here, or for none, unless a later clock says otherwise.
    Link { name: FileName, clock: Timestamp, content: Option<ContentId> },
    /// The record of a name key; `None` removes it.
    Record(Position, Option<Vec<u8>>),
    /// The remembered members.
    Remembered(Vec<u8>),
    /// What is known of them.
    Known(Vec<u8>),
    /// The index was built up from the folders, or began empty with them.
    Built,
}

/// The index file, open.
pub(super) struct Index {
    database: Database,
    layout: Arc<Layout>,
    group: Mutex<Group>,
    turned: Condvar,
}

/// The changes that wait. There are no more of them than threads that wait.
#[derive(Default)]
struct Group {
    waiting: Vec<Change>,
    /// Which batch is being gathered; a batch is one transaction.
    gathering: u64,
    /// All batches before this one are on disk.
    committed: u64,
    writing: bool,
    failed: bool,
}

impl Index {
    /// Opens or makes the index. A corrupt one goes to quarantine, and an empty one takes its place.
    pub fn open(layout: Arc<Layout>) -> Result<Index> {
        let path = layout.index();
        let database = match open_database(&path) {
            Err(error) if is_corrupt(&error) => {
                layout.quarantine_file(&path, &format!("the index cannot be read: {error}"))?;
                open_database(&path)
            }
            other => other,
        };
        let database = match database {
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                return Err(BlobError::InUse { dir: layout.root.clone() });
            }
            other => other.map_err(|error| index_error(&path, error))?,
        };
        layout.sync_dir(&layout.root)?;
        let index = Index { database, layout, group: Mutex::default(), turned: Condvar::new() };
        index.check_format()?;
        Ok(index)
    }

    /// Makes changes, together and durably.
    pub fn submit(&self, changes: impl IntoIterator<Item = Change>) -> Result<()> {
        self.layout.check()?;
        let changes: Vec<_> = changes.into_iter().collect();
        if changes.is_empty() {
            return Ok(());
        }
        let mut group = self.lock();
        let batch = group.gathering;
        group.waiting.extend(changes);
        loop {
            if group.committed > batch {
                return Ok(());
            }
            if group.failed {
                return Err(BlobError::Poisoned { dir: self.layout.root.clone() });
            }
            if !group.writing {
                return self.write_for_all(group);
            }
            group = self.turned.wait(group).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the index has been built, as opposed to found missing.
    pub fn is_built(&self) -> Result<bool> {
        self.read(|tables| Ok(tables.open_table(NUMBERS)?.get(BUILT)?.is_some()))
    }

    pub fn object(&self, content: &ContentId) -> Result<Option<(ObjectInfo, Kind)>> {
        self.read(|tables| {
            let row = tables.open_table(OBJECTS)?.get(&content.0)?;
            Ok(row.map(|row| read_object(&content.0, row.value())))
        })
    }

    /// Objects in the order of their content ids, from after this one on.
    pub fn objects_after(&self, after: Option<ContentId>, max: usize) -> Result<Vec<(ObjectInfo, Kind)>> {
        self.read(|tables| {
            let table = tables.open_table(OBJECTS)?;
            let start = after.map_or([0; 32], |content| content.0);
            let rows = table.range::<&[u8; 32]>(&start..)?;
            let mut objects = Vec::new();
            for row in rows {
                let (key, value) = row?;
                let object = read_object(key.value(), value.value());
                if objects.len() == max {
                    break;
                }
                if after != Some(object.0.content) {
                    objects.push(object);
                }
            }
            Ok(objects)
        })
    }

    /// The objects whose content ids begin with this byte.
    pub fn objects_of(&self, first: u8) -> Result<BTreeSet<ContentId>> {
        let (mut start, mut end) = ([0; 32], [0xff; 32]);
        (start[0], end[0]) = (first, first);
        self.read(|tables| {
            let table = tables.open_table(OBJECTS)?;
            let rows = table.range::<&[u8; 32]>(&start..=&end)?;
            Ok(rows
                .map(|row| Ok(ContentId(*row?.0.value())))
                .collect::<std::result::Result<_, StorageError>>()?)
        })
    }

    /// How many objects there are, and their bytes.
    pub fn totals(&self) -> Result<(u64, u64)> {
        self.read(|tables| {
            let bytes = tables.open_table(NUMBERS)?.get(BYTES)?.map_or(0, |row| row.value());
            Ok((redb::ReadableTableMetadata::len(&tables.open_table(OBJECTS)?)?, bytes))
        })
    }

    /// At most `max` names of an object, in the order of their bytes.
    pub fn names_of(&self, content: &ContentId, max: usize) -> Result<Vec<Link>> {
        self.read(|tables| {
            let table = tables.open_table(NAMES_OF)?;
            let mut links = Vec::new();
            for row in table.range((&content.0, "")..)?.take(max) {
                let (key, clock) = row?;
                let (of, name) = key.value();
                if *of != content.0 {
                    break;
                }
                if let Ok(name) = FileName::new(name) {
                    links.push(Link { name, clock: Timestamp(clock.value()) });
                }
            }
            Ok(links)
        })
    }

    /// What a name stands for here.
    pub fn linked(&self, name: &str) -> Result<Option<(Timestamp, Option<ContentId>)>> {
        self.read(|tables| Ok(tables.open_table(NAMES)?.get(name)?.map(|row| read_name(row.value()))))
    }

    /// Names that are linked to an object here, from after this one on.
    pub fn links_after(&self, after: &str, max: usize) -> Result<Vec<(String, ContentId)>> {
        self.read(|tables| {
            let mut links = Vec::new();
            for row in tables.open_table(NAMES)?.range(after..)? {
                let (name, value) = row?;
                if let (_, Some(content)) = read_name(value.value())
                    && name.value() != after
                {
                    links.push((name.value().to_owned(), content));
                }
                if links.len() == max {
                    break;
                }
            }
            Ok(links)
        })
    }

    pub fn record(&self, key: &Position) -> Result<Option<Vec<u8>>> {
        self.read(|tables| Ok(tables.open_table(RECORDS)?.get(&key.0)?.map(|record| record.value().to_vec())))
    }

    /// Records in the order of their keys, from after this one on.
    pub fn records_after(&self, after: Option<Position>, max: usize) -> Result<Vec<(Position, Vec<u8>)>> {
        self.read(|tables| {
            let start = after.map_or([0; 32], |key| key.0);
            let mut records = Vec::new();
            for row in tables.open_table(RECORDS)?.range::<&[u8; 32]>(&start..)? {
                if records.len() == max {
                    break;
                }
                let (key, record) = row?;
                let key = Position(*key.value());
                if after != Some(key) {
                    records.push((key, record.value().to_vec()));
                }
            }
            Ok(records)
        })
    }

    pub fn record_count(&self) -> Result<u64> {
        self.read(|tables| Ok(redb::ReadableTableMetadata::len(&tables.open_table(RECORDS)?)?))
    }

    pub fn remembered(&self) -> Result<Option<Vec<u8>>> {
        self.value(REMEMBERED)
    }

    pub fn known(&self) -> Result<Option<Vec<u8>>> {
        self.value(KNOWN)
    }

    fn value(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.read(|tables| Ok(tables.open_table(VALUES)?.get(key)?.map(|value| value.value().to_vec())))
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> std::result::Result<T, redb::Error>,
    ) -> Result<T> {
        let begun = self.database.begin_read().map_err(redb::Error::from);
        begun.and_then(|tables| read(&tables)).map_err(|error| self.error(error))
    }

    fn write_for_all(&self, mut group: MutexGuard<'_, Group>) -> Result<()> {
        group.writing = true;
        let changes = std::mem::take(&mut group.waiting);
        let mut turn = Turn { index: self, batch: group.gathering, committed: false };
        group.gathering += 1;
        drop(group);
        self.commit(&changes).map_err(|error| {
            tracing::error!(%error, "cannot commit to the index");
            self.error(error)
        })?;
        turn.committed = true;
        Ok(())
    }

    fn commit(&self, changes: &[Change]) -> std::result::Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        for change in changes {
            apply(&transaction, change)?;
        }
        Ok(transaction.commit()?)
    }

    /// Makes the tables, so that later reads find them, and refuses an index of a later program.
    fn check_format(&self) -> Result<()> {
        let check = || -> std::result::Result<u64, redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(OBJECTS)?;
            transaction.open_table(NAMES)?;
            transaction.open_table(NAMES_OF)?;
            transaction.open_table(RECORDS)?;
            transaction.open_table(VALUES)?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            let found = numbers.get(FORMAT)?.map(|row| row.value());
            if found.is_none() {
                numbers.insert(FORMAT, FORMAT_KNOWN)?;
            }
            drop(numbers);
            transaction.commit()?;
            Ok(found.unwrap_or(FORMAT_KNOWN))
        };
        match check().map_err(|error| self.error(error))? {
            FORMAT_KNOWN => Ok(()),
            found => Err(BlobError::Format { path: self.layout.index(), found, known: FORMAT_KNOWN }),
        }
    }

    fn error(&self, error: redb::Error) -> BlobError {
        index_error(&self.layout.index(), error)
    }

    fn lock(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write; given back however the writing ends, so that nobody waits for ever.
struct Turn<'a> {
    index: &'a Index,
    batch: u64,
    committed: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut group = self.index.lock();
        group.writing = false;
        if self.committed {
            group.committed = self.batch + 1;
        } else {
            group.failed = true;
            self.index.layout.poison();
        }
        self.index.turned.notify_all();
    }
}

type Applied = std::result::Result<(), redb::Error>;

fn apply(transaction: &redb::WriteTransaction, change: &Change) -> Applied {
    match change {
        Change::Object(info, kind) => insert_object(transaction, info, *kind),
        Change::Forget(content) => forget_object(transaction, content),
        Change::Link { name, clock, content } => set_link(transaction, name, *clock, content.as_ref()),
        Change::Record(key, Some(bytes)) => {
            transaction.open_table(RECORDS)?.insert(&key.0, bytes.as_slice())?;
            Ok(())
        }
        Change::Record(key, None) => {
            transaction.open_table(RECORDS)?.remove(&key.0)?;
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
        Change::Built => {
            transaction.open_table(NUMBERS)?.insert(BUILT, 1)?;
            Ok(())
        }
    }
}

fn insert_object(transaction: &redb::WriteTransaction, info: &ObjectInfo, kind: Kind) -> Applied {
    let mut objects = transaction.open_table(OBJECTS)?;
    let known = objects.get(&info.content.0)?.map(|row| read_object(&info.content.0, row.value()));
    let kind = match (kind, known) {
        (Kind::Requested, None | Some((_, Kind::Requested))) => REQUESTED,
        _ => REPLICA,
    };
    objects.insert(&info.content.0, (info.length, &info.outboard.0, kind))?;
    add_bytes(transaction, info.length, known.map_or(0, |(known, _)| known.length))
}

fn forget_object(transaction: &redb::WriteTransaction, content: &ContentId) -> Applied {
    let removed = transaction.open_table(OBJECTS)?.remove(&content.0)?.map(|row| row.value().0);
    let mut names = transaction.open_table(NAMES)?;
    let mut names_of = transaction.open_table(NAMES_OF)?;
    loop {
        // One by one, since a range cannot be walked while rows are taken out of it.
        let name = match names_of.range((&content.0, "")..)?.next().transpose()? {
            Some((key, _)) if *key.value().0 == content.0 => key.value().1.to_owned(),
            _ => break,
        };
        names_of.remove((&content.0, name.as_str()))?;
        names.remove(name.as_str())?;
    }
    add_bytes(transaction, 0, removed.unwrap_or(0))
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

fn read_object(key: &[u8; 32], (length, outboard, kind): (u64, &[u8; 32], u8)) -> (ObjectInfo, Kind) {
    let kind = if kind == REQUESTED { Kind::Requested } else { Kind::Replica };
    (ObjectInfo { content: ContentId(*key), length, outboard: OutboardDigest(*outboard) }, kind)
}

fn read_name((clock, content): (u64, Option<&[u8; 32]>)) -> (Timestamp, Option<ContentId>) {
    (Timestamp(clock), content.map(|content| ContentId(*content)))
}

/// Whether a store has this data directory open, as the lock of its index tells.
pub fn is_in_use(dir: &Path) -> bool {
    let opened = std::fs::File::open(dir.join(super::layout::INDEX));
    opened.is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

fn open_database(path: &Path) -> std::result::Result<Database, DatabaseError> {
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        // Without it, a file that was altered from outside is trusted and may panic later.
        .set_check_integrity_on_open(true)
        .create(path)
}

fn is_corrupt(error: &DatabaseError) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) | DatabaseError::UpgradeRequired(_) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(error.kind(), InvalidData | UnexpectedEof)
        }
        _ => false,
    }
}

fn index_error(path: &Path, error: impl Into<redb::Error>) -> BlobError {
    BlobError::Index { path: path.to_owned(), source: Box::new(error.into()) }
}

/// Names of one object that a listing shows.
pub(super) const NAMES_LISTED_MAX: usize = limits::LINKS_PER_OBJECT_MAX;

/// Content id → length, outboard digest, kind.
const OBJECTS: TableDefinition<'_, &[u8; 32], (u64, &[u8; 32], u8)> = TableDefinition::new("objects");
/// Name → clock, and the object that it stands for; none once it was unlinked.
const NAMES: TableDefinition<'_, &str, (u64, Option<&[u8; 32]>)> = TableDefinition::new("names");
/// (Content id, name) → clock: the table above the other way round.
const NAMES_OF: TableDefinition<'_, (&[u8; 32], &str), u64> = TableDefinition::new("names of objects");
/// Name key → record, opaque here.
const RECORDS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("records");
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

const REMEMBERED: &str = "remembered members";
const KNOWN: &str = "known of members";
const FORMAT: &str = "format";
const FORMAT_KNOWN: u64 = 1;
const BUILT: &str = "built";
const BYTES: &str = "bytes";
const REPLICA: u8 = 0;
const REQUESTED: u8 = 1;
const CACHE_BYTES: usize = 64 << 20;
