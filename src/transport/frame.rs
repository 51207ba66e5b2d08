//! Frames and raw bytes on QUIC streams; each wait is bounded.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::awake::wait_awake;
use super::least::LeastPace;
use super::rope::Rope;
use super::stream_error::StreamError;
use crate::wire::codec;
use crate::wire::limits;

/// Waits for `work` within the limit; pauses of this process do not count.
pub(super) async fn within<T, E: Into<StreamError>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, StreamError> {
    match wait_awake(limit, work).await.0 {
        Some(done) => done.map_err(Into::into),
        None => Err(StreamError::Silent { waited_ms: limit.as_millis() as u64 }),
    }
}

/// Reads one frame. Its claimed length is checked before memory is taken.
pub(super) async fn read<T: Serialize + DeserializeOwned>(
    recv: &mut quinn::RecvStream,
) -> Result<T, StreamError> {
    let mut header = [0; codec::FRAME_HEADER_BYTES];
    recv.read_exact(&mut header).await?;
    let mut body = vec![0; codec::frame_length(header)?];
    recv.read_exact(&mut body).await?;
    Ok(codec::decode(&body)?)
}

/// Writes one frame within the default time limit.
pub(super) async fn write<T: Serialize>(
    send: &mut quinn::SendStream,
    message: &T,
) -> Result<(), StreamError> {
    write_within(send, message, LeastPace::new(limits::STREAM_SILENCE_MAX)).await
}

/// Like [`write`], at this least pace.
pub(super) async fn write_within<T: Serialize>(
    send: &mut quinn::SendStream,
    message: &T,
    mut pace: LeastPace,
) -> Result<(), StreamError> {
    let frame = Bytes::from(codec::frame(message)?);
    write_piece(send, frame.into(), &mut pace).await
}

/// Writes raw bytes; this may take any time while the least pace is kept.
pub(super) async fn write_piece(
    send: &mut quinn::SendStream,
    piece: Rope,
    pace: &mut LeastPace,
) -> Result<(), StreamError> {
    let mut parts = piece.into_parts();
    let mut rest = &mut parts[..];
    while !rest.is_empty() {
        let written = pace.heard(send.write_chunks(rest)).await?;
        pace.moved(written.bytes);
        rest = &mut rest[written.chunks..];
    }
    Ok(())
}

/// Reads raw bytes as they come, `max_bytes` at most, without copying; `None` at the end.
pub(super) async fn read_piece(
    recv: &mut quinn::RecvStream,
    max_bytes: usize,
    pace: &mut LeastPace,
) -> Result<Option<Bytes>, StreamError> {
    let chunk = pace.heard(recv.read_chunk(max_bytes, true)).await?;
    pace.moved(chunk.as_ref().map_or(0, |chunk| chunk.bytes.len()));
    Ok(chunk.map(|chunk| chunk.bytes))
}

/// Reads raw bytes, `max_bytes` at most, without copying, until so many came, the stream ends, or the `gather` time is
/// over and at least one byte came; `None` at the end. So a slow sender is noticed before the piece is full.
pub(super) async fn gather(
    recv: &mut quinn::RecvStream,
    max_bytes: usize,
    gather: Duration,
    pace: &mut LeastPace,
) -> Result<Option<Rope>, StreamError> {
    let begin = tokio::time::Instant::now();
    let mut piece = Rope::default();
    while piece.len() < max_bytes {
        let mut next = std::pin::pin!(recv.read_chunk(max_bytes - piece.len(), true));
        // Most chunks are there already; only a wait needs a limit.
        let chunk = match next.as_mut().now_or_never() {
            Some(chunk) => chunk.map_err(Into::into),
            None if piece.is_empty() => pace.heard(next).await,
            None => pace.keep(gather.saturating_sub(begin.elapsed()), next).await,
        };
        match chunk {
            Ok(Some(chunk)) => {
                pace.moved(chunk.bytes.len());
                piece.push(chunk.bytes);
            }
            Ok(None) => break,
            Err(StreamError::Silent { .. }) if !piece.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Some(piece).filter(|piece| !piece.is_empty()))
}
