//! Opening a store: its index and its folders are made to agree.

use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::error::Result;
use super::index::Index;
use super::journal::Journal;
use super::layout::Layout;
use super::notice::Notice;
use super::store::Store;
use super::{links, rebuild, reserve, settling};

impl Store {
    /// Opens a data directory, and makes it if it is missing.
    ///
    /// Brings the objects of the journal into their places. Corrects the left-overs of a crash: removes temporary files and half-removed objects, adds objects to the index that reached their place
    /// but not the index, and rebuilds a missing or corrupt index from the folders. Changes of the index that find no
    /// room on a full disk are made by a later [`Store::keep_reserve`], and a notice says so.
    ///
    /// # Errors
    /// [`BlobError::InUse`](super::BlobError::InUse) while another store uses the directory; otherwise the errors of the disk.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>) -> Result<Store> {
        let layout = Arc::new(Layout::create(dir, disk)?);
        let (index, set_aside) = Index::open(layout.clone())?;
        if !index.has_digests()? {
            reserve::with_reserve(&layout.root, &*layout.disk, || index.recount_digests())?;
        }
        let journal = Journal::open(layout.clone())?;
        let store = Store::new(index, journal, layout);
        if let Some(reason) = set_aside {
            store.notices().tell(Notice::IndexRebuilt { reason });
        }
        let skipped = store.index().bytes_without_record();
        if skipped > 0 {
            store.notices().tell(Notice::LogDamaged { dir: store.layout().records(), skipped });
        }
        store.sweep()?;
        let is_whole = settling::replay(&store)? & rebuild::put_right(&store)?;
        if !is_whole {
            *store.unsettled() = true;
            store.notices().tell(Notice::Full { dir: store.dir().to_owned() });
        }
        links::restore(&store, is_whole)?;
        store.keep_reserve();
        Ok(store)
    }

    /// Makes the reserve again once there is plenty of room, and makes the corrections that a full disk prevented at
    /// the start. True if the reserve is there.
    pub fn keep_reserve(&self) -> bool {
        self.settle();
        self.layout().check().is_ok() && reserve::keep(self.dir(), &*self.layout().disk)
    }

    fn settle(&self) {
        let mut unsettled = self.unsettled();
        if !*unsettled || self.full_with().is_some() {
            return;
        }
        let done = settling::replay(self).and_then(|replayed| Ok(replayed & rebuild::settle(self, false)?));
        match done.and_then(|all| links::restore(self, all).map(|()| all)) {
            Ok(all) => *unsettled = !all,
            Err(error) => tracing::warn!(%error, "the index does not agree with objects/ yet"),
        }
    }
}
