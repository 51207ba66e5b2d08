//! Files for a person: the bytes of an object on their way to a file or to standard output. They are hashed on the way,
//! so that only the object itself counts as complete. Other files that take their place in one step use this module
//! too.

use std::fs::{File, Permissions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempPath;
use tokio::sync::mpsc;

use super::object_bytes::ObjectBytes;
use crate::blob::{BulkWriter, is_sync_unsupported};
use crate::outboard::ChunkHasher;
use crate::peer::api::{Failure, Progress};
use crate::transport::{Rope, finished, spawn_blocking};

/// The target path that a person named; checked before anything is fetched for it.
#[derive(Debug)]
pub struct Place {
    /// The path as the person wrote it.
    named: PathBuf,
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file that is written completely beside its place and then takes it in one step.
    File { overwrite: bool },
    /// A FIFO or a device: it is written into, since it cannot be replaced.
    Pipe,
}

impl Place {
    /// Checks the path.
    ///
    /// # Errors
    /// [`PlaceError`] when something is there that must not be replaced, or the folder is missing.
    pub async fn check(path: &Path, overwrite: bool) -> Result<Place, PlaceError> {
        let path = path.to_owned();
        spawn_blocking(move || Place::look(&path, overwrite)).await
    }

    fn look(path: &Path, overwrite: bool) -> Result<Place, PlaceError> {
        let named = path.to_owned();
        let there = match std::fs::metadata(path) {
            Ok(metadata) => Some(metadata.file_type()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(PlaceError::Io { path: named, source }),
        };
        let kind = match there {
            Some(kind) if kind.is_dir() => return Err(PlaceError::Directory { path: named }),
            Some(kind) if kind.is_file() && !overwrite => return Err(PlaceError::Exists { path: named }),
            Some(kind) if kind.is_fifo() || kind.is_char_device() => Kind::Pipe,
            Some(kind) if !kind.is_file() => return Err(PlaceError::NotWritable { path: named }),
            _ => Kind::File { overwrite },
        };
        if there.is_none() && !folder_of(path).is_dir() {
            return Err(PlaceError::NoFolder { folder: folder_of(path).to_owned(), path: named });
        }
        // The target of a symbolic link is replaced, not the link.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Ok(Place { named, path, kind })
    }

    /// Begins the file, or waits for the reader of a FIFO.
    ///
    /// # Errors
    /// [`PlaceError::Io`] when no file can be made there.
    pub async fn begin(self) -> Result<Begun, PlaceError> {
        spawn_blocking(move || match self.open() {
            Ok((file, temporary)) => Ok(Begun { place: self, file, temporary }),
            Err(error) => Err(self.failed(error)),
        })
        .await
    }

    fn open(&self) -> io::Result<(File, Option<TempPath>)> {
        if self.kind == Kind::Pipe {
            return Ok((File::options().write(true).open(&self.path)?, None));
        }
        let temporary = tempfile::Builder::new()
            .prefix(".quoit-")
            // The permissions of any new file, less those that the umask removes.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder_of(&self.path))
            // The name of the temporary file would not help the reader of the error.
            .map_err(|error| io::Error::from(error.kind()))?;
        let (file, temporary) = temporary.into_parts();
        Ok((file, Some(temporary)))
    }

    fn failed(&self, source: io::Error) -> PlaceError {
        PlaceError::Io { path: self.named.clone(), source }
    }
}

/// Why no file can be written to a place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// A file is there, which is not to be replaced.
    #[error("{} exists", .path.display())]
    Exists {
        /// The path as the person wrote it.
        path: PathBuf,
    },
    /// A directory is there.
    #[error("{} is a directory; say which file in it", .path.display())]
    Directory {
        /// The path as the person wrote it.
        path: PathBuf,
    },
    /// Something is there that takes no bytes, such as a socket.
    #[error("{} is no file that can be written to", .path.display())]
    NotWritable {
        /// The path as the person wrote it.
        path: PathBuf,
    },
    /// The folder of the path is missing.
    #[error("cannot write {}: there is no folder {}", .path.display(), .folder.display())]
    NoFolder {
        /// The path as the person wrote it.
        path: PathBuf,
        /// The missing folder.
        folder: PathBuf,
    },
    /// The file cannot be made or written.
    #[error("cannot write {}: {source}", .path.display())]
    Io {
        /// The path as the person wrote it.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
}

impl From<PlaceError> for Failure {
    fn from(error: PlaceError) -> Failure {
        Failure::new(error.to_string())
    }
}

/// A file on the way to its place. If it is dropped before its end, nothing of it remains.
#[derive(Debug)]
pub struct Begun {
    place: Place,
    file: File,
    /// The file that is going to take the place; `None` if the place itself is written into.
    temporary: Option<TempPath>,
}

impl Begun {
    /// Writes the whole file, which then takes its place in one step.
    ///
    /// # Errors
    /// [`PlaceError::Io`] when it cannot be written.
    pub async fn put(mut self, bytes: Vec<u8>) -> Result<(), PlaceError> {
        spawn_blocking(move || {
            let written = self.file.write_all(&bytes).and_then(|()| self.finish());
            written.map_err(|error| self.place.failed(error))
        })
        .await
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        self.file.sync_all()?;
        let path = &self.place.path;
        match self.place.kind {
            Kind::File { overwrite: true } => temporary.persist(path).map_err(|error| error.error)?,
            _ => temporary.persist_noclobber(path).map_err(|error| error.error)?,
        }
        match File::open(folder_of(path))?.sync_all() {
            // The file system has no such sync; the file is in place.
            Err(error) if is_sync_unsupported(&error) => Ok(()),
            synced => synced,
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl ObjectBytes {
    /// Writes the object to a person's file: completely, or not at all.
    ///
    /// # Errors
    /// When the bytes do not come, are not the object's, or cannot be written.
    pub async fn save(self, place: Place, progress: &Progress) -> Result<(), Failure> {
        let Begun { place, file, temporary } = place.begin().await?;
        let written = match temporary {
            Some(_) => {
                let writer = BulkWriter::new(file, self.left());
                self.write_to(writer, progress).await.map(BulkWriter::into_file)
            }
            None => self.write_to(file, progress).await,
        };
        let file = written.map_err(|error| match error {
            WriteError::Sink(error) => place.failed(error).into(),
            WriteError::Source(failure) => failure,
        })?;
        let mut begun = Begun { place, file, temporary };
        Ok(spawn_blocking(move || begun.finish().map_err(|error| begun.place.failed(error))).await?)
    }

    /// Writes the object piece by piece on a thread of its own. Returns the sink.
    ///
    /// # Errors
    /// [`WriteError`]; bytes that were written before stay written.
    pub async fn write_to<W: Write + Send + 'static>(
        mut self,
        mut sink: W,
        progress: &Progress,
    ) -> Result<W, WriteError> {
        let whole = self.whole();
        progress.begin(0, self.left());
        let (pieces, mut queue) = mpsc::channel::<Rope>(QUEUED_MAX);
        let thread = tokio::task::spawn_blocking(move || {
            let mut hasher = ChunkHasher::default();
            while let Some(piece) = queue.blocking_recv() {
                piece.parts().iter().for_each(|part| hasher.update(part));
                write_all(&mut sink, &piece)?;
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
        if let Some(content) = whole
            && found != content
        {
            return Err(WriteError::Source(Failure::new(format!(
                "sha256:{content} came as other bytes, sha256:{found}; the copy was refused"
            ))));
        }
        Ok(sink)
    }
}

/// Writes all bytes of a piece in as few steps as the sink takes.
fn write_all(sink: &mut impl Write, piece: &Rope) -> io::Result<()> {
    let mut parts: Vec<IoSlice<'_>> = piece.parts().iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut parts[..];
    while !rest.is_empty() {
        match sink.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Why an object was not written completely.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object's bytes did not come, or wrong bytes came.
    #[error(transparent)]
    Source(Failure),
    /// The bytes could not be written.
    #[error(transparent)]
    Sink(io::Error),
}

/// The number of pieces that wait to be written.
const QUEUED_MAX: usize = 8;
