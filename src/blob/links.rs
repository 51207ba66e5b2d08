//! names/ and received/: the files under names that people read.
//!
//! The index decides what a name stands for; names/ shows it and is put right when the store opens.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Access, Disk, read_full_at};
use super::error::{BlobError, IoContext, Result};
use super::index::Change;
use super::layout::Layout;
use super::receive::OBJECT_MODE;
use super::store::Store;
use crate::id::{ContentId, FileName};
use crate::time::Timestamp;
use crate::wire::{Link, limits};

impl Store {
    /// Links a name to an object that is here, unless the name was linked or unlinked at a later clock.
    ///
    /// # Errors
    /// [`BlobError::NotHere`] when the object is not; [`BlobError::Poisoned`]; what the disk says.
    pub fn link(&self, link: &Link, content: ContentId) -> Result<()> {
        if !self.contains(&content)? {
            return Err(BlobError::NotHere { content });
        }
        self.set_link(&link.name, link.clock, Some(content))
    }

    /// Takes a name away, unless it was linked at a later clock; an earlier link does not bring it back.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`]; what the disk says.
    pub fn unlink(&self, name: &FileName, clock: Timestamp) -> Result<()> {
        self.set_link(name, clock, None)
    }

    /// The names that are linked to an object here.
    pub fn names_of(&self, content: &ContentId) -> Result<Vec<Link>> {
        self.index().names_of(content, usize::MAX)
    }

    /// What a name is linked to here.
    pub fn linked(&self, name: &FileName) -> Result<Option<ContentId>> {
        Ok(self.index().linked(name.as_str())?.and_then(|(_, content)| content))
    }

    /// Puts an object into received/ under this name, in place of what has that name there, and says
    /// where it is. A reflink where the file system can; else a read-only hard link, or, where this
    /// process could write to that, a copy. Mode 0444 in any case.
    ///
    /// # Errors
    /// [`BlobError::NotHere`]; [`BlobError::Poisoned`]; what the disk says.
    pub fn place_received(&self, content: &ContentId, name: &FileName) -> Result<PathBuf> {
        self.layout().check()?;
        if !self.contains(content)? {
            return Err(BlobError::NotHere { content: *content });
        }
        let place = self.layout().received().join(name.as_str());
        let temporary = self.layout().temporary();
        let placed = self
            .duplicate(&self.layout().object(content), &temporary)
            .and_then(|()| self.layout().disk.rename(&temporary, &place).during("write", &place));
        // Renaming one hard link over another of the same file leaves both (POSIX): hence always.
        self.layout().remove_quietly(&temporary);
        placed?;
        self.layout().sync_dir(&self.layout().received())?;
        Ok(place)
    }

    /// Makes names/ show what the index says of this name.
    pub(super) fn refresh_link(&self, name: &FileName) -> Result<()> {
        let _lock = self.link_locks().lock(name.as_str().as_bytes());
        let path = self.layout().names().join(name.as_str());
        match self.linked(name)? {
            Some(content) => {
                let temporary = self.layout().temporary();
                let disk = &self.layout().disk;
                disk.symlink(&Layout::link_target(&content), &temporary).during("link", &path)?;
                disk.rename(&temporary, &path).during("link", &path)
            }
            None => {
                self.layout().remove_quietly(&path);
                Ok(())
            }
        }
    }

    fn set_link(&self, name: &FileName, clock: Timestamp, content: Option<ContentId>) -> Result<()> {
        self.index().submit([Change::Link { name: name.clone(), clock, content }])?;
        self.refresh_link(name)
    }

    fn duplicate(&self, from: &Path, to: &Path) -> Result<()> {
        let disk = &*self.layout().disk;
        if disk.reflink(from, to).is_err() {
            if !disk.overrides_modes() {
                return disk.hard_link(from, to).during("link", to);
            }
            copy(disk, from, to).during("copy to", to)?;
        }
        disk.set_mode(to, OBJECT_MODE).during("make read-only", to)?;
        let file = disk.open(to, Access::Read).during("read", to)?;
        self.layout().sync_file(&*file, to)
    }
}

/// Makes names/ show what the index says, after a crash or a hand in the folder.
pub(super) fn restore(store: &Store) -> Result<()> {
    let mut after = String::new();
    loop {
        let links = store.index().links_after(&after, LINKS_PER_READ)?;
        for (name, content) in &links {
            let path = store.layout().names().join(name);
            let shown = store.layout().disk.read_link(&path);
            if shown.is_ok_and(|target| target == Layout::link_target(content)) {
                continue;
            }
            let name = FileName::new(name.as_str());
            if let Some(error) = name.ok().and_then(|name| store.refresh_link(&name).err()) {
                tracing::warn!(link = %path.display(), %error, "cannot restore");
            }
        }
        match links.into_iter().next_back() {
            Some((last, _)) => after = last,
            None => return Ok(()),
        }
    }
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (disk.open(from, Access::Read)?, disk.create(to)?);
    let mut piece = vec![0; limits::PIECE_BYTES];
    let mut offset = 0;
    loop {
        let read = read_full_at(&*from, &mut piece, offset)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all_at(&piece[..read], offset)?;
        offset += read as u64;
    }
}

const LINKS_PER_READ: usize = 1_000;
