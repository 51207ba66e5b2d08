//! The errors of file operations, for people and for code.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use crate::id::ContentId;
use crate::outboard::OutboardError;

/// Why a file operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// A file operation failed; a full disk is one of these. The store goes on.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// A verb: "read", "write", …
        doing: &'static str,
        /// The path of the file or folder.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
    /// The disk did not take written data. From now on the store is [`BlobError::Poisoned`].
    #[error("cannot sync {} to disk: {source}; nothing is written any more until the peer starts again", .path.display())]
    Sync {
        /// The path of the file or folder.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
    /// An earlier sync failed, so the content of the disk is unknown; open the store again.
    #[error("{} is not written to any more since the disk failed; start the peer again", .dir.display())]
    Poisoned {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another process, or another store of this one, uses the data directory.
    #[error("{} is in use by another process", .dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// A folder of the data directory lies on a file system of its own, to which no file can be renamed.
    #[error("{}/{folder} is on another file system than {}/incoming; objects, outboards, incoming and quarantine have to be on one", .dir.display(), .dir.display())]
    Apart {
        /// The data directory.
        dir: PathBuf,
        /// The folder below it, such as `objects`.
        folder: &'static str,
    },
    /// The index cannot be read or written.
    #[error("index {}: {source}", .path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// The underlying error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The index was written by a later version of the program.
    #[error("index {} has format {found}; this program knows formats up to {known}", .path.display())]
    Format {
        /// The index file.
        path: PathBuf,
        /// The format of the index that was found.
        found: u64,
        /// The latest format that is known.
        known: u64,
    },
    /// The index's file was written by another version of redb.
    #[error(
        "index {} has redb's file format {found}; this program needs format {known}. Nothing was changed; start \
         the peer with the program that wrote it",
        .path.display()
    )]
    FileFormat {
        /// The index file.
        path: PathBuf,
        /// The format of the file that was found.
        found: u8,
        /// The format that this program reads and writes.
        known: u8,
    },
    /// The file system has no room for the object; no byte of it was taken.
    #[error("no room: it is {length} bytes long, and {free} are free here")]
    NoRoom {
        /// The length of the object, in bytes.
        length: u64,
        /// The bytes that objects may still take, beside the reserve and the room that was promised to others.
        free: u64,
    },
    /// The file system can hold no more files; no byte of the object was taken.
    #[error("no room for another file: the file system has no inodes left")]
    NoInodes,
    /// A write of an object that was no longer than this one failed a short while ago; no byte of this one was taken.
    #[error("no room for {length} bytes: not tried again so soon after this failed: {why}")]
    NoRoomLately {
        /// The length of the object, in bytes.
        length: u64,
        /// The earlier failure, in words.
        why: String,
    },
    /// The source is no regular file.
    #[error("{} is {kind}, not a file", .path.display())]
    NotAFile {
        /// The path of the file or folder.
        path: PathBuf,
        /// The kind of thing at the path: "a directory", "a FIFO", …
        kind: &'static str,
    },
    /// The source was written to in the meantime.
    #[error("{} changed while it was read", .path.display())]
    Changed {
        /// The path of the file or folder.
        path: PathBuf,
    },
    /// Another receiver has this object.
    #[error("{content} is being received already")]
    AlreadyReceiving {
        /// The content id of the object.
        content: ContentId,
    },
    /// The object is already here, complete.
    #[error("{content} is here already")]
    AlreadyHere {
        /// The content id of the object.
        content: ContentId,
    },
    /// The complete object is not here.
    #[error("{content} is not here")]
    NotHere {
        /// The content id of the object.
        content: ContentId,
    },
    /// The object's file did not match its name; it is in quarantine.
    #[error("the copy of {content} here was bad ({reason}); it is in quarantine")]
    Rotten {
        /// The content id of the object.
        content: ContentId,
        /// The reason, in words.
        reason: String,
    },
    /// No file can be that long.
    #[error("a file of {length} bytes is longer than SHA-256 allows")]
    TooLong {
        /// The claimed length, in bytes.
        length: u64,
    },
    /// The offset lies beyond the end.
    #[error("{content} has {length} bytes; there is none at {offset}")]
    PastEnd {
        /// The content id of the object.
        content: ContentId,
        /// Its length in bytes.
        length: u64,
        /// The offset that was asked for, in bytes.
        offset: u64,
    },
    /// More bytes came than were announced. None of them was kept.
    #[error("more than the announced {length} bytes came for {content}")]
    Overrun {
        /// The content id of the object.
        content: ContentId,
        /// The announced length, in bytes.
        length: u64,
    },
    /// Fewer bytes came than were announced. They are kept, so that the transfer can be resumed.
    #[error("{offset} of {length} bytes of {content} are here")]
    Incomplete {
        /// The content id of the object.
        content: ContentId,
        /// The number of bytes that are here.
        offset: u64,
        /// The announced length, in bytes.
        length: u64,
    },
    /// The bytes do not match the content id. They are removed.
    #[error(
        "what came for {content} is {found}; it was refused{}",
        if *resumed > 0 { " (some of it lay here from an earlier transfer; that is gone)" } else { "" }
    )]
    Mismatch {
        /// The content id that was expected.
        content: ContentId,
        /// The content id of the bytes that came.
        found: ContentId,
        /// The number of bytes that lay here from an earlier transfer: this sender is not at fault for them.
        resumed: u64,
    },
    /// The outboard belongs to a file of another length, or is malformed.
    #[error("outboard of {content}: {source}")]
    Outboard {
        /// The content id of the object.
        content: ContentId,
        /// The defect of the outboard.
        source: OutboardError,
    },
    /// peer.toml cannot be understood.
    #[error("{}: {reason}", .path.display())]
    PeerFile {
        /// The path of the file.
        path: PathBuf,
        /// The defect, in words.
        reason: String,
    },
}

impl BlobError {
    /// The same failure, for another object that it concerns, too.
    pub(super) fn again(&self) -> BlobError {
        match self {
            BlobError::Io { doing, path, source } => {
                BlobError::Io { doing, path: path.clone(), source: same(source) }
            }
            BlobError::Sync { path, source } => BlobError::Sync { path: path.clone(), source: same(source) },
            BlobError::Poisoned { dir } => BlobError::Poisoned { dir: dir.clone() },
            other => BlobError::Index { path: PathBuf::new(), source: other.to_string().into() },
        }
    }

    /// Whether an object does not fit here: there is no room, or a write of it failed for lack of room.
    pub fn lacks_room(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            BlobError::NoRoom { .. } | BlobError::NoInodes | BlobError::NoRoomLately { .. } => true,
            BlobError::Io { source, .. } => {
                matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
            }
            _ => false,
        }
    }

    /// Whether the disk is full, so that making room helps.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, BlobError::Io { source, .. } if BlobError::is_full(source))
    }

    /// Whether an error of the system means that the disk is full.
    pub(super) fn is_full(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

pub(super) type Result<T> = std::result::Result<T, BlobError>;

/// Adds the operation and the path to an I/O error.
pub(super) trait IoContext<T> {
    fn during(self, doing: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn during(self, doing: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| BlobError::Io { doing, path: path.to_owned(), source })
    }
}

/// The same error of the system, for another thread or object that it concerns, too.
pub(super) fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Whether a read failed because of the medium, and not for lack of memory or descriptors.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let medium = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA];
    medium.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// The reason why an unreadable object is in quarantine.
pub(super) fn unreadable(error: &io::Error) -> String {
    format!("the disk cannot read it: {error}")
}
