//! Many small objects in one exchange: the sender's side and the receiver's.
//!
//! `A ->[StoreBatch] B`, or `A ->[PutBatch] B` for objects without names, `B ->[BatchWanted] A`, the bytes of the wanted objects, one behind the other, then for each peer
//! of the chain one `BatchKept`, then `Finished`. All objects of a batch have one owner, so they have the same replicas:
//! B gives what it took to the next peer of the chain as a batch while it writes it. A batch is bounded in objects and in
//! bytes, is held in memory once, and is made durable by one call of the disk.
//!
//! A batch is the quick way and not the only one. An object that it does not bring to enough peers, for whatever reason,
//! goes the way of a single object (`store`): there are no tries, no stand-ins and no waiting for slow peers here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::bytes::{Answering as _, Asking as _, DiskError as _, DiskFault, KeptAs, Piece as _, StreamError};
use super::copy::Arrival;
use super::env::{Cause, Env, Small};
use super::shares::{Party, Slot};
use super::wait::Together;
use crate::chord::PhaseKind;
use crate::config::RingSettings;
use crate::id::Position;
use crate::replica::{ChainWords, NotKept, store_duty};
use crate::wire::limits::{
    BATCH_BYTES_MAX, BATCH_OBJECTS_MAX, BATCH_REASON_BYTES_MAX, BATCHED_OBJECT_BYTES_MAX, REASON_BYTES_MAX,
};
use crate::wire::{
    BatchMissing, BatchedObject, Entry, Fault, Link, MissingReason, ObjectInfo, StorageReply, StorageRequest,
    StoreRole, shortened,
};

/// The bytes of one object, in pieces.
pub(super) type Pieces<E> = Vec<<E as Env>::Piece>;

/// An object of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batched {
    /// The content id, length and outboard digest of the object.
    pub object: ObjectInfo,
    /// The name under which it is linked, and the clock of the store. The files of a tree have none.
    pub link: Option<Link>,
}

impl From<BatchedObject> for Batched {
    fn from(BatchedObject { object, link }: BatchedObject) -> Batched {
        Batched { object, link: Some(link) }
    }
}

impl From<ObjectInfo> for Batched {
    fn from(object: ObjectInfo) -> Batched {
        Batched { object, link: None }
    }
}

/// The request for a batch. Its objects either all have names, or none has.
fn request_of(objects: &[Batched], role: StoreRole) -> StorageRequest {
    let named =
        |Batched { object, link }: &Batched| link.clone().map(|link| BatchedObject { object: *object, link });
    match objects.iter().map(named).collect() {
        Some(objects) => StorageRequest::StoreBatch { objects, role },
        None => {
            let objects = objects.iter().map(|batched| batched.object).collect();
            StorageRequest::PutBatch { objects, role }
        }
    }
}

/// Gives a batch to another peer. `hear` is told of each peer that reports, and of the objects that are not durable
/// there; it returns true when it has heard enough.
///
/// # Errors
/// The reason why the exchange broke off. The reports that came before hold.
pub(super) async fn give_batch<E: Env>(
    env: &Arc<E>,
    to: &Entry,
    objects: &[Batched],
    bytes: Vec<Pieces<E>>,
    role: StoreRole,
    mut hear: impl FnMut(Position, Vec<BatchMissing>) -> bool + Send,
) -> Result<(), MissingReason> {
    if to.position == env.view().me.position {
        // A chain that leads back here is its sender's mistake.
        return Err(MissingReason::Unreachable);
    }
    let mut words = ChainWords::new(to.position, &role);
    let mut stream = env.open(to, request_of(objects, role)).await?;
    let lost = |error: StreamError| match error {
        StreamError::WrongReply => broke_off(env, to),
        _ => MissingReason::Unreachable,
    };
    let wanted = match stream.reply(WANTED_TIMEOUT).await.map_err(lost)? {
        StorageReply::BatchWanted { objects: wanted } if are_indices(&wanted, objects.len()) => wanted,
        StorageReply::NotOwner { .. } => {
            return Err(MissingReason::Refused("it does not own these keys".to_owned()));
        }
        StorageReply::Refused(why) => return Err(MissingReason::Refused(why)),
        _ => return Err(broke_off(env, to)),
    };
    let mut wanted = wanted.into_iter().peekable();
    for (index, pieces) in bytes.into_iter().enumerate() {
        if wanted.next_if(|wanted| usize::from(*wanted) == index).is_none() {
            continue;
        }
        for piece in pieces {
            let length = piece.length();
            env.transfers().upload.take(env, length).await;
            stream.send(piece).await.map_err(lost)?;
            env.sent(Cause::Store, length);
        }
    }
    stream.finish_send();
    for _ in 0..=REPORTS_MAX {
        match stream.reply(DURABLE_TIMEOUT).await.map_err(lost)? {
            StorageReply::BatchKept { peer, missing } => {
                let indices: Vec<u16> = missing.iter().map(|copy| copy.index).collect();
                if !are_indices(&indices, objects.len())
                    || !words.hear(&env.view(), &StorageReply::Durable { peer })
                {
                    env.blame_answer(&to.position, Fault::FalseCopies);
                    continue;
                }
                env.heard_moving(1);
                if hear(peer, missing) {
                    return Ok(());
                }
            }
            StorageReply::Finished => return Ok(()),
            StorageReply::Refused(why) => return Err(MissingReason::Refused(why)),
            _ => return Err(broke_off(env, to)),
        }
    }
    env.blame_answer(&to.position, Fault::FalseCopies);
    Err(MissingReason::Refused("it does not stop to talk of copies".to_owned()))
}

/// Keeps a batch as this peer itself, as its owner, and passes it on. The reports are those of [`give_batch`].
///
/// # Errors
/// The reason why nothing is kept.
pub(super) async fn keep_own_batch<E: Env>(
    env: &Arc<E>,
    objects: &[Batched],
    bytes: &[Pieces<E>],
    mut hear: impl FnMut(Position, Vec<BatchMissing>) -> bool + Send,
) -> Result<(), MissingReason> {
    let plan = Plan::make(env, objects.to_vec(), StoreRole::Owner, None).await;
    let plan = plan.map_err(|why| MissingReason::Refused(why.to_string()))?;
    let slot = env.transfers().batches.slot(env, Party::Here, ENTRANCE_WAIT).await;
    let slot = slot.ok_or_else(|| MissingReason::Refused(TOO_MANY.to_owned()))?;
    let pieces = plan.wanted.iter().map(|index| bytes[usize::from(*index)].clone()).collect();
    let (word, mut words) = mpsc::channel(REPORTS_MAX);
    let (keeper, me) = (env.clone(), env.view().me.position);
    env.spawn(async move { keep_and_pass_on(keeper, plan, pieces, Some(me), word, slot).await });
    while let Some((peer, missing)) = words.recv().await {
        if hear(peer, missing) {
            break;
        }
    }
    Ok(())
}

/// Handles `StoreBatch` and `PutBatch`: keeps the objects as their owner or as a replica, and passes them on.
pub async fn accept_batch<E: Env>(
    env: &Arc<E>,
    mut stream: E::Answering,
    objects: Vec<impl Into<Batched> + Send>,
    role: StoreRole,
) {
    let objects = objects.into_iter().map(Into::into).collect();
    match take_batch(env, &mut stream, objects, role).await {
        // The asking side has had all answers, or is gone.
        Ok(()) => drop(stream.finish().await),
        Err(error) => tracing::debug!(%error, "a batch did not come whole"),
    }
}

async fn take_batch<E: Env>(
    env: &Arc<E>,
    stream: &mut E::Answering,
    objects: Vec<Batched>,
    role: StoreRole,
) -> Result<(), StreamError> {
    let sender = stream.party().certain();
    if let Err((fault, why)) = check_batch(&objects) {
        if let Some(sender) = sender {
            env.blame(&sender, fault);
        }
        return stream.reply(StorageReply::refused(why.to_owned())).await;
    }
    let Some(slot) = env.transfers().batches.slot(env, stream.party(), ENTRANCE_WAIT).await else {
        return stream.reply(StorageReply::Refused(TOO_MANY.to_owned())).await;
    };
    // A peer that is just entering the ring is worth a short wait.
    env.view_until(ENTRANCE_WAIT, |view| view.phase != PhaseKind::Entering).await;
    let plan = match Plan::make(env, objects, role, sender).await {
        Ok(plan) => plan,
        Err(why) => return stream.reply(why.into()).await,
    };
    let _arrivals: Vec<Arrival<E>> =
        plan.wanted().map(|wanted| Arrival::begin(env, wanted.object.content, None)).collect();
    stream.reply(StorageReply::BatchWanted { objects: plan.wanted.clone() }).await?;
    let mut pieces = Vec::with_capacity(plan.wanted.len());
    for wanted in plan.wanted() {
        let (mut left, mut bytes) = (wanted.object.length, Vec::new());
        while left > 0 {
            let piece = stream.piece(left).await?;
            left = left.saturating_sub(piece.length());
            env.transfers().download.take(env, piece.length()).await;
            bytes.push(piece);
        }
        pieces.push(bytes);
    }
    let (word, mut words) = mpsc::channel(REPORTS_MAX);
    // The bytes are here: they are kept and passed on even if the sender is gone.
    let keeper = env.clone();
    env.spawn(async move { keep_and_pass_on(keeper, plan, pieces, sender, word, slot).await });
    while let Some((peer, missing)) = words.recv().await {
        stream.reply(StorageReply::BatchKept { peer, missing }).await?;
    }
    stream.reply(StorageReply::Finished).await
}

/// A report on one peer: the objects of the batch that are not durable there.
type Report = (Position, Vec<BatchMissing>);

/// The part of each object in a batch that this peer takes.
struct Plan {
    objects: Vec<Batched>,
    /// The objects that are here already.
    here: Vec<u16>,
    /// The objects whose bytes are wanted, in their order.
    wanted: Vec<u16>,
    refused: Vec<BatchMissing>,
    chain: Vec<Entry>,
    is_owner: bool,
}

impl Plan {
    /// # Errors
    /// The reason why none of the objects is kept here.
    async fn make<E: Env>(
        env: &Arc<E>,
        objects: Vec<Batched>,
        role: StoreRole,
        giver: Option<Position>,
    ) -> Result<Plan, NotKept> {
        let (view, is_owner) = (env.view(), role == StoreRole::Owner);
        let mut plan =
            Plan { here: vec![], wanted: vec![], refused: vec![], chain: vec![], is_owner, objects };
        let (mut why_none, mut due) = (None, Vec::new());
        for (index, batched) in plan.objects.iter().enumerate() {
            match store_duty(&view, env.copies(), &batched.object, role.clone()) {
                Ok(duty) => {
                    plan.chain = duty.with_giver_last(giver).chain;
                    due.push((index as u16, batched.object));
                }
                Err(why) => {
                    plan.refused.push(missing(index as u16, MissingReason::Refused(why.to_string())));
                    why_none = Some(why);
                }
            }
        }
        // A disk that cannot tell is asked again when it is to write.
        let held = env.held_infos(due.iter().map(|(_, object)| object.content).collect()).await;
        for ((index, object), held) in due.into_iter().zip(held) {
            match held {
                Some(held) if held != object => {
                    plan.refused.push(missing(index, MissingReason::Final(OTHER_OBJECT.to_owned())));
                }
                Some(_) => plan.here.push(index),
                None => plan.wanted.push(index),
            }
        }
        match why_none.filter(|_| plan.refused.len() == plan.objects.len()) {
            Some(why) => Err(why),
            None => Ok(plan),
        }
    }

    fn wanted(&self) -> impl Iterator<Item = &Batched> {
        self.wanted.iter().map(|index| &self.objects[usize::from(*index)])
    }
}

/// Makes the objects durable here, and gives those whose bytes came to the next peer of the chain at the same time.
async fn keep_and_pass_on<E: Env>(
    env: Arc<E>,
    plan: Plan,
    pieces: Vec<Pieces<E>>,
    sender: Option<Position>,
    word: mpsc::Sender<Report>,
    slot: Slot,
) {
    // The bytes are in memory until they are here and passed on, or it is too late for that.
    let slot = Arc::new(slot);
    if !plan.chain.is_empty() && !plan.wanted.is_empty() {
        let (passer, chain, word, slot) = (env.clone(), plan.chain.clone(), word.clone(), slot.clone());
        let objects: Vec<Batched> = plan.wanted().cloned().collect();
        let (bytes, map, all) = (pieces.clone(), plan.wanted.clone(), plan.objects.len());
        let is_owner = plan.is_owner;
        env.spawn(async move {
            let widen = |missing| widened(missing, &map, all);
            let pass =
                passer.transfers().passes.slot(&passer, Party::Peer(chain[0].position), PASS_WAIT).await;
            drop(slot);
            let all_kept = match pass {
                Some(pass) => pass_on(&passer, chain, &objects, (bytes, pass), &word, widen).await,
                None => {
                    // A slow chain gets its copies at its own pace: by repair.
                    let reason = MissingReason::Refused("it has too many batches to take".to_owned());
                    chain.iter().for_each(|entry| report_none(entry, &objects, &reason, &word, widen));
                    false
                }
            };
            if is_owner && !all_kept {
                // Its rounds give the replicas what they lack.
                passer.repair_wanted().notify_one();
            }
        });
    }
    let me = env.view().me.position;
    let small = plan.wanted().zip(pieces).map(|(batched, pieces)| Small {
        object: batched.object,
        links: batched.link.iter().cloned().collect(),
        pieces,
    });
    let small: Vec<Small<E::Piece>> = small.collect();
    let mut lacking = plan.refused.clone();
    for (index, kept) in plan.wanted.iter().zip(env.keep_batch(small, KeptAs::Replica).await) {
        let object = plan.objects[usize::from(*index)].object;
        let kept = kept.map_err(|error| {
            if let (DiskFault::Mismatch { .. } | DiskFault::WrongChunk, Some(sender), true) =
                (error.fault(), sender, plan.is_owner)
            {
                env.blame(&sender, Fault::CorruptBytes);
                return MissingReason::Final(shortened(error.to_string(), REASON_BYTES_MAX));
            }
            match error.fault() {
                // It came another way meanwhile, or is just coming.
                DiskFault::AlreadyHere | DiskFault::AlreadyReceiving => MissingReason::NotYet,
                _ => error.missing_reason(),
            }
        });
        match kept {
            // The bytes match their content id, and stay; the store that claims another outboard is refused.
            Ok(kept) if kept != object => {
                lacking.push(missing(*index, MissingReason::Final(OTHER_OBJECT.to_owned())));
            }
            Ok(_) => {
                env.with_agreements(|agreements| agreements.came(object.content));
                env.copy_came(&object.content, sender, true);
            }
            Err(reason) => {
                env.copy_refused(&object, &reason);
                lacking.push(missing(*index, reason));
            }
        }
    }
    let mut keeping = Together::new();
    for index in &plan.here {
        let Batched { object, link } = plan.objects[usize::from(*index)].clone();
        let (env, index, links) = (env.clone(), *index, link.into_iter().collect());
        keeping.add(async move { (index, object, env.keep_linked(object.content, links).await) });
    }
    while let Some((index, object, kept)) = keeping.next().await {
        match kept {
            Ok(true) => env.copy_came(&object.content, sender, false),
            Ok(false) => lacking.push(missing(index, MissingReason::NotYet)),
            Err(error) => lacking.push(missing(index, error.missing_reason())),
        }
    }
    lacking.sort_by_key(|copy| copy.index);
    let _ = word.send((me, lacking)).await;
}

/// Gives a batch to the first peer of a chain that takes it, with the rest of the chain. Reports on all of them; returns
/// whether all have all. The bytes and their slot are given up with the first report.
async fn pass_on<E: Env>(
    env: &Arc<E>,
    mut chain: Vec<Entry>,
    objects: &[Batched],
    bytes: (Vec<Pieces<E>>, Slot),
    word: &mpsc::Sender<Report>,
    widen: impl Fn(Vec<BatchMissing>) -> Vec<BatchMissing> + Send + Sync,
) -> bool {
    let (mut all_kept, mut held) = (true, Some(bytes));
    while let (false, Some((bytes, _))) = (chain.is_empty(), &held) {
        let bytes = bytes.clone();
        let to = chain.remove(0);
        let asked: BTreeSet<Position> = chain.iter().chain([&to]).map(|entry| entry.position).collect();
        let mut heard = BTreeSet::new();
        let role = StoreRole::Replica { chain: chain.clone() };
        let given = give_batch(env, &to, objects, bytes, role, |peer, missing| {
            all_kept &= missing.is_empty();
            heard.insert(peer);
            held = None;
            // There is a place for each peer of the chain. Whoever waited for the reports may be gone.
            let _ = word.try_send((peer, widen(missing)));
            false
        });
        let reason = match given.await {
            Ok(()) => MissingReason::NotYet,
            Err(reason) => reason,
        };
        if !heard.is_empty() {
            return all_kept && heard == asked;
        }
        all_kept = false;
        report_none(&to, objects, &reason, word, &widen);
    }
    all_kept
}

/// Reports that a peer keeps none of the objects, and why.
fn report_none(
    peer: &Entry,
    objects: &[Batched],
    reason: &MissingReason,
    word: &mpsc::Sender<Report>,
    widen: impl Fn(Vec<BatchMissing>) -> Vec<BatchMissing>,
) {
    let none = (0..objects.len()).map(|index| missing(index as u16, reason.clone())).collect();
    // There is a place for each peer of the chain. Whoever waited for the reports may be gone.
    let _ = word.try_send((peer.position, widen(none)));
}

/// A report on a part of a batch, as one on the whole batch: of the objects that were not in the part, nothing is known.
fn widened(of_part: Vec<BatchMissing>, map: &[u16], all: usize) -> Vec<BatchMissing> {
    let mut widened: Vec<BatchMissing> = of_part
        .into_iter()
        .filter_map(|copy| Some(missing(*map.get(usize::from(copy.index))?, copy.reason)))
        .collect();
    let others = (0..all as u16).filter(|index| !map.contains(index));
    widened.extend(others.map(|index| missing(index, MissingReason::NotYet)));
    widened.sort_by_key(|copy| copy.index);
    widened
}

fn missing(index: u16, reason: MissingReason) -> BatchMissing {
    BatchMissing { index, reason: reason.in_short(BATCH_REASON_BYTES_MAX) }
}

/// Whether these are indices of a list of this length, each once, in their order.
fn are_indices(indices: &[u16], length: usize) -> bool {
    indices.is_sorted_by(|one, next| one < next)
        && indices.last().is_none_or(|last| usize::from(*last) < length)
}

/// Checks the bounds of a batch.
fn check_batch(objects: &[Batched]) -> Result<(), (Fault, &'static str)> {
    let mut contents = BTreeSet::new();
    let mut bytes = 0;
    for Batched { object, .. } in objects {
        if object.length > BATCHED_OBJECT_BYTES_MAX {
            return Err((Fault::WrongLength, "an object is too long for a batch"));
        }
        bytes += object.length;
        if !contents.insert(object.content) {
            return Err((Fault::BadList, "an object is in the batch twice"));
        }
    }
    if objects.is_empty() || objects.len() > BATCH_OBJECTS_MAX || bytes > BATCH_BYTES_MAX {
        return Err((Fault::BadList, "a batch has too many objects or bytes, or none"));
    }
    Ok(())
}

fn broke_off<E: Env>(env: &Arc<E>, peer: &Entry) -> MissingReason {
    env.blame_answer(&peer.position, Fault::WrongReply);
    MissingReason::Refused("it broke the protocol".to_owned())
}

const TOO_MANY: &str = "too many batches at the moment";
const OTHER_OBJECT: &str = "the length or the outboard is not the one of these bytes";
/// How long a peer that is entering, or has no slot free, is waited for.
const ENTRANCE_WAIT: Duration = Duration::from_secs(5);
/// How long a batch waits to be passed on while the next peer of the chain takes others.
const PASS_WAIT: Duration = Duration::from_secs(1);
/// The timeout for the other side's wish: it may wait for a slot first.
const WANTED_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout for the reports: a replica that does not answer costs the owner its own timeout first.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most reports in one exchange: each peer of a chain has one.
const REPORTS_MAX: usize = RingSettings::REPLICAS_MAX as usize + 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ContentId, FileName, OutboardDigest};
    use crate::time::Timestamp;

    fn batched(number: u8, length: u64) -> Batched {
        ObjectInfo { content: ContentId([number; 32]), length, outboard: OutboardDigest([0; 32]) }.into()
    }

    #[test]
    fn a_batch_without_names_is_put() {
        let bare: Vec<Batched> = (0..2).map(|number| batched(number, 1)).collect();
        let objects = bare.iter().map(|batched| batched.object).collect();
        let role = StoreRole::Owner;
        assert_eq!(request_of(&bare, role.clone()), StorageRequest::PutBatch { objects, role });
        let link = Link { name: FileName::new("a").unwrap(), clock: Timestamp(1) };
        let named: Vec<Batched> =
            bare.into_iter().map(|bare| Batched { link: Some(link.clone()), ..bare }).collect();
        let StorageRequest::StoreBatch { objects, .. } = request_of(&named, StoreRole::Owner) else {
            panic!()
        };
        assert!(objects.into_iter().map(Batched::from).eq(named));
    }

    #[test]
    fn a_batch_has_bounds() {
        let long = BATCHED_OBJECT_BYTES_MAX;
        assert!(check_batch(&[batched(1, 0), batched(2, long)]).is_ok());
        assert!(check_batch(&[]).is_err());
        assert!(check_batch(&[batched(1, long + 1)]).is_err(), "too long for a batch");
        assert!(check_batch(&[batched(1, 5), batched(1, 5)]).is_err(), "twice the same");
        let fits = (BATCH_BYTES_MAX / long) as u8;
        let many = |count: u8| -> Vec<Batched> { (0..count).map(|i| batched(i, long)).collect() };
        assert!(check_batch(&many(fits)).is_ok());
        assert!(check_batch(&many(fits + 1)).is_err(), "too many bytes");
        let empty: Vec<Batched> = (0..=BATCH_OBJECTS_MAX as u8).map(|i| batched(i, 0)).collect();
        assert!(check_batch(&empty).is_err(), "too many objects");
    }

    #[test]
    fn a_report_on_a_part_leaves_the_rest_open() {
        let of_part = vec![missing(1, MissingReason::Unreachable)];
        let widened = widened(of_part, &[0, 3], 4);
        let found: Vec<u16> = widened.iter().map(|copy| copy.index).collect();
        assert_eq!(found, [1, 2, 3]);
        assert_eq!(widened[2].reason, MissingReason::Unreachable);
        assert!(are_indices(&found, 4) && !are_indices(&found, 3) && !are_indices(&[1, 1], 4));
    }
}
