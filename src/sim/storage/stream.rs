//! A stream between two processes, or within one: a request, then answers one way and bytes the other.
//!
//! Frames arrive in order or not at all. An end that is dropped before its time breaks the stream off; one whose
//! process dies says nothing, and whoever waits finds out by and by.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::keeper::{Effect, Keeper, Process};
use crate::time::Moment;
use crate::wire::{Entry, StorageReply, StorageRequest};

/// What goes over a stream after the request.
#[derive(Debug, Clone)]
pub(in crate::sim) enum Frame {
    Reply(StorageReply),
    /// So many bytes of an object, which are the right ones or not.
    Piece {
        bytes: u64,
        sound: bool,
    },
    /// No more bytes come, though more were to.
    End,
    /// The other end does not want to hear or say any more.
    Reset,
    /// There is no way to the other end, or nobody there.
    Lost,
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamError {
    /// It ended, or the other side is silent.
    Ended,
    /// The other side broke it off.
    Cancelled,
}

/// What a process knows of one end.
#[derive(Debug, Default)]
pub(super) struct End {
    frames: VecDeque<Frame>,
    waiting: Option<Waker>,
    other: Other,
    /// What is sent next arrives after that.
    pub arrives_after: Moment,
}

#[derive(Debug, Default, Clone, Copy)]
enum Other {
    #[default]
    Unknown,
    Here(u64),
    At(Process),
}

/// One end, as the task has it that uses it.
pub(super) struct Stream {
    keeper: Arc<Keeper>,
    id: u64,
    /// Nothing is said any more when this is dropped.
    finished: bool,
}

impl Stream {
    /// Asks another peer.
    pub(super) fn open(keeper: &Arc<Keeper>, to: &Entry, request: StorageRequest) -> Stream {
        let stream = Stream::at(keeper, keeper.next_id(), Other::Unknown);
        keeper.want(Effect::Open { stream: stream.id, to: to.clone(), request: Box::new(request) });
        stream
    }

    /// The other end of a stream that somebody opened.
    pub(super) fn accepted(keeper: &Arc<Keeper>, id: u64, from: Process) -> Stream {
        Stream::at(keeper, id, Other::At(from))
    }

    /// Both ends of a stream between two tasks of one process.
    pub(super) fn pair(keeper: &Arc<Keeper>) -> (Stream, Stream) {
        let (one, other) = (keeper.next_id(), keeper.next_id());
        (Stream::at(keeper, one, Other::Here(other)), Stream::at(keeper, other, Other::Here(one)))
    }

    fn at(keeper: &Arc<Keeper>, id: u64, other: Other) -> Stream {
        keeper.streams.lock().insert(id, End { other, ..End::default() });
        Stream { keeper: keeper.clone(), id, finished: false }
    }

    /// Whether the other end is another process.
    pub(super) fn is_remote(&self) -> bool {
        !matches!(self.other(), Other::Here(_))
    }

    pub(super) fn send(&self, frame: Frame) {
        match self.other() {
            Other::Here(other) => self.keeper.frame(other, frame),
            Other::At(to) => self.keeper.want(Effect::Frame { stream: self.id, to, frame }),
            Other::Unknown => {}
        }
    }

    pub(super) fn send_reply(&self, reply: StorageReply) {
        self.send(Frame::Reply(reply));
    }

    /// This end has said all that it has to say.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Ends it before its time, in good order.
    pub(super) fn finish_early(&mut self) {
        self.send(Frame::End);
        self.finished = true;
    }

    /// What comes next.
    pub(super) async fn next(&mut self, timeout: Duration) -> Result<Frame, StreamError> {
        let deadline = self.keeper.now() + timeout;
        loop {
            let wait = deadline.since(self.keeper.now()).min(IDLE_TIMEOUT);
            match crate::files::timeout(&self.keeper, wait, self.keeper.next_frame(self.id)).await {
                Some(Frame::Reset) => return Err(StreamError::Cancelled),
                Some(Frame::Lost) => return Err(StreamError::Ended),
                Some(frame) => return Ok(frame),
                None if self.keeper.now() >= deadline => return Err(StreamError::Ended),
                None => {
                    if let Other::At(with) = self.other() {
                        self.keeper.want(Effect::Probe { stream: self.id, with });
                    }
                }
            }
        }
    }

    /// The next answer.
    pub(super) async fn reply(&mut self, timeout: Duration) -> Result<StorageReply, StreamError> {
        match self.next(timeout).await? {
            Frame::Reply(reply) => Ok(reply),
            _ => Err(StreamError::Ended),
        }
    }

    /// The next bytes: how many, and whether they are the right ones.
    pub(super) async fn piece(&mut self, timeout: Duration) -> Result<(u64, bool), StreamError> {
        match self.next(timeout).await? {
            Frame::Piece { bytes, sound } => Ok((bytes, sound)),
            _ => Err(StreamError::Ended),
        }
    }

    fn other(&self) -> Other {
        self.keeper.streams.lock().get(&self.id).map_or(Other::Unknown, |end| end.other)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.finished {
            self.send(Frame::Reset);
        }
        // Behind all frames that are still to go.
        self.keeper.want(Effect::Close { stream: self.id });
    }
}

impl Keeper {
    /// A frame came. Whoever waited for it may be gone.
    pub(super) fn frame(&self, stream: u64, frame: Frame) {
        if let Some(end) = self.streams.lock().get_mut(&stream) {
            end.frames.push_back(frame);
            if let Some(waker) = end.waiting.take() {
                waker.wake();
            }
        }
    }

    /// Which process is at the other end of a stream that was opened here.
    pub(super) fn opened(&self, stream: u64, other: Process, arrives: Moment) {
        if let Some(end) = self.streams.lock().get_mut(&stream) {
            end.other = Other::At(other);
            end.arrives_after = arrives;
        }
    }

    /// All streams with a place are lost.
    pub(super) fn lose_all_with(&self, slot: super::super::network::Slot) {
        let with = |end: &End| matches!(end.other, Other::At((at, _)) if at == slot);
        let lost: Vec<u64> =
            self.streams.lock().iter().filter(|(_, end)| with(end)).map(|(id, _)| *id).collect();
        for id in lost {
            self.frame(id, Frame::Lost);
        }
    }

    async fn next_frame(&self, stream: u64) -> Frame {
        poll_fn(|context| {
            let mut streams = self.streams.lock();
            let Some(end) = streams.get_mut(&stream) else { return Poll::Ready(Frame::Lost) };
            match end.frames.pop_front() {
                Some(frame) => Poll::Ready(frame),
                None => {
                    end.waiting = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// A connection that hears nothing for so long ends.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
