//! The path of an entry, below the tree's own directory.

use std::cmp::Ordering;
use std::fmt;

use super::escape::{escape, unescape};

/// A relative path of 1 to [`TreePath::DEPTH_MAX`] components, each 1 to [`TreePath::COMPONENT_BYTES_MAX`] bytes without
/// NUL, and neither `.` nor `..`. Bytes of any kind: a name on a disk need not be UTF-8.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Vec<u8>);

/// Why bytes are not the path of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path begins or ends with a slash, or has two in a row, or is empty.
    #[error("a component of the path is empty")]
    Empty,
    /// A component would leave its folder, or stay in it.
    #[error("a component of the path is . or ..")]
    Dots,
    /// A byte is NUL.
    #[error("the path holds a NUL byte")]
    Nul,
    /// The path, a component of it, or their number is too long.
    #[error(
        "the path is longer than {} bytes, or {} components, or a component than {} bytes",
        TreePath::BYTES_MAX,
        TreePath::DEPTH_MAX,
        TreePath::COMPONENT_BYTES_MAX
    )]
    TooLong,
}

impl TreePath {
    /// The longest path in bytes.
    pub const BYTES_MAX: usize = 4_095;
    /// The longest component in bytes: what file systems allow.
    pub const COMPONENT_BYTES_MAX: usize = 255;
    /// The most components.
    pub const DEPTH_MAX: usize = 256;

    /// Checks the bytes of a path.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<TreePath, PathError> {
        let bytes = bytes.into();
        if bytes.len() > Self::BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        let mut depth = 0;
        for component in bytes.split(|byte| *byte == b'/') {
            depth += 1;
            match component {
                b"" => return Err(PathError::Empty),
                b"." | b".." => return Err(PathError::Dots),
                _ if component.len() > Self::COMPONENT_BYTES_MAX => return Err(PathError::TooLong),
                _ => {}
            }
        }
        if depth > Self::DEPTH_MAX { Err(PathError::TooLong) } else { Ok(TreePath(bytes)) }
    }

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components, the first one first.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// The path of the directory that holds the entry; `None` if that is the tree's own.
    pub fn parent(&self) -> Option<&[u8]> {
        self.0.iter().rposition(|byte| *byte == b'/').map(|slash| &self.0[..slash])
    }

    /// The last component.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or(&self.0)
    }

    /// The rest of the path below `directory`; `None` if it is not below it.
    pub fn below(&self, directory: &TreePath) -> Option<TreePath> {
        let rest = self.0.strip_prefix(directory.as_bytes())?.strip_prefix(b"/")?;
        TreePath::new(rest).ok()
    }

    /// The path as it stands in a tree, on one line, see [`TreePath::from_text`].
    pub fn to_text(&self) -> String {
        escape(&self.0)
    }

    /// Reads back [`TreePath::to_text`]; `None` unless it is that very text.
    pub fn from_text(text: &[u8]) -> Option<Result<TreePath, PathError>> {
        unescape(text).map(TreePath::new)
    }
}

/// Component by component, so that a directory stands before its entries and these before its next sibling.
impl Ord for TreePath {
    fn cmp(&self, other: &TreePath) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &TreePath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The path as people see it: as it stands in a tree, but with spaces.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text().replace("%20", " "))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath({})", self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_refused() {
        let long = "x".repeat(256);
        let deep = vec!["x"; 257].join("/");
        for bad in
            ["", "/", "/etc/passwd", "a/", "a//b", ".", "..", "../x", "a/../b", "a/.", "nul\0", &long, &deep]
        {
            assert!(TreePath::new(bad).is_err(), "{bad:?}");
        }
        for good in
            ["a", "a b", "...", ".hidden", "a/b/c", "-rf", "two\nlines", "caf\u{e9}", &"x".repeat(255)]
        {
            assert!(TreePath::new(good).is_ok(), "{good:?}");
        }
        assert!(TreePath::new(vec![0xff, 0xfe]).is_ok(), "no UTF-8");
    }

    #[test]
    fn a_directory_stands_before_its_entries_and_these_before_its_next_sibling() {
        let mut paths = ["a.b", "a/b", "a", "a-b", "a/b/c", "b"].map(|path| TreePath::new(path).unwrap());
        paths.sort();
        let sorted: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["a", "a/b", "a/b/c", "a-b", "a.b", "b"]);
    }

    #[test]
    fn a_path_has_a_parent_a_name_and_a_rest() {
        let path = TreePath::new("a/b/c").unwrap();
        assert_eq!((path.parent(), path.name()), (Some(&b"a/b"[..]), &b"c"[..]));
        assert_eq!(TreePath::new("a").unwrap().parent(), None);
        let below = |directory| path.below(&TreePath::new(directory).unwrap()).map(|rest| rest.to_string());
        assert_eq!(below("a"), Some("b/c".to_owned()));
        assert_eq!((below("a/b/c"), below("a/bb"), below("b")), (None, None, None));
    }
}
