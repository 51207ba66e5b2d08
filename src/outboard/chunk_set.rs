//! A set of the chunks of one file.

use std::ops::Range;

/// A set of chunks, of a file with a known number of them: one bit for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkSet {
    words: Vec<u64>,
    chunks: u64,
    count: u64,
}

impl ChunkSet {
    /// The empty set, for a file of so many chunks.
    pub fn new(chunks: u64) -> ChunkSet {
        let words = usize::try_from(chunks.div_ceil(WORD)).unwrap_or(usize::MAX);
        ChunkSet { words: vec![0; words], chunks, count: 0 }
    }

    /// The number of chunks of the file.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// The number of chunks in the set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether all chunks of the file are in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.chunks
    }

    /// Whether a chunk is in the set.
    pub fn contains(&self, index: u64) -> bool {
        index < self.chunks && self.words[(index / WORD) as usize] & bit(index) != 0
    }

    /// Adds a chunk. Returns whether it is new; a chunk past the end never is.
    pub fn insert(&mut self, index: u64) -> bool {
        let new = index < self.chunks && !self.contains(index);
        if new {
            self.words[(index / WORD) as usize] |= bit(index);
            self.count += 1;
        }
        new
    }

    /// The first run of chunks from `from` on that are not in the set; `None` if all of them are.
    pub fn first_gap(&self, from: u64) -> Option<Range<u64>> {
        let begin = (from..self.chunks).find(|index| !self.contains(*index))?;
        let end = (begin..self.chunks).find(|index| self.contains(*index)).unwrap_or(self.chunks);
        Some(begin..end)
    }

    /// The number of chunks in the set before the first that is not.
    pub fn prefix(&self) -> u64 {
        self.first_gap(0).map_or(self.chunks, |gap| gap.start)
    }

    /// The chunks in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.chunks).filter(|index| self.contains(*index))
    }
}

impl Extend<u64> for ChunkSet {
    fn extend<T: IntoIterator<Item = u64>>(&mut self, chunks: T) {
        for index in chunks {
            self.insert(index);
        }
    }
}

fn bit(index: u64) -> u64 {
    1 << (index % WORD)
}

const WORD: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_counts() {
        let mut set = ChunkSet::new(130);
        assert_eq!((set.first_gap(0), set.prefix()), (Some(0..130), 0));
        for index in (0..70).chain(100..130) {
            assert!(set.insert(index) && !set.insert(index));
        }
        assert!(!set.insert(130) && !set.contains(130));
        assert_eq!(
            (set.first_gap(0), set.first_gap(80), set.first_gap(100)),
            (Some(70..100), Some(80..100), None)
        );
        assert_eq!((set.prefix(), set.count(), set.iter().count()), (70, 100, 100));
        set.extend(60..100);
        assert!(set.is_full() && set.prefix() == 130);
        assert!(ChunkSet::new(0).is_full());
    }
}
