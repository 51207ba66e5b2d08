//! The index: the objects that are here, their names, and the name records, in one redb file.
//!
//! Each change is durable when its call returns. Threads that wait for the disk at the same time share one transaction:
//! the first thread that finds no other writing writes for all that wait (group commit).
//!
//! A transaction is not synced if other files make all its changes durable: the log of records, or the journal. The next
//! synced transaction syncs it as well. After a crash the opening makes such changes again from those files.
//!
//! A commit that fails changes nothing, and the next one may succeed: only a failed sync poisons the store. After any
//! failed read or write redb refuses everything until its file is opened again, so the next call does that.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io;
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, StorageError};

use super::backend::{self, Opened};
use super::change::{Change, apply};
use super::digests;
use super::error::{BlobError, Result};
use super::graves::{self, Grave};
use super::layout::Layout;
use super::log::{BaseWriter, LogPlace, RecordLog};
use super::tables::{
    BUILT, BYTES, FORMAT, FORMAT_KNOWN, KNOWN, Kind, LOG_FILE, LOG_OFFSET, NAMES, NAMES_OF, NUMBERS, OBJECTS,
    RECORDS, REMEMBERED, SIBLINGS_KNOWN, VALUES, VERIFIED_KNOWN, read_name, read_object,
};
use super::{keeping, leases, reserve, siblings, verified};
use crate::id::{ContentId, FileName, Position};
use crate::time::Timestamp;
use crate::wire::{Link, ObjectInfo};

/// The index file, open.
pub(super) struct Index {
    file: RwLock<File>,
    layout: Arc<Layout>,
    /// The second copy of the records.
    log: RecordLog,
    group: Mutex<Group>,
    batch_done: Condvar,
    undurable: Mutex<Undurable>,
}

/// The changes that are not durable in the file yet; the journal or the log of records has them.
#[derive(Default)]
struct Undurable {
    changes: Vec<Change>,
    /// Whether the file was opened since, and lacks them. The next commit makes them again.
    are_lost: bool,
    /// Whether the file knows its place in the log of records. Until then each commit is synced.
    has_place: bool,
    /// The keys of the records that the opening took from the log, until it is known whether they have siblings.
    replayed: BTreeSet<Position>,
    /// The number of bytes among those records that hold none.
    skipped: u64,
}

impl Undurable {
    /// The number of changes to records.
    fn records(&self) -> usize {
        let is_record = |change: &&Change| matches!(change, Change::Record(..) | Change::Replayed(..));
        self.changes.iter().filter(is_record).count()
    }
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
    /// Whether one of them is durable only by a sync of the index.
    is_synced: bool,
    /// The outcome of the batch that is being gathered; a batch is one transaction.
    gathering: Arc<Outcome>,
    writing: bool,
}

/// The record of a name key, and the memory of a removal under it.
type RecordAndGrave = (Option<Vec<u8>>, Option<Grave>);

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
        let index = Index {
            file,
            layout,
            log,
            group: Mutex::default(),
            batch_done: Condvar::new(),
            undurable: Mutex::default(),
        };
        let layout = &index.layout;
        reserve::with_reserve(&layout.root, &*layout.disk, || index.check_format())?;
        index.take_from_log()?;
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
        let changes: Vec<Change> = changes.into_iter().collect();
        let is_synced = !changes.iter().all(Change::is_in_log);
        self.submit_as(is_synced, changes)
    }

    /// Makes changes, together; they are seen on return, and durable with the next changes that are. Until then another
    /// place must have them: the journal.
    ///
    /// # Errors
    /// The errors of [`Index::submit`].
    pub fn submit_journaled(&self, changes: impl IntoIterator<Item = Change>) -> Result<()> {
        self.submit_as(false, changes.into_iter().collect())
    }

    fn submit_as(&self, is_synced: bool, changes: Vec<Change>) -> Result<()> {
        self.layout.check()?;
        if changes.is_empty() {
            return Ok(());
        }
        let mut group = self.lock();
        let batch = group.gathering.clone();
        group.waiting.extend(changes);
        group.is_synced |= is_synced;
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

    /// The objects among these that are here.
    pub fn known_among(
        &self,
        contents: impl Iterator<Item = ContentId> + Clone,
    ) -> Result<BTreeSet<ContentId>> {
        self.read(|tables| {
            let objects = tables.open_table(OBJECTS)?;
            let mut known = BTreeSet::new();
            for content in contents.clone() {
                if objects.get(&content.0)?.is_some() {
                    known.insert(content);
                }
            }
            Ok(known)
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

    /// For each of these name keys its record, and the memory of a removal under it.
    pub fn records_and_graves(&self, keys: &[Position]) -> Result<Vec<RecordAndGrave>> {
        self.see_records()?;
        self.read(|tables| {
            let records = tables.open_table(RECORDS)?;
            let of = |key: &Position| {
                let record = records.get(&key.0)?.map(|record| record.value().to_vec());
                Ok((record, graves::of(tables, key)?))
            };
            keys.iter().map(of).collect()
        })
    }

    /// The records of these name keys, in their order.
    pub fn records(&self, keys: &[Position]) -> Result<Vec<Option<Vec<u8>>>> {
        self.see_records()?;
        self.read(|tables| {
            let records = tables.open_table(RECORDS)?;
            keys.iter().map(|key| Ok(records.get(&key.0)?.map(|record| record.value().to_vec()))).collect()
        })
    }

    /// A number that was kept for later starts.
    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        self.read(|tables| Ok(tables.open_table(NUMBERS)?.get(name)?.map(|row| row.value())))
    }

    /// The records in the order of their keys, after this one.
    pub fn records_after(&self, after: Option<Position>, max: usize) -> Result<Vec<(Position, Vec<u8>)>> {
        self.see_records()?;
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
        self.see_records()?;
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
        self.log.write_base(number, |base| self.fill(base, &tables))?;
        // The records of the older files are no longer to be taken from there.
        self.submit([Change::Flush])?;
        self.log.remove_before(number)
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
        let mut reopened = open_file(&self.layout)?;
        let mut undurable = self.undurable();
        if let Opened::Sound(database) = &reopened
            && !undurable.changes.is_empty()
            && let Err(error) = write(database, false, undurable.changes.iter())
        {
            // The next commit makes them again.
            tracing::warn!(%error, "the newest objects and records are not in the index for now");
            undurable.are_lost = true;
            drop(reopened);
            reopened = open_file(&self.layout)?;
        }
        drop(undurable);
        match reopened {
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
        let mut changes = std::mem::take(&mut group.waiting);
        let is_synced = std::mem::take(&mut group.is_synced);
        let guard =
            WriterGuard { outcome: std::mem::take(&mut group.gathering), _turn: Turn { index: self } };
        drop(group);
        let logged = self.append_to_log(&changes);
        let outcome = logged.and_then(|place| {
            changes.extend(place.map(Change::Logged));
            self.commit(changes, is_synced).map_err(|error| {
                tracing::error!(%error, "cannot commit to the index");
                Failure::of(error)
            })
        });
        // It is set only here; after a panic of the commit, the guard sets it.
        let _ = guard.outcome.set(outcome);
    }

    /// Appends the records among these changes to their log, before the index has them. Returns the place behind them.
    fn append_to_log(&self, changes: &[Change]) -> std::result::Result<Option<LogPlace>, Failure> {
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

    fn commit(&self, changes: Vec<Change>, is_synced: bool) -> std::result::Result<(), redb::Error> {
        let is_synced = {
            let undurable = self.undurable();
            is_synced || !undurable.has_place || undurable.records() >= RECORDS_UNDURABLE_MAX
        };
        self.with_database(|database| {
            let undurable = self.undurable();
            let lost = undurable.changes.iter().filter(|_| undurable.are_lost);
            write(database, is_synced, lost.chain(&changes))
        })?;
        let mut undurable = self.undurable();
        undurable.are_lost = false;
        if is_synced {
            undurable.has_place |= changes.iter().any(|change| matches!(change, Change::Logged(_)));
            undurable.changes.clear();
        } else {
            undurable.changes.extend(changes);
        }
        Ok(())
    }

    /// The number of records that only their log makes durable.
    pub fn records_in_log(&self) -> usize {
        self.undurable().records()
    }

    /// Takes the records from the log that the file lacks: those that were written after its last sync. Where a full disk
    /// has no room for them, a later commit writes them.
    ///
    /// # Errors
    /// The errors of the disk.
    fn take_from_log(&self) -> Result<()> {
        let place = self.number(LOG_FILE)?.zip(self.number(LOG_OFFSET)?);
        // An index that is to be built anew takes all of the log, and one of an earlier program has all of it.
        let (true, Some((file, offset))) = (self.is_built()?, place) else { return Ok(()) };
        let mut undurable = Undurable { has_place: true, ..Undurable::default() };
        let replayed = self.log.replay_behind(LogPlace { file, offset }, |(key, record)| {
            // A removal is synced with the index. One that the index lacks did not happen.
            if record.is_some() {
                undurable.replayed.insert(key);
                undurable.changes.push(Change::Replayed(key, record));
            }
            Ok(())
        })?;
        undurable.skipped = replayed.skipped;
        undurable.are_lost = !undurable.changes.is_empty();
        if undurable.are_lost {
            tracing::info!(records = undurable.changes.len(), ?replayed, "records came back from their log");
            undurable.changes.push(Change::Logged(replayed.end));
        }
        *self.undurable() = undurable;
        let layout = &self.layout;
        match reserve::with_reserve(&layout.root, &*layout.disk, || self.see_records()) {
            Err(error) if error.is_disk_full() => Ok(()),
            seen => seen,
        }
    }

    /// Makes sure that all records can be seen.
    ///
    /// # Errors
    /// The errors of [`Index::submit`] while some are in the log alone.
    fn see_records(&self) -> Result<()> {
        let are_lost = self.undurable().are_lost;
        if are_lost { self.submit([Change::Flush]) } else { Ok(()) }
    }

    /// The keys of the records that the opening took from the log, until [`Index::forget_replayed`].
    pub fn replayed(&self) -> Vec<Position> {
        self.undurable().replayed.iter().copied().collect()
    }

    pub fn forget_replayed(&self) {
        self.undurable().replayed.clear();
    }

    /// The number of bytes that the opening found behind the index's place in the log, and that held no record.
    pub fn bytes_without_record(&self) -> u64 {
        self.undurable().skipped
    }

    fn undurable(&self) -> MutexGuard<'_, Undurable> {
        self.undurable.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Makes changes within one transaction.
fn write<'a>(
    database: &Database,
    is_synced: bool,
    changes: impl Iterator<Item = &'a Change>,
) -> std::result::Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    if !is_synced {
        transaction.set_durability(Durability::None)?;
    }
    for change in changes {
        apply(&transaction, change)?;
    }
    Ok(transaction.commit()?)
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

/// About the most records that wait for a synced commit: an opening after a crash writes them again, on a full disk in the
/// room of the reserve.
pub(super) const RECORDS_UNDURABLE_MAX: usize = 1_024;
/// The free room that a commit needs to begin: as much as redb may write for one batch, twice.
const COMMIT_ROOM_BYTES: u64 = 1 << 20;
