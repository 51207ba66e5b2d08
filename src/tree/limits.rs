//! The bounds of a tree.

/// The longest text of a tree, in bytes.
pub const TREE_BYTES_MAX: u64 = 256 << 20;
/// The most entries of a tree.
pub const ENTRIES_MAX: usize = 1_000_000;
/// The longest target of a symbolic link, in bytes: what Linux allows.
pub const TARGET_BYTES_MAX: usize = 4_095;
