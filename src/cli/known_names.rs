//! The names of files that the prompt knows.

use std::sync::{Arc, Mutex, PoisonError};

use crate::id::FileName;

/// The names that completion offers after `Request` and `Whereis`.
#[derive(Clone, Default)]
pub(super) struct KnownNames(Arc<Mutex<Vec<String>>>);

impl KnownNames {
    /// Replaces the known names.
    pub(super) fn replace(&self, names: impl Iterator<Item = FileName>) {
        let mut names: Vec<String> = names.take(NAMES_MAX).map(String::from).collect();
        names.sort_unstable();
        names.dedup();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// The known names that begin with this text.
    pub(super) fn beginning_with(&self, start: &str) -> Vec<String> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().filter(|name| name.starts_with(start)).cloned().collect()
    }
}

/// The most names that completion knows.
pub(super) const NAMES_MAX: usize = 10_000;
