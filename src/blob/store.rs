//! The store of one data directory: opening it, and reading what is in it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Access, Disk, DiskFile, read_full_at};
use super::error::{BlobError, IoContext, Result};
use super::index::{Change, Index, Kind, NAMES_LISTED_MAX};
use super::layout::Layout;
use super::outboard::{ChunkHasher, Outboard, chunk_count, single_chunk_digest};
use super::receive::Receiving;
use super::records::{Holders, Stripes};
use super::source::Source;
use super::{links, rebuild};
use crate::id::ContentId;
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
    holders: Holders,
    record_locks: Stripes,
    link_locks: Stripes,
}

impl Store {
    /// Opens a data directory, and makes it where there is none.
    ///
    /// Puts right what a crash left: removes temporary files, takes objects into the index that reached
    /// their place but not the index, and builds a missing or corrupt index up from the folders.
    ///
    /// # Errors
    /// [`BlobError::InUse`] while another store has it; otherwise what the disk says.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>) -> Result<Store> {
        let layout = Arc::new(Layout::create(dir, disk)?);
        let index = Index::open(layout.clone())?;
        rebuild::clean_incoming(&layout, &index)?;
        rebuild::reconcile_objects(&layout, &index)?;
        if !index.is_built()? {
            rebuild::adopt_links(&layout, &index)?;
            index.submit([Change::Built])?;
        }
        let shared = Shared {
            index,
            layout,
            receiving: Arc::default(),
            holders: Holders::default(),
            record_locks: Stripes::default(),
            link_locks: Stripes::default(),
        };
        let store = Store { shared: Arc::new(shared) };
        links::restore(&store)?;
        Ok(store)
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.layout().root
    }

    /// Whether nothing is written any more, after a failed sync.
    pub fn is_poisoned(&self) -> bool {
        self.layout().check().is_err()
    }

    /// Hashes a file of the user's once, from its beginning to its end. `on_progress` is told the bytes
    /// of each piece. To send the same bytes afterwards, keep a [`Source`] and use its methods.
    ///
    /// # Errors
    /// [`BlobError::Changed`] when the file was written to meanwhile, [`BlobError::NotAFile`] for
    /// anything but a regular file, [`BlobError::Io`] when it cannot be read.
    pub fn hash_file(&self, path: &Path, on_progress: &mut dyn FnMut(u64)) -> Result<(ObjectInfo, Outboard)> {
        Source::open(path)?.hash(on_progress)
    }

    /// What is known of an object that is here, complete.
    pub fn info(&self, content: &ContentId) -> Result<Option<ObjectInfo>> {
        Ok(self.index().object(content)?.map(|(info, _)| info))
    }

    /// Why an object is here, if it is.
    pub fn kind(&self, content: &ContentId) -> Result<Option<Kind>> {
        Ok(self.index().object(content)?.map(|(_, kind)| kind))
    }

    /// Whether an object is here, complete.
    pub fn contains(&self, content: &ContentId) -> Result<bool> {
        Ok(self.index().object(content)?.is_some())
    }

    /// Opens an object to read it from a byte on. A file that is gone from the disk is forgotten.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], [`BlobError::PastEnd`], or what the disk says.
    pub fn read(&self, content: &ContentId, offset: u64) -> Result<ObjectReader> {
        let info = self.info(content)?.ok_or(BlobError::NotHere { content: *content })?;
        if offset > info.length {
            return Err(BlobError::PastEnd { content: *content, length: info.length, offset });
        }
        let path = self.layout().object(content);
        match self.layout().disk.open(&path, Access::Read) {
            Ok(file) => Ok(ObjectReader { file, info, offset }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(file = %path.display(), "an object is gone from the disk");
                self.forget(content)?;
                Err(BlobError::NotHere { content: *content })
            }
            Err(error) => Err(error).during("read", &path),
        }
    }

    /// The outboard of an object that is here; computed anew when its file is lost or damaged.
    pub fn outboard(&self, content: &ContentId) -> Result<Option<Outboard>> {
        let Some(info) = self.info(content)? else { return Ok(None) };
        match rebuild::read_outboard(self.layout(), content, info.length) {
            Some(outboard) if outboard.digest() == info.outboard => return Ok(Some(outboard)),
            _ => tracing::warn!(%content, "outboard lost or damaged; hashing the object again"),
        }
        if !self.scrub(content)? {
            return Ok(None);
        }
        Ok(rebuild::read_outboard(self.layout(), content, info.length))
    }

    /// Reads an object again from its first byte to its last. A corrupt one goes to quarantine and is
    /// forgotten; an outboard that is lost is written again. Whether the object is sound.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], or what the disk says.
    pub fn scrub(&self, content: &ContentId) -> Result<bool> {
        let mut reader = self.read(content, 0)?;
        let path = self.layout().object(content);
        let mut hasher = ChunkHasher::default();
        loop {
            match reader.read_piece() {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => hasher.update(&piece),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error).during("read", &path),
            }
        }
        let (found, outboard) = hasher.finish();
        if found != *content {
            self.quarantine(content, &format!("its bytes are {found}"))?;
            return Ok(false);
        }
        let length = outboard.length();
        if chunk_count(length) > 1
            && rebuild::read_outboard(self.layout(), content, length).as_ref() != Some(&outboard)
        {
            self.layout().check()?;
            self.layout().publish_bytes(&outboard.to_bytes(), &self.layout().outboard(content))?;
        }
        Ok(true)
    }

    /// Takes an object out of use: its file goes to quarantine/ with the reason beside it.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`], or what the disk says.
    pub fn quarantine(&self, content: &ContentId, reason: &str) -> Result<()> {
        self.forget(content)?;
        self.layout().quarantine_file(&self.layout().object(content), reason)
    }

    /// Makes an object that was requested here a replica. Whether the object is here.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`], or what the index says.
    pub fn promote(&self, content: &ContentId) -> Result<bool> {
        match self.index().object(content)? {
            None => Ok(false),
            Some((_, Kind::Replica)) => Ok(true),
            Some((info, Kind::Requested)) => {
                self.index().submit([Change::Object(info, Kind::Replica)])?;
                Ok(true)
            }
        }
    }

    /// At most `max` objects in the order of their content ids, from after this one on, each with at most
    /// [`limits::LINKS_PER_OBJECT_MAX`] of its names.
    pub fn objects_after(&self, after: Option<ContentId>, max: usize) -> Result<Vec<FileEntry>> {
        let objects = self.index().objects_after(after, max)?;
        let entry = |(object, _): (ObjectInfo, Kind)| {
            let links = self.index().names_of(&object.content, NAMES_LISTED_MAX)?;
            Ok(FileEntry { object, names: links.into_iter().map(|link| link.name).collect() })
        };
        objects.into_iter().map(entry).collect()
    }

    /// All objects here, in the order of their content ids, and why they are here.
    pub fn object_ids(&self) -> Result<Vec<(ContentId, Kind)>> {
        let objects = self.index().objects_after(None, usize::MAX)?;
        Ok(objects.into_iter().map(|(info, kind)| (info.content, kind)).collect())
    }

    /// How many objects are here, and their bytes.
    pub fn totals(&self) -> Result<(u64, u64)> {
        self.index().totals()
    }

    /// Takes an object and its links out of the index.
    fn forget(&self, content: &ContentId) -> Result<()> {
        self.layout().check()?;
        let links = self.index().names_of(content, usize::MAX)?;
        self.index().submit([Change::Forget(*content)])?;
        links.iter().try_for_each(|link| self.refresh_link(&link.name))
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

    pub(super) fn holder_table(&self) -> &Holders {
        &self.shared.holders
    }

    pub(super) fn record_locks(&self) -> &Stripes {
        &self.shared.record_locks
    }

    pub(super) fn link_locks(&self) -> &Stripes {
        &self.shared.link_locks
    }
}

/// An object, read from some byte to its end.
pub struct ObjectReader {
    file: Box<dyn DiskFile>,
    info: ObjectInfo,
    offset: u64,
}

impl ObjectReader {
    /// Which object.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// The next bytes, at most [`ObjectReader::PIECE_BYTES_MAX`]; empty at the end.
    ///
    /// # Errors
    /// What the disk says; [`io::ErrorKind::UnexpectedEof`] when the file was cut.
    pub fn read_piece(&mut self) -> io::Result<Bytes> {
        let left = self.info.length - self.offset;
        let mut piece = vec![0; left.min(Self::PIECE_BYTES_MAX as u64) as usize];
        if read_full_at(&*self.file, &mut piece, self.offset)? < piece.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += piece.len() as u64;
        Ok(piece.into())
    }

    /// The longest piece: large enough that a system call costs little beside it.
    pub const PIECE_BYTES_MAX: usize = limits::PIECE_BYTES;
}

/// The info of an object of one chunk follows from its address and length.
pub(super) fn single_chunk_info(content: ContentId, length: u64) -> Option<ObjectInfo> {
    single_chunk_digest(length).map(|outboard| ObjectInfo { content, length, outboard })
}
