//! Splits a line into words like a shell, quoted or not; and quotes a word for typing. Pure.
//!
//! `'my file'`, `"my file"` and `my\ file` are one word each; `# remark` is not a word. In bash and zsh `$'new\nline'`
//! writes characters that cannot be typed: names may hold anything but `/`.

use crate::id::is_unshown;

/// The words of a line; `None` when a quotation mark or a backslash is left open.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let read = Read::of(line);
    (!read.open).then(|| read.words.into_iter().map(|(_, word)| word).collect())
}

/// The word that is being typed at the end of this line: its beginning, quotation mark included, and its meaning so
/// far.
pub(super) fn last(line: &str) -> (usize, String) {
    let mut read = Read::of(line);
    match read.words.pop() {
        Some(word) if read.in_word => word,
        _ => (line.len(), String::new()),
    }
}

/// A word in a form that a shell, and [`split`], read as this word.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else if !word.contains('\'') && !word.contains(is_unshown) {
        format!("'{word}'")
    } else {
        let escaped: String = word.chars().map(escape).collect();
        format!("$'{escaped}'")
    }
}

fn escape(c: char) -> String {
    match c {
        '\\' | '\'' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        c if is_unshown(c) && c.is_ascii() => format!("\\x{:02x}", u32::from(c)),
        c if is_unshown(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    }
}

/// The part of a line that has been read.
#[derive(Default)]
struct Read {
    /// The words, each with the offset at which it begins.
    words: Vec<(usize, String)>,
    /// Whether the line ends within the last word.
    in_word: bool,
    /// Whether the line ends within a quotation, or behind a backslash.
    open: bool,
}

/// The kind of quotation that a character stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    Single,
    Double,
    /// A quotation `$'…'`, in which backslashes are interpreted.
    Escaping,
}

impl Read {
    fn of(line: &str) -> Read {
        let mut read = Read::default();
        let mut within = Within::Nothing;
        let mut rest = line.char_indices().peekable();
        while let Some((at, c)) = rest.next() {
            match (within, c) {
                (Within::Nothing, c) if c.is_whitespace() => read.in_word = false,
                (Within::Nothing, '#') if !read.in_word => return read,
                (Within::Nothing, '\'') => (within, _) = (Within::Single, read.word(at)),
                (Within::Nothing, '"') => (within, _) = (Within::Double, read.word(at)),
                (Within::Nothing, '$') if rest.next_if(|(_, next)| *next == '\'').is_some() => {
                    (within, _) = (Within::Escaping, read.word(at));
                }
                (Within::Single | Within::Escaping, '\'') | (Within::Double, '"') => within = Within::Nothing,
                (Within::Single, c) => read.word(at).push(c),
                (_, '\\') => {
                    let word = read.word(at);
                    let Some((_, next)) = rest.next() else {
                        read.open = true;
                        return read;
                    };
                    match within {
                        Within::Escaping => word.push_str(&unescaped(next, &mut rest)),
                        // Between double quotes a backslash stands for itself, except before these characters.
                        Within::Double if !"\"\\$`".contains(next) => word.extend(['\\', next]),
                        _ => word.push(next),
                    }
                }
                (_, c) => read.word(at).push(c),
            }
        }
        read.open = within != Within::Nothing;
        read
    }

    /// The word at this offset of the line: the one that is being read, or a new one.
    fn word(&mut self, at: usize) -> &mut String {
        if !self.in_word || self.words.is_empty() {
            self.in_word = true;
            self.words.push((at, String::new()));
        }
        let last = self.words.len() - 1;
        &mut self.words[last].1
    }
}

/// The meaning of a backslash and this character within `$'…'`.
fn unescaped(c: char, rest: &mut std::iter::Peekable<std::str::CharIndices<'_>>) -> String {
    let mut number = |digits_max: u32| {
        let mut text = String::new();
        while text.len() < digits_max as usize {
            match rest.next_if(|(_, next)| next.is_ascii_hexdigit()) {
                Some((_, digit)) => text.push(digit),
                None => break,
            }
        }
        let value = u32::from_str_radix(&text, 16).ok().and_then(char::from_u32);
        value.map_or_else(|| format!("\\{c}{text}"), String::from)
    };
    match c {
        'n' => "\n".to_owned(),
        't' => "\t".to_owned(),
        'r' => "\r".to_owned(),
        'a' => "\u{7}".to_owned(),
        'b' => "\u{8}".to_owned(),
        'f' => "\u{c}".to_owned(),
        'v' => "\u{b}".to_owned(),
        'e' | 'E' => "\u{1b}".to_owned(),
        'x' => number(2),
        'u' => number(4),
        'U' => number(8),
        '\\' | '\'' | '"' | '?' => c.to_string(),
        c => format!("\\{c}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap_or_else(|| panic!("{line} is left open"))
    }

    #[test]
    fn words_as_a_shell_reads_them() {
        for line in
            ["store 'a b' # remark", r"store a\ b", "store \"a b\"", "store a' 'b", "  store\ta\" \"b "]
        {
            assert_eq!(words(line), ["store", "a b"], "{line}");
        }
        assert_eq!(words(r#"a#b '#' "\"\n" ''"#), ["a#b", "#", "\"\\n", ""]);
        assert_eq!(
            words(r"$'new\nline' $'\x1b[31m\'' $'\u202e' $x $'\q\x'"),
            ["new\nline", "\u{1b}[31m'", "\u{202e}", "$x", "\\q\\x"]
        );
        for line in ["'open", "\"open", "$'open", "open\\", "a 'b"] {
            assert_eq!(split(line), None, "{line}");
        }
        assert!(words(" # nothing").is_empty() && words("").is_empty());
    }

    #[test]
    fn the_word_that_is_being_typed() {
        for (line, start, meaning) in [
            ("request my", 8, "my"),
            ("request 'my f", 8, "my f"),
            ("request \"my f", 8, "my f"),
            (r"request my\ f", 8, "my f"),
            (r"request $'a\nb", 8, "a\nb"),
            ("request ", 8, ""),
            ("request 'a b' ", 14, ""),
            ("", 0, ""),
        ] {
            assert_eq!(last(line), (start, meaning.to_owned()), "{line}");
        }
    }

    #[test]
    fn words_as_they_are_typed() {
        for (word, typed) in [
            ("report.pdf", "report.pdf"),
            ("my file", "'my file'"),
            ("", "''"),
            ("it's", r"$'it\'s'"),
            ("new\nline", r"$'new\nline'"),
            ("\u{1b}[31m", r"$'\x1b[31m'"),
            ("a\\b", "'a\\b'"),
            ("#1", "'#1'"),
        ] {
            assert_eq!(quoted(word), typed);
        }
    }

    proptest! {
        /// Goal: a person can type any name.
        #[test]
        fn a_quoted_name_is_read_again(name in any::<String>(), other in ".*") {
            let line = format!("request {} {}", quoted(&name), quoted(&other));
            prop_assert_eq!(split(&line), Some(vec!["request".to_owned(), name, other]));
        }
    }
}
