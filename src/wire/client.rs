//! `quoit-client/1`: the commands that a command line, or a program, gives its own peer.
//!
//! One stream is one command: `C ->[ClientRequest] P`, then `P ->[ClientReply] C` as often as its kind
//! says: progress and list entries first, one last reply at the end, raw bytes after an `Object`.
//! While a store goes on, P fetches the bytes from C as it would from any holder, each time it needs
//! them: `P ->[FetchObject] C` on a stream of P's own, `C ->[Object]`, then the bytes.
//!
//! The certificate decides beforehand who may command: the peer's own key, or `client.quoit`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    ByteRange, DropReport, EvictReport, FileEntry, ForgetReport, HistoryReport, LeavePlan, LeaveReport,
    MemberLine, ObjectInfo, PeerName, PinReport, PingReport, RangeReport, RemoveReport, RequestReport,
    RestoreReport, RingFile, RingLine, ScrubReport, ShortFile, SignedRevocation, StatusReport, StopReport,
    StopSpan, StoreReport, Verdict, WhereisReport, limits, shortened,
};
use crate::id::{ContentId, FileName};

/// A command of a client; the first frame of its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientRequest {
    /// Stores this object, whose bytes the client has, in the ring. `-> Progress…, Stored`.
    Store {
        /// The name under which the object is stored.
        name: FileName,
        /// The content id, length and outboard digest of the object.
        object: ObjectInfo,
        /// The number of durable copies to wait for.
        wait: Wait,
        /// The time to wait for them, in milliseconds.
        timeout_ms: u64,
    },
    /// Brings a file to the peer. `-> Progress…, Received | ReceivedTree`.
    Request {
        /// The name or the content id of the file.
        wanted: Wanted,
        /// Whether the file is put into received/ of the peer.
        keep: bool,
    },
    /// The bytes of an object that the peer holds or can get. `-> Progress…, Object`, then its bytes from `offset` on.
    Read {
        /// The content id of the object.
        content: ContentId,
        /// The first byte to be sent, counted from zero.
        offset: u64,
    },
    /// The files that the peer holds. `-> (File | PinnedFile)…, End`.
    Files,
    /// The files of all peers. `-> RingFile…, Silent…, End`.
    RingFiles,
    /// The members of the ring. `-> RingLine…, End`.
    Ring,
    /// The state of the peer. `-> ShortFile…, Verdict, Status`.
    Status,
    /// The places of a name's record and bytes. `-> Whereis`.
    Whereis {
        /// The name that is searched for.
        name: FileName,
    },
    /// Pings another peer. `-> Pinged`.
    Ping {
        /// The peer's number, display name, address, or the beginning of its position.
        peer: String,
    },
    /// The effect that leaving would have. `-> LeavePlan`.
    PlanLeave,
    /// Hands everything over, tells the neighbours and ends; the peer stays if something would be lost. `-> Left`.
    Leave,
    /// No longer counts a member that will not come back. `-> Forgotten`.
    Forget {
        /// The peer's number, display name, address, or the beginning of its position.
        peer: String,
        /// Whether to do it. If false, only tells which peer is meant and whether it can be forgotten.
        sure: bool,
    },
    /// Like `Leave`, but the peer leaves even if something is lost. `-> Left`.
    LeaveAnyway,
    /// The versions of a name. `-> History`.
    History {
        /// The name whose versions are wanted.
        name: FileName,
    },
    /// Removes a name: it stands for no file any more. `-> Removed`.
    Remove {
        /// The name to be removed.
        name: FileName,
    },
    /// Makes an earlier version of a name the current one again. `-> Restored`.
    Restore {
        /// The name that changes.
        name: FileName,
        /// The version whose file it stands for afterwards.
        version: VersionChoice,
    },
    /// Whether these peers may stop, all at once. `-> MayStop`.
    SafeToStop {
        /// The peers, at most [`limits::STOPPING_MAX`], each by number, display name, address, or the beginning of its
        /// position; none for the asked peer.
        peers: Vec<String>,
        /// For how long.
        span: StopSpan,
    },
    /// The members of the ring, each in its own words. `-> Member…, End`.
    Members,
    /// Pins a file at the peer, which brings it there first, or ends its pin. `-> Progress…, PinSet`.
    Pin {
        /// The name or the content id of the file.
        wanted: Wanted,
        /// Whether the file is to be pinned.
        pinned: bool,
    },
    /// Frees the peer's copy of a file, if all peers that should keep the file have theirs. `-> Progress…, Dropped`.
    Drop {
        /// The name or the content id of the file.
        wanted: Wanted,
    },
    /// Frees all copies of the peer that are safe elsewhere. `-> Progress…, Evicted`.
    Evict {
        /// Whether only to tell what would be freed.
        dry_run: bool,
    },
    /// Reads and hashes every object of the peer again. `-> ScrubProgress…, Scrubbed`.
    Scrub {
        /// The most bytes that are read in a second; 0 for no bound.
        rate: u64,
    },
    /// Revoked keys, for the peer and its ring. `-> Revoked`.
    Revoke {
        /// Statements of the ring CA, at most [`limits::REVOKED_MAX`].
        revoked: Vec<SignedRevocation>,
    },
    /// Some bytes of a file, which the peer gives without keeping them. `-> Progress…, Range`, then the bytes.
    ReadRange {
        /// The name or the content id of the file.
        wanted: Wanted,
        /// The bytes.
        range: ByteRange,
    },
    /// Stores these small objects, whose bytes the client has, in the ring. `-> Progress…`, then for each one
    /// `Stored | NotStored`, in their order, then `End`. The peer fetches the bytes with `FetchBatch`.
    StoreBatch {
        /// The files: at most [`limits::CLIENT_BATCH_FILES_MAX`] of at most [`limits::BATCHED_OBJECT_BYTES_MAX`] bytes,
        /// together at most [`limits::CLIENT_BATCH_BYTES_MAX`].
        files: Vec<BatchedFile>,
        /// The number of durable copies to wait for.
        wait: Wait,
        /// The time to wait for them, in milliseconds.
        timeout_ms: u64,
    },
    /// Makes this object, whose bytes the client has, durable in the ring without a name: a file of a tree.
    /// `-> Progress…, Placed`.
    Put {
        /// The content id, length and outboard digest of the object.
        object: ObjectInfo,
        /// The number of durable copies to wait for.
        wait: Wait,
        /// The time to wait for them, in milliseconds.
        timeout_ms: u64,
    },
    /// Stores a tree, all of whose files are durable already. `-> Progress…, Stored`.
    StoreTree {
        /// The name under which the tree is stored.
        name: FileName,
        /// The content id, length and outboard digest of the tree.
        object: ObjectInfo,
        /// The number of durable copies to wait for.
        wait: Wait,
        /// The time to wait for them, in milliseconds.
        timeout_ms: u64,
    },
    /// The bytes of an object that a tree describes. `-> Progress…, Object`, then its bytes.
    Open {
        /// The object as the tree describes it.
        object: ObjectInfo,
    },
    /// Makes these small objects, whose bytes the client has, durable in the ring without names: files of a tree.
    /// `-> Progress…`, then for each one `Placed | NotStored`, in their order, then `End`. The peer fetches the bytes of
    /// those that it lacks with `FetchBatch`, or alone.
    PutBatch {
        /// The objects, with the bounds of `StoreBatch`.
        objects: Vec<ObjectInfo>,
        /// The number of durable copies to wait for.
        wait: Wait,
        /// The time to wait for them, in milliseconds.
        timeout_ms: u64,
    },
    /// The bytes of small objects that a tree describes. `-> Progress…, Batch`, then the bytes of those that are given, one
    /// behind the other. One that is not given is asked for with `Open`.
    OpenBatch {
        /// The objects as the tree describes them, with the bounds of `StoreBatch`.
        objects: Vec<ObjectInfo>,
    },
}

/// One of many files to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchedFile {
    /// The name under which the object is stored.
    pub name: FileName,
    /// The content id, length and outboard digest of the object.
    pub object: ObjectInfo,
}

/// A reply to a client's command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ClientReply {
    /// The progress of a store or a request.
    Progress {
        /// The number of bytes done.
        done: u64,
        /// The number of bytes in all; 0 while unknown.
        total: u64,
    },
    /// A store is acknowledged.
    Stored(StoreReport),
    /// A requested file has arrived at the peer.
    Received(RequestReport),
    /// An object; its bytes follow.
    Object(ObjectInfo),
    /// A file of the peer.
    File(FileEntry),
    /// A file of the ring.
    RingFile(RingFile),
    /// A peer that did not answer.
    Silent(PeerName),
    /// A peer of the ring.
    RingLine(RingLine),
    /// A file with too few copies.
    ShortFile(ShortFile),
    /// The state of the peer; its files with too few copies and the verdict came before.
    Status(Box<StatusReport>),
    /// The places of a name's record and bytes.
    Whereis(WhereisReport),
    /// The result of pinging another peer.
    Pinged(PingReport),
    /// The effect that leaving would have.
    LeavePlan(LeavePlan),
    /// The peer has left.
    Left(LeaveReport),
    /// The end of a list.
    End,
    /// The command was not done.
    Failed(Failure),
    /// The command broke the protocol and was dropped; the text says why.
    ProtocolError(String),
    /// A member was forgotten, or can be.
    Forgotten(ForgetReport),
    /// In a list of the ring's files: the list is complete, although some peers did not answer.
    AllListed,
    /// The versions of a name.
    History(HistoryReport),
    /// A name was removed.
    Removed(RemoveReport),
    /// A version of a name is the current one again.
    Restored(RestoreReport),
    /// Whether peers may stop.
    MayStop(Box<StopReport>),
    /// A member of the ring.
    Member(MemberLine),
    /// How safe the files of the ring are.
    Verdict(Box<Verdict>),
    /// A file is pinned, or no longer.
    PinSet(PinReport),
    /// The peer's copy of a file is freed.
    Dropped(DropReport),
    /// The copies that were freed, and the ones that stay.
    Evicted(EvictReport),
    /// The progress of a scrub.
    ScrubProgress {
        /// The number of objects done.
        objects: u64,
        /// The number of objects in all.
        objects_total: u64,
        /// The number of bytes done.
        bytes: u64,
        /// The number of bytes in all.
        bytes_total: u64,
    },
    /// Every object of the peer was read and hashed again.
    Scrubbed(ScrubReport),
    /// The peer keeps the revoked keys, and tells its ring.
    Revoked {
        /// The number of those that it did not know.
        new: u64,
    },
    /// A file of the peer that is pinned there.
    PinnedFile(FileEntry),
    /// Like `Whereis`, where peers have no room for the bytes.
    WhereisFull {
        /// The places of the name's record and bytes.
        report: WhereisReport,
        /// The peers that should have a copy, have none, and say that they have no room.
        full: Vec<PeerName>,
    },
    /// The range whose bytes follow.
    Range(RangeReport),
    /// One of many files was not stored.
    NotStored(Failure),
    /// An object without a name is durable.
    Placed,
    /// A requested name stands for a directory, whose tree has arrived at the peer. Its files are asked for with `OpenBatch`
    /// and `Open`.
    ReceivedTree(RequestReport),
    /// Small objects, one behind the other.
    Batch {
        /// Of each object in the order of the request, whether its bytes follow.
        given: Vec<bool>,
    },
}

/// Why a command was not done, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind of failure, as far as a program may want to know.
    pub kind: FailureKind,
    /// The message, at most [`limits::FAILURE_BYTES_MAX`] bytes.
    pub message: String,
}

/// The kind of a [`Failure`]. On the wire the first two are one byte, 0 and 1, as a truth value was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureKind {
    /// Nothing more is known than the message.
    Failed,
    /// The wanted item does not exist, by the word of every peer that would know.
    NotFound,
    /// A peer that was told to leave stays, since copies would be lost.
    Stays,
    /// The wanted name was removed.
    Removed,
}

impl Failure {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Failure {
        let message = shortened(message.into(), limits::FAILURE_BYTES_MAX);
        Failure { kind: FailureKind::Failed, message }
    }

    /// A failure because the wanted item does not exist.
    pub fn not_found(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::NotFound, ..Failure::new(message) }
    }

    /// A failure because the wanted name was removed.
    pub fn removed(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Removed, ..Failure::new(message) }
    }

    /// The failure of a departure that would lose copies.
    pub fn stays(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Stays, ..Failure::new(message) }
    }

    /// Whether the wanted item does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, FailureKind::NotFound | FailureKind::Removed)
    }
}

/// The number of copies that must be durable before a store is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Wait {
    /// The write quorum W = ⌊min(R, members)/2⌋ + 1.
    #[default]
    Quorum,
    /// This many copies, at least W.
    Copies(u8),
    /// All copies: min(R, members).
    All,
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Wait, String> {
        match text.parse::<u8>() {
            _ if text.eq_ignore_ascii_case("all") => Ok(Wait::All),
            Ok(copies) if copies > 0 => Ok(Wait::Copies(copies)),
            _ => Err("a number of copies from 1 on, or all".to_owned()),
        }
    }
}

/// The file that a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// The file that this name stands for.
    Name(FileName),
    /// The file with this content id: `sha256:` and 64 digits.
    Content(ContentId),
    /// The one file whose content id begins with these digits: `sha256:` and fewer than 64. In lower case.
    ContentPrefix(String),
    /// The file that this name stands for; or, if there is no such name, the one name that begins so. For a person at a
    /// prompt, who sees which name it was.
    NameOrBeginning(FileName),
    /// The file that this name stood for in one of its versions: `NAME@2` or `NAME@sha256:` and digits. A name that is
    /// spelt like this itself goes first.
    Version {
        /// The name, without the version.
        name: FileName,
        /// The version that is meant.
        version: VersionChoice,
    },
}

/// The version of a name that a person means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionChoice {
    /// The version with this number, from 1.
    Number(u64),
    /// The version whose content id begins with these digits, 4 to 64 of them, in lower case. It tells versions apart
    /// that have one number, since they were written in two places at once.
    Content(String),
}

impl fmt::Display for VersionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VersionChoice::Number(number) => number.fmt(f),
            VersionChoice::Content(digits) => write!(f, "sha256:{digits}"),
        }
    }
}

/// Reads a number without leading zeros, or `sha256:` and 4 to 64 hexadecimal digits in lower case.
impl FromStr for VersionChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<VersionChoice, String> {
        if let Some(digits) = text.strip_prefix("sha256:") {
            let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if (Wanted::PREFIX_DIGITS_MIN..=64).contains(&digits.len()) && digits.bytes().all(is_digit) {
                return Ok(VersionChoice::Content(digits.to_owned()));
            }
        } else if let Ok(number) = text.parse::<u64>()
            && number > 0
            && number.to_string() == text
        {
            return Ok(VersionChoice::Number(number));
        }
        Err("a version is a number from 1 on, or sha256: and 4 to 64 hexadecimal digits in lower case"
            .to_owned())
    }
}

impl Wanted {
    /// The fewest digits of an address that a search accepts.
    pub const PREFIX_DIGITS_MIN: usize = 4;

    /// The same request from a person at a prompt: a unique prefix of the name is enough.
    pub fn or_beginning(self) -> Wanted {
        match self {
            Wanted::Name(name) => Wanted::NameOrBeginning(name),
            other => other,
        }
    }
}

/// Splits `NAME@VERSION`; `None` if the text does not end like that.
pub fn versioned(text: &str) -> Option<(FileName, VersionChoice)> {
    let (name, version) = text.rsplit_once('@')?;
    Some((FileName::new(name).ok()?, version.parse().ok()?))
}

/// Reads `sha256:` and hexadecimal digits as a content id or its beginning, `NAME@VERSION` as a version of a name, and
/// any other text as a name.
impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        let Some(digits) = text.strip_prefix("sha256:") else {
            if let Some((name, version)) = versioned(text) {
                return Ok(Wanted::Version { name, version });
            }
            return FileName::new(text).map(Wanted::Name).map_err(|error| error.to_string());
        };
        let are_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        match digits.len() {
            64 if are_hex => digits.parse().map(Wanted::Content).map_err(|error| format!("sha256: {error}")),
            Wanted::PREFIX_DIGITS_MIN..64 if are_hex => {
                Ok(Wanted::ContentPrefix(digits.to_ascii_lowercase()))
            }
            _ => Err(format!(
                "sha256:{} is no address: it has 64 hexadecimal digits, or the first {} of them at least",
                shortened(digits.to_owned(), limits::TYPED_SHOWN_BYTES_MAX),
                Wanted::PREFIX_DIGITS_MIN
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_follows_the_last_at_sign() {
        let name = |text| FileName::new(text).unwrap();
        let version = |name, version| Ok(Wanted::Version { name, version });
        assert_eq!("a@2".parse(), version(name("a"), VersionChoice::Number(2)));
        assert_eq!("a@b@12".parse(), version(name("a@b"), VersionChoice::Number(12)));
        let content = VersionChoice::Content("00ff".to_owned());
        assert_eq!("a@sha256:00ff".parse(), version(name("a"), content));
        for text in ["a@", "@2", "a@0", "a@02", "a@+2", "a@b", "a@sha256:00f", "a@sha256:00FF", "a@2 "] {
            assert_eq!(text.parse(), Ok(Wanted::Name(name(text))), "{text}");
        }
        for choice in ["7", "sha256:0123abcd"] {
            assert_eq!(choice.parse::<VersionChoice>().unwrap().to_string(), choice);
        }
    }

    #[test]
    fn a_long_failure_ends_with_a_whole_word() {
        let failure = Failure::new("unreachable ".repeat(limits::FAILURE_BYTES_MAX / 10));
        assert!(failure.message.len() <= limits::FAILURE_BYTES_MAX);
        assert!(failure.message.ends_with("unreachable …"), "{}", failure.message);
    }
}
