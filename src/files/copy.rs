//! Receiving an object, and passing it on to the next replica at the same time.
//!
//! `A ->[StoreObject] B`, `B ->[Proceed | AlreadyHere] A`, A's bytes, then B's report on every copy as it becomes
//! durable, then `Finished`. B passes each piece on to the next peer of the chain while it writes it. Copies that the
//! chain could not make, the owner makes from its own disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

use super::bytes::{
    Answering as _, Asking as _, DiskError as _, DiskFault, Incoming as _, KeptAs, Piece as _, StreamError,
};
use super::env::{Cause, Env};
use super::push::{Feed, Given, LiveFrom, Passed, push};
use super::records::STORAGE_TIMEOUT;
use super::shares::Party;
use super::wait::{Either, Together, race, timeout};
use crate::chord::PhaseKind;
use crate::id::{ContentId, Position};
use crate::outboard::Chain;
use crate::replica::{Copies, NotKept, StoreDuty, TransferId, store_duty};
use crate::time::Moment;
use crate::wire::limits::{LINKS_PER_OBJECT_MAX, REASON_BYTES_MAX};
use crate::wire::{
    Entry, Fault, Link, Missing, MissingReason, ObjectInfo, StorageReply, StorageRequest, StoreRole,
    shortened,
};

/// The sender of an object: another peer, or this one itself.
pub enum Upstream<E: Env> {
    /// Another peer, over the network.
    Remote(E::Answering),
    /// A task of this process.
    Local {
        /// The bytes of the object.
        pieces: mpsc::Receiver<E::Piece>,
        /// The reports on copies.
        replies: mpsc::Sender<StorageReply>,
    },
}

impl<E: Env> Upstream<E> {
    fn party(&self) -> Party {
        match self {
            Upstream::Remote(stream) => stream.party(),
            Upstream::Local { .. } => Party::Here,
        }
    }

    async fn reply(&mut self, reply: StorageReply) -> Result<(), StreamError> {
        match self {
            Upstream::Remote(stream) => stream.reply(reply).await,
            Upstream::Local { replies, .. } => replies.send(reply).await.map_err(|_| StreamError::Cancelled),
        }
    }

    /// The next bytes, at most `left`; as large a piece as there is.
    async fn piece(&mut self, left: u64) -> Result<E::Piece, StreamError> {
        match self {
            Upstream::Remote(stream) => stream.piece(left).await,
            // A task of this process ends early only when its work is given up.
            Upstream::Local { pieces, .. } => pieces.recv().await.ok_or(StreamError::Cancelled),
        }
    }

    async fn finish(self) {
        if let Upstream::Remote(stream) = self {
            // The asking side has had all answers, or is gone.
            let _ = stream.finish().await;
        }
    }
}

/// A transfer that is under way; it ends when this is dropped.
pub struct Arrival<E: Env> {
    env: Arc<E>,
    content: ContentId,
    id: TransferId,
}

impl<E: Env> Arrival<E> {
    /// Notes that a transfer of this object begins; `giver` is the peer that gives a copy of its own.
    pub fn begin(env: &Arc<E>, content: ContentId, giver: Option<Position>) -> Arrival<E> {
        let id = env.with_arrivals(|arrivals| arrivals.begin(content, giver));
        Arrival { env: env.clone(), content, id }
    }

    /// Notes that the bytes of this transfer are taken from now on.
    fn take(&self) {
        let now = self.env.now();
        self.env.with_arrivals(|arrivals| arrivals.take(now, &self.content, self.id));
    }

    fn came(&self, bytes: u64) {
        let now = self.env.now();
        self.env.with_arrivals(|arrivals| arrivals.came(now, &self.content, self.id, bytes));
    }

    /// Notes that this transfer waits for another one of the same object.
    fn wait(&self) {
        let now = self.env.now();
        self.env.with_arrivals(|arrivals| arrivals.wait(now, &self.content, self.id));
    }

    /// Waits until a faster peer is to go on with this transfer.
    async fn gives_way(&self) {
        while !self.env.with_arrivals(|arrivals| arrivals.gives_way(&self.content, self.id)) {
            self.env.sleep_until(self.env.now() + GIVE_WAY_LOOK).await;
        }
    }
}

impl<E: Env> Drop for Arrival<E> {
    fn drop(&mut self) {
        let now = self.env.now();
        self.env.with_arrivals(|arrivals| arrivals.end(now, &self.content, self.id));
    }
}

/// Handles `StoreObject`: keeps an object as its owner or as a replica, and passes it on.
pub async fn accept_object<E: Env>(
    env: &Arc<E>,
    mut upstream: Upstream<E>,
    object: ObjectInfo,
    mut links: Vec<Link>,
    role: StoreRole,
) {
    links.truncate(LINKS_PER_OBJECT_MAX);
    // Each transfer has a thread at the disk; there is a limit to both.
    let Some(_slot) = env.transfers().incoming.slot(env, upstream.party(), ENTRANCE_WAIT).await else {
        let refusal = StorageReply::Refused("too many transfers at the moment".to_owned());
        if upstream.reply(refusal).await.is_ok() {
            upstream.finish().await;
        }
        return;
    };
    let giver = match &role {
        StoreRole::Replica { chain } if chain.is_empty() => upstream.party().certain(),
        StoreRole::Replica { .. } | StoreRole::Owner => None,
    };
    let arrival = Arrival::begin(env, object.content, giver);
    // A peer that is just entering the ring is worth a short wait.
    env.view_until(ENTRANCE_WAIT, |view| view.phase != PhaseKind::Entering).await;
    let done = match store_duty(&env.view(), env.copies(), &object, role) {
        Ok(duty) => {
            let duty = duty.with_giver_last(upstream.party().certain());
            accept_and_pass_on(env, &mut upstream, &arrival, (object, links), duty).await
        }
        Err(why @ NotKept::TooLong { .. }) => {
            upstream.reply(own_word(env, &Err(MissingReason::Final(why.to_string())))).await
        }
        Err(why) => upstream.reply(why.into()).await,
    };
    match done {
        Ok(()) => upstream.finish().await,
        Err(error) => tracing::debug!(content = %object.content, %error, "an object did not come whole"),
    }
}

async fn accept_and_pass_on<E: Env>(
    env: &Arc<E>,
    upstream: &mut Upstream<E>,
    arrival: &Arrival<E>,
    (object, links): (ObjectInfo, Vec<Link>),
    duty: StoreDuty,
) -> Result<(), StreamError> {
    let (chain, given) = (&duty.chain, Given { object, links, cause: Cause::Store });
    let (word, words) = mpsc::channel(WORDS_MAX);
    let copied = match receive_for(env, upstream, arrival, object).await? {
        Ok(Some(incoming)) => {
            let offset = incoming.offset();
            upstream.reply(StorageReply::Proceed { offset }).await?;
            let feed = pass_on_live(env, &given, chain.clone(), LiveFrom::Here(offset), word.clone());
            arrival.take();
            let copied = write_and_feed(upstream, arrival, incoming, &given, duty.owner, feed).await?;
            if copied.is_ok() {
                env.copy_came(&object.content, upstream.party().certain(), true);
            }
            copied
        }
        Ok(None) if !is_the_same(env, object).await => {
            blame_client(env, upstream, duty.owner, Fault::BadOutboard);
            let why = "the length or the outboard is not the one of these bytes".to_owned();
            return upstream.reply(own_word(env, &Err(MissingReason::Final(why)))).await;
        }
        Ok(None) => {
            upstream.reply(StorageReply::AlreadyHere).await?;
            let kept = match env.keep_linked(object.content, given.links.clone()).await {
                Ok(true) => Ok(()),
                // It was here a moment ago; the sender may try again.
                Ok(false) => Err(MissingReason::NotYet),
                Err(error) => Err(error.missing_reason()),
            };
            if !duty.owner {
                pass_on(env, &given, chain, Feed::Disk, word.clone());
            }
            if kept.is_ok() {
                env.copy_came(&object.content, upstream.party().certain(), false);
            }
            kept
        }
        Err(error) => {
            let reason = error.missing_reason();
            // Said now: the sender may be gone before the end, where an owner says it again.
            note_refused(env, &object, &reason);
            if !duty.owner {
                // The sender gives the bytes to the next peer itself.
                return upstream.reply(own_word(env, &Err(reason))).await;
            }
            only_pass_on(env, upstream, &given, chain.clone(), word.clone()).await?;
            Err(reason)
        }
    };
    drop(word);
    tell_of_copies(env, upstream, &given, &duty, copied, words).await
}

/// Reports on each copy, this peer's own first. The owner then makes the copies that the chain did not.
async fn tell_of_copies<E: Env>(
    env: &Arc<E>,
    upstream: &mut Upstream<E>,
    given: &Given,
    duty: &StoreDuty,
    copied: Result<(), MissingReason>,
    mut words: mpsc::Receiver<StorageReply>,
) -> Result<(), StreamError> {
    let object = given.object;
    match &copied {
        Ok(()) if duty.has_come_back(&env.view(), &object.content.key()) => env.repair_wanted().notify_one(),
        Ok(()) => {}
        Err(reason) => note_refused(env, &object, reason),
    }
    let mut copies = Copies::default();
    let own = own_word(env, &copied);
    copies.hear(own.clone());
    upstream.reply(own).await?;
    while let Some(reply) = words.recv().await {
        copies.hear(reply.clone());
        if let StorageReply::Durable { peer } = &reply {
            env.copy_is_at(peer, object.content);
        }
        if duty.passes_back(&reply) {
            upstream.reply(reply).await?;
        }
    }
    if duty.owner && copied.is_ok() {
        complete_copies(env, upstream, given, &copies).await?;
    } else if duty.owner {
        // Without the bytes, nothing more can be done for the peers that the chain did not reach.
        let me = env.view().me.position;
        for copy in copies.missing().into_iter().filter(|copy| copy.peer != me) {
            upstream.reply(StorageReply::Missing(copy)).await?;
        }
    }
    upstream.reply(StorageReply::Finished).await
}

/// Notes that this peer did not take an object.
fn note_refused<E: Env>(env: &Arc<E>, object: &ObjectInfo, reason: &MissingReason) {
    env.copy_refused(object, reason);
    if matches!(reason, MissingReason::NoRoom { .. }) {
        env.room_word().refused(object.length);
    }
}

/// The report on this peer's own copy.
fn own_word<E: Env>(env: &Arc<E>, copied: &Result<(), MissingReason>) -> StorageReply {
    let peer = env.view().me.position;
    match copied {
        Ok(()) => StorageReply::Durable { peer },
        Err(reason) => StorageReply::Missing(Missing { peer, reason: reason.clone() }),
    }
}

/// A place to write to, whose first bytes may be there from an earlier try; `None` if the object is here already. While
/// another peer sends it, waits at most `wait`.
///
/// # Errors
/// The reason why the disk does not take it.
pub async fn receive<E: Env>(
    env: &Arc<E>,
    object: ObjectInfo,
    wait: Duration,
) -> Result<Option<E::Incoming>, E::DiskError> {
    once_free(env, wait, || env.receive(object)).await
}

/// Like [`receive`], for chunks in any order.
///
/// # Errors
/// The reason why the disk does not take them.
pub async fn receive_chunks<E: Env>(
    env: &Arc<E>,
    object: ObjectInfo,
    chain: Chain,
    wait: Duration,
) -> Result<Option<E::Chunks>, E::DiskError> {
    once_free(env, wait, || env.receive_chunks(object, chain.clone())).await
}

/// Begins to receive an object once no other transfer has it; `None` if it is here.
async fn once_free<E: Env, T, F: Future<Output = Result<T, E::DiskError>> + Send>(
    env: &Arc<E>,
    wait: Duration,
    begin: impl Fn() -> F,
) -> Result<Option<T>, E::DiskError> {
    let deadline = env.now() + wait;
    loop {
        match begin().await {
            Ok(incoming) => return Ok(Some(incoming)),
            Err(error) => match error.fault() {
                DiskFault::AlreadyHere => return Ok(None),
                DiskFault::AlreadyReceiving if env.now() < deadline => {
                    env.sleep_until(env.now() + RECEIVING_PAUSE).await;
                }
                _ => return Err(error),
            },
        }
    }
}

/// Like [`receive`]. The sender hears of the progress while this peer hashes the bytes that it has already, and while
/// another peer sends the object. This peer does not wait for a transfer that stands still.
async fn receive_for<E: Env>(
    env: &Arc<E>,
    upstream: &mut Upstream<E>,
    arrival: &Arrival<E>,
    object: ObjectInfo,
) -> Result<Result<Option<E::Incoming>, E::DiskError>, StreamError> {
    let (mut last, mut seen, mut looked, mut hashed) = (env.now(), 0, env.now(), 0);
    loop {
        let receiving = receive(env, object, Duration::ZERO);
        match tell_of_hashing(env, upstream, &object.content, &mut hashed, receiving).await? {
            Err(error)
                if error.fault() == DiskFault::AlreadyReceiving && env.now().since(last) < RECEIVING_WAIT => {
            }
            received => return Ok(received),
        }
        arrival.wait();
        env.sleep_until(env.now() + RECEIVING_PAUSE).await;
        if env.now().since(looked) < TELL_RECEIVING {
            continue;
        }
        looked = env.now();
        let part = env.received_bytes(object.content).await;
        if part > seen {
            upstream.reply(StorageReply::Moving { bytes: part - seen }).await?;
            (last, seen) = (env.now(), part);
        }
    }
}

/// Waits until this peer has hashed the bytes that it has of an object. Once a second, tells the sender how many more
/// bytes were hashed.
async fn tell_of_hashing<E: Env, T>(
    env: &Arc<E>,
    upstream: &mut Upstream<E>,
    content: &ContentId,
    told: &mut u64,
    receiving: impl Future<Output = T> + Send,
) -> Result<T, StreamError> {
    let mut receiving = std::pin::pin!(receiving);
    loop {
        if let Some(received) = timeout(env, TELL_RECEIVING, receiving.as_mut()).await {
            return Ok(received);
        }
        let hashed = env.hashed_bytes(content);
        if hashed > *told {
            upstream.reply(StorageReply::Moving { bytes: hashed - *told }).await?;
            *told = hashed;
        }
    }
}

/// Reads all bytes, writes them, and gives each piece to the next peer. A disk that fails here does not keep the bytes
/// from the next peer.
async fn write_and_feed<E: Env>(
    upstream: &mut Upstream<E>,
    arrival: &Arrival<E>,
    mut incoming: E::Incoming,
    given: &Given,
    owner: bool,
    mut feed: Option<Next<E>>,
) -> Result<Result<(), MissingReason>, StreamError> {
    let (env, object) = (&arrival.env, given.object);
    let is_remote = matches!(upstream, Upstream::Remote(_));
    let mut left = object.length - incoming.offset();
    let mut came = Ok(());
    let mut gives_way = std::pin::pin!(arrival.gives_way());
    while left > 0 {
        let piece = match race(upstream.piece(left), gives_way.as_mut()).await {
            Either::Left(Ok(piece)) => piece,
            Either::Left(Err(error)) => {
                came = Err(error);
                break;
            }
            Either::Right(()) => {
                came = Err(StreamError::GaveWay);
                break;
            }
        };
        left = left.saturating_sub(piece.length());
        meter(env, is_remote, &piece).await;
        arrival.came(piece.length());
        pass(env, &mut feed, Passed::Piece(piece.clone())).await;
        // When the disk has failed, the rest is still read, so that the sender hears why.
        incoming.write(piece).await;
    }
    let given_up = matches!(came, Err(StreamError::Cancelled));
    if given_up {
        pass(env, &mut feed, Passed::GivenUp).await;
        if let Some(Next { is_left_behind: true, chain, .. }) = &feed {
            discard_along(env, object, chain);
        }
    }
    drop(feed);
    // The bytes so far are kept for the sender of the rest, unless this sender has cancelled the transfer.
    let written = incoming.settle().await;
    if let Err(error) = came {
        if given_up {
            incoming.discard().await;
        }
        return Err(error);
    }
    if let Err(error) = written {
        return Ok(Err(error.missing_reason()));
    }
    let finished = incoming.finish(KeptAs::Replica, given.links.clone()).await;
    if finished.is_ok() {
        env.with_agreements(|agreements| agreements.came(object.content));
    }
    let error = match finished {
        Ok(kept) if kept.outboard == object.outboard => return Ok(Ok(())),
        // The bytes match their content id, and stay; the store that claims another outboard is refused.
        Ok(_) => {
            blame_client(env, upstream, owner, Fault::BadOutboard);
            return Ok(Err(MissingReason::Final("the outboard is not the one of these bytes".to_owned())));
        }
        Err(error) => error,
    };
    Ok(Err(match error.fault() {
        // Bytes of an earlier transfer were wrong, which is no fault of this sender's. They are gone.
        DiskFault::Mismatch { resumed: true } => MissingReason::Refused(in_short(&error)),
        DiskFault::Mismatch { resumed: false } | DiskFault::WrongChunk => {
            blame_client(env, upstream, owner, Fault::CorruptBytes);
            MissingReason::Final(in_short(&error))
        }
        _ => error.missing_reason(),
    }))
}

/// Keeps to the limit of what other peers may send here; a task of this peer itself has none.
async fn meter<E: Env>(env: &Arc<E>, is_remote: bool, piece: &E::Piece) {
    if is_remote {
        env.transfers().download.take(env, piece.length()).await;
    }
}

fn in_short(error: &impl std::error::Error) -> String {
    shortened(error.to_string(), REASON_BYTES_MAX)
}

/// Serves as an owner that takes no bytes itself: they go through it to the replicas, if one of them takes them.
/// Otherwise it asks for none.
async fn only_pass_on<E: Env>(
    env: &Arc<E>,
    upstream: &mut Upstream<E>,
    given: &Given,
    chain: Vec<Entry>,
    word: mpsc::Sender<StorageReply>,
) -> Result<(), StreamError> {
    let length = given.object.length;
    let (agreed, offset) = oneshot::channel();
    let feed = pass_on_live(env, given, chain, LiveFrom::Wherever(agreed), word);
    let offset = if feed.is_some() { offset.await.unwrap_or(length) } else { length };
    upstream.reply(StorageReply::Proceed { offset }).await?;
    only_feed(env, upstream, length - offset, feed).await
}

/// Reads `left` bytes and only gives them to the next peer, if there is one.
async fn only_feed<E: Env>(
    env: &Arc<E>,
    upstream: &mut Upstream<E>,
    mut left: u64,
    mut feed: Option<Next<E>>,
) -> Result<(), StreamError> {
    let is_remote = matches!(upstream, Upstream::Remote(_));
    // No peer here keeps the bytes for later.
    if let Some(next) = &mut feed {
        next.patience = Duration::MAX;
    }
    while left > 0 {
        let piece = upstream.piece(left).await?;
        left = left.saturating_sub(piece.length());
        meter(env, is_remote, &piece).await;
        pass(env, &mut feed, Passed::Piece(piece)).await;
        if feed.is_none() {
            // There is no peer left to take them.
            return Err(StreamError::Ended);
        }
    }
    Ok(())
}

/// Blames a client for its bytes; bytes that a peer passes on may be another one's lie.
fn blame_client<E: Env>(env: &Arc<E>, upstream: &Upstream<E>, owner: bool, fault: Fault) {
    if let Some(client) = upstream.party().certain().filter(|_| owner) {
        env.blame(&client, fault);
    }
}

/// Whether the object that is here is the offered one, in length and outboard too.
async fn is_the_same<E: Env>(env: &Arc<E>, object: ObjectInfo) -> bool {
    // A disk that cannot tell now does not prove a lie.
    !matches!(env.info(object.content).await, Ok(Some(here)) if here != object)
}

/// Passes an object on while it comes in. The channel of the result takes its pieces.
fn pass_on_live<E: Env>(
    env: &Arc<E>,
    given: &Given,
    chain: Vec<Entry>,
    from: LiveFrom,
    word: mpsc::Sender<StorageReply>,
) -> Option<Next<E>> {
    let (pieces, feed) = mpsc::channel(FEED_PIECES_MAX);
    let too_slow = Arc::new(Notify::new());
    let live = Feed::Live { from, pieces: feed, too_slow: too_slow.clone() };
    if !pass_on(env, given, &chain, live, word) {
        return None;
    }
    let (begun, waited, patience) = (env.now(), Duration::ZERO, SLOW_PATIENCE);
    Some(Next { pieces, chain, begun, patience, waited, is_left_behind: false, too_slow })
}

/// Gives an object to the first peer of a chain, with the rest of the chain. Returns whether there is one.
fn pass_on<E: Env>(
    env: &Arc<E>,
    given: &Given,
    chain: &[Entry],
    feed: Feed<E>,
    word: mpsc::Sender<StorageReply>,
) -> bool {
    let Some((next, rest)) = chain.split_first() else { return false };
    let (passer, given, next, rest) = (env.clone(), given.clone(), next.clone(), rest.to_vec());
    env.spawn(async move {
        push(&passer, &next, &given, StoreRole::Replica { chain: rest }, feed, &word).await;
    });
    true
}

/// Has the peers that were left behind remove their bytes. They keep them for a sender of the rest, which will not
/// come: a transfer that is begun and cancelled makes them remove these.
fn discard_along<E: Env>(env: &Arc<E>, object: ObjectInfo, chain: &[Entry]) {
    let me = env.view().me.position;
    for to in chain.iter().filter(|to| to.position != me) {
        let (teller, to) = (env.clone(), to.clone());
        env.spawn(async move {
            let role = StoreRole::Replica { chain: Vec::new() };
            let request = StorageRequest::StoreObject { object, links: Vec::new(), role };
            if let Ok(mut stream) = teller.open(&to, request).await {
                // Whatever the answer: dropping the stream after it resets the stream.
                let _ = stream.reply(STORAGE_TIMEOUT).await;
            }
        });
    }
}

/// Gives the object from the owner's own disk to all replicas that do not have it yet.
async fn complete_copies<E: Env>(
    env: &Arc<E>,
    upstream: &mut Upstream<E>,
    given: &Given,
    copies: &Copies,
) -> Result<(), StreamError> {
    let (word, mut words) = mpsc::channel(WORDS_MAX);
    // All pushes run at once: a replica that is silent for long, or still waits for its earlier sender, does not delay
    // the copies of the others. The pushes end with this set.
    let mut pushes = Together::new();
    for replica in copies.to_complete(&env.view(), env.copies()) {
        let word = word.clone();
        let role = StoreRole::Replica { chain: Vec::new() };
        pushes.add(async move { push(env, &replica, given, role, Feed::Disk, &word).await });
    }
    drop(word);
    let tell = async {
        while let Some(reply) = words.recv().await {
            if let StorageReply::Durable { peer } = &reply {
                env.copy_is_at(peer, given.object.content);
            }
            upstream.reply(reply).await?;
        }
        Ok::<(), StreamError>(())
    };
    let push_all = async {
        while pushes.next().await.is_some() {}
        // The last reports are told all the same.
        std::future::pending::<()>().await;
    };
    match race(tell, push_all).await {
        Either::Left(told) => told?,
        Either::Right(()) => {}
    }
    for copy in copies.hopeless() {
        if copy.reason.is_of_its_disk() && env.no_room().refused(env.now(), given.object.content, copy.peer) {
            env.repair_wanted().notify_one();
        }
        upstream.reply(StorageReply::Missing(copy)).await?;
    }
    Ok(())
}

/// The next peer of the chain, while it is given the pieces that come in.
struct Next<E: Env> {
    pieces: mpsc::Sender<Passed<E::Piece>>,
    /// That peer, and the peers behind it.
    chain: Vec<Entry>,
    begun: Moment,
    /// The time that it may keep a transfer waiting, beside half of the time that the transfer takes.
    patience: Duration,
    /// The time that this peer, and the sender, have waited for it so far.
    waited: Duration,
    /// Whether it was too slow: then it is given the rest later, from a disk.
    is_left_behind: bool,
    too_slow: Arc<Notify>,
}

impl<E: Env> Next<E> {
    /// Gives it a piece, unless it takes no more. A peer at less than about half the sender's pace is left behind.
    async fn pass(&mut self, env: &Arc<E>, piece: Passed<E::Piece>) {
        if self.is_left_behind {
            return;
        }
        let begun = env.now();
        let patience = self.patience.saturating_add(begun.since(self.begun) / 2);
        match timeout(env, patience.saturating_sub(self.waited), self.pieces.send(piece)).await {
            // A peer that takes no more has said why.
            Some(_) => self.waited += env.now().since(begun),
            None => {
                self.too_slow.notify_one();
                self.is_left_behind = true;
            }
        }
    }
}

/// Gives a piece to the next peer, if there is one.
async fn pass<E: Env>(env: &Arc<E>, feed: &mut Option<Next<E>>, piece: Passed<E::Piece>) {
    if let Some(next) = feed {
        next.pass(env, piece).await;
    }
}

/// The most pieces that wait for the next peer: 2 MiB each way, if a piece is as large as the network's.
const FEED_PIECES_MAX: usize = 8;
/// The most reports on copies that wait to be passed on.
const WORDS_MAX: usize = 32;
/// The time that the next peer of a chain may keep a transfer waiting, in all.
const SLOW_PATIENCE: Duration = Duration::from_secs(2);
/// The time between two looks whether a transfer is to give way.
const GIVE_WAY_LOOK: Duration = Duration::from_millis(250);
/// The time between two reports on the hashing of local bytes, or on another peer's transfer.
const TELL_RECEIVING: Duration = Duration::from_secs(1);
/// The time for which another peer's transfer of the same object is waited for, since its last byte.
const RECEIVING_WAIT: Duration = Duration::from_secs(60);
const RECEIVING_PAUSE: Duration = Duration::from_millis(50);
/// The time that a store waits for this peer to enter its ring.
const ENTRANCE_WAIT: Duration = Duration::from_secs(3);
