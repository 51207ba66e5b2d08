//! The values that the index keeps for other modules, and holders: name records as opaque bytes, the remembered
//! members, and the peers that are believed to hold a file.

use super::error::Result;
use super::holders::Holder;
use super::index::Change;
use super::store::Store;
use crate::id::{ContentId, Position};
use crate::wire::limits;

impl Store {
    /// The record of a name key.
    pub fn record(&self, key: &Position) -> Result<Option<Vec<u8>>> {
        self.index().record(key)
    }

    /// Stores a record, in place of the existing one; durable on return.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn put_record(&self, key: Position, record: Vec<u8>) -> Result<()> {
        let _lock = self.record_locks().lock(&key.0);
        self.index().submit([Change::Record(key, Some(record))])
    }

    /// Removes a record; durable on return.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn remove_record(&self, key: Position) -> Result<()> {
        let _lock = self.record_locks().lock(&key.0);
        self.index().submit([Change::Record(key, None)])
    }

    /// Reads, merges and writes a record with no other write of that key between. `merge` takes the present record and
    /// returns the new one, or `None` to leave it. True if the record was written; then durably. `merge` must not call
    /// back into the records of this store.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn update_record(
        &self,
        key: Position,
        merge: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<bool> {
        self.layout().check()?;
        let _lock = self.record_locks().lock(&key.0);
        match merge(self.index().record(&key)?.as_deref()) {
            None => Ok(false),
            Some(record) => {
                self.index().submit([Change::Record(key, Some(record))])?;
                Ok(true)
            }
        }
    }

    /// At most `max` records in the order of their keys, after this one.
    pub fn records_after(&self, after: Option<Position>, max: usize) -> Result<Vec<(Position, Vec<u8>)>> {
        self.index().records_after(after, max)
    }

    /// The number of records that are here.
    pub fn record_count(&self) -> Result<u64> {
        self.index().record_count()
    }

    /// Stores one value for the next start: the remembered members. Durable on return.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn remember(&self, members: Vec<u8>) -> Result<()> {
        self.index().submit([Change::Remembered(members)])
    }

    /// The last value of [`Store::remember`].
    pub fn remembered(&self) -> Result<Option<Vec<u8>>> {
        self.index().remembered()
    }

    /// Stores one value for the next start: names and absence of the members. Durable on return.
    ///
    /// # Errors
    /// The errors of [`Store::remember`].
    pub fn remember_known(&self, known: Vec<u8>) -> Result<()> {
        self.index().submit([Change::Known(known)])
    }

    /// The last value of [`Store::remember_known`].
    pub fn known(&self) -> Result<Option<Vec<u8>>> {
        self.index().known()
    }

    /// Remembers a holder of a file until this store is closed. A later incarnation of a peer replaces an earlier one;
    /// the oldest entry is dropped when there are [`limits::HOLDERS_PER_OBJECT_MAX`].
    pub fn add_holder(&self, content: ContentId, holder: Holder) {
        let mut table = self.holder_table().lock();
        if table.len() >= HELD_OBJECTS_MAX && !table.contains_key(&content) {
            return;
        }
        let holders = table.entry(content).or_default();
        match holders.iter_mut().find(|known| known.position == holder.position) {
            Some(known) => known.incarnation = known.incarnation.max(holder.incarnation),
            None => {
                if holders.len() >= limits::HOLDERS_PER_OBJECT_MAX {
                    holders.remove(0);
                }
                holders.push(holder);
            }
        }
    }

    /// The peers that are believed to hold a file, oldest news first.
    pub fn holders(&self, content: &ContentId) -> Vec<Holder> {
        self.holder_table().lock().get(content).cloned().unwrap_or_default()
    }

    /// Forgets that a peer, in any incarnation, holds a file.
    pub fn remove_holder(&self, content: &ContentId, position: &Position) {
        let mut table = self.holder_table().lock();
        if let Some(holders) = table.get_mut(content) {
            holders.retain(|holder| holder.position != *position);
            if holders.is_empty() {
                table.remove(content);
            }
        }
    }
}

/// The most files whose holders are remembered.
const HELD_OBJECTS_MAX: usize = 100_000;
