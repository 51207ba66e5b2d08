//! The file operations that durability depends on, as a trait: the real disk, one that fails on
//! purpose in tests, one in the simulator.
//!
//! The index is not behind it: redb keeps its own file and syncs it itself.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The operations on files and folders that a [`Store`](super::Store) needs. All block.
///
/// Nothing is durable before [`DiskFile::sync`] for a file's bytes and [`Disk::sync_dir`] for the
/// names in a folder.
pub trait Disk: Send + Sync {
    /// Makes a folder of mode 0700 and the folders above it; one that is there already is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a file of mode 0600, or empties the one that is there, to read and write.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file that is there.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// What is at this path, symbolic links not followed.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// The names in a folder, in any order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// Gives a file another name, atomically, in place of what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file or a symbolic link.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Sets a file's permission bits.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Gives a file a second name.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a copy that shares blocks until one of the two is written to. Fails where the file
    /// system cannot.
    fn reflink(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a symbolic link at `link` that says `target`.
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// What a symbolic link says.
    fn read_link(&self, path: &Path) -> io::Result<std::path::PathBuf>;
    /// Whether this process can write to files of mode 0444, as root can.
    fn overrides_modes(&self) -> bool;
}

/// An open file. Reads and writes name their place, so there is no position to lose.
pub trait DiskFile: Send + Sync {
    /// The length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads some bytes from this offset on; none at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes from this offset on.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Sets the permission bits.
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    /// Makes bytes, length and mode durable.
    fn sync(&self) -> io::Result<()>;
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To read and write.
    Update,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// A regular file, rather than a folder, a link or something else.
    pub is_file: bool,
    /// Its length in bytes.
    pub length: u64,
    /// When it was written to last, where the file system tells.
    pub modified: Option<std::time::SystemTime>,
}

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
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
        Ok(Stat { is_file: metadata.is_file(), length: metadata.len(), modified: metadata.modified().ok() })
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
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

    fn overrides_modes(&self) -> bool {
        rustix::process::geteuid().is_root()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
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
}

/// Fills `bytes` from this offset on as far as the file reaches; how many bytes that were.
pub(super) fn read_full_at(file: &dyn DiskFile, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
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
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

    use super::*;

    /// What fails.
    #[derive(Default)]
    pub struct Faults {
        /// Each sync of a file.
        pub file_syncs: AtomicBool,
        /// Each sync of a folder.
        pub dir_syncs: AtomicBool,
        /// Bytes that fit while `limited`.
        pub room: AtomicI64,
        /// Whether `room` counts.
        pub limited: AtomicBool,
        /// What `overrides_modes` answers is turned round.
        pub swap_user: AtomicBool,
    }

    /// The real disk under [`Faults`].
    #[derive(Clone, Default)]
    pub struct FaultyDisk(pub Arc<Faults>);

    struct FaultyFile(Box<dyn DiskFile>, Arc<Faults>);

    impl FaultyDisk {
        fn wrap(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
            Box::new(FaultyFile(file, self.0.clone()))
        }
    }

    impl Disk for FaultyDisk {
        fn create_dir(&self, path: &Path) -> io::Result<()> {
            RealDisk.create_dir(path)
        }
        fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            Ok(self.wrap(RealDisk.create(path)?))
        }
        fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
            Ok(self.wrap(RealDisk.open(path, access)?))
        }
        fn stat(&self, path: &Path) -> io::Result<Stat> {
            RealDisk.stat(path)
        }
        fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
            RealDisk.read_dir(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealDisk.rename(from, to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            RealDisk.remove(path)
        }
        fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
            RealDisk.set_mode(path, mode)
        }
        fn sync_dir(&self, path: &Path) -> io::Result<()> {
            fail_if(&self.0.dir_syncs)?;
            RealDisk.sync_dir(path)
        }
        fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealDisk.hard_link(from, to)
        }
        fn reflink(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealDisk.reflink(from, to)
        }
        fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
            RealDisk.symlink(target, link)
        }
        fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
            RealDisk.read_link(path)
        }
        fn overrides_modes(&self) -> bool {
            RealDisk.overrides_modes() != self.0.swap_user.load(Ordering::SeqCst)
        }
    }

    impl DiskFile for FaultyFile {
        fn length(&self) -> io::Result<u64> {
            self.0.length()
        }
        fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
            self.0.read_at(bytes, offset)
        }
        fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let limited = self.1.limited.load(Ordering::SeqCst);
            if limited && self.1.room.fetch_sub(bytes.len() as i64, Ordering::SeqCst) < bytes.len() as i64 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write_all_at(bytes, offset)
        }
        fn set_length(&self, length: u64) -> io::Result<()> {
            self.0.set_length(length)
        }
        fn set_mode(&self, mode: u32) -> io::Result<()> {
            self.0.set_mode(mode)
        }
        fn sync(&self) -> io::Result<()> {
            fail_if(&self.1.file_syncs)?;
            self.0.sync()
        }
    }

    fn fail_if(fault: &AtomicBool) -> io::Result<()> {
        if fault.load(Ordering::SeqCst) { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}
