//! The unsynced changes of a disk in memory, and the part of them that a loss of power leaves.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// The fate of the changes that no sync has made durable, once the power goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Loss {
    /// All of them are on the disk, as when only the process ends.
    Nothing,
    /// None of them is.
    Everything,
    /// Of each file and of the names the first few are, and of the next write of a file some sectors.
    Torn,
    /// Any of them are, each as a whole: they were written in any order.
    Reordered,
    /// For each file and for the names chance takes the first few or any, and tears half of the writes.
    #[default]
    Chance,
}

/// One change of a file's bytes, and how to undo it.
#[derive(Clone)]
pub(super) struct Write {
    pub offset: u64,
    /// The bytes that the change wrote; empty if it set the length.
    pub new: Vec<u8>,
    pub new_length: u64,
    /// The bytes that were there before, as far as the file reached.
    pub old: Vec<u8>,
    pub old_length: u64,
}

impl Write {
    /// Redoes the change; `keeps` decides for each sector whether its bytes are written.
    pub fn redo(&self, bytes: &mut Vec<u8>, mut keeps: impl FnMut(usize) -> bool) {
        if self.new.is_empty() {
            bytes.resize(self.new_length as usize, 0);
            return;
        }
        let length = bytes.len().max(self.offset as usize + self.new.len());
        bytes.resize(length, 0);
        for (sector, new) in self.new.chunks(SECTOR_BYTES).enumerate() {
            if keeps(sector) {
                let at = self.offset as usize + sector * SECTOR_BYTES;
                bytes[at..at + new.len()].copy_from_slice(new);
            }
        }
    }

    pub fn undo(&self, bytes: &mut Vec<u8>) {
        bytes.resize(self.old_length as usize, 0);
        // Bytes that were written beyond the end had none before.
        let at = (self.offset as usize).min(bytes.len());
        bytes[at..at + self.old.len()].copy_from_slice(&self.old);
    }
}

/// The unsynced changes of one place that remain after the power was cut.
pub(super) enum Keeping {
    /// The first few: the changes were written in their order.
    First(usize),
    /// Each one by chance: the changes were written in any order.
    Any,
}

impl Keeping {
    pub fn draw(loss: Loss, rng: &mut ChaCha8Rng, count: usize) -> Keeping {
        match loss {
            Loss::Nothing => Keeping::First(count),
            Loss::Everything => Keeping::First(0),
            Loss::Torn => Keeping::First(rng.random_range(0..=count)),
            Loss::Reordered => Keeping::Any,
            Loss::Chance if rng.random_bool(0.5) => Keeping::First(rng.random_range(0..=count)),
            Loss::Chance => Keeping::Any,
        }
    }

    pub fn keeps(&self, rng: &mut ChaCha8Rng, at: usize) -> bool {
        match self {
            Keeping::First(count) => at < *count,
            Keeping::Any => rng.random_bool(0.5),
        }
    }

    /// Whether this change is the first one that is lost.
    pub fn is_next(&self, at: usize) -> bool {
        matches!(self, Keeping::First(count) if at == *count)
    }
}

/// The bytes that a disk writes as a whole.
pub(super) const SECTOR_BYTES: usize = 512;
