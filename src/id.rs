//! Names for points, bytes and files: positions, content ids, file names.
//!
//! Everything here is a value; hashing is the only computation. The circle has
//! 2^256 points, and a point is a 32-byte big-endian unsigned number, so that
//! comparing bytes compares points.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod arithmetic;
mod digest;
mod range;
mod weight;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use digest::SetDigest;
pub use range::KeyRange;
pub use weight::{CANDIDATES, Placed, Weight, WeightError, choose, ideal_loads, loads, unevenness};

/// Declares a 32-byte value that is written as 64 lower-case hexadecimal digits.
macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        /// The order of the numbers.
        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                arithmetic::compare(&self.0, &other.0)
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// The value as its 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}…)"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map($name)
            }
        }
    };
}

bytes32! {
    /// A point on the circle of 2^256 points: where a peer stands, or where a key falls.
    Position
}
bytes32! {
    /// The plain SHA-256 (FIPS 180-4) of a file's bytes: its address and its key on the ring.
    ContentId
}
bytes32! {
    /// SHA-256 of an outboard's bytes (see `blob`); tells lists of midstates apart.
    OutboardDigest
}
bytes32! {
    /// SHA-256 of a name record's signed bytes; tells records apart.
    RecordId
}
bytes32! {
    /// SHA-256 of a peer's raw 32-byte Ed25519 public key; tells identities apart.
    KeyHash
}

impl Position {
    /// The first point of the circle.
    pub const ZERO: Position = Position([0; 32]);
    /// The last point of the circle, 2^256 − 1.
    pub const MAX: Position = Position([0xff; 32]);

    /// Where the peer of this number stands: `[number, 0xff, 0xff, …]`, so that
    /// a key belongs to the first peer whose number is at or after its first byte.
    pub fn of_number(number: u8) -> Position {
        let mut bytes = [0xff; 32];
        bytes[0] = number;
        Position(bytes)
    }

    /// The number of a peer that stands here, if this is a numbered peer's position.
    pub fn number(&self) -> Option<u8> {
        self.0[1..].iter().all(|&byte| byte == 0xff).then_some(self.0[0])
    }

    /// The clockwise distance from this position to `to`: `to − self` modulo 2^256.
    pub fn distance_to(&self, to: &Position) -> Position {
        Position(arithmetic::difference(&self.0, &to.0))
    }

    /// This distance `factor` times, at most the whole circle.
    pub(crate) fn times(&self, factor: u64) -> Position {
        Position(arithmetic::times(&self.0, factor))
    }

    /// One of `parts` equal parts of this distance, rounded down; no parts count as one.
    pub(crate) fn divided_by(&self, parts: u64) -> Position {
        Position(arithmetic::divided_by(&self.0, parts))
    }

    /// The first eight bytes of the position as a number.
    #[inline]
    pub(crate) fn prefix(&self) -> u64 {
        arithmetic::head(&self.0)
    }

    /// This distance as a share of the whole circle, in 0.0 .. 1.0. For people, not for decisions.
    pub fn as_fraction(&self) -> f64 {
        self.prefix() as f64 / 2f64.powi(64)
    }

    /// The position of a peer without a number: SHA-256 of its raw 32-byte public key.
    pub fn of_public_key(public_key: &[u8]) -> Position {
        Position(sha256(public_key))
    }

    /// The position as a DNS label: lower-case base32 (RFC 4648) without padding, 52 characters.
    pub fn dns_label(&self) -> String {
        data_encoding::BASE32_NOPAD.encode(&self.0).to_ascii_lowercase()
    }

    /// Reads back [`Position::dns_label`]; `None` unless the label is the canonical one.
    pub fn from_dns_label(label: &str) -> Option<Position> {
        let bytes = data_encoding::BASE32_NOPAD.decode(label.to_ascii_uppercase().as_bytes()).ok()?;
        let position = Position(bytes.try_into().ok()?);
        (position.dns_label() == label).then_some(position)
    }

    /// The label of the peer at this position, for people: its number, or eight hexadecimal digits.
    pub fn label(&self) -> String {
        match self.number() {
            Some(number) => number.to_string(),
            None => self.short(),
        }
    }
}

/// Whether `x` lies strictly between `a` and `b`, clockwise. `between(a, x, a)` means `x != a`.
pub fn between(a: &Position, x: &Position, b: &Position) -> bool {
    if a < b { a < x && x < b } else { (a < x || x < b) && *x != *a && *x != *b }
}

/// Whether `key` lies in `(predecessor, owner]`, so that the peer at `owner` owns it.
/// A peer that is its own predecessor owns everything.
pub fn owns(predecessor: &Position, key: &Position, owner: &Position) -> bool {
    key == owner || predecessor == owner || between(predecessor, key, owner)
}

impl ContentId {
    /// The content id of these bytes.
    pub fn of(bytes: &[u8]) -> ContentId {
        ContentId(sha256(bytes))
    }

    /// The content id of these bytes, one part behind the other.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> ContentId {
        let mut hasher = Sha256::new();
        parts.into_iter().for_each(|part| hasher.update(part));
        ContentId(hasher.finalize().into())
    }

    /// The content id as a key: the point where the file belongs.
    pub fn key(&self) -> Position {
        Position(self.0)
    }
}

impl KeyHash {
    /// The hash of a raw 32-byte Ed25519 public key.
    pub fn of(public_key: &[u8]) -> KeyHash {
        KeyHash(sha256(public_key))
    }
}

/// SHA-256 of bytes that are in memory anyway.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A file's name as the ring knows it: one path component, 1 to 255 bytes of UTF-8.
///
/// Never empty, `.` or `..`, and without `/` or NUL, so that it names a file in
/// one folder and nothing else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

/// Why a text is not a file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileNameError {
    /// The name is empty.
    #[error("a file name cannot be empty")]
    Empty,
    /// The name is longer than the 255 bytes that file systems allow.
    #[error("a file name has at most {} bytes; this one has {length}", FileName::BYTES_MAX)]
    TooLong {
        /// The length of the name in bytes.
        length: usize,
    },
    /// The name would leave its folder.
    #[error("{name:?} is no file name: it would leave its folder")]
    Unsafe {
        /// The refused name.
        name: String,
    },
    /// The name is not UTF-8. (A `String` always is; a name on disk may be anything.)
    #[error("its name is not UTF-8; store it under another name")]
    NotText,
    /// The name reads like an address, so that no one could ask for the file by it.
    #[error("a name that begins with sha256: is taken for an address; store it under another name")]
    Address,
}

impl FileName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Checks a name and makes a file name of it.
    ///
    /// # Errors
    /// [`FileNameError`] when the text is empty, too long, `.`, `..`, or holds `/` or NUL.
    pub fn new(name: impl Into<String>) -> Result<FileName, FileNameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(FileNameError::Empty);
        }
        if name.len() > Self::BYTES_MAX {
            return Err(FileNameError::TooLong { length: name.len() });
        }
        if name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(FileNameError::Unsafe { name });
        }
        Ok(FileName(name))
    }

    /// The name as text, not escaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name key: SHA-256 of the name's UTF-8 bytes, where its record lives.
    pub fn key(&self) -> Position {
        Position(sha256(self.0.as_bytes()))
    }
}

impl TryFrom<String> for FileName {
    type Error = FileNameError;

    fn try_from(name: String) -> Result<FileName, FileNameError> {
        FileName::new(name)
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> String {
        name.0
    }
}

/// The name as people see it, see [`escaped`].
impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.0))
    }
}

/// A foreign text made safe to show: characters that a terminal would obey are escaped.
pub fn escaped(text: &str) -> String {
    text.chars().map(|c| if is_unshown(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Whether a terminal obeys this character instead of showing it: control characters, and characters that turn the
/// direction of writing and make a name look like another one.
pub fn is_unshown(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a text is not a 32-byte id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not 64 hexadecimal digits")]
pub struct ParseIdError {
    /// The refused text, at most its first 80 characters.
    pub text: String,
}

fn parse_hex(text: &str) -> Result<[u8; 32], ParseIdError> {
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| ParseIdError { text: text.chars().take(80).collect() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn position() -> impl Strategy<Value = Position> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(Position),
            any::<u8>().prop_map(Position::of_number),
            any::<u8>().prop_map(|last| {
                let mut bytes = [0; 32];
                bytes[31] = last;
                Position(bytes)
            }),
            Just(Position::ZERO),
            Just(Position::MAX),
        ]
    }

    proptest! {
        /// Goal: for distinct ends, a point is an end, inside, or outside, and never two of these.
        #[test]
        fn an_interval_and_its_complement_share_nothing(a in position(), x in position(), b in position()) {
            prop_assume!(a != b);
            let cases = [x == a, x == b, between(&a, &x, &b), between(&b, &x, &a)];
            prop_assert_eq!(cases.iter().filter(|&&case| case).count(), 1);
        }

        #[test]
        fn the_whole_circle_is_between_a_point_and_itself(a in position(), x in position()) {
            prop_assert_eq!(between(&a, &x, &a), x != a);
        }

        /// Goal: with distance as the model, `between` is a comparison.
        #[test]
        fn between_agrees_with_distance(a in position(), x in position(), b in position()) {
            prop_assume!(a != b);
            let (to_x, to_b) = (a.distance_to(&x), a.distance_to(&b));
            prop_assert_eq!(between(&a, &x, &b), to_x > Position::ZERO && to_x < to_b);
        }

        #[test]
        fn every_key_has_exactly_one_owner(key in position(), peers in prop::collection::btree_set(position(), 1..8)) {
            let peers: Vec<_> = peers.into_iter().collect();
            let owners = (0..peers.len())
                .filter(|&i| owns(&peers[(i + peers.len() - 1) % peers.len()], &key, &peers[i]))
                .count();
            prop_assert_eq!(owners, 1);
        }

        #[test]
        fn hexadecimal_and_dns_labels_come_back(p in position()) {
            prop_assert_eq!(p.to_string().parse::<Position>().unwrap(), p);
            prop_assert_eq!(p.dns_label().len(), 52);
            prop_assert_eq!(Position::from_dns_label(&p.dns_label()), Some(p));
        }

        #[test]
        fn a_file_name_never_leaves_its_folder(text in any::<String>()) {
            if let Ok(name) = FileName::new(text) {
                let path = std::path::Path::new(name.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
            }
        }
    }

    #[test]
    fn numbers_stand_at_the_end_of_their_first_byte() {
        for number in 0..=255u8 {
            let position = Position::of_number(number);
            assert_eq!(position.number(), Some(number));
            assert!(position.0[0] == number && position.0[1..].iter().all(|&b| b == 0xff));
        }
        assert_eq!(Position::ZERO.number(), None);
        assert_eq!(Position::of_number(255), Position::MAX);
    }

    #[test]
    fn a_dns_label_with_stray_bits_is_refused() {
        let label = Position::ZERO.dns_label();
        let stray = format!("{}b", &label[..51]);
        assert_eq!(Position::from_dns_label(&stray), None);
    }

    #[test]
    fn file_names_that_are_refused() {
        for bad in ["", ".", "..", "../x", "/etc/passwd", "a/b", "nul\0", &"x".repeat(256)] {
            assert!(FileName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a b", "-rf", "…", "CON", "two\nlines", ".hidden", &"x".repeat(255)] {
            assert!(FileName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_known_name_key() {
        // printf %s 4012.pdf | sha256sum
        let key = FileName::new("4012.pdf").unwrap().key().to_string();
        assert_eq!(&key, &data_encoding::HEXLOWER.encode(&sha256(b"4012.pdf")));
        assert_eq!(
            ContentId::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
