//! The outputs of a node: the effects that it wants, and the events that it reports.

use std::time::Duration;

use super::join_failure::JoinFailure;
use crate::id::Position;
use crate::wire::{Datagram, Entry, Fault, MembershipReply, MembershipRequest, Target};

/// The number of one of our own requests, which awaits its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// The number of another peer's request, which awaits our answer; chosen by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// An effect that the node wants from its driver.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send this request, and bring the answer to [`super::Node::handle_reply`]; failing sooner than the node's own
    /// deadline is welcome.
    Request {
        /// The number under which the answer comes back.
        token: Token,
        /// The peer that is asked.
        to: Target,
        /// The request to send.
        request: MembershipRequest,
        /// The time after which the node gives up.
        timeout: Duration,
    },
    /// Send this reply.
    Reply {
        /// The request that is answered.
        to: ReplyTo,
        /// The reply to send.
        reply: MembershipReply,
    },
    /// Send this datagram; it may be lost.
    Datagram {
        /// The receiving peer.
        to: Entry,
        /// The datagram to send.
        datagram: Datagram,
    },
    /// Put this incarnation on disk, synced, then call [`super::Node::handle_persisted`].
    Persist {
        /// The incarnation to be saved.
        incarnation: u64,
    },
    /// This life of a peer is over: drop the connections to it.
    Forget {
        /// The peer and its life.
        entry: Entry,
    },
    /// Report this event to the watchers of the node.
    Event(Event),
}

/// An event, for people and for the layers above.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An entering peer waits for these peers: labels or addresses.
    WaitingFor(Vec<String>),
    /// This peer is a member from now on.
    Active,
    /// Pings were sent to these peers, the nearest successor first.
    PingsSent(Vec<Position>),
    /// A ping came from this peer.
    PingReceived(Position),
    /// This peer answered a ping.
    PingAnswered(Position),
    /// This member is known to be alive; it was not before.
    Alive(Position),
    /// This member no longer answers.
    Dead(Position),
    /// This member left the ring.
    Left(Position),
    /// This member, which did not answer, is no longer a member.
    Forgotten(Position),
    /// The first (1) or second (2) successor is now another peer.
    SuccessorChanged(u8, Position),
    /// The predecessor is now another peer.
    PredecessorChanged(Position),
    /// The contacts that were given are not the first two successors.
    OrderDiffers {
        /// The positions of the given contacts, in the given order.
        given: Vec<Position>,
        /// The positions of the real first successors.
        real: Vec<Position>,
    },
    /// Two peers claim one position; this peer does nothing about it.
    Clash(Position),
    /// A peer sent something that no correct peer sends.
    Misbehaved {
        /// The position of the misbehaving peer.
        peer: Position,
        /// The kind of fault.
        fault: Fault,
    },
    /// The node has ended.
    Ended(EndReason),
}

/// Why a node has ended.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EndReason {
    /// The peer left the ring.
    #[error("left the ring")]
    Left,
    /// The same identity lives elsewhere at a greater incarnation.
    #[error("this identity runs elsewhere at incarnation {incarnation}; this process fences itself off")]
    Fenced {
        /// The incarnation of the other process.
        incarnation: u64,
    },
    /// The join failed.
    #[error(transparent)]
    JoinFailed(#[from] JoinFailure),
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The reason, in words for people.
    pub why: String,
    /// Whether one side has refused the other for good, so that asking again is of no use.
    pub refused: bool,
}

/// Plain silence: the peer may answer later.
impl From<String> for Unanswered {
    fn from(why: String) -> Unanswered {
        Unanswered { why, refused: false }
    }
}
