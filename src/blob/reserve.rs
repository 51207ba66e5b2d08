//! A little room that is kept for writes that must succeed on a full disk: an index that has to be opened again, and
//! peer.toml while its spare file is missing (see [`super::identity`]).
//!
//! DATA_DIR/reserve is a file of zeros that is never read. It is removed when one of these writes finds no room, and
//! made again once there is plenty.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::error::{BlobError, Result};

/// Makes the reserve if it is missing and there is room for it several times over. True if it is there.
pub(super) fn keep(dir: &Path, disk: &dyn Disk) -> bool {
    let path = place(dir);
    if disk.stat(&path).is_ok_and(|stat| stat.length() == RESERVE_BYTES) {
        return true;
    }
    if disk.room(dir).map_or(0, |room| room.free) < ROOM_FOR_RESERVE_BYTES {
        return false;
    }
    let made = disk.create(&path).and_then(|file| {
        let zeros = vec![0; RESERVE_BYTES as usize];
        file.write_all_at(&zeros, 0)
    });
    if let Err(error) = &made {
        tracing::warn!(file = %path.display(), %error, "no reserve is kept");
        let _ = disk.remove(&path);
    }
    made.is_ok()
}

/// Does a write that must succeed. If there is no room for it, the reserve makes some, once.
///
/// # Errors
/// The errors of `write`.
pub(super) fn with_reserve<T>(dir: &Path, disk: &dyn Disk, write: impl Fn() -> Result<T>) -> Result<T> {
    match write() {
        Err(error) if error.is_disk_full() && release(dir, disk) => write(),
        written => written,
    }
}

/// Removes the reserve. True if there was one.
pub(super) fn release(dir: &Path, disk: &dyn Disk) -> bool {
    let released = disk.remove(&place(dir)).is_ok();
    if released {
        tracing::warn!(dir = %dir.display(), "the disk is full; the reserve was used");
    }
    released
}

fn place(dir: &Path) -> PathBuf {
    dir.join(RESERVE)
}

/// Whether an error of redb means that the disk is full.
pub(super) fn is_full(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(error) if BlobError::is_full(error))
}

const RESERVE: &str = "reserve";
/// The size of the reserve: enough for peer.toml and for the writes of redb when it opens a file that was not closed.
const RESERVE_BYTES: u64 = 2 << 20;
/// The free room from which on the reserve is made, in bytes.
const ROOM_FOR_RESERVE_BYTES: u64 = 16 << 20;
