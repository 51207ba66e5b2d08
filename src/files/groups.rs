//! Many items divided by the owners of their keys, within the bounds of a batch.

use std::sync::Arc;

use super::env::Env;
use super::find::find;
use super::wait::Together;
use crate::id::Position;
use crate::replica::Found;
use crate::wire::limits::{BATCH_BYTES_MAX, BATCH_OBJECTS_MAX};

/// Items whose keys have one owner, within the bounds of a batch.
pub(super) struct Group<T> {
    /// The owner.
    pub found: Found,
    /// The items.
    pub items: Vec<T>,
}

/// An item of a batch.
pub(super) trait Grouped {
    /// The key whose owner is meant.
    fn key(&self) -> Position;

    /// The bytes that travel with the item.
    fn bytes(&self) -> u64;
}

/// Divides items by the owners of their keys, each found with at least `wanted` peers after it if there are so many. Once a
/// lookup has failed, the items whose owner is not known are left out.
pub(super) async fn groups<E: Env, T: Grouped>(env: &Arc<E>, items: Vec<T>, wanted: usize) -> Vec<Group<T>> {
    let (mut groups, mut owners, mut left): (_, Vec<Found>, _) = (Vec::new(), Vec::new(), items);
    let mut has_failed = false;
    while !left.is_empty() {
        let (mut looking, mut later) = (Together::new(), Vec::new());
        for item in left {
            let key = item.key();
            match owners.iter().find(|found| found.owns(&key)) {
                Some(found) => add(&mut groups, found, item),
                None if has_failed => {}
                None if looking.count() < LOOKUPS_MAX => {
                    looking.add(async move { (find(env, key, wanted).await, item) });
                }
                None => later.push(item),
            }
        }
        while let Some((found, item)) = looking.next().await {
            match found {
                Ok(found) => {
                    add(&mut groups, &found, item);
                    if owners.iter().all(|known| known.owner.position != found.owner.position) {
                        owners.push(found);
                    }
                }
                Err(_) => has_failed = true,
            }
        }
        left = later;
    }
    groups
}

/// Adds an item to a group of this owner that has room, or to a new one.
fn add<T: Grouped>(groups: &mut Vec<Group<T>>, found: &Found, item: T) {
    let takes = |group: &&mut Group<T>| {
        let bytes: u64 = group.items.iter().map(Grouped::bytes).sum();
        group.found.owner.position == found.owner.position
            && group.items.len() < BATCH_OBJECTS_MAX
            && bytes + item.bytes() <= BATCH_BYTES_MAX
    };
    match groups.iter_mut().find(takes) {
        Some(group) => group.items.push(item),
        None => groups.push(Group { found: found.clone(), items: vec![item] }),
    }
}

/// The most lookups at once. In a large ring nearly every key has another owner.
const LOOKUPS_MAX: usize = 16;
