//! The room of a file system, and the part of it that objects may take.

use std::io;
use std::path::Path;

/// The room that a file system leaves to a process without privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The number of free bytes.
    pub free: u64,
    /// The size of the file system, in bytes.
    pub total: u64,
    /// The number of files that it can still hold; `None` if it has no limit.
    pub inodes: Option<u64>,
}

impl Room {
    /// Asks the operating system for the room of a path's file system.
    ///
    /// # Errors
    /// The error of `statvfs`.
    pub fn of(path: &Path) -> io::Result<Room> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Room {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            // Some file systems make inodes as needed, and report none.
            inodes: (stat.f_files > 0).then_some(stat.f_favail),
        })
    }

    /// The part that is kept for the index, the records and the logs of this and other programs: a share of the whole,
    /// within bounds.
    fn reserve(&self) -> u64 {
        (self.total / RESERVE_SHARE).clamp(RESERVE_MIN, RESERVE_MAX)
    }

    /// The bytes that objects may take.
    pub(super) fn for_objects(&self) -> u64 {
        self.free.saturating_sub(self.reserve())
    }

    pub(super) fn has_inodes(&self) -> bool {
        self.inodes.is_none_or(|inodes| inodes >= INODES_RESERVED + INODES_PER_OBJECT)
    }
}

/// The reserve: this part (1/64) of the file system, with its least and greatest number of bytes.
const RESERVE_SHARE: u64 = 64;
const RESERVE_MIN: u64 = 1 << 20;
const RESERVE_MAX: u64 = 256 << 20;
/// The inodes of one object: object, outboard, the folders of both, and a link.
const INODES_PER_OBJECT: u64 = 5;
/// The inodes kept for the index, temporary files, and other files of a peer.
const INODES_RESERVED: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_share_within_bounds() {
        let reserve = |total| Room { free: total, total, inodes: None }.reserve();
        assert_eq!([reserve(1), reserve(1 << 30), reserve(1 << 50)], [1 << 20, 16 << 20, 256 << 20]);
        let room = |inodes| Room { free: 100 << 20, total: 128 << 20, inodes };
        assert_eq!(room(None).for_objects(), 98 << 20);
        assert_eq!([None, Some(21), Some(20)].map(|inodes| room(inodes).has_inodes()), [true, true, false]);
    }
}
