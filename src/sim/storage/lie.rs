//! The kinds of lies that a member can tell.

use crate::wire::Fault;

/// One kind of lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// One piece of an object has wrong bytes.
    CorruptBytes,
    /// An object is said to be longer than it is.
    WrongLength,
    /// Only half of an object is sent.
    FewerBytes,
    /// An object is sent, followed by more bytes.
    MoreBytes,
    /// The reply belongs to another kind of request.
    OtherReply,
    /// The midstates of an outboard are wrong.
    OtherOutboard,
    /// A page of an outboard has more midstates than a page can have.
    LongOutboard,
    /// One byte of an object is sent, then nothing more.
    OneByte,
    /// The peer denies having an object or a name.
    Denial,
    /// A record gives a name another content; the signature of another peer is forged.
    ForgedRecord,
    /// The peer claims to have every object already.
    FalseHere,
    /// The peer claims that an unasked peer has a copy.
    FalseCopies,
    /// The peer reads a byte every nine seconds of an object that it is given, just often enough not to be silent.
    SlowReader,
    /// An outboard with invented midstates is sent, under its own digest.
    ForgedOutboard,
    /// Half of the bytes are sent, then nothing more.
    Stalls,
}

impl Lie {
    /// All kinds of lies.
    pub const ALL: [Lie; 15] = [
        Lie::CorruptBytes,
        Lie::WrongLength,
        Lie::FewerBytes,
        Lie::MoreBytes,
        Lie::OtherReply,
        Lie::OtherOutboard,
        Lie::LongOutboard,
        Lie::OneByte,
        Lie::Denial,
        Lie::ForgedRecord,
        Lie::FalseHere,
        Lie::FalseCopies,
        Lie::SlowReader,
        Lie::ForgedOutboard,
        Lie::Stalls,
    ];

    /// The fault that other peers should see; `None` if a lie cannot be told from bad luck.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Lie::CorruptBytes => Some(Fault::CorruptBytes),
            Lie::WrongLength | Lie::FewerBytes => Some(Fault::WrongLength),
            Lie::MoreBytes | Lie::LongOutboard => Some(Fault::Endless),
            Lie::OtherReply => Some(Fault::WrongReply),
            Lie::OtherOutboard => Some(Fault::BadOutboard),
            Lie::ForgedRecord => Some(Fault::BadRecord),
            Lie::FalseCopies => Some(Fault::FalseCopies),
            Lie::OneByte
            | Lie::Denial
            | Lie::FalseHere
            | Lie::SlowReader
            | Lie::ForgedOutboard
            | Lie::Stalls => None,
        }
    }
}
