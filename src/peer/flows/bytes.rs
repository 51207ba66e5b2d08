//! The bytes of objects in a running peer: on QUIC streams, and on the disk by dedicated threads.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::blob::{BlobError, Receiver};
use crate::files::{Answering, Asking, GiveError, Incoming, KeptAs, Party, Piece, Reader, StreamError};
use crate::id::Position;
use crate::outboard::ChunkHasher;
use crate::peer::shared::{GATHER, STORAGE_TIMEOUT};
use crate::shelf;
use crate::transport::{
    self, Connection, OpenStream, RequestStream, Rope, background, finished, spawn_blocking, wait_awake,
};
use crate::wire::limits::{CLIENT_SILENCE_MAX, PIECE_BYTES};
use crate::wire::{Link, ObjectInfo, Reply, Request, StorageReply, StorageRequest};

impl From<transport::StreamError> for StreamError {
    fn from(error: transport::StreamError) -> StreamError {
        match error {
            transport::StreamError::Cancelled => StreamError::Cancelled,
            transport::StreamError::Ended => StreamError::Ended,
            transport::StreamError::Silent { waited_ms } => StreamError::Silent { waited_ms },
            other => StreamError::Broken(other.to_string()),
        }
    }
}

impl Piece for Rope {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn split_to(&mut self, bytes: u64) -> Rope {
        Rope::split_to(self, usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn parts(&self) -> &[Bytes] {
        Rope::parts(self)
    }
}

impl Asking for OpenStream {
    type Piece = Rope;

    fn peer(&self) -> Position {
        OpenStream::peer(self).position
    }

    async fn send(&mut self, piece: Rope) -> Result<(), StreamError> {
        Ok(self.send_piece(piece).await?)
    }

    fn finish_send(&mut self) {
        OpenStream::finish_send(self);
    }

    async fn reply(&mut self, within: Duration) -> Result<StorageReply, StreamError> {
        match self.read_reply(within).await? {
            Reply::Storage(reply) => Ok(reply),
            Reply::ProtocolError(why) => Ok(StorageReply::Refused(why)),
            Reply::Membership(_) | Reply::Forwarding(_) | Reply::Revocations { .. } => {
                Err(StreamError::WrongReply)
            }
        }
    }

    async fn piece(&mut self, most: u64) -> Result<Option<Rope>, StreamError> {
        Ok(self.gather(piece_length(most), GATHER).await?)
    }
}

impl Answering for RequestStream {
    type Piece = Rope;

    fn party(&self) -> Party {
        let peer = self.peer().position;
        if self.is_through_a_helper() { Party::Through(peer) } else { Party::Peer(peer) }
    }

    async fn reply(&mut self, reply: StorageReply) -> Result<(), StreamError> {
        Ok(self.send_reply(&Reply::Storage(reply)).await?)
    }

    async fn send(&mut self, piece: Rope) -> Result<(), StreamError> {
        Ok(self.send_piece(piece).await?)
    }

    async fn piece(&mut self, most: u64) -> Result<Rope, StreamError> {
        self.gather(piece_length(most), GATHER).await?.ok_or(StreamError::Ended)
    }

    async fn finish(self) -> Result<(), StreamError> {
        Ok(RequestStream::finish(self).await?)
    }
}

/// The length of the next piece of a stream on which `most` bytes are due.
fn piece_length(most: u64) -> usize {
    most.min(PIECE_BYTES as u64) as usize
}

/// An object that is being written; a thread writes it once there are bytes to write.
pub(in crate::peer) struct Arriving {
    at: At,
    offset: u64,
}

enum At {
    Rest(Box<Receiver>),
    Thread(Writer),
    /// The state while the object moves between the other two, or after a panic of the thread.
    Nowhere,
}

/// A writing thread; pieces reach it through a bounded queue.
struct Writer {
    pieces: mpsc::Sender<Rope>,
    thread: tokio::task::JoinHandle<(Receiver, Result<(), BlobError>)>,
}

impl Writer {
    fn begin(mut receiver: Receiver) -> Writer {
        let (pieces, mut queue) = mpsc::channel::<Rope>(QUEUED_PIECES_MAX);
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(piece) = queue.blocking_recv() {
                if let Err(error) = receiver.write_pieces(piece.parts()) {
                    return (receiver, Err(error));
                }
            }
            (receiver, Ok(()))
        });
        Writer { pieces, thread }
    }
}

impl Arriving {
    pub(in crate::peer) fn new(receiver: Receiver) -> Arriving {
        let offset = receiver.offset();
        Arriving { at: At::Rest(Box::new(receiver)), offset }
    }

    /// Waits until the thread has written everything; returns the receiver and the result of the writes.
    async fn rest(&mut self) -> (Receiver, Result<(), BlobError>) {
        let (receiver, written) = match std::mem::replace(&mut self.at, At::Nowhere) {
            At::Rest(receiver) => (*receiver, Ok(())),
            At::Thread(Writer { pieces, thread }) => {
                drop(pieces);
                finished(thread).await
            }
            // The task that waited for the thread was cancelled, and this object with it.
            At::Nowhere => std::future::pending().await,
        };
        self.offset = receiver.offset();
        (receiver, written)
    }
}

impl Incoming for Arriving {
    type Piece = Rope;
    type Error = BlobError;

    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, piece: Rope) -> bool {
        if let At::Rest(_) = self.at
            && let At::Rest(receiver) = std::mem::replace(&mut self.at, At::Nowhere)
        {
            self.at = At::Thread(Writer::begin(*receiver));
        }
        let At::Thread(writer) = &self.at else { return false };
        // Pauses of this process are noticed here too.
        matches!(wait_awake(Duration::MAX, writer.pieces.send(piece)).await.0, Some(Ok(())))
    }

    async fn settle(&mut self) -> Result<(), BlobError> {
        let (receiver, written) = self.rest().await;
        self.at = At::Rest(Box::new(receiver));
        written
    }

    async fn finish(mut self, kept_as: KeptAs, links: Vec<Link>) -> Result<ObjectInfo, BlobError> {
        let (receiver, written) = self.rest().await;
        written?;
        spawn_blocking(move || shelf::finish(receiver, kept_as, &links)).await
    }

    async fn discard(mut self) {
        let (receiver, _) = self.rest().await;
        spawn_blocking(move || receiver.discard()).await;
    }
}

/// The source from which bytes are read.
pub(in crate::peer) enum Reading {
    /// A thread that reads a few pieces ahead.
    Ahead(mpsc::Receiver<Result<Bytes, BlobError>>),
    /// A client, whose bytes a thread hashes as they come.
    Client(mpsc::Receiver<Result<Rope, GiveError<BlobError>>>),
}

/// Reads pieces on a thread of its own, a few ahead; an empty piece marks the end.
pub(in crate::peer) fn read_ahead(
    mut read: impl FnMut() -> Result<Bytes, BlobError> + Send + 'static,
) -> mpsc::Receiver<Result<Bytes, BlobError>> {
    let (pieces, ahead) = mpsc::channel(READ_AHEAD_MAX);
    tokio::task::spawn_blocking(move || {
        loop {
            let piece = read();
            let last = piece.as_ref().map_or(true, |piece| piece.is_empty());
            let ended = matches!(&piece, Ok(piece) if piece.is_empty());
            if ended || pieces.blocking_send(piece).is_err() || last {
                return;
            }
        }
    });
    ahead
}

impl Reading {
    /// Asks a client for the bytes that it offered, in the same way as any holder is asked.
    pub(in crate::peer) async fn client(
        client: &Connection,
        object: ObjectInfo,
        offset: u64,
    ) -> Result<Reading, GiveError<BlobError>> {
        let from = if offset < object.length { 0 } else { offset };
        let request = StorageRequest::FetchObject { content: object.content, offset: from };
        let lost = |error: transport::StreamError| GiveError::Client(error.into());
        let mut stream = client.open(&Request::Storage(request)).await.map_err(lost)?;
        OpenStream::finish_send(&mut stream);
        match stream.read_reply(STORAGE_TIMEOUT).await.map_err(lost)? {
            Reply::Storage(StorageReply::Object(given)) if given == object => {}
            _ => return Err(GiveError::Client(StreamError::Ended)),
        }
        let (pieces, unchecked) = mpsc::channel(READ_AHEAD_MAX);
        let (checked, theirs) = mpsc::channel(READ_AHEAD_MAX);
        background(take_from_client(stream, pieces));
        tokio::task::spawn_blocking(move || check_on_the_way(unchecked, &object, offset - from, &checked));
        Ok(Reading::Client(theirs))
    }
}

/// Takes bytes from a client until it ends, or nobody wants more of them.
async fn take_from_client(mut stream: OpenStream, pieces: mpsc::Sender<Result<Rope, GiveError<BlobError>>>) {
    loop {
        let piece = wait_awake(CLIENT_SILENCE_MAX, stream.gather(PIECE_BYTES, GATHER)).await.0;
        let silent = transport::StreamError::Silent { waited_ms: CLIENT_SILENCE_MAX.as_millis() as u64 };
        let piece = match piece.unwrap_or(Err(silent)) {
            Ok(Some(piece)) => Ok(piece),
            Ok(None) => Err(GiveError::Client(StreamError::Ended)),
            Err(error) => Err(GiveError::Client(error.into())),
        };
        let last = piece.is_err();
        if pieces.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// Hashes the bytes of a client as they come, so that they are checked before the last of them is passed on. Only the
/// whole object can be checked, so the first `skip` bytes are read but not passed on.
fn check_on_the_way(
    mut pieces: mpsc::Receiver<Result<Rope, GiveError<BlobError>>>,
    object: &ObjectInfo,
    mut skip: u64,
    checked: &mpsc::Sender<Result<Rope, GiveError<BlobError>>>,
) {
    let mut hasher = ChunkHasher::default();
    while let Some(piece) = pieces.blocking_recv() {
        let mut piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                // The reader may be gone, and wants no reason then.
                let _ = checked.blocking_send(Err(error));
                return;
            }
        };
        piece.parts().iter().for_each(|part| hasher.update(part));
        let last = hasher.offset() >= object.length;
        if last {
            let (content, outboard) = std::mem::take(&mut hasher).finish();
            let found = ObjectInfo { content, length: outboard.length(), outboard: outboard.digest() };
            if found != *object {
                let _ = checked.blocking_send(Err(GiveError::OtherBytes));
                return;
            }
        }
        skip -= piece.split_to(usize::try_from(skip).unwrap_or(usize::MAX)).len() as u64;
        if (!piece.is_empty() && checked.blocking_send(Ok(piece)).is_err()) || last {
            return;
        }
    }
}

impl Reader for Reading {
    type Piece = Rope;
    type Error = BlobError;

    async fn next(&mut self) -> Result<Option<Rope>, GiveError<BlobError>> {
        match self {
            Reading::Ahead(pieces) => match pieces.recv().await {
                Some(Ok(piece)) => Ok(Some(piece.into())),
                Some(Err(error)) => Err(GiveError::Disk(error)),
                None => Ok(None),
            },
            Reading::Client(pieces) => pieces.recv().await.transpose(),
        }
    }
}

/// The number of pieces that are read ahead.
const READ_AHEAD_MAX: usize = 4;
/// The number of pieces that wait for the disk: 2 MiB.
const QUEUED_PIECES_MAX: usize = 8;
