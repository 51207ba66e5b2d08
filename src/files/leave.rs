//! A departure: hand over first, then tell the neighbours, then go. A peer that cannot hand over stays, unless it is
//! forced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::bytes::DiskError;
use super::env::{Cause, Env, RingWish};
use super::repair::{RoundLog, round};
use super::wait::{Either, race};
use crate::backoff::Backoff;
use crate::chord::{PhaseKind, Turn};
use crate::id::{KeyRange, SetDigest};
use crate::replica::{LeftWith, Round, Short, plan_handover, too_few_stay};
use crate::time::Moment;
use crate::wire::{Entry, MembershipReply, MembershipRequest, PeerName};

/// The outcome of a hand-over: the copies that other peers took, and the files that are still short.
#[derive(Debug, Default)]
pub struct HandedOver {
    /// The number of objects and records that others took.
    pub count: u64,
    /// The objects and records of which fewer than min(R, N − 1) others have a copy.
    pub short: Short,
}

/// Why a peer stays in its ring although it was told to leave.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StayReason {
    /// Fewer than min(R, N − 1) living peers would stay.
    #[error("{0}; this peer stays")]
    TooFewStay(Remains),
    /// Something is short at the peers that would stay, and nothing moves any more.
    #[error("{}; nothing moves any more; this peer stays", in_one_line(.0))]
    StandsStill(Vec<Remains>),
    /// Neighbours that leave too do not let this peer go first.
    #[error("its neighbours, which leave too, do not let it go; this peer stays")]
    NoTurn,
    /// This peer cannot read the files that it would have to hand over.
    #[error("what is here cannot be read: {reason}; this peer stays")]
    Unreadable {
        /// The reason, in words.
        reason: String,
    },
}

impl StayReason {
    /// This peer's disk does not tell what is on it.
    pub fn unreadable(error: &impl DiskError) -> StayReason {
        StayReason::Unreadable { reason: error.to_string() }
    }
}

/// The files and names of which a given number of copies would remain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    /// The number of copies that would remain of each.
    pub copies: usize,
    /// The number of files.
    pub files: u64,
    /// The number of names, by their records.
    pub names: u64,
    /// The peers that have these copies.
    pub on: Vec<PeerName>,
}

/// Hands over until min(R, N − 1) living peers have a copy of everything that is here, for as long as something moves.
/// Then it waits for this peer's turn to go. If the hand-over cannot be completed, this peer stays, unless it is
/// forced.
///
/// # Errors [`StayReason`], with the files that would be lost.
pub async fn hand_over_and_wait<E: Env>(env: &Arc<E>, force: bool) -> Result<HandedOver, StayReason> {
    let mut handed_over = HandedOver::default();
    if !env.laws().leaves_copies {
        return Ok(handed_over);
    }
    // Most of it is handed over while this peer still takes new files; little is added meanwhile.
    hand_over(env, force, &mut handed_over).await?;
    env.tell_ring(RingWish::BeginLeaving).await;
    env.view_until(PHASE_WAIT, |view| view.phase != PhaseKind::Active).await;
    let last = async {
        wait_for_turn(env, force).await?;
        hand_over(env, force, &mut handed_over).await
    };
    if let Err(why) = last.await {
        env.tell_ring(RingWish::Stay).await;
        env.view_until(PHASE_WAIT, |view| view.phase == PhaseKind::Active).await;
        env.repair_wanted().notify_one();
        return Err(why);
    }
    Ok(handed_over)
}

/// Hands over until nothing is short. If forced, it also ends when nothing moves any more, and reports what is short.
async fn hand_over<E: Env>(
    env: &Arc<E>,
    force: bool,
    handed_over: &mut HandedOver,
) -> Result<(), StayReason> {
    let (mut moves, mut fewest, mut fruitless) = (Moves::begin(env), usize::MAX, 0);
    loop {
        if !force && let Some(why) = why_stay(env).await? {
            return Err(why);
        }
        let log = RoundLog::new(Cause::HandOver);
        let stands_still = match race(round(env, &plan_handover, None, &log), moves.until_still()).await {
            Either::Left(()) => moves.stand_still(),
            Either::Right(()) => true,
        };
        // A round that was cut short counts for what it learned, too.
        let mut round = log.round();
        handed_over.count += round.objects + round.records;
        handed_over.short = match env.holdings().await {
            Ok(holdings) => {
                round.forget_changed(&digests_now(env, &round).await);
                round.short(&env.view(), env.copies(), &holdings)
            }
            Err(error) if force => {
                env.warn(error.to_string());
                Short::default()
            }
            Err(error) => return Err(StayReason::unreadable(&error)),
        };
        let short = &handed_over.short;
        if short.is_empty() {
            return Ok(());
        }
        let left = short.objects.len() + short.records.len();
        fruitless = if left < fewest { 0 } else { fruitless + 1 };
        fewest = fewest.min(left);
        // Objects that are given and refused again and again move, too, and lead nowhere. Objects that others give to
        // the same peers at the moment are waited for.
        if stands_still || fruitless >= FRUITLESS_ROUNDS_MAX {
            return if force { Ok(()) } else { Err(shortfall(env, &round, short)) };
        }
        env.sleep_until(env.now() + ROUNDS.after(fruitless.saturating_sub(1))).await;
    }
}

/// The present digests of the ranges that a round compared. Where they cannot be read, nothing counts as compared.
async fn digests_now<E: Env>(env: &Arc<E>, round: &Round) -> BTreeMap<KeyRange, SetDigest> {
    let ranges: Vec<KeyRange> = round.compared().map(|(range, _)| range).collect();
    let digests = env.digests(ranges.clone()).await.unwrap_or_default();
    ranges.into_iter().zip(digests).collect()
}

/// The reason why this peer stays, if too few peers would remain and it has something to lose.
///
/// # Errors
/// [`StayReason::Unreadable`] when this peer's holdings cannot be read.
pub async fn why_stay<E: Env>(env: &Arc<E>) -> Result<Option<StayReason>, StayReason> {
    let view = env.view();
    let Some(copies) = too_few_stay(&view, env.copies()) else { return Ok(None) };
    let holdings = env.holdings().await.map_err(|error| StayReason::unreadable(&error))?;
    let (files, names) = (holdings.objects.len() as u64, holdings.records.len() as u64);
    if files + names == 0 {
        return Ok(None);
    }
    let on = view.alive().map(|entry| env.named(&entry.position)).collect();
    Ok(Some(StayReason::TooFewStay(Remains { copies, files, names, on })))
}

/// Reports what would be lost, since nothing moves any more.
fn shortfall<E: Env>(env: &Arc<E>, round: &Round, short: &Short) -> StayReason {
    let left = round.left_with(&env.view(), short);
    let remains = left.into_iter().map(|(copies, LeftWith { files, names, on })| {
        let on = on.iter().map(|peer| env.named(peer)).collect();
        Remains { copies, files, names, on }
    });
    StayReason::StandsStill(remains.collect())
}

/// Waits for this peer's turn: of neighbours that leave, one goes at a time (see [`Turn`]).
async fn wait_for_turn<E: Env>(env: &Arc<E>, force: bool) -> Result<(), StayReason> {
    let deadline = env.now() + TURN_WAIT_MAX;
    while env.now() < deadline {
        env.tell_ring(RingWish::AskTurn).await;
        let view = env.view();
        let neighbours: Vec<Entry> =
            view.predecessor.iter().chain(view.successors.iter().take(2)).cloned().collect();
        let mut wait = false;
        for neighbour in &neighbours {
            let answer = env.ask_membership(neighbour, MembershipRequest::MayLeave, ASK_TIMEOUT).await;
            // A peer that let this one go may not have heard yet that another one has gone.
            wait |= matches!(answer, Some(MembershipReply::Wait | MembershipReply::Gone { .. }));
        }
        if !wait {
            env.tell_ring(RingWish::TakeTurn).await;
            env.view_until(ASK_TIMEOUT, |view| view.turn != Turn::Asked).await;
            if env.view().turn == Turn::Taken {
                return Ok(());
            }
        }
        env.sleep_until(env.now() + LOOK_EVERY).await;
    }
    if force { Ok(()) } else { Err(StayReason::NoTurn) }
}

/// Watches whether anything still moves to other peers.
struct Moves<E: Env> {
    env: Arc<E>,
    seen: u64,
    last: Moment,
}

impl<E: Env> Moves<E> {
    fn begin(env: &Arc<E>) -> Moves<E> {
        Moves { env: env.clone(), seen: env.moved(), last: env.now() }
    }

    fn stand_still(&mut self) -> bool {
        let moved = self.env.moved();
        if moved != self.seen {
            (self.seen, self.last) = (moved, self.env.now());
        }
        self.env.now().since(self.last) >= STILL_MAX
    }

    async fn until_still(&mut self) {
        while !self.stand_still() {
            self.env.sleep_until(self.env.now() + LOOK_EVERY).await;
        }
    }
}

impl std::fmt::Display for Remains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counted = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {many}")),
        };
        let what = [counted(self.files, "file", "files"), counted(self.names, "name record", "name records")];
        let what = what.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        let on = self.on.iter().take(LISTED_MAX).map(PeerName::to_string).collect::<Vec<_>>().join(", ");
        match self.copies {
            0 => write!(f, "no copy of {what} would remain at a living peer"),
            1 => write!(f, "only ONE copy of {what} would remain, on {on}"),
            n => write!(f, "only {n} copies of {what} would remain, on {on}"),
        }
    }
}

fn in_one_line(remains: &[Remains]) -> String {
    remains.iter().map(Remains::to_string).collect::<Vec<_>>().join("; ")
}

/// The time that a departure goes on while nothing moves.
const STILL_MAX: Duration = Duration::from_secs(30);
/// The number of rounds in a row without any gain after which a departure stops.
const FRUITLESS_ROUNDS_MAX: u32 = 10_000;
/// The time that the node may take to change its phase.
const PHASE_WAIT: Duration = Duration::from_secs(5);
/// The time that a departure waits for its neighbours' departures.
const TURN_WAIT_MAX: Duration = Duration::from_secs(600);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// The pauses after rounds without any gain.
const ROUNDS: Backoff = Backoff::linear(Duration::from_millis(200), Duration::from_secs(2));
/// How often a departure looks whether its turn has come, and whether anything moves.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The most peers that a reason names.
const LISTED_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Position;

    #[test]
    fn the_copies_that_would_remain_are_said_in_one_line() {
        let nas = [PeerName { position: Position::of_number(4), name: Some("nas".to_owned()) }];
        let said = |copies, files, names, on: &[PeerName]| {
            Remains { copies, files, names, on: on.to_vec() }.to_string()
        };
        assert_eq!(said(1, 304, 0, &nas), "only ONE copy of 304 files would remain, on nas");
        assert_eq!(said(0, 1, 1, &[]), "no copy of 1 file and 1 name record would remain at a living peer");
        assert_eq!(said(2, 0, 3, &nas), "only 2 copies of 3 name records would remain, on nas");
        let [none, one] = [(0, Vec::new()), (1, nas.to_vec())].map(|(copies, on)| Remains {
            copies,
            files: 1,
            names: 0,
            on,
        });
        assert_eq!(
            StayReason::StandsStill(vec![none, one]).to_string(),
            "no copy of 1 file would remain at a living peer; only ONE copy of 1 file would remain, on nas; \
             nothing moves any more; this peer stays"
        );
    }
}
