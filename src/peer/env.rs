//! The world of the flows of [`crate::files`], in a running peer.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::actor::ActorMessage;
use super::api::PeerEvent;
use super::shared::{Shared, disk_reason};
use crate::blob::BlobError;
use crate::chord::{View, hop_timeout};
use crate::files::{Asker, BoxFuture, Env, OfferLook};
use crate::id::{ContentId, FileName, Position};
use crate::names::{Bygones, NameHistory};
use crate::replica::{Arrivals, TakeOver};
use crate::time::{Moment, Timestamp};
use crate::wire::{
    Entry, Fault, MembershipReply, MembershipRequest, MissingReason, NameRecord, OfferedRecord, PeerName,
    Reply, Request, SignedRecord, StorageReply, StorageRequest, Target, codec,
};

impl Env for Shared {
    fn now(&self) -> Moment {
        self.clock.now()
    }

    async fn sleep_until(self: &Arc<Self>, at: Moment) {
        self.clock.sleep_until(Some(at)).await;
    }

    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn view(&self) -> Arc<View> {
        Shared::view(self)
    }

    async fn view_until(
        self: &Arc<Self>,
        within: Duration,
        holds: impl Fn(&View) -> bool + Send + Sync,
    ) -> bool {
        Shared::view_until(self, within, holds).await
    }

    async fn view_changed(self: &Arc<Self>, seen: &Arc<View>) -> bool {
        let mut view = self.view.clone();
        view.wait_for(|now| !Arc::ptr_eq(now, seen)).await.is_ok()
    }

    fn was_member(&self) -> bool {
        self.was_member.load(Ordering::Relaxed)
    }

    async fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> Option<MembershipReply> {
        Shared::ask_membership(self, whom, request, within).await.ok()
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
            Ok((from, Reply::Membership(_) | Reply::Forwarding(_))) => {
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

    fn hop_timeout(&self, whom: &Position) -> Duration {
        let connection = self.transport.connection(whom);
        hop_timeout(connection.map(|connection| connection.round_trip_time()))
    }

    async fn tell_of_lookup(self: &Arc<Self>, whom: Entry, reply: Option<MembershipReply>) {
        let message = match reply {
            // What a helper passes on is no sign of life.
            Some(_) if self.transport.was_asked_through_a_helper(&whom.position) => return,
            Some(reply) => ActorMessage::LookupAnswer { from: whom, reply },
            None => ActorMessage::LookupSilence { whom },
        };
        self.tell_actor(message).await;
    }

    fn distrusted(&self) -> BTreeSet<Position> {
        self.ledger.distrusted()
    }

    fn is_settled(&self, view: &View) -> bool {
        self.ledger.is_settled(view)
    }

    fn blame(&self, peer: &Position, fault: Fault) {
        Shared::blame(self, peer, fault);
    }

    fn blame_answer(&self, peer: &Position, fault: Fault) {
        Shared::blame_answer(self, peer, fault);
    }

    fn named(&self, peer: &Position) -> PeerName {
        Shared::named(self, peer)
    }

    fn takeover(&self) -> MutexGuard<'_, TakeOver> {
        Shared::takeover(self)
    }

    async fn look_at_offer(
        self: &Arc<Self>,
        objects: Vec<ContentId>,
        records: Vec<OfferedRecord>,
    ) -> Result<OfferLook, String> {
        let hopeless = self.hopeless.clone();
        let looked = self.blocking(move |store| {
            let objects = hopeless.presence(store, objects)?;
            let is_known = |offered: &OfferedRecord| -> Result<bool, BlobError> {
                let bytes = store.record(&offered.key)?;
                let history: Option<NameHistory> = bytes.and_then(|bytes| codec::decode(&bytes).ok());
                Ok(history.is_some_and(|history| history.knows(&offered.id)))
            };
            Ok((objects, records.iter().map(is_known).collect::<Result<_, _>>()?))
        });
        looked.await.map_err(|error| error.to_string())
    }

    fn with_arrivals<T>(&self, work: impl FnOnce(&mut Arrivals) -> T) -> T {
        self.arrivals.with(|arrivals, _| work(arrivals))
    }

    fn tell_synced(&self, objects: u64, bytes: u64, took: Duration) {
        self.tell(PeerEvent::Synced { objects, bytes, ms: took.as_millis() as u64 });
    }

    fn bygones(&self) -> MutexGuard<'_, Bygones> {
        Shared::bygones(self)
    }

    fn ring_ms(&self) -> u64 {
        Shared::ring_ms(self)
    }

    fn next_clock(&self) -> Timestamp {
        Shared::next_clock(self)
    }

    fn saw_clock(&self, seen: Timestamp) {
        Shared::saw_clock(self, seen);
    }

    fn sign(&self, record: &NameRecord) -> Result<SignedRecord, String> {
        self.signed(record)
    }

    fn signer_of(&self, signed: &SignedRecord, record: &NameRecord) -> Result<Position, String> {
        self.signer(signed, record)
    }

    async fn holds(self: &Arc<Self>, content: ContentId) -> Result<bool, String> {
        self.blocking(move |store| store.contains(&content)).await.map_err(|error| error.to_string())
    }

    fn announced(&self, content: &ContentId) -> BTreeSet<(Position, u64)> {
        self.store.holders(content).iter().map(|holder| (holder.position, holder.incarnation)).collect()
    }

    async fn history(self: &Arc<Self>, key: Position) -> Result<NameHistory, String> {
        self.kept_history(key).await
    }

    async fn update_history<T: Send + 'static>(
        self: &Arc<Self>,
        key: Position,
        change: impl FnOnce(&mut NameHistory) -> (bool, T) + Send + 'static,
    ) -> Result<T, MissingReason> {
        self.change_history(key, change).await
    }

    async fn unlink(self: &Arc<Self>, name: &FileName, since: Timestamp) -> Result<(), MissingReason> {
        self.unlinked(name, since).await.map_err(|error| disk_reason(&error))
    }
}
