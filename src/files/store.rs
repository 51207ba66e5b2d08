//! A store: the bytes go to the content's replicas and the record to the name's. It is acknowledged when enough copies
//! of both are durable.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::bytes::{GiveError, StreamError};
use super::deliver::deliver;
use super::env::{Cause, Env};
use super::find::find;
use super::naming::{name_until, target_of};
use super::patience::{Patience, RETRY};
use super::progress::Progress;
use super::push::{Feed, Given, PushFailure, too_slow};
use super::quorum::{StoreFailure, copies_wanted, too_few};
use super::records::Written;
use super::wait::{Task, pause, timeout};
use crate::id::FileName;
use crate::names::NameEdit;
use crate::replica::{ChainWords, Copies, CopiesWanted, replicas};
use crate::time::Moment;
use crate::wire::limits::BATCHED_OBJECT_BYTES_MAX;
use crate::wire::{Link, Missing, MissingReason, ObjectInfo, StorageReply, StoreRole, Wait};

/// An order to store an object.
pub struct Order<E: Env> {
    /// The name under which the object is stored.
    pub name: FileName,
    /// The content id, length and outboard digest of the object.
    pub object: ObjectInfo,
    /// Whether the object is the tree of a directory, all of whose files are durable already.
    pub is_tree: bool,
    /// The source of its bytes.
    pub origin: Arc<E::Origin>,
    /// The number of copies to wait for.
    pub wait: Wait,
    /// The time for which a store goes on while nothing moves.
    pub timeout: Duration,
}

/// A store that was acknowledged.
#[derive(Debug)]
pub struct Stored {
    /// The peers that have a durable copy.
    pub copies: Copies,
    /// The copies that are not there, or not yet, and why.
    pub missing: Vec<Missing>,
    /// The record that was written.
    pub written: Written,
    /// The number of copies that were waited for, and the number there will be.
    pub wanted: CopiesWanted,
}

/// Stores an object and its name record.
///
/// # Errors
/// [`StoreFailure`]; the copies made by then stay where they are, without a name.
pub async fn store<E: Env>(
    env: &Arc<E>,
    order: Order<E>,
    progress: Arc<Progress>,
) -> Result<Stored, StoreFailure<E::DiskError>> {
    let wanted = copies_wanted(env, order.wait).await?;
    let Order { name, object, is_tree, origin, timeout, .. } = order;
    let mut patience = Patience::begin(env.now(), timeout, progress);
    let links = vec![Link { name: name.clone(), clock: env.next_clock() }];
    let given = Given { object, links, cause: Cause::Store };
    let store = Store { env: env.clone(), given, origin, wanted };
    let edit = NameEdit::from(target_of(&object, is_tree));
    let (copies, written) = if env.laws().bytes_before_name {
        let copies = store.copy_until(&mut patience).await?;
        (copies, name_until(env, &name, &edit, wanted, &mut patience).await?)
    } else {
        let written = name_until(env, &name, &edit, wanted, &mut patience).await?;
        (store.copy_until(&mut patience).await?, written)
    };
    let view = env.view();
    let mut missing = store.all_missing(&copies).await;
    let holders = copies.living(&view);
    missing.retain(|copy| !holders.contains(&copy.peer));
    Ok(Stored { copies, missing, written, wanted })
}

/// Makes an object durable in the ring without a name: one that a tree is going to refer to. It stays for as long as any
/// object without a name does, see [`crate::replica::LeaseTerms`].
///
/// # Errors
/// [`StoreFailure`]; the copies made by then stay where they are.
pub async fn put<E: Env>(
    env: &Arc<E>,
    object: ObjectInfo,
    origin: Arc<E::Origin>,
    (wait, timeout): (Wait, Duration),
    progress: Arc<Progress>,
) -> Result<(), StoreFailure<E::DiskError>> {
    let wanted = copies_wanted(env, wait).await?;
    let mut patience = Patience::begin(env.now(), timeout, progress);
    let given = Given { object, links: Vec::new(), cause: Cause::Store };
    let store = Store { env: env.clone(), given, origin, wanted };
    store.copy_until(&mut patience).await.map(drop)
}

/// One store under way.
struct Store<E: Env> {
    env: Arc<E>,
    given: Given,
    origin: Arc<E::Origin>,
    wanted: CopiesWanted,
}

impl<E: Env> Store<E> {
    /// Copies the object until enough copies are durable and the owner of the content has one.
    async fn copy_until(&self, patience: &mut Patience) -> Result<Copies, StoreFailure<E::DiskError>> {
        let (mut copies, mut backoff) = (Copies::default(), RETRY);
        for _ in 0..COPY_TRIES_MAX {
            self.copy_once(patience, &mut copies).await?;
            if !self.env.laws().owner_looked_up_again
                && copies.are_enough(&self.env.view(), self.wanted.needed)
            {
                return Ok(copies);
            }
            let owner = find(&self.env, self.given.object.content.key(), 0).await;
            let acknowledge = |owner: &_| copies.acknowledge(&self.env.view(), self.wanted.needed, owner);
            if owner.is_ok_and(|found| acknowledge(&found.owner.position)) {
                return Ok(copies);
            }
            // Too many peers refuse the object for good.
            let hopeless = copies.are_out_of_reach(&self.env.view(), self.wanted.needed, self.wanted.most);
            if hopeless || self.env.now() + backoff.peek() >= patience.deadline(self.env.now()) {
                break;
            }
            pause(&self.env, &mut backoff).await;
        }
        if let Some(silence) = patience.silence.take() {
            return Err(StoreFailure::Source(GiveError::Client(silence)));
        }
        let missing = self.all_missing(&copies).await;
        Err(too_few(&self.env, &copies, missing, self.wanted, patience))
    }

    /// The missing copies: those with a reported reason, and those without any report yet.
    async fn all_missing(&self, copies: &Copies) -> Vec<Missing> {
        let view = self.env.view();
        let (mut missing, most) = (copies.missing_of(&view, self.wanted.most), self.wanted.most);
        let durable = copies.living(&view).len();
        if missing.len() + durable >= most {
            return missing;
        }
        let Ok(found) = find(&self.env, self.given.object.content.key(), most).await else { return missing };
        for replica in replicas(&found.owner, &found.successors, most) {
            let is_named = missing.iter().any(|copy| copy.peer == replica.position);
            if !is_named && !copies.has(&replica.position) && missing.len() + durable < most {
                missing.push(Missing { peer: replica.position, reason: MissingReason::NotYet });
            }
        }
        missing
    }

    /// Gives the object to the owner of its content id, once, and takes the reports on all copies.
    async fn copy_once(
        &self,
        patience: &mut Patience,
        copies: &mut Copies,
    ) -> Result<(), StoreFailure<E::DiskError>> {
        let Ok(found) = find(&self.env, self.given.object.content.key(), 0).await else { return Ok(()) };
        let (word, mut words) = mpsc::channel(WORDS_MAX);
        let pushing = {
            let (env, given, owner) = (self.env.clone(), self.given.clone(), found.owner.clone());
            let (origin, progress) = (self.origin.clone(), patience.progress.clone());
            Task::spawn(&self.env, async move {
                let mut feed = Some(Feed::Origin { origin, progress });
                let mut heard = ChainWords::new(owner.position, &StoreRole::Owner);
                deliver(&env, &owner, &given, &mut feed, &word, &mut heard).await
            })
        };
        let begun_after = patience.moved;
        let mut enough_since: Option<Moment> = None;
        let mut ticked = self.env.now();
        let linger = if self.given.object.length <= BATCHED_OBJECT_BYTES_MAX { LINGER_SMALL } else { LINGER };
        loop {
            let tick = if enough_since.is_some() { linger.min(TICK) } else { TICK };
            let word = timeout(&self.env, tick, words.recv()).await;
            let now = self.env.now();
            if now.since(ticked) > STOPPED_AFTER {
                patience.moved(now);
            }
            ticked = now;
            match word {
                Some(Some(StorageReply::Moving { bytes })) => {
                    patience.joined(now, bytes, self.given.object.length);
                }
                Some(Some(word)) => {
                    let is_new = copies.hear(word);
                    if is_new {
                        patience.moved(now);
                    }
                }
                Some(None) => break,
                // Once enough are durable, the rest is waited for only a moment; it is made all the same.
                None if enough_since.is_some_and(|since| now.since(since) >= linger) => {
                    self.env.spawn(async move { drop(pushing.await) });
                    return Ok(());
                }
                None if now >= patience.deadline(now) => {
                    let reason = MissingReason::Unreachable;
                    copies.hear(StorageReply::Missing(Missing { peer: found.owner.position, reason }));
                    return Ok(());
                }
                None => {}
            }
            if enough_since.is_none() && copies.are_enough(&self.env.view(), self.wanted.needed) {
                enough_since = Some(now);
            }
        }
        match pushing.await {
            // The client is asked again as long as it is connected: it, or this peer, may have been stopped.
            Some(Err(PushFailure::Source(GiveError::Client(silence @ StreamError::Silent { .. })))) => {
                patience.silence = Some(silence);
                Ok(())
            }
            Some(Err(PushFailure::Source(error))) => Err(StoreFailure::Source(error)),
            Some(Err(PushFailure::TooSlow)) => {
                // An owner that takes a byte now and then must not hold the store for ever.
                patience.nothing_moved_since(begun_after);
                let missing = Missing { peer: found.owner.position, reason: too_slow() };
                copies.hear(StorageReply::Missing(missing));
                Ok(())
            }
            Some(Err(PushFailure::Peer(reason))) => {
                copies.hear(StorageReply::Missing(Missing { peer: found.owner.position, reason }));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The most tries of a store whose bytes moved.
const COPY_TRIES_MAX: u32 = 200;
/// The time between two checks whether bytes move.
const TICK: Duration = Duration::from_millis(200);
/// A tick that takes this long means that this process was stopped: the other peers did not stand still.
const STOPPED_AFTER: Duration = Duration::from_secs(3);
/// The time for which further copies are waited for after enough are durable, to report them in one go; the second one
/// is that of small objects. It also keeps a person who stores one large file after the other from filling the line of a
/// slow replica with all of them at once.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_SMALL: Duration = Duration::from_millis(100);
/// The most reports on copies that wait to be read.
const WORDS_MAX: usize = 32;
