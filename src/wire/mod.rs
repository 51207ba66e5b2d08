//! The messages between peers: typed messages, their codec, and the bounds of both.
//!
//! One bidirectional stream carries one request: a frame with the request, then raw bytes where the
//! exchange has any; back come one or more frames with replies, then raw bytes where there are any.
//! Pings are datagrams. Tags are append-only: a variant is never moved or removed within an ALPN.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod client;
pub mod codec;
mod copies;
mod enrol;
mod fault;
mod freeing;
pub mod limits;
mod membership;
mod named;
mod range;
mod record;
mod report;
mod revocation;
mod settings;
mod space;
mod storage;
mod text;
mod verdict;
mod versions;

pub use client::{ClientReply, ClientRequest, Failure, FailureKind, VersionChoice, Wait, Wanted, versioned};
pub use copies::{CopiesBeyond, CopyCounts, CopySet, LostFile, SelfReport};
pub use enrol::{EnrolReply, EnrolRequest, TicketRefusal};
pub use fault::Fault;
pub use freeing::{DropReport, EvictReport, PinReport};
pub use membership::{
    Address, AddressError, Datagram, Entry, Hello, Life, Member, MemberState, MembershipReply,
    MembershipRequest, NeighbourReply, NeighbourRequest, Refusal, RelayFailure, Target,
};
pub use named::{Listed, PeerName};
pub use range::{ByteRange, RangeProof, RangeReport};
pub use record::{NameRecord, RecordError, RecordTarget, Replaces, SignedRecord};
pub use report::{
    ForgetReport, LeavePlan, LeaveReport, MemberLine, Misbehaviour, MissingCopy, PingReport, RequestReport,
    RingFile, RingFiles, RingLine, ScrubReport, ShortFile, StatusReport, StoreReport, UnkeptFiles,
    Unreachable, Verifications, WhereisReport,
};
pub use revocation::{Revocation, RevocationError, SignedRevocation};
pub use space::{Amount, SpaceReport};
pub use storage::{
    Difference, FileEntry, FileHealth, Link, Missing, MissingReason, ObjectInfo, OfferedRecord, PutRole,
    RangeDigest, Reference, StorageReply, StorageRequest, StoreRole, WhyKept,
};
pub use text::{shortened, word_list};
pub use verdict::{AtRisk, Doubt, Hindrance, Lack, LackReason, StopAnswer, StopReport, StopSpan, Verdict};
pub use versions::{HistoryReport, RemoveReport, RestoreReport, VersionFile, VersionLine, VersionState};

use serde::{Deserialize, Serialize};

use crate::id::Position;

/// A request of one peer to another; the first frame of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A request about the ring; the pure core answers it.
    Membership(MembershipRequest),
    /// A request about files and name records.
    Storage(StorageRequest),
    /// To a helper: the rest of this stream is for a peer that the asker cannot reach directly. `-> Forwarding`, and
    /// after `Ok` the answers of that peer.
    Forward {
        /// The position of that peer; a living one that the helper knows.
        to: Position,
    },
    /// From a helper: the next request comes from a peer that cannot reach the asked peer directly.
    Forwarded {
        /// The asking peer, as its connection to the helper proves it.
        from: Entry,
    },
    /// Revoked keys that the asker knows, to a peer that may know fewer or more. `-> Revocations`.
    Revocations {
        /// The digest of all that the asker knows; see [`Hello::revocations`].
        digest: u64,
        /// Some of these revocations, at most [`limits::REVOKED_MAX`].
        revoked: Vec<SignedRevocation>,
    },
}

/// A reply to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The reply to a [`Request::Membership`].
    Membership(MembershipReply),
    /// The reply to a [`Request::Storage`].
    Storage(StorageReply),
    /// The request broke the protocol and was dropped; the text says why.
    ProtocolError(String),
    /// The reply to a [`Request::Forward`]: the peer that is asked, as the helper knows it; or why none is asked.
    Forwarding(Result<Entry, RelayFailure>),
    /// The reply to a [`Request::Revocations`].
    Revocations {
        /// The digest of all that the answering peer knows now; see [`Hello::revocations`].
        digest: u64,
        /// All that it knows, at most [`limits::REVOKED_MAX`]; empty if the asker knows the same.
        revoked: Vec<SignedRevocation>,
    },
}
