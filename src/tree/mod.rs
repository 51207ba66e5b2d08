//! Trees: the object that stands for a directory. It lists the path, mode, mtime, length and content id of each file,
//! the directories, and the symbolic links.
//!
//! A tree is a text of lines, each ended by a line feed, fields apart by one space:
//!
//! ```text
//! quoit tree 1 MODE MTIME
//! d MODE MTIME PATH
//! f MODE MTIME LENGTH CONTENT [OUTBOARD] PATH
//! l MTIME PATH TARGET
//! ```
//!
//! The first line has the mode and the mtime of the directory itself. docs/store-format.md describes each field to the
//! byte. Invariants, which the parser holds:
//!
//! - One tree has one text, so that equal directories have equal content ids.
//! - Paths are relative, of components that are neither empty, `.` nor `..`, and strictly ascending, component by
//!   component. The directory of each entry is an entry before it: no path leads through a link or a file, and none
//!   leaves the tree.
//! - Lengths and counts are bounded before memory is taken.
//!
//! Nothing here touches a disk.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod clash;
mod entry;
mod error;
mod escape;
mod limits;
mod path;
mod reader;
mod text;
mod whole;

pub use clash::clash;
pub use entry::{FileTime, Mode, Node, TreeEntry};
pub use error::TreeError;
pub use limits::{ENTRIES_MAX, TARGET_BYTES_MAX, TREE_BYTES_MAX};
pub use path::{PathError, TreePath};
pub use reader::TreeReader;
pub use whole::Tree;
