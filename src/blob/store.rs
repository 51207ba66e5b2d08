//! The store of one data directory: its parts, and reading what is in it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::buffers::Buffer;
use super::bulk::Cache;
use super::change::Change;
use super::checks::Checks;
use super::claim::Receiving;
use super::disk::{DiskFile, Stamp, read_full_cached_at};
use super::error::{BlobError, IoContext, Result, is_unreadable, unreadable};
use super::holders::Holders;
use super::index::Index;
use super::journal::Journal;
use super::layout::Layout;
use super::notice::{Notice, Notices};
use super::promises::Promises;
use super::repeats::Repeats;
use super::room::Limits;
use super::source::Source;
use super::stripes::Stripes;
use super::tables::{Kind, NAMES_LISTED_MAX};
use super::twin::Twins;
use super::uses::{Reading, Uses};
use super::verified::Gathered;
use crate::id::ContentId;
use crate::outboard::{CHUNK_BYTES, Outboard, verify_chunk};
use crate::time::Moment;
use crate::wire::{FileEntry, ObjectInfo, limits};

/// The files of one peer. Clones share one state; all methods block and may be called from any thread.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    index: Index,
    layout: Arc<Layout>,
    receiving: Arc<Receiving>,
    promises: Promises,
    limits: Mutex<Limits>,
    holders: Holders,
    record_locks: Stripes,
    link_locks: Stripes,
    object_locks: Stripes,
    checks: Checks,
    /// The large objects that were read lately.
    repeats: Repeats,
    /// The copies for people that are written together with an object.
    twins: Twins,
    uses: Arc<Uses>,
    /// The discarded objects whose files are gone, and of which the index still has a note.
    swept: Mutex<Vec<ContentId>>,
    notices: Notices,
    /// Whether a full disk left a part of [`rebuild::settle`](super::rebuild::settle) undone. Locked while that part is done.
    unsettled: Mutex<bool>,
    /// Locked while the log of records is made shorter.
    base: Mutex<()>,
    journal: Journal,
    /// Locked while the journal is settled.
    settling: Mutex<()>,
    /// Verifications that are not in the index yet.
    gathered: Gathered,
    /// The number of chunks after which a transfer syncs and marks them.
    checkpoint: AtomicU64,
}

impl Store {
    /// A store on an open index. [`Store::open`] makes index and folders agree.
    pub(super) fn new(index: Index, journal: Journal, layout: Arc<Layout>) -> Store {
        let shared = Shared {
            settling: Mutex::default(),
            journal,
            index,
            layout,
            receiving: Arc::default(),
            promises: Promises::default(),
            limits: Mutex::default(),
            holders: Holders::default(),
            record_locks: Stripes::default(),
            link_locks: Stripes::default(),
            object_locks: Stripes::default(),
            checks: Checks::default(),
            repeats: Repeats::default(),
            twins: Twins::default(),
            uses: Arc::default(),
            swept: Mutex::default(),
            notices: Notices::default(),
            unsettled: Mutex::default(),
            base: Mutex::default(),
            gathered: Gathered::default(),
            checkpoint: AtomicU64::new(CHECKPOINT_CHUNKS),
        };
        Store { shared: Arc::new(shared) }
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.layout().root
    }

    /// Syncs and marks the chunks of transfers whenever so many have come, at least one. After a kill, a transfer goes on
    /// from its marked chunks without hashing them again; fewer chunks cost more syncs. 32 at first.
    pub fn checkpoint_every(&self, chunks: u64) {
        self.shared.checkpoint.store(chunks.max(1), Ordering::Relaxed);
    }

    pub(super) fn checkpoint_chunks(&self) -> u64 {
        self.shared.checkpoint.load(Ordering::Relaxed)
    }

    /// Whether nothing is written any more after a failed sync.
    pub fn is_poisoned(&self) -> bool {
        self.layout().check().is_err()
    }

    /// Hashes a user's file once, from its beginning to its end. `on_progress` is told the number of bytes of each
    /// piece. To send the same bytes afterwards, keep a [`Source`] and use its methods.
    ///
    /// # Errors
    /// [`BlobError::Changed`] when the file was written to meanwhile, [`BlobError::NotAFile`] for anything but a
    /// regular file, [`BlobError::Io`] when it cannot be read.
    pub fn hash_file(&self, path: &Path, on_progress: &mut dyn FnMut(u64)) -> Result<(ObjectInfo, Outboard)> {
        Source::open(path)?.hash(on_progress)
    }

    /// The length and outboard digest of an object that is here, complete.
    pub fn info(&self, content: &ContentId) -> Result<Option<ObjectInfo>> {
        Ok(self.index().object(content)?.map(|(info, _)| info))
    }

    /// Why an object is here; `None` if it is not.
    pub fn kind(&self, content: &ContentId) -> Result<Option<Kind>> {
        Ok(self.index().object(content)?.map(|(_, kind)| kind))
    }

    /// Opens an object for reading from a byte on. Each chunk is checked before any of its bytes is returned, unless
    /// the object was hashed within the last hour and its file has not changed since; if the file changes later, it is
    /// checked from then on.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], [`BlobError::PastEnd`], or the errors of the disk.
    pub fn read(&self, content: &ContentId, offset: u64) -> Result<ObjectReader> {
        let here = self.contains(content)?;
        let found = self.index().object(content)?.filter(|_| here);
        let (info, kind) = found.ok_or(BlobError::NotHere { content: *content })?;
        if offset > info.length {
            return Err(BlobError::PastEnd { content: *content, length: info.length, offset });
        }
        if kind == Kind::Requested {
            self.used(content);
        }
        let reading = Reading::begin(self.shared.uses.clone(), *content);
        let file = self.open_object(content)?;
        let opened = file.stamp().during("read", &self.layout().object(content))?;
        let outboard = match self.checks().trusts(content, &opened, self.now()) {
            true => None,
            false => Some(self.outboard(content)?.ok_or(BlobError::NotHere { content: *content })?),
        };
        let cache = match Cache::for_length(info.length) {
            Cache::Bypass if self.shared.repeats.is_repeated(content, self.now()) => Cache::Keep,
            cache => cache,
        };
        let store = self.clone();
        Ok(ObjectReader {
            store,
            cache,
            file,
            opened,
            info,
            offset,
            outboard,
            ready: Bytes::new(),
            _reading: reading,
        })
    }

    pub(super) fn unsettled(&self) -> MutexGuard<'_, bool> {
        self.shared.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn base_lock(&self) -> MutexGuard<'_, ()> {
        self.shared.base.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    pub(super) fn settling(&self) -> MutexGuard<'_, ()> {
        self.shared.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gathered(&self) -> &Gathered {
        &self.shared.gathered
    }

    /// The number of free bytes on a disk that is too full for a commit to the index; `None` on any other disk.
    pub fn full_with(&self) -> Option<u64> {
        self.index().full_with()
    }

    /// Keeps an object that is here as a replica, since another peer counts on it from now on: an intention to free it
    /// is void. True if the object is here.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`], or the errors of the index.
    pub fn promote(&self, content: &ContentId) -> Result<bool> {
        // No other thread discards it meanwhile.
        let _lock = self.object_locks().lock(&content.0);
        self.uses().promised(content);
        match self.index().object(content)? {
            None => Ok(false),
            Some((_, Kind::Replica)) => Ok(true),
            Some((info, Kind::Requested)) => {
                self.index().submit([Change::Object(info, Kind::Replica)])?;
                Ok(true)
            }
        }
    }

    /// At most `max` objects in the order of their content ids, after this one, each with at most
    /// [`limits::LINKS_PER_OBJECT_MAX`] of its names.
    pub fn objects_after(&self, after: Option<ContentId>, max: usize) -> Result<Vec<FileEntry>> {
        let objects = self.index().objects_after(after, max)?;
        let entry = |(object, _): (ObjectInfo, Kind)| {
            let links = self.index().names_of(&object.content, NAMES_LISTED_MAX)?;
            let pinned = self.index().is_pinned(&object.content)?;
            Ok(FileEntry { object, names: links.into_iter().map(|link| link.name).collect(), pinned })
        };
        objects.into_iter().map(entry).collect()
    }

    /// At most `max` objects in the order of their content ids, after this one, without names.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn infos_after(&self, after: Option<ContentId>, max: usize) -> Result<Vec<ObjectInfo>> {
        Ok(self.index().objects_after(after, max)?.into_iter().map(|(info, _)| info).collect())
    }

    /// All objects here, in the order of their content ids, each with the reason why it is here.
    pub fn object_ids(&self) -> Result<Vec<(ContentId, Kind)>> {
        let objects = self.index().objects_after(None, usize::MAX)?;
        Ok(objects.into_iter().map(|(info, kind)| (info.content, kind)).collect())
    }

    /// The number of objects here, and the number of their bytes.
    pub fn totals(&self) -> Result<(u64, u64)> {
        self.index().totals()
    }

    /// Sets the listener for notices, and reports to it first what the opening found. The last call counts.
    pub fn on_notice(&self, tell: impl Fn(Notice) + Send + 'static) {
        self.shared.notices.listen(tell);
    }

    pub(super) fn now(&self) -> Moment {
        self.layout().disk.now()
    }

    pub(super) fn notices(&self) -> &Notices {
        &self.shared.notices
    }

    pub(super) fn limits(&self) -> MutexGuard<'_, Limits> {
        self.shared.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn twins(&self) -> &Twins {
        &self.shared.twins
    }

    pub(super) fn uses(&self) -> &Uses {
        &self.shared.uses
    }

    pub(super) fn swept(&self) -> MutexGuard<'_, Vec<ContentId>> {
        self.shared.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn checks(&self) -> &Checks {
        &self.shared.checks
    }

    pub(super) fn index(&self) -> &Index {
        &self.shared.index
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.shared.layout
    }

    pub(super) fn receiving(&self) -> Arc<Receiving> {
        self.shared.receiving.clone()
    }

    pub(super) fn promises(&self) -> &Promises {
        &self.shared.promises
    }

    pub(super) fn holder_table(&self) -> &Holders {
        &self.shared.holders
    }

    pub(super) fn record_locks(&self) -> &Stripes {
        &self.shared.record_locks
    }

    pub(super) fn link_locks(&self) -> &Stripes {
        &self.shared.link_locks
    }

    /// The locks that are held while an object's file is put into its place, or taken out of it and out of the index.
    pub(super) fn object_locks(&self) -> &Stripes {
        &self.shared.object_locks
    }
}

/// An object that is read from some byte to its end.
pub struct ObjectReader {
    store: Store,
    file: Box<dyn DiskFile>,
    /// The file's stamp when it was opened.
    opened: Stamp,
    info: ObjectInfo,
    /// The next byte to be read from the file.
    offset: u64,
    /// The outboard that each chunk is checked against; `None` for an object that was recently hashed, as long as its
    /// file keeps its stamp.
    outboard: Option<Outboard>,
    cache: Cache,
    /// Checked bytes that were not returned yet.
    ready: Bytes,
    /// Keeps the object from being discarded.
    _reading: Reading,
}

impl ObjectReader {
    /// The object that is read.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// The next bytes, at most [`ObjectReader::PIECE_BYTES_MAX`]; empty at the end.
    ///
    /// # Errors
    /// [`BlobError::Rotten`] when the file holds other bytes or fewer; the object is then in quarantine. Otherwise the
    /// errors of the disk.
    pub fn read_piece(&mut self) -> Result<Bytes> {
        if self.ready.is_empty() {
            self.ready = match self.outboard {
                Some(_) => self.read_checked()?,
                None => self.read_trusted()?,
            };
        }
        Ok(self.ready.split_to(self.ready.len().min(Self::PIECE_BYTES_MAX)))
    }

    /// The next piece if the file is unchanged since it was hashed; otherwise the next chunk, checked.
    fn read_trusted(&mut self) -> Result<Bytes> {
        let left = self.info.length - self.offset;
        let piece = self.read(left.min(Self::PIECE_BYTES_MAX as u64) as usize, self.offset)?;
        // The stamp is checked after the read: any earlier write has changed it.
        let content = self.info.content;
        if self.file.stamp().during("read", &self.store.layout().object(&content))? == self.opened {
            self.offset += piece.len() as u64;
            return Ok(piece);
        }
        tracing::info!(%content, "the file of an object changed while it was read; it is checked from now on");
        self.outboard = Some(self.store.outboard(&content)?.ok_or(BlobError::NotHere { content })?);
        self.read_checked()
    }

    /// The whole chunk that contains the next byte, from that byte on.
    fn read_checked(&mut self) -> Result<Bytes> {
        let index = self.offset / CHUNK_BYTES;
        let Some(outboard) = &self.outboard else { return Ok(Bytes::new()) };
        let (begin, Some(before), Some(length)) =
            (index * CHUNK_BYTES, outboard.before(index), outboard.chunk_length(index))
        else {
            return Ok(Bytes::new());
        };
        if self.offset == self.info.length {
            return Ok(Bytes::new());
        }
        let skip = (self.offset - begin) as usize;
        let chunk = self.read(length as usize, begin)?;
        if !verify_chunk(before, &chunk, index, outboard, &self.info.content) {
            return Err(self.rotten(&format!("chunk {index} holds other bytes")));
        }
        self.offset = begin + length;
        Ok(chunk.slice(skip..))
    }

    fn read(&self, length: usize, from: u64) -> Result<Bytes> {
        if length > Self::PIECE_BYTES_MAX {
            let mut bytes = vec![0; length];
            self.fill(&mut bytes, from)?;
            return Ok(bytes.into());
        }
        let mut buffer = Buffer::take(length as u64);
        self.fill(buffer.room(), from)?;
        Ok(buffer.freeze(length))
    }

    fn fill(&self, bytes: &mut [u8], from: u64) -> Result<()> {
        match read_full_cached_at(&*self.file, bytes, from, self.cache) {
            Ok(read) if read == bytes.len() => Ok(()),
            Ok(read) => Err(self.rotten(&format!("it ends after {} bytes", from + read as u64))),
            Err(error) if is_unreadable(&error) => Err(self.rotten(&unreadable(&error))),
            Err(error) => Err(error).during("read", &self.store.layout().object(&self.info.content)),
        }
    }

    fn rotten(&self, reason: &str) -> BlobError {
        self.store.rotten(&self.info.content, &self.opened, reason)
    }

    /// The longest piece: large enough that a system call costs little beside it.
    pub const PIECE_BYTES_MAX: usize = limits::PIECE_BYTES;
}

/// The number of chunks after which a transfer is marked, if nothing else is set: 32 MiB.
const CHECKPOINT_CHUNKS: u64 = 32;
