//! The memory of removals whose records are gone: one row for each name key, which changes in the transaction of the
//! record. The rows are no part of the digests, nor of the log of records.
//!
//! The table is made when it is first written to; a table that is not there yet reads as empty.

use redb::{ReadTransaction, TableDefinition, WriteTransaction};

use super::keeping::if_there;
use crate::id::Position;
use crate::time::Timestamp;

type Done<T = ()> = std::result::Result<T, redb::Error>;

/// The memory of a removal: the date of the tombstone, and until when it is remembered, in milliseconds since the Unix
/// epoch.
pub type Grave = (Timestamp, u64);

/// Sets the memory of a removal under a name key; `None` ends it.
pub(super) fn set(transaction: &WriteTransaction, key: &Position, grave: Option<Grave>) -> Done {
    let mut graves = transaction.open_table(GRAVES)?;
    match grave {
        Some((clock, until)) => graves.insert(&key.0, (clock.0, until))?,
        None => graves.remove(&key.0)?,
    };
    Ok(())
}

/// The memory of a removal under a name key, if there is one.
pub(super) fn of(tables: &ReadTransaction, key: &Position) -> Done<Option<Grave>> {
    let Some(graves) = if_there(tables.open_table(GRAVES))? else { return Ok(None) };
    Ok(graves.get(&key.0)?.map(|row| (Timestamp(row.value().0), row.value().1)))
}

/// Ends each memory that lasts until `now_ms` or less, and each that lasts beyond `last_ms`: a wrong clock made it.
pub(super) fn end(transaction: &WriteTransaction, now_ms: u64, last_ms: u64) -> Done {
    let mut graves = transaction.open_table(GRAVES)?;
    graves.retain(|_, (_, until)| until > now_ms && until <= last_ms)?;
    Ok(())
}

/// Name key → the date of the tombstone, and until when it is remembered.
const GRAVES: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("graves");
