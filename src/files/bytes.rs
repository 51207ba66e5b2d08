//! The bytes of objects as the flows handle them: on a stream, on the disk, and at the client that stores them.
//!
//! A running peer moves real bytes. A light simulated world moves lengths, and whether the bytes are the right ones.

use std::time::Duration;

use bytes::Bytes;

use super::shares::Party;
use crate::id::Position;
use crate::outboard::Outboard;
use crate::wire::{Link, MissingReason, ObjectInfo, StorageReply};

/// Some bytes of an object, in order. Cheap to clone.
pub trait Piece: Clone + Send + Sync + 'static {
    /// How many.
    fn length(&self) -> u64;

    /// Takes the first bytes off: so many, which must be there.
    fn split_to(&mut self, bytes: u64) -> Self;
}

impl Piece for Bytes {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn split_to(&mut self, bytes: u64) -> Bytes {
        Bytes::split_to(self, bytes as usize)
    }
}

/// Why a stream does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The other side gave this exchange up.
    #[error("the other side gave the exchange up")]
    Cancelled,
    /// The stream ended where more was due.
    #[error("the stream ended early")]
    Ended,
    /// Nothing came, or nothing was taken, for so long.
    #[error("silent for {waited_ms} ms")]
    Silent {
        /// For how long, in milliseconds.
        waited_ms: u64,
    },
    /// The other side answered something that this side had not asked.
    #[error("it broke the protocol")]
    WrongReply,
    /// The connection, or the other side's message, is no good; why.
    #[error("{0}")]
    Broken(String),
}

/// The asking side of an exchange whose request has been sent. Dropped before its end, it tells the other side to stop.
pub trait Asking: Send + 'static {
    /// Bytes on it.
    type Piece: Piece;

    /// The position of the peer that answers.
    fn peer(&self) -> Position;

    /// Sends bytes; waits while the other side takes none. Given up in the middle, a part of them has gone.
    fn send(&mut self, piece: Self::Piece) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// Nothing more is sent: what has gone is whole as far as it goes.
    fn finish_send(&mut self);

    /// The next answer, waited for at most so long.
    fn reply(&mut self, within: Duration) -> impl Future<Output = Result<StorageReply, StreamError>> + Send;

    /// The next bytes, at most so many, gathered for a moment; nothing once the other side has sent all.
    fn piece(&mut self, most: u64) -> impl Future<Output = Result<Option<Self::Piece>, StreamError>> + Send;
}

/// The answering side of an exchange whose request has been read. Dropped before [`Answering::finish`], it breaks off.
pub trait Answering: Send + 'static {
    /// Bytes on it.
    type Piece: Piece;

    /// The party that asks.
    fn party(&self) -> Party;

    /// Sends an answer.
    fn reply(&mut self, reply: StorageReply) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// Sends bytes; waits while the other side takes none.
    fn send(&mut self, piece: Self::Piece) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// The next bytes, at most so many, gathered for a moment.
    fn piece(&mut self, most: u64) -> impl Future<Output = Result<Self::Piece, StreamError>> + Send;

    /// All is said; waits until the other side has it.
    fn finish(self) -> impl Future<Output = Result<(), StreamError>> + Send;
}

/// The meaning of a disk's failure for a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The object is here already.
    AlreadyHere,
    /// Somebody else sends it at the moment.
    AlreadyReceiving,
    /// The bytes that came are not the object's.
    Mismatch {
        /// Some of them lay here before.
        resumed: bool,
    },
    /// The bytes of one chunk are not the object's, or more came than it has: whoever sent them is to blame.
    WrongChunk,
    /// Its disk takes nothing, or gives nothing.
    Other,
}

/// Why this peer's disk does not do something.
pub trait DiskError: std::error::Error + Send + Sync + 'static {
    /// What it means for a flow.
    fn fault(&self) -> DiskFault;

    /// As a reason that a copy is missing here.
    fn missing_reason(&self) -> MissingReason;
}

/// An object that is being written. Dropped, what came is kept for whoever sends the rest.
pub trait Incoming: Send + 'static {
    /// Bytes of it.
    type Piece: Piece;
    /// Why the disk does not do something.
    type Error: DiskError;

    /// From which byte on it is to be sent: so many are here. As long as pieces are being written, as many as there
    /// were before.
    fn offset(&self) -> u64;

    /// What an outboard says of the bytes that are here already is looked up; all that come are held against it.
    fn check_against(&mut self, outboard: Outboard) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Bytes of a chunk that is not whole are forgotten, so that one sender answers for each chunk.
    fn drop_part_of_chunk(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Queues bytes to be written; waits while too many are queued. False once writing has failed.
    fn write(&mut self, piece: Self::Piece) -> impl Future<Output = bool> + Send;

    /// Waits until all that was queued is written.
    fn settle(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Makes an object of it, durable on return, and links names to it.
    fn finish(
        self,
        use_as: KeptAs,
        links: Vec<Link>,
    ) -> impl Future<Output = Result<ObjectInfo, Self::Error>> + Send;

    /// What came is thrown away.
    fn discard(self) -> impl Future<Output = ()> + Send;
}

/// Why an object is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptAs {
    /// It belongs here.
    Replica,
    /// Somebody here asked for it.
    Requested,
}

/// Why bytes are not given.
#[derive(Debug)]
pub enum GiveError<D> {
    /// They cannot be read here.
    Disk(D),
    /// The client does not give them.
    Client(StreamError),
    /// The client gives other bytes than it announced.
    OtherBytes,
}

/// Bytes that are read here, or come from a client, a few pieces ahead.
pub trait Reader: Send + 'static {
    /// Bytes.
    type Piece: Piece;
    /// Why the disk does not give them.
    type Error: DiskError;

    /// The next bytes, in order; nothing after the last.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Piece>, GiveError<Self::Error>>> + Send;
}
