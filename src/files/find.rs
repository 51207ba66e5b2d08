//! Finding owners and replicas: the pure lookup, driven over the network.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::env::{Env, Hops};
use super::wait::{Together, pause, timeout};
use crate::backoff::Backoff;
use crate::chord::{HOP_GIVEN_UP, Lookup, PhaseKind, Step, View, check_list};
use crate::id::Position;
use crate::replica::{Found, known_after};
use crate::wire::{Entry, MembershipReply, MembershipRequest, word_list};

/// This peer is not a member of its ring.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", not_active(.waiting_for))]
pub struct NotActive {
    /// The peers that it waits for before it can become one: positions or addresses.
    pub waiting_for: Vec<String>,
}

impl NotActive {
    /// The error for a peer that is not a member, with the peers that it waits for in this view.
    pub fn of(view: &View) -> NotActive {
        NotActive { waiting_for: view.waiting_for.clone() }
    }
}

/// Why an owner is not found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FindError {
    /// This peer is not a member of its ring.
    #[error(transparent)]
    NotActive(#[from] NotActive),
    /// No peer that is left to ask knows the owner.
    #[error("nobody who answers knows who owns {}", .key.short())]
    NobodyKnows {
        /// The key that was looked up.
        key: Position,
    },
}

fn not_active(waiting_for: &[String]) -> String {
    match waiting_for {
        [] => "this peer is not in its ring (yet)".to_owned(),
        peers => {
            format!("this peer is not in its ring yet; it waits for {}", word_list(peers.iter().cloned()))
        }
    }
}

/// Finds the owner of a key, with at least `wanted` peers after it if there are so many.
///
/// # Errors
/// [`FindError`] when this peer is not a member, or no peer that is left to ask knows the owner.
pub async fn find<E: Env>(env: &Arc<E>, key: Position, wanted: usize) -> Result<Found, FindError> {
    member(env).await?;
    let view = env.view();
    let is_settled = env.is_settled(&view);
    let mut lookup = Lookup::new(&view, key, env.distrusted());
    let found = look_up(env, &mut lookup, key).await;
    for evidence in lookup.faults() {
        if evidence.certain || is_settled {
            env.blame_answer(&evidence.peer, evidence.fault);
        }
    }
    Ok(with_successors(env, found?, wanted).await)
}

/// Like [`find`], for a caller that can wait: right after a departure or a death, no peer answers for the range until
/// its neighbours have noticed.
///
/// # Errors
/// Like [`find`], once that has gone on for a while.
pub async fn find_soon<E: Env>(env: &Arc<E>, key: Position, wanted: usize) -> Result<Found, FindError> {
    // A peer that was stopped begins its search over dead connections, which tells nothing of its ring.
    member(env).await?;
    let deadline = env.now() + FIND_WAIT;
    let (mut looks, mut backoff) = (1, FIND_BACKOFF);
    loop {
        match find(env, key, wanted).await {
            Err(_) if env.view().is_member() && (looks < LOOKS_MIN || env.now() < deadline) => {
                pause(env, &mut backoff).await;
                looks += 1;
            }
            found => return found,
        }
    }
}

/// The replicas of a key, the owner first.
///
/// # Errors
/// Like [`find`].
pub async fn replicas_of<E: Env>(env: &Arc<E>, key: Position) -> Result<Vec<Entry>, FindError> {
    let found = find_soon(env, key, env.copies() - 1).await?;
    Ok(found.first(env.copies()))
}

/// Waits until this peer is a member. A former member that comes back, or checks after a pause whether it still counts,
/// will soon be one.
///
/// # Errors
/// [`NotActive`] when it does not become a member.
pub async fn member<E: Env>(env: &Arc<E>) -> Result<(), NotActive> {
    if env.view().is_member() {
        return Ok(());
    }
    let is_over = |view: &View| view.is_member() || view.phase == PhaseKind::Ended;
    if env.was_member() {
        env.view_until(MEMBER_WAIT, is_over).await;
    }
    let view = env.view();
    if view.is_member() { Ok(()) } else { Err(NotActive::of(&view)) }
}

/// The successor list that a peer gave as its own; a bad list is held against it.
pub fn list_after<E: Env>(env: &E, whom: &Entry, list: Vec<Entry>) -> Option<Vec<Entry>> {
    let most = env.view().settings.unwrap_or_default().successors.into();
    match check_list(&whom.position, &list, most) {
        Ok(()) => Some(list),
        Err(fault) => {
            env.blame_answer(&whom.position, fault);
            None
        }
    }
}

/// Drives a lookup to its end: asks one peer after the other, the next one as soon as one is slow.
///
/// # Errors
/// [`FindError::NobodyKnows`] when no peer that is left to ask knows the owner.
pub async fn look_up<H: Hops>(hops: &Arc<H>, lookup: &mut Lookup, key: Position) -> Result<Found, FindError> {
    let mut asked = Together::new();
    loop {
        let patience = match lookup.next_step() {
            Step::Ask(whom) => {
                let patience = hops.hop_timeout(&whom.position);
                asked.add(ask(hops, whom, key));
                patience
            }
            Step::Wait => HOP_GIVEN_UP,
            Step::Found { owner, predecessor, successors } => {
                return Ok(Found { owner, predecessor, successors });
            }
            Step::Failed => return Err(FindError::NobodyKnows { key }),
        };
        // A slower peer may still answer while the next best is asked.
        let Some(Some((whom, reply))) = timeout(hops, patience, asked.next()).await else { continue };
        match &reply {
            Some(reply) => lookup.answered(&whom, reply.clone()),
            None => lookup.failed(&whom.position),
        }
        hops.tell_of_lookup(whom, reply).await;
    }
}

/// Asks one peer of a lookup, which is one hop.
async fn ask<H: Hops>(hops: &Arc<H>, whom: Entry, key: Position) -> (Entry, Option<MembershipReply>) {
    let reply = hops.ask_membership(&whom, MembershipRequest::FindOwner { key }, HOP_GIVEN_UP).await;
    (whom, reply)
}

/// Asks further peers when a successor list ends before the wanted peers do.
async fn with_successors<E: Env>(env: &Arc<E>, mut found: Found, wanted: usize) -> Found {
    let view = env.view();
    while let Some(last) = found.ends_early(&view, wanted).cloned() {
        let behind = match successors_of(env, &last).await {
            Some(behind) => behind,
            // Silent, or dead without this peer's knowledge: its own knowledge of the peers behind takes the place.
            None => known_after(&view, &last.position, wanted),
        };
        if !found.extend(behind) {
            break;
        }
    }
    found
}

async fn successors_of<E: Env>(env: &Arc<E>, whom: &Entry) -> Option<Vec<Entry>> {
    let view = env.view();
    if whom.position == view.me.position {
        return Some(view.successors.clone());
    }
    match ask(env, whom.clone(), whom.position).await.1 {
        Some(MembershipReply::Owner { owner, successors, .. }) if owner.position == whom.position => {
            list_after(&**env, whom, successors)
        }
        _ => None,
    }
}

/// The time in which a peer that was stopped should be a member again: three rounds of questions, and a join.
const MEMBER_WAIT: Duration = Duration::from_secs(12);
/// Retry budget when no owner is known, and the pause between two lookups.
const FIND_WAIT: Duration = Duration::from_secs(5);
const FIND_BACKOFF: Backoff = Backoff::steady(Duration::from_millis(200));
/// The fewest lookups that are made.
const LOOKS_MIN: u32 = 2;
