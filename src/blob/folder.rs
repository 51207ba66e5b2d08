//! A folder of files under people's names, on a file system that may not tell some names apart.
//!
//! In a folder that folds case (or treats composed and decomposed letters as equal), a name is written with percent
//! signs: each byte except lower-case ASCII letters, digits and plain signs becomes `%xx`. So two names never share an
//! entry, and each entry determines its name.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use crate::id::ContentId;

/// The folder names/ or received/, and whether it folds case.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    folds: bool,
}

impl Folder {
    /// Examines an existing folder.
    pub fn look(disk: &dyn Disk, path: PathBuf) -> Folder {
        let folds = folds_case(disk, &path);
        Folder { path, folds }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a name's file.
    pub fn entry(&self, name: &str) -> PathBuf {
        if self.folds { self.path.join(escape(name)) } else { self.path.join(name) }
    }

    /// The name that an entry stands for; `None` if the entry does not stand for a name.
    pub fn name_of(&self, entry: &str) -> Option<String> {
        if !self.folds {
            return Some(entry.to_owned());
        }
        unescape(entry).filter(|name| escape(name) == entry)
    }

    /// A temporary path in this folder, for a file that is renamed into its place later. `name` ends with a file name
    /// that no other temporary file of this process has.
    pub fn temporary(&self, name: &Path) -> PathBuf {
        let name = name.file_name().unwrap_or_default().to_string_lossy();
        self.path.join(format!("{TEMPORARY_PREFIX}{}-{name}", std::process::id()))
    }

    /// The path of the copy of an object that a transfer writes on the way (see [`super::twin`]).
    pub fn twin(&self, content: &ContentId) -> PathBuf {
        self.path.join(format!("{TEMPORARY_PREFIX}{content}{TEMPORARY_SUFFIX}"))
    }

    /// The object of which an entry is such a copy; `None` for other entries.
    pub fn content_of_twin(entry: &str) -> Option<ContentId> {
        entry.strip_prefix(TEMPORARY_PREFIX)?.strip_suffix(TEMPORARY_SUFFIX)?.parse().ok()
    }

    /// Whether an entry is a temporary file.
    pub fn is_temporary(entry: &str) -> bool {
        let middle =
            entry.strip_prefix(TEMPORARY_PREFIX).and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        middle.and_then(|middle| middle.split_once('-')).is_some_and(|(a, b)| is_number(a) && is_number(b))
    }
}

/// Whether a folder finds a file under its name in other letters. The folder's own name, looked up in other letters,
/// usually answers that without a write; a folder that is a file system of its own is tested with a file.
fn folds_case(disk: &dyn Disk, path: &Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    let device = |path: &Path| disk.stat(path).map(|stat| stat.stamp.device).ok();
    if device(parent) == device(path) {
        let (here, there) = (disk.stat(path), disk.stat(&parent.join(name.to_uppercase())));
        return matches!((here, there), (Ok(one), Ok(other)) if one.stamp.inode == other.stamp.inode);
    }
    let probe = path.join(PROBE);
    if disk.create(&probe).is_err() {
        return false;
    }
    let found = disk.stat(&path.join(PROBE.to_uppercase()));
    if let Err(error) = disk.remove(&probe)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %probe.display(), %error, "cannot remove");
    }
    found.is_ok()
}

fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || b" !#$&'()+,-.;=@[]^_`{}~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02x}"));
        }
    }
    escaped
}

fn unescape(entry: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(entry.len());
    let mut rest = entry.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// The end of the name of each temporary file.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";
const TEMPORARY_PREFIX: &str = ".quoit-";
const PROBE: &str = "quoit.probe";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_differ_in_case_or_form_get_entries_of_their_own() {
        for (one, other) in [("a", "A"), ("straße", "STRASSE"), ("é", "e\u{301}"), ("K", "\u{212a}")] {
            let [one, other] = [one, other].map(|name| escape(name).to_lowercase());
            assert_ne!(one, other);
            assert!(one.is_ascii() && other.is_ascii());
        }
        assert_eq!(escape("report-2024 (1).pdf"), "report-2024 (1).pdf");
        assert_eq!(escape("A%"), "%41%25");
    }

    proptest! {
        #[test]
        fn an_entry_says_its_name(name in "\\PC{1,40}") {
            let entry = escape(&name);
            prop_assert_eq!(entry.to_lowercase(), entry.clone());
            prop_assert_eq!(unescape(&entry), Some(name));
        }
    }
}
