//! Random members that this peer remembers, even when they seem dead: through them it finds another ring.

use rand::{Rng, RngExt as _};

use super::counted::Counted;
use crate::wire::Entry;

/// The remembered members, at most [`Acquaintances::MAX`].
#[derive(Debug, Clone, Default)]
pub(super) struct Acquaintances(Counted<Vec<Entry>>);

impl Acquaintances {
    /// The greatest number of remembered members.
    const MAX: usize = 32;

    /// Remembers a member; if there is no place, in that of a random one.
    pub(super) fn remember(&mut self, entry: Entry, rng: &mut impl Rng) {
        let known = self.0.change();
        if let Some(old) = known.iter_mut().find(|old| old.position == entry.position) {
            *old = entry;
        } else if known.len() < Acquaintances::MAX {
            known.push(entry);
        } else {
            let at = rng.random_range(0..known.len());
            known[at] = entry;
        }
    }

    /// Whether a new acquaintance would take the place of an old one.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= Acquaintances::MAX
    }

    /// The remembered members.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    /// The number of changes so far.
    pub(super) fn changes(&self) -> u64 {
        self.0.changes()
    }

    /// The memory that they take, in bytes, besides what all handles of one life share.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::chord::sample::entry;

    #[test]
    fn each_peer_is_remembered_once_and_in_its_latest_life() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let mut known = Acquaintances::default();
        for number in 0..Acquaintances::MAX as u8 {
            known.remember(entry(number), rng);
        }
        known.remember(entry(3).with_incarnation(2), rng);
        assert!(known.is_full() && known.iter().count() == Acquaintances::MAX);
        let lives = known.iter().filter(|known| known.position == entry(3).position);
        assert_eq!(lives.map(|known| known.incarnation).collect::<Vec<_>>(), [2]);
        known.remember(entry(200), rng);
        assert!(known.iter().any(|known| *known == entry(200)) && known.iter().count() == Acquaintances::MAX);
    }
}
