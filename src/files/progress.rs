//! The progress of a store or a request.

use std::sync::atomic::{AtomicU64, Ordering};

/// The progress of a store or request. Shared with the code that shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// The number of bytes in all; 0 while unknown.
    pub total: AtomicU64,
    /// The number of bytes done.
    pub done: AtomicU64,
}

impl Progress {
    /// Sets the bytes done and the bytes in all.
    pub fn begin(&self, done: u64, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
    }

    /// Adds to the bytes done.
    pub fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}
