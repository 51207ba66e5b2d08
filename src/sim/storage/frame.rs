//! The frames of a stream, and the state of one of its ends.

use std::collections::VecDeque;
use std::task::Waker;

use super::super::disk::Span;
use super::super::network::{Process, Slot};
use crate::files::StreamError;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::StorageReply;

/// A frame of a stream after the request.
#[derive(Debug, Clone)]
pub(in crate::sim) enum Frame {
    Reply(StorageReply),
    /// A piece of the bytes of an object.
    Piece(Span),
    /// No more bytes come.
    End,
    /// The receiver took this many bytes: the window is open for as many more.
    Taken(u64),
    /// The other end neither sends nor reads any more.
    Reset,
    /// The other end cannot be reached, or its process is gone.
    Lost,
}

/// The state of one end in its process.
#[derive(Debug, Default)]
pub(super) struct End {
    pub frames: VecDeque<Frame>,
    pub waiting: Option<Waker>,
    /// The position of the peer at the other end.
    pub with: Option<Position>,
    pub other: Option<Process>,
    /// The helper that passes on the frames, if there is no direct way.
    pub helper: Option<Slot>,
    /// The arrival of the last frame: the next one arrives after it.
    pub arrives_after: Moment,
    /// The number of bytes sent and not yet taken, and the task that waits for room.
    pub unread: u64,
    pub blocked: Option<Waker>,
    /// The number of bytes taken of which the other end was not told yet.
    pub untold: u64,
    pub broken: Option<StreamError>,
}
