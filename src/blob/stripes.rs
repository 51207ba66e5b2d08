//! Locks by key.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A fixed number of locks that keys share, so that writes of different keys seldom wait for each other.
#[derive(Default)]
pub(super) struct Stripes([Mutex<()>; 32]);

impl Stripes {
    pub fn lock(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        let stripe = key.iter().fold(0u8, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte));
        self.0[usize::from(stripe) % self.0.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
