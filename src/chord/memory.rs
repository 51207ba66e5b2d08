//! The memory that collections take, for the figures of a peer.

/// The memory that an entry of a map takes, in bytes, about.
pub(super) const TREE_ENTRY_BYTES: usize = 96;
