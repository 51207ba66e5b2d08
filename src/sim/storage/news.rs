//! The events that come to a process over the network.

use super::super::network::{Process, Slot};
use super::frame::Frame;
use crate::time::Moment;
use crate::wire::{Entry, StorageRequest};

/// An event that comes to a process.
#[derive(Debug)]
pub(in crate::sim) enum News {
    Open { stream: u64, from: Entry, asker: Process, helper: Option<Slot>, request: Box<StorageRequest> },
    Frame { generation: u32, stream: u64, frame: Frame, sender: Option<Sender> },
}

impl News {
    /// The place of the peer that sent it, unless it comes through a helper.
    pub(in crate::sim) fn sender(&self) -> Option<Slot> {
        match self {
            News::Open { asker: (slot, _), helper: None, .. } => Some(*slot),
            News::Open { .. } | News::Frame { .. } => None,
        }
    }
}

/// The sender of a frame, and the moment at which it was sent.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Sender(pub(super) Process, pub(super) Moment);
