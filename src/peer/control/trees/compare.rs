//! How a directory differs from the tree that its name stands for.

use std::collections::BTreeSet;

use crate::id::ContentId;
use crate::peer::api::{ChangeKind, TreeChange};
use crate::tree::{Node, Tree, TreeEntry};
use crate::wire::{Amount, ObjectInfo};

/// The differences, in the order of the paths.
pub(super) fn changes(before: Option<&Tree>, now: &Tree) -> Vec<TreeChange> {
    let mut old = before.map_or(&[][..], Tree::entries).iter().peekable();
    let mut changes = Vec::new();
    for entry in now.entries() {
        while let Some(gone) = old.next_if(|old| old.path < entry.path) {
            changes.push(change(gone, ChangeKind::Removed));
        }
        let there = old.next_if(|old| old.path == entry.path);
        let kind = match there {
            None => Some(ChangeKind::Added),
            Some(there) if there.node == entry.node => None,
            Some(there) if is_same_thing(&there.node, &entry.node) => Some(ChangeKind::Touched),
            Some(_) => Some(ChangeKind::Changed),
        };
        changes.extend(kind.map(|kind| change(entry, kind)));
    }
    changes.extend(old.map(|gone| change(gone, ChangeKind::Removed)));
    changes
}

fn change(entry: &TreeEntry, kind: ChangeKind) -> TreeChange {
    let moves = matches!(kind, ChangeKind::Added | ChangeKind::Changed);
    let bytes = entry.object().filter(|_| moves).map_or(0, |object| object.length);
    TreeChange { path: entry.path.clone(), kind, bytes }
}

/// Whether two entries differ by permissions or mtime at most.
fn is_same_thing(one: &Node, other: &Node) -> bool {
    match (one, other) {
        (Node::Directory { .. }, Node::Directory { .. }) => true,
        (Node::File { object: one, .. }, Node::File { object: other, .. }) => one == other,
        (Node::Link { target: one, .. }, Node::Link { target: other, .. }) => one == other,
        _ => false,
    }
}

/// The entries whose bytes the ring may lack: of each content one.
pub(super) fn lacking<'a>(before: Option<&Tree>, now: &'a Tree) -> Vec<(&'a TreeEntry, ObjectInfo)> {
    let mut there: BTreeSet<ContentId> = before.map(Tree::contents).unwrap_or_default();
    let files = now.entries().iter().filter_map(|entry| Some((entry, *entry.object()?)));
    files.filter(|(_, object)| there.insert(object.content)).collect()
}

/// The number of objects and of their bytes.
pub(super) fn amount<'a>(objects: impl Iterator<Item = &'a ObjectInfo>) -> Amount {
    objects.fold(Amount::default(), |sum, object| Amount {
        files: sum.files + 1,
        bytes: sum.bytes.saturating_add(object.length),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OutboardDigest;
    use crate::tree::{FileTime, Mode, TreePath};

    fn file(path: &str, text: &str, seconds: i64) -> TreeEntry {
        let content = ContentId::of(text.as_bytes());
        let object = ObjectInfo { content, length: text.len() as u64, outboard: OutboardDigest([0; 32]) };
        let node = Node::File { mode: Mode::of_bits(0o644), modified: FileTime::new(seconds, 0), object };
        TreeEntry { path: TreePath::new(path).unwrap(), node }
    }

    fn tree(entries: Vec<TreeEntry>) -> Tree {
        Tree::new(Mode::of_bits(0o755), FileTime::new(0, 0), entries).unwrap()
    }

    #[test]
    fn what_differs_is_told_and_only_what_is_new_moves() {
        let before =
            tree(vec![file("a", "one", 1), file("b", "two", 1), file("c", "three", 1), file("d", "4", 1)]);
        let now =
            tree(vec![file("b", "two", 2), file("c", "changed", 1), file("d", "4", 1), file("e", "one", 1)]);
        let told: Vec<_> =
            changes(Some(&before), &now).into_iter().map(|c| (c.path.to_string(), c.kind, c.bytes)).collect();
        let expected = [
            ("a", ChangeKind::Removed, 0),
            ("b", ChangeKind::Touched, 0),
            ("c", ChangeKind::Changed, 7),
            ("e", ChangeKind::Added, 3),
        ];
        assert_eq!(told, expected.map(|(path, kind, bytes)| (path.to_owned(), kind, bytes)));
        let moved: Vec<String> =
            lacking(Some(&before), &now).into_iter().map(|(entry, _)| entry.path.to_string()).collect();
        assert_eq!(moved, ["c"], "e has the bytes that a had");
        assert_eq!(changes(None, &now).len(), 4);
        assert_eq!(lacking(None, &tree(vec![file("x", "same", 1), file("y", "same", 1)])).len(), 1);
        assert!(changes(Some(&now), &now).is_empty());
    }
}
