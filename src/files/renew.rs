//! Renews the leases of objects at their replicas.
//!
//! `A ->[Renew { references }] B`, `B ->[Noted] A`, batched by range: the references to the objects of one owner go to
//! that owner and its replicas together.

use std::sync::Arc;

use super::ask::ask_storage;
use super::env::Env;
use super::find::find_soon;
use super::records::STORAGE_TIMEOUT;
use super::wait::Together;
use crate::replica::replicas;
use crate::wire::limits::REFERENCES_PER_MESSAGE_MAX;
use crate::wire::{Entry, Reference, StorageReply, StorageRequest};

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

async fn tell<E: Env>(env: &Arc<E>, whom: Entry, batch: &[Reference]) -> bool {
    let mut all = true;
    for page in batch.chunks(REFERENCES_PER_MESSAGE_MAX) {
        let request = StorageRequest::Renew { references: page.to_vec() };
        all &= matches!(ask_storage(env, &whom, request, STORAGE_TIMEOUT).await, Ok(StorageReply::Noted));
    }
    all
}
