//! `Quit`: hand over first, then tell the neighbours, then go. A peer that cannot hand over stays, unless it is forced.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::actor::ActorMessage;
use super::api::{LeavePlan, LeaveReport, PeerEvent};
use super::repair::RoundLog;
use super::shared::{STORAGE_TIMEOUT, Shared};
use crate::chord::{PhaseKind, Turn};
use crate::id::{ContentId, FileName, Position};
use crate::replica::{Holdings, LeftWith, Offer, Round, Short, plan_handover, too_few_stay};
use crate::wire::limits::OFFERS_PER_MESSAGE_MAX;
use crate::wire::{Entry, MembershipReply, MembershipRequest, PeerName, StorageReply, StorageRequest};

impl Shared {
    /// Leaves the ring once min(R, N − 1) living peers have a copy of everything that is here, however long that
    /// takes, as long as something moves. Where it cannot be, this peer stays, unless it is forced.
    ///
    /// # Errors
    /// When this peer is in no ring, leaves already, or stays; then what would be lost.
    pub(super) async fn leave(self: &Arc<Self>, force: bool) -> Result<LeaveReport, String> {
        self.until_member().await?;
        if self.view().phase != PhaseKind::Active {
            return Err(self.why_not_active());
        }
        let Ok(_one_at_a_time) = self.departing.try_lock() else {
            return Err("this peer is leaving".to_owned());
        };
        let mut handed_over = 0;
        // Most of it while it still takes new files; what comes meanwhile is little.
        self.hand_over(force, &mut handed_over).await?;
        self.tell_actor(ActorMessage::BeginLeaving).await;
        self.view_until(PHASE_WAIT, |view| view.phase != PhaseKind::Active).await;
        let last = async {
            self.wait_for_turn(force).await?;
            self.hand_over(force, &mut handed_over).await
        };
        let short = match last.await {
            Ok(short) => short,
            Err(why) => {
                self.tell_actor(ActorMessage::Stay).await;
                self.view_until(PHASE_WAIT, |view| view.phase == PhaseKind::Active).await;
                self.repair_wanted.notify_one();
                return Err(why);
            }
        };
        let alone = self.view().alive().next().is_none();
        let unreachable = if alone { self.names_here().await } else { Vec::new() };
        let short_names =
            short.records.iter().filter_map(|record| record.decode().ok()).map(|record| record.name);
        let report = LeaveReport {
            handed_over,
            short: short.objects.into_iter().collect(),
            short_names: short_names.collect(),
            unreachable: unreachable.into_iter().collect(),
            data_dir: self.store.dir().to_string_lossy().into_owned(),
        };
        // Before the end is seen, so that whoever sees it knows why.
        self.left.send_replace(Some(report.clone()));
        self.tell_actor(ActorMessage::Depart).await;
        let mut ended = self.ended.subscribe();
        let gone = self.interval * 2 + Duration::from_secs(1);
        // The node ends by itself after two intervals; its end is what is waited for.
        let _ = tokio::time::timeout(gone, ended.wait_for(Option::is_some)).await;
        Ok(report)
    }

    /// Hands over until nothing is short. Forced, it ends as well when nothing moves any more, and says what is short.
    ///
    /// # Errors
    /// What would be lost, where it is not forced: too few stay, or nothing moves.
    async fn hand_over(self: &Arc<Self>, force: bool, handed_over: &mut u64) -> Result<Short, String> {
        let (mut moves, mut fewest, mut fruitless) = (Moves::begin(self), usize::MAX, 0);
        loop {
            if !force && let Some(why) = self.too_few_stay().await? {
                return Err(why);
            }
            let log = RoundLog::default();
            let stands_still = tokio::select! {
                () = self.round(&plan_handover, &log) => moves.stand_still(),
                () = moves.until_still() => true,
            };
            // Also a round that was cut short counts for what it learned.
            let round = log.round();
            *handed_over += round.objects + round.records;
            let short = match self.holdings().await {
                Ok(holdings) => round.short(&self.view(), self.copies(), &holdings),
                Err(why) if force => {
                    self.tell(PeerEvent::Warning(why));
                    return Ok(Short::default());
                }
                Err(why) => return Err(format!("what is here cannot be read: {why}{STAYS}")),
            };
            if short.is_empty() {
                return Ok(short);
            }
            let left = short.objects.len() + short.records.len();
            fruitless = if left < fewest { 0 } else { fruitless + 1 };
            fewest = fewest.min(left);
            // What is given and refused again and again moves, too, and leads nowhere; what others give to the same
            // peers at the moment is waited for.
            if stands_still || fruitless >= FRUITLESS_ROUNDS_MAX {
                return if force { Ok(short) } else { Err(self.what_is_short(&round, &short)) };
            }
            tokio::time::sleep(RETRY * fruitless.clamp(1, 10)).await;
        }
    }

    /// Why this peer stays, if those that stay with it are too few and it has something to lose.
    async fn too_few_stay(self: &Arc<Self>) -> Result<Option<String>, String> {
        let view = self.view();
        let Some(copies) = too_few_stay(&view, self.copies()) else { return Ok(None) };
        let holdings =
            self.holdings().await.map_err(|why| format!("what is here cannot be read: {why}{STAYS}"))?;
        let (files, names) = (holdings.objects.len() as u64, holdings.records.len() as u64);
        if files + names == 0 {
            return Ok(None);
        }
        let on = view.alive().map(|entry| self.named(&entry.position)).collect::<Vec<_>>();
        Ok(Some(format!("{}{STAYS}", would_remain(copies, files, names, &on))))
    }

    /// What would be lost, since nothing moves any more.
    fn what_is_short(&self, round: &Round, short: &Short) -> String {
        let left = round.left_with(&self.view(), short);
        let lines = left.into_iter().map(|(copies, LeftWith { files, names, on })| {
            would_remain(copies, files, names, &self.all_named::<Vec<_>>(&on))
        });
        format!("{}; nothing moves any more{STAYS}", lines.collect::<Vec<_>>().join("; "))
    }

    /// What leaving would do now: which copies the peers that stay would have to get first.
    ///
    /// # Errors
    /// When this peer is in no ring, or would stay; then what would be lost.
    pub(super) async fn plan_leave(self: &Arc<Self>) -> Result<LeavePlan, String> {
        self.until_member().await?;
        let view = self.view();
        if view.phase != PhaseKind::Active {
            return Err(self.why_not_active());
        }
        if let Some(why) = self.too_few_stay().await? {
            return Err(why);
        }
        let stay: Vec<Position> = view.alive().map(|entry| entry.position).collect();
        let (plan, holdings) = self.planned(&plan_handover).await?;
        let mut asked = JoinSet::new();
        for offer in plan.offers.into_values() {
            let (shared, holdings) = (self.clone(), holdings.clone());
            asked.spawn(async move { shared.lacked_by(offer, &holdings).await });
        }
        let (mut objects, mut bytes, mut records) = (0, 0, 0);
        while let Some(lacked) = asked.join_next().await {
            let (lacked, lacked_records) = lacked.map_err(|error| error.to_string())?;
            let lengths = self
                .blocking(move |store| lacked.iter().map(|c| store.info(c)).collect::<Result<Vec<_>, _>>());
            let lengths = lengths.await.map_err(|error| error.to_string())?;
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

    /// The objects of an offer that its peer lacks, and how many records. Who does not answer lacks all.
    async fn lacked_by(self: &Arc<Self>, offer: Offer, holdings: &Holdings) -> (Vec<ContentId>, u64) {
        let mut lacked = Vec::new();
        for page in holdings.objects_of(&offer).chunks(OFFERS_PER_MESSAGE_MAX) {
            lacked.extend(self.lacking(&offer.to, page).await.unwrap_or_else(|| page.to_vec()));
        }
        let mut records = 0;
        for current in offer.keys.iter().filter_map(|key| holdings.records.get(key)?.first()) {
            let Ok(record) = current.decode() else { continue };
            let request = StorageRequest::FetchRecord { name: record.name };
            let has = self.ask_storage(&offer.to, request, STORAGE_TIMEOUT).await;
            let has =
                matches!(has, Ok(StorageReply::Record { record: Some(theirs), .. }) if theirs == *current);
            records += u64::from(!has);
        }
        (lacked, records)
    }

    /// Of those that leave side by side one goes at a time (see [`Turn`]).
    ///
    /// # Errors
    /// When its neighbours keep it waiting for long, and it is not forced.
    async fn wait_for_turn(self: &Arc<Self>, force: bool) -> Result<(), String> {
        let deadline = Instant::now() + TURN_WAIT_MAX;
        while Instant::now() < deadline {
            self.tell_actor(ActorMessage::AskTurn).await;
            let view = self.view();
            let neighbours: Vec<Entry> =
                view.predecessor.iter().chain(view.successors.iter().take(2)).cloned().collect();
            let mut wait = false;
            for neighbour in &neighbours {
                let answer = self.ask_membership(neighbour, MembershipRequest::MayLeave, ASK_TIMEOUT).await;
                // Who let this peer go may not have heard yet that somebody else has gone.
                wait |= matches!(answer, Ok(MembershipReply::Wait | MembershipReply::Gone { .. }));
            }
            if !wait {
                self.tell_actor(ActorMessage::TakeTurn).await;
                self.view_until(ASK_TIMEOUT, |view| view.turn != Turn::Asked).await;
                if self.view().turn == Turn::Taken {
                    return Ok(());
                }
            }
            tokio::time::sleep(RETRY).await;
        }
        if force { Ok(()) } else { Err(format!("its neighbours, which leave too, do not let it go{STAYS}")) }
    }

    async fn names_here(self: &Arc<Self>) -> Vec<FileName> {
        let files =
            self.blocking(|store| store.objects_after(None, FILES_NAMED_MAX)).await.unwrap_or_default();
        files.into_iter().flat_map(|file| file.names).collect()
    }
}

/// Whether something still goes to others.
struct Moves<'a> {
    shared: &'a Shared,
    seen: u64,
    last: Instant,
}

impl Moves<'_> {
    fn begin(shared: &Shared) -> Moves<'_> {
        Moves { shared, seen: shared.moved.load(Ordering::Relaxed), last: Instant::now() }
    }

    fn stand_still(&mut self) -> bool {
        let moved = self.shared.moved.load(Ordering::Relaxed);
        if moved != self.seen {
            (self.seen, self.last) = (moved, Instant::now());
        }
        self.last.elapsed() >= STILL_MAX
    }

    async fn until_still(&mut self) {
        while !self.stand_still() {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// How many copies would remain of so much, and where.
fn would_remain(copies: usize, files: u64, names: u64, on: &[PeerName]) -> String {
    let counted = |count: u64, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let what = [counted(files, "file", "files"), counted(names, "name record", "name records")];
    let what = what.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let on = on.iter().take(LISTED_MAX).map(PeerName::to_string).collect::<Vec<_>>().join(", ");
    match copies {
        0 => format!("no copy of {what} would remain at a living peer"),
        1 => format!("only ONE copy of {what} would remain, on {on}"),
        n => format!("only {n} copies of {what} would remain, on {on}"),
    }
}

/// The end of why a peer stays.
const STAYS: &str = "; this peer stays (`leave --force` leaves all the same)";
/// How long a departure goes on while nothing moves.
const STILL_MAX: Duration = Duration::from_secs(30);
/// How many rounds in a row a departure goes on that make nothing less short.
const FRUITLESS_ROUNDS_MAX: u32 = 10_000;
/// How long the node may take to change its phase.
const PHASE_WAIT: Duration = Duration::from_secs(5);
/// How long a departure waits for its neighbours' departures.
const TURN_WAIT_MAX: Duration = Duration::from_secs(600);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(200);
/// How many files the last peer names as unreachable.
const FILES_NAMED_MAX: usize = 1_000;
/// How many peers are named.
const LISTED_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_remain_is_said_in_one_line() {
        let nas = [PeerName { position: Position::of_number(4), name: Some("nas".to_owned()) }];
        let said = |copies, files, names, on: &[PeerName]| would_remain(copies, files, names, on);
        assert_eq!(said(1, 304, 0, &nas), "only ONE copy of 304 files would remain, on nas");
        assert_eq!(said(0, 1, 1, &[]), "no copy of 1 file and 1 name record would remain at a living peer");
        assert_eq!(said(2, 0, 3, &nas), "only 2 copies of 3 name records would remain, on nas");
    }
}
