//! The events that a running peer reports.

use std::net::SocketAddr;

use crate::id::{ContentId, Position};
use crate::wire::PeerName;

/// An event in a peer's life, for people who watch it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// The peer is not active yet and waits for others.
    WaitingFor {
        /// The peers it waits for: positions or addresses.
        peers: Vec<String>,
    },
    /// The peer is a member of the ring from now on.
    Active,
    /// The peer has taken over its ranges.
    Synced {
        /// The number of objects that came.
        objects: u64,
        /// The number of bytes of these objects.
        bytes: u64,
        /// The time since the peer became active, in milliseconds.
        ms: u64,
    },
    /// Pings went out.
    PingsSent {
        /// The peers that were pinged.
        to: Vec<PeerName>,
    },
    /// A ping came in.
    PingReceived {
        /// The peer that sent the ping.
        from: PeerName,
    },
    /// A ping was answered.
    PingAnswered {
        /// The peer that answered.
        from: PeerName,
    },
    /// A member does not answer any more.
    PeerDead {
        /// The peer, as people know it.
        peer: PeerName,
    },
    /// A member left.
    PeerLeft {
        /// The peer, as people know it.
        peer: PeerName,
    },
    /// A member that did not answer was forgotten; it is no longer a member.
    PeerForgotten {
        /// The peer, as people know it.
        peer: PeerName,
    },
    /// A peer's certificate was revoked; it is refused from now on.
    PeerRevoked {
        /// The peer, as people know it.
        peer: PeerName,
        /// The time of the revocation, as RFC 3339.
        at: String,
    },
    /// A stranger got a certificate here with a ticket.
    PeerEnrolled {
        /// The number or display name that the ticket was for.
        peer: String,
        /// The position of the new peer.
        position: Position,
        /// The address of the stranger.
        from: SocketAddr,
    },
    /// A member is new, or back.
    PeerAlive {
        /// The peer, as people know it.
        peer: PeerName,
    },
    /// The first or second successor has changed.
    SuccessorChanged {
        /// The rank of the successor: 1 or 2.
        rank: u8,
        /// The new successor.
        peer: PeerName,
    },
    /// The predecessor has changed.
    PredecessorChanged {
        /// The new predecessor.
        peer: PeerName,
    },
    /// The FIRST and SECOND that were given are not the real successors.
    OrderDiffers {
        /// The successors that were given.
        given: Vec<PeerName>,
        /// The successors that the ring has.
        real: Vec<PeerName>,
    },
    /// A copy of an object arrived here, or was sent to another peer.
    Copied {
        /// The content id of the object.
        content: ContentId,
        /// The peer that received the copy; this peer itself if it was the receiver.
        to: PeerName,
    },
    /// This peer's certificate ends soon. It has to be renewed where the ring CA's key is.
    CertificateEnds {
        /// The end, as RFC 3339.
        until: String,
        /// The word by which [`admit`](crate::peer::admit) names this peer: its number, display name or label.
        whom: String,
    },
    /// A warning that the person should read.
    Warning(String),
    /// The peer ended, with the reason.
    Ended(String),
}
