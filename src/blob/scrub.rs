//! Scrubbing: objects are read and hashed again, one chunk at a time, so that the reader may pause between two chunks.
//!
//! A scrub does not join the hash of another thread, and no thread waits for it: a slow scrub of a long object must not
//! hold up a request for it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::change::Change;
use super::check::Judgement;
use super::disk::{DiskFile, Stamp, read_full_at};
use super::error::{BlobError, IoContext, Result};
use super::store::Store;
use super::tables::Kind;
use super::verified;
use crate::id::ContentId;
use crate::outboard::{CHUNK_BYTES, ChunkHasher};
use crate::wire::ObjectInfo;

/// One object that is read and hashed again.
pub struct Scrub {
    store: Store,
    content: ContentId,
    opened: Option<Opened>,
}

struct Opened {
    info: ObjectInfo,
    kind: Kind,
    file: Box<dyn DiskFile>,
    stamp: Stamp,
    hasher: ChunkHasher,
}

/// The outcome of one step of a [`Scrub`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubStep {
    /// The step read this many bytes, and more steps follow.
    Read(u64),
    /// The object is sound. It counts as verified now.
    Sound,
    /// The object was bad, and is in quarantine.
    Quarantined(ObjectInfo, Kind),
    /// The object is not here any more.
    Gone,
}

/// An object, and when it was last verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aged {
    /// The content id of the object.
    pub content: ContentId,
    /// The length of the object in bytes.
    pub length: u64,
    /// The time of its last verification in milliseconds since the Unix epoch; `None` if it was not verified yet.
    pub verified_ms: Option<u64>,
}

impl Scrub {
    /// A scrub of this object. Nothing is read yet.
    pub fn new(store: &Store, content: ContentId) -> Scrub {
        Scrub { store: store.clone(), content, opened: None }
    }

    /// Reads and hashes the next chunk. The last step decides about the object; an object of up to one chunk takes one
    /// step.
    ///
    /// # Errors
    /// An error of the index or of the disk; the object stays where it is. Bytes that the medium cannot read are no
    /// error: the object goes to quarantine.
    pub fn step(&mut self) -> Result<ScrubStep> {
        if self.opened.is_none() {
            match self.open()? {
                Some(ended) => return Ok(ended),
                None if self.opened.is_none() => return Ok(ScrubStep::Gone),
                None => {}
            }
        }
        let Some(opened) = &mut self.opened else { return Ok(ScrubStep::Gone) };
        let mut chunk = vec![0; CHUNK_BYTES as usize];
        let path = self.store.layout().object(&self.content);
        let read = match read_full_at(&*opened.file, &mut chunk, opened.hasher.offset()).during("read", &path)
        {
            Ok(read) => read,
            Err(error) => return self.judge(Some(error)),
        };
        opened.hasher.update(&chunk[..read]);
        // A file that has grown is read on, so that its hash differs.
        let may_end = read < chunk.len() || opened.hasher.offset() == opened.info.length;
        if may_end && opened.file.stamp().during("read", &path)?.length <= opened.hasher.offset() {
            return self.judge(None);
        }
        Ok(ScrubStep::Read(read as u64))
    }

    /// Opens the object's file. Returns the end of the scrub if there is nothing to be read.
    fn open(&mut self) -> Result<Option<ScrubStep>> {
        let Some((info, kind)) = self.store.index().object(&self.content)? else { return Ok(None) };
        let file = match self.store.open_object(&self.content) {
            Err(BlobError::NotHere { .. }) => return Ok(None),
            Err(BlobError::Rotten { .. }) => return Ok(Some(ScrubStep::Quarantined(info, kind))),
            opened => opened?,
        };
        let stamp = file.stamp().during("read", &self.store.layout().object(&self.content))?;
        self.opened = Some(Opened { info, kind, file, stamp, hasher: ChunkHasher::default() });
        Ok(None)
    }

    /// Decides about the object after its last byte, or after a read that failed.
    fn judge(&mut self, failed: Option<BlobError>) -> Result<ScrubStep> {
        let Some(Opened { info, kind, file, stamp, hasher }) = self.opened.take() else {
            return Ok(ScrubStep::Gone);
        };
        let hashed = failed.map_or_else(|| Ok(hasher.finish()), Err);
        Ok(match self.store.judge(&info, &*file, &stamp, hashed)? {
            // The file that took the place of a bad one was hashed on its way in.
            Judgement::Sound(_) | Judgement::Replaced => ScrubStep::Sound,
            Judgement::Bad => ScrubStep::Quarantined(info, kind),
        })
    }
}

impl Store {
    /// The time of the last verification of an object that is here, in milliseconds since the Unix epoch: 0 if it was
    /// not verified yet. `None` if the object is not here.
    pub fn verified_at(&self, content: &ContentId) -> Result<Option<u64>> {
        let written = self.index().read(|tables| verified::at(tables, content))?;
        Ok(written.map(|written| self.gathered().at(content).unwrap_or(written)))
    }

    /// The object that was verified longest ago, or not at all; `except` are passed over.
    pub fn least_lately_verified(&self, except: &BTreeSet<ContentId>) -> Result<Option<Aged>> {
        self.first_of(except, verified::oldest, |rows| rows.into_iter().min())
    }

    /// The object whose verification has the latest time; `except` are passed over. The time lies in the future after
    /// the clock was set back.
    pub fn latest_verified(&self, except: &BTreeSet<ContentId>) -> Result<Option<Aged>> {
        self.first_of(except, verified::latest, |rows| rows.into_iter().max())
    }

    /// The first object in an order of the index, in which the verifications that are not there yet have their place.
    fn first_of(
        &self,
        except: &BTreeSet<ContentId>,
        read: impl Fn(&redb::ReadTransaction, usize) -> std::result::Result<Vec<verified::Row>, redb::Error>,
        first: impl Fn(Vec<(u64, ContentId)>) -> Option<(u64, ContentId)>,
    ) -> Result<Option<Aged>> {
        let gathered = self.gathered().all();
        let rows = self.index().read(|tables| read(tables, gathered.len() + except.len() + 1))?;
        let written = rows.into_iter().filter(|(content, _)| !gathered.contains_key(content));
        let all = written.chain(gathered.iter().map(|(content, at_ms)| (*content, *at_ms)));
        let mut candidates: Vec<(u64, ContentId)> = all
            .filter(|(content, _)| !except.contains(content))
            .map(|(content, at_ms)| (at_ms, content))
            .collect();
        while let Some((at_ms, content)) = first(candidates.clone()) {
            if let Some(info) = self.info(&content)? {
                let verified_ms = Some(at_ms).filter(|at_ms| *at_ms != verified::NEVER);
                return Ok(Some(Aged { content, length: info.length, verified_ms }));
            }
            // It was forgotten after it was gathered.
            candidates.retain(|(_, other)| *other != content);
        }
        Ok(None)
    }

    /// Notes that an object was hashed and is sound. The note reaches the index with others, or by
    /// [`Store::write_verified`].
    pub(super) fn note_verified(&self, content: ContentId) {
        let rows = self.gathered().add(content, self.wall_ms().max(verified::NEVER + 1), self.now());
        if let Err(error) = self.submit_verified(rows) {
            tracing::debug!(%error, "verifications are not in the index; these objects are verified again");
        }
    }

    /// Writes the verifications that are not in the index yet.
    ///
    /// # Errors
    /// The errors of the index; the objects are then verified again.
    pub fn write_verified(&self) -> Result<()> {
        self.submit_verified(self.gathered().take(self.now(), Duration::ZERO))
    }

    /// Like [`Store::write_verified`], if the first of them waits for ten minutes.
    ///
    /// # Errors
    /// The errors of [`Store::write_verified`].
    pub fn tidy_verified(&self) -> Result<()> {
        self.submit_verified(self.gathered().take(self.now(), GATHERED_FOR))
    }

    fn submit_verified(&self, rows: Vec<verified::Row>) -> Result<()> {
        if rows.is_empty() { Ok(()) } else { self.index().submit([Change::Verified(rows)]) }
    }
}

/// How long a verification waits for others, to be written with them.
const GATHERED_FOR: Duration = Duration::from_secs(600);
