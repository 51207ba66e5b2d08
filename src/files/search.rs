//! The content that a name stands for, and the holders of an object.

use std::sync::Arc;
use std::time::Duration;

use super::ask::ask_storage;
use super::env::Env;
use super::find::{FindError, find_soon};
use super::records::{LATE_WORD, STORAGE_TIMEOUT, resolve};
use super::wait::{Together, pause, timeout};
use crate::backoff::Backoff;
use crate::id::{ContentId, FileName, Position};
use crate::names::Verdict;
use crate::replica::{HolderSearch, Holders, has_no_vote, holders_reply, vote_count};
use crate::wire::{Entry, MissingReason, StorageReply, StorageRequest};

/// Like [`resolve`], but asks again for a while if missing peers may answer in a moment.
///
/// # Errors
/// [`FindError`] when no peer could be asked.
pub async fn resolve_soon<E: Env>(env: &Arc<E>, name: &FileName) -> Result<Verdict, FindError> {
    verdict_soon(env, || resolve(env, name)).await
}

/// Asks for a verdict again for a while if missing peers may answer in a moment.
///
/// # Errors
/// [`FindError`] when no peer could be asked.
pub(super) async fn verdict_soon<E: Env, F>(
    env: &Arc<E>,
    ask: impl Fn() -> F + Send,
) -> Result<Verdict, FindError>
where
    F: Future<Output = Result<Verdict, FindError>> + Send,
{
    let (deadline, mut backoff) = (env.now() + WORD_WAIT, WORD_BACKOFF);
    loop {
        match ask().await? {
            Verdict::CannotTell { in_a_moment: true, .. } if env.now() < deadline => {
                pause(env, &mut backoff).await;
            }
            verdict => return Ok(verdict),
        }
    }
}

/// The holders of an object: its replicas and the peers that announced themselves to these; distrusted peers last. Once
/// there is a result, each further answer is waited for no longer than `late`.
///
/// # Errors
/// [`FindError`] when no peer could be asked.
pub async fn holders_of<E: Env>(
    env: &Arc<E>,
    content: ContentId,
    late: Duration,
) -> Result<Holders, FindError> {
    let found = find_soon(env, content.key(), vote_count(env.copies()) - 1).await?;
    let mut search = HolderSearch::begin(&env.view(), env.copies(), &content, &found);
    let mut asked = Together::new();
    for whom in search.asked() {
        asked.add(ask(env, whom.clone(), content));
    }
    while !search.is_over() {
        let patience = if search.is_decided() { late } else { STORAGE_TIMEOUT };
        let Some(Some((whom, reply))) = timeout(env, patience, asked.next()).await else { break };
        if let Ok(reply) = reply
            && let Err(fault) = search.hear(&whom, reply)
        {
            env.blame_answer(&whom, fault);
        }
    }
    let mut holders = search.end();
    let distrusted = env.distrusted();
    holders.entries.sort_by_key(|entry| distrusted.contains(&entry.position));
    Ok(holders)
}

/// Like [`holders_of`], without this peer. If no holder is found and missing peers may answer in a moment, asks again
/// for a while.
///
/// # Errors
/// [`FindError`] when no peer could be asked.
pub async fn other_holders<E: Env>(env: &Arc<E>, content: ContentId) -> Result<Holders, FindError> {
    let (deadline, mut backoff) = (env.now() + WORD_WAIT, WORD_BACKOFF);
    loop {
        let mut holders = holders_of(env, content, LATE_WORD).await?;
        let me = env.view().me.position;
        holders.entries.retain(|entry| entry.position != me);
        if !holders.entries.is_empty() || !holders.in_a_moment || env.now() >= deadline {
            return Ok(holders);
        }
        pause(env, &mut backoff).await;
    }
}

/// Handles `WhoHas`: answers which peers hold an object.
///
/// # Errors
/// The reason why this peer cannot tell.
pub async fn answer_who_has<E: Env>(env: &Arc<E>, content: ContentId) -> Result<StorageReply, String> {
    // Read before the disk is: a take-over that ends meanwhile does not make a vote of this "no".
    let has_no_vote = env.laws().no_vote_while_taking_over && has_no_vote(&env.view(), &env.takeover());
    let here = env.holds(content).await?;
    // The holders that announced themselves and are still in that life.
    let (view, announced) = (env.view(), env.announced(&content));
    let lives = |entry: &&Entry| announced.contains(&(entry.position, entry.incarnation));
    Ok(holders_reply(here, has_no_vote, view.alive().filter(lives).cloned().collect()))
}

async fn ask<E: Env>(
    env: &Arc<E>,
    whom: Entry,
    content: ContentId,
) -> (Position, Result<StorageReply, MissingReason>) {
    (whom.position, ask_storage(env, &whom, StorageRequest::WhoHas { content }, STORAGE_TIMEOUT).await)
}

/// The time for which missing peers are asked again before a name or its bytes are given up, and the pauses between.
const WORD_WAIT: Duration = Duration::from_secs(5);
const WORD_BACKOFF: Backoff = Backoff::steady(Duration::from_millis(200));
