//! A peer that comes back finds out whether the names that it kept still count. The rules are in
//! [`crate::names::Absence`].
//!
//! `A ->[DroppedTombstones] B`, `B ->[DroppedTombstones { up_to_ms }] A`: A asks each neighbour once, before it gives that
//! neighbour anything. Where B may have dropped what A has missed, A drops its names (not its objects) and takes over
//! its ranges anew.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::ask::ask_storage;
use super::env::{Env, HistoryChange};
use super::wait::Together;
use crate::chord::View;
use crate::names::{Absence, Margins, Returned};
use crate::replica::{TakeOver, has_no_vote};
use crate::wire::{Entry, MissingReason, StorageReply, StorageRequest};

/// Whether the names that this peer keeps count, in votes and for other peers.
pub(super) fn names_count<E: Env>(env: &E) -> bool {
    look(env).names_count() || !env.laws().stale_names_dropped
}

/// The absence, after a look at the ring's clock.
pub(super) fn look<E: Env>(env: &E) -> MutexGuard<'_, Absence> {
    let (now, margins) = (env.ring_ms(), margins(env));
    let mut absence = env.absence();
    absence.look(now, &margins);
    absence
}

/// Hears from a peer, once, up to which date it has dropped tombstones; drops the names here if they are stale by that
/// word. Returns whether the peer may be given what is here.
pub(super) async fn may_give_to<E: Env>(env: &Arc<E>, whom: &Entry) -> bool {
    if !env.laws().stale_names_dropped || !env.absence().needs_word_of(whom) {
        return true;
    }
    let dropped_ms = match ask_storage(env, whom, StorageRequest::DroppedTombstones, ASK_TIMEOUT).await {
        Ok(StorageReply::DroppedTombstones { up_to_ms }) => up_to_ms,
        // A peer of an earlier program does not know the question. It drops no tombstones.
        Err(MissingReason::Refused(_)) => 0,
        _ => return false,
    };
    let margins = margins(&**env);
    let stale = env.absence().hear(whom, dropped_ms, &margins);
    match stale {
        None => true,
        Some(before_ms) => {
            drop_names(env, whom, before_ms).await;
            false
        }
    }
}

/// Settles an absence, once this peer has heard all neighbours that answer, and has taken over its ranges. Names in
/// doubt also wait for more than half of the members. Returns the absence that is over.
pub(super) async fn settle<E: Env>(env: &Arc<E>) -> Option<Returned> {
    let view = env.view();
    let mut asked = Together::new();
    for neighbour in neighbours(&view, env.copies()) {
        asked.add(async move { may_give_to(env, &neighbour).await });
    }
    let mut all = true;
    while let Some(heard) = asked.next().await {
        all &= heard;
    }
    if !all || has_no_vote(&view, &env.takeover()) {
        return None;
    }
    let is_alone = view.members_count() == 1;
    let counts = names_count(&**env);
    let mut absence = env.absence();
    let is_enough = is_alone || (absence.heard_any() && (counts || most_answer(&view)));
    let waits = env.laws().stale_names_dropped && !is_enough;
    if waits { None } else { absence.settle(env.ring_ms()) }
}

/// Handles `DroppedTombstones`.
///
/// # Errors
/// The reason why the date cannot be read.
pub async fn answer_dropped<E: Env>(env: &Arc<E>) -> Result<StorageReply, String> {
    Ok(StorageReply::DroppedTombstones { up_to_ms: env.dropped_ms().await? })
}

/// Whether more than half of the members answer, this peer counted.
pub(super) fn most_answer(view: &View) -> bool {
    let (all, away) = (view.members_count(), view.away().count());
    all.saturating_sub(away) * 2 > all
}

/// The dates' margins in this peer's ring.
fn margins<E: Env>(env: &E) -> Margins {
    let (terms, versions_for) = (env.name_terms(), env.keep_versions().duration());
    Margins { away_max_ms: terms.away_max_ms(versions_for), slack_ms: terms.slack_ms() }
}

/// The living peers on both sides that keep what this peer keeps: those that a take-over asks.
fn neighbours(view: &View, copies: usize) -> Vec<Entry> {
    let near: Vec<&Entry> = view.alive().collect();
    let mut neighbours: Vec<Entry> = Vec::new();
    for entry in near.iter().take(copies).chain(near.iter().rev().take(copies)) {
        if neighbours.iter().all(|known| known.position != entry.position) {
            neighbours.push((*entry).clone());
        }
    }
    neighbours
}

/// Drops the records here that are dated `before_ms` or earlier, by the word of a peer, and takes over anew. If the disk
/// fails, the names stay in doubt, and the next word of a neighbour drops them.
async fn drop_names<E: Env>(env: &Arc<E>, by: &Entry, before_ms: u64) {
    let (mut after, mut dropped) = (None, 0_u64);
    loop {
        let page = match env.histories_after(after, NAMES_PER_PAGE).await {
            Ok(page) => page,
            Err(why) => return env.warn(format!("names that may be out of date are not dropped: {why}")),
        };
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        let forget = |(key, _)| {
            HistoryChange::new(key, false, move |history| {
                let forgot = history.forget(before_ms);
                (forgot, forgot)
            })
        };
        // One that cannot be read counts for nothing anyway.
        let readable = page.into_iter().filter(|(_, history)| history.is_some());
        for changed in env.update_histories(readable.map(forget).collect()).await {
            match changed {
                Ok(forgot) => dropped += u64::from(forgot),
                Err(why) => return env.warn(format!("names that may be out of date are not dropped: {why}")),
            }
        }
    }
    env.absence().dropped();
    *env.takeover() = TakeOver::default();
    env.takeover_wanted().notify_one();
    if dropped > 0 {
        env.warn(format!(
            "this peer was away for longer than peer {} remembers removed names: it has dropped the {dropped} names \
             that it kept, and takes them over from the others anew; its files stay",
            env.named(&by.position)
        ));
    }
}

/// The timeout of the question to a neighbour.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of names that are dropped at a time.
const NAMES_PER_PAGE: usize = 256;
