//! An object on its way out: to the owner it belongs to, or to a replica.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::copy::Upstream;
use super::shared::{STORAGE_TIMEOUT, Shared, shortened};
use crate::blob::{BlobError, ChunkHasher, Source};
use crate::config::RingSettings;
use crate::replica::ChainWords;
use crate::transport::{Connection, OpenStream, StreamError, wait_awake};
use crate::wire::limits::{CLIENT_SILENCE_MAX, PIECE_BYTES};
use crate::wire::{
    Entry, Fault, Link, MissingReason, ObjectInfo, PeerName, Reply, Request, StorageReply, StorageRequest,
    StoreRole, Target,
};

/// Where the bytes of a push come from.
pub(super) enum Feed {
    /// From this peer's own object.
    Disk,
    /// From a user's file; counted as they go.
    File { source: Source, progress: Arc<super::Progress> },
    /// From the client that wants it stored, which is asked for them.
    Client { client: Connection, progress: Arc<super::Progress> },
    /// From whoever sends it to this peer at the moment, unless the other side is too slow for that.
    Live { from: LiveFrom, pieces: mpsc::Receiver<Passed>, too_slow: Arc<Notify> },
}

/// From which byte on an object passes by.
pub(super) enum LiveFrom {
    /// From this one on: what comes before is here already.
    Here(u64),
    /// From wherever the other side wants it, who is told so.
    Wherever(oneshot::Sender<u64>),
}

/// What is passed on while it comes in.
#[derive(Debug, Clone)]
pub(super) enum Passed {
    /// The next bytes.
    Piece(Bytes),
    /// The sender has given the transfer up: nothing of it is to be kept.
    GivenUp,
}

/// Why a push ended without the other side's word.
#[derive(Debug)]
pub(super) enum PushFailure {
    /// The other side, or the way to it.
    Peer(MissingReason),
    /// The key belongs to another peer.
    NotOwner,
    /// The bytes cannot be read here.
    Source(BlobError),
    /// The client does not give the bytes.
    Client(StreamError),
    /// The client gives other bytes than it announced.
    OtherBytes,
}

impl PushFailure {
    /// Whether another try may go well: the other side is away, or the client is silent and still connected.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, PushFailure::Peer(_) | PushFailure::Client(StreamError::Silent { .. }))
    }
}

/// The other side of a push: another peer, or this one itself.
enum Downstream {
    Remote(Box<OpenStream>),
    Local { pieces: Option<mpsc::Sender<Bytes>>, replies: mpsc::Receiver<StorageReply> },
}

impl Downstream {
    async fn send(&mut self, piece: Bytes) -> Result<(), StreamError> {
        match self {
            Downstream::Remote(stream) => stream.send_piece(piece).await,
            Downstream::Local { pieces: Some(pieces), .. } => {
                pieces.send(piece).await.map_err(|_| StreamError::Cancelled)
            }
            Downstream::Local { pieces: None, .. } => Err(StreamError::Cancelled),
        }
    }

    fn finish(&mut self) {
        match self {
            Downstream::Remote(stream) => stream.finish_send(),
            Downstream::Local { pieces, .. } => *pieces = None,
        }
    }

    async fn reply(&mut self) -> Result<StorageReply, StreamError> {
        match self {
            Downstream::Remote(stream) => match stream.read_reply(DURABLE_TIMEOUT).await? {
                Reply::Storage(reply) => Ok(reply),
                Reply::ProtocolError(why) => Ok(StorageReply::Refused(why)),
                Reply::Membership(_) | Reply::Forwarding(_) => Err(StreamError::Ended),
            },
            Downstream::Local { replies, .. } => replies.recv().await.ok_or(StreamError::Ended),
        }
    }
}

impl Shared {
    /// Gives an object to a replica, and passes on what it says of its own copy and of those behind it.
    /// Whatever goes wrong becomes a word on the missing copies. A replica that cannot be reached, or takes no
    /// bytes, is passed over: the next of its chain gets them.
    pub(super) async fn push(
        self: &Arc<Self>,
        to: &Entry,
        object: ObjectInfo,
        links: Vec<Link>,
        mut role: StoreRole,
        feed: Feed,
        word: &mpsc::Sender<StorageReply>,
    ) {
        let (mut to, mut feed) = (to.clone(), Some(feed));
        loop {
            let mut words = ChainWords::new(to.position, &role);
            let request = StorageRequest::StoreObject { object, links: links.clone(), role: role.clone() };
            let ended = self.push_exchange(&to, object, request, &mut feed, word, &mut words).await;
            let Err(failure) = ended else { return };
            let reason = match failure {
                PushFailure::Peer(reason) => reason,
                PushFailure::NotOwner => MissingReason::Refused("it does not own this key".to_owned()),
                PushFailure::Source(error) => self.not_given(&error),
                PushFailure::Client(_) => MissingReason::NotGiven("its sender gave the store up".to_owned()),
                PushFailure::OtherBytes => MissingReason::Final("the bytes are other ones".to_owned()),
            };
            let mut unheard = words.unheard(&reason);
            let next = next_of(&mut role).filter(|_| feed.is_some());
            if next.is_some() {
                unheard.truncate(1);
            }
            for missing in unheard {
                let _ = word.send(StorageReply::Missing(missing)).await;
            }
            match next {
                Some(next) => to = next,
                None => return,
            }
        }
    }

    /// One exchange: offer, bytes, words until `Finished`. The feed is left where it is when no bytes were wanted.
    ///
    /// # Errors
    /// [`PushFailure`]; words that came before are passed on all the same.
    pub(super) async fn push_exchange(
        self: &Arc<Self>,
        to: &Entry,
        object: ObjectInfo,
        request: StorageRequest,
        feed: &mut Option<Feed>,
        word: &mpsc::Sender<StorageReply>,
        words: &mut ChainWords,
    ) -> Result<(), PushFailure> {
        let mut downstream = self.downstream(to, request).await?;
        let lost = |_| PushFailure::Peer(MissingReason::Unreachable);
        let mut moving = Moving::begin(&object);
        let first = loop {
            let reply = downstream.reply().await.map_err(lost)?;
            let StorageReply::Moving { bytes } = reply else { break reply };
            moving.heard(bytes)?;
            self.note_moving(bytes, word);
        };
        match first {
            StorageReply::Proceed { offset } if offset <= object.length => {
                if let Some(feed) = feed.take() {
                    self.send_bytes(&mut downstream, object, feed, offset, word).await?;
                }
                downstream.finish();
            }
            StorageReply::AlreadyHere => {
                *feed = None;
                downstream.finish();
            }
            StorageReply::NotOwner { .. } => return Err(PushFailure::NotOwner),
            StorageReply::Refused(why) => return Err(PushFailure::Peer(MissingReason::Refused(why))),
            StorageReply::Missing(copy) => return Err(PushFailure::Peer(copy.reason)),
            _ => {
                self.blame_answer(&to.position, Fault::WrongReply);
                return Err(PushFailure::Peer(MissingReason::Refused("it broke the protocol".to_owned())));
            }
        }
        moving.since = Instant::now();
        let mut heard = 0;
        while heard < WORDS_PER_PUSH_MAX {
            let reply = downstream.reply().await.map_err(lost)?;
            if let StorageReply::Moving { bytes } = reply {
                moving.heard(bytes)?;
                self.note_moving(bytes, word);
                continue;
            }
            heard += 1;
            match &reply {
                StorageReply::Durable { .. } | StorageReply::Missing(_) => {
                    if !words.hear(&self.view(), &reply) {
                        self.blame_answer(&to.position, Fault::FalseCopies);
                        continue;
                    }
                }
                StorageReply::Finished => return Ok(()),
                StorageReply::Refused(why) => {
                    return Err(PushFailure::Peer(MissingReason::Refused(why.clone())));
                }
                _ => {
                    return Err(PushFailure::Peer(MissingReason::Refused(
                        "it broke the protocol".to_owned(),
                    )));
                }
            }
            // Nobody may be left to hear it; the copies are made all the same.
            let _ = word.send(reply).await;
        }
        self.blame_answer(&to.position, Fault::FalseCopies);
        Err(PushFailure::Peer(MissingReason::Refused("it does not stop to talk of copies".to_owned())))
    }

    /// Why another peer does not get an object of which this one's own copy fails.
    pub(super) fn not_given(&self, error: &BlobError) -> MissingReason {
        not_given(&self.named(&self.position()), error)
    }

    /// Bytes of a push came somewhere. A word on that is worth no wait: the next one says more.
    fn note_moving(&self, bytes: u64, word: &mpsc::Sender<StorageReply>) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        let _ = word.try_send(StorageReply::Moving { bytes });
    }

    async fn downstream(
        self: &Arc<Self>,
        to: &Entry,
        request: StorageRequest,
    ) -> Result<Downstream, PushFailure> {
        if to.position != self.position() {
            let opened = self.transport.open(&Target::from(to), &Request::Storage(request)).await;
            return opened
                .map(|stream| Downstream::Remote(Box::new(stream)))
                .map_err(|failure| PushFailure::Peer(self.reason_of(to, &failure)));
        }
        let StorageRequest::StoreObject { object, links, role } = request else {
            return Err(PushFailure::Peer(MissingReason::Refused("only objects are pushed".to_owned())));
        };
        let (pieces, theirs) = mpsc::channel(LOCAL_PIECES_MAX);
        let (words, replies) = mpsc::channel(LOCAL_PIECES_MAX);
        let upstream = Upstream::Local { pieces: theirs, replies: words };
        tokio::spawn(self.clone().accept_local(upstream, object, links, role));
        Ok(Downstream::Local { pieces: Some(pieces), replies })
    }

    /// Asks a client for the bytes that it offered, as any holder is asked.
    async fn fetch_from_client(
        &self,
        client: &Connection,
        object: ObjectInfo,
        offset: u64,
    ) -> Result<OpenStream, StreamError> {
        let request = StorageRequest::FetchObject { content: object.content, offset };
        let mut stream = client.open(&Request::Storage(request)).await?;
        stream.finish_send();
        match stream.read_reply(STORAGE_TIMEOUT).await? {
            Reply::Storage(StorageReply::Object(given)) if given == object => Ok(stream),
            _ => Err(StreamError::Ended),
        }
    }

    async fn send_bytes(
        self: &Arc<Self>,
        downstream: &mut Downstream,
        object: ObjectInfo,
        feed: Feed,
        offset: u64,
        word: &mpsc::Sender<StorageReply>,
    ) -> Result<(), PushFailure> {
        let mut too_slow = None;
        let (mut pieces, mut skip, progress) = match feed {
            Feed::Live { from: LiveFrom::Here(from), .. } if from > offset => {
                // Earlier bytes are wanted than pass by here: the owner gives them from its disk later.
                return Err(PushFailure::Peer(MissingReason::Unreachable));
            }
            Feed::Live { from: LiveFrom::Here(from), pieces, too_slow: notice } => {
                too_slow = Some(notice);
                (Pieces::Live(pieces), offset - from, None)
            }
            Feed::Live { from: LiveFrom::Wherever(agreed), pieces, .. } => {
                agreed.send(offset).map_err(|_| PushFailure::Peer(MissingReason::Unreachable))?;
                (Pieces::Live(pieces), 0, None)
            }
            Feed::Disk => {
                let reader = self.blocking(move |store| store.read(&object.content, offset)).await;
                let mut reader = reader.map_err(PushFailure::Source)?;
                (Pieces::Read(read_ahead(move || reader.read_piece())), 0, None)
            }
            Feed::File { source, progress } => {
                progress.begin(offset, object.length);
                let mut reader = source.reader(offset);
                (Pieces::Read(read_ahead(move || reader.read_piece())), 0, Some(progress))
            }
            Feed::Client { client, progress } => {
                progress.begin(offset, object.length);
                // From its beginning on, although not all is passed on: only the whole can be checked.
                let from = if offset < object.length { 0 } else { offset };
                let stream = self.fetch_from_client(&client, object, from).await;
                let stream = Box::new(stream.map_err(PushFailure::Client)?);
                let hasher = Box::default();
                (Pieces::Client { stream, hasher, object }, offset - from, Some(progress))
            }
        };
        let mut left = object.length - offset;
        let (mut told_at, mut untold) = (Instant::now(), 0);
        while left > 0 {
            let mut piece = match pieces.next().await {
                Ok(piece) => piece,
                Err(failure) => {
                    if failure.may_pass() {
                        // What has come by then may serve another try; a reset would have it thrown away.
                        downstream.finish();
                    }
                    return Err(failure);
                }
            };
            let skipped = skip.min(piece.len() as u64);
            skip -= skipped;
            let mut piece = piece.split_off(skipped as usize);
            left = left.saturating_sub(piece.len() as u64);
            if let Some(progress) = &progress {
                progress.advance(piece.len() as u64);
            }
            // In slices, so that a slow line is seen to move.
            while !piece.is_empty() {
                let length = piece.len().min(SLICE_BYTES);
                let slice = piece.split_to(length);
                tokio::select! {
                    biased;
                    sent = downstream.send(slice) => {
                        sent.map_err(|_| PushFailure::Peer(MissingReason::Unreachable))?;
                    }
                    () = notified(too_slow.as_deref()) => {
                        // The others do not wait for it; what it has serves the owner, who gives it the rest.
                        downstream.finish();
                        return Err(PushFailure::Peer(MissingReason::NotYet));
                    }
                }
                untold += length as u64;
                if told_at.elapsed() >= TELL_MOVING && matches!(downstream, Downstream::Remote(_)) {
                    self.note_moving(untold, word);
                    (told_at, untold) = (Instant::now(), 0);
                }
            }
        }
        Ok(())
    }
}

fn not_given(giver: &PeerName, error: &BlobError) -> MissingReason {
    MissingReason::NotGiven(match error {
        BlobError::Rotten { .. } => format!("the copy at peer {giver} was bad"),
        BlobError::NotHere { .. } => format!("the copy at peer {giver} is gone"),
        error => shortened(format!("peer {giver} cannot read its copy: {error}")),
    })
}

async fn notified(notice: Option<&Notify>) {
    match notice {
        Some(notice) => notice.notified().await,
        None => std::future::pending().await,
    }
}

/// What the other side says of bytes that move, held against what can be true: all copies of an object have so many
/// bytes in all, and a pace that only holds a place is none.
struct Moving {
    left: u64,
    since: Instant,
    bytes: u64,
}

impl Moving {
    fn begin(object: &ObjectInfo) -> Moving {
        let left = object.length.saturating_mul(u64::from(RingSettings::REPLICAS_MAX) + 2);
        Moving { left, since: Instant::now(), bytes: 0 }
    }

    fn heard(&mut self, bytes: u64) -> Result<(), PushFailure> {
        self.bytes = self.bytes.saturating_add(bytes);
        let slow = self.since.elapsed() >= MOVING_WITHIN && self.bytes < MOVING_BYTES_MIN;
        if bytes == 0 || bytes > self.left || slow {
            return Err(PushFailure::Peer(MissingReason::Refused("its bytes do not move".to_owned())));
        }
        self.left -= bytes;
        if self.bytes >= MOVING_BYTES_MIN {
            (self.since, self.bytes) = (Instant::now(), 0);
        }
        Ok(())
    }
}

/// The next of a chain, which is shorter by it then.
fn next_of(role: &mut StoreRole) -> Option<Entry> {
    match role {
        StoreRole::Replica { chain } if !chain.is_empty() => Some(chain.remove(0)),
        StoreRole::Replica { .. } | StoreRole::Owner => None,
    }
}

enum Pieces {
    /// Hashed as they come: what a client gives is checked before the last of it goes on.
    Client {
        stream: Box<OpenStream>,
        hasher: Box<ChunkHasher>,
        object: ObjectInfo,
    },
    Read(mpsc::Receiver<Result<Bytes, BlobError>>),
    Live(mpsc::Receiver<Passed>),
}

impl Pieces {
    async fn next(&mut self) -> Result<Bytes, PushFailure> {
        match self {
            Pieces::Client { stream, hasher, object } => {
                match wait_awake(CLIENT_SILENCE_MAX, stream.read_piece(PIECE_BYTES)).await.0 {
                    Some(Ok(Some(piece))) => {
                        hasher.update(&piece);
                        if hasher.offset() < object.length {
                            return Ok(piece);
                        }
                        let (content, outboard) = std::mem::take(hasher).finish();
                        let found =
                            ObjectInfo { content, length: outboard.length(), outboard: outboard.digest() };
                        if found == *object { Ok(piece) } else { Err(PushFailure::OtherBytes) }
                    }
                    Some(Ok(None)) => Err(PushFailure::Client(StreamError::Ended)),
                    Some(Err(error)) => Err(PushFailure::Client(error)),
                    None => Err(PushFailure::Client(StreamError::Silent {
                        waited_ms: CLIENT_SILENCE_MAX.as_millis() as u64,
                    })),
                }
            }
            Pieces::Live(pieces) => match pieces.recv().await {
                Some(Passed::Piece(piece)) => Ok(piece),
                Some(Passed::GivenUp) => Err(PushFailure::Client(StreamError::Cancelled)),
                None => Err(PushFailure::Peer(MissingReason::Unreachable)),
            },
            Pieces::Read(pieces) => match pieces.recv().await {
                Some(Ok(piece)) => Ok(piece),
                Some(Err(error)) => Err(PushFailure::Source(error)),
                None => Err(PushFailure::Peer(MissingReason::NotGiven("the object ended early".to_owned()))),
            },
        }
    }
}

/// Reads pieces on a thread of its own, a few ahead; an empty piece is the end.
pub(super) fn read_ahead(
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

/// How long the other side may take to say that its copy is durable: hashing and syncing a large file.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes that are given to the network at a time.
const SLICE_BYTES: usize = 64 << 10;
/// How often is told that bytes move.
const TELL_MOVING: Duration = Duration::from_secs(1);
/// The least of them that is believed, in so much time.
const MOVING_BYTES_MIN: u64 = 4 << 10;
const MOVING_WITHIN: Duration = Duration::from_secs(60);
/// Words on copies in one exchange: each copy may be missing first and made after all.
const WORDS_PER_PUSH_MAX: u32 = 2 * (RingSettings::REPLICAS_MAX as u32 + 2);
/// Pieces that are read ahead.
const READ_AHEAD_MAX: usize = 4;
/// Pieces between two tasks of this process.
const LOCAL_PIECES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ContentId, Position};

    /// Reported by reading: a peer whose own copy had gone bad said that the receiver refused it.
    #[test]
    fn a_copy_that_is_bad_here_is_not_the_receivers_fault() {
        let giver = PeerName { position: Position::of_number(36), name: None };
        let said = |error| not_given(&giver, &error).to_string();
        let content = ContentId::of(b"a");
        assert_eq!(
            said(BlobError::Rotten { content, reason: "it ends after 3 bytes".to_owned() }),
            "was not given it: the copy at peer 36 was bad"
        );
        assert_eq!(said(BlobError::NotHere { content }), "was not given it: the copy at peer 36 is gone");
        let path = std::path::PathBuf::from("o");
        let source = std::io::Error::other("no such device");
        assert_eq!(
            said(BlobError::Io { doing: "read", path, source }),
            "was not given it: peer 36 cannot read its copy: cannot read o: no such device"
        );
    }
}
