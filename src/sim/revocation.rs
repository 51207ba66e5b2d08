//! Revoked keys in a world: which peers know of them, how the news travels, and what a peer does that knows.
//!
//! A running peer is told of a revocation by every peer that it is connected with, and at each hello
//! ([`crate::wire::SignedRevocation`]). Here the news goes along with every message. The signature of the ring CA, and the
//! messages that carry the list, are not simulated; the refusal of connections, the expulsion and the refusal of records
//! are.

use std::collections::{BTreeMap, BTreeSet};

use super::network::Slot;
use super::storage::BEGIN_UNIX_MS;
use super::world::World;
use crate::id::{KeyHash, Position};
use crate::wire::{MemberState, Revocation};

impl World {
    /// Revokes the key of a peer: `by` knows at once.
    pub fn revoke(&mut self, by: Slot, whom: Slot) {
        let Some(entry) = self.entry(whom) else { return };
        let (key, position) = (entry.key, entry.position);
        let at_ms = BEGIN_UNIX_MS + self.now.0 / 1_000;
        self.note(|| format!("{by} revokes {whom}"));
        self.revoked.keys.entry(key).or_insert((whom, Revocation { key, position, at_ms }));
        self.learn_revocations(by, [key].into_iter().collect());
    }

    /// Whether the key of the peer at a place was revoked.
    pub fn is_revoked(&self, slot: Slot) -> bool {
        self.revoked.keys.values().any(|(place, _)| *place == slot)
    }

    /// Lets two peers that exchange a message tell each other of revoked keys.
    pub(super) fn compare_revocations(&mut self, one: Slot, other: Slot) {
        if self.revoked.keys.is_empty() || !self.network.carries(one, other) {
            return;
        }
        let known = |slot: &Slot| self.revoked.known.get(slot).cloned().unwrap_or_default();
        let (of_one, of_other) = (known(&one), known(&other));
        self.learn_revocations(one, of_other.difference(&of_one).copied().collect());
        self.learn_revocations(other, of_one.difference(&of_other).copied().collect());
    }

    /// Takes members with revoked keys out of the ring, as far as a peer knows of them: news of them may still come in from
    /// peers that do not know yet.
    pub(super) fn heed_revocations(&mut self, slot: Slot) {
        let Some(known) = self.revoked.known.get(&slot) else { return };
        let counts = |whom: &Slot| {
            let position = self.entry(*whom)?.position;
            let member = self.node(slot)?.members().at(&position)?;
            Some(member.state != MemberState::Left)
        };
        let places = known.iter().filter_map(|key| self.revoked.keys.get(key)).map(|(place, _)| *place);
        let counted: Vec<Slot> = places.filter(|whom| *whom != slot && counts(whom) == Some(true)).collect();
        counted.into_iter().for_each(|whom| self.expel(slot, whom));
    }

    /// The writers whose keys a peer knows to be revoked.
    pub(super) fn revocations_known(&self, slot: Slot) -> BTreeMap<Position, Revocation> {
        let known = self.revoked.known.get(&slot).into_iter().flatten();
        let known = known.filter_map(|key| self.revoked.keys.get(key));
        known.map(|(_, revocation)| (revocation.position, revocation.clone())).collect()
    }

    fn learn_revocations(&mut self, slot: Slot, new: BTreeSet<KeyHash>) {
        if new.is_empty() {
            return;
        }
        self.revoked.known.entry(slot).or_default().extend(&new);
        self.tell_keeper_of_revocations(slot);
        for key in new {
            if let Some((whom, _)) = self.revoked.keys.get(&key).filter(|(whom, _)| *whom != slot) {
                self.expel(slot, *whom);
            }
        }
    }
}
