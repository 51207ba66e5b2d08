//! Bringing a tree into a folder: looked at first, then the directories, the files, many at the same time, and the links
//! last. Files that are there already with the same bytes are left alone.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};

use super::beneath::Beneath;
use super::compare::amount;
use super::peer::TreePeer;
use super::place::{Placed, Step, place, shown};
use super::read::read;
use super::write::{NewFile, finish_directory, make_directory, make_link, sync, touch};
use crate::blob::KnownFiles;
use crate::id::ContentId;
use crate::peer::api::{BringError, BroughtTree, Progress, RequestReport, StoreOptions, Wanted};
use crate::peer::control::export::WriteError;
use crate::peer::control::many::{AT_ONCE_MAX, in_commands};
use crate::peer::control::object_bytes::ObjectBytes;
use crate::transport::{Rope, spawn_blocking};
use crate::tree::{FileTime, Mode, Node, Tree, TreeEntry, TreePath};
use crate::wire::ObjectInfo;
use crate::wire::limits::BATCHED_OBJECT_BYTES_MAX;

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
    work.bring_all(lacking.into_iter().filter_map(Lacking::of).collect(), progress).await?;
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

    /// Brings these files, many at the same time: small ones together, each of the others alone.
    async fn bring_all(self, files: Vec<Lacking>, progress: &Progress) -> Result<(), BringError> {
        let is_small = |file: &Lacking| file.object.length <= BATCHED_OBJECT_BYTES_MAX;
        let (mut small, mut alone): (Vec<Lacking>, Vec<Lacking>) = files.into_iter().partition(is_small);
        // Neighbours in the key space have the same replicas, so that they come together from these.
        small.sort_by_key(|file| file.object.content);
        let has_failed = AtomicBool::new(false);
        let goes_on = || !has_failed.load(Ordering::Relaxed);
        let commands = in_commands(small, |file| file.object).into_iter();
        let together = stream::iter(commands.take_while(|_| goes_on()))
            .map(|files| self.together(files, progress))
            .buffer_unordered(AT_ONCE_MAX);
        let mut together = together.boxed();
        // Files that do not come together are brought alone at the end.
        loop {
            let bring = |file| self.alone(file, progress);
            let files = std::mem::take(&mut alone).into_iter();
            let alone_now = stream::iter(files.take_while(|_| goes_on())).map(bring);
            let mut coming = stream::select(alone_now.buffer_unordered(FILES_AT_ONCE).boxed(), together);
            let mut failure = None;
            while let Some(lacking) = coming.next().await {
                match lacking {
                    Ok(lacking) => alone.extend(lacking),
                    // Nothing more begins, and nothing is written any more once this returns.
                    Err(error) => {
                        has_failed.store(true, Ordering::Relaxed);
                        failure.get_or_insert(error);
                    }
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
            if alone.is_empty() {
                return Ok(());
            }
            tracing::debug!(files = alone.len(), "files did not come together, and are brought alone");
            together = stream::empty().boxed();
        }
    }

    /// Brings one file. Lacks none then.
    async fn alone(self, file: Lacking, progress: &Progress) -> Result<Vec<Lacking>, BringError> {
        let Lacking { path, step, mode, modified, object } = file;
        let bytes = self.peer.open(object).await?;
        let io = |source| failed(self.path, &path)(source);
        let (placed, begun) = (self.placed.clone(), path.clone());
        let (new, file) =
            spawn_blocking(move || NewFile::begin(&placed.beneath, &begun, step, mode)).await.map_err(io)?;
        let written = bytes.write_to(file, &Progress::default()).await;
        let file = written.map_err(|error| match error {
            WriteError::Source(failure) => BringError::Peer(failure),
            WriteError::Sink(source) => io(source),
        })?;
        spawn_blocking(move || new.finish(&file, modified)).await.map_err(io)?;
        progress.advance(object.length);
        progress.object_done();
        Ok(Vec::new())
    }

    /// Brings small files with one command. Returns those that do not come this way.
    async fn together(self, files: Vec<Lacking>, progress: &Progress) -> Result<Vec<Lacking>, BringError> {
        let objects: Vec<ObjectInfo> = files.iter().map(|file| file.object).collect();
        let opened = self.peer.open_batch(&objects).await;
        let (placed, folder) = (self.placed.clone(), self.path.to_owned());
        let written = spawn_blocking(move || {
            let write = |(file, bytes): (Lacking, Option<Rope>)| match bytes {
                Some(bytes) => match file.write(&bytes, &placed.beneath) {
                    Ok(is_right) => Ok((file, is_right)),
                    Err(error) => Err(failed(&folder, &file.path)(error)),
                },
                None => Ok((file, false)),
            };
            files.into_iter().zip(opened).map(write).collect::<Result<Vec<_>, BringError>>()
        });
        let mut lacking = Vec::new();
        for (file, is_written) in written.await? {
            if is_written {
                progress.advance(file.object.length);
                progress.object_done();
            } else {
                lacking.push(file);
            }
        }
        Ok(lacking)
    }
}

/// A file of the tree that is not in the folder.
struct Lacking {
    path: TreePath,
    step: Step,
    mode: Mode,
    modified: FileTime,
    object: ObjectInfo,
}

impl Lacking {
    /// `None` for an entry that is no file.
    fn of((entry, step): (&TreeEntry, Step)) -> Option<Lacking> {
        let Node::File { mode, modified, object } = entry.node else { return None };
        Some(Lacking { path: entry.path.clone(), step, mode, modified, object })
    }

    /// Writes the file, unless the bytes are not the object's: then nothing is written, and this is false. Alone, the file
    /// comes from other peers, or its failure says more. Blocks.
    ///
    /// # Errors
    /// The disk failed, or another entry is in its place.
    fn write(&self, bytes: &Rope, beneath: &Beneath) -> io::Result<bool> {
        if ContentId::of_parts(bytes.parts().iter().map(Bytes::as_ref)) != self.object.content {
            return Ok(false);
        }
        let (new, mut file) = NewFile::begin(beneath, &self.path, self.step, self.mode)?;
        for part in bytes.parts() {
            file.write_all(part)?;
        }
        new.finish(&file, self.modified)?;
        Ok(true)
    }
}

/// The number of files that are brought at the same time.
const FILES_AT_ONCE: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OutboardDigest;

    /// Goal: other bytes than those of the object are not written, and nothing of them remains.
    #[test]
    fn wrong_bytes_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        let content = ContentId::of(b"right");
        let file = Lacking {
            path: TreePath::new("file").unwrap(),
            step: Step::Make,
            mode: Mode::of_bits(0o644),
            modified: FileTime::new(1_000, 5),
            object: ObjectInfo { content, length: 5, outboard: OutboardDigest([0; 32]) },
        };
        let written = |bytes: &'static [u8]| file.write(&Bytes::from_static(bytes).into(), &beneath);
        assert!(!written(b"wrong").unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(written(b"right").unwrap());
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"right");
        // Another file came there meanwhile.
        assert!(written(b"right").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
