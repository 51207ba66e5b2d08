//! One step of a search.

use std::fmt;

use super::letters::Kind;

/// One possible next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A peer begins to join through a member.
    Join {
        /// The number of the peer.
        number: u8,
        /// The member through which the peer joins.
        through: u8,
    },
    /// A peer's clock runs until the peer stabilises, or continues to join or leave.
    Turn(u8),
    /// A peer's clock runs until the peer finds a dead neighbour dead.
    Detect(u8),
    /// A letter arrives at its receiver.
    Arrive {
        /// The kind of the letter.
        kind: Kind,
        /// The number of the sender.
        from: u8,
        /// The number of the receiver.
        to: u8,
    },
    /// A member leaves in good order.
    Leave(u8),
    /// A peer ends without notice.
    Fail(u8),
    /// A peer that failed starts again.
    Return(u8),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Join { number, through } => write!(f, "{number} joins through {through}"),
            Step::Turn(number) => write!(f, "{number} has its turn"),
            Step::Detect(number) => write!(f, "{number} finds a death"),
            Step::Arrive { kind, from, to } => write!(f, "{from} {kind} {to}"),
            Step::Leave(number) => write!(f, "{number} leaves"),
            Step::Fail(number) => write!(f, "{number} fails"),
            Step::Return(number) => write!(f, "{number} returns"),
        }
    }
}
