//! Why a name is not changed.

use std::time::Duration;

use super::{RequestError, StoreError};
use crate::wire::Failure;

/// Why a name is not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The name stands for no file, or that cannot be told.
    #[error(transparent)]
    Lookup(#[from] RequestError),
    /// Too few copies of the record became durable.
    #[error("the removal is not acknowledged: {0}")]
    Write(#[from] StoreError),
}

/// Why a version of a name is not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is no such version, no peer holds its bytes any more, or that cannot be told.
    #[error(transparent)]
    Lookup(#[from] RequestError),
    /// Too few copies of the record became durable.
    #[error("the new version is not acknowledged: {0}")]
    Write(#[from] StoreError),
}

impl From<RemoveError> for Failure {
    fn from(error: RemoveError) -> Failure {
        match error {
            RemoveError::Lookup(error) => error.into(),
            error => Failure::new(error.to_string()),
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Failure {
        match error {
            RestoreError::Lookup(error) => error.into(),
            error => Failure::new(error.to_string()),
        }
    }
}

/// The time for which a change to a name waits for copies of its record.
pub(in crate::peer) const EDIT_TIMEOUT: Duration = Duration::from_secs(30);
