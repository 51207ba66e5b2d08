//! Why a request got no reply.

use super::dial_error::DialError;
use super::stream_error::StreamError;
use crate::wire::codec::CodecError;

/// Why a request got no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No reply came in time.
    #[error("no reply within {waited_ms} ms")]
    Timeout {
        /// The time that was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The stream broke off.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The request does not fit into a frame.
    #[error("the request cannot be sent: {0}")]
    Unsendable(CodecError),
}
