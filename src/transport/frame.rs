//! Frames and raw bytes on QUIC streams; each wait is bounded.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::awake::wait_awake;
use super::least::LeastPace;
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
    write_piece(send, frame, &mut pace).await
}

/// Writes raw bytes; this may take any time while the least pace is kept.
pub(super) async fn write_piece(
    send: &mut quinn::SendStream,
    piece: Bytes,
    pace: &mut LeastPace,
) -> Result<(), StreamError> {
    let mut rest = [piece];
    while !rest[0].is_empty() {
        let written = pace.heard(send.write_chunks(&mut rest)).await?;
        pace.moved(written.bytes);
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

/// Reads raw bytes until the buffer is full or the stream ends; returns the number of bytes.
pub(super) async fn fill(
    recv: &mut quinn::RecvStream,
    buffer: &mut [u8],
    silence: Duration,
) -> Result<usize, StreamError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match within(silence, recv.read(&mut buffer[filled..])).await? {
            Some(count) => filled += count,
            None => break,
        }
    }
    Ok(filled)
}

/// Reads raw bytes until the buffer is full, the stream ends, or the `gather` time is over and at least one byte came;
/// 0 is the end. So a slow sender is noticed before a buffer is full.
pub(super) async fn fill_within(
    recv: &mut quinn::RecvStream,
    buffer: &mut [u8],
    gather: Duration,
    pace: &mut LeastPace,
) -> Result<usize, StreamError> {
    let until = tokio::time::Instant::now() + gather;
    let mut filled = 0;
    while filled < buffer.len() {
        let limit = match filled {
            0 => pace.silence(),
            _ => until.saturating_duration_since(tokio::time::Instant::now()),
        };
        match pace.keep(limit, recv.read(&mut buffer[filled..])).await {
            Ok(Some(count)) => {
                filled += count;
                pace.moved(count);
            }
            Ok(None) => break,
            Err(StreamError::Silent { .. }) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
