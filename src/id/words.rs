//! Numbers of 256 bits as four words of 64 bits each: their order, and their words.

/// The order of two numbers. Most comparisons end with the first word.
#[inline]
pub(super) fn compare(a: &[u8; 32], b: &[u8; 32]) -> std::cmp::Ordering {
    head(a).cmp(&head(b)).then_with(|| a.cmp(b))
}

/// The first of the four words.
#[inline]
pub(super) fn head(bytes: &[u8; 32]) -> u64 {
    word(bytes, 0)
}

/// The four words of a number, the greatest first.
pub(super) fn words(bytes: &[u8; 32]) -> [u64; WORDS] {
    std::array::from_fn(|i| word(bytes, i))
}

#[inline]
pub(super) fn word(bytes: &[u8; 32], i: usize) -> u64 {
    bytes[i * 8..i * 8 + 8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

pub(super) const WORDS: usize = 4;
