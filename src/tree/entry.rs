//! The parts of a tree.

use super::path::TreePath;
use crate::wire::ObjectInfo;

/// The permissions of a file or directory: nine bits. A set-user-id, set-group-id or sticky bit cannot be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(u16);

impl Mode {
    /// The permissions among these bits of `st_mode`.
    pub fn of_bits(bits: u32) -> Mode {
        Mode((bits & 0o777) as u16)
    }

    /// The nine bits.
    pub fn bits(self) -> u32 {
        self.0.into()
    }
}

/// The time of a file: nanoseconds after a second of the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime {
    seconds: i64,
    nanos: u32,
}

impl FileTime {
    /// The time `nanos` nanoseconds after `seconds`, which may lie before the epoch. Nanoseconds beyond a second are cut.
    pub fn new(seconds: i64, nanos: u32) -> FileTime {
        FileTime { seconds, nanos: nanos.min(999_999_999) }
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after [`FileTime::seconds`]: 0 to 999,999,999.
    pub fn nanos(self) -> u32 {
        self.nanos
    }
}

/// The kind of an entry, and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory {
        /// Its permissions.
        mode: Mode,
        /// Its mtime.
        modified: FileTime,
    },
    /// A regular file.
    File {
        /// Its permissions.
        mode: Mode,
        /// Its mtime.
        modified: FileTime,
        /// Its bytes.
        object: ObjectInfo,
    },
    /// A symbolic link.
    Link {
        /// Its mtime.
        modified: FileTime,
        /// Its text, 1 to [`TARGET_BYTES_MAX`](super::TARGET_BYTES_MAX) bytes without NUL. It may lead anywhere.
        target: Vec<u8>,
    },
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its place.
    pub path: TreePath,
    /// Its kind and attributes.
    pub node: Node,
}

impl TreeEntry {
    /// The object of a file; `None` for other entries.
    pub fn object(&self) -> Option<&ObjectInfo> {
        match &self.node {
            Node::File { object, .. } => Some(object),
            _ => None,
        }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.node, Node::Directory { .. })
    }
}
