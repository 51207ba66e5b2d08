//! The completions of the Tab key: commands first, then local files for `Store`, known names for the rest.

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::{Context, Helper, Highlighter, Hinter, Validator};

use super::command::NAMES;
use super::known_names::KnownNames;
use super::words;
use crate::id::escaped;

/// The completer of the prompt.
#[derive(Helper, Highlighter, Hinter, Validator)]
pub(super) struct PromptHelper {
    files: FilenameCompleter,
    names: KnownNames,
}

impl PromptHelper {
    pub(super) fn new(names: KnownNames) -> PromptHelper {
        PromptHelper { files: FilenameCompleter::new(), names }
    }

    fn candidates(&self, line: &str, pos: usize) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..pos];
        let (start, word) = words::last(before);
        let word = word.as_str();
        let command = before.trim_start().split(char::is_whitespace).next().unwrap_or_default();
        if before[..start].trim().is_empty() {
            return Ok((start, matching(&NAMES, word)));
        }
        match command.to_lowercase().as_str() {
            "store" if word.starts_with('-') => Ok((
                start,
                matching(
                    &["--recursive", "--exclude", "--dry-run", "--as", "--wait", "--timeout", "--json"],
                    word,
                ),
            )),
            "store" => self.files.complete_path(line, pos),
            "files" if word.starts_with('-') => Ok((start, matching(&["--ring"], word))),
            "status" => Ok((start, matching(&["--ring", "--verbose"], word))),
            "safe-to-stop" => Ok((start, matching(&["--for", "--for-good"], word))),
            "request" | "files" | "whereis" | "cat" | "history" | "remove" | "restore" => {
                Ok((start, self.known(word, before[..start].contains(" -- "))))
            }
            _ => Ok((start, Vec::new())),
        }
    }

    /// The known names that begin with the meaning of this word, in the form in which they are typed.
    fn known(&self, word: &str, no_options_follow: bool) -> Vec<Pair> {
        let names = self.names.beginning_with(word);
        let typed = |name: &str| {
            let dashes = if name.starts_with('-') && !no_options_follow { "-- " } else { "" };
            format!("{dashes}{} ", words::quoted(name))
        };
        names.iter().map(|name| Pair { display: escaped(name), replacement: typed(name) }).collect()
    }
}

impl Completer for PromptHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        self.candidates(line, pos)
    }
}

fn matching(words: &[&str], start: &str) -> Vec<Pair> {
    words
        .iter()
        .filter(|word| word.to_lowercase().starts_with(&start.to_lowercase()))
        .map(|word| Pair { display: (*word).to_owned(), replacement: format!("{word} ") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::FileName;

    fn offered(line: &str) -> (usize, Vec<String>) {
        let names = KnownNames::default();
        names.replace(
            ["report.pdf", "my file", "-rf", "two\nlines"]
                .into_iter()
                .map(|name| FileName::new(name).unwrap()),
        );
        let (start, pairs) = PromptHelper::new(names).candidates(line, line.len()).unwrap();
        (start, pairs.into_iter().map(|pair| pair.replacement).collect())
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn commands_then_their_arguments() {
        assert_eq!(offered("re"), (0, words(&["Request ", "Remove ", "Restore "])));
        assert_eq!(offered("S"), (0, words(&["Store ", "Status ", "Safe-to-stop ", "Scrub "])));
        assert_eq!(offered("files --r"), (6, words(&["--ring "])));
        assert_eq!(offered("Store --w"), (6, words(&["--wait "])));
        assert_eq!(offered("Request rep"), (8, words(&["report.pdf "])));
        assert_eq!(offered("whereis my"), (8, words(&["'my file' "])));
        assert_eq!(offered("whereis 'my f"), (8, words(&["'my file' "])));
        assert_eq!(offered("cat tw"), (4, words(&[r"$'two\nlines' "])));
        assert_eq!(offered(r"cat $'two\nl"), (4, words(&[r"$'two\nlines' "])));
        assert_eq!(offered("request -r"), (8, words(&["-- -rf "])));
        assert_eq!(offered("request -- -r"), (11, words(&["-rf "])));
        assert_eq!(offered("Quit x"), (5, vec![]));
        assert!(offered("Store Cargo.to").1.iter().any(|path| path.starts_with("Cargo.toml")));
    }
}
