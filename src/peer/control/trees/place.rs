//! A look at a folder before a tree is written to it: what is there, and what is in the way. Nothing is written here.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FileType, Mode, OFlags, Stat, openat, readlinkat, unlinkat};

use super::beneath::{Beneath, look};
use crate::blob::{KnownFiles, Source, Stamp};
use crate::peer::api::BringError;
use crate::tree::{Node, Tree, TreeEntry, TreePath, clash};

/// The work that an entry of a tree needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is there already.
    There,
    /// Nothing is there.
    Make,
    /// A file or link that differs is there, and is to be replaced.
    Replace,
}

/// A folder for a tree, and the step for each of the tree's entries.
pub(super) struct Placed {
    pub beneath: Beneath,
    pub steps: Vec<Step>,
    /// Whether the folder was made for the tree.
    pub is_new: bool,
}

/// Opens the folder for a tree, or makes it, and looks at what is there. Blocks.
///
/// # Errors
/// [`BringError`]: something is in the way. Then nothing was written, except that the folder may be new.
pub(super) fn place(
    path: &Path,
    tree: &Tree,
    overwrite: bool,
    known: Option<&KnownFiles>,
) -> Result<Placed, BringError> {
    let io = |source| BringError::Io { path: path.to_owned(), source };
    if let Some((one, other)) = clash(tree.entries().iter().map(|entry| &entry.path))
        && folds_case(place_of(path)).map_err(io)?
    {
        return Err(BringError::Clash { folder: path.to_owned(), one: one.clone(), other: other.clone() });
    }
    let is_new = match std::fs::create_dir(path) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(io(error)),
    };
    let beneath = Beneath::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotADirectory => BringError::OtherKind { path: path.to_owned(), kind: "a file" },
        _ => io(source),
    })?;
    let mut looker = Looker { path, beneath: &beneath, overwrite, known, folder: None, absent: None };
    let steps = tree.entries().iter().map(|entry| looker.step(entry)).collect::<Result<_, _>>()?;
    Ok(Placed { beneath, steps, is_new })
}

/// The folder itself, or, before it is made, the one above it.
fn place_of(path: &Path) -> &Path {
    match path.parent() {
        _ if path.is_dir() => path,
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    }
}

/// Whether a folder finds a file under its name in other letters: tried with a file.
fn folds_case(folder: &Path) -> io::Result<bool> {
    let folder = Beneath::open(folder)?;
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let name = format!(".quoit-{}-{nanos}-probe", std::process::id());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(folder.root(), &*name, flags, Mode::from_raw_mode(0o600))?;
    let found = look(folder.root(), name.to_uppercase().as_bytes());
    unlinkat(folder.root(), &*name, rustix::fs::AtFlags::empty())?;
    Ok(found?.is_some())
}

struct Looker<'a> {
    path: &'a Path,
    beneath: &'a Beneath,
    overwrite: bool,
    known: Option<&'a KnownFiles>,
    /// The folder of the last entry, by its path; `None` for the folder of the tree.
    folder: Option<(Option<Vec<u8>>, OwnedFd)>,
    /// A directory that is not there, so that nothing below it is.
    absent: Option<TreePath>,
}

impl Looker<'_> {
    fn step(&mut self, entry: &TreeEntry) -> Result<Step, BringError> {
        let path = &entry.path;
        if self.absent.as_ref().is_some_and(|absent| path.below(absent).is_some()) {
            return Ok(Step::Make);
        }
        let shown = shown(self.path, path);
        let io = |source| BringError::Io { path: shown.clone(), source };
        let there = look(self.folder_of(path).map_err(io)?, path.name()).map_err(io)?;
        let Some(there) = there else {
            if entry.is_directory() {
                self.absent = Some(path.clone());
            }
            return Ok(Step::Make);
        };
        let kind = FileType::from_raw_mode(there.st_mode);
        let is_alike = match (&entry.node, kind) {
            (Node::Directory { .. }, FileType::Directory) => true,
            (Node::File { object, .. }, FileType::RegularFile) => {
                there.st_size as u64 == object.length && self.holds(path, object.content).map_err(io)?
            }
            (Node::Link { target, .. }, FileType::Symlink) => {
                let text = readlinkat(self.folder_of(path).map_err(io)?, path.name(), Vec::new());
                text.map_err(|error| io(error.into()))?.as_bytes() == target
            }
            (_, kind) => return Err(BringError::OtherKind { path: shown, kind: kind_in_words(kind) }),
        };
        match (is_alike, self.overwrite) {
            (true, _) => Ok(Step::There),
            (false, true) => Ok(Step::Replace),
            (false, false) => Err(BringError::Exists { path: shown }),
        }
    }

    /// The folder that holds an entry; it is there.
    fn folder_of(&mut self, path: &TreePath) -> io::Result<&OwnedFd> {
        let parent = path.parent();
        if !matches!(&self.folder, Some((of, _)) if of.as_deref() == parent) {
            self.folder = None;
        }
        match &mut self.folder {
            Some((_, folder)) => Ok(folder),
            none => {
                let folder = self.beneath.parent(path)?;
                Ok(&none.insert((parent.map(<[u8]>::to_vec), folder)).1)
            }
        }
    }

    /// Whether a file has these bytes.
    fn holds(&self, path: &TreePath, content: crate::id::ContentId) -> io::Result<bool> {
        let file = self.beneath.read(path)?;
        let metadata = file.metadata()?;
        if let Some(known) = self.known.and_then(|known| known.object(&Stamp::of(&metadata))) {
            return Ok(known.content == content);
        }
        let source = Source::of_file(file, &shown(self.path, path)).map_err(io::Error::other)?;
        let (object, _) = source.identify(self.known, &mut |_| {}).map_err(io::Error::other)?;
        Ok(object.content == content)
    }
}

/// The path of an entry on the disk, for people.
pub(super) fn shown(folder: &Path, path: &TreePath) -> PathBuf {
    folder.join(path.to_string())
}

/// The permissions among the bits of a mode.
pub(super) fn permissions(stat: &Stat) -> u32 {
    stat.st_mode & 0o777
}

fn kind_in_words(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        _ => "a device",
    }
}
