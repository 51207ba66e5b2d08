//! The defects of a tree.

use super::limits::{ENTRIES_MAX, TREE_BYTES_MAX};
use super::path::PathError;

/// Why bytes, or entries, are no tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The first line is another one.
    #[error("it does not begin as a tree does; is it of a newer version?")]
    NoTree,
    /// A line has another form, or is not the one text of what it says.
    #[error("line {number} is not a line of a tree")]
    Line {
        /// The number of the line, from 1.
        number: u64,
    },
    /// A path is refused.
    #[error("line {number}: {source}")]
    Path {
        /// The number of the line, from 1.
        number: u64,
        /// Its defect.
        source: PathError,
    },
    /// An entry stands before, or at, the path of the entry before it.
    #[error("line {number} is out of order")]
    Order {
        /// The number of the line, from 1.
        number: u64,
    },
    /// The directory of an entry is no directory of the tree.
    #[error("line {number} lies in no directory of the tree")]
    NoDirectory {
        /// The number of the line, from 1.
        number: u64,
    },
    /// The text is longer than [`TREE_BYTES_MAX`].
    #[error("it is longer than {TREE_BYTES_MAX} bytes")]
    TooLong,
    /// The tree has more than [`ENTRIES_MAX`] entries.
    #[error("it has more than {ENTRIES_MAX} entries")]
    TooMany,
    /// The text ends within a line.
    #[error("it ends within a line")]
    Cut,
}
