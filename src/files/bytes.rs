//! The bytes of objects as the flows handle them: on a stream, on the disk, and at the client that stores them.
//!
//! A running peer moves real bytes. A light simulated world moves lengths, and whether the bytes are the right ones.

use std::time::Duration;

use bytes::Bytes;

use super::shares::Party;
use crate::id::Position;
use crate::outboard::{ChunkSet, Midstate};
use crate::wire::{Link, MissingReason, ObjectInfo, StorageReply};

/// Some bytes of an object, in order. Cheap to clone.
pub trait Piece: Clone + Send + Sync + 'static {
    /// The number of bytes in this piece.
    fn length(&self) -> u64;

    /// Takes the first `bytes` bytes off; the piece must have as many.
    fn split_to(&mut self, bytes: u64) -> Self;

    /// The bytes themselves, in order; none where a simulated world moves only lengths.
    fn parts(&self) -> &[Bytes];
}

impl Piece for Bytes {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn split_to(&mut self, bytes: u64) -> Bytes {
        Bytes::split_to(self, bytes as usize)
    }

    fn parts(&self) -> &[Bytes] {
        std::slice::from_ref(self)
    }
}

/// Why a stream does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The other side gave the exchange up.
    #[error("the other side gave the exchange up")]
    Cancelled,
    /// The stream ended although more bytes or answers were due.
    #[error("the stream ended early")]
    Ended,
    /// Another peer sends the object faster.
    #[error("another peer sends the object faster")]
    GaveWay,
    /// Nothing came, or nothing was taken, before the timeout.
    #[error("silent for {waited_ms} ms")]
    Silent {
        /// The timeout in milliseconds.
        waited_ms: u64,
    },
    /// The other side gave an answer that does not belong to the request.
    #[error("it broke the protocol")]
    WrongReply,
    /// The connection failed or the other side's message is bad; the text says why.
    #[error("{0}")]
    Broken(String),
}

/// The asking side of an exchange whose request has been sent. Dropped before its end, it tells the other side to stop.
pub trait Asking: Send + 'static {
    /// The bytes on the stream.
    type Piece: Piece;

    /// The position of the peer that answers.
    fn peer(&self) -> Position;

    /// Sends bytes; waits while the other side takes none. If it is cancelled midway, a part of them has gone.
    fn send(&mut self, piece: Self::Piece) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// Ends sending: the bytes that have gone count, as far as they go.
    fn finish_send(&mut self);

    /// The next answer, waited for at most `within`.
    fn reply(&mut self, within: Duration) -> impl Future<Output = Result<StorageReply, StreamError>> + Send;

    /// The next bytes, at most `most`, gathered for a moment; `None` once the other side has sent all.
    fn piece(&mut self, most: u64) -> impl Future<Output = Result<Option<Self::Piece>, StreamError>> + Send;
}

/// The answering side of an exchange whose request has been read. Dropped before [`Answering::finish`], it breaks off.
pub trait Answering: Send + 'static {
    /// The bytes on the stream.
    type Piece: Piece;

    /// The party that asks: a peer, or a task of this process.
    fn party(&self) -> Party;

    /// Sends an answer to the asking side.
    fn reply(&mut self, reply: StorageReply) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// Sends bytes; waits while the other side takes none.
    fn send(&mut self, piece: Self::Piece) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// The next bytes, at most `most`, gathered for a moment.
    fn piece(&mut self, most: u64) -> impl Future<Output = Result<Self::Piece, StreamError>> + Send;

    /// Ends the exchange; waits until the other side has received everything.
    fn finish(self) -> impl Future<Output = Result<(), StreamError>> + Send;
}

/// The meaning of a disk's failure for a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The object is here already.
    AlreadyHere,
    /// Another sender is giving it to this peer at the moment.
    AlreadyReceiving,
    /// The bytes that came do not match the object.
    Mismatch {
        /// Whether some of them lay here before.
        resumed: bool,
    },
    /// The bytes of one chunk do not match the object, or more came than it has: their sender is to blame.
    WrongChunk,
    /// The disk takes nothing, or gives nothing.
    Other,
}

/// Why this peer's disk fails to do something.
pub trait DiskError: std::error::Error + Send + Sync + 'static {
    /// The meaning of this failure for a flow.
    fn fault(&self) -> DiskFault;

    /// The failure as the reason why a copy is missing here.
    fn missing_reason(&self) -> MissingReason;
}

/// An object that is being written. If dropped, its bytes so far are kept for the sender of the rest.
pub trait Incoming: Send + 'static {
    /// The bytes of the object.
    type Piece: Piece;
    /// The errors of this peer's disk.
    type Error: DiskError;

    /// The first byte that is to be sent: all bytes before it are here. It does not move while pieces are being
    /// written.
    fn offset(&self) -> u64;

    /// Queues bytes to be written; waits while too many are queued. Returns false once writing has failed.
    fn write(&mut self, piece: Self::Piece) -> impl Future<Output = bool> + Send;

    /// Waits until all queued bytes are written.
    fn settle(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Makes an object of the bytes, durable on return, and links names to it.
    fn finish(
        self,
        use_as: KeptAs,
        links: Vec<Link>,
    ) -> impl Future<Output = Result<ObjectInfo, Self::Error>> + Send;

    /// Throws the bytes so far away.
    fn discard(self) -> impl Future<Output = ()> + Send;
}

/// An object whose chunks are written in any order, each checked against an outboard. If dropped, the chunks so far are
/// kept for another transfer.
pub trait Chunks: Send + Sync + 'static {
    /// The bytes of the object.
    type Piece: Piece;
    /// The errors of this peer's disk.
    type Error: DiskError;

    /// The chunks that are here, each linked to the outboard.
    fn here(&self) -> ChunkSet;

    /// Checks a chunk, given in pieces, and writes it if it is linked. Several at a time, in any order.
    fn place(
        &self,
        index: u64,
        pieces: Vec<Self::Piece>,
    ) -> impl Future<Output = Result<Placed, Self::Error>> + Send;

    /// Makes an object of the chunks, all of which are here; durable on return. Links names to it.
    fn finish(
        self,
        use_as: KeptAs,
        links: Vec<Link>,
    ) -> impl Future<Output = Result<ObjectInfo, Self::Error>> + Send;

    /// Throws the chunks so far away.
    fn discard(self) -> impl Future<Output = ()> + Send;
}

/// The fate of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It is linked, and written.
    Linked,
    /// Its bytes, or the outboard, are not right. Nothing was written.
    Wrong {
        /// The state to which the bytes led.
        reached: Midstate,
    },
}

/// Why an object is kept here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptAs {
    /// The object belongs here.
    Replica,
    /// A person or program here asked for it.
    Requested,
}

/// Why bytes are not given.
#[derive(Debug)]
pub enum GiveError<D> {
    /// The bytes cannot be read here.
    Disk(D),
    /// The client does not give the bytes.
    Client(StreamError),
    /// The client gives other bytes than it announced.
    OtherBytes,
}

/// A source of bytes that are read here, or come from a client, a few pieces ahead.
pub trait Reader: Send + 'static {
    /// The bytes that are read.
    type Piece: Piece;
    /// The errors of this peer's disk.
    type Error: DiskError;

    /// The next bytes, in order; `None` after the last.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Piece>, GiveError<Self::Error>>> + Send;
}
