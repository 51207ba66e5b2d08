//! The last check of each object: when its bytes were hashed, and the stamp that its file had then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::disk::Stamp;
use super::flight::Flights;
use crate::id::ContentId;
use crate::time::Moment;

/// The objects that were recently hashed, with the stamps of their files at that time.
#[derive(Default)]
pub(super) struct Checks {
    table: Mutex<HashMap<ContentId, (Stamp, Moment)>>,
    pub flights: Flights,
}

impl Checks {
    /// Records that the object was hashed while its file had this stamp.
    pub fn note(&self, content: ContentId, stamp: Stamp, now: Moment) {
        let mut table = self.lock();
        if table.len() >= CHECKS_MAX && !table.contains_key(&content) {
            // Clearing costs one more hash of each object, and keeps the table small.
            table.clear();
        }
        table.insert(content, (stamp, now));
    }

    pub fn forget(&self, content: &ContentId) {
        self.lock().remove(content);
    }

    /// Whether the object was recently hashed while its file had this stamp.
    pub fn trusts(&self, content: &ContentId, stamp: &Stamp, now: Moment) -> bool {
        self.of(content, now) == Some((*stamp, true))
    }

    /// The stamp of the last check, and whether that check is recent.
    pub fn of(&self, content: &ContentId, now: Moment) -> Option<(Stamp, bool)> {
        self.lock().get(content).map(|(stamp, at)| (*stamp, now.since(*at) < TRUSTED_FOR))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, (Stamp, Moment)>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a hash is trusted while the file's stamp stays the same.
pub(super) const TRUSTED_FOR: Duration = Duration::from_secs(3_600);
/// The most objects whose last check is remembered.
const CHECKS_MAX: usize = 100_000;
