//! names/ and received/: the files under the names that people read.
//!
//! The index decides which object a name stands for; names/ shows it and is corrected when the store opens. It is a
//! convenience: if a link cannot be made, the object is here all the same, and one notice says so.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::buffers::Buffer;
use super::bulk::Cache;
use super::change::Change;
use super::disk::{Access, Disk, DiskFile, read_full_cached_at};
use super::error::{BlobError, IoContext, Result, is_unreadable, unreadable};
use super::folder::Folder;
use super::layout::{Layout, OBJECT_MODE, parse_object_name};
use super::notice::Notice;
use super::store::Store;
use crate::id::{ContentId, FileName};
use crate::outboard::ChunkHasher;
use crate::time::Timestamp;
use crate::wire::Link;

impl Store {
    /// Links a name to an object that is here, unless the name was linked or unlinked with a later clock.
    ///
    /// # Errors
    /// [`BlobError::NotHere`] when the object is missing; [`BlobError::Poisoned`]; the errors of the index.
    pub fn link(&self, link: &Link, content: ContentId) -> Result<()> {
        if self.info(&content)?.is_none() {
            return Err(BlobError::NotHere { content });
        }
        self.set_link(&link.name, link.clock, Some(content))
    }

    /// Removes a name, unless it was linked with a later clock; an earlier link does not bring it back.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`]; the errors of the index.
    pub fn unlink(&self, name: &FileName, clock: Timestamp) -> Result<()> {
        self.set_link(name, clock, None)
    }

    /// The names that are linked to an object here.
    pub fn names_of(&self, content: &ContentId) -> Result<Vec<Link>> {
        self.index().names_of(content, usize::MAX)
    }

    /// The object that a name is linked to here.
    pub fn linked(&self, name: &FileName) -> Result<Option<ContentId>> {
        Ok(self.index().linked(name.as_str())?.and_then(|(_, content)| content))
    }

    /// Puts an object into received/ under this name, over any file that has the name, and returns its path. The file
    /// is a reflink if the file system can make one, otherwise a copy; its mode is 0444. Its bytes are hashed in this
    /// pass, unless they were recently hashed. If the folder cannot hold a file of that name, the file is named after
    /// its content id, and a notice says so.
    ///
    /// # Errors
    /// [`BlobError::NotHere`]; [`BlobError::Rotten`] when the object did not match its name; [`BlobError::Poisoned`];
    /// the errors of the disk.
    pub fn place_received(&self, content: &ContentId, name: &FileName) -> Result<PathBuf> {
        self.layout().check()?;
        self.used(content);
        let folder = self.layout().received_folder();
        let place = folder.entry(name.as_str());
        match self.place_at(content, &place, folder) {
            Err(BlobError::Io { source, .. }) if is_name_refused(&source) => {
                let place = folder.entry(&content.to_string());
                self.place_at(content, &place, folder)?;
                self.notices().tell(Notice::Renamed { name: name.clone(), path: place.clone() });
                Ok(place)
            }
            placed => placed.map(|()| place),
        }
    }

    /// The file is made beside its place, which may be on another file system with its own room.
    fn place_at(&self, content: &ContentId, place: &Path, folder: &Folder) -> Result<()> {
        let temporary = match self.written_on_the_way(content)? {
            Some(written) => written,
            None => {
                let temporary = folder.temporary(&self.layout().temporary());
                self.duplicate(content, &temporary)?;
                temporary
            }
        };
        if let Err(error) = self.layout().disk.rename(&temporary, place) {
            self.layout().remove_quietly(&temporary);
            return Err(error).during("write", place);
        }
        self.layout().sync_folder_of_copies(folder.path())
    }

    /// The copy of an object that was written together with it, if the object is still as it came.
    fn written_on_the_way(&self, content: &ContentId) -> Result<Option<PathBuf>> {
        Ok(if self.contains(content)? { self.take_twin(content) } else { None })
    }

    /// Makes names/ agree with the index about this name. A link that cannot be made causes only a notice.
    pub(super) fn show_link(&self, name: &FileName) {
        let _lock = self.link_locks().lock(name.as_str().as_bytes());
        let path = self.layout().names_folder().entry(name.as_str());
        let shown = match self.linked(name) {
            Ok(Some(content)) => self.make_link(&content, &path),
            Ok(None) => {
                self.layout().remove_quietly(&path);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%name, %error, "its link is not looked at");
                Ok(())
            }
        };
        if let Err(error) = shown {
            self.notices().tell(Notice::NoLink { path, reason: error.to_string() });
        }
    }

    fn make_link(&self, content: &ContentId, path: &Path) -> io::Result<()> {
        let (disk, target) = (&self.layout().disk, Layout::link_target(content));
        // A new name needs no rename.
        match disk.symlink(&target, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
        if disk.read_link(path).is_ok_and(|shown| shown == target) {
            return Ok(());
        }
        let temporary = self.layout().temporary();
        disk.symlink(&target, &temporary)?;
        let renamed = match disk.rename(&temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.layout().remove_quietly(path);
                disk.symlink(&target, path)
            }
            renamed => renamed,
        };
        if renamed.is_err() || disk.stat(&temporary).is_ok() {
            self.layout().remove_quietly(&temporary);
        }
        renamed
    }

    fn set_link(&self, name: &FileName, clock: Timestamp, content: Option<ContentId>) -> Result<()> {
        self.index().submit([Change::Link { name: name.clone(), clock, content }])?;
        self.show_link(name);
        Ok(())
    }

    /// Makes a synced file of an object's bytes at this path, and makes sure that they are the object's.
    fn duplicate(&self, content: &ContentId, to: &Path) -> Result<()> {
        if !self.contains(content)? {
            return Err(BlobError::NotHere { content: *content });
        }
        let disk = &*self.layout().disk;
        let made = self.reflink(content, to).and_then(|made| match made {
            true => Ok(()),
            false => self.copy(content, to),
        });
        let synced = made.and_then(|()| {
            disk.set_mode(to, OBJECT_MODE).during("make read-only", to)?;
            let file = disk.open(to, Access::Read).during("read", to)?;
            Layout::sync_copy(&*file, to)
        });
        if synced.is_err() {
            self.layout().remove_quietly(to);
        }
        synced
    }

    /// Makes a reflink of an object. True if it exists and its bytes are known to be right.
    fn reflink(&self, content: &ContentId, to: &Path) -> Result<bool> {
        let (disk, from) = (&self.layout().disk, self.layout().object(content));
        let before = disk.stat(&from).during("read", &from)?.stamp;
        if disk.reflink(&from, to).is_err() {
            return Ok(false);
        }
        // The reflink shares the object's blocks: if it was made of the file that was hashed, both are right.
        if !self.check(content)? {
            return Err(is_rotten(content));
        }
        let after = disk.stat(&from).during("read", &from)?.stamp;
        Ok(after == before && self.checks().trusts(content, &before, self.now()))
    }

    /// Copies an object, and hashes it meanwhile unless it was recently hashed.
    fn copy(&self, content: &ContentId, to: &Path) -> Result<()> {
        let file = self.open_object(content)?;
        let from = self.layout().object(content);
        let before = file.stamp().during("read", &from)?;
        let copy = |hasher| match copy(&*self.layout().disk, &*file, to, hasher) {
            Err(CopyError::Read(error)) if is_unreadable(&error) => {
                Err(self.rotten(content, &before, &unreadable(&error)))
            }
            Err(CopyError::Read(error)) => Err(error).during("read", &from),
            Err(CopyError::Write(error)) => Err(error).during("copy to", to),
            Ok(found) => Ok(found),
        };
        if self.checks().trusts(content, &before, self.now()) {
            copy(None)?;
            if file.stamp().during("read", &from)? == before {
                return Ok(());
            }
            // The file changed while it was copied: it is copied once more, and hashed.
        }
        if copy(Some(ChunkHasher::default()))? == Some(*content) {
            return Ok(());
        }
        // The check tells whether the object is wrong, or was only read wrongly this once.
        self.checks().forget(content);
        self.check(content)?;
        Err(is_rotten(content))
    }
}

/// Makes names/ agree with the index, after a crash or a manual change in the folder. `is_whole`: the index has all that
/// it should have, so that a link that it does not know was removed, and a crash kept it in the folder.
pub(super) fn restore(store: &Store, is_whole: bool) -> Result<()> {
    let folder = store.layout().names_folder();
    let mut shown = if is_whole { names_in(store, folder)? } else { Vec::new() }.into_iter().peekable();
    let mut after = String::new();
    loop {
        let links = store.index().links_after(&after, LINKS_PER_READ)?;
        for (name, content) in &links {
            while let Some(stray) = shown.next_if(|shown| shown < name) {
                remove_stray(store, folder, &stray);
            }
            shown.next_if_eq(name);
            let target = store.layout().disk.read_link(&folder.entry(name));
            if target.is_ok_and(|target| target == Layout::link_target(content)) {
                continue;
            }
            if let Ok(name) = FileName::new(name.as_str()) {
                store.show_link(&name);
            }
        }
        match links.into_iter().next_back() {
            Some((last, _)) => after = last,
            None => break,
        }
    }
    shown.for_each(|stray| remove_stray(store, folder, &stray));
    Ok(())
}

/// The names that a folder shows, in order.
fn names_in(store: &Store, folder: &Folder) -> Result<Vec<String>> {
    let entries = store.layout().disk.read_dir(folder.path()).during("list", folder.path())?;
    let mut names: Vec<String> = entries.iter().filter_map(|entry| folder.name_of(entry.to_str()?)).collect();
    names.sort_unstable();
    Ok(names)
}

/// Removes the link of a name that stands for nothing here; what is no link to an object is left alone.
fn remove_stray(store: &Store, folder: &Folder, name: &str) {
    let target = store.layout().disk.read_link(&folder.entry(name));
    let is_ours = |target: PathBuf| {
        let content = target.file_name().and_then(parse_object_name);
        content.is_some_and(|content| Layout::link_target(&content) == target)
    };
    if target.is_ok_and(is_ours)
        && let Ok(name) = FileName::new(name)
    {
        store.show_link(&name);
    }
}

/// A copy that failed: the object could not be read, or the new file could not be written.
enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies a file; returns the content id of the copied bytes, if they were hashed.
fn copy(
    disk: &dyn Disk,
    from: &dyn DiskFile,
    to: &Path,
    mut hasher: Option<ChunkHasher>,
) -> std::result::Result<Option<ContentId>, CopyError> {
    let to = disk.create(to).map_err(CopyError::Write)?;
    let length = from.stamp().map_err(CopyError::Read)?.length;
    let cache = Cache::for_length(length);
    let mut piece = Buffer::take(length.max(1));
    let mut offset = 0;
    loop {
        let read = read_full_cached_at(from, piece.room(), offset, cache).map_err(CopyError::Read)?;
        if read == 0 {
            return Ok(hasher.map(|hasher| hasher.finish().0));
        }
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece.room()[..read]);
        }
        let mut pieces = [IoSlice::new(&piece.room()[..read])];
        to.write_pieces_at(&mut pieces, offset, cache).map_err(CopyError::Write)?;
        offset += read as u64;
    }
}

fn is_rotten(content: &ContentId) -> BlobError {
    BlobError::Rotten { content: *content, reason: "its bytes are others".to_owned() }
}

/// Whether the file system accepts no file of this name, whatever its content.
fn is_name_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory
    )
}

const LINKS_PER_READ: usize = 1_000;
