//! The disk of one peer, of one of two kinds. A light one keeps of an object its length alone, and serves worlds of any
//! size. In a small world it can be a real [`Store`](crate::blob::Store), index and outboards included, on a disk in
//! memory that loses what was not synced.

use std::borrow::Cow;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::light::{DiskFailure, Light};
use super::real::Real;
use crate::blob::BlobError;
use crate::files::{DiskError, DiskFault, Laws, OfferLook};
use crate::id::{ContentId, Position};
use crate::names::NameHistory;
use crate::outboard::Outboard;
use crate::replica::{Holdings, Presence};
use crate::shelf;
use crate::time::Moment;
use crate::wire::{Link, MissingReason, ObjectInfo, OfferedRecord};

/// What a peer keeps, and how its disk is.
pub struct Disk(pub(super) Kind);

pub(super) enum Kind {
    Light(Light),
    Real(Real),
}

/// Why a disk does not do something.
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

/// What there is to see, and faults from outside.
impl Disk {
    /// The objects here, complete, and whether their bytes are the right ones.
    pub fn objects(&self) -> Vec<(ContentId, bool)> {
        match &self.0 {
            Kind::Light(light) => light.objects().map(|(content, sound)| (*content, sound)).collect(),
            Kind::Real(real) => real.objects(),
        }
    }

    /// Whether an object is here, complete, its bytes as they should be.
    pub fn holds(&self, content: &ContentId) -> bool {
        match &self.0 {
            Kind::Light(light) => light.holds(content),
            Kind::Real(real) => real.holds(content),
        }
    }

    /// Whether an object is here, its bytes right or not.
    pub fn has(&self, content: &ContentId) -> bool {
        match &self.0 {
            Kind::Light(light) => light.has(content),
            Kind::Real(real) => real.has(content),
        }
    }

    /// The keys of the names of which something is kept here.
    pub fn record_keys(&self) -> Vec<Position> {
        match &self.0 {
            Kind::Light(light) => light.records().map(|(key, _)| *key).collect(),
            Kind::Real(real) => real.record_keys(),
        }
    }

    /// What is kept of one name. A real store is asked while its process runs only.
    pub fn record(&self, key: &Position) -> Option<Cow<'_, NameHistory>> {
        match &self.0 {
            Kind::Light(light) => light.record(key).map(Cow::Borrowed),
            Kind::Real(real) => real.record(key).map(Cow::Owned),
        }
    }

    /// How many bytes of a partial transfer are here.
    pub fn part(&self, content: &ContentId) -> Option<u64> {
        match &self.0 {
            Kind::Light(light) => light.part(content),
            Kind::Real(real) => real.part(content),
        }
    }

    /// An object's bytes change where they lie, if it is here.
    pub fn rot(&mut self, content: &ContentId) {
        match &mut self.0 {
            Kind::Light(light) => light.rot(content),
            Kind::Real(real) => real.rot(content),
        }
    }

    /// A bit of a partial transfer on a real disk changes where it lies. Whether there was one.
    pub fn spoil_part(&mut self, content: &ContentId) -> bool {
        match &mut self.0 {
            Kind::Light(_) => false,
            Kind::Real(real) => real.spoil_part(content),
        }
    }

    /// Everything on it is gone, as with a new disk. No process runs meanwhile.
    pub fn lose(&mut self) {
        match &mut self.0 {
            Kind::Light(light) => light.lose(),
            Kind::Real(real) => real.lose(),
        }
    }

    /// From now on objects have so much room on it, in bytes; those that are here take a part of it.
    pub fn set_capacity(&mut self, bytes: u64) {
        match &mut self.0 {
            Kind::Light(light) => light.capacity_bytes = bytes,
            Kind::Real(real) => real.set_capacity(bytes),
        }
    }

    /// From now on an object that is asked for is checked first, and a rotten one goes: as if the slow reading of all
    /// objects had just passed by. (A running peer has no such schedule yet.)
    pub fn check_reads(&mut self) {
        match &mut self.0 {
            Kind::Light(light) => light.checks_reads = true,
            Kind::Real(real) => real.checks_reads = true,
        }
    }

    /// The next sync fails.
    pub fn fail_next_sync(&mut self) {
        match &mut self.0 {
            Kind::Light(light) => light.fail_next_sync(),
            Kind::Real(real) => real.memory.fail_next_sync(),
        }
    }

    /// A person makes room again, and lets syncs succeed. Whether one had failed, so that the process has to start
    /// anew.
    pub fn mend(&mut self) -> bool {
        match &mut self.0 {
            Kind::Light(light) => light.mend(),
            Kind::Real(real) => real.mend(),
        }
    }

    /// How often a real disk was called so far; a light one does not count.
    pub fn calls(&self) -> u64 {
        match &self.0 {
            Kind::Light(_) => 0,
            Kind::Real(real) => real.memory.calls(),
        }
    }

    /// A real disk loses power, and its process with it, instead of its n-th call from now on.
    pub fn die_before_call(&mut self, n: u64) {
        if let Kind::Real(real) = &mut self.0 {
            real.memory.die_before_call(n);
        }
    }
}

/// What a process does with it.
impl Disk {
    pub(super) fn set_time(&mut self, now: Moment, unix_ms: u64) {
        if let Kind::Real(real) = &mut self.0 {
            real.set_time(now, unix_ms);
        }
    }

    /// A process begins.
    pub(super) fn open(&mut self) {
        if let Kind::Real(real) = &mut self.0 {
            real.open();
        }
    }

    /// A process has ended in good order.
    pub(super) fn close(&mut self) {
        if let Kind::Real(real) = &mut self.0 {
            real.close();
        }
    }

    /// The process ends without notice.
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
                Ok(info.map(|object| (object, super::bytes::outboard_of(content, object.length))))
            }
            Kind::Real(real) => {
                let store = real.store()?;
                Ok(store.info(content)?.zip(store.outboard(content)?))
            }
        }
    }

    pub(super) fn info_and_links(&mut self, content: ContentId) -> Result<(ObjectInfo, Vec<Link>)> {
        match &mut self.0 {
            // There are no links on a light disk.
            Kind::Light(light) => Ok((light.info(&content).ok_or(DiskFailure::NotHere)?, Vec::new())),
            Kind::Real(real) => Ok(shelf::info_and_links(&real.store()?, content)?),
        }
    }

    pub(super) fn keep_linked(&mut self, content: ContentId, links: &[Link]) -> Result<()> {
        match &mut self.0 {
            Kind::Light(_) => Ok(()),
            Kind::Real(real) => Ok(shelf::keep_linked(&real.store()?, content, links)?),
        }
    }

    pub(super) fn look_at_offer(
        &mut self,
        objects: Vec<ContentId>,
        records: &[OfferedRecord],
    ) -> Result<OfferLook> {
        let mut presence = Vec::with_capacity(objects.len());
        for content in objects {
            let here = self.contains(&content)?;
            presence.push((content, if here { Presence::Here } else { Presence::Lacking }));
        }
        let known = match &mut self.0 {
            Kind::Light(light) => {
                let knows = |offered: &OfferedRecord| {
                    light.record(&offered.key).is_some_and(|history| history.knows(&offered.id))
                };
                records.iter().map(knows).collect()
            }
            Kind::Real(real) => shelf::known_records(&real.store()?, records)?,
        };
        Ok((presence, known))
    }

    pub(super) fn holdings(&mut self) -> Result<Holdings> {
        match &mut self.0 {
            Kind::Light(light) => {
                let records = light.records().map(|(key, history)| {
                    let past = history.past.iter().map(|past| past.record.clone());
                    (*key, history.current.iter().cloned().chain(past).collect())
                });
                Ok(Holdings { objects: light.object_ids(), records: records.collect() })
            }
            Kind::Real(real) => Ok(shelf::holdings(&real.store()?)?),
        }
    }

    /// Reads an object whole. One that has rotted goes.
    pub(super) fn scrub(&mut self, content: ContentId) -> Result<()> {
        match &mut self.0 {
            Kind::Light(light) => Ok(light.scrub(&content)?),
            Kind::Real(real) => Ok(shelf::look_at_own(&real.store()?, content)?),
        }
    }

    pub(super) fn update_record<T>(
        &mut self,
        key: Position,
        change: impl FnOnce(&mut NameHistory) -> (bool, T),
    ) -> std::result::Result<T, MissingReason> {
        match &mut self.0 {
            Kind::Light(light) => {
                let changed = light.update_record(key, |history| change(history).1);
                changed.map_err(|error| error.missing_reason())
            }
            Kind::Real(real) => {
                let store = real.store().map_err(|error| error.missing_reason())?;
                shelf::change_history(&store, key, change)
            }
        }
    }

    /// Puts an object here that is there from the beginning.
    pub(super) fn put_object(&mut self, info: ObjectInfo, text: Option<&[u8]>) {
        match (&mut self.0, text) {
            (Kind::Light(light), _) => light.put_object(info),
            (Kind::Real(real), Some(text)) => real.put_object(&info, text),
            (Kind::Real(_), None) => panic!("a real store keeps bytes"),
        }
    }

    /// As [`Disk::put_object`], of a record.
    pub(super) fn put_record(&mut self, key: Position, history: Arc<NameHistory>) {
        match &mut self.0 {
            Kind::Light(light) => light.put_record(key, history),
            Kind::Real(real) => real.put_record(key, &history),
        }
    }
}
