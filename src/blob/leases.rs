//! The leases of objects, in the index: when a name last referred to each, and which were freed.
//!
//! The table is made when it is first written to; a table that is not there yet reads as empty.

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

use super::keeping::if_there;
use crate::id::ContentId;

type Done<T = ()> = std::result::Result<T, redb::Error>;

/// Renews a lease. `here`: the object is in the index.
pub(super) fn renew(transaction: &WriteTransaction, content: &ContentId, here: bool, at: u64) -> Done {
    let mut leases = transaction.open_table(LEASES)?;
    match here {
        true => leases.insert(&content.0, at.max(FREED + 1))?,
        false => leases.remove(&content.0)?,
    };
    Ok(())
}

/// Notes that an object has come: an earlier lease of it counts no more.
pub(super) fn came(transaction: &WriteTransaction, content: &ContentId) -> Done {
    transaction.open_table(LEASES)?.remove(&content.0)?;
    Ok(())
}

/// Notes that an object is out of the index; `freed`: because no name referred to it.
pub(super) fn went(transaction: &WriteTransaction, content: &ContentId, freed: bool) -> Done {
    let mut leases = transaction.open_table(LEASES)?;
    match freed {
        true => leases.insert(&content.0, FREED)?,
        false => leases.remove(&content.0)?,
    };
    Ok(())
}

/// The date of an object's lease, by the state in a transaction that writes.
pub(super) fn lease_in(transaction: &WriteTransaction, content: &ContentId) -> Done<Option<u64>> {
    let row = transaction.open_table(LEASES)?.get(&content.0)?.map(|row| row.value());
    Ok(row.filter(|at| *at != FREED))
}

/// The dates of the leases of these objects.
pub(super) fn leases_of(
    transaction: &ReadTransaction,
    contents: &[ContentId],
) -> Done<Vec<(ContentId, Option<u64>)>> {
    let Some(table) = if_there(transaction.open_table(LEASES))? else {
        return Ok(contents.iter().map(|content| (*content, None)).collect());
    };
    let lease = |content: &ContentId| -> Done<_> {
        let at = table.get(&content.0)?.map(|row| row.value());
        Ok((*content, at.filter(|at| *at != FREED)))
    };
    contents.iter().map(lease).collect()
}

/// Whether an object was freed.
pub(super) fn was_freed(transaction: &ReadTransaction, content: &ContentId) -> Done<bool> {
    match if_there(transaction.open_table(LEASES))? {
        Some(table) => Ok(table.get(&content.0)?.is_some_and(|row| row.value() == FREED)),
        None => Ok(false),
    }
}

/// Content id → the date of its lease in milliseconds since the Unix epoch, or [`FREED`].
const LEASES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("leases");
/// The object was freed.
const FREED: u64 = 0;
