//! A stream between two processes: a request, then answers in one direction and bytes in one direction.
//!
//! Frames arrive in order or not at all. Bytes that the other end has not taken fill a window, and then their sender
//! waits. An end that is dropped before its time breaks the stream off; an end whose process dies says nothing, and the
//! waiting end finds out after a while.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::super::disk::Span;
use super::super::network::{Process, Slot};
use super::effect::FilesEffect;
use super::frame::{End, Frame};
use super::keeper::Keeper;
use crate::files::{self, Piece as _, StreamError};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::limits::STREAM_SILENCE_MAX;
use crate::wire::{Entry, StorageReply, StorageRequest};

/// One end of a stream, for the task that uses it.
pub(in crate::sim) struct Stream {
    keeper: Arc<Keeper>,
    id: u64,
    with: Position,
    /// Whether nothing is sent when this end is dropped.
    finished: bool,
    sent_bytes: bool,
}

impl Stream {
    /// Opens a stream to another peer with a request.
    pub(super) fn open(keeper: &Arc<Keeper>, to: &Entry, request: StorageRequest) -> Stream {
        let stream = Stream::at(keeper, keeper.next_id(), to.position, End::default());
        keeper.want(FilesEffect::Open { stream: stream.id, to: to.clone(), request: Box::new(request) });
        stream
    }

    /// The answering end of a stream that another peer opened.
    pub(super) fn accepted(
        keeper: &Arc<Keeper>,
        id: u64,
        from: &Entry,
        process: Process,
        helper: Option<Slot>,
    ) -> Stream {
        Stream::at(keeper, id, from.position, End { other: Some(process), helper, ..End::default() })
    }

    fn at(keeper: &Arc<Keeper>, id: u64, with: Position, end: End) -> Stream {
        keeper.streams.lock().insert(id, End { with: Some(with), ..end });
        Stream { keeper: keeper.clone(), id, with, finished: false, sent_bytes: false }
    }

    /// The position of the peer at the other end.
    pub(super) fn with(&self) -> Position {
        self.with
    }

    /// Whether a helper passes on the frames.
    pub(super) fn is_through_a_helper(&self) -> bool {
        self.keeper.streams.lock().get(&self.id).is_some_and(|end| end.helper.is_some())
    }

    fn say(&self, frame: Frame) {
        if let Some(to) = self.other() {
            self.keeper.want(FilesEffect::Frame { stream: self.id, to, frame });
        }
    }

    pub(super) fn say_reply(&self, reply: StorageReply) {
        self.say(Frame::Reply(reply));
    }

    /// Sends bytes through this peer's one uplink and the lines on the way, in slices, once the window is open.
    pub(super) async fn send_span(&mut self, mut span: Span) -> Result<(), StreamError> {
        while span.length() > 0 {
            let slice = span.split_to(span.length().min(self.keeper.settings.slice_bytes));
            let opened = files::timeout(&self.keeper, STREAM_SILENCE_MAX, self.keeper.window(self.id)).await;
            opened.unwrap_or_else(|| Err(silent(STREAM_SILENCE_MAX)))?;
            while let Some(free_at) = self.other().and_then(|(to, _)| self.keeper.line_full_until(to)) {
                self.keeper.sleep_until(free_at).await;
            }
            self.keeper.send_time(slice.length()).await;
            self.sent_bytes = true;
            self.keeper.fills(self.id, slice.length());
            self.say(Frame::Piece(slice));
        }
        Ok(())
    }

    /// Tells the other end that all bytes were sent.
    pub(super) fn end_bytes(&mut self) {
        self.say(Frame::End);
        self.finished = true;
    }

    /// Ends the stream: the answering end has nothing more to send.
    pub(super) fn is_over(&mut self) {
        if self.sent_bytes {
            self.say(Frame::End);
        }
        self.finished = true;
    }

    /// The next answer, waited for at most `within`.
    pub(super) async fn next_reply(&mut self, within: Duration) -> Result<StorageReply, StreamError> {
        match self.next(within).await? {
            Frame::Reply(reply) => Ok(reply),
            _ => Err(StreamError::Ended),
        }
    }

    /// The next bytes, `most` at most; `None` once all have come.
    pub(super) async fn next_span(&mut self, most: u64) -> Result<Option<Span>, StreamError> {
        match self.next(STREAM_SILENCE_MAX).await? {
            Frame::Piece(mut span) => {
                let first = span.split_to(most.min(span.length()));
                self.keeper.took(self.id, first.length(), span);
                Ok(Some(first))
            }
            Frame::End => Ok(None),
            _ => Err(StreamError::Ended),
        }
    }

    async fn next(&mut self, within: Duration) -> Result<Frame, StreamError> {
        let deadline = self.keeper.now() + within;
        loop {
            let wait = deadline.since(self.keeper.now()).min(IDLE_TIMEOUT);
            match files::timeout(&self.keeper, wait, self.keeper.next_frame(self.id)).await {
                Some(Frame::Reset) => return Err(StreamError::Cancelled),
                Some(Frame::Lost) => return Err(StreamError::Ended),
                Some(frame) => return Ok(frame),
                None if self.keeper.now() >= deadline => return Err(silent(within)),
                None => {
                    if let Some(with) = self.other() {
                        self.keeper.want(FilesEffect::Probe { stream: self.id, with });
                    }
                }
            }
        }
    }

    fn other(&self) -> Option<Process> {
        self.keeper.streams.lock().get(&self.id).and_then(|end| end.other)
    }
}

fn silent(within: Duration) -> StreamError {
    StreamError::Silent { waited_ms: within.as_millis() as u64 }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.finished {
            self.say(Frame::Reset);
        }
        // The close goes behind all frames that are still to be sent.
        self.keeper.want(FilesEffect::Close { stream: self.id });
    }
}

impl Keeper {
    /// Takes a frame that came. The waiting task may be gone.
    pub(super) fn frame(&self, stream: u64, frame: Frame) {
        let mut streams = self.streams.lock();
        let Some(end) = streams.get_mut(&stream) else { return };
        match frame {
            Frame::Taken(bytes) => end.unread = end.unread.saturating_sub(bytes),
            Frame::Reset => end.broken = Some(StreamError::Cancelled),
            Frame::Lost => end.broken = Some(StreamError::Ended),
            Frame::Reply(_) | Frame::Piece(_) | Frame::End => {}
        }
        if let Some(waker) = end.blocked.take() {
            waker.wake();
        }
        if !matches!(frame, Frame::Taken(_)) {
            end.frames.push_back(frame);
            if let Some(waker) = end.waiting.take() {
                waker.wake();
            }
        }
    }

    /// Notes the process at the other end of a stream that was opened here.
    pub(super) fn opened(&self, stream: u64, other: Process, helper: Option<Slot>, arrives: Moment) {
        if let Some(end) = self.streams.lock().get_mut(&stream) {
            (end.other, end.helper) = (Some(other), helper);
            end.arrives_after = arrives;
        }
    }

    /// Loses all streams with a place, or through it.
    pub(super) fn lose_all_with(&self, slot: Slot) {
        let with = |end: &End| end.helper == Some(slot) || matches!(end.other, Some((at, _)) if at == slot);
        let lost: Vec<u64> =
            self.streams.lock().iter().filter(|(_, end)| with(end)).map(|(id, _)| *id).collect();
        for id in lost {
            self.frame(id, Frame::Lost);
        }
    }

    /// The moment from which more bytes may go to a place, if the queue of a line on the way is full now.
    fn line_full_until(&self, to: Slot) -> Option<Moment> {
        let lines = self.lines.lock();
        let own = lines.get(&self.mailbox.process.0).map(|line| (line.sends_until, line.wait_max()));
        let its = lines.get(&to).map(|line| (line.receives_until, line.wait_max()));
        let (now, queues) = (self.now(), own.into_iter().chain(its));
        let room_in = queues.map(|(until, wait_max)| until.since(now + wait_max)).max()?;
        (!room_in.is_zero()).then(|| now + room_in)
    }

    /// Whether bytes to a peer wait for a line.
    pub(super) fn is_line_full(&self, to: &Position) -> bool {
        let with = |end: &&End| end.with == Some(*to);
        let other = self.streams.lock().values().find(with).and_then(|end| end.other);
        other.is_some_and(|(slot, _)| self.line_full_until(slot).is_some())
    }

    /// Waits until the window is open.
    async fn window(&self, stream: u64) -> Result<(), StreamError> {
        poll_fn(|context| {
            let mut streams = self.streams.lock();
            let Some(end) = streams.get_mut(&stream) else { return Poll::Ready(Err(StreamError::Ended)) };
            if let Some(broken) = &end.broken {
                return Poll::Ready(Err(broken.clone()));
            }
            if end.unread < WINDOW_BYTES {
                return Poll::Ready(Ok(()));
            }
            end.blocked = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Notes that bytes were taken, and keeps the rest of their piece. The other end is told at every half of a window.
    fn took(&self, stream: u64, bytes: u64, rest: Span) {
        let mut streams = self.streams.lock();
        let Some(end) = streams.get_mut(&stream) else { return };
        if rest.length() > 0 {
            end.frames.push_front(Frame::Piece(rest));
        }
        end.untold += bytes;
        if end.untold >= WINDOW_BYTES / 2
            && let Some(to) = end.other
        {
            let frame = Frame::Taken(std::mem::take(&mut end.untold));
            self.want(FilesEffect::Frame { stream, to, frame });
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

    /// Notes bytes that are under way on a stream.
    pub(super) fn fills(&self, stream: u64, bytes: u64) {
        if let Some(end) = self.streams.lock().get_mut(&stream) {
            end.unread += bytes;
        }
    }
}

/// The silence after which a connection ends.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// The most bytes that are on their way and not taken, apart from one piece.
const WINDOW_BYTES: u64 = 4 << 20;
