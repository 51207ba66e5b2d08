//! The world of the flows.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use crate::chord::View;
use crate::id::{ContentId, FileName, Position};
use crate::names::{Bygones, NameHistory};
use crate::replica::{Arrivals, Presence, TakeOver};
use crate::time::{Moment, Timestamp};
use crate::wire::{
    Entry, Fault, MembershipReply, MembershipRequest, MissingReason, NameRecord, OfferedRecord, PeerName,
    SignedRecord, StorageReply, StorageRequest,
};

/// A future of a size that is known.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Of each object that is offered whether it is here, and of each record whether it is known.
pub type OfferLook = (Vec<(ContentId, Presence)>, Vec<bool>);

/// All that the flows of one peer know of the world.
///
/// Futures are `Send`, so that a runtime with several threads can run the flows.
pub trait Env: Send + Sync + 'static {
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

    /// Holds what a peer answered against it, unless that may be the lie of a helper.
    fn blame_answer(&self, peer: &Position, fault: Fault);

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
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The peer that asks.
    pub entry: Entry,
    /// That it is this peer is the word of a helper: hearsay, that convicts nobody.
    pub through_a_helper: bool,
}
