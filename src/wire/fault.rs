//! The faults of one peer towards another, as they are counted and shown. Not a message by itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of misbehaviour. A peer that follows the protocol never does any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes that are not a message: random, truncated, oversized, unknown.
    Malformed,
    /// More datagrams than any peer needs to send.
    Flood,
    /// Streams on which no request came although the peer was there.
    LeftOpen,
    /// New connections again and again, more than any peer needs.
    Reconnecting,
    /// An incarnation that no peer can have, the peer's own or another's.
    BadIncarnation,
    /// A list of peers or files that is out of order, too long, or has duplicates or members that cannot be in it.
    BadList,
    /// A named owner that does not own the key, by the answer itself or by the peers that are known to live.
    WrongOwner,
    /// Peers named as closer to a key that are not closer.
    NotCloser,
    /// Bytes that do not belong to the file.
    CorruptBytes,
    /// A length other than the file's, or fewer bytes than the file has.
    WrongLength,
    /// Bytes beyond the end of a file, or pages without an end.
    Endless,
    /// An outboard that contradicts itself or the name record.
    BadOutboard,
    /// A name record that its writer did not sign, or that is of another name.
    BadRecord,
    /// Reports of copies at peers that were not asked, or too many reports.
    FalseCopies,
    /// A reply of a kind that does not belong to the request.
    WrongReply,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Malformed => "malformed messages",
            Fault::Flood => "a flood of datagrams",
            Fault::LeftOpen => "streams opened and left",
            Fault::Reconnecting => "ever new connections",
            Fault::BadIncarnation => "an impossible incarnation",
            Fault::BadList => "a malformed list",
            Fault::WrongOwner => "a wrong owner",
            Fault::NotCloser => "peers that are not closer",
            Fault::CorruptBytes => "corrupt bytes",
            Fault::WrongLength => "a wrong length",
            Fault::Endless => "an endless answer",
            Fault::BadOutboard => "a wrong outboard",
            Fault::BadRecord => "a forged name record",
            Fault::FalseCopies => "copies that nobody made",
            Fault::WrongReply => "an answer to another question",
        })
    }
}
