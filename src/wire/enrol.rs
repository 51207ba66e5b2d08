//! `quoit-enrol/1`: a machine with a ticket asks the machine with the ring CA's key for its certificate.
//!
//! The dialler J shows no certificate. It first asks who is there: `J ->[Authority] C`, `C ->[Authority] J`. The
//! ticket names the CA's certificate and the position of C, so J now knows that C is the peer that the ticket means. Only
//! then the secret travels: `J ->[Redeem] C`, `C ->[Admitted | Refused] J`. Each exchange has a stream of its own.
//!
//! A peer without a number places itself by its key. Before it redeems the ticket, on a connection of its own, J makes
//! several keys and asks which suits the ring best: `J ->[Authority] C`, `C ->[Authority] J`, `J ->[Place] C`,
//! `C ->[Placed | Refused] J`. An older C does not know `Place` and answers `ProtocolError`; J then takes any of its keys.

use serde::{Deserialize, Serialize};

use crate::id::Position;

/// A request of a stranger with a ticket; the first frame of its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolRequest {
    /// Asks for the ring CA's certificate. `-> Authority`.
    Authority,
    /// Asks for the certificate that the ticket stands for. `-> Admitted | Refused`.
    Redeem {
        /// The ticket's id, by which the CA's machine finds it. No secret.
        ticket: [u8; 8],
        /// The ticket's secret.
        secret: [u8; 16],
        /// The certificate request (PKCS#10, RFC 2986) in DER, signed by the new key; at most
        /// [`limits::ENROL_REQUEST_BYTES_MAX`](super::limits::ENROL_REQUEST_BYTES_MAX) bytes.
        request: Vec<u8>,
    },
    /// Asks which of several positions suits the ring best for the ticket's peer. Its secret counts as in `Redeem`, and
    /// the ticket stays unused. `-> Placed | Refused`.
    Place {
        /// The ticket's id.
        ticket: [u8; 8],
        /// The ticket's secret.
        secret: [u8; 16],
        /// The positions of the asker's keys, at most
        /// [`limits::PLACE_CANDIDATES_MAX`](super::limits::PLACE_CANDIDATES_MAX).
        candidates: Vec<Position>,
    },
}

/// A reply to an [`EnrolRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolReply {
    /// The ring CA's certificate in DER.
    Authority {
        /// At most [`limits::CERTIFICATE_BYTES_MAX`](super::limits::CERTIFICATE_BYTES_MAX) bytes.
        certificate: Vec<u8>,
    },
    /// The new certificate in DER.
    Admitted {
        /// At most [`limits::CERTIFICATE_BYTES_MAX`](super::limits::CERTIFICATE_BYTES_MAX) bytes.
        certificate: Vec<u8>,
    },
    /// The ticket is refused.
    Refused(TicketRefusal),
    /// The request broke the protocol and was dropped; the text says why.
    ProtocolError(String),
    /// The best of the positions, as an index into them.
    Placed(u16),
}

/// Why a ticket is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum TicketRefusal {
    /// The asked peer does not have the ring CA's key.
    #[error("the ring CA's key is not on that machine")]
    NoAuthority,
    /// There is no ticket of this id with this secret.
    #[error("that machine gave out no such ticket")]
    Unknown,
    /// The ticket's time is over.
    #[error("the ticket has expired")]
    Expired,
    /// The ticket was used with another key.
    #[error("the ticket was used already, with another key, at {}", crate::time::Timestamp::of_unix_ms(*.at_ms))]
    Used {
        /// The time of its use, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// Too many wrong secrets were tried.
    #[error("the ticket is void: somebody tried to guess its secret")]
    Void,
    /// No certificate could be made, for this reason.
    #[error("no certificate was made: {0}")]
    Failed(String),
}
