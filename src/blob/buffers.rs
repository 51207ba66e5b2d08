//! Buffers for pieces of files. Long ones are used again and again: a fresh one would be filled with zeros first.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::wire::limits::PIECE_BYTES;

/// A buffer of at most [`PIECE_BYTES`] bytes. Once a long one is not needed any more, the next reader uses it.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    /// A buffer for `length` bytes, or as many as one holds, with any bytes in it. Very many short ones may be in use at
    /// the same time, so that one is no longer than it has to be.
    pub fn take(length: u64) -> Buffer {
        let wanted = length.min(PIECE_BYTES as u64) as usize;
        if wanted <= SHORT_BYTES_MAX {
            return Buffer { bytes: vec![0; wanted], filled: wanted };
        }
        let used = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: used.unwrap_or_else(|| vec![0; PIECE_BYTES]), filled: wanted }
    }

    /// The bytes of the buffer.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.filled]
    }

    /// The first `filled` bytes, shared without a copy.
    pub fn freeze(mut self, filled: usize) -> Bytes {
        self.filled = filled.min(self.bytes.len());
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() < PIECE_BYTES {
            return;
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < FREE_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
/// The longest buffer that is not used again.
const SHORT_BYTES_MAX: usize = 64 << 10;
/// The most buffers that wait for their next use: 4 MiB.
const FREE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_shared_without_a_copy_and_serves_again() {
        let mut buffer = Buffer::take(u64::MAX);
        assert_eq!(buffer.room().len(), PIECE_BYTES);
        buffer.room()[..3].copy_from_slice(b"abc");
        let place = buffer.room().as_ptr();
        let shared = buffer.freeze(3);
        assert_eq!((&shared[..], shared.as_ptr()), (&b"abc"[..], place));
        let part = shared.slice(1..);
        drop(shared);
        assert_eq!(part, b"bc"[..], "it lives as long as any part of it");
        assert_eq!(Buffer::take(u64::MAX).freeze(PIECE_BYTES + 1).len(), PIECE_BYTES);
        let mut short = Buffer::take(5);
        assert_eq!((short.room().len(), short.bytes.len()), (5, 5), "no longer than it has to be");
        let mut long = Buffer::take(SHORT_BYTES_MAX as u64 + 1);
        assert_eq!((long.room().len(), long.bytes.len()), (SHORT_BYTES_MAX + 1, PIECE_BYTES));
    }
}
