//! Linked, anchored, complete: the three things that can be known of the chunks of an object, each a type of its own.
//!
//! A [`Linked`] chunk leads from the outboard's midstate before it to the one after it. That alone proves nothing to a
//! stranger, since a liar can invent a chunk and the next midstate together. An [`Anchored`] end is a run of linked
//! chunks down to the address. [`Complete`] is the whole chain, from the initial value of SHA-256 to the address: that
//! *is* SHA-256 of the file. Only these functions make one, and only it can become an object.
//!
//! Chunks are linked in any order and on any thread; an [`Assembly`] gathers them.

use std::sync::Arc;

use super::{BlockHasher, ChunkHasher, ChunkSet, Midstate, Outboard, chunk_count};
use crate::id::ContentId;

/// The address of an object, and the outboard against which its chunks are checked. Cheap to clone.
///
/// The outboard may be a lie, until all chunks are linked to it.
#[derive(Debug, Clone)]
pub struct Chain(Arc<(ContentId, Outboard)>);

/// A chunk that leads from the midstate before it to the one after it, or, as the last, to the address.
#[derive(Debug)]
pub struct Linked {
    chain: Chain,
    index: u64,
}

/// Bytes that are not the chunk of an outboard, or an outboard that is not the one of these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlinked {
    /// The state to which the bytes led: the same for two senders if and only if their bytes are the same.
    pub reached: Midstate,
}

/// Linked chunks down to the address, without a gap: the length of the file is right, and so is each midstate among
/// them, if the compression function of SHA-256 resists free-start second preimages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchored {
    /// The first of these chunks.
    pub from: u64,
    /// The length of the file in bytes.
    pub length: u64,
}

/// All chunks of an object, linked from the initial value of SHA-256 to the address.
#[derive(Debug, Clone)]
pub struct Complete {
    content: ContentId,
    outboard: Outboard,
}

/// The linked chunks of an object so far.
#[derive(Debug, Clone)]
pub struct Assembly {
    chain: Chain,
    linked: ChunkSet,
}

impl Chain {
    /// An object, and an outboard that is said to be its own.
    pub fn new(content: ContentId, outboard: Outboard) -> Chain {
        Chain(Arc::new((content, outboard)))
    }

    /// The address.
    pub fn content(&self) -> &ContentId {
        &self.0.0
    }

    /// The outboard.
    pub fn outboard(&self) -> &Outboard {
        &self.0.1
    }

    /// The state before a chunk; the address, as the state after the last one. `None` beyond that.
    pub fn state(&self, index: u64) -> Option<Midstate> {
        let end = chunk_count(self.outboard().length());
        if index == end { Some(Midstate(self.content().0)) } else { self.outboard().before(index) }
    }

    /// Hashes the bytes of a chunk, which come in pieces, and links them.
    ///
    /// # Errors
    /// [`Unlinked`] if they have another length than that chunk, or lead to another state.
    pub fn link<'a>(
        &self,
        index: u64,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Linked, Unlinked> {
        let begin = self.outboard().before(index).unwrap_or(Midstate::INITIAL);
        let (mut hasher, mut length) = (BlockHasher::new(begin), 0);
        for piece in pieces {
            hasher.update(piece);
            length += piece.len() as u64;
        }
        let is_last = index + 1 >= chunk_count(self.outboard().length());
        let is_whole = self.outboard().chunk_length(index) == Some(length);
        let reached = match is_last || !is_whole {
            true => Midstate(hasher.finish(self.outboard().length())),
            false => hasher.midstate(),
        };
        if is_whole && self.state(index + 1) == Some(reached) {
            Ok(Linked { chain: self.clone(), index })
        } else {
            Err(Unlinked { reached })
        }
    }

    /// Links a chunk that this peer linked before, between these two states: the bytes are on its own disk, and were
    /// not written to since.
    pub fn recall(&self, index: u64, before: &Midstate, after: &Midstate) -> Option<Linked> {
        let here = index < chunk_count(self.outboard().length());
        (here && self.state(index)? == *before && self.state(index + 1)? == *after)
            .then(|| Linked { chain: self.clone(), index })
    }

    /// No chunks yet.
    pub fn assembly(&self) -> Assembly {
        Assembly { chain: self.clone(), linked: ChunkSet::new(chunk_count(self.outboard().length())) }
    }
}

impl Linked {
    /// The chunk.
    pub fn index(&self) -> u64 {
        self.index
    }
}

impl Assembly {
    /// Adds a linked chunk. Returns whether it is new; a chunk of another chain never is.
    pub fn add(&mut self, linked: &Linked) -> bool {
        Arc::ptr_eq(&linked.chain.0, &self.chain.0) && self.linked.insert(linked.index)
    }

    /// The linked chunks.
    pub fn linked(&self) -> &ChunkSet {
        &self.linked
    }

    /// The linked chunks at the end; `None` while the last chunk is not linked.
    pub fn anchored(&self) -> Option<Anchored> {
        let chunks = self.linked.chunks();
        let from = (0..chunks).rev().take_while(|index| self.linked.contains(*index)).last()?;
        Some(Anchored { from, length: self.chain.outboard().length() })
    }

    /// The whole object; `None` while a chunk is not linked.
    pub fn complete(&self) -> Option<Complete> {
        self.linked
            .is_full()
            .then(|| Complete { content: *self.chain.content(), outboard: self.chain.outboard().clone() })
    }
}

impl Complete {
    /// The object that was hashed from its beginning to its end.
    ///
    /// # Errors
    /// The content id of the bytes, if it is another one.
    pub fn hashed(hasher: ChunkHasher, content: &ContentId) -> Result<Complete, ContentId> {
        let (found, outboard) = hasher.finish();
        if found == *content { Ok(Complete { content: found, outboard }) } else { Err(found) }
    }

    /// The address.
    pub fn content(&self) -> &ContentId {
        &self.content
    }

    /// The outboard, which is the true one.
    pub fn outboard(&self) -> &Outboard {
        &self.outboard
    }
}
