//! Leases: the owner of a name renews the leases of the objects that the name refers to; a replica frees an object whose
//! lease has lapsed. The rules are in [`crate::replica::LeaseSchedule`].
//!
//! `A ->[Renew { references }] B`, `B ->[Noted] A`, batched by range: the references to the objects of one owner go to
//! that owner and its replicas together.

use std::sync::Arc;

use super::ask::ask_storage;
use super::env::Env;
use super::find::{find, find_soon};
use super::records::STORAGE_TIMEOUT;
use super::wait::Together;
use crate::chord::PhaseKind;
use crate::id::ContentId;
use crate::replica::{KeptRange, LeaseSchedule, replicas};
use crate::wire::limits::REFERENCES_PER_MESSAGE_MAX;
use crate::wire::{Entry, Reference, StorageReply, StorageRequest};

/// Renews leases, and frees what nothing refers to, as long as the peer runs.
pub async fn keep_leases<E: Env>(env: Arc<E>) {
    let (terms, mut schedule) = (env.lease_terms(), LeaseSchedule::default());
    loop {
        env.sleep_until(env.now() + terms.tick()).await;
        let view = env.view();
        let active = view.is_member() && view.phase == PhaseKind::Active;
        let whole = view.away().next().is_none();
        let due = schedule.look(env.now(), active, whole, &terms);
        if due.renew && !renew_all(&env, due.of_all_kept).await {
            schedule.renew_again();
        }
        if due.free {
            free_lapsed(&env).await;
        }
    }
}

/// Renews the leases of these objects at their replicas. Returns whether W of the replicas of each have taken notice.
pub async fn renew<E: Env>(env: &Arc<E>, mut references: Vec<Reference>) -> bool {
    let copies = env.copies();
    references.sort_by_key(|reference| reference.content);
    let (mut rest, mut all) = (references.as_slice(), true);
    while let Some(first) = rest.first() {
        let key = first.content.key();
        let Ok(found) = find_soon(env, key, copies - 1).await else { return false };
        let reach = key.distance_to(&found.owner.position);
        let is_owners = |reference: &Reference| key.distance_to(&reference.content.key()) <= reach;
        let count = rest.iter().take_while(|reference| is_owners(reference)).count().max(1);
        let (batch, others) = rest.split_at(count);
        rest = others;
        let view = env.view();
        let needed = view.settings.unwrap_or_default().write_quorum(view.members_count());
        let mut told = Together::new();
        for whom in replicas(&found.owner, &found.successors, copies) {
            told.add(tell(env, whom, batch));
        }
        let mut noted = 0;
        while let Some(has_noted) = told.next().await {
            noted += usize::from(has_noted);
        }
        all &= noted >= needed;
    }
    all
}

/// Handles `Renew`: renews the leases of the objects that are here, and shows under which names they stand.
///
/// # Errors
/// Too many references, or the reason why the disk does not take them.
pub async fn answer_renew<E: Env>(env: &Arc<E>, references: Vec<Reference>) -> Result<StorageReply, String> {
    if references.len() > REFERENCES_PER_MESSAGE_MAX {
        return Err(format!("at most {REFERENCES_PER_MESSAGE_MAX} references are renewed at a time"));
    }
    env.renew_leases(references, env.ring_ms()).await?;
    Ok(StorageReply::Noted)
}

/// Renews the leases for all names that this peer owns; `of_all_kept`: for all that it keeps. Returns whether that reached
/// enough replicas.
async fn renew_all<E: Env>(env: &Arc<E>, of_all_kept: bool) -> bool {
    let (mut after, mut all) = (None, true);
    loop {
        let page = match env.histories_after(after, NAMES_PER_PAGE).await {
            Ok(page) => page,
            Err(why) => {
                env.warn(format!("the leases of files are not renewed: {why}"));
                return false;
            }
        };
        let Some((last, _)) = page.last() else { return all };
        after = Some(*last);
        let (view, now, kept_for) = (env.view(), env.ring_ms(), env.keep_versions().duration());
        let kept = KeptRange::of(&view, env.copies());
        let mine = page.iter().filter(|(key, _)| view.owns(key) || (of_all_kept && kept.contains(key)));
        let histories = mine.filter_map(|(_, history)| history.as_ref());
        let references = histories.flat_map(|history| history.references(now, kept_for)).collect();
        all &= renew(env, references).await;
    }
}

async fn tell<E: Env>(env: &Arc<E>, whom: Entry, batch: &[Reference]) -> bool {
    let mut all = true;
    for page in batch.chunks(REFERENCES_PER_MESSAGE_MAX) {
        let request = StorageRequest::Renew { references: page.to_vec() };
        all &= matches!(ask_storage(env, &whom, request, STORAGE_TIMEOUT).await, Ok(StorageReply::Noted));
    }
    all
}

/// Frees the objects whose lease has lapsed, of which this peer is a replica.
async fn free_lapsed<E: Env>(env: &Arc<E>) {
    let lapsed = match env.lapsed_objects(env.ring_ms(), FREED_PER_LOOK_MAX).await {
        Ok(lapsed) => lapsed,
        Err(why) => return env.warn(format!("the leases of files cannot be read: {why}")),
    };
    for content in lapsed {
        // The ring may have changed since the look began.
        let Ok(found) = find(env, content.key(), env.copies() - 1).await else { continue };
        let (view, keepers) = (env.view(), replicas(&found.owner, &found.successors, env.copies()));
        if view.away().next().is_some() {
            return;
        }
        // Only a replica is told of renewals: another peer goes by the word of all of them.
        let belongs = keepers.iter().any(|keeper| keeper.position == view.me.position);
        if !belongs && !all_let_go(env, &keepers, content).await {
            continue;
        }
        let before = env.lease_terms().lapsed_before(env.ring_ms());
        if let Err(why) = env.free_lapsed(content, before).await {
            return env.warn(format!("what no name refers to is not freed: {why}"));
        }
    }
}

/// Whether all replicas of an object have freed it, as they say.
async fn all_let_go<E: Env>(env: &Arc<E>, keepers: &[Entry], content: ContentId) -> bool {
    for keeper in keepers {
        // A replica that has the object says so without hashing it.
        let who_has = ask_storage(env, keeper, StorageRequest::WhoHas { content }, STORAGE_TIMEOUT).await;
        if !matches!(who_has, Ok(StorageReply::Holders { here: false, .. })) {
            return false;
        }
        let vouched = ask_storage(env, keeper, StorageRequest::Vouch { content }, STORAGE_TIMEOUT).await;
        if vouched != Ok(StorageReply::LetGo) {
            return false;
        }
    }
    true
}

/// The number of names that are read at a time.
const NAMES_PER_PAGE: usize = 1_000;
/// The most objects that are freed at one look.
const FREED_PER_LOOK_MAX: usize = 10_000;
