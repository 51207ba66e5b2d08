//! Reads the text of a tree piece by piece, in memory that does not grow with the tree.

use super::entry::{FileTime, Mode, Node, TreeEntry};
use super::error::TreeError;
use super::limits::{ENTRIES_MAX, TARGET_BYTES_MAX, TREE_BYTES_MAX};
use super::path::TreePath;
use super::text::{is_target, parse_header, parse_line};

/// Reads a tree from pieces of its text.
#[derive(Debug, Default)]
pub struct TreeReader {
    /// The beginning of a line whose end has not come.
    part: Vec<u8>,
    head: Option<(Mode, FileTime)>,
    bytes: u64,
    order: Order,
}

impl TreeReader {
    /// Reads the next bytes; gives each entry that is complete.
    ///
    /// # Errors
    /// [`TreeError`]. The entries given before it count for nothing.
    pub fn read(&mut self, mut bytes: &[u8], give: &mut dyn FnMut(TreeEntry)) -> Result<(), TreeError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > TREE_BYTES_MAX {
            return Err(TreeError::TooLong);
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.part.is_empty() {
                self.line(line, give)?;
            } else {
                let mut whole = std::mem::take(&mut self.part);
                whole.extend_from_slice(line);
                self.line(&whole, give)?;
            }
        }
        if self.part.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(TreeError::Line { number: self.order.number() });
        }
        self.part.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the text: the permissions and the mtime of the tree's own directory.
    ///
    /// # Errors
    /// [`TreeError::Cut`], or [`TreeError::NoTree`] of an empty text.
    pub fn finish(self) -> Result<(Mode, FileTime), TreeError> {
        if self.part.is_empty() { self.head.ok_or(TreeError::NoTree) } else { Err(TreeError::Cut) }
    }

    fn line(&mut self, line: &[u8], give: &mut dyn FnMut(TreeEntry)) -> Result<(), TreeError> {
        if self.head.is_none() {
            self.head = Some(parse_header(line).ok_or(TreeError::NoTree)?);
            return Ok(());
        }
        let number = self.order.number();
        let entry = parse_line(line).map_err(|error| match error {
            TreeError::Path { source, .. } => TreeError::Path { number, source },
            _ => TreeError::Line { number },
        })?;
        self.order.take(&entry)?;
        give(entry);
        Ok(())
    }
}

/// The order of a tree's entries, and the directories in which the next one may lie.
#[derive(Debug, Default)]
pub(super) struct Order {
    entries: usize,
    last: Option<TreePath>,
    /// The directories above the last entry, and itself if it is one: each in the one before it.
    open: Vec<TreePath>,
}

impl Order {
    /// Takes the next entry.
    ///
    /// # Errors
    /// [`TreeError`]: it must not stand there.
    pub(super) fn take(&mut self, entry: &TreeEntry) -> Result<(), TreeError> {
        let (number, path) = (self.number(), &entry.path);
        if self.entries >= ENTRIES_MAX {
            return Err(TreeError::TooMany);
        }
        if self.last.as_ref().is_some_and(|last| last >= path) {
            return Err(TreeError::Order { number });
        }
        if matches!(&entry.node, Node::Link { target, .. } if !is_target(target)) {
            return Err(TreeError::Line { number });
        }
        let parent = path.parent();
        while self.open.last().is_some_and(|open| parent != Some(open.as_bytes())) {
            self.open.pop();
        }
        if parent.is_some() && self.open.is_empty() {
            return Err(TreeError::NoDirectory { number });
        }
        if entry.is_directory() {
            self.open.push(path.clone());
        }
        self.last = Some(path.clone());
        self.entries += 1;
        Ok(())
    }

    /// The number of the next line; the header is line 1.
    pub(super) fn number(&self) -> u64 {
        self.entries as u64 + 2
    }
}

/// The longest line in bytes: a link, each byte of whose path and target is escaped, and a few short fields.
const LINE_BYTES_MAX: usize = 3 * (TreePath::BYTES_MAX + TARGET_BYTES_MAX) + 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Tree;
    use super::*;
    use crate::id::{ContentId, OutboardDigest};
    use crate::outboard::{CHUNK_BYTES, Outboard};
    use crate::wire::ObjectInfo;

    fn object(bytes: u8, length: u64) -> ObjectInfo {
        let outboard = match length > CHUNK_BYTES {
            true => OutboardDigest([bytes; 32]),
            false => Outboard::new(length, Vec::new()).unwrap().digest(),
        };
        ObjectInfo { content: ContentId::of(&[bytes]), length, outboard }
    }

    fn any_node() -> impl Strategy<Value = Node> {
        let time = || (any::<i64>(), 0..1_000_000_000u32).prop_map(|(s, n)| FileTime::new(s, n));
        let mode = || any::<u32>().prop_map(Mode::of_bits);
        prop_oneof![
            (mode(), time()).prop_map(|(mode, modified)| Node::Directory { mode, modified }),
            (mode(), time(), any::<u8>(), prop_oneof![0..3 * CHUNK_BYTES, Just(CHUNK_BYTES)]).prop_map(
                |(mode, modified, bytes, length)| Node::File {
                    mode,
                    modified,
                    object: object(bytes, length)
                }
            ),
            (time(), prop::collection::vec(1..=255u8, 1..20))
                .prop_map(|(modified, target)| Node::Link { modified, target }),
        ]
    }

    /// Entries of which each lies in a directory, by few names, so that many share one.
    fn any_entries() -> impl Strategy<Value = Vec<TreeEntry>> {
        let name = prop_oneof![
            prop::sample::select(vec!["a", "b", "a.b", "a b", "%", "A", "é"])
                .prop_map(|s| s.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 1..4),
        ];
        let paths = prop::collection::vec(prop::collection::vec(name, 1..4), 0..12);
        (paths, prop::collection::vec(any_node(), 12)).prop_map(|(paths, nodes)| {
            let mut entries: std::collections::BTreeMap<TreePath, Node> = Default::default();
            let directory = Node::Directory { mode: Mode::of_bits(0o755), modified: FileTime::new(1, 2) };
            for (components, node) in paths.into_iter().zip(nodes) {
                let Ok(path) = TreePath::new(components.join(&b'/')) else { continue };
                let mut above = path.parent().map(<[u8]>::to_vec);
                while let Some(directory_path) = above {
                    let parent = TreePath::new(directory_path).unwrap();
                    above = parent.parent().map(<[u8]>::to_vec);
                    entries.insert(parent, directory.clone());
                }
                entries.entry(path).or_insert(node);
            }
            entries.into_iter().map(|(path, node)| TreeEntry { path, node }).collect()
        })
    }

    proptest! {
        #[test]
        fn a_tree_comes_back(entries in any_entries(), cut in 1usize..50) {
            let tree = Tree::new(Mode::of_bits(0o40750), FileTime::new(-3, 7), entries.clone()).unwrap();
            prop_assert_eq!(tree.entries(), &entries[..]);
            let text = tree.to_text().unwrap();
            prop_assert_eq!(Tree::from_text(text.as_bytes()).unwrap(), tree);
            let (mut reader, mut found) = (TreeReader::default(), Vec::new());
            for piece in text.as_bytes().chunks(cut) {
                reader.read(piece, &mut |entry| found.push(entry)).unwrap();
            }
            prop_assert_eq!(reader.finish().unwrap(), (Mode::of_bits(0o750), FileTime::new(-3, 7)));
            prop_assert_eq!(found, entries);
        }

        /// Goal: one tree has one text, and no bytes make the parser panic.
        #[test]
        fn damaged_text_is_refused_or_the_text_of_another_tree(
            entries in any_entries(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let tree = Tree::new(Mode::of_bits(0o700), FileTime::new(0, 0), entries).unwrap();
            let mut text = tree.to_text().unwrap().into_bytes();
            for (at, byte) in damage {
                let at = at.index(text.len());
                text[at] = byte;
            }
            if let Ok(other) = Tree::from_text(&text) {
                prop_assert_eq!(other.to_text().unwrap().into_bytes(), text);
            }
        }

        #[test]
        fn random_bytes_are_no_tree(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Tree::from_text(&bytes).is_err());
        }
    }

    fn read(lines: &str) -> Result<Tree, TreeError> {
        Tree::from_text(format!("quoit tree 1 755 0.000000000\n{lines}").as_bytes())
    }

    #[test]
    fn a_hostile_tree_is_refused() {
        let content = ContentId::of(b"x");
        let file = |path: &str| format!("f 644 0.000000000 1 {content} {path}\n");
        let (directory, link) = ("d 755 0.000000000 a\n", "l 0.000000000 a /etc\n");
        assert_eq!(read(&format!("{directory}{}", file("a/b"))).unwrap().entries().len(), 2);
        for bad in ["../x", "/etc/passwd", "a/../b", "a//b", "a/", ".", "a/."] {
            let refused = read(&format!("{directory}{}", file(bad)));
            assert!(matches!(refused, Err(TreeError::Path { number: 3, .. })), "{bad}: {refused:?}");
        }
        let through_a_link = read(&format!("{link}{}", file("a/passwd")));
        assert_eq!(through_a_link, Err(TreeError::NoDirectory { number: 3 }));
        let through_a_file = read(&format!("{}{}", file("a"), file("a/b")));
        assert_eq!(through_a_file, Err(TreeError::NoDirectory { number: 3 }));
        let twice = read(&format!("{link}{}", file("a")));
        assert_eq!(twice, Err(TreeError::Order { number: 3 }));
        assert_eq!(read(&format!("{}{}", file("b"), file("a"))), Err(TreeError::Order { number: 3 }));
        assert_eq!(read("d 4755 0.000000000 a\n"), Err(TreeError::Line { number: 2 }), "no set-user-id");
    }

    #[test]
    fn another_text_of_the_same_tree_is_refused() {
        let content = ContentId::of(b"x");
        let upper = content.to_string().to_uppercase();
        for bad in [
            format!("f 644 0.000000000 01 {content} a\n"),
            format!("f 644 0.000000000 +1 {content} a\n"),
            format!("f 644 0.0 1 {content} a\n"),
            format!("f 644 -0.000000000 1 {content} a\n"),
            format!("f 0644 0.000000000 1 {content} a\n"),
            format!("f 644 0.000000000 1 {upper} a\n"),
            format!("f 644 0.000000000 1 {content}  a\n"),
            format!("f 644 0.000000000 1 {content} a \n"),
            format!("f 644 0.000000000 1 {content} {content} a\n"),
            format!("f 644 0.000000000 1 {content} %61\n"),
            format!("f 644 0.000000000 1048577 {content} a\n"),
            format!("f 644 0.000000000 2305843009213693952 {content} {content} a\n"),
            "\n".to_owned(),
            "x\n".to_owned(),
            "l 0.000000000 a \n".to_owned(),
            "l 0.000000000 a %00\n".to_owned(),
        ] {
            assert_eq!(read(&bad), Err(TreeError::Line { number: 2 }), "{bad}");
        }
        assert_eq!(read("d 755 0.000000000 a"), Err(TreeError::Cut));
        assert_eq!(Tree::from_text(b""), Err(TreeError::NoTree));
        assert_eq!(Tree::from_text(b"quoit tree 2 755 0.000000000\n"), Err(TreeError::NoTree));
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let mut reader = TreeReader::default();
        reader.read(b"quoit tree 1 755 0.000000000\n", &mut |_| {}).unwrap();
        let piece = vec![b'x'; 64 * 1024];
        assert_eq!(reader.read(&piece, &mut |_| {}), Err(TreeError::Line { number: 2 }));
    }

    #[test]
    fn a_part_of_a_tree_is_a_tree() {
        let content = ContentId::of(b"x");
        let tree = read(&format!(
            "d 755 0.000000000 a\nd 700 1.000000000 a/b\nf 644 0.000000000 1 {content} a/b/c\nl 0.000000000 a/d b\n"
        ))
        .unwrap();
        let path = |text: &str| TreePath::new(text).unwrap();
        let part = tree.below(&path("a/b")).unwrap();
        assert_eq!(
            part.to_text().unwrap(),
            format!("quoit tree 1 700 1.000000000\nf 644 0.000000000 1 {content} c\n")
        );
        assert_eq!((tree.below(&path("a/d")), tree.below(&path("x"))), (None, None));
        let paths =
            |tree: Tree| -> Vec<String> { tree.entries().iter().map(|e| e.path.to_string()).collect() };
        assert_eq!(paths(tree.only(&path("a/b")).unwrap()), ["a", "a/b", "a/b/c"]);
        assert_eq!(paths(tree.only(&path("a/d")).unwrap()), ["a", "a/d"]);
        assert_eq!(tree.only(&path("b")), None);
        assert_eq!(tree.entry(&path("a/b/c")).unwrap().object().unwrap().length, 1);
    }
}
