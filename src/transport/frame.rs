//! Frames and raw bytes on QUIC streams; each wait is bounded.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::awake::wait_awake;
use super::least::LeastPace;
use crate::wire::codec::{self, CodecError};
use crate::wire::limits;

/// Why a stream does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The other side sent nothing, or took nothing, for too long.
    #[error("silent for {waited_ms} ms")]
    Silent {
        /// The time of silence, in milliseconds.
        waited_ms: u64,
    },
    /// The connection ended.
    #[error("the connection ended: {reason}")]
    Lost {
        /// The reason for which the connection was lost.
        reason: LostReason,
    },
    /// The other side gave this stream up.
    #[error("the other side gave the exchange up")]
    Cancelled,
    /// A helper cannot reach the peer that was asked for.
    #[error("the helper cannot reach that peer")]
    NotForwarded,
    /// A helper has no place for another forwarded exchange at the moment.
    #[error("the helper forwards too much already")]
    HelperBusy,
    /// The stream ended where more was due.
    #[error("the stream ended early")]
    Ended,
    /// The message is well-formed, but says what no peer can say.
    #[error("{reason}")]
    AgainstRules {
        /// The rule that was broken, in words.
        reason: String,
    },
    /// The bytes are not a message, or the message to be sent is too large.
    #[error(transparent)]
    Malformed(#[from] CodecError),
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LostReason {
    /// The peer does not know the connection: it was restarted.
    #[error("the peer was started anew")]
    Restarted,
    /// There is a newer connection to the same peer.
    #[error("another connection took its place")]
    Superseded,
    /// The peer shuns this one.
    #[error("the peer says that this one misbehaved")]
    Shunned,
    /// The peer closed it.
    #[error("the peer closed it")]
    ClosedByPeer,
    /// This side closed it.
    #[error("this side closed it")]
    ClosedHere,
    /// The peer was silent too long.
    #[error("the peer was silent too long")]
    TimedOut,
    /// One side broke the rules of QUIC.
    #[error("the rules of QUIC were broken")]
    Protocol,
}

/// The codes of closed connections (RFC 9000, section 19.19), as this application uses them.
pub(super) mod close_code {
    use quinn::VarInt;

    /// This endpoint ends.
    pub(in super::super) const ENDED: VarInt = VarInt::from_u32(0);
    /// Another connection took its place.
    pub(in super::super) const SUPERSEDED: VarInt = VarInt::from_u32(1);
    /// The certificate is no peer's.
    pub(in super::super) const NO_PEER: VarInt = VarInt::from_u32(2);
    /// The other side has the same position as this one.
    pub(in super::super) const SAME_POSITION: VarInt = VarInt::from_u32(3);
    /// There is no place for one more connection.
    pub(in super::super) const FULL: VarInt = VarInt::from_u32(4);
    /// The hello was missing or malformed.
    pub(in super::super) const NO_HELLO: VarInt = VarInt::from_u32(5);
    /// The peer is believed dead.
    pub(in super::super) const DROPPED: VarInt = VarInt::from_u32(6);
    /// The other side misbehaved; the reason names the fault.
    pub(in super::super) const MISBEHAVED: VarInt = VarInt::from_u32(8);
    /// The hello was against the rules; the reason names the rule.
    pub(in super::super) const BAD_HELLO: VarInt = VarInt::from_u32(9);
    /// The key may not command this peer.
    pub(in super::super) const NO_CLIENT: VarInt = VarInt::from_u32(10);
    /// The dialling side no longer needs the connection.
    pub(in super::super) const RELEASED: VarInt = VarInt::from_u32(11);
    /// The code of a reset stream, not of a closed connection: the exchange is given up.
    pub(in super::super) const CANCELLED: VarInt = VarInt::from_u32(7);
}

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

impl From<quinn::ConnectionError> for StreamError {
    fn from(error: quinn::ConnectionError) -> StreamError {
        StreamError::Lost { reason: error.into() }
    }
}

impl From<quinn::ConnectionError> for LostReason {
    fn from(error: quinn::ConnectionError) -> LostReason {
        use quinn::ConnectionError as Error;
        match error {
            Error::Reset => LostReason::Restarted,
            Error::ApplicationClosed(close) if close.error_code == close_code::SUPERSEDED => {
                LostReason::Superseded
            }
            Error::ApplicationClosed(close) if close.error_code == close_code::MISBEHAVED => {
                LostReason::Shunned
            }
            Error::ApplicationClosed(_) | Error::ConnectionClosed(_) => LostReason::ClosedByPeer,
            Error::TimedOut => LostReason::TimedOut,
            Error::LocallyClosed => LostReason::ClosedHere,
            Error::VersionMismatch | Error::TransportError(_) | Error::CidsExhausted => LostReason::Protocol,
        }
    }
}

impl From<quinn::ReadError> for StreamError {
    fn from(error: quinn::ReadError) -> StreamError {
        match error {
            quinn::ReadError::ConnectionLost(error) => error.into(),
            quinn::ReadError::Reset(_) => StreamError::Cancelled,
            // The other errors come from reading on after the end.
            _ => StreamError::Ended,
        }
    }
}

impl From<quinn::ReadExactError> for StreamError {
    fn from(error: quinn::ReadExactError) -> StreamError {
        match error {
            quinn::ReadExactError::FinishedEarly(_) => StreamError::Ended,
            quinn::ReadExactError::ReadError(error) => error.into(),
        }
    }
}

impl From<quinn::WriteError> for StreamError {
    fn from(error: quinn::WriteError) -> StreamError {
        match error {
            quinn::WriteError::ConnectionLost(error) => error.into(),
            quinn::WriteError::Stopped(_) => StreamError::Cancelled,
            _ => StreamError::Ended,
        }
    }
}

impl From<quinn::StoppedError> for StreamError {
    fn from(error: quinn::StoppedError) -> StreamError {
        match error {
            quinn::StoppedError::ConnectionLost(error) => error.into(),
            quinn::StoppedError::ZeroRttRejected => StreamError::Ended,
        }
    }
}
