//! The peer that stores and gives the files of trees: the one of this process, or one of another process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blob::{KnownFiles, Source};
use crate::id::{ContentId, FileName};
use crate::peer::api::{Failure, Progress, RequestReport, StoreError, StoreOptions, StoreReport, Wanted};
use crate::peer::control::client::Client;
use crate::peer::control::handle::Handle;
use crate::peer::control::object_bytes::ObjectBytes;
use crate::peer::flows::store::{Offered, Origin, content_name, known_files};
use crate::transport::Rope;
use crate::wire::ObjectInfo;

/// A peer that takes commands about directories.
#[derive(Clone, Copy)]
pub enum TreePeer<'a> {
    /// The peer of this process.
    InProcess(&'a Handle),
    /// A peer of another process.
    Remote(&'a Client),
}

impl TreePeer<'_> {
    /// See [`Handle::request`]; nothing is put into received/.
    pub(super) async fn request(
        &self,
        wanted: &Wanted,
        progress: &Arc<Progress>,
    ) -> Result<RequestReport, Failure> {
        match self {
            TreePeer::InProcess(peer) => Ok(peer.request(wanted, false, progress).await?),
            TreePeer::Remote(peer) => peer.request(wanted, false, progress).await,
        }
    }

    /// See [`Handle::read`].
    pub(super) async fn read(&self, content: ContentId) -> Result<ObjectBytes, Failure> {
        match self {
            TreePeer::InProcess(peer) => Ok(peer.read(content).await?),
            TreePeer::Remote(peer) => peer.read(content).await,
        }
    }

    /// The bytes of an object that a tree describes.
    pub(super) async fn open(&self, object: ObjectInfo) -> Result<ObjectBytes, Failure> {
        match self {
            TreePeer::InProcess(peer) => {
                let opened = Box::pin(peer.shared.bytes_of_described(object, Arc::default())).await;
                let (object, pieces) = opened.map_err(Failure::from)?;
                Ok(ObjectBytes::of_pieces(object, pieces))
            }
            TreePeer::Remote(peer) => peer.open(object).await,
        }
    }

    /// The bytes of small objects that a tree describes, in the order of the objects. `None` for one that is to be opened
    /// alone.
    pub(super) async fn open_batch(&self, objects: &[ObjectInfo]) -> Vec<Option<Rope>> {
        match self {
            TreePeer::InProcess(peer) => Box::pin(peer.shared.small_bytes_of(objects)).await,
            TreePeer::Remote(peer) => peer.open_batch(objects).await.unwrap_or_else(|error| {
                tracing::debug!(%error, "small files do not come together");
                vec![None; objects.len()]
            }),
        }
    }

    /// Makes an object durable in the ring without a name; `path` is that of its file for people.
    pub(super) async fn put(
        &self,
        path: &Path,
        source: Source,
        object: ObjectInfo,
        options: &StoreOptions,
    ) -> Result<(), StoreError> {
        match self {
            TreePeer::InProcess(peer) => {
                let (shown, origin) = (content_name(&object.content), Origin::File(source, path.to_owned()));
                Box::pin(peer.shared.put_object(shown, object, origin, options, Arc::default())).await
            }
            TreePeer::Remote(peer) => peer.put(path, source, object, options).await,
        }
    }

    /// Makes small objects durable in the ring without names; one result for each, in their order. Each path is that of the
    /// object's file for people.
    pub(super) async fn put_batch(
        &self,
        objects: Vec<(PathBuf, Source, ObjectInfo)>,
        options: &StoreOptions,
    ) -> Vec<Result<(), StoreError>> {
        match self {
            TreePeer::InProcess(peer) => Box::pin(peer.shared.put_objects(objects, options)).await,
            TreePeer::Remote(peer) => peer.put_batch(objects, options).await,
        }
    }

    /// Stores a tree, all of whose files are durable.
    pub(super) async fn store_tree(
        &self,
        path: &Path,
        (name, source, object): (FileName, Source, ObjectInfo),
        options: &StoreOptions,
    ) -> Result<StoreReport, StoreError> {
        match self {
            TreePeer::InProcess(peer) => {
                let origin = Origin::File(source, path.to_owned());
                let offered = Offered { name, object, is_tree: true, origin };
                Box::pin(peer.shared.store_object(offered, options, Arc::default())).await
            }
            TreePeer::Remote(peer) => {
                peer.store_source(path, (name, source, object), true, options, &Arc::default()).await
            }
        }
    }

    /// The hashes of this user's files that are known.
    pub(super) async fn known_files(&self, options: &StoreOptions) -> Option<Arc<KnownFiles>> {
        match self {
            TreePeer::InProcess(peer) => known_files(peer.data_dir(), options).await,
            TreePeer::Remote(peer) => peer.known_files(options).await,
        }
    }

    /// The peer's data directory, if it is on this machine.
    pub(super) fn data_dir(&self) -> Option<PathBuf> {
        match self {
            TreePeer::InProcess(peer) => Some(peer.data_dir().to_owned()),
            TreePeer::Remote(peer) => peer.data_dir().map(Path::to_owned),
        }
    }
}
