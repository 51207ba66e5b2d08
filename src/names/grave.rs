//! The memory of a removal whose records are gone; see `retention`.

use crate::time::Timestamp;

/// The memory of a removal whose records are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grave {
    /// The date of the tombstone. No record of the name up to this date is taken.
    pub clock: Timestamp,
    /// When the memory ends, in milliseconds since the Unix epoch.
    pub until_unix_ms: u64,
}
