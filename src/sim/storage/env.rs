//! The environment of the flows of [`crate::files`], in the simulator.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::super::disk::{Failure, Intention, Span};
use super::bytes::{Arriving, Reading};
use super::chunks::Gathering;
use super::effect::FilesEffect;
use super::keeper::Keeper;
use super::signature::{FORGED, unsigned};
use super::stream::Stream;
use crate::chord::View;
use crate::files::{
    BoxFuture, Cause, Clock, CopyHere, Env, GiveError, HeldPage, HistoryChange, Hops, Laws, OfferLook,
    RingWish, Transfers,
};
use crate::id::{ContentId, FileName, KeyRange, Position, SetDigest};
use crate::names::{Absence, Bygones, NameHistory, NameTerms};
use crate::outboard::{Chain, Outboard};
use crate::replica::{
    Agreements, Arrivals, DiskRoom, Grants, Holdings, LeaseSchedule, LeaseTerms, NoRoom, RoomWord, TakeOver,
};
use crate::time::{Moment, Timestamp};
use crate::wire::{
    Entry, Fault, Link, MembershipReply, MembershipRequest, MissingReason, NameRecord, ObjectInfo,
    OfferedRecord, PeerName, Reference, SignedRecord, StorageReply, StorageRequest, codec,
};

impl Clock for Keeper {
    fn now(&self) -> Moment {
        Keeper::now(self)
    }

    fn sleep_until(self: &Arc<Self>, at: Moment) -> impl Future<Output = ()> + Send {
        Keeper::sleep_until(self, at)
    }
}

impl Hops for Keeper {
    async fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> Option<MembershipReply> {
        self.mailbox.ask_membership(whom, request, within).await
    }

    fn hop_timeout(&self, _: &Position) -> Duration {
        self.mailbox.hop_timeout()
    }

    async fn tell_of_lookup(self: &Arc<Self>, whom: Entry, reply: Option<MembershipReply>) {
        self.mailbox.tell_of_lookup(whom, reply);
    }
}

impl Env for Keeper {
    type Piece = Span;
    type Asking = Stream;
    type Answering = Stream;
    type DiskError = Failure;
    type Incoming = Arriving;
    type Chunks = Gathering;
    type Reader = Reading;
    /// A file of the peer's user, which can always be read: its bytes, if stores are real.
    type Origin = Option<Bytes>;
    type Freeing = Intention;

    fn laws(&self) -> Laws {
        self.laws
    }

    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        Keeper::spawn(self, task);
    }

    fn view(&self) -> Arc<View> {
        Keeper::view(self)
    }

    async fn view_until(
        self: &Arc<Self>,
        within: Duration,
        holds: impl Fn(&View) -> bool + Send + Sync,
    ) -> bool {
        Keeper::view_until(self, within, &holds).await;
        holds(&Keeper::view(self))
    }

    async fn view_changed(self: &Arc<Self>, seen: &Arc<View>) -> bool {
        self.neighbours_changed(seen).await;
        true
    }

    fn was_member(&self) -> bool {
        self.was_member.get()
    }

    async fn ask_other(
        self: &Arc<Self>,
        whom: &Entry,
        request: StorageRequest,
        within: Duration,
    ) -> Result<StorageReply, MissingReason> {
        let mut stream = Stream::open(self, whom, request);
        let reply = stream.next_reply(within).await.map_err(|_| MissingReason::Unreachable);
        stream.is_over();
        reply
    }

    fn answer_here(self: &Arc<Self>, request: StorageRequest) -> BoxFuture<'static, StorageReply> {
        let (keeper, me) = (self.clone(), Keeper::view(self).me.clone());
        Box::pin(async move { keeper.answer(&me, request).await })
    }

    fn distrusted(&self) -> BTreeSet<Position> {
        self.ledger.lock().distrusted(Keeper::now(self))
    }

    fn is_settled(&self, view: &View) -> bool {
        self.ledger.lock().is_settled(view, Keeper::now(self))
    }

    fn blame(&self, peer: &Position, fault: Fault) {
        if *peer != Keeper::view(self).me.position {
            self.ledger.lock().note(*peer, fault, Keeper::now(self));
        }
    }

    fn blame_answer(&self, peer: &Position, fault: Fault) -> bool {
        let hearsay = self.mailbox.was_asked_through_a_helper(peer);
        if !hearsay {
            Env::blame(self, peer, fault);
        }
        !hearsay
    }

    fn named(&self, peer: &Position) -> PeerName {
        PeerName { position: *peer, name: None }
    }

    fn takeover(&self) -> MutexGuard<'_, TakeOver> {
        self.takeover.lock()
    }

    async fn look_at_offer(
        self: &Arc<Self>,
        objects: Vec<ContentId>,
        records: Vec<OfferedRecord>,
    ) -> Result<OfferLook, String> {
        self.disk_call().await;
        self.disk.lock().look_at_offer(objects, &records).map_err(|error| error.to_string())
    }

    fn with_arrivals<T>(&self, work: impl FnOnce(&mut Arrivals) -> T) -> T {
        work(&mut self.arrivals.lock())
    }

    fn with_agreements<T>(&self, work: impl FnOnce(&mut Agreements) -> T) -> T {
        work(&mut self.agreements.lock())
    }

    /// The simulator has no people to tell.
    fn tell_synced(&self, _: u64, _: u64, _: Duration) {}

    fn bygones(&self) -> MutexGuard<'_, Bygones> {
        self.bygones.lock()
    }

    fn ring_ms(&self) -> u64 {
        Keeper::ring_ms(self)
    }

    fn next_clock(&self) -> Timestamp {
        Keeper::next_clock(self)
    }

    fn saw_clock(&self, seen: Timestamp) {
        Keeper::saw_clock(self, seen);
    }

    fn sign(&self, record: &NameRecord) -> Result<SignedRecord, String> {
        let body = codec::encode(record).map_err(|error| error.to_string())?;
        Ok(unsigned(body))
    }

    fn signer_of(&self, signed: &SignedRecord, record: &NameRecord) -> Result<Position, String> {
        match signed.signature.contains(&FORGED) {
            true => Err("the signature is not good".to_owned()),
            false => Ok(record.writer),
        }
    }

    fn revoked_writer(&self, _: &SignedRecord, record: &NameRecord) -> Option<String> {
        let revoked = self.revoked.lock();
        let is_refused = revoked.get(&record.writer)?.refuses_record_of(record.clock.unix_ms());
        is_refused.then(|| "its writer's key was revoked before".to_owned())
    }

    async fn holds(self: &Arc<Self>, content: ContentId) -> Result<bool, String> {
        self.disk_call().await;
        self.disk.lock().contains(&content).map_err(|error| error.to_string())
    }

    async fn held_infos(self: &Arc<Self>, contents: Vec<ContentId>) -> Vec<Option<ObjectInfo>> {
        self.disk_call().await;
        let mut disk = self.disk.lock();
        let mut held = |content: &ContentId| {
            disk.contains(content).unwrap_or(false).then(|| disk.info(content).ok()?).flatten()
        };
        contents.iter().map(&mut held).collect()
    }

    fn announced(&self, content: &ContentId) -> BTreeSet<(Position, u64)> {
        let holders = self.holders.lock();
        holders.get(content).map(|lives| lives.iter().map(|(p, i)| (*p, *i)).collect()).unwrap_or_default()
    }

    fn absence(&self) -> MutexGuard<'_, Absence> {
        self.absence.lock()
    }

    fn takeover_wanted(&self) -> &Notify {
        &self.takeover_wanted
    }

    fn name_terms(&self) -> NameTerms {
        self.settings.names
    }

    async fn write_active(self: &Arc<Self>, now_unix_ms: u64) -> Result<(), String> {
        self.sleep(self.settings.sync_time).await;
        self.disk.lock().note_active(now_unix_ms).map_err(|error| error.to_string())
    }

    async fn dropped_ms(self: &Arc<Self>) -> Result<u64, String> {
        self.disk_call().await;
        self.disk.lock().dropped_ms().map_err(|error| error.to_string())
    }

    async fn note_dropped(self: &Arc<Self>, up_to_unix_ms: u64, now_unix_ms: u64) -> Result<(), String> {
        self.sleep(self.settings.sync_time).await;
        let slack_ms = self.settings.names.slack_ms();
        let noted = self.disk.lock().note_dropped(up_to_unix_ms, now_unix_ms, slack_ms);
        noted.map_err(|error| error.to_string())
    }

    async fn history(self: &Arc<Self>, key: Position) -> Result<NameHistory, String> {
        self.disk_call().await;
        self.disk.lock().history(&key)
    }

    async fn histories(self: &Arc<Self>, keys: Vec<Position>) -> Result<Vec<NameHistory>, String> {
        self.disk_call().await;
        let disk = self.disk.lock();
        keys.iter().map(|key| disk.history(key)).collect()
    }

    async fn update_histories<T: Send + 'static>(
        self: &Arc<Self>,
        changes: Vec<HistoryChange<T>>,
    ) -> Vec<Result<T, MissingReason>> {
        self.sleep(self.settings.sync_time).await;
        self.disk.lock().update_records(changes)
    }

    /// The simulator has no links.
    async fn unlink(self: &Arc<Self>, _: &FileName, _: Timestamp) -> Result<(), MissingReason> {
        Ok(())
    }

    async fn open(self: &Arc<Self>, whom: &Entry, request: StorageRequest) -> Result<Stream, MissingReason> {
        Ok(Stream::open(self, whom, request))
    }

    /// A simulated connection is seen to move by its pieces.
    fn slice_bytes(&self) -> u64 {
        self.settings.slice_bytes
    }

    fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    fn is_line_full(&self, to: &Position) -> bool {
        Keeper::is_line_full(self, to)
    }

    fn moved(&self) -> u64 {
        self.moved.get()
    }

    async fn tell_ring(self: &Arc<Self>, wish: RingWish) {
        self.want(FilesEffect::Leaving(wish));
    }

    fn sent(&self, cause: Cause, bytes: u64) {
        self.moved.set(self.moved.get() + bytes);
        self.want(FilesEffect::Moved { cause, bytes });
    }

    fn heard_moving(&self, bytes: u64) {
        self.moved.set(self.moved.get() + bytes);
    }

    async fn receive(self: &Arc<Self>, object: ObjectInfo) -> Result<Arriving, Failure> {
        self.disk_call().await;
        Arriving::begin(self, object)
    }

    async fn receive_chunks(
        self: &Arc<Self>,
        object: ObjectInfo,
        chain: Chain,
    ) -> Result<Gathering, Failure> {
        self.disk_call().await;
        Gathering::begin(self, object, chain)
    }

    fn hashed_bytes(&self, _: &ContentId) -> u64 {
        0
    }

    async fn received_bytes(self: &Arc<Self>, content: ContentId) -> u64 {
        self.disk_call().await;
        self.disk.lock().part(&content).unwrap_or(0)
    }

    async fn info(self: &Arc<Self>, content: ContentId) -> Result<Option<ObjectInfo>, Failure> {
        self.disk_call().await;
        self.disk.lock().info(&content)
    }

    async fn outboard(
        self: &Arc<Self>,
        content: ContentId,
    ) -> Result<Option<(ObjectInfo, Outboard)>, Failure> {
        self.disk_call().await;
        self.disk.lock().outboard(&content)
    }

    fn try_disk_again(&self) {}

    /// The files' side does not notice a paused process here; the ring's protocol does.
    fn pauses(&self) -> u64 {
        0
    }

    async fn read(
        self: &Arc<Self>,
        content: ContentId,
        offset: u64,
    ) -> Result<(ObjectInfo, Reading), Failure> {
        self.disk_call().await;
        Reading::begin(self, &content, offset)
    }

    async fn read_small(self: &Arc<Self>, contents: Vec<ContentId>, most_bytes: u64) -> Vec<Option<Span>> {
        self.disk_call().await;
        self.disk.lock().read_small(&contents, most_bytes)
    }

    async fn check_bytes(self: &Arc<Self>, objects: Vec<(ContentId, Vec<Span>)>) -> Vec<bool> {
        objects.iter().map(|(content, pieces)| Span::are_of(pieces, content)).collect()
    }

    async fn read_origin(
        self: &Arc<Self>,
        origin: &Option<Bytes>,
        object: ObjectInfo,
        offset: u64,
    ) -> Result<Reading, GiveError<Failure>> {
        Ok(match origin {
            Some(text) => Reading::Text(text.slice((offset as usize).min(text.len())..)),
            None => Reading::light(&object, offset, true),
        })
    }

    fn not_given(&self, error: &Failure) -> MissingReason {
        MissingReason::NotGiven(error.to_string())
    }

    async fn keep_linked(self: &Arc<Self>, content: ContentId, links: Vec<Link>) -> Result<bool, Failure> {
        self.disk_call().await;
        let leased = self.lease_date();
        self.disk.lock().keep_linked(content, &links, leased)
    }

    fn begin_freeing(&self, content: &ContentId) -> Option<Intention> {
        self.disk.lock().begin_freeing(content)
    }

    async fn void_freeing(self: &Arc<Self>) {
        self.disk.lock().void_freeing();
    }

    async fn free(self: &Arc<Self>, freeing: Intention) -> Result<bool, Failure> {
        self.sleep(self.settings.sync_time).await;
        let content = freeing.content();
        let freed = self.disk.lock().free(freeing, self.laws)?;
        if freed {
            self.want(FilesEffect::Freed { content, lapsed: false });
        }
        Ok(freed)
    }

    async fn vouch(self: &Arc<Self>, content: ContentId) -> Result<bool, String> {
        self.disk_call().await;
        self.disk.lock().vouch(&content).map_err(|error| error.to_string())
    }

    async fn copy_here(self: &Arc<Self>, content: ContentId) -> Result<Option<CopyHere>, String> {
        self.disk_call().await;
        self.disk.lock().copy(&content).map_err(|error| error.to_string())
    }

    async fn copies_after(self: &Arc<Self>, after: Option<ContentId>) -> Result<Vec<CopyHere>, String> {
        self.disk_call().await;
        self.disk.lock().copies_after(after).map_err(|error| error.to_string())
    }

    async fn mark_surplus(self: &Arc<Self>, marks: Vec<(ContentId, Option<u64>)>) -> Result<(), String> {
        self.disk_call().await;
        self.disk.lock().mark_surplus(marks).map_err(|error| error.to_string())
    }

    async fn is_short_of_room(self: &Arc<Self>) -> bool {
        self.disk_call().await;
        self.disk.lock().is_short_of_room().unwrap_or(false)
    }

    fn surplus_wait(&self) -> Duration {
        self.settings.surplus_wait.unwrap_or(Duration::MAX)
    }

    async fn disk_room(self: &Arc<Self>) -> Option<DiskRoom> {
        self.disk.lock().room()
    }

    fn room_word(&self) -> MutexGuard<'_, RoomWord> {
        self.room_word.lock()
    }

    async fn say_full(self: &Arc<Self>, full: bool) {
        self.want(FilesEffect::Full(full));
    }

    fn no_room(&self) -> MutexGuard<'_, NoRoom> {
        self.no_room.lock()
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock()
    }

    fn holds_no_more(&self, content: &ContentId, peer: &Entry) {
        if let Some(holders) = self.holders.lock().get_mut(content) {
            holders.remove(&peer.position);
        }
    }

    fn lease_terms(&self) -> LeaseTerms {
        self.settings.leases
    }

    fn lease_schedule(&self) -> MutexGuard<'_, LeaseSchedule> {
        self.lease_schedule.lock()
    }

    async fn histories_after(
        self: &Arc<Self>,
        after: Option<Position>,
        max: usize,
    ) -> Result<Vec<(Position, Option<NameHistory>)>, String> {
        self.disk_call().await;
        self.disk.lock().histories_after(after, max).map_err(|error| error.to_string())
    }

    async fn renew_leases(
        self: &Arc<Self>,
        references: Vec<Reference>,
        at_unix_ms: u64,
    ) -> Result<(), String> {
        self.sleep(self.settings.sync_time).await;
        self.disk.lock().renew_leases(&references, at_unix_ms).map_err(|error| error.to_string())
    }

    async fn lapsed_objects(
        self: &Arc<Self>,
        now_unix_ms: u64,
        max: usize,
    ) -> Result<Vec<ContentId>, String> {
        self.disk_call().await;
        let lapsed = self.disk.lock().lapsed(now_unix_ms, &self.settings.leases, max);
        lapsed.map_err(|error| error.to_string())
    }

    async fn was_freed(self: &Arc<Self>, content: ContentId) -> Result<bool, String> {
        self.disk_call().await;
        self.disk.lock().was_freed(&content).map_err(|error| error.to_string())
    }

    async fn free_lapsed(self: &Arc<Self>, content: ContentId, before_unix_ms: u64) -> Result<bool, String> {
        self.disk_call().await;
        let freed = self.disk.lock().free_lapsed(&content, before_unix_ms);
        let freed = freed.map_err(|error| error.to_string())?;
        if freed {
            self.want(FilesEffect::Freed { content, lapsed: true });
        }
        Ok(freed)
    }

    fn copy_came(&self, _: &ContentId, _: Option<Position>, _: bool) {}

    fn copy_refused(&self, _: &ObjectInfo, _: &MissingReason) {}

    fn copy_is_at(&self, _: &Position, _: ContentId) {}

    fn repair_wanted(&self) -> &Notify {
        &self.repair_wanted
    }

    fn repair_interval(&self) -> Duration {
        self.interval
    }

    fn waited_for(&self) -> BTreeSet<Position> {
        Keeper::waited_for(self)
    }

    async fn tidy(self: &Arc<Self>) {
        let view = Keeper::view(self);
        self.agreements.lock().tidy(Keeper::now(self), &view);
        self.disk_call().await;
        // A running peer warns its user, and goes on.
        let _ = self.disk.lock().look_at_files();
    }

    fn look_for_lost(self: &Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    async fn first_held(self: &Arc<Self>, from: Position) -> Result<Option<Position>, Failure> {
        self.disk_call().await;
        self.disk.lock().first_held(&from)
    }

    async fn digests(self: &Arc<Self>, ranges: Vec<KeyRange>) -> Result<Vec<SetDigest>, Failure> {
        self.disk_call().await;
        let mut disk = self.disk.lock();
        ranges.iter().map(|range| disk.digest(range)).collect()
    }

    fn promise(&self, ranges: &[KeyRange]) {
        let mut disk = self.disk.lock();
        ranges.iter().for_each(|range| disk.promise(range));
    }

    async fn held(self: &Arc<Self>, range: KeyRange, max: usize) -> Result<HeldPage, Failure> {
        self.disk_call().await;
        self.disk.lock().held(&range, max)
    }

    async fn holdings(self: &Arc<Self>) -> Result<Holdings, Failure> {
        self.disk_call().await;
        self.disk.lock().holdings()
    }

    async fn info_and_links(
        self: &Arc<Self>,
        content: ContentId,
    ) -> Result<(ObjectInfo, Vec<Link>), Failure> {
        self.disk_call().await;
        self.disk.lock().info_and_links(content)
    }

    async fn look_at_own(self: &Arc<Self>, content: ContentId) -> Result<(), Failure> {
        self.disk_call().await;
        self.disk.lock().scrub(content)
    }

    fn may_give(&self, _: &Entry, _: &ContentId) -> bool {
        true
    }

    fn gave(&self, _: &Entry, _: ContentId, _: Option<&MissingReason>) {}

    /// The simulator has no people to tell.
    fn heard_offer(&self, _: &View, _: &Entry, _: &BTreeSet<ContentId>, _: &BTreeSet<ContentId>) {}

    fn heard_all(&self, _: &Entry, _: &KeyRange) {}

    fn warn(&self, _: String) {}
}
