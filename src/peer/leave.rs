//! `Quit`: hand over first, then tell the neighbours, then go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::actor::ActorMessage;
use super::api::{LeavePlan, LeaveReport, PeerEvent};
use super::repair::{Holdings, Round};
use super::shared::{STORAGE_TIMEOUT, Shared};
use crate::chord::PhaseKind;
use crate::id::{ContentId, FileName, Position};
use crate::replica::plan_handover;
use crate::wire::{Entry, MembershipReply, MembershipRequest, SignedRecord, StorageReply, StorageRequest};

impl Shared {
    /// Leaves the ring: copies until min(R, N − 1) copies exist without this peer, or time is over.
    ///
    /// # Errors
    /// When this peer is in no ring, or is leaving already.
    pub(super) async fn leave(self: &Arc<Self>) -> Result<LeaveReport, String> {
        if self.view().phase != PhaseKind::Active {
            return Err(self.why_not_active());
        }
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        self.send(ActorMessage::BeginLeaving).await;
        self.view_until(LEAVE_TIMEOUT, |view| view.phase != PhaseKind::Active).await;
        self.wait_for_turn(deadline).await;
        let mut handed_over = 0;
        let (short, short_names) = loop {
            // What a round that takes too long has learned is lost, and counts as short.
            let round =
                tokio::time::timeout_at(deadline, self.round(&plan_handover)).await.unwrap_or_default();
            handed_over += round.objects + round.records;
            let (short, short_names) = self.short(&round).await.unwrap_or_else(|error| {
                self.tell(PeerEvent::Warning(error));
                Default::default()
            });
            if (short.is_empty() && short_names.is_empty()) || Instant::now() >= deadline {
                break (short, short_names);
            }
            tokio::time::sleep(RETRY).await;
        };
        let alone = self.view().alive().next().is_none();
        let unreachable = if alone { self.names_here().await } else { Vec::new() };
        let report = LeaveReport {
            handed_over,
            short: short.into_iter().collect(),
            short_names: short_names.into_iter().collect(),
            unreachable: unreachable.into_iter().collect(),
            data_dir: self.store.dir().to_string_lossy().into_owned(),
        };
        // Before the end is seen, so that whoever sees it knows why.
        self.left.send_replace(Some(report.clone()));
        self.send(ActorMessage::Depart).await;
        let mut ended = self.ended.subscribe();
        let gone = self.interval * 2 + Duration::from_secs(1);
        // The node ends by itself after two intervals; its end is what is waited for.
        let _ = tokio::time::timeout(gone, ended.wait_for(Option::is_some)).await;
        Ok(report)
    }

    /// What leaving would do now: which copies the peers that stay would have to get first.
    ///
    /// # Errors
    /// When this peer is in no ring.
    pub(super) async fn plan_leave(self: &Arc<Self>) -> Result<LeavePlan, String> {
        let view = self.view();
        if view.phase != PhaseKind::Active {
            return Err(self.why_not_active());
        }
        let stay: Vec<Position> = view.alive().map(|entry| entry.position).collect();
        let (plan, holdings) = self.planned(&plan_handover).await?;
        let mut asked = JoinSet::new();
        let places = Arc::new(Semaphore::new(ASKED_AT_ONCE_MAX));
        for offer in plan.offers.into_values() {
            for key in offer.keys {
                let (shared, holdings, to) = (self.clone(), holdings.clone(), offer.to.clone());
                let places = places.clone();
                asked.spawn(async move {
                    let _place = places.acquire().await;
                    shared.lacks(&to, key, &holdings).await
                });
            }
        }
        let (mut objects, mut bytes, mut records) = (0, 0, 0);
        while let Some(lacked) = asked.join_next().await {
            let (object, record) = lacked.map_err(|error| error.to_string())?;
            objects += u64::from(object.is_some());
            bytes += object.unwrap_or(0);
            records += u64::from(record);
        }
        let unreachable = if stay.is_empty() { self.names_here().await } else { Vec::new() };
        Ok(LeavePlan {
            objects,
            bytes,
            records,
            copies: usize::from(self.settings().replicas).min(stay.len()),
            stay: self.all_named(&stay),
            unreachable: unreachable.into_iter().collect(),
        })
    }

    /// What another peer lacks of what belongs to a key: the object's length, and whether the record.
    async fn lacks(self: &Arc<Self>, to: &Entry, key: Position, holdings: &Holdings) -> (Option<u64>, bool) {
        let content = ContentId(key.0);
        let mut object = None;
        if holdings.objects.contains(&content) {
            let has = self.ask_storage(to, StorageRequest::WhoHas { content }, STORAGE_TIMEOUT).await;
            if !matches!(has, Ok(StorageReply::Holders { here: true, .. })) {
                let info = self.blocking(move |store| store.info(&content)).await;
                object = info.ok().flatten().map(|info| info.length);
            }
        }
        let current = holdings.records.get(&key).and_then(|records| records.first());
        let Some(record) = current.and_then(|current| current.decode().ok()) else { return (object, false) };
        let request = StorageRequest::FetchRecord { name: record.name };
        let has = self.ask_storage(to, request, STORAGE_TIMEOUT).await;
        (
            object,
            !matches!(has, Ok(StorageReply::Record { record: Some(theirs), .. }) if Some(&theirs) == current),
        )
    }

    /// Two that leave side by side: the lower position first.
    async fn wait_for_turn(self: &Arc<Self>, deadline: Instant) {
        while Instant::now() < deadline {
            let view = self.view();
            let neighbours: Vec<Entry> =
                view.predecessor.iter().chain(view.successors.iter().take(2)).cloned().collect();
            let mut wait = false;
            for neighbour in &neighbours {
                let answer = self.ask_membership(neighbour, MembershipRequest::MayLeave, ASK_TIMEOUT).await;
                wait |= matches!(answer, Ok(MembershipReply::Wait));
            }
            if !wait {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Objects, and names, of which fewer than min(R, N − 1) others have a copy, as far as the round learned.
    async fn short(self: &Arc<Self>, round: &Round) -> Result<(Vec<ContentId>, Vec<FileName>), String> {
        let others = self.view().alive().count();
        let needed = usize::from(self.settings().replicas).min(others);
        let Holdings { objects, records } = self.holdings().await?;
        let copies = |content: &ContentId| round.with_object.get(content).map_or(0, BTreeSet::len);
        let objects = objects.into_iter().filter(|content| copies(content) < needed).collect();
        let copies = |record: &SignedRecord| round.with_record.get(&record.id()).map_or(0, BTreeSet::len);
        let current = records.values().filter_map(|records| records.first());
        let short = current.filter(|record| copies(record) < needed);
        let names = short.filter_map(|record| record.decode().ok()).map(|record| record.name).collect();
        Ok((objects, names))
    }

    async fn names_here(self: &Arc<Self>) -> Vec<FileName> {
        let files =
            self.blocking(|store| store.objects_after(None, FILES_NAMED_MAX)).await.unwrap_or_default();
        files.into_iter().flat_map(|file| file.names).collect()
    }

    async fn send(&self, message: ActorMessage) {
        // Without an actor the peer has ended, which the caller sees from the view.
        let _ = self.actor.send(message).await;
    }
}

/// After how long a leaving peer reports what is short, and goes all the same.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Questions at once of what the others lack.
const ASKED_AT_ONCE_MAX: usize = 32;
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(200);
/// How many files the last peer names as unreachable.
const FILES_NAMED_MAX: usize = 1_000;
