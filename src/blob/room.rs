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

    /// The part that objects leave free: for the index, the records and the logs of this and other programs.
    pub(super) fn reserve(&self, limits: &Limits) -> u64 {
        limits.reserve.unwrap_or_else(|| (self.total / RESERVE_SHARE).clamp(RESERVE_MIN, RESERVE_MAX))
    }

    /// Whether so many further objects have the inodes that they take.
    pub(super) fn has_inodes(&self, objects: u64) -> bool {
        self.inodes.is_none_or(|inodes| inodes >= INODES_RESERVED + objects * INODES_PER_OBJECT)
    }
}

/// The limits that a person set for the objects of one store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that objects may take; `None` for as many as the disk has.
    pub capacity: Option<u64>,
    /// The bytes of the file system that objects leave free; `None` for 5 % or 10 GiB, the smaller, and 1 MiB at least.
    pub reserve: Option<u64>,
}

/// The bytes that objects take, and will take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// The bytes of the objects that are here.
    pub held: u64,
    /// The bytes that transfers under way still lack on the disk.
    pub lacking: u64,
    /// The whole lengths of the objects under way.
    pub coming: u64,
}

impl Limits {
    /// The bytes that further objects may take: what is free on the disk beside the reserve, or what is left of the
    /// capacity, the smaller. `room` is `None` on a disk that does not report it: then only the capacity counts.
    pub(super) fn free_for_objects(&self, room: Option<&Room>, taken: Taken) -> u64 {
        let on_disk = room.map_or(u64::MAX, |room| {
            room.free.saturating_sub(room.reserve(self)).saturating_sub(taken.lacking)
        });
        let of_capacity = self
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(taken.held).saturating_sub(taken.coming));
        on_disk.min(of_capacity)
    }

    /// The bytes by which the objects here exceed the capacity, or the free bytes of the disk fall short of the reserve,
    /// the greater.
    pub(super) fn excess(&self, room: Option<&Room>, held: u64) -> u64 {
        let on_disk = room.map_or(0, |room| room.reserve(self).saturating_sub(room.free));
        on_disk.max(self.capacity.map_or(0, |capacity| held.saturating_sub(capacity)))
    }
}

/// The reserve where no other is set: this part (5 %) of the file system, with its least and greatest number of bytes.
const RESERVE_SHARE: u64 = 20;
const RESERVE_MIN: u64 = 1 << 20;
const RESERVE_MAX: u64 = 10 << 30;
/// The inodes of one object: object, outboard, the folders of both, and a link.
const INODES_PER_OBJECT: u64 = 5;
/// The inodes kept for the index, temporary files, and other files of a peer.
const INODES_RESERVED: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn room(free: u64) -> Room {
        Room { free, total: 1 << 40, inodes: None }
    }

    #[test]
    fn the_reserve_is_five_percent_within_bounds_or_what_was_set() {
        let reserve = |total, limits: Limits| Room { free: total, total, inodes: None }.reserve(&limits);
        let unset = Limits::default();
        assert_eq!(
            [1, 40 << 20, 20 << 30, 1 << 50].map(|total| reserve(total, unset)),
            [1 << 20, 2 << 20, 1 << 30, 10 << 30]
        );
        assert_eq!(reserve(1 << 40, Limits { reserve: Some(7), ..unset }), 7);
        let room = |inodes| Room { free: 1, total: 1, inodes };
        let has = |inodes, objects| room(inodes).has_inodes(objects);
        assert_eq!([None, Some(21), Some(20)].map(|inodes| has(inodes, 1)), [true, true, false]);
        assert_eq!([None, Some(26), Some(25)].map(|inodes| has(inodes, 2)), [true, true, false]);
    }

    #[test]
    fn the_smaller_of_disk_and_capacity_counts() {
        let limits = Limits { capacity: Some(1_000), reserve: Some(100) };
        let taken = Taken { held: 300, lacking: 50, coming: 200 };
        assert_eq!(limits.free_for_objects(Some(&room(10_000)), taken), 500, "of the capacity");
        assert_eq!(limits.free_for_objects(Some(&room(400)), taken), 250, "of the disk");
        assert_eq!(limits.free_for_objects(None, taken), 500, "a disk that does not report its room");
        let unset = Limits { capacity: None, ..limits };
        assert_eq!(unset.free_for_objects(Some(&room(10_000)), taken), 9_850);
        assert_eq!(unset.free_for_objects(None, taken), u64::MAX);
    }

    /// Goal: a capacity below what is held, and a reserve above what is free, leave room for nothing, and overflow
    /// nowhere.
    #[test]
    fn limits_below_what_is_held_leave_no_room() {
        let taken = Taken { held: 2_000, lacking: u64::MAX, coming: u64::MAX };
        for limits in [
            Limits { capacity: Some(1_999), reserve: Some(0) },
            Limits { capacity: Some(0), reserve: None },
            Limits { capacity: None, reserve: Some(u64::MAX) },
        ] {
            assert_eq!(limits.free_for_objects(Some(&room(1 << 40)), taken), 0);
        }
        let excess = |capacity, reserve, free| {
            Limits { capacity, reserve: Some(reserve) }.excess(Some(&room(free)), 2_000)
        };
        assert_eq!(excess(Some(1_500), 0, 0), 500);
        assert_eq!(excess(Some(1_500), 900, 100), 800);
        assert_eq!(excess(None, 900, 900), 0);
        assert_eq!(excess(Some(2_000), 0, 0), 0);
    }
}
