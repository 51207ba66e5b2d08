//! The progress of a store, a request or a scrub.

use std::sync::atomic::{AtomicU64, Ordering};

/// The progress of a store, request or scrub. Shared with the code that shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// The number of bytes in all; 0 while unknown.
    pub total: AtomicU64,
    /// The number of bytes done.
    pub done: AtomicU64,
    /// The number of objects in all; 0 for work on one object.
    objects_total: AtomicU64,
    /// The number of objects done.
    objects_done: AtomicU64,
}

impl Progress {
    /// Sets the bytes done and the bytes in all.
    pub fn begin(&self, done: u64, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
    }

    /// Sets the number of objects in all; none is done.
    pub fn begin_objects(&self, total: u64) {
        self.set_objects(0, total);
    }

    /// Sets the objects done and the objects in all.
    pub fn set_objects(&self, done: u64, total: u64) {
        self.objects_total.store(total, Ordering::Relaxed);
        self.objects_done.store(done, Ordering::Relaxed);
    }

    /// Counts one more object as done.
    pub fn object_done(&self) {
        self.objects_done.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of objects done, and of all; 0 of 0 for work on one object.
    pub fn objects(&self) -> (u64, u64) {
        (self.objects_done.load(Ordering::Relaxed), self.objects_total.load(Ordering::Relaxed))
    }

    /// Adds to the bytes done.
    pub fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}
