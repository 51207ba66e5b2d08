//! Messages about files and name records.

use serde::{Deserialize, Serialize};

use super::{Entry, SignedRecord};
use crate::id::{ContentId, FileName, OutboardDigest, Position, RecordId};
use crate::time::Timestamp;

/// An object: which bytes, how many, and which outboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// The address.
    pub content: ContentId,
    /// The length in bytes.
    pub length: u64,
    /// The SHA-256 of the outboard.
    pub outboard: OutboardDigest,
}

/// A name under which an object is linked in names/. The later clock wins the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The name.
    pub name: FileName,
    /// The clock of the record, or of the store that is going to write it.
    pub clock: Timestamp,
}

/// As what a peer is given an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreRole {
    /// As its owner, who chooses the replicas and passes the bytes on to them.
    Owner,
    /// As a replica, who passes the bytes on to these, in their order.
    Replica {
        /// The rest of the chain, at most [`crate::config::RingSettings::REPLICAS_MAX`].
        chain: Vec<Entry>,
    },
}

/// As what a peer is given a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PutRole {
    /// As the name's owner, by a client: the clock is checked, the record must
    /// replace the current one, and the owner passes it on.
    Owner,
    /// As a replica: merged.
    Replica,
}

/// A record that is offered: where it belongs and which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedRecord {
    /// The name key.
    pub key: Position,
    /// The record.
    pub id: RecordId,
}

/// A request about files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageRequest {
    /// Keep this object.
    /// `-> Proceed { offset }`, then the asker sends the bytes from there; or `-> AlreadyHere`;
    /// then in both cases `-> Durable | Missing`, one for each copy, and `-> Finished`.
    /// An owner that cannot take the bytes, and has no replica that does, wants them from their end on.
    /// Or `-> NotOwner | Refused`; or, by a replica that cannot take the bytes, `-> Missing`.
    StoreObject {
        /// The content id, length and outboard digest of the object.
        object: ObjectInfo,
        /// Under which names it is linked.
        links: Vec<Link>,
        /// As what.
        role: StoreRole,
    },
    /// `-> Object`, then its bytes from `offset` to the end; or `-> NotHere`.
    FetchObject {
        /// The content id.
        content: ContentId,
        /// From which byte.
        offset: u64,
    },
    /// `-> Outboard`; or `-> NotHere`.
    FetchOutboard {
        /// Of which object.
        content: ContentId,
        /// From which midstate, counted from zero.
        first: u32,
    },
    /// `-> Holders`; or `-> Syncing`.
    WhoHas {
        /// Which object.
        content: ContentId,
    },
    /// The asker holds this object, complete. `-> Noted`.
    Announce {
        /// The content id.
        content: ContentId,
    },
    /// `-> Record`.
    FetchRecord {
        /// Of which name.
        name: FileName,
    },
    /// `-> Put | Conflict | NotOwner | Refused`.
    PutRecord {
        /// The record.
        record: SignedRecord,
        /// As what.
        role: PutRole,
    },
    /// The asker has these and believes that they belong here. `-> Wanted | WantedInPart`.
    Offer {
        /// The content ids of the objects.
        objects: Vec<ContentId>,
        /// The ids of the records, by name key.
        records: Vec<OfferedRecord>,
    },
    /// Give me now what you hold and I should. `-> Synced` when it is done.
    Sync,
    /// The files that this peer holds, in the order of their content ids, after this one. `-> Files`.
    ListFiles {
        /// `None` for the beginning.
        after: Option<ContentId>,
    },
    /// The files with fewer copies than there should be, as far as this peer answers for them. `-> Health`.
    Health,
    /// Which of these are not held here, complete? Nothing follows from it. `-> Wanted`, objects only.
    Lacks {
        /// At most [`super::limits::OFFERS_PER_MESSAGE_MAX`].
        objects: Vec<ContentId>,
    },
    /// The files that belong to this peer and that it cannot take. `-> Unkept`.
    Unkept,
}

/// A copy that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Who should have it.
    pub peer: Position,
    /// Why it has not.
    pub reason: MissingReason,
}

/// Why a copy is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MissingReason {
    /// It does not answer.
    #[error("does not answer")]
    Unreachable,
    /// Its disk failed or is full; in its own words.
    #[error("cannot write: {0}")]
    Disk(String),
    /// It refused; in its own words.
    #[error("refused: {0}")]
    Refused(String),
    /// It has no room.
    #[error("no room for {length} bytes; {free} are free")]
    NoRoom {
        /// How long the object is.
        length: u64,
        /// What objects may still take there.
        free: u64,
    },
    /// It refused, and would refuse the same again; in its own words.
    #[error("refused: {0}")]
    Final(String),
    /// Its bytes are on their way, or it has not said anything yet.
    #[error("its copy is not complete yet")]
    NotYet,
    /// Whoever was to give it the bytes could not; in the words of that one.
    #[error("was not given it: {0}")]
    NotGiven(String),
}

impl MissingReason {
    /// Whether the same bytes, given again soon, meet the same answer: nothing is gained by moving them.
    pub fn is_final(&self) -> bool {
        match self {
            MissingReason::Unreachable
            | MissingReason::Refused(_)
            | MissingReason::NotYet
            | MissingReason::NotGiven(_) => false,
            MissingReason::Disk(_) | MissingReason::NoRoom { .. } | MissingReason::Final(_) => true,
        }
    }

    /// Whether its disk takes nothing: it is full, or failed.
    pub fn is_of_its_disk(&self) -> bool {
        matches!(self, MissingReason::Disk(_) | MissingReason::NoRoom { .. })
    }
}

/// A file that a peer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The content id, length and outboard digest of the object.
    pub object: ObjectInfo,
    /// The names that are linked to it here.
    pub names: Vec<FileName>,
}

/// A file with fewer copies than there should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHealth {
    /// The content id.
    pub content: ContentId,
    /// Names that it has, at most [`super::limits::HEALTH_NAMES_MAX`].
    pub names: Vec<FileName>,
    /// The peers that have a copy and answer.
    pub holders: Vec<Position>,
    /// The peers that should have one and have not, or do not answer.
    pub missing: Vec<Position>,
}

/// An answer about files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageReply {
    /// Send the bytes from this one on.
    Proceed {
        /// A multiple of the chunk size, or the length.
        offset: u64,
    },
    /// The bytes are here already.
    AlreadyHere,
    /// This peer has the copy, complete and synced to disk.
    Durable {
        /// Which peer.
        peer: Position,
    },
    /// This peer has not.
    Missing(Missing),
    /// No more copies are tried.
    Finished,
    /// The key belongs to another peer.
    NotOwner {
        /// To this one, as far as is known.
        owner: Option<Entry>,
    },
    /// No, and why.
    Refused(String),
    /// The object; its bytes follow, from the offset that was asked.
    Object(ObjectInfo),
    /// There is no such object here, complete.
    NotHere,
    /// A page of an outboard.
    Outboard {
        /// The content id, length and outboard digest of the object.
        object: ObjectInfo,
        /// 32 bytes a midstate, at most [`super::limits::MIDSTATES_PER_PAGE_MAX`].
        midstates: Vec<u8>,
    },
    /// Who holds an object, as far as this peer knows.
    Holders {
        /// The answering peer does.
        here: bool,
        /// And these are believed to.
        others: Vec<Entry>,
    },
    /// The peer has taken notice.
    Noted,
    /// What is known of a name.
    Record {
        /// The winning record.
        record: Option<SignedRecord>,
        /// This peer is still taking over its range: its "no" is no vote.
        syncing: bool,
    },
    /// The record is kept.
    Put {
        /// By these, synced to disk.
        durable: Vec<Position>,
        /// But not by these.
        missing: Vec<Missing>,
    },
    /// The record does not replace the current one, which is this.
    Conflict {
        /// The record that stands there now.
        current: Option<SignedRecord>,
    },
    /// What is wanted of an offer, by index.
    Wanted {
        /// Into the offered objects.
        objects: Vec<u16>,
        /// Into the offered records.
        records: Vec<u16>,
        /// Into the offered objects: somebody else sends these at the moment.
        arriving: Vec<u16>,
    },
    /// What there was to give was given.
    Synced {
        /// How many objects.
        objects: u64,
        /// Their bytes.
        bytes: u64,
        /// How many records.
        records: u64,
        /// Nothing failed, and nothing was left to somebody else. Else ask again.
        complete: bool,
    },
    /// A page of a listing.
    Files {
        /// At most [`super::limits::FILES_PER_PAGE_MAX`].
        files: Vec<FileEntry>,
        /// There are more after the last of these.
        more: bool,
    },
    /// How the files are that this peer answers for.
    Health {
        /// Those with the fewest copies, at most [`super::limits::LISTED_MAX`] and what a frame holds.
        short: Vec<FileHealth>,
        /// How many have fewer copies than there should be.
        total: u64,
        /// How many of these have fewer than acknowledge a store.
        below_quorum: u64,
    },
    /// The answering peer does not hold an object, and is still taking over or no member at the moment: its "no" is no
    /// vote.
    Syncing {
        /// These are believed to hold it.
        others: Vec<Entry>,
    },
    /// As `Wanted`, by a peer that lacks more than it can take.
    WantedInPart {
        /// Into the offered objects.
        objects: Vec<u16>,
        /// Into the offered records.
        records: Vec<u16>,
        /// Into the offered objects: somebody else sends these at the moment.
        arriving: Vec<u16>,
        /// Into the offered objects: these are not here, and cannot be taken now.
        unkept: Vec<u16>,
    },
    /// What belongs to this peer and cannot be taken.
    Unkept {
        /// How many files.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// Why, as of the latest one.
        reason: Option<MissingReason>,
    },
    /// The object goes on to come, to the answering peer or to those behind it. Before `Proceed` somebody else sends
    /// it, and the end of that is waited for; after the bytes a copy takes long. Said every few seconds.
    Moving {
        /// So many more bytes have come since the last word; not 0.
        bytes: u64,
    },
}

impl StorageReply {
    /// Nothing was done; why, as long as a reply may be.
    pub fn refused(why: String) -> StorageReply {
        StorageReply::Refused(super::shortened(why, super::limits::REASON_BYTES_MAX))
    }
}
