//! The settings of the files' side of a world.

use std::time::Duration;

use crate::names::NameTerms;
use crate::replica::LeaseTerms;

/// The timing of the files' side of a world.
#[derive(Debug, Clone, Copy)]
pub struct FileSettings {
    /// The rate at which a peer sends bytes of objects, per second.
    pub bandwidth_bytes_s: u64,
    /// The most bytes that are sent as one piece.
    pub slice_bytes: u64,
    /// The time that a sync takes.
    pub sync_time: Duration,
    /// The shortest and the longest time of any other call of the disk; other tasks go on meanwhile.
    pub call_time: (Duration, Duration),
    /// The time for which an away member is waited for before its copies are made anew, while two copies are left; zero
    /// by default, so that worlds are repaired soon.
    pub away_wait: Duration,
    /// The most bytes a second that a peer sends for repair.
    pub repair_bytes_s: Option<u64>,
    /// The times of leases.
    pub leases: LeaseTerms,
    /// How long the records of names stay.
    pub names: NameTerms,
    /// How long a copy that is one too many stays while there is room; `None` if no peer frees such copies by itself.
    pub surplus_wait: Option<Duration>,
    /// Whether peers keep their files in real stores, on disks in memory; for worlds of a few peers.
    pub real_stores: bool,
    /// The number of chunks after which a transfer into a real store syncs and marks them.
    pub checkpoint_chunks: u64,
}

impl Default for FileSettings {
    /// The settings for a network of a hundred megabits a second and a rotating disk.
    fn default() -> FileSettings {
        FileSettings {
            bandwidth_bytes_s: 12_500_000,
            slice_bytes: 6_250_000,
            sync_time: Duration::from_millis(8),
            call_time: (Duration::from_micros(100), Duration::from_micros(100)),
            away_wait: Duration::ZERO,
            repair_bytes_s: None,
            leases: LeaseTerms::default(),
            names: NameTerms::default(),
            surplus_wait: None,
            real_stores: false,
            checkpoint_chunks: 32,
        }
    }
}
