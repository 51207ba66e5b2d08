//! The content id of each file of a directory. A file whose stamp is known is not read.

use std::collections::BTreeMap;
use std::path::Path;

use super::beneath::Beneath;
use super::walk::{Found, FoundKind, Troubles, Walked};
use crate::blob::{BlobError, KnownFiles, Source, Stamp};
use crate::peer::api::{Progress, StoreError};
use crate::tree::{Node, Tree, TreeEntry, TreePath};
use crate::wire::{Amount, ObjectInfo};

/// A directory whose files are all identified.
pub(super) struct Identified {
    pub tree: Tree,
    /// Of each file the stamp under which it was identified, in no order.
    pub stamps: BTreeMap<TreePath, Stamp>,
    /// The files that were read.
    pub hashed: Amount,
}

/// Identifies all files. Blocks.
///
/// # Errors
/// [`StoreError`]: a file cannot be read, or does not stop changing.
pub(super) fn identify(
    root: &Path,
    walked: Walked,
    known: Option<&KnownFiles>,
    progress: &Progress,
) -> Result<Identified, StoreError> {
    let unreadable = |source| StoreError::Read { path: root.to_owned(), source };
    let beneath = Beneath::open(root).map_err(unreadable)?;
    let files = || walked.entries.iter().filter_map(|found| stamp_of(found).map(|stamp| stamp.length));
    progress.begin(0, files().sum());
    progress.begin_objects(files().count() as u64);
    let mut work = Work { beneath, known, progress, linked: BTreeMap::new(), hashed: Amount::default() };
    let (mut entries, mut stamps) = (Vec::with_capacity(walked.entries.len()), BTreeMap::new());
    let mut troubles = Troubles::default();
    for found in walked.entries {
        let Found { path, mode, modified, kind } = found;
        let node = match kind {
            FoundKind::Directory => Node::Directory { mode, modified },
            FoundKind::Link { target } => Node::Link { modified, target },
            FoundKind::File { stamp, names } => match work.file(&path, stamp, names) {
                Ok((object, stamp)) => {
                    stamps.insert(path.clone(), stamp);
                    Node::File { mode, modified, object }
                }
                Err(error) => {
                    troubles.add(format!("{path}: {}", in_short(&error)));
                    continue;
                }
            },
        };
        entries.push(TreeEntry { path, node });
    }
    let not_storable = |troubles: String| StoreError::NotStorable { path: root.to_owned(), troubles };
    if !troubles.is_empty() {
        return Err(not_storable(troubles.told()));
    }
    let tree = Tree::new(walked.mode, walked.modified, entries);
    let tree = tree.map_err(|error| not_storable(error.to_string()))?;
    Ok(Identified { tree, stamps, hashed: work.hashed })
}

fn stamp_of(found: &Found) -> Option<&Stamp> {
    match &found.kind {
        FoundKind::File { stamp, .. } => Some(stamp),
        _ => None,
    }
}

struct Work<'a> {
    beneath: Beneath,
    known: Option<&'a KnownFiles>,
    progress: &'a Progress,
    /// Files with several names that were identified under one of them.
    linked: BTreeMap<(u64, u64), (Stamp, ObjectInfo)>,
    hashed: Amount,
}

impl Work<'_> {
    /// Identifies one file. Returns also the stamp that it had then.
    fn file(&mut self, path: &TreePath, stamp: Stamp, names: u64) -> Result<(ObjectInfo, Stamp), BlobError> {
        let inode = (stamp.device, stamp.inode);
        let linked = self.linked.get(&inode).filter(|(seen, _)| *seen == stamp).map(|(_, object)| *object);
        let known = || self.known.and_then(|known| known.object(&stamp));
        let (object, stamp) = match linked.or_else(known) {
            Some(object) => {
                self.progress.advance(stamp.length);
                (object, stamp)
            }
            None => self.read(path)?,
        };
        if names > 1 && self.linked.len() < LINKED_MAX {
            self.linked.insert(inode, (stamp, object));
        }
        self.progress.object_done();
        Ok((object, stamp))
    }

    fn read(&mut self, path: &TreePath) -> Result<(ObjectInfo, Stamp), BlobError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let source = open(&self.beneath, path)?;
            match source.identify(self.known, &mut |_| {}) {
                Ok((object, was_known)) => {
                    if !was_known {
                        self.hashed.files += 1;
                        self.hashed.bytes += object.length;
                    }
                    self.progress.advance(object.length);
                    return Ok((object, *source.stamp()));
                }
                // It is being written to, perhaps only for a moment.
                Err(BlobError::Changed { .. }) if tries < TRIES_MAX => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Opens a file of the directory.
///
/// # Errors
/// The errors of [`Source::open`].
pub(super) fn open(beneath: &Beneath, path: &TreePath) -> Result<Source, BlobError> {
    let shown = std::path::PathBuf::from(path.to_string());
    let file = beneath.read(path);
    let file = file.map_err(|source| BlobError::Io { doing: "read", path: shown.clone(), source })?;
    Source::of_file(file, &shown)
}

/// The defect of a file, without its path.
pub(super) fn in_short(error: &BlobError) -> String {
    match error {
        BlobError::Io { source, .. } => source.to_string(),
        BlobError::Changed { .. } => "it changed while it was read".to_owned(),
        BlobError::NotAFile { kind, .. } => format!("it is {kind} now"),
        other => other.to_string(),
    }
}

/// How often a file is read that changes meanwhile.
const TRIES_MAX: u32 = 3;
/// The most files with several names that are remembered, so that they are read once.
const LINKED_MAX: usize = 100_000;
