//! Storing a directory: what the ring lacks of its files, then the tree, then its name.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::compare::{amount, changes, lacking};
use super::identify::{Identified, identify};
use super::peer::TreePeer;
use super::put::put_all;
use super::read::read;
use super::walk::walk;
use crate::id::{ContentId, FileName, FileNameError};
use crate::peer::api::{
    BringError, Failure, Progress, StoreError, TreeOptions, TreePlan, TreeReport, Wanted,
};
use crate::peer::control::spool::spool;
use crate::peer::flows::store::requestable;
use crate::transport::spawn_blocking;
use crate::tree::{Node, Tree};
use crate::wire::{Amount, ObjectInfo};

/// Keeps a directory as one named tree. A file of the version before is not moved, and one whose stamp is known is not
/// read.
///
/// # Errors
/// [`StoreError`]; the name stands for what it stood for before. Files that were stored by then stay for a while, so that
/// the next try does not move them again.
pub async fn store_tree(
    peer: TreePeer<'_>,
    path: &Path,
    options: &TreeOptions,
    progress: &Arc<Progress>,
) -> Result<TreeReport, StoreError> {
    let begin = Instant::now();
    let looked = look(peer, path, options, progress).await?;
    let Looked { name, root, now, text, object, before, .. } = &looked;
    let (files, lacking) = (amount(now.tree.objects()), lacking(looked.base(), &now.tree));
    let mut report = TreeReport {
        name: name.clone(),
        content: object.content,
        all: files,
        hashed: now.hashed,
        moved: Amount::default(),
        directories: count(&now.tree, |node| matches!(node, Node::Directory { .. })),
        links: count(&now.tree, |node| matches!(node, Node::Link { .. })),
        version: before.version,
        replaces: before.content,
        took: begin.elapsed(),
    };
    if before.content == Some(object.content) {
        return Ok(TreeReport { took: begin.elapsed(), ..report });
    }
    report.moved = put_all(peer, root, lacking, now, options, progress).await?;
    let shown = root.join("its tree");
    let (source, written) =
        spool(Cursor::new(text.clone().into_bytes()), peer.data_dir().as_deref(), &shown, &Arc::default())
            .await?;
    debug_assert_eq!(written, *object);
    let stored = peer.store_tree(&shown, (name.clone(), source, *object), &options.store).await?;
    report.version = Some(stored.version);
    report.replaces = stored.replaces;
    Ok(TreeReport { took: begin.elapsed(), ..report })
}

/// The effect that [`store_tree`] would have now. Files that are not known are read.
///
/// # Errors
/// The errors of [`store_tree`] before anything moves.
pub async fn plan_tree(
    peer: TreePeer<'_>,
    path: &Path,
    options: &TreeOptions,
    progress: &Arc<Progress>,
) -> Result<TreePlan, StoreError> {
    let looked = look(peer, path, options, progress).await?;
    let now = &looked.now;
    let moved = amount(lacking(looked.base(), &now.tree).iter().map(|(_, object)| object));
    let changes = changes(looked.base(), &now.tree);
    let (all, hashed) = (amount(now.tree.objects()), now.hashed);
    Ok(TreePlan { name: looked.name, changes, all, hashed, moved })
}

/// A directory and what its name stands for now.
struct Looked {
    name: FileName,
    root: PathBuf,
    now: Identified,
    text: String,
    object: ObjectInfo,
    before: Before,
}

impl Looked {
    /// The tree that the name stands for now, if it stands for one.
    fn base(&self) -> Option<&Tree> {
        match self.before.content == Some(self.object.content) {
            true => Some(&self.now.tree),
            false => self.before.tree.as_ref(),
        }
    }
}

/// The target of a name.
#[derive(Default)]
struct Before {
    content: Option<ContentId>,
    version: Option<u64>,
    /// The tree; `None` if it is a file, there is none, or it is the very tree that was to be stored.
    tree: Option<Tree>,
}

async fn look(
    peer: TreePeer<'_>,
    path: &Path,
    options: &TreeOptions,
    progress: &Arc<Progress>,
) -> Result<Looked, StoreError> {
    let (given, given_name) = (path.to_owned(), options.store.name.clone());
    let (name, root) = spawn_blocking(move || name_and_root(&given, given_name)).await?;
    let known = peer.known_files(&options.store).await;
    let (folder, exclude, data_dir, told) =
        (root.clone(), options.exclude.clone(), peer.data_dir(), progress.clone());
    let looked = spawn_blocking(move || {
        let walked = walk(&folder, &exclude, data_dir.as_deref())?;
        let now = identify(&folder, walked, known.as_deref(), &told)?;
        let text = now.tree.to_text();
        let text =
            text.map_err(|error| StoreError::NotStorable { path: folder, troubles: error.to_string() })?;
        let object = object_of(text.as_bytes());
        Ok::<_, StoreError>((now, text, object))
    });
    let (now, text, object) = looked.await?;
    let before = before(peer, &name, &object).await?;
    Ok(Looked { name, root, now, text, object, before })
}

/// The name of the tree, and the directory without links on the way to it.
fn name_and_root(path: &Path, name: Option<FileName>) -> Result<(FileName, PathBuf), StoreError> {
    let root =
        std::fs::canonicalize(path).map_err(|source| StoreError::Read { path: path.to_owned(), source })?;
    let refused = |source| StoreError::Name { path: path.to_owned(), source };
    let name = match name {
        Some(name) => name,
        None => {
            // `.` and `..` have the name of the directory that they mean.
            let last = path.file_name().or(root.file_name()).ok_or_else(|| refused(FileNameError::Empty))?;
            FileName::new(last.to_str().ok_or_else(|| refused(FileNameError::NotText))?).map_err(refused)?
        }
    };
    Ok((requestable(name).map_err(refused)?, root))
}

fn object_of(bytes: &[u8]) -> ObjectInfo {
    let mut hasher = crate::outboard::ChunkHasher::default();
    hasher.update(bytes);
    let (content, outboard) = hasher.finish();
    ObjectInfo { content, length: outboard.length(), outboard: outboard.digest() }
}

/// The present target of the name. Its tree is read only if it is another one.
async fn before(peer: TreePeer<'_>, name: &FileName, now: &ObjectInfo) -> Result<Before, StoreError> {
    let report = match peer.request(&Wanted::Name(name.clone()), &Arc::default()).await {
        Ok(report) => report,
        Err(failure) if failure.is_not_found() => return Ok(Before::default()),
        Err(failure) => return Err(StoreError::Peer(failure)),
    };
    let (content, version) = (Some(report.content), report.version);
    if !report.is_tree {
        // A file with the very bytes of this tree is no tree either.
        return Ok(Before {
            content: content.filter(|content| *content != now.content),
            version,
            tree: None,
        });
    }
    let tree = match report.content == now.content {
        true => None,
        false => match read(peer, report.content).await {
            Ok(tree) => Some(tree),
            // A tree of a newer version, say: all files are offered anew.
            Err(BringError::BadTree { .. }) => None,
            Err(error) => return Err(StoreError::Peer(Failure::from(error))),
        },
    };
    Ok(Before { content, version, tree })
}

fn count(tree: &Tree, is_meant: impl Fn(&Node) -> bool) -> u64 {
    tree.entries().iter().filter(|entry| is_meant(&entry.node)).count() as u64
}
