//! What must hold in a large ring at every moment: the invariant of P. Zave, *Reasoning About Identifier Spaces:
//! How to Make Chord Correct* (IEEE TSE 2017), and what follows from it.
//!
//! - No list names its own peer, or anybody twice, or out of order.
//! - Every member has a living member in its list.
//! - The first living entries make one ring, in order, that winds round the circle once; who is not on it yet
//!   leads to it.
//! - At least r + 1 members are principals: no two neighbours in any member's list, itself at its head, pass
//!   over them, nor in any list that is on its way to somebody.
//!
//! It looks at everything and changes nothing. After every change of a peer that peer's list is looked at; the
//! whole ring once a virtual second, and after every change where it has few members. In small rings, which lie
//! outside the theorem, and while safety is suspended, only the lists are looked at.

use std::time::Duration;

use super::network::Slot;
use super::world::{Delivery, World};
use crate::chord::Node;
use crate::id::{Position, between};
use crate::time::Moment;
use crate::wire::{Entry, MembershipReply, NeighbourReply};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Moment,
    /// What.
    pub what: String,
}

/// Where and when to look, and what was found.
#[derive(Debug)]
pub struct Oracle {
    /// Whether the whole ring is looked at; not while a scenario itself breaks the invariant.
    pub safety: bool,
    /// Up to how many members the whole ring is looked at after every change.
    pub every_change_up_to: usize,
    violations: Vec<Violation>,
    count: u64,
    /// Something changed since the whole ring was looked at.
    changed: bool,
    next_look: Moment,
}

impl Default for Oracle {
    fn default() -> Oracle {
        Oracle {
            safety: true,
            every_change_up_to: 16,
            violations: Vec::new(),
            count: 0,
            changed: false,
            next_look: Moment::default(),
        }
    }
}

impl Oracle {
    /// What was found; of many the first ones.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// How much was found.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn found(&mut self, at: Moment, what: String) {
        self.count += 1;
        if self.violations.len() < KEPT_MAX {
            self.violations.push(Violation { at, what });
        }
    }
}

impl World {
    /// A peer has changed.
    pub(super) fn oracle_look(&mut self, slot: Slot) {
        self.oracle.changed = true;
        let now = self.now;
        if let Some(Err(what)) = self.node(slot).filter(|node| node.is_member()).map(list_in_order) {
            self.oracle.found(now, what);
        }
        if self.oracle.safety && self.living.len() <= self.oracle.every_change_up_to {
            self.look_at_all();
        }
    }

    /// Time has passed.
    pub(super) fn oracle_tick(&mut self) {
        if self.oracle.safety && self.oracle.changed && self.oracle.next_look <= self.now {
            self.look_at_all();
        }
    }

    fn look_at_all(&mut self) {
        self.oracle.changed = false;
        self.oracle.next_look = self.now + LOOK_EVERY;
        if let Err(what) = one_ring(self) {
            let now = self.now;
            self.note(|| format!("VIOLATION {what}"));
            self.oracle.found(now, what);
        }
    }
}

/// No self, no duplicate, no disorder.
fn list_in_order(node: &Node) -> Result<(), String> {
    let me = node.me();
    let mut last = me.position;
    for entry in node.successors() {
        if !between(&last, &entry.position, &me.position) {
            return Err(format!("the list of {me:?} is out of order: {:?}", node.successors()));
        }
        last = entry.position;
    }
    Ok(())
}

/// The invariant, where the ring is large for all its members.
///
/// # Errors
/// What does not hold.
pub fn one_ring(world: &World) -> Result<(), String> {
    let members: Vec<&Node> = world.living().values().filter_map(|slot| world.node(*slot)).collect();
    let r = usize::from(world.settings.successors);
    if members.len() < r + 2 || members.iter().any(|node| node.is_small()) {
        return Ok(());
    }
    let index = |position: &Position| members.binary_search_by_key(position, |node| node.me().position).ok();
    let mut next = Vec::with_capacity(members.len());
    for node in &members {
        let Some(best) = node.successors().iter().find_map(|entry| index(&entry.position)) else {
            return Err(format!("no living member in the list of {:?}: {:?}", node.me(), node.successors()));
        };
        next.push(best);
    }
    let label = |i: usize| members[i].me().position.label();
    let ring = cycle(&next).map_err(|(one, other)| {
        format!("two rings: {} is in one, {} leads to the other", label(one), label(other))
    })?;
    // Once around: on the way there is one step down.
    let descents =
        ring.windows(2).filter(|two| two[1] < two[0]).count() + usize::from(ring[ring.len() - 1] > ring[0]);
    if descents != 1 {
        let order: Vec<String> = ring.iter().map(|i| label(*i)).collect();
        return Err(format!("the ring winds {descents} times round: {}", order.join(" ")));
    }
    let skipped = skipped(world, &members);
    let principals = skipped.iter().filter(|skipped| !**skipped).count();
    if principals < r + 1 {
        return Err(format!("{principals} principals among {} members, r = {r}", members.len()));
    }
    Ok(())
}

/// The one cycle of a graph in which each has one next; or one of each of two.
fn cycle(next: &[usize]) -> Result<Vec<usize>, (usize, usize)> {
    let mut seen_in = vec![usize::MAX; next.len()];
    let mut ring: Vec<usize> = Vec::new();
    for start in 0..next.len() {
        let mut at = start;
        while seen_in[at] == usize::MAX {
            seen_in[at] = start;
            at = next[at];
        }
        if seen_in[at] == start {
            // A cycle that was not known.
            if let Some(first) = ring.first() {
                return Err((*first, at));
            }
            let begin = at;
            loop {
                ring.push(at);
                at = next[at];
                if at == begin {
                    break;
                }
            }
        }
    }
    Ok(ring)
}

/// Which members some list passes over.
fn skipped(world: &World, members: &[&Node]) -> Vec<bool> {
    let mut skipped = vec![false; members.len()];
    let at = |position: &Position| members.binary_search_by_key(position, |node| node.me().position);
    let mut pass = |one: &Position, other: &Position| {
        // Strictly between: from the one after `one` on.
        let mut i = at(one).map_or_else(|i| i, |i| i + 1) % members.len();
        while between(one, &members[i].me().position, other) {
            skipped[i] = true;
            i = (i + 1) % members.len();
        }
    };
    let mut pass_all = |head: &Position, list: &[Entry]| {
        let mut last = *head;
        for entry in list {
            pass(&last, &entry.position);
            last = entry.position;
        }
    };
    for node in members {
        pass_all(&node.me().position, node.successors());
    }
    for delivery in world.queue.iter() {
        let Delivery::Reply { to, from, reply, .. } = delivery else { continue };
        if world.node(*to).is_none() {
            continue;
        }
        match reply {
            MembershipReply::Neighbour(NeighbourReply::State { successors, .. }) => {
                pass_all(&from.position, successors);
            }
            MembershipReply::Welcome { successors, .. } => {
                if let Some(joiner) = world.entry(*to) {
                    pass_all(&joiner.position, successors);
                }
            }
            _ => {}
        }
    }
    skipped
}

/// Violations that are kept word for word.
const KEPT_MAX: usize = 64;
/// Between two looks at the whole ring.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_with_appendages_and_two_cycles() {
        assert_eq!(cycle(&[1, 2, 0, 1]), Ok(vec![0, 1, 2]));
        assert_eq!(cycle(&[0]), Ok(vec![0]));
        assert_eq!(cycle(&[1, 0, 3, 2]), Err((0, 2)));
    }
}
