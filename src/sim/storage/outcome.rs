//! What came of what peers were told to do with files, and what it moved.

use std::time::Duration;

use super::super::network::Slot;
use crate::files::Cause;
use crate::id::{ContentId, FileName, Position};
use crate::replica::Short;
use crate::time::Moment;
use crate::wire::{Missing, NameRecord};

/// Something that a peer was told to do has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// As it was begun.
    pub id: u64,
    /// The place of the peer.
    pub at: Slot,
    /// The moment at which it ended.
    pub ended: Moment,
    /// What came of it.
    pub outcome: Outcome,
}

/// How something ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A store.
    Stored(Result<StoredFile, StoreFailure>),
    /// A request.
    Requested(Requested),
    /// The removal of a name: its tombstone, or why there is none.
    Removed(Result<NameRecord, String>),
    /// A departure: what is short, after how long.
    Left {
        /// Of which fewer others than needed have a copy.
        short: Short,
        /// From the wish to the farewell.
        took: Duration,
    },
}

/// A file that was acknowledged.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// Its address.
    pub content: ContentId,
    /// The record that was written.
    pub record: NameRecord,
    /// Who has a durable copy, as far as the peer that stored it knows.
    pub holders: Vec<Position>,
    /// Who has none, and why.
    pub missing: Vec<Missing>,
}

/// A file that was not.
#[derive(Debug, Clone)]
pub enum StoreFailure {
    /// The peer is not active in its ring.
    NotActive,
    /// Fewer copies than needed, of the file or its record, are durable.
    TooFewCopies {
        /// So many are.
        durable: usize,
        /// So many would do.
        needed: usize,
        /// Who has none, and why.
        missing: Vec<Missing>,
    },
    /// The record cannot be written; why.
    Name(String),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// It is here, each byte of it checked.
    Found {
        /// What it is.
        content: ContentId,
        /// Whom its bytes came from; nobody where it was here already.
        sources: Vec<Position>,
    },
    /// There is no such name: all who would know say so.
    Unknown,
    /// Nobody knows, and these were not heard.
    CannotTell(Vec<Position>),
    /// Those who are said to hold it do not give it, or what they give is something else.
    Unreachable {
        /// What it is.
        content: ContentId,
        /// Somebody gave other bytes.
        corrupt: bool,
    },
    /// This peer's own disk does not take it.
    Disk,
    /// The peer is not active in its ring, or cannot find whom to ask.
    NotActive,
}

/// Bytes of objects that went to other peers, by why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// To be stored.
    pub stored: u64,
    /// In rounds of repair.
    pub repaired: u64,
    /// To a joiner, or to one that came back, that asked for what belongs to it.
    pub taken_over: u64,
    /// By a peer that leaves.
    pub handed_over: u64,
    /// To whoever requested them.
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

/// A file that was acknowledged, as the world keeps it.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Its name.
    pub name: FileName,
    /// Its address.
    pub content: ContentId,
    /// Its length in bytes.
    pub length: u64,
}
