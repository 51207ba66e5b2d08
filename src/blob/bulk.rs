//! Bulk data past the system's cache.
//!
//! A large file that is written or read once gains nothing from a copy in the system's cache: it pushes out what others
//! use, and all that is written gathers there until one sync at the end has to wait for it. Linux 6.14 and later move
//! such data past the cache and begin to write it out at once. Earlier ones are asked, every [`WINDOW_BYTES`], to write
//! out what has gathered, which has the same effect on the sync. Other systems use their cache.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;

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

/// A file that is written once from its beginning to its end, past the system's cache if it is large.
#[derive(Debug)]
pub struct BulkWriter {
    file: File,
    offset: u64,
    cache: Cache,
}

impl BulkWriter {
    /// Begins to write `length` bytes to an empty file.
    pub fn new(file: File, length: u64) -> BulkWriter {
        BulkWriter { file, offset: 0, cache: Cache::for_length(length) }
    }

    /// The file with what was written.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl io::Write for BulkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let some = &pieces[..pieces.len().min(PIECES_PER_CALL_MAX)];
        let written = write_some(&self.file, some, self.offset, self.cache)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads some bytes from this offset on; 0 at the end.
pub(super) fn read_at(file: &File, bytes: &mut [u8], offset: u64, cache: Cache) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    if cache == Cache::Bypass {
        match rustix::io::preadv2(file, &mut [io::IoSliceMut::new(bytes)], offset, UNCACHED) {
            Err(error) if is_unsupported(error) => {}
            read => return Ok(read?),
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = cache;
    file.read_at(bytes, offset)
}

/// Writes the bytes of all pieces, one after the other, from this offset on.
pub(super) fn write_pieces_at(
    file: &File,
    pieces: &mut [IoSlice<'_>],
    offset: u64,
    cache: Cache,
) -> io::Result<()> {
    let (mut rest, mut at) = (pieces, offset);
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let some = &rest[..rest.len().min(PIECES_PER_CALL_MAX)];
        match write_some(file, some, at, cache) {
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
fn write_some(file: &File, pieces: &[IoSlice<'_>], offset: u64, cache: Cache) -> io::Result<usize> {
    if cache == Cache::Keep {
        return Ok(rustix::io::pwritev(file, pieces, offset)?);
    }
    match rustix::io::pwritev2(file, pieces, offset, UNCACHED) {
        Err(error) if is_unsupported(error) => {}
        written => return Ok(written?),
    }
    let written = rustix::io::pwritev(file, pieces, offset)?;
    let (before, after) = (offset / WINDOW_BYTES, (offset + written as u64) / WINDOW_BYTES);
    if let Some(length) = std::num::NonZeroU64::new((after - before) * WINDOW_BYTES) {
        // Of data that is not written out yet, this begins the writing. It is advice: nothing depends on it.
        let advice = rustix::fs::Advice::DontNeed;
        let _ = rustix::fs::fadvise(file, before * WINDOW_BYTES, Some(length), advice);
    }
    Ok(written)
}

#[cfg(not(target_os = "linux"))]
fn write_some(file: &File, pieces: &[IoSlice<'_>], offset: u64, _: Cache) -> io::Result<usize> {
    match pieces.first() {
        Some(piece) => file.write_at(piece, offset),
        None => Ok(0),
    }
}

/// Whether the kernel or the file system cannot move data past its cache.
#[cfg(target_os = "linux")]
fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS)
}

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

    /// Goal: any cut into pieces gives the same bytes, with more pieces than one call takes, and both ways.
    #[test]
    fn pieces_are_written_one_after_the_other() {
        let bytes: Vec<u8> = (0..3 * PIECES_PER_CALL_MAX as u32 + 7).map(|i| (i * 7) as u8).collect();
        for cache in [Cache::Keep, Cache::Bypass] {
            for size in [1, 3, bytes.len()] {
                let file = tempfile::tempfile().unwrap();
                file.set_len(5).unwrap();
                let mut pieces: Vec<IoSlice<'_>> = bytes.chunks(size).map(IoSlice::new).collect();
                pieces.insert(1, IoSlice::new(&[]));
                write_pieces_at(&file, &mut pieces, 5, cache).unwrap();
                write_pieces_at(&file, &mut [], 5, cache).unwrap();
                let mut found = vec![1; bytes.len() + 9];
                let mut filled = 0;
                while let read @ 1.. = read_at(&file, &mut found[filled..], filled as u64, cache).unwrap() {
                    filled += read;
                }
                assert_eq!(filled, bytes.len() + 5);
                assert_eq!((&found[..5], &found[5..filled]), (&[0; 5][..], &bytes[..]), "{size} {cache:?}");
            }
        }
    }
}
