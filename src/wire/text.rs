//! Texts for people, cut to a length.

/// A text of at most `bytes_max` bytes. A longer text is cut after the last whole word that fits, and a sign shows the
/// cut.
pub fn shortened(mut text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    let whole = text.floor_char_boundary(bytes_max.saturating_sub(MORE.len()));
    // The text goes on here inside a word, or between two words.
    let in_a_word = !text[whole..].starts_with(char::is_whitespace);
    let fitting = &text[..whole];
    let end = match fitting.rfind(char::is_whitespace) {
        Some(space) if in_a_word => space,
        _ => whole,
    };
    text.truncate(text[..end].trim_end().len());
    if text.len() + MORE.len() <= bytes_max {
        text.push_str(MORE);
    }
    text
}

/// Words as people read them: "a, b and c".
pub fn word_list(words: impl IntoIterator<Item = String>) -> String {
    let mut words: Vec<String> = words.into_iter().collect();
    match words.pop() {
        None => "none".to_owned(),
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} and {last}", words.join(", ")),
    }
}

const MORE: &str = " …";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_word_is_cut() {
        let cut = |bytes| shortened("aborted by peer: the connection".to_owned(), bytes);
        assert_eq!(cut(31), "aborted by peer: the connection");
        assert_eq!(cut(30), "aborted by peer: the …");
        assert_eq!(cut(24), "aborted by peer: the …");
        assert_eq!(cut(23), "aborted by peer: …");
        assert_eq!(cut(3), "");
        assert_eq!(shortened("é".repeat(10), 9), "éé …", "one word that is too long");
    }

    proptest! {
        #[test]
        fn it_is_as_long_as_it_may_be(text in ".{0,60}", bytes_max in 0usize..80) {
            let cut = shortened(text.clone(), bytes_max);
            prop_assert!(cut.len() <= bytes_max);
            prop_assert!(cut == text || text.starts_with(cut.trim_end_matches(MORE)));
        }
    }
}
