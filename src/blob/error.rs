//! What can go wrong with files, for people and for code.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use crate::id::ContentId;
use crate::outboard::OutboardError;

/// Why a file operation did not succeed.
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
    /// The disk did not take what was written to it. From now on the store is [`BlobError::Poisoned`].
    #[error("cannot sync {} to disk: {source}; nothing is written any more until the peer starts again", .path.display())]
    Sync {
        /// The path of the file or folder.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
    /// An earlier sync failed, so what is on disk is not known; open the store again.
    #[error("{} is not written to any more since the disk failed; start the peer again", .dir.display())]
    Poisoned {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another process, or another store of this one, has the data directory.
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
        /// Its format.
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
        /// Its format.
        found: u8,
        /// The format that this program reads and writes.
        known: u8,
    },
    /// The file system has no room for the object; nothing of it was taken.
    #[error("no room: it is {length} bytes long, and {free} are free here")]
    NoRoom {
        /// How long the object is, in bytes.
        length: u64,
        /// How many bytes objects may take, beside the reserve and what others were promised.
        free: u64,
    },
    /// The file system can hold no more files; nothing of the object was taken.
    #[error("no room for another file: the file system has no inodes left")]
    NoInodes,
    /// An object that was no longer could not be written a short while ago; nothing of it was taken.
    #[error("no room for {length} bytes: not tried again so soon after this failed: {why}")]
    NoRoomLately {
        /// How long the object is, in bytes.
        length: u64,
        /// The failure of that time.
        why: String,
    },
    /// The source is no regular file.
    #[error("{} is {kind}, not a file", .path.display())]
    NotAFile {
        /// The path of the file or folder.
        path: PathBuf,
        /// What it is: "a directory", "a FIFO", …
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
        /// The content id.
        content: ContentId,
    },
    /// The object is here, complete.
    #[error("{content} is here already")]
    AlreadyHere {
        /// The content id.
        content: ContentId,
    },
    /// There is no such object here, complete.
    #[error("{content} is not here")]
    NotHere {
        /// The content id.
        content: ContentId,
    },
    /// The object's file was not what its name says; it is in quarantine.
    #[error("the copy of {content} here was bad ({reason}); it is in quarantine")]
    Rotten {
        /// The content id.
        content: ContentId,
        /// The reason, in words.
        reason: String,
    },
    /// A file cannot be that long.
    #[error("a file of {length} bytes is longer than SHA-256 allows")]
    TooLong {
        /// The claimed length.
        length: u64,
    },
    /// The offset lies behind the end.
    #[error("{content} has {length} bytes; there is none at {offset}")]
    PastEnd {
        /// Which object.
        content: ContentId,
        /// Its length in bytes.
        length: u64,
        /// What was asked.
        offset: u64,
    },
    /// More bytes came than were announced. None of them was kept.
    #[error("more than the announced {length} bytes came for {content}")]
    Overrun {
        /// Which object.
        content: ContentId,
        /// The announced length.
        length: u64,
    },
    /// Fewer bytes came than were announced. They are kept, to be resumed.
    #[error("{offset} of {length} bytes of {content} are here")]
    Incomplete {
        /// Which object.
        content: ContentId,
        /// How many bytes are here.
        offset: u64,
        /// How many there should be.
        length: u64,
    },
    /// The bytes are others than the address says. They are removed.
    #[error(
        "what came for {content} is {found}; it was refused{}",
        if *resumed > 0 { " (some of it lay here from an earlier transfer; that is gone)" } else { "" }
    )]
    Mismatch {
        /// The address.
        content: ContentId,
        /// The address of what came.
        found: ContentId,
        /// How many of the bytes lay here from an earlier transfer: no fault of this sender's.
        resumed: u64,
    },
    /// A chunk does not lead to the trusted outboard's next midstate. It is removed.
    #[error("chunk {chunk} of {content} arrived corrupt; it was refused")]
    ChunkMismatch {
        /// Which object.
        content: ContentId,
        /// Which chunk, counted from zero.
        chunk: u64,
    },
    /// The outboard is of a file of another length, or none at all.
    #[error("outboard of {content}: {source}")]
    Outboard {
        /// Which object.
        content: ContentId,
        /// What is wrong with it.
        source: OutboardError,
    },
    /// peer.toml cannot be understood.
    #[error("{}: {reason}", .path.display())]
    PeerFile {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl BlobError {
    /// Whether an object does not fit here: there is no room, or a write of it failed for lack of some.
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

    /// Whether an error of the system says that the disk is full.
    pub(super) fn is_full(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

pub(super) type Result<T> = std::result::Result<T, BlobError>;

/// Adds what was done to which path.
pub(super) trait IoContext<T> {
    fn during(self, doing: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn during(self, doing: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| BlobError::Io { doing, path: path.to_owned(), source })
    }
}
