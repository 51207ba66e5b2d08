//! The only place that knows bincode: bytes to messages and back.
//!
//! bincode's varint encoding with little-endian floats and no trailing bytes. Each message has one
//! encoding: a message that decodes would be encoded to the same bytes again. The caller's slice
//! bounds the input, and [`limits::FRAME_BYTES_MAX`] bounds each claimed length before memory is
//! taken. Hash and sign received bytes, never bytes that this module encodes anew.

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::SizeWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::limits;

/// Why bytes are not a message, or a message is too large for a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes do not decode; in the decoder's words.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// Bytes are left over after the message.
    #[error("{left} bytes follow the message")]
    Trailing {
        /// The number of bytes that were left over.
        left: usize,
    },
    /// A number is longer than needed, so that one message would have two encodings.
    #[error("the message has {length} bytes and needs {needed}")]
    NotCanonical {
        /// The number of bytes of the message.
        length: usize,
        /// The number of bytes that the encoder makes of it.
        needed: usize,
    },
    /// The message has more bytes than fit a frame.
    #[error("a message of {length} bytes exceeds the {} of a frame", limits::FRAME_BYTES_MAX)]
    TooLarge {
        /// The length that the frame claims, in bytes.
        length: u64,
    },
}

/// Encodes a message without the header of a frame.
///
/// # Errors
/// [`CodecError::TooLarge`] when the message does not fit a frame.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(message, CONFIG)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    match bytes.len() {
        0..=limits::FRAME_BYTES_MAX => Ok(bytes),
        length => Err(CodecError::TooLarge { length: length as u64 }),
    }
}

/// Decodes a message from exactly these bytes.
///
/// # Errors
/// [`CodecError`] when there are too many bytes, they are malformed, some are left over, or the encoder would make
/// other bytes of the same message.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > limits::FRAME_BYTES_MAX {
        return Err(CodecError::TooLarge { length: bytes.len() as u64 });
    }
    let malformed = |error: &dyn std::fmt::Display| CodecError::Malformed(error.to_string());
    let (message, used) =
        bincode::serde::decode_from_slice(bytes, CONFIG).map_err(|error| malformed(&error))?;
    if used < bytes.len() {
        return Err(CodecError::Trailing { left: bytes.len() - used });
    }
    // Only the length of a number is free in this encoding, and the encoder takes the shortest: so the
    // bytes are the encoder's own if they are as many.
    match encoded_length(&message)? {
        needed if needed == bytes.len() => Ok(message),
        needed => Err(CodecError::NotCanonical { length: bytes.len(), needed }),
    }
}

/// The number of bytes that [`encode`] would make of a message.
///
/// # Errors
/// [`CodecError::Malformed`] when the message cannot be encoded.
pub fn encoded_length<T: Serialize>(message: &T) -> Result<usize, CodecError> {
    let mut length = SizeWriter::default();
    bincode::serde::encode_into_writer(message, &mut length, CONFIG)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    Ok(length.bytes_written)
}

/// Encodes a message as a frame: its length in four bytes, big-endian, and the message.
///
/// # Errors
/// [`CodecError::TooLarge`] when the message does not fit.
pub fn frame<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    let body = encode(message)?;
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Reads a frame's header: the number of bytes of the message that follows.
///
/// # Errors
/// [`CodecError::TooLarge`] when the header claims more bytes than a frame may have.
pub fn frame_length(header: [u8; FRAME_HEADER_BYTES]) -> Result<usize, CodecError> {
    match u32::from_be_bytes(header) {
        length if length as usize <= limits::FRAME_BYTES_MAX => Ok(length as usize),
        length => Err(CodecError::TooLarge { length: u64::from(length) }),
    }
}

/// The length of a frame's header in bytes.
pub const FRAME_HEADER_BYTES: usize = 4;

const CONFIG: Configuration<LittleEndian, Varint, Limit<{ limits::FRAME_BYTES_MAX }>> =
    config::standard().with_limit::<{ limits::FRAME_BYTES_MAX }>();
