//! What the targets share.

use std::fmt::Debug;
use std::path::PathBuf;

use quoit::wire::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Law: bytes are refused, or they are the one encoding of a message.
pub fn one_encoding<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let message: T = codec::decode(bytes).ok()?;
    let again = codec::encode(&message).expect("what was decoded is encoded");
    assert_eq!(again, bytes, "two encodings of {message:?}");
    Some(message)
}

/// The first byte, which chooses a decoder, and the rest.
pub fn choice(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (*first, rest))
}

/// A piece with its length, two bytes, before it; less where there is less.
pub fn piece<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (piece, rest) = rest.split_at(length);
    *data = rest;
    Some(piece)
}

/// The next byte.
pub fn byte(data: &mut &[u8]) -> Option<u8> {
    let (first, rest) = data.split_first()?;
    *data = rest;
    Some(*first)
}

/// A certificates directory that is always the same, so that what a run found is found again.
pub fn certs_dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/certs"))
}

/// When the certificates there are good.
pub const GOOD_AT_UNIX_MS: u64 = 1_800_000_000_000;
