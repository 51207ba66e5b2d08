//! The right to receive an object, which one receiver has at a time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{BlobError, Result};
use crate::id::ContentId;

/// The objects that are being received, each by one receiver.
#[derive(Default)]
pub(super) struct Receiving(Mutex<HashSet<ContentId>>);

/// The exclusive right to receive an object; dropping it gives the right back.
pub(super) struct Claim {
    receiving: Arc<Receiving>,
    content: ContentId,
}

impl Claim {
    pub fn new(receiving: Arc<Receiving>, content: ContentId) -> Result<Claim> {
        if !receiving.0.lock().unwrap_or_else(PoisonError::into_inner).insert(content) {
            return Err(BlobError::AlreadyReceiving { content });
        }
        Ok(Claim { receiving, content })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.receiving.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.content);
    }
}
