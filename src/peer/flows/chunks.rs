//! An object that comes in chunk by chunk: each chunk is hashed and written on a thread of its own, several at a time.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::blob::{BlobError, ChunkReceiver};
use crate::files::{Chunks, KeptAs, Placed};
use crate::outboard::ChunkSet;
use crate::shelf;
use crate::transport::{Rope, spawn_blocking};
use crate::wire::{Link, ObjectInfo};

/// An object whose chunks are written in any order.
pub(in crate::peer) struct Gathering {
    receiver: Arc<ChunkReceiver>,
    /// As many chunks are hashed at a time as there are cores; one more waits for the disk.
    threads: Semaphore,
}

impl Gathering {
    pub(in crate::peer) fn new(receiver: ChunkReceiver) -> Gathering {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Gathering { receiver: Arc::new(receiver), threads: Semaphore::new(cores + 1) }
    }
}

impl Chunks for Gathering {
    type Piece = Rope;
    type Error = BlobError;

    fn here(&self) -> ChunkSet {
        self.receiver.here()
    }

    async fn place(&self, index: u64, pieces: Vec<Rope>) -> Result<Placed, BlobError> {
        // The semaphore is never closed.
        let _thread = self.threads.acquire().await;
        let receiver = self.receiver.clone();
        let parts: Vec<Bytes> = pieces.iter().flat_map(|piece| piece.parts().iter().cloned()).collect();
        spawn_blocking(move || shelf::place(&receiver, index, &parts)).await
    }

    async fn finish(self, kept_as: KeptAs, links: Vec<Link>) -> Result<ObjectInfo, BlobError> {
        spawn_blocking(move || shelf::finish_chunks(&self.receiver, kept_as, &links)).await
    }

    async fn discard(self) {
        spawn_blocking(move || self.receiver.discard()).await;
    }
}
