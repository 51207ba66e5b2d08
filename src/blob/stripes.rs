//! Locks by key.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A fixed number of locks that keys share, so that writes of different keys seldom wait for each other.
#[derive(Default)]
pub(super) struct Stripes([Mutex<()>; 32]);

impl Stripes {
    pub fn lock(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        self.lock_stripe(self.stripe(key))
    }

    /// Locks all these keys. Threads that lock several keys do so in one order, so that none waits for another for ever.
    pub fn lock_all<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<MutexGuard<'_, ()>> {
        let stripes: BTreeSet<usize> = keys.map(|key| self.stripe(key)).collect();
        stripes.into_iter().map(|stripe| self.lock_stripe(stripe)).collect()
    }

    fn stripe(&self, key: &[u8]) -> usize {
        let sum = key.iter().fold(0u8, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte));
        usize::from(sum) % self.0.len()
    }

    fn lock_stripe(&self, stripe: usize) -> MutexGuard<'_, ()> {
        self.0[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
