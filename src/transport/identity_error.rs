//! Why a key, a certificate or a signature is unusable.

use std::io;
use std::path::{Path, PathBuf};

use crate::id::Position;

/// Why an identity, a certificate or a signature is unusable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file is missing.
    #[error("there is no {}", .path.display())]
    Missing {
        /// The path of the file or folder.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The path of the file or folder.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
    /// A file holds something else than expected.
    #[error("{}: {reason}", .path.display())]
    Malformed {
        /// The path of the file or folder.
        path: PathBuf,
        /// The defect, in words.
        reason: String,
    },
    /// An identity of this label exists already.
    #[error("{} exists already", .path.display())]
    Exists {
        /// The path of its certificate.
        path: PathBuf,
    },
    /// A certificate is there, but its key is missing.
    #[error(
        "the key of {} is not here (there is no {}): it was admitted for another machine, where its bundle was carried",
        .certificate.display(), .path.display()
    )]
    KeyElsewhere {
        /// The path where the key would be.
        path: PathBuf,
        /// The path of the certificate.
        certificate: PathBuf,
    },
    /// This machine's clock stands before the certificate begins.
    #[error("this machine's clock says {now}; the ring's certificates begin on {begin}")]
    ClockNotSet {
        /// The day that the clock shows.
        now: String,
        /// The first day of the certificate.
        begin: String,
    },
    /// The certificate has ended.
    #[error("{} ended at {until}; it has to be renewed where the ring CA's key is", .path.display())]
    Expired {
        /// The path of the certificate.
        path: PathBuf,
        /// The end of the certificate, as RFC 3339.
        until: String,
    },
    /// A name or key that is to be admitted already belongs to another.
    #[error(
        "{what} has been given out already, see {}; its certificate can be renewed for the same key; where that key is lost or stolen, revoke it first",
        .path.display()
    )]
    GivenOut {
        /// The thing that was given out: a number, a display name, or a key.
        what: String,
        /// The word by which `admit` names its peer.
        whom: String,
        /// The path of the certificate that has it.
        path: PathBuf,
    },
    /// The request is not one for a certificate that can be given.
    #[error("no certificate request of an Ed25519 key: {reason}")]
    Request {
        /// The reason, in words.
        reason: &'static str,
    },
    /// The key was revoked.
    #[error("the key of peer {} was revoked at {}", .position.label(), crate::time::Timestamp::of_unix_ms(*.at_ms))]
    Revoked {
        /// The position of the key's peer.
        position: Position,
        /// The time of the revocation, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// No more keys of this ring can be revoked.
    #[error(
        "{} keys of this ring are revoked, and no more can be; found a new ring",
        crate::wire::limits::REVOKED_MAX
    )]
    TooManyRevoked,
    /// Too many tickets wait to be used.
    #[error("{} tickets wait to be used already; they end by themselves", crate::wire::limits::TICKETS_MAX)]
    TooManyTickets,
    /// A key and a certificate do not belong together.
    #[error("the key in {} is not that of its certificate", .path.display())]
    KeyMismatch {
        /// The path of the key.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {reason}")]
    Making {
        /// The reason, in words.
        reason: String,
    },
    /// The system gave no random numbers.
    #[error("the system has no random numbers for a key")]
    NoRandomness,
    /// The display name is not a DNS name, or has a meaning of its own.
    #[error(
        "{name:?} cannot be a display name: that is a DNS name of letters, digits, `-` and `.`, not ending in `quoit`, not of digits alone, and no label of 16 hexadecimal digits"
    )]
    DisplayName {
        /// The display name that was refused.
        name: String,
    },
    /// The certificate is not of this ring, or was not valid at that time.
    #[error("not a certificate of this ring: {reason}")]
    NotOfThisRing {
        /// The reason, in words.
        reason: String,
    },
    /// The certificate does not give its peer's position, or its key.
    #[error("not a peer's certificate: {reason}")]
    Position {
        /// The reason, in words.
        reason: &'static str,
    },
    /// The signature is not by the certificate's key over these bytes.
    #[error("the signature of peer {} is not good", .position.label())]
    Signature {
        /// The position of the certificate's peer.
        position: Position,
    },
}

impl IdentityError {
    pub(super) fn io(path: &Path, source: io::Error) -> IdentityError {
        IdentityError::Io { path: path.to_owned(), source }
    }

    pub(super) fn making(error: rcgen::Error) -> IdentityError {
        IdentityError::Making { reason: error.to_string() }
    }

    pub(super) fn untrusted(error: impl std::fmt::Display) -> IdentityError {
        IdentityError::NotOfThisRing { reason: error.to_string() }
    }
}
