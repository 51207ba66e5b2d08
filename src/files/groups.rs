//! Many items divided by the owners of their keys, within the bounds of a batch.

use std::sync::Arc;

use super::env::Env;
use super::find::find;
use crate::id::Position;
use crate::replica::Found;
use crate::wire::limits::{BATCH_BYTES_MAX, BATCH_OBJECTS_MAX};

/// Items whose keys have one owner, within the bounds of a batch.
pub(super) struct Group<T> {
    /// The owner.
    pub found: Found,
    /// The items, in their order.
    pub items: Vec<T>,
}

/// An item of a batch.
pub(super) trait Grouped {
    /// The key whose owner is meant.
    fn key(&self) -> Position;

    /// The bytes that travel with the item.
    fn bytes(&self) -> u64;
}

/// Divides items by the owners of their keys, each found with at least `wanted` peers after it if there are so many. Items
/// whose owner is not found are left out.
pub(super) async fn groups<E: Env, T: Grouped>(env: &Arc<E>, items: Vec<T>, wanted: usize) -> Vec<Group<T>> {
    let mut groups: Vec<Group<T>> = Vec::new();
    let mut owners: Vec<Found> = Vec::new();
    for item in items {
        let key = item.key();
        let known = owners.iter().find(|found| found.owns(&key)).cloned();
        let found = match known {
            Some(found) => found,
            None => match find(env, key, wanted).await {
                Ok(found) => {
                    owners.push(found.clone());
                    found
                }
                Err(_) => continue,
            },
        };
        let takes = |group: &&mut Group<T>| {
            let bytes: u64 = group.items.iter().map(Grouped::bytes).sum();
            group.found.owner.position == found.owner.position
                && group.items.len() < BATCH_OBJECTS_MAX
                && bytes + item.bytes() <= BATCH_BYTES_MAX
        };
        match groups.iter_mut().find(takes) {
            Some(group) => group.items.push(item),
            None => groups.push(Group { found, items: vec![item] }),
        }
    }
    groups
}
