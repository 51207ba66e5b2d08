//! The properties of one state: its invariants, the peers that may end in it, and its equality with other states.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher};

use super::letters::Body;
use super::tiny::Tiny;
use crate::chord::{Node, PhaseKind};
use crate::id::Position;
use crate::sim::oracle::{Snapshot, could_go_on, invariant, list_in_order};
use crate::wire::Entry;

impl Tiny {
    /// Checks the invariants of every moment: messages come to an end, lists are in order, and the invariant holds if
    /// the ring of the founders was large enough for the theorem.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub(super) fn safe(&self) -> Result<(), String> {
        if let Some(number) = self.endless {
            return Err(format!("{number} goes on sending without end"));
        }
        self.members().try_for_each(list_in_order)?;
        if self.is_covered() { invariant(&self.snapshot(None)) } else { Ok(()) }
    }

    /// Whether the theorem says nothing about this state, because the ring is small or a member takes it for small.
    pub(super) fn is_small(&self) -> bool {
        !self.snapshot(None).is_large()
    }

    /// The digest of a state, in 128 bits.
    pub(super) fn digest(&self) -> u128 {
        let mut wide = Wide::default();
        self.outside.hash(&mut wide);
        self.failed.keys().collect::<Vec<_>>().hash(&mut wide);
        for (number, peer) in &self.peers {
            number.hash(&mut wide);
            peer.node.digest(&mut wide);
        }
        // The order in which letters were sent does not count.
        let letters = self.post.iter().map(|letter| {
            let mut wide = Wide::default();
            letter.hash(&mut wide);
            wide.whole()
        });
        letters.fold(0, u128::wrapping_add).hash(&mut wide);
        wide.whole()
    }

    /// The digest of the living peers and their neighbours, in 128 bits.
    pub(super) fn ring(&self) -> u128 {
        let mut wide = Wide::default();
        for (number, peer) in &self.peers {
            let numbers = |entry: &Entry| entry.position;
            (number, peer.node.phase() as u8).hash(&mut wide);
            peer.node.predecessor().map(numbers).hash(&mut wide);
            peer.node.successors().iter().map(numbers).collect::<Vec<_>>().hash(&mut wide);
        }
        wide.whole()
    }

    fn snapshot(&self, except: Option<u8>) -> Snapshot<'_> {
        let lost = except.map(Position::of_number);
        let members = self.members().filter(|node| Some(node.me().position) != lost).collect();
        let mut snapshot = Snapshot::new(self.settings.successors.into(), members);
        for letter in &self.post {
            if let (Body::Answer(reply), Some(to)) = (&letter.body, self.node(letter.to))
                && Some(letter.to) != except
            {
                snapshot.coming(to, letter.token, reply, true);
            }
        }
        snapshot
    }

    /// Whether the theorem applies to a ring that begins like this one.
    fn is_covered(&self) -> bool {
        self.setup.founders.len() >= self.settings.chord_from()
    }

    /// Whether the theorem lets this peer end; in a ring that was small, whether the remaining peers are still linked
    /// by the members that they know. A peer outside the ring has nothing that others need.
    pub(super) fn may_end(&self, number: u8) -> bool {
        let Some(node) = self.node(number).filter(|node| node.phase() != PhaseKind::Ended) else {
            return false;
        };
        let large = self.is_covered() || !self.is_small();
        !node.is_member()
            || if large { could_go_on(self.snapshot(Some(number))) } else { self.is_linked_without(number) }
    }

    fn is_linked_without(&self, number: u8) -> bool {
        let lost = Position::of_number(number);
        let rest: Vec<&Node> = self.members().filter(|node| node.me().position != lost).collect();
        let Some(first) = rest.first() else { return false };
        let knows = |one: &Node, other: &Node| {
            one.members().alive().any(|entry| entry.position == other.me().position)
        };
        let mut linked = vec![*first];
        let mut at = 0;
        while let Some(one) = linked.get(at).copied() {
            let more = rest.iter().filter(|other| knows(one, other) || knows(other, one));
            let more: Vec<&Node> = more
                .filter(|other| linked.iter().all(|known| known.me().position != other.me().position))
                .copied()
                .collect();
            linked.extend(more);
            at += 1;
        }
        linked.len() == rest.len()
    }

    /// Whether this peer watches a dead peer that it still takes for a member.
    pub(super) fn has_dead_neighbour(&self, node: &Node) -> bool {
        let mut watched = node.successors().iter().take(2).chain(node.predecessor());
        node.is_member() && watched.any(|entry| !self.lives(entry) && !node.members().is_gone(entry))
    }

    fn lives(&self, entry: &Entry) -> bool {
        let node = entry.position.number().and_then(|number| self.node(number));
        node.is_some_and(|node| node.phase() != PhaseKind::Ended)
    }
}

impl fmt::Display for Tiny {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, peer) in &self.peers {
            let node = &peer.node;
            let (before, list) = (node.predecessor(), node.successors());
            write!(f, "    {number}: {:?}, after {before:?}, before {list:?}", node.phase())?;
            if let Some(asked) = node.asks() {
                write!(f, ", asks {asked:?}")?;
            }
            if node.is_small() {
                f.write_str(", small")?;
            }
            let gone = node.members().iter().filter(|member| node.members().is_gone(&member.entry));
            let gone: Vec<String> = gone.map(|member| member.entry.position.label()).collect();
            let known: Vec<String> = node.members().alive().map(|entry| entry.position.label()).collect();
            writeln!(f, "; knows {}; gone: {}", known.join(" "), gone.join(" "))?;
        }
        let post: Vec<String> =
            self.post.iter().map(|letter| format!("{} {} {}", letter.from, letter.kind, letter.to)).collect();
        write!(f, "    under way: {}", post.join("; "))
    }
}

/// Two hashes side by side, for 128 bits.
struct Wide(DefaultHasher, DefaultHasher);

impl Default for Wide {
    fn default() -> Wide {
        let mut wide = Wide(DefaultHasher::new(), DefaultHasher::new());
        wide.1.write_u8(1);
        wide
    }
}

impl Wide {
    fn whole(&self) -> u128 {
        u128::from(self.0.finish()) << 64 | u128::from(self.1.finish())
    }
}

impl Hasher for Wide {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}
