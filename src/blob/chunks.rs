//! Receiving an object chunk by chunk, in any order and on several threads at a time: each chunk is linked to an outboard
//! before it is written.

use std::io::IoSlice;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;

use super::error::{BlobError, Result};
use super::marks::{Kept, Run, runs_of};
use super::part::Part;
use super::store::Store;
use super::tables::Kind;
use crate::outboard::{Assembly, CHUNK_BYTES, Chain, ChunkSet, Linked, Midstate, OutboardError, chunk_count};
use crate::wire::{Link, ObjectInfo};

/// One object on its way in, chunk by chunk. If it is dropped before its end, its chunks stay for the next transfer.
pub struct ChunkReceiver {
    part: Part,
    chain: Chain,
    state: Mutex<State>,
    /// Why no more chunks are taken; locked for reading while one is written.
    closed: RwLock<Option<Closed>>,
}

/// Why a transfer takes no more chunks.
enum Closed {
    /// The chunks became an object, or the receiver gave the transfer up.
    Ended,
    /// A write failed, for this reason.
    Failed(BlobError),
}

struct State {
    assembly: Assembly,
    /// The linked chunks that are not marked yet.
    unmarked: Vec<u64>,
}

/// The fate of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkFate {
    /// It is linked, and written.
    Linked,
    /// It is not linked; nothing was written.
    Unlinked {
        /// The state to which its bytes led.
        reached: Midstate,
    },
}

impl Store {
    /// Begins or continues to receive an object chunk by chunk, against an outboard that may be a lie.
    ///
    /// # Errors
    /// The errors of [`Store::receive`].
    pub fn receive_chunks(&self, chain: Chain, length: u64) -> Result<ChunkReceiver> {
        let (content, outboard) = (*chain.content(), chain.outboard());
        if outboard.length() != length {
            let found = outboard.midstates().len() as u64;
            let source = OutboardError::Count { length, expected: chunk_count(length) - 1, found };
            return Err(BlobError::Outboard { content, source });
        }
        let (part, kept) = Part::open(self, content, length, true)?;
        let state = Mutex::new(State { assembly: chain.assembly(), unmarked: Vec::new() });
        let receiver = ChunkReceiver { part, chain, state, closed: RwLock::new(None) };
        receiver.resume(&kept)?;
        Ok(receiver)
    }
}

impl ChunkReceiver {
    /// The chunks that are here.
    pub fn here(&self) -> ChunkSet {
        self.state().assembly.linked().clone()
    }

    /// Checks a chunk, given in pieces, and writes it if it is linked.
    ///
    /// # Errors
    /// [`BlobError::Io`] when the disk is full or fails: all chunks so far are removed, and no more are taken.
    /// [`BlobError::Sync`] poisons the store.
    pub fn place(&self, index: u64, pieces: &[Bytes]) -> Result<ChunkFate> {
        self.part.store.layout().check()?;
        let linked = match self.chain.link(index, pieces.iter().map(|piece| &piece[..])) {
            Ok(linked) => linked,
            Err(unlinked) => return Ok(ChunkFate::Unlinked { reached: unlinked.reached }),
        };
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(closed) = &*closed {
            return Err(self.refusal(closed));
        }
        if self.state().assembly.linked().contains(index) {
            return Ok(ChunkFate::Linked);
        }
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let length = slices.iter().map(|piece| piece.len() as u64).sum();
        if let Err(error) = self.part.write(&mut slices, index * CHUNK_BYTES) {
            drop(closed);
            self.close(Closed::Failed(error.again()));
            return Err(error);
        }
        let runs = self.add(&linked, length);
        self.part.note_stamp();
        if !runs.is_empty() {
            self.part.checkpoint(&runs)?;
        }
        Ok(ChunkFate::Linked)
    }

    /// Makes an object of the chunks, durable and visible, and links it under these names in the same commit.
    ///
    /// # Errors
    /// [`BlobError::Incomplete`] keeps the chunks. [`BlobError::Sync`] poisons the store. A full disk removes them.
    pub fn finish(&self, kind: Kind, links: &[Link]) -> Result<ObjectInfo> {
        self.part.store.layout().check()?;
        let mut closed = self.closed.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(closed) = &*closed {
            return Err(self.refusal(closed));
        }
        let Some(complete) = self.state().assembly.complete() else { return Err(self.incomplete()) };
        *closed = Some(Closed::Ended);
        self.part.become_object(&complete, kind, links)
    }

    /// Gives the transfer up for good: its chunks are removed.
    pub fn discard(&self) {
        self.close(Closed::Ended);
        self.part.remove();
    }

    /// Takes no more chunks from now on. The first reason stays.
    fn close(&self, why: Closed) {
        self.closed.write().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    /// The error for chunks that come later. After a failed write it is the same for all of them.
    fn refusal(&self, closed: &Closed) -> BlobError {
        match closed {
            Closed::Ended => self.incomplete(),
            Closed::Failed(error) => error.again(),
        }
    }

    /// Finds the chunks that are here from an earlier transfer. Marked chunks are believed while nobody else has written
    /// to the part. All others are checked: those that were marked, and what follows a chunk that is here.
    fn resume(&self, kept: &Kept) -> Result<()> {
        let there = self.part.file_length()?;
        for (index, before, after) in kept.runs.iter().flat_map(Run::chunks) {
            let linked = match kept.trusted {
                true => self.chain.recall(index, before, after),
                false => self.look(index, there)?,
            };
            if let Some(linked) = linked {
                self.state().assembly.add(&linked);
            }
        }
        let marked = self.here();
        let mut from = 0;
        while let Some(gap) = { self.here().first_gap(from) } {
            for index in gap.clone() {
                let Some(linked) = self.look(index, there)? else { break };
                self.state().assembly.add(&linked);
            }
            from = gap.end;
        }
        let mut state = self.state();
        let has_marks = self.part.has_marks();
        let here: Vec<u64> = state.assembly.linked().iter().collect();
        state.unmarked = here.into_iter().filter(|index| !has_marks || !marked.contains(*index)).collect();
        drop(state);
        self.part.wrote(0, self.here().count() * CHUNK_BYTES);
        if !has_marks && self.here().chunks() > 1 {
            self.part.begin_marks()?;
        }
        Ok(())
    }

    /// Links a chunk that may lie in the part.
    fn look(&self, index: u64, part_length: u64) -> Result<Option<Linked>> {
        let length = self.chain.outboard().chunk_length(index).unwrap_or(u64::MAX);
        if (index * CHUNK_BYTES).saturating_add(length) > part_length {
            return Ok(None);
        }
        let mut chunk = vec![0; length as usize];
        // Bytes that the disk cannot read are received again.
        if self.part.read(&mut chunk, index * CHUNK_BYTES)? != Some(chunk.len()) {
            return Ok(None);
        }
        let linked = self.chain.link(index, [&chunk[..]]).ok();
        if linked.is_some() {
            self.part.found(&chunk, index * CHUNK_BYTES);
        }
        Ok(linked)
    }

    /// Adds a chunk that is written. Returns the runs to be marked, if it is time.
    fn add(&self, linked: &Linked, bytes: u64) -> Vec<Run> {
        let mut state = self.state();
        if !state.assembly.add(linked) {
            return Vec::new();
        }
        state.unmarked.push(linked.index());
        self.part.wrote(bytes, state.assembly.linked().count() * CHUNK_BYTES);
        if (state.unmarked.len() as u64) < self.part.store.checkpoint_chunks() {
            return Vec::new();
        }
        let mut chunks = std::mem::take(&mut state.unmarked);
        chunks.sort_unstable();
        runs_of(chunks, |index| self.chain.state(index))
    }

    fn incomplete(&self) -> BlobError {
        let offset = self.here().count() * CHUNK_BYTES;
        let length = self.part.length;
        BlobError::Incomplete { content: self.part.content, offset: offset.min(length), length }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
