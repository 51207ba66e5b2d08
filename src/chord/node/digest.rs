//! The part of a peer's state that decides the order of its ring, for a search through all orders of events.

use std::hash::{Hash as _, Hasher};

use super::{Node, Phase};
use crate::wire::Entry;

impl Node {
    /// Hashes the phase, lives, neighbours, the query under way, candidates, the known members with their states, and
    /// whether the ring is taken for small. Leaves out clocks, chance, counters, news still passed on, and watches.
    pub fn digest(&self, into: &mut impl Hasher) {
        let life = |entry: &Entry| (entry.position, entry.incarnation);
        std::mem::discriminant(&self.phase).hash(into);
        if let Phase::Entering(entering) = &self.phase {
            entering.to_ask().for_each(|entry| life(entry).hash(into));
        }
        life(&self.me).hash(into);
        (self.is_small(), self.size.is_in_doubt(), self.lives.saving()).hash(into);
        self.ring.predecessor().map(life).hash(into);
        self.ring.successors().len().hash(into);
        self.ring.successors().iter().for_each(|entry| life(entry).hash(into));
        self.ring.query().map(|query| (life(query.whom()), query.is_of_candidate())).hash(into);
        self.ring.candidates().len().hash(into);
        self.ring.candidates().for_each(|entry| life(entry).hash(into));
        self.members().len().hash(into);
        self.members().iter().for_each(|member| (life(&member.entry), member.state).hash(into));
    }
}
