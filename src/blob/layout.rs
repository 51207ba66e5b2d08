//! The paths under DATA_DIR, and the steps that put a file there durably.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::disk::{Access, Disk, DiskFile, SyncError, is_sync_unsupported, read_full_at};
use super::error::{BlobError, IoContext, Result};
use super::folder::{Folder, TEMPORARY_SUFFIX};
use crate::id::ContentId;

/// The data directory's paths, its disk, and whether that disk can still be trusted.
pub(super) struct Layout {
    pub root: PathBuf,
    pub disk: Arc<dyn Disk>,
    poisoned: AtomicBool,
    names: Folder,
    received: Folder,
    /// Whether files from incoming/ can be reflinked into received/, once that was tried.
    reflinks: OnceLock<bool>,
    /// The shard folders whose names in the folder above are durable.
    durable_shards: Mutex<HashSet<PathBuf>>,
    temporaries: AtomicU64,
}

impl Layout {
    /// Makes the folders that are missing.
    pub fn create(root: &Path, disk: Arc<dyn Disk>) -> Result<Layout> {
        create_root(&*disk, root)?;
        disk.set_mode(root, 0o700).during("close to others", root)?;
        for folder in [OBJECTS, OUTBOARDS, NAMES, RECEIVED, INCOMING, QUARANTINE, RECORDS] {
            let path = root.join(folder);
            disk.create_dir(&path).during("create", &path)?;
        }
        let [names, received] = [NAMES, RECEIVED].map(|folder| Folder::look(&*disk, root.join(folder)));
        let layout = Layout {
            root: root.to_owned(),
            disk,
            poisoned: AtomicBool::new(false),
            names,
            received,
            reflinks: OnceLock::new(),
            durable_shards: Mutex::default(),
            temporaries: AtomicU64::new(0),
        };
        layout.check_one_file_system()?;
        for folder in [root.to_owned(), layout.objects(), root.join(OUTBOARDS)] {
            layout.sync_dir(&folder)?;
        }
        Ok(layout)
    }

    /// Whether a peer lives here, according to its peer.toml.
    pub fn has_peer(&self) -> bool {
        self.disk.stat(&self.root.join(PEER_FILE)).is_ok()
    }

    pub fn index(&self) -> PathBuf {
        self.root.join(INDEX)
    }

    pub fn objects(&self) -> PathBuf {
        self.root.join(OBJECTS)
    }

    pub fn names_folder(&self) -> &Folder {
        &self.names
    }

    pub fn received_folder(&self) -> &Folder {
        &self.received
    }

    /// Whether files from here can be reflinked into received/.
    pub fn makes_reflinks(&self) -> bool {
        *self.reflinks.get_or_init(|| {
            let (from, to) = (self.temporary(), self.received.temporary(&self.temporary()));
            let written = self.disk.create(&from).and_then(|file| file.write_all_at(b"\n", 0));
            let made = written.and_then(|()| self.disk.reflink(&from, &to)).is_ok();
            self.remove_quietly(&from);
            self.remove_quietly(&to);
            made
        })
    }

    pub fn incoming(&self) -> PathBuf {
        self.root.join(INCOMING)
    }

    pub fn records(&self) -> PathBuf {
        self.root.join(RECORDS)
    }

    pub fn quarantine(&self) -> PathBuf {
        self.root.join(QUARANTINE)
    }

    pub fn object(&self, content: &ContentId) -> PathBuf {
        self.root.join(object_below(OBJECTS, content))
    }

    pub fn outboard(&self, content: &ContentId) -> PathBuf {
        self.root.join(object_below(OUTBOARDS, content)).with_added_extension("mid")
    }

    pub fn part(&self, content: &ContentId) -> PathBuf {
        self.incoming().join(format!("{content}{PART_SUFFIX}"))
    }

    pub fn marks(&self, content: &ContentId) -> PathBuf {
        self.incoming().join(format!("{content}{MARKS_SUFFIX}"))
    }

    /// The object of which a file in incoming/ has the marks; `None` for other files.
    pub fn content_of_marks(name: &std::ffi::OsStr) -> Option<ContentId> {
        name.to_str()?.strip_suffix(MARKS_SUFFIX)?.parse().ok()
    }

    /// The object of which a file in incoming/ is a part; `None` for other files.
    pub fn content_of_part(name: &std::ffi::OsStr) -> Option<ContentId> {
        name.to_str()?.strip_suffix(PART_SUFFIX)?.parse().ok()
    }

    /// The text of a link in names/.
    pub fn link_target(content: &ContentId) -> PathBuf {
        Path::new("..").join(object_below(OBJECTS, content))
    }

    /// A path for a file that is renamed into its place; left-over files are removed when the store opens.
    pub fn temporary(&self) -> PathBuf {
        let count = self.temporaries.fetch_add(1, Ordering::Relaxed);
        self.incoming().join(format!("{count}{TEMPORARY_SUFFIX}"))
    }

    /// Fails after a failed sync.
    pub fn check(&self) -> Result<()> {
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(BlobError::Poisoned { dir: self.root.clone() });
        }
        Ok(())
    }

    /// Makes [`Layout::check`] fail from now on: the content of the disk is no longer known.
    pub fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
    }

    pub fn sync_file(&self, file: &dyn DiskFile, path: &Path) -> Result<()> {
        file.sync().map_err(|source| self.sync_failed(path, source))
    }

    /// Makes bytes and length of a file durable.
    pub fn sync_data(&self, file: &dyn DiskFile, path: &Path) -> Result<()> {
        file.sync_data().map_err(|source| self.sync_failed(path, source))
    }

    pub fn sync_dir(&self, path: &Path) -> Result<()> {
        self.disk.sync_dir(path).map_err(|error| match error {
            SyncError::Begin(source) => BlobError::Io { doing: "sync", path: path.to_owned(), source },
            SyncError::Sync(source) => self.sync_failed(path, source),
        })
    }

    /// Syncs a file on which no object depends, such as one in received/, which may be on another file system. A
    /// failure affects only this file.
    pub fn sync_copy(file: &dyn DiskFile, path: &Path) -> Result<()> {
        file.sync().during("sync", path)
    }

    /// Like [`Layout::sync_copy`], for the names in a folder. A file system that cannot sync folders causes no error.
    pub fn sync_folder_of_copies(&self, path: &Path) -> Result<()> {
        match self.disk.sync_dir(path) {
            Err(SyncError::Sync(error)) if is_sync_unsupported(&error) => Ok(()),
            Err(SyncError::Begin(error) | SyncError::Sync(error)) => Err(error).during("sync", path),
            Ok(()) => Ok(()),
        }
    }

    /// Renames a synced file into a shard folder (`ab/`) and makes its name there durable.
    pub fn publish(&self, from: &Path, to: &Path) -> Result<()> {
        self.publish_by(to, || self.disk.rename(from, to))
    }

    /// Like [`Layout::publish`], with the given rename.
    pub fn publish_by(&self, to: &Path, rename: impl FnOnce() -> std::io::Result<()>) -> Result<()> {
        let shard = to.parent().unwrap_or(&self.root);
        self.ensure_shard(shard)?;
        rename().during("write", to)?;
        self.sync_dir(shard)
    }

    /// Writes a whole small file under a temporary name and publishes it.
    pub fn publish_bytes(&self, bytes: &[u8], to: &Path) -> Result<()> {
        let temporary = self.temporary();
        let written = self.write_synced(bytes, &temporary).and_then(|()| self.publish(&temporary, to));
        if written.is_err() {
            self.remove_quietly(&temporary);
        }
        written
    }

    /// Moves a file that failed verification to quarantine, and puts the reason beside it.
    pub fn quarantine_file(&self, path: &Path, reason: &str) -> Result<()> {
        let name = path.file_name().unwrap_or_default();
        let place = self.quarantine().join(name);
        self.disk.rename(path, &place).during("move to quarantine", path)?;
        self.note_reason(&place, reason);
        self.sync_dir(&self.quarantine())
    }

    /// Writes bytes that failed verification, and are in no file of their own, to quarantine, and puts the reason beside
    /// them. Returns their place. Durable on return.
    pub fn quarantine_bytes(&self, name: &str, bytes: &[u8], reason: &str) -> Result<PathBuf> {
        let place = self.quarantine().join(name);
        self.publish_bytes(bytes, &place)?;
        self.note_reason(&place, reason);
        self.sync_dir(&self.quarantine())?;
        Ok(place)
    }

    fn note_reason(&self, place: &Path, reason: &str) {
        tracing::warn!(file = %place.display(), reason, "moved to quarantine");
        let note = place.with_added_extension("reason");
        // The file is out of the way; a full disk has no room for the note, but the log has it.
        let written = self.write(format!("{reason}\n").as_bytes(), &note);
        if let Err(error) = written.and_then(|file| Layout::sync_copy(&*file, &note)) {
            tracing::warn!(file = %note.display(), %error, "the reason was not written");
        }
    }

    /// Reads a whole file that this store wrote, of at most `max` bytes.
    pub fn read_whole(&self, path: &Path, max: u64) -> Result<Vec<u8>> {
        let read = || {
            let file = self.disk.open(path, Access::Read)?;
            let length = file.stamp()?.length;
            if length > max {
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "longer than it can be"));
            }
            let mut bytes = vec![0; length as usize];
            let filled = read_full_at(&*file, &mut bytes, 0)?;
            bytes.truncate(filled);
            Ok(bytes)
        };
        read().during("read", path)
    }

    /// Removes a file that may be missing, and makes that durable.
    pub fn remove_durably(&self, path: &Path) -> Result<()> {
        match self.disk.remove(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => {
                removed.during("remove", path)?;
                self.sync_dir(path.parent().unwrap_or(&self.root))
            }
        }
    }

    /// Removes a file that may be missing; a failure costs only space.
    pub fn remove_quietly(&self, path: &Path) {
        Layout::remove_quietly_on(&*self.disk, path);
    }

    /// Like [`Layout::remove_quietly`], on this disk.
    pub fn remove_quietly_on(disk: &dyn Disk, path: &Path) {
        match disk.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(file = %path.display(), %error, "cannot remove");
            }
            _ => {}
        }
    }

    /// Checks that a file can be renamed from incoming/ into each folder where files end.
    fn check_one_file_system(&self) -> Result<()> {
        let probe = self.incoming().join(format!("probe{TEMPORARY_SUFFIX}"));
        for folder in [OBJECTS, OUTBOARDS, QUARANTINE] {
            let there = self.root.join(folder).join(format!("probe{TEMPORARY_SUFFIX}"));
            if self.disk.create(&probe).is_err() {
                // On a full disk nothing can be tried, and nothing is renamed either.
                return Ok(());
            }
            let moved = self.disk.rename(&probe, &there);
            self.remove_quietly(if moved.is_ok() { &there } else { &probe });
            if moved.is_err_and(|error| error.kind() == std::io::ErrorKind::CrossesDevices) {
                return Err(BlobError::Apart { dir: self.root.clone(), folder });
            }
        }
        Ok(())
    }

    fn write_synced(&self, bytes: &[u8], path: &Path) -> Result<()> {
        self.sync_file(&*self.write(bytes, path)?, path)
    }

    fn write(&self, bytes: &[u8], path: &Path) -> Result<Box<dyn DiskFile>> {
        let file = self.disk.create(path).during("create", path)?;
        file.write_all_at(bytes, 0).during("write", path)?;
        Ok(file)
    }

    /// Makes a shard folder durable. Two threads may both sync the folder above; none goes on before its own sync has
    /// returned.
    fn ensure_shard(&self, shard: &Path) -> Result<()> {
        let known =
            |shard: &Path| self.durable_shards.lock().unwrap_or_else(PoisonError::into_inner).contains(shard);
        if known(shard) {
            return Ok(());
        }
        self.disk.create_dir(shard).during("create", shard)?;
        self.sync_dir(shard.parent().unwrap_or(&self.root))?;
        self.durable_shards.lock().unwrap_or_else(PoisonError::into_inner).insert(shard.to_owned());
        Ok(())
    }

    fn sync_failed(&self, path: &Path, source: std::io::Error) -> BlobError {
        self.poison();
        tracing::error!(file = %path.display(), error = %source, "sync failed");
        BlobError::Sync { path: path.to_owned(), source }
    }
}

/// Makes the data directory and the missing folders above it, and makes their names durable: without its name in the
/// folder above, the whole data directory would be gone after a loss of power.
pub(super) fn create_root(disk: &dyn Disk, root: &Path) -> Result<()> {
    let above = |path: &Path| match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new(".").to_owned(),
        Some(above) => above.to_owned(),
        None => path.to_owned(),
    };
    let missing: Vec<PathBuf> =
        root.ancestors().take_while(|path| disk.stat(path).is_err()).map(above).collect();
    disk.create_dir(root).during("create", root)?;
    for folder in missing {
        match disk.sync_dir(&folder) {
            Err(SyncError::Sync(error)) if !is_sync_unsupported(&error) => {
                return Err(error).during("sync", &folder);
            }
            // A folder that this process may search but not read is synced by its owner, or in time.
            synced => drop(synced),
        }
    }
    Ok(())
}

/// The path `ab/abcdef…` below a folder.
fn object_below(folder: &str, content: &ContentId) -> PathBuf {
    let hex = content.to_string();
    Path::new(folder).join(&hex[..2]).join(hex)
}

/// The content id in a file name, if the name is 64 lower-case hexadecimal digits.
pub(super) fn parse_object_name(name: &std::ffi::OsStr) -> Option<ContentId> {
    let content: ContentId = name.to_str()?.parse().ok()?;
    (content.to_string().as_str() == name).then_some(content)
}

/// The mode of an object, and of a copy of it for people: read-only for all users.
pub(super) const OBJECT_MODE: u32 = 0o444;
/// The file name of the peer's identity.
pub(super) const PEER_FILE: &str = "peer.toml";
/// The file name of the index.
pub const INDEX: &str = "index.redb";
pub(super) const PART_SUFFIX: &str = ".part";
const MARKS_SUFFIX: &str = ".marks";

const OBJECTS: &str = "objects";
const OUTBOARDS: &str = "outboards";
const NAMES: &str = "names";
const RECEIVED: &str = "received";
const INCOMING: &str = "incoming";
const QUARANTINE: &str = "quarantine";
const RECORDS: &str = "records";
