//! What peers say to each other: typed messages, their codec, and the bounds of both.
//!
//! One bidirectional stream carries one request: a frame with the request, then raw bytes where the
//! exchange has any; back come one or more frames with replies, then raw bytes where there are any.
//! Pings are datagrams. Tags are append-only: a variant is never moved or removed within an ALPN.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod client;
pub mod codec;
mod fault;
pub mod limits;
mod membership;
mod record;
mod report;
mod storage;
mod text;

pub use client::{ClientReply, ClientRequest, Failure, Wait, Wanted};
pub use fault::Fault;
pub use membership::{
    Address, AddressError, Datagram, Entry, Hello, Life, Member, MemberState, MembershipReply,
    MembershipRequest, NeighbourReply, NeighbourRequest, Refusal, RelayFailure, Target,
};
pub use record::{NameRecord, RecordError, RecordTarget, SignedRecord};
pub use report::{
    ForgetReport, LeavePlan, LeaveReport, Listed, Misbehaviour, MissingCopy, PeerName, PingReport,
    RequestReport, RingFile, RingFiles, RingLine, ShortFile, StatusReport, StoreReport, UnkeptFiles,
    Unreachable, WhereisReport,
};
pub use storage::{
    FileEntry, FileHealth, Link, Missing, MissingReason, ObjectInfo, OfferedRecord, PutRole, StorageReply,
    StorageRequest, StoreRole,
};
pub use text::{shortened, word_list};

use serde::{Deserialize, Serialize};

use crate::id::Position;

/// What a peer asks of another; the first frame of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// About the ring; answered by the pure core.
    Membership(MembershipRequest),
    /// About files and name records.
    Storage(StorageRequest),
    /// To a helper: whatever else the asker sends on this stream is for that peer, which the asker cannot
    /// reach itself. `-> Forwarding`, and after `Ok` whatever that peer answers.
    Forward {
        /// Which peer; a living one that the helper knows.
        to: Position,
    },
    /// From a helper: the request behind this one is of a peer that cannot reach the asked one itself.
    Forwarded {
        /// Which peer, as its connection to the helper proves it.
        from: Entry,
    },
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To a [`Request::Membership`].
    Membership(MembershipReply),
    /// To a [`Request::Storage`].
    Storage(StorageReply),
    /// The request broke the protocol and was not looked at further; says why.
    ProtocolError(String),
    /// To a [`Request::Forward`]: who is asked, as the helper knows it; or why nobody is.
    Forwarding(Result<Entry, RelayFailure>),
}
