//! Leases: the owner of a name renews the leases of the objects that the name refers to; a replica frees an object whose
//! lease has lapsed. The rules are in [`crate::replica::LeaseSchedule`].
//! A name of a directory refers to its tree, and to each of the tree's files.

use std::sync::Arc;

use super::ask::ask_storage;
use super::env::Env;
use super::find::find;
use super::records::STORAGE_TIMEOUT;
use super::renew::renew;
use super::trees::renew_tree;
use crate::chord::PhaseKind;
use crate::id::ContentId;
use crate::replica::{KeptRange, replicas};
use crate::wire::limits::REFERENCES_PER_MESSAGE_MAX;
use crate::wire::{Entry, Reference, StorageReply, StorageRequest};

/// Renews leases, and frees what nothing refers to, as long as the peer runs.
pub async fn keep_leases<E: Env>(env: Arc<E>) {
    let terms = env.lease_terms();
    loop {
        env.sleep_until(env.now() + terms.tick()).await;
        let view = env.view();
        let active = view.is_member() && view.phase == PhaseKind::Active;
        let whole = view.away().next().is_none();
        // The schedule must see the values that count below: a later time may have jumped, a later range have grown.
        let (now_ms, kept) = (env.ring_ms(), KeptRange::of(&view, env.copies()));
        let due = env.lease_schedule().look(env.now(), now_ms, kept, (active, whole), &terms);
        if due.renew && !renew_all(&env, due.of_all_kept).await {
            env.lease_schedule().renew_again();
        }
        if due.free {
            free_lapsed(&env, now_ms, &kept).await;
        }
    }
}

/// Handles `Renew`: renews the leases of the objects that are here, and shows under which names they stand.
///
/// # Errors
/// Too many references, or the reason why the disk does not take them.
pub async fn answer_renew<E: Env>(env: &Arc<E>, references: Vec<Reference>) -> Result<StorageReply, String> {
    if references.len() > REFERENCES_PER_MESSAGE_MAX {
        return Err(format!("at most {REFERENCES_PER_MESSAGE_MAX} references are renewed at a time"));
    }
    env.renew_leases(references, env.lease_date()).await?;
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
        let histories: Vec<_> = mine.filter_map(|(_, history)| history.as_ref()).collect();
        let mut references: Vec<Reference> =
            histories.iter().flat_map(|history| history.references(now, kept_for)).collect();
        if !env.laws().versions_leased {
            references.retain(|reference| reference.current);
        }
        all &= renew(env, references).await;
        for (tree, link) in histories.iter().flat_map(|history| history.trees(now, kept_for)) {
            all &= renew_tree(env, tree, &link).await;
        }
    }
}

/// Frees the objects whose lease has lapsed by this time of the ring: of this range as their replica.
async fn free_lapsed<E: Env>(env: &Arc<E>, now_ms: u64, kept: &KeptRange) {
    let lapsed = match env.lapsed_objects(now_ms, FREED_PER_LOOK_MAX).await {
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
        let belongs =
            kept.contains(&content.key()) && keepers.iter().any(|keeper| keeper.position == view.me.position);
        if !belongs && !all_let_go(env, &keepers, content).await {
            continue;
        }
        let before = env.lease_terms().lapsed_before(now_ms);
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
