//! The outcomes of the peers' operations on files, and the bytes that they moved.

use std::time::Duration;

use super::super::network::Slot;
use crate::files::{Cause, NotEvicted, NotFreed};
use crate::id::{ContentId, FileName, Position};
use crate::replica::Short;
use crate::time::Moment;
use crate::wire::{Missing, NameRecord};

/// The end of an operation of a peer.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The id that the operation got at its beginning.
    pub id: u64,
    /// The place of the peer.
    pub at: Slot,
    /// The moment at which it ended.
    pub ended: Moment,
    /// The outcome of the operation.
    pub outcome: Outcome,
}

/// The outcome of an operation.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The outcome of a store.
    Stored(Result<StoredFile, StoreFailure>),
    /// The outcome of a request.
    Requested(Requested),
    /// Of each object that was to be gathered, whether its bytes came.
    Gathered(Vec<bool>),
    /// The removal of a name: its tombstone, or why there is none.
    Removed(Result<NameRecord, String>),
    /// The restoring of a version: the new record, or why there is none.
    Restored(Result<NameRecord, String>),
    /// The outcome of a departure.
    Left {
        /// The data of which fewer other peers than needed have a copy.
        short: Short,
        /// The time from the wish to leave to the farewell.
        took: Duration,
    },
    /// The reason why a peer that was asked to leave stays.
    Stays(String),
    /// The outcome of pinning a file: its content, or why it is not pinned.
    Pinned(Result<ContentId, String>),
    /// Whether a pin was ended.
    Unpinned(bool),
    /// The number of copies that were freed at once, or why none could be.
    Evicted(Result<u64, NotEvicted>),
    /// The outcome of freeing a copy: the peers that vouched for theirs, or why the copy stays.
    Freed(Result<Vec<Position>, NotFreed>),
}

/// A file that was acknowledged.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// The content id of the file.
    pub content: ContentId,
    /// The record that was written.
    pub record: NameRecord,
    /// The peers with a durable copy, as far as the storing peer knows.
    pub holders: Vec<Position>,
    /// The peers without a copy, and the reasons.
    pub missing: Vec<Missing>,
}

/// Why a file was not acknowledged.
#[derive(Debug, Clone)]
pub enum StoreFailure {
    /// The peer is not active in its ring.
    NotActive,
    /// Fewer copies than needed, of the file or its record, are durable.
    TooFewCopies {
        /// The number of durable copies.
        durable: usize,
        /// The number of copies that were needed.
        needed: usize,
        /// The peers without a copy, and the reasons.
        missing: Vec<Missing>,
    },
    /// The record cannot be written; the reason, in words.
    Name(String),
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// The file is here, each byte of it checked.
    Found {
        /// The content id of the file.
        content: ContentId,
        /// The peers that its bytes came from; empty if the file was here already.
        sources: Vec<Position>,
    },
    /// There is no such name: all peers that would know say so.
    Unknown,
    /// The answer is unknown, since these peers were not heard.
    CannotTell(Vec<Position>),
    /// The reported holders do not send the file, or send wrong bytes.
    Unreachable {
        /// The content id of the file.
        content: ContentId,
        /// Whether a holder sent wrong bytes.
        corrupt: bool,
    },
    /// This peer's own disk does not take the file.
    Disk,
    /// The peer is not active in its ring, or cannot find the peers to ask.
    NotActive,
}

/// The bytes of objects that went to other peers, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes of stores.
    pub stored: u64,
    /// Bytes of rounds of repair.
    pub repaired: u64,
    /// Bytes to a joined or returned peer that asked for the data of its ranges.
    pub taken_over: u64,
    /// Bytes from a leaving peer.
    pub handed_over: u64,
    /// Bytes to peers that requested them.
    pub requested: u64,
}

impl Moved {
    pub(super) fn count(&mut self, cause: Cause, bytes: u64) {
        *match cause {
            Cause::Store => &mut self.stored,
            Cause::Repair => &mut self.repaired,
            Cause::TakeOver => &mut self.taken_over,
            Cause::HandOver => &mut self.handed_over,
            Cause::Request => &mut self.requested,
        } += bytes;
    }
}

/// An acknowledged file, as the world keeps it.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// The name of the file.
    pub name: FileName,
    /// The content id of the file.
    pub content: ContentId,
    /// The length of the file, in bytes.
    pub length: u64,
}
