//! Buffers for pieces of files, used again and again: a fresh one would be filled with zeros first. Their bytes lie at a
//! multiple of [`ALIGNMENT`], so that a disk can take them as they are.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::bulk::ALIGNMENT;
use crate::wire::limits::PIECE_BYTES;

/// A buffer of [`PIECE_BYTES`] bytes. Once it is not needed any more, the next reader uses it.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Where the aligned bytes begin.
    begin: usize,
    filled: usize,
}

impl Buffer {
    /// A buffer with any bytes in it.
    pub fn take() -> Buffer {
        let used = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = used.unwrap_or_else(|| vec![0; PIECE_BYTES + ALIGNMENT - 1]);
        let begin = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT - 1);
        Buffer { bytes, begin, filled: 0 }
    }

    /// The first bytes of the buffer, as many as fit and at most `length`.
    pub fn room(&mut self, length: u64) -> &mut [u8] {
        let length = length.min(PIECE_BYTES as u64) as usize;
        &mut self.bytes[self.begin..][..length]
    }

    /// The first `filled` bytes, shared without a copy.
    pub fn freeze(mut self, filled: usize) -> Bytes {
        self.filled = filled.min(PIECE_BYTES);
        Bytes::from_owner(self)
    }
}

/// Copies the bytes of all pieces into buffers; all but the last one are full.
pub(super) fn gather<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Bytes> {
    let (mut full, mut buffer, mut filled) = (Vec::new(), Buffer::take(), 0);
    for mut piece in pieces {
        while !piece.is_empty() {
            if filled == PIECE_BYTES {
                full.push(std::mem::replace(&mut buffer, Buffer::take()).freeze(filled));
                filled = 0;
            }
            let room = &mut buffer.room(PIECE_BYTES as u64)[filled..];
            let (some, rest) = piece.split_at(piece.len().min(room.len()));
            room[..some.len()].copy_from_slice(some);
            (piece, filled) = (rest, filled + some.len());
        }
    }
    full.push(buffer.freeze(filled));
    full
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.begin..][..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < FREE_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
/// The most buffers that wait for their next use: 4 MiB.
const FREE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_gathered_in_aligned_buffers() {
        let bytes: Vec<u8> = (0..3 * PIECE_BYTES + 5).map(|i| (i / 3) as u8).collect();
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, bytes.len()] {
            for size in [7, PIECE_BYTES, usize::MAX] {
                let gathered = gather(bytes[..length].chunks(size));
                assert!(gathered.iter().all(|buffer| buffer.as_ptr().addr().is_multiple_of(ALIGNMENT)));
                assert_eq!(gathered.len(), length.div_ceil(PIECE_BYTES).max(1));
                assert!(gathered.concat() == bytes[..length], "{length} {size}");
            }
        }
    }

    #[test]
    fn a_buffer_is_shared_without_a_copy_and_serves_again() {
        let mut buffer = Buffer::take();
        assert_eq!(buffer.room(u64::MAX).len(), PIECE_BYTES);
        buffer.room(3).copy_from_slice(b"abc");
        let place = buffer.room(1).as_ptr();
        let shared = buffer.freeze(3);
        assert_eq!((&shared[..], shared.as_ptr()), (&b"abc"[..], place));
        let part = shared.slice(1..);
        drop(shared);
        assert_eq!(part, b"bc"[..], "it lives as long as any part of it");
        assert_eq!(Buffer::take().freeze(PIECE_BYTES + 1).len(), PIECE_BYTES);
    }
}
