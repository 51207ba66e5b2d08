//! The wish for a person's copy of an object, which a transfer fulfils on the way (see [`super::twin`]).

use std::path::PathBuf;
use std::sync::Arc;

use super::bulk::Cache;
use super::disk::DiskFile;
use super::store::Store;
use super::twin::Twin;
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

    /// The file of a transfer that begins, with a twin if one is wanted and the file system makes no reflinks.
    pub(super) fn with_twin(
        &self,
        content: &ContentId,
        length: u64,
        file: Box<dyn DiskFile>,
    ) -> Box<dyn DiskFile> {
        let layout = self.layout();
        if Cache::for_length(length) == Cache::Keep
            || !self.twins().lock().contains_key(content)
            || layout.makes_reflinks()
        {
            return file;
        }
        let path = layout.received_folder().temporary(&layout.temporary());
        // Where no second file can be made now, the copy is made afterwards.
        let Ok(twin) = Twin::create(layout.disk.clone(), path).map(Arc::new) else { return file };
        match self.twins().lock().get_mut(content) {
            Some(wanted) => wanted.twin = Some(twin.clone()),
            None => return file,
        }
        twin.beside(file)
    }

    /// Notes that an object is complete, and its twin with it.
    pub(super) fn note_whole_twin(&self, content: &ContentId) {
        if let Some(twin) = self.twins().lock().get(content).and_then(|wanted| wanted.twin.as_ref()) {
            twin.note_whole();
        }
    }

    /// The whole twin of an object, durable and read-only, which the caller puts into its place.
    pub(super) fn take_twin(&self, content: &ContentId) -> Option<PathBuf> {
        let twin = self.twins().lock().get_mut(content)?.twin.take()?;
        let taken = twin.take();
        if let Err(error) = &taken {
            tracing::debug!(%content, %error, "the copy that was written on the way is made anew");
        }
        taken.ok()
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
