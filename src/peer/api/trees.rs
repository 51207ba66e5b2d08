//! Storing and bringing directories: arguments, reports and errors.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::files::StoreOptions;
use crate::id::{ContentId, FileName};
use crate::tree::TreePath;
use crate::wire::{Amount, Failure, RequestReport};

/// How a directory is stored.
#[derive(Debug, Clone, Default)]
pub struct TreeOptions {
    /// The name, and which copies to wait for.
    pub store: StoreOptions,
    /// Patterns of gitignore whose files are left out, besides those of each `.quoitignore` in the directory.
    pub exclude: Vec<String>,
}

/// The result of storing a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeReport {
    /// The name under which the tree was stored.
    pub name: FileName,
    /// The content id of the tree.
    pub content: ContentId,
    /// The regular files in it, and their bytes.
    pub all: Amount,
    /// The files that were read and hashed, since they were not known.
    pub hashed: Amount,
    /// The files whose bytes the peer asked for: neither the version before, nor a file of the same bytes, nor another peer
    /// had them.
    pub moved: Amount,
    /// The number of directories in it.
    pub directories: u64,
    /// The number of symbolic links in it.
    pub links: u64,
    /// The version of the name record, from 1; `None` if it is not known because nothing was written.
    pub version: Option<u64>,
    /// The content that the name stood for before, if any. This same content if nothing was written.
    pub replaces: Option<ContentId>,
    /// The time from the start to the acknowledgement.
    pub took: Duration,
}

impl TreeReport {
    /// Whether the name stood for this very tree already, so that there is no new version.
    pub fn is_unchanged(&self) -> bool {
        self.replaces == Some(self.content)
    }
}

/// The effect that storing a directory would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePlan {
    /// The name under which the tree would be stored.
    pub name: FileName,
    /// The differences from the tree that the name stands for now, in the order of the paths.
    pub changes: Vec<TreeChange>,
    /// The regular files in it, and their bytes.
    pub all: Amount,
    /// The files that had to be read and hashed.
    pub hashed: Amount,
    /// The files whose bytes the stored tree lacks; of these a store moves those that no peer has from elsewhere.
    pub moved: Amount,
}

/// One difference between a directory and its stored tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeChange {
    /// The path of the entry.
    pub path: TreePath,
    /// How it differs.
    pub kind: ChangeKind,
    /// The length of the file that is new or changed; 0 for other entries.
    pub bytes: u64,
}

/// How an entry differs from the stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The stored tree has no such entry.
    Added,
    /// The bytes of the file, the target of the link, or the kind of the entry.
    Changed,
    /// Only the permissions or the mtime.
    Touched,
    /// Only the stored tree has the entry.
    Removed,
}

/// The result of bringing a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtTree {
    /// How the tree itself came.
    pub tree: RequestReport,
    /// The folder that has it now.
    pub path: PathBuf,
    /// The regular files that came, and their bytes.
    pub moved: Amount,
    /// The files that were there already with the same bytes.
    pub there: Amount,
    /// The number of directories and symbolic links.
    pub others: u64,
    /// The time from the start to the end.
    pub took: Duration,
}

/// Why a directory is not brought.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BringError {
    /// The name, or the content id, stands for a file.
    #[error("{what} is a file, not a directory")]
    NoTree {
        /// The name or content id that was asked for.
        what: String,
    },
    /// The object is not a tree that this program reads.
    #[error("sha256:{content} cannot be read as a directory: {reason}")]
    BadTree {
        /// The content id of the object.
        content: ContentId,
        /// The defect.
        reason: String,
    },
    /// The tree has no such entry.
    #[error("{what} has no {path}")]
    NoEntry {
        /// The name or content id of the tree.
        what: String,
        /// The path that was asked for.
        path: TreePath,
    },
    /// A file with other bytes, or a link to another place, is there, and it is not to be replaced.
    #[error("{} exists, and differs", .path.display())]
    Exists {
        /// The path on the disk.
        path: PathBuf,
    },
    /// An entry of another kind is there. It is never replaced.
    #[error("{} exists, and is {kind}", .path.display())]
    OtherKind {
        /// The path on the disk.
        path: PathBuf,
        /// The kind of entry that is there.
        kind: &'static str,
    },
    /// Two entries would be one file on this disk.
    #[error("{one} and {other} would be one file in {}, where upper and lower case are the same", .folder.display())]
    Clash {
        /// The folder on the disk.
        folder: PathBuf,
        /// The path of one of them.
        one: TreePath,
        /// The path of the other.
        other: TreePath,
    },
    /// The folder for the tree, or something in it, cannot be made, read or written.
    #[error("cannot write {}: {source}", .path.display())]
    Io {
        /// The path on the disk.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
    /// The peer is on another machine, so that its received/ is not here.
    #[error("the peer is on another machine: say which folder here is for the tree")]
    NoFolder,
    /// The tree, or one of its files, does not come.
    #[error(transparent)]
    Peer(#[from] Failure),
}

impl From<BringError> for Failure {
    fn from(error: BringError) -> Failure {
        match error {
            BringError::Peer(failure) => failure,
            BringError::NoEntry { .. } => Failure::not_found(error.to_string()),
            other => Failure::new(other.to_string()),
        }
    }
}
