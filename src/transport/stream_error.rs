//! Why a stream does not go on, and why a connection ended.

use crate::wire::codec::CodecError;

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
    /// The key was revoked; the reason is the ring CA's statement (`SignedRevocation`).
    pub(in super::super) const REVOKED: VarInt = VarInt::from_u32(12);
    /// The code of a reset stream, not of a closed connection: the exchange is given up.
    pub(in super::super) const CANCELLED: VarInt = VarInt::from_u32(7);
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
