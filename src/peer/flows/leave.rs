//! `Quit`: the peer hands over its copies, then tells the neighbours, then ends. A peer that cannot hand over stays,
//! unless it is forced.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::blob::BlobError;
use crate::chord::PhaseKind;
use crate::files::{self, Comparison, Env as _, HandedOver, StayReason};
use crate::id::{ContentId, FileName, Position};
use crate::peer::api::{LeaveError, LeavePlan, LeaveReport, PlanLeaveError};
use crate::peer::ring::message::ActorMessage;
use crate::peer::shared::{STORAGE_TIMEOUT, Shared};
use crate::replica::{Offer, plan_handover};
use crate::wire::limits::OFFERS_PER_MESSAGE_MAX;
use crate::wire::{Entry, SignedRecord, StorageReply, StorageRequest};

impl Shared {
    /// Leaves the ring once min(R, N − 1) living peers have a copy of everything that is here. That may take as long as
    /// it likes while something moves. If it cannot be done, this peer stays, unless it is forced.
    ///
    /// # Errors
    /// [`LeaveError`] when this peer is in no ring, is already leaving, or stays.
    pub(in crate::peer) async fn leave(self: &Arc<Self>, force: bool) -> Result<LeaveReport, LeaveError> {
        self.until_member().await?;
        if self.view().phase != PhaseKind::Active {
            return Err(self.why_not_active().into());
        }
        let Ok(_one_at_a_time) = self.flows.departing.try_lock() else {
            return Err(LeaveError::AlreadyLeaving);
        };
        let HandedOver { count: handed_over, short } = files::hand_over_and_wait(self, force).await?;
        let alone = self.view().alive().next().is_none();
        let unreachable = if alone { self.names_here().await } else { Vec::new() };
        let short_names =
            short.records.iter().filter_map(|(_, record)| record.decode().ok()).map(|record| record.name);
        let report = LeaveReport {
            handed_over,
            short: short.objects.into_iter().collect(),
            short_names: short_names.collect(),
            unreachable: unreachable.into_iter().collect(),
            data_dir: self.store.dir().to_string_lossy().into_owned(),
        };
        // The report is published before the end, so that every task that sees the end knows the reason.
        self.flows.left.send_replace(Some(report.clone()));
        self.ring.tell_actor(ActorMessage::Depart).await;
        let mut ended = self.ring.ended.subscribe();
        let gone = self.ring.interval * 2 + Duration::from_secs(1);
        // The node ends by itself after two intervals; this waits for that end.
        let _ = tokio::time::timeout(gone, ended.wait_for(Option::is_some)).await;
        Ok(report)
    }

    /// The plan of a departure now: the copies that the peers that stay would have to get first.
    ///
    /// # Errors
    /// [`PlanLeaveError`] when this peer is in no ring, or would stay.
    pub(in crate::peer) async fn plan_leave(self: &Arc<Self>) -> Result<LeavePlan, PlanLeaveError> {
        self.until_member().await?;
        let view = self.view();
        if view.phase != PhaseKind::Active {
            return Err(self.why_not_active().into());
        }
        if let Some(why) = files::why_stay(self).await? {
            return Err(why.into());
        }
        let stay: Vec<Position> = view.alive().map(|entry| entry.position).collect();
        let planned = files::planned(self, &plan_handover, None).await;
        let plan = planned.map_err(|error| StayReason::unreadable(&error))?;
        let mut asked = JoinSet::new();
        for offer in plan.0.into_values() {
            let shared = self.clone();
            asked.spawn(async move { shared.lacked_by(offer).await });
        }
        let (mut objects, mut bytes, mut records) = (0, 0, 0);
        while let Some(lacked) = asked.join_next().await {
            let lacked = lacked.map_err(|_| PlanLeaveError::Ended)?;
            let (lacked, lacked_records) = lacked.map_err(|error| StayReason::unreadable(&error))?;
            let lengths = self
                .blocking(move |store| lacked.iter().map(|c| store.info(c)).collect::<Result<Vec<_>, _>>());
            let lengths = lengths.await?;
            objects += lengths.len() as u64;
            bytes += lengths.into_iter().flatten().map(|info| info.length).sum::<u64>();
            records += lacked_records;
        }
        let unreachable = if stay.is_empty() { self.names_here().await } else { Vec::new() };
        Ok(LeavePlan {
            objects,
            bytes,
            records,
            copies: self.copies().min(stay.len()),
            stay: self.all_named(&stay),
            unreachable: unreachable.into_iter().collect(),
        })
    }

    /// The objects of an offer that the receiving peer lacks, and the number of records. A peer that does not answer
    /// lacks all.
    ///
    /// # Errors
    /// The reason why what is here cannot be read.
    async fn lacked_by(self: &Arc<Self>, offer: Offer) -> Result<(Vec<ContentId>, u64), BlobError> {
        let mut comparison = Comparison::begin(self, &offer.to, &offer.ranges).await?;
        let mut differing = Vec::new();
        loop {
            match comparison.next(self).await {
                Ok(Some(compared)) => differing.extend(compared.differing),
                Ok(None) => break,
                Err(_) => {
                    differing.extend(comparison.left());
                    break;
                }
            }
        }
        let (mut lacked, mut records) = (Vec::new(), 0);
        while let Some(range) = differing.pop() {
            let page = self.held(range, OFFERS_PER_MESSAGE_MAX).await?;
            differing.extend(page.rest);
            lacked.extend(self.lacking(&offer.to, &page.objects).await.unwrap_or(page.objects));
            let mut last = None;
            // The first record of each name is the current one.
            let current = page.records.iter().filter(|(key, _)| last.replace(*key) != Some(*key));
            for (_, current) in current {
                records += u64::from(!self.is_record_at(&offer.to, current).await);
            }
        }
        Ok((lacked, records))
    }

    async fn is_record_at(self: &Arc<Self>, whom: &Entry, current: &SignedRecord) -> bool {
        // A record that cannot be read is not handed over.
        let Ok(record) = current.decode() else { return true };
        let request = StorageRequest::FetchRecord { name: record.name };
        let has = self.ask_storage(whom, request, STORAGE_TIMEOUT).await;
        matches!(has, Ok(StorageReply::Record { record: Some(theirs), .. }) if theirs == *current)
    }

    async fn names_here(self: &Arc<Self>) -> Vec<FileName> {
        let files =
            self.blocking(|store| store.objects_after(None, FILES_NAMED_MAX)).await.unwrap_or_default();
        files.into_iter().flat_map(|file| file.names).collect()
    }
}

/// The most files that the last peer of a ring names as unreachable.
const FILES_NAMED_MAX: usize = 1_000;
