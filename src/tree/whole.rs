//! A tree in memory.

use std::collections::BTreeSet;

use super::entry::{FileTime, Mode, Node, TreeEntry};
use super::error::TreeError;
use super::limits::{ENTRIES_MAX, TREE_BYTES_MAX};
use super::path::TreePath;
use super::reader::{Order, TreeReader};
use super::text::{header, line};
use crate::id::ContentId;
use crate::wire::ObjectInfo;

/// A whole tree: its entries are in order and hold the invariants of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    mode: Mode,
    modified: FileTime,
    entries: Vec<TreeEntry>,
}

impl Tree {
    /// Makes a tree of entries in any order.
    ///
    /// # Errors
    /// [`TreeError`]: two have one path, the directory of one is missing, or there are too many.
    pub fn new(mode: Mode, modified: FileTime, mut entries: Vec<TreeEntry>) -> Result<Tree, TreeError> {
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        if entries.len() > ENTRIES_MAX {
            return Err(TreeError::TooMany);
        }
        let mut order = Order::default();
        for entry in &entries {
            order.take(entry)?;
        }
        Ok(Tree { mode, modified, entries })
    }

    /// Reads the text of a tree.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn from_text(text: &[u8]) -> Result<Tree, TreeError> {
        let (mut reader, mut entries) = (TreeReader::default(), Vec::new());
        reader.read(text, &mut |entry| entries.push(entry))?;
        let (mode, modified) = reader.finish()?;
        Ok(Tree { mode, modified, entries })
    }

    /// The text of the tree: the bytes of its object.
    ///
    /// # Errors
    /// [`TreeError::TooLong`] when it has more than [`TREE_BYTES_MAX`] bytes.
    pub fn to_text(&self) -> Result<String, TreeError> {
        let mut text = header(self.mode, self.modified);
        for entry in &self.entries {
            line(entry, &mut text);
            if text.len() as u64 > TREE_BYTES_MAX {
                return Err(TreeError::TooLong);
            }
        }
        Ok(text)
    }

    /// The permissions of the directory itself.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The mtime of the directory itself.
    pub fn modified(&self) -> FileTime {
        self.modified
    }

    /// The entries, in the order of their paths.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// The entry at a path.
    pub fn entry(&self, path: &TreePath) -> Option<&TreeEntry> {
        let at = self.entries.binary_search_by(|entry| entry.path.cmp(path)).ok()?;
        self.entries.get(at)
    }

    /// The tree below a directory of this one; `None` if there is no such directory.
    pub fn below(&self, directory: &TreePath) -> Option<Tree> {
        let Node::Directory { mode, modified } = self.entry(directory)?.node else { return None };
        let below = |entry: &TreeEntry| {
            let path = entry.path.below(directory)?;
            Some(TreeEntry { path, node: entry.node.clone() })
        };
        Some(Tree { mode, modified, entries: self.entries.iter().filter_map(below).collect() })
    }

    /// The part of the tree that is this entry, what lies below it, and the directories above it; `None` if there is no
    /// such entry.
    pub fn only(&self, path: &TreePath) -> Option<Tree> {
        self.entry(path)?;
        let is_meant = |entry: &&TreeEntry| {
            entry.path == *path || entry.path.below(path).is_some() || path.below(&entry.path).is_some()
        };
        let entries = self.entries.iter().filter(is_meant).cloned().collect();
        Some(Tree { mode: self.mode, modified: self.modified, entries })
    }

    /// The objects of its files, each path's, with repetitions.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectInfo> {
        self.entries.iter().filter_map(TreeEntry::object)
    }

    /// The content ids of its files.
    pub fn contents(&self) -> BTreeSet<ContentId> {
        self.objects().map(|object| object.content).collect()
    }
}
