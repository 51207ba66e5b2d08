//! The messages to the actor: events from the network, and wishes of this peer.

#[cfg(test)]
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::chord::{Token, Unanswered};
use crate::id::{KeyHash, Position};
use crate::peer::api::Ended;
use crate::wire::{Entry, MembershipReply, MembershipRequest};

/// A message to the actor.
#[derive(Debug)]
pub(in crate::peer) enum ActorMessage {
    /// A datagram came in.
    Datagram { from: Entry, bytes: Bytes },
    /// A request came in; the answer goes back through the channel.
    Request {
        from: Entry,
        through_a_helper: bool,
        request: MembershipRequest,
        reply: oneshot::Sender<MembershipReply>,
    },
    /// The answer to one of the node's own requests, or why there is none.
    Reply { token: Token, through_a_helper: bool, answer: Result<(Entry, MembershipReply), Unanswered> },
    /// A peer answered a lookup of this one.
    LookupAnswer { from: Entry, reply: MembershipReply },
    /// A peer left a lookup of this one unanswered.
    LookupSilence { whom: Entry },
    /// The incarnation that is now on disk.
    Persisted(u64),
    /// Forget a member that does not answer; `done` is told whether that was done.
    Forget { whom: Position, done: oneshot::Sender<bool> },
    /// No longer count a member whose key was revoked.
    Expel { whom: Position, key: KeyHash },
    /// End, for this reason.
    End(Ended),
    /// Say in the pongs whether this peer has no room.
    SayFull(bool),
    /// Begin to leave: take no new work.
    BeginLeaving,
    /// Cancel the departure.
    Stay,
    /// Ask the neighbours whether this peer may leave now.
    AskTurn,
    /// Take the turn that the neighbours granted.
    TakeTurn,
    /// Tell the neighbours that this peer leaves, and end.
    Depart,
    /// The process does nothing for this long (a test's stand-in for sleep).
    #[cfg(test)]
    Sleep(Duration),
}
