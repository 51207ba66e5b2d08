//! The events that come in from the network.

use std::net::SocketAddr;

use bytes::Bytes;

use super::command::CommandStream;
use super::stranger::Stranger;
use super::stream::RequestStream;
use crate::id::Position;
use crate::wire::{Entry, Fault, SignedRevocation};

/// An event that comes in from the network.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// A peer opened an exchange; its request is not read yet.
    Stream {
        /// The peer that sent it.
        from: Entry,
        /// The stream with the request, and the way back.
        stream: RequestStream,
    },
    /// A client of this peer opened a command; the command is not read yet.
    Command(CommandStream),
    /// A peer sent a datagram, not decoded yet.
    Datagram {
        /// The peer that sent it.
        from: Entry,
        /// The bytes of the datagram.
        bytes: Bytes,
    },
    /// A peer broke the rules.
    Misbehaved {
        /// The position of the peer.
        peer: Position,
        /// The fault of the peer.
        fault: Fault,
    },
    /// A connection was refused. Of many refusals only one is reported now and then.
    Refused {
        /// The address from which the connection came.
        from: SocketAddr,
        /// The reason, in words.
        reason: String,
        /// The number of connections that were refused so far.
        total: u64,
    },
    /// A stranger with a ticket opened an exchange; its request is not read yet.
    Stranger(Stranger),
    /// A peer that this one has just dialled knows other revoked keys than this one.
    OtherRevocations {
        /// The peer at the other end.
        peer: Entry,
    },
    /// The ring CA's statement that this peer's own key was revoked, checked.
    Revoked(SignedRevocation),
    /// The connection to a peer ended, not by this side's will, and no other connection to it exists.
    Closed {
        /// The peer at the other end.
        peer: Entry,
    },
}
