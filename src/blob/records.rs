//! The values that the index keeps for other modules, and holders: name records as opaque bytes, the remembered
//! members, and the peers that are believed to hold a file.

use std::collections::BTreeMap;

use super::change::{Change, KeptName, KeptRecord};
use super::error::Result;
use super::graves::Grave;
use super::holders::Holder;
use super::identity::PeerFile;
use super::notice::Notice;
use super::siblings;
use super::store::Store;
use crate::id::{ContentId, FileName, Position};
use crate::wire::limits;

impl Store {
    /// The record of a name key.
    pub fn record(&self, key: &Position) -> Result<Option<Vec<u8>>> {
        Ok(self.records(std::slice::from_ref(key))?.pop().flatten())
    }

    /// The records of these name keys, in their order.
    pub fn records(&self, keys: &[Position]) -> Result<Vec<Option<Vec<u8>>>> {
        self.index().records(keys)
    }

    /// Stores a record, in place of the existing one; durable on return.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn put_record(&self, key: Position, record: impl Into<KeptRecord>) -> Result<()> {
        let _lock = self.record_locks().lock(&key.0);
        self.index().submit([Change::Record(key, Some(record.into()))])
    }

    /// Removes a record; durable on return.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn remove_record(&self, key: Position) -> Result<()> {
        let _lock = self.record_locks().lock(&key.0);
        self.index().submit([Change::Record(key, None)])
    }

    /// Reads, merges and writes records with no other write of their keys between, all with one commit; durable on
    /// return. `merge` takes each key in its order, its present record and the memory of a removal, and returns the new
    /// ones, or `None` to leave them. It must not call back into the records of this store.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the index; then none is written.
    pub fn update_records(
        &self,
        keys: &[Position],
        mut merge: impl FnMut(&Position, Option<&[u8]>, Option<Grave>) -> Option<KeptName>,
    ) -> Result<()> {
        self.layout().check()?;
        let _locks = self.record_locks().lock_all(keys.iter().map(|key| key.0.as_slice()));
        let present = self.index().records_and_graves(keys)?;
        let mut changes = Vec::with_capacity(keys.len());
        let mut merged: BTreeMap<Position, KeptName> = BTreeMap::new();
        for (key, (record, grave)) in keys.iter().zip(present) {
            let (kept, grave) = match merged.get(key) {
                // The key stands in `keys` once more.
                Some(KeptName { record, grave }) => {
                    (merge(key, record.as_ref().map(|record| record.bytes.as_slice()), *grave), *grave)
                }
                None => (merge(key, record.as_deref(), grave), grave),
            };
            if let Some(kept) = kept {
                changes.push(Change::Record(*key, kept.record.clone()));
                changes.extend((kept.grave != grave).then_some(Change::Grave(*key, kept.grave)));
                merged.insert(*key, kept);
            }
        }
        self.index().submit(changes)
    }

    /// When this peer was last active in its ring, in milliseconds since the Unix epoch by the ring's clock.
    pub fn active_ms(&self) -> Result<Option<u64>> {
        self.index().number(ACTIVE)
    }

    /// Notes that this peer is active in its ring at this time. Durable on return.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn note_active(&self, now_ms: u64) -> Result<()> {
        self.index().submit([Change::Number(ACTIVE, now_ms)])
    }

    /// The date up to which tombstones may have been dropped here, in milliseconds since the Unix epoch; 0 if none was.
    pub fn dropped_ms(&self) -> Result<u64> {
        Ok(self.index().number(DROPPED)?.unwrap_or(0))
    }

    /// Notes that tombstones up to this date may be dropped from now on. Durable on return.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn note_dropped(&self, up_to_ms: u64) -> Result<()> {
        let before = self.dropped_ms()?;
        self.index().submit((up_to_ms > before).then_some(Change::Number(DROPPED, up_to_ms)))
    }

    /// Ends the memories of removals that last until `now_ms` or less, or beyond `last_ms`.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn end_graves(&self, now_ms: u64, last_ms: u64) -> Result<()> {
        self.index().submit([Change::GravesEnded(now_ms, last_ms)])
    }

    /// At most `max` records in the order of their keys, after this one.
    pub fn records_after(&self, after: Option<Position>, max: usize) -> Result<Vec<(Position, Vec<u8>)>> {
        self.index().records_after(after, max)
    }

    /// The first `max` names whose history holds a sibling, and the number of all of them.
    pub fn siblings(&self, max: usize) -> Result<(Vec<FileName>, u64)> {
        self.index().read(|tables| siblings::first(tables, max))
    }

    /// Notes for all records whether their histories hold siblings, where that is not known: in an index of an earlier
    /// program, in one that was built anew, and for records that came back from their log. `name_of` reads a record, and
    /// returns its name if there is a sibling.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn look_for_siblings(&self, name_of: impl Fn(&Position, &[u8]) -> Option<FileName>) -> Result<()> {
        if !self.index().siblings_are_known()? {
            let mut after = None;
            loop {
                let page = self.index().records_after(after, RECORDS_PER_PAGE)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                let found = page.iter().filter_map(|(key, record)| {
                    name_of(key, record).map(|name| Change::Sibling(*key, Some(name)))
                });
                self.index().submit(found)?;
            }
            self.index().submit([Change::SiblingsKnown])?;
        }
        self.look_for_replayed_siblings(name_of)
    }

    fn look_for_replayed_siblings(
        &self,
        name_of: impl Fn(&Position, &[u8]) -> Option<FileName>,
    ) -> Result<()> {
        let keys = self.index().replayed();
        let _locks = self.record_locks().lock_all(keys.iter().map(|key| key.0.as_slice()));
        let records = self.index().records(&keys)?;
        let found = keys
            .iter()
            .zip(records)
            .map(|(key, record)| Change::Sibling(*key, record.and_then(|record| name_of(key, &record))));
        self.index().submit(found)?;
        self.index().forget_replayed();
        Ok(())
    }

    /// Makes the log of records short again if it has grown, so that it stays about as large as the records are.
    ///
    /// # Errors
    /// The errors of the index and of the disk; the log then stays as it was.
    pub fn tidy_records(&self) -> Result<()> {
        let log = self.index().log();
        // An index that was not built up again has not got all records of the log yet.
        if !log.wants_base() || !self.index().is_built()? || self.full_with().is_some() {
            return Ok(());
        }
        let free = self.layout().disk.room(self.dir()).map_or(u64::MAX, |room| room.free);
        if free / 2 < log.base_bytes_max() {
            tracing::debug!(free, "no room to make the log of records shorter");
            return Ok(());
        }
        let _lock = self.base_lock();
        self.index().write_log_base()
    }

    /// Keeps the bytes of a record that cannot be read in quarantine/, with the reason, since another one takes its place;
    /// and tells a person.
    ///
    /// # Errors
    /// [`Poisoned`](super::BlobError::Poisoned), or the errors of the disk.
    pub fn quarantine_record(&self, key: &Position, bytes: &[u8], reason: &str) -> Result<()> {
        let place = self.layout().quarantine_bytes(&format!("record-{key}"), bytes, reason)?;
        self.notices().tell(Notice::RecordHealed { reason: reason.to_owned(), place });
        Ok(())
    }

    /// Reads the log of records from its first byte to its last. If some of its bytes hold no record, because they have
    /// changed or because a crash cut an entry short, the log is written anew from the index, and a notice says so.
    ///
    /// # Errors
    /// The errors of the index and of the disk; the log then stays as it was.
    pub fn scrub_records(&self) -> Result<()> {
        // An index that was not built up again has not got all records of the log yet.
        if !self.index().is_built()? {
            return Ok(());
        }
        let _lock = self.base_lock();
        let unsound = self.index().log().unsound_bytes()?;
        if unsound > 0 {
            self.index().write_log_base()?;
            self.notices().tell(Notice::LogMended { dir: self.layout().records(), unsound });
        }
        Ok(())
    }

    /// Tells a person that peer.toml was damaged, and that the one before it was used.
    pub fn tell_identity_mended(&self, reason: String) {
        self.notices().tell(Notice::IdentityMended { path: PeerFile::path(self.dir()), reason });
    }

    /// Tells a person, once, that a value of the index cannot be read.
    pub fn tell_unreadable(&self, key: impl ToString, reason: impl ToString) {
        self.notices().tell(Notice::Unreadable { key: key.to_string(), reason: reason.to_string() });
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

/// The numbers of the index that tell of this peer's time in its ring.
const ACTIVE: &str = "active";
const DROPPED: &str = "dropped tombstones";
/// The number of records that are read at a time.
const RECORDS_PER_PAGE: usize = 1_000;
/// The most files whose holders are remembered.
const HELD_OBJECTS_MAX: usize = 100_000;
