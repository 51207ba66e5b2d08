//! Many stores of small objects at once: the objects go to their owners in batches, then the records to theirs.
//!
//! The law is that of a single store: a file is acknowledged when enough copies of its object are durable, the owner of
//! its key is looked up again, and enough copies of its record are durable after that. All that a batch does not bring
//! about is stored one by one, with all the patience of a single store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batched, Pieces, give_batch, keep_own_batch};
use super::batch_names::write_records;
use super::bytes::{Piece as _, Reader as _};
use super::env::Env;
use super::find::find;
use super::groups::{Group, Grouped, groups};
use super::naming::target_of;
use super::progress::Progress;
use super::quorum::{StoreFailure, copies_wanted};
use super::records::Written;
use super::store::{Order, Stored, put, store};
use super::wait::Together;
use crate::id::{ContentId, FileName, Position};
use crate::names::NameEdit;
use crate::replica::{Copies, CopiesWanted};
use crate::wire::limits::BATCHED_OBJECT_BYTES_MAX;
use crate::wire::{BatchMissing, Link, Missing, ObjectInfo, StorageReply, StoreRole, Wait};

/// One of many stores, and its bytes, if they are at hand already.
pub struct BatchOrder<E: Env> {
    /// The order of the store.
    pub order: Order<E>,
    /// The bytes of the object. Without them, they are read from the origin.
    pub bytes: Option<E::Piece>,
}

/// One of many objects that are put, and its bytes, if they are at hand already.
pub struct PutOrder<E: Env> {
    /// The content id, length and outboard digest of the object.
    pub object: ObjectInfo,
    /// The source of its bytes.
    pub origin: Arc<E::Origin>,
    /// The bytes of the object. Without them, they are read from the origin, unless the object is here.
    pub bytes: Option<E::Piece>,
}

/// Stores many objects and their name records; gives a result for each, in their order. The orders wait for as many
/// copies as the first does.
pub async fn store_batch<E: Env>(
    env: &Arc<E>,
    orders: Vec<BatchOrder<E>>,
) -> Vec<Result<Stored, StoreFailure<E::DiskError>>> {
    let together = store_together(env, &orders).await;
    let alone = |BatchOrder { order, .. }| store(env, order, Arc::new(Progress::default()));
    all(orders, together, alone).await
}

/// Makes many objects durable in the ring without names, as [`put`] does with one; gives a result for each, in their
/// order.
pub async fn put_batch<E: Env>(
    env: &Arc<E>,
    orders: Vec<PutOrder<E>>,
    limits: (Wait, Duration),
) -> Vec<Result<(), StoreFailure<E::DiskError>>> {
    let together = put_together(env, &orders, limits.0).await;
    let alone = |PutOrder { object, origin, .. }| put(env, object, origin, limits, Arc::default());
    all(orders, together, alone).await
}

/// Does alone what was not done together, several at once. Gives the results of all, in their order.
async fn all<O, T, D: Future<Output = Result<T, F>> + Send, F>(
    orders: Vec<O>,
    together: Vec<Option<T>>,
    alone: impl Fn(O) -> D,
) -> Vec<Result<T, F>> {
    let mut results: Vec<Option<Result<T, F>>> = together.into_iter().map(|one| one.map(Ok)).collect();
    let mut left = orders
        .into_iter()
        .enumerate()
        .filter(|(index, _)| results[*index].is_none())
        .collect::<Vec<_>>()
        .into_iter();
    let mut doing = Together::new();
    loop {
        while doing.count() < SINGLES_MAX
            && let Some((index, order)) = left.next()
        {
            let done = alone(order);
            doing.add(async move { (index, done.await) });
        }
        match doing.next().await {
            Some((index, result)) => results[index] = Some(result),
            None => break,
        }
    }
    // Each one that was not done together was done alone.
    results.into_iter().flatten().collect()
}

/// Stores together what can be: `None` for all that has to be stored alone.
async fn store_together<E: Env>(env: &Arc<E>, orders: &[BatchOrder<E>]) -> Vec<Option<Stored>> {
    let mut stored: Vec<Option<Stored>> = orders.iter().map(|_| None).collect();
    let Some(first) = orders.first() else { return stored };
    let laws = env.laws();
    // A simulation without these laws tries single stores.
    if !laws.bytes_before_name || !laws.owner_looked_up_again {
        return stored;
    }
    let Ok(wanted) = copies_wanted(env, first.order.wait).await else { return stored };
    let offered = orders.iter().enumerate().map(|(index, BatchOrder { order, bytes })| Candidate {
        index,
        object: order.object,
        name: Some(&order.name),
        origin: &order.origin,
        bytes: bytes.as_ref(),
    });
    let items = Item::take(env, offered).await;
    let _foreground = env.transfers().pace.foreground();
    let durable = copy_all(env, items, wanted).await;
    let durable = durable.into_iter().filter_map(|(item, copies)| {
        let Batched { object, link } = item.batched;
        Some(Named { index: item.index, object, name: link?.name, copies })
    });
    let mut named = Together::new();
    for group in groups(env, durable.collect(), 0).await {
        named.add(name_group(env, group, wanted));
    }
    while let Some(group) = named.next().await {
        for (index, one) in group {
            stored[index] = Some(one);
        }
    }
    stored
}

/// Puts together what can be: `None` for all that has to be put alone. That is also what came without bytes and is here
/// already: its bytes may not be needed.
async fn put_together<E: Env>(env: &Arc<E>, orders: &[PutOrder<E>], wait: Wait) -> Vec<Option<()>> {
    let mut done = vec![None; orders.len()];
    if !env.laws().owner_looked_up_again {
        return done;
    }
    let Ok(wanted) = copies_wanted(env, wait).await else { return done };
    let without_bytes = orders.iter().filter(|order| order.bytes.is_none());
    let here = env.held_infos(without_bytes.map(|order| order.object.content).collect()).await;
    let mut here = here.into_iter();
    let goes = |order: &PutOrder<E>| order.bytes.is_some() || here.next().flatten().is_none();
    let going: Vec<bool> = orders.iter().map(goes).collect();
    let going = orders.iter().enumerate().filter(|(index, _)| going[*index]);
    let offered = going.map(|(index, PutOrder { object, origin, bytes })| Candidate {
        index,
        object: *object,
        name: None,
        origin,
        bytes: bytes.as_ref(),
    });
    let items = Item::take(env, offered).await;
    let _foreground = env.transfers().pace.foreground();
    for (item, _) in copy_all(env, items, wanted).await {
        done[item.index] = Some(());
    }
    done
}

/// Gives the objects to their owners. Returns those of which enough copies are durable.
async fn copy_all<E: Env>(env: &Arc<E>, items: Vec<Item<E>>, wanted: CopiesWanted) -> Vec<(Item<E>, Copies)> {
    let mut copying = Together::new();
    for group in groups(env, items, 0).await {
        copying.add(copy_group(env, group, wanted));
    }
    let mut durable = Vec::new();
    while let Some(group) = copying.next().await {
        durable.extend(group);
    }
    durable
}

/// An object that may go in a batch.
struct Candidate<'a, E: Env> {
    index: usize,
    object: ObjectInfo,
    name: Option<&'a FileName>,
    origin: &'a Arc<E::Origin>,
    bytes: Option<&'a E::Piece>,
}

/// One object on its way in a batch.
struct Item<E: Env> {
    index: usize,
    batched: Batched,
    bytes: Pieces<E>,
}

/// An object of which enough copies are durable, and the name that it is to have.
struct Named {
    index: usize,
    object: ObjectInfo,
    name: FileName,
    copies: Copies,
}

impl<E: Env> Item<E> {
    /// The objects that can go in batches: small ones, each content and each name once.
    async fn take<'a>(
        env: &Arc<E>,
        candidates: impl Iterator<Item = Candidate<'a, E>> + Send,
    ) -> Vec<Item<E>> {
        let (mut contents, mut names) = (BTreeSet::<ContentId>::new(), BTreeSet::new());
        let mut items = Vec::new();
        for Candidate { index, object, name, origin, bytes } in candidates {
            let is_first =
                !contents.contains(&object.content) && name.is_none_or(|name| !names.contains(name));
            if object.length > BATCHED_OBJECT_BYTES_MAX || !is_first {
                continue;
            }
            let bytes = match bytes {
                Some(bytes) if bytes.length() == object.length => vec![bytes.clone()],
                Some(_) => continue,
                None => match read(env, origin, object).await {
                    Some(bytes) => bytes,
                    None => continue,
                },
            };
            contents.insert(object.content);
            names.extend(name);
            let link = name.map(|name| Link { name: name.clone(), clock: env.next_clock() });
            items.push(Item { index, batched: Batched { object, link }, bytes });
        }
        items
    }
}

/// The whole bytes of a small object from its origin.
async fn read<E: Env>(env: &Arc<E>, origin: &E::Origin, object: ObjectInfo) -> Option<Pieces<E>> {
    let mut reader = env.read_origin(origin, object, 0).await.ok()?;
    let (mut left, mut bytes) = (object.length, Vec::new());
    while left > 0 {
        let piece = reader.next().await.ok()??;
        left = left.checked_sub(piece.length())?;
        bytes.push(piece);
    }
    Some(bytes)
}

impl<E: Env> Grouped for Item<E> {
    fn key(&self) -> Position {
        self.batched.object.content.key()
    }

    fn bytes(&self) -> u64 {
        self.batched.object.length
    }
}

impl Grouped for Named {
    fn key(&self) -> Position {
        self.name.key()
    }

    /// Only the name goes on.
    fn bytes(&self) -> u64 {
        0
    }
}

/// Gives a group to its owner. Returns the items of which enough copies are durable, the owner's among them.
async fn copy_group<E: Env>(
    env: &Arc<E>,
    group: Group<Item<E>>,
    wanted: CopiesWanted,
) -> Vec<(Item<E>, Copies)> {
    let Group { found, items } = group;
    let (objects, bytes): (Vec<Batched>, Vec<Pieces<E>>) =
        items.iter().map(|item| (item.batched.clone(), item.bytes.clone())).unzip();
    let mut copies: Vec<Copies> = items.iter().map(|_| Copies::default()).collect();
    let hear = |peer: Position, missing: Vec<BatchMissing>| {
        let mut missing = missing.into_iter().peekable();
        for (index, copies) in copies.iter_mut().enumerate() {
            let lacks = missing.next_if(|copy| usize::from(copy.index) == index);
            copies.hear(match lacks {
                Some(copy) => StorageReply::Missing(Missing { peer, reason: copy.reason }),
                None => StorageReply::Durable { peer },
            });
        }
        let view = env.view();
        copies.iter().all(|copies| copies.are_enough(&view, wanted.needed))
    };
    let given = if found.owner.position == env.view().me.position {
        keep_own_batch(env, &objects, &bytes, hear).await
    } else {
        give_batch(env, &found.owner, &objects, bytes, StoreRole::Owner, hear).await
    };
    if let Err(reason) = given {
        tracing::debug!(owner = %env.named(&found.owner.position), %reason, "a batch was not taken whole");
    }
    // The owner is looked up again: it must have a copy, and so must enough others.
    let Some(first) = objects.first().map(|first| first.object.content.key()) else { return Vec::new() };
    let Ok(found) = find(env, first, 0).await else { return Vec::new() };
    let view = env.view();
    let is_acknowledged = |(item, copies): &(Item<E>, Copies)| {
        let key = item.batched.object.content.key();
        let is_owned = key == first || found.owns(&key);
        is_owned && copies.acknowledge(&view, wanted.needed, &found.owner.position)
    };
    items.into_iter().zip(copies).filter(is_acknowledged).collect()
}

/// Writes the records of a group whose names have one owner. Returns the acknowledged stores.
async fn name_group<E: Env>(env: &Arc<E>, group: Group<Named>, wanted: CopiesWanted) -> Vec<(usize, Stored)> {
    let edit = |named: &Named| (named.name.clone(), NameEdit::from(target_of(&named.object, false)));
    let written = write_records(env.clone(), group.items.iter().map(edit).collect()).await;
    let Some(first) = group.items.first().map(|first| first.name.key()) else { return Vec::new() };
    let Ok(found) = find(env, first, 0).await else { return Vec::new() };
    let view = env.view();
    let mut stored = Vec::new();
    for (Named { index, name, copies, .. }, written) in group.items.into_iter().zip(written) {
        let key = name.key();
        let is_owned = key == first || found.owns(&key);
        let is_enough =
            |written: &Written| written.copies.acknowledge(&view, wanted.needed, &found.owner.position);
        if let Some(written) = written.filter(|written| is_owned && is_enough(written)) {
            let missing = copies.missing_of(&view, wanted.most);
            stored.push((index, Stored { copies, missing, written, wanted }));
        }
    }
    stored
}

/// The most objects at once that are stored alone, of what the batches left.
const SINGLES_MAX: usize = 16;
