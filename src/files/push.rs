//! Pushing an object to another peer: to the owner that it belongs to, or to a replica. The case that this peer itself is
//! the owner stands in `deliver`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

use super::bytes::{Asking as _, GiveError, Piece as _, Reader as _, StreamError};
use super::env::{Cause, Env};
use super::progress::Progress;
use super::wait::{Either, race};
use crate::config::RingSettings;
use crate::replica::ChainWords;
use crate::time::Moment;
use crate::wire::{Entry, Fault, Link, MissingReason, ObjectInfo, StorageReply, StorageRequest, StoreRole};

/// An object that is given to others, and why.
#[derive(Debug, Clone)]
pub struct Given {
    /// The content id, length and outboard digest of the object.
    pub object: ObjectInfo,
    /// The names that it is kept under.
    pub links: Vec<Link>,
    /// The cause for which it is given.
    pub cause: Cause,
}

/// The source of the bytes of a push.
pub enum Feed<E: Env> {
    /// This peer's own copy of the object.
    Disk,
    /// The source of a store: a user's file or a client. The bytes are counted as they go.
    Origin {
        /// The source of the bytes.
        origin: Arc<E::Origin>,
        /// The counter of the bytes.
        progress: Arc<Progress>,
    },
    /// The incoming transfer of the object, passed on as it arrives, unless the other side is too slow for that.
    Live {
        /// The first byte that passes by.
        from: LiveFrom,
        /// The pieces that pass by.
        pieces: mpsc::Receiver<Passed<E::Piece>>,
        /// The notice that the other side is too slow.
        too_slow: Arc<Notify>,
    },
}

/// The first byte of an object that passes by.
pub enum LiveFrom {
    /// This byte: the bytes before it are here already.
    Here(u64),
    /// Any byte that the other side asks for; the sender of the object learns it through this channel.
    Wherever(oneshot::Sender<u64>),
}

/// An item that is passed on as it comes in.
#[derive(Debug, Clone)]
pub enum Passed<P> {
    /// The next bytes of the object.
    Piece(P),
    /// The sender has cancelled the transfer: nothing of it is to be kept.
    GivenUp,
}

/// Why a push ended without a final report of the other side.
#[derive(Debug)]
pub enum PushFailure<D> {
    /// The other side failed, or could not be reached.
    Peer(MissingReason),
    /// The other side reports moving bytes now and then, but so few that it only holds the sender.
    TooSlow,
    /// The key belongs to another peer.
    NotOwner,
    /// The bytes cannot be had from their source.
    Source(GiveError<D>),
}

impl<D> PushFailure<D> {
    /// Whether another try may succeed: the other side is away, or the client is silent and still connected.
    fn may_pass(&self) -> bool {
        matches!(
            self,
            PushFailure::Peer(_)
                | PushFailure::TooSlow
                | PushFailure::Source(GiveError::Client(StreamError::Silent { .. }))
        )
    }
}

/// The other side of a push: another peer, or a task of this process.
pub(super) enum Downstream<E: Env> {
    Remote(Box<E::Asking>),
    Local { pieces: Option<mpsc::Sender<E::Piece>>, replies: mpsc::Receiver<StorageReply> },
}

impl<E: Env> Downstream<E> {
    async fn send(&mut self, piece: E::Piece) -> Result<(), StreamError> {
        match self {
            Downstream::Remote(stream) => stream.send(piece).await,
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
            Downstream::Remote(stream) => stream.reply(DURABLE_TIMEOUT).await,
            Downstream::Local { replies, .. } => replies.recv().await.ok_or(StreamError::Ended),
        }
    }
}

/// Gives an object to a replica, and passes on its reports on its own copy and on those behind it. Each failure becomes
/// a report on the missing copies. A replica that cannot be reached, or takes no bytes, is passed over: the next of its
/// chain gets them.
pub async fn push<E: Env>(
    env: &Arc<E>,
    to: &Entry,
    given: &Given,
    mut role: StoreRole,
    feed: Feed<E>,
    word: &mpsc::Sender<StorageReply>,
) {
    let (mut to, mut feed) = (to.clone(), Some(feed));
    loop {
        let mut words = ChainWords::new(to.position, &role);
        let ended = push_exchange(env, &to, given, role.clone(), &mut feed, word, &mut words).await;
        let Err(failure) = ended else { return };
        let reason = match failure {
            PushFailure::Peer(reason) => reason,
            PushFailure::TooSlow => too_slow(),
            PushFailure::NotOwner => MissingReason::Refused("it does not own this key".to_owned()),
            PushFailure::Source(GiveError::Disk(error)) => env.not_given(&error),
            PushFailure::Source(GiveError::Client(_)) => {
                MissingReason::NotGiven("its sender gave the store up".to_owned())
            }
            PushFailure::Source(GiveError::OtherBytes) => {
                MissingReason::Final("the bytes are other ones".to_owned())
            }
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

/// One exchange with another peer: offer, bytes, reports until `Finished`. The feed stays unused if no bytes were wanted.
///
/// # Errors
/// [`PushFailure`]; reports that came before are passed on all the same.
pub async fn push_exchange<E: Env>(
    env: &Arc<E>,
    to: &Entry,
    given: &Given,
    role: StoreRole,
    feed: &mut Option<Feed<E>>,
    word: &mpsc::Sender<StorageReply>,
    words: &mut ChainWords,
) -> Result<(), PushFailure<E::DiskError>> {
    if to.position == env.view().me.position {
        // A chain that leads back here is its sender's mistake, and no reason to dial oneself.
        return Err(PushFailure::Peer(MissingReason::Unreachable));
    }
    let (object, links) = (given.object, given.links.clone());
    let opened = env.open(to, StorageRequest::StoreObject { object, links, role }).await;
    let downstream = Downstream::Remote(Box::new(opened.map_err(PushFailure::Peer)?));
    exchange(env, to, given, downstream, feed, word, words).await
}

/// The exchange once the other side is there: bytes if it wants them, and its reports.
///
/// # Errors
/// The errors of [`push_exchange`].
pub(super) async fn exchange<E: Env>(
    env: &Arc<E>,
    to: &Entry,
    given: &Given,
    mut downstream: Downstream<E>,
    feed: &mut Option<Feed<E>>,
    word: &mpsc::Sender<StorageReply>,
    words: &mut ChainWords,
) -> Result<(), PushFailure<E::DiskError>> {
    let object = given.object;
    let lost = |error: StreamError| {
        if error == StreamError::WrongReply {
            env.blame_answer(&to.position, Fault::WrongReply);
            return broken();
        }
        PushFailure::Peer(MissingReason::Unreachable)
    };
    let mut moving = Moving::begin(env.now(), &object);
    let first = loop {
        let reply = downstream.reply().await.map_err(lost)?;
        let StorageReply::Moving { bytes } = reply else { break reply };
        moving.heard(env.now(), bytes)?;
        note_moving(env, bytes, word);
    };
    match first {
        StorageReply::Proceed { offset } if offset <= object.length => {
            if let Some(feed) = feed.take() {
                send_bytes(env, &mut downstream, given, feed, offset, word).await?;
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
            env.blame_answer(&to.position, Fault::WrongReply);
            return Err(broken());
        }
    }
    moving.since = env.now();
    let mut heard = 0;
    while heard < WORDS_PER_PUSH_MAX {
        let reply = downstream.reply().await.map_err(lost)?;
        if let StorageReply::Moving { bytes } = reply {
            moving.heard(env.now(), bytes)?;
            note_moving(env, bytes, word);
            continue;
        }
        heard += 1;
        match &reply {
            StorageReply::Durable { .. } | StorageReply::Missing(_) => {
                if !words.hear(&env.view(), &reply) {
                    env.blame_answer(&to.position, Fault::FalseCopies);
                    continue;
                }
            }
            StorageReply::Finished => return Ok(()),
            StorageReply::Refused(why) => {
                return Err(PushFailure::Peer(MissingReason::Refused(why.clone())));
            }
            _ => return Err(broken()),
        }
        // The receiver of the reports may be gone; the copies are made all the same.
        let _ = word.send(reply).await;
    }
    env.blame_answer(&to.position, Fault::FalseCopies);
    Err(PushFailure::Peer(MissingReason::Refused("it does not stop to talk of copies".to_owned())))
}

/// The reason that people see for a peer that is too slow.
pub(super) fn too_slow() -> MissingReason {
    MissingReason::Refused("its bytes do not move".to_owned())
}

fn broken<D>() -> PushFailure<D> {
    PushFailure::Peer(MissingReason::Refused("it broke the protocol".to_owned()))
}

/// Reports that bytes of a push have moved. It does not wait for room in the channel: the next report says more.
fn note_moving<E: Env>(env: &Arc<E>, bytes: u64, word: &mpsc::Sender<StorageReply>) {
    env.heard_moving(bytes);
    let _ = word.try_send(StorageReply::Moving { bytes });
}

async fn send_bytes<E: Env>(
    env: &Arc<E>,
    downstream: &mut Downstream<E>,
    given: &Given,
    feed: Feed<E>,
    offset: u64,
    word: &mpsc::Sender<StorageReply>,
) -> Result<(), PushFailure<E::DiskError>> {
    let object = given.object;
    let _first = (given.cause == Cause::Store).then(|| env.transfers().pace.foreground());
    let mut too_slow = None;
    let (mut pieces, mut skip, progress): (Pieces<E>, u64, _) = match feed {
        Feed::Live { from: LiveFrom::Here(from), .. } if from > offset => {
            // The other side wants earlier bytes than pass by here: the owner gives them from its disk later.
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
            let read = env.read(object.content, offset).await;
            let (_, reader) = read.map_err(|error| PushFailure::Source(GiveError::Disk(error)))?;
            (Pieces::Read(reader), 0, None)
        }
        Feed::Origin { origin, progress } => {
            progress.begin(offset, object.length);
            let reader = env.read_origin(&origin, object, offset).await.map_err(PushFailure::Source)?;
            (Pieces::Read(reader), 0, Some(progress))
        }
    };
    let mut left = object.length - offset;
    let (mut told_at, mut untold) = (env.now(), 0);
    while left > 0 {
        let mut piece = match pieces.next().await {
            Ok(piece) => piece,
            Err(failure) => {
                if failure.may_pass() {
                    // The bytes so far may serve another try; a reset would throw them away.
                    downstream.finish();
                }
                return Err(failure);
            }
        };
        let skipped = skip.min(piece.length());
        skip -= skipped;
        piece.split_to(skipped);
        left = left.saturating_sub(piece.length());
        if let Some(progress) = &progress {
            progress.advance(piece.length());
        }
        // In slices, so that a slow line is seen to move.
        while piece.length() > 0 {
            let length = piece.length().min(env.slice_bytes());
            let slice = piece.split_to(length);
            let is_paced = given.cause.is_paced() && matches!(downstream, Downstream::Remote(_));
            if is_paced {
                let turn = env.transfers().pace.turn(env.now(), length);
                env.sleep_until(turn).await;
            }
            if matches!(downstream, Downstream::Remote(_)) {
                env.transfers().upload.take(env, length).await;
            }
            let begun = env.now();
            match race(downstream.send(slice), notified(too_slow.as_deref())).await {
                // It takes no more of this, from this peer; it takes other objects.
                Either::Left(Err(StreamError::Cancelled)) => {
                    return Err(PushFailure::Peer(MissingReason::NotYet));
                }
                Either::Left(sent) => sent.map_err(|_| PushFailure::Peer(MissingReason::Unreachable))?,
                Either::Right(()) => {
                    // The others do not wait for it; its bytes so far serve the owner, which gives it the rest.
                    downstream.finish();
                    return Err(PushFailure::Peer(MissingReason::NotYet));
                }
            }
            if is_paced {
                let pause = env.transfers().pace.pause(env.now().since(begun));
                env.sleep_until(env.now() + pause).await;
            }
            untold += length;
            if matches!(downstream, Downstream::Local { .. }) {
                continue;
            }
            env.sent(given.cause, length);
            if env.now().since(told_at) >= TELL_MOVING {
                // Does not wait for room in the channel: the next report says more.
                let _ = word.try_send(StorageReply::Moving { bytes: untold });
                (told_at, untold) = (env.now(), 0);
            }
        }
    }
    Ok(())
}

async fn notified(notice: Option<&Notify>) {
    match notice {
        Some(notice) => notice.notified().await,
        None => std::future::pending().await,
    }
}

/// Checks the other side's reports on moving bytes. All copies of an object have a bounded number of bytes in all, and
/// a transfer that is too slow only holds a place.
struct Moving {
    left: u64,
    since: Moment,
    bytes: u64,
}

impl Moving {
    fn begin(now: Moment, object: &ObjectInfo) -> Moving {
        let left = object.length.saturating_mul(u64::from(RingSettings::REPLICAS_MAX) + 2);
        Moving { left, since: now, bytes: 0 }
    }

    fn heard<D>(&mut self, now: Moment, bytes: u64) -> Result<(), PushFailure<D>> {
        self.bytes = self.bytes.saturating_add(bytes);
        let slow = now.since(self.since) >= MOVING_WITHIN && self.bytes < MOVING_BYTES_MIN;
        if bytes == 0 || bytes > self.left || slow {
            return Err(PushFailure::TooSlow);
        }
        self.left -= bytes;
        if self.bytes >= MOVING_BYTES_MIN {
            (self.since, self.bytes) = (now, 0);
        }
        Ok(())
    }
}

/// Takes the next peer off a chain.
fn next_of(role: &mut StoreRole) -> Option<Entry> {
    match role {
        StoreRole::Replica { chain } if !chain.is_empty() => Some(chain.remove(0)),
        StoreRole::Replica { .. } | StoreRole::Owner => None,
    }
}

enum Pieces<E: Env> {
    Read(E::Reader),
    Live(mpsc::Receiver<Passed<E::Piece>>),
}

impl<E: Env> Pieces<E> {
    async fn next(&mut self) -> Result<E::Piece, PushFailure<E::DiskError>> {
        match self {
            Pieces::Live(pieces) => match pieces.recv().await {
                Some(Passed::Piece(piece)) => Ok(piece),
                Some(Passed::GivenUp) => Err(PushFailure::Source(GiveError::Client(StreamError::Cancelled))),
                None => Err(PushFailure::Peer(MissingReason::Unreachable)),
            },
            Pieces::Read(reader) => match reader.next().await {
                Ok(Some(piece)) => Ok(piece),
                Err(error) => Err(PushFailure::Source(error)),
                Ok(None) => {
                    Err(PushFailure::Peer(MissingReason::NotGiven("the object ended early".to_owned())))
                }
            },
        }
    }
}

/// The timeout for the other side's report that its copy is durable: it hashes and syncs a large file.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(120);
/// The time between two reports that bytes move.
const TELL_MOVING: Duration = Duration::from_secs(1);
/// The fewest moving bytes that are believed, in this time.
const MOVING_BYTES_MIN: u64 = 4 << 10;
const MOVING_WITHIN: Duration = Duration::from_secs(60);
/// The most reports on copies in one exchange: each copy may be missing first and made after all.
const WORDS_PER_PUSH_MAX: u32 = 2 * (RingSettings::REPLICAS_MAX as u32 + 2);
