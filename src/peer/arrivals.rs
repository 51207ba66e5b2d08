//! Objects that are on their way in, so that no two peers send the same one at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::id::ContentId;

/// What is expected here. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrivals(Arc<Mutex<BTreeMap<ContentId, Expected>>>);

#[derive(Debug, Default)]
struct Expected {
    /// Transfers under way.
    transfers: u32,
    /// Somebody was told to send it, and has until then to begin.
    promised_until: Option<Instant>,
}

impl Expected {
    fn is_over(&self, now: Instant) -> bool {
        self.transfers == 0 && self.promised_until.is_none_or(|until| until <= now)
    }
}

/// A transfer is under way as long as this lives.
pub(super) struct Arrival {
    arrivals: Arrivals,
    content: ContentId,
}

impl Arrivals {
    /// A transfer begins.
    pub(super) fn begin(&self, content: ContentId) -> Arrival {
        let mut expected = self.lock();
        let entry = expected.entry(content).or_default();
        entry.transfers += 1;
        entry.promised_until = None;
        Arrival { arrivals: self.clone(), content }
    }

    /// Whether an object is to be asked of one more peer; if so, that one is expected to send it.
    pub(super) fn ask_for(&self, content: ContentId) -> bool {
        let now = Instant::now();
        let mut expected = self.lock();
        if expected.len() >= EXPECTED_MAX {
            expected.retain(|_, entry| !entry.is_over(now));
        }
        if expected.get(&content).is_some_and(|entry| !entry.is_over(now)) {
            return false;
        }
        if expected.len() < EXPECTED_MAX {
            let promised_until = Some(now + PROMISE);
            expected.insert(content, Expected { transfers: 0, promised_until });
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContentId, Expected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut expected = self.arrivals.lock();
        if let Some(entry) = expected.get_mut(&self.content) {
            entry.transfers = entry.transfers.saturating_sub(1);
            if entry.is_over(Instant::now()) {
                expected.remove(&self.content);
            }
        }
    }
}

/// How long a peer that offered an object has to begin to send it.
const PROMISE: Duration = Duration::from_secs(10);
/// Objects that are expected at the same time; beyond, some may be sent twice.
const EXPECTED_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_asked_of_one_peer_until_its_transfer_ends() {
        let arrivals = Arrivals::default();
        let content = ContentId::of(b"a");
        assert!(arrivals.ask_for(content));
        assert!(!arrivals.ask_for(content), "promised");
        let first = arrivals.begin(content);
        let second = arrivals.begin(content);
        drop(first);
        assert!(!arrivals.ask_for(content), "still under way");
        drop(second);
        assert!(arrivals.ask_for(content), "it failed; the next one may try");
    }
}
