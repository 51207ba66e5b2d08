//! `quoit-client/1`: what a command line, or a program, asks of its own peer.
//!
//! One stream is one command: `C ->[ClientRequest] P`, then `P ->[ClientReply] C` as often as its kind
//! says: progress and list entries first, one last reply at the end, raw bytes after an `Object`.
//! While a store goes on, P fetches the bytes from C as it would from any holder, each time it needs
//! them: `P ->[FetchObject] C` on a stream of P's own, `C ->[Object]`, then the bytes.
//!
//! Who may command is decided before, by the certificate: the peer's own key, or `client.quoit`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    FileEntry, ForgetReport, LeavePlan, LeaveReport, ObjectInfo, PeerName, PingReport, RequestReport,
    RingFile, RingLine, ShortFile, StatusReport, StoreReport, WhereisReport, limits, shortened,
};
use crate::id::{ContentId, FileName};

/// What a client asks; the first frame of its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientRequest {
    /// Put this object, whose bytes the client has, into the ring. `-> Progress…, Stored`.
    Store {
        /// Under which name.
        name: FileName,
        /// Which bytes.
        object: ObjectInfo,
        /// What to wait for.
        wait: Wait,
        /// How long to wait for it, in milliseconds.
        timeout_ms: u64,
    },
    /// Bring a file to the peer. `-> Progress…, Received`.
    Request {
        /// The name or the address of the file.
        wanted: Wanted,
        /// Whether it is put into received/ of the peer.
        keep: bool,
    },
    /// The bytes of an object that the peer holds or can get. `-> Progress…, Object`, then its bytes from `offset` on.
    Read {
        /// The content id.
        content: ContentId,
        /// From which byte.
        offset: u64,
    },
    /// The files that the peer holds. `-> File…, End`.
    Files,
    /// The files of all peers. `-> RingFile…, Silent…, End`.
    RingFiles,
    /// Who is in the ring. `-> RingLine…, End`.
    Ring,
    /// How the peer is. `-> ShortFile…, Status`.
    Status,
    /// Where a name's record and bytes are. `-> Whereis`.
    Whereis {
        /// Which name.
        name: FileName,
    },
    /// How another peer answers. `-> Pinged`.
    Ping {
        /// Its number, display name, address, or the beginning of its position.
        peer: String,
    },
    /// What leaving would do. `-> LeavePlan`.
    PlanLeave,
    /// Hand everything over, tell the neighbours, and end; stay where something would be lost. `-> Left`.
    Leave,
    /// Count a member no more that will not come back. `-> Forgotten`.
    Forget {
        /// Its number, display name, address, or the beginning of its position.
        peer: String,
        /// Do it; else only say which peer is meant, and whether it can be done.
        sure: bool,
    },
    /// The same, whatever may be lost. `-> Left`.
    LeaveAnyway,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ClientReply {
    /// How far a store or a request is.
    Progress {
        /// Bytes done.
        done: u64,
        /// Of so many; 0 while unknown.
        total: u64,
    },
    /// A store is acknowledged.
    Stored(StoreReport),
    /// A file is here.
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
    /// How the peer is; its files with too few copies came before.
    Status(Box<StatusReport>),
    /// Where a name's record and bytes are.
    Whereis(WhereisReport),
    /// How another peer answered.
    Pinged(PingReport),
    /// What leaving would do.
    LeavePlan(LeavePlan),
    /// The peer has left.
    Left(LeaveReport),
    /// The end of a list.
    End,
    /// The command was not done.
    Failed(Failure),
    /// The command broke the protocol and was not looked at further; says why.
    ProtocolError(String),
    /// A member is counted no more, or could be.
    Forgotten(ForgetReport),
    /// In a list of the ring's files: those that did not answer hold nothing that the list lacks.
    AllListed,
}

/// Why a command was not done, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What was asked for does not exist, as everybody who would know says.
    pub not_found: bool,
    /// The words; at most [`limits::FAILURE_BYTES_MAX`].
    pub message: String,
}

impl Failure {
    /// It failed.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { not_found: false, message: shortened(message.into(), limits::FAILURE_BYTES_MAX) }
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Failure {
        Failure { not_found: true, ..Failure::new(message) }
    }
}

/// How many copies must be durable before `Store` says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Wait {
    /// W = ⌊min(R, members)/2⌋ + 1.
    #[default]
    Quorum,
    /// This many, at least W.
    Copies(u8),
    /// min(R, members).
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

/// What is requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// What this name stands for.
    Name(FileName),
    /// `sha256:` and 64 digits.
    Content(ContentId),
    /// `sha256:` and fewer digits: the one object whose address begins so. In lower case.
    ContentPrefix(String),
    /// What a name stands for; or, where there is no such name, the one name that begins so. For a person at a prompt,
    /// who sees which it was.
    NameOrBeginning(FileName),
}

impl Wanted {
    /// The fewest digits of an address that are looked for.
    pub const PREFIX_DIGITS_MIN: usize = 4;

    /// The same for a person at a prompt: the beginning of a name is enough.
    pub fn or_beginning(self) -> Wanted {
        match self {
            Wanted::Name(name) => Wanted::NameOrBeginning(name),
            other => other,
        }
    }
}

/// `sha256:` and hexadecimal digits, else a name.
impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        let Some(digits) = text.strip_prefix("sha256:") else {
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
    fn a_long_failure_ends_with_a_whole_word() {
        let failure = Failure::new("unreachable ".repeat(limits::FAILURE_BYTES_MAX / 10));
        assert!(failure.message.len() <= limits::FAILURE_BYTES_MAX);
        assert!(failure.message.ends_with("unreachable …"), "{}", failure.message);
    }
}
