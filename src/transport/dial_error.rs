//! Why there is no connection to a peer.

use super::guard;
use crate::id::Position;
use crate::wire::Address;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No answer came in time.
    #[error("no answer from {address} within {waited_ms} ms")]
    Timeout {
        /// The address that was dialled.
        address: Address,
        /// The time that was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The name has no address.
    #[error("cannot resolve {address}: {reason}")]
    Resolve {
        /// The name that was looked up.
        address: Address,
        /// The reason, in words.
        reason: String,
    },
    /// This socket cannot send to that address.
    #[error("cannot reach {address}: {reason}")]
    NoWay {
        /// The address that was dialled.
        address: Address,
        /// The reason, in words.
        reason: String,
    },
    /// One side refused the other.
    #[error("no connection with {address}: {refusal}")]
    Refused {
        /// The address that was dialled.
        address: Address,
        /// The refusal, as the other side said it.
        refusal: Refusal,
    },
    /// Another peer of this ring answered.
    #[error("{address} is not peer {}{}", .expected.label(), .found.map_or(String::new(), |p| format!(", but peer {}", p.label())))]
    WrongPeer {
        /// The address that was dialled.
        address: Address,
        /// The position of the peer that should have answered.
        expected: Position,
        /// The position of the peer that did answer, if it is known.
        found: Option<Position>,
    },
    /// The answering process has this peer's own position.
    #[error("{address} is this peer itself, or another process at its position")]
    SamePosition {
        /// The address that was dialled.
        address: Address,
    },
    /// The connection broke while it was made.
    #[error("the connection to {address} broke while it was made: {reason}")]
    Broken {
        /// The address that was dialled.
        address: Address,
        /// The reason, in words.
        reason: String,
    },
    /// Too many dials are under way.
    #[error("{} dials are under way already", DIALS_MAX)]
    Busy,
    /// This transport is closed.
    #[error("this peer's network is closed")]
    Closed,
}

/// Why one side refused the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The other side's certificate is of another CA.
    #[error("its certificate is of another ring")]
    OtherRing,
    /// The other side's certificate is out of date.
    #[error("its certificate has expired or is not valid yet; do the clocks agree?")]
    Expired,
    /// The other side's key was revoked.
    #[error("its certificate was revoked")]
    Revoked,
    /// The ring CA's statement, shown by the other side, says that our key was revoked.
    #[error("this peer's certificate was revoked")]
    OursRevoked,
    /// The other side's certificate is unusable for another reason.
    #[error("its certificate is no peer's of this ring")]
    NoPeer,
    /// The other side says that our certificate is of another CA.
    #[error("it says that this peer's certificate is of another ring")]
    OursOtherRing,
    /// The other side says that our certificate is out of date.
    #[error("it says that this peer's certificate has expired or is not valid yet; do the clocks agree?")]
    OursExpired,
    /// The other side says that our certificate is unusable for another reason.
    #[error("it says that this peer's certificate is no peer's of its ring")]
    OursNoPeer,
    /// The other side takes commands only from its own key, or from one for `client.quoit`.
    #[error("it takes commands only with its own key, or with a certificate for client.quoit")]
    NotYours,
    /// The other side speaks another protocol or version.
    #[error("it speaks another protocol or version")]
    OtherProtocol,
    /// The other side has no place for more connections.
    #[error("it has no place for one more connection")]
    Full,
    /// The other side did not greet as a peer does.
    #[error("it did not greet as a peer does")]
    NoHello,
    /// The other side shuns this peer for a while.
    #[error("it says that this peer misbehaved: {0}")]
    Shunned(String),
    /// This peer shuns the other side for a while.
    #[error("{}", guard::SHUNNED)]
    ShunnedHere,
    /// The other side's hello, or ours, is against the rules.
    #[error("a hello is against the rules: {0}")]
    BadHello(String),
    /// The other side is about to end.
    #[error("it is shutting down")]
    Ending,
    /// Another reason, in the words of TLS.
    #[error("{0}")]
    Other(String),
}

impl DialError {
    /// Whether the same dial has no better chance later: the identities do not match.
    pub fn is_final(&self) -> bool {
        match self {
            DialError::SamePosition { .. } | DialError::NoWay { .. } => true,
            DialError::Refused { refusal, .. } => matches!(
                refusal,
                Refusal::OtherRing
                    | Refusal::Expired
                    | Refusal::Revoked
                    | Refusal::OursRevoked
                    | Refusal::NoPeer
                    | Refusal::OursOtherRing
                    | Refusal::OursExpired
                    | Refusal::OursNoPeer
                    | Refusal::NotYours
                    | Refusal::OtherProtocol
            ),
            _ => false,
        }
    }
}

/// The most dials to different targets at once.
pub(super) const DIALS_MAX: usize = 256;
