//! The bytes of an object for a person at this peer: from its own disk, or, where nothing can be kept here,
//! straight from the holders. Reading needs no space, no inode and no commit.
//!
//! Each chunk is checked before a byte of it is given.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::api::{Failure, Progress, RequestError};
use super::fetch::{Fetch, Wish};
use super::push::read_ahead;
use super::shared::Shared;
use crate::blob::{BlobError, CHUNK_BYTES, Outboard, chunk_count, verify_chunk};
use crate::id::ContentId;
use crate::wire::limits::PIECE_BYTES;
use crate::wire::{Entry, ObjectInfo};

/// Checked pieces of an object, in order; an error ends them.
pub(super) type Pieces = mpsc::Receiver<Result<Bytes, BlobError>>;

/// An object that is read from its holders.
pub(super) struct Relay {
    fetch: Fetch,
    object: ObjectInfo,
    outboard: Outboard,
}

impl Relay {
    pub(super) fn object(&self) -> &ObjectInfo {
        &self.object
    }
}

impl Shared {
    /// The bytes of an object from this byte on.
    ///
    /// # Errors
    /// When no holder that answers has it, or this peer's own copy cannot be read.
    pub(super) async fn bytes_of(
        self: &Arc<Self>,
        content: ContentId,
        offset: u64,
    ) -> Result<(ObjectInfo, Pieces), Failure> {
        let opened = self
            .blocking(move |store| {
                if store.check(&content)? {
                    store.read(&content, offset)
                } else {
                    Err(BlobError::NotHere { content })
                }
            })
            .await;
        match opened {
            Ok(mut reader) => Ok((*reader.info(), read_ahead(move || reader.read_piece()))),
            Err(error @ BlobError::PastEnd { .. }) => Err(Failure::new(error.to_string())),
            Err(_) => {
                let wish = Wish { content, known: None, links: Vec::new() };
                let relay = self.relay(wish).await?;
                if offset > relay.object.length {
                    let error = BlobError::PastEnd { content, length: relay.object.length, offset };
                    return Err(Failure::new(error.to_string()));
                }
                let (object, (pieces, ahead)) = (relay.object, mpsc::channel(AHEAD_MAX));
                tokio::spawn(relay.run(offset, pieces));
                Ok((object, ahead))
            }
        }
    }

    /// Finds holders of an object, and an outboard that tells whether their bytes are right.
    ///
    /// # Errors
    /// As a request; and where no outboard is certain.
    pub(super) async fn relay(self: &Arc<Self>, wish: Wish) -> Result<Relay, RequestError> {
        let content = wish.content;
        let holders = self.other_holders(&wish).await?;
        let mut fetch = Fetch::new(self, wish, holders, Arc::new(Progress::default()));
        let unreachable = || RequestError::Unreachable { content, holders: Vec::new() };
        let (object, outboard) = fetch.plan().await.ok_or_else(unreachable)?;
        let outboard = match outboard {
            None if chunk_count(object.length) == 1 => Outboard::new(object.length, Vec::new()).ok(),
            outboard => outboard,
        };
        match outboard {
            Some(outboard) => Ok(Relay { fetch, object, outboard }),
            None => Err(self.disk_failure(
                content,
                "its bytes could only be checked once all are here, and there is no room for them",
            )),
        }
    }
}

impl Relay {
    /// Gives checked pieces until all are given, or nobody takes them, or no holder is left.
    async fn run(mut self, offset: u64, pieces: mpsc::Sender<Result<Bytes, BlobError>>) {
        let mut given = offset;
        while given < self.object.length {
            let Some(holder) = self.fetch.next_holder() else {
                let (content, length) = (self.object.content, self.object.length);
                let _ = pieces.send(Err(BlobError::Incomplete { content, offset: given, length })).await;
                return;
            };
            if self.from(&holder, &mut given, &pieces).await.is_none() {
                return;
            }
        }
    }

    /// Takes chunks from one holder until all came, or it fails. `None` when nobody takes them any more.
    async fn from(
        &mut self,
        holder: &Entry,
        given: &mut u64,
        pieces: &mpsc::Sender<Result<Bytes, BlobError>>,
    ) -> Option<()> {
        let begin = *given / CHUNK_BYTES * CHUNK_BYTES;
        let Ok(mut stream) = self.fetch.open(holder, self.object, begin).await else {
            self.fetch.drop_holder(holder);
            return Some(());
        };
        for index in begin / CHUNK_BYTES..chunk_count(self.object.length) {
            let (Some(length), Some(before)) =
                (self.outboard.chunk_length(index), self.outboard.before(index))
            else {
                return Some(());
            };
            let mut chunk = BytesMut::zeroed(length as usize);
            // A chunk is four pieces, each of which may take its time.
            let filled = timeout(CHUNK_TIMEOUT, stream.fill(&mut chunk)).await;
            if !matches!(filled, Ok(Ok(filled)) if filled == chunk.len()) {
                self.fetch.drop_holder(holder);
                return Some(());
            }
            if !verify_chunk(before, &chunk, index, &self.outboard, &self.object.content) {
                self.fetch.convict(holder);
                return Some(());
            }
            let mut chunk = chunk.freeze();
            let skip = given.saturating_sub(index * CHUNK_BYTES).min(length);
            drop(chunk.split_to(skip as usize));
            while !chunk.is_empty() {
                let piece = chunk.split_to(chunk.len().min(PIECE_BYTES));
                *given += piece.len() as u64;
                pieces.send(Ok(piece)).await.ok()?;
            }
        }
        Some(())
    }
}

/// Checked pieces that wait to be taken.
const AHEAD_MAX: usize = 8;
/// How long a chunk of 1 MiB may take to come, before another holder is asked.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);
