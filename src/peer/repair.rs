//! Copies that are missing are made again, and a joiner takes over its ranges.
//!
//! After every change of the ring, and now and then, each peer offers what it holds to whom it belongs
//! (see [`crate::replica`]): `A ->[Offer] B`, `B ->[Wanted] A`, then A pushes what is wanted.
//! One round at a time; a leaving peer makes rounds of the same kind until nothing is short.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api::PeerEvent;
use super::push::Feed;
use super::shared::{STORAGE_TIMEOUT, Shared};
use crate::id::{ContentId, FileName, Position, RecordId};
use crate::names::{NameHistory, content_of};
use crate::replica::{Offer, OfferPlan, plan_offers, plan_sync};
use crate::wire::limits::{HEALTH_NAMES_MAX, LINKS_PER_OBJECT_MAX, OFFERS_PER_MESSAGE_MAX};
use crate::wire::{
    Entry, MissingReason, OfferedRecord, PutRole, SignedRecord, StorageReply, StorageRequest, StoreRole,
    codec,
};

/// What a round of offers did.
#[derive(Debug, Default, Clone)]
pub(super) struct Round {
    pub objects: u64,
    pub bytes: u64,
    pub records: u64,
    /// Which other peers have which objects, as far as this round learned.
    pub with_object: BTreeMap<ContentId, BTreeSet<Position>>,
    /// And which records.
    pub with_record: BTreeMap<RecordId, BTreeSet<Position>>,
    /// What was asked of one peer each: objects that it was offered, and those of them that it has now.
    asked: Vec<(Entry, BTreeSet<ContentId>, BTreeSet<ContentId>)>,
    /// The objects here.
    pub held: BTreeSet<ContentId>,
    /// Contents that are not here, and that records of this peer's range name.
    pub named: BTreeMap<ContentId, Vec<FileName>>,
    /// Some offer or push failed.
    pub incomplete: bool,
}

/// What this peer holds, by key.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pub objects: BTreeSet<ContentId>,
    /// All records of each name, by name key, the current one first.
    pub records: BTreeMap<Position, Vec<SignedRecord>>,
}

impl Holdings {
    /// The keys of all objects and records.
    pub(super) fn keys(&self) -> BTreeSet<Position> {
        self.objects.iter().map(ContentId::key).chain(self.records.keys().copied()).collect()
    }
}

/// Repairs until the peer ends.
pub(super) async fn repair(shared: Arc<Shared>) {
    let mut view = shared.view.clone();
    let mut neighbours = None;
    let mut lost = JoinSet::new();
    let (mut pause, mut wait) = (PERIOD, RETRY / 2);
    loop {
        let now = view.borrow_and_update().clone();
        let seen = (now.phase, now.predecessor.clone(), now.successors.clone());
        let changed = neighbours.as_ref() != Some(&seen);
        if changed && now.phase == crate::chord::PhaseKind::Active {
            neighbours = Some(seen);
            // Several changes in a row are one, and a ring that is still coming together moves no files.
            tokio::time::sleep(shared.interval.clamp(DEBOUNCE, SETTLE_MAX)).await;
            let round = shared.round(&plan_offers).await;
            shared.expire_parts().await;
            wait = if round.incomplete { (wait * 2).min(PERIOD) } else { RETRY / 2 };
            pause = if round.incomplete { wait } else { PERIOD };
            // Peers that are silent take it long; repair does not wait for that.
            lost.abort_all();
            let shared = shared.clone();
            lost.spawn(async move { shared.look_for_lost(&round.held, round.named).await });
            continue;
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = shared.repair_wanted.notified() => neighbours = None,
            Some(_) = lost.join_next() => {}
            () = tokio::time::sleep(pause) => neighbours = None,
        }
    }
}

/// Once this peer has become active beside others: takes over what belongs here, and says so.
pub(super) async fn take_over(shared: Arc<Shared>) {
    shared.syncing.store(true, Ordering::Release);
    shared.view_until(Duration::MAX, |view| view.is_member()).await;
    let begin = Instant::now();
    let view = shared.view();
    let copies = usize::from(shared.settings().replicas);
    let near: Vec<Entry> = view.alive().cloned().collect();
    let mut asked = JoinSet::new();
    // What belongs here is kept by the next R peers and by the R before.
    let around = near.iter().take(copies).chain(near.iter().rev().take(copies));
    let around: BTreeMap<Position, Entry> = around.map(|entry| (entry.position, entry.clone())).collect();
    for whom in around.into_values() {
        asked.spawn(take_from(shared.clone(), whom));
    }
    let (mut objects, mut bytes) = (0, 0);
    while let Some(Ok((more, more_bytes))) = asked.join_next().await {
        objects = u64::saturating_add(objects, more);
        bytes = u64::saturating_add(bytes, more_bytes);
    }
    shared.syncing.store(false, Ordering::Release);
    shared.tell(PeerEvent::Synced { objects, bytes, ms: begin.elapsed().as_millis() as u64 });
}

/// Asks one peer until it has given all, or nothing more comes. How many objects it gave, and their bytes.
async fn take_from(shared: Arc<Shared>, whom: Entry) -> (u64, u64) {
    let (mut taken, mut taken_bytes) = (0, 0);
    let mut progress = Instant::now();
    while progress.elapsed() < PROGRESS_WITHIN {
        match shared.ask_storage(&whom, StorageRequest::Sync, SYNC_TIMEOUT).await {
            Ok(StorageReply::Synced { objects, bytes, complete, .. }) => {
                taken = u64::saturating_add(taken, objects);
                taken_bytes = u64::saturating_add(taken_bytes, bytes);
                if complete {
                    break;
                }
                if objects > 0 {
                    progress = Instant::now();
                }
            }
            // Another keeper of the same has it too, or repair brings it later.
            _ => break,
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
    (taken, taken_bytes)
}

impl Shared {
    /// Partial transfers that nobody goes on with make place.
    async fn expire_parts(self: &Arc<Self>) {
        if let Err(error) = self.blocking(|store| store.expire_parts(PART_UNUSED_MAX, PARTS_MAX)).await {
            tracing::warn!(%error, "partial transfers were not looked through");
        }
    }

    /// One round: offers by a plan, then pushes.
    pub(super) async fn round<P>(self: &Arc<Self>, plan: &P) -> Round
    where
        P: Fn(&crate::chord::View, usize, BTreeSet<Position>) -> OfferPlan + Sync,
    {
        let _one_at_a_time = self.repairing.lock().await;
        match self.planned(plan).await {
            Ok((plan, holdings)) => self.carry_out(plan, &holdings).await,
            Err(error) => {
                self.tell(PeerEvent::Warning(error));
                Round { incomplete: true, ..Round::default() }
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
        let copies = usize::from(self.settings().replicas);
        let mut plan = plan(&view, copies, holdings.keys());
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
        let only_asker = move |view: &crate::chord::View, copies: usize, keys: BTreeSet<Position>| {
            plan_sync(view, copies, keys, &position)
        };
        let round = self.round(&only_asker).await;
        StorageReply::Synced {
            objects: round.objects,
            bytes: round.bytes,
            records: round.records,
            complete: !round.incomplete,
        }
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
        let arrivals = self.arrivals.clone();
        let wanted = self.blocking(move |store| {
            let mut wanted = (Vec::new(), Vec::new(), Vec::new());
            for (i, content) in objects.iter().enumerate() {
                if store.contains(content)? {
                    continue;
                }
                if arrivals.ask_for(*content) {
                    wanted.0.push(i as u16);
                } else {
                    wanted.2.push(i as u16);
                }
            }
            for (i, offered) in records.iter().enumerate() {
                let history: Option<NameHistory> =
                    store.record(&offered.key)?.and_then(|bytes| codec::decode(&bytes).ok());
                let known = history.is_some_and(|history| {
                    let past = history.past.iter().map(|past| &past.record);
                    history.current.iter().chain(past).any(|record| record.id() == offered.id)
                });
                if !known {
                    wanted.1.push(i as u16);
                }
            }
            Ok(wanted)
        });
        let (objects, records, arriving) = wanted.await.map_err(|error| error.to_string())?;
        Ok(StorageReply::Wanted { objects, records, arriving })
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

    async fn carry_out(self: &Arc<Self>, plan: OfferPlan, holdings: &Arc<Holdings>) -> Round {
        let transfers = Arc::new(Semaphore::new(TRANSFERS_MAX));
        let mut offers = JoinSet::new();
        for offer in plan.offers.into_values() {
            let (shared, holdings, transfers) = (self.clone(), holdings.clone(), transfers.clone());
            offers.spawn(async move { shared.offer(offer, &holdings, &transfers).await });
        }
        let mut round = Round::default();
        while let Some(Ok(one)) = offers.join_next().await {
            round.objects += one.objects;
            round.bytes += one.bytes;
            round.records += one.records;
            round.incomplete |= one.incomplete;
            for (to, asked, has) in one.asked {
                self.note_offer(&self.view(), &to, &asked, &has);
            }
            for (content, peers) in one.with_object {
                round.with_object.entry(content).or_default().extend(peers);
            }
            for (record, peers) in one.with_record {
                round.with_record.entry(record).or_default().extend(peers);
            }
        }
        round.named = self.named_elsewhere(holdings);
        round.held = holdings.objects.clone();
        round
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

    /// Everything that is offered to one peer.
    async fn offer(self: &Arc<Self>, offer: Offer, holdings: &Holdings, transfers: &Arc<Semaphore>) -> Round {
        let mut round = Round::default();
        let objects: Vec<ContentId> =
            offer.keys.iter().map(|key| ContentId(key.0)).filter(|c| holdings.objects.contains(c)).collect();
        let records: Vec<(Position, SignedRecord)> = offer
            .keys
            .iter()
            .filter_map(|key| holdings.records.get(key).map(|records| (key, records)))
            .flat_map(|(key, records)| records.iter().map(|record| (*key, record.clone())))
            .collect();
        for page in objects.chunks(OFFERS_PER_MESSAGE_MAX) {
            let request = StorageRequest::Offer { objects: page.to_vec(), records: Vec::new() };
            let (wanted, arriving) = match self.ask_storage(&offer.to, request, STORAGE_TIMEOUT).await {
                Ok(StorageReply::Wanted { objects, arriving, .. }) => (objects, arriving),
                _ => return Round { incomplete: true, ..round },
            };
            let mut has = BTreeSet::new();
            // What somebody else sends at the moment is neither sent again nor counted as being there.
            round.incomplete |= !arriving.is_empty();
            for (i, content) in page.iter().enumerate() {
                if !wanted.contains(&(i as u16)) && !arriving.contains(&(i as u16)) {
                    has.insert(*content);
                    round.with_object.entry(*content).or_default().insert(offer.to.position);
                }
            }
            let wanted: Vec<ContentId> =
                wanted.iter().filter_map(|i| page.get(usize::from(*i)).copied()).collect();
            let answers = self.give_objects(&offer.to, wanted.clone(), transfers, &mut round).await;
            let given = |content: &ContentId| {
                round.with_object.get(content).is_some_and(|peers| peers.contains(&offer.to.position))
            };
            has.extend(wanted.into_iter().filter(given));
            round.asked.push((offer.to.clone(), page.iter().copied().collect(), has));
            if !answers {
                return round;
            }
        }
        for page in records.chunks(OFFERS_PER_MESSAGE_MAX) {
            let offered =
                page.iter().map(|(key, record)| OfferedRecord { key: *key, id: record.id() }).collect();
            let request = StorageRequest::Offer { objects: Vec::new(), records: offered };
            let wanted = match self.ask_storage(&offer.to, request, STORAGE_TIMEOUT).await {
                Ok(StorageReply::Wanted { records, .. }) => records,
                _ => return Round { incomplete: true, ..round },
            };
            if !self.give_records(&offer.to, page, &wanted, &mut round).await {
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
            match given {
                Ok(bytes) => {
                    round.objects += 1;
                    round.bytes += bytes;
                    round.with_object.entry(content).or_default().insert(to.position);
                }
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

    async fn give_records(
        self: &Arc<Self>,
        to: &Entry,
        page: &[(Position, SignedRecord)],
        wanted: &[u16],
        round: &mut Round,
    ) -> bool {
        for (i, (_, record)) in page.iter().enumerate() {
            if wanted.contains(&(i as u16)) {
                let request = StorageRequest::PutRecord { record: record.clone(), role: PutRole::Replica };
                match self.ask_storage(to, request, STORAGE_TIMEOUT).await {
                    Ok(StorageReply::Put { .. }) => round.records += 1,
                    _ => {
                        round.incomplete = true;
                        return false;
                    }
                }
            }
            round.with_record.entry(record.id()).or_default().insert(to.position);
        }
        true
    }
}

/// How long changes of the ring are gathered before a round, at least and at most; one interval between.
const DEBOUNCE: Duration = Duration::from_millis(150);
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// After a round that could not do all; doubled each time.
const RETRY: Duration = Duration::from_secs(2);
/// Between two rounds without any change.
const PERIOD: Duration = Duration::from_secs(30);
/// How long a peer may take to give a joiner everything.
const SYNC_TIMEOUT: Duration = Duration::from_secs(600);
/// For how long a joiner asks a peer that has not given all and gives nothing.
const PROGRESS_WITHIN: Duration = Duration::from_secs(15);
/// How long news of a joiner may lag behind the joiner itself.
const NEWS_WAIT: Duration = Duration::from_secs(3);
/// Objects that one round pushes at the same time.
const TRANSFERS_MAX: usize = 8;
/// How long a partial transfer is kept for whoever sends the rest, and how many of them.
const PART_UNUSED_MAX: Duration = Duration::from_secs(24 * 3_600);
const PARTS_MAX: usize = 256;
/// Records that are read at a time.
const RECORDS_PER_PAGE: usize = 1_000;
