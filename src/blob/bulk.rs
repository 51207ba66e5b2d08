//! Bulk data past the system's cache.
//!
//! A large file that is written or read once gains nothing from a copy in the system's cache: it pushes out what others
//! use, and all that is written gathers there until one sync at the end has to wait for it. Bytes that lie at multiples of
//! [`ALIGNMENT`], in memory and in the file, are written without any copy of the system's (`O_DIRECT`). For all others,
//! Linux 6.14 and later move data through the cache and begin to write it out at once. Earlier ones are asked, every
//! [`WINDOW_BYTES`], to write out what has gathered, which has the same effect on the sync. Other systems use their
//! cache.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_os = "linux")]
use rustix::io::{Errno, ReadWriteFlags};

/// Whether data stays in the system's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// The data stays in the cache, since it may be read again soon.
    Keep,
    /// The data goes past the cache, since it is moved once.
    Bypass,
}

impl Cache {
    /// The way for a file of this length that is moved once.
    pub fn for_length(length: u64) -> Cache {
        if length >= BULK_BYTES_MIN { Cache::Bypass } else { Cache::Keep }
    }
}

/// A file, with the ways past the system's cache.
#[derive(Debug)]
pub(super) struct BulkFile {
    file: File,
    /// The same file, opened for writing without the cache; `None` if that is not possible.
    #[cfg(target_os = "linux")]
    direct: OnceLock<Option<Direct>>,
}

/// A file that is written once from its beginning to its end, past the system's cache if it is large.
#[derive(Debug)]
pub struct BulkWriter {
    file: BulkFile,
    offset: u64,
    cache: Cache,
}

impl BulkWriter {
    /// Begins to write `length` bytes to an empty file.
    pub fn new(file: File, length: u64) -> BulkWriter {
        BulkWriter { file: BulkFile::new(file), offset: 0, cache: Cache::for_length(length) }
    }

    /// The file with what was written.
    pub fn into_file(self) -> File {
        self.file.file
    }
}

impl io::Write for BulkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let some = &pieces[..pieces.len().min(PIECES_PER_CALL_MAX)];
        let written = self.file.write_some(some, self.offset, self.cache)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BulkFile {
    /// The file as it is; nothing is opened.
    pub fn new(file: File) -> BulkFile {
        BulkFile {
            file,
            #[cfg(target_os = "linux")]
            direct: OnceLock::new(),
        }
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads some bytes from this offset on; 0 at the end.
    pub fn read(&self, bytes: &mut [u8], offset: u64, cache: Cache) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        if cache == Cache::Bypass {
            match rustix::io::preadv2(&self.file, &mut [io::IoSliceMut::new(bytes)], offset, UNCACHED) {
                Err(error) if is_unsupported(error) => {}
                read => return Ok(read?),
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = cache;
        self.file.read_at(bytes, offset)
    }

    /// Writes the bytes of all pieces, one after the other, from this offset on.
    pub fn write(&self, pieces: &mut [IoSlice<'_>], offset: u64, cache: Cache) -> io::Result<()> {
        let (mut rest, mut at) = (pieces, offset);
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let some = &rest[..rest.len().min(PIECES_PER_CALL_MAX)];
            match self.write_some(some, at, cache) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn write_some(&self, pieces: &[IoSlice<'_>], offset: u64, cache: Cache) -> io::Result<usize> {
        if cache == Cache::Keep {
            return Ok(rustix::io::pwritev(&self.file, pieces, offset)?);
        }
        if let Some(written) = self.write_directly(pieces, offset) {
            return written;
        }
        match rustix::io::pwritev2(&self.file, pieces, offset, UNCACHED) {
            Err(error) if is_unsupported(error) => {}
            written => return Ok(written?),
        }
        let written = rustix::io::pwritev(&self.file, pieces, offset)?;
        let (before, after) = (offset / WINDOW_BYTES, (offset + written as u64) / WINDOW_BYTES);
        if let Some(length) = std::num::NonZeroU64::new((after - before) * WINDOW_BYTES) {
            // Of data that is not written out yet, this begins the writing. It is advice: nothing depends on it.
            let advice = rustix::fs::Advice::DontNeed;
            let _ = rustix::fs::fadvise(&self.file, before * WINDOW_BYTES, Some(length), advice);
        }
        Ok(written)
    }

    #[cfg(not(target_os = "linux"))]
    fn write_some(&self, pieces: &[IoSlice<'_>], offset: u64, _: Cache) -> io::Result<usize> {
        match pieces.first() {
            Some(piece) => self.file.write_at(piece, offset),
            None => Ok(0),
        }
    }

    /// Writes the first pieces without the system's cache, as far as they are aligned; `None` if none is, or if that is
    /// not possible.
    #[cfg(target_os = "linux")]
    fn write_directly(&self, pieces: &[IoSlice<'_>], offset: u64) -> Option<io::Result<usize>> {
        let aligned = &pieces[..pieces.iter().take_while(|piece| is_aligned(piece)).count()];
        if !offset.is_multiple_of(ALIGNMENT as u64) || aligned.iter().all(|piece| piece.is_empty()) {
            return None;
        }
        self.direct.get_or_init(|| Direct::open(&self.file)).as_ref()?.write(aligned, offset)
    }
}

/// A second opening of a file, for writes without the system's cache.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Direct {
    file: File,
    /// Whether the file system has refused such a write.
    is_refused: AtomicBool,
}

#[cfg(target_os = "linux")]
impl Direct {
    /// Opens the file by its descriptor, since its name may stand for another one by now.
    fn open(file: &File) -> Option<Direct> {
        use std::os::fd::AsRawFd as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = File::options().write(true).custom_flags(flags).open(path).ok()?;
        Some(Direct { file, is_refused: AtomicBool::new(false) })
    }

    fn write(&self, pieces: &[IoSlice<'_>], offset: u64) -> Option<io::Result<usize>> {
        if self.is_refused.load(Ordering::Relaxed) {
            return None;
        }
        match rustix::io::pwritev(&self.file, pieces, offset) {
            Err(error) if is_unsupported(error) => {
                self.is_refused.store(true, Ordering::Relaxed);
                None
            }
            written => Some(written.map_err(io::Error::from)),
        }
    }
}

/// Whether bytes in memory begin and end at multiples of [`ALIGNMENT`].
#[cfg(target_os = "linux")]
fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) && bytes.len().is_multiple_of(ALIGNMENT)
}

/// Whether the kernel or the file system cannot move data past its cache.
#[cfg(target_os = "linux")]
fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS)
}

/// A multiple of the blocks of nearly all disks: what lies at multiples of it can be written without a copy.
pub(super) const ALIGNMENT: usize = 4_096;
/// `RWF_DONTCACHE` of Linux 6.14.
#[cfg(target_os = "linux")]
const UNCACHED: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);
/// From this length on, a file that is moved once goes past the cache.
const BULK_BYTES_MIN: u64 = 16 << 20;
/// How much is written before the system is asked to write it out.
#[cfg(target_os = "linux")]
const WINDOW_BYTES: u64 = 8 << 20;
/// The most pieces in one system call; Linux takes 1,024.
const PIECES_PER_CALL_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::buffers::Buffer;

    /// Goal: any cut into pieces gives the same bytes, with more pieces than one call takes, and every way.
    #[test]
    fn pieces_are_written_one_after_the_other() {
        let bytes: Vec<u8> = (0..3 * PIECES_PER_CALL_MAX as u32 + 7).map(|i| (i * 7) as u8).collect();
        for cache in [Cache::Keep, Cache::Bypass] {
            for size in [1, 3, bytes.len()] {
                let mut pieces: Vec<IoSlice<'_>> = bytes.chunks(size).map(IoSlice::new).collect();
                pieces.insert(1, IoSlice::new(&[]));
                let found = written(&mut pieces, 5, cache);
                assert_eq!((&found[..5], &found[5..]), (&[0; 5][..], &bytes[..]), "{size} {cache:?}");
            }
        }
    }

    /// Goal: aligned pieces, and those that are so only in part, give the same bytes as any others.
    #[test]
    fn aligned_pieces_are_written_as_others() {
        let block = || {
            let mut buffer = Buffer::take();
            let room = buffer.room(2 * ALIGNMENT as u64);
            room.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i / 7) as u8);
            buffer.freeze(2 * ALIGNMENT)
        };
        let (one, other) = (block(), block());
        for offset in [0, ALIGNMENT, 3 * ALIGNMENT, 100] {
            for tail in [0, 1, ALIGNMENT, ALIGNMENT + 1] {
                let mut pieces = [IoSlice::new(&one), IoSlice::new(&other[..tail]), IoSlice::new(&one)];
                let expected = [&one[..], &other[..tail], &one[..]].concat();
                let found = written(&mut pieces, offset, Cache::Bypass);
                assert!(found[offset..] == expected, "{offset} {tail}");
                assert!(found[..offset].iter().all(|byte| *byte == 0), "{offset} {tail}");
            }
        }
    }

    /// The bytes of a file after a write from this offset on.
    fn written(pieces: &mut [IoSlice<'_>], offset: usize, cache: Cache) -> Vec<u8> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        // On the disk of this folder, and not in memory.
        let file = BulkFile::new(tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap());
        file.write(pieces, offset as u64, cache).unwrap();
        file.write(&mut [], offset as u64, cache).unwrap();
        let mut found = vec![1; offset + length + 9];
        let mut filled = 0;
        while let read @ 1.. = file.read(&mut found[filled..], filled as u64, cache).unwrap() {
            filled += read;
        }
        found.truncate(filled);
        assert_eq!(filled, offset + length);
        found
    }
}
