//! Bytes on one line of text, and back: `%` and two digits stand for a byte that would not be seen as it is.

use std::fmt::Write as _;

use crate::id::is_unshown;

/// Writes bytes as text. Characters of valid UTF-8 stay, but for the space, `%`, and those that a terminal would obey; all
/// other bytes are `%` and two hexadecimal digits in upper case.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let as_digits = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == ' ' || c == '%' || is_unshown(c) {
                as_digits(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(c);
            }
        }
        as_digits(&mut text, chunk.invalid());
    }
    text
}

/// Reads back [`escape`]; `None` unless it is the very text that `escape` writes.
pub(super) fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                bytes.push(data_encoding::HEXUPPER.decode(digits).ok()?[0]);
                rest = after;
            }
            byte => bytes.push(*byte),
        }
    }
    (escape(&bytes).as_bytes() == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_seen_stays() {
        assert_eq!(escape("a/b-ä…%20".as_bytes()), "a/b-ä…%2520");
        assert_eq!(escape(b"a b\n\x7f\xff\xe2\x80"), "a%20b%0A%7F%FF%E2%80");
        assert_eq!(escape("\u{202e}".as_bytes()), "%E2%80%AE", "it would turn the direction of writing");
    }

    #[test]
    fn another_text_of_the_same_bytes_is_refused() {
        for bad in ["%61", "%2f", "%", "%2", "a b", "%zz", "\n", "%C3%A4"] {
            assert_eq!(unescape(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(unescape(b"\xff"), None);
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = escape(&bytes);
            prop_assert!(!text.contains([' ', '\n']));
            prop_assert_eq!(unescape(text.as_bytes()), Some(bytes));
        }

        #[test]
        fn bytes_have_one_text(text in prop::collection::vec(prop_oneof![Just(b'%'), any::<u8>(), b'0'..=b'F'], 0..12)) {
            if let Some(bytes) = unescape(&text) {
                prop_assert_eq!(escape(&bytes).into_bytes(), text);
            }
        }
    }
}
