//! The disk of one peer, of one of two kinds. A light disk keeps only the length of an object, and serves worlds of any
//! size. In a small world it can be a real [`Store`](crate::blob::Store), index and outboards included, on a disk in
//! memory that loses unsynced data.

mod light;
mod real;
mod span;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rand_chacha::ChaCha8Rng;

pub(super) use self::light::{DiskFailure, Light};
pub(super) use self::real::Real;
pub(super) use self::span::{Span, file_of, outboard_of, tree_of};
use crate::blob::{BlobError, Freeing, Loss};
use crate::files::{CopyHere, DiskError, DiskFault, HeldPage, HistoryChange, Laws, OfferLook};
use crate::id::{ContentId, KeyRange, Position, SetDigest};
use crate::names::NameHistory;
use crate::outboard::Outboard;
use crate::replica::{DiskRoom, Holdings, LeaseTerms, Presence};
use crate::shelf;
use crate::time::Moment;
use crate::wire::limits::BATCHED_OBJECT_BYTES_MAX;
use crate::wire::{Link, MissingReason, ObjectInfo, OfferedRecord, Reference};

/// The content and the state of a peer's disk.
pub struct Disk(pub(super) Kind);

pub(super) enum Kind {
    Light(Box<Light>),
    Real(Real),
}

/// The intention to free an object.
pub(in crate::sim) enum Intention {
    Light(ContentId, Arc<AtomicBool>),
    Store(Freeing),
}

impl Intention {
    pub(super) fn content(&self) -> ContentId {
        match self {
            Intention::Light(content, _) => *content,
            Intention::Store(freeing) => freeing.content(),
        }
    }
}

/// Why an operation of a disk failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::sim) enum Failure {
    #[error(transparent)]
    Light(#[from] DiskFailure),
    #[error(transparent)]
    Store(#[from] BlobError),
}

type Result<T> = std::result::Result<T, Failure>;

impl DiskError for Failure {
    fn fault(&self) -> DiskFault {
        match self {
            Failure::Light(failure) => failure.fault(),
            Failure::Store(error) => error.fault(),
        }
    }

    fn missing_reason(&self) -> MissingReason {
        match self {
            Failure::Light(failure) => failure.missing_reason(),
            Failure::Store(error) => error.missing_reason(),
        }
    }
}

/// Observation, and faults from outside.
impl Disk {
    /// The complete objects here, and whether their bytes are right.
    pub fn objects(&self) -> Vec<(ContentId, bool)> {
        match &self.0 {
            Kind::Light(light) => light.objects().map(|(content, sound)| (*content, sound)).collect(),
            Kind::Real(real) => real.objects(),
        }
    }

    /// Whether a complete object with the right bytes is here.
    pub fn holds(&self, content: &ContentId) -> bool {
        match &self.0 {
            Kind::Light(light) => light.holds(content),
            Kind::Real(real) => real.holds(content),
        }
    }

    /// Whether an object is here as one that the ring placed, and not only in the cache.
    pub fn keeps(&self, content: &ContentId) -> bool {
        match &self.0 {
            Kind::Light(light) => light.keeps(content),
            Kind::Real(real) => real.keeps(content),
        }
    }

    /// Whether an object is here, with right or wrong bytes.
    pub fn has(&self, content: &ContentId) -> bool {
        match &self.0 {
            Kind::Light(light) => light.has(content),
            Kind::Real(real) => real.has(content),
        }
    }

    /// The keys of the names of which records are kept here.
    pub fn record_keys(&self) -> Vec<Position> {
        match &self.0 {
            Kind::Light(light) => light.records().map(|(key, _)| *key).collect(),
            Kind::Real(real) => real.record_keys(),
        }
    }

    /// The history of one name. A real store answers only while its process runs.
    pub fn record(&self, key: &Position) -> Option<Cow<'_, NameHistory>> {
        match &self.0 {
            Kind::Light(light) => light.record(key).map(Cow::Borrowed),
            Kind::Real(real) => real.record(key).map(Cow::Owned),
        }
    }

    /// The number of bytes of a partial transfer that are here.
    pub fn part(&self, content: &ContentId) -> Option<u64> {
        match &self.0 {
            Kind::Light(light) => light.part(content),
            Kind::Real(real) => real.part(content),
        }
    }

    /// Corrupts an object's bytes in place, if the object is here.
    pub fn rot(&mut self, content: &ContentId) {
        match &mut self.0 {
            Kind::Light(light) => light.rot(content),
            Kind::Real(real) => real.rot(content),
        }
    }

    /// Flips a bit of a partial transfer on a real disk. True if there was one.
    pub fn spoil_part(&mut self, content: &ContentId) -> bool {
        match &mut self.0 {
            Kind::Light(_) => false,
            Kind::Real(real) => real.spoil_part(content),
        }
    }

    /// Makes the history of a name on a real disk unreadable.
    pub fn spoil_record(&mut self, key: &Position) {
        if let Kind::Real(real) = &mut self.0 {
            real.spoil_record(*key);
        }
    }

    /// A copy of all that is on a light disk, as a person makes a backup.
    ///
    /// # Panics
    /// When the disk is a real one.
    pub fn backup(&self) -> Disk {
        match &self.0 {
            Kind::Light(light) => Disk(Kind::Light(light.clone())),
            Kind::Real(_) => panic!("a real disk is not copied"),
        }
    }

    /// Removes everything, as with a new disk. No process may run meanwhile.
    pub fn lose(&mut self) {
        match &mut self.0 {
            Kind::Light(light) => light.lose(),
            Kind::Real(real) => real.lose(),
        }
    }

    /// Sets the room for objects in bytes; the objects that are here take a part of it.
    pub fn set_capacity(&mut self, bytes: u64) {
        match &mut self.0 {
            Kind::Light(light) => light.capacity_bytes = bytes,
            Kind::Real(real) => real.set_capacity(bytes),
        }
    }

    /// Makes each request for an object check it first, and drop it if it has rotted: as if a slow scrub of all objects
    /// had just passed. (A running peer has no such schedule yet.)
    pub fn check_reads(&mut self) {
        match &mut self.0 {
            Kind::Light(light) => light.checks_reads = true,
            Kind::Real(real) => real.checks_reads = true,
        }
    }

    /// Makes the next sync fail.
    pub fn fail_next_sync(&mut self) {
        match &mut self.0 {
            Kind::Light(light) => light.fail_next_sync(),
            Kind::Real(real) => real.memory.fail_next_sync(),
        }
    }

    /// Frees room and lets syncs succeed again, as a person would. True if a sync had failed, so that the process has
    /// to restart.
    pub fn mend(&mut self) -> bool {
        match &mut self.0 {
            Kind::Light(light) => light.mend(),
            Kind::Real(real) => real.mend(),
        }
    }

    /// The number of calls of a real disk so far; a light one does not count.
    pub fn calls(&self) -> u64 {
        match &self.0 {
            Kind::Light(_) => 0,
            Kind::Real(real) => real.memory.calls(),
        }
    }

    /// Sets what each later crash of a process on a real disk leaves of the unsynced changes.
    pub fn set_loss(&mut self, loss: Loss) {
        if let Kind::Real(real) = &mut self.0 {
            real.memory.set_loss(loss);
        }
    }

    /// Cuts the power of a real disk, and ends its process, instead of its n-th call from now on.
    pub fn die_before_call(&mut self, n: u64) {
        if let Kind::Real(real) = &mut self.0 {
            real.memory.die_before_call(n);
        }
    }
}

/// The operations of a process.
impl Disk {
    pub(super) fn set_time(&mut self, now: Moment, unix_ms: u64) {
        if let Kind::Real(real) = &mut self.0 {
            real.set_time(now, unix_ms);
        }
    }

    /// Opens the disk for a new process.
    pub(super) fn open(&mut self) {
        if let Kind::Real(real) = &mut self.0 {
            real.open();
        }
    }

    /// Closes the disk of a process that has ended in good order.
    pub(super) fn close(&mut self) {
        if let Kind::Real(real) = &mut self.0 {
            real.close();
        }
    }

    /// Handles the end of a process without notice.
    pub(super) fn crash(&mut self, rng: &mut ChaCha8Rng, laws: Laws) {
        match &mut self.0 {
            Kind::Light(light) => light.crash(rng, laws),
            Kind::Real(real) => real.crash(rng),
        }
    }

    pub(super) fn has_power(&self) -> bool {
        match &self.0 {
            Kind::Light(_) => true,
            Kind::Real(real) => real.memory.has_power(),
        }
    }

    pub(super) fn contains(&mut self, content: &ContentId) -> Result<bool> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.contains(content)),
            Kind::Real(real) => Ok(real.contains(content)?),
        }
    }

    pub(super) fn info(&mut self, content: &ContentId) -> Result<Option<ObjectInfo>> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.info(content)),
            Kind::Real(real) => Ok(real.store()?.info(content)?),
        }
    }

    pub(super) fn outboard(&mut self, content: &ContentId) -> Result<Option<(ObjectInfo, Outboard)>> {
        match &mut self.0 {
            Kind::Light(light) => {
                let info = light.info(content);
                Ok(info.map(|object| (object, outboard_of(content, object.length))))
            }
            Kind::Real(real) => {
                let store = real.store()?;
                Ok(store.info(content)?.zip(store.outboard(content)?))
            }
        }
    }

    pub(super) fn info_and_links(&mut self, content: ContentId) -> Result<(ObjectInfo, Vec<Link>)> {
        match &mut self.0 {
            // A light disk has no links.
            Kind::Light(light) => Ok((light.info(&content).ok_or(DiskFailure::NotHere)?, Vec::new())),
            Kind::Real(real) => Ok(shelf::info_and_links(&real.store()?, content)?),
        }
    }

    /// All bytes of those of these objects that are here and small; see [`crate::files::Env::read_small`].
    pub(super) fn read_small(&mut self, contents: &[ContentId], most_bytes: u64) -> Vec<Option<Span>> {
        match &mut self.0 {
            Kind::Light(light) => {
                let mut left = most_bytes;
                let mut read = |content: &ContentId| {
                    let (object, sound) = light.read(content)?;
                    let bytes =
                        Some(object.length).filter(|length| *length <= BATCHED_OBJECT_BYTES_MAX.min(left))?;
                    left -= bytes;
                    Some(Span::Light { bytes, sound })
                };
                contents.iter().map(&mut read).collect()
            }
            Kind::Real(real) => match real.store() {
                Ok(store) => {
                    let read = shelf::read_small(&store, contents, most_bytes);
                    read.into_iter().map(|bytes| bytes.map(Span::Real)).collect()
                }
                Err(_) => contents.iter().map(|_| None).collect(),
            },
        }
    }

    pub(super) fn keep_linked(&mut self, content: ContentId, links: &[Link], now: u64) -> Result<bool> {
        match &mut self.0 {
            Kind::Light(light) => {
                light.renew_lease(&content, now);
                Ok(light.keep(&content))
            }
            Kind::Real(real) => Ok(shelf::keep_linked(&real.store()?, content, links, now)?),
        }
    }

    pub(super) fn histories_after(
        &mut self,
        after: Option<Position>,
        max: usize,
    ) -> Result<Vec<(Position, Option<NameHistory>)>> {
        match &mut self.0 {
            Kind::Light(light) => {
                let is_later = |(key, _): &(&Position, &NameHistory)| after.is_none_or(|after| **key > after);
                let later = light.records().filter(is_later).take(max);
                Ok(later.map(|(key, history)| (*key, Some(history.clone()))).collect())
            }
            Kind::Real(real) => Ok(shelf::histories_after(&real.store()?, after, max)?),
        }
    }

    pub(super) fn renew_leases(&mut self, references: &[Reference], at: u64) -> Result<()> {
        match &mut self.0 {
            Kind::Light(light) => {
                references.iter().for_each(|reference| light.renew_lease(&reference.content, at));
                Ok(())
            }
            Kind::Real(real) => Ok(shelf::renew_leases(&real.store()?, references, at)?),
        }
    }

    pub(super) fn lapsed(&mut self, now: u64, terms: &LeaseTerms, max: usize) -> Result<Vec<ContentId>> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.lapsed(now, terms, max)),
            Kind::Real(real) => Ok(real.store()?.lapsed(now, terms.lapsed_before(now), max)?),
        }
    }

    pub(super) fn was_freed(&mut self, content: &ContentId) -> Result<bool> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.was_freed(content)),
            Kind::Real(real) => Ok(real.store()?.was_freed(content)?),
        }
    }

    pub(super) fn free_lapsed(&mut self, content: &ContentId, before: u64) -> Result<bool> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.free_lapsed(content, before)),
            Kind::Real(real) => Ok(real.store()?.free_lapsed(content, before)?),
        }
    }

    /// Marks an object as belonging here, if it is here; its lease stays as it is.
    fn keep(&mut self, content: &ContentId) -> Result<bool> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.keep(content)),
            Kind::Real(real) => Ok(real.store()?.promote(content)?),
        }
    }

    pub(super) fn look_at_offer(
        &mut self,
        objects: Vec<ContentId>,
        records: &[OfferedRecord],
    ) -> Result<OfferLook> {
        let mut presence = Vec::with_capacity(objects.len());
        for content in objects {
            // The peer that offers it counts on this copy.
            let here = self.contains(&content)? && self.keep(&content)?;
            presence.push((content, if here { Presence::Here } else { Presence::Lacking }));
        }
        let known = match &mut self.0 {
            Kind::Light(light) => {
                for (content, presence) in &mut presence {
                    if light.was_freed(content) {
                        *presence = Presence::Here;
                    }
                }
                let knows = |offered: &OfferedRecord| {
                    light.record(&offered.key).is_some_and(|history| history.knows(&offered.id))
                };
                records.iter().map(knows).collect()
            }
            Kind::Real(real) => {
                shelf::pass_over_freed(&real.store()?, &mut presence)?;
                shelf::known_records(&real.store()?, records)?
            }
        };
        Ok((presence, known))
    }

    /// Whether an object is here with the right bytes; it belongs here from now on.
    pub(super) fn vouch(&mut self, content: &ContentId) -> Result<bool> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.scrub(content).is_ok() && light.keep(content)),
            Kind::Real(real) => Ok(shelf::vouch(&real.store()?, content)?),
        }
    }

    pub(super) fn begin_freeing(&mut self, content: &ContentId) -> Option<Intention> {
        match &mut self.0 {
            Kind::Light(light) => light.begin_freeing(content).map(|may| Intention::Light(*content, may)),
            Kind::Real(real) => real.store().ok()?.begin_freeing(content).map(Intention::Store),
        }
    }

    pub(super) fn void_freeing(&mut self) {
        match &mut self.0 {
            Kind::Light(light) => light.void_freeing(),
            Kind::Real(real) => drop(real.store().map(|store| store.void_freeing())),
        }
    }

    /// Pins an object, or ends its pin. True if the object is here, or was pinned.
    pub(super) fn pin(&mut self, content: &ContentId, pinned: bool) -> Result<bool> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.pin(content, pinned)?),
            Kind::Real(real) => {
                let store = real.store()?;
                Ok(if pinned { store.pin(content)? } else { store.unpin(content)? })
            }
        }
    }

    pub(super) fn free(&mut self, intention: Intention, laws: Laws) -> Result<bool> {
        match (&mut self.0, intention) {
            (Kind::Light(light), Intention::Light(content, may)) => Ok(light.free(&content, &may, laws)?),
            (_, Intention::Store(freeing)) => Ok(freeing.free()?),
            (Kind::Real(_), Intention::Light(..)) => Ok(false),
        }
    }

    pub(super) fn copy(&mut self, content: &ContentId) -> Result<Option<CopyHere>> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.copy(content)),
            Kind::Real(real) => Ok(shelf::copy_here(&real.store()?, content)?),
        }
    }

    pub(super) fn copies_after(&mut self, after: Option<ContentId>) -> Result<Vec<CopyHere>> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.copies_after(after)),
            Kind::Real(real) => Ok(shelf::copies_after(&real.store()?, after)?),
        }
    }

    pub(super) fn mark_surplus(&mut self, marks: Vec<(ContentId, Option<u64>)>) -> Result<()> {
        match &mut self.0 {
            Kind::Light(light) => light.mark_surplus(marks),
            Kind::Real(real) => real.store()?.mark_surplus(marks)?,
        }
        Ok(())
    }

    /// The room for files; `None` while the disk cannot tell.
    pub(super) fn room(&mut self) -> Option<DiskRoom> {
        match &mut self.0 {
            Kind::Light(light) => Some(light.room()),
            Kind::Real(real) => {
                let store = real.store().ok()?;
                let (free_bytes, all_bytes) = store.free_and_all().ok()?;
                Some(DiskRoom { free_bytes, all_bytes, takes_writes: store.full_with().is_none() })
            }
        }
    }

    pub(super) fn is_short_of_room(&mut self) -> Result<bool> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.is_short_of_room()),
            Kind::Real(real) => Ok(real.store()?.space()?.is_short()),
        }
    }

    pub(super) fn holdings(&mut self) -> Result<Holdings> {
        match &mut self.0 {
            Kind::Light(light) => {
                let records = light.records();
                let records = records.map(|(key, history)| (*key, history.clone().into_records().collect()));
                Ok(Holdings { objects: light.object_ids(), records: records.collect() })
            }
            Kind::Real(real) => Ok(shelf::holdings(&real.store()?)?),
        }
    }

    /// Drops what has rotted, if reads are checked: before a round of repair a peer looks at its files.
    pub(super) fn look_at_files(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::Light(light) => light.look_at_objects(),
            Kind::Real(real) => real.look_at_files()?,
        }
        Ok(())
    }

    pub(super) fn promise(&mut self, range: &KeyRange) {
        match &mut self.0 {
            Kind::Light(light) => light.promised_in(range),
            Kind::Real(real) => {
                // A process that is about to end frees nothing.
                if let Ok(store) = real.store() {
                    store.vouch_for(range);
                }
            }
        }
    }

    pub(super) fn first_held(&mut self, from: &Position) -> Result<Option<Position>> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.first_held(from)),
            Kind::Real(real) => Ok(real.store()?.first_held(from)?),
        }
    }

    pub(super) fn digest(&mut self, range: &KeyRange) -> Result<SetDigest> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.digest(range)),
            Kind::Real(real) => Ok(real.store()?.digest(range)?),
        }
    }

    pub(super) fn held(&mut self, range: &KeyRange, max: usize) -> Result<HeldPage> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.held(range, max)),
            Kind::Real(real) => Ok(shelf::held(&real.store()?, range, max)?),
        }
    }

    /// Reads a whole object; drops it if it has rotted.
    pub(super) fn scrub(&mut self, content: ContentId) -> Result<()> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.scrub(&content)?),
            Kind::Real(real) => Ok(shelf::look_at_own(&real.store()?, content)?),
        }
    }

    pub(super) fn update_records<T>(
        &mut self,
        changes: Vec<HistoryChange<T>>,
    ) -> Vec<std::result::Result<T, MissingReason>> {
        match &mut self.0 {
            Kind::Light(light) => {
                let update = |HistoryChange { key, change, .. }: HistoryChange<T>| {
                    let changed = light.update_record(key, |history| change(history).1);
                    changed.map_err(|error| error.missing_reason())
                };
                changes.into_iter().map(update).collect()
            }
            Kind::Real(real) => match real.store() {
                Ok(store) => shelf::change_histories(&store, changes),
                Err(error) => changes.iter().map(|_| Err(error.missing_reason())).collect(),
            },
        }
    }

    /// The history of one name, as its process reads it.
    pub(super) fn history(&self, key: &Position) -> std::result::Result<NameHistory, String> {
        match &self.0 {
            Kind::Light(light) => Ok(light.record(key).cloned().unwrap_or_default()),
            Kind::Real(real) => {
                let store = real.store().map_err(|error| error.to_string())?;
                shelf::history(&store, key)
            }
        }
    }

    /// When this peer was last active in its ring, in milliseconds since the Unix epoch, as far as the disk says.
    pub(super) fn active_ms(&self) -> Option<u64> {
        match &self.0 {
            Kind::Light(light) => light.active_ms(),
            // A disk without power says nothing, and its process ends.
            Kind::Real(real) => shelf::active_ms(&real.store().ok()?).ok()?,
        }
    }

    pub(super) fn note_active(&mut self, now_ms: u64) -> Result<()> {
        match &mut self.0 {
            Kind::Light(light) => light.note_active(now_ms),
            Kind::Real(real) => real.store()?.note_active(now_ms)?,
        }
        Ok(())
    }

    pub(super) fn dropped_ms(&mut self) -> Result<u64> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.dropped_ms()),
            Kind::Real(real) => Ok(real.store()?.dropped_ms()?),
        }
    }

    pub(super) fn note_dropped(&mut self, up_to_ms: u64, now_ms: u64, slack_ms: u64) -> Result<()> {
        match &mut self.0 {
            Kind::Light(light) => light.note_dropped(up_to_ms, now_ms),
            Kind::Real(real) => shelf::note_dropped(&real.store()?, up_to_ms, now_ms, slack_ms)?,
        }
        Ok(())
    }

    /// Puts an object here that is present from the beginning.
    pub(super) fn put_object(&mut self, info: ObjectInfo, text: Option<&[u8]>) {
        match (&mut self.0, text) {
            (Kind::Light(light), _) => light.put_object(info),
            (Kind::Real(real), Some(text)) => real.put_object(&info, text),
            (Kind::Real(_), None) => panic!("a real store keeps bytes"),
        }
    }

    /// Like [`Disk::put_object`], for a record.
    pub(super) fn put_record(&mut self, key: Position, history: Arc<NameHistory>) {
        match &mut self.0 {
            Kind::Light(light) => light.put_record(key, history),
            Kind::Real(real) => real.put_record(key, &history),
        }
    }
}
