//! The effects that a task with files wants of the world.

use super::super::network::Process;
use super::frame::Frame;
use super::outcome::Outcome;
use crate::files::{Cause, RingWish};
use crate::wire::{Entry, StorageRequest};

/// An effect that a task with files wants.
pub(in crate::sim) enum FilesEffect {
    Open {
        stream: u64,
        to: Entry,
        request: Box<StorageRequest>,
    },
    Frame {
        stream: u64,
        to: Process,
        frame: Frame,
    },
    Close {
        stream: u64,
    },
    /// Asks whether the other end still runs and can be reached.
    Probe {
        stream: u64,
        with: Process,
    },
    Leaving(RingWish),
    /// Says in the pongs whether there is no room.
    Full(bool),
    Ended {
        id: u64,
        outcome: Outcome,
    },
    /// Bytes of objects that another peer took and completed.
    Moved {
        cause: Cause,
        bytes: u64,
    },
}
