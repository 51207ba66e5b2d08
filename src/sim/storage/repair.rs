//! Copies that are missing are made again. As `peer::repair` does it.
//!
//! Not here: what only the health that people see comes from.

use std::sync::Arc;
use std::time::Duration;

use super::keeper::Keeper;
use super::outcome::Cause;
use super::push::Feed;
use super::wait::{Permits, channel};
use crate::chord::View;
use crate::files::{Either, STORAGE_TIMEOUT, Together, race};
use crate::id::{ContentId, Position};
use crate::replica::{Holdings, Offer, OfferPlan, RepairSchedule, Round, plan_repair, plan_sync};
use crate::wire::limits::OFFERS_PER_MESSAGE_MAX;
use crate::wire::{
    Entry, MissingReason, OfferedRecord, PutRole, SignedRecord, StorageReply, StorageRequest, StoreRole,
};

impl Keeper {
    /// Repairs until the process ends; after a pause, unless something changes meanwhile.
    pub(super) async fn repair(self: Arc<Self>, pause: Duration) {
        race(self.sleep(pause), race(self.repair_looks.heard(), self.repair_wanted.heard())).await;
        let mut schedule = RepairSchedule::new(self.interval);
        loop {
            if schedule.begin(self.now(), &self.view()) {
                let waited = self.waited_for();
                let plan = |view: &View, copies, keys| plan_repair(view, copies, &waited, keys);
                let round = self.round(Cause::Repair, plan).await;
                schedule.end(self.now(), round.incomplete);
                continue;
            }
            let due = async {
                match schedule.poll_timeout() {
                    Some(at) => self.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let wanted = race(self.repair_wanted.heard(), race(self.repair_looks.heard(), due));
            if let Either::Left(()) = wanted.await {
                schedule.want(self.now());
            }
        }
    }

    /// One round: offers by a plan, then pushes.
    pub(super) async fn round(
        self: &Arc<Self>,
        cause: Cause,
        plan: impl Fn(&View, usize, Vec<Position>) -> OfferPlan,
    ) -> Round {
        let _one_at_a_time = self.repairing.take().await;
        let holdings = self.holdings();
        let view = self.view();
        let mut plan = plan(&view, self.copies(), holdings.keys().into_iter().collect());
        // What this peer does not know by itself is found by asking, once for each range.
        while let Some(key) = plan.next_unknown() {
            match self.find(key, plan.spread).await {
                Some(found) => plan.place(&view.me.position, &key, &found),
                None => plan.pass_over(&key),
            }
        }
        let transfers = Permits::new(TRANSFERS_MAX);
        let mut offers = Together::new();
        for offer in plan.offers.into_values() {
            let (holdings, transfers) = (&holdings, &transfers);
            offers.add(async move { self.offer(offer, holdings, transfers, cause).await });
        }
        let mut round = Round::default();
        while let Some(one) = offers.next().await {
            round.absorb(one);
        }
        round
    }

    /// Handles `Sync`: what belongs to the asker is offered to it now.
    pub(super) async fn answer_sync(self: &Arc<Self>, asker: &Entry) -> StorageReply {
        let position = asker.position;
        // The asker may be here before the news of it.
        self.view_until(NEWS_WAIT, |view| view.alive().any(|entry| entry.position == position)).await;
        let only_asker =
            |view: &View, copies: usize, keys: Vec<Position>| plan_sync(view, copies, keys, asker);
        self.round(Cause::TakeOver, only_asker).await.synced()
    }

    pub(super) fn holdings(&self) -> Holdings {
        let disk = self.disk.lock();
        let records = disk.records().map(|(key, history)| {
            let past = history.past.iter().map(|past| past.record.clone());
            (*key, history.current.iter().cloned().chain(past).collect())
        });
        Holdings { objects: disk.object_ids(), records: records.collect() }
    }

    /// Everything that is offered to one peer; no more, once it does not answer.
    async fn offer(
        self: &Arc<Self>,
        offer: Offer,
        holdings: &Holdings,
        transfers: &Permits,
        cause: Cause,
    ) -> Round {
        let (mut round, to) = (Round::default(), offer.to.position);
        for page in holdings.objects_of(&offer).chunks(OFFERS_PER_MESSAGE_MAX) {
            let request = StorageRequest::Offer { objects: page.to_vec(), records: Vec::new() };
            let answer = self.ask_storage(&offer.to, request, STORAGE_TIMEOUT).await;
            let Ok(StorageReply::Wanted { objects, arriving, .. }) = answer else {
                round.incomplete = true;
                return round;
            };
            let wanted = round.hear_wanted(to, page, &objects, &arriving);
            if !self.give_objects(&offer.to, wanted, transfers, cause, &mut round).await {
                return round;
            }
        }
        for page in holdings.records_of(&offer).chunks(OFFERS_PER_MESSAGE_MAX) {
            let offered =
                page.iter().map(|(key, record)| OfferedRecord { key: *key, id: record.id() }).collect();
            let request = StorageRequest::Offer { objects: Vec::new(), records: offered };
            let answer = self.ask_storage(&offer.to, request, STORAGE_TIMEOUT).await;
            let Ok(StorageReply::Wanted { records, .. }) = answer else {
                round.incomplete = true;
                return round;
            };
            let wanted = round.hear_wanted_records(to, page, &records);
            if !self.give_records(&offer.to, &wanted, &mut round).await {
                return round;
            }
        }
        round
    }

    /// Pushes objects to one peer. False, and no more of them, when it does not answer.
    async fn give_objects(
        self: &Arc<Self>,
        to: &Entry,
        wanted: Vec<ContentId>,
        transfers: &Permits,
        cause: Cause,
        round: &mut Round,
    ) -> bool {
        let mut pushes = Together::new();
        let mut wanted = wanted.into_iter();
        loop {
            // No more at a time than may go on at all: the rest would only wait for its turn.
            for content in wanted.by_ref().take(TRANSFERS_MAX - pushes.count()) {
                pushes.add(async move {
                    let _permit = transfers.take().await;
                    (content, self.give_object(to, content, cause).await)
                });
            }
            let Some((content, given)) = pushes.next().await else { return true };
            match given {
                Ok(bytes) => round.gave_object(to.position, content, bytes),
                // It is offered again with every round, and taken when it can be.
                Err(reason) if reason.is_final() => {}
                Err(reason) => {
                    round.incomplete = true;
                    if reason == MissingReason::Unreachable {
                        // Those under way end with this set.
                        return false;
                    }
                }
            }
        }
    }

    /// Pushes one object to one peer. Its length, once that peer has it.
    async fn give_object(
        self: &Arc<Self>,
        to: &Entry,
        content: ContentId,
        cause: Cause,
    ) -> Result<u64, MissingReason> {
        let Some(object) = self.disk.lock().info(&content) else {
            return Err(MissingReason::Refused("the object is not here any more".to_owned()));
        };
        let (word, mut words) = channel();
        let role = StoreRole::Replica { chain: Vec::new() };
        let heard = async {
            let mut copy = Err(MissingReason::Unreachable);
            while let Some(reply) = words.next().await {
                match reply {
                    StorageReply::Durable { peer } if peer == to.position => copy = Ok(object.length),
                    StorageReply::Missing(missing) if missing.peer == to.position => {
                        copy = Err(missing.reason);
                    }
                    _ => {}
                }
            }
            copy
        };
        let push = async {
            self.push(to, object, role, Feed::Disk, cause, &word).await;
            drop(word);
        };
        futures_util::future::join(push, heard).await.1
    }

    /// Gives records to one peer. False, and no more of them, when it does not take one.
    async fn give_records(self: &Arc<Self>, to: &Entry, wanted: &[&SignedRecord], round: &mut Round) -> bool {
        for record in wanted {
            let (id, record) = (record.id(), SignedRecord::clone(record));
            let request = StorageRequest::PutRecord { record, role: PutRole::Replica };
            match self.ask_storage(to, request, STORAGE_TIMEOUT).await {
                Ok(StorageReply::Put { .. }) => round.gave_record(to.position, id),
                _ => {
                    round.incomplete = true;
                    return false;
                }
            }
        }
        true
    }
}

/// How long news of a joiner may lag behind the joiner itself.
const NEWS_WAIT: Duration = Duration::from_secs(3);
/// Objects that one round pushes at the same time.
const TRANSFERS_MAX: usize = 8;
