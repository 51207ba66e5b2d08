//! Ranges of bytes of a file, for clients.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PeerName;
use crate::id::{ContentId, FileName};

/// The bytes of a file from `first` to `last`, both counted from zero and both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// The last byte; not before the first.
    pub last: u64,
}

impl ByteRange {
    /// The number of bytes.
    pub fn length(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Reads two numbers with a hyphen between them, the second not smaller than the first.
impl FromStr for ByteRange {
    type Err = String;

    fn from_str(text: &str) -> Result<ByteRange, String> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u64>().ok(),
            false => None,
        };
        let ends = text.split_once('-').and_then(|(first, last)| Some((number(first)?, number(last)?)));
        match ends {
            Some((first, last)) if first <= last => Ok(ByteRange { first, last }),
            Some((first, last)) => Err(format!("byte {last} is before byte {first}")),
            None => Err("a range is two numbers of bytes, such as 0-499 for the first 500".to_owned()),
        }
    }
}

/// The proof that the bytes of a range are those of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RangeProof {
    /// The whole file is at the peer, and was hashed.
    Whole,
    /// Each chunk of the range is linked to the outboard that the name record names, or on which two holders agree.
    Outboard,
}

/// A range of bytes that a peer gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeReport {
    /// The name of the file, if one was asked for.
    pub name: Option<FileName>,
    /// The content id of the file.
    pub content: ContentId,
    /// The length of the file in bytes.
    pub length: u64,
    /// The range.
    pub range: ByteRange,
    /// The proof of the bytes.
    pub proof: RangeProof,
    /// The holders that may be asked for the bytes; empty if the file is at the peer.
    pub holders: Vec<PeerName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_two_numbers_in_order() {
        let range: ByteRange = "0-499".parse().unwrap();
        assert_eq!((range.length(), range.to_string().as_str()), (500, "0-499"));
        assert_eq!("7-7".parse::<ByteRange>().unwrap().length(), 1);
        assert_eq!(ByteRange { first: 0, last: u64::MAX }.length(), u64::MAX);
        for bad in [
            "",
            "-",
            "5",
            "5-",
            "-5",
            "5-4",
            "a-b",
            "1-2-3",
            "+1-2",
            " 1-2",
            "1.0-2",
            "18446744073709551616-1",
        ] {
            assert!(bad.parse::<ByteRange>().is_err(), "{bad}");
        }
    }
}
