//! The values that the index keeps, as bytes: a version first, then the value as messages are encoded.
//!
//! A version is two bytes: 0xff, with which no encoded value begins, and the number of the version. A value without
//! them is one of version 0, as earlier programs wrote it: the same encoding without the two bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::codec::{self, CodecError};

/// Why a value of the index cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what is kept of {key} cannot be read: {reason}")]
pub(crate) struct Unreadable {
    /// The key of the value.
    pub key: String,
    /// The reason, in words.
    pub reason: String,
}

/// Encodes a value, its version first.
///
/// # Errors
/// [`CodecError::TooLarge`] when the value does not fit a frame.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![MARK, VERSION];
    bytes.extend_from_slice(&codec::encode(value)?);
    Ok(bytes)
}

/// Decodes the value of a key.
///
/// # Errors
/// [`Unreadable`] when the bytes are of a later version, or no such value.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(
    key: impl ToString,
    bytes: &[u8],
) -> Result<T, Unreadable> {
    let decoded = match bytes {
        [MARK, VERSION, value @ ..] => codec::decode(value).map_err(|error| error.to_string()),
        [MARK, version, ..] => Err(format!("it is of version {version}; this program knows {VERSION}")),
        value => codec::decode(value).map_err(|error| error.to_string()),
    };
    decoded.map_err(|reason| Unreadable { key: key.to_string(), reason })
}

/// No encoding of a value begins with this byte.
const MARK: u8 = 0xff;
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::NameHistory;

    #[test]
    fn a_value_comes_back_whatever_program_wrote_it() {
        let history = NameHistory::default();
        let bytes = encode(&history).unwrap();
        assert_eq!(bytes[..2], [0xff, 1]);
        assert_eq!(decode("a name", &bytes), Ok(history.clone()));
        assert_eq!(decode("a name", &codec::encode(&history).unwrap()), Ok(history), "version 0");
        let names = vec!["nas".to_owned(); 128];
        assert_eq!(decode("names", &codec::encode(&names).unwrap()), Ok(names), "version 0");
    }

    #[test]
    fn a_value_that_cannot_be_read_is_an_error_that_names_its_key() {
        let later = decode::<NameHistory>("the name 4f", &[0xff, 9, 0, 0]).unwrap_err();
        assert_eq!(
            later.to_string(),
            "what is kept of the name 4f cannot be read: it is of version 9; this program knows 1"
        );
        for bytes in [&[][..], &[0xff], &[0xff, 1], &[7; 40], &[0xff; 40]] {
            let error = decode::<NameHistory>("the name 4f", bytes).unwrap_err();
            assert!(error.to_string().contains("the name 4f"), "{error}");
        }
    }
}
