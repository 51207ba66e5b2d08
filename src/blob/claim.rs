//! The right to receive an object, which one receiver has at a time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::{BlobError, Result};
use crate::id::ContentId;

/// The objects that are being received, each by one receiver, with the number of their bytes that are here.
#[derive(Default)]
pub(super) struct Receiving(Mutex<HashMap<ContentId, Arc<AtomicU64>>>);

impl Receiving {
    /// The bytes that are here of an object that is being received.
    pub fn bytes(&self, content: &ContentId) -> Option<u64> {
        self.lock().get(content).map(|bytes| bytes.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, Arc<AtomicU64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exclusive right to receive an object; dropping it gives the right back.
pub(super) struct Claim {
    receiving: Arc<Receiving>,
    content: ContentId,
    bytes: Arc<AtomicU64>,
}

impl Claim {
    pub fn new(receiving: Arc<Receiving>, content: ContentId) -> Result<Claim> {
        let bytes = Arc::new(AtomicU64::new(0));
        let mut all = receiving.lock();
        if all.contains_key(&content) {
            return Err(BlobError::AlreadyReceiving { content });
        }
        all.insert(content, bytes.clone());
        drop(all);
        Ok(Claim { receiving, content, bytes })
    }

    /// Notes how many bytes of the object are here now.
    pub fn has(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.receiving.lock().remove(&self.content);
    }
}
