//! One hash of an object at a time: a thread that asks while the hash runs waits for its outcome.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::error::{BlobError, Result, same};
use crate::id::ContentId;
use crate::outboard::Outboard;

/// The hashes that run now.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<ContentId, Arc<Flight>>>);

#[derive(Default)]
struct Flight {
    hashed: AtomicU64,
    outcome: OnceLock<std::result::Result<Option<Outboard>, Failure>>,
}

/// Why a hash failed, for each thread that waited for it.
#[derive(Debug)]
struct Failure {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Flights {
    /// Hashes an object, or waits for a hash of it that already runs. `hash` counts the bytes that it has hashed.
    ///
    /// # Errors
    /// The error of `hash`.
    pub fn run(
        &self,
        content: &ContentId,
        hash: impl FnOnce(&AtomicU64) -> Result<Option<Outboard>>,
    ) -> Result<Option<Outboard>> {
        let mut hash = Some(hash);
        let flight = self.lock().entry(*content).or_default().clone();
        let _landing = Landing { flights: self, content, flight: &flight };
        let mut own = None;
        // Of the threads that come here at the same time, one hashes, and the others wait in this call.
        let outcome = flight.outcome.get_or_init(|| {
            let outcome = hash.take().map_or(Ok(None), |hash| hash(&flight.hashed));
            outcome.map_err(|error| {
                let failure = Failure::of(content, &error);
                own = Some(error);
                failure
            })
        });
        match own {
            Some(error) => Err(error),
            None => outcome.as_ref().map_err(Failure::to_error).cloned(),
        }
    }

    /// The bytes hashed so far; `None` if no hash of the object runs.
    pub fn hashed_bytes(&self, content: &ContentId) -> Option<u64> {
        self.lock().get(content).map(|flight| flight.hashed.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, Arc<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a flight once its hash has returned or panicked. The next thread that asks begins another flight.
struct Landing<'a> {
    flights: &'a Flights,
    content: &'a ContentId,
    flight: &'a Arc<Flight>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // Each waiting thread comes here too, perhaps after another flight has begun.
        if flights.get(self.content).is_some_and(|current| Arc::ptr_eq(current, self.flight)) {
            flights.remove(self.content);
        }
    }
}

impl Failure {
    fn of(content: &ContentId, error: &BlobError) -> Failure {
        match error {
            BlobError::Io { doing, path, source } => {
                Failure { doing, path: path.clone(), source: same(source) }
            }
            _ => {
                let source = io::Error::other(error.to_string());
                Failure { doing: "check", path: content.to_string().into(), source }
            }
        }
    }

    fn to_error(&self) -> BlobError {
        BlobError::Io { doing: self.doing, path: self.path.clone(), source: same(&self.source) }
    }
}
