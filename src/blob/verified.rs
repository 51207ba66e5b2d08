//! When each object was last verified: hashed from its first byte to its last and found sound.
//!
//! Two tables of the index say the same in two orders: by content id, for questions about one object, and by time, for
//! the object that was verified longest ago. Each object of the index has one row in both, from the transaction that
//! adds the object to the one that forgets it. Time is the wall clock of the disk in milliseconds since the Unix epoch;
//! 0 says that the object was not verified yet.
//!
//! Verifications are gathered and written together ([`Gathered`]), so that reading objects costs no commit for each.
//! A crash loses those that were not written: the objects are hashed again, which does no harm.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use crate::id::ContentId;
use crate::time::Moment;

/// An object, and when it was last verified: milliseconds since the Unix epoch, 0 for never.
pub(super) type Row = (ContentId, u64);

type Done<T> = Result<T, redb::Error>;

/// Makes the tables, so that later reads find them.
pub(super) fn create(transaction: &WriteTransaction) -> Done<()> {
    transaction.open_table(BY_CONTENT)?;
    transaction.open_table(BY_TIME)?;
    Ok(())
}

/// Whether the tables are there: an index of an earlier program has none.
pub(super) fn are_there(tables: &ReadTransaction) -> Done<bool> {
    match tables.open_table(BY_TIME) {
        Ok(_) => Ok(true),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Notes that an object was verified at this time; 0 notes only that the object is there, and changes nothing for an
/// object that is known.
pub(super) fn set(transaction: &WriteTransaction, content: &ContentId, at_ms: u64) -> Done<()> {
    let mut by_content = transaction.open_table(BY_CONTENT)?;
    let before = by_content.get(&content.0)?.map(|row| row.value());
    if before.is_some() && at_ms == NEVER {
        return Ok(());
    }
    let mut by_time = transaction.open_table(BY_TIME)?;
    if let Some(before) = before {
        by_time.remove((before, &content.0))?;
    }
    by_content.insert(&content.0, at_ms)?;
    by_time.insert((at_ms, &content.0), ())?;
    Ok(())
}

/// Takes an object out of both tables.
pub(super) fn forget(transaction: &WriteTransaction, content: &ContentId) -> Done<()> {
    let before = transaction.open_table(BY_CONTENT)?.remove(&content.0)?.map(|row| row.value());
    if let Some(before) = before {
        transaction.open_table(BY_TIME)?.remove((before, &content.0))?;
    }
    Ok(())
}

/// When an object was verified; `None` if it is not here.
pub(super) fn at(tables: &ReadTransaction, content: &ContentId) -> Done<Option<u64>> {
    Ok(tables.open_table(BY_CONTENT)?.get(&content.0)?.map(|row| row.value()))
}

/// At most `max` objects, those first that were verified longest ago.
pub(super) fn oldest(tables: &ReadTransaction, max: usize) -> Done<Vec<Row>> {
    let table = tables.open_table(BY_TIME)?;
    let rows = table.iter()?.take(max).map(|row| row.map(|(key, _)| row_of(key.value())));
    Ok(rows.collect::<Result<_, _>>()?)
}

/// At most `max` objects, those first whose verification has the latest time.
pub(super) fn latest(tables: &ReadTransaction, max: usize) -> Done<Vec<Row>> {
    let table = tables.open_table(BY_TIME)?;
    let rows = table.iter()?.rev().take(max).map(|row| row.map(|(key, _)| row_of(key.value())));
    Ok(rows.collect::<Result<_, _>>()?)
}

fn row_of((at_ms, content): (u64, &[u8; 32])) -> Row {
    (ContentId(*content), at_ms)
}

/// Verifications that are not in the index yet.
#[derive(Default)]
pub(super) struct Gathered(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    rows: BTreeMap<ContentId, u64>,
    /// When the first of them was added.
    since: Moment,
}

impl Gathered {
    /// Adds a verification. Returns all of them once they are worth a commit.
    pub fn add(&self, content: ContentId, at_ms: u64, now: Moment) -> Vec<Row> {
        let mut waiting = self.lock();
        if waiting.rows.is_empty() {
            waiting.since = now;
        }
        waiting.rows.insert(content, at_ms);
        match waiting.rows.len() {
            0..GATHERED_MAX => Vec::new(),
            _ => std::mem::take(&mut waiting.rows).into_iter().collect(),
        }
    }

    /// Takes all verifications out, to write them, if the first of them waits for at least this long.
    pub fn take(&self, now: Moment, waits: Duration) -> Vec<Row> {
        let mut waiting = self.lock();
        match now.since(waiting.since) >= waits {
            true => std::mem::take(&mut waiting.rows).into_iter().collect(),
            false => Vec::new(),
        }
    }

    /// All verifications that wait.
    pub fn all(&self) -> BTreeMap<ContentId, u64> {
        self.lock().rows.clone()
    }

    /// The time of the verification of an object that waits.
    pub fn at(&self, content: &ContentId) -> Option<u64> {
        self.lock().rows.get(content).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time of an object that was not verified yet.
pub(super) const NEVER: u64 = 0;
/// The most verifications that wait for a commit.
const GATHERED_MAX: usize = 256;
/// Content id → milliseconds since the Unix epoch.
const BY_CONTENT: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("verified");
/// (Milliseconds since the Unix epoch, content id): the reverse of the table above.
const BY_TIME: TableDefinition<'_, (u64, &[u8; 32]), ()> = TableDefinition::new("verified by time");
