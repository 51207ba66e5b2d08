//! What the index keeps for others, and holders: name records as opaque bytes, the remembered
//! members, and who else is believed to hold a file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::Result;
use super::index::Change;
use super::store::Store;
use crate::id::{ContentId, Position};
use crate::wire::limits;

/// A peer that is believed to hold a file; valid while this life of it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Which peer.
    pub position: Position,
    /// Which life of it.
    pub incarnation: u64,
}

impl Store {
    /// The record of a name key.
    pub fn record(&self, key: &Position) -> Result<Option<Vec<u8>>> {
        self.index().record(key)
    }

    /// Keeps a record, in place of the one that is there; durable on return.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or what the index says.
    pub fn put_record(&self, key: Position, record: Vec<u8>) -> Result<()> {
        let _lock = self.record_locks().lock(&key.0);
        self.index().submit([Change::Record(key, Some(record))])
    }

    /// Removes a record; durable on return.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or what the index says.
    pub fn remove_record(&self, key: Position) -> Result<()> {
        let _lock = self.record_locks().lock(&key.0);
        self.index().submit([Change::Record(key, None)])
    }

    /// Reads, merges and writes a record with no other write of that key between. `merge` gets what is
    /// there and gives what shall be, or `None` to leave it. Whether it was written; then durably.
    /// `merge` must not call back into the records of this store.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or what the index says.
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

    /// At most `max` records in the order of their keys, from after this one on.
    pub fn records_after(&self, after: Option<Position>, max: usize) -> Result<Vec<(Position, Vec<u8>)>> {
        self.index().records_after(after, max)
    }

    /// How many records are here.
    pub fn record_count(&self) -> Result<u64> {
        self.index().record_count()
    }

    /// Keeps one value for the next start: the remembered members. Durable on return.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or what the index says.
    pub fn remember(&self, members: Vec<u8>) -> Result<()> {
        self.index().submit([Change::Remembered(members)])
    }

    /// What [`Store::remember`] was last given.
    pub fn remembered(&self) -> Result<Option<Vec<u8>>> {
        self.index().remembered()
    }

    /// Keeps one value for the next start: what is known of the members beside. Durable on return.
    ///
    /// # Errors
    /// As [`Store::remember`].
    pub fn remember_known(&self, known: Vec<u8>) -> Result<()> {
        self.index().submit([Change::Known(known)])
    }

    /// What [`Store::remember_known`] was last given.
    pub fn known(&self) -> Result<Option<Vec<u8>>> {
        self.index().known()
    }

    /// Remembers a holder of a file, until this store is closed. A later life of a peer takes the place
    /// of an earlier one; the oldest entry gives way when there are [`limits::HOLDERS_PER_OBJECT_MAX`].
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

    /// Who is believed to hold a file, oldest news first.
    pub fn holders(&self, content: &ContentId) -> Vec<Holder> {
        self.holder_table().lock().get(content).cloned().unwrap_or_default()
    }

    /// Forgets that a peer, in whichever life, holds a file.
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

/// Soft state: lost at a restart, and announced anew.
#[derive(Default)]
pub(super) struct Holders(Mutex<HashMap<ContentId, Vec<Holder>>>);

impl Holders {
    fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, Vec<Holder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fixed number of locks that keys share, so that writes of different keys seldom wait for each other.
#[derive(Default)]
pub(super) struct Stripes([Mutex<()>; 32]);

impl Stripes {
    pub fn lock(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        let stripe = key.iter().fold(0u8, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte));
        self.0[usize::from(stripe) % self.0.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files of which holders are remembered.
const HELD_OBJECTS_MAX: usize = 100_000;
