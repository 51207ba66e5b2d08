//! The letters on their way between peers: messages whose moment of arrival matters.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::chord::Token;
use crate::wire::{Entry, Member, MembershipReply, MembershipRequest, NeighbourReply, NeighbourRequest};

/// A request or an answer under way.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) from: u8,
    /// The sender, in the incarnation in which it sent the letter.
    pub(super) sender: Entry,
    pub(super) to: u8,
    /// The token of the asking peer.
    pub(super) token: Token,
    pub(super) kind: Kind,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Ask(MembershipRequest),
    Answer(MembershipReply),
}

/// The subject of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A peer asks for its place in the ring.
    Join,
    /// STABILISE or FROM_PRED: the asking peer's list is undefined until the answer.
    Query,
    /// The known members of a small ring.
    Exchange,
    /// RECTIFY: a peer notifies its successor.
    Notify,
    /// The sender has left.
    Left,
    /// The answer to a join or a query.
    Answer,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Join => "asks for its place",
            Kind::Query => "asks for the list",
            Kind::Exchange => "exchanges members with",
            Kind::Notify => "notifies",
            Kind::Left => "says goodbye to",
            Kind::Answer => "answers",
        })
    }
}

impl Letter {
    /// Whether this letter makes an earlier one unnecessary: it says all that the earlier one did.
    pub(super) fn replaces(&self, other: &Letter) -> bool {
        (self.kind, self.from, self.to) == (other.kind, other.from, other.to)
    }

    /// Whether this peer waits for the letter and does nothing else meanwhile.
    pub(super) fn keeps_waiting(&self, number: u8) -> bool {
        match self.kind {
            Kind::Join | Kind::Query => self.from == number,
            Kind::Answer => self.to == number,
            Kind::Exchange | Kind::Notify | Kind::Left => false,
        }
    }
}

/// The hash leaves the token out, since tokens only count up.
impl Hash for Letter {
    fn hash<H: Hasher>(&self, into: &mut H) {
        (self.kind, self.from, self.sender.incarnation, self.to).hash(into);
        match &self.body {
            Body::Ask(MembershipRequest::Neighbour(NeighbourRequest::State { members })) => {
                hash_members(members, into);
            }
            Body::Ask(MembershipRequest::Left { predecessor, successors })
            | Body::Answer(MembershipReply::Neighbour(NeighbourReply::State {
                predecessor,
                successors,
                ..
            }))
            | Body::Answer(MembershipReply::Welcome { predecessor, successors, .. }) => {
                predecessor.iter().chain(successors).for_each(|entry| hash_life(entry, into));
                predecessor.is_some().hash(into);
            }
            Body::Ask(_) | Body::Answer(_) => {}
        }
        if let Body::Answer(
            MembershipReply::Neighbour(NeighbourReply::State { members, .. })
            | MembershipReply::Welcome { members, .. },
        ) = &self.body
        {
            hash_members(members, into);
        }
    }
}

fn hash_members(members: &[Member], into: &mut impl Hasher) {
    for member in members {
        hash_life(&member.entry, into);
        member.state.hash(into);
    }
}

fn hash_life(entry: &Entry, into: &mut impl Hasher) {
    (entry.position, entry.incarnation).hash(into);
}
