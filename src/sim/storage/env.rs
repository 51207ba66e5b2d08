//! The world of the flows of [`crate::files`], in the simulator.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::copy::disk_reason;
use super::keeper::{Effect, Keeper};
use super::stream::Stream;
use crate::chord::View;
use crate::files::{self, BoxFuture, Env, OfferLook};
use crate::id::{ContentId, FileName, Position};
use crate::names::{Bygones, NameHistory};
use crate::replica::{Arrivals, Found, Presence, TakeOver};
use crate::time::{Moment, Timestamp};
use crate::wire::{
    Entry, Fault, MembershipReply, MembershipRequest, MissingReason, NameRecord, OfferedRecord, PeerName,
    SignedRecord, StorageReply, StorageRequest, codec,
};

impl Env for Keeper {
    fn now(&self) -> Moment {
        Keeper::now(self)
    }

    async fn sleep_until(self: &Arc<Self>, at: Moment) {
        Keeper::sleep_until(self, at).await;
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
        while Arc::ptr_eq(&Keeper::view(self), seen) {
            self.takeover_looks.heard().await;
        }
        true
    }

    fn was_member(&self) -> bool {
        self.was_member.get()
    }

    async fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> Option<MembershipReply> {
        Keeper::ask_membership(self, whom, request, within).await
    }

    async fn ask_other(
        self: &Arc<Self>,
        whom: &Entry,
        request: StorageRequest,
        within: Duration,
    ) -> Result<StorageReply, MissingReason> {
        let mut stream = Stream::open(self, whom, request);
        stream.finish();
        stream.reply(within).await.map_err(|_| MissingReason::Unreachable)
    }

    fn answer_here(self: &Arc<Self>, request: StorageRequest) -> BoxFuture<'static, StorageReply> {
        let (keeper, me) = (self.clone(), Keeper::view(self).me.clone());
        Box::pin(async move { keeper.answer(&me, request).await })
    }

    fn hop_timeout(&self, _: &Position) -> Duration {
        self.ways.hop_timeout
    }

    async fn tell_of_lookup(self: &Arc<Self>, whom: Entry, reply: Option<MembershipReply>) {
        self.want(match reply {
            Some(reply) => Effect::Heard(whom, reply),
            None => Effect::Silence(whom),
        });
    }

    /// Nobody lies here.
    fn distrusted(&self) -> BTreeSet<Position> {
        BTreeSet::new()
    }

    fn is_settled(&self, _: &View) -> bool {
        false
    }

    fn blame(&self, _: &Position, _: Fault) {}

    fn blame_answer(&self, _: &Position, _: Fault) {}

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
        let mut disk = self.disk.lock();
        let mut presence = |content: ContentId| match disk.contains(&content) {
            true => (content, Presence::Here),
            false => (content, Presence::Lacking),
        };
        let objects = objects.into_iter().map(&mut presence).collect();
        let knows = |offered: &OfferedRecord| {
            disk.record(&offered.key).is_some_and(|history| history.knows(&offered.id))
        };
        Ok((objects, records.iter().map(knows).collect()))
    }

    fn with_arrivals<T>(&self, work: impl FnOnce(&mut Arrivals) -> T) -> T {
        work(&mut self.arrivals.lock())
    }

    /// There are no people here.
    fn tell_synced(&self, _: u64, _: u64, _: Duration) {}

    fn bygones(&self) -> MutexGuard<'_, Bygones> {
        self.bygones.lock()
    }

    fn ring_ms(&self) -> u64 {
        self.unix_ms()
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

    /// Nobody forges a signature here, so none is made and none is checked.
    fn signer_of(&self, _: &SignedRecord, record: &NameRecord) -> Result<Position, String> {
        Ok(record.writer)
    }

    async fn holds(self: &Arc<Self>, content: ContentId) -> Result<bool, String> {
        Ok(self.disk.lock().contains(&content))
    }

    fn announced(&self, content: &ContentId) -> BTreeSet<(Position, u64)> {
        let holders = self.holders.lock();
        holders.get(content).map(|lives| lives.iter().map(|(p, i)| (*p, *i)).collect()).unwrap_or_default()
    }

    async fn history(self: &Arc<Self>, key: Position) -> Result<NameHistory, String> {
        Ok(self.disk.lock().record(&key).cloned().unwrap_or_default())
    }

    async fn update_history<T: Send + 'static>(
        self: &Arc<Self>,
        key: Position,
        change: impl FnOnce(&mut NameHistory) -> (bool, T) + Send + 'static,
    ) -> Result<T, MissingReason> {
        self.sleep(self.ways.settings.sync_time).await;
        let changed = self.disk.lock().update_record(key, |history| change(history).1);
        changed.map_err(disk_reason)
    }

    /// There are no links here.
    async fn unlink(self: &Arc<Self>, _: &FileName, _: Timestamp) -> Result<(), MissingReason> {
        Ok(())
    }
}

impl Keeper {
    /// As [`files::find`].
    pub(super) async fn find(self: &Arc<Self>, key: Position, wanted: usize) -> Option<Found> {
        files::find(self, key, wanted).await.ok()
    }
}

/// A record as it travels.
pub(super) fn unsigned(body: Vec<u8>) -> SignedRecord {
    SignedRecord { body, signature: vec![0; SignedRecord::SIGNATURE_BYTES], certificate: Vec::new() }
}
