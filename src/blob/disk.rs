//! The file operations that durability depends on, as a trait: implemented by the real disk, by one that fails on
//! purpose in tests, and by one in the simulator.
//!
//! The index's file uses it too (see [`super::backend`]).

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use super::bulk::{self, Cache};
use super::room::Room;
use crate::time::Moment;

/// The operations on files and folders that a [`Store`](super::Store) needs. All block.
///
/// Nothing is durable before [`DiskFile::sync`] for a file's bytes and [`Disk::sync_dir`] for the
/// names in a folder.
pub trait Disk: Send + Sync {
    /// The time on a clock that never goes back; the store measures spans of time by it.
    fn now(&self) -> Moment;
    /// The time by which files are stamped.
    fn wall_clock(&self) -> SystemTime;
    /// Makes a folder of mode 0700 and the folders above it; an existing folder is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a file of mode 0600, or empties an existing one, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// The kind and stamp of the entry at this path; symbolic links are not followed.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// The names in a folder, in any order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// Renames a file atomically, over any file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Exchanges the names of two files atomically. Fails if the file system cannot do that.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;
    /// Removes a file or a symbolic link.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Sets a file's permission bits.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// [`SyncError`] tells a sync that failed from one that could not be begun.
    fn sync_dir(&self, path: &Path) -> Result<(), SyncError>;
    /// A handle on the file system of a folder, for [`Disk::sync_many`]. It is opened before the first write, and kept:
    /// a handle reports only the failed writes that nobody was told of before it was opened.
    fn file_system(&self, folder: &Path) -> io::Result<FileSystem> {
        let _ = folder;
        Ok(FileSystem::default())
    }
    /// Makes many files durable, bytes, lengths and modes, and the names in many folders, all on one file system. Files
    /// and folders that are gone by now are passed over.
    ///
    /// # Errors
    /// Like [`Disk::sync_dir`].
    fn sync_many(&self, _: &FileSystem, files: &[PathBuf], folders: &[PathBuf]) -> Result<(), SyncError> {
        let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        for path in files {
            match self.open(path, Access::Read) {
                Ok(file) => file.sync().map_err(SyncError::Sync)?,
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(SyncError::Begin(error)),
            }
        }
        for path in folders {
            match self.sync_dir(path) {
                Err(SyncError::Begin(error)) if is_gone(&error) => {}
                synced => synced?,
            }
        }
        Ok(())
    }
    /// Makes a copy that shares blocks until one of the two is written to. Fails if the file system cannot do that.
    fn reflink(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a symbolic link at `link` with the text `target`.
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// The text of a symbolic link.
    fn read_link(&self, path: &Path) -> io::Result<std::path::PathBuf>;
    /// The room that is left on the file system of this folder.
    fn room(&self, path: &Path) -> io::Result<Room>;
}

/// An open file. Reads and writes name their offset, so there is no position to lose.
pub trait DiskFile: Send + Sync {
    /// The stamp of the file, its length included.
    fn stamp(&self) -> io::Result<Stamp>;
    /// Reads some bytes from this offset on; 0 at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Like [`DiskFile::read_at`]; says whether the bytes are to stay in the system's cache.
    fn read_cached_at(&self, bytes: &mut [u8], offset: u64, _: Cache) -> io::Result<usize> {
        self.read_at(bytes, offset)
    }
    /// Writes all bytes from this offset on.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes the bytes of all pieces, one after the other, from this offset on; says whether they are to stay in the
    /// system's cache.
    fn write_pieces_at(&self, pieces: &mut [IoSlice<'_>], offset: u64, _: Cache) -> io::Result<()> {
        let mut at = offset;
        for piece in pieces {
            self.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
    /// Allocates room for this many bytes from the beginning on, and leaves the length as it is. Fails if the file
    /// system cannot do that.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Sets the permission bits.
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    /// Makes bytes, length and mode durable.
    fn sync(&self) -> io::Result<()>;
    /// Makes bytes and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Takes the lock of the whole file; false if another process or another opening of the file has it.
    fn try_lock(&self) -> io::Result<bool>;
    /// Releases the lock.
    fn unlock(&self) -> io::Result<()>;
}

/// Why the names in a folder are not known to be durable.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The folder could not be opened: nothing was asked of the disk, and a later try may succeed.
    #[error("{0}")]
    Begin(io::Error),
    /// The disk did not take the written data: its content is now unknown.
    #[error("{0}")]
    Sync(io::Error),
}

/// The purpose for which a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading.
    Read,
    /// For reading and writing.
    Update,
}

/// The kind and stamp of the entry at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// A regular file, rather than a folder, a link or something else.
    pub is_file: bool,
    /// The stamp, which changes when the file is written to.
    pub stamp: Stamp,
    /// The time of the last write, if the file system reports it.
    pub modified: Option<SystemTime>,
}

impl Stat {
    /// The length in bytes.
    pub fn length(&self) -> u64 {
        self.stamp.length
    }
}

/// The values of stat(2) that change when a file is written to or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The device number of the file system.
    pub device: u64,
    /// The inode number of the file.
    pub inode: u64,
    /// The length in bytes.
    pub length: u64,
    /// mtime: seconds and nanoseconds since the Unix epoch.
    pub modified: (i64, i64),
    /// ctime, which no program can set: seconds and nanoseconds since the Unix epoch.
    pub changed: (i64, i64),
}

impl Stamp {
    /// The stamp in the metadata of a file.
    pub fn of(metadata: &fs::Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether both are stamps of one file, perhaps in different states.
    pub fn is_same_file(&self, other: &Stamp) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// An open folder that stands for its file system, where one sync can cover all of it; else nothing.
#[derive(Debug, Default)]
pub struct FileSystem(Option<File>);

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn now(&self) -> Moment {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        Moment::default() + FIRST.get_or_init(Instant::now).elapsed()
    }

    fn wall_clock(&self) -> SystemTime {
        SystemTime::now()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(access == Access::Update).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Stat {
            is_file: metadata.is_file(),
            stamp: Stamp::of(&metadata),
            modified: metadata.modified().ok(),
        })
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[cfg(target_os = "linux")]
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn exchange(&self, _one: &Path, _other: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn sync_dir(&self, path: &Path) -> Result<(), SyncError> {
        File::open(path).map_err(SyncError::Begin)?.sync_all().map_err(SyncError::Sync)
    }

    #[cfg(target_os = "linux")]
    fn file_system(&self, folder: &Path) -> io::Result<FileSystem> {
        File::open(folder).map(|folder| FileSystem(Some(folder)))
    }

    /// One sync of the whole file system costs less than one for each file. Since Linux 5.8 it reports failed writes.
    #[cfg(target_os = "linux")]
    fn sync_many(&self, on: &FileSystem, _: &[PathBuf], _: &[PathBuf]) -> Result<(), SyncError> {
        let Some(folder) = &on.0 else { return Err(SyncError::Begin(io::ErrorKind::Unsupported.into())) };
        rustix::fs::syncfs(folder).map_err(|error| SyncError::Sync(error.into()))
    }

    fn reflink(&self, from: &Path, to: &Path) -> io::Result<()> {
        reflink_copy::reflink(from, to)
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, link)
    }

    fn read_link(&self, path: &Path) -> io::Result<std::path::PathBuf> {
        fs::read_link(path)
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        Room::of(path)
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp::of(&self.0.metadata()?))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn read_cached_at(&self, bytes: &mut [u8], offset: u64, cache: Cache) -> io::Result<usize> {
        bulk::read_at(&self.0, bytes, offset, cache)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn write_pieces_at(&self, pieces: &mut [IoSlice<'_>], offset: u64, cache: Cache) -> io::Result<()> {
        bulk::write_pieces_at(&self.0, pieces, offset, cache)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.0.set_permissions(Permissions::from_mode(mode))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}

/// Whether the error of a folder's sync says that its file system cannot sync folders.
pub(crate) fn is_sync_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// Fills `bytes` from this offset on as far as the file reaches; returns the number of bytes read.
pub(super) fn read_full_at(file: &dyn DiskFile, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    read_full_cached_at(file, bytes, offset, Cache::Keep)
}

/// Like [`read_full_at`]; says whether the bytes are to stay in the system's cache.
pub(super) fn read_full_cached_at(
    file: &dyn DiskFile,
    bytes: &mut [u8],
    offset: u64,
    cache: Cache,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_cached_at(&mut bytes[filled..], offset + filled as u64, cache) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A disk for tests: the real one, with failures on demand.
#[cfg(test)]
pub(super) mod faulty {
    use std::collections::HashMap;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The failures that a test switches on.
    #[derive(Default)]
    pub struct Faults {
        /// Each sync of a file fails.
        pub file_syncs: AtomicBool,
        /// Each sync of a folder fails.
        pub dir_syncs: AtomicBool,
        /// Each sync of a folder fails, as on a file system that cannot sync folders.
        pub dir_syncs_unsupported: AtomicBool,
        /// Opening a folder for its sync fails, as if too many files were open.
        pub dir_opens: AtomicBool,
        /// The number of bytes that fit while `limited`.
        pub room: AtomicI64,
        /// Whether `room` limits writes.
        pub limited: AtomicBool,
        /// Reflinks fail, as on a file system without them.
        pub no_reflinks: AtomicBool,
        /// Exchanges of two names fail, as on a file system without them.
        pub no_exchange: AtomicBool,
        /// Symbolic links fail, as on a file system without them.
        pub no_symlinks: AtomicBool,
        /// Renames into received/ and names/ fail, as if these were file systems of their own.
        pub names_apart: AtomicBool,
        /// Renames into objects/ fail, as if it were a file system of its own.
        pub objects_apart: AtomicBool,
        /// The folders names/ and received/ fold case.
        pub folds: AtomicBool,
        /// The number of bytes that the file system reports as free; 0 for the truth.
        pub free: AtomicU64,
        /// The file system reports that hardly an inode is left.
        pub no_inodes: AtomicBool,
        /// Files in received/ take no room, as on a file system of their own.
        pub received_roomy: AtomicBool,
        /// Each read of a file in objects/ and incoming/ fails.
        pub unreadable: AtomicBool,
        /// A callback before each read of a file in objects/, with its path and the offset.
        pub on_read: Mutex<Option<Hook>>,
        /// A callback before the next look at the room of the file system.
        pub on_room: Mutex<Option<Box<dyn FnOnce() + Send>>>,
        /// The blocks that files were allocated beyond their length, by inode.
        pub allocated: Mutex<HashMap<u64, u64>>,
    }

    pub type Hook = Arc<dyn Fn(&Path, u64) + Send + Sync>;

    /// The real disk under [`Faults`].
    #[derive(Clone, Default)]
    pub struct FaultyDisk(pub Arc<Faults>);

    struct FaultyFile(Box<dyn DiskFile>, Arc<Faults>, PathBuf);

    impl FaultyDisk {
        fn wrap(&self, file: Box<dyn DiskFile>, path: &Path) -> Box<dyn DiskFile> {
            Box::new(FaultyFile(file, self.0.clone(), path.to_owned()))
        }
    }

    impl FaultyFile {
        fn is_below(&self, folder: &str) -> bool {
            self.2.iter().any(|part| part == folder)
        }

        /// The number of bytes of a write that need room. redb leaves holes in its file, which are ignored here.
        fn cost(&self, length: usize, offset: u64) -> i64 {
            let name = self.2.file_name().unwrap_or_default().to_string_lossy();
            if self.is_below("received") && self.1.received_roomy.load(Ordering::SeqCst) {
                return 0;
            }
            if !name.starts_with("peer.toml") {
                return length as i64;
            }
            let stamp = self.0.stamp().unwrap();
            let allocated = self.1.allocated.lock().unwrap().get(&stamp.inode).copied().unwrap_or(0);
            (offset + length as u64).saturating_sub(allocated.max(stamp.length)) as i64
        }
    }

    impl FaultyDisk {
        /// The path that a case-folding folder finds.
        fn folded(&self, path: &Path) -> PathBuf {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return path.into() };
            let is_in = |folder: &str| parent.ends_with(folder);
            let is_folder = ["NAMES", "RECEIVED"].iter().any(|folder| name == *folder);
            if self.0.folds.load(Ordering::SeqCst) && (is_folder || is_in("names") || is_in("received")) {
                return parent.join(name.to_string_lossy().to_lowercase());
            }
            path.into()
        }
    }

    impl Disk for FaultyDisk {
        fn now(&self) -> Moment {
            RealDisk.now()
        }
        fn wall_clock(&self) -> SystemTime {
            RealDisk.wall_clock()
        }
        fn create_dir(&self, path: &Path) -> io::Result<()> {
            RealDisk.create_dir(path)
        }
        fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            let file = RealDisk.create(&self.folded(path))?;
            self.0.allocated.lock().unwrap().remove(&file.stamp()?.inode);
            Ok(self.wrap(file, path))
        }
        fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
            Ok(self.wrap(RealDisk.open(&self.folded(path), access)?, path))
        }
        fn stat(&self, path: &Path) -> io::Result<Stat> {
            RealDisk.stat(&self.folded(path))
        }
        fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
            RealDisk.read_dir(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            let is_in =
                |path: &Path, folder: &str| path.parent().is_some_and(|parent| parent.ends_with(folder));
            let names = ["names", "received"].iter().any(|folder| is_in(to, folder) && !is_in(from, folder));
            let objects = is_in(to, "objects");
            if (names && self.0.names_apart.load(Ordering::SeqCst))
                || (objects && self.0.objects_apart.load(Ordering::SeqCst))
            {
                return Err(io::ErrorKind::CrossesDevices.into());
            }
            RealDisk.rename(&self.folded(from), &self.folded(to))
        }
        fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
            if self.0.no_exchange.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::Unsupported.into());
            }
            RealDisk.exchange(one, other)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            // A removed file frees its room.
            let length = RealDisk.stat(path).map_or(0, |stat| stat.length());
            self.0.room.fetch_add(length as i64, Ordering::SeqCst);
            RealDisk.remove(&self.folded(path))
        }
        fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
            RealDisk.set_mode(path, mode)
        }
        fn sync_dir(&self, path: &Path) -> Result<(), SyncError> {
            fail_if(&self.0.dir_opens).map_err(SyncError::Begin)?;
            fail_if(&self.0.dir_syncs).map_err(SyncError::Sync)?;
            if self.0.dir_syncs_unsupported.load(Ordering::SeqCst) {
                return Err(SyncError::Sync(rustix::io::Errno::INVAL.into()));
            }
            RealDisk.sync_dir(path)
        }
        fn reflink(&self, from: &Path, to: &Path) -> io::Result<()> {
            fail_if(&self.0.no_reflinks)?;
            RealDisk.reflink(from, to)
        }
        fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
            fail_if(&self.0.no_symlinks)?;
            RealDisk.symlink(target, &self.folded(link))
        }
        fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
            RealDisk.read_link(&self.folded(path))
        }
        fn room(&self, path: &Path) -> io::Result<Room> {
            let hook = self.0.on_room.lock().unwrap().take();
            if let Some(hook) = hook {
                hook();
            }
            let mut room = RealDisk.room(path)?;
            if self.0.no_inodes.load(Ordering::SeqCst) {
                room.inodes = Some(3);
            }
            match self.0.free.load(Ordering::SeqCst) {
                0 => Ok(room),
                free => Ok(Room { free, total: free, inodes: None }),
            }
        }
    }

    impl DiskFile for FaultyFile {
        fn stamp(&self) -> io::Result<Stamp> {
            self.0.stamp()
        }
        fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
            let stored = self.is_below("objects") || self.is_below("incoming");
            let hook = self.1.on_read.lock().unwrap().clone();
            if let Some(hook) = hook.filter(|_| stored) {
                hook(&self.2, offset);
            }
            if stored && self.1.unreadable.load(Ordering::SeqCst) {
                return Err(rustix::io::Errno::IO.into());
            }
            self.0.read_at(bytes, offset)
        }
        fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let limited = self.1.limited.load(Ordering::SeqCst);
            let cost = self.cost(bytes.len(), offset);
            if limited && cost > 0 && self.1.room.fetch_sub(cost, Ordering::SeqCst) < cost {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write_all_at(bytes, offset)
        }
        fn allocate(&self, bytes: u64) -> io::Result<()> {
            let (limited, cost) = (self.1.limited.load(Ordering::SeqCst), self.cost(bytes as usize, 0));
            if limited && cost > self.1.room.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1.room.fetch_sub(cost, Ordering::SeqCst);
            self.1.allocated.lock().unwrap().insert(self.0.stamp()?.inode, bytes);
            self.0.allocate(bytes)
        }
        fn set_length(&self, length: u64) -> io::Result<()> {
            self.1.allocated.lock().unwrap().remove(&self.0.stamp()?.inode);
            self.0.set_length(length)
        }
        fn set_mode(&self, mode: u32) -> io::Result<()> {
            self.0.set_mode(mode)
        }
        fn sync(&self) -> io::Result<()> {
            fail_if(&self.1.file_syncs)?;
            self.0.sync()
        }
        fn sync_data(&self) -> io::Result<()> {
            fail_if(&self.1.file_syncs)?;
            self.0.sync_data()
        }
        fn try_lock(&self) -> io::Result<bool> {
            self.0.try_lock()
        }
        fn unlock(&self) -> io::Result<()> {
            self.0.unlock()
        }
    }

    fn fail_if(fault: &AtomicBool) -> io::Result<()> {
        if fault.load(Ordering::SeqCst) { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}
