//! The world of the flows.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::bytes::{Answering, Asking, DiskError, GiveError, Incoming, Piece, Reader};
use super::laws::Laws;
use super::shares::Transfers;
use crate::chord::View;
use crate::id::{ContentId, FileName, Position};
use crate::names::{Bygones, NameHistory};
use crate::outboard::Outboard;
use crate::replica::{Arrivals, Holdings, Presence, TakeOver};
use crate::time::{Moment, Timestamp};
use crate::wire::{
    Entry, Fault, Link, MembershipReply, MembershipRequest, MissingReason, NameRecord, ObjectInfo,
    OfferedRecord, PeerName, SignedRecord, StorageReply, StorageRequest,
};

/// A future of a size that is known.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Of each object that is offered whether it is here, and of each record whether it is known.
pub type OfferLook = (Vec<(ContentId, Presence)>, Vec<bool>);

/// All that the flows of one peer know of the world.
///
/// Futures are `Send`, so that a runtime with several threads can run the flows.
pub trait Env: Send + Sync + 'static {
    /// Bytes of objects.
    type Piece: Piece;
    /// The asking side of an exchange with another peer.
    type Asking: Asking<Piece = Self::Piece>;
    /// The answering side.
    type Answering: Answering<Piece = Self::Piece>;
    /// Why this peer's disk does not do something.
    type DiskError: DiskError;
    /// An object that is being written.
    type Incoming: Incoming<Piece = Self::Piece, Error = Self::DiskError>;
    /// Bytes that are read.
    type Reader: Reader<Piece = Self::Piece, Error = Self::DiskError>;
    /// Where the bytes of a store are: in a user's file, or at a client.
    type Origin: Send + Sync + 'static;

    /// Which laws of the store hold: all of them, but in a simulation that tries what happens without one.
    fn laws(&self) -> Laws {
        Laws::default()
    }

    /// The time, on a clock that never goes back.
    fn now(&self) -> Moment;

    /// Waits until then.
    fn sleep_until(self: &Arc<Self>, at: Moment) -> impl Future<Output = ()> + Send;

    /// Begins something that nobody waits for. It ends with this peer's process at the latest.
    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static);

    /// The view that this peer has of the ring at the moment.
    fn view(&self) -> Arc<View>;

    /// Waits until the view satisfies a condition, at most so long. Says whether it does.
    fn view_until(
        self: &Arc<Self>,
        within: Duration,
        holds: impl Fn(&View) -> bool + Send + Sync,
    ) -> impl Future<Output = bool> + Send;

    /// Waits until the view is another one than this: at least until the phase, the life or the neighbours of this peer
    /// have changed. False once the peer has ended.
    fn view_changed(self: &Arc<Self>, seen: &Arc<View>) -> impl Future<Output = bool> + Send;

    /// R, the number of copies that there should be.
    fn copies(&self) -> usize {
        self.view().settings.unwrap_or_default().replicas.into()
    }

    /// Whether this process has been a member of its ring: if it is none now, it soon will be again.
    fn was_member(&self) -> bool;

    /// Asks another peer about the ring; nothing when there is no answer in time, or none that can be used.
    fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> impl Future<Output = Option<MembershipReply>> + Send;

    /// Asks another peer about files.
    ///
    /// # Errors
    /// There is no answer, or none that can be used.
    fn ask_other(
        self: &Arc<Self>,
        whom: &Entry,
        request: StorageRequest,
        within: Duration,
    ) -> impl Future<Output = Result<StorageReply, MissingReason>> + Send;

    /// Answers a question about files that this peer asks itself. Of a size that is known: answering may ask, and asking
    /// may answer.
    fn answer_here(self: &Arc<Self>, request: StorageRequest) -> BoxFuture<'static, StorageReply>;

    /// How long one peer of a lookup is waited for before the next one is asked.
    fn hop_timeout(&self, whom: &Position) -> Duration;

    /// Tells the membership protocol that a peer answered a lookup, or, with no reply, that it did not.
    fn tell_of_lookup(
        self: &Arc<Self>,
        whom: Entry,
        reply: Option<MembershipReply>,
    ) -> impl Future<Output = ()> + Send;

    /// Peers that lied lately: they are asked last.
    fn distrusted(&self) -> BTreeSet<Position>;

    /// Whether the ring has been as in this view for a while, so that a peer that knows less of it does not merely lag
    /// behind.
    fn is_settled(&self, view: &View) -> bool;

    /// Holds what a peer did against it.
    fn blame(&self, peer: &Position, fault: Fault);

    /// Holds what a peer answered against it, unless that may be the lie of a helper. Whether it was its own.
    fn blame_answer(&self, peer: &Position, fault: Fault) -> bool;

    /// A peer as people know it.
    fn named(&self, peer: &Position) -> PeerName;

    /// What this peer takes over in its present life.
    fn takeover(&self) -> MutexGuard<'_, TakeOver>;

    /// Which of these objects are here, or can be taken, and which of these records are known here.
    ///
    /// # Errors
    /// Why that cannot be told.
    fn look_at_offer(
        self: &Arc<Self>,
        objects: Vec<ContentId>,
        records: Vec<OfferedRecord>,
    ) -> impl Future<Output = Result<OfferLook, String>> + Send;

    /// Asks or changes which objects are on their way in.
    fn with_arrivals<T>(&self, work: impl FnOnce(&mut Arrivals) -> T) -> T;

    /// Tells people that this peer has taken over: how many objects came, their bytes, and how long it took.
    fn tell_synced(&self, objects: u64, bytes: u64, took: Duration);

    /// Records that this peer does not want again.
    fn bygones(&self) -> MutexGuard<'_, Bygones>;

    /// The ring's time, in milliseconds since the Unix epoch.
    fn ring_ms(&self) -> u64;

    /// The next reading of this peer's hybrid logical clock, after all that it has seen.
    fn next_clock(&self) -> Timestamp;

    /// Takes notice of another peer's clock.
    fn saw_clock(&self, seen: Timestamp);

    /// Signs a record that this peer writes.
    ///
    /// # Errors
    /// It cannot be encoded.
    fn sign(&self, record: &NameRecord) -> Result<SignedRecord, String>;

    /// Who signed a record, which was decoded as `record`.
    ///
    /// # Errors
    /// The signature or the certificate is not good.
    fn signer_of(&self, signed: &SignedRecord, record: &NameRecord) -> Result<Position, String>;

    /// Whether an object is here, and its bytes are right as far as is known.
    ///
    /// # Errors
    /// Why that cannot be told.
    fn holds(self: &Arc<Self>, content: ContentId) -> impl Future<Output = Result<bool, String>> + Send;

    /// Who announced to hold an object, and in which life.
    fn announced(&self, content: &ContentId) -> BTreeSet<(Position, u64)>;

    /// What this peer keeps of a name; an empty history where that is nothing.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn history(self: &Arc<Self>, key: Position) -> impl Future<Output = Result<NameHistory, String>> + Send;

    /// Changes what this peer keeps of a name, durable on return. `change` says whether there is a change, and
    /// something else.
    ///
    /// # Errors
    /// Why it cannot be read or written.
    fn update_history<T: Send + 'static>(
        self: &Arc<Self>,
        key: Position,
        change: impl FnOnce(&mut NameHistory) -> (bool, T) + Send + 'static,
    ) -> impl Future<Output = Result<T, MissingReason>> + Send;

    /// A name stands for nothing any more since then: what shows it to people goes.
    ///
    /// # Errors
    /// Why it stays.
    fn unlink(
        self: &Arc<Self>,
        name: &FileName,
        since: Timestamp,
    ) -> impl Future<Output = Result<(), MissingReason>> + Send;

    /// Opens an exchange with another peer.
    ///
    /// # Errors
    /// There is no way to it.
    fn open(
        self: &Arc<Self>,
        whom: &Entry,
        request: StorageRequest,
    ) -> impl Future<Output = Result<Self::Asking, MissingReason>> + Send;

    /// The most bytes that are given to the network at a time, so that a slow line is seen to move.
    fn slice_bytes(&self) -> u64;

    /// The slots for transfers.
    fn transfers(&self) -> &Transfers;

    /// Whether more at once to a peer would only make each transfer slower, since the line to it is full.
    fn is_line_full(&self, to: &Position) -> bool;

    /// Bytes of an object have gone to another peer.
    fn sent(&self, cause: Cause, bytes: u64);

    /// Rises with all that others take or say that they are taking.
    fn moved(&self) -> u64;

    /// Tells the ring's protocol what a departure wants.
    fn tell_ring(self: &Arc<Self>, wish: RingWish) -> impl Future<Output = ()> + Send;

    /// Another peer says that so many bytes of what this one gives have moved, or has taken something else.
    fn heard_moving(&self, bytes: u64);

    /// A place for an object that comes, whose first bytes may be here from an earlier try.
    ///
    /// # Errors
    /// Why there is none; among others that the object is here already, or that somebody else sends it.
    fn receive(
        self: &Arc<Self>,
        object: ObjectInfo,
    ) -> impl Future<Output = Result<Self::Incoming, Self::DiskError>> + Send;

    /// While [`Env::receive`] looks at what is here of an object already: how many of its bytes were hashed so far.
    fn hashed_bytes(&self, content: &ContentId) -> u64;

    /// How many bytes of an object that somebody else sends are here.
    fn received_bytes(self: &Arc<Self>, content: ContentId) -> impl Future<Output = u64> + Send;

    /// What is known of an object that is here; nothing where it is not.
    ///
    /// # Errors
    /// Why that cannot be told.
    fn info(
        self: &Arc<Self>,
        content: ContentId,
    ) -> impl Future<Output = Result<Option<ObjectInfo>, Self::DiskError>> + Send;

    /// An object that is here, and its outboard; nothing where it is not.
    ///
    /// # Errors
    /// Why that cannot be told.
    fn outboard(
        self: &Arc<Self>,
        content: ContentId,
    ) -> impl Future<Output = Result<Option<(ObjectInfo, Outboard)>, Self::DiskError>> + Send;

    /// Somebody wants something written: a disk that had no room is asked again.
    fn try_disk_again(&self);

    /// How many pauses of this process have interrupted something so far: more than before, and what broke off
    /// meanwhile may have done so because this process was stopped.
    fn pauses(&self) -> u64;

    /// The bytes of an object that is here, from this one on.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn read(
        self: &Arc<Self>,
        content: ContentId,
        offset: u64,
    ) -> impl Future<Output = Result<(ObjectInfo, Self::Reader), Self::DiskError>> + Send;

    /// The bytes of an object that is to be stored, from this one on.
    ///
    /// # Errors
    /// Why they are not to be had.
    fn read_origin(
        self: &Arc<Self>,
        origin: &Self::Origin,
        object: ObjectInfo,
        offset: u64,
    ) -> impl Future<Output = Result<Self::Reader, GiveError<Self::DiskError>>> + Send;

    /// Why another peer is not given an object that this one cannot read.
    fn not_given(&self, error: &Self::DiskError) -> MissingReason;

    /// An object that is here already belongs here from now on, under these names.
    fn keep_linked(self: &Arc<Self>, content: ContentId, links: Vec<Link>)
    -> impl Future<Output = ()> + Send;

    /// An object has come and is durable, or was here when it was sent. `anew`: its bytes came now.
    fn copy_came(&self, content: &ContentId, from: Option<Position>, anew: bool);

    /// An object that belongs here was not taken.
    fn copy_refused(&self, object: &ObjectInfo, reason: &MissingReason);

    /// A living peer says that its copy of an object is durable.
    fn copy_is_at(&self, peer: &Position, content: ContentId);

    /// Wakes the repair.
    fn repair_wanted(&self) -> &Notify;

    /// How often repair looks by itself, at least.
    fn repair_interval(&self) -> Duration;

    /// Members that are away, and not for too long to be waited for.
    fn waited_for(&self) -> BTreeSet<Position>;

    /// Before a round of repair: what nobody needs any more is thrown away.
    fn tidy(self: &Arc<Self>) -> impl Future<Output = ()> + Send;

    /// Looks for what records here name and nobody has, for people to see.
    fn look_for_lost(self: &Arc<Self>, holdings: Arc<Holdings>) -> BoxFuture<'static, ()>;

    /// All objects and records that are here.
    ///
    /// # Errors
    /// Why that cannot be read.
    fn holdings(self: &Arc<Self>) -> impl Future<Output = Result<Holdings, String>> + Send;

    /// What is known of an object that is here, and the names that are linked to it.
    ///
    /// # Errors
    /// Why it cannot be read, or that it is not here.
    fn info_and_links(
        self: &Arc<Self>,
        content: ContentId,
    ) -> impl Future<Output = Result<(ObjectInfo, Vec<Link>), Self::DiskError>> + Send;

    /// Reads an object that is here whole: its bytes are right.
    ///
    /// # Errors
    /// They are not, or cannot be read.
    fn look_at_own(
        self: &Arc<Self>,
        content: ContentId,
    ) -> impl Future<Output = Result<(), Self::DiskError>> + Send;

    /// Whether a copy of an object is to be given to that peer now.
    fn may_give(&self, to: &Entry, content: &ContentId) -> bool;

    /// What came of giving an object to a peer; nothing where it has it now.
    fn gave(&self, to: &Entry, content: ContentId, refusal: Option<&MissingReason>);

    /// Of these objects a peer has those.
    fn heard_offer(&self, view: &View, from: &Entry, asked: &BTreeSet<ContentId>, has: &BTreeSet<ContentId>);

    /// Tells people that something went wrong.
    fn warn(&self, what: String);
}

/// What a departure wants of the ring's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingWish {
    /// This peer takes nothing new any more.
    BeginLeaving,
    /// It would go now, if its neighbours let it.
    AskTurn,
    /// They do.
    TakeTurn,
    /// It does not leave after all.
    Stay,
    /// It says farewell, and goes.
    Depart,
}

/// Why something is given to other peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody stores it.
    Store,
    /// A copy is missing.
    Repair,
    /// A peer takes over its ranges.
    TakeOver,
    /// This peer leaves.
    HandOver,
    /// Somebody requests it.
    Request,
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The peer that asks.
    pub entry: Entry,
    /// That it is this peer is the word of a helper: hearsay, that convicts nobody.
    pub through_a_helper: bool,
}
