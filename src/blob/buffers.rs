//! Buffers for pieces of files, used again and again: a fresh one would be filled with zeros first.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::wire::limits::PIECE_BYTES;

/// A buffer of [`PIECE_BYTES`] bytes. Once it is not needed any more, the next reader uses it.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    /// A buffer with any bytes in it.
    pub fn take() -> Buffer {
        let used = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: used.unwrap_or_else(|| vec![0; PIECE_BYTES]), filled: 0 }
    }

    /// The first bytes of the buffer, as many as fit and at most `length`.
    pub fn room(&mut self, length: u64) -> &mut [u8] {
        let length = length.min(PIECE_BYTES as u64) as usize;
        &mut self.bytes[..length]
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
