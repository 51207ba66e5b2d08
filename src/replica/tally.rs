//! The copies of the files that one member answers for, counted by the peers that hold them.
//!
//! However many files there are, the count takes bounded memory and fits one frame: files are grouped by their set of
//! holders, and of too many sets those with the most copies give way to a count by number of copies. So the files that
//! are worst off stay known by their holders.

use std::collections::BTreeMap;

use crate::config::RingSettings;
use crate::id::Position;
use crate::wire::limits::{COPY_SETS_MAX, FRAME_BYTES_MAX, LACKING_TOLD_MAX, LOST_TOLD_MAX};
use crate::wire::{CopiesBeyond, CopyCounts, CopySet, LostFile, codec};

/// A count that is under way.
#[derive(Debug, Default)]
pub struct Tally {
    sets: BTreeMap<Set, Sum>,
    /// The files beyond the sets, by their number of copies.
    beyond: BTreeMap<usize, Sum>,
}

/// The holders of some files, and the peers that lack a copy of them. The order is that of the number of copies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Set {
    copies: usize,
    holders: Vec<Position>,
    lacking: Vec<Position>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    files: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.files = self.files.saturating_add(other.files);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Tally {
    /// Counts a file of `bytes` bytes that these peers hold and those lack. A file without a holder is not counted
    /// here: see [`Tally::report`].
    pub fn add(&mut self, holders: &[Position], lacking: &[Position], bytes: u64) {
        let sorted = |peers: &[Position], max: usize| {
            let mut peers: Vec<Position> = peers.iter().take(max).copied().collect();
            peers.sort_unstable();
            peers
        };
        let holders = sorted(holders, RingSettings::REPLICAS_MAX.into());
        if holders.is_empty() {
            return;
        }
        let set = Set { copies: holders.len(), holders, lacking: sorted(lacking, LACKING_TOLD_MAX) };
        let sum = Sum { files: 1, bytes };
        if let Some(known) = self.sets.get_mut(&set) {
            return known.add(sum);
        }
        self.sets.insert(set, sum);
        if self.sets.len() > COPY_SETS_MAX {
            self.drop_last();
        }
    }

    /// The report to another member: these counts, and the contents of which no answering peer has a copy, of which
    /// only the first travel.
    pub fn report(mut self, mut lost: Vec<LostFile>, mut more_lost: bool, syncing: bool) -> CopyCounts {
        more_lost |= lost.len() > LOST_TOLD_MAX;
        lost.truncate(LOST_TOLD_MAX);
        lost.iter_mut().for_each(|lost| lost.lacking.truncate(LACKING_TOLD_MAX));
        let mut counts = CopyCounts { sets: Vec::new(), beyond: Vec::new(), lost, more_lost, syncing };
        let mut room = FRAME_BYTES_MAX.saturating_sub(FRAME_SPARE + length(&counts));
        let mut fitting = 0;
        for (set, sum) in &self.sets {
            let told = told(set, *sum);
            let bytes = length(&told);
            if bytes > room {
                break;
            }
            room -= bytes;
            fitting += 1;
            counts.sets.push(told);
        }
        while self.sets.len() > fitting {
            self.drop_last();
        }
        counts.beyond = self
            .beyond
            .iter()
            .map(|(copies, sum)| CopiesBeyond { copies: *copies as u8, files: sum.files, bytes: sum.bytes })
            .collect();
        counts
    }

    /// Counts the set with the most copies by its number of copies alone.
    fn drop_last(&mut self) {
        if let Some((set, sum)) = self.sets.pop_last() {
            self.beyond.entry(set.copies).or_default().add(sum);
        }
    }
}

fn told(set: &Set, sum: Sum) -> CopySet {
    CopySet { holders: set.holders.clone(), lacking: set.lacking.clone(), files: sum.files, bytes: sum.bytes }
}

fn length(value: &impl serde::Serialize) -> usize {
    codec::encode(value).map_or(FRAME_BYTES_MAX, |encoded| encoded.len())
}

/// The space that a reply needs beside its sets and contents, in bytes: the counts by number of copies, and tags.
const FRAME_SPARE: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::sample::peer;
    use super::*;
    use crate::id::ContentId;
    use crate::wire::{Reply, StorageReply};

    fn peers(numbers: &[u8]) -> Vec<Position> {
        numbers.iter().map(|number| peer(*number)).collect()
    }

    #[test]
    fn files_are_grouped_by_their_holders_the_worst_first() {
        let mut tally = Tally::default();
        tally.add(&peers(&[30, 10, 20]), &[], 5);
        tally.add(&peers(&[10, 20, 30]), &[], 7);
        tally.add(&peers(&[20]), &peers(&[40, 30]), 1);
        tally.add(&[], &peers(&[40]), 1);
        let counts = tally.report(Vec::new(), false, true);
        assert_eq!(
            counts.sets,
            [
                CopySet { holders: peers(&[20]), lacking: peers(&[30, 40]), files: 1, bytes: 1 },
                CopySet { holders: peers(&[10, 20, 30]), lacking: Vec::new(), files: 2, bytes: 12 },
            ]
        );
        assert!(counts.beyond.is_empty() && counts.syncing && !counts.more_lost);
        assert!(counts.is_within_bounds());
    }

    /// Goal: however many files and holders there are, the report fits a frame, counts every file, and keeps the
    /// holders of the files with the fewest copies.
    #[test]
    fn a_report_is_bounded_and_complete() {
        let copies_max = RingSettings::REPLICAS_MAX;
        let mut tally = Tally::default();
        for first in 0..200 {
            for copies in (1..=copies_max).rev() {
                let holders: Vec<u8> = (first..first + copies).collect();
                tally.add(&peers(&holders), &peers(&[230, 231, 232, 233, 234]), 3);
            }
        }
        assert!(tally.sets.len() <= COPY_SETS_MAX);
        let lost = (0..200u64).map(|i| LostFile {
            content: ContentId::of(&i.to_le_bytes()),
            lacking: peers(&[1, 2, 3, 4, 5, 6]),
        });
        let counts = tally.report(lost.collect(), false, false);
        assert!(counts.is_within_bounds() && counts.more_lost);
        let alone = counts.sets.iter().filter(|set| set.holders.len() == 1).count();
        assert_eq!(alone, 200, "all that would be lost with one machine are known by it");
        let told: u64 = counts.sets.iter().map(|set| set.files).sum();
        let rest: u64 = counts.beyond.iter().map(|rest| rest.files).sum();
        let bytes: u64 =
            counts.sets.iter().map(|set| set.bytes).chain(counts.beyond.iter().map(|r| r.bytes)).sum();
        assert_eq!((told + rest, bytes), (200 * u64::from(copies_max), 3 * 200 * u64::from(copies_max)));
        let most_told = counts.sets.iter().map(|set| set.holders.len()).max().unwrap();
        assert!(counts.beyond.iter().all(|rest| usize::from(rest.copies) >= most_told));
        let reply = Reply::Storage(StorageReply::Copies(counts));
        assert!(codec::encode(&reply).is_ok_and(|bytes| bytes.len() <= FRAME_BYTES_MAX));
    }

    /// Goal: long lists of holders are cut by bytes too.
    #[test]
    fn sets_of_many_holders_fit_a_frame() {
        let mut tally = Tally::default();
        for first in 0..220 {
            let holders: Vec<u8> = (first..first + RingSettings::REPLICAS_MAX).collect();
            tally.add(&peers(&holders), &peers(&[250, 251, 252, 253]), u64::MAX);
        }
        let counts = tally.report(Vec::new(), false, false);
        let told: u64 = counts.sets.iter().map(|set| set.files).sum();
        assert!(told < 220 && counts.is_within_bounds());
        assert_eq!(told + counts.beyond[0].files, 220);
        let reply = Reply::Storage(StorageReply::Copies(counts));
        assert!(codec::encode(&reply).is_ok_and(|bytes| bytes.len() <= FRAME_BYTES_MAX));
    }
}
