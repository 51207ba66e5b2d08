//! What is on its way between peers, where it matters when it arrives.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::chord::Token;
use crate::wire::{Entry, Member, MembershipReply, MembershipRequest, NeighbourReply, NeighbourRequest};

/// A request or an answer under way.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) from: u8,
    /// Who sent it, in that life.
    pub(super) sender: Entry,
    pub(super) to: u8,
    /// The asker's.
    pub(super) token: Token,
    pub(super) kind: Kind,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Ask(MembershipRequest),
    Answer(MembershipReply),
}

/// What a letter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A peer wants its place.
    Join,
    /// STABILISE or FROM_PRED: the asker's list is undefined until it is answered.
    Query,
    /// What is known of the members of a small ring.
    Exchange,
    /// RECTIFY.
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
    /// Of these, one between two peers is enough: the later one says all that the earlier one did.
    pub(super) fn replaces(&self, other: &Letter) -> bool {
        (self.kind, self.from, self.to) == (other.kind, other.from, other.to)
    }

    /// Whether it is what this peer waits for, doing nothing else meanwhile.
    pub(super) fn keeps_waiting(&self, number: u8) -> bool {
        match self.kind {
            Kind::Join | Kind::Query => self.from == number,
            Kind::Answer => self.to == number,
            Kind::Exchange | Kind::Notify | Kind::Left => false,
        }
    }
}

/// Without the token, which counts.
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
