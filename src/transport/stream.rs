//! One exchange: a request, the replies to it, and raw bytes either way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connection::{Connection, InUse};
use super::counters::TransportCounters;
use super::frame::{self, StreamError, close_code, within};
use crate::wire::{Entry, Reply, Request, limits};

/// The asking side of an exchange. Dropped before its end, it tells the other side to stop.
#[derive(Debug)]
pub struct OpenStream {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    in_use: InUse,
    heard: u64,
    finished: bool,
}

impl OpenStream {
    /// Opens a stream on a connection and sends the request.
    pub(super) async fn open(connection: &Connection, request: Bytes) -> Result<OpenStream, StreamError> {
        let in_use = connection.in_use();
        let heard = connection.heard();
        let (send, recv) =
            within(limits::STREAM_SILENCE_MAX, connection.quic().open_bi()).await.inspect_err(|error| {
                if matches!(error, StreamError::Silent { .. }) {
                    connection.suspect_if_silent_since(heard);
                }
            })?;
        let mut stream = OpenStream { send, recv, in_use, heard, finished: false };
        stream.send_piece(request).await?;
        Ok(stream)
    }

    /// Who answers.
    pub fn peer(&self) -> &Entry {
        self.in_use.connection().peer()
    }

    /// Sends raw bytes; waits while the other side takes none, but not for ever.
    ///
    /// # Errors
    /// [`StreamError`] when the other side takes nothing for long, gives up, or is gone.
    pub async fn send_piece(&mut self, piece: Bytes) -> Result<(), StreamError> {
        let sent = frame::write_piece(&mut self.send, piece).await;
        self.watched(sent)
    }

    /// Says that nothing more is going to be sent. Does not wait.
    pub fn finish_send(&mut self) {
        self.finished = true;
        // An error means that the other side has stopped reading, which is its right.
        let _ = self.send.finish();
    }

    /// Waits for one reply of a peer.
    ///
    /// # Errors
    /// [`StreamError`] when none comes in time, or what comes is none.
    pub async fn read_reply(&mut self, timeout: Duration) -> Result<Reply, StreamError> {
        self.read_frame(timeout).await
    }

    /// Waits for one frame of the kind that this exchange has.
    pub(super) async fn read_frame<T: Serialize + DeserializeOwned>(
        &mut self,
        timeout: Duration,
    ) -> Result<T, StreamError> {
        let reply = within(timeout, frame::read(&mut self.recv)).await;
        self.watched(reply)
    }

    /// Reads raw bytes as they come, at most so many, without copying; `None` at the end.
    ///
    /// # Errors
    /// [`StreamError`] when nothing comes for long, or the other side gave up or is gone.
    pub async fn read_piece(&mut self, max_bytes: usize) -> Result<Option<Bytes>, StreamError> {
        let piece = frame::read_piece(&mut self.recv, max_bytes).await;
        self.watched(piece)
    }

    /// Reads raw bytes until the buffer is full or the stream ends; says how many.
    ///
    /// # Errors
    /// As [`OpenStream::read_piece`].
    pub async fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        let filled = frame::fill(&mut self.recv, buffer).await;
        self.watched(filled)
    }

    /// Makes the connection suspect when the whole peer, not only this stream, was silent.
    pub(super) fn suspect(&self) {
        self.in_use.connection().suspect_if_silent_since(self.heard);
    }

    fn watched<T>(&mut self, result: Result<T, StreamError>) -> Result<T, StreamError> {
        match &result {
            Err(StreamError::Silent { .. }) => self.suspect(),
            Ok(_) => self.heard = self.in_use.connection().heard(),
            Err(_) => {}
        }
        result
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        // quinn would finish the stream, and half a file would look whole. It stops reading by itself.
        if !self.finished {
            let _ = self.send.reset(close_code::CANCELLED);
        }
    }
}

/// The answering side of an exchange. Dropped before [`RequestStream::finish`], it breaks off.
#[derive(Debug)]
pub struct RequestStream {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    in_use: InUse,
    counters: Arc<TransportCounters>,
    finished: bool,
}

impl RequestStream {
    pub(super) fn new(
        connection: &Connection,
        (send, recv): (quinn::SendStream, quinn::RecvStream),
        counters: Arc<TransportCounters>,
    ) -> RequestStream {
        RequestStream { send, recv, in_use: connection.in_use(), counters, finished: false }
    }

    /// Who asks.
    pub fn peer(&self) -> &Entry {
        self.in_use.connection().peer()
    }

    /// Reads the request. What is none is counted, answered with [`Reply::ProtocolError`], and ends
    /// the stream; the connection goes on.
    ///
    /// # Errors
    /// [`StreamError`] when no request comes in time, or what comes is none.
    pub async fn read_request(&mut self) -> Result<Request, StreamError> {
        self.read_frame(Reply::ProtocolError).await
    }

    /// Reads the first frame, and answers what is none with this refusal.
    pub(super) async fn read_frame<T: Serialize + DeserializeOwned, R: Serialize>(
        &mut self,
        refusal: impl FnOnce(String) -> R,
    ) -> Result<T, StreamError> {
        let request = within(limits::STREAM_SILENCE_MAX, frame::read(&mut self.recv)).await;
        let reason = match &request {
            Err(StreamError::Malformed(error)) => error.to_string(),
            Err(StreamError::Ended) => "the stream ended within the request".to_owned(),
            _ => return request,
        };
        self.counters.count_malformed();
        let reason = cut(reason, limits::REASON_BYTES_MAX);
        let _ = self.recv.stop(close_code::CANCELLED);
        if self.send_frame(&refusal(reason)).await.is_ok() {
            self.finish_send();
        }
        request
    }

    /// Sends one reply.
    ///
    /// # Errors
    /// [`StreamError`] when it is too large, or the other side takes nothing or is gone.
    pub async fn send_reply(&mut self, reply: &Reply) -> Result<(), StreamError> {
        self.send_frame(reply).await
    }

    pub(super) async fn send_frame<T: Serialize>(&mut self, message: &T) -> Result<(), StreamError> {
        frame::write(&mut self.send, message).await
    }

    /// Waits until whoever asked wants no answer any more, or is gone.
    pub async fn given_up(&self) {
        // Whatever it is that ended, nobody listens.
        let _ = self.send.stopped().await;
    }

    /// Sends raw bytes; waits while the other side takes none, but not for ever.
    ///
    /// # Errors
    /// [`StreamError`] when the other side takes nothing for long, gives up, or is gone.
    pub async fn send_piece(&mut self, piece: Bytes) -> Result<(), StreamError> {
        frame::write_piece(&mut self.send, piece).await
    }

    /// Reads raw bytes as they come, at most so many, without copying; `None` at the end.
    ///
    /// # Errors
    /// [`StreamError`] when nothing comes for long, or the other side gave up or is gone.
    pub async fn read_piece(&mut self, max_bytes: usize) -> Result<Option<Bytes>, StreamError> {
        frame::read_piece(&mut self.recv, max_bytes).await
    }

    /// Reads raw bytes until the buffer is full or the stream ends; says how many.
    ///
    /// # Errors
    /// As [`RequestStream::read_piece`].
    pub async fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        frame::fill(&mut self.recv, buffer).await
    }

    /// Ends the answer and waits until the other side has all of it, as long as that side is heard of.
    ///
    /// # Errors
    /// [`StreamError`] when it did not take all.
    pub async fn finish(mut self) -> Result<(), StreamError> {
        self.finish_send();
        let stopped = self.send.stopped();
        tokio::pin!(stopped);
        let connection = self.in_use.connection();
        let mut heard = connection.heard();
        for _ in 0..FINISH_ROUNDS_MAX {
            match within(limits::STREAM_SILENCE_MAX, stopped.as_mut()).await {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => return Err(StreamError::Cancelled),
                Err(silent @ StreamError::Silent { .. }) if connection.heard() == heard => {
                    return Err(silent);
                }
                Err(StreamError::Silent { .. }) => heard = connection.heard(),
                Err(error) => return Err(error),
            }
        }
        Err(StreamError::Silent { waited_ms: limits::STREAM_SILENCE_MAX.as_millis() as u64 })
    }

    pub(super) fn finish_send(&mut self) {
        self.finished = true;
        let _ = self.send.finish();
    }
}

impl Drop for RequestStream {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.send.reset(close_code::CANCELLED);
        }
    }
}

fn cut(mut text: String, max_bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(max_bytes));
    text
}

/// How often the end of an answer is waited for, each time as long as a silent stream may take.
const FINISH_ROUNDS_MAX: u32 = 30;
