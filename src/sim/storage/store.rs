//! A store: the bytes to the content's replicas, the record to the name's, acknowledged when enough copies of
//! both are durable. As `peer::store` does it.

use std::sync::Arc;
use std::time::Duration;

use super::keeper::Keeper;
use super::lock::Lock;
use super::outcome::{Cause, StoreFailure, StoredFile};
use super::push::{Feed, PushFailure};
use super::wait::{Bell, channel};
use crate::chord::PhaseKind;
use crate::files::{self, Either, Written, race, timeout};
use crate::id::FileName;
use crate::replica::{ChainWords, Copies, CopiesWanted};
use crate::time::Moment;
use crate::wire::{Missing, MissingReason, ObjectInfo, RecordTarget, StorageReply, StoreRole, Wait};

impl Keeper {
    /// Stores an object that lies in a file of this peer's user.
    pub(super) async fn store(
        self: &Arc<Self>,
        name: &FileName,
        object: ObjectInfo,
    ) -> Result<StoredFile, StoreFailure> {
        let view = self.view();
        if view.phase != PhaseKind::Active {
            return Err(StoreFailure::NotActive);
        }
        let settings = view.settings.unwrap_or_default();
        let wanted = CopiesWanted::new(Wait::Quorum, &settings, view.members_count())
            .map_err(|error| StoreFailure::Name(error.to_string()))?;
        let patience = Arc::new(Patience { moved: Lock::new(self.now()) });
        let store = Transfer { keeper: self.clone(), name, object, wanted, patience };
        let copies = store.copy_until().await?;
        let ObjectInfo { content, length, outboard } = object;
        let written = store.name_until(RecordTarget::Content { content, length, outboard }).await?;
        let view = self.view();
        let holders = copies.living(&view).into_iter().collect();
        let missing = copies.missing_of(&view, wanted.most);
        Ok(StoredFile { content, record: written.record, holders, missing })
    }
}

/// One store under way.
struct Transfer<'a> {
    keeper: Arc<Keeper>,
    name: &'a FileName,
    object: ObjectInfo,
    wanted: CopiesWanted,
    patience: Arc<Patience>,
}

/// How long to go on: as long as something moves, and so long after.
struct Patience {
    moved: Lock<Moment>,
}

impl Patience {
    fn deadline(&self) -> Moment {
        self.moved.get() + STORE_TIMEOUT
    }
}

impl Transfer<'_> {
    /// Copies until enough are durable and the owner of the content is one of them.
    async fn copy_until(&self) -> Result<Copies, StoreFailure> {
        let mut copies = Copies::default();
        for _ in 0..COPY_TRIES_MAX {
            self.copy_once(&mut copies).await;
            let found = self.keeper.find(self.object.content.key(), 0).await;
            if found.is_some_and(|found| self.is_enough(&copies, &found.owner.position)) {
                return Ok(copies);
            }
            // Too many will not take it, however often they are asked.
            let hopeless = copies.are_out_of_reach(&self.keeper.view(), self.wanted.needed, self.wanted.most);
            if hopeless || self.keeper.now() + RETRY >= self.patience.deadline() {
                break;
            }
            self.keeper.sleep(RETRY).await;
        }
        let missing = copies.missing_of(&self.keeper.view(), self.wanted.most);
        Err(self.too_few(&copies, missing))
    }

    /// Gives the object to the owner of its content id, once, and hears of all copies.
    async fn copy_once(&self, copies: &mut Copies) {
        let Some(found) = self.keeper.find(self.object.content.key(), 0).await else { return };
        let owner = found.owner.position;
        let (word, mut words) = channel();
        let (result, mut ended) = channel();
        let stop = Arc::new(Bell::default());
        let pushing = {
            let (keeper, patience, object) = (self.keeper.clone(), self.patience.clone(), self.object);
            let (stop, to) = (stop.clone(), found.owner);
            async move {
                let mut heard = ChainWords::new(to.position, &StoreRole::Owner);
                let mover = keeper.clone();
                let mut feed = Some(Feed::File(Arc::new(move || patience.moved.set(mover.now()))));
                let role = StoreRole::Owner;
                let push =
                    keeper.push_exchange(&to, object, role, &mut feed, Cause::Store, &word, &mut heard);
                if let Either::Left(pushed) = race(push, stop.heard()).await {
                    result.send(pushed);
                }
                drop(word);
            }
        };
        self.keeper.spawn(pushing);
        let mut enough_since: Option<Moment> = None;
        loop {
            match timeout(&self.keeper, TICK, words.next()).await {
                Some(Some(word)) => {
                    let one_more = copies.hear(word);
                    if one_more {
                        self.patience.moved.set(self.keeper.now());
                    }
                }
                Some(None) => break,
                // Once enough are durable the rest is waited for a moment only; it is made all the same.
                None if enough_since.is_some_and(|since| self.keeper.now().since(since) >= LINGER) => return,
                None if self.keeper.now() >= self.patience.deadline() => {
                    stop.ring();
                    let reason = MissingReason::Unreachable;
                    copies.hear(StorageReply::Missing(Missing { peer: owner, reason }));
                    return;
                }
                None => {}
            }
            if enough_since.is_none() && copies.are_enough(&self.keeper.view(), self.wanted.needed) {
                enough_since = Some(self.keeper.now());
            }
        }
        if let Some(Err(PushFailure::Peer(reason))) = ended.next().await {
            copies.hear(StorageReply::Missing(Missing { peer: owner, reason }));
        }
    }

    /// Writes the name record until enough copies of it are durable.
    async fn name_until(&self, target: RecordTarget) -> Result<Written, StoreFailure> {
        let written = files::write_record(&self.keeper, self.name, target, self.patience.deadline()).await;
        let mut written = written.map_err(StoreFailure::Name)?;
        loop {
            let found = self.keeper.find(self.name.key(), 0).await;
            if found.is_some_and(|found| self.is_enough(&written.copies, &found.owner.position)) {
                return Ok(written);
            }
            if self.keeper.now() + RETRY >= self.patience.deadline() {
                return Err(self.too_few(&written.copies, written.copies.missing()));
            }
            self.keeper.sleep(RETRY).await;
            // What goes wrong now shows in the copies that are missing at the deadline.
            let _ = files::write_again(&self.keeper, &mut written).await;
        }
    }

    fn is_enough(&self, copies: &Copies, owner: &crate::id::Position) -> bool {
        copies.acknowledge(&self.keeper.view(), self.wanted.needed, owner)
    }

    fn too_few(&self, copies: &Copies, missing: Vec<Missing>) -> StoreFailure {
        let durable = copies.living(&self.keeper.view()).len();
        StoreFailure::TooFewCopies { durable, needed: self.wanted.needed, missing }
    }
}

/// How long a store in which nothing moves goes on.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a store whose bytes moved is begun anew.
const COPY_TRIES_MAX: u32 = 200;
/// How often is looked whether bytes move.
const TICK: Duration = Duration::from_millis(200);
/// Between two tries to copy.
const RETRY: Duration = Duration::from_millis(250);
/// How long the other copies are waited for after enough are durable, to say so in one go.
const LINGER: Duration = Duration::from_secs(2);
