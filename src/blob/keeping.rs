//! The index's tables about how long objects stay: the pinned ones, the ones that are only a cache, and the ones whose
//! files are on their way out.
//!
//! The tables are made when they are first written to, so that an index of an earlier program needs no migration; a
//! table that is not there yet reads as empty.

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, TableError, WriteTransaction};

use crate::id::ContentId;

type Done<T = ()> = std::result::Result<T, redb::Error>;

/// Notes that an object is in the index: its file stays. `cached` is its length in bytes if it is only a cache; a pinned
/// object is not counted as one.
pub(super) fn came(transaction: &WriteTransaction, content: &ContentId, cached: Option<u64>) -> Done {
    transaction.open_table(DOOMED)?.remove(&content.0)?;
    let is_pinned = is_pinned_in(transaction, content)?;
    set_cached(transaction, content, cached.filter(|_| !is_pinned))
}

/// Notes that an object is out of the index. A pin stays: it holds for the object's next copy here.
pub(super) fn went(transaction: &WriteTransaction, content: &ContentId) -> Done {
    mark_surplus(transaction, content, None)?;
    set_cached(transaction, content, None)
}

/// Notes that the file of an object is to be removed: until [`swept`], opening the store removes it.
pub(super) fn doom(transaction: &WriteTransaction, content: &ContentId) -> Done {
    transaction.open_table(DOOMED)?.insert(&content.0, ())?;
    Ok(())
}

/// Notes that these files are gone, durably.
pub(super) fn swept(transaction: &WriteTransaction, contents: &[ContentId]) -> Done {
    let mut doomed = transaction.open_table(DOOMED)?;
    for content in contents {
        doomed.remove(&content.0)?;
    }
    Ok(())
}

/// The objects whose files are to be removed.
pub(super) fn doomed(transaction: &ReadTransaction) -> Done<Vec<ContentId>> {
    let Some(table) = if_there(transaction.open_table(DOOMED))? else { return Ok(Vec::new()) };
    table.iter()?.map(|row| Ok(ContentId(*row?.0.value()))).collect()
}

/// Pins an object, or ends its pin. `cached` is its length in bytes if it is only a cache without a pin.
pub(super) fn pin(
    transaction: &WriteTransaction,
    content: &ContentId,
    pinned: bool,
    cached: Option<u64>,
) -> Done {
    {
        let mut pins = transaction.open_table(PINS)?;
        match pinned {
            true => pins.insert(&content.0, ())?,
            false => pins.remove(&content.0)?,
        };
    }
    set_cached(transaction, content, cached.filter(|_| !pinned))
}

/// The pinned objects, after this one, at most `max`.
pub(super) fn pinned_after(
    transaction: &ReadTransaction,
    after: Option<ContentId>,
    max: usize,
) -> Done<Vec<ContentId>> {
    let Some(pins) = if_there(transaction.open_table(PINS))? else { return Ok(Vec::new()) };
    let start = after.map_or([0; 32], |content| content.0);
    let mut pinned = Vec::new();
    for row in pins.range::<&[u8; 32]>(&start..)? {
        let content = ContentId(*row?.0.value());
        if pinned.len() < max && after != Some(content) {
            pinned.push(content);
        }
        if pinned.len() == max {
            break;
        }
    }
    Ok(pinned)
}

/// Whether an object is pinned, by the state in a transaction that writes.
pub(super) fn is_pinned_in(transaction: &WriteTransaction, content: &ContentId) -> Done<bool> {
    Ok(transaction.open_table(PINS)?.get(&content.0)?.is_some())
}

/// Whether an object is pinned.
pub(super) fn is_pinned(transaction: &ReadTransaction, content: &ContentId) -> Done<bool> {
    match if_there(transaction.open_table(PINS))? {
        Some(pins) => Ok(pins.get(&content.0)?.is_some()),
        None => Ok(false),
    }
}

/// Notes since when a copy has been one too many, in milliseconds since the Unix epoch; `None` that it is not.
pub(super) fn mark_surplus(
    transaction: &WriteTransaction,
    content: &ContentId,
    since_ms: Option<u64>,
) -> Done {
    let mut surplus = transaction.open_table(SURPLUS)?;
    match since_ms {
        Some(since) => surplus.insert(&content.0, since)?,
        None => surplus.remove(&content.0)?,
    };
    Ok(())
}

/// Since when a copy has been one too many, as [`mark_surplus`] noted it.
pub(super) fn surplus_since(transaction: &ReadTransaction, content: &ContentId) -> Done<Option<u64>> {
    match if_there(transaction.open_table(SURPLUS))? {
        Some(surplus) => Ok(surplus.get(&content.0)?.map(|row| row.value())),
        None => Ok(None),
    }
}

/// The last use of cached objects, in milliseconds since the Unix epoch. Objects that are no cache are passed over.
pub(super) fn used(transaction: &WriteTransaction, uses: &[(ContentId, u64)]) -> Done {
    let mut cached = transaction.open_table(CACHED)?;
    for (content, at) in uses {
        let length = cached.get(&content.0)?.map(|row| row.value().0);
        if let Some(length) = length {
            cached.insert(&content.0, (length, *at))?;
        }
    }
    Ok(())
}

/// Visits each cached object: its content id, its length in bytes and its last use, as [`used`] noted it; 0 for none.
pub(super) fn for_each_cached(
    transaction: &ReadTransaction,
    mut visit: impl FnMut(ContentId, u64, u64),
) -> Done {
    let Some(cached) = if_there(transaction.open_table(CACHED))? else { return Ok(()) };
    for row in cached.iter()? {
        let (key, value) = row?;
        let (length, used) = value.value();
        visit(ContentId(*key.value()), length, used);
    }
    Ok(())
}

/// The number of cached objects, and the number of their bytes.
pub(super) fn cached_totals(transaction: &ReadTransaction) -> Done<(u64, u64)> {
    let objects = match if_there(transaction.open_table(CACHED))? {
        Some(table) => redb::ReadableTableMetadata::len(&table)?,
        None => 0,
    };
    let bytes = match if_there(transaction.open_table(TOTALS))? {
        Some(table) => table.get(CACHED_BYTES)?.map_or(0, |row| row.value()),
        None => 0,
    };
    Ok((objects, bytes))
}

/// Whether the cached objects of an index of an earlier program still have to be listed with [`list_cached`].
pub(super) fn is_unlisted(transaction: &ReadTransaction) -> Done<bool> {
    match if_there(transaction.open_table(TOTALS))? {
        Some(table) => Ok(table.get(LISTED)?.is_none()),
        None => Ok(true),
    }
}

/// Lists the objects that are only a cache, each with its length in bytes.
pub(super) fn list_cached(transaction: &WriteTransaction, cached: &[(ContentId, u64)]) -> Done {
    for (content, length) in cached {
        set_cached(transaction, content, Some(*length))?;
    }
    transaction.open_table(TOTALS)?.insert(LISTED, 1)?;
    Ok(())
}

fn set_cached(transaction: &WriteTransaction, content: &ContentId, length: Option<u64>) -> Done {
    let mut cached = transaction.open_table(CACHED)?;
    let before = cached.get(&content.0)?.map(|row| row.value());
    match (length, before) {
        (None, None) => return Ok(()),
        (None, Some(_)) => cached.remove(&content.0)?,
        (Some(length), before) => cached.insert(&content.0, (length, before.map_or(0, |(_, used)| used)))?,
    };
    let mut totals = transaction.open_table(TOTALS)?;
    let bytes = totals.get(CACHED_BYTES)?.map_or(0, |row| row.value());
    let bytes = bytes.saturating_sub(before.map_or(0, |(length, _)| length));
    totals.insert(CACHED_BYTES, bytes.saturating_add(length.unwrap_or(0)))?;
    Ok(())
}

/// A table that may not have been made yet.
pub(super) fn if_there<T>(opened: std::result::Result<T, TableError>) -> Done<Option<T>> {
    match opened {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

/// The content ids of the objects whose files are to be removed, or were removed a short while ago.
const DOOMED: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("doomed");
const PINS: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("pins");
/// Content id of an object that is only a cache → length, last use in milliseconds since the Unix epoch.
const CACHED: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("cached");
/// Content id of a copy that is one too many → since when, in milliseconds since the Unix epoch.
const SURPLUS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("surplus");
const TOTALS: TableDefinition<'_, &str, u64> = TableDefinition::new("cached in all");
const CACHED_BYTES: &str = "bytes";
const LISTED: &str = "listed";
