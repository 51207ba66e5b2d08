//! Copies that are missing are made again.
//!
//! After every change of the ring, and now and then, each peer offers what it holds to whom it belongs
//! (see [`crate::replica`]): `A ->[Offer] B`, `B ->[Wanted] A`, then A pushes what is wanted.
//! Transfers to different peers do not wait for each other: a round ends without those that take long, which go on.
//! A leaving peer makes rounds of the same kind until nothing is short.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::api::PeerEvent;
use super::push::Feed;
use super::shared::{GIVES_PER_PEER_MAX, STORAGE_TIMEOUT, Shared};
use super::shares::Party;
use crate::blob::BlobError;
use crate::chord::Route;
use crate::id::{ContentId, FileName, Position};
use crate::names::{NameHistory, content_of};
use crate::replica::{Holdings, Offer, OfferPlan, RepairSchedule, Round, plan_help, plan_offers, plan_sync};
use crate::time::Moment;
use crate::wire::limits::{HEALTH_NAMES_MAX, LINKS_PER_OBJECT_MAX, OFFERS_PER_MESSAGE_MAX};
use crate::wire::{
    Entry, MissingReason, OfferedRecord, PutRole, SignedRecord, StorageReply, StorageRequest, StoreRole,
    codec,
};

/// What a round of offers learned so far; a round that is cut short leaves it here.
#[derive(Debug, Default, Clone)]
pub(super) struct RoundLog(Arc<Mutex<Round>>);

impl RoundLog {
    fn with<T>(&self, work: impl FnOnce(&mut Round) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All of it.
    pub(super) fn round(&self) -> Round {
        self.with(|round| round.clone())
    }

    fn incomplete(&self) {
        self.with(|round| round.incomplete = true);
    }
}

/// A round of repair, as long as it is waited for.
struct Waited {
    log: RoundLog,
    /// Those that are still given something.
    left: BTreeSet<Position>,
    /// Until then: a slow peer does not keep the next round from the others.
    until: Moment,
}

/// Who is given what at the moment: one offer for each peer, each on its own.
#[derive(Default)]
struct Giving {
    tasks: JoinSet<()>,
    to: HashMap<tokio::task::Id, Position>,
}

impl Giving {
    fn is_busy(&self, peer: &Position) -> bool {
        self.to.values().any(|to| to == peer)
    }

    /// Waits for the end of one; for ever while there is none.
    async fn next(&mut self) -> Option<Position> {
        let id = match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => id,
            Err(error) => error.id(),
        };
        self.to.remove(&id)
    }
}

/// Repairs until the peer ends.
pub(super) async fn repair(shared: Arc<Shared>) {
    let (mut view, clock) = (shared.view.clone(), shared.clock);
    let mut schedule = RepairSchedule::new(shared.interval);
    let (mut giving, mut waited) = (Giving::default(), None::<Waited>);
    let mut lost = JoinSet::new();
    let mut help = Help::default();
    loop {
        let (seen, now) = (view.borrow_and_update().clone(), clock.now());
        help.look(now, &seen);
        let is_over = |round: &mut Waited| round.left.is_empty() || round.until <= now;
        if let Some(round) = waited.take_if(is_over) {
            let incomplete = !round.left.is_empty() || round.log.round().incomplete;
            schedule.end(now, incomplete || help.is_to_come());
        }
        if schedule.begin(now, &seen) {
            lost.abort_all();
            waited = Some(shared.begin_round(&mut giving, &mut lost, help.begins(now)).await);
            continue;
        }
        let due = schedule.poll_timeout().into_iter().chain(waited.as_ref().map(|round| round.until)).min();
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = shared.repair_wanted.notified() => schedule.want(clock.now()),
            Some(_) = lost.join_next() => {}
            Some(peer) = giving.next() => {
                if !waited.as_mut().is_some_and(|round| round.left.remove(&peer)) {
                    // It had its turn before the last round, which passed it over.
                    schedule.want(clock.now());
                }
            }
            () = clock.sleep_until(due) => {}
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

    /// Begins to give all that is to be given. Whoever is still given what an earlier round found is passed over.
    async fn begin_round(
        self: &Arc<Self>,
        giving: &mut Giving,
        lost: &mut JoinSet<()>,
        helps: bool,
    ) -> Waited {
        self.expire_parts().await;
        let (log, until) = (RoundLog::default(), self.clock.now() + ROUND_WAIT);
        let mut left = BTreeSet::new();
        let plan = |view: &crate::chord::View, copies: usize, keys: BTreeSet<Position>| {
            let mut plan = plan_offers(view, copies, keys.iter().copied());
            if helps {
                plan.join(plan_help(view, copies, keys));
            }
            plan
        };
        match self.planned(&plan).await {
            Ok((plan, holdings)) => {
                for (peer, offer) in plan.offers {
                    if giving.is_busy(&peer) {
                        log.incomplete();
                        continue;
                    }
                    let (shared, holdings, log) = (self.clone(), holdings.clone(), log.clone());
                    let task = giving.tasks.spawn(async move { shared.offer(offer, &holdings, &log).await });
                    giving.to.insert(task.id(), peer);
                    left.insert(peer);
                }
                // Peers that are silent take it long; repair does not wait for that.
                let (shared, named) = (self.clone(), self.named_elsewhere(&holdings));
                lost.spawn(async move { shared.look_for_lost(&holdings.objects, named).await });
            }
            Err(error) => {
                log.incomplete();
                self.tell(PeerEvent::Warning(error));
            }
        }
        Waited { log, left, until }
    }

    /// One round to its end: offers by a plan, then pushes. What it learns is in the log as it goes.
    pub(super) async fn round<P>(self: &Arc<Self>, plan: &P, log: &RoundLog)
    where
        P: Fn(&crate::chord::View, usize, BTreeSet<Position>) -> OfferPlan + Sync,
    {
        match self.planned(plan).await {
            Ok((plan, holdings)) => {
                let mut offers = JoinSet::new();
                for offer in plan.offers.into_values() {
                    let (shared, holdings, log) = (self.clone(), holdings.clone(), log.clone());
                    offers.spawn(async move { shared.offer(offer, &holdings, &log).await });
                }
                while let Some(ended) = offers.join_next().await {
                    if ended.is_err() {
                        log.incomplete();
                    }
                }
            }
            Err(error) => {
                self.tell(PeerEvent::Warning(error));
                log.incomplete();
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
        let log = RoundLog::default();
        self.round(&only_asker, &log).await;
        log.round().synced()
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

    /// Everything that is offered to one peer, records first; no more, once it does not answer.
    async fn offer(self: &Arc<Self>, offer: Offer, holdings: &Holdings, log: &RoundLog) {
        let to = offer.to.position;
        for page in holdings.records_of(&offer).chunks(OFFERS_PER_MESSAGE_MAX) {
            let offered =
                page.iter().map(|(key, record)| OfferedRecord { key: *key, id: record.id() }).collect();
            let request = StorageRequest::Offer { objects: Vec::new(), records: offered };
            let answer = self.ask_storage(&offer.to, request, STORAGE_TIMEOUT).await;
            let Ok(StorageReply::Wanted { records, .. }) = answer else { return log.incomplete() };
            let wanted = log.with(|round| round.hear_wanted_records(to, page, &records));
            if !self.give_records(&offer.to, &wanted, log).await {
                return;
            }
        }
        let mut wanted = Vec::new();
        for page in holdings.objects_of(&offer).chunks(OFFERS_PER_MESSAGE_MAX) {
            let request = StorageRequest::Offer { objects: page.to_vec(), records: Vec::new() };
            let answer = self.ask_storage(&offer.to, request, STORAGE_TIMEOUT).await;
            let (objects, arriving, unkept) = match answer {
                Ok(StorageReply::Wanted { objects, arriving, .. }) => (objects, arriving, Vec::new()),
                Ok(StorageReply::WantedInPart { objects, arriving, unkept, .. }) => {
                    (objects, arriving, unkept)
                }
                _ => return log.incomplete(),
            };
            let heard = log.with(|round| round.hear_wanted_in_part(to, page, &objects, &arriving, &unkept));
            wanted.extend(heard.into_iter().filter(|content| self.hopeless.may_try(&offer.to, content)));
            let has = |content: &&ContentId| log.with(|round| round.has_object(&to, content));
            let has = page.iter().filter(has).copied().collect();
            // What is given for its owner is the owner's to tell.
            let view = self.view();
            let mine =
                page.iter().filter(|content| view.owns(&content.key()) || is_owned_by(&view, content, &to));
            self.note_offer(&view, &offer.to, &mine.copied().collect(), &has);
        }
        self.give_objects(&offer.to, wanted, log).await;
    }

    /// Pushes objects to one peer, those with the fewest copies first; no more of them when it does not answer.
    async fn give_objects(self: &Arc<Self>, to: &Entry, mut wanted: Vec<ContentId>, log: &RoundLog) {
        let mut pushes = JoinSet::new();
        let (mut at_once, mut until_sorted) = (AT_ONCE_FIRST, 0);
        while !wanted.is_empty() || !pushes.is_empty() {
            while pushes.len() < at_once
                && let Some(content) = next_of(&mut wanted, &mut until_sorted, log)
            {
                let (shared, to) = (self.clone(), to.clone());
                pushes.spawn(async move {
                    let _slot = shared.gives.slot(Party::Peer(to.position), GIVE_WAIT_MAX).await;
                    (content, shared.give_object(&to, content).await)
                });
            }
            let Some(Ok((content, given))) = pushes.join_next().await else { return log.incomplete() };
            self.hopeless.tried(to, content, &given);
            match given {
                // It is offered again with every round, and taken when it can be.
                Err(reason) if reason.is_final() => {}
                Ok(bytes) => {
                    log.with(|round| round.gave_object(to.position, content, bytes));
                    let view = self.view();
                    if view.owns(&content.key()) || is_owned_by(&view, &content, &to.position) {
                        self.note_offer(&view, to, &[content].into(), &[content].into());
                    }
                    self.moved.fetch_add(1, Ordering::Relaxed);
                }
                Err(reason) => {
                    log.incomplete();
                    if reason == MissingReason::Unreachable {
                        // Those under way end with this set.
                        return;
                    }
                }
            }
            // On a line that is full more at once would only make each of them slower.
            let full = self.transport.connection(&to.position).is_some_and(|line| line.is_full());
            at_once = if full { AT_ONCE_FIRST } else { GIVES_PER_PEER_MAX };
        }
    }

    /// Pushes one object to one peer. Its length, once that peer has it.
    async fn give_object(self: &Arc<Self>, to: &Entry, content: ContentId) -> Result<u64, MissingReason> {
        let found = self.blocking(move |store| Ok((store.info(&content)?, store.names_of(&content)?))).await;
        let Ok((Some(object), mut links)) = found else {
            return Err(self.not_given(&BlobError::NotHere { content }));
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
        match tokio::join!(push, heard).1 {
            // Refused for what it is: this peer looks at its own copy before it tries, or believes, that again.
            Err(MissingReason::Final(why)) => match self.blocking(move |store| store.scrub(&content)).await {
                Ok(true) => Err(MissingReason::Final(why)),
                Ok(false) => Err(self.not_given(&BlobError::Rotten { content, reason: why })),
                Err(error) => Err(self.not_given(&error)),
            },
            given => given,
        }
    }

    /// Gives records to one peer. False, and no more of them, when it does not take one.
    async fn give_records(self: &Arc<Self>, to: &Entry, wanted: &[&SignedRecord], log: &RoundLog) -> bool {
        for record in wanted {
            let (id, record) = (record.id(), SignedRecord::clone(record));
            let request = StorageRequest::PutRecord { record, role: PutRole::Replica };
            match self.ask_storage(to, request, STORAGE_TIMEOUT).await {
                Ok(StorageReply::Put { .. }) => {
                    log.with(|round| round.gave_record(to.position, id));
                    self.moved.fetch_add(1, Ordering::Relaxed);
                }
                _ => {
                    log.incomplete();
                    return false;
                }
            }
        }
        true
    }
}

fn is_owned_by(view: &crate::chord::View, content: &ContentId, peer: &Position) -> bool {
    matches!(view.route(&content.key()), Some(Route::Owner { owner, .. }) if owner.position == *peer)
}

/// When this peer gives copies in place of their owners: for a while after its neighbours changed, but not in the
/// first round after that, which is the owners' own. The second round comes soon, as after a round that could not do
/// all: an owner behind a slow line is not waited for.
#[derive(Default)]
struct Help {
    neighbours: Option<(Option<Entry>, Vec<Entry>)>,
    changed: Option<Moment>,
    /// Rounds since then.
    rounds: u32,
}

impl Help {
    fn look(&mut self, now: Moment, view: &crate::chord::View) {
        let seen = Some((view.predecessor.clone(), view.successors.clone()));
        if self.neighbours != seen {
            (self.neighbours, self.changed, self.rounds) = (seen, Some(now), 0);
        }
    }

    /// A round begins: whether this peer helps in it.
    fn begins(&mut self, now: Moment) -> bool {
        self.rounds = self.rounds.saturating_add(1);
        self.rounds > 1 && self.changed.is_some_and(|changed| now.since(changed) < HELP_FOR)
    }

    /// Whether the next round will be the first in which this peer helps.
    fn is_to_come(&self) -> bool {
        self.rounds == 1
    }
}

/// The next object to give. What other peers answered meanwhile is looked at now and then.
fn next_of(wanted: &mut Vec<ContentId>, until_sorted: &mut usize, log: &RoundLog) -> Option<ContentId> {
    if *until_sorted == 0 {
        log.with(|round| {
            wanted.sort_by_cached_key(|content| Reverse((round.others_with(content), *content)))
        });
        *until_sorted = (wanted.len() / SORTS_MAX).max(SORTED_MIN);
    }
    *until_sorted -= 1;
    wanted.pop()
}

/// How long news of a joiner may lag behind the joiner itself.
const NEWS_WAIT: Duration = Duration::from_secs(3);
/// For how long after a change of its neighbours a replica gives copies, too.
const HELP_FOR: Duration = Duration::from_secs(300);
/// How long a round is waited for; what takes longer goes on beside the next ones.
const ROUND_WAIT: Duration = Duration::from_secs(3);
/// Objects that are given to one peer at the same time: before its line is known, and while that is full.
const AT_ONCE_FIRST: usize = 2;
/// How long an object waits for its turn: as long as other transfers to the same peer may take.
const GIVE_WAIT_MAX: Duration = Duration::from_secs(600);
/// What is to be given is sorted anew after so many objects, or after this part of all.
const SORTED_MIN: usize = 64;
const SORTS_MAX: usize = 16;
/// How long a partial transfer is kept for whoever sends the rest, and how many of them.
const PART_UNUSED_MAX: Duration = Duration::from_secs(24 * 3_600);
const PARTS_MAX: usize = 256;
/// Records that are read at a time.
const RECORDS_PER_PAGE: usize = 1_000;
