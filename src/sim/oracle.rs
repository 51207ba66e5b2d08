//! The invariants of a large ring at every moment: the invariant of P. Zave, *Reasoning About Identifier Spaces: How to
//! Make Chord Correct* (IEEE TSE 2017), and its consequences.
//!
//! - No list names its own peer, or any peer twice, or peers out of order.
//! - Every member has a living member in its list.
//! - The first living entries form one ring, in order, that winds round the circle once; a member that is not on it yet
//!   leads to it.
//! - Every member knows its predecessor: otherwise it would own every key.
//! - Only members say that they own a key, give their list, or let others in.
//! - At least r + 1 members are principals: no two neighbours in any member's list, with the member itself at its head,
//!   pass over them, nor in any list that is on its way to a peer.
//!
//! The oracle looks at everything and changes nothing. It checks a peer's list after every change of that peer; the
//! whole ring once a virtual second, and after every change if the ring has few members. In small rings, which lie
//! outside the theorem, and while safety is suspended, it checks only the lists and the answers.

use std::time::Duration;

use super::network::Slot;
pub use super::violations::{Oracle, Violation};
use super::world::{Ask, Delivery, World};
use crate::chord::{Node, PhaseKind, Token};
use crate::id::{Position, between};
use crate::wire::{Entry, MembershipReply, NeighbourReply};

impl World {
    /// Checks a peer that has changed.
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

    /// Checks the answer of a peer. Only a member may say that it owns a key or stands in the ring, or that another
    /// peer may join. (A peer that has ended answered in the same step, just before.)
    pub(super) fn oracle_hears(&mut self, from: Slot, reply: &MembershipReply) {
        let of_members = match reply {
            MembershipReply::Owner { .. } | MembershipReply::Welcome { .. } => true,
            MembershipReply::Neighbour(reply) => matches!(reply, NeighbourReply::State { .. }),
            _ => false,
        };
        let now = self.now;
        let may_not = |node: &&Node| !node.is_member() && node.phase() != PhaseKind::Ended;
        if let Some(node) = self.node(from).filter(|node| of_members && may_not(node)) {
            let what = format!("{:?} is {:?} and answers {reply:?}", node.me(), node.phase());
            self.oracle.found(now, what);
        }
    }

    /// Checks the whole ring when it is due, as time passes.
    pub(super) fn oracle_tick(&mut self) {
        if self.oracle.safety && self.oracle.changed && self.oracle.next_look <= self.now {
            self.look_at_all();
        }
    }

    fn look_at_all(&mut self) {
        self.oracle.changed = false;
        self.oracle.next_look = self.now + LOOK_AT_ALL_EVERY;
        if let Err(what) = one_ring(self) {
            let now = self.now;
            self.note(|| format!("VIOLATION {what}"));
            self.oracle.found(now, what);
        }
    }
}

/// Checks that a node's list has no self, no duplicate and no disorder.
pub(super) fn list_in_order(node: &Node) -> Result<(), String> {
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

/// The invariant, if the ring is large for all its members.
///
/// # Errors
/// The part of the invariant that does not hold.
pub fn one_ring(world: &World) -> Result<(), String> {
    invariant(&Snapshot::of(world, None))
}

/// Whether the invariant would hold if a peer died now. Without it, repair of the ring is not guaranteed.
///
/// An earlier incarnation of a peer that lives again counts as dead here, as it soon will wherever it is listed.
pub fn could_die(world: &World, slot: Slot) -> bool {
    could_go_on(Snapshot::of(world, Some(slot)))
}

/// Like [`could_die`], for a snapshot without that peer.
pub(super) fn could_go_on(mut snapshot: Snapshot<'_>) -> bool {
    snapshot.by_lives = true;
    snapshot.is_large() && invariant(&snapshot).is_ok()
}

/// The living members and all relevant lists, at one moment.
///
/// While a peer's list is undefined and no peer asks for it, the list that is on its way to it counts: in the paper, a
/// request, its answer and the application of the answer are one step. The list that is on its way to a joiner counts
/// in the same way.
pub(super) struct Snapshot<'a> {
    r: usize,
    /// The members, by position.
    members: Vec<&'a Node>,
    /// The first bytes of their positions, by which they are found with few comparisons.
    prefixes: Vec<u64>,
    /// The lists of the members, in the same order.
    lists: Vec<List<'a>>,
    /// Additional lists: those of peers that are just let in, and those that come through a helper.
    more: Vec<List<'a>>,
    /// Whether an entry names only one incarnation, and not any process at its position.
    by_lives: bool,
}

/// A successor list, and the peer whose list it is.
#[derive(Debug, Clone)]
pub(super) struct List<'a> {
    whose: &'a Position,
    entries: Vec<&'a Entry>,
}

impl<'a> Snapshot<'a> {
    /// A snapshot without the lists that are on their way.
    pub(super) fn new(r: usize, members: Vec<&'a Node>) -> Snapshot<'a> {
        let own = |node: &&'a Node| List {
            whose: &node.me().position,
            entries: node.successors().iter().collect(),
        };
        let lists = members.iter().map(own).collect();
        let prefixes = members.iter().map(|node| node.me().position.prefix()).collect();
        Snapshot { r, members, prefixes, lists, more: Vec::new(), by_lives: false }
    }

    /// Adds an answer that is on its way. An answer through a helper may still be lost: then both lists count.
    pub(super) fn coming(&mut self, to: &'a Node, token: Token, reply: &'a MembershipReply, direct: bool) {
        let whose = &to.me().position;
        let (successors, direct) = match reply {
            MembershipReply::Neighbour(NeighbourReply::State { successors, .. }) => (successors, direct),
            MembershipReply::Relayed(Ok(NeighbourReply::State { successors, .. })) => (successors, false),
            MembershipReply::Welcome { successors, .. } if to.phase() == PhaseKind::Entering => {
                return self.more.push(List { whose, entries: successors.iter().collect() });
            }
            _ => return,
        };
        let Some(whom) = to.awaits_list(token) else { return };
        let entries = std::iter::once(whom).chain(successors).take(self.r).collect();
        match self.index(whose) {
            Ok(at) if direct => self.lists[at].entries = entries,
            _ => self.more.push(List { whose, entries }),
        }
    }

    fn of(world: &'a World, except: Option<Slot>) -> Snapshot<'a> {
        let living = world.living().values().filter(|slot| except != Some(**slot));
        let members = living.filter_map(|slot| world.node(*slot)).collect();
        let mut snapshot = Snapshot::new(world.settings.successors.into(), members);
        // Only a process that still runs counts, not an earlier one.
        let asker = |slot: Slot, generation: u32, ask: Ask| {
            let process = world.process(slot).filter(|_| except != Some(slot))?;
            match ask {
                Ask::Node(token) if process.up && process.generation == generation => {
                    Some((&process.node, token))
                }
                _ => None,
            }
        };
        for delivery in world.queue.iter() {
            let Delivery::Reply { to, generation, ask, reply, .. } = delivery else { continue };
            let Some((node, token)) = asker(*to, *generation, *ask) else { continue };
            match node.relays(token).and_then(|to| world.replies.get(&to)) {
                None => snapshot.coming(node, token, reply, true),
                Some((to, generation, ask)) => {
                    if let Some((node, token)) = asker(*to, *generation, *ask) {
                        snapshot.coming(node, token, reply, false);
                    }
                }
            }
        }
        snapshot
    }

    /// Whether the ring is large, and all its members take it for large.
    pub(super) fn is_large(&self) -> bool {
        self.members.len() >= self.r + 2 && !self.members.iter().any(|node| node.is_small())
    }

    fn index(&self, position: &Position) -> Result<usize, usize> {
        let prefix = position.prefix();
        let begin = self.prefixes.partition_point(|other| *other < prefix);
        let alike = self.prefixes[begin..].iter().take_while(|other| **other == prefix).count();
        let found =
            self.members[begin..begin + alike].binary_search_by_key(&position, |node| &node.me().position);
        found.map(|at| begin + at).map_err(|at| begin + at)
    }

    /// The living member that an entry names, by index.
    fn named(&self, entry: &Entry) -> Option<usize> {
        self.index(&entry.position).ok().filter(|at| self.is_named(*at, entry))
    }

    /// Whether an entry with the position of this member names it.
    fn is_named(&self, at: usize, entry: &Entry) -> bool {
        !self.by_lives || self.members[at].me().incarnation <= entry.incarnation
    }

    /// Like [`Snapshot::index`], with a likely index to try first.
    fn index_from(&self, likely: usize, position: &Position) -> Result<usize, usize> {
        let likely = likely % self.members.len().max(1);
        match self.members.get(likely).is_some_and(|node| node.me().position == *position) {
            true => Ok(likely),
            false => self.index(position),
        }
    }

    /// For each member, whether some list passes over it.
    fn skipped(&self) -> Vec<bool> {
        let mut skipped = vec![false; self.members.len()];
        for list in self.lists.iter().chain(&self.more) {
            let (mut last, mut last_at) = (list.whose, self.index(list.whose));
            for entry in &list.entries {
                // Strictly between: from the member after `last` on.
                let begin = last_at.map_or_else(|i| i, |i| i + 1);
                let at = self.index_from(begin, &entry.position);
                let onward = (0..self.members.len()).map(|step| (begin + step) % self.members.len());
                for i in onward {
                    if !between(last, &self.members[i].me().position, &entry.position) {
                        break;
                    }
                    skipped[i] = true;
                }
                if let (Ok(at), None) = (at, at.ok().filter(|at| self.is_named(*at, entry))) {
                    skipped[at] = true;
                }
                (last, last_at) = (&entry.position, at);
            }
        }
        skipped
    }
}

/// Checks the invariant in a snapshot.
///
/// # Errors
/// The part of the invariant that does not hold.
pub(super) fn invariant(snapshot: &Snapshot<'_>) -> Result<(), String> {
    let Snapshot { r, members, lists, more, .. } = snapshot;
    if !snapshot.is_large() {
        // A ring grows by one member at a time: no member may be that far behind.
        let behind = members.iter().find(|node| node.is_small() && members.len() >= 2 * (r + 2));
        return behind.map_or(Ok(()), |node| {
            Err(format!("{:?} takes a ring of {} for small, r = {r}", node.me(), members.len()))
        });
    }
    if let Some(node) = members.iter().find(|node| node.predecessor().is_none()) {
        return Err(format!("without a predecessor, {:?} owns every key", node.me()));
    }
    let mut next = Vec::with_capacity(members.len());
    for list in lists.iter().chain(more) {
        let Some(best) = list.entries.iter().find_map(|entry| snapshot.named(entry)) else {
            return Err(format!(
                "no living member in the list of {}: {:?}",
                list.whose.label(),
                list.entries
            ));
        };
        next.push(best);
    }
    let label = |i: usize| members[i].me().position.label();
    let ring = cycle(&next[..members.len()]).map_err(|(one, other)| {
        format!("two rings: {} is in one, {} leads to the other", label(one), label(other))
    })?;
    // Once around: the positions decrease exactly once on the way.
    let descents =
        ring.windows(2).filter(|two| two[1] < two[0]).count() + usize::from(ring[ring.len() - 1] > ring[0]);
    if descents != 1 {
        let order: Vec<String> = ring.iter().map(|i| label(*i)).collect();
        return Err(format!("the ring winds {descents} times round: {}", order.join(" ")));
    }
    let principals = snapshot.skipped().iter().filter(|skipped| !**skipped).count();
    if principals < r + 1 {
        return Err(format!("{principals} principals among {} members, r = {r}", members.len()));
    }
    Ok(())
}

/// The one cycle of a graph in which each node has one successor; or a node of each of two cycles.
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
            // This is a new cycle.
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

/// The time between two checks of the whole ring.
const LOOK_AT_ALL_EVERY: Duration = Duration::from_secs(1);

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
