//! Arithmetic of positions: numbers of 256 bits, as four words of 64 bits each.
//!
//! No other module computes with the bytes of a position; a table that compares gaps roughly takes the first word alone
//! (`Position::prefix`). A distance on the circle is a position, too. Nothing here panics: differences go around
//! the circle, products end at its last point.

/// `to − from` modulo 2^256: the clockwise distance.
pub(super) fn difference(from: &[u8; 32], to: &[u8; 32]) -> [u8; 32] {
    let (from, to) = (words(from), words(to));
    let mut out = [0; WORDS];
    let mut borrow = false;
    for i in (0..WORDS).rev() {
        let (difference, below) = to[i].overflowing_sub(from[i]);
        let (difference, below_by_borrow) = difference.overflowing_sub(u64::from(borrow));
        borrow = below || below_by_borrow;
        out[i] = difference;
    }
    of_words(out)
}

/// A number `factor` times, at most 2^256 − 1.
pub(super) fn times(number: &[u8; 32], factor: u64) -> [u8; 32] {
    let number = words(number);
    let mut out = [0; WORDS];
    let mut carry = 0u128;
    for i in (0..WORDS).rev() {
        let product = u128::from(number[i]) * u128::from(factor) + carry;
        out[i] = product as u64;
        carry = product >> u64::BITS;
    }
    if carry > 0 { [u8::MAX; 32] } else { of_words(out) }
}

/// One of `parts` equal parts of a number, rounded down; no parts count as one.
pub(super) fn divided_by(number: &[u8; 32], parts: u64) -> [u8; 32] {
    let (number, parts) = (words(number), u128::from(parts.max(1)));
    let mut out = [0; WORDS];
    let mut rest = 0u128;
    for i in 0..WORDS {
        let part = rest << u64::BITS | u128::from(number[i]);
        out[i] = (part / parts) as u64;
        rest = part % parts;
    }
    of_words(out)
}

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
fn words(bytes: &[u8; 32]) -> [u64; WORDS] {
    std::array::from_fn(|i| word(bytes, i))
}

#[inline]
fn word(bytes: &[u8; 32], i: usize) -> u64 {
    bytes[i * 8..i * 8 + 8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn of_words(words: [u64; WORDS]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

const WORDS: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Position;
    use super::super::tests::position;
    use super::*;

    /// The model: any number of digits of base 256, the least first, by the rules of long arithmetic.
    type Digits = Vec<u8>;

    fn digits(position: &Position) -> Digits {
        position.0.iter().rev().copied().collect()
    }

    fn product(a: &[u8], factor: u64) -> Digits {
        let mut carry = 0u128;
        let mut out: Digits = Vec::new();
        for digit in a.iter().chain(&[0; 8]) {
            carry += u128::from(*digit) * u128::from(factor);
            out.push(carry as u8);
            carry >>= 8;
        }
        out
    }

    fn sum(a: &[u8], b: &[u8]) -> Digits {
        let mut carry = 0;
        let digit = |of: &[u8], i: usize| u16::from(of.get(i).copied().unwrap_or(0));
        let add = |i| {
            carry += digit(a, i) + digit(b, i);
            let low = carry as u8;
            carry >>= 8;
            low
        };
        (0..a.len().max(b.len()) + 1).map(add).collect()
    }

    /// The number on the circle, and whether it went around.
    fn on_the_circle(digits: &[u8]) -> (Position, bool) {
        let mut bytes: [u8; 32] = digits[..32].try_into().unwrap();
        bytes.reverse();
        (Position(bytes), digits[32..].iter().any(|digit| *digit != 0))
    }

    fn factor() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u64>(), 0u64..1_000, Just(u64::MAX)]
    }

    proptest! {
        #[test]
        fn a_distance_leads_from_one_to_the_other(a in position(), b in position()) {
            prop_assert_eq!(on_the_circle(&sum(&digits(&a), &digits(&a.distance_to(&b)))).0, b);
        }

        #[test]
        fn times_is_the_product_or_the_whole_circle(distance in position(), factor in factor()) {
            let (product, around) = on_the_circle(&product(&digits(&distance), factor));
            prop_assert_eq!(distance.times(factor), if around { Position::MAX } else { product });
        }

        /// Goal: divisor × quotient + rest = dividend, with a rest below the divisor.
        #[test]
        fn divided_by_leaves_a_rest_below_the_divisor(distance in position(), parts in factor()) {
            let parts = parts.max(1);
            let (whole, around) = on_the_circle(&product(&digits(&distance.divided_by(parts)), parts));
            let rest = whole.distance_to(&distance);
            prop_assert!(!around && whole <= distance);
            prop_assert!(rest.0[..24].iter().all(|byte| *byte == 0) && word(&rest.0, 3) < parts);
        }

        #[test]
        fn the_order_is_that_of_the_bytes(a in position(), b in position()) {
            prop_assert_eq!(a.cmp(&b), a.0.cmp(&b.0));
            prop_assert_eq!(&a.prefix().to_be_bytes(), &a.0[..8]);
        }
    }

    #[test]
    fn the_edges_of_the_circle() {
        let mut one = Position::ZERO;
        one.0[31] = 1;
        assert_eq!(Position::MAX.distance_to(&Position::ZERO), one);
        assert_eq!(one.distance_to(&Position::ZERO), Position::MAX);
        assert_eq!((Position::MAX.times(1), Position::MAX.times(2)), (Position::MAX, Position::MAX));
        assert_eq!(
            (Position::MAX.divided_by(1), Position::MAX.divided_by(0)),
            (Position::MAX, Position::MAX)
        );
    }
}
