//! An object on its way out: to the owner it belongs to, or to a replica. As `peer::push` does it.

use std::sync::Arc;
use std::time::Duration;

use super::keeper::Keeper;
use super::outcome::Cause;
use super::stream::{Frame, Stream, StreamError};
use super::wait::{Receiver, Sender};
use crate::config::RingSettings;
use crate::replica::ChainWords;
use crate::wire::{Entry, MissingReason, ObjectInfo, StorageReply, StorageRequest, StoreRole};

/// Where the bytes of a push come from.
pub(super) enum Feed {
    /// From this peer's own object.
    Disk,
    /// From a user's file; each piece is told.
    File(Arc<dyn Fn() + Send + Sync>),
    /// From whoever sends it to this peer at the moment, from that byte on.
    Live { offset: u64, pieces: Receiver<Passed> },
}

/// What is passed on while it comes in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Passed {
    Piece {
        bytes: u64,
        sound: bool,
    },
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
    /// The sender has given it up.
    GivenUp,
}

impl Keeper {
    /// Gives an object to a replica, and passes on what it says of its own copy and of those behind it.
    /// Whatever goes wrong becomes a word on the missing copies. A replica that cannot be reached, or takes no
    /// bytes, is passed over: the next of its chain gets them.
    pub(super) async fn push(
        self: &Arc<Self>,
        to: &Entry,
        object: ObjectInfo,
        mut role: StoreRole,
        feed: Feed,
        cause: Cause,
        word: &Sender<StorageReply>,
    ) {
        let (mut to, mut feed) = (to.clone(), Some(feed));
        loop {
            let mut words = ChainWords::new(to.position, &role);
            let ended =
                self.push_exchange(&to, object, role.clone(), &mut feed, cause, word, &mut words).await;
            let Err(failure) = ended else { return };
            let reason = match failure {
                PushFailure::Peer(reason) => reason,
                PushFailure::NotOwner => MissingReason::Refused("it does not own this key".to_owned()),
                PushFailure::GivenUp => MissingReason::Refused("it was given up".to_owned()),
            };
            let mut unheard = words.unheard(&reason);
            let next = match &mut role {
                StoreRole::Replica { chain } if !chain.is_empty() && feed.is_some() => Some(chain.remove(0)),
                StoreRole::Replica { .. } | StoreRole::Owner => None,
            };
            if next.is_some() {
                unheard.truncate(1);
            }
            unheard.into_iter().for_each(|missing| word.send(StorageReply::Missing(missing)));
            match next {
                Some(next) => to = next,
                None => return,
            }
        }
    }

    /// One exchange: offer, bytes, words until `Finished`.
    #[expect(clippy::too_many_arguments, reason = "one exchange has as many sides")]
    pub(super) async fn push_exchange(
        self: &Arc<Self>,
        to: &Entry,
        object: ObjectInfo,
        role: StoreRole,
        feed: &mut Option<Feed>,
        cause: Cause,
        word: &Sender<StorageReply>,
        words: &mut ChainWords,
    ) -> Result<(), PushFailure> {
        let mut downstream = self.downstream(to, object, role);
        let lost = |_| PushFailure::Peer(MissingReason::Unreachable);
        match downstream.reply(DURABLE_TIMEOUT).await.map_err(lost)? {
            StorageReply::Proceed { offset } if offset <= object.length => {
                if let Some(feed) = feed.take() {
                    self.send_bytes(&mut downstream, object, feed, offset, cause).await?;
                }
            }
            StorageReply::AlreadyHere => *feed = None,
            StorageReply::NotOwner { .. } => return Err(PushFailure::NotOwner),
            StorageReply::Refused(why) => return Err(PushFailure::Peer(MissingReason::Refused(why))),
            StorageReply::Missing(copy) => return Err(PushFailure::Peer(copy.reason)),
            _ => return Err(broken()),
        }
        for _ in 0..WORDS_PER_PUSH_MAX {
            let reply = downstream.reply(DURABLE_TIMEOUT).await.map_err(lost)?;
            match &reply {
                StorageReply::Durable { .. } | StorageReply::Missing(_) => {
                    if !words.hear(&self.view(), &reply) {
                        continue;
                    }
                }
                StorageReply::Finished => {
                    downstream.finish();
                    return Ok(());
                }
                StorageReply::Refused(why) => {
                    return Err(PushFailure::Peer(MissingReason::Refused(why.clone())));
                }
                _ => return Err(broken()),
            }
            word.send(reply);
        }
        Err(broken())
    }

    fn downstream(self: &Arc<Self>, to: &Entry, object: ObjectInfo, role: StoreRole) -> Stream {
        if to.position != self.position() {
            let request = StorageRequest::StoreObject { object, links: Vec::new(), role };
            return Stream::open(self, to, request);
        }
        let (ours, theirs) = Stream::pair(self);
        self.spawn(self.clone().accept_boxed(theirs, object, role));
        ours
    }

    async fn send_bytes(
        self: &Arc<Self>,
        downstream: &mut Stream,
        object: ObjectInfo,
        mut feed: Feed,
        offset: u64,
        cause: Cause,
    ) -> Result<(), PushFailure> {
        let mut skip = 0;
        let mut is_sound = true;
        match &feed {
            Feed::Live { offset: from, .. } if *from > offset => {
                // Earlier bytes are wanted than pass by here: the owner gives them from its disk later.
                return Err(PushFailure::Peer(MissingReason::Unreachable));
            }
            Feed::Live { offset: from, .. } => skip = offset - from,
            Feed::Disk => match self.disk.lock().read(&object.content) {
                Some((_, sound)) => is_sound = sound,
                None => return Err(gone()),
            },
            Feed::File(_) => {}
        }
        let mut left = object.length - offset;
        while left > 0 {
            let (mut bytes, mut sound) = (piece_of(object.length).min(left), is_sound);
            match &mut feed {
                Feed::Disk => {}
                Feed::File(moved) => moved(),
                Feed::Live { pieces, .. } => match pieces.next().await {
                    Some(Passed::Piece { bytes: passed, sound: s }) => (bytes, sound) = (passed, s),
                    Some(Passed::GivenUp) => return Err(PushFailure::GivenUp),
                    None => {
                        // What has come by then may serve another try; a reset would have it thrown away.
                        downstream.finish_early();
                        return Err(PushFailure::Peer(MissingReason::Unreachable));
                    }
                },
            }
            let skipped = skip.min(bytes);
            skip -= skipped;
            bytes -= skipped;
            if bytes == 0 {
                continue;
            }
            left = left.saturating_sub(bytes);
            if downstream.is_remote() {
                self.send_time(bytes).await;
                self.moved(cause, bytes);
            }
            downstream.send(Frame::Piece { bytes, sound });
        }
        Ok(())
    }

    /// Gives out an object that is here.
    pub(super) async fn serve_object(
        self: &Arc<Self>,
        stream: &mut Stream,
        content: crate::id::ContentId,
        offset: u64,
    ) -> Result<(), StreamError> {
        let read = self.disk.lock().read(&content);
        let Some((object, sound)) = read.filter(|(object, _)| offset <= object.length) else {
            stream.send_reply(StorageReply::NotHere);
            return Ok(());
        };
        stream.send_reply(StorageReply::Object(object));
        let mut left = object.length - offset;
        while left > 0 {
            let bytes = piece_of(object.length).min(left);
            left -= bytes;
            self.send_time(bytes).await;
            self.moved(Cause::Request, bytes);
            stream.send(Frame::Piece { bytes, sound });
        }
        Ok(())
    }

    fn moved(&self, cause: Cause, bytes: u64) {
        self.want(super::keeper::Effect::Moved { cause, bytes });
    }
}

fn gone() -> PushFailure {
    PushFailure::Peer(MissingReason::Refused("the object is not here any more".to_owned()))
}

fn broken() -> PushFailure {
    PushFailure::Peer(MissingReason::Refused("it broke the protocol".to_owned()))
}

/// How many bytes of an object go at a time.
pub(super) fn piece_of(length: u64) -> u64 {
    (length / PIECES_MAX).max(PIECE_BYTES_MIN)
}

/// How long the other side may take to say that its copy is durable.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Words on copies in one exchange: each copy may be missing first and made after all.
const WORDS_PER_PUSH_MAX: u32 = 2 * (RingSettings::REPLICAS_MAX as u32 + 2);
/// An object goes in at most so many pieces, and none of these is shorter but the last.
const PIECES_MAX: u64 = 16;
const PIECE_BYTES_MIN: u64 = 1 << 20;
