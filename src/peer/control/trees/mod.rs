//! Directories: kept as one named tree, and brought back.
//!
//! | part | what it is |
//! |---|---|
//! | `peer` | the peer that stores and gives: of this process, or of another one |
//! | `beneath` | a folder that no step leaves |
//! | `walk` | what a directory holds, less what the rules leave out |
//! | `identify` | the content id of each file; unchanged files are not read |
//! | `store` | stores the files that the ring lacks, then the tree, then its name |
//! | `compare` | how a directory differs from the stored tree |
//! | `put` | gives the ring what it lacks of the files |
//! | `read` | a tree from the ring |
//! | `place` | looks at a folder before anything is written to it |
//! | `write` | writes entries into it |
//! | `bring` | brings a tree into a folder |
//!
//! Order of a store: the bytes of every file are durable before the tree is, and the tree before its name.

mod beneath;
pub(in crate::peer) mod bring;
mod compare;
mod identify;
pub(in crate::peer) mod peer;
mod place;
mod put;
mod read;
pub(in crate::peer) mod store;
mod walk;
mod write;
