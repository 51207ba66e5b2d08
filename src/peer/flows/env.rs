//! The environment of the flows of [`crate::files`] in a running peer.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::bytes::{Arriving, Reading, read_ahead};
use super::chunks::Gathering;
use super::store::Origin;
use crate::blob::{BlobError, Freeing, SmallObject};
use crate::chord::{View, hop_timeout};
use crate::files::{
    Asker, BoxFuture, Cause, Clock, CopyHere, DiskError as _, Env, GiveError, HeldPage, HistoryChange, Hops,
    KeptAs, OfferLook, RingWish, Small, Transfers, tell_of_evicted,
};
use crate::id::{ContentId, FileName, KeyRange, Position, SetDigest};
use crate::names::{Absence, Bygones, NameHistory, NameTerms};
use crate::outboard::{Chain, Outboard};
use crate::peer::api::PeerEvent;
use crate::peer::ring::message::ActorMessage;
use crate::peer::shared::Shared;
use crate::replica::{
    Agreements, Arrivals, DiskRoom, Grants, Holdings, LeaseSchedule, LeaseTerms, NoRoom, RoomWord, TakeOver,
};
use crate::shelf;
use crate::time::{Moment, Timestamp};
use crate::transport::{OpenStream, RequestStream, Rope, background, interrupted_waits, spawn_blocking};
use crate::wire::{
    Entry, Fault, Link, MembershipReply, MembershipRequest, MissingReason, NameRecord, ObjectInfo,
    OfferedRecord, PeerName, Reference, Reply, Request, SignedRecord, StorageReply, StorageRequest, Target,
};

impl Clock for Shared {
    fn now(&self) -> Moment {
        self.ring.clock.now()
    }

    async fn sleep_until(self: &Arc<Self>, at: Moment) {
        self.ring.clock.sleep_until(Some(at)).await;
    }
}

impl Hops for Shared {
    async fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> Option<MembershipReply> {
        Shared::ask_membership(self, whom, request, within).await.ok()
    }

    fn hop_timeout(&self, whom: &Position) -> Duration {
        let connection = self.transport.connection(whom);
        hop_timeout(connection.map(|connection| connection.round_trip_time()))
    }

    async fn tell_of_lookup(self: &Arc<Self>, whom: Entry, reply: Option<MembershipReply>) {
        let message = match reply {
            // An answer that a helper passed on is no sign of life.
            Some(_) if self.transport.was_asked_through_a_helper(&whom.position) => return,
            Some(reply) => ActorMessage::LookupAnswer { from: whom, reply },
            None => ActorMessage::LookupSilence { whom },
        };
        self.ring.tell_actor(message).await;
    }
}

impl Env for Shared {
    type Piece = Rope;
    type Asking = OpenStream;
    type Answering = RequestStream;
    type DiskError = BlobError;
    type Incoming = Arriving;
    type Chunks = Gathering;
    type Reader = Reading;
    type Origin = Origin;
    type Freeing = Freeing;

    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        background(task);
    }

    fn view(&self) -> Arc<View> {
        Shared::view(self)
    }

    async fn view_until(
        self: &Arc<Self>,
        within: Duration,
        holds: impl Fn(&View) -> bool + Send + Sync,
    ) -> bool {
        self.ring.view_until(within, holds).await
    }

    async fn view_changed(self: &Arc<Self>, seen: &Arc<View>) -> bool {
        let mut view = self.ring.views.clone();
        view.wait_for(|now| !Arc::ptr_eq(now, seen)).await.is_ok()
    }

    fn was_member(&self) -> bool {
        self.ring.was_member.load(Ordering::Relaxed)
    }

    async fn ask_other(
        self: &Arc<Self>,
        whom: &Entry,
        request: StorageRequest,
        within: Duration,
    ) -> Result<StorageReply, MissingReason> {
        match self.transport.request(&Target::from(whom), &Request::Storage(request), within).await {
            Ok((_, Reply::Storage(reply))) => Ok(reply),
            Ok((_, Reply::ProtocolError(why))) => Err(MissingReason::Refused(why)),
            Ok((from, Reply::Membership(_) | Reply::Forwarding(_) | Reply::Revocations { .. })) => {
                Shared::blame_answer(self, &from.position, Fault::WrongReply);
                Err(MissingReason::Refused("it broke the protocol".to_owned()))
            }
            Err(failure) => Err(self.reason_of(whom, &failure)),
        }
    }

    fn answer_here(self: &Arc<Self>, request: StorageRequest) -> BoxFuture<'static, StorageReply> {
        let (shared, me) = (self.clone(), Shared::view(self).me.clone());
        Box::pin(async move {
            shared.answer_storage(&Asker { entry: me, through_a_helper: false }, request).await
        })
    }

    fn distrusted(&self) -> BTreeSet<Position> {
        let now = self.ring.clock.now();
        self.ledger().distrusted(now)
    }

    fn is_settled(&self, view: &View) -> bool {
        let now = self.ring.clock.now();
        self.ledger().is_settled(view, now)
    }

    fn blame(&self, peer: &Position, fault: Fault) {
        Shared::blame(self, peer, fault);
    }

    fn blame_answer(&self, peer: &Position, fault: Fault) -> bool {
        Shared::blame_answer(self, peer, fault)
    }

    fn named(&self, peer: &Position) -> PeerName {
        Shared::named(self, peer)
    }

    fn takeover(&self) -> MutexGuard<'_, TakeOver> {
        self.flows.takeover()
    }

    async fn look_at_offer(
        self: &Arc<Self>,
        objects: Vec<ContentId>,
        records: Vec<OfferedRecord>,
    ) -> Result<OfferLook, String> {
        let hopeless = self.flows.hopeless.clone();
        let looked = self.blocking(move |store| {
            let mut presence = hopeless.presence(store, objects)?;
            shelf::pass_over_freed(store, &mut presence)?;
            Ok((presence, shelf::known_records(store, &records)?))
        });
        looked.await.map_err(|error: BlobError| error.to_string())
    }

    fn with_arrivals<T>(&self, work: impl FnOnce(&mut Arrivals) -> T) -> T {
        work(&mut self.flows.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_agreements<T>(&self, work: impl FnOnce(&mut Agreements) -> T) -> T {
        work(&mut self.flows.agreements.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell_synced(&self, objects: u64, bytes: u64, took: Duration) {
        self.tell(PeerEvent::Synced { objects, bytes, ms: took.as_millis() as u64 });
    }

    fn bygones(&self) -> MutexGuard<'_, Bygones> {
        self.flows.bygones()
    }

    fn ring_ms(&self) -> u64 {
        self.ring.ring_ms()
    }

    fn next_clock(&self) -> Timestamp {
        self.ring.next_clock()
    }

    fn saw_clock(&self, seen: Timestamp) {
        self.ring.saw_clock(seen);
    }

    fn sign(&self, record: &NameRecord) -> Result<SignedRecord, String> {
        self.signed(record)
    }

    fn signer_of(&self, signed: &SignedRecord, record: &NameRecord) -> Result<Position, String> {
        self.signer(signed, record)
    }

    fn revoked_writer(&self, signed: &SignedRecord, record: &NameRecord) -> Option<String> {
        self.revoked_signer(signed, record)
    }

    async fn holds(self: &Arc<Self>, content: ContentId) -> Result<bool, String> {
        self.blocking(move |store| store.contains(&content)).await.map_err(|error| error.to_string())
    }

    async fn held_infos(self: &Arc<Self>, contents: Vec<ContentId>) -> Vec<Option<ObjectInfo>> {
        self.blocking(move |store| contents.iter().map(|content| shelf::held_info(store, content)).collect())
            .await
    }

    fn announced(&self, content: &ContentId) -> BTreeSet<(Position, u64)> {
        self.store.holders(content).iter().map(|holder| (holder.position, holder.incarnation)).collect()
    }

    fn absence(&self) -> MutexGuard<'_, Absence> {
        self.flows.absence()
    }

    fn takeover_wanted(&self) -> &Notify {
        &self.flows.takeover_wanted
    }

    fn name_terms(&self) -> NameTerms {
        NameTerms::default()
    }

    async fn write_active(self: &Arc<Self>, now_unix_ms: u64) -> Result<(), String> {
        let written = self.blocking(move |store| store.note_active(now_unix_ms)).await;
        written.map_err(|error| error.to_string())
    }

    async fn dropped_ms(self: &Arc<Self>) -> Result<u64, String> {
        self.blocking(|store| store.dropped_ms()).await.map_err(|error| error.to_string())
    }

    async fn note_dropped(self: &Arc<Self>, up_to_unix_ms: u64, now_unix_ms: u64) -> Result<(), String> {
        let slack_ms = self.name_terms().slack_ms();
        let noted =
            self.blocking(move |store| shelf::note_dropped(store, up_to_unix_ms, now_unix_ms, slack_ms));
        noted.await.map_err(|error| error.to_string())
    }

    async fn history(self: &Arc<Self>, key: Position) -> Result<NameHistory, String> {
        self.blocking(move |store| shelf::history(store, &key)).await
    }

    async fn update_histories<T: Send + 'static>(
        self: &Arc<Self>,
        changes: Vec<HistoryChange<T>>,
    ) -> Vec<Result<T, MissingReason>> {
        self.blocking(move |store| shelf::change_histories(store, changes)).await
    }

    async fn unlink(self: &Arc<Self>, name: &FileName, since: Timestamp) -> Result<(), MissingReason> {
        let name = name.clone();
        let unlinked = self.blocking(move |store| store.unlink(&name, since));
        unlinked.await.map_err(|error| error.missing_reason())
    }

    async fn open(
        self: &Arc<Self>,
        whom: &Entry,
        request: StorageRequest,
    ) -> Result<OpenStream, MissingReason> {
        let opened = self.transport.open(&Target::from(whom), &Request::Storage(request)).await;
        opened.map_err(|failure| self.reason_of(whom, &failure))
    }

    fn slice_bytes(&self) -> u64 {
        SLICE_BYTES
    }

    fn transfers(&self) -> &Transfers {
        &self.flows.transfers
    }

    fn is_line_full(&self, to: &Position) -> bool {
        self.transport.connection(to).is_some_and(|line| line.is_full())
    }

    fn sent(&self, _: Cause, bytes: u64) {
        self.flows.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    fn moved(&self) -> u64 {
        self.flows.moved.load(Ordering::Relaxed)
    }

    async fn tell_ring(self: &Arc<Self>, wish: RingWish) {
        self.ring
            .tell_actor(match wish {
                RingWish::BeginLeaving => ActorMessage::BeginLeaving,
                RingWish::AskTurn => ActorMessage::AskTurn,
                RingWish::TakeTurn => ActorMessage::TakeTurn,
                RingWish::Stay => ActorMessage::Stay,
                RingWish::Depart => ActorMessage::Depart,
            })
            .await;
    }

    fn heard_moving(&self, bytes: u64) {
        self.flows.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    async fn receive(self: &Arc<Self>, object: ObjectInfo) -> Result<Arriving, BlobError> {
        let receiver = self.blocking(move |store| store.receive(object.content, object.length)).await;
        receiver.map(Arriving::new)
    }

    async fn receive_chunks(
        self: &Arc<Self>,
        object: ObjectInfo,
        chain: Chain,
    ) -> Result<Gathering, BlobError> {
        let receiver = self.blocking(move |store| store.receive_chunks(chain, object.length)).await;
        receiver.map(Gathering::new)
    }

    fn hashed_bytes(&self, content: &ContentId) -> u64 {
        self.store.hashed_bytes(content).unwrap_or(0)
    }

    async fn received_bytes(self: &Arc<Self>, content: ContentId) -> u64 {
        self.blocking(move |store| store.received_bytes(&content)).await
    }

    async fn info(self: &Arc<Self>, content: ContentId) -> Result<Option<ObjectInfo>, BlobError> {
        self.blocking(move |store| store.info(&content)).await
    }

    async fn outboard(
        self: &Arc<Self>,
        content: ContentId,
    ) -> Result<Option<(ObjectInfo, Outboard)>, BlobError> {
        self.blocking(move |store| Ok(store.info(&content)?.zip(store.outboard(&content)?))).await
    }

    fn try_disk_again(&self) {
        self.store.try_again();
    }

    fn pauses(&self) -> u64 {
        interrupted_waits()
    }

    async fn read(
        self: &Arc<Self>,
        content: ContentId,
        offset: u64,
    ) -> Result<(ObjectInfo, Reading), BlobError> {
        let mut reader = self.blocking(move |store| store.read(&content, offset)).await?;
        Ok((*reader.info(), Reading::Ahead(read_ahead(move || reader.read_piece()))))
    }

    async fn read_small(self: &Arc<Self>, contents: Vec<ContentId>, most_bytes: u64) -> Vec<Option<Rope>> {
        let read = self.blocking(move |store| shelf::read_small(store, &contents, most_bytes)).await;
        read.into_iter().map(|bytes| bytes.map(Rope::from)).collect()
    }

    async fn check_bytes(self: &Arc<Self>, objects: Vec<(ContentId, Vec<Rope>)>) -> Vec<bool> {
        let is_right = |(content, pieces): (ContentId, Vec<Rope>)| {
            let parts = pieces.iter().flat_map(Rope::parts);
            ContentId::of_parts(parts.map(Bytes::as_ref)) == content
        };
        spawn_blocking(move || objects.into_iter().map(is_right).collect()).await
    }

    async fn read_origin(
        self: &Arc<Self>,
        origin: &Origin,
        object: ObjectInfo,
        offset: u64,
    ) -> Result<Reading, GiveError<BlobError>> {
        match origin {
            Origin::File(source, _) => {
                let mut reader = source.reader(offset);
                Ok(Reading::Ahead(read_ahead(move || reader.read_piece())))
            }
            Origin::Client(client) => Reading::client(client, object, offset).await,
        }
    }

    fn not_given(&self, error: &BlobError) -> MissingReason {
        shelf::not_given(&Shared::named(self, &self.position()), error)
    }

    async fn keep_linked(self: &Arc<Self>, content: ContentId, links: Vec<Link>) -> Result<bool, BlobError> {
        let leased = self.lease_date();
        self.blocking(move |store| shelf::keep_linked(store, content, &links, leased)).await
    }

    async fn keep_batch(
        self: &Arc<Self>,
        batch: Vec<Small<Rope>>,
        use_as: KeptAs,
    ) -> Vec<Result<ObjectInfo, BlobError>> {
        let small = |Small { object, links, pieces }: Small<Rope>| {
            let parts: Vec<&Bytes> = pieces.iter().flat_map(Rope::parts).collect();
            let bytes = match parts.as_slice() {
                [whole] => Bytes::clone(whole),
                parts => parts.iter().map(|part| part.as_ref()).collect::<Vec<&[u8]>>().concat().into(),
            };
            SmallObject { content: object.content, links, bytes }
        };
        self.blocking(move |store| shelf::keep_batch(store, batch.into_iter().map(small).collect(), use_as))
            .await
    }

    async fn histories(self: &Arc<Self>, keys: Vec<Position>) -> Result<Vec<NameHistory>, String> {
        self.blocking(move |store| shelf::histories(store, &keys)).await
    }

    fn begin_freeing(&self, content: &ContentId) -> Option<Freeing> {
        self.store.begin_freeing(content)
    }

    async fn void_freeing(self: &Arc<Self>) {
        if self.store.is_freeing() {
            self.blocking(|store| store.void_freeing()).await;
        }
    }

    async fn free(self: &Arc<Self>, freeing: Freeing) -> Result<bool, BlobError> {
        self.blocking(move |_| freeing.free()).await
    }

    async fn vouch(self: &Arc<Self>, content: ContentId) -> Result<bool, String> {
        self.blocking(move |store| shelf::vouch(store, &content)).await.map_err(|error| error.to_string())
    }

    async fn copy_here(self: &Arc<Self>, content: ContentId) -> Result<Option<CopyHere>, String> {
        let copy = self.blocking(move |store| shelf::copy_here(store, &content)).await;
        copy.map_err(|error| error.to_string())
    }

    async fn copies_after(self: &Arc<Self>, after: Option<ContentId>) -> Result<Vec<CopyHere>, String> {
        let copies = self.blocking(move |store| shelf::copies_after(store, after)).await;
        copies.map_err(|error| error.to_string())
    }

    async fn mark_surplus(self: &Arc<Self>, marks: Vec<(ContentId, Option<u64>)>) -> Result<(), String> {
        let marked = self.blocking(move |store| store.mark_surplus(marks)).await;
        marked.map_err(|error| error.to_string())
    }

    async fn is_short_of_room(self: &Arc<Self>) -> bool {
        self.blocking(|store| store.space().is_ok_and(|space| space.is_short())).await
    }

    fn surplus_wait(&self) -> Duration {
        self.flows.surplus_wait
    }

    async fn disk_room(self: &Arc<Self>) -> Option<DiskRoom> {
        self.blocking(|store| {
            let (free_bytes, all_bytes) = store.free_and_all().ok()?;
            Some(DiskRoom { free_bytes, all_bytes, takes_writes: store.full_with().is_none() })
        })
        .await
    }

    fn room_word(&self) -> MutexGuard<'_, RoomWord> {
        self.flows.room_word()
    }

    async fn say_full(self: &Arc<Self>, full: bool) {
        self.ring.tell_actor(ActorMessage::SayFull(full)).await;
    }

    fn no_room(&self) -> MutexGuard<'_, NoRoom> {
        self.flows.no_room()
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.flows.grants()
    }

    fn holds_no_more(&self, content: &ContentId, peer: &Entry) {
        self.store.remove_holder(content, &peer.position);
        self.flows.health.hear_copy(peer, *content, false);
    }

    fn lease_terms(&self) -> LeaseTerms {
        LeaseTerms::default()
    }

    fn lease_schedule(&self) -> MutexGuard<'_, LeaseSchedule> {
        self.flows.lease_schedule()
    }

    async fn histories_after(
        self: &Arc<Self>,
        after: Option<Position>,
        max: usize,
    ) -> Result<Vec<(Position, Option<NameHistory>)>, String> {
        let read = self.blocking(move |store| shelf::histories_after(store, after, max));
        read.await.map_err(|error| error.to_string())
    }

    async fn renew_leases(
        self: &Arc<Self>,
        references: Vec<Reference>,
        at_unix_ms: u64,
    ) -> Result<(), String> {
        let renewed = self.blocking(move |store| shelf::renew_leases(store, &references, at_unix_ms));
        renewed.await.map_err(|error| error.to_string())
    }

    async fn lapsed_objects(
        self: &Arc<Self>,
        now_unix_ms: u64,
        max: usize,
    ) -> Result<Vec<ContentId>, String> {
        let before = self.lease_terms().lapsed_before(now_unix_ms);
        let lapsed = self.blocking(move |store| store.lapsed(now_unix_ms, before, max));
        lapsed.await.map_err(|error| error.to_string())
    }

    async fn was_freed(self: &Arc<Self>, content: ContentId) -> Result<bool, String> {
        self.blocking(move |store| store.was_freed(&content)).await.map_err(|error| error.to_string())
    }

    async fn free_lapsed(self: &Arc<Self>, content: ContentId, before_unix_ms: u64) -> Result<bool, String> {
        let freed = self.blocking(move |store| store.free_lapsed(&content, before_unix_ms));
        freed.await.map_err(|error| error.to_string())
    }

    fn copy_came(&self, content: &ContentId, from: Option<Position>, anew: bool) {
        if anew {
            self.tell(PeerEvent::Copied { content: *content, to: Shared::named(self, &self.position()) });
        }
        self.flows.hopeless.came(content);
        self.flows.notices.came(content, from.map(|peer| Shared::named(self, &peer)));
    }

    fn copy_refused(&self, object: &ObjectInfo, reason: &MissingReason) {
        self.flows.hopeless.refused(object, reason);
    }

    fn copy_is_at(&self, peer: &Position, content: ContentId) {
        if let Some(entry) = Shared::view(self).alive().find(|entry| entry.position == *peer) {
            self.flows.health.hear_copy(entry, content, true);
        }
    }

    fn repair_wanted(&self) -> &Notify {
        &self.flows.repair_wanted
    }

    fn repair_interval(&self) -> Duration {
        self.ring.interval
    }

    fn waited_for(&self) -> BTreeSet<Position> {
        if self.flows.repair.away_limit.is_zero() {
            return BTreeSet::new();
        }
        let view = Shared::view(self);
        let away = view.away().map(|entry| entry.position);
        away.filter(|position| !self.is_gone_for_good(position)).collect()
    }

    /// Removes partial transfers that no peer continues, and what of the cache exceeds a limit; writes what was verified,
    /// keeps the log of records short, and looks at the files of some objects.
    async fn tidy(self: &Arc<Self>) {
        let (now, view) = (self.now(), Shared::view(self));
        self.with_agreements(|agreements| agreements.tidy(now, &view));
        let from = *self.flows.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let tidied = self.blocking(move |store| {
            store.expire_parts(PART_UNUSED_MAX, PARTS_MAX)?;
            store.write_uses()?;
            store.trim()?;
            store.keep_reserve();
            store.tidy_verified()?;
            store.tidy_records()?;
            store.look_at_files(from, FILES_PER_LOOK)
        });
        match tidied.await {
            Ok(next) => *self.flows.looked_at.lock().unwrap_or_else(PoisonError::into_inner) = next,
            Err(error) => tracing::warn!(%error, "the data directory was not tidied up"),
        }
        let evicted = self.store.take_evicted();
        if !evicted.is_empty() {
            let shared = self.clone();
            background(async move { tell_of_evicted(&shared, evicted).await });
        }
    }

    fn look_for_lost(self: &Arc<Self>) -> BoxFuture<'static, ()> {
        let shared = self.clone();
        Box::pin(async move {
            if let Err(error) = Shared::look_for_lost(&shared).await {
                tracing::warn!(%error, "lost contents were not looked for");
            }
        })
    }

    async fn first_held(self: &Arc<Self>, from: Position) -> Result<Option<Position>, BlobError> {
        self.blocking(move |store| store.first_held(&from)).await
    }

    async fn digests(self: &Arc<Self>, ranges: Vec<KeyRange>) -> Result<Vec<SetDigest>, BlobError> {
        self.blocking(move |store| ranges.iter().map(|range| store.digest(range)).collect()).await
    }

    fn promise(&self, ranges: &[KeyRange]) {
        ranges.iter().for_each(|range| self.store.vouch_for(range));
    }

    async fn held(self: &Arc<Self>, range: KeyRange, max: usize) -> Result<HeldPage, BlobError> {
        self.blocking(move |store| shelf::held(store, &range, max)).await
    }

    async fn holdings(self: &Arc<Self>) -> Result<Holdings, BlobError> {
        self.blocking(shelf::holdings).await
    }

    async fn info_and_links(
        self: &Arc<Self>,
        content: ContentId,
    ) -> Result<(ObjectInfo, Vec<Link>), BlobError> {
        self.blocking(move |store| shelf::info_and_links(store, content)).await
    }

    async fn look_at_own(self: &Arc<Self>, content: ContentId) -> Result<(), BlobError> {
        self.blocking(move |store| shelf::look_at_own(store, content)).await
    }

    fn may_give(&self, to: &Entry, content: &ContentId) -> bool {
        self.flows.hopeless.may_try(to, content)
    }

    fn gave(&self, to: &Entry, content: ContentId, refusal: Option<&MissingReason>) {
        self.flows.hopeless.tried(to, content, refusal);
    }

    fn heard_offer(&self, view: &View, from: &Entry, asked: &BTreeSet<ContentId>, has: &BTreeSet<ContentId>) {
        self.note_offer(view, from, asked, has);
    }

    fn heard_all(&self, from: &Entry, range: &KeyRange) {
        self.note_all(from, range);
    }

    fn warn(&self, what: String) {
        self.tell(PeerEvent::Warning(what));
    }
}

/// The number of bytes that are given to the network at a time.
const SLICE_BYTES: u64 = 64 << 10;
/// How long a partial transfer is kept for a sender that continues it, and the most that are kept.
const PART_UNUSED_MAX: Duration = Duration::from_secs(24 * 3_600);
const PARTS_MAX: usize = 256;
/// The objects whose files are looked at before each round of repair: whether they are there, and unchanged.
const FILES_PER_LOOK: usize = 1_000;
