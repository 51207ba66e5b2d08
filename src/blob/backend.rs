//! The index's file, as redb reads and writes it: through [`Disk`](super::Disk), like every other file, so
//! that tests and simulated disks reach it too. A failed sync poisons the store; no other failure does.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend, StorageError};

use super::disk::{Access, DiskFile, read_full_at};
use super::layout::Layout;

/// The outcome of opening an index file.
pub(super) enum Opened {
    /// The opened database.
    Sound(Database),
    /// This process or another has the file open already.
    InUse,
    /// The file holds no readable index; the text says why.
    Damaged(String),
    /// The file is sound, and of this other version of redb's file format.
    OtherFormat(u8),
}

/// Opens the index's file, and makes one if it is missing.
///
/// # Errors
/// An I/O error of the disk.
pub(super) fn open(layout: &Arc<Layout>) -> Result<Opened, redb::Error> {
    let path = layout.index();
    let file = match layout.disk.open(&path, Access::Update) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => layout.disk.create(&path)?,
        opened => opened?,
    };
    if let Some(version) = later_format(&*file)? {
        return Ok(Opened::OtherFormat(version));
    }
    let opened = Builder::new()
        .set_cache_size(CACHE_BYTES)
        // Without it, a file that was altered from outside is trusted and may panic later.
        .set_check_integrity_on_open(true)
        .create_with_backend(Backend { file, layout: layout.clone() });
    match opened {
        Ok(database) => Ok(Opened::Sound(database)),
        Err(DatabaseError::DatabaseAlreadyOpen) => Ok(Opened::InUse),
        Err(DatabaseError::UpgradeRequired(version)) => Ok(Opened::OtherFormat(version)),
        Err(error) if is_damage(&error) => Ok(Opened::Damaged(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

struct Backend {
    file: Box<dyn DiskFile>,
    layout: Arc<Layout>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("file", &self.layout.index()).finish_non_exhaustive()
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.stamp()?.length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match read_full_at(&*self.file, out, offset)? {
            read if read == out.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_length(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|error| {
            tracing::error!(file = %self.layout.index().display(), %error, "sync failed");
            self.layout.poison();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn close(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        match is_whole(start, end) {
            true => self.file.try_lock().map_err(BackendError::Io),
            false => Err(BackendError::Unsupported),
        }
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        match is_whole(start, end) {
            true => self.file.unlock().map_err(BackendError::Io),
            false => Err(BackendError::Unsupported),
        }
    }
}

/// Whether a lock is for the whole file.
fn is_whole(start: Bound<u64>, end: Bound<u64>) -> bool {
    matches!(start, Bound::Unbounded | Bound::Included(0)) && end == Bound::Unbounded
}

/// The version of the file format, if it is later than the one that this program's redb knows. redb itself calls such a
/// file corrupt. The file begins with a magic number; each of the two slots of its header begins with the version
/// (redb's docs/design.md).
fn later_format(file: &dyn DiskFile) -> io::Result<Option<u8>> {
    let mut header = [0; HEADER_BYTES];
    if read_full_at(file, &mut header, 0)? < header.len() || !header.starts_with(MAGIC) {
        return Ok(None);
    }
    let [first, second] = SLOTS.map(|offset| header[offset]);
    Ok((first == second && first > FORMAT_KNOWN).then_some(first))
}

fn is_damage(error: &DatabaseError) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(error.kind(), InvalidData | UnexpectedEof)
        }
        _ => false,
    }
}

/// Locks the index, so that [`is_in_use`] is true for this data directory until the file is dropped; `None` if there is
/// no index to lock, or another process has locked it.
pub fn occupy(dir: &Path) -> Option<std::fs::File> {
    let file = std::fs::File::open(dir.join(super::layout::INDEX)).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// Whether a store has this data directory open, according to the lock of its index.
pub fn is_in_use(dir: &Path) -> bool {
    let opened = std::fs::File::open(dir.join(super::layout::INDEX));
    opened.is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

/// The version of redb's file format that this program reads and writes.
pub(super) const FORMAT_KNOWN: u8 = 3;
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
const SLOTS: [usize; 2] = [64, 192];
const HEADER_BYTES: usize = 320;
/// More costs memory and gained nothing: small files came no faster with 24 or 64 MiB.
const CACHE_BYTES: usize = 12 << 20;
