//! The wish for a person's copy of an object, which a transfer fulfils on the way (see [`super::twin`]).

use std::path::PathBuf;
use std::sync::Arc;

use super::bulk::Cache;
use super::marks::Kept;
use super::store::Store;
use super::twin::{Twin, Wanted};
use crate::id::ContentId;

/// The wish for a copy of an object in received/. While it lives, a transfer of the object that begins writes one.
pub struct CopyWish {
    store: Store,
    content: ContentId,
}

impl Store {
    /// Makes a transfer of this object that begins from now on write a second file, which
    /// [`Store::place_received`] then puts into place.
    pub fn wish_copy(&self, content: ContentId) -> CopyWish {
        self.twins().lock().entry(content).or_default().wishes += 1;
        CopyWish { store: self.clone(), content }
    }

    /// The twin of a transfer that begins, or that goes on from what was `kept`, if one is wanted and the file system makes
    /// no reflinks. A file of an earlier transfer that serves it no more is removed. Where no second file can be made
    /// now, the copy is made afterwards.
    pub(super) fn twin_of(&self, content: &ContentId, length: u64, kept: Option<&Kept>) -> Option<Arc<Twin>> {
        let layout = self.layout();
        let is_wanted = match self.twins().lock().get(content) {
            _ if Cache::for_length(length) == Cache::Keep => return None,
            // It is whole and waits for its place, and needs none beside it.
            Some(Wanted { twin: Some(twin), .. }) if twin.is_open() => return None,
            wanted => wanted.is_some(),
        };
        let (disk, path) = (layout.disk.clone(), layout.received_folder().twin(content));
        let twin = match kept {
            None if is_wanted && !layout.makes_reflinks() => Twin::create(disk, path).ok()?,
            Some(kept) if is_wanted && kept.trusted && kept.twin_trusted => Twin::open(disk, path).ok()?,
            _ => {
                layout.remove_quietly(&path);
                return None;
            }
        };
        let twin = Arc::new(twin);
        self.twins().lock().get_mut(content)?.twin = Some(twin.clone());
        Some(twin)
    }

    /// The whole twin of an object, durable and read-only, which the caller puts into its place.
    pub(super) fn take_twin(&self, content: &ContentId) -> Option<PathBuf> {
        let twin = self.twins().lock().get_mut(content)?.twin.take()?;
        let path = self.layout().received_folder().temporary(&self.layout().temporary());
        match twin.take(&path) {
            Ok(()) => Some(path),
            Err(error) => {
                tracing::debug!(%content, %error, "the copy that was written on the way is made anew");
                None
            }
        }
    }
}

impl Drop for CopyWish {
    fn drop(&mut self) {
        let mut twins = self.store.twins().lock();
        let Some(wanted) = twins.get_mut(&self.content) else { return };
        wanted.wishes -= 1;
        let last = if wanted.wishes == 0 { twins.remove(&self.content) } else { None };
        drop(twins);
        // Its file is removed without the lock.
        drop(last);
    }
}
