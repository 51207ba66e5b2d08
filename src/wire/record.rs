//! The name record: the file that a name stands for, and the signature of its writer.

use serde::{Deserialize, Serialize};

use super::{codec, limits};
use crate::id::{ContentId, FileName, OutboardDigest, Position, RecordId, sha256};
use crate::time::Timestamp;

/// The file that a name stands for. The greatest (clock, writer) wins; at a tie, the greater id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// The name that the record is about.
    pub name: FileName,
    /// The file that the name stands for, or a tombstone.
    pub target: RecordTarget,
    /// The time of writing, by the writer's hybrid logical clock.
    pub clock: Timestamp,
    /// The position of the peer that wrote it.
    pub writer: Position,
    /// A counter for people, from 1, given by the owner of the name. It decides nothing.
    pub version: u64,
    /// The records that the writer saw and replaced.
    pub replaces: Replaces,
}

/// The records that a record replaces. On the wire the first two are one byte, 0 and 1, and the id, as an `Option` was
/// before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Replaces {
    /// The name had no record.
    #[default]
    Nothing,
    /// The record that the name had.
    Current(RecordId),
    /// The record that the name had, and siblings of it, which are settled by this record. The length of a body bounds
    /// their number.
    Several(Vec<RecordId>),
}

impl Replaces {
    /// The ids of the replaced records, the current one first.
    pub fn ids(&self) -> &[RecordId] {
        match self {
            Replaces::Nothing => &[],
            Replaces::Current(id) => std::slice::from_ref(id),
            Replaces::Several(ids) => ids,
        }
    }

    /// Whether this record is among the replaced ones.
    pub fn contains(&self, id: &RecordId) -> bool {
        self.ids().contains(id)
    }
}

/// Ids in their order: the current record's first.
impl FromIterator<RecordId> for Replaces {
    fn from_iter<I: IntoIterator<Item = RecordId>>(ids: I) -> Replaces {
        let mut ids: Vec<RecordId> = ids.into_iter().collect();
        match ids.len() {
            0 => Replaces::Nothing,
            1 => Replaces::Current(ids.remove(0)),
            _ => Replaces::Several(ids),
        }
    }
}

/// A file or directory, or the mark of a removed name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordTarget {
    /// The name stands for a file.
    Content {
        /// The content id of the file.
        content: ContentId,
        /// The length of the file in bytes.
        length: u64,
        /// The SHA-256 of the file's outboard.
        outboard: OutboardDigest,
    },
    /// The name was removed.
    Tombstone,
    /// The name stands for a directory: the object is its tree, which refers to the objects of its files.
    Tree {
        /// The content id of the tree.
        content: ContentId,
        /// The length of the tree in bytes.
        length: u64,
        /// The SHA-256 of the tree's outboard.
        outboard: OutboardDigest,
    },
}

/// A name record as it travels and rests: the bytes that were signed, never encoded anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRecord {
    /// The encoded [`NameRecord`], at most [`SignedRecord::BODY_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
    /// The writer's Ed25519 signature (RFC 8032) over [`SignedRecord::signed_bytes`]: 64 bytes.
    pub signature: Vec<u8>,
    /// The writer's certificate in DER, so that the signature can be checked after the writer is gone.
    pub certificate: Vec<u8>,
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The body does not decode to a name record.
    #[error("the record cannot be decoded: {0}")]
    Codec(#[from] codec::CodecError),
    /// The signature, the certificate or the body is too long, or of the wrong length.
    #[error("the record's parts have lengths out of bounds")]
    Length,
}

impl SignedRecord {
    /// The longest body in bytes.
    pub const BODY_BYTES_MAX: usize = 1_024;
    /// The length of an Ed25519 signature in bytes.
    pub const SIGNATURE_BYTES: usize = 64;

    /// The bytes that are signed: a fixed prefix, so that the signature can mean nothing else, and the body.
    pub fn signed_bytes(body: &[u8]) -> Vec<u8> {
        [b"quoit name record 1\0", body].concat()
    }

    /// The id of this record: SHA-256 of the body as received.
    pub fn id(&self) -> RecordId {
        RecordId(sha256(&self.body))
    }

    /// Decodes the body. The signature is not checked here.
    ///
    /// # Errors
    /// [`RecordError`] when a part is out of bounds or the body is not a record.
    pub fn decode(&self) -> Result<NameRecord, RecordError> {
        if self.body.len() > Self::BODY_BYTES_MAX
            || self.signature.len() != Self::SIGNATURE_BYTES
            || self.certificate.len() > limits::CERTIFICATE_BYTES_MAX
        {
            return Err(RecordError::Length);
        }
        Ok(codec::decode(&self.body)?)
    }
}
