//! An object on its way in, and on to the next replica at the same time. As `peer::copy` does it.

use std::sync::Arc;
use std::time::Duration;

use super::disk::DiskError;
use super::keeper::Keeper;
use super::outcome::Cause;
use super::push::{Feed, Passed};
use super::stream::{Stream, StreamError};
use super::wait::{Sender, channel};
use crate::chord::PhaseKind;
use crate::files::{BoxFuture, Together};
use crate::id::ContentId;
use crate::replica::{Copies, StoreDuty, store_duty};
use crate::wire::{Entry, Missing, MissingReason, ObjectInfo, StorageReply, StoreRole};

/// A transfer that is expected to come, as long as this lives.
struct Arrival<'a>(&'a Keeper, ContentId);

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.0.arrivals.lock().end(self.0.now(), &self.1);
    }
}

/// An object that is being written.
pub(super) struct Incoming {
    keeper: Arc<Keeper>,
    pub(super) object: ObjectInfo,
    /// So many bytes are there.
    pub(super) done: u64,
    sound: bool,
    failed: Option<DiskError>,
}

impl Incoming {
    pub(super) fn write(&mut self, bytes: u64, sound: bool) {
        self.done += bytes;
        self.sound &= sound;
        if self.failed.is_none() {
            let written = self.keeper.disk.lock().append(&self.object.content, bytes);
            self.failed = written.err();
        }
    }

    /// What the first bytes up to here are worth, where each is checked as it comes.
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }

    pub(super) fn discard(self) {
        self.keeper.disk.lock().discard(&self.object.content);
    }

    /// Syncs, and makes an object of it.
    pub(super) async fn finish(self) -> Result<(), DiskError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.keeper.sleep(self.keeper.ways.settings.sync_time).await;
        self.keeper.disk.lock().finish(self.object, self.sound)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.keeper.disk.lock().stop_receiving(&self.object.content);
    }
}

impl Keeper {
    /// As [`Keeper::accept_object`], of a size that is known: accepting passes on, and passing on may accept.
    pub(super) fn accept_boxed(
        self: Arc<Self>,
        upstream: Stream,
        object: ObjectInfo,
        role: StoreRole,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.accept_object(upstream, object, role).await })
    }

    /// Keeps an object as its owner or as a replica, and passes it on.
    async fn accept_object(self: Arc<Self>, mut upstream: Stream, object: ObjectInfo, role: StoreRole) {
        self.arrivals.lock().begin(object.content);
        let _arrival = Arrival(&self, object.content);
        // A peer that is just coming into the ring is worth a moment.
        self.view_until(ENTRANCE_WAIT, |view| view.phase != PhaseKind::Entering).await;
        match store_duty(&self.view(), self.copies(), &object, role) {
            Ok(duty) => {
                if self.accept_and_pass_on(&mut upstream, object, duty).await.is_err() {
                    return;
                }
            }
            Err(why) => upstream.send_reply(why.into()),
        }
        upstream.finish();
    }

    async fn accept_and_pass_on(
        self: &Arc<Self>,
        upstream: &mut Stream,
        object: ObjectInfo,
        duty: StoreDuty,
    ) -> Result<(), StreamError> {
        let (chain, owner) = (&duty.chain, duty.owner);
        let (word, mut words) = channel();
        let copied = match self.incoming(object, RECEIVING_WAIT).await {
            Ok(Some(incoming)) => {
                let offset = incoming.done;
                upstream.send_reply(StorageReply::Proceed { offset });
                let feed = self.pass_on_live(object, chain, offset, word.clone());
                self.write_and_feed(upstream, incoming, feed).await?
            }
            Ok(None) => {
                upstream.send_reply(StorageReply::AlreadyHere);
                if !owner {
                    self.pass_on(object, chain, Feed::Disk, word.clone());
                }
                Ok(())
            }
            Err(error) if !owner && error != DiskError::AlreadyReceiving => {
                // The sender gives the bytes to the next one itself.
                let copy = Missing { peer: self.position(), reason: disk_reason(error) };
                upstream.send_reply(StorageReply::Missing(copy));
                return Ok(());
            }
            Err(error) => {
                // A disk that takes nothing here does not keep the bytes from the others.
                upstream.send_reply(StorageReply::Proceed { offset: 0 });
                let feed = self.pass_on_live(object, chain, 0, word.clone());
                only_feed(upstream, object.length, feed).await?;
                Err(disk_reason(error))
            }
        };
        drop(word);
        if copied.is_ok() && duty.has_come_back(&self.view(), &object.content.key()) {
            self.repair_wanted.ring();
        }
        let peer = self.position();
        let own = match &copied {
            Ok(()) => StorageReply::Durable { peer },
            Err(reason) => StorageReply::Missing(Missing { peer, reason: reason.clone() }),
        };
        let mut copies = Copies::default();
        copies.hear(own.clone());
        upstream.send_reply(own);
        while let Some(reply) = words.next().await {
            copies.hear(reply.clone());
            if duty.passes_back(&reply) {
                upstream.send_reply(reply);
            }
        }
        if owner && copied.is_ok() {
            self.complete_copies(upstream, object, &copies).await;
        }
        upstream.send_reply(StorageReply::Finished);
        Ok(())
    }

    /// A place to write to, whose first bytes may be there from an earlier try; nothing when the object is
    /// here already. Waits, not for ever, while somebody else sends it.
    pub(super) async fn incoming(
        self: &Arc<Self>,
        object: ObjectInfo,
        wait: Duration,
    ) -> Result<Option<Incoming>, DiskError> {
        let deadline = self.now() + wait;
        loop {
            let begun = self.disk.lock().receive(&object);
            match begun {
                Ok(Some(done)) => {
                    let keeper = self.clone();
                    return Ok(Some(Incoming { keeper, object, done, sound: true, failed: None }));
                }
                Ok(None) => return Ok(None),
                Err(DiskError::AlreadyReceiving) if self.now() < deadline => {
                    self.sleep(RECEIVING_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes all bytes, writes them, and gives each piece to the next peer. A disk that fails here does not
    /// keep the bytes from the next peer.
    async fn write_and_feed(
        self: &Arc<Self>,
        upstream: &mut Stream,
        mut incoming: Incoming,
        feed: Option<Sender<Passed>>,
    ) -> Result<Result<(), MissingReason>, StreamError> {
        while incoming.done < incoming.object.length {
            match upstream.piece(PIECE_TIMEOUT).await {
                Ok((bytes, sound)) => {
                    if let Some(next) = &feed {
                        next.send(Passed::Piece { bytes, sound });
                    }
                    incoming.write(bytes, sound);
                }
                Err(error) => {
                    if error == StreamError::Cancelled {
                        if let Some(next) = &feed {
                            next.send(Passed::GivenUp);
                        }
                        incoming.discard();
                    }
                    return Err(error);
                }
            }
        }
        drop(feed);
        Ok(incoming.finish().await.map_err(|error| match error {
            DiskError::Mismatch => MissingReason::Final(error.to_string()),
            error => disk_reason(error),
        }))
    }

    fn pass_on_live(
        self: &Arc<Self>,
        object: ObjectInfo,
        chain: &[Entry],
        offset: u64,
        word: Sender<StorageReply>,
    ) -> Option<Sender<Passed>> {
        let (pieces, feed) = channel();
        self.pass_on(object, chain, Feed::Live { offset, pieces: feed }, word).then_some(pieces)
    }

    /// Gives an object to the first of a chain, with the rest of it. Whether there is one.
    fn pass_on(
        self: &Arc<Self>,
        object: ObjectInfo,
        chain: &[Entry],
        feed: Feed,
        word: Sender<StorageReply>,
    ) -> bool {
        let Some((next, rest)) = chain.split_first() else { return false };
        let (keeper, next, role) = (self.clone(), next.clone(), StoreRole::Replica { chain: rest.to_vec() });
        self.spawn(async move { keeper.push(&next, object, role, feed, Cause::Store, &word).await });
        true
    }

    /// The owner gives the object from its own disk to all replicas that have not got it yet.
    async fn complete_copies(self: &Arc<Self>, upstream: &Stream, object: ObjectInfo, copies: &Copies) {
        let (word, mut words) = channel();
        let mut pushes = Together::new();
        for replica in copies.to_complete(&self.view(), self.copies()) {
            let word = word.clone();
            let role = StoreRole::Replica { chain: Vec::new() };
            pushes.add(async move {
                self.push(&replica, object, role, Feed::Disk, Cause::Store, &word).await;
            });
        }
        drop(word);
        let pass_back = async {
            while let Some(reply) = words.next().await {
                upstream.send_reply(reply);
            }
        };
        futures_util::future::join(async { while pushes.next().await.is_some() {} }, pass_back).await;
        for copy in copies.hopeless() {
            upstream.send_reply(StorageReply::Missing(copy));
        }
    }
}

/// Takes all bytes and only gives them to the next peer, if there is one.
async fn only_feed(
    upstream: &mut Stream,
    mut left: u64,
    feed: Option<Sender<Passed>>,
) -> Result<(), StreamError> {
    while left > 0 {
        let (bytes, sound) = upstream.piece(PIECE_TIMEOUT).await?;
        left = left.saturating_sub(bytes);
        if let Some(next) = &feed {
            next.send(Passed::Piece { bytes, sound });
        }
    }
    Ok(())
}

/// A disk's failure, as a reason that a copy is missing.
pub(super) fn disk_reason(error: DiskError) -> MissingReason {
    MissingReason::Disk(error.to_string())
}

/// How long somebody else's transfer of the same object is waited for.
const RECEIVING_WAIT: Duration = Duration::from_secs(60);
const RECEIVING_PAUSE: Duration = Duration::from_millis(50);
/// How long one piece may take to come.
pub(super) const PIECE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a store waits for this peer to come into its ring.
const ENTRANCE_WAIT: Duration = Duration::from_secs(3);
