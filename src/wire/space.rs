//! The room for files at a peer, as people are told of it.

use serde::{Deserialize, Serialize};

/// A number of files and of their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// The number of files.
    pub files: u64,
    /// The number of their bytes.
    pub bytes: u64,
}

impl Amount {
    /// Counts one more file of this length in bytes.
    pub fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The room for files at a peer, and the files that take it. All figures but those of files are bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceReport {
    /// The most bytes that files may take here; `None` for as many as the disk has.
    pub capacity: Option<u64>,
    /// The bytes of the file system that files leave free.
    pub reserve: u64,
    /// The files that the ring placed here.
    pub replicas: Amount,
    /// The files that were only requested here; they give way where room is needed.
    pub cached: Amount,
    /// The files that were requested here and stay, since they are pinned.
    pub pinned: Amount,
    /// The bytes that new files may take beside all of these.
    pub free: u64,
    /// The bytes by which the files here exceed the capacity, or the disk falls short of the reserve.
    pub excess: u64,
    /// The files that no name refers to any more; each goes a week after its last lease, unless a member is away then.
    pub going: Amount,
    /// When the first of them goes, in milliseconds since the Unix epoch.
    pub going_from_ms: Option<u64>,
}

impl SpaceReport {
    /// Whether room for further files is short: less than a twentieth of what files have and may take is left, the cache
    /// counted as room.
    pub fn is_short(&self) -> bool {
        let room = self.free.saturating_add(self.cached.bytes);
        let all = room.saturating_add(self.replicas.bytes).saturating_add(self.pinned.bytes);
        self.excess > 0 || room < all / SHORT_PART
    }
}

/// Room is short where less than this part (a twentieth) is left.
const SHORT_PART: u64 = 20;
