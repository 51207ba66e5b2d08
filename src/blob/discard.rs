//! Removing an object for good: its bytes are not wanted here any more.
//!
//! The index decides, in one transaction: the object, its links and its place in the cache go, and its content id is
//! noted as doomed. Only then its files go. So a crash between leaves a file that the next opening removes, by that
//! note, and does not take for an object that the index has lost. A copy that comes later ends the note in the
//! transaction that makes it an object.

use std::sync::Arc;

use super::change::{Change, Discard, ObjectRow};
use super::error::Result;
use super::reserve;
use super::store::Store;
use crate::id::ContentId;
use crate::outboard::chunk_count;

impl Store {
    /// Removes an object and all that belongs to it, if `still` holds: the condition is looked at in the transaction
    /// that takes the object out of the index, with nothing between. A pinned object stays, and so does one that a
    /// reader has open now. Durable on return; true if the object was removed.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`](super::BlobError::Poisoned), or the errors of the index and of the disk. After an error
    /// of the disk the object is out of the index; its files go when the store opens again.
    pub fn discard(
        &self,
        content: &ContentId,
        still: impl Fn(&ObjectRow) -> bool + Send + Sync + 'static,
    ) -> Result<bool> {
        self.discard_as(content, Discard::new(*content, still))
    }

    pub(super) fn discard_as(&self, content: &ContentId, discard: Discard) -> Result<bool> {
        self.layout().check()?;
        // No file comes into this place, and no other thread vouches for it, until it is empty.
        let _lock = self.object_locks().lock(&content.0);
        let Some((info, _)) = self.index().object(content)? else { return Ok(false) };
        if self.uses().is_read(content) {
            return Ok(false);
        }
        let names = self.names_of(content)?;
        let discard = Arc::new(discard);
        {
            // Held until the commit: a note of this object that an earlier discard left is not cleared after this one
            // has made its own.
            let mut swept = self.swept();
            // A removal frees room: on a full disk the reserve serves the commit.
            reserve::with_reserve(self.dir(), &*self.layout().disk, || {
                self.index().submit([Change::Swept(swept.clone()), Change::Discard(discard.clone())])
            })?;
            swept.clear();
        }
        if !discard.is_done() {
            return Ok(false);
        }
        self.checks().forget(content);
        names.iter().for_each(|link| self.show_link(&link.name));
        self.sweep_files(content, info.length)?;
        self.swept().push(*content);
        Ok(true)
    }

    /// Removes the files of objects that a crash left half removed.
    pub(super) fn sweep(&self) -> Result<()> {
        let doomed = self.index().doomed()?;
        if doomed.is_empty() {
            return Ok(());
        }
        for content in &doomed {
            let length = self.layout().disk.stat(&self.layout().object(content)).map(|there| there.length());
            if let Ok(length) = length {
                tracing::info!(%content, "an object whose removal a crash had cut short is removed now");
                self.sweep_files(content, length)?;
            }
        }
        match self.index().submit([Change::Swept(doomed)]) {
            // The files are gone; the notes are cleared at the next opening.
            Err(error) if error.is_disk_full() => Ok(()),
            done => done,
        }
    }

    /// Removes an object's outboard and file, durably.
    fn sweep_files(&self, content: &ContentId, length: u64) -> Result<()> {
        let layout = self.layout();
        let (object, outboard) = (layout.object(content), layout.outboard(content));
        if chunk_count(length) > 1 {
            layout.remove_durably(&outboard)?;
        }
        layout.remove_durably(&object)
    }
}
