//! Text that is wider than its terminal: broken between words, with continuation lines indented.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use unicode_width::UnicodeWidthStr as _;

/// The number of columns; `None` if this is not a terminal, or it does not tell.
pub(super) fn width_of(terminal: &(impl IsTerminal + AsFd)) -> Option<usize> {
    if !terminal.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// The text with no line wider than `width`, as far as its words allow: a longer word, such as an address, stays whole,
/// so that it can be copied.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    text.split('\n').map(|line| wrapped_line(line, width)).collect::<Vec<_>>().join("\n")
}

fn wrapped_line(line: &str, width: usize) -> String {
    if line.width() <= width {
        return line.to_owned();
    }
    let inner = line.trim_start_matches(' ');
    let indent = " ".repeat((line.len() - inner.len()).min(width / 4));
    let hanging = format!("{indent}  ");
    let mut lines = vec![indent];
    // Words keep the spaces before them, except at the beginning of a line.
    for word in inner.split_inclusive(' ') {
        let last = lines.len() - 1;
        let begins = lines[last].trim().is_empty();
        if !begins && lines[last].width() + word.trim_end().width() > width {
            let full = lines[last].trim_end().len();
            lines[last].truncate(full);
            lines.push(hanging.clone() + word);
        } else if !(begins && word == " ") {
            lines[last].push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("short", 20), "short");
        assert_eq!(
            wrapped("  content     sha256:5891\n  on 10, 80 and 150: 3 of 3 copies", 20),
            "  content\n    sha256:5891\n  on 10, 80 and 150:\n    3 of 3 copies"
        );
        assert_eq!(wrapped("a word-that-has-no-room-at-all b", 10), "a\n  word-that-has-no-room-at-all\n  b");
        for width in 1..30 {
            let text = wrapped("  one two  three\n\n four ５６ seven", width);
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&text), words("one two three four ５６ seven"), "{width}");
        }
    }
}
