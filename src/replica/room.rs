//! When a peer says that it has no room for further files.
//!
//! A peer is full while its disk takes no writes, while less than a small part of the room for files is left, or while
//! less is left than an object had that it refused lately. It says so in its pongs. Then the others give what they store
//! to the next peers at once; a copy that it wants when they ask what it has is given to it all the same.

/// The room that a disk has for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRoom {
    /// The bytes that further files may take, the cache counted as room.
    pub free_bytes: u64,
    /// The bytes that all files together may take: those that are free, and those that replicas and pinned files take.
    pub all_bytes: u64,
    /// Whether the disk takes writes at all.
    pub takes_writes: bool,
}

/// The word of a peer on its room.
#[derive(Debug, Clone, Default)]
pub struct RoomWord {
    full: bool,
    /// The length in bytes of the longest object that was refused for lack of room since there was room; at most
    /// [`LEAST_MAX`].
    refused: u64,
}

impl RoomWord {
    /// Notes that an object of this length was refused for lack of room.
    pub fn refused(&mut self, length: u64) {
        self.refused = self.refused.max(length.min(LEAST_MAX));
    }

    /// Looks at the disk; returns whether the peer is full. One that was full has room again once there is a quarter more
    /// than the least, so that its word does not change with every file.
    pub fn look(&mut self, room: DiskRoom) -> bool {
        // A disk without any room for files is full, too.
        let least = (room.all_bytes / LEAST_PART).clamp(1, LEAST_MAX).max(self.refused);
        let wanted = if self.full { least + least / 4 } else { least };
        self.full = !room.takes_writes || room.free_bytes < wanted;
        if !self.full {
            self.refused = 0;
        }
        self.full
    }

    /// Whether the peer was full at the last look.
    pub fn is_full(&self) -> bool {
        self.full
    }
}

/// A peer is full where less than this part (1/64) of its room is left.
const LEAST_PART: u64 = 64;
/// A peer with this many bytes left is not full, however long the objects are that it refuses.
const LEAST_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn room(free_bytes: u64, all_bytes: u64) -> DiskRoom {
        DiskRoom { free_bytes, all_bytes, takes_writes: true }
    }

    #[test]
    fn a_small_part_is_kept_and_room_comes_back_with_a_margin() {
        let (mut word, all) = (RoomWord::default(), 6_400);
        assert!(!word.look(room(100, all)));
        assert!(word.look(room(99, all)));
        assert!(word.look(room(124, all)) && word.is_full());
        assert!(!word.look(room(125, all)));
        let large = 1 << 50;
        assert!(!word.look(room(LEAST_MAX, large)) && word.look(room(LEAST_MAX - 1, large)));
        assert!(RoomWord::default().look(room(0, 0)), "a capacity of 0");
        assert!(word.look(DiskRoom { takes_writes: false, ..room(u64::MAX, u64::MAX) }));
    }

    #[test]
    fn an_object_that_was_refused_counts_until_there_is_room_for_it() {
        let mut word = RoomWord::default();
        word.refused(1_000);
        assert!(word.look(room(999, 6_400)));
        assert!(word.look(room(1_249, 6_400)));
        assert!(!word.look(room(1_250, 6_400)));
        assert!(!word.look(room(999, 6_400)), "forgotten by then");
        word.refused(u64::MAX);
        assert!(!word.look(room(LEAST_MAX, 1 << 50)), "a huge object fills no peer");
    }
}
