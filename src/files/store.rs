//! A store: the bytes go to the content's replicas and the record to the name's. It is acknowledged when enough copies
//! of both are durable.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::bytes::{GiveError, StreamError};
use super::deliver::deliver;
use super::env::{Cause, Env};
use super::find::{NotActive, find, member};
use super::progress::Progress;
use super::push::{Feed, Given, PushFailure, too_slow};
use super::records::{Written, write_again, write_record};
use super::wait::{Task, pause, timeout};
use crate::backoff::Backoff;
use crate::chord::PhaseKind;
use crate::id::FileName;
use crate::replica::{ChainWords, Copies, CopiesWanted, WaitError, replicas};
use crate::time::Moment;
use crate::wire::{Link, Missing, MissingReason, ObjectInfo, RecordTarget, StorageReply, StoreRole, Wait};

/// An order to store an object.
pub struct Order<E: Env> {
    /// The name under which the object is stored.
    pub name: FileName,
    /// The content id, length and outboard digest of the object.
    pub object: ObjectInfo,
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

/// Why a store was not acknowledged.
#[derive(Debug)]
pub enum StoreFailure<D> {
    /// This peer is not active in its ring.
    NotActive(NotActive),
    /// The requested number of copies is out of bounds.
    Wait(WaitError),
    /// The bytes cannot be had from their source.
    Source(GiveError<D>),
    /// The name record cannot be written; the text says why.
    Name(String),
    /// Fewer copies than needed, of the object or of its record, are durable.
    TooFewCopies {
        /// The number of durable copies.
        durable: usize,
        /// The number of copies that would be enough.
        needed: usize,
        /// The time that the store waited.
        waited: Duration,
        /// The copies that are not durable, and why.
        missing: Vec<Missing>,
    },
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
    let Order { name, object, origin, timeout, .. } = order;
    let mut patience = Patience::begin(env.now(), timeout, progress);
    let links = vec![Link { name: name.clone(), clock: env.next_clock() }];
    let given = Given { object, links, cause: Cause::Store };
    let store = Store { env: env.clone(), name, given, origin, wanted };
    let target =
        RecordTarget::Content { content: object.content, length: object.length, outboard: object.outboard };
    let (copies, written) = if env.laws().bytes_before_name {
        let copies = store.copy_until(&mut patience).await?;
        (copies, store.name_until(target, &mut patience).await?)
    } else {
        let written = store.name_until(target, &mut patience).await?;
        (store.copy_until(&mut patience).await?, written)
    };
    let view = env.view();
    let mut missing = store.all_missing(&copies).await;
    let holders = copies.living(&view);
    missing.retain(|copy| !holders.contains(&copy.peer));
    Ok(Stored { copies, missing, written, wanted })
}

/// The number of copies that a store would wait for.
///
/// # Errors
/// This peer stores nothing at the moment, or cannot wait for so many copies.
pub async fn copies_wanted<E: Env>(
    env: &Arc<E>,
    wait: Wait,
) -> Result<CopiesWanted, StoreFailure<E::DiskError>> {
    member(env).await.map_err(StoreFailure::NotActive)?;
    let view = env.view();
    if view.phase != PhaseKind::Active {
        return Err(StoreFailure::NotActive(NotActive::of(&view)));
    }
    let settings = view.settings.unwrap_or_default();
    let laws = env.laws();
    let members = if laws.w_of_all_members { view.members_count() } else { 1 + view.alive().count() };
    let wanted = CopiesWanted::new(wait, &settings, members).map_err(StoreFailure::Wait)?;
    let needed = if laws.w_copies { wanted.needed } else { (wanted.needed - 1).max(1) };
    Ok(CopiesWanted { needed, ..wanted })
}

/// One store under way.
struct Store<E: Env> {
    env: Arc<E>,
    name: FileName,
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
        Err(self.too_few(&copies, self.all_missing(&copies).await, patience))
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
        loop {
            let word = timeout(&self.env, TICK, words.recv()).await;
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
                None if enough_since.is_some_and(|since| now.since(since) >= LINGER) => {
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

    /// Writes the name record until enough copies of it are durable.
    async fn name_until(
        &self,
        target: RecordTarget,
        patience: &mut Patience,
    ) -> Result<Written, StoreFailure<E::DiskError>> {
        let deadline = patience.deadline(self.env.now());
        let written = write_record(&self.env, &self.name, target, deadline).await;
        let mut written = written.map_err(StoreFailure::Name)?;
        let mut backoff = RETRY;
        loop {
            let owner = find(&self.env, self.name.key(), 0).await;
            let acknowledge =
                |owner: &_| written.copies.acknowledge(&self.env.view(), self.wanted.needed, owner);
            if owner.is_ok_and(|found| acknowledge(&found.owner.position)) {
                return Ok(written);
            }
            if self.env.now() + backoff.peek() >= patience.deadline(self.env.now()) {
                return Err(self.too_few(&written.copies, written.copies.missing(), patience));
            }
            pause(&self.env, &mut backoff).await;
            // A failure now shows in the copies that are missing at the deadline.
            if let Err(error) = write_again(&self.env, &mut written).await {
                tracing::debug!(%error, name = %self.name, "a record was not given again");
            }
        }
    }

    fn too_few(
        &self,
        copies: &Copies,
        missing: Vec<Missing>,
        patience: &Patience,
    ) -> StoreFailure<E::DiskError> {
        StoreFailure::TooFewCopies {
            durable: copies.living(&self.env.view()).len(),
            needed: self.wanted.needed,
            waited: patience.waited(self.env.now()),
            missing,
        }
    }
}

/// The patience of a store: it goes on while something moves, and for the timeout after that.
struct Patience {
    timeout: Duration,
    progress: Arc<Progress>,
    seen: u64,
    moved: Moment,
    begun: Moment,
    /// The error of the client, if it gave nothing when it was last asked.
    silence: Option<StreamError>,
}

impl Patience {
    fn begin(now: Moment, timeout: Duration, progress: Arc<Progress>) -> Patience {
        Patience { timeout, progress, seen: 0, moved: now, begun: now, silence: None }
    }

    /// The time that the store took, or the timeout itself if that ended it.
    fn waited(&self, now: Moment) -> Duration {
        let elapsed = now.since(self.begun);
        // No try begins that could not end before the deadline.
        match (elapsed + RETRY.peek()).checked_sub(self.timeout) {
            Some(more) if more < Duration::from_secs(1) => self.timeout,
            Some(_) => Duration::from_secs(elapsed.as_secs()),
            None => Duration::from_millis(elapsed.as_millis().max(1) as u64),
        }
    }

    fn deadline(&mut self, now: Moment) -> Moment {
        let done = self.progress.done.load(Ordering::Relaxed);
        if done != self.seen {
            self.seen = done;
            self.moved(now);
        }
        self.moved + self.timeout
    }

    /// Takes back all movement since then: it led nowhere.
    fn nothing_moved_since(&mut self, moved: Moment) {
        self.moved = moved;
        self.seen = self.progress.done.load(Ordering::Relaxed);
    }

    fn moved(&mut self, now: Moment) {
        self.moved = now;
        self.silence = None;
    }

    /// Notes bytes that another peer gives, or that move further down the chain.
    fn joined(&mut self, now: Moment, bytes: u64, length: u64) {
        self.moved(now);
        let done = self.progress.done.load(Ordering::Relaxed);
        if self.progress.total.load(Ordering::Relaxed) == 0 {
            self.progress.begin(bytes.min(length), length);
        } else {
            self.progress.advance(bytes.min(length.saturating_sub(done)));
        }
    }
}

/// The most tries of a store whose bytes moved.
const COPY_TRIES_MAX: u32 = 200;
/// The time between two checks whether bytes move.
const TICK: Duration = Duration::from_millis(200);
/// A tick that takes this long means that this process was stopped: the other peers did not stand still.
const STOPPED_AFTER: Duration = Duration::from_secs(3);
/// The pause between two tries to copy.
const RETRY: Backoff = Backoff::steady(Duration::from_millis(250));
/// The time for which further copies are waited for after enough are durable, to report them in one go.
const LINGER: Duration = Duration::from_secs(2);
/// The most reports on copies that wait to be read.
const WORDS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the timeout ends a store in which no bytes move, not one that takes long.
    #[test]
    fn patience_lasts_as_long_as_something_moves() {
        let at = |seconds| Moment::default() + Duration::from_secs(seconds);
        let progress = Arc::new(Progress::default());
        let mut patience = Patience::begin(at(0), Duration::from_secs(30), progress.clone());
        assert_eq!(patience.deadline(at(1)), at(30), "nothing moved");
        progress.advance(1);
        assert_eq!(patience.deadline(at(2)), at(32), "a byte went");
        assert_eq!(patience.deadline(at(3)), at(32), "and no other");
    }
}
