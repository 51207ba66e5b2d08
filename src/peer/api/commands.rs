//! The errors of the commands that are about the ring, or that only read.

use super::RequestError;
use crate::blob::BlobError;
use crate::files::{NotActive, StayReason};
use crate::id::ContentId;
use crate::wire::{ByteRange, Failure, PeerName};

/// Why a peer did not leave its ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// This peer is not, or no longer, active.
    #[error(transparent)]
    NotActive(#[from] NotActive),
    /// Another command began a departure, which goes on.
    #[error("this peer is leaving")]
    AlreadyLeaving,
    /// Copies would be lost, so the peer stays.
    #[error(transparent)]
    Stays(#[from] StayReason),
}

/// Why there is no plan of a departure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanLeaveError {
    /// This peer is not, or no longer, active.
    #[error(transparent)]
    NotActive(#[from] NotActive),
    /// Copies would be lost, so the peer would stay.
    #[error(transparent)]
    Stays(#[from] StayReason),
    /// The lengths of the objects cannot be read.
    #[error("cannot read what would be handed over: {source}")]
    Unreadable {
        /// The underlying error.
        #[from]
        source: BlobError,
    },
    /// The peer ended before the plan was made.
    #[error("this peer ended before the plan was made")]
    Ended,
}

/// Why a peer does not list the ring's peers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// This peer is in no ring.
    #[error(transparent)]
    NotActive(#[from] NotActive),
}

/// Why a word means no peer of the ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhomError {
    /// No peer has this number, display name, address or position.
    #[error("no peer {whom:?} in this ring; {}", did_you_mean(.nearest.as_deref()))]
    Unknown {
        /// The word that was given.
        whom: String,
        /// The name of the peer that looks most like it, if any does.
        nearest: Option<String>,
    },
    /// The positions of several peers begin with these digits.
    #[error("several peers' positions begin with {whom}; give more digits")]
    Ambiguous {
        /// The digits that were given.
        whom: String,
    },
}

/// Why it is not answered whether peers may stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MayStopError {
    /// This peer is in no ring.
    #[error(transparent)]
    NotActive(#[from] NotActive),
    /// The word means no peer of the ring.
    #[error(transparent)]
    Whom(#[from] WhomError),
    /// More peers than one question may name.
    #[error("at most {max} peers are asked about at once, not {named}")]
    TooMany {
        /// The number of peers that were named.
        named: usize,
        /// The most that may be named.
        max: usize,
    },
    /// The peer is no member of the ring, or no member any more.
    #[error("peer {peer} is no member of this ring")]
    NoMember {
        /// The peer that is meant.
        peer: PeerName,
    },
}

/// Why a peer is not pinged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// The word means no peer of the ring.
    #[error(transparent)]
    Whom(#[from] WhomError),
}

/// Why a member is not forgotten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetError {
    /// This peer is in no ring.
    #[error(transparent)]
    NotActive(#[from] NotActive),
    /// The word means no peer of the ring.
    #[error(transparent)]
    Whom(#[from] WhomError),
    /// The peer is the one that was asked.
    #[error("peer {peer} is the one that you ask; to take it out of the ring, tell it to `leave`")]
    Asked {
        /// The peer that was asked.
        peer: PeerName,
    },
    /// The peer answers.
    #[error("peer {peer} answers, so it is not forgotten; to take it out of the ring, tell it to `leave`")]
    Answers {
        /// The peer that answers.
        peer: PeerName,
    },
    /// The ring still counts the peer as alive.
    #[error("peer {peer} does not answer, but the ring has not given it up yet; try again in a moment")]
    NotGivenUp {
        /// The peer that does not answer.
        peer: PeerName,
    },
    /// The peer is no member, or no member any more.
    #[error("peer {peer} is no member of this ring")]
    NoMember {
        /// The peer that is meant.
        peer: PeerName,
    },
    /// The peer came back while it was to be forgotten.
    #[error("peer {peer} is back, so it is not forgotten")]
    Back {
        /// The peer that came back.
        peer: PeerName,
    },
}

/// Why a peer is not scrubbed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScrubError {
    /// Another scrub of this peer runs.
    #[error(
        "this peer is being scrubbed already: {done} of {total} files are done; wait for the end of that scrub"
    )]
    Running {
        /// The number of objects that it has done.
        done: u64,
        /// The number of objects in all.
        total: u64,
    },
    /// The objects cannot be listed.
    #[error("cannot list this peer's objects: {source}")]
    Unreadable {
        /// The underlying error.
        #[from]
        source: BlobError,
    },
}

/// Why the bytes of an object do not come.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The object ends before the first byte that was asked for.
    #[error(transparent)]
    PastEnd(BlobError),
    /// The range goes beyond the end of the file.
    #[error("sha256:{content} has {length} bytes; bytes {range} go beyond its end")]
    PastRange {
        /// The content id of the file.
        content: ContentId,
        /// The length of the file in bytes.
        length: u64,
        /// The range that was asked for.
        range: ByteRange,
    },
    /// Neither this peer nor a holder that answers gives the object.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl From<LeaveError> for Failure {
    fn from(error: LeaveError) -> Failure {
        match error {
            LeaveError::Stays(why) => Failure::stays(why.to_string()),
            other => Failure::new(other.to_string()),
        }
    }
}

impl From<PlanLeaveError> for Failure {
    fn from(error: PlanLeaveError) -> Failure {
        match error {
            PlanLeaveError::Stays(why) => Failure::stays(why.to_string()),
            other => Failure::new(other.to_string()),
        }
    }
}

impl From<RingError> for Failure {
    fn from(error: RingError) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<WhomError> for Failure {
    fn from(error: WhomError) -> Failure {
        match error {
            WhomError::Unknown { .. } => Failure::not_found(error.to_string()),
            WhomError::Ambiguous { .. } => Failure::new(error.to_string()),
        }
    }
}

impl From<PingError> for Failure {
    fn from(error: PingError) -> Failure {
        let PingError::Whom(error) = error;
        error.into()
    }
}

impl From<MayStopError> for Failure {
    fn from(error: MayStopError) -> Failure {
        match error {
            MayStopError::Whom(error) => error.into(),
            MayStopError::NoMember { .. } => Failure::not_found(error.to_string()),
            other => Failure::new(other.to_string()),
        }
    }
}

impl From<ForgetError> for Failure {
    fn from(error: ForgetError) -> Failure {
        match error {
            ForgetError::Whom(error) => error.into(),
            ForgetError::NoMember { .. } => Failure::not_found(error.to_string()),
            other => Failure::new(other.to_string()),
        }
    }
}

impl From<ScrubError> for Failure {
    fn from(error: ScrubError) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        match error {
            ReadError::Request(error) => error.into(),
            other => Failure::new(other.to_string()),
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    match nearest {
        Some(label) => format!("did you mean {label}?"),
        None => "`ring` lists them".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Remains;
    use crate::id::Position;
    use crate::wire::FailureKind;

    /// Goal: over `quoit-client/1` a client can tell a departure that would lose copies, and a name that does not
    /// exist, from every other failure.
    #[test]
    fn a_failure_has_the_kind_of_its_error() {
        let remains = Remains { copies: 1, files: 2, names: 2, on: vec![Position::of_number(4).into()] };
        let stays = StayReason::TooFewStay(remains);
        let told = "only ONE copy of 2 files and 2 name records would remain, on 4; this peer stays";
        for failure in [Failure::from(LeaveError::Stays(stays.clone())), PlanLeaveError::Stays(stays).into()]
        {
            assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Stays, told));
        }
        for failure in [
            Failure::from(LeaveError::AlreadyLeaving),
            LeaveError::NotActive(NotActive { waiting_for: Vec::new() }).into(),
            PlanLeaveError::Ended.into(),
            RingError::NotActive(NotActive { waiting_for: vec!["4".to_owned()] }).into(),
        ] {
            assert_eq!(failure.kind, FailureKind::Failed, "{failure}");
        }
        let unknown = || WhomError::Unknown { whom: "nas".to_owned(), nearest: None };
        for failure in [
            Failure::from(PingError::Whom(unknown())),
            ForgetError::Whom(unknown()).into(),
            ForgetError::NoMember { peer: Position::of_number(4).into() }.into(),
        ] {
            assert_eq!(failure.kind, FailureKind::NotFound, "{failure}");
        }
    }
}
