//! Copies that are missing are made again, and a peer takes over its ranges.
//!
//! After every change of the ring, and now and then, each peer offers what it holds to whom it belongs
//! (see [`crate::replica`]): `A ->[Offer] B`, `B ->[Wanted] A`, then A pushes what is wanted.
//! One round at a time; a leaving peer makes rounds of the same kind until nothing is short.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::api::PeerEvent;
use super::push::Feed;
use super::shared::{STORAGE_TIMEOUT, Shared};
use crate::id::{ContentId, FileName, Position};
use crate::names::{NameHistory, content_of};
use crate::replica::{Holdings, Offer, OfferPlan, RepairSchedule, Round, Sources, plan_offers, plan_sync};
use crate::wire::limits::{HEALTH_NAMES_MAX, LINKS_PER_OBJECT_MAX, OFFERS_PER_MESSAGE_MAX};
use crate::wire::{
    Entry, MissingReason, OfferedRecord, PutRole, SignedRecord, StorageReply, StorageRequest, StoreRole,
    codec,
};

/// What a round of offers did, and what it means for the health of files.
#[derive(Debug, Default, Clone)]
pub(super) struct RoundReport {
    pub round: Round,
    /// What was asked of one peer each: objects that it was offered, and those of them that it has now.
    asked: Vec<(Entry, BTreeSet<ContentId>, BTreeSet<ContentId>)>,
    /// The objects here.
    held: BTreeSet<ContentId>,
    /// Contents that are not here, and that records of this peer's range name.
    named: BTreeMap<ContentId, Vec<FileName>>,
}

/// Repairs until the peer ends.
pub(super) async fn repair(shared: Arc<Shared>) {
    let (mut view, clock) = (shared.view.clone(), shared.clock);
    let mut schedule = RepairSchedule::new(shared.interval);
    let mut lost = JoinSet::new();
    loop {
        let seen = view.borrow_and_update().clone();
        if schedule.begin(clock.now(), &seen) {
            let RoundReport { round, held, named, .. } = shared.round(&plan_offers).await;
            shared.expire_parts().await;
            schedule.end(clock.now(), round.incomplete);
            // Peers that are silent take it long; repair does not wait for that.
            lost.abort_all();
            let shared = shared.clone();
            lost.spawn(async move { shared.look_for_lost(&held, named).await });
            continue;
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = shared.repair_wanted.notified() => schedule.want(clock.now()),
            Some(_) = lost.join_next() => {}
            () = clock.sleep_until(schedule.poll_timeout()) => {}
        }
    }
}

/// Takes over what belongs here, in each life of this peer, and says so.
pub(super) async fn take_over(shared: Arc<Shared>) {
    let (mut view, clock) = (shared.view.clone(), shared.clock);
    let mut asked = JoinSet::new();
    let mut running = false;
    let ask = |whom: Entry, after: Duration| {
        let shared = shared.clone();
        async move {
            tokio::time::sleep(after).await;
            let answer = shared.ask_storage(&whom, StorageRequest::Sync, SYNC_TIMEOUT).await;
            (whom, answer)
        }
    };
    loop {
        let seen = view.borrow_and_update().clone();
        if let Some(Sources { anew, ask: sources }) = shared.takeover().look(clock.now(), &seen) {
            if anew {
                asked = JoinSet::new();
            }
            running = true;
            for (whom, after) in sources {
                asked.spawn(ask(whom, after));
            }
        }
        if running && asked.is_empty() {
            running = false;
            let (objects, bytes, begun) = shared.takeover().end();
            let ms = clock.now().since(begun).as_millis() as u64;
            shared.tell(PeerEvent::Synced { objects, bytes, ms });
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            Some(answered) = asked.join_next() => {
                let Ok((whom, answer)) = answered else { continue };
                let pause = shared.takeover().hear(clock.now(), &whom.position, answer.as_ref().ok());
                if let Some(pause) = pause {
                    asked.spawn(ask(whom, pause));
                }
            }
        }
    }
}

impl Shared {
    /// Partial transfers that nobody goes on with make place.
    async fn expire_parts(self: &Arc<Self>) {
        let expired = self.blocking(|store| {
            store.expire_parts(PART_UNUSED_MAX, PARTS_MAX)?;
            Ok(store.keep_reserve())
        });
        if let Err(error) = expired.await {
            tracing::warn!(%error, "partial transfers were not looked through");
        }
    }

    /// One round: offers by a plan, then pushes.
    pub(super) async fn round<P>(self: &Arc<Self>, plan: &P) -> RoundReport
    where
        P: Fn(&crate::chord::View, usize, BTreeSet<Position>) -> OfferPlan + Sync,
    {
        let _one_at_a_time = self.repairing.lock().await;
        match self.planned(plan).await {
            Ok((plan, holdings)) => self.carry_out(plan, &holdings).await,
            Err(error) => {
                self.tell(PeerEvent::Warning(error));
                RoundReport { round: Round::failed(), ..RoundReport::default() }
            }
        }
    }

    /// What is offered to whom, by a plan; and what this peer holds.
    ///
    /// # Errors
    /// When that cannot be read.
    pub(super) async fn planned<P>(self: &Arc<Self>, plan: &P) -> Result<(OfferPlan, Arc<Holdings>), String>
    where
        P: Fn(&crate::chord::View, usize, BTreeSet<Position>) -> OfferPlan + Sync,
    {
        let holdings = Arc::new(self.holdings().await?);
        let view = self.view();
        let mut plan = plan(&view, self.copies(), holdings.keys());
        // What this peer does not know by itself is found by asking, once for each range.
        while let Some(key) = plan.next_unknown() {
            match self.find(key, plan.spread).await {
                Ok(found) => plan.place(&view.me.position, &key, &found),
                Err(_) => plan.pass_over(&key),
            }
        }
        Ok((plan, holdings))
    }

    /// Handles `Sync`: what belongs to the asker is offered to it now.
    pub(super) async fn answer_sync(self: &Arc<Self>, asker: &Entry) -> StorageReply {
        let position = asker.position;
        // The asker may be here before the news of it.
        self.view_until(NEWS_WAIT, |view| view.alive().any(|entry| entry.position == position)).await;
        let asker = asker.clone();
        let only_asker = move |view: &crate::chord::View, copies: usize, keys: BTreeSet<Position>| {
            plan_sync(view, copies, keys, &asker)
        };
        self.round(&only_asker).await.round.synced()
    }

    /// Handles `Offer`: what is not here yet.
    pub(super) async fn answer_offer(
        self: &Arc<Self>,
        objects: Vec<ContentId>,
        records: Vec<OfferedRecord>,
    ) -> Result<StorageReply, String> {
        if !self.view().is_member() {
            return Err("this peer is not active in its ring".to_owned());
        }
        let (arrivals, hopeless) = (self.arrivals.clone(), self.hopeless.clone());
        let answer = self.blocking(move |store| {
            let objects_here = hopeless.presence(store, objects)?;
            let mut records_here = Vec::with_capacity(records.len());
            for offered in &records {
                let history: Option<NameHistory> =
                    store.record(&offered.key)?.and_then(|bytes| codec::decode(&bytes).ok());
                records_here.push(history.is_some_and(|history| history.knows(&offered.id)));
            }
            Ok(arrivals.with(|expected, now| expected.answer_offer_in_part(now, objects_here, records_here)))
        });
        answer.await.map_err(|error| error.to_string())
    }

    pub(super) async fn holdings(self: &Arc<Self>) -> Result<Holdings, String> {
        let read = self.blocking(|store| {
            let mut holdings = Holdings {
                objects: store.object_ids()?.into_iter().map(|(content, _)| content).collect(),
                records: BTreeMap::new(),
            };
            let mut after = None;
            loop {
                let page = store.records_after(after, RECORDS_PER_PAGE)?;
                let Some((last, _)) = page.last() else { return Ok(holdings) };
                after = Some(*last);
                for (key, bytes) in page {
                    let history = codec::decode::<NameHistory>(&bytes).unwrap_or_default();
                    let past = history.past.into_iter().map(|past| past.record);
                    holdings.records.insert(key, history.current.into_iter().chain(past).collect());
                }
            }
        });
        read.await.map_err(|error| error.to_string())
    }

    async fn carry_out(self: &Arc<Self>, plan: OfferPlan, holdings: &Arc<Holdings>) -> RoundReport {
        let transfers = Arc::new(Semaphore::new(TRANSFERS_MAX));
        let mut offers = JoinSet::new();
        for offer in plan.offers.into_values() {
            let (shared, holdings, transfers) = (self.clone(), holdings.clone(), transfers.clone());
            offers.spawn(async move { shared.offer(offer, &holdings, &transfers).await });
        }
        let mut report = RoundReport::default();
        while let Some(Ok(one)) = offers.join_next().await {
            report.round.absorb(one.round);
            for (to, asked, has) in one.asked {
                self.note_offer(&self.view(), &to, &asked, &has);
            }
        }
        report.named = self.named_elsewhere(holdings);
        report.held = holdings.objects.clone();
        report
    }

    fn named_elsewhere(&self, holdings: &Holdings) -> BTreeMap<ContentId, Vec<FileName>> {
        let view = self.view();
        let mut named: BTreeMap<ContentId, Vec<FileName>> = BTreeMap::new();
        for records in holdings.records.iter().filter(|(key, _)| view.owns(key)).map(|(_, records)| records) {
            let Some(Ok(record)) = records.first().map(SignedRecord::decode) else { continue };
            if let Some(content) = content_of(&record).filter(|c| !holdings.objects.contains(c)) {
                let names = named.entry(content).or_default();
                if names.len() < HEALTH_NAMES_MAX {
                    names.push(record.name);
                }
            }
        }
        named
    }

    /// Everything that is offered to one peer; no more, once it does not answer.
    async fn offer(
        self: &Arc<Self>,
        offer: Offer,
        holdings: &Holdings,
        transfers: &Arc<Semaphore>,
    ) -> RoundReport {
        let (mut report, to) = (RoundReport::default(), offer.to.position);
        for page in holdings.objects_of(&offer).chunks(OFFERS_PER_MESSAGE_MAX) {
            let request = StorageRequest::Offer { objects: page.to_vec(), records: Vec::new() };
            let answer = self.ask_storage(&offer.to, request, STORAGE_TIMEOUT).await;
            let (objects, arriving, unkept) = match answer {
                Ok(StorageReply::Wanted { objects, arriving, .. }) => (objects, arriving, Vec::new()),
                Ok(StorageReply::WantedInPart { objects, arriving, unkept, .. }) => {
                    (objects, arriving, unkept)
                }
                _ => {
                    report.round.incomplete = true;
                    return report;
                }
            };
            let mut wanted = report.round.hear_wanted_in_part(to, page, &objects, &arriving, &unkept);
            wanted.retain(|content| self.hopeless.may_try(&offer.to, content));
            let answers = self.give_objects(&offer.to, wanted, transfers, &mut report.round).await;
            let has = page.iter().filter(|content| report.round.has_object(&to, content)).copied().collect();
            report.asked.push((offer.to.clone(), page.iter().copied().collect(), has));
            if !answers {
                return report;
            }
        }
        for page in holdings.records_of(&offer).chunks(OFFERS_PER_MESSAGE_MAX) {
            let offered =
                page.iter().map(|(key, record)| OfferedRecord { key: *key, id: record.id() }).collect();
            let request = StorageRequest::Offer { objects: Vec::new(), records: offered };
            let answer = self.ask_storage(&offer.to, request, STORAGE_TIMEOUT).await;
            let Ok(StorageReply::Wanted { records, .. }) = answer else {
                report.round.incomplete = true;
                return report;
            };
            let wanted = report.round.hear_wanted_records(to, page, &records);
            if !self.give_records(&offer.to, &wanted, &mut report.round).await {
                return report;
            }
        }
        report
    }

    /// Pushes objects to one peer. False, and no more of them, when it does not answer.
    async fn give_objects(
        self: &Arc<Self>,
        to: &Entry,
        wanted: Vec<ContentId>,
        transfers: &Arc<Semaphore>,
        round: &mut Round,
    ) -> bool {
        let mut pushes = JoinSet::new();
        for content in wanted {
            let (shared, to, transfers) = (self.clone(), to.clone(), transfers.clone());
            pushes.spawn(async move {
                let _permit = transfers.acquire().await;
                (content, shared.give_object(&to, content).await)
            });
        }
        while let Some(Ok((content, given))) = pushes.join_next().await {
            self.hopeless.tried(to, content, &given);
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
        true
    }

    /// Pushes one object to one peer. Its length, once that peer has it.
    async fn give_object(self: &Arc<Self>, to: &Entry, content: ContentId) -> Result<u64, MissingReason> {
        let found = self.blocking(move |store| Ok((store.info(&content)?, store.names_of(&content)?))).await;
        let Ok((Some(object), mut links)) = found else {
            return Err(MissingReason::Refused("the object is not here any more".to_owned()));
        };
        links.truncate(LINKS_PER_OBJECT_MAX);
        let (word, mut words) = mpsc::channel(1);
        let role = StoreRole::Replica { chain: Vec::new() };
        let heard = async {
            let mut copy = Err(MissingReason::Unreachable);
            while let Some(reply) = words.recv().await {
                match reply {
                    StorageReply::Durable { peer } if peer == to.position => copy = Ok(object.length),
                    StorageReply::Missing(missing) if missing.peer == to.position => {
                        copy = Err(missing.reason)
                    }
                    _ => {}
                }
            }
            copy
        };
        let push = async {
            self.push(to, object, links, role, Feed::Disk, &word).await;
            drop(word);
        };
        tokio::join!(push, heard).1
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

/// How long a peer may take to give a joiner everything.
const SYNC_TIMEOUT: Duration = Duration::from_secs(600);
/// How long news of a joiner may lag behind the joiner itself.
const NEWS_WAIT: Duration = Duration::from_secs(3);
/// Objects that one round pushes at the same time.
const TRANSFERS_MAX: usize = 8;
/// How long a partial transfer is kept for whoever sends the rest, and how many of them.
const PART_UNUSED_MAX: Duration = Duration::from_secs(24 * 3_600);
const PARTS_MAX: usize = 256;
/// Records that are read at a time.
const RECORDS_PER_PAGE: usize = 1_000;
