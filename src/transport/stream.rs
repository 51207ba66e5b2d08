//! One exchange: a request, its replies, and raw bytes either way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use super::connection::{Connection, InUse};
use super::counters::TransportCounters;
use super::frame::{self, within};
use super::guard::Guard;
use super::helpers::Reached;
use super::least::LeastPace;
use super::lock;
use super::rope::Rope;
use super::stream_error::{StreamError, close_code};
use crate::wire::{Entry, Fault, Reply, Request, codec, limits, shortened};

/// The asking side of an exchange. If it is dropped before its end, it tells the other side to stop.
#[derive(Debug)]
pub struct OpenStream {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    in_use: InUse,
    /// The answering peer, if the connection is a helper's.
    reached: Option<Reached>,
    heard: u64,
    finished: bool,
    pace_in: LeastPace,
    pace_out: LeastPace,
}

impl Connection {
    /// Opens an exchange on this connection and no other, and sends its request.
    ///
    /// # Errors
    /// [`StreamError`] when the connection has ended or takes no request.
    pub async fn open(&self, request: &Request) -> Result<OpenStream, StreamError> {
        OpenStream::open(self, Bytes::from(codec::frame(request)?)).await
    }
}

impl OpenStream {
    /// Opens a stream on a connection and sends the request.
    pub(super) async fn open(connection: &Connection, request: Bytes) -> Result<OpenStream, StreamError> {
        let in_use = connection.in_use();
        let (heard, silence) = (connection.heard(), connection.stream_silence());
        let (send, recv) = within(silence, connection.quic().open_bi()).await.inspect_err(|error| {
            if matches!(error, StreamError::Silent { .. }) {
                connection.suspect_if_silent_since(heard);
            }
        })?;
        let mut stream = OpenStream {
            send,
            recv,
            in_use,
            reached: None,
            heard,
            finished: false,
            pace_in: LeastPace::new(silence),
            pace_out: LeastPace::new(silence),
        };
        let sent = frame::write_piece(&mut stream.send, request.into(), &mut stream.pace_out).await;
        stream.watched(sent)?;
        Ok(stream)
    }

    /// The peer that answers.
    pub fn peer(&self) -> &Entry {
        self.reached.as_ref().map_or_else(|| self.in_use.connection().peer(), |reached| reached.peer())
    }

    /// From now on raw bytes are waited for as long as the connection lives.
    pub(super) fn waits_for_bytes(&mut self) {
        self.pace_in = LeastPace::waived(self.pace_in.silence());
    }

    /// Notes that the connection is a helper's, and that another peer answers.
    pub(super) fn reached(&mut self, reached: Reached) {
        self.reached = Some(reached);
    }

    /// Whether the content may be the lie of a helper, and is no evidence against a peer.
    pub fn is_through_a_helper(&self) -> bool {
        self.reached.is_some()
    }

    /// Sends raw bytes; waits while the other side takes none, within the least pace.
    ///
    /// # Errors
    /// [`StreamError`] when the other side takes nothing for long, gives up, or is gone.
    pub async fn send_piece(&mut self, piece: impl Into<Rope>) -> Result<(), StreamError> {
        self.in_use.connection().begin_bulk(&self.send);
        let sent = frame::write_piece(&mut self.send, piece.into(), &mut self.pace_out).await;
        self.watched(sent)
    }

    /// Ends the sending side. Does not wait.
    pub fn finish_send(&mut self) {
        self.finished = true;
        // An error means that the other side has stopped reading, which it may do.
        let _ = self.send.finish();
    }

    /// Waits for one reply of a peer.
    ///
    /// # Errors
    /// [`StreamError`] when no reply comes in time, or the bytes are not a reply.
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

    /// Reads raw bytes as they come, `max_bytes` at most, without copying; `None` at the end.
    ///
    /// # Errors
    /// [`StreamError`] when nothing comes for long, or the other side gave up or is gone.
    pub async fn read_piece(&mut self, max_bytes: usize) -> Result<Option<Bytes>, StreamError> {
        let piece = frame::read_piece(&mut self.recv, max_bytes, &mut self.pace_in).await;
        self.watched(piece)
    }

    /// Reads raw bytes, `max_bytes` at most, without copying, until so many came, the stream ends, or the `gather` time
    /// is over and something came; `None` at the end.
    ///
    /// # Errors
    /// The errors of [`OpenStream::read_piece`].
    pub async fn gather(&mut self, max_bytes: usize, gather: Duration) -> Result<Option<Rope>, StreamError> {
        let piece = frame::gather(&mut self.recv, max_bytes, gather, &mut self.pace_in).await;
        self.watched(piece)
    }

    /// Makes the connection suspect if the whole peer, not only this stream, was silent.
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
        // quinn would finish the stream, and half a file would look complete. The reading side stops by itself.
        if !self.finished {
            let _ = self.send.reset(close_code::CANCELLED);
        }
    }
}

/// The answering side of an exchange. If it is dropped before [`RequestStream::finish`], it breaks off.
#[derive(Debug)]
pub struct RequestStream {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    in_use: InUse,
    /// The guard that records faults; `None` for a client, and for a forwarded exchange.
    guard: Option<Arc<Guard>>,
    through_a_helper: bool,
    finished: bool,
    pace_in: LeastPace,
    pace_out: LeastPace,
}

impl RequestStream {
    pub(super) fn new(
        connection: &Connection,
        (send, recv): (quinn::SendStream, quinn::RecvStream),
        guard: Arc<Guard>,
    ) -> RequestStream {
        RequestStream {
            send,
            recv,
            in_use: connection.in_use(),
            guard: Some(guard),
            through_a_helper: false,
            finished: false,
            pace_in: LeastPace::new(connection.stream_silence()),
            pace_out: LeastPace::new(connection.stream_silence()),
        }
    }

    /// The answering side for a client of this peer, for which no faults are recorded. A client that takes no bytes,
    /// because it is stopped or its path is slow, is waited for as long as the connection lives.
    pub(super) fn of_client(
        connection: &Connection,
        (send, recv): (quinn::SendStream, quinn::RecvStream),
    ) -> RequestStream {
        RequestStream {
            send,
            recv,
            in_use: connection.in_use(),
            guard: None,
            through_a_helper: false,
            finished: false,
            pace_in: LeastPace::new(connection.stream_silence()),
            pace_out: LeastPace::waived(connection.stream_silence()),
        }
    }

    /// The peer of the connection: the asking peer, or the helper through which another peer asks.
    pub fn peer(&self) -> &Entry {
        self.in_use.connection().peer()
    }

    /// Notes that all further content comes from another peer, through the peer of this connection. It may be the lie
    /// of either, and no fault is recorded against them.
    pub fn comes_through_a_helper(&mut self) {
        self.guard = None;
        self.through_a_helper = true;
    }

    /// Whether the peer of this connection is only the helper of the asking peer.
    pub fn is_through_a_helper(&self) -> bool {
        self.through_a_helper
    }

    /// Reads the request. Bytes that are not a request are counted and answered with [`Reply::ProtocolError`], which
    /// ends the stream; the connection goes on, unless this happens too often. A stream on which nothing comes although
    /// the peer is there is treated in the same way.
    ///
    /// # Errors
    /// [`StreamError`] when no request comes in time, or the bytes are not a request.
    pub async fn read_request(&mut self) -> Result<Request, StreamError> {
        self.read_frame(Reply::ProtocolError).await
    }

    /// Reads the first frame, and answers a malformed one with this refusal.
    pub(super) async fn read_frame<T: Serialize + DeserializeOwned, R: Serialize>(
        &mut self,
        refusal: impl FnOnce(String) -> R,
    ) -> Result<T, StreamError> {
        let heard = self.in_use.connection().heard();
        let request = within(self.in_use.connection().stream_silence(), frame::read(&mut self.recv)).await;
        let reason = match &request {
            Err(StreamError::Malformed(error)) => error.to_string(),
            Err(StreamError::Ended) => "the stream ended within the request".to_owned(),
            Err(StreamError::Silent { .. }) if self.in_use.connection().heard() > heard + HEARD_ALIVE => {
                self.blame(Fault::LeftOpen, TransportCounters::count_left_open);
                return request;
            }
            _ => return request,
        };
        let reason = shortened(reason, limits::REASON_BYTES_MAX);
        let _ = self.recv.stop(close_code::CANCELLED);
        if self.send_frame(&refusal(reason)).await.is_ok() {
            self.finish_send();
        }
        // This comes last, since it may close the connection.
        self.blame(Fault::Malformed, TransportCounters::count_malformed);
        request
    }

    fn blame(&self, fault: Fault, count: fn(&TransportCounters)) {
        if let Some(guard) = &self.guard {
            count(&guard.counters);
            guard.fault(&self.peer().position, fault);
        }
    }

    /// Sends one reply.
    ///
    /// # Errors
    /// [`StreamError`] when the reply is too large, or the other side takes nothing or is gone.
    pub async fn send_reply(&mut self, reply: &Reply) -> Result<(), StreamError> {
        self.send_frame(reply).await
    }

    pub(super) async fn send_frame<T: Serialize>(&mut self, message: &T) -> Result<(), StreamError> {
        frame::write_within(&mut self.send, message, self.pace_out.anew()).await
    }

    /// Waits until the asking side no longer wants an answer, or is gone.
    pub async fn given_up(&self) {
        // Whatever ended the stream, the other side no longer listens.
        let _ = self.send.stopped().await;
    }

    /// Sends raw bytes; waits while the other side takes none, within the least pace.
    ///
    /// # Errors
    /// [`StreamError`] when the other side takes nothing for long, gives up, or is gone.
    pub async fn send_piece(&mut self, piece: impl Into<Rope>) -> Result<(), StreamError> {
        self.in_use.connection().begin_bulk(&self.send);
        frame::write_piece(&mut self.send, piece.into(), &mut self.pace_out).await
    }

    /// Reads raw bytes as they come, `max_bytes` at most, without copying; `None` at the end.
    ///
    /// # Errors
    /// [`StreamError`] when nothing comes for long, or the other side gave up or is gone.
    pub async fn read_piece(&mut self, max_bytes: usize) -> Result<Option<Bytes>, StreamError> {
        frame::read_piece(&mut self.recv, max_bytes, &mut self.pace_in).await
    }

    /// Reads raw bytes, `max_bytes` at most, without copying, until so many came, the stream ends, or the `gather` time
    /// is over and something came; `None` at the end.
    ///
    /// # Errors
    /// The errors of [`RequestStream::read_piece`].
    pub async fn gather(&mut self, max_bytes: usize, gather: Duration) -> Result<Option<Rope>, StreamError> {
        frame::gather(&mut self.recv, max_bytes, gather, &mut self.pace_in).await
    }

    /// Joins this stream with another: bytes that come on either go out on the other, until both have ended or nothing
    /// has come on either for [`limits::FORWARD_SILENCE_MAX`]. `moved` is called whenever bytes come.
    ///
    /// # Errors
    /// [`StreamError`] when one of them breaks off; then the other breaks off too.
    pub async fn join(mut self, mut other: OpenStream, moved: impl Fn() + Sync) -> Result<(), StreamError> {
        let last = Mutex::new(Instant::now());
        let moved = || {
            *lock(&last) = Instant::now();
            moved();
        };
        let there = async {
            match pump(&mut self.recv, &mut other.send, LeastPace::new(other.pace_out.silence()), &moved)
                .await
            {
                // The answering peer may have heard enough; its answer goes on all the same.
                Err(Broken::Writing(_)) => Ok(()),
                Err(Broken::Reading(error)) => Err(error),
                Ok(()) => Ok(()),
            }
        };
        let back = async {
            let passed =
                pump(&mut other.recv, &mut self.send, LeastPace::new(self.pace_out.silence()), &moved).await;
            passed.map_err(|(Broken::Reading(error) | Broken::Writing(error))| error)
        };
        let both = async { tokio::try_join!(there, back).map(drop) };
        let silence = async {
            loop {
                let until = *lock(&last) + limits::FORWARD_SILENCE_MAX;
                if until <= Instant::now() {
                    break;
                }
                sleep_until(until).await;
            }
        };
        tokio::select! {
            ended = both => ended?,
            () = silence => {
                let waited_ms = limits::FORWARD_SILENCE_MAX.as_millis() as u64;
                return Err(StreamError::Silent { waited_ms });
            }
        }
        (self.finished, other.finished) = (true, true);
        Ok(())
    }

    /// Ends the answer and waits until the other side has all of it, as long as that side shows signs of life.
    ///
    /// # Errors
    /// [`StreamError`] when the other side did not take all.
    pub async fn finish(mut self) -> Result<(), StreamError> {
        self.finish_send();
        let stopped = self.send.stopped();
        tokio::pin!(stopped);
        let connection = self.in_use.connection();
        let silence = connection.stream_silence();
        let mut heard = connection.heard();
        for _ in 0..FINISH_ROUNDS_MAX {
            match within(silence, stopped.as_mut()).await {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => return Err(StreamError::Cancelled),
                Err(silent @ StreamError::Silent { .. }) if connection.heard() == heard => {
                    return Err(silent);
                }
                Err(StreamError::Silent { .. }) => heard = connection.heard(),
                Err(error) => return Err(error),
            }
        }
        Err(StreamError::Silent { waited_ms: silence.as_millis() as u64 })
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

/// The side on which a stream broke off.
enum Broken {
    Reading(StreamError),
    Writing(StreamError),
}

/// Passes bytes on until their end, which is passed on too.
async fn pump(
    from: &mut quinn::RecvStream,
    to: &mut quinn::SendStream,
    mut pace: LeastPace,
    moved: &impl Fn(),
) -> Result<(), Broken> {
    let reading = |error: quinn::ReadError| Broken::Reading(error.into());
    while let Some(piece) = from.read_chunk(limits::PIECE_BYTES, true).await.map_err(reading)? {
        moved();
        frame::write_piece(to, piece.bytes.into(), &mut pace).await.map_err(Broken::Writing)?;
    }
    // An error means that the other side has stopped reading, which it may do.
    let _ = to.finish();
    // Until the other side has all bytes, a reset of this stream would take them back.
    to.stopped().await.map(drop).map_err(|error| Broken::Writing(error.into()))
}

/// More packets than this during a silent stream show that the peer is there: fewer may have been on their way already.
/// their way.
const HEARD_ALIVE: u64 = 2;
/// How many times the end of an answer is waited for, each time as long as a silent stream may take.
const FINISH_ROUNDS_MAX: u32 = 30;
