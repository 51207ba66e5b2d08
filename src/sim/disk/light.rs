//! The light disk of one peer: it outlives the process, fills up, fails, and rots.
//!
//! - Only synced data survives a crash. An object whose sync did not end is then gone, or a part of it lies among the
//!   partial transfers; it is never complete.
//! - A failed sync leaves the disk poisoned: nothing is written until the process restarts.
//! - An object may rot in place. A reader gets bytes that do not match the content id.
//!
//! Only the length of an object is kept, and whether its bytes are still right.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::files::{CopyHere, HeldPage, KeptAs, Laws};
use crate::id::{ContentId, KeyRange, Position, SetDigest};
use crate::names::{Grave, NameHistory};
use crate::outboard::{CHUNK_BYTES, ChunkSet, chunk_count};
use crate::replica::{DiskRoom, LeaseBook, LeaseTerms};
use crate::wire::{ObjectInfo, codec};

/// The content and the state of a peer's disk.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Light {
    /// The room for objects, in bytes.
    pub capacity_bytes: u64,
    /// Whether an object that is read or asked for is checked, and dropped if it has rotted: as if a scrub of all objects
    /// had just passed.
    pub checks_reads: bool,
    objects: BTreeMap<ContentId, Object>,
    /// The objects that this process means to free, and whether it still may.
    freeing: BTreeMap<ContentId, Arc<AtomicBool>>,
    records: BTreeMap<Position, Kept>,
    /// The memory of removals whose records are gone.
    graves: BTreeMap<Position, Grave>,
    /// When the peer was last active in its ring, in milliseconds since the Unix epoch.
    active_ms: Option<u64>,
    /// The date up to which tombstones may have been dropped, in the same unit.
    dropped_ms: u64,
    /// The partial transfers, with the number of bytes that came.
    parts: BTreeMap<ContentId, u64>,
    /// The chunks of those of them that came in any order.
    chunks: BTreeMap<ContentId, ChunkSet>,
    used_bytes: u64,
    /// Whether the next sync fails.
    sync_fails: bool,
    poisoned: bool,
    leases: LeaseBook,
    /// The transfers of this process that are under way.
    receiving: BTreeSet<ContentId>,
    /// The unsynced objects: a crash takes them away.
    unsynced: BTreeSet<ContentId>,
    /// The partial transfers with wrong bytes that have not been checked.
    torn: BTreeSet<ContentId>,
}

#[derive(Debug, Clone, Copy)]
struct Object {
    info: ObjectInfo,
    sound: bool,
    kept_as: KeptAs,
    surplus_since_ms: Option<u64>,
    pinned: bool,
    /// The digest of this object alone, kept as a replica.
    digest: SetDigest,
}

impl Object {
    fn digest(&self) -> SetDigest {
        match self.kept_as {
            KeptAs::Replica => self.digest,
            KeptAs::Requested => self.digest.cached(),
        }
    }
}

#[derive(Debug, Clone)]
struct Kept {
    history: Arc<NameHistory>,
    digest: SetDigest,
}

impl Kept {
    fn new(key: &Position, history: Arc<NameHistory>) -> Kept {
        let bytes = codec::encode(history.as_ref()).unwrap_or_default();
        Kept { history, digest: SetDigest::of_records(key, &bytes) }
    }
}

/// Why a disk does not take data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::sim) enum DiskFailure {
    #[error("no space left on the disk: {length} bytes, and {free} are free")]
    Full { length: u64, free: u64 },
    #[error("it is here already")]
    AlreadyHere,
    #[error("it is not here")]
    NotHere,
    #[error("its bytes are other ones")]
    Rotten,
    #[error("a sync has failed; nothing is written until this peer starts anew")]
    Poisoned,
    #[error("somebody else sends it at the moment")]
    AlreadyReceiving,
    #[error("the bytes are not those of the address")]
    Mismatch,
}

impl Default for Light {
    fn default() -> Light {
        Light {
            capacity_bytes: u64::MAX,
            checks_reads: false,
            objects: BTreeMap::new(),
            freeing: BTreeMap::new(),
            records: BTreeMap::new(),
            graves: BTreeMap::new(),
            active_ms: None,
            dropped_ms: 0,
            parts: BTreeMap::new(),
            chunks: BTreeMap::new(),
            used_bytes: 0,
            sync_fails: false,
            poisoned: false,
            leases: LeaseBook::default(),
            receiving: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            torn: BTreeSet::new(),
        }
    }
}

/// Observation, and faults from outside.
impl Light {
    /// The complete objects here, and whether their bytes are still right.
    pub fn objects(&self) -> impl Iterator<Item = (&ContentId, bool)> {
        self.objects.iter().map(|(content, object)| (content, object.sound))
    }

    /// Whether a complete object with the right bytes is here.
    pub fn holds(&self, content: &ContentId) -> bool {
        self.objects.get(content).is_some_and(|object| object.sound)
    }

    /// Whether an object is here as one that the ring placed.
    pub fn keeps(&self, content: &ContentId) -> bool {
        self.objects.get(content).is_some_and(|object| object.kept_as != KeptAs::Requested)
    }

    /// The records here, by name key.
    pub fn records(&self) -> impl Iterator<Item = (&Position, &NameHistory)> {
        self.records.iter().map(|(key, kept)| (key, kept.history.as_ref()))
    }

    /// The history of one name.
    pub fn record(&self, key: &Position) -> Option<&NameHistory> {
        self.records.get(key).map(|kept| kept.history.as_ref())
    }

    /// The number of bytes of a partial transfer that are here.
    pub fn part(&self, content: &ContentId) -> Option<u64> {
        self.parts.get(content).copied()
    }

    /// Corrupts an object's bytes in place, if the object is here.
    pub fn rot(&mut self, content: &ContentId) {
        if let Some(object) = self.objects.get_mut(content) {
            object.sound = false;
        }
    }

    /// Whether an object is here, with right or wrong bytes.
    pub fn has(&self, content: &ContentId) -> bool {
        self.objects.contains_key(content)
    }

    /// Removes everything, as with a new disk.
    pub fn lose(&mut self) {
        *self = Light { checks_reads: self.checks_reads, ..Light::default() };
    }

    /// Makes the next sync fail, and the disk with it.
    pub fn fail_next_sync(&mut self) {
        self.sync_fails = true;
    }
}

/// The actions of a person.
impl Light {
    /// Frees room and lets syncs succeed again. True if a sync had failed, so that the process has to restart.
    pub fn mend(&mut self) -> bool {
        self.capacity_bytes = u64::MAX;
        self.sync_fails = false;
        self.poisoned
    }
}

/// The operations of a process.
impl Light {
    pub(in crate::sim) fn info(&mut self, content: &ContentId) -> Option<ObjectInfo> {
        if self.checks_reads && self.objects.get(content).is_some_and(|object| !object.sound) {
            self.forget(content);
        }
        self.objects.get(content).map(|object| object.info)
    }

    pub(in crate::sim) fn contains(&mut self, content: &ContentId) -> bool {
        self.info(content).is_some()
    }

    /// An object to be read: its info, and whether its bytes are right.
    pub(in crate::sim) fn read(&mut self, content: &ContentId) -> Option<(ObjectInfo, bool)> {
        self.info(content)?;
        self.objects.get(content).map(|object| (object.info, object.sound))
    }

    /// Renews the lease of an object that is here, or was freed here.
    pub(in crate::sim) fn renew_lease(&mut self, content: &ContentId, at_unix_ms: u64) {
        self.leases.renew(content, self.objects.contains_key(content), at_unix_ms);
    }

    /// At most `max` objects whose lease has lapsed.
    pub(in crate::sim) fn lapsed(
        &mut self,
        now_unix_ms: u64,
        terms: &LeaseTerms,
        max: usize,
    ) -> Vec<ContentId> {
        let leases = &mut self.leases;
        let lapsed = self.objects.keys().filter(|content| leases.look(content, now_unix_ms, terms));
        lapsed.take(max).copied().collect()
    }

    /// Frees an object whose lease has lapsed by this date.
    pub(in crate::sim) fn free_lapsed(&mut self, content: &ContentId, before_unix_ms: u64) -> bool {
        let may_go = self.objects.get(content).is_some_and(|object| !object.pinned);
        let goes = may_go && self.leases.is_lapsed(content, before_unix_ms);
        if goes {
            self.forget(content);
            self.leases.freed(content);
        }
        goes
    }

    pub(in crate::sim) fn was_freed(&self, content: &ContentId) -> bool {
        self.leases.was_freed(content)
    }

    pub(in crate::sim) fn object_ids(&self) -> BTreeSet<ContentId> {
        self.objects.keys().copied().collect()
    }

    /// Keeps an object as a replica, since another peer counts on it. True if the object is here.
    pub(in crate::sim) fn keep(&mut self, content: &ContentId) -> bool {
        self.promised(content);
        let object = self.objects.get_mut(content);
        object.map(|object| object.kept_as = KeptAs::Replica).is_some()
    }

    pub(in crate::sim) fn copy(&self, content: &ContentId) -> Option<CopyHere> {
        self.objects.get(content).map(copy_of)
    }

    pub(in crate::sim) fn copies_after(&self, after: Option<ContentId>) -> Vec<CopyHere> {
        let start = after.map_or(Unbounded, Excluded);
        self.objects
            .range((start, Unbounded))
            .take(COPIES_PER_PAGE)
            .map(|(_, object)| copy_of(object))
            .collect()
    }

    pub(in crate::sim) fn mark_surplus(&mut self, marks: Vec<(ContentId, Option<u64>)>) {
        for (content, since_ms) in marks {
            if let Some(object) = self.objects.get_mut(&content) {
                object.surplus_since_ms = since_ms;
            }
        }
    }

    /// Whether less than a twentieth of the room is left, the cache counted as room.
    pub(in crate::sim) fn is_short_of_room(&self) -> bool {
        let cached: u64 = self.cached().map(|info| info.length).sum();
        self.capacity_bytes.saturating_sub(self.used_bytes).saturating_add(cached) < self.capacity_bytes / 20
    }

    /// The room for files, the cache counted as room.
    pub(in crate::sim) fn room(&self) -> DiskRoom {
        let cached: u64 = self.cached().map(|info| info.length).sum();
        let free_bytes = self.capacity_bytes.saturating_sub(self.used_bytes).saturating_add(cached);
        DiskRoom { free_bytes, all_bytes: self.capacity_bytes, takes_writes: !self.poisoned }
    }

    pub(in crate::sim) fn begin_freeing(&mut self, content: &ContentId) -> Option<Arc<AtomicBool>> {
        if self.freeing.get(content).is_some_and(|may| Arc::strong_count(may) > 1) {
            return None;
        }
        let may = Arc::new(AtomicBool::new(true));
        self.freeing.insert(*content, may.clone());
        Some(may)
    }

    pub(in crate::sim) fn void_freeing(&mut self) {
        for may in std::mem::take(&mut self.freeing).into_values() {
            may.store(false, Ordering::Relaxed);
        }
    }

    /// Pins an object, or ends its pin; synced on return. True if it is here.
    pub(in crate::sim) fn pin(&mut self, content: &ContentId, pinned: bool) -> Result<bool, DiskFailure> {
        self.sync()?;
        let object = self.objects.get_mut(content);
        Ok(object.map(|object| object.pinned = pinned).is_some())
    }

    /// Frees an object, unless the intention is void, or the object is pinned, in a world with that law.
    pub(in crate::sim) fn free(
        &mut self,
        content: &ContentId,
        may: &AtomicBool,
        laws: Laws,
    ) -> Result<bool, DiskFailure> {
        let Some(object) = self.objects.get(content).filter(|_| may.load(Ordering::Relaxed)) else {
            return Ok(false);
        };
        if object.pinned && laws.pins_kept {
            return Ok(false);
        }
        self.sync()?;
        self.forget(content);
        Ok(true)
    }

    pub(in crate::sim) fn promised_in(&mut self, range: &KeyRange) {
        let promised = self.freeing.range(ContentId(range.first.0)..).map(|(content, _)| *content);
        let promised: Vec<ContentId> =
            promised.take_while(|content| range.contains(&content.key())).collect();
        promised.iter().for_each(|content| self.promised(content));
    }

    fn promised(&mut self, content: &ContentId) {
        if let Some(may) = self.freeing.remove(content) {
            may.store(false, Ordering::Relaxed);
        }
    }

    fn cached(&self) -> impl Iterator<Item = ObjectInfo> {
        let is_cached = |object: &&Object| object.kept_as == KeptAs::Requested && !object.pinned;
        let cached = self.objects.values().filter(is_cached);
        cached.map(|object| object.info)
    }

    /// Evicts cached objects until so many bytes are free, if that is possible.
    fn make_room(&mut self, bytes: u64) -> u64 {
        let free = |light: &Light| light.capacity_bytes.saturating_sub(light.used_bytes);
        let cached: Vec<ObjectInfo> = self.cached().collect();
        if free(self).saturating_add(cached.iter().map(|info| info.length).sum()) >= bytes {
            for info in cached {
                if free(self) < bytes {
                    self.forget(&info.content);
                }
            }
        }
        free(self)
    }

    /// Begins to receive an object in order; returns the offset of the first wanted byte.
    pub(in crate::sim) fn receive(&mut self, info: &ObjectInfo) -> Result<u64, DiskFailure> {
        let part = self.begin_receiving(info)?;
        let Some(chunks) = self.chunks.remove(&info.content) else { return Ok(part) };
        // A part with holes serves as far as it has none.
        let prefix = (chunks.prefix() * CHUNK_BYTES).min(part);
        self.cut_part(&info.content, prefix);
        Ok(prefix)
    }

    /// Begins to receive the chunks of an object in any order.
    pub(in crate::sim) fn receive_chunks(&mut self, info: &ObjectInfo) -> Result<(), DiskFailure> {
        let part = self.begin_receiving(info)?;
        if !self.chunks.contains_key(&info.content) {
            let mut chunks = ChunkSet::new(chunk_count(info.length));
            let whole = if part == info.length { chunks.chunks() } else { part / CHUNK_BYTES };
            chunks.extend(0..whole);
            self.cut_part(&info.content, (whole * CHUNK_BYTES).min(info.length));
            self.chunks.insert(info.content, chunks);
        }
        Ok(())
    }

    /// The chunks that are here of an object whose chunks come in any order.
    pub(in crate::sim) fn chunks_of(&self, content: &ContentId) -> ChunkSet {
        self.chunks.get(content).cloned().unwrap_or_else(|| ChunkSet::new(0))
    }

    /// Adds a chunk; a wrong one only in a world without the law that bytes are checked.
    pub(in crate::sim) fn put_chunk(
        &mut self,
        content: &ContentId,
        index: u64,
        bytes: u64,
        sound: bool,
    ) -> Result<(), DiskFailure> {
        if self.chunks.get_mut(content).is_some_and(|chunks| chunks.insert(index)) {
            self.append(content, bytes)?;
        }
        if !sound {
            self.torn.insert(*content);
        }
        Ok(())
    }

    /// Takes the right to receive an object; returns the number of its bytes that are here.
    fn begin_receiving(&mut self, info: &ObjectInfo) -> Result<u64, DiskFailure> {
        let content = &info.content;
        if self.contains(content) {
            return Err(DiskFailure::AlreadyHere);
        }
        if self.receiving.contains(content) {
            return Err(DiskFailure::AlreadyReceiving);
        }
        if self.poisoned {
            return Err(DiskFailure::Poisoned);
        }
        let part = self.part(content).unwrap_or(0);
        let free = self.make_room(info.length - part.min(info.length));
        if info.length - part.min(info.length) > free {
            return Err(DiskFailure::Full { length: info.length, free });
        }
        self.receiving.insert(*content);
        Ok(part)
    }

    /// Adds bytes that came to a partial transfer.
    pub(in crate::sim) fn append(&mut self, content: &ContentId, bytes: u64) -> Result<(), DiskFailure> {
        if self.poisoned {
            return Err(DiskFailure::Poisoned);
        }
        let free = self.capacity_bytes.saturating_sub(self.used_bytes);
        if bytes > free {
            return Err(DiskFailure::Full { length: bytes, free });
        }
        self.used_bytes += bytes;
        *self.parts.entry(*content).or_default() += bytes;
        Ok(())
    }

    /// Ends a transfer; its bytes are kept for a sender that continues it.
    pub(in crate::sim) fn stop_receiving(&mut self, content: &ContentId) {
        self.receiving.remove(content);
    }

    /// Cuts a partial transfer to this many bytes.
    pub(in crate::sim) fn cut_part(&mut self, content: &ContentId, bytes: u64) {
        if let Some(part) = self.parts.get_mut(content) {
            self.used_bytes -= part.saturating_sub(bytes);
            *part = (*part).min(bytes);
        }
    }

    /// Reads a whole object; drops it if it has rotted.
    pub(in crate::sim) fn scrub(&mut self, content: &ContentId) -> Result<(), DiskFailure> {
        match self.objects.get(content) {
            None => Err(DiskFailure::NotHere),
            Some(object) if object.sound => Ok(()),
            Some(_) => {
                self.forget(content);
                Err(DiskFailure::Rotten)
            }
        }
    }

    /// Discards a partial transfer.
    pub(in crate::sim) fn discard(&mut self, content: &ContentId) {
        self.torn.remove(content);
        self.chunks.remove(content);
        self.used_bytes -= self.parts.remove(content).unwrap_or(0);
    }

    /// Completes an object in one step, synced, after all bytes came; wrong bytes are discarded.
    pub(in crate::sim) fn finish(
        &mut self,
        info: ObjectInfo,
        sound: bool,
        kept_as: KeptAs,
    ) -> Result<(), DiskFailure> {
        if !sound {
            self.discard(&info.content);
            return Err(DiskFailure::Mismatch);
        }
        self.sync()?;
        self.discard(&info.content);
        self.put_object_as(info, kept_as);
        Ok(())
    }

    /// Changes the history of a name; synced on return.
    pub(in crate::sim) fn update_record<T>(
        &mut self,
        key: Position,
        work: impl FnOnce(&mut NameHistory) -> T,
    ) -> Result<T, DiskFailure> {
        let before = self.record(&key).cloned();
        let mut history = before.clone().unwrap_or_default();
        history.grave = self.graves.get(&key).copied();
        let done = work(&mut history);
        let grave = history.grave.take();
        let after = Some(history).filter(|history| history.current.is_some());
        if before != after || self.graves.get(&key) != grave.as_ref() {
            self.sync()?;
            match after {
                Some(history) => drop(self.records.insert(key, Kept::new(&key, Arc::new(history)))),
                None => drop(self.records.remove(&key)),
            }
            match grave {
                Some(grave) => drop(self.graves.insert(key, grave)),
                None => drop(self.graves.remove(&key)),
            }
        }
        Ok(done)
    }

    /// When the peer was last active in its ring. Without a note, the date of its newest record.
    pub(in crate::sim) fn active_ms(&self) -> Option<u64> {
        let date = |history: &NameHistory| {
            history
                .current
                .as_ref()
                .and_then(|current| current.decode().ok())
                .map(|record| record.clock.unix_ms())
        };
        self.active_ms.or_else(|| self.records().filter_map(|(_, history)| date(history)).max())
    }

    pub(in crate::sim) fn note_active(&mut self, now_ms: u64) {
        self.active_ms = Some(now_ms);
    }

    pub(in crate::sim) fn dropped_ms(&self) -> u64 {
        self.dropped_ms
    }

    pub(in crate::sim) fn note_dropped(&mut self, up_to_ms: u64, now_ms: u64) {
        self.dropped_ms = self.dropped_ms.max(up_to_ms);
        self.graves.retain(|_, grave| grave.until_unix_ms > now_ms);
    }

    /// Completes an object before its sync, in a world without the law that a copy is synced before it counts.
    pub(in crate::sim) fn finish_unsynced(&mut self, info: ObjectInfo, kept_as: KeptAs) {
        self.discard(&info.content);
        self.put_object_as(info, kept_as);
        self.unsynced.insert(info.content);
    }

    /// Notes that the sync of an object has ended.
    pub(in crate::sim) fn synced(&mut self, content: &ContentId) {
        self.unsynced.remove(content);
    }

    /// Completes an object with wrong bytes, in a world without the law that bytes are checked.
    pub(in crate::sim) fn finish_unchecked(
        &mut self,
        info: ObjectInfo,
        kept_as: KeptAs,
    ) -> Result<(), DiskFailure> {
        self.finish(info, true, kept_as)?;
        self.rot(&info.content);
        Ok(())
    }

    /// Whether a partial transfer has wrong bytes that were noted as right.
    pub(in crate::sim) fn is_torn(&self, content: &ContentId) -> bool {
        self.torn.contains(content)
    }

    /// Handles the end of a process without notice: of each transfer under way, a random part survives. In a world
    /// without the law that this data is hashed again, the noted lengths are believed.
    pub(in crate::sim) fn crash(&mut self, rng: &mut ChaCha8Rng, laws: Laws) {
        for content in std::mem::take(&mut self.unsynced) {
            self.forget(&content);
        }
        if !laws.parts_hashed_again {
            let noted = std::mem::take(&mut self.receiving);
            self.torn.extend(noted.into_iter().filter(|content| self.parts.contains_key(content)));
        }
        for content in std::mem::take(&mut self.receiving) {
            let written = self.part(&content).unwrap_or(0);
            if let Some(chunks) = self.chunks.get_mut(&content) {
                // Each chunk was marked, or is lost. The last one may be shorter, and goes in any case.
                let mut left = ChunkSet::new(chunks.chunks());
                left.extend(chunks.iter().filter(|index| index + 1 < chunks.chunks() && rng.random()));
                let bytes = left.count() * CHUNK_BYTES;
                *chunks = left;
                self.cut_part(&content, bytes);
                continue;
            }
            self.discard(&content);
            let left = rng.random_range(0..=written);
            if left > 0 {
                self.parts.insert(content, left);
                self.used_bytes += left;
            }
        }
        self.poisoned = false;
        self.sync_fails = false;
        self.freeing.clear();
    }

    pub(in crate::sim) fn put_object(&mut self, info: ObjectInfo) {
        self.put_object_as(info, KeptAs::Replica);
    }

    fn put_object_as(&mut self, info: ObjectInfo, kept_as: KeptAs) {
        self.promised(&info.content);
        self.leases.came(&info.content);
        let digest = SetDigest::of_object(&info.content);
        // A pin holds for the object's next copy as well, as on a real disk.
        let pinned = self.objects.get(&info.content).is_some_and(|object| object.pinned);
        let object = Object { info, sound: true, kept_as, surplus_since_ms: None, pinned, digest };
        if self.objects.insert(info.content, object).is_none() {
            self.used_bytes += info.length;
        }
    }

    pub(in crate::sim) fn put_record(&mut self, key: Position, history: Arc<NameHistory>) {
        self.records.insert(key, Kept::new(&key, history));
    }

    pub(in crate::sim) fn look_at_objects(&mut self) {
        let rotten: Vec<ContentId> = self.objects().filter(|(_, sound)| !sound).map(|(c, _)| *c).collect();
        for content in rotten {
            self.info(&content);
        }
    }

    pub(in crate::sim) fn first_held(&self, from: &Position) -> Option<Position> {
        let object = self.objects.range(ContentId(from.0)..).next().map(|(content, _)| content.key());
        let record = self.records.range(from..).next().map(|(key, _)| *key);
        object.into_iter().chain(record).min()
    }

    pub(in crate::sim) fn digest(&self, range: &KeyRange) -> SetDigest {
        if range.first > range.last {
            return SetDigest::default();
        }
        let objects = self.objects.range(ContentId(range.first.0)..=ContentId(range.last.0));
        let records = self.records.range(range.first..=range.last);
        objects.map(|(_, object)| object.digest()).chain(records.map(|(_, kept)| kept.digest)).sum()
    }

    pub(in crate::sim) fn held(&self, range: &KeyRange, max: usize) -> HeldPage {
        let mut page = HeldPage::default();
        if range.first > range.last {
            return page;
        }
        let contents = || self.objects.range(ContentId(range.first.0)..=ContentId(range.last.0));
        let names = || self.records.range(range.first..=range.last);
        let next = contents().nth(max).map(|(content, _)| content.key());
        let end = next.into_iter().chain(names().nth(max).map(|(key, _)| *key)).min();
        let is_in_page = |key: &Position| end.is_none_or(|end| *key < end);
        page.objects
            .extend(contents().map(|(content, _)| *content).filter(|c| is_in_page(&c.key())).take(max));
        for (key, kept) in names().take_while(|(key, _)| is_in_page(key)) {
            let records = kept.history.as_ref().clone().into_records();
            page.records.extend(records.map(|record| (*key, record)));
        }
        page.rest = end.map(|first| KeyRange { first, last: range.last });
        page
    }

    fn forget(&mut self, content: &ContentId) {
        if let Some(object) = self.objects.remove(content) {
            self.used_bytes -= object.info.length;
        }
    }

    fn sync(&mut self) -> Result<(), DiskFailure> {
        self.poisoned |= std::mem::take(&mut self.sync_fails);
        if self.poisoned { Err(DiskFailure::Poisoned) } else { Ok(()) }
    }
}

fn copy_of(object: &Object) -> CopyHere {
    CopyHere {
        content: object.info.content,
        length: object.info.length,
        kept_as: object.kept_as,
        pinned: object.pinned,
        surplus_since_ms: object.surplus_since_ms,
    }
}

/// The number of copies that are read at a time.
const COPIES_PER_PAGE: usize = 1_000;

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::id::OutboardDigest;

    fn info(of: u8, length: u64) -> ObjectInfo {
        ObjectInfo { content: ContentId::of(&[of]), length, outboard: OutboardDigest([0; 32]) }
    }

    /// Goal: if the process ends at any moment, an object is complete only if its sync had ended.
    #[test]
    fn a_crash_leaves_a_part_at_most() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for written in [0, 1, 60, 100] {
            let (mut disk, object) = (Light::default(), info(1, 100));
            assert_eq!(disk.receive(&object), Ok(0));
            disk.append(&object.content, written).unwrap();
            disk.crash(&mut rng, Laws::default());
            assert!(!disk.contains(&object.content));
            let part = disk.part(&object.content).unwrap_or(0);
            assert!(part <= written);
            assert_eq!(disk.receive(&object), Ok(part), "it goes on from there");
            disk.append(&object.content, 100 - part).unwrap();
            disk.finish(object, true, KeptAs::Replica).unwrap();
            disk.stop_receiving(&object.content);
            disk.crash(&mut rng, Laws::default());
            assert!(disk.holds(&object.content) && disk.used_bytes == 100);
        }
    }

    #[test]
    fn a_full_or_poisoned_disk_takes_nothing_and_keeps_what_it_has() {
        let mut disk = Light { capacity_bytes: 100, ..Light::default() };
        disk.put_object(info(1, 70));
        assert_eq!(disk.receive(&info(2, 31)), Err(DiskFailure::Full { length: 31, free: 30 }));
        assert_eq!(disk.receive(&info(3, 30)), Ok(0));
        assert_eq!(disk.receive(&info(3, 30)), Err(DiskFailure::AlreadyReceiving));
        disk.fail_next_sync();
        disk.append(&info(3, 30).content, 30).unwrap();
        assert_eq!(disk.finish(info(3, 30), true, KeptAs::Replica), Err(DiskFailure::Poisoned));
        disk.stop_receiving(&info(3, 30).content);
        assert_eq!(disk.receive(&info(3, 30)), Err(DiskFailure::Poisoned));
        assert!(disk.holds(&info(1, 70).content) && !disk.holds(&info(3, 30).content));
        disk.crash(&mut ChaCha8Rng::seed_from_u64(1), Laws::default());
        assert_eq!(disk.receive(&info(3, 30)), Ok(30), "a new process");
        disk.finish(info(3, 30), true, KeptAs::Replica).unwrap();
    }

    #[test]
    fn rot_is_read_as_it_is_unless_it_is_checked() {
        let (mut disk, object) = (Light::default(), info(1, 10));
        disk.put_object(object);
        disk.rot(&object.content);
        assert_eq!(disk.read(&object.content), Some((object, false)));
        assert!(!disk.holds(&object.content) && disk.contains(&object.content));
        disk.checks_reads = true;
        assert!(!disk.contains(&object.content) && disk.used_bytes == 0);
    }
}
