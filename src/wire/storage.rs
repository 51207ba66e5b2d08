//! Messages about files and name records.

use serde::{Deserialize, Serialize};

use super::{CopyCounts, Entry, SelfReport, SignedRecord};
use crate::id::{ContentId, FileName, KeyRange, OutboardDigest, Position, RecordId, SetDigest};
use crate::time::Timestamp;

/// The identity of an object: its content id, its length and the digest of its outboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// The content id of the object.
    pub content: ContentId,
    /// The length in bytes.
    pub length: u64,
    /// The SHA-256 of the outboard.
    pub outboard: OutboardDigest,
}

/// A name under which an object is linked in names/. The later clock wins the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The name that is linked.
    pub name: FileName,
    /// The clock of the record, or of the store that is going to write it.
    pub clock: Timestamp,
}

/// A name refers to an object: it stands for it, or did so a while ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The content id of the object.
    pub content: ContentId,
    /// The name, and the clock of its record with this object.
    pub link: Link,
    /// Whether the name stands for the object now.
    pub current: bool,
}

/// The receiver's role for an object: owner or replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreRole {
    /// The owner: it chooses the replicas and passes the bytes on to them.
    Owner,
    /// A replica: it passes the bytes on to the next peer of the chain.
    Replica {
        /// The peers that follow in the chain, in their order; at most [`crate::config::RingSettings::REPLICAS_MAX`].
        chain: Vec<Entry>,
    },
}

/// The receiver's role for a name record: owner or replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PutRole {
    /// The owner of the name, addressed by a client. It checks the clock, demands that the record replace the current
    /// one, and passes it on.
    Owner,
    /// A replica: it merges the record.
    Replica,
}

/// An offered record: its key and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedRecord {
    /// The key of the record's name.
    pub key: Position,
    /// The id of the record.
    pub id: RecordId,
}

/// A range of keys, and the digest of what its sender holds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeDigest {
    /// The range of keys.
    pub range: KeyRange,
    /// The digest of all objects and name records with these keys.
    pub digest: SetDigest,
}

/// A range of a comparison in which the two peers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The index of the range in the request.
    pub range: u16,
    /// The number of objects, plus the number of names with records, that the answering peer holds of it.
    pub count: u64,
}

/// A request about files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageRequest {
    /// Asks the receiver to keep this object.
    /// `-> Proceed { offset }`, then the asker sends the bytes from there; or `-> AlreadyHere`;
    /// then in both cases `-> Durable | Missing`, one for each copy, and `-> Finished`.
    /// An owner that cannot take the bytes, and has no replica that can, asks for none: its offset is the length.
    /// Or `-> NotOwner | Refused`; or, from a replica that cannot take the bytes, `-> Missing`.
    StoreObject {
        /// The content id, length and outboard digest of the object.
        object: ObjectInfo,
        /// The names under which the object is linked, at most [`super::limits::LINKS_PER_OBJECT_MAX`].
        links: Vec<Link>,
        /// The receiver's role: owner or replica.
        role: StoreRole,
    },
    /// Asks for an object. `-> Object`, then its bytes from `offset` to the end; or `-> NotHere`.
    FetchObject {
        /// The content id of the object to be sent.
        content: ContentId,
        /// The first byte to be sent, counted from zero.
        offset: u64,
    },
    /// Asks for a page of an outboard. `-> Outboard`; or `-> NotHere`.
    FetchOutboard {
        /// The content id of the object.
        content: ContentId,
        /// The first midstate to be sent, counted from zero.
        first: u32,
    },
    /// Asks for the peers that hold an object. `-> Holders`; or `-> Syncing`.
    WhoHas {
        /// The content id of the object that is searched for.
        content: ContentId,
    },
    /// The asker holds a complete copy of this object. `-> Noted`.
    Announce {
        /// The content id of the held object.
        content: ContentId,
    },
    /// Asks for a name's record. `-> Record`.
    FetchRecord {
        /// The name whose record is wanted.
        name: FileName,
    },
    /// Asks the receiver to keep a name record. `-> Put | Conflict | NotOwner | Refused`.
    PutRecord {
        /// The record to be kept.
        record: SignedRecord,
        /// The receiver's role: owner or replica.
        role: PutRole,
    },
    /// The asker has these and believes that they belong at the receiver. `-> Wanted | WantedInPart`.
    Offer {
        /// The content ids of the objects.
        objects: Vec<ContentId>,
        /// The keys and ids of the records.
        records: Vec<OfferedRecord>,
    },
    /// Asks the receiver to hand over now all that it holds and the asker should hold. `-> Synced` when it is done.
    Sync,
    /// Asks for the files that the receiver holds, in the order of their content ids. `-> Files`.
    ListFiles {
        /// The content id after which the page begins; `None` for the first page.
        after: Option<ContentId>,
    },
    /// Asks for the files with too few copies, as far as the receiver answers for them. `-> Health`.
    Health,
    /// Asks which of these objects the receiver does not hold complete. The receiver fetches nothing for this question.
    /// `-> Wanted`, objects only.
    Lacks {
        /// The content ids of the objects, at most [`super::limits::OFFERS_PER_MESSAGE_MAX`].
        objects: Vec<ContentId>,
    },
    /// Asks for the files that belong to the receiver and that it cannot take. `-> Unkept`.
    Unkept,
    /// Asks for all records of a name. `-> History`.
    FetchHistory {
        /// The name whose records are wanted.
        name: FileName,
    },
    /// Names refer to these objects: they are not freed for a while. `-> Noted`.
    Renew {
        /// The references, at most [`super::limits::REFERENCES_PER_MESSAGE_MAX`].
        references: Vec<Reference>,
    },
    /// Asks which peers hold how many files, of those that the receiver answers for. `-> Copies`.
    CountCopies,
    /// Asks the receiver for its version, disk and clock. `-> Described`.
    Describe,
    /// Asks the owner of an object whether the asker may free its copy, which is one more than there should be.
    /// `-> Granted | Kept | NotOwner`.
    MayFree {
        /// The content id of the object.
        content: ContentId,
        /// Whether the asker means to do it. If false, it only wants to know.
        sure: bool,
    },
    /// The owner asks one of the peers that should keep an object to vouch for its copy: it checks the bytes, and frees
    /// the copy on no permission that it has asked for before. `-> Vouched | NotHere | LetGo`.
    Vouch {
        /// The content id of the object.
        content: ContentId,
    },
    /// The asker has freed its copy of an object. `-> Noted`.
    Freed {
        /// The content id of the object.
        content: ContentId,
    },
    /// Asks when the receiver last verified its copies: of these objects, and the oldest of all. `-> Verified`.
    Verified {
        /// The content ids of the objects, at most [`super::limits::OFFERS_PER_MESSAGE_MAX`].
        objects: Vec<ContentId>,
    },
    /// Asks in which of these ranges the receiver holds something else than the asker. `-> Differ`.
    Compare {
        /// The ranges, at most [`super::limits::RANGES_PER_MESSAGE_MAX`].
        ranges: Vec<RangeDigest>,
    },
    /// Asks which peers said in their pongs to the receiver that they have no room. `-> HeardFull`.
    HeardFull,
    /// Asks up to which date the receiver may have dropped tombstones. `-> DroppedTombstones`.
    DroppedTombstones,
    /// Asks for a part of an object. `-> Object`, then `length` of its bytes from `offset` on, or fewer if it ends
    /// before; or `-> NotHere`.
    FetchRange {
        /// The content id of the object.
        content: ContentId,
        /// The first byte to be sent, counted from zero.
        offset: u64,
        /// The number of bytes to be sent.
        length: u64,
    },
    /// Asks the receiver to keep these small objects, which have one owner. `-> BatchWanted`, then the asker sends the
    /// bytes of the wanted ones, one behind the other; then `-> BatchKept`, one for each peer of the chain, and
    /// `-> Finished`. Or `-> NotOwner | Refused`.
    StoreBatch {
        /// The objects, each once: at most [`super::limits::BATCH_OBJECTS_MAX`] of at most
        /// [`super::limits::BATCHED_OBJECT_BYTES_MAX`] bytes, together at most [`super::limits::BATCH_BYTES_MAX`].
        objects: Vec<BatchedObject>,
        /// The receiver's role: owner or replica.
        role: StoreRole,
    },
    /// Asks for the records of some names. `-> Records`.
    FetchRecords {
        /// The names, at most [`super::limits::BATCH_OBJECTS_MAX`].
        names: Vec<FileName>,
    },
    /// Asks the receiver to keep some name records. `-> PutAll | Refused`.
    PutRecords {
        /// The records to be kept, at most [`super::limits::RECORDS_PER_MESSAGE_MAX`].
        records: Vec<SignedRecord>,
        /// The receiver's role: owner or replica.
        role: PutRole,
    },
    /// Asks for the bytes of some small objects: a peer asks its client for files that the client stores, or another peer
    /// for objects that it holds. `-> Batch`, then the bytes of those that are given, one behind the other.
    FetchBatch {
        /// The content ids of the objects: at most [`super::limits::BATCH_OBJECTS_MAX`].
        contents: Vec<ContentId>,
    },
    /// Like `StoreBatch`, for objects without a name: the files of a tree. The answers are those of `StoreBatch`.
    PutBatch {
        /// The objects, each once, with the bounds of `StoreBatch`.
        objects: Vec<ObjectInfo>,
        /// The receiver's role: owner or replica.
        role: StoreRole,
    },
}

/// An object of a batch, and the name under which it is linked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchedObject {
    /// The content id, length and outboard digest of the object.
    pub object: ObjectInfo,
    /// The name, and the clock of the store.
    pub link: Link,
}

/// An object of a batch that is not durable at a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchMissing {
    /// The index of the object in the batch.
    pub index: u16,
    /// The reason, with at most [`super::limits::BATCH_REASON_BYTES_MAX`] bytes of words.
    pub reason: MissingReason,
}

/// The outcome for one of several records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PutOutcome {
    /// The record is kept.
    Put {
        /// The peers that have the record synced to disk.
        durable: Vec<Position>,
        /// The peers that do not have it, with reasons.
        missing: Vec<Missing>,
    },
    /// The record does not replace the current one.
    Conflict,
    /// The key belongs to another peer.
    NotOwner,
    /// The record is refused, for this reason.
    Refused(String),
}

impl PutOutcome {
    /// The answer that the same record alone would have had.
    ///
    /// # Errors
    /// The reason why it is not kept.
    pub fn into_answer(self) -> Result<StorageReply, MissingReason> {
        match self {
            PutOutcome::Put { durable, missing } => Ok(StorageReply::Put { durable, missing }),
            PutOutcome::Conflict => Ok(StorageReply::Conflict { current: None }),
            PutOutcome::NotOwner => Ok(StorageReply::NotOwner { owner: None }),
            PutOutcome::Refused(why) => Err(MissingReason::Refused(why)),
        }
    }
}

/// Why a peer may not free its copy of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhyKept {
    /// The asker is one of the peers that should keep the object.
    Belongs {
        /// These peers, the owner first.
        keepers: Vec<Position>,
    },
    /// Not all peers that should keep the object vouch for a copy, or there are too few of these peers.
    TooFew {
        /// The peers that vouch for their copies.
        holders: Vec<Position>,
        /// The peers that do not, with reasons.
        missing: Vec<Missing>,
    },
    /// Another peer is freeing its copy of the object at the moment.
    Another {
        /// That peer.
        peer: Position,
    },
}

/// A missing copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The peer that should have the copy.
    pub peer: Position,
    /// The reason why that peer does not have it.
    pub reason: MissingReason,
}

/// Why a copy is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MissingReason {
    /// The peer does not answer.
    #[error("does not answer")]
    Unreachable,
    /// The peer's disk failed or is full; in that peer's words.
    #[error("cannot write: {0}")]
    Disk(String),
    /// The peer refused; in its own words.
    #[error("refused: {0}")]
    Refused(String),
    /// The peer has too little room for the object.
    #[error("no room for {length} bytes; {free} are free")]
    NoRoom {
        /// The length of the object in bytes.
        length: u64,
        /// The bytes that objects may still take at that peer.
        free: u64,
    },
    /// The peer refused, and would refuse the same object again; in its own words.
    #[error("refused: {0}")]
    Final(String),
    /// The bytes are on their way, or the peer has not reported anything yet.
    #[error("its copy is not complete yet")]
    NotYet,
    /// The sender that was to give the peer the bytes could not; in the sender's words.
    #[error("was not given it: {0}")]
    NotGiven(String),
}

impl MissingReason {
    /// The reason, with its words cut to this many bytes.
    #[must_use]
    pub fn in_short(self, bytes_max: usize) -> MissingReason {
        let cut = |text| super::shortened(text, bytes_max);
        match self {
            MissingReason::Disk(text) => MissingReason::Disk(cut(text)),
            MissingReason::Refused(text) => MissingReason::Refused(cut(text)),
            MissingReason::Final(text) => MissingReason::Final(cut(text)),
            MissingReason::NotGiven(text) => MissingReason::NotGiven(cut(text)),
            reason => reason,
        }
    }

    /// Whether the peer would refuse the same bytes again soon, so that sending them gains nothing.
    pub fn is_final(&self) -> bool {
        match self {
            MissingReason::Unreachable
            | MissingReason::Refused(_)
            | MissingReason::NotYet
            | MissingReason::NotGiven(_) => false,
            MissingReason::Disk(_) | MissingReason::NoRoom { .. } | MissingReason::Final(_) => true,
        }
    }

    /// Whether the peer's disk is full or failed.
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
    /// Whether a person pinned it at this peer. That does not travel: a client is told by
    /// [`PinnedFile`](super::ClientReply::PinnedFile), and other peers are not told.
    #[serde(skip)]
    pub pinned: bool,
}

/// A file with fewer copies than there should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHealth {
    /// The content id of the file.
    pub content: ContentId,
    /// Names of the file, at most [`super::limits::HEALTH_NAMES_MAX`].
    pub names: Vec<FileName>,
    /// The peers that have a copy and answer.
    pub holders: Vec<Position>,
    /// The peers that should have a copy and have none, or do not answer.
    pub missing: Vec<Position>,
}

/// An answer about files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageReply {
    /// The asker sends the bytes from this offset on.
    Proceed {
        /// The first byte to be sent: a multiple of the chunk size, or the length.
        offset: u64,
    },
    /// The answering peer has the bytes already.
    AlreadyHere,
    /// A peer has a complete copy, synced to disk.
    Durable {
        /// The position of that peer.
        peer: Position,
    },
    /// A peer has no copy, for this reason.
    Missing(Missing),
    /// The store is over: no more copies are tried.
    Finished,
    /// The key belongs to another peer.
    NotOwner {
        /// The owner of the key, as far as the answering peer knows it.
        owner: Option<Entry>,
    },
    /// The request is refused, for this reason.
    Refused(String),
    /// The object; its bytes follow, from the requested offset on.
    Object(ObjectInfo),
    /// The answering peer holds no complete copy of the object.
    NotHere,
    /// A page of an outboard.
    Outboard {
        /// The content id, length and outboard digest of the object.
        object: ObjectInfo,
        /// The midstates, 32 bytes each, at most [`super::limits::MIDSTATES_PER_PAGE_MAX`].
        midstates: Vec<u8>,
    },
    /// The holders of an object, as far as the answering peer knows.
    Holders {
        /// Whether the answering peer holds it.
        here: bool,
        /// Other peers that are believed to hold it.
        others: Vec<Entry>,
    },
    /// The answering peer has taken notice.
    Noted,
    /// The answering peer's knowledge of a name.
    Record {
        /// The winning record; `None` if the peer knows no record of the name.
        record: Option<SignedRecord>,
        /// Whether the peer is still taking over its range: then an absent record is no vote.
        syncing: bool,
    },
    /// The record is kept.
    Put {
        /// The peers that have the record synced to disk.
        durable: Vec<Position>,
        /// The peers that do not have it, with reasons.
        missing: Vec<Missing>,
    },
    /// The record does not replace the current one.
    Conflict {
        /// The current record.
        current: Option<SignedRecord>,
    },
    /// The wanted part of an offer, by index.
    Wanted {
        /// Indices of the wanted objects in the offer.
        objects: Vec<u16>,
        /// Indices of the wanted records in the offer.
        records: Vec<u16>,
        /// Indices of offered objects that another peer sends at the moment.
        arriving: Vec<u16>,
    },
    /// The hand-over of a `Sync` is over.
    Synced {
        /// The number of objects handed over.
        objects: u64,
        /// The number of bytes of these objects.
        bytes: u64,
        /// The number of records handed over.
        records: u64,
        /// Whether nothing failed and nothing was left to another peer. If false, ask again.
        complete: bool,
    },
    /// A page of a listing.
    Files {
        /// The files, at most [`super::limits::FILES_PER_PAGE_MAX`].
        files: Vec<FileEntry>,
        /// Whether more files follow after the last of these.
        more: bool,
    },
    /// The state of the files that the answering peer answers for.
    Health {
        /// The files with the fewest copies, at most [`super::limits::LISTED_MAX`] and as many as fit a frame.
        short: Vec<FileHealth>,
        /// The number of files with too few copies.
        total: u64,
        /// The number of these that have fewer copies than the write quorum.
        below_quorum: u64,
    },
    /// The answering peer does not hold the object, and is still taking over or is no member at the moment: its "no" is
    /// no vote.
    Syncing {
        /// Other peers that are believed to hold it.
        others: Vec<Entry>,
    },
    /// Like `Wanted`, from a peer that lacks more than it can take.
    WantedInPart {
        /// Indices of the wanted objects in the offer.
        objects: Vec<u16>,
        /// Indices of the wanted records in the offer.
        records: Vec<u16>,
        /// Indices of offered objects that another peer sends at the moment.
        arriving: Vec<u16>,
        /// Indices of offered objects that the answering peer lacks and cannot take now.
        unkept: Vec<u16>,
    },
    /// The files that belong to the answering peer and that it cannot take.
    Unkept {
        /// The number of these files.
        files: u64,
        /// The number of bytes of these files.
        bytes: u64,
        /// The reason for the latest of them; `None` if there are none.
        reason: Option<MissingReason>,
    },
    /// The object is still arriving, at the answering peer or at those behind it in the chain. Before `Proceed`,
    /// another peer sends it and the answering peer waits for the end; after the bytes, a copy takes long. Sent every
    /// few seconds.
    Moving {
        /// The number of bytes that have arrived since the last `Moving`; not 0.
        bytes: u64,
    },
    /// The answering peer's knowledge of the versions of a name.
    History {
        /// The winning record, then the others, latest first; at most `names::VERSIONS_MAX`. None if the peer knows no
        /// record of the name.
        records: Vec<SignedRecord>,
        /// Whether the peer is still taking over its range: then an absent record is no vote.
        syncing: bool,
    },
    /// The copies of the files that the answering peer answers for.
    Copies(CopyCounts),
    /// The answering peer in its own words.
    Described(SelfReport),
    /// The asker may free its copy of an object now: these peers, which should keep it, vouched for theirs just now.
    Granted {
        /// The peers that vouched, the owner first.
        holders: Vec<Position>,
    },
    /// The asker may not free its copy of an object.
    Kept(WhyKept),
    /// The answering peer has a complete copy of an object, with the right bytes, and keeps it.
    Vouched,
    /// When the answering peer last verified its copies, in milliseconds since the Unix epoch; 0 for a copy that was
    /// not verified yet.
    Verified {
        /// For each object of the request, in its order; `None` for an object that is not here.
        objects: Vec<Option<u64>>,
        /// The oldest of all objects of the peer; `None` if it has none.
        oldest: Option<u64>,
    },
    /// The ranges of a comparison in which the two peers differ; in all others they hold the same.
    Differ {
        /// These ranges, in the order of the request.
        ranges: Vec<Difference>,
    },
    /// The object was freed at the answering peer, since no name refers to it.
    LetGo,
    /// The peers that said in their pongs to the answering peer that they have no room.
    HeardFull {
        /// At most [`super::limits::FULL_PEERS_MAX`] peers.
        peers: Vec<Position>,
    },
    /// The date up to which the answering peer may have dropped tombstones. It has all later ones that it was given.
    DroppedTombstones {
        /// Milliseconds since the Unix epoch, by the ring's clock; 0 if it has dropped none.
        up_to_ms: u64,
    },
    /// The objects of a batch whose bytes are wanted.
    BatchWanted {
        /// Their indices in the batch, ascending.
        objects: Vec<u16>,
    },
    /// One peer's report on a batch: all objects are durable there, except these.
    BatchKept {
        /// The peer.
        peer: Position,
        /// The objects that are not, by ascending index.
        missing: Vec<BatchMissing>,
    },
    /// The answering peer's knowledge of some names.
    Records {
        /// The winning record of each name, in the order of the request, as far as they fit the answer; `None` if the
        /// peer knows no record of the name.
        records: Vec<Option<SignedRecord>>,
        /// Whether the peer is still taking over its range: then an absent record is no vote.
        syncing: bool,
    },
    /// The outcome for each of several records, in the order of the request.
    PutAll {
        /// The outcomes.
        outcomes: Vec<PutOutcome>,
    },
    /// Some files of a client; their bytes follow, one behind the other.
    Batch {
        /// The length of each file in bytes, in the order of the request; `None` for one that is not given.
        lengths: Vec<Option<u64>>,
    },
}

impl StorageReply {
    /// A refusal with its reason, cut to [`super::limits::REASON_BYTES_MAX`].
    pub fn refused(why: String) -> StorageReply {
        StorageReply::Refused(super::shortened(why, super::limits::REASON_BYTES_MAX))
    }
}
