//! The reports of a member on copies and on itself, for the verdict on the ring's files.

use serde::{Deserialize, Serialize};

use super::limits;
use crate::config::RingSettings;
use crate::id::{ContentId, Position};

/// The number of files with copies at the same peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopySet {
    /// The peers that have a copy and answer, in the order of their positions; at least one, at most
    /// [`RingSettings::REPLICAS_MAX`].
    pub holders: Vec<Position>,
    /// Peers that should have a copy and have none, or do not answer; at most [`limits::LACKING_TOLD_MAX`].
    pub lacking: Vec<Position>,
    /// The number of these files.
    pub files: u64,
    /// The number of bytes of one copy of each of them.
    pub bytes: u64,
}

/// The number of files with the same number of copies, whoever has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiesBeyond {
    /// The number of copies of each file, at most [`RingSettings::REPLICAS_MAX`].
    pub copies: u8,
    /// The number of these files.
    pub files: u64,
    /// The number of bytes of one copy of each of them.
    pub bytes: u64,
}

/// A content that a name record names and that no answering peer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostFile {
    /// The content id.
    pub content: ContentId,
    /// The peers that should have a copy; at most [`limits::LACKING_TOLD_MAX`].
    pub lacking: Vec<Position>,
}

/// The copies of the files that one member answers for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyCounts {
    /// The files by the peers that hold them, those with the fewest copies first; at most
    /// [`limits::COPY_SETS_MAX`], and as many as fit a frame.
    pub sets: Vec<CopySet>,
    /// The files beyond these sets. None of them has fewer copies than the last set.
    pub beyond: Vec<CopiesBeyond>,
    /// The contents without a copy, at most [`limits::LOST_TOLD_MAX`].
    pub lost: Vec<LostFile>,
    /// Whether there are more contents without a copy.
    pub more_lost: bool,
    /// Whether the member is still taking over its part of the ring: others may hold files that it does not know yet.
    pub syncing: bool,
}

impl CopyCounts {
    /// Whether all lists are within their bounds.
    pub fn is_within_bounds(&self) -> bool {
        let copies_max = usize::from(RingSettings::REPLICAS_MAX);
        let told = |lacking: &[Position]| lacking.len() <= limits::LACKING_TOLD_MAX;
        self.sets.len() <= limits::COPY_SETS_MAX
            && self.sets.iter().all(|set| (1..=copies_max).contains(&set.holders.len()) && told(&set.lacking))
            && self.beyond.len() <= copies_max
            && self.beyond.iter().all(|rest| (1..=copies_max).contains(&rest.copies.into()))
            && self.lost.len() <= limits::LOST_TOLD_MAX
            && self.lost.iter().all(|lost| told(&lost.lacking))
    }
}

/// A member in its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfReport {
    /// The version of its program, at most [`limits::VERSION_BYTES_MAX`] bytes.
    pub version: String,
    /// The number of bytes that objects may still take at this member.
    pub free_bytes: u64,
    /// The size of the file system of its data directory, in bytes; 0 if that is not known.
    pub disk_bytes: u64,
    /// The number of objects that it holds.
    pub objects: u64,
    /// The number of bytes of these objects.
    pub bytes: u64,
    /// Whether it has no room for files that belong to it, or for anything new.
    pub full: bool,
    /// Whether it is still taking over its part of the ring.
    pub syncing: bool,
    /// The reading of its clock, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The oldest verification of its objects, by its clock, in milliseconds since the Unix epoch: 0 if one was not
    /// verified yet, `None` if it has no objects.
    pub verified_ms: Option<u64>,
}
