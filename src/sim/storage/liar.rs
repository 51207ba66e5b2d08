//! A member that lies about files, in one way at a time, and is honest in everything else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::super::disk::Span;
use super::bytes::Reading;
use super::keeper::Keeper;
use super::lie::Lie;
use super::signature::{FORGED, unsigned};
use super::stream::Stream;
use crate::files::{GiveError, Piece as _, Reader as _, StreamError};
use crate::id::{ContentId, Position};
use crate::outboard::{Midstate, Outboard, chunk_count};
use crate::time::Timestamp;
use crate::wire::{ObjectInfo, StorageReply, StorageRequest, codec, limits};

impl Keeper {
    /// Lies, if this peer is a liar and can lie about this request. Otherwise returns the stream and the request.
    pub(super) async fn lie(
        self: &Arc<Self>,
        stream: Stream,
        request: StorageRequest,
    ) -> Option<(Stream, StorageRequest)> {
        let Some(lie) = self.lie.get() else { return Some((stream, request)) };
        match &request {
            StorageRequest::FetchObject { content, .. } | StorageRequest::FetchRange { content, .. } => {
                let (offset, length) = match &request {
                    StorageRequest::FetchRange { offset, length, .. } => (*offset, *length),
                    StorageRequest::FetchObject { offset, .. } => (*offset, u64::MAX),
                    _ => (0, u64::MAX),
                };
                match Reading::begin(self, content, offset) {
                    Ok((object, reading)) if is_about_objects(lie) && offset < object.length => {
                        self.tell_lie();
                        let end = offset.saturating_add(length).min(object.length);
                        let length = object.length + u64::from(lie == Lie::WrongLength);
                        let reply = StorageReply::Object(ObjectInfo { length, ..object });
                        // The asking peer may hang up.
                        let _ = give(lie, stream, reply, end - offset, vec![reading]).await;
                        None
                    }
                    _ => Some((stream, request)),
                }
            }
            StorageRequest::FetchBatch { contents } if is_about_objects(lie) => {
                let (mut readings, mut lengths, mut wanted) = (Vec::new(), Vec::new(), 0);
                for content in contents {
                    let read = Reading::begin(self, content, 0).ok();
                    let length = read.as_ref().map(|(object, _)| object.length);
                    wanted += length.unwrap_or(0);
                    lengths.push(length.map(|length| length + u64::from(lie == Lie::WrongLength)));
                    readings.extend(read.map(|(_, reading)| reading));
                }
                if wanted == 0 {
                    return Some((stream, request));
                }
                self.tell_lie();
                let _ = give(lie, stream, StorageReply::Batch { lengths }, wanted, readings).await;
                None
            }
            StorageRequest::StoreObject { .. }
            | StorageRequest::StoreBatch { .. }
            | StorageRequest::PutBatch { .. }
            | StorageRequest::FetchRecords { .. }
            | StorageRequest::PutRecords { .. }
            | StorageRequest::FetchRecord { .. }
            | StorageRequest::PutRecord { .. }
                if lie == Lie::OtherReply =>
            {
                self.tell_lie();
                let mut stream = stream;
                stream.say_reply(StorageReply::NotHere);
                stream.is_over();
                None
            }
            StorageRequest::StoreObject { .. } if lie == Lie::SlowReader => {
                self.tell_lie();
                // The giving peer gives up at some time.
                let _ = self.read_slowly(stream).await;
                None
            }
            StorageRequest::StoreObject { object, .. } => {
                let Some(others) = claimed_with(lie) else { return Some((stream, request)) };
                self.tell_lie();
                self.false_copies.lock().insert(object.content);
                let mut stream = stream;
                stream.say_reply(StorageReply::AlreadyHere);
                let me = self.view().me.position;
                for peer in others.iter().chain([&me]) {
                    stream.say_reply(StorageReply::Durable { peer: *peer });
                }
                stream.say_reply(StorageReply::Finished);
                stream.is_over();
                None
            }
            StorageRequest::StoreBatch { objects, .. } => {
                let contents = objects.iter().map(|batched| batched.object.content).collect();
                self.claim_batch(lie, stream, request, contents)
            }
            StorageRequest::PutBatch { objects, .. } => {
                let contents = objects.iter().map(|object| object.content).collect();
                self.claim_batch(lie, stream, request, contents)
            }
            other => match self.false_answer(lie, other).await {
                Some(reply) => {
                    self.tell_lie();
                    let mut stream = stream;
                    stream.say_reply(reply);
                    stream.is_over();
                    None
                }
                None => Some((stream, request)),
            },
        }
    }

    /// Claims that a batch is durable here and at others, without having taken it.
    fn claim_batch(
        &self,
        lie: Lie,
        mut stream: Stream,
        request: StorageRequest,
        contents: Vec<ContentId>,
    ) -> Option<(Stream, StorageRequest)> {
        let Some(others) = claimed_with(lie) else { return Some((stream, request)) };
        self.tell_lie();
        self.false_copies.lock().extend(contents);
        stream.say_reply(StorageReply::BatchWanted { objects: Vec::new() });
        let me = self.view().me.position;
        for peer in others.iter().chain([&me]) {
            stream.say_reply(StorageReply::BatchKept { peer: *peer, missing: Vec::new() });
        }
        stream.say_reply(StorageReply::Finished);
        stream.is_over();
        None
    }

    async fn false_answer(self: &Arc<Self>, lie: Lie, request: &StorageRequest) -> Option<StorageReply> {
        match (lie, request) {
            (Lie::OtherOutboard | Lie::LongOutboard, StorageRequest::FetchOutboard { content, .. }) => {
                let object = self.disk.lock().info(content).ok()??;
                let count = match lie {
                    Lie::OtherOutboard => chunk_count(object.length) as usize - 1,
                    _ => limits::MIDSTATES_PER_PAGE_MAX + 1,
                };
                Some(StorageReply::Outboard { object, midstates: vec![9; 32 * count] })
            }
            (Lie::ForgedOutboard, StorageRequest::FetchOutboard { content, .. }) => {
                let object = self.disk.lock().info(content).ok()??;
                let midstates = vec![Midstate([9; 32]); chunk_count(object.length) as usize - 1];
                let bytes = midstates.iter().flat_map(|midstate| midstate.0).collect();
                let outboard = Outboard::new(object.length, midstates).ok()?.digest();
                Some(StorageReply::Outboard { object: ObjectInfo { outboard, ..object }, midstates: bytes })
            }
            (Lie::Denial, StorageRequest::WhoHas { .. }) => {
                Some(StorageReply::Holders { here: false, others: Vec::new() })
            }
            (Lie::Denial, StorageRequest::FetchRecords { names }) => {
                Some(StorageReply::Records { records: vec![None; names.len()], syncing: false })
            }
            (Lie::Denial, StorageRequest::FetchRecord { .. }) => {
                Some(StorageReply::Record { record: None, syncing: false })
            }
            (Lie::ForgedRecord, StorageRequest::FetchRecord { name }) => {
                let mut record = self.disk.lock().record(&name.key())?.current.as_ref()?.decode().ok()?;
                record.clock = Timestamp(record.clock.0 + 1);
                if let crate::wire::RecordTarget::Content { content, .. } = &mut record.target {
                    *content = ContentId::of(b"another file");
                }
                let mut forged = unsigned(codec::encode(&record).ok()?);
                forged.signature.fill(FORGED);
                Some(StorageReply::Record { record: Some(forged), syncing: false })
            }
            (Lie::FalseHere, StorageRequest::Offer { objects, .. }) => {
                self.false_copies.lock().extend(objects);
                Some(StorageReply::Wanted { objects: Vec::new(), records: Vec::new(), arriving: Vec::new() })
            }
            (Lie::FalseHere, StorageRequest::WhoHas { content })
                if self.false_copies.lock().contains(content) =>
            {
                Some(StorageReply::Holders { here: true, others: Vec::new() })
            }
            _ => None,
        }
    }

    async fn read_slowly(self: &Arc<Self>, mut stream: Stream) -> Result<(), StreamError> {
        stream.say_reply(StorageReply::Proceed { offset: 0 });
        while stream.next_span(1).await?.is_some() {
            stream.say_reply(StorageReply::Moving { bytes: 1 });
            self.sleep(SLOW_BYTE).await;
        }
        Ok(())
    }

    fn tell_lie(&self) {
        self.lies_told.set(self.lies_told.get() + 1);
    }
}

/// Whether a lie is one about the bytes of objects.
fn is_about_objects(lie: Lie) -> bool {
    matches!(
        lie,
        Lie::CorruptBytes
            | Lie::WrongLength
            | Lie::FewerBytes
            | Lie::MoreBytes
            | Lie::OtherReply
            | Lie::OneByte
            | Lie::Stalls
    )
}

/// Sends a reply, and `wanted` bytes of objects, in the way of a liar.
async fn give(
    lie: Lie,
    mut stream: Stream,
    reply: StorageReply,
    wanted: u64,
    readings: Vec<Reading>,
) -> Result<(), StreamError> {
    if lie == Lie::OtherReply {
        stream.say_reply(StorageReply::Noted);
        stream.is_over();
        return Ok(());
    }
    stream.say_reply(reply);
    let mut left = match lie {
        Lie::FewerBytes | Lie::Stalls => wanted / 2,
        _ => wanted,
    };
    let (mut last, mut readings) = (None, VecDeque::from(readings));
    while let Some(reading) = readings.front_mut() {
        let Some(mut piece) = reading.next().await.map_err(broken)? else {
            readings.pop_front();
            continue;
        };
        let mut piece = piece.split_to(left.min(piece.length()));
        left -= piece.length();
        match lie {
            Lie::CorruptBytes if last.is_none() => piece = corrupted(piece),
            Lie::OneByte => {
                stream.send_span(piece.split_to(1)).await?;
                // This lasts until the process ends, or the other side gives up.
                stream.next_reply(Duration::from_secs(86_400)).await?;
            }
            _ => {}
        }
        if piece.length() > 0 {
            stream.send_span(piece.clone()).await?;
            last = Some(piece);
        }
        if left == 0 {
            break;
        }
    }
    if lie == Lie::Stalls {
        stream.next_reply(Duration::from_secs(86_400)).await?;
    }
    while lie == Lie::MoreBytes
        && let Some(piece) = &last
    {
        stream.send_span(piece.clone()).await?;
    }
    stream.is_over();
    Ok(())
}

fn corrupted(piece: Span) -> Span {
    match piece {
        Span::Light { bytes, .. } => Span::Light { bytes, sound: false },
        Span::Real(bytes) => {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Span::Real(bytes.into())
        }
    }
}

/// The peers whose copies this lie claims beside the liar's own; `None` if it claims none.
fn claimed_with(lie: Lie) -> Option<&'static [Position]> {
    match lie {
        Lie::FalseHere => Some(&[]),
        Lie::FalseCopies => Some(&[STRANGER]),
        _ => None,
    }
}

fn broken<D>(_: GiveError<D>) -> StreamError {
    StreamError::Broken("it cannot be read".to_owned())
}

const SLOW_BYTE: Duration = Duration::from_secs(9);
/// The position of a peer of no ring.
const STRANGER: Position = Position([7; 32]);
