//! The objects that are only a cache, the pinned ones, and the account of all bytes.
//!
//! A requested object is a cache: nobody counts it as a copy, so it may go at any time. The least recently used one goes
//! first, where room is needed or a limit is exceeded. A use is a read or a copy to received/. Uses are kept in memory,
//! and written to the index now and then, many in one commit; a crash forgets the last of them, which costs no more than
//! a worse choice. (The file system's own times of access do not serve: most file systems are mounted without them.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::change::Change;
use super::error::Result;
use super::store::Store;
use super::tables::Kind;
use crate::id::ContentId;
use crate::time::millis;
use crate::wire::{Amount, ObjectInfo, SpaceReport};

/// An object here, and all that decides how long it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// The content id, length and outboard digest of the object.
    pub object: ObjectInfo,
    /// Why the object is here.
    pub kind: Kind,
    /// Whether a person pinned it.
    pub pinned: bool,
    /// Since when the copy has been one too many in the ring, in milliseconds since the Unix epoch, if that was noted.
    pub surplus_since_ms: Option<u64>,
}

impl Store {
    /// An object that is here, and all that decides how long it stays.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn kept_copy(&self, content: &ContentId) -> Result<Option<Copy>> {
        self.index().object(content)?.map(|row| self.copy_of(row)).transpose()
    }

    /// Like [`Store::kept_copy`], for at most `max` objects in the order of their content ids, after this one.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn copies_after(&self, after: Option<ContentId>, max: usize) -> Result<Vec<Copy>> {
        self.index().objects_after(after, max)?.into_iter().map(|row| self.copy_of(row)).collect()
    }

    fn copy_of(&self, (object, kind): (ObjectInfo, Kind)) -> Result<Copy> {
        let content = &object.content;
        let (pinned, surplus_since_ms) = (self.is_pinned(content)?, self.index().surplus_since(content)?);
        Ok(Copy { object, kind, pinned, surplus_since_ms })
    }

    /// Notes since when copies have been one too many, or, with `None`, that they are not; in one commit.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn mark_surplus(&self, marks: Vec<(ContentId, Option<u64>)>) -> Result<()> {
        self.index().submit(marks.into_iter().map(|(content, since)| Change::Surplus(content, since)))
    }

    /// Pins an object that is here: it stays, whether a name stands for it or not, until it is unpinned. Durable on
    /// return; true if the object is here.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn pin(&self, content: &ContentId) -> Result<bool> {
        let _lock = self.object_locks().lock(&content.0);
        if self.index().object(content)?.is_none() {
            return Ok(false);
        }
        self.index().submit([Change::Pin(*content, true)])?;
        Ok(true)
    }

    /// Ends the pin of an object. True if it was pinned.
    ///
    /// # Errors
    /// The errors of [`Store::pin`].
    pub fn unpin(&self, content: &ContentId) -> Result<bool> {
        let was_pinned = self.is_pinned(content)?;
        if was_pinned {
            self.index().submit([Change::Pin(*content, false)])?;
        }
        Ok(was_pinned)
    }

    /// Whether an object is pinned.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn is_pinned(&self, content: &ContentId) -> Result<bool> {
        self.index().is_pinned(content)
    }

    /// Evicts cached objects as far as a limit is exceeded. Returns the number of freed bytes.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`](super::BlobError::Poisoned), or the errors of the index and of the disk.
    pub fn trim(&self) -> Result<u64> {
        let excess = self.limits().excess(self.room().as_ref(), self.totals()?.1);
        if excess == 0 { Ok(0) } else { self.evict(excess) }
    }

    /// Evicts cached objects, the least recently used first, until so many bytes are freed or none is left. Returns the
    /// number of freed bytes.
    pub(super) fn evict(&self, bytes: u64) -> Result<u64> {
        let mut freed = 0;
        while freed < bytes {
            let before = freed;
            for (content, length) in self.index().least_used(EVICTED_AT_ONCE, |one| self.uses().last(one))? {
                if freed < bytes && self.discard(&content, |row| row.kind == Kind::Requested)? {
                    tracing::debug!(%content, length, "evicted from the cache");
                    self.uses().evicted(&content);
                    freed += length.max(1);
                }
            }
            if freed == before {
                break;
            }
        }
        Ok(freed)
    }

    /// Takes the objects that were evicted since the last call, at most a few thousand: other peers may believe that they
    /// are here.
    pub fn take_evicted(&self) -> Vec<ContentId> {
        self.uses().take_evicted()
    }

    /// Notes that an object is used now, for the order in which the cache is evicted.
    pub(super) fn used(&self, content: &ContentId) {
        self.uses().used(content, self.wall_ms());
    }

    /// Writes the last uses of cached objects to the index, in one commit.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn write_uses(&self) -> Result<()> {
        let uses = self.uses().take_last();
        if uses.is_empty() { Ok(()) } else { self.index().submit([Change::Used(uses)]) }
    }

    /// The account of all bytes here. It does not look for files that no name refers to any more.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn space(&self) -> Result<SpaceReport> {
        let (objects, bytes) = self.totals()?;
        let (cached_objects, cached_bytes) = self.index().cached_totals()?;
        let (cached, pinned) = (Amount { files: cached_objects, bytes: cached_bytes }, self.pinned_only()?);
        let (room, limits) = (self.room(), *self.limits());
        Ok(SpaceReport {
            capacity: limits.capacity,
            reserve: room.map_or(limits.reserve.unwrap_or(0), |room| room.reserve(&limits)),
            replicas: Amount {
                files: objects.saturating_sub(cached.files + pinned.files),
                bytes: bytes.saturating_sub(cached.bytes.saturating_add(pinned.bytes)),
            },
            cached,
            pinned,
            free: self.free_for_objects(room)?,
            excess: limits.excess(room.as_ref(), bytes),
            going: Amount::default(),
            going_from_ms: None,
        })
    }

    /// The bytes that further objects may take, the cache counted as room, and the bytes that all objects together may.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn free_and_all(&self) -> Result<(u64, u64)> {
        let (_, bytes) = self.totals()?;
        let (_, cached) = self.index().cached_totals()?;
        let free = self.free_for_objects(self.room())?.saturating_add(cached);
        Ok((free, free.saturating_add(bytes.saturating_sub(cached))))
    }

    /// The objects that are here only because they are pinned.
    fn pinned_only(&self) -> Result<Amount> {
        let (mut amount, mut after) = (Amount::default(), None);
        loop {
            let page = self.index().pinned_after(after, PINS_PER_READ)?;
            let Some(last) = page.last() else { return Ok(amount) };
            after = Some(*last);
            for content in page {
                if let Some((info, Kind::Requested)) = self.index().object(&content)? {
                    amount.add(info.length);
                }
            }
        }
    }

    /// Milliseconds since the Unix epoch, by the clock that stamps files.
    pub fn wall_ms(&self) -> u64 {
        let since = self.layout().disk.wall_clock().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, millis)
    }

    /// Whether this peer means to free any copy.
    pub fn is_freeing(&self) -> bool {
        self.uses().is_freeing()
    }

    /// Makes all intentions to free a copy void, since another peer is told of what is here. Copies that were being freed
    /// are gone on return.
    pub fn void_freeing(&self) {
        for content in self.uses().all_promised() {
            // A thread that frees it holds the lock until the index knows.
            drop(self.object_locks().lock(&content.0));
        }
    }

    /// Means to free the copy of an object, for which another peer has to be asked first. `None` if another thread means
    /// to already.
    pub fn begin_freeing(&self, content: &ContentId) -> Option<Freeing> {
        let may = self.uses().begin_freeing(content)?;
        Some(Freeing { store: self.clone(), content: *content, may })
    }
}

/// The intention to free the copy of an object. It is void once this peer has told another peer of its copy, or has
/// received it anew: that peer counts on it from then on.
pub struct Freeing {
    store: Store,
    content: ContentId,
    may: Arc<AtomicBool>,
}

impl Freeing {
    /// Frees the copy, unless the intention is void, the object is pinned, or a reader has it open. Durable on return;
    /// true if the copy was freed.
    ///
    /// # Errors
    /// The errors of [`Store::discard`].
    pub fn free(&self) -> Result<bool> {
        let may = self.may.clone();
        self.store.discard(&self.content, move |_| may.load(Ordering::SeqCst))
    }
}

impl Drop for Freeing {
    fn drop(&mut self) {
        self.store.uses().end_freeing(&self.content, &self.may);
    }
}

/// The number of cached objects that are chosen at a time.
const EVICTED_AT_ONCE: usize = 64;
/// The number of pins that are read at a time.
const PINS_PER_READ: usize = 1_000;
