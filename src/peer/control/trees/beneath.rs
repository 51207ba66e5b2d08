//! A folder whose entries are reached without leaving it: no step goes through a symbolic link.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, openat, openat2, statat};
use rustix::io::Errno;

use crate::tree::TreePath;

/// A folder, held open.
#[derive(Debug)]
pub(super) struct Beneath {
    root: OwnedFd,
}

impl Beneath {
    /// Opens the folder itself; links on the way to it are followed.
    ///
    /// # Errors
    /// It is no folder, or cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Beneath> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Beneath { root: openat(CWD, path, flags, Mode::empty())? })
    }

    /// The folder.
    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Opens a regular file in order to read it. A FIFO in its place does not block.
    ///
    /// # Errors
    /// It cannot be opened; a symbolic link, there or on the way, is an error.
    pub(super) fn read(&self, path: &TreePath) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(File::from(self.at(path.as_bytes(), flags)?))
    }

    /// Opens the folder of an entry.
    ///
    /// # Errors
    /// It is no folder, or a symbolic link is on the way to it.
    pub(super) fn parent(&self, path: &TreePath) -> io::Result<OwnedFd> {
        match path.parent() {
            Some(parent) => Ok(self.at(parent, OFlags::RDONLY | OFlags::DIRECTORY)?),
            None => self.root.try_clone(),
        }
    }

    /// Opens an entry that is a folder.
    ///
    /// # Errors
    /// It is none, or a symbolic link is on the way to it.
    pub(super) fn folder(&self, path: &TreePath) -> io::Result<OwnedFd> {
        Ok(self.at(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY)?)
    }

    fn at(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..RACES_MAX {
            match openat2(&self.root, path, flags, Mode::empty(), resolve) {
                // A rename on the way made the kernel give up.
                Err(Errno::AGAIN) => {}
                // An older kernel, or a sandbox that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => return self.step_by_step(path, flags),
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Opens each folder on the way from the one before it, and follows no link.
    fn step_by_step(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let on_the_way = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut components = path.split(|byte| *byte == b'/').peekable();
        let mut folder: Option<OwnedFd> = None;
        while let Some(component) = components.next() {
            let flags = if components.peek().is_some() { on_the_way } else { flags };
            let next = match &folder {
                Some(folder) => openat(folder, component, flags, Mode::empty())?,
                None => openat(&self.root, component, flags, Mode::empty())?,
            };
            folder = Some(next);
        }
        folder.ok_or(Errno::NOENT)
    }
}

/// The entry of this name in a folder; `None` if there is none. A symbolic link is not followed.
///
/// # Errors
/// That cannot be told.
pub(super) fn look(folder: &OwnedFd, name: &[u8]) -> io::Result<Option<Stat>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How often a path is tried again when it was renamed on the way.
const RACES_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_step_goes_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), "inside").unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        symlink("..", root.join("out")).unwrap();
        symlink("a", root.join("within")).unwrap();
        symlink("../secret", root.join("last")).unwrap();
        let beneath = Beneath::open(&root).unwrap();
        let path = |text: &str| TreePath::new(text).unwrap();
        let steps = |text: &str| beneath.step_by_step(text.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW);
        assert!(beneath.read(&path("a/b/file")).is_ok() && steps("a/b/file").is_ok());
        for bad in ["out/secret", "within/b/file", "last", "a/missing", "a/b/file/x"] {
            assert!(beneath.read(&path(bad)).is_err(), "{bad}");
            assert!(steps(bad).is_err(), "{bad}, step by step");
        }
        assert!(beneath.parent(&path("within/b")).is_err() && beneath.folder(&path("out")).is_err());
    }
}
