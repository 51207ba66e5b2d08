//! The environment of the flows: all that they know of the world.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::bytes::{Answering, Asking, Chunks, DiskError, GiveError, Incoming, KeptAs, Piece, Reader};
use super::laws::Laws;
use super::shares::Transfers;
use crate::chord::View;
use crate::config::KeepVersions;
use crate::id::{ContentId, FileName, KeyRange, Position, SetDigest};
use crate::names::{Absence, Bygones, NameHistory, NameTerms};
use crate::outboard::{Chain, Outboard};
use crate::replica::{
    Agreements, Arrivals, DiskRoom, Grants, Holdings, LeaseSchedule, LeaseTerms, NoRoom, Presence, RoomWord,
    TakeOver,
};
use crate::time::{Moment, Timestamp};
use crate::wire::{
    Entry, Fault, Link, MembershipReply, MembershipRequest, MissingReason, NameRecord, ObjectInfo,
    OfferedRecord, PeerName, Reference, SignedRecord, StorageReply, StorageRequest,
};

/// A boxed future, so that its size is known.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// For each offered object whether it is here, and for each offered record whether it is known.
pub type OfferLook = (Vec<(ContentId, Presence)>, Vec<bool>);

/// A page of what a peer holds of a range, in the order of the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldPage {
    /// The objects.
    pub objects: Vec<ContentId>,
    /// The records, each with its key: of each name all that are kept, the current one first.
    pub records: Vec<(Position, SignedRecord)>,
    /// The rest of the range, which the page does not cover.
    pub rest: Option<KeyRange>,
}

/// The clock of the world.
pub trait Clock: Send + Sync + 'static {
    /// The present moment, on a clock that never goes back.
    fn now(&self) -> Moment;

    /// Waits until the clock shows `at`.
    fn sleep_until(self: &Arc<Self>, at: Moment) -> impl Future<Output = ()> + Send;
}

/// The environment of a lookup: it asks one peer after the other.
pub trait Hops: Clock {
    /// Sends another peer a request about the ring; `None` if there is no answer in time, or no usable one.
    fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> impl Future<Output = Option<MembershipReply>> + Send;

    /// The time that one peer of a lookup has before the next one is asked.
    fn hop_timeout(&self, whom: &Position) -> Duration;

    /// Tells the membership protocol that a peer answered a lookup, or, with no reply, that it did not.
    fn tell_of_lookup(
        self: &Arc<Self>,
        whom: Entry,
        reply: Option<MembershipReply>,
    ) -> impl Future<Output = ()> + Send;
}

/// All that the flows of one peer know of the world.
///
/// Futures are `Send`, so that a runtime with several threads can run the flows.
pub trait Env: Hops {
    /// The bytes of objects.
    type Piece: Piece;
    /// The asking side of an exchange with another peer.
    type Asking: Asking<Piece = Self::Piece>;
    /// The answering side of an exchange with another peer.
    type Answering: Answering<Piece = Self::Piece>;
    /// The errors of this peer's disk.
    type DiskError: DiskError;
    /// An object that is being written.
    type Incoming: Incoming<Piece = Self::Piece, Error = Self::DiskError>;
    /// An object whose chunks are written in any order.
    type Chunks: Chunks<Piece = Self::Piece, Error = Self::DiskError>;
    /// The bytes that are read.
    type Reader: Reader<Piece = Self::Piece, Error = Self::DiskError>;
    /// The source of the bytes of a store: a user's file, or a client.
    type Origin: Send + Sync + 'static;
    /// The intention to free the copy of an object.
    type Freeing: Send + Sync + 'static;

    /// The laws of the store that hold: all of them, except in a simulation that tries what happens without one.
    fn laws(&self) -> Laws {
        Laws::default()
    }

    /// Begins a task that is not waited for. It ends with this peer's process at the latest.
    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static);

    /// This peer's view of the ring at the moment.
    fn view(&self) -> Arc<View>;

    /// Waits until the view satisfies a condition, at most `within`. Returns whether it does.
    fn view_until(
        self: &Arc<Self>,
        within: Duration,
        holds: impl Fn(&View) -> bool + Send + Sync,
    ) -> impl Future<Output = bool> + Send;

    /// Waits until the view differs from `seen`: at least until the phase, the life or the neighbours of this peer have
    /// changed. Returns false once the peer has ended.
    fn view_changed(self: &Arc<Self>, seen: &Arc<View>) -> impl Future<Output = bool> + Send;

    /// R, the number of copies that there should be.
    fn copies(&self) -> usize {
        self.view().settings.unwrap_or_default().replicas.into()
    }

    /// Whether this process has been a member of its ring: if it is not one now, it soon will be again.
    fn was_member(&self) -> bool;

    /// Sends another peer a request about files.
    ///
    /// # Errors
    /// There is no answer, or no usable one.
    fn ask_other(
        self: &Arc<Self>,
        whom: &Entry,
        request: StorageRequest,
        within: Duration,
    ) -> impl Future<Output = Result<StorageReply, MissingReason>> + Send;

    /// Answers a request about files that this peer sends to itself. Boxed: answering may ask, and asking may answer.
    fn answer_here(self: &Arc<Self>, request: StorageRequest) -> BoxFuture<'static, StorageReply>;

    /// The peers with recent faults: they are asked last.
    fn distrusted(&self) -> BTreeSet<Position>;

    /// Whether the ring has been as in this view for a while, so that a peer with less knowledge of it does not merely
    /// lag behind.
    fn is_settled(&self, view: &View) -> bool;

    /// Records a fault of a peer.
    fn blame(&self, peer: &Position, fault: Fault);

    /// Records a fault in a peer's answer, unless the fault may be a helper's. Returns whether it was the peer's own.
    fn blame_answer(&self, peer: &Position, fault: Fault) -> bool;

    /// The name of a peer for people.
    fn named(&self, peer: &Position) -> PeerName;

    /// The take-over of this peer's ranges in its present life.
    fn takeover(&self) -> MutexGuard<'_, TakeOver>;

    /// Whether each of these objects is here, or can be taken, and whether each of these records is known here.
    ///
    /// # Errors
    /// The reason why that cannot be told.
    fn look_at_offer(
        self: &Arc<Self>,
        objects: Vec<ContentId>,
        records: Vec<OfferedRecord>,
    ) -> impl Future<Output = Result<OfferLook, String>> + Send;

    /// Reads or changes the list of objects that are on their way in.
    fn with_arrivals<T>(&self, work: impl FnOnce(&mut Arrivals) -> T) -> T;

    /// Reads or changes what comparisons with other peers have shown.
    fn with_agreements<T>(&self, work: impl FnOnce(&mut Agreements) -> T) -> T;

    /// Tells people that this peer has taken over: the number of objects that came, their bytes, and the time it took.
    fn tell_synced(&self, objects: u64, bytes: u64, took: Duration);

    /// The records that this peer does not want again.
    fn bygones(&self) -> MutexGuard<'_, Bygones>;

    /// The ring's time, in milliseconds since the Unix epoch.
    fn ring_ms(&self) -> u64;

    /// The next reading of this peer's hybrid logical clock, after all that it has seen.
    fn next_clock(&self) -> Timestamp;

    /// Takes notice of the reading of another peer's clock.
    fn saw_clock(&self, seen: Timestamp);

    /// Signs a record that this peer writes.
    ///
    /// # Errors
    /// The record cannot be encoded.
    fn sign(&self, record: &NameRecord) -> Result<SignedRecord, String>;

    /// The position of the peer that signed a record, which was decoded as `record`.
    ///
    /// # Errors
    /// The signature or the certificate is bad.
    fn signer_of(&self, signed: &SignedRecord, record: &NameRecord) -> Result<Position, String>;

    /// Why a record of this writer is not accepted any more, if its key was revoked before the record was made. A record
    /// that is held already stays.
    fn revoked_writer(&self, signed: &SignedRecord, record: &NameRecord) -> Option<String> {
        let _ = (signed, record);
        None
    }

    /// Whether an object is here, and its bytes are right as far as is known.
    ///
    /// # Errors
    /// The reason why that cannot be told.
    fn holds(self: &Arc<Self>, content: ContentId) -> impl Future<Output = Result<bool, String>> + Send;

    /// The descriptions of those of these objects that are here, in their order: here as [`Env::holds`] has it. `None` also
    /// for an object of which the disk cannot tell.
    fn held_infos(
        self: &Arc<Self>,
        contents: Vec<ContentId>,
    ) -> impl Future<Output = Vec<Option<ObjectInfo>>> + Send;

    /// The peers that announced their copy of an object, each with its incarnation.
    fn announced(&self, content: &ContentId) -> BTreeSet<(Position, u64)>;

    /// The absence of this peer from the ring, as far as it knows of it.
    fn absence(&self) -> MutexGuard<'_, Absence>;

    /// The notice that the take-over is to look again, since it begins anew.
    fn takeover_wanted(&self) -> &Notify;

    /// How long the records of names stay.
    fn name_terms(&self) -> NameTerms;

    /// How many versions of a name the ring keeps, and for how long. A peer that does not know its ring's settings yet
    /// drops nothing.
    fn keep_versions(&self) -> KeepVersions {
        let most = KeepVersions { count: KeepVersions::COUNT_MAX, seconds: KeepVersions::SECONDS_MAX };
        self.view().settings.map_or(most, |settings| settings.versions)
    }

    /// Writes down, durably, that this peer is active in its ring at this time of the ring's clock.
    ///
    /// # Errors
    /// The reason why it cannot be written.
    fn write_active(self: &Arc<Self>, now_unix_ms: u64) -> impl Future<Output = Result<(), String>> + Send;

    /// The date up to which this peer may have dropped tombstones, in milliseconds since the Unix epoch; 0 if it has
    /// dropped none.
    ///
    /// # Errors
    /// The reason why it cannot be read.
    fn dropped_ms(self: &Arc<Self>) -> impl Future<Output = Result<u64, String>> + Send;

    /// Notes, durably, that tombstones up to this date may be dropped from now on; and ends the memories of removals
    /// whose time is over.
    ///
    /// # Errors
    /// The reason why it cannot be written.
    fn note_dropped(
        self: &Arc<Self>,
        up_to_unix_ms: u64,
        now_unix_ms: u64,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// This peer's history of a name; empty if it keeps no record of it.
    ///
    /// # Errors
    /// The reason why it cannot be read.
    fn history(self: &Arc<Self>, key: Position) -> impl Future<Output = Result<NameHistory, String>> + Send;

    /// This peer's histories of some names, in the order of their keys here; see [`Env::history`].
    ///
    /// # Errors
    /// The reason why one of them cannot be read.
    fn histories(
        self: &Arc<Self>,
        keys: Vec<Position>,
    ) -> impl Future<Output = Result<Vec<NameHistory>, String>> + Send;

    /// Changes this peer's histories of names, all with one commit; durable on return. One result for each change, in
    /// their order.
    ///
    /// # Errors
    /// For each name, the reason why its history cannot be read or written.
    fn update_histories<T: Send + 'static>(
        self: &Arc<Self>,
        changes: Vec<HistoryChange<T>>,
    ) -> impl Future<Output = Vec<Result<T, MissingReason>>> + Send;

    /// Changes this peer's history of one name; see [`Env::update_histories`].
    ///
    /// # Errors
    /// The reason why it cannot be read or written.
    fn update_history<T: Send + 'static>(
        self: &Arc<Self>,
        change: HistoryChange<T>,
    ) -> impl Future<Output = Result<T, MissingReason>> + Send {
        async move {
            let unchanged = || Err(MissingReason::Disk("the history was not looked at".to_owned()));
            self.update_histories(vec![change]).await.pop().unwrap_or_else(unchanged)
        }
    }

    /// Removes the links that show a name to people, since it stands for nothing any more as of `since`.
    ///
    /// # Errors
    /// The reason why they stay.
    fn unlink(
        self: &Arc<Self>,
        name: &FileName,
        since: Timestamp,
    ) -> impl Future<Output = Result<(), MissingReason>> + Send;

    /// Opens an exchange with another peer.
    ///
    /// # Errors
    /// The peer cannot be reached.
    fn open(
        self: &Arc<Self>,
        whom: &Entry,
        request: StorageRequest,
    ) -> impl Future<Output = Result<Self::Asking, MissingReason>> + Send;

    /// The most bytes that are given to the network at a time, so that a slow line is seen to move.
    fn slice_bytes(&self) -> u64;

    /// The slots for transfers of this peer.
    fn transfers(&self) -> &Transfers;

    /// Whether the line to a peer is full, so that more transfers at once would only make each slower.
    fn is_line_full(&self, to: &Position) -> bool;

    /// Counts bytes of an object that have gone to another peer.
    fn sent(&self, cause: Cause, bytes: u64);

    /// A counter that rises with all that others take or report as moving.
    fn moved(&self) -> u64;

    /// Tells the membership protocol the wish of a departure.
    fn tell_ring(self: &Arc<Self>, wish: RingWish) -> impl Future<Output = ()> + Send;

    /// Notes that another peer reports that it received bytes from this peer, or has taken an object or record.
    fn heard_moving(&self, bytes: u64);

    /// A place for an incoming object, whose first bytes may be here from an earlier try.
    ///
    /// # Errors
    /// The reason why the disk gives no place; among others, the object is here already, or another peer sends it.
    fn receive(
        self: &Arc<Self>,
        object: ObjectInfo,
    ) -> impl Future<Output = Result<Self::Incoming, Self::DiskError>> + Send;

    /// A place for the chunks of an object, which come in any order and are checked against an outboard. Some of them may
    /// be here from an earlier try.
    ///
    /// # Errors
    /// The errors of [`Env::receive`].
    fn receive_chunks(
        self: &Arc<Self>,
        object: ObjectInfo,
        chain: Chain,
    ) -> impl Future<Output = Result<Self::Chunks, Self::DiskError>> + Send;

    /// Keeps small objects whose bytes are here, all at once: each is checked, and durable on return. One result for
    /// each, in their order; the flows treat it like that of [`Env::receive`] and [`Incoming::finish`].
    fn keep_batch(
        self: &Arc<Self>,
        batch: Vec<Small<Self::Piece>>,
        use_as: KeptAs,
    ) -> impl Future<Output = Vec<Result<ObjectInfo, Self::DiskError>>> + Send {
        async move {
            let mut results = Vec::with_capacity(batch.len());
            for Small { object, links, pieces } in batch {
                let kept = async {
                    let mut incoming = self.receive(object).await?;
                    for piece in pieces {
                        incoming.write(piece).await;
                    }
                    incoming.settle().await?;
                    incoming.finish(use_as, links).await
                };
                results.push(kept.await);
            }
            results
        }
    }

    /// The number of bytes hashed so far while [`Env::receive`] checks what is here of an object already.
    fn hashed_bytes(&self, content: &ContentId) -> u64;

    /// The number of bytes that are here of an object which another peer is sending.
    fn received_bytes(self: &Arc<Self>, content: ContentId) -> impl Future<Output = u64> + Send;

    /// The description of an object that is here; `None` if it is not.
    ///
    /// # Errors
    /// The reason why that cannot be told.
    fn info(
        self: &Arc<Self>,
        content: ContentId,
    ) -> impl Future<Output = Result<Option<ObjectInfo>, Self::DiskError>> + Send;

    /// An object that is here, and its outboard; `None` if it is not here.
    ///
    /// # Errors
    /// The reason why that cannot be told.
    fn outboard(
        self: &Arc<Self>,
        content: ContentId,
    ) -> impl Future<Output = Result<Option<(ObjectInfo, Outboard)>, Self::DiskError>> + Send;

    /// Tries a disk again that had no room, since something is to be written.
    fn try_disk_again(&self);

    /// The number of pauses of this process that have interrupted something so far. If it has grown, a transfer that
    /// broke off meanwhile may have done so because this process was stopped.
    fn pauses(&self) -> u64;

    /// The bytes of an object that is here, from `offset` on.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    fn read(
        self: &Arc<Self>,
        content: ContentId,
        offset: u64,
    ) -> impl Future<Output = Result<(ObjectInfo, Self::Reader), Self::DiskError>> + Send;

    /// All bytes of those of these objects that are here and small, in their order, and `most_bytes` bytes at most. `None`
    /// for the others.
    fn read_small(
        self: &Arc<Self>,
        contents: Vec<ContentId>,
        most_bytes: u64,
    ) -> impl Future<Output = Vec<Option<Self::Piece>>> + Send;

    /// Of each of these objects, whether the bytes are its own, by their SHA-256.
    fn check_bytes(
        self: &Arc<Self>,
        objects: Vec<(ContentId, Vec<Self::Piece>)>,
    ) -> impl Future<Output = Vec<bool>> + Send;

    /// The bytes of an object that is to be stored, from `offset` on.
    ///
    /// # Errors
    /// The reason why they cannot be had.
    fn read_origin(
        self: &Arc<Self>,
        origin: &Self::Origin,
        object: ObjectInfo,
        offset: u64,
    ) -> impl Future<Output = Result<Self::Reader, GiveError<Self::DiskError>>> + Send;

    /// The reason, for another peer, why it is not given an object that this one cannot read.
    fn not_given(&self, error: &Self::DiskError) -> MissingReason;

    /// Marks an object that is here already as belonging here, under these names, and renews its lease: another
    /// peer counts on it from now on. Returns whether it is still here.
    ///
    /// # Errors
    /// The reason why that cannot be made sure.
    fn keep_linked(
        self: &Arc<Self>,
        content: ContentId,
        links: Vec<Link>,
    ) -> impl Future<Output = Result<bool, Self::DiskError>> + Send;

    /// Means to free the copy of an object. The intention is void once this peer has told another peer of its copy, or
    /// has received it anew. `None` while another task means to.
    fn begin_freeing(&self, content: &ContentId) -> Option<Self::Freeing>;

    /// Makes all intentions to free a copy void, since another peer is told of what is here. Copies that were being freed
    /// are gone on return.
    fn void_freeing(self: &Arc<Self>) -> impl Future<Output = ()> + Send;

    /// Frees the copy, unless the intention is void or the copy is pinned or in use. Returns whether it was freed; then
    /// durably.
    ///
    /// # Errors
    /// The disk failed.
    fn free(
        self: &Arc<Self>,
        freeing: Self::Freeing,
    ) -> impl Future<Output = Result<bool, Self::DiskError>> + Send;

    /// Whether an object is here with the right bytes, which are checked. From now on it belongs here, and an intention
    /// to free it is void.
    ///
    /// # Errors
    /// The reason why that cannot be told.
    fn vouch(self: &Arc<Self>, content: ContentId) -> impl Future<Output = Result<bool, String>> + Send;

    /// This peer's copy of an object, if there is one.
    ///
    /// # Errors
    /// The reason why that cannot be told.
    fn copy_here(
        self: &Arc<Self>,
        content: ContentId,
    ) -> impl Future<Output = Result<Option<CopyHere>, String>> + Send;

    /// The next copies here, in the order of their content ids, after this one.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    fn copies_after(
        self: &Arc<Self>,
        after: Option<ContentId>,
    ) -> impl Future<Output = Result<Vec<CopyHere>, String>> + Send;

    /// Notes since when copies are one too many, or, with `None`, that they are not.
    ///
    /// # Errors
    /// The reason why that cannot be written.
    fn mark_surplus(
        self: &Arc<Self>,
        marks: Vec<(ContentId, Option<u64>)>,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Whether room for further objects is short.
    fn is_short_of_room(self: &Arc<Self>) -> impl Future<Output = bool> + Send;

    /// How long a copy that is one too many stays while there is room.
    fn surplus_wait(&self) -> Duration;

    /// The room that the disk has for files; `None` if it cannot be told.
    fn disk_room(self: &Arc<Self>) -> impl Future<Output = Option<DiskRoom>> + Send;

    /// This peer's word on its room.
    fn room_word(&self) -> MutexGuard<'_, RoomWord>;

    /// Says from now on, in this peer's pongs, whether it has no room.
    fn say_full(self: &Arc<Self>, full: bool) -> impl Future<Output = ()> + Send;

    /// The copies for which other peers have no room.
    fn no_room(&self) -> MutexGuard<'_, NoRoom>;

    /// The permissions to free a copy that this peer gave as an owner.
    fn grants(&self) -> MutexGuard<'_, Grants>;

    /// Notes that a peer has no copy of an object any more.
    fn holds_no_more(&self, content: &ContentId, peer: &Entry);

    /// The times of leases.
    fn lease_terms(&self) -> LeaseTerms;

    /// When this peer renews leases and frees objects.
    fn lease_schedule(&self) -> MutexGuard<'_, LeaseSchedule>;

    /// The date of a lease that this peer renews now, in milliseconds since the Unix epoch.
    fn lease_date(&self) -> u64 {
        let ring_ms = self.ring_ms();
        self.lease_schedule().date(ring_ms)
    }

    /// At most `max` names that are kept here, after this key, each with its history; `None` for one that cannot be read.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    fn histories_after(
        self: &Arc<Self>,
        after: Option<Position>,
        max: usize,
    ) -> impl Future<Output = Result<Vec<(Position, Option<NameHistory>)>, String>> + Send;

    /// Renews the leases of the objects that are here, durably. Links each name that stands for its object now, and takes
    /// away the links of the others.
    ///
    /// # Errors
    /// The reason why the disk does not take that.
    fn renew_leases(
        self: &Arc<Self>,
        references: Vec<Reference>,
        at_unix_ms: u64,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// At most `max` replicas here whose lease has lapsed. Objects without a lease get one now.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    fn lapsed_objects(
        self: &Arc<Self>,
        now_unix_ms: u64,
        max: usize,
    ) -> impl Future<Output = Result<Vec<ContentId>, String>> + Send;

    /// Whether an object was freed here, since no name referred to it, and none has done so since.
    ///
    /// # Errors
    /// The reason why that cannot be told.
    fn was_freed(self: &Arc<Self>, content: ContentId) -> impl Future<Output = Result<bool, String>> + Send;

    /// Frees an object if its lease is dated `before_unix_ms` or earlier. Returns whether it was freed.
    ///
    /// # Errors
    /// The reason why it cannot be removed.
    fn free_lapsed(
        self: &Arc<Self>,
        content: ContentId,
        before_unix_ms: u64,
    ) -> impl Future<Output = Result<bool, String>> + Send;

    /// Notes that an object has come and is durable, or was here when it was sent. `anew`: its bytes came now.
    fn copy_came(&self, content: &ContentId, from: Option<Position>, anew: bool);

    /// Notes that an object that belongs here was not taken.
    fn copy_refused(&self, object: &ObjectInfo, reason: &MissingReason);

    /// Notes that a living peer reports its copy of an object as durable.
    fn copy_is_at(&self, peer: &Position, content: ContentId);

    /// The notice that wakes the repair.
    fn repair_wanted(&self) -> &Notify;

    /// The ping interval, by which the schedule of repair is timed.
    fn repair_interval(&self) -> Duration;

    /// The members that are away, but not for too long to be waited for.
    fn waited_for(&self) -> BTreeSet<Position>;

    /// Throws away what is no longer needed, before a round of repair, and looks whether the objects are there that
    /// should be: some of them each time.
    fn tidy(self: &Arc<Self>) -> impl Future<Output = ()> + Send;

    /// Looks for objects that records here name and no peer has, for people to see.
    fn look_for_lost(self: &Arc<Self>) -> BoxFuture<'static, ()>;

    /// The first key, from this one on, of which an object or a record is here.
    ///
    /// # Errors
    /// The reason why that cannot be read.
    fn first_held(
        self: &Arc<Self>,
        from: Position,
    ) -> impl Future<Output = Result<Option<Position>, Self::DiskError>> + Send;

    /// The digests of all that is here of these ranges, in their order.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    fn digests(
        self: &Arc<Self>,
        ranges: Vec<KeyRange>,
    ) -> impl Future<Output = Result<Vec<SetDigest>, Self::DiskError>> + Send;

    /// Notes that another peer is told that all is here of these ranges that it has: this peer frees nothing of them on a
    /// permission that it has asked for before.
    fn promise(&self, ranges: &[KeyRange]);

    /// The content of a range here: at most `max` objects, and the records of at most `max` names.
    ///
    /// # Errors
    /// The reason why it cannot be read.
    fn held(
        self: &Arc<Self>,
        range: KeyRange,
        max: usize,
    ) -> impl Future<Output = Result<HeldPage, Self::DiskError>> + Send;

    /// All objects and records that are here.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    fn holdings(self: &Arc<Self>) -> impl Future<Output = Result<Holdings, Self::DiskError>> + Send;

    /// The description of an object that is here, and the names that are linked to it.
    ///
    /// # Errors
    /// The reason why it cannot be read, or that it is not here.
    fn info_and_links(
        self: &Arc<Self>,
        content: ContentId,
    ) -> impl Future<Output = Result<(ObjectInfo, Vec<Link>), Self::DiskError>> + Send;

    /// Reads a whole object that is here and checks its bytes.
    ///
    /// # Errors
    /// The bytes are wrong, or cannot be read.
    fn look_at_own(
        self: &Arc<Self>,
        content: ContentId,
    ) -> impl Future<Output = Result<(), Self::DiskError>> + Send;

    /// Whether to give a peer a copy of an object now.
    fn may_give(&self, to: &Entry, content: &ContentId) -> bool;

    /// Notes the outcome of giving an object to a peer; `None` if it has it now.
    fn gave(&self, to: &Entry, content: ContentId, refusal: Option<&MissingReason>);

    /// Notes which of the offered objects a peer has.
    fn heard_offer(&self, view: &View, from: &Entry, asked: &BTreeSet<ContentId>, has: &BTreeSet<ContentId>);

    /// Notes that a peer has all that is here of a range.
    fn heard_all(&self, from: &Entry, range: &KeyRange);

    /// Warns people of a failure, in these words.
    fn warn(&self, what: String);
}

/// Changes a history. Returns whether there is a change, and a result for the caller.
pub type MakeChange<T> = Box<dyn FnOnce(&mut NameHistory) -> (bool, T) + Send>;

/// A change to this peer's history of a name.
pub struct HistoryChange<T> {
    /// The key of the name.
    pub key: Position,
    /// Whether a history that cannot be read counts as an empty one; its bytes go to quarantine if there is a change.
    pub heals: bool,
    /// Makes the change. Returns whether there is one, and a result for the caller.
    pub change: MakeChange<T>,
}

impl<T> HistoryChange<T> {
    /// A change of the history under this key.
    pub fn new(
        key: Position,
        heals: bool,
        change: impl FnOnce(&mut NameHistory) -> (bool, T) + Send + 'static,
    ) -> HistoryChange<T> {
        HistoryChange { key, heals, change: Box::new(change) }
    }
}

/// A small object with all its bytes.
#[derive(Debug, Clone)]
pub struct Small<P> {
    /// The content id, length and outboard digest that its sender names.
    pub object: ObjectInfo,
    /// The names under which it is linked.
    pub links: Vec<Link>,
    /// Its bytes, in order.
    pub pieces: Vec<P>,
}

/// A copy of an object here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyHere {
    /// The content id of the object.
    pub content: ContentId,
    /// The length of the object in bytes.
    pub length: u64,
    /// Why it is kept.
    pub kept_as: KeptAs,
    /// Whether a person pinned it.
    pub pinned: bool,
    /// Since when it has been one too many, on the ring's clock, if that was noted.
    pub surplus_since_ms: Option<u64>,
}

/// The wish of a departure to the membership protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingWish {
    /// This peer takes nothing new any more.
    BeginLeaving,
    /// This peer would go now, if its neighbours let it.
    AskTurn,
    /// The neighbours let this peer go.
    TakeTurn,
    /// This peer does not leave after all.
    Stay,
    /// This peer says farewell, and goes.
    Depart,
}

/// The cause for which an object or record is given to other peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The object is being stored in the ring.
    Store,
    /// A copy is missing.
    Repair,
    /// A peer takes over its ranges.
    TakeOver,
    /// This peer leaves.
    HandOver,
    /// A peer requests the object.
    Request,
}

impl Cause {
    /// Whether these transfers give way to others, and keep to the rate of repair. A hand-over does not: a person waits
    /// for it.
    pub fn is_paced(self) -> bool {
        matches!(self, Cause::Repair | Cause::TakeOver)
    }
}

/// The origin of a request.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The peer that asks.
    pub entry: Entry,
    /// Whether a helper named that peer: then it is hearsay, and convicts no peer.
    pub through_a_helper: bool,
}
