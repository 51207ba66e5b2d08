//! A user's own file, read once to hash it and once more to send it.
//!
//! The bytes that are sent are checked against those that were hashed, chunk by chunk: the times and the length of a
//! changed file can be put back.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;

use super::buffers::Buffer;
use super::disk::Stamp;
use super::error::{BlobError, IoContext, Result};
use super::known::KnownFiles;
use crate::id::ContentId;
use crate::outboard::{ChunkChecker, ChunkHasher, Outboard};
use crate::wire::{ObjectInfo, limits};

/// A regular file that is kept open, so that all reads see the same file even if its name moves on; or a small one that
/// was read into memory.
#[derive(Debug, Clone)]
pub struct Source {
    held: Held,
    path: Arc<PathBuf>,
    seen: Stamp,
    /// The result of [`Source::hash`].
    hashed: Arc<OnceLock<(ContentId, Arc<Outboard>)>>,
    /// The content id that the file had when it was hashed before; its bytes are checked against it as they are read.
    claimed: Arc<OnceLock<ContentId>>,
    /// The result of [`Source::was_given`].
    given: Arc<AtomicBool>,
}

/// A source holds its file open, or the bytes of a small one.
#[derive(Debug, Clone)]
enum Held {
    File(Arc<File>),
    Memory(Bytes),
}

impl Source {
    /// Opens a file; symbolic links are followed.
    ///
    /// # Errors
    /// [`BlobError::NotAFile`] for anything but a regular file; [`BlobError::Io`].
    pub fn open(path: &Path) -> Result<Source> {
        // The check comes before the open, since opening a FIFO waits for a writer.
        Source::look(path)?;
        Source::of_file(File::open(path).during("read", path)?, path)
    }

    /// A file that is open already; `path` is its name for people.
    ///
    /// # Errors
    /// The errors of [`Source::open`].
    pub fn of_file(file: File, path: &Path) -> Result<Source> {
        let metadata = file.metadata().during("read", path)?;
        regular(path, &metadata)?;
        if metadata.len() == 0 && file.read_at(&mut [0], 0).during("read", path)? > 0 {
            // Files in /proc are like this: they have bytes, but no length that gives their number.
            return Err(BlobError::NotAFile { path: path.to_owned(), kind: "a view of the system's state" });
        }
        Ok(Source {
            held: Held::File(Arc::new(file)),
            path: Arc::new(path.to_owned()),
            seen: Stamp::of(&metadata),
            hashed: Arc::default(),
            claimed: Arc::default(),
            given: Arc::default(),
        })
    }

    /// Checks that there is a regular file, without opening it.
    ///
    /// # Errors
    /// The errors of [`Source::open`].
    pub fn look(path: &Path) -> Result<()> {
        regular(path, &std::fs::metadata(path).during("read", path)?)
    }

    /// The length in bytes when the file was opened.
    pub fn length(&self) -> u64 {
        self.seen.length
    }

    /// The values of stat(2) of the file when it was opened.
    pub fn stamp(&self) -> &Stamp {
        &self.seen
    }

    /// Reads a file that is small enough for a batch into memory and closes it, so that very many of them can wait
    /// together. A longer file stays open.
    ///
    /// # Errors
    /// [`BlobError::Changed`] when the file was written to since it was opened; [`BlobError::Io`].
    pub fn into_memory(self) -> Result<Source> {
        if self.seen.length > limits::BATCHED_OBJECT_BYTES_MAX {
            return Ok(self);
        }
        let bytes = self.piece_at(0)?;
        self.check()?;
        Ok(Source { held: Held::Memory(bytes), ..self })
    }

    /// A file that was hashed while it was written, and has not changed since.
    pub fn with_hash(self, content: ContentId, outboard: Outboard) -> Source {
        let _ = self.hashed.set((content, Arc::new(outboard)));
        self
    }

    /// A file that had this content id when it was hashed before: a reader that begins here gets all of its bytes only if
    /// they are still those.
    pub fn claiming(self, content: ContentId) -> Source {
        let _ = self.claimed.set(content);
        self
    }

    /// The object that the file is: as known from an earlier time, if its stamp is the same, else by [`Source::hash`].
    /// Returns also whether it was known.
    ///
    /// # Errors
    /// The errors of [`Source::hash`].
    pub fn identify(
        &self,
        known: Option<&KnownFiles>,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<(ObjectInfo, bool)> {
        if let Some(object) = known.and_then(|known| known.object(&self.seen)) {
            let _ = self.claimed.set(object.content);
            on_progress(object.length);
            return Ok((object, true));
        }
        let begun = SystemTime::now();
        let (object, _) = self.hash(on_progress)?;
        if let Some(known) = known {
            known.note(&self.seen, &object, begun);
        }
        Ok((object, false))
    }

    /// Reads the file to its end; `on_progress` is told the number of bytes of each piece.
    ///
    /// # Errors
    /// [`BlobError::Changed`] when the file was written to since it was opened; [`BlobError::Io`].
    pub fn hash(&self, on_progress: &mut dyn FnMut(u64)) -> Result<(ObjectInfo, Outboard)> {
        let mut hasher = ChunkHasher::default();
        while hasher.offset() < self.seen.length {
            let piece = self.piece_at(hasher.offset())?;
            hasher.update(&piece);
            on_progress(piece.len() as u64);
        }
        self.check()?;
        let (content, outboard) = hasher.finish();
        let info = ObjectInfo { content, length: outboard.length(), outboard: outboard.digest() };
        // All clones then send the bytes that the first one hashed.
        let _ = self.hashed.set((content, Arc::new(outboard.clone())));
        Ok((info, outboard))
    }

    /// All bytes of a small file. After [`Source::hash`] only the bytes that were hashed are returned.
    ///
    /// # Errors
    /// [`BlobError::Changed`]; [`BlobError::Io`]; [`BlobError::TooLong`] for a file that is too long for a batch.
    pub fn whole(&self) -> Result<Bytes> {
        if self.length() > limits::BATCHED_OBJECT_BYTES_MAX {
            return Err(BlobError::TooLong { length: self.length() });
        }
        self.reader(0).read_piece()
    }

    /// Reads the file from a byte on. After [`Source::hash`] or [`Source::identify`] only the bytes that were hashed are
    /// returned.
    pub fn reader(&self, offset: u64) -> SourceReader {
        self.given.store(true, Ordering::Relaxed);
        let hashed = self.hashed.get().cloned();
        let check = match (hashed, self.claimed.get()) {
            (Some((content, outboard)), _) => ChunkChecker::new(content, outboard, offset).map(Check::Chunks),
            (None, Some(content)) => Some(Check::Whole { content: *content, hasher: Box::default() }),
            (None, None) => None,
        };
        SourceReader { source: self.clone(), offset, check }
    }

    /// Whether a reader of this file, or of a clone, was ever asked for: whether its bytes went anywhere.
    pub fn was_given(&self) -> bool {
        self.given.load(Ordering::Relaxed)
    }

    /// Checks that the file is unchanged since it was opened.
    ///
    /// # Errors
    /// [`BlobError::Changed`] when it was changed; [`BlobError::Io`].
    pub fn check(&self) -> Result<()> {
        let Held::File(file) = &self.held else { return Ok(()) };
        let metadata = file.metadata().during("read", &self.path)?;
        if looks_the_same(&Stamp::of(&metadata), &self.seen) { Ok(()) } else { Err(self.changed()) }
    }

    /// The bytes from this offset on, at most [`limits::PIECE_BYTES`], as far as the file reached when it was opened.
    fn piece_at(&self, offset: u64) -> Result<Bytes> {
        let file = match &self.held {
            Held::Memory(bytes) => return Ok(bytes.slice(bytes.len().min(offset as usize)..)),
            Held::File(file) => file,
        };
        let mut buffer = Buffer::take(self.seen.length.saturating_sub(offset));
        let wanted = buffer.room().len();
        match file.read_exact_at(buffer.room(), offset) {
            Ok(()) => Ok(buffer.freeze(wanted)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.changed()),
            Err(error) => Err(error).during("read", &self.path),
        }
    }

    fn changed(&self) -> BlobError {
        BlobError::Changed { path: self.path.as_ref().clone() }
    }
}

/// A [`Source`], read piece by piece.
#[derive(Debug)]
pub struct SourceReader {
    source: Source,
    offset: u64,
    check: Option<Check>,
}

/// The check of the bytes that are read against those that were hashed.
#[derive(Debug)]
enum Check {
    /// Chunk by chunk.
    Chunks(ChunkChecker),
    /// Only the content id of the whole file is known.
    Whole { content: ContentId, hasher: Box<ChunkHasher> },
}

impl Check {
    /// The number of bytes that were checked, or are being.
    fn offset(&self) -> u64 {
        match self {
            Check::Chunks(checker) => checker.offset(),
            Check::Whole { hasher, .. } => hasher.offset(),
        }
    }

    /// Takes the next bytes of a file of this length. Returns false once they are other ones.
    fn update(&mut self, bytes: &[u8], length: u64) -> bool {
        match self {
            Check::Chunks(checker) => checker.update(bytes),
            Check::Whole { content, hasher } => {
                hasher.update(bytes);
                hasher.offset() < length || std::mem::take(&mut **hasher).finish().0 == *content
            }
        }
    }
}

impl SourceReader {
    /// The next bytes, at most [`limits::PIECE_BYTES`]; empty at the end. The last bytes of a chunk that differs from
    /// the hashed one are not returned, nor are those of a file that was written to since it was opened: no reader gets
    /// all of it.
    ///
    /// # Errors
    /// [`BlobError::Changed`], with the last bytes at the latest; [`BlobError::Io`].
    pub fn read_piece(&mut self) -> Result<Bytes> {
        self.catch_up()?;
        let length = self.source.seen.length;
        let piece = self.source.piece_at(self.offset)?;
        self.offset += piece.len() as u64;
        if !piece.is_empty() && self.check.as_mut().is_some_and(|check| !check.update(&piece, length)) {
            return Err(self.source.changed());
        }
        if self.offset >= length {
            self.source.check()?;
        }
        Ok(piece)
    }

    /// Checks the bytes before a reader that begins within a chunk, or a file, too.
    fn catch_up(&mut self) -> Result<()> {
        let (Some(check), length) = (&mut self.check, self.source.seen.length) else { return Ok(()) };
        while self.offset < length
            && let Some(behind) = self.offset.checked_sub(check.offset()).filter(|behind| *behind > 0)
        {
            let mut piece = self.source.piece_at(check.offset())?;
            piece.truncate(usize::try_from(behind).unwrap_or(usize::MAX));
            if !check.update(&piece, length) {
                return Err(self.source.changed());
            }
        }
        Ok(())
    }
}

/// Whether a file looks unchanged. A rename changes the file's ctime and is allowed. If a program changed the bytes and
/// put the mtime back, the bytes show it.
fn looks_the_same(one: &Stamp, other: &Stamp) -> bool {
    (one.length, one.modified) == (other.length, other.modified)
}

fn regular(path: &Path, metadata: &Metadata) -> Result<()> {
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => "something else",
    };
    Err(BlobError::NotAFile { path: path.to_owned(), kind })
}
