//! The index: the objects that are here, their names, and the name records, in one redb file.
//!
//! Each change is durable when its call returns. Threads that wait for the disk at the same time share one transaction:
//! the first thread that finds no other writing writes for all that wait (group commit).
//!
//! A commit that fails changes nothing, and the next one may succeed: only a failed sync poisons the store. After any
//! failed read or write redb refuses everything until its file is opened again, so the next call does that.

use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use redb::{Database, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::backend::{self, Opened};
use super::digests;
use super::error::{BlobError, Result};
use super::layout::Layout;
use super::log::{BaseWriter, RecordLog};
use super::{keeping, leases, reserve, siblings, verified};
use crate::id::{ContentId, FileName, OutboardDigest, Position, SetDigest};
use crate::time::Timestamp;
use crate::wire::{Link, ObjectInfo, limits};

/// Why an object is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The ring placed it here, because this peer owns its key or is one of the peers behind the owner.
    Replica,
    /// A user of this peer requested it.
    Requested,
}

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
    /// The record of a name key, as the log of records has it.
    Replayed(Position, Option<Vec<u8>>),
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
}

/// The value that is kept of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// The history of the name, opaque here.
    pub bytes: Vec<u8>,
    /// The name, if its history holds a sibling.
    pub sibling: Option<FileName>,
}

/// A history without a sibling.
impl From<Vec<u8>> for KeptRecord {
    fn from(bytes: Vec<u8>) -> KeptRecord {
        KeptRecord { bytes, sibling: None }
    }
}

/// The index file, open.
pub(super) struct Index {
    file: RwLock<File>,
    layout: Arc<Layout>,
    /// The second copy of the records.
    log: RecordLog,
    group: Mutex<Group>,
    batch_done: Condvar,
}

struct File {
    /// `None` after a failure, until the next call opens the file again.
    database: Option<Database>,
    /// The number of times that the file was opened: of two threads that saw the same failure, only one opens it again.
    opened: u64,
}

/// The waiting changes. There are no more of them than waiting threads.
#[derive(Default)]
struct Group {
    waiting: Vec<Change>,
    /// The outcome of the batch that is being gathered; a batch is one transaction.
    gathering: Arc<Outcome>,
    writing: bool,
}

/// The outcome of one batch, once it is known.
type Outcome = OnceLock<std::result::Result<(), Failure>>;

/// Why a batch was not written, for each thread that waited for it.
#[derive(Debug, Clone)]
enum Failure {
    Io(io::ErrorKind, Option<i32>),
    Other(String),
}

impl Index {
    /// Opens or makes the index. An unreadable index goes to quarantine, and an empty one takes its place; the second
    /// value gives the reason.
    ///
    /// # Errors
    /// [`BlobError::InUse`]; [`BlobError::Format`] for an index of another version, which is left as it is; the errors
    /// of the disk.
    pub fn open(layout: Arc<Layout>) -> Result<(Index, Option<String>)> {
        let path = layout.index();
        let before = layout.disk.stat(&path).ok().map(|stat| stat.length());
        let mut opened = open_file(&layout).map_err(|error| index_error(&layout, error))?;
        let mut set_aside = match before {
            Some(0) => Some(format!("{} was empty", path.display())),
            // A new data directory has no index either.
            None if layout.has_peer() => Some(format!("{} was missing", path.display())),
            _ => None,
        };
        if let Opened::Damaged(why) = &opened {
            layout.quarantine_file(&path, &format!("the index cannot be read: {why}"))?;
            set_aside =
                Some(format!("{} could not be read ({why}) and is in quarantine/ now", path.display()));
            opened = open_file(&layout).map_err(|error| index_error(&layout, error))?;
        }
        let database = sound(&layout, opened)?;
        layout.sync_dir(&layout.root)?;
        let file = RwLock::new(File { database: Some(database), opened: 0 });
        let log = RecordLog::open(layout.clone())?;
        let index = Index { file, layout, log, group: Mutex::default(), batch_done: Condvar::new() };
        let layout = &index.layout;
        reserve::with_reserve(&layout.root, &*layout.disk, || index.check_format())?;
        match index.list_cached() {
            // The cache is listed at the next opening; until then nothing of it is evicted.
            Err(error) if error.is_disk_full() => {}
            listed => listed?,
        }
        Ok((index, set_aside))
    }

    /// Makes changes, together and durably.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`]; [`BlobError::Io`], also for a full disk; then nothing has changed.
    pub fn submit(&self, changes: impl IntoIterator<Item = Change>) -> Result<()> {
        self.layout.check()?;
        let changes: Vec<_> = changes.into_iter().collect();
        if changes.is_empty() {
            return Ok(());
        }
        let mut group = self.lock();
        let batch = group.gathering.clone();
        group.waiting.extend(changes);
        loop {
            if let Some(outcome) = batch.get() {
                return outcome.clone().map_err(|failure| self.failed(failure));
            }
            if !group.writing {
                self.write_for_all(group);
                group = self.lock();
            } else {
                group = self.batch_done.wait(group).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// The number of free bytes on a disk that has no room for a commit; `None` on any other disk.
    pub fn full_with(&self) -> Option<u64> {
        // On a disk that does not report its room, only a write shows whether it is full.
        let free = self.layout.disk.room(&self.layout.root).ok()?.free;
        (free < COMMIT_ROOM_BYTES).then_some(free)
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

    /// The objects in the order of their content ids, after this one.
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

    /// The objects whose content ids begin with this byte, with their lengths in bytes.
    pub fn objects_of(&self, first: u8) -> Result<BTreeMap<ContentId, u64>> {
        let (mut start, mut end) = ([0; 32], [0xff; 32]);
        (start[0], end[0]) = (first, first);
        self.read(|tables| {
            let table = tables.open_table(OBJECTS)?;
            let rows = table.range::<&[u8; 32]>(&start..=&end)?;
            Ok(rows
                .map(|row| row.map(|(key, value)| (ContentId(*key.value()), value.value().0)))
                .collect::<std::result::Result<_, StorageError>>()?)
        })
    }

    /// The number of objects, and the number of their bytes.
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

    /// The clock of a name, and the object that it stands for here, if any.
    pub fn linked(&self, name: &str) -> Result<Option<(Timestamp, Option<ContentId>)>> {
        self.read(|tables| Ok(tables.open_table(NAMES)?.get(name)?.map(|row| read_name(row.value()))))
    }

    /// The names that are linked to an object here, after this one.
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

    /// The objects whose files are to be removed, or were removed a short while ago.
    pub fn doomed(&self) -> Result<Vec<ContentId>> {
        self.read(keeping::doomed)
    }

    /// The dates of the leases of these objects, in milliseconds since the Unix epoch.
    pub fn leases_of(&self, contents: &[ContentId]) -> Result<Vec<(ContentId, Option<u64>)>> {
        self.read(|tables| leases::leases_of(tables, contents))
    }

    pub fn was_freed(&self, content: &ContentId) -> Result<bool> {
        self.read(|tables| leases::was_freed(tables, content))
    }

    /// Since when a copy has been one too many, in milliseconds since the Unix epoch, if that was noted.
    pub fn surplus_since(&self, content: &ContentId) -> Result<Option<u64>> {
        self.read(|tables| keeping::surplus_since(tables, content))
    }

    pub fn is_pinned(&self, content: &ContentId) -> Result<bool> {
        self.read(|tables| keeping::is_pinned(tables, content))
    }

    /// The number of objects that are only a cache, and the number of their bytes.
    pub fn cached_totals(&self) -> Result<(u64, u64)> {
        self.read(keeping::cached_totals)
    }

    /// The pinned objects in the order of their content ids, after this one.
    pub fn pinned_after(&self, after: Option<ContentId>, max: usize) -> Result<Vec<ContentId>> {
        self.read(|tables| keeping::pinned_after(tables, after, max))
    }

    /// The cached objects whose last use is the longest ago, that one first, at most `max`: each with its content id and
    /// its length in bytes. `later` knows uses that the index has not been told of yet.
    pub fn least_used(
        &self,
        max: usize,
        later: impl Fn(&ContentId) -> Option<u64>,
    ) -> Result<Vec<(ContentId, u64)>> {
        let oldest = self.read(|tables| {
            // The greatest of the heap is the use that gives way to an earlier one.
            let mut oldest = BinaryHeap::with_capacity(max + 1);
            keeping::for_each_cached(tables, |content, length, used| {
                oldest.push((later(&content).unwrap_or(used), content, length));
                if oldest.len() > max {
                    oldest.pop();
                }
            })?;
            Ok(oldest)
        })?;
        Ok(oldest.into_sorted_vec().into_iter().map(|(_, content, length)| (content, length)).collect())
    }

    /// Lists the cached objects of an index that an earlier program wrote.
    fn list_cached(&self) -> Result<()> {
        let cached = self.read(|tables| {
            if !keeping::is_unlisted(tables)? {
                return Ok(None);
            }
            let mut cached = Vec::new();
            for row in tables.open_table(OBJECTS)?.iter()? {
                let (key, value) = row?;
                let (object, kind) = read_object(key.value(), value.value());
                if kind == Kind::Requested {
                    cached.push((object.content, object.length));
                }
            }
            Ok(Some(cached))
        })?;
        cached.map_or(Ok(()), |cached| self.submit([Change::Cached(cached)]))
    }

    pub fn record(&self, key: &Position) -> Result<Option<Vec<u8>>> {
        self.read(|tables| Ok(tables.open_table(RECORDS)?.get(&key.0)?.map(|record| record.value().to_vec())))
    }

    /// The records in the order of their keys, after this one.
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

    /// The second copy of the records.
    pub fn log(&self) -> &RecordLog {
        &self.log
    }

    /// Writes a new base of the log: all records of one moment. Other writes wait only until that moment is fixed.
    ///
    /// # Errors
    /// The errors of the index and of the disk; the log then stays as it was.
    pub fn write_log_base(&self) -> Result<()> {
        let group = self.batch_done.wait_while(self.lock(), |group| group.writing);
        let mut group = group.unwrap_or_else(PoisonError::into_inner);
        group.writing = true;
        drop(group);
        let (number, tables) = {
            let _turn = Turn { index: self };
            let number = self.log.begin_base();
            let tables = self.with_database(|database| Ok(database.begin_read()?));
            (number, tables.map_err(|error| index_error(&self.layout, error))?)
        };
        self.log.write_base(number, |base| self.fill(base, &tables))
    }

    fn fill(&self, base: &mut BaseWriter, tables: &redb::ReadTransaction) -> Result<()> {
        let failed = |error: redb::Error| index_error(&self.layout, error);
        let table = tables.open_table(RECORDS).map_err(|error| failed(error.into()))?;
        for row in table.iter().map_err(|error| failed(error.into()))? {
            let (key, record) = row.map_err(|error| failed(error.into()))?;
            base.add(&Position(*key.value()), record.value())?;
        }
        Ok(())
    }

    /// Whether the table of siblings agrees with the records.
    pub fn siblings_are_known(&self) -> Result<bool> {
        self.read(|tables| Ok(tables.open_table(NUMBERS)?.get(SIBLINGS_KNOWN)?.is_some()))
    }

    /// Whether every object has its row in the tables of verifications.
    pub fn verified_is_known(&self) -> Result<bool> {
        self.read(|tables| Ok(tables.open_table(NUMBERS)?.get(VERIFIED_KNOWN)?.is_some()))
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

    /// Reads within one transaction.
    pub fn read<T>(
        &self,
        read: impl Fn(&redb::ReadTransaction) -> std::result::Result<T, redb::Error>,
    ) -> Result<T> {
        let done = self.with_database(|database| read(&database.begin_read()?));
        done.map_err(|error| index_error(&self.layout, error))
    }

    /// Works on the database with a transaction of its own.
    pub(super) fn write(
        &self,
        write: impl Fn(&Database) -> std::result::Result<(), redb::Error>,
    ) -> Result<()> {
        self.with_database(write).map_err(|error| index_error(&self.layout, error))
    }

    /// Works on the database. A database that refuses everything after an earlier failure is opened again first.
    fn with_database<T>(
        &self,
        work: impl Fn(&Database) -> std::result::Result<T, redb::Error>,
    ) -> std::result::Result<T, redb::Error> {
        let (done, opened) = {
            let file = self.shared();
            (file.database.as_ref().map(&work), file.opened)
        };
        match done {
            Some(Err(redb::Error::PreviousIo)) | None => {}
            Some(done) => return done,
        }
        self.open_again(opened)?;
        match self.shared().database.as_ref() {
            Some(database) => work(database),
            None => Err(redb::Error::PreviousIo),
        }
    }

    /// Opens the file again, unless another thread has done so since the `opened`-th opening.
    fn open_again(&self, opened: u64) -> std::result::Result<(), redb::Error> {
        let mut file = self.exclusive();
        if file.opened != opened {
            return Ok(());
        }
        // The old database is closed first: its lock would block the new one.
        file.database = None;
        match open_file(&self.layout)? {
            Opened::Sound(database) => {
                tracing::info!(file = %self.layout.index().display(), "the index was opened again");
                *file = File { database: Some(database), opened: opened + 1 };
                Ok(())
            }
            Opened::Damaged(why) => Err(redb::Error::Corrupted(why)),
            Opened::InUse | Opened::OtherFormat(_) => Err(redb::Error::DatabaseAlreadyOpen),
        }
    }

    fn write_for_all(&self, mut group: MutexGuard<'_, Group>) {
        group.writing = true;
        let changes = std::mem::take(&mut group.waiting);
        let guard =
            WriterGuard { outcome: std::mem::take(&mut group.gathering), _turn: Turn { index: self } };
        drop(group);
        let logged = self.append_to_log(&changes);
        let outcome = logged.and_then(|()| {
            self.commit(&changes).map_err(|error| {
                tracing::error!(%error, "cannot commit to the index");
                Failure::of(error)
            })
        });
        // It is set only here; after a panic of the commit, the guard sets it.
        let _ = guard.outcome.set(outcome);
    }

    /// Appends the records among these changes to their log, before the index has them.
    fn append_to_log(&self, changes: &[Change]) -> std::result::Result<(), Failure> {
        // redb refuses everything after a write that finds no room, so such a write is better not begun.
        if self.full_with().is_some() {
            return Err(Failure::Io(io::ErrorKind::StorageFull, None));
        }
        let records = changes.iter().filter_map(|change| match change {
            Change::Record(key, record) => Some((key, record.as_ref().map(|record| record.bytes.as_slice()))),
            _ => None,
        });
        self.log.append(records).map_err(|error| match error {
            BlobError::Io { source, .. } => Failure::Io(source.kind(), source.raw_os_error()),
            error => Failure::Other(error.to_string()),
        })
    }

    fn commit(&self, changes: &[Change]) -> std::result::Result<(), redb::Error> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            for change in changes {
                apply(&transaction, change)?;
            }
            Ok(transaction.commit()?)
        })
    }

    /// Makes the tables, so that later reads find them, and refuses an index of a later program.
    fn check_format(&self) -> Result<()> {
        if let Ok((FORMAT_KNOWN, true)) = self.read(|tables| {
            let found = tables.open_table(NUMBERS)?.get(FORMAT)?.map(|row| row.value());
            Ok((found.unwrap_or_default(), verified::are_there(tables)?))
        }) {
            // Nothing has to be written, so a store opens on a full disk.
            return Ok(());
        }
        let check = |database: &Database| -> std::result::Result<u64, redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(OBJECTS)?;
            transaction.open_table(NAMES)?;
            transaction.open_table(NAMES_OF)?;
            transaction.open_table(RECORDS)?;
            transaction.open_table(digests::DIGESTS)?;
            transaction.open_table(VALUES)?;
            verified::create(&transaction)?;
            siblings::create(&transaction)?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            let found = numbers.get(FORMAT)?.map(|row| row.value());
            if found.is_none() {
                numbers.insert(FORMAT, FORMAT_KNOWN)?;
            }
            drop(numbers);
            transaction.commit()?;
            Ok(found.unwrap_or(FORMAT_KNOWN))
        };
        match self.with_database(check).map_err(|error| index_error(&self.layout, error))? {
            FORMAT_KNOWN => Ok(()),
            found => Err(BlobError::Format { path: self.layout.index(), found, known: FORMAT_KNOWN }),
        }
    }

    fn failed(&self, failure: Failure) -> BlobError {
        if let Err(poisoned) = self.layout.check() {
            return poisoned;
        }
        match failure {
            Failure::Io(kind, code) => {
                let source = code.map_or_else(|| kind.into(), io::Error::from_raw_os_error);
                BlobError::Io { doing: "write", path: self.layout.index(), source }
            }
            Failure::Other(why) => BlobError::Index { path: self.layout.index(), source: why.into() },
        }
    }

    fn shared(&self) -> RwLockReadGuard<'_, File> {
        self.file.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, File> {
        self.file.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write for all that wait; a broken commit has an outcome, too.
struct WriterGuard<'a> {
    outcome: Arc<Outcome>,
    _turn: Turn<'a>,
}

impl Drop for WriterGuard<'_> {
    fn drop(&mut self) {
        // The outcome is still open only after a panic.
        let _ = self.outcome.set(Err(Failure::Other("the commit was broken off".to_owned())));
    }
}

/// The right to write; given back however the write ends, so that no thread waits for ever.
struct Turn<'a> {
    index: &'a Index,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.index.lock().writing = false;
        self.index.batch_done.notify_all();
    }
}

impl Failure {
    fn of(error: redb::Error) -> Failure {
        match error {
            redb::Error::Io(error) => Failure::Io(error.kind(), error.raw_os_error()),
            other => Failure::Other(other.to_string()),
        }
    }
}

type Applied = std::result::Result<(), redb::Error>;

fn apply(transaction: &redb::WriteTransaction, change: &Change) -> Applied {
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
        Change::Replayed(key, bytes) => set_record(transaction, key, bytes.as_deref()),
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

fn read_object(key: &[u8; 32], (length, outboard, kind): (u64, &[u8; 32], u8)) -> (ObjectInfo, Kind) {
    let kind = if kind == REQUESTED { Kind::Requested } else { Kind::Replica };
    (ObjectInfo { content: ContentId(*key), length, outboard: OutboardDigest(*outboard) }, kind)
}

fn read_name((clock, content): (u64, Option<&[u8; 32]>)) -> (Timestamp, Option<ContentId>) {
    (Timestamp(clock), content.map(|content| ContentId(*content)))
}

/// Opens the file. redb writes to a file that was not closed, so on a full disk the reserve makes room.
fn open_file(layout: &Arc<Layout>) -> std::result::Result<Opened, redb::Error> {
    match backend::open(layout) {
        Err(error) if reserve::is_full(&error) && reserve::release(&layout.root, &*layout.disk) => {
            backend::open(layout)
        }
        opened => opened,
    }
}

/// Maps the outcome of opening to a database or an error.
fn sound(layout: &Layout, opened: Opened) -> Result<Database> {
    let path = layout.index();
    match opened {
        Opened::Sound(database) => Ok(database),
        Opened::InUse => Err(BlobError::InUse { dir: layout.root.clone() }),
        Opened::Damaged(why) => Err(BlobError::Index { path, source: why.into() }),
        Opened::OtherFormat(found) => {
            Err(BlobError::FileFormat { path, found, known: backend::FORMAT_KNOWN })
        }
    }
}

fn index_error(layout: &Layout, error: impl Into<redb::Error>) -> BlobError {
    let path = layout.index();
    match error.into() {
        redb::Error::Io(source) => BlobError::Io { doing: "use", path, source },
        error => BlobError::Index { path, source: Box::new(error) },
    }
}

/// The most names of one object that a listing shows.
pub(super) const NAMES_LISTED_MAX: usize = limits::LINKS_PER_OBJECT_MAX;

/// Content id → length, outboard digest, kind.
pub(super) const OBJECTS: TableDefinition<'_, &[u8; 32], (u64, &[u8; 32], u8)> =
    TableDefinition::new("objects");
/// Name → clock, and the object that it stands for; no object once the name was unlinked.
const NAMES: TableDefinition<'_, &str, (u64, Option<&[u8; 32]>)> = TableDefinition::new("names");
/// (Content id, name) → clock: the reverse of the table above.
const NAMES_OF: TableDefinition<'_, (&[u8; 32], &str), u64> = TableDefinition::new("names of objects");
/// Name key → record, opaque here.
pub(super) const RECORDS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("records");
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

const REMEMBERED: &str = "remembered members";
const KNOWN: &str = "known of members";
const FORMAT: &str = "format";
const FORMAT_KNOWN: u64 = 1;
const BUILT: &str = "built";
const BYTES: &str = "bytes";
const SIBLINGS_KNOWN: &str = "siblings";
const VERIFIED_KNOWN: &str = "verified";
const REPLICA: u8 = 0;
pub(super) const REQUESTED: u8 = 1;
/// The free room that a commit needs to begin: as much as redb may write for one batch, twice.
const COMMIT_ROOM_BYTES: u64 = 1 << 20;
