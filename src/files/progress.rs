//! How far a store or a request is.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far a store or request is. Shared with whoever draws it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the whole; 0 while unknown.
    pub total: AtomicU64,
    /// Bytes done.
    pub done: AtomicU64,
}

impl Progress {
    /// Sets both figures.
    pub fn begin(&self, done: u64, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
    }

    /// Counts bytes.
    pub fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}
