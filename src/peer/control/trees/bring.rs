//! Bringing a tree into a folder: looked at first, then the directories, the files, many at the same time, and the links
//! last. Files that are there already with the same bytes are left alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};

use super::compare::amount;
use super::peer::TreePeer;
use super::place::{Placed, Step, place, shown};
use super::read::read;
use super::write::{NewFile, finish_directory, make_directory, make_link, sync, touch};
use crate::blob::KnownFiles;
use crate::peer::api::{BringError, BroughtTree, Progress, RequestReport, StoreOptions, Wanted};
use crate::peer::control::client::ObjectBytes;
use crate::peer::control::export::WriteError;
use crate::transport::spawn_blocking;
use crate::tree::{FileTime, Mode, Node, Tree, TreeEntry, TreePath};
use crate::wire::ObjectInfo;

/// A tree of the ring.
pub struct FoundTree {
    /// How the tree itself came.
    pub report: RequestReport,
    tree: Tree,
    what: String,
}

/// Finds a tree.
///
/// # Errors
/// [`BringError::NoTree`] when it is a file; the errors of a request.
pub async fn find_tree(
    peer: TreePeer<'_>,
    wanted: &Wanted,
    what: String,
    progress: &Arc<Progress>,
) -> Result<FoundTree, BringError> {
    let report = peer.request(wanted, progress).await?;
    if !report.is_tree {
        return Err(BringError::NoTree { what });
    }
    find_tree_of(peer, report, what).await
}

/// Reads the tree that a request has brought.
///
/// # Errors
/// [`BringError::BadTree`], or its bytes do not come.
pub async fn find_tree_of(
    peer: TreePeer<'_>,
    report: RequestReport,
    what: String,
) -> Result<FoundTree, BringError> {
    let tree = read(peer, report.content).await?;
    Ok(FoundTree { report, tree, what })
}

impl FoundTree {
    /// Its entries, in the order of their paths.
    pub fn entries(&self) -> impl Iterator<Item = TreeLine<'_>> {
        self.tree.entries().iter().map(TreeLine)
    }

    /// The part that is one entry, with all below it and the directories above it.
    ///
    /// # Errors
    /// [`BringError::NoEntry`].
    pub fn only(&self, path: &TreePath) -> Result<FoundTree, BringError> {
        let tree = self.tree.only(path).ok_or_else(|| self.lacks(path))?;
        Ok(FoundTree { report: self.report.clone(), tree, what: self.what.clone() })
    }

    /// The tree below one of its directories.
    ///
    /// # Errors
    /// [`BringError::NoEntry`].
    pub fn below(&self, path: &TreePath) -> Result<FoundTree, BringError> {
        let tree = self.tree.below(path).ok_or_else(|| self.lacks(path))?;
        Ok(FoundTree { report: self.report.clone(), tree, what: self.what.clone() })
    }

    /// Opens the file at a path; returns its description and its bytes. `None` if the entry there is a directory or a link.
    ///
    /// # Errors
    /// [`BringError::NoEntry`]; its bytes do not come.
    pub async fn open(
        &self,
        peer: TreePeer<'_>,
        path: &TreePath,
    ) -> Result<Option<(ObjectInfo, ObjectBytes)>, BringError> {
        let entry = self.tree.entry(path).ok_or_else(|| self.lacks(path))?;
        match entry.object() {
            Some(object) => Ok(Some((*object, peer.open(*object).await?))),
            None => Ok(None),
        }
    }

    fn lacks(&self, path: &TreePath) -> BringError {
        BringError::NoEntry { what: self.what.clone(), path: path.clone() }
    }
}

/// An entry of a tree as it is shown to people.
#[derive(Debug, Clone, Copy)]
pub struct TreeLine<'a>(&'a TreeEntry);

impl<'a> TreeLine<'a> {
    /// The path.
    pub fn path(&self) -> &'a TreePath {
        &self.0.path
    }

    /// The object of a file; `None` for other entries.
    pub fn object(&self) -> Option<&'a ObjectInfo> {
        self.0.object()
    }

    /// The permissions; `None` for a link, which has none.
    pub fn mode(&self) -> Option<u32> {
        match self.0.node {
            Node::Directory { mode, .. } | Node::File { mode, .. } => Some(mode.bits()),
            Node::Link { .. } => None,
        }
    }

    /// The mtime: seconds and nanoseconds since the Unix epoch.
    pub fn modified(&self) -> (i64, u32) {
        let (Node::Directory { modified, .. } | Node::File { modified, .. } | Node::Link { modified, .. }) =
            self.0.node;
        (modified.seconds(), modified.nanos())
    }

    /// The target of a link; `None` for other entries.
    pub fn target(&self) -> Option<&'a [u8]> {
        match &self.0.node {
            Node::Link { target, .. } => Some(target),
            _ => None,
        }
    }
}

/// Brings a tree into a folder, which is made if it is missing; without one, into received/ of the peer under `kept_as`.
///
/// # Errors
/// [`BringError`]. An entry that is in the way is found before anything is written; after other errors the entries that were
/// written stay, and the next try goes on from them.
pub async fn bring_tree(
    peer: TreePeer<'_>,
    found: FoundTree,
    folder: Option<&Path>,
    kept_as: &str,
    overwrite: bool,
    progress: &Arc<Progress>,
) -> Result<BroughtTree, BringError> {
    let begin = Instant::now();
    let FoundTree { report, tree, .. } = found;
    let (path, overwrite) = match folder {
        Some(folder) => (folder.to_owned(), overwrite),
        // The files in received/ are this program's own.
        None => (peer.data_dir().ok_or(BringError::NoFolder)?.join("received").join(kept_as), true),
    };
    let known = peer.known_files(&StoreOptions::default()).await;
    let tree = Arc::new(tree);
    let placed = {
        let (path, tree, known) = (path.clone(), tree.clone(), known.clone());
        spawn_blocking(move || prepare(&path, &tree, overwrite, known.as_deref())).await?
    };
    let placed = Arc::new(placed);
    let work = Work { peer, path: &path, tree: &tree, placed: &placed };
    let lacking: Vec<(&TreeEntry, Step)> = work.files(|step| step != Step::There).collect();
    let moved = amount(lacking.iter().filter_map(|(entry, _)| entry.object()));
    let there = amount(work.files(|step| step == Step::There).filter_map(|(entry, _)| entry.object()));
    progress.begin(0, moved.bytes);
    progress.begin_objects(moved.files);
    let mut coming = stream::iter(lacking)
        .map(|(entry, step)| async move {
            work.bring(entry, step).await?;
            progress.advance(entry.object().map_or(0, |object| object.length));
            progress.object_done();
            Ok::<(), BringError>(())
        })
        .buffer_unordered(FILES_AT_ONCE);
    while let Some(came) = coming.next().await {
        came?;
    }
    drop(coming);
    let others = (tree.entries().len() as u64) - moved.files - there.files;
    let (folder, of_tree, last) = (path.clone(), tree.clone(), placed.clone());
    spawn_blocking(move || finish(&folder, &of_tree, &last)).await?;
    Ok(BroughtTree { tree: report, path, moved, there, others, took: begin.elapsed() })
}

/// Looks at the folder, and makes the directories.
fn prepare(
    path: &Path,
    tree: &Tree,
    overwrite: bool,
    known: Option<&KnownFiles>,
) -> Result<Placed, BringError> {
    let placed = place(path, tree, overwrite, known)?;
    for (entry, step) in tree.entries().iter().zip(&placed.steps) {
        if let (Node::Directory { mode, .. }, Step::Make) = (&entry.node, step) {
            make_directory(&placed.beneath, &entry.path, *mode).map_err(failed(path, &entry.path))?;
        }
    }
    Ok(placed)
}

/// Makes the links, touches the files that were there, and gives the directories their times: those deepest first, since
/// a new entry changes the time of its directory.
fn finish(path: &Path, tree: &Tree, placed: &Placed) -> Result<(), BringError> {
    let beneath = &placed.beneath;
    let entries = || tree.entries().iter().zip(placed.steps.iter().copied());
    for (entry, step) in entries() {
        match (&entry.node, step) {
            (Node::Link { modified, target }, Step::Make | Step::Replace) => {
                make_link(beneath, &entry.path, step, target, *modified)
            }
            (Node::File { mode, modified, .. }, Step::There) => touch(beneath, &entry.path, *mode, *modified),
            _ => Ok(()),
        }
        .map_err(failed(path, &entry.path))?;
    }
    for (entry, step) in entries().rev() {
        if let (Node::Directory { mode, modified }, Step::Make) = (&entry.node, step) {
            let done =
                beneath.folder(&entry.path).and_then(|folder| finish_directory(&folder, *mode, *modified));
            done.map_err(failed(path, &entry.path))?;
        }
    }
    let io = |source| BringError::Io { path: path.to_owned(), source };
    if placed.is_new {
        finish_directory(beneath.root(), tree.mode(), tree.modified()).map_err(io)?;
    }
    sync(beneath).map_err(io)
}

fn failed(folder: &Path, path: &TreePath) -> impl FnOnce(std::io::Error) -> BringError {
    let path: PathBuf = shown(folder, path);
    move |source| BringError::Io { path, source }
}

#[derive(Clone, Copy)]
struct Work<'a> {
    peer: TreePeer<'a>,
    path: &'a Path,
    tree: &'a Tree,
    placed: &'a Arc<Placed>,
}

impl<'a> Work<'a> {
    /// The files whose step is so.
    fn files(self, is_meant: impl Fn(Step) -> bool + 'a) -> impl Iterator<Item = (&'a TreeEntry, Step)> {
        let steps = self.tree.entries().iter().zip(self.placed.steps.iter().copied());
        steps.filter(move |(entry, step)| entry.object().is_some() && is_meant(*step))
    }

    /// Brings one file.
    async fn bring(self, entry: &TreeEntry, step: Step) -> Result<(), BringError> {
        let Node::File { mode, modified, object } = entry.node else { return Ok(()) };
        let bytes = self.peer.open(object).await?;
        self.write(entry, step, (mode, modified), bytes).await
    }

    async fn write(
        self,
        entry: &TreeEntry,
        step: Step,
        (mode, modified): (Mode, FileTime),
        bytes: ObjectBytes,
    ) -> Result<(), BringError> {
        let io = |source| failed(self.path, &entry.path)(source);
        let (placed, path) = (self.placed.clone(), entry.path.clone());
        let (new, file) =
            spawn_blocking(move || NewFile::begin(&placed.beneath, &path, step, mode)).await.map_err(io)?;
        let written = bytes.write_to(file, &Progress::default()).await;
        let file = written.map_err(|error| match error {
            WriteError::Source(failure) => BringError::Peer(failure),
            WriteError::Sink(source) => io(source),
        })?;
        spawn_blocking(move || new.finish(&file, modified)).await.map_err(io)
    }
}

/// The number of files that are brought at the same time.
const FILES_AT_ONCE: usize = 48;
