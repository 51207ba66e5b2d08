//! The scrub that a person began: one at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::peer::api::{Progress, ScrubError};

/// The scrub that a person began, if one runs.
#[derive(Debug, Default)]
pub(in crate::peer) struct Scrubs(Mutex<Weak<Progress>>);

impl Scrubs {
    /// Begins a scrub, which lasts as long as its progress is held.
    ///
    /// # Errors
    /// [`ScrubError::Running`] while another scrub runs.
    pub(super) fn begin(&self, progress: &Arc<Progress>) -> Result<(), ScrubError> {
        let mut running = self.lock();
        if let Some(other) = running.upgrade() {
            let (done, total) = other.objects();
            return Err(ScrubError::Running { done, total });
        }
        *running = Arc::downgrade(progress);
        Ok(())
    }

    /// Whether a scrub runs.
    pub(super) fn is_running(&self) -> bool {
        self.lock().strong_count() > 0
    }

    fn lock(&self) -> MutexGuard<'_, Weak<Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_scrub_runs_at_a_time() {
        let scrubs = Scrubs::default();
        let first = Arc::new(Progress::default());
        scrubs.begin(&first).unwrap();
        first.begin_objects(60);
        first.object_done();
        let refused = scrubs.begin(&Arc::default()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "this peer is being scrubbed already: 1 of 60 files are done; wait for the end of that scrub"
        );
        drop(first);
        assert!(!scrubs.is_running());
        scrubs.begin(&Arc::default()).unwrap();
    }
}
