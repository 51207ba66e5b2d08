//! The conditions that must hold in a [`World`] in the end.

use super::World;
use super::oracle::list_in_order;
use crate::chord::{Node, PhaseKind};
use crate::id::{Position, owns};
use crate::wire::Entry;

/// Liveness: all running peers are active, and each has its true neighbours and its full list.
///
/// # Errors The first peer that violates this, and its actual neighbours.
pub fn one_ordered_ring(world: &World) -> Result<(), String> {
    is_one_ordered_ring(world.nodes(), world.settings.successors.into())
}

/// Like [`one_ordered_ring`], for these nodes.
pub(super) fn is_one_ordered_ring<'a>(nodes: impl Iterator<Item = &'a Node>, r: usize) -> Result<(), String> {
    let mut nodes: Vec<&Node> = nodes.filter(|node| node.phase() != PhaseKind::Ended).collect();
    if let Some(node) = nodes.iter().find(|node| node.phase() != PhaseKind::Active) {
        return Err(format!("{:?} is {:?}", node.me(), node.phase()));
    }
    nodes.sort_by_key(|node| node.me().position);
    let count = nodes.len();
    for (i, node) in nodes.iter().enumerate() {
        let expected = (1..count).take(r).map(|step| nodes[(i + step) % count].me().position);
        if !node.successors().iter().map(|entry| entry.position).eq(expected) {
            return Err(format!("successors of {:?} are {:?}", node.me(), node.successors()));
        }
        let before = (count > 1).then(|| nodes[(i + count - 1) % count].me().position);
        if node.predecessor().map(|entry| entry.position) != before {
            return Err(format!("predecessor of {:?} is {:?}", node.me(), node.predecessor()));
        }
    }
    Ok(())
}

/// Ownership in a settled ring: each key has exactly one owner among the members.
///
/// # Errors
/// The first key that violates this, and its owners.
pub fn one_owner_each(world: &World, keys: &[Position]) -> Result<(), String> {
    for key in keys {
        let owners = owners(world, key);
        if owners.len() != 1 {
            return Err(format!("{} is owned by {owners:?}", key.label()));
        }
    }
    Ok(())
}

/// The members that take themselves for the owner of a key.
pub fn owners(world: &World, key: &Position) -> Vec<Entry> {
    world.nodes().filter(|node| owns_key(node, key)).map(|node| node.me().clone()).collect()
}

/// Whether a member takes itself for the owner of a key.
pub(super) fn owns_key(node: &Node, key: &Position) -> bool {
    let before = node.predecessor().map(|entry| &entry.position);
    node.is_member() && before.is_none_or(|before| owns(before, key, &node.me().position))
}

/// The part of the living members that have their true first successor and their true predecessor, 0.0 to 1.0.
pub fn in_order(world: &World) -> f64 {
    let nodes: Vec<&Node> = world.living().values().filter_map(|slot| world.node(*slot)).collect();
    let count = nodes.len();
    let position = |at: usize| nodes[at % count].me().position;
    let right = (0..count).filter(|i| {
        let (after, before) = (nodes[*i].successors().first(), nodes[*i].predecessor());
        after.map(|e| e.position) == (count > 1).then(|| position(i + 1))
            && before.map(|e| e.position) == (count > 1).then(|| position(i + count - 1))
    });
    if count == 0 { 1.0 } else { right.count() as f64 / count as f64 }
}

/// Safety: at any time, no list contains its own peer, a duplicate, or disorder.
///
/// # Errors
/// The first peer whose list is wrong.
pub fn lists_are_ordered(world: &World) -> Result<(), String> {
    world.nodes().try_for_each(list_in_order)
}
