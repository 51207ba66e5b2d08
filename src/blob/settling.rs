//! Small objects between the journal and their durable places.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::change::Change;
use super::disk::Stamp;
use super::error::{IoContext as _, Result};
use super::index::RECORDS_UNDURABLE_MAX;
use super::journal::{Entry, Journaled};
use super::layout::OBJECT_MODE;
use super::notice::Notice;
use super::part::came;
use super::reserve;
use super::store::Store;
use crate::outboard::ChunkHasher;
use crate::wire::ObjectInfo;

impl Store {
    /// Makes the objects of the journal durable in their places, with one sync and one commit for all of them, and
    /// removes the journal's segments. Makes the records durable in the index that so far are so in their log alone.
    /// Cheap if there is neither.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`](super::BlobError::Poisoned), or the errors of the index and of the disk; the segments
    /// then stay.
    pub fn settle_journal(&self) -> Result<()> {
        if self.journal().is_empty() {
            return match self.index().records_in_log() {
                0 => Ok(()),
                _ => self.index().submit([Change::Flush]),
            };
        }
        self.layout().check()?;
        let _settling = self.settling();
        let closed = self.journal().close();
        if closed.is_empty() {
            return Ok(());
        }
        let layout = self.layout();
        let files: Vec<PathBuf> = closed.contents.iter().map(|content| layout.object(content)).collect();
        let mut folders: BTreeSet<PathBuf> =
            files.iter().filter_map(|file| file.parent().map(PathBuf::from)).collect();
        folders.insert(layout.objects());
        layout.sync_many(&files, &folders.into_iter().collect::<Vec<_>>())?;
        self.index().submit([Change::Flush])?;
        self.journal().cut(&closed)
    }

    /// Whether so much is in the journal, or in the log of records alone, that it should be settled now.
    pub fn is_journal_long(&self) -> bool {
        self.journal().is_long() || self.index().records_in_log() >= RECORDS_LONG
    }

    /// Appends objects to the journal; durable on return. If the journal is full, it is settled first.
    pub(super) fn journal_objects<'e>(
        &self,
        entries: impl IntoIterator<Item = &'e Entry>,
    ) -> Result<Journaled<'_>> {
        while self.journal().is_full() {
            self.settle_journal()?;
        }
        self.journal().append(entries)
    }

    /// Puts the bytes of an object that is in the journal into its place, without a sync.
    pub(super) fn place_journaled(&self, entry: &Entry) -> Result<Stamp> {
        let (layout, temporary) = (self.layout(), self.layout().temporary());
        let object = layout.object(&entry.content);
        let placed = layout.write_unsynced(&entry.bytes, OBJECT_MODE, &temporary).and_then(|file| {
            layout.place_unsynced(&object, || {
                let _lock = self.object_locks().lock(&entry.content.0);
                layout.disk.rename(&temporary, &object)
            })?;
            file.stamp().during("read", &object)
        });
        if placed.is_err() {
            layout.remove_quietly(&temporary);
        }
        placed
    }
}

/// Brings the objects of the journal that an earlier life of this store left into their places, durably. True if all of
/// them are; a full disk is not an error.
pub(super) fn replay(store: &Store) -> Result<bool> {
    let layout = store.layout();
    let replayed = reserve::with_reserve(&layout.root, &*layout.disk, || {
        let skipped = store.journal().replay(|entry| {
            store.place_journaled(&entry)?;
            // A row that the index has already is as new, or newer.
            let is_known = store.index().object(&entry.content)?.is_some();
            let is_new = |change: &Change| !is_known || matches!(change, Change::Link { .. });
            store.index().submit_journaled(changes_of(&entry).filter(is_new))
        })?;
        store.settle_journal()?;
        Ok(skipped)
    });
    match replayed {
        Ok(0) => Ok(true),
        Ok(skipped) => {
            store.notices().tell(Notice::JournalDamaged { dir: layout.journal(), skipped });
            Ok(true)
        }
        Err(error) if error.is_disk_full() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The number of records in their log alone from which on the index is synced.
const RECORDS_LONG: usize = RECORDS_UNDURABLE_MAX / 2;

/// The changes to the index for an object of the journal.
fn changes_of(entry: &Entry) -> impl Iterator<Item = Change> {
    let mut hasher = ChunkHasher::default();
    hasher.update(&entry.bytes);
    let (content, outboard) = hasher.finish();
    let info = ObjectInfo { content, length: outboard.length(), outboard: outboard.digest() };
    came(info, entry.kind, &entry.links, entry.came_ms).collect::<Vec<_>>().into_iter()
}
