//! `Store FILE`: turns a person's command into an order for [`files::store`], and reports the result.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use crate::blob::{BlobError, Source};
use crate::files::{self, GiveError, Order, StoreFailure};
use crate::id::{FileName, FileNameError, Position};
use crate::peer::api::{Progress, StoreError, StoreOptions, StoreReport, Wanted};
use crate::peer::shared::Shared;
use crate::replica::WaitError;
use crate::transport::{Connection, spawn_blocking};
use crate::wire::ObjectInfo;

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
        let (source, object) = hash(path, &progress).await?;
        let origin = Origin::File(source, path.to_owned());
        self.store_object(Offered { name, object, origin }, options, progress).await
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
        let begin = Instant::now();
        let Offered { name, object, origin } = offered;
        let path = match &origin {
            Origin::File(_, path) => path.clone(),
            Origin::Client(_) => PathBuf::from(name.as_str()),
        };
        let order = Order {
            name: name.clone(),
            object,
            origin: Arc::new(origin),
            wait: options.wait,
            timeout: options.timeout,
        };
        let stored = files::store(self, order, progress).await;
        let stored = stored.map_err(|failure| self.store_error(&name, &path, failure))?;
        let mut holders: Vec<Position> = stored.copies.living(&self.view()).into_iter().collect();
        let key = object.content.key();
        holders.sort_by_key(|peer| key.distance_to(peer));
        Ok(StoreReport {
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
        })
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
    pub origin: Origin,
}

/// The source of the bytes of a store.
pub(in crate::peer) enum Origin {
    /// A file of this process's user.
    File(Source, PathBuf),
    /// A client, which sends the bytes when it is asked.
    Client(Connection),
}

/// Reads a file once to its end.
///
/// # Errors
/// [`StoreError`] names the file and its defect.
pub(in crate::peer) async fn hash(
    path: &Path,
    progress: &Arc<Progress>,
) -> Result<(Source, ObjectInfo), StoreError> {
    let (file, progress) = (path.to_owned(), progress.clone());
    let hashed = spawn_blocking(move || {
        let source = Source::open(&file)?;
        progress.begin(0, source.length());
        let (object, _) = source.hash(&mut |_| {})?;
        Ok((source, object))
    });
    hashed.await.map_err(|error| unreadable(path, error))
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
    // A request for an address would be read as something else. A name that is spelt like a version goes first.
    match name.as_str().parse() {
        Ok(Wanted::Name(_) | Wanted::Version { .. }) => Ok(name),
        _ => Err(refused(FileNameError::Address)),
    }
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
