//! A lock for the state that the tasks of one process share.

use std::sync::{Mutex, MutexGuard, TryLockError};

/// A value that tasks share. One thread runs them all, so a lock never waits.
#[derive(Debug, Default)]
pub(super) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(super) fn new(value: T) -> Lock<T> {
        Lock(Mutex::new(value))
    }

    /// # Panics
    /// When the value is already locked further up in the same task.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        match self.0.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("a task locks twice what it shares"),
        }
    }

    pub(super) fn set(&self, value: T) {
        *self.lock() = value;
    }

    pub(super) fn take(&self) -> T
    where
        T: Default,
    {
        std::mem::take(&mut *self.lock())
    }

    pub(super) fn get(&self) -> T
    where
        T: Copy,
    {
        *self.lock()
    }
}
