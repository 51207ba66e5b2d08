//! What a peer can do wrong to another, as it is counted and shown. No message by itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of misbehaviour. Each is something that a peer which follows the protocol does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes that are no message: random, truncated, oversized, unknown.
    Malformed,
    /// More datagrams than any peer has to send.
    Flood,
    /// Streams on which no request came although the peer was there.
    LeftOpen,
    /// Ever new connections, more than any peer needs.
    Reconnecting,
    /// An incarnation that no peer can have, of itself or of others.
    BadIncarnation,
    /// A list of peers or files out of order, with duplicates, too long, or with who cannot be in it.
    BadList,
    /// An owner that does not own the key, by the answer itself or by who is known to live.
    WrongOwner,
    /// Peers named as closer to a key that are not.
    NotCloser,
    /// Bytes of a file that are not the file's.
    CorruptBytes,
    /// Another length, or fewer bytes, than the file has.
    WrongLength,
    /// Bytes beyond the end, or pages without one.
    Endless,
    /// An outboard that contradicts itself or the name record.
    BadOutboard,
    /// A name record that its writer did not sign, or that is of another name.
    BadRecord,
    /// Word of copies at peers that were not asked, or too many words.
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
            Fault::BadList => "a list that is none",
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
