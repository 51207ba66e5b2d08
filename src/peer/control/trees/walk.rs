//! The entries of a directory, less those that the rules leave out. No symbolic link is followed.

use std::error::Error as _;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use ignore::overrides::OverrideBuilder;
use ignore::{DirEntry, WalkBuilder};

use crate::blob::Stamp;
use crate::id::escaped;
use crate::peer::api::StoreError;
use crate::tree::{ENTRIES_MAX, FileTime, Mode, TARGET_BYTES_MAX, TreePath};

/// A directory and its entries.
pub(super) struct Walked {
    pub mode: Mode,
    pub modified: FileTime,
    /// In no order.
    pub entries: Vec<Found>,
}

/// An entry of a directory.
pub(super) struct Found {
    pub path: TreePath,
    pub mode: Mode,
    pub modified: FileTime,
    pub kind: FoundKind,
}

pub(super) enum FoundKind {
    Directory,
    /// A file, and the number of its names on the disk.
    File {
        stamp: Stamp,
        names: u64,
    },
    Link {
        target: Vec<u8>,
    },
}

/// Walks through a directory. `data_dir` is that of the peer: it must not be stored in itself.
///
/// # Errors
/// [`StoreError`]: it is no directory, a pattern is wrong, or it holds what a tree cannot.
pub(super) fn walk(root: &Path, exclude: &[String], data_dir: Option<&Path>) -> Result<Walked, StoreError> {
    let unreadable = |source| StoreError::Read { path: root.to_owned(), source };
    let itself = std::fs::metadata(root).map_err(unreadable)?;
    if !itself.is_dir() {
        return Err(StoreError::NotADirectory { path: root.to_owned() });
    }
    let data_dir =
        data_dir.and_then(|dir| std::fs::metadata(dir).ok()).map(|found| (found.dev(), found.ino()));
    let mut troubles = Troubles::default();
    if data_dir == Some((itself.dev(), itself.ino())) {
        let troubles = ITS_DATA_DIR.to_owned();
        return Err(StoreError::NotStorable { path: root.to_owned(), troubles });
    }
    let mut walked =
        Walked { mode: Mode::of_bits(itself.mode()), modified: modified(&itself), entries: Vec::new() };
    for entry in walker(root, exclude)?.build() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                troubles.add(in_words(root, &error));
                continue;
            }
        };
        if let Some(error) = entry.error() {
            troubles.add(in_words(root, error));
        }
        if entry.depth() == 0 {
            continue;
        }
        if walked.entries.len() >= ENTRIES_MAX {
            troubles.add(format!("it has more than {ENTRIES_MAX} entries"));
            break;
        }
        let shown = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_owned();
        match found(&entry, &shown, data_dir) {
            Ok(found) => walked.entries.push(found),
            Err(why) => troubles.add(format!("{}: {why}", escaped(&shown.to_string_lossy()))),
        }
    }
    match troubles.count {
        0 => Ok(walked),
        _ => Err(StoreError::NotStorable { path: root.to_owned(), troubles: troubles.told() }),
    }
}

/// An entry that cannot be read, by its path in the directory, and the reason.
fn in_words(root: &Path, error: &ignore::Error) -> String {
    fn path_of(error: &ignore::Error) -> Option<&Path> {
        match error {
            ignore::Error::WithPath { path, .. } => Some(path),
            ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
            ignore::Error::Partial(errors) => errors.iter().find_map(path_of),
            _ => None,
        }
    }
    match (path_of(error), error.io_error()) {
        (Some(path), Some(source)) => {
            let shown = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
            // An error of the walk repeats the path; its own source is that of the system.
            let reason = source.source().map_or_else(|| source.to_string(), ToString::to_string);
            format!("{}: {reason}", escaped(&shown))
        }
        _ => escaped(&error.to_string()),
    }
}

fn walker(root: &Path, exclude: &[String]) -> Result<WalkBuilder, StoreError> {
    let wrong = |pattern: &str, reason: String| StoreError::Pattern { pattern: pattern.to_owned(), reason };
    let mut patterns = OverrideBuilder::new(root);
    for pattern in exclude {
        if pattern.starts_with('!') {
            return Err(wrong(pattern, "a pattern that leaves files out begins with no !".to_owned()));
        }
        // A match of an override is taken, unless the override begins with a !.
        patterns.add(&format!("!{pattern}")).map_err(|error| wrong(pattern, error.to_string()))?;
    }
    let patterns = patterns.build().map_err(|error| wrong("", error.to_string()))?;
    let mut walker = WalkBuilder::new(root);
    walker.standard_filters(false).follow_links(false).overrides(patterns);
    walker.add_custom_ignore_filename(IGNORE_FILE);
    Ok(walker)
}

fn found(entry: &DirEntry, path: &Path, data_dir: Option<(u64, u64)>) -> Result<Found, String> {
    let metadata = entry.metadata().map_err(|error| error.to_string())?;
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_dir() && data_dir == Some((metadata.dev(), metadata.ino())) => {
            return Err(ITS_DATA_DIR.to_owned());
        }
        () if kind.is_dir() => FoundKind::Directory,
        () if kind.is_file() => FoundKind::File { stamp: Stamp::of(&metadata), names: metadata.nlink() },
        () if kind.is_symlink() => FoundKind::Link { target: target_of(entry.path())? },
        () if kind.is_fifo() => return Err("a FIFO cannot be stored".to_owned()),
        () if kind.is_socket() => return Err("a socket cannot be stored".to_owned()),
        () => return Err("a device cannot be stored".to_owned()),
    };
    let path = TreePath::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    Ok(Found { path, mode: Mode::of_bits(metadata.mode()), modified: modified(&metadata), kind })
}

fn target_of(path: &Path) -> Result<Vec<u8>, String> {
    let target: PathBuf = std::fs::read_link(path).map_err(|error| error.to_string())?;
    let target = target.into_os_string().into_encoded_bytes();
    match target.len() {
        1..=TARGET_BYTES_MAX => Ok(target),
        _ => Err(format!("its target is longer than {TARGET_BYTES_MAX} bytes")),
    }
}

fn modified(metadata: &Metadata) -> FileTime {
    FileTime::new(metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0))
}

/// Entries that cannot be stored: the first few in words, and their number.
#[derive(Default)]
pub(super) struct Troubles {
    first: Vec<String>,
    count: usize,
}

impl Troubles {
    pub(super) fn add(&mut self, trouble: String) {
        self.count += 1;
        if self.first.len() < TROUBLES_TOLD_MAX {
            self.first.push(trouble);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn told(mut self) -> String {
        let more = self.count - self.first.len();
        if more > 0 {
            self.first.push(format!("and {more} more"));
        }
        self.first.join("; ")
    }
}

/// The file whose patterns leave out files of its directory and of those below it.
const IGNORE_FILE: &str = ".quoitignore";
/// Why the peer's own data directory is refused.
const ITS_DATA_DIR: &str = "it is the data directory of the peer";
/// The most entries that one error names.
const TROUBLES_TOLD_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(walked: &Walked) -> Vec<String> {
        let mut names: Vec<String> = walked.entries.iter().map(|found| found.path.to_string()).collect();
        names.sort();
        names
    }

    /// A directory with these files, each of one byte.
    fn directory(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        dir
    }

    fn excluded(dir: &Path, patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        names(&walk(dir, &patterns, None).unwrap())
    }

    /// Goal: hidden files are stored, and only this program's own rules leave files out, wherever the directory lies.
    #[test]
    fn the_rules_are_gitignores_and_only_those_of_quoitignore() {
        let dir = directory(&[
            ".git/config",
            ".gitignore",
            ".hidden",
            "a.log",
            "sub/b.log",
            "sub/keep.log",
            "sub/c",
        ]);
        std::fs::write(dir.path().join(".gitignore"), "c\n").unwrap();
        assert_eq!(walk(dir.path(), &[], None).unwrap().entries.len(), 9);
        assert_eq!(excluded(dir.path(), &[".git", "*.log"]), [".gitignore", ".hidden", "sub", "sub/c"]);
        assert_eq!(excluded(dir.path(), &["/*.log", "sub/", ".*"]), Vec::<String>::new());
        std::fs::write(dir.path().join(".quoitignore"), "*.log\n.git/\n").unwrap();
        std::fs::write(dir.path().join("sub/.quoitignore"), "!keep.log\n").unwrap();
        assert_eq!(
            excluded(dir.path(), &[]),
            [".gitignore", ".hidden", ".quoitignore", "sub", "sub/.quoitignore", "sub/c", "sub/keep.log"]
        );
        assert_eq!(excluded(&dir.path().join("sub"), &[]), [".quoitignore", "b.log", "c", "keep.log"]);
        for wrong in ["!x", "[", "{a"] {
            let refused = walk(dir.path(), &[wrong.to_owned()], None);
            assert!(matches!(refused, Err(StoreError::Pattern { .. })), "{wrong}");
        }
    }

    #[test]
    fn links_are_kept_as_links() {
        let dir = directory(&["a/x"]);
        symlink("..", dir.path().join("a/itself")).unwrap();
        symlink("/etc/passwd", dir.path().join("out")).unwrap();
        symlink("nowhere", dir.path().join("broken")).unwrap();
        let walked = walk(dir.path(), &[], None).unwrap();
        assert_eq!(names(&walked), ["a", "a/itself", "a/x", "broken", "out"]);
        let links = walked.entries.iter().filter(|found| matches!(found.kind, FoundKind::Link { .. }));
        assert_eq!(links.count(), 3);
    }

    /// Goal: an error names the entry once, by its path in the directory.
    #[test]
    fn what_cannot_be_walked_is_named_once() {
        let missing = Path::new("/nowhere/dir");
        let error = WalkBuilder::new(missing.join("sub")).build().find_map(Result::err).unwrap();
        assert_eq!(in_words(missing, &error), "sub: No such file or directory (os error 2)");
        let other = ignore::Error::UnrecognizedFileType("x\n".to_owned());
        assert_eq!(in_words(missing, &other), "unrecognized file type: x\\n");
    }

    #[test]
    fn what_a_tree_cannot_hold_is_told_before_anything_moves() {
        let dir = directory(&["a", "sub/b"]);
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("sub/socket")).unwrap();
        let Err(StoreError::NotStorable { troubles, .. }) = walk(dir.path(), &[], None) else { panic!() };
        assert_eq!(troubles, "sub/socket: a socket cannot be stored");
        assert_eq!(excluded(dir.path(), &["socket"]), ["a", "sub", "sub/b"]);
        assert!(matches!(walk(&dir.path().join("a"), &[], None), Err(StoreError::NotADirectory { .. })));
        for data_dir in [dir.path().join("sub"), dir.path().to_owned()] {
            let refused = walk(dir.path(), &["socket".to_owned()], Some(&data_dir));
            assert!(matches!(refused, Err(StoreError::NotStorable { .. })), "{data_dir:?}");
        }
        assert!(matches!(walk(&dir.path().join("missing"), &[], None), Err(StoreError::Read { .. })));
    }
}
