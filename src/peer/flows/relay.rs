//! The bytes of an object for a person at this peer: from its own disk, or, if this peer cannot keep the object,
//! directly from the holders. Reading needs no space, no inode and no commit.
//!
//! Each chunk is checked before any of its bytes is passed on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::bytes::read_ahead;
use crate::blob::{BlobError, ObjectReader, Store};
use crate::files::{self, Asking as _, Env as _, Fetch, Wish, holders_to_ask};
use crate::id::ContentId;
use crate::names::object_of;
use crate::outboard::{CHUNK_BYTES, Outboard, chunk_count, verify_chunk};
use crate::peer::api::{ByteRange, Progress, RangeProof, RangeReport, ReadError, RequestError, Wanted};
use crate::peer::shared::Shared;
use crate::transport::{Rope, background};
use crate::wire::limits::{CLIENT_BATCH_BYTES_MAX, PIECE_BYTES};
use crate::wire::{Entry, ObjectInfo};

/// The checked pieces of an object, in order; an error ends them.
pub(in crate::peer) type Pieces = mpsc::Receiver<Result<Bytes, BlobError>>;

/// An object that is read from its holders.
pub(in crate::peer) struct Relay {
    env: Arc<Shared>,
    fetch: Fetch<Shared>,
    object: ObjectInfo,
    outboard: Outboard,
    /// The end of the bytes that are passed on: the first byte that is not.
    end: u64,
    /// The received part of the chunk that is to be passed on next.
    part: Part,
}

/// This peer's own copy of an object, opened at some byte.
enum OwnCopy {
    /// A short object, and its bytes from there on, as one piece.
    Short(ObjectInfo, Bytes),
    Long(Box<ObjectReader>),
}

impl OwnCopy {
    fn open(store: &Store, content: &ContentId, offset: u64) -> Result<OwnCopy, BlobError> {
        if !store.check(content)? {
            return Err(BlobError::NotHere { content: *content });
        }
        let mut reader = store.read(content, offset)?;
        let object = *reader.info();
        if object.length > PIECE_BYTES as u64 {
            return Ok(OwnCopy::Long(Box::new(reader)));
        }
        Ok(OwnCopy::Short(object, reader.read_piece()?))
    }
}

impl Relay {
    pub(in crate::peer) fn object(&self) -> &ObjectInfo {
        &self.object
    }
}

impl Shared {
    /// The bytes of an object, beginning at `offset`. If this peer's own copy fails in the middle, other holders
    /// provide the rest.
    ///
    /// # Errors
    /// [`ReadError`] when no holder that answers has it.
    pub(in crate::peer) async fn bytes_of(
        self: &Arc<Self>,
        content: ContentId,
        offset: u64,
    ) -> Result<(ObjectInfo, Pieces), ReadError> {
        let wish = Wish { content, known: None, links: Vec::new() };
        self.bytes_of_wish(wish, offset).await
    }

    /// The bytes of an object that a tree describes. One of several chunks is brought to this peer first, so that an
    /// interrupted transfer goes on where it stopped; a smaller one only passes through.
    ///
    /// # Errors
    /// [`ReadError`] when no holder that answers has it.
    pub(in crate::peer) async fn bytes_of_described(
        self: &Arc<Self>,
        object: ObjectInfo,
        progress: Arc<Progress>,
    ) -> Result<(ObjectInfo, Pieces), ReadError> {
        let content = object.content;
        let wish = Wish { content, known: Some(object), links: Vec::new() };
        let is_long = chunk_count(object.length) > 1;
        if is_long && !self.blocking(move |store| store.contains(&content)).await.unwrap_or(false) {
            match self.bring(wish.clone(), progress).await {
                // Without room here the bytes pass through.
                Ok(_) | Err(RequestError::Disk { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.bytes_of_wish(wish, 0).await
    }

    /// The bytes of small objects that a tree describes, each checked, in the order of the objects. They only pass through
    /// this peer. `None` for one that does not come this way: it is asked for alone.
    pub(in crate::peer) async fn small_bytes_of(
        self: &Arc<Self>,
        objects: &[ObjectInfo],
    ) -> Vec<Option<Rope>> {
        let contents = objects.iter().map(|object| object.content).collect();
        let mut all = self.read_small(contents, CLIENT_BATCH_BYTES_MAX).await;
        let lacking = objects.iter().zip(&all).filter(|(_, own)| own.is_none());
        let lacking: Vec<ObjectInfo> = lacking.map(|(object, _)| *object).collect();
        let gathered = files::gather(self, &lacking).await;
        for (one, gathered) in all.iter_mut().filter(|own| own.is_none()).zip(gathered) {
            *one = gathered.map(Rope::joined);
        }
        // A tree may be wrong about the length.
        let has_length = |(one, object): (Option<Rope>, &ObjectInfo)| {
            one.filter(|bytes| bytes.len() as u64 == object.length)
        };
        all.into_iter().zip(objects).map(has_length).collect()
    }

    async fn bytes_of_wish(
        self: &Arc<Self>,
        wish: Wish,
        offset: u64,
    ) -> Result<(ObjectInfo, Pieces), ReadError> {
        let content = wish.content;
        let (pieces, ahead) = mpsc::channel(AHEAD_MAX);
        match self.blocking(move |store| OwnCopy::open(store, &content, offset)).await {
            Ok(OwnCopy::Short(object, rest)) => {
                // The channel is empty, so that there is a place.
                let _ = pieces.try_send(Ok(rest));
                Ok((object, ahead))
            }
            Ok(OwnCopy::Long(reader)) => {
                let object = *reader.info();
                background(self.clone().give_own(*reader, offset, pieces));
                Ok((object, ahead))
            }
            Err(error @ BlobError::PastEnd { .. }) => Err(ReadError::PastEnd(error)),
            Err(_) => {
                let relay = self.relay(wish).await?;
                if offset > relay.object.length {
                    let error = BlobError::PastEnd { content, length: relay.object.length, offset };
                    return Err(ReadError::PastEnd(error));
                }
                let object = relay.object;
                background(relay.run(offset, pieces));
                Ok((object, ahead))
            }
        }
    }

    /// Some bytes of a file: of this peer's own copy, or else only the chunks that they lie in, from the holders, each
    /// checked by an outboard.
    ///
    /// # Errors
    /// [`ReadError`] when the range is not in the file, or no holder that answers has the file.
    pub(in crate::peer) async fn range_of(
        self: &Arc<Self>,
        wanted: &Wanted,
        range: ByteRange,
    ) -> Result<(RangeReport, Pieces), ReadError> {
        self.until_member().await.map_err(RequestError::from)?;
        let (content, record) = self.content_of(wanted).await?;
        let known = record.as_ref().and_then(object_of);
        let name = record.map(|record| record.name);
        let checks = |length: u64| match range.last < length {
            true => Ok(()),
            false => Err(ReadError::PastRange { content, length, range }),
        };
        let report = |length, proof, holders| RangeReport { name, content, length, range, proof, holders };
        let own = self.blocking(move |store| match store.check(&content)? {
            true => store.read(&content, 0).map(|reader| *reader.info()),
            false => Err(BlobError::NotHere { content }),
        });
        let (pieces, ahead) = mpsc::channel(AHEAD_MAX);
        if let Ok(object) = own.await {
            checks(object.length)?;
            let reader = self.blocking(move |store| store.read(&content, range.first)).await;
            let reader = reader.map_err(|error| self.disk_failure(content, error))?;
            background(self.clone().give_own(reader, range.first, pieces));
            return Ok((report(object.length, RangeProof::Whole, Vec::new()), ahead));
        }
        let mut relay = self.relay(Wish { content, known, links: Vec::new() }).await?;
        checks(relay.object.length)?;
        relay.end = range.last + 1;
        let holders = self.all_named(relay.fetch.holders().iter().map(|holder| &holder.position));
        let report = report(relay.object.length, RangeProof::Outboard, holders);
        background(relay.run(range.first, pieces));
        Ok((report, ahead))
    }

    /// Passes on the bytes of this peer's own copy, and from the point where that fails those of other holders.
    async fn give_own(
        self: Arc<Self>,
        mut reader: ObjectReader,
        mut given: u64,
        pieces: mpsc::Sender<Result<Bytes, BlobError>>,
    ) {
        let object = *reader.info();
        let mut own = read_ahead(move || reader.read_piece());
        while let Some(piece) = own.recv().await {
            match piece {
                Ok(piece) => {
                    given += piece.len() as u64;
                    if pieces.send(Ok(piece)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let wish = Wish { content: object.content, known: Some(object), links: Vec::new() };
                    match self.relay(wish).await {
                        Ok(relay) => relay.run(given, pieces).await,
                        Err(_) => {
                            // The reader learns what is wrong here.
                            let _ = pieces.send(Err(error)).await;
                        }
                    }
                    return;
                }
            }
        }
    }

    /// Finds holders of an object, and an outboard by which their bytes are checked.
    ///
    /// # Errors
    /// The errors of a request; also if no outboard is certain.
    pub(in crate::peer) async fn relay(self: &Arc<Self>, wish: Wish) -> Result<Relay, RequestError> {
        let content = wish.content;
        let holders = holders_to_ask(self, content).await.map_err(|error| self.fetch_error(&wish, error))?;
        let mut fetch = Fetch::new(self, wish, holders.entries, Arc::new(Progress::default()));
        let unreachable = || RequestError::Unreachable { content, holders: Vec::new() };
        let (object, outboard) = fetch.plan().await.ok_or_else(unreachable)?;
        match outboard {
            Some(outboard) => {
                let env = self.clone();
                let end = object.length;
                Ok(Relay { env, fetch, object, outboard, end, part: Part::default() })
            }
            None => Err(self.disk_failure(
                content,
                "its bytes could only be checked once all are here, and there is no room for them",
            )),
        }
    }
}

impl Relay {
    /// Passes on checked pieces until all are passed on, the reader takes no more, or no holder is left.
    async fn run(mut self, offset: u64, pieces: mpsc::Sender<Result<Bytes, BlobError>>) {
        let mut given = offset;
        while given < self.end {
            let next = tokio::select! {
                biased;
                () = pieces.closed() => return,
                next = self.fetch.next_holder(given) => next,
            };
            let Some(holder) = next else {
                let (content, length) = (self.object.content, self.object.length);
                let _ = pieces.send(Err(BlobError::Incomplete { content, offset: given, length })).await;
                return;
            };
            if self.from(&holder, &mut given, &pieces).await.is_none() {
                return;
            }
        }
    }

    /// Takes chunks from one holder until all came or the holder fails. `None` if the reader takes no more.
    async fn from(
        &mut self,
        holder: &Entry,
        given: &mut u64,
        pieces: &mpsc::Sender<Result<Bytes, BlobError>>,
    ) -> Option<()> {
        let begin = *given / CHUNK_BYTES * CHUNK_BYTES;
        let chunks = begin / CHUNK_BYTES..self.end.div_ceil(CHUNK_BYTES).max(1);
        let from = begin + self.part.bytes.len() as u64;
        let wanted = (from, (chunks.end * CHUNK_BYTES).saturating_sub(from));
        let Ok(mut stream) = self.fetch.open(holder, self.object, wanted).await else {
            // The holder described the object's outboard a moment ago, so this is a broken transfer.
            self.fetch.broke_off(holder);
            return Some(());
        };
        self.part.senders += 1;
        for index in chunks {
            let (Some(length), Some(before)) =
                (self.outboard.chunk_length(index), self.outboard.before(index))
            else {
                return Some(());
            };
            while let Some(lacking) = self.part.lacking(length) {
                match stream.piece(lacking as u64).await {
                    Ok(Some(piece)) => {
                        piece.parts().iter().for_each(|part| self.part.bytes.extend_from_slice(part));
                        self.env.transfers().download.take(&self.env, piece.len() as u64).await;
                    }
                    // The holder stands still or is gone. The part that came from it serves with the next holder.
                    Ok(None) | Err(_) => {
                        self.fetch.broke_off(holder);
                        return Some(());
                    }
                }
            }
            let (mut chunk, senders) = self.part.take();
            if !verify_chunk(before, &chunk, index, &self.outboard, &self.object.content) {
                // With two senders it is unknown which one was wrong; this holder is asked for the whole chunk.
                if senders == 1 {
                    self.fetch.convict(holder);
                }
                return Some(());
            }
            self.part.senders = 1;
            let skip = given.saturating_sub(index * CHUNK_BYTES).min(length);
            chunk.truncate((self.end - index * CHUNK_BYTES).min(length) as usize);
            drop(chunk.split_to(skip as usize));
            let taken = Instant::now();
            while !chunk.is_empty() {
                let piece = chunk.split_to(chunk.len().min(PIECE_BYTES));
                *given += piece.len() as u64;
                pieces.send(Ok(piece)).await.ok()?;
            }
            if taken.elapsed() > READER_PAUSE {
                // The holder may have given this stream up meanwhile, which is not its fault.
                self.part.senders = 0;
                return Some(());
            }
        }
        Some(())
    }
}

/// A chunk that has not arrived completely.
#[derive(Debug, Default)]
struct Part {
    bytes: Vec<u8>,
    /// The number of holders that sent these bytes, or were asked to continue them.
    senders: u32,
}

impl Part {
    /// The length that the next piece may have; `None` if a chunk of this length is complete.
    fn lacking(&self, length: u64) -> Option<usize> {
        let lacking = (length as usize).saturating_sub(self.bytes.len());
        (lacking > 0).then_some(lacking.min(PIECE_BYTES))
    }

    /// Takes the whole chunk and the number of its senders. The next chunk starts empty.
    fn take(&mut self) -> (Bytes, u32) {
        let part = std::mem::take(self);
        (part.bytes.into(), part.senders)
    }
}

/// The number of checked pieces that wait for the reader.
const AHEAD_MAX: usize = 8;
/// If the reader took nothing for this long, a holder is asked anew: half of the time that its stream may stand still.
const READER_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a relay keeps the bytes of a slow holder that went away for the next holder. A wrong chunk of both then
    /// convicts neither.
    #[test]
    fn a_part_of_a_chunk_is_kept_for_the_next_holder() {
        let mut part = Part { bytes: vec![7; PIECE_BYTES + 1], senders: 1 };
        part.senders += 1;
        assert_eq!(part.lacking(3 * PIECE_BYTES as u64), Some(PIECE_BYTES));
        assert_eq!(part.lacking(PIECE_BYTES as u64 + 3), Some(2));
        part.bytes.extend([8, 8]);
        assert_eq!(part.lacking(PIECE_BYTES as u64 + 3), None);
        let (chunk, senders) = part.take();
        assert_eq!((chunk.len(), senders), (PIECE_BYTES + 3, 2));
        assert_eq!((part.bytes.len(), part.senders), (0, 0), "the next chunk is of one sender");
    }
}
