//! The files of a directory on their way into the ring: small ones together, each of the others alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use super::beneath::Beneath;
use super::compare::amount;
use super::identify::{Identified, in_short, open};
use super::peer::TreePeer;
use crate::blob::{BlobError, Source, Stamp};
use crate::peer::api::{Progress, StoreError, TreeOptions};
use crate::peer::control::many::{AT_ONCE_MAX, in_commands};
use crate::peer::flows::store::forget;
use crate::transport::spawn_blocking;
use crate::tree::{TreeEntry, TreePath};
use crate::wire::limits::BATCHED_OBJECT_BYTES_MAX;
use crate::wire::{Amount, ObjectInfo};

/// Makes each of these objects durable, many at the same time. Returns the amount whose bytes the peer asked for.
pub(super) async fn put_all(
    peer: TreePeer<'_>,
    root: &Path,
    lacking: Vec<(&TreeEntry, ObjectInfo)>,
    now: &Identified,
    options: &TreeOptions,
    progress: &Arc<Progress>,
) -> Result<Amount, StoreError> {
    let unreadable = |source| StoreError::Read { path: root.to_owned(), source };
    let folder = root.to_owned();
    let beneath = spawn_blocking(move || Beneath::open(&folder)).await.map_err(unreadable)?;
    progress.begin(0, lacking.iter().map(|(_, object)| object.length).sum());
    progress.begin_objects(lacking.len() as u64);
    let putting = Putting { peer, root, beneath: Arc::new(beneath), options, progress };
    let put = |(entry, object): (&TreeEntry, ObjectInfo)| Put {
        path: entry.path.clone(),
        stamp: now.stamps.get(&entry.path).copied(),
        object,
    };
    let (small, large): (Vec<Put>, Vec<Put>) =
        lacking.into_iter().map(put).partition(|put| put.object.length <= BATCHED_OBJECT_BYTES_MAX);
    let alone = stream::iter(large).map(|put| putting.alone(put)).buffer_unordered(PUTS_AT_ONCE);
    let together = stream::iter(in_commands(small, |put| put.object))
        .map(|puts| putting.together(puts))
        .buffer_unordered(AT_ONCE_MAX);
    let mut done = stream::select(alone.boxed(), together.boxed());
    let mut given = Vec::new();
    while let Some(more) = done.next().await {
        given.extend(more?);
    }
    Ok(amount(given.iter()))
}

/// A file of the tree, as it was identified.
struct Put {
    path: TreePath,
    stamp: Option<Stamp>,
    object: ObjectInfo,
}

/// The objects of a tree on their way into the ring.
struct Putting<'a> {
    peer: TreePeer<'a>,
    root: &'a Path,
    beneath: Arc<Beneath>,
    options: &'a TreeOptions,
    progress: &'a Progress,
}

impl Putting<'_> {
    /// Makes one object durable. Returns it if the peer asked for its bytes.
    async fn alone(&self, put: Put) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut given = Vec::new();
        for (path, source, object) in self.open(vec![put], Ok).await? {
            let put = self.peer.put(&path, source.clone(), object, &self.options.store).await;
            given.extend(self.done(&source, object, put).await?);
        }
        Ok(given)
    }

    /// Makes small objects durable with one command. Returns those whose bytes the peer asked for.
    async fn together(&self, puts: Vec<Put>) -> Result<Vec<ObjectInfo>, StoreError> {
        let opened = self.open(puts, Source::into_memory).await?;
        let sources: Vec<(Source, ObjectInfo)> =
            opened.iter().map(|(_, source, object)| (source.clone(), *object)).collect();
        let results = self.peer.put_batch(opened, &self.options.store).await;
        let mut given = Vec::new();
        for ((source, object), put) in sources.into_iter().zip(results) {
            given.extend(self.done(&source, object, put).await?);
        }
        Ok(given)
    }

    /// Opens files, each as the file that was identified.
    async fn open(
        &self,
        puts: Vec<Put>,
        hold: fn(Source) -> Result<Source, BlobError>,
    ) -> Result<Vec<(PathBuf, Source, ObjectInfo)>, StoreError> {
        let (beneath, root) = (self.beneath.clone(), self.root.to_owned());
        let open_one = move |Put { path, stamp, object }: Put| {
            let shown = root.join(path.to_string());
            let source = open(&beneath, &path).and_then(hold).map_err(|error| match error {
                BlobError::Changed { .. } => StoreError::Changed { path: shown.clone() },
                error => StoreError::NotStorable { path: shown.clone(), troubles: in_short(&error) },
            })?;
            if stamp.is_some_and(|stamp| stamp != *source.stamp()) {
                return Err(StoreError::Changed { path: shown });
            }
            Ok((shown, source.claiming(object.content), object))
        };
        spawn_blocking(move || puts.into_iter().map(open_one).collect()).await
    }

    /// Notes that an object is durable, or forgets the hash of a file that was not put. Returns the object if the peer
    /// asked for its bytes.
    async fn done(
        &self,
        source: &Source,
        object: ObjectInfo,
        put: Result<(), StoreError>,
    ) -> Result<Option<ObjectInfo>, StoreError> {
        if let Err(error) = put {
            let known = self.peer.known_files(&self.options.store).await;
            forget(known.map(|known| (known, *source.stamp()))).await;
            return Err(error);
        }
        self.progress.advance(object.length);
        self.progress.object_done();
        Ok(source.was_given().then_some(object))
    }
}

/// The number of files that are put alone at the same time.
const PUTS_AT_ONCE: usize = 48;
