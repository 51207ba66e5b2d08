//! `Store FILE`: turns a person's command into an order for [`files::store`], and reports the result.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::blob::{BlobError, KnownFiles, Source, Stamp};
use crate::files::{
    self, BatchOrder, Env as _, GiveError, Order, PutOrder, StoreFailure, Stored, StreamError,
};
use crate::id::{ContentId, FileName, FileNameError, Position};
use crate::peer::api::{Progress, StoreError, StoreOptions, StoreReport, Wanted};
use crate::peer::shared::Shared;
use crate::replica::WaitError;
use crate::transport::{Connection, Rope, spawn_blocking};
use crate::wire::limits::{BATCH_BYTES_MAX, BATCH_OBJECTS_MAX};
use crate::wire::{BatchedFile, ObjectInfo, Request, StorageRequest};

impl Shared {
    /// Stores a file of this process's user.
    ///
    /// # Errors
    /// [`StoreError`]; copies that were made by then stay where they are, without a name.
    pub(in crate::peer) async fn store(
        self: &Arc<Self>,
        path: &Path,
        options: &StoreOptions,
        progress: Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        let name = name_of(path, options).await?;
        // A peer that cannot store says so before the file is read.
        let wanted = files::copies_wanted(self, options.wait).await;
        wanted.map_err(|failure| self.store_error(&name, path, failure))?;
        let known = known_files(self.store.dir(), options).await;
        let hashed = hash(path, known, &progress).await?;
        self.store_hashed(NamedFile { path: path.to_owned(), name, hashed }, options, progress).await
    }

    /// Stores a file that was hashed.
    ///
    /// # Errors
    /// The errors of [`Shared::store`].
    pub(in crate::peer) async fn store_hashed(
        self: &Arc<Self>,
        file: NamedFile,
        options: &StoreOptions,
        progress: Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        let NamedFile { path, name, hashed: Hashed { source, object, known_as } } = file;
        let origin = Origin::File(source, path);
        let offered = Offered { name, object, is_tree: false, origin };
        let stored = self.store_object(offered, options, progress).await;
        if stored.is_err() {
            forget(known_as).await;
        }
        stored
    }

    /// Makes an object durable in the ring without a name.
    ///
    /// # Errors
    /// The same as for [`Shared::store`]; `shown` stands for the name.
    pub(in crate::peer) async fn put_object(
        self: &Arc<Self>,
        shown: FileName,
        object: ObjectInfo,
        origin: Origin,
        options: &StoreOptions,
        progress: Arc<Progress>,
    ) -> Result<(), StoreError> {
        let path = origin.path_or(&shown);
        let limits = (options.wait, options.timeout);
        let placed = files::put(self, object, Arc::new(origin), limits, progress).await;
        placed.map_err(|failure| self.store_error(&shown, &path, failure))
    }

    /// Stores small files of this process's user together; one result for each, in their order.
    pub(in crate::peer) async fn store_files(
        self: &Arc<Self>,
        mut files: Vec<NamedFile>,
        options: &StoreOptions,
    ) -> Vec<Result<StoreReport, StoreError>> {
        let known_as: Vec<_> = files.iter_mut().map(|file| file.hashed.known_as.take()).collect();
        let read = spawn_blocking(move || {
            let whole = |NamedFile { path, name, hashed: Hashed { source, object, .. } }: NamedFile| {
                // A defect shows again when the file is stored alone.
                let bytes = source.whole().ok();
                (Offered { name, object, is_tree: false, origin: Origin::File(source, path) }, bytes)
            };
            files.into_iter().map(whole).collect()
        });
        let stored = self.store_together(read.await, options).await;
        for (result, known_as) in stored.iter().zip(known_as) {
            if result.is_err() {
                forget(known_as).await;
            }
        }
        stored
    }

    /// Stores small files of a client together; one result for each, in their order.
    pub(in crate::peer) async fn store_files_of(
        self: &Arc<Self>,
        client: &Connection,
        files: Vec<BatchedFile>,
        options: &StoreOptions,
    ) -> Vec<Result<StoreReport, StoreError>> {
        let fetched = fetch_all(client, files.iter().map(|file| file.object)).await;
        let with_origin = |(BatchedFile { name, object }, bytes)| {
            (Offered { name, object, is_tree: false, origin: Origin::Client(client.clone()) }, bytes)
        };
        self.store_together(files.into_iter().zip(fetched).map(with_origin).collect(), options).await
    }

    /// Makes small objects of this process's user durable in the ring without names; one result for each, in their
    /// order.
    pub(in crate::peer) async fn put_objects(
        self: &Arc<Self>,
        objects: Vec<(PathBuf, Source, ObjectInfo)>,
        options: &StoreOptions,
    ) -> Vec<Result<(), StoreError>> {
        let here = self.held_infos(objects.iter().map(|(.., object)| object.content).collect()).await;
        let read = spawn_blocking(move || {
            let put = objects.into_iter().zip(here).map(|((path, source, object), here)| {
                // A defect shows again when the object is put alone.
                let bytes = if here.is_none() { source.whole().ok() } else { None };
                (object, Origin::File(source, path), bytes)
            });
            put.collect()
        });
        self.put_together(read.await, options).await
    }

    /// Makes small objects of a client durable in the ring without names; one result for each, in their order. Bytes that
    /// are here are not fetched.
    pub(in crate::peer) async fn put_objects_of(
        self: &Arc<Self>,
        client: &Connection,
        objects: Vec<ObjectInfo>,
        options: &StoreOptions,
    ) -> Vec<Result<(), StoreError>> {
        let here = self.held_infos(objects.iter().map(|object| object.content).collect()).await;
        let absent = objects.iter().zip(&here).filter(|(_, here)| here.is_none());
        let mut fetched = fetch_all(client, absent.map(|(object, _)| *object)).await.into_iter();
        let put = objects.into_iter().zip(here).map(|(object, here)| {
            let bytes = if here.is_none() { fetched.next().flatten() } else { None };
            (object, Origin::Client(client.clone()), bytes)
        });
        self.put_together(put.collect(), options).await
    }

    async fn put_together(
        self: &Arc<Self>,
        objects: Vec<(ObjectInfo, Origin, Option<Bytes>)>,
        options: &StoreOptions,
    ) -> Vec<Result<(), StoreError>> {
        let (mut orders, mut told) = (Vec::with_capacity(objects.len()), Vec::with_capacity(objects.len()));
        for (object, origin, bytes) in objects {
            let shown = content_name(&object.content);
            told.push((origin.path_or(&shown), shown));
            orders.push(PutOrder { object, origin: Arc::new(origin), bytes: bytes.map(Rope::from) });
        }
        let put = files::put_batch(self, orders, (options.wait, options.timeout)).await;
        let report = |(put, (path, shown)): (Result<(), _>, (PathBuf, FileName))| {
            put.map_err(|failure| self.store_error(&shown, &path, failure))
        };
        put.into_iter().zip(told).map(report).collect()
    }

    async fn store_together(
        self: &Arc<Self>,
        offered: Vec<(Offered, Option<Bytes>)>,
        options: &StoreOptions,
    ) -> Vec<Result<StoreReport, StoreError>> {
        let begin = Instant::now();
        let (mut orders, mut told) = (Vec::with_capacity(offered.len()), Vec::with_capacity(offered.len()));
        for (offered, bytes) in offered {
            told.push((offered.name.clone(), offered.object, offered.path()));
            orders.push(BatchOrder { order: offered.order(options), bytes: bytes.map(Rope::from) });
        }
        let stored = files::store_batch(self, orders).await;
        let report =
            |(stored, (name, object, path)): (Result<Stored, _>, (FileName, ObjectInfo, PathBuf))| {
                let stored = stored.map_err(|failure| self.store_error(&name, &path, failure))?;
                Ok(self.store_report(name, object, stored, begin))
            };
        stored.into_iter().zip(told).map(report).collect()
    }

    /// Stores an object whose bytes come from its origin.
    ///
    /// # Errors
    /// The same as for [`Shared::store`].
    pub(in crate::peer) async fn store_object(
        self: &Arc<Self>,
        offered: Offered,
        options: &StoreOptions,
        progress: Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        let (begin, path) = (Instant::now(), offered.path());
        let (name, object) = (offered.name.clone(), offered.object);
        let stored = files::store(self, offered.order(options), progress).await;
        let stored = stored.map_err(|failure| self.store_error(&name, &path, failure))?;
        Ok(self.store_report(name, object, stored, begin))
    }

    fn store_report(
        &self,
        name: FileName,
        object: ObjectInfo,
        stored: Stored,
        begin: Instant,
    ) -> StoreReport {
        let mut holders: Vec<Position> = stored.copies.living(&self.view()).into_iter().collect();
        let key = object.content.key();
        holders.sort_by_key(|peer| key.distance_to(peer));
        StoreReport {
            name_key: name.key(),
            name,
            name_owner: self.named(&stored.written.owner),
            length: object.length,
            content: object.content,
            holders: self.all_named(&holders),
            copies: stored.wanted.most,
            missing: self.missing_named(&stored.missing),
            version: stored.written.record.version,
            replaces: stored.written.replaced,
            took: begin.elapsed(),
        }
    }

    /// Why a change to a name is not acknowledged, in words for people.
    pub(in crate::peer) fn edit_error(
        &self,
        name: &FileName,
        failure: StoreFailure<BlobError>,
    ) -> StoreError {
        self.store_error(name, Path::new(name.as_str()), failure)
    }

    fn store_error(&self, name: &FileName, path: &Path, failure: StoreFailure<BlobError>) -> StoreError {
        let failed = |reason| StoreError::Failed { name: name.clone(), reason };
        match failure {
            StoreFailure::NotActive(why) => StoreError::NotActive(why),
            StoreFailure::Wait(WaitError { asked, least, most }) => StoreError::Wait { asked, least, most },
            // Occurs only with a file of this process's user.
            StoreFailure::Source(GiveError::Disk(error)) => unreadable(path, error),
            StoreFailure::Source(GiveError::Client(error)) => {
                failed(format!("whoever wanted it stored stopped giving its bytes: {error}"))
            }
            StoreFailure::Source(GiveError::OtherBytes) => {
                failed("its bytes changed while it was stored; nothing was kept".to_owned())
            }
            StoreFailure::Name(reason) => failed(format!("its name cannot be written: {reason}")),
            StoreFailure::TooFewCopies { durable, needed, waited, missing } => StoreError::TooFewCopies {
                name: name.clone(),
                durable,
                needed,
                waited,
                missing: self.missing_named(&missing),
            },
        }
    }
}

/// An object to be stored, its name, and the source of its bytes.
pub(in crate::peer) struct Offered {
    pub name: FileName,
    pub object: ObjectInfo,
    /// Whether the object is the tree of a directory.
    pub is_tree: bool,
    pub origin: Origin,
}

impl Offered {
    /// The path by which errors name the file.
    fn path(&self) -> PathBuf {
        self.origin.path_or(&self.name)
    }

    fn order(self, options: &StoreOptions) -> Order<Shared> {
        let Offered { name, object, is_tree, origin } = self;
        let (wait, timeout) = (options.wait, options.timeout);
        Order { name, object, is_tree, origin: Arc::new(origin), wait, timeout }
    }
}

/// A file of this process's user that was hashed, and the name that it is to have.
pub(in crate::peer) struct NamedFile {
    pub path: PathBuf,
    pub name: FileName,
    pub hashed: Hashed,
}

/// The bytes of small files that a client offers, each checked, in as many exchanges as they need. `None` for a file whose
/// bytes do not come this way.
async fn fetch_all(
    client: &Connection,
    objects: impl Iterator<Item = ObjectInfo> + Send,
) -> Vec<Option<Bytes>> {
    let (mut fetched, mut asked, mut bytes) = (Vec::new(), Vec::new(), 0);
    for object in objects {
        if asked.len() == BATCH_OBJECTS_MAX || bytes + object.length > BATCH_BYTES_MAX {
            fetched.extend(fetch_batch(client, std::mem::take(&mut asked)).await);
            bytes = 0;
        }
        bytes += object.length;
        asked.push(object);
    }
    fetched.extend(fetch_batch(client, asked).await);
    fetched
}

/// The bytes of small files that a client offers, in one exchange, each checked. `None` for a file whose bytes do not
/// come this way; it is asked for alone.
async fn fetch_batch(client: &Connection, objects: Vec<ObjectInfo>) -> Vec<Option<Bytes>> {
    let mut fetched = Vec::with_capacity(objects.len());
    if !objects.is_empty()
        && let Err(error) = try_to_fetch(client, &objects, &mut fetched).await
    {
        tracing::debug!(%error, "a client does not give its files together");
    }
    fetched.resize(objects.len(), None);
    spawn_blocking(move || {
        let sound = |(pieces, object): (Option<Vec<Rope>>, ObjectInfo)| {
            // Whole, so that they do not keep the buffers of the network.
            let parts: Vec<&[u8]> =
                pieces.iter().flatten().flat_map(Rope::parts).map(Bytes::as_ref).collect();
            let bytes = pieces.is_some().then(|| Bytes::from(parts.concat()));
            bytes.filter(|bytes| ContentId::of(bytes) == object.content)
        };
        fetched.into_iter().zip(objects).map(sound).collect()
    })
    .await
}

async fn try_to_fetch(
    client: &Connection,
    objects: &[ObjectInfo],
    fetched: &mut Vec<Option<Vec<Rope>>>,
) -> Result<(), StreamError> {
    let contents = objects.iter().map(|object| object.content).collect();
    let mut stream = client.open(&Request::Storage(StorageRequest::FetchBatch { contents })).await?;
    match files::read_batch(&mut stream, objects, fetched, |_| std::future::ready(())).await? {
        None => Ok(()),
        Some(fault) => Err(StreamError::Broken(fault.to_string())),
    }
}

/// The source of the bytes of a store.
pub(in crate::peer) enum Origin {
    /// A file of this process's user.
    File(Source, PathBuf),
    /// A client, which sends the bytes when it is asked.
    Client(Connection),
}

impl Origin {
    /// The path of the file, or the name of the object.
    fn path_or(&self, name: &FileName) -> PathBuf {
        match self {
            Origin::File(_, path) => path.clone(),
            Origin::Client(_) => PathBuf::from(name.as_str()),
        }
    }
}

/// A user's file, and the object that it is.
pub(in crate::peer) struct Hashed {
    pub source: Source,
    pub object: ObjectInfo,
    /// The hashes that the file was found among, so that it was not read, and its stamp.
    pub known_as: Option<(Arc<KnownFiles>, Stamp)>,
}

/// Reads a file once to its end, unless it is known.
///
/// # Errors
/// [`StoreError`] names the file and its defect.
pub(in crate::peer) async fn hash(
    path: &Path,
    known: Option<Arc<KnownFiles>>,
    progress: &Arc<Progress>,
) -> Result<Hashed, StoreError> {
    let (file, progress) = (path.to_owned(), progress.clone());
    let hashed = spawn_blocking(move || {
        let source = Source::open(&file)?.into_memory()?;
        progress.begin(0, source.length());
        let (object, was_known) = source.identify(known.as_deref(), &mut |_| {})?;
        let known_as = known.filter(|_| was_known).map(|known| (known, *source.stamp()));
        Ok(Hashed { source, object, known_as })
    });
    hashed.await.map_err(|error| unreadable(path, error))
}

/// The hashes of a user's files that are known in this folder; `None` if the options distrust them, or they cannot be had.
pub(in crate::peer) async fn known_files(dir: &Path, options: &StoreOptions) -> Option<Arc<KnownFiles>> {
    if options.hash_again {
        return None;
    }
    let dir = dir.to_owned();
    match spawn_blocking(move || KnownFiles::open(&dir)).await {
        Ok(known) => Some(Arc::new(known)),
        Err(error) => {
            tracing::debug!(%error, "no hash is known");
            None
        }
    }
}

/// Forgets the hash of a file that was not stored: perhaps its bytes are other ones.
pub(in crate::peer) async fn forget(known_as: Option<(Arc<KnownFiles>, Stamp)>) {
    if let Some((known, stamp)) = known_as {
        spawn_blocking(move || known.forget(&stamp)).await;
    }
}

/// The name under which a file is to be stored. A path that is not a file is reported first, since it has no name for
/// that reason.
pub(in crate::peer) async fn name_of(path: &Path, options: &StoreOptions) -> Result<FileName, StoreError> {
    let file = path.to_owned();
    spawn_blocking(move || Source::look(&file)).await.map_err(|error| unreadable(path, error))?;
    let refused = |source| StoreError::Name { path: path.to_owned(), source };
    let name = match (&options.name, path.file_name()) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) => {
            FileName::new(name.to_str().ok_or_else(|| refused(FileNameError::NotText))?).map_err(refused)?
        }
        (None, None) => return Err(refused(FileNameError::Empty)),
    };
    requestable(name).map_err(refused)
}

/// A name by which a file can be requested. A request for an address would be read as something else. A name that is
/// spelt like a version goes first.
///
/// # Errors
/// [`FileNameError::Address`].
pub(in crate::peer) fn requestable(name: FileName) -> Result<FileName, FileNameError> {
    match name.as_str().parse() {
        Ok(Wanted::Name(_) | Wanted::Version { .. }) => Ok(name),
        _ => Err(FileNameError::Address),
    }
}

/// An object without a name, as errors name it.
pub(in crate::peer) fn content_name(content: &ContentId) -> FileName {
    // 64 hexadecimal digits are a file name.
    FileName::new(content.to_string()).unwrap_or_else(|error| unreachable!("{error}"))
}

pub(in crate::peer) fn unreadable(path: &Path, error: BlobError) -> StoreError {
    let path: PathBuf = path.to_owned();
    match error {
        BlobError::Io { source, .. } => StoreError::Read { path, source },
        BlobError::NotAFile { kind, .. } => StoreError::NotAFile { path, kind },
        BlobError::Changed { .. } => StoreError::Changed { path },
        other => StoreError::Read { path, source: std::io::Error::other(other.to_string()) },
    }
}
