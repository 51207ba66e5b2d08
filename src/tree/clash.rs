//! Entries that are one file on a disk that takes upper and lower case for the same.

use std::collections::BTreeMap;

use super::path::TreePath;

/// Two of these paths that a disk which folds case would take for one; `None` if there are none.
///
/// Compared are the lower-case forms of the whole paths, as far as they are UTF-8. A file system may know more that is
/// alike; whoever writes the entries must never replace one that it has made itself.
pub fn clash<'a>(paths: impl IntoIterator<Item = &'a TreePath>) -> Option<(&'a TreePath, &'a TreePath)> {
    let mut seen: BTreeMap<String, &TreePath> = BTreeMap::new();
    for path in paths {
        let folded = path.to_text().to_lowercase();
        if let Some(other) = seen.insert(folded, path) {
            return Some((other, path));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_differ_by_case_clash() {
        let paths = |texts: &[&str]| -> Vec<TreePath> {
            texts.iter().map(|text| TreePath::new(*text).unwrap()).collect()
        };
        let found = paths(&["Makefile", "a", "a/b", "makefile"]);
        assert_eq!(clash(&found), Some((&found[0], &found[3])));
        let found = paths(&["A/x", "a/X"]);
        assert!(clash(&found).is_some());
        let found = paths(&["É", "é"]);
        assert!(clash(&found).is_some());
        assert_eq!(clash(&paths(&["a", "b", "a/b"])), None);
    }
}
