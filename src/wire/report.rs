//! What a peer says of its own work and of its ring, to the person or program that commands it.
//!
//! Plain values: the same ones come from a peer in this process and, over `quoit-client/1`, from another.
//! Lists that a large ring makes long are [`Listed`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Address, Fault, FileEntry, MemberState, MissingReason};
use crate::config::RingSettings;
use crate::id::{ContentId, FileName, Position};

/// A peer as people know it: by the display name in its certificate, else by its number, else by the
/// first hexadecimal digits of its position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerName {
    /// Where it stands.
    pub position: Position,
    /// Its display name, where it has one and its certificate was seen.
    pub name: Option<String>,
}

impl PeerName {
    /// What people call it.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.position.label())
    }
}

impl From<Position> for PeerName {
    fn from(position: Position) -> PeerName {
        PeerName { position, name: None }
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

/// The beginning of a list, and how long the whole is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed<T> {
    /// The first ones, at most [`super::limits::LISTED_MAX`].
    pub first: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Listed<T> {
        Listed { first: Vec::new(), total: 0 }
    }
}

impl<T> FromIterator<T> for Listed<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Listed<T> {
        let mut listed = Listed::default();
        for item in items {
            listed.total += 1;
            if listed.first.len() < super::limits::LISTED_MAX {
                listed.first.push(item);
            }
        }
        listed
    }
}

impl<T> Listed<T> {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

/// A copy that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingCopy {
    /// Who should have it.
    pub peer: PeerName,
    /// Why it has not.
    pub reason: MissingReason,
}

/// What a store did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// The name.
    pub name: FileName,
    /// Where the name's record lives.
    pub name_key: Position,
    /// The name key's owner.
    pub name_owner: PeerName,
    /// The length in bytes.
    pub length: u64,
    /// The address.
    pub content: ContentId,
    /// Who holds it, durably, in ring order.
    pub holders: Vec<PeerName>,
    /// How many copies there should be: min(R, members).
    pub copies: usize,
    /// Who should hold it and does not.
    pub missing: Vec<MissingCopy>,
    /// The record's version, from 1.
    pub version: u64,
    /// The content that the name stood for before, if it did. This content itself, if nothing was written.
    pub replaces: Option<ContentId>,
    /// From the start to the acknowledgement.
    #[serde(with = "micros")]
    pub took: Duration,
}

impl StoreReport {
    /// Whether the name stood for these bytes already: there is no new version.
    pub fn is_unchanged(&self) -> bool {
        self.replaces == Some(self.content)
    }
}

/// What a request did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestReport {
    /// The name, where one was asked for or is known.
    pub name: Option<FileName>,
    /// The address.
    pub content: ContentId,
    /// The length in bytes.
    pub length: u64,
    /// The record's version, where a name was asked for.
    pub version: Option<u64>,
    /// Whom the bytes came from, in order; empty when they were here already.
    pub sources: Vec<PeerName>,
    /// Where the file is now in received/ of the peer; none where it was not wanted there.
    pub path: Option<String>,
    /// From the start to the end.
    #[serde(with = "micros")]
    pub took: Duration,
}

/// What leaving did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveReport {
    /// Objects and records that were copied to others before leaving.
    pub handed_over: u64,
    /// Objects that fewer than min(R, N − 1) other peers hold.
    pub short: Listed<ContentId>,
    /// Names whose records fewer than that hold.
    pub short_names: Listed<FileName>,
    /// The files that nobody else holds: the last peer left.
    pub unreachable: Listed<FileName>,
    /// Where the peer's files stay.
    pub data_dir: String,
}

/// What leaving would do now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavePlan {
    /// Objects here of which another peer would have to get a copy first.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Name records of the same kind.
    pub records: u64,
    /// The peers that stay.
    pub stay: Listed<PeerName>,
    /// How many copies each file would have: min(R, N − 1).
    pub copies: usize,
    /// The files that nobody could reach: this is the last peer.
    pub unreachable: Listed<FileName>,
}

/// A member that is counted no more, or could be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetReport {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// Where it was reached last.
    pub address: Address,
    /// It was forgotten; else nothing was done yet.
    pub done: bool,
    /// How many files have no copy at a member that answers. What only the forgotten one has of these is gone for the ring,
    /// unless it comes back.
    pub without_copy: u64,
}

/// How another peer answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingReport {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// Where it was reached, or should have been.
    pub address: Address,
    /// Which life of it.
    pub incarnation: u64,
    /// The round trips in microseconds, in the order in which they were made; none for what was not answered.
    pub round_trips_us: Vec<Option<u64>>,
    /// Why nothing came back, in the words of the last try.
    pub trouble: Option<String>,
}

/// One peer as `Ring` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingLine {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// Where to reach it.
    pub address: Address,
    /// Which life of it.
    pub incarnation: u64,
    /// Alive, left or dead.
    pub state: MemberState,
    /// Away for so long that it is not waited for any more.
    pub gone: bool,
    /// The share of the circle that it owns, 0.0 ..= 1.0; 0 unless alive.
    pub share: f64,
    /// It is the peer that was asked.
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

/// A file of the ring, and who said to hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingFile {
    /// The file, as its holders list it.
    pub file: FileEntry,
    /// The peers that hold it, in ring order.
    pub holders: Vec<PeerName>,
}

/// What `Files --ring` found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RingFiles {
    /// In the order of their first name, then content id.
    pub files: Vec<RingFile>,
    /// Peers that did not answer.
    pub silent: Vec<PeerName>,
    /// Whether every file of the ring is here all the same: whatever set of peers a file was acknowledged by, one of
    /// them answered.
    pub complete: bool,
}

/// Where a name's record and its file are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhereisReport {
    /// The name.
    pub name: FileName,
    /// Its key.
    pub name_key: Position,
    /// Who keeps the record, owner first.
    pub record_peers: Vec<PeerName>,
    /// The record's version.
    pub version: u64,
    /// Who wrote it.
    pub writer: PeerName,
    /// When, as RFC 3339.
    pub written: String,
    /// What the name stands for.
    pub content: ContentId,
    /// Its length in bytes.
    pub length: u64,
    /// The owner of the content id.
    pub content_owner: PeerName,
    /// Who holds the bytes, in ring order from the owner.
    pub holders: Vec<PeerName>,
    /// How many copies there should be.
    pub copies: usize,
    /// How many earlier or sibling records are in the history here.
    pub history: u64,
}

/// A file that has fewer copies than it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortFile {
    /// The content id.
    pub content: ContentId,
    /// Names that it has, the first few.
    pub names: Vec<FileName>,
    /// Who has a copy.
    pub holders: Vec<PeerName>,
    /// How many copies there should be: min(R, members).
    pub copies: usize,
    /// How many acknowledge a store: W.
    pub quorum: usize,
    /// Who should have one and has not, or does not answer.
    pub missing: Vec<PeerName>,
}

impl ShortFile {
    /// Whether fewer copies are left than acknowledge a store.
    pub fn below_quorum(&self) -> bool {
        self.holders.len() < self.quorum
    }
}

/// Files that belong to a peer and that it cannot take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnkeptFiles {
    /// Which peer.
    pub peer: PeerName,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why, as of the latest one.
    pub reason: MissingReason,
}

/// What a peer did wrong to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misbehaviour {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// The kind of its fault.
    pub kind: Fault,
    /// How often, since the other one started.
    pub count: u64,
}

/// A member that lives and cannot be reached directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreachable {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// Through whom it is reached; none where nobody was found.
    pub through: Option<PeerName>,
}

/// How this peer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The peer, as people know it.
    pub peer: PeerName,
    /// Which life of it.
    pub incarnation: u64,
    /// The ring's name.
    pub ring: String,
    /// Where others reach it.
    pub address: Address,
    /// "active", "waiting for peers 4 and 5", "leaving", …
    pub phase: String,
    /// The ring's settings; none before they are learned.
    pub settings: Option<RingSettings>,
    /// Between pings.
    #[serde(with = "micros")]
    pub interval: Duration,
    /// Whether membership is the small ring's map (true) or the corrected Chord (false).
    pub small_ring: bool,
    /// The predecessor; none while alone.
    pub predecessor: Option<PeerName>,
    /// The successor list.
    pub successors: Vec<PeerName>,
    /// Members that answer, this one included.
    pub alive: Listed<PeerName>,
    /// Members that do not, and are waited for.
    pub away: Listed<PeerName>,
    /// Members that have not answered for so long that they are not waited for.
    pub gone: Listed<PeerName>,
    /// Members that live, but that this peer cannot reach itself.
    pub unreachable: Listed<Unreachable>,
    /// Objects here.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Name records here.
    pub records: u64,
    /// This peer is still taking over its ranges.
    pub syncing: bool,
    /// Files of the ring with fewer copies than there should be, those with the fewest first.
    pub short: Vec<ShortFile>,
    /// How many such files there are in all.
    pub short_total: u64,
    /// And how many of these have fewer copies than acknowledge a store.
    pub below_quorum: u64,
    /// Living members that did not say how their files are: what is short there is not known.
    pub unheard: Listed<PeerName>,
    /// Why the figures of this peer's own store are not there.
    pub trouble: Option<String>,
    /// Names whose history holds a record that lost without being replaced.
    pub siblings: Listed<FileName>,
    /// When this peer's certificate ends, in seconds since the Unix epoch.
    pub certificate_until: u64,
    /// Where its files are.
    pub data_dir: String,
    /// What other peers did wrong to this one.
    pub misbehaving: Listed<Misbehaviour>,
    /// Connections from others that were refused.
    pub refused: u64,
    /// Streams and datagrams that were no messages.
    pub malformed: u64,
    /// Datagrams that were dropped unread: too many came.
    pub dropped: u64,
    /// What this peer's store told lately, one line each: bad copies, strange files, links that cannot be made.
    pub notices: Listed<String>,
    /// Living members that cannot take what belongs to them.
    pub unkept: Listed<UnkeptFiles>,
}

impl StatusReport {
    /// Whether every acknowledged file is known to have all its copies: the peer is in its ring, and all members that
    /// answer say so.
    pub fn is_whole(&self) -> bool {
        // A member is the first of those that are alive; one that still waits for its ring may know others.
        let is_member = self.alive.first.first().is_some_and(|first| first.position == self.peer.position);
        is_member && self.short_total == 0 && self.unheard.is_empty()
    }

    /// Whether some file has fewer copies left than acknowledge a store.
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
