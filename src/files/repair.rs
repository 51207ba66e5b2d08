//! Rounds of repair, which make missing copies again.
//!
//! After every change of the ring, and now and then, each peer compares what it holds with the peers that it belongs to
//! (see [`crate::replica`], and `compare`), and offers what differs: `A ->[Offer] B`, `B ->[Wanted] A`, then A pushes
//! what is wanted. Transfers to different peers do not wait for each other: a round ends without the slow ones, which go
//! on. A joiner's take-over and a leaving peer's hand-over are rounds of the same kind.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::absence::may_give_to;
use super::ask::ask_storage;
use super::compare::Comparison;
use super::env::{BoxFuture, Cause, Env};
use super::find::find;
use super::push::{Feed, Given, push};
use super::records::STORAGE_TIMEOUT;
use super::shares::{GIVES_PER_PEER_MAX, Party};
use super::wait::{Either, Task, Together, race};
use crate::chord::{Route, View};
use crate::id::{ContentId, KeyRange, Position};
use crate::replica::{
    Cuts, Offer, OfferPlan, Place, RepairSchedule, Round, plan_help, plan_repair, plan_standins, plan_sync,
};
use crate::time::Moment;
use crate::wire::limits::{LINKS_PER_OBJECT_MAX, OFFERS_PER_MESSAGE_MAX};
use crate::wire::{
    Entry, MissingReason, OfferedRecord, PutRole, SignedRecord, StorageReply, StorageRequest, StoreRole,
};

/// The knowledge that a round of offers has gained so far; a round that is cut short leaves it here.
#[derive(Debug, Clone)]
pub struct RoundLog {
    round: Arc<Mutex<Round>>,
    cause: Cause,
}

impl RoundLog {
    /// An empty log, for a round with this cause.
    pub fn new(cause: Cause) -> RoundLog {
        RoundLog { round: Arc::default(), cause }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Round) -> T) -> T {
        work(&mut self.round.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A copy of all that the round has learned so far.
    pub fn round(&self) -> Round {
        self.with(|round| round.clone())
    }

    fn incomplete(&self) {
        self.with(|round| round.incomplete = true);
    }
}

/// A round of repair that is waited for.
struct Waited {
    log: RoundLog,
    /// The peers that are still given something.
    left: BTreeSet<Position>,
    /// The end of the wait: a slow peer does not keep the next round from the others.
    until: Moment,
}

/// The gifts under way: one offer for each peer, each on its own.
struct Giving {
    offers: Together<BoxFuture<'static, Position>>,
    to: BTreeSet<Position>,
}

/// An event that wakes the repair.
enum Event {
    /// The view has changed; false if the peer has ended.
    View(bool),
    Wanted,
    /// A peer was given everything that was to be given to it, or it does not answer.
    Gave(Position),
    Due,
}

/// Repairs until the peer ends; first pauses, unless something changes meanwhile.
pub async fn repair<E: Env>(env: Arc<E>, pause: Duration) {
    let mut schedule = RepairSchedule::new(env.repair_interval());
    let mut giving = Giving { offers: Together::new(), to: BTreeSet::new() };
    let (mut waited, mut help) = (None::<Waited>, Help::default());
    // The search for lost objects takes long where peers are silent. Repair does not wait for it; the next round ends it.
    let mut search = None;
    if !pause.is_zero() {
        let seen = env.view();
        let changed = race(env.view_changed(&seen), env.repair_wanted().notified());
        race(env.sleep_until(env.now() + pause), changed).await;
    }
    loop {
        let (seen, now) = (env.view(), env.now());
        help.look(now, &seen);
        let is_over = |round: &mut Waited| round.left.is_empty() || round.until <= now;
        if let Some(round) = waited.take_if(is_over) {
            let incomplete = !round.left.is_empty() || round.log.round().incomplete;
            schedule.end(now, incomplete || help.is_to_come());
        }
        if schedule.begin(now, &seen) {
            drop(search.take());
            let (round, begun) = begin_round(&env, &mut giving, help.begins(now)).await;
            (waited, search) = (Some(round), begun);
            continue;
        }
        let due = schedule.poll_timeout().into_iter().chain(waited.as_ref().map(|round| round.until)).min();
        match next_event(&env, &seen, &mut giving, due).await {
            Event::View(true) | Event::Due => {}
            Event::View(false) => return,
            Event::Wanted => schedule.want(env.now()),
            Event::Gave(peer) => {
                if !waited.as_mut().is_some_and(|round| round.left.remove(&peer)) {
                    // This peer was still busy with an earlier offer when the last round began, and was passed over.
                    schedule.want(env.now());
                }
            }
        }
    }
}

async fn next_event<E: Env>(
    env: &Arc<E>,
    seen: &Arc<View>,
    giving: &mut Giving,
    due: Option<Moment>,
) -> Event {
    let looks = race(env.view_changed(seen), env.repair_wanted().notified());
    let due = async {
        match due {
            Some(at) => env.sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    match race(looks, race(giving.offers.next_or_never(), due)).await {
        Either::Left(Either::Left(goes_on)) => Event::View(goes_on),
        Either::Left(Either::Right(())) => Event::Wanted,
        Either::Right(Either::Left(peer)) => {
            giving.to.remove(&peer);
            Event::Gave(peer)
        }
        Either::Right(Either::Right(())) => Event::Due,
    }
}

/// Begins to give what a new round finds. A peer that is still given what an earlier round found is passed over.
async fn begin_round<E: Env>(env: &Arc<E>, giving: &mut Giving, helps: bool) -> (Waited, Option<Task<()>>) {
    env.tidy().await;
    let (log, until) = (RoundLog::new(Cause::Repair), env.now() + ROUND_WAIT);
    let (mut left, mut lost) = (BTreeSet::new(), None);
    let waited_for = env.waited_for();
    let plan = |view: &View, copies: usize, key: &Position| {
        let mut place = plan_repair(view, copies, &waited_for, key);
        if let Place::At(peers) = &mut place
            && helps
        {
            peers.extend(plan_help(view, copies, &waited_for, key));
        }
        place
    };
    let found = async { with_standins(env, planned(env, &plan, None).await?).await };
    match found.await {
        Ok(OfferPlan(offers)) => {
            for (peer, offer) in offers {
                if !giving.to.insert(peer) {
                    log.incomplete();
                    continue;
                }
                let (giver, log) = (env.clone(), log.clone());
                let task = Task::spawn(env, async move { self::offer(&giver, offer, &log).await });
                giving.offers.add(Box::pin(async move {
                    task.await;
                    peer
                }));
                left.insert(peer);
            }
            lost = Some(Task::spawn(env, env.look_for_lost()));
        }
        Err(error) => {
            log.incomplete();
            env.warn(error.to_string());
        }
    }
    (Waited { log, left, until }, lost)
}

/// Runs one round to its end: offers by a plan, then pushes. The log gets what it learns as it goes.
pub async fn round<E: Env, P>(env: &Arc<E>, plan: &P, joiner: Option<&Entry>, log: &RoundLog)
where
    P: Fn(&View, usize, &Position) -> Place + Sync,
{
    match planned(env, plan, joiner).await {
        Ok(OfferPlan(planned)) => {
            let mut offers = Together::new();
            for one in planned.into_values() {
                let (giver, log) = (env.clone(), log.clone());
                offers.add(Task::spawn(env, async move { offer(&giver, one, &log).await }));
            }
            while let Some(ended) = offers.next().await {
                if ended.is_none() {
                    log.incomplete();
                }
            }
        }
        Err(error) => {
            env.warn(error.to_string());
            log.incomplete();
        }
    }
}

/// The planned offers of all that is here: piece by piece, of which one key stands for all. The ring may have one peer
/// more than is known here, a joiner.
///
/// # Errors
/// The objects and records here cannot be read.
pub async fn planned<E: Env, P>(
    env: &Arc<E>,
    plan: &P,
    joiner: Option<&Entry>,
) -> Result<OfferPlan, E::DiskError>
where
    P: Fn(&View, usize, &Position) -> Place + Sync,
{
    let (view, copies) = (env.view(), env.copies());
    let cuts = Cuts::of(&view, joiner);
    let (mut offers, mut next) = (OfferPlan::default(), Some(Position::ZERO));
    while let Some(from) = next
        && let Some(key) = env.first_held(from).await?
    {
        let around = cuts.around(&key);
        let mut piece = KeyRange { first: around.first.max(from), ..around };
        let to = match plan(&view, copies, &key) {
            Place::At(peers) => peers,
            // A place that this peer does not know itself is found by asking, once for each range.
            Place::LookUp { spread } => match find(env, key, spread).await {
                Ok(found) => {
                    let known = found.range_around(&key);
                    piece = piece.common(&known).unwrap_or(KeyRange { first: key, last: key });
                    let others = found.first(spread + 1).into_iter();
                    others.filter(|other| other.position != view.me.position).take(spread).collect()
                }
                // No peer knows it: this round does not offer it.
                Err(_) => Vec::new(),
            },
        };
        offers.add(to, piece);
        next = piece.last.next();
    }
    Ok(offers)
}

/// Adds the offers to the stand-ins of peers without room, of the objects that are here.
///
/// # Errors
/// The objects and records here cannot be read.
async fn with_standins<E: Env>(env: &Arc<E>, mut plan: OfferPlan) -> Result<OfferPlan, E::DiskError> {
    let full = env.no_room().by_object(env.now());
    for (to, key) in plan_standins(&env.view(), env.copies(), &full) {
        if env.first_held(key).await? == Some(key) {
            plan.add_key(to, key);
        }
    }
    Ok(plan)
}

/// Handles `Sync`: offers to the asking peer, at once, the objects and records that belong to it.
pub async fn answer_sync<E: Env>(env: &Arc<E>, asker: &Entry) -> StorageReply {
    let position = asker.position;
    // The asking peer may be faster than the news of it.
    env.view_until(NEWS_WAIT, |view| view.alive().any(|entry| entry.position == position)).await;
    let only_asker = |view: &View, copies: usize, key: &Position| plan_sync(view, copies, asker, key);
    let log = RoundLog::new(Cause::TakeOver);
    round(env, &only_asker, Some(asker), &log).await;
    log.round().synced()
}

/// Compares the ranges of an offer with one peer, and offers what differs, records first; stops once the peer does not
/// answer.
async fn offer<E: Env>(env: &Arc<E>, offer: Offer, log: &RoundLog) {
    if !may_give_to(env, &offer.to).await {
        return log.incomplete();
    }
    let mut comparison = match Comparison::begin(env, &offer.to, &offer.ranges).await {
        Ok(comparison) => comparison,
        Err(error) => {
            env.warn(error.to_string());
            return log.incomplete();
        }
    };
    if log.cause == Cause::Repair {
        comparison.leave_out_fresh(env);
    }
    let mut listing = Listing { to: offer.to, wanted: Vec::new(), records: Vec::new(), objects: Vec::new() };
    let mut complete = true;
    loop {
        let compared = match comparison.next(env).await {
            Ok(Some(compared)) => compared,
            Ok(None) => break,
            Err(_) => return log.incomplete(),
        };
        let to = listing.to.position;
        log.with(|round| compared.same.iter().for_each(|one| round.hear_same(to, one.range, one.digest)));
        for range in compared.differing {
            let mut rest = Some(range);
            while let Some(range) = rest {
                let page = match env.held(range, HELD_PER_PAGE).await {
                    Ok(page) => page,
                    Err(error) => {
                        env.warn(error.to_string());
                        return log.incomplete();
                    }
                };
                listing.objects.extend(page.objects);
                listing.records.extend(page.records);
                rest = page.rest;
                let Ok(all) = listing.offer_full_pages(env, log).await else { return log.incomplete() };
                complete &= all;
            }
        }
    }
    let Ok(all) = listing.offer_rest(env, log).await else { return log.incomplete() };
    if give_objects(env, &listing.to, listing.wanted, log).await && all && complete {
        comparison.has_all(env);
    }
}

/// The objects and records here that differ at one peer, on their way into offers.
struct Listing {
    to: Entry,
    objects: Vec<ContentId>,
    records: Vec<(Position, SignedRecord)>,
    /// The objects that the peer wants.
    wanted: Vec<ContentId>,
}

impl Listing {
    /// Offers what fills whole messages. Returns whether the peer has or wants all of it, and has taken the records.
    async fn offer_full_pages<E: Env>(&mut self, env: &Arc<E>, log: &RoundLog) -> Result<bool, Stopped> {
        let mut all = true;
        while self.objects.len().max(self.records.len()) >= OFFERS_PER_MESSAGE_MAX {
            all &= self.offer_page(env, log).await?;
        }
        Ok(all)
    }

    async fn offer_rest<E: Env>(&mut self, env: &Arc<E>, log: &RoundLog) -> Result<bool, Stopped> {
        let mut all = true;
        while self.objects.len().max(self.records.len()) > 0 {
            all &= self.offer_page(env, log).await?;
        }
        Ok(all)
    }

    async fn offer_page<E: Env>(&mut self, env: &Arc<E>, log: &RoundLog) -> Result<bool, Stopped> {
        let to = self.to.position;
        let page: Vec<ContentId> =
            self.objects.drain(..self.objects.len().min(OFFERS_PER_MESSAGE_MAX)).collect();
        let records: Vec<(Position, SignedRecord)> =
            self.records.drain(..self.records.len().min(OFFERS_PER_MESSAGE_MAX)).collect();
        let offered = records.iter().map(|(key, record)| OfferedRecord { key: *key, id: record.id() });
        let request = StorageRequest::Offer { objects: page.clone(), records: offered.collect() };
        let answer = ask_storage(env, &self.to, request, STORAGE_TIMEOUT).await;
        let (objects, records_wanted, arriving, unkept) = match answer {
            Ok(StorageReply::Wanted { objects, records, arriving }) => {
                (objects, records, arriving, Vec::new())
            }
            Ok(StorageReply::WantedInPart { objects, records, arriving, unkept }) => {
                (objects, records, arriving, unkept)
            }
            _ => return Err(Stopped),
        };
        let wanted = log.with(|round| round.hear_wanted_records(to, &records, &records_wanted));
        let all_taken = give_records(env, &self.to, &wanted, log).await?;
        let complete = all_taken && arriving.is_empty() && unkept.is_empty();
        let arriving = if env.laws().arriving_is_not_here { arriving } else { Vec::new() };
        let heard = log.with(|round| round.hear_wanted_in_part(to, &page, &objects, &arriving, &unkept));
        let count = heard.len();
        let may_give: Vec<ContentId> =
            heard.into_iter().filter(|content| env.may_give(&self.to, content)).collect();
        let complete = complete && may_give.len() == count;
        self.wanted.extend(may_give);
        let has = |content: &&ContentId| log.with(|round| round.has_object(&to, content));
        let has: BTreeSet<ContentId> = page.iter().filter(has).copied().collect();
        note_room(env, &to, &page, &unkept, &has);
        // If this peer gives for an owner, the owner reports the copies itself.
        let view = env.view();
        let mine =
            page.iter().filter(|content| view.owns(&content.key()) || is_owned_by(&view, content, &to));
        env.heard_offer(&view, &self.to, &mine.copied().collect(), &has);
        Ok(complete)
    }
}

/// Notes which of the offered objects a peer has no room for, and which it has.
fn note_room<E: Env>(
    env: &Arc<E>,
    at: &Position,
    page: &[ContentId],
    unkept: &[u16],
    has: &BTreeSet<ContentId>,
) {
    let (now, mut no_room) = (env.now(), env.no_room());
    let mut is_new = false;
    for content in unkept.iter().filter_map(|index| page.get(usize::from(*index))) {
        is_new |= no_room.refused(now, *content, *at);
    }
    if is_new {
        env.repair_wanted().notify_one();
    }
    for content in has {
        no_room.has_room(content, at);
    }
}

/// The peer did not answer as it should, so the offers to it stop.
struct Stopped;

/// Pushes objects to one peer, those with the fewest copies first; stops when it does not answer. Returns whether it
/// has all of them now.
async fn give_objects<E: Env>(env: &Arc<E>, to: &Entry, mut wanted: Vec<ContentId>, log: &RoundLog) -> bool {
    let (mut pushes, mut all) = (Together::new(), true);
    let (mut at_once, mut until_sorted) = (AT_ONCE_FIRST, 0);
    while !wanted.is_empty() || pushes.count() > 0 {
        while pushes.count() < at_once
            && let Some(content) = next_of(&mut wanted, &mut until_sorted, log)
        {
            let (giver, to, cause) = (env.clone(), to.clone(), log.cause);
            pushes.add(Task::spawn(env, async move {
                let party = Party::Peer(to.position);
                let _slot = giver.transfers().gives.slot(&giver, party, GIVE_WAIT_MAX).await;
                (content, give_object(&giver, &to, content, cause).await)
            }));
        }
        let Some(Some((content, given))) = pushes.next().await else {
            log.incomplete();
            return false;
        };
        env.gave(to, content, given.as_ref().err());
        all &= given.is_ok();
        if given.as_ref().is_err_and(MissingReason::is_of_its_disk) {
            let is_new = env.no_room().refused(env.now(), content, to.position);
            if is_new {
                env.repair_wanted().notify_one();
            }
        }
        match given {
            // Each round offers it again, and the peer takes it when it can.
            Err(reason) if reason.is_final() => {}
            Ok(bytes) => {
                log.with(|round| round.gave_object(to.position, content, bytes));
                let view = env.view();
                if view.owns(&content.key()) || is_owned_by(&view, &content, &to.position) {
                    env.heard_offer(&view, to, &[content].into(), &[content].into());
                }
                env.heard_moving(1);
            }
            Err(reason) => {
                log.incomplete();
                if reason == MissingReason::Unreachable {
                    // The pushes under way end with this set.
                    return false;
                }
            }
        }
        // On a full line, more transfers at once would only make each of them slower.
        at_once = match () {
            () if log.cause.is_paced() && env.transfers().pace.is_slow() => 1,
            () if env.is_line_full(&to.position) => AT_ONCE_FIRST,
            () => GIVES_PER_PEER_MAX,
        };
    }
    all
}

/// Pushes one object to one peer. Returns its length in bytes, once that peer has it.
async fn give_object<E: Env>(
    env: &Arc<E>,
    to: &Entry,
    content: ContentId,
    cause: Cause,
) -> Result<u64, MissingReason> {
    let (object, mut links) = env.info_and_links(content).await.map_err(|error| env.not_given(&error))?;
    links.truncate(LINKS_PER_OBJECT_MAX);
    let (word, mut words) = mpsc::channel(1);
    let role = StoreRole::Replica { chain: Vec::new() };
    let heard = async {
        let mut copy = Err(MissingReason::Unreachable);
        while let Some(reply) = words.recv().await {
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
    let given = Given { object, links, cause };
    let push = async {
        push(env, to, &given, role, Feed::Disk, &word).await;
        drop(word);
    };
    match futures_util::future::join(push, heard).await.1 {
        // The peer refused it for good: this peer checks its own copy before it tries again or believes that.
        Err(MissingReason::Final(why)) => match env.look_at_own(content).await {
            Ok(()) => Err(MissingReason::Final(why)),
            Err(error) => Err(env.not_given(&error)),
        },
        given => given,
    }
}

/// Gives records to one peer, until it does not take one. Returns whether it took all: a peer whose disk is full takes no
/// record, and still says which objects it has and has no room for.
async fn give_records<E: Env>(
    env: &Arc<E>,
    to: &Entry,
    wanted: &[&SignedRecord],
    log: &RoundLog,
) -> Result<bool, Stopped> {
    for record in wanted {
        let (id, record) = (record.id(), SignedRecord::clone(record));
        let request = StorageRequest::PutRecord { record, role: PutRole::Replica };
        match ask_storage(env, to, request, STORAGE_TIMEOUT).await {
            Ok(StorageReply::Put { .. }) => {
                log.with(|round| round.gave_record(to.position, id));
                env.heard_moving(1);
            }
            Err(MissingReason::Unreachable) => return Err(Stopped),
            _ => {
                log.incomplete();
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn is_owned_by(view: &View, content: &ContentId, peer: &Position) -> bool {
    matches!(view.route(&content.key()), Some(Route::Owner { owner, .. }) if owner.position == *peer)
}

/// The times at which this peer gives copies in place of their owners: for a while after its neighbours changed, but
/// not in the first round after that, which is the owners' own. The second round comes soon, as after a round that
/// could not do all: an owner behind a slow line is not waited for.
#[derive(Default)]
struct Help {
    neighbours: Option<(Option<Entry>, Vec<Entry>)>,
    changed: Option<Moment>,
    /// The number of rounds since the neighbours changed.
    rounds: u32,
}

impl Help {
    fn look(&mut self, now: Moment, view: &crate::chord::View) {
        let seen = Some((view.predecessor.clone(), view.successors.clone()));
        if self.neighbours != seen {
            (self.neighbours, self.changed, self.rounds) = (seen, Some(now), 0);
        }
    }

    /// Counts a round that begins. Returns whether this peer helps in it.
    fn begins(&mut self, now: Moment) -> bool {
        self.rounds = self.rounds.saturating_add(1);
        self.rounds > 1 && self.changed.is_some_and(|changed| now.since(changed) < HELP_FOR)
    }

    /// Whether the next round will be the first in which this peer helps.
    fn is_to_come(&self) -> bool {
        self.rounds == 1
    }
}

/// The next object to give. The order is renewed now and then, by what other peers answered meanwhile.
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

/// The most by which news of a joiner may lag behind the joiner itself.
const NEWS_WAIT: Duration = Duration::from_secs(3);
/// The time after a change of its neighbours in which a replica gives copies, too.
const HELP_FOR: Duration = Duration::from_secs(300);
/// The time for which a round is waited for; slower transfers go on beside the next rounds.
const ROUND_WAIT: Duration = Duration::from_secs(3);
/// The names, and the objects, that are read at a time to be offered.
const HELD_PER_PAGE: usize = 100;
/// The objects that are given to one peer at the same time before its line is known, and while it is full.
const AT_ONCE_FIRST: usize = 2;
/// The time that an object waits for its turn: as long as other transfers to the same peer may take.
const GIVE_WAIT_MAX: Duration = Duration::from_secs(600);
/// The objects to give are sorted anew after this many of them, or after this part of all.
const SORTED_MIN: usize = 64;
const SORTS_MAX: usize = 16;
