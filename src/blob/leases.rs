//! The leases of objects, in the index: when a name last referred to each, and which were freed.
//!
//! The table is made when it is first written to; a table that is not there yet reads as empty.

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

use super::error::Result;
use super::index::{Change, Discard, Kind, ObjectRow};
use super::keeping::if_there;
use super::store::Store;
use crate::id::ContentId;

type Done<T = ()> = std::result::Result<T, redb::Error>;

impl Store {
    /// Renews the leases of those of these objects that are here, at this time in milliseconds since the Unix epoch. One
    /// that was freed here is wanted again. Durable on return.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn renew_leases(&self, contents: Vec<ContentId>, at_unix_ms: u64) -> Result<()> {
        match contents.is_empty() {
            true => Ok(()),
            false => self.index().submit([Change::Leased(contents, at_unix_ms)]),
        }
    }

    /// At most `max` replicas here whose lease is dated `before_unix_ms` or earlier. Objects without a lease, or with one
    /// later than `now_unix_ms`, get one now.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn lapsed(&self, now_unix_ms: u64, before_unix_ms: u64, max: usize) -> Result<Vec<ContentId>> {
        let (mut after, mut lapsed) = (None, Vec::new());
        loop {
            let page = self.index().objects_after(after, OBJECTS_PER_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(lapsed) };
            after = Some(last.content);
            let contents: Vec<ContentId> = page.into_iter().map(|(info, _)| info.content).collect();
            let mut to_date = Vec::new();
            for (content, lease) in self.index().leases_of(&contents)? {
                match lease {
                    Some(at) if at <= before_unix_ms => lapsed.push(content),
                    Some(at) if at <= now_unix_ms => {}
                    Some(_) | None => to_date.push(content),
                }
            }
            self.renew_leases(to_date, now_unix_ms)?;
            if lapsed.len() >= max {
                lapsed.truncate(max);
                return Ok(lapsed);
            }
        }
    }

    /// Frees an object that no name refers to: removes it if it is a replica and its lease is dated `before_unix_ms` or
    /// earlier, as looked at in the transaction that removes it. Until a name refers to it, or it is stored, again, the
    /// store remembers that it was freed. True if it was.
    ///
    /// # Errors
    /// The errors of [`Store::discard`].
    pub fn free_lapsed(&self, content: &ContentId, before_unix_ms: u64) -> Result<bool> {
        let still = move |row: &ObjectRow| {
            row.kind == Kind::Replica && row.leased_unix_ms.is_some_and(|at| at <= before_unix_ms)
        };
        self.discard_as(content, Discard::of_lapsed(*content, still))
    }

    /// Whether an object was freed here, and no name has referred to it since.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn was_freed(&self, content: &ContentId) -> Result<bool> {
        self.index().was_freed(content)
    }
}

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
const OBJECTS_PER_PAGE: usize = 4_096;
