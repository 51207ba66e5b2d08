//! Entries of a tree, written into a folder. No step goes through a symbolic link, nothing that was not there when the
//! folder was looked at is replaced, and no set-user-id bit is ever set.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, chmodat, fchmod, fstat, futimens,
    linkat, mkdirat, openat, renameat, renameat_with, symlinkat, syncfs, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::beneath::{Beneath, look};
use super::place::{Step, permissions};
use crate::tree::{FileTime, Mode as TreeMode, TreePath};

/// A file on the way to its place. If it is dropped before its end, nothing of it remains.
#[derive(Debug)]
pub(super) struct NewFile {
    folder: OwnedFd,
    temporary: String,
    name: Vec<u8>,
    step: Step,
    in_place: bool,
}

impl NewFile {
    /// Begins a file with these permissions, less those that the umask removes.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn begin(
        beneath: &Beneath,
        path: &TreePath,
        step: Step,
        mode: TreeMode,
    ) -> io::Result<(NewFile, File)> {
        let (folder, temporary) = (beneath.parent(path)?, temporary_name());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&folder, &*temporary, flags, Mode::from_raw_mode(mode.bits()))?;
        let name = path.name().to_vec();
        Ok((NewFile { folder, temporary, name, step, in_place: false }, File::from(file)))
    }

    /// Gives the file its time and its place.
    ///
    /// # Errors
    /// Another entry is in its place, or the disk failed.
    pub(super) fn finish(mut self, file: &File, modified: FileTime) -> io::Result<()> {
        futimens(file, &times(modified))?;
        put(&self.folder, &self.temporary, &self.name, self.step)?;
        self.in_place = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.in_place {
            let _ = unlinkat(&self.folder, &*self.temporary, AtFlags::empty());
        }
    }
}

/// Moves a temporary entry to its place.
fn put(folder: &OwnedFd, temporary: &str, name: &[u8], step: Step) -> io::Result<()> {
    if step == Step::Replace {
        return Ok(renameat(folder, temporary, folder, name)?);
    }
    match renameat_with(folder, temporary, folder, name, RenameFlags::NOREPLACE) {
        // The file system does not know the flag. A hard link replaces nothing either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(folder, temporary, folder, name, AtFlags::empty())?;
            Ok(unlinkat(folder, temporary, AtFlags::empty())?)
        }
        renamed => Ok(renamed?),
    }
}

/// Makes a directory into which this process can write.
///
/// # Errors
/// Another entry is there, or the disk failed.
pub(super) fn make_directory(beneath: &Beneath, path: &TreePath, mode: TreeMode) -> io::Result<()> {
    let folder = beneath.parent(path)?;
    Ok(mkdirat(&folder, path.name(), Mode::from_raw_mode(mode.bits() | 0o700))?)
}

/// Makes a symbolic link.
///
/// # Errors
/// Another entry is there, or the disk failed.
pub(super) fn make_link(
    beneath: &Beneath,
    path: &TreePath,
    step: Step,
    target: &[u8],
    modified: FileTime,
) -> io::Result<()> {
    let (folder, temporary) = (beneath.parent(path)?, temporary_name());
    symlinkat(target, &folder, &*temporary)?;
    let made = utimensat(&folder, &*temporary, &times(modified), AtFlags::SYMLINK_NOFOLLOW);
    let placed = made.map_err(io::Error::from).and_then(|()| put(&folder, &temporary, path.name(), step));
    if placed.is_err() {
        let _ = unlinkat(&folder, &*temporary, AtFlags::empty());
    }
    placed
}

/// Gives a file that was there its mtime and its executable bit.
///
/// # Errors
/// It belongs to another user, or is gone.
pub(super) fn touch(
    beneath: &Beneath,
    path: &TreePath,
    mode: TreeMode,
    modified: FileTime,
) -> io::Result<()> {
    let folder = beneath.parent(path)?;
    let Some(there) = look(&folder, path.name())? else { return Err(io::ErrorKind::NotFound.into()) };
    let now = permissions(&there);
    let wanted = match mode.bits() & 0o100 {
        0 => now & !0o111,
        // Whoever may read it may run it.
        _ => now | ((now & 0o444) >> 2),
    };
    if now != wanted {
        chmodat(&folder, path.name(), Mode::from_raw_mode(wanted), AtFlags::empty())?;
    }
    if (there.st_mtime, there.st_mtime_nsec as u32) != (modified.seconds(), modified.nanos()) {
        utimensat(&folder, path.name(), &times(modified), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Gives a directory that was made its permissions and its mtime; its entries are all there.
///
/// # Errors
/// The disk failed.
pub(super) fn finish_directory(folder: &OwnedFd, mode: TreeMode, modified: FileTime) -> io::Result<()> {
    let now = permissions(&fstat(folder)?);
    // The owner's permissions were needed to write; the umask has removed others already.
    fchmod(folder, Mode::from_raw_mode(now & (mode.bits() | !0o700)))?;
    Ok(futimens(folder, &times(modified))?)
}

/// Makes all that was written to the file system of a folder durable.
///
/// # Errors
/// The disk failed.
pub(super) fn sync(beneath: &Beneath) -> io::Result<()> {
    Ok(syncfs(beneath.root())?)
}

fn times(modified: FileTime) -> Timestamps {
    let last_modification = Timespec { tv_sec: modified.seconds(), tv_nsec: modified.nanos().into() };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Timestamps { last_access, last_modification }
}

fn temporary_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(".quoit-{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn write(beneath: &Beneath, at: &str, step: Step, mode: u32) -> io::Result<()> {
        let (new, mut file) = NewFile::begin(beneath, &path(at), step, TreeMode::of_bits(mode))?;
        file.write_all(b"written")?;
        new.finish(&file, FileTime::new(1_000, 5))
    }

    fn entries(dir: &std::path::Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_file_has_its_mode_and_time_and_no_special_bit() {
        let dir = tempfile::tempdir().unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        write(&beneath, "run", Step::Make, 0o6755).unwrap();
        let there = std::fs::metadata(dir.path().join("run")).unwrap();
        assert_eq!((there.mtime(), there.mtime_nsec()), (1_000, 5));
        assert_eq!((there.mode() & 0o7000, there.mode() & 0o500), (0, 0o500));
        touch(&beneath, &path("run"), TreeMode::of_bits(0o644), FileTime::new(-2, 7)).unwrap();
        let there = std::fs::metadata(dir.path().join("run")).unwrap();
        assert_eq!((there.mtime(), there.mtime_nsec(), there.mode() & 0o111), (-2, 7, 0));
    }

    /// Goal: a folder that changed after it was looked at loses nothing, and leads nowhere.
    #[test]
    fn nothing_that_came_meanwhile_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        let beneath = Beneath::open(&root).unwrap();
        std::fs::write(root.join("file"), "mine").unwrap();
        symlink(&outside, root.join("link")).unwrap();
        for at in ["file", "link"] {
            assert!(write(&beneath, at, Step::Make, 0o644).is_err(), "{at}");
            assert!(make_link(&beneath, &path(at), Step::Make, b"x", FileTime::default()).is_err(), "{at}");
            assert!(make_directory(&beneath, &path(at), TreeMode::of_bits(0o755)).is_err(), "{at}");
        }
        assert!(write(&beneath, "link/file", Step::Make, 0o644).is_err(), "through a link");
        assert!(make_directory(&beneath, &path("link/dir"), TreeMode::of_bits(0o755)).is_err());
        assert!(make_link(&beneath, &path("link/l"), Step::Make, b"x", FileTime::default()).is_err());
        assert_eq!((entries(&root), entries(&outside)), (2, 0), "no temporary file stays");
        assert_eq!(std::fs::read(root.join("file")).unwrap(), b"mine");
        write(&beneath, "link", Step::Replace, 0o644).unwrap();
        assert_eq!((entries(&root), entries(&outside)), (2, 0), "the link is replaced, not its target");
    }

    #[test]
    fn a_directory_gets_its_permissions_last() {
        let dir = tempfile::tempdir().unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        make_directory(&beneath, &path("closed"), TreeMode::of_bits(0o555)).unwrap();
        write(&beneath, "closed/file", Step::Make, 0o444).unwrap();
        let folder = beneath.folder(&path("closed")).unwrap();
        finish_directory(&folder, TreeMode::of_bits(0o555), FileTime::new(9, 0)).unwrap();
        let there = std::fs::metadata(dir.path().join("closed")).unwrap();
        assert_eq!((there.mode() & 0o700, there.mtime()), (0o500, 9));
        sync(&beneath).unwrap();
        std::fs::set_permissions(
            dir.path().join("closed"),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )
        .unwrap();
    }
}
