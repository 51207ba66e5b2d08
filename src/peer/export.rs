//! An object's bytes on their way out to a person: to a file of theirs, or to standard output. Hashed on the
//! way, so that nothing but the object itself is called whole.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::api::{Failure, Progress};
use super::client::ObjectBytes;
use super::shared::{finished, spawn_blocking};
use crate::blob::ChunkHasher;

/// A place for a file that a person named; checked before anything is fetched for it.
#[derive(Debug)]
pub struct Place {
    /// As the person wrote it.
    named: PathBuf,
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file that is made whole beside its place, and takes it in one step.
    File { overwrite: bool },
    /// A FIFO or a device: written into, since there is nothing to take the place of.
    Pipe,
}

impl Place {
    /// Looks at the path.
    ///
    /// # Errors
    /// When something is there that is not to be replaced, or the folder is missing.
    pub async fn check(path: &Path, overwrite: bool) -> Result<Place, Failure> {
        let path = path.to_owned();
        spawn_blocking(move || Place::look(&path, overwrite)).await
    }

    fn look(path: &Path, overwrite: bool) -> Result<Place, Failure> {
        let shown = path.display();
        let there = match std::fs::metadata(path) {
            Ok(metadata) => Some(metadata.file_type()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::new(format!("cannot write {shown}: {error}"))),
        };
        let kind = match there {
            Some(kind) if kind.is_dir() => {
                return Err(Failure::new(format!("{shown} is a directory; say which file in it")));
            }
            Some(kind) if kind.is_file() && !overwrite => {
                return Err(Failure::new(format!("{shown} exists; --overwrite replaces it")));
            }
            Some(kind) if kind.is_fifo() || kind.is_char_device() => Kind::Pipe,
            Some(kind) if !kind.is_file() => {
                return Err(Failure::new(format!("{shown} is no file that can be written to")));
            }
            _ => Kind::File { overwrite },
        };
        if there.is_none() && !folder_of(path).is_dir() {
            return Err(Failure::new(format!(
                "cannot write {shown}: there is no folder {}",
                folder_of(path).display()
            )));
        }
        // What a symbolic link names is replaced, not the link.
        let named = path.to_owned();
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Ok(Place { named, path, kind })
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl ObjectBytes {
    /// Writes the object to a person's file: complete, or not at all.
    ///
    /// # Errors
    /// When the bytes do not come, are not the object's, or cannot be written.
    pub async fn save(self, place: Place, progress: &Progress) -> Result<(), Failure> {
        let named = place.named.clone();
        let failed = |error: io::Error| Failure::new(format!("cannot write {}: {error}", named.display()));
        if place.kind == Kind::Pipe {
            let path = place.path.clone();
            let opened = spawn_blocking(move || File::options().write(true).open(path)).await;
            let file = opened.map_err(&failed)?;
            return self.write_to(file, progress).await.map(drop).map_err(|error| match error {
                WriteError::Sink(error) => failed(error),
                WriteError::Source(failure) => failure,
            });
        }
        let folder = folder_of(&place.path).to_owned();
        let beside = folder.clone();
        let temporary = spawn_blocking(move || {
            // As any new file, less what the umask takes away.
            tempfile::Builder::new()
                .prefix(".quoit-")
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(beside)
                // The name of the temporary file tells nobody anything.
                .map_err(|error| io::Error::from(error.kind()))
        });
        let (file, temporary) = temporary.await.map_err(&failed)?.into_parts();
        let written = self.write_to(file, progress).await.map_err(|error| match error {
            WriteError::Sink(error) => failed(error),
            WriteError::Source(failure) => failure,
        })?;
        let path = place.path.clone();
        let placed = spawn_blocking(move || {
            written.sync_all()?;
            match place.kind {
                Kind::File { overwrite: true } => temporary.persist(&path).map_err(|error| error.error)?,
                _ => temporary.persist_noclobber(&path).map_err(|error| error.error)?,
            }
            File::open(folder)?.sync_all()
        });
        placed.await.map_err(failed)
    }

    /// Writes the object piece by piece, on a thread of its own. Gives the sink back.
    ///
    /// # Errors
    /// [`WriteError`]; what went out before is out.
    pub async fn write_to<W: Write + Send + 'static>(
        mut self,
        mut sink: W,
        progress: &Progress,
    ) -> Result<W, WriteError> {
        let object = *self.object();
        progress.begin(0, object.length);
        let (pieces, mut queue) = mpsc::channel::<Bytes>(QUEUED_MAX);
        let thread = tokio::task::spawn_blocking(move || {
            let mut hasher = ChunkHasher::default();
            while let Some(piece) = queue.blocking_recv() {
                hasher.update(&piece);
                sink.write_all(&piece)?;
            }
            sink.flush()?;
            Ok((sink, hasher.finish().0))
        });
        let mut trouble = None;
        loop {
            match self.next().await {
                Ok(Some(piece)) => {
                    progress.advance(piece.len() as u64);
                    if pieces.send(piece).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(failure) => {
                    trouble = Some(failure);
                    break;
                }
            }
        }
        drop(pieces);
        let (sink, found) = finished(thread).await.map_err(WriteError::Sink)?;
        if let Some(failure) = trouble {
            return Err(WriteError::Source(failure));
        }
        if found != object.content {
            return Err(WriteError::Source(Failure::new(format!(
                "sha256:{} came as other bytes, sha256:{found}; the copy was refused",
                object.content
            ))));
        }
        Ok(sink)
    }
}

/// Why an object was not written out whole.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Its bytes did not come, or others came.
    #[error(transparent)]
    Source(Failure),
    /// They could not be written.
    #[error(transparent)]
    Sink(io::Error),
}

/// Pieces that wait to be written.
const QUEUED_MAX: usize = 8;
