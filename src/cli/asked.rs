//! The file or tree that a person asks for, or an entry of a tree.

use std::fmt;
use std::str::FromStr;

use crate::id::escaped;
use crate::peer::{TreePath, Wanted};

/// A file or a tree, and perhaps a path in that tree: `NAME`, `NAME/path/to/file`, `NAME@2/path`, `sha256:HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The file, or the tree.
    pub(super) wanted: Wanted,
    /// The path in the tree; `None` for all of it.
    pub(super) within: Option<TreePath>,
    /// The text of the file or tree as it was typed.
    text: String,
}

impl Asked {
    /// The same from a person at a prompt: a unique prefix of the name is enough.
    pub(super) fn or_beginning(self) -> Asked {
        Asked { wanted: self.wanted.or_beginning(), ..self }
    }

    /// The file or tree as it was typed, safe to show.
    pub(super) fn what(&self) -> String {
        escaped(&self.text)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.within {
            Some(path) => write!(f, "{}/{path}", self.what()),
            None => f.write_str(&self.what()),
        }
    }
}

/// A name has no slash: what follows the first one is a path in a tree.
impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Asked, String> {
        let (tree, path) = match text.split_once('/') {
            Some((tree, path)) if !tree.is_empty() && tree != "." && tree != ".." => (tree, Some(path)),
            _ => (text, None),
        };
        let within = match path.map(|path| path.strip_suffix('/').unwrap_or(path)) {
            None | Some("") => None,
            Some(path) => Some(TreePath::new(path).map_err(|error| error.to_string())?),
        };
        Ok(Asked { wanted: tree.parse()?, within, text: tree.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::FileName;

    #[test]
    fn a_path_follows_the_first_slash() {
        let asked = |text: &str| {
            text.parse::<Asked>().map(|asked| (asked.wanted, asked.within.map(|p| p.to_string())))
        };
        let name = |text: &str| Wanted::Name(FileName::new(text).unwrap());
        assert_eq!(asked("photos"), Ok((name("photos"), None)));
        assert_eq!(asked("photos/"), Ok((name("photos"), None)));
        assert_eq!(asked("photos/2024/a b.jpg"), Ok((name("photos"), Some("2024/a b.jpg".to_owned()))));
        assert_eq!(asked("photos/2024/"), Ok((name("photos"), Some("2024".to_owned()))));
        assert!(matches!(asked("photos@2/x"), Ok((Wanted::Version { .. }, Some(_)))));
        assert!(matches!(asked("sha256:abcd/x"), Ok((Wanted::ContentPrefix(_), Some(_)))));
        for bad in ["", "/etc/passwd", "../x", "..", "photos/../x", "photos//x", "photos/./x", "sha256:abc/x"]
        {
            assert!(asked(bad).is_err(), "{bad}");
        }
        assert_eq!("photos/a b".parse::<Asked>().unwrap().to_string(), "photos/a b");
    }
}
