//! The revoked keys of a world.

use std::collections::{BTreeMap, BTreeSet};

use super::network::Slot;
use crate::id::KeyHash;
use crate::wire::Revocation;

/// The revoked keys, and the peers that know of them.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    /// The place of the peer of each revoked key, and its revocation.
    pub(super) keys: BTreeMap<KeyHash, (Slot, Revocation)>,
    /// The keys that each peer knows to be revoked, by its place: on its disk.
    pub(super) known: BTreeMap<Slot, BTreeSet<KeyHash>>,
}
