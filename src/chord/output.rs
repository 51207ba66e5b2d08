//! What a node wants done, and what it tells.

use std::time::Duration;

use crate::id::Position;
use crate::wire::{Datagram, Entry, Fault, MembershipReply, MembershipRequest, Target};

/// A request of ours that awaits its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A request of somebody else's that awaits ours; chosen by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// What the node wants done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Ask, and bring the answer to [`super::Node::handle_reply`]; failing sooner than the node's own deadline is welcome.
    Request {
        /// For the answer.
        token: Token,
        /// The peer that is asked.
        to: Target,
        /// The request.
        request: MembershipRequest,
        /// After how long the node gives up.
        timeout: Duration,
    },
    /// Give this answer.
    Reply {
        /// To which request.
        to: ReplyTo,
        /// The reply.
        reply: MembershipReply,
    },
    /// Send, unreliably.
    Datagram {
        /// To whom.
        to: Entry,
        /// The datagram.
        datagram: Datagram,
    },
    /// Put this incarnation on disk, synced, then call [`super::Node::handle_persisted`].
    Persist {
        /// The incarnation to be saved.
        incarnation: u64,
    },
    /// This peer is over: drop what connections to it are kept.
    Forget {
        /// Which life of it.
        entry: Entry,
    },
    /// Tell whoever watches.
    Event(Event),
}

/// What happened, for people and for the layers above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// For whom an entering peer waits: labels or addresses.
    WaitingFor(Vec<String>),
    /// A member from now on.
    Active,
    /// Pings went out.
    PingsSent(Vec<Position>),
    /// A ping came in.
    PingReceived(Position),
    /// A ping was answered.
    PingAnswered(Position),
    /// A member is known to be alive that was not.
    Alive(Position),
    /// A member does not answer any more.
    Dead(Position),
    /// A member left.
    Left(Position),
    /// A member that did not answer is none any more.
    Forgotten(Position),
    /// The first (1) or second (2) successor is another one.
    SuccessorChanged(u8, Position),
    /// The predecessor is another one.
    PredecessorChanged(Position),
    /// The contacts that were given are not the first two successors.
    OrderDiffers {
        /// As given.
        given: Vec<Position>,
        /// As it is.
        real: Vec<Position>,
    },
    /// Two peers claim one position; ours stays out of it.
    Clash(Position),
    /// A peer said what no peer says in good faith.
    Misbehaved {
        /// The position of the peer.
        peer: Position,
        /// The fault.
        fault: Fault,
    },
    /// The node is over.
    Ended(EndReason),
}

/// Why a node is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndReason {
    /// It left.
    #[error("left the ring")]
    Left,
    /// The same identity lives elsewhere at a greater incarnation.
    #[error("this identity runs elsewhere at incarnation {incarnation}; this process fences itself off")]
    Fenced {
        /// The greater one.
        incarnation: u64,
    },
    /// The join failed.
    #[error("{0}")]
    JoinFailed(String),
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// In words.
    pub why: String,
    /// One side has refused the other for good: to ask again is of no use.
    pub refused: bool,
}

/// Silence, which may end.
impl From<String> for Unanswered {
    fn from(why: String) -> Unanswered {
        Unanswered { why, refused: false }
    }
}
