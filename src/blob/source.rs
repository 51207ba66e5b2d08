//! A user's own file, read once to hash it and once more to send it.
//!
//! The bytes that are sent are checked against those that were hashed, chunk by chunk: the times and the length of a
//! changed file can be put back.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::buffers::Buffer;
use super::disk::Stamp;
use super::error::{BlobError, IoContext, Result};
use crate::id::ContentId;
use crate::outboard::{ChunkChecker, ChunkHasher, Outboard};
use crate::wire::{ObjectInfo, limits};

/// A regular file that is kept open, so that all reads see the same file even if its name moves on.
#[derive(Debug, Clone)]
pub struct Source {
    file: Arc<File>,
    path: Arc<PathBuf>,
    seen: Stamp,
    /// The result of [`Source::hash`].
    hashed: Arc<OnceLock<(ContentId, Arc<Outboard>)>>,
}

impl Source {
    /// Opens a file; symbolic links are followed.
    ///
    /// # Errors
    /// [`BlobError::NotAFile`] for anything but a regular file; [`BlobError::Io`].
    pub fn open(path: &Path) -> Result<Source> {
        // The check comes before the open, since opening a FIFO waits for a writer.
        Source::look(path)?;
        let file = File::open(path).during("read", path)?;
        let metadata = file.metadata().during("read", path)?;
        regular(path, &metadata)?;
        if metadata.len() == 0 && file.read_at(&mut [0], 0).during("read", path)? > 0 {
            // Files in /proc are like this: they have bytes, but no length that gives their number.
            return Err(BlobError::NotAFile { path: path.to_owned(), kind: "a view of the system's state" });
        }
        Ok(Source {
            file: Arc::new(file),
            path: Arc::new(path.to_owned()),
            seen: Stamp::of(&metadata),
            hashed: Arc::default(),
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

    /// Reads the file to its end; `on_progress` is told the number of bytes of each piece.
    ///
    /// # Errors
    /// [`BlobError::Changed`] when the file was written to since it was opened; [`BlobError::Io`].
    pub fn hash(&self, on_progress: &mut dyn FnMut(u64)) -> Result<(ObjectInfo, Outboard)> {
        let mut hasher = ChunkHasher::default();
        let mut piece = vec![0; limits::PIECE_BYTES];
        while hasher.offset() < self.seen.length {
            let read = self.read_at(&mut piece, hasher.offset())?;
            hasher.update(&piece[..read]);
            on_progress(read as u64);
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
    /// [`BlobError::Changed`]; [`BlobError::Io`]; [`BlobError::TooLong`] for a file that is longer than one piece.
    pub fn whole(&self) -> Result<Bytes> {
        if self.length() > limits::PIECE_BYTES as u64 {
            return Err(BlobError::TooLong { length: self.length() });
        }
        // A copy of its own length: the piece lies in a buffer of full length.
        Ok(Bytes::copy_from_slice(&self.reader(0).read_piece()?))
    }

    /// Reads the file from a byte on. After [`Source::hash`] only the bytes that were hashed are returned.
    pub fn reader(&self, offset: u64) -> SourceReader {
        let hashed = self.hashed.get().cloned();
        let checker = hashed.and_then(|(content, outboard)| ChunkChecker::new(content, outboard, offset));
        SourceReader { source: self.clone(), offset, checker }
    }

    /// Checks that the file is unchanged since it was opened.
    ///
    /// # Errors
    /// [`BlobError::Changed`] when it was changed; [`BlobError::Io`].
    pub fn check(&self) -> Result<()> {
        let metadata = self.file.metadata().during("read", &self.path)?;
        if looks_the_same(&Stamp::of(&metadata), &self.seen) { Ok(()) } else { Err(self.changed()) }
    }

    /// Fills the piece as far as the file reached when it was opened.
    fn read_at(&self, piece: &mut [u8], offset: u64) -> Result<usize> {
        let left = self.seen.length.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        match self.file.read_exact_at(&mut piece[..wanted], offset) {
            Ok(()) => Ok(wanted),
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
    checker: Option<ChunkChecker>,
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
        let left = self.source.seen.length.saturating_sub(self.offset);
        let mut buffer = Buffer::take();
        let read = self.source.read_at(buffer.room(left), self.offset)?;
        self.offset += read as u64;
        let piece = buffer.freeze(read);
        if self.checker.as_mut().is_some_and(|checker| !checker.update(&piece)) {
            return Err(self.source.changed());
        }
        if self.offset >= self.source.seen.length {
            self.source.check()?;
        }
        Ok(piece)
    }

    /// Checks the bytes before a reader that begins within a chunk, too.
    fn catch_up(&mut self) -> Result<()> {
        let Some(checker) = &mut self.checker else { return Ok(()) };
        if let Some(behind) = self.offset.checked_sub(checker.offset()).filter(|behind| *behind > 0) {
            let mut piece = vec![0; usize::try_from(behind).unwrap_or(usize::MAX)];
            let read = self.source.read_at(&mut piece, checker.offset())?;
            if !checker.update(&piece[..read]) {
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
