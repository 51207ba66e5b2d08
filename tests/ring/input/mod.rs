//! Bad input: the answer is one line that names the cause and the remedy, and the peer runs on. At the prompt and from
//! a shell.

mod arguments;
mod changing;
mod disk;
mod files;
mod names;
mod pipes;
mod terminal;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::harness::Ring;
use super::samples::entries;

/// The error of a command that must fail. The prompt and the shell must print the same line.
#[track_caller]
fn refused(ring: &Ring, number: u8, words: &[&str], code: i32) -> String {
    let by_shell = ring.said(number, words).error(code);
    let at_prompt = ring.ask(number, &typed(words)).error();
    assert_eq!(at_prompt, by_shell);
    by_shell
}

/// The words of a command, as a person types them at a prompt.
fn typed(words: &[&str]) -> String {
    let quoted = words.iter().map(|word| {
        let escaped =
            word.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t");
        format!("$'{}'", escaped.replace('\u{1b}', "\\e"))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Whether any peer has any part of these bytes, or this name.
fn is_anywhere(ring: &Ring, sha256: &str, name: &str) -> bool {
    ring.numbers().iter().any(|number| {
        tree(&ring.data_dir(*number)).iter().any(|path| {
            let file = path.file_name().unwrap().to_string_lossy();
            file.starts_with(sha256) || file == name || path.parent().is_some_and(|p| p.ends_with("incoming"))
        })
    })
}

/// Everything below a folder.
fn tree(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for path in entries(dir) {
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        }
        found.insert(path);
    }
    found
}
