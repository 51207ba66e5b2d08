//! Reports of a peer on its own work and on its ring, for the person or program that commands it.
//!
//! Plain values: the same ones come from a peer in this process and, over `quoit-client/1`, from another.
//! Lists that a large ring makes long are [`Listed`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::space::SpaceReport;
use super::{Address, Fault, FileEntry, Listed, MemberState, MissingReason, PeerName, SelfReport, Verdict};
use crate::config::RingSettings;
use crate::id::{ContentId, FileName, Position};

/// A missing copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingCopy {
    /// The peer that should have the copy.
    pub peer: PeerName,
    /// The reason why that peer does not have it.
    pub reason: MissingReason,
}

/// The result of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// The name under which the file was stored.
    pub name: FileName,
    /// The key of the name: the place of its record.
    pub name_key: Position,
    /// The owner of the name key.
    pub name_owner: PeerName,
    /// The length of the file in bytes.
    pub length: u64,
    /// The content id of the file.
    pub content: ContentId,
    /// The peers that hold the file durably, in ring order.
    pub holders: Vec<PeerName>,
    /// The number of copies there should be: min(R, members).
    pub copies: usize,
    /// The peers that should hold the file and do not.
    pub missing: Vec<MissingCopy>,
    /// The version of the name record, from 1.
    pub version: u64,
    /// The content that the name stood for before, if any. This same content if nothing was written.
    pub replaces: Option<ContentId>,
    /// The time from the start to the acknowledgement.
    #[serde(with = "micros")]
    pub took: Duration,
}

impl StoreReport {
    /// Whether the name stood for these bytes already, so that there is no new version.
    pub fn is_unchanged(&self) -> bool {
        self.replaces == Some(self.content)
    }
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestReport {
    /// The name of the file, if one was asked for or is known.
    pub name: Option<FileName>,
    /// The content id of the file.
    pub content: ContentId,
    /// The length of the file in bytes.
    pub length: u64,
    /// The version of the name record, if a name was asked for.
    pub version: Option<u64>,
    /// The peers that the bytes came from, in order; empty if the bytes were here already.
    pub sources: Vec<PeerName>,
    /// The path of the file in received/ of the peer; `None` if it was not wanted there, or is a tree.
    pub path: Option<String>,
    /// The time from the start to the end.
    #[serde(with = "micros")]
    pub took: Duration,
    /// Whether the name stands for a directory, of which this is the tree. On the wire the kind of the reply says so.
    #[serde(skip)]
    pub is_tree: bool,
}

/// The result of leaving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveReport {
    /// The number of objects and records that were copied to other peers before leaving.
    pub handed_over: u64,
    /// The objects that fewer than min(R, N − 1) other peers hold.
    pub short: Listed<ContentId>,
    /// Names whose records are held by fewer than that.
    pub short_names: Listed<FileName>,
    /// The files that no other peer holds, because the last peer left.
    pub unreachable: Listed<FileName>,
    /// The data directory in which the peer's files stay.
    pub data_dir: String,
}

/// The effect that leaving would have now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavePlan {
    /// The number of objects here that another peer would have to copy first.
    pub objects: u64,
    /// The number of bytes of these objects.
    pub bytes: u64,
    /// The number of name records here that another peer would have to copy first.
    pub records: u64,
    /// The living peers that would stay.
    pub stay: Listed<PeerName>,
    /// The number of copies that each file would have: min(R, N − 1).
    pub copies: usize,
    /// The files that would be out of reach, because this is the last peer.
    pub unreachable: Listed<FileName>,
}

/// A member that was forgotten, or can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetReport {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// The address at which the peer was last reached.
    pub address: Address,
    /// Whether the peer was forgotten; if false, nothing was done yet.
    pub done: bool,
    /// The number of files without a copy at a member that answers. Files that only the forgotten peer has are lost to
    /// the ring, unless it comes back.
    pub without_copy: u64,
}

/// The result of pinging another peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingReport {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// The address at which the peer was reached, or should have been.
    pub address: Address,
    /// The incarnation of the peer.
    pub incarnation: u64,
    /// The round trips in microseconds, in the order in which they were made; `None` for an unanswered ping.
    pub round_trips_us: Vec<Option<u64>>,
    /// Why pings failed, by the last error; `None` if none failed.
    pub trouble: Option<String>,
}

/// One peer as the command `Ring` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingLine {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// The address of the peer.
    pub address: Address,
    /// The incarnation of the peer.
    pub incarnation: u64,
    /// The state of the peer: alive, left or dead.
    pub state: MemberState,
    /// Whether the peer has been away so long that others no longer wait for it.
    pub gone: bool,
    /// The share of the circle that it owns, 0.0 ..= 1.0; 0 unless alive.
    pub share: f64,
    /// Whether this is the peer that was asked.
    pub me: bool,
}

impl RingLine {
    /// "alive", "away" (does not answer), "gone" (for so long that it is not waited for) or "left".
    pub fn state_in_words(&self) -> &'static str {
        match self.state {
            MemberState::Alive => "alive",
            MemberState::Left => "left",
            MemberState::Dead if self.gone => "gone",
            MemberState::Dead => "away",
        }
    }
}

/// One member of the ring, in its own words where it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberLine {
    /// The member as the ring knows it.
    pub line: RingLine,
    /// Since when it is away, in milliseconds since the Unix epoch; `None` if it is not, or that is not known.
    pub away_since_ms: Option<u64>,
    /// The words of the member on itself; `None` if it did not answer.
    pub said: Option<SelfReport>,
    /// How far its clock is ahead of the clock of the asked peer, in milliseconds, to about half a round trip; `None`
    /// if it did not answer.
    pub clock_ahead_ms: Option<i64>,
}

/// A file of the ring, and the peers that said to hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingFile {
    /// The file, as its holders list it.
    pub file: FileEntry,
    /// The peers that hold it, in ring order.
    pub holders: Vec<PeerName>,
}

/// A listing of the ring: the files of all peers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RingFiles {
    /// The files, in the order of their first name, then content id.
    pub files: Vec<RingFile>,
    /// The peers that did not answer.
    pub silent: Vec<PeerName>,
    /// Whether every file of the ring is listed even so: in each set of peers that can have acknowledged a file, at
    /// least one answered.
    pub complete: bool,
}

/// The places of a name's record and of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhereisReport {
    /// The name that was searched for.
    pub name: FileName,
    /// The key of the name.
    pub name_key: Position,
    /// The peers that keep the record, owner first.
    pub record_peers: Vec<PeerName>,
    /// The version of the record.
    pub version: u64,
    /// The peer that wrote the record.
    pub writer: PeerName,
    /// The time at which the record was written, as RFC 3339.
    pub written: String,
    /// The content id that the name stands for.
    pub content: ContentId,
    /// The length of the file in bytes.
    pub length: u64,
    /// The owner of the content id.
    pub content_owner: PeerName,
    /// The peers that hold the bytes, in ring order from the owner.
    pub holders: Vec<PeerName>,
    /// The number of copies there should be.
    pub copies: usize,
    /// The number of earlier or sibling records in the history here.
    pub history: u64,
    /// When each of `holders` last verified its copy: milliseconds since the Unix epoch, 0 for a copy that was not
    /// verified yet; `None` if the peer did not say.
    pub verified: Vec<Option<u64>>,
    /// The peers that should have a copy, have none, and say that they have no room. Travels beside the report.
    #[serde(skip)]
    pub full: Vec<PeerName>,
}

/// The result of a scrub: every object of a peer was read and hashed again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScrubReport {
    /// The number of objects that were looked at.
    pub objects: u64,
    /// The number of bytes of these objects.
    pub bytes: u64,
    /// The number of sound objects.
    pub sound: u64,
    /// The number of bad objects; they are in quarantine.
    pub quarantined: u64,
    /// The number of bad objects of which a good copy is here again.
    pub fetched_again: u64,
    /// The number of bad objects of which no good copy came.
    pub not_fetched_again: u64,
    /// The number of objects that could not be read; they were left in their place.
    pub unreadable: u64,
    /// Of the first bad objects without a good copy here, the number with fewer copies elsewhere than acknowledge a
    /// store.
    pub below_quorum: u64,
    /// The bad objects of which no good copy came.
    pub not_healed: Listed<ContentId>,
    /// The time from the start to the end.
    #[serde(with = "micros")]
    pub took: Duration,
}

impl ScrubReport {
    /// Whether every object was sound, or is so again.
    pub fn is_healed(&self) -> bool {
        self.not_fetched_again == 0 && self.unreadable == 0
    }
}

/// The oldest verifications: a verification is a hash of an object from its first byte to its last. Times are in
/// milliseconds since the Unix epoch; 0 says that some object was not verified yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verifications {
    /// The oldest verification of an object of this peer; `None` if it has no objects.
    pub here: Option<u64>,
    /// The oldest verification that this peer and the living members report; `None` if no peer has objects.
    pub ring: Option<u64>,
    /// The peer that reports it.
    pub at: Option<PeerName>,
}

/// A file that has fewer copies than it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortFile {
    /// The content id of the file.
    pub content: ContentId,
    /// Some names of the file, the first few.
    pub names: Vec<FileName>,
    /// The peers that have a copy.
    pub holders: Vec<PeerName>,
    /// The number of copies there should be: min(R, members).
    pub copies: usize,
    /// The number of copies that acknowledge a store: W.
    pub quorum: usize,
    /// The peers that should have a copy and have none, or do not answer.
    pub missing: Vec<PeerName>,
}

impl ShortFile {
    /// Whether fewer copies are left than the write quorum.
    pub fn below_quorum(&self) -> bool {
        self.holders.len() < self.quorum
    }
}

/// Files that belong to a peer and that it cannot take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnkeptFiles {
    /// The peer that cannot take the files.
    pub peer: PeerName,
    /// The number of these files.
    pub files: u64,
    /// The number of bytes of these files.
    pub bytes: u64,
    /// The reason for the latest of them.
    pub reason: MissingReason,
}

/// A fault of one peer towards another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misbehaviour {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// The kind of the fault.
    pub kind: Fault,
    /// The number of times since the other peer started.
    pub count: u64,
}

/// A member that is alive but cannot be reached directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreachable {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// The helper through which it is reached; `None` if no helper was found.
    pub through: Option<PeerName>,
}

/// The state of this peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// The incarnation of this peer.
    pub incarnation: u64,
    /// The name of the ring.
    pub ring: String,
    /// The address at which others reach this peer.
    pub address: Address,
    /// "active", "waiting for peers 4 and 5", "leaving", …
    pub phase: String,
    /// The settings of the ring; `None` before they are learned.
    pub settings: Option<RingSettings>,
    /// The time between two pings.
    #[serde(with = "micros")]
    pub interval: Duration,
    /// Whether membership is the small ring's map (true) or the corrected Chord (false).
    pub small_ring: bool,
    /// The predecessor of this peer; `None` while it is alone.
    pub predecessor: Option<PeerName>,
    /// The successor list of this peer.
    pub successors: Vec<PeerName>,
    /// Members that answer, this one included.
    pub alive: Listed<PeerName>,
    /// Members that do not answer and are waited for.
    pub away: Listed<PeerName>,
    /// Members that have not answered for so long that others no longer wait for them.
    pub gone: Listed<PeerName>,
    /// Members that are alive but that this peer cannot reach directly.
    pub unreachable: Listed<Unreachable>,
    /// The number of objects that this peer holds.
    pub objects: u64,
    /// The number of bytes of these objects.
    pub bytes: u64,
    /// The number of name records that this peer holds.
    pub records: u64,
    /// Whether this peer is still taking over its ranges.
    pub syncing: bool,
    /// Files of the ring with fewer copies than there should be, those with the fewest first.
    pub short: Vec<ShortFile>,
    /// The number of such files in all.
    pub short_total: u64,
    /// The number of these files that have fewer copies than the write quorum.
    pub below_quorum: u64,
    /// Living members that did not report on their files: what is short there is not known.
    pub unheard: Listed<PeerName>,
    /// The reason why the figures of this peer's own store are missing.
    pub trouble: Option<String>,
    /// Names whose history holds a record that lost without being replaced.
    pub siblings: Listed<FileName>,
    /// The time at which this peer's certificate ends, in seconds since the Unix epoch.
    pub certificate_until: u64,
    /// The data directory of this peer.
    pub data_dir: String,
    /// The faults of other peers towards this one.
    pub misbehaving: Listed<Misbehaviour>,
    /// The number of connections from others that were refused.
    pub refused: u64,
    /// The number of streams and datagrams that did not carry a message.
    pub malformed: u64,
    /// The number of datagrams that were dropped unread because too many came.
    pub dropped: u64,
    /// Recent notices of this peer's store, one line each: bad copies, strange files, links that cannot be made.
    pub notices: Listed<String>,
    /// Living members that cannot take files of their ranges.
    pub unkept: Listed<UnkeptFiles>,
    /// How safe the files of the ring are.
    pub verdict: Verdict,
    /// The room for files at this peer, and the files that take it.
    pub space: SpaceReport,
    /// The oldest verifications of this peer and of the ring.
    pub verified: Verifications,
}

impl StatusReport {
    /// Whether every acknowledged file is known to have all its copies: the peer is in its ring, and all members that
    /// answer say so.
    pub fn is_whole(&self) -> bool {
        // A member is the first of those that are alive; one that still waits for its ring may know others.
        let is_member = self.alive.first.first().is_some_and(|first| first.position == self.peer.position);
        is_member && self.short_total == 0 && self.unheard.is_empty()
    }

    /// Whether some file has fewer copies left than the write quorum.
    pub fn is_below_quorum(&self) -> bool {
        self.below_quorum > 0
    }
}

/// A time span as microseconds: one number, and one encoding. (serde's own form, seconds and nanoseconds, has
/// several.)
mod micros {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}
