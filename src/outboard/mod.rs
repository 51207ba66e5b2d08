//! SHA-256 taken apart at chunk boundaries, so that chunks are checked one by one.
//!
//! SHA-256 is a chain: chunk i (1 MiB, the last may be shorter) turns midstate s(i) into s(i+1);
//! s(0) is the standard initial value, and the last chunk with FIPS 180-4 padding (which holds the
//! length) gives the content id. A file of L bytes has n = max(1, ⌈L / 2^20⌉) chunks, and its
//! outboard is the list s(1) … s(n−1) behind a header:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `QUOITM1\n`: the format and its version |
//! | 8 | 8 | L, unsigned, big-endian |
//! | 16 | 4 | the chunk size in bytes, 1,048,576, big-endian |
//! | 20 | 32 × (n−1) | s(1) … s(n−1): eight big-endian 32-bit words each, as a digest is written |
//!
//! The outboard digest is SHA-256 of all these bytes; for a file of one chunk, of the header alone.
//! Nothing here touches a disk.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod assembly;
mod chunk_set;
#[cfg(test)]
mod hashing_tests;
mod pages;
#[cfg(test)]
mod tests;

use std::fmt;

use sha2::block_api::compress256;

use crate::id::{ContentId, OutboardDigest, sha256};
use crate::wire::limits;

pub use assembly::{Anchored, Assembly, Chain, Complete, Linked, Unlinked};
pub use chunk_set::ChunkSet;
pub use pages::{OutboardPages, PageError};

/// The length in bytes of every chunk but the last.
pub const CHUNK_BYTES: u64 = 1 << 20;

/// The chaining value of SHA-256 between two chunks, written as a digest is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Midstate(pub [u8; 32]);

impl Midstate {
    /// s(0): the initial value of FIPS 180-4, 5.3.3.
    pub const INITIAL: Midstate = Midstate::of_words(H0);

    const fn of_words(words: [u32; 8]) -> Midstate {
        let mut bytes = [0; 32];
        let mut i = 0;
        while i < 32 {
            bytes[i] = words[i / 4].to_be_bytes()[i % 4];
            i += 1;
        }
        Midstate(bytes)
    }

    fn words(&self) -> [u32; 8] {
        let (words, _) = self.0.as_chunks::<4>();
        std::array::from_fn(|i| u32::from_be_bytes(words[i]))
    }
}

impl fmt::Debug for Midstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Midstate({}…)", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

/// The number of chunks of a file of this length.
pub fn chunk_count(length: u64) -> u64 {
    length.div_ceil(CHUNK_BYTES).max(1)
}

/// A file's length and the midstates between its chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outboard {
    length: u64,
    midstates: Vec<Midstate>,
}

/// Why bytes, or midstates, are not an outboard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboardError {
    /// The header is cut short, or is another format's or version's.
    #[error("no outboard of version 1 with chunks of {CHUNK_BYTES} bytes")]
    Header,
    /// The claimed length is longer than any file.
    #[error("a file of {length} bytes is longer than SHA-256 allows")]
    TooLong {
        /// The claimed length in bytes.
        length: u64,
    },
    /// The midstates are too many or too few for the length.
    #[error("a file of {length} bytes has {expected} midstates, not {found}")]
    Count {
        /// The length of the file in bytes.
        length: u64,
        /// The number of midstates that the length demands.
        expected: u64,
        /// The number of midstates found; a part of one counts as one.
        found: u64,
    },
}

impl Outboard {
    /// Puts an outboard together, as from pages off the wire. Proves nothing about its truth.
    ///
    /// # Errors
    /// [`OutboardError`] when the length is out of bounds or the count does not fit it.
    pub fn new(length: u64, midstates: Vec<Midstate>) -> Result<Outboard, OutboardError> {
        check_count(length, midstates.len() as u64)?;
        Ok(Outboard { length, midstates })
    }

    /// Reads exactly what [`Outboard::to_bytes`] writes.
    ///
    /// # Errors
    /// [`OutboardError`] at the first difference.
    pub fn from_bytes(bytes: &[u8]) -> Result<Outboard, OutboardError> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(OutboardError::Header)?;
        let length = u64::from_be_bytes(header[8..16].try_into().map_err(|_| OutboardError::Header)?);
        if header != header_bytes(length) {
            return Err(OutboardError::Header);
        }
        check_count(length, rest.len().div_ceil(32) as u64)?;
        let (midstates, stray) = rest.as_chunks::<32>();
        if !stray.is_empty() {
            let found = midstates.len() as u64 + 1;
            return Err(OutboardError::Count { length, expected: chunk_count(length) - 1, found });
        }
        Ok(Outboard { length, midstates: midstates.iter().copied().map(Midstate).collect() })
    }

    /// The bytes of the outboard, in the format that the module's head describes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 32 * self.midstates.len());
        bytes.extend_from_slice(&header_bytes(self.length));
        bytes.extend(self.midstates.iter().flat_map(|midstate| midstate.0));
        bytes
    }

    /// The outboard digest: SHA-256 of [`Outboard::to_bytes`].
    pub fn digest(&self) -> OutboardDigest {
        OutboardDigest(sha256(&self.to_bytes()))
    }

    /// The length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The midstates s(1) … s(n−1), in order.
    pub fn midstates(&self) -> &[Midstate] {
        &self.midstates
    }

    /// s(index), the midstate before this chunk; `None` past the last chunk.
    pub fn before(&self, index: u64) -> Option<Midstate> {
        match usize::try_from(index).ok()?.checked_sub(1) {
            None => Some(Midstate::INITIAL),
            Some(i) => self.midstates.get(i).copied(),
        }
    }

    /// The length of this chunk in bytes; `None` past the last chunk.
    pub fn chunk_length(&self, index: u64) -> Option<u64> {
        (index < chunk_count(self.length)).then(|| (self.length - index * CHUNK_BYTES).min(CHUNK_BYTES))
    }
}

/// Whether a chunk is linked: it has the length that its place demands and leads from `before`, which
/// is the outboard's midstate there, to the next one, or, as the last, to the content id.
///
/// A linked chunk alone proves nothing to a stranger; see the design's *anchored* and *complete*.
pub fn verify_chunk(
    before: Midstate,
    chunk: &[u8],
    index: u64,
    outboard: &Outboard,
    content: &ContentId,
) -> bool {
    if outboard.before(index) != Some(before) || outboard.chunk_length(index) != Some(chunk.len() as u64) {
        return false;
    }
    let mut hasher = BlockHasher::new(before);
    hasher.update(chunk);
    match outboard.before(index + 1) {
        Some(after) => hasher.midstate() == after,
        None => hasher.finish(outboard.length) == content.0,
    }
}

/// Hashes a file from its beginning, in pieces of any size, and keeps the midstate after each chunk.
#[derive(Debug, Clone)]
pub struct ChunkHasher {
    blocks: BlockHasher,
    offset: u64,
    /// The midstates after each whole chunk so far: s(1), s(2), …
    midstates: Vec<Midstate>,
}

impl Default for ChunkHasher {
    fn default() -> ChunkHasher {
        ChunkHasher { blocks: BlockHasher::new(Midstate::INITIAL), offset: 0, midstates: Vec::new() }
    }
}

impl ChunkHasher {
    /// Takes the next bytes of the file.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(CHUNK_BYTES - self.offset % CHUNK_BYTES).unwrap_or(usize::MAX);
            let (piece, rest) = bytes.split_at(bytes.len().min(room));
            self.blocks.update(piece);
            self.offset += piece.len() as u64;
            if self.offset.is_multiple_of(CHUNK_BYTES) {
                self.midstates.push(self.blocks.midstate());
            }
            bytes = rest;
        }
    }

    /// The number of bytes taken so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The midstates after each whole chunk so far: s(1), s(2), …
    pub fn midstates(&self) -> &[Midstate] {
        &self.midstates
    }

    /// Goes on behind chunks that were hashed before, after which these midstates stand: s(1), s(2), …
    pub fn resume(midstates: Vec<Midstate>) -> ChunkHasher {
        let mut hasher = ChunkHasher { midstates, ..ChunkHasher::default() };
        hasher.rewind(u64::MAX);
        hasher
    }

    /// The midstate at the last chunk boundary.
    pub fn midstate(&self) -> Midstate {
        self.midstates.last().copied().unwrap_or(Midstate::INITIAL)
    }

    /// Goes back to the end of this many chunks, or of all whole ones if those are fewer.
    pub fn rewind(&mut self, chunks: u64) {
        self.midstates.truncate(usize::try_from(chunks).unwrap_or(usize::MAX));
        self.blocks = BlockHasher::new(self.midstate());
        self.offset = self.midstates.len() as u64 * CHUNK_BYTES;
    }

    /// The content id of all bytes taken, and their outboard.
    pub fn finish(mut self) -> (ContentId, Outboard) {
        // The midstate after a last chunk of full size is no part of the outboard.
        self.midstates.truncate(chunk_count(self.offset) as usize - 1);
        let content = ContentId(self.blocks.finish(self.offset));
        (content, Outboard { length: self.offset, midstates: self.midstates })
    }
}

/// Checks the bytes of a file whose outboard is known, in order from the beginning of some chunk on.
#[derive(Debug, Clone)]
pub struct ChunkChecker {
    blocks: BlockHasher,
    offset: u64,
    content: ContentId,
    outboard: std::sync::Arc<Outboard>,
}

impl ChunkChecker {
    /// Begins at the chunk in which the byte at `offset` is, or would be; `None` past the last chunk.
    pub fn new(content: ContentId, outboard: std::sync::Arc<Outboard>, offset: u64) -> Option<ChunkChecker> {
        let chunk = offset / CHUNK_BYTES;
        let blocks = BlockHasher::new(outboard.before(chunk)?);
        Some(ChunkChecker { blocks, offset: chunk * CHUNK_BYTES, content, outboard })
    }

    /// The offset of the next byte to check.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next bytes. Returns false as soon as a whole chunk, or the whole file, is not the expected one.
    pub fn update(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let room = usize::try_from(CHUNK_BYTES - self.offset % CHUNK_BYTES).unwrap_or(usize::MAX);
            let (piece, rest) = bytes.split_at(bytes.len().min(room));
            self.blocks.update(piece);
            self.offset += piece.len() as u64;
            let last = self.offset >= self.outboard.length;
            if last {
                return rest.is_empty() && self.blocks.clone().finish(self.outboard.length) == self.content.0;
            }
            if self.offset.is_multiple_of(CHUNK_BYTES)
                && self.outboard.before(self.offset / CHUNK_BYTES) != Some(self.blocks.midstate())
            {
                return false;
            }
            bytes = rest;
        }
        true
    }
}

/// SHA-256 from a midstate on, without the count of bytes that came before.
#[derive(Clone)]
struct BlockHasher {
    state: [u32; 8],
    /// The bytes of a block that is not whole yet; the first `filled` count.
    partial: [u8; BLOCK_BYTES],
    filled: usize,
}

impl BlockHasher {
    fn new(midstate: Midstate) -> BlockHasher {
        BlockHasher { state: midstate.words(), partial: [0; BLOCK_BYTES], filled: 0 }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        if self.filled > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filled));
            self.partial[self.filled..][..head.len()].copy_from_slice(head);
            self.filled += head.len();
            if self.filled < BLOCK_BYTES {
                return;
            }
            compress256(&mut self.state, &[self.partial]);
            bytes = rest;
        }
        // All whole blocks in one call, in place: this is where the speed comes from.
        let (blocks, tail) = bytes.as_chunks::<BLOCK_BYTES>();
        compress256(&mut self.state, blocks);
        self.partial[..tail.len()].copy_from_slice(tail);
        self.filled = tail.len();
    }

    /// Meaningful at a block boundary only.
    fn midstate(&self) -> Midstate {
        debug_assert_eq!(self.filled, 0, "a midstate lies between blocks");
        Midstate::of_words(self.state)
    }

    /// Pads (FIPS 180-4, 5.1.1) for a message of `length` bytes in all.
    fn finish(mut self, length: u64) -> [u8; 32] {
        let bits = length * 8;
        self.partial[self.filled] = 0x80;
        self.partial[self.filled + 1..].fill(0);
        if self.filled >= BLOCK_BYTES - 8 {
            compress256(&mut self.state, &[self.partial]);
            self.partial.fill(0);
        }
        self.partial[BLOCK_BYTES - 8..].copy_from_slice(&bits.to_be_bytes());
        compress256(&mut self.state, &[self.partial]);
        Midstate::of_words(self.state).0
    }
}

impl fmt::Debug for BlockHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockHasher({} bytes into a block)", self.filled)
    }
}

fn check_count(length: u64, found: u64) -> Result<(), OutboardError> {
    if length > limits::FILE_BYTES_MAX {
        return Err(OutboardError::TooLong { length });
    }
    let expected = chunk_count(length) - 1;
    if found == expected { Ok(()) } else { Err(OutboardError::Count { length, expected, found }) }
}

fn header_bytes(length: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&length.to_be_bytes());
    header[16..].copy_from_slice(&(CHUNK_BYTES as u32).to_be_bytes());
    header
}

const MAGIC: &[u8; 8] = b"QUOITM1\n";
const HEADER_BYTES: usize = 20;
const BLOCK_BYTES: usize = 64;
const H0: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
