//! An object on its way in, and on to the next replica at the same time.
//!
//! `A ->[StoreObject] B`, `B ->[Proceed | AlreadyHere] A`, A's bytes, then B's word on every copy as it
//! becomes durable, then `Finished`. B passes each piece on to the next peer of the chain while it
//! writes it. What the chain could not do, the owner does again from its own disk.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::api::PeerEvent;
use super::push::{Feed, LiveFrom, Passed};
use super::shared::{
    BoxFuture, GATHER, STORAGE_TIMEOUT, Shared, disk_reason, finished, shortened, spawn_blocking,
};
use super::shares::Party;
use crate::blob::{BlobError, Kind, Receiver};
use crate::chord::PhaseKind;
use crate::id::{ContentId, Position};
use crate::replica::{Copies, NotKept, StoreDuty, store_duty};
use crate::transport::{RequestStream, StreamError};
use crate::wire::limits::{LINKS_PER_OBJECT_MAX, PIECE_BYTES};
use crate::wire::{
    Entry, Fault, Link, Missing, MissingReason, ObjectInfo, Reply, Request, StorageReply, StorageRequest,
    StoreRole, Target,
};

/// Where an object comes from: another peer, or this one itself.
pub(super) enum Upstream {
    /// Over the network.
    Remote(RequestStream),
    /// From a task of this process.
    Local { pieces: mpsc::Receiver<Bytes>, replies: mpsc::Sender<StorageReply> },
}

impl Upstream {
    /// The other peer, if there is one and it is known for certain.
    fn peer(&self) -> Option<Position> {
        match self.party() {
            Party::Peer(peer) => Some(peer),
            Party::Through(_) | Party::Here => None,
        }
    }

    fn party(&self) -> Party {
        match self {
            Upstream::Remote(stream) => Party::of(stream),
            Upstream::Local { .. } => Party::Here,
        }
    }

    async fn reply(&mut self, reply: StorageReply) -> Result<(), StreamError> {
        match self {
            Upstream::Remote(stream) => stream.send_reply(&Reply::Storage(reply)).await,
            Upstream::Local { replies, .. } => replies.send(reply).await.map_err(|_| StreamError::Cancelled),
        }
    }

    /// The next bytes, at most so many; as large a piece as there is.
    async fn piece(&mut self, left: u64) -> Result<Bytes, StreamError> {
        match self {
            Upstream::Remote(stream) => {
                let mut piece = vec![0; left.min(PIECE_BYTES as u64) as usize];
                match stream.fill_within(&mut piece, GATHER).await? {
                    0 => Err(StreamError::Ended),
                    filled => {
                        piece.truncate(filled);
                        Ok(Bytes::from(piece))
                    }
                }
            }
            // A task of this process ends early only when its work is given up.
            Upstream::Local { pieces, .. } => pieces.recv().await.ok_or(StreamError::Cancelled),
        }
    }

    async fn finish(self) {
        if let Upstream::Remote(stream) = self {
            // Whoever asked has had all answers, or is gone.
            let _ = stream.finish().await;
        }
    }
}

impl Shared {
    /// Keeps an object as its owner or as a replica, and passes it on.
    pub(super) async fn accept_object(
        self: &Arc<Self>,
        mut upstream: Upstream,
        object: ObjectInfo,
        mut links: Vec<Link>,
        role: StoreRole,
    ) {
        links.truncate(LINKS_PER_OBJECT_MAX);
        // Each transfer has a thread at the disk; there is a limit to both.
        let Some(_slot) = self.transfers_in.slot(upstream.party(), ENTRANCE_WAIT).await else {
            let refusal = StorageReply::Refused("too many transfers at the moment".to_owned());
            if upstream.reply(refusal).await.is_ok() {
                upstream.finish().await;
            }
            return;
        };
        let _arrival = self.arrivals.begin(object.content);
        // A peer that is just coming into the ring is worth a moment.
        self.view_until(ENTRANCE_WAIT, |view| view.phase != PhaseKind::Entering).await;
        let done = match store_duty(&self.view(), self.copies(), &object, role) {
            Ok(duty) => self.accept_and_pass_on(&mut upstream, object, links, duty).await,
            Err(why @ NotKept::TooLong { .. }) => {
                upstream.reply(self.own_word(&Err(MissingReason::Final(why.to_string())))).await
            }
            Err(why) => upstream.reply(why.into()).await,
        };
        match done {
            Ok(()) => upstream.finish().await,
            Err(error) => tracing::debug!(content = %object.content, %error, "an object did not come whole"),
        }
    }

    /// As [`Shared::accept_object`], of a size that is known: accepting passes on, and passing on may accept.
    pub(super) fn accept_local(
        self: Arc<Self>,
        upstream: Upstream,
        object: ObjectInfo,
        links: Vec<Link>,
        role: StoreRole,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.accept_object(upstream, object, links, role).await })
    }

    async fn accept_and_pass_on(
        self: &Arc<Self>,
        upstream: &mut Upstream,
        object: ObjectInfo,
        links: Vec<Link>,
        duty: StoreDuty,
    ) -> Result<(), StreamError> {
        let (chain, owner) = (&duty.chain, duty.owner);
        let (word, words) = mpsc::channel(WORDS_MAX);
        let copied = match self.receiver_for(upstream, object).await? {
            Ok(Some(receiver)) => {
                let offset = receiver.offset();
                upstream.reply(StorageReply::Proceed { offset }).await?;
                let begin = LiveFrom::Here(offset);
                let feed = self.pass_on_live(object, links.clone(), chain.clone(), begin, word.clone());
                let copied = self.write_and_feed(upstream, receiver, &links, object, owner, feed).await?;
                if copied.is_ok() {
                    self.tell(PeerEvent::Copied {
                        content: object.content,
                        to: self.named(&self.position()),
                    });
                }
                copied
            }
            Ok(None) if !self.is_the_same(object).await => {
                self.blame_client(upstream, owner, Fault::BadOutboard);
                let why = "the length or the outboard is not the one of these bytes".to_owned();
                return upstream.reply(self.own_word(&Err(MissingReason::Final(why)))).await;
            }
            Ok(None) => {
                upstream.reply(StorageReply::AlreadyHere).await?;
                self.link_again(object, &links).await;
                if !owner {
                    self.pass_on_from_disk(object, links.clone(), chain.clone(), word.clone());
                }
                Ok(())
            }
            Err(error) => {
                let reason = disk_reason(&error);
                self.hopeless.refused(&object, &reason);
                if !owner {
                    // The sender gives the bytes to the next one itself.
                    return upstream.reply(self.own_word(&Err(reason))).await;
                }
                self.only_pass_on(upstream, object, links.clone(), chain.clone(), word.clone()).await?;
                Err(reason)
            }
        };
        drop(word);
        self.tell_of_copies(upstream, object, links, &duty, copied, words).await
    }

    /// Says one word on each copy, this peer's own first. As the owner, makes those that the chain did not.
    async fn tell_of_copies(
        self: &Arc<Self>,
        upstream: &mut Upstream,
        object: ObjectInfo,
        links: Vec<Link>,
        duty: &StoreDuty,
        copied: Result<(), MissingReason>,
        mut words: mpsc::Receiver<StorageReply>,
    ) -> Result<(), StreamError> {
        match &copied {
            Ok(()) => {
                self.hopeless.came(&object.content);
                self.notices.came(&object.content, upstream.peer().map(|peer| self.named(&peer)));
            }
            Err(reason) => self.hopeless.refused(&object, reason),
        }
        if copied.is_ok() && duty.has_come_back(&self.view(), &object.content.key()) {
            self.repair_wanted.notify_one();
        }
        let mut copies = Copies::default();
        let own = self.own_word(&copied);
        copies.hear(own.clone());
        upstream.reply(own).await?;
        while let Some(reply) = words.recv().await {
            copies.hear(reply.clone());
            if let StorageReply::Durable { peer } = &reply {
                self.note_copy(*peer, object.content);
            }
            if duty.passes_back(&reply) {
                upstream.reply(reply).await?;
            }
        }
        if duty.owner && copied.is_ok() {
            self.complete_copies(upstream, object, links, &copies).await?;
        } else if duty.owner {
            // Without the bytes nothing more can be done for those that the chain did not reach.
            for copy in copies.missing().into_iter().filter(|copy| copy.peer != self.position()) {
                upstream.reply(StorageReply::Missing(copy)).await?;
            }
        }
        upstream.reply(StorageReply::Finished).await
    }

    /// What this peer says of its own copy.
    fn own_word(&self, copied: &Result<(), MissingReason>) -> StorageReply {
        let peer = self.position();
        match copied {
            Ok(()) => StorageReply::Durable { peer },
            Err(reason) => StorageReply::Missing(Missing { peer, reason: reason.clone() }),
        }
    }

    /// A place to write to, whose first bytes may be there from an earlier try; `None` when the object is
    /// here already. Waits, not for ever, while somebody else sends it.
    pub(super) async fn receiver(
        self: &Arc<Self>,
        object: ObjectInfo,
        wait: Duration,
    ) -> Result<Option<Receiver>, BlobError> {
        let deadline = Instant::now() + wait;
        loop {
            match self.blocking(move |store| store.receive(object.content, object.length)).await {
                Ok(receiver) => return Ok(Some(receiver)),
                Err(BlobError::AlreadyHere { .. }) => return Ok(None),
                Err(BlobError::AlreadyReceiving { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(RECEIVING_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Shared::receiver`]. The sender hears how it goes on while this peer hashes what it has of the object already,
    /// and while somebody else sends it; what stands still is not waited for.
    async fn receiver_for(
        self: &Arc<Self>,
        upstream: &mut Upstream,
        object: ObjectInfo,
    ) -> Result<Result<Option<Receiver>, BlobError>, StreamError> {
        let (mut last, mut seen, mut looked, mut hashed) = (Instant::now(), 0, Instant::now(), 0);
        loop {
            let receiving = self.receiver(object, Duration::ZERO);
            let so_far = || self.store.hashed_bytes(&object.content).unwrap_or(0);
            match tell_of_hashing(upstream, so_far, &mut hashed, TELL_RECEIVING, receiving).await? {
                Err(BlobError::AlreadyReceiving { .. }) if last.elapsed() < RECEIVING_WAIT => {}
                received => return Ok(received),
            }
            tokio::time::sleep(RECEIVING_PAUSE).await;
            if looked.elapsed() < TELL_RECEIVING {
                continue;
            }
            looked = Instant::now();
            let part =
                self.blocking(move |store| Ok(store.received_bytes(&object.content))).await.unwrap_or(0);
            if part > seen {
                upstream.reply(StorageReply::Moving { bytes: part - seen }).await?;
                (last, seen) = (Instant::now(), part);
            }
        }
    }

    /// Reads all bytes, writes them, and gives each piece to the next peer. A disk that fails here does
    /// not keep the bytes from the next peer.
    async fn write_and_feed(
        self: &Arc<Self>,
        upstream: &mut Upstream,
        receiver: Receiver,
        links: &[Link],
        object: ObjectInfo,
        owner: bool,
        mut feed: Option<Next>,
    ) -> Result<Result<(), MissingReason>, StreamError> {
        let mut left = object.length - receiver.offset();
        let writer = Writer::begin(receiver);
        let mut came = Ok(());
        while left > 0 {
            let piece = match upstream.piece(left).await {
                Ok(piece) => piece,
                Err(error) => {
                    came = Err(error);
                    break;
                }
            };
            left = left.saturating_sub(piece.len() as u64);
            pass(&mut feed, Passed::Piece(piece.clone())).await;
            // When the disk has failed, the rest is read all the same, so that the sender hears why.
            writer.write(piece).await;
        }
        let given_up = matches!(came, Err(StreamError::Cancelled));
        if given_up {
            pass(&mut feed, Passed::GivenUp).await;
            if let Some(Next { is_left_behind: true, chain, .. }) = &feed {
                self.discard_along(object, chain);
            }
        }
        drop(feed);
        // What came is kept for whoever sends the rest, unless the sender itself does not want it any more.
        let (receiver, written) = writer.end().await;
        if let Err(error) = came {
            if given_up {
                spawn_blocking(move || receiver.discard()).await;
            }
            return Err(error);
        }
        if let Err(error) = written {
            return Ok(Err(disk_reason(&error)));
        }
        let links = links.to_vec();
        match spawn_blocking(move || receiver.finish_linked(Kind::Replica, &links)).await {
            Ok(kept) if kept.outboard == object.outboard => Ok(Ok(())),
            // The bytes are what their address says, and stay; the store that claims otherwise is refused.
            Ok(_) => {
                self.blame_client(upstream, owner, Fault::BadOutboard);
                Ok(Err(MissingReason::Final("the outboard is not the one of these bytes".to_owned())))
            }
            // What lay here of an earlier transfer was wrong, which is no fault of this sender's. It is gone.
            Err(error @ BlobError::Mismatch { resumed: 1.., .. }) => {
                Ok(Err(MissingReason::Refused(shortened(error.to_string()))))
            }
            Err(error @ (BlobError::Mismatch { .. } | BlobError::ChunkMismatch { .. })) => {
                self.blame_client(upstream, owner, Fault::CorruptBytes);
                Ok(Err(MissingReason::Final(shortened(error.to_string()))))
            }
            Err(error) => Ok(Err(disk_reason(&error))),
        }
    }

    /// An owner that takes no bytes itself: they go through it to the replicas, if one of them takes them. Else they
    /// are not asked for at all.
    async fn only_pass_on(
        self: &Arc<Self>,
        upstream: &mut Upstream,
        object: ObjectInfo,
        links: Vec<Link>,
        chain: Vec<Entry>,
        word: mpsc::Sender<StorageReply>,
    ) -> Result<(), StreamError> {
        let (agreed, offset) = oneshot::channel();
        let feed = self.pass_on_live(object, links, chain, LiveFrom::Wherever(agreed), word);
        let offset = if feed.is_some() { offset.await.unwrap_or(object.length) } else { object.length };
        upstream.reply(StorageReply::Proceed { offset }).await?;
        self.only_feed(upstream, object.length - offset, feed).await
    }

    /// Reads so many bytes and only gives them to the next peer, if there is one.
    async fn only_feed(
        &self,
        upstream: &mut Upstream,
        mut left: u64,
        mut feed: Option<Next>,
    ) -> Result<(), StreamError> {
        // Nobody keeps them here for later.
        if let Some(next) = &mut feed {
            next.patience = Duration::MAX;
        }
        while left > 0 {
            let piece = upstream.piece(left).await?;
            left = left.saturating_sub(piece.len() as u64);
            pass(&mut feed, Passed::Piece(piece)).await;
            if feed.is_none() {
                // They would go nowhere.
                return Err(StreamError::Ended);
            }
        }
        Ok(())
    }

    /// Bytes of a client are its own; those that a peer passes on may be somebody else's lie.
    fn blame_client(&self, upstream: &Upstream, owner: bool, fault: Fault) {
        if let Some(client) = upstream.peer().filter(|_| owner) {
            self.blame(&client, fault);
        }
    }

    /// Whether what is here is what is offered, in length and outboard too.
    async fn is_the_same(self: &Arc<Self>, object: ObjectInfo) -> bool {
        let here = self.blocking(move |store| store.info(&object.content)).await;
        // A disk that cannot tell now is no proof of a lie.
        !matches!(here, Ok(Some(here)) if here != object)
    }

    /// A peer says that its copy is durable.
    fn note_copy(&self, peer: Position, content: ContentId) {
        if let Some(entry) = self.view().alive().find(|entry| entry.position == peer) {
            self.health.hear_copy(entry, content, true);
        }
    }

    async fn link_again(self: &Arc<Self>, object: ObjectInfo, links: &[Link]) {
        let links = links.to_vec();
        let linked = self
            .blocking(move |store| {
                store.promote(&object.content)?;
                links.iter().try_for_each(|link| store.link(link, object.content))
            })
            .await;
        if let Err(error) = linked {
            self.tell(PeerEvent::Warning(error.to_string()));
        }
    }

    /// Passes an object on while it comes in. The channel takes its pieces.
    fn pass_on_live(
        self: &Arc<Self>,
        object: ObjectInfo,
        links: Vec<Link>,
        chain: Vec<Entry>,
        from: LiveFrom,
        word: mpsc::Sender<StorageReply>,
    ) -> Option<Next> {
        let (next, rest) = chain.split_first()?;
        let (next, rest) = (next.clone(), rest.to_vec());
        let (pieces, feed) = mpsc::channel(FEED_PIECES_MAX);
        let (shared, too_slow) = (self.clone(), Arc::new(Notify::new()));
        let live = Feed::Live { from, pieces: feed, too_slow: too_slow.clone() };
        tokio::spawn(async move {
            let role = StoreRole::Replica { chain: rest };
            shared.push(&next, object, links, role, live, &word).await;
        });
        let (begun, waited) = (Instant::now(), Duration::ZERO);
        let patience = SLOW_PATIENCE;
        Some(Next { pieces, chain, begun, patience, waited, is_left_behind: false, too_slow })
    }

    fn pass_on_from_disk(
        self: &Arc<Self>,
        object: ObjectInfo,
        links: Vec<Link>,
        chain: Vec<Entry>,
        word: mpsc::Sender<StorageReply>,
    ) {
        let Some((next, rest)) = chain.split_first() else { return };
        let (next, rest, shared) = (next.clone(), rest.to_vec(), self.clone());
        tokio::spawn(async move {
            let role = StoreRole::Replica { chain: rest };
            shared.push(&next, object, links, role, Feed::Disk, &word).await;
        });
    }

    /// Those that were left behind keep what came for whoever gives them the rest. Nobody will: a transfer that is
    /// begun and given up has them remove it.
    fn discard_along(self: &Arc<Self>, object: ObjectInfo, chain: &[Entry]) {
        for to in chain.iter().filter(|to| to.position != self.position()) {
            let (shared, to) = (self.clone(), to.clone());
            tokio::spawn(async move {
                let role = StoreRole::Replica { chain: Vec::new() };
                let request = StorageRequest::StoreObject { object, links: Vec::new(), role };
                let opened = shared.transport.open(&Target::from(&to), &Request::Storage(request)).await;
                if let Ok(mut stream) = opened {
                    // Whatever it says: dropped after its word, the stream is reset.
                    let _ = stream.read_reply(STORAGE_TIMEOUT).await;
                }
            });
        }
    }

    /// The owner gives the object from its own disk to all replicas that have not got it yet.
    async fn complete_copies(
        self: &Arc<Self>,
        upstream: &mut Upstream,
        object: ObjectInfo,
        links: Vec<Link>,
        copies: &Copies,
    ) -> Result<(), StreamError> {
        let (word, mut words) = mpsc::channel(WORDS_MAX);
        // All at once: one that is silent for long, or still waits for who sent it the object before, does not keep
        // it from the others. They end with this set.
        let mut pushes = JoinSet::new();
        for replica in copies.to_complete(&self.view(), self.copies()) {
            let (shared, links, word) = (self.clone(), links.clone(), word.clone());
            let role = StoreRole::Replica { chain: Vec::new() };
            pushes.spawn(async move { shared.push(&replica, object, links, role, Feed::Disk, &word).await });
        }
        drop(word);
        while let Some(reply) = words.recv().await {
            if let StorageReply::Durable { peer } = reply {
                self.note_copy(peer, object.content);
            }
            upstream.reply(reply).await?;
        }
        for copy in copies.hopeless() {
            upstream.reply(StorageReply::Missing(copy)).await?;
        }
        Ok(())
    }
}

/// Waits until this peer knows what it has of an object, for which it hashes it. Each time that this takes so long the
/// sender hears how many more bytes were hashed.
async fn tell_of_hashing<T>(
    upstream: &mut Upstream,
    so_far: impl Fn() -> u64,
    told: &mut u64,
    each: Duration,
    receiving: impl Future<Output = T>,
) -> Result<T, StreamError> {
    let mut receiving = std::pin::pin!(receiving);
    loop {
        if let Ok(received) = timeout(each, receiving.as_mut()).await {
            return Ok(received);
        }
        let hashed = so_far();
        if hashed > *told {
            upstream.reply(StorageReply::Moving { bytes: hashed - *told }).await?;
            *told = hashed;
        }
    }
}

/// A receiver on a thread of its own: pieces go in through a bounded queue.
pub(super) struct Writer {
    pieces: mpsc::Sender<Bytes>,
    thread: tokio::task::JoinHandle<(Receiver, Result<(), BlobError>)>,
}

impl Writer {
    pub(super) fn begin(mut receiver: Receiver) -> Writer {
        let (pieces, mut queue) = mpsc::channel::<Bytes>(FEED_PIECES_MAX);
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(piece) = queue.blocking_recv() {
                if let Err(error) = receiver.write(&piece) {
                    return (receiver, Err(error));
                }
            }
            (receiver, Ok(()))
        });
        Writer { pieces, thread }
    }

    /// Queues a piece. False when the disk or the check has failed; [`Writer::end`] says how.
    pub(super) async fn write(&self, piece: Bytes) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// Waits until all that was queued is written.
    pub(super) async fn end(self) -> (Receiver, Result<(), BlobError>) {
        drop(self.pieces);
        finished(self.thread).await
    }
}

/// The next peer of the chain, while it is given what comes in.
struct Next {
    pieces: mpsc::Sender<Passed>,
    /// It, and those behind it.
    chain: Vec<Entry>,
    begun: Instant,
    /// How long it may keep a transfer waiting, beside half of the time that this takes.
    patience: Duration,
    /// How long this peer, and the sender, have waited for it so far.
    waited: Duration,
    /// It was too slow: it is given the rest later, from a disk.
    is_left_behind: bool,
    too_slow: Arc<Notify>,
}

impl Next {
    /// Gives it a piece, unless it takes no more. One at less than about half the sender's pace is left behind.
    async fn pass(&mut self, piece: Passed) {
        if self.is_left_behind {
            return;
        }
        let (begun, patience) = (Instant::now(), self.patience.saturating_add(self.begun.elapsed() / 2));
        match timeout(patience.saturating_sub(self.waited), self.pieces.send(piece)).await {
            // One that takes no more has said why.
            Ok(_) => self.waited += begun.elapsed(),
            Err(_) => {
                self.too_slow.notify_one();
                self.is_left_behind = true;
            }
        }
    }
}

/// Gives a piece to the next peer, if there is one.
async fn pass(feed: &mut Option<Next>, piece: Passed) {
    if let Some(next) = feed {
        next.pass(piece).await;
    }
}

/// Pieces that wait for the disk, or for the next peer: 2 MiB each.
const FEED_PIECES_MAX: usize = 8;
/// Words on copies that wait to be passed on.
const WORDS_MAX: usize = 32;
/// How long the next peer of a chain may keep a transfer waiting, in all.
const SLOW_PATIENCE: Duration = Duration::from_secs(2);
/// How often is told how far a check of what is here, or somebody else's transfer, is.
const TELL_RECEIVING: Duration = Duration::from_secs(1);
/// How long somebody else's transfer of the same object is waited for, since its last byte.
const RECEIVING_WAIT: Duration = Duration::from_secs(60);
const RECEIVING_PAUSE: Duration = Duration::from_millis(50);
/// How long a store waits for this peer to come into its ring.
const ENTRANCE_WAIT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Reported by reading: a store of 5 GB that its peers had already said "does not answer", since they hashed their
    /// copies without a word.
    #[tokio::test]
    async fn a_sender_hears_while_a_copy_is_hashed() {
        let each = Duration::from_millis(5);
        let (_, pieces) = mpsc::channel(1);
        let (replies, mut words) = mpsc::channel(WORDS_MAX);
        let mut upstream = Upstream::Local { pieces, replies };
        let (hashed, mut told) = (AtomicU64::new(0), 0);
        let (so_far, bytes) = (|| hashed.load(Ordering::Relaxed), [3, 3, 3, 10]);
        let hashing = async {
            for more in bytes {
                hashed.store(more, Ordering::Relaxed);
                tokio::time::sleep(each * 4).await;
            }
        };
        tell_of_hashing(&mut upstream, so_far, &mut told, each, hashing).await.unwrap();
        drop(upstream);
        let mut heard = Vec::new();
        while let Some(StorageReply::Moving { bytes }) = words.recv().await {
            heard.push(bytes);
        }
        assert_eq!(heard, [3, 7], "nothing while it stands still");
    }
}
