//! Revocations: statements of the ring CA that a key no longer belongs to a peer of its ring.
//!
//! Each statement is signed by itself, so a list of them needs no version: two lists are joined by taking every
//! statement of both, in any order, and nothing that was revoked comes back by a list that is older.

use serde::{Deserialize, Serialize};

use super::{codec, limits};
use crate::id::{KeyHash, Position};

/// A revoked key, and since when it is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The hash of the revoked public key.
    pub key: KeyHash,
    /// The position that the key's certificate gave its peer; for people.
    pub position: Position,
    /// The time of the revocation, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl Revocation {
    /// Whether a record of this key is refused that was made at this time, in milliseconds since the Unix epoch: long
    /// enough after the revocation that its writer can only have found a peer that did not know of it.
    pub fn refuses_record_of(&self, made_unix_ms: u64) -> bool {
        made_unix_ms >= self.at_ms.saturating_add(limits::REVOCATION_NEWS_MAX.as_millis() as u64)
    }
}

/// A revocation as it travels and rests: the bytes that the ring CA signed, never encoded anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRevocation {
    /// The encoded [`Revocation`], at most [`SignedRevocation::BODY_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
    /// The ring CA's Ed25519 signature (RFC 8032) over [`SignedRevocation::signed_bytes`]: 64 bytes.
    pub signature: Vec<u8>,
}

/// Why a list of revocations is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The body does not decode to a revocation.
    #[error("the revocation cannot be decoded: {0}")]
    Codec(#[from] codec::CodecError),
    /// The body or the signature is too long, or of the wrong length.
    #[error("the revocation's parts have lengths out of bounds")]
    Length,
    /// The ring CA did not sign it.
    #[error("the revocation is not signed by the ring CA")]
    Signature,
    /// A list has more entries than [`limits::REVOKED_MAX`].
    #[error("more than {} revocations", limits::REVOKED_MAX)]
    TooMany,
}

impl SignedRevocation {
    /// The longest body in bytes.
    pub const BODY_BYTES_MAX: usize = 80;
    /// The length of an Ed25519 signature in bytes.
    pub const SIGNATURE_BYTES: usize = 64;

    /// The bytes that are signed: a fixed prefix, so that the signature can mean nothing else, and the body. A
    /// certificate, which the same key signs, begins with the byte 0x30.
    pub fn signed_bytes(body: &[u8]) -> Vec<u8> {
        [b"quoit revocation 1\0", body].concat()
    }

    /// Decodes the body. The signature is not checked here.
    ///
    /// # Errors
    /// [`RevocationError`] when a part is out of bounds or the body is not a revocation.
    pub fn decode(&self) -> Result<Revocation, RevocationError> {
        if self.body.len() > Self::BODY_BYTES_MAX || self.signature.len() != Self::SIGNATURE_BYTES {
            return Err(RevocationError::Length);
        }
        Ok(codec::decode(&self.body)?)
    }
}
