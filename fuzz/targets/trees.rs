//! Trees: the text that stands for a directory, whole and in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quoit::tree::{Tree, TreeReader, clash};
use quoit_fuzz::choice;

fuzz_target!(|data: &[u8]| {
    let Some((cut, text)) = choice(data) else { return };
    let whole = Tree::from_text(text);
    let (mut reader, mut entries) = (TreeReader::default(), Vec::new());
    let mut pieces = text.chunks(usize::from(cut) + 1);
    let read = pieces.try_for_each(|piece| reader.read(piece, &mut |entry| entries.push(entry)));
    // However a text is cut, it is the same tree, or none.
    let head = read.and_then(|()| reader.finish());
    assert_eq!(whole.is_ok(), head.is_ok());
    let Ok(tree) = whole else { return };
    assert_eq!(head, Ok((tree.mode(), tree.modified())));
    assert_eq!(entries, tree.entries());
    // One tree has one text.
    assert_eq!(tree.to_text().expect("it was as long").as_bytes(), text);
    assert!(Tree::new(tree.mode(), tree.modified(), entries).as_ref() == Ok(&tree));
    let _ = clash(tree.entries().iter().map(|entry| &entry.path));
    for entry in tree.entries() {
        // Each entry lies in a directory of the tree, by names that stay in it.
        assert!(
            entry.path.components().all(|name| !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/'))
        );
        let only = tree.only(&entry.path).expect("it is there");
        assert_eq!(only.entry(&entry.path), Some(entry));
        if let Some(below) = tree.below(&entry.path) {
            assert!(Tree::new(below.mode(), below.modified(), below.entries().to_vec()).is_ok());
        }
    }
});
