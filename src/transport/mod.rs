//! The network: identities, one QUIC endpoint, streams and datagrams.
//!
//! Both ends of every connection are authenticated by the ring CA, and a peer's position comes from its certificate,
//! never from its own claim. Only this module uses quinn, rustls and rcgen.

mod accept;
mod admission;
mod authority;
mod awake;
mod background;
mod bucket;
mod bundle;
mod client;
mod command;
mod connection;
mod counters;
mod credentials;
mod detour;
mod dial;
mod dial_error;
mod directory;
mod endpoint;
mod enrol;
mod files;
mod frame;
mod guard;
mod helpers;
mod identity;
mod identity_error;
mod incoming;
mod install;
mod keys;
mod least;
mod line;
mod names;
mod pace;
mod placement;
mod pool;
mod request;
mod request_failure;
mod revocations;
mod revoked_keys;
mod rope;
mod settings;
mod stranger;
mod stream;
mod stream_error;
mod ticket;
mod tickets;
mod turns;
mod unanswered;
mod verifier;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use admission::{Issued, read_pem};
pub use authority::{Authority, Placement};
pub(crate) use awake::{interrupted_waits, wait_awake};
pub(crate) use background::{background, finished, spawn_blocking};
pub use bundle::{Bundle, BundleError};
pub use client::{ClientConnection, CommandReplies};
pub use command::CommandStream;
pub use connection::Connection;
pub use counters::TransportCounters;
pub use credentials::Credentials;
pub use dial_error::{DialError, Refusal};
pub use endpoint::Transport;
pub use enrol::{EnrolError, Enrolment};
pub use identity::{Identity, label_of};
pub use identity_error::IdentityError;
pub use incoming::Incoming;
pub use install::Installed;
pub use request_failure::RequestFailure;
pub use revoked_keys::RevokedKeys;
pub use rope::Rope;
pub use settings::TransportSettings;
pub use stranger::Stranger;
pub use stream::{OpenStream, RequestStream};
pub use stream_error::{LostReason, StreamError};
pub use ticket::{Ticket, TicketError, TicketHolder};
pub use tickets::{Enrolled, TicketRefused};
pub use verifier::{Verifier, certificate_display_name, certificate_position, is_client_certificate};

/// The functions that fuzz/ uses beside the public ones. Not part of the crate in other builds.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz {
    use rustls::pki_types::pem::PemObject as _;

    /// Reads everything that is ever read of a certificate: its key's hash and its end.
    pub fn certificate(der: &[u8]) -> Option<crate::id::KeyHash> {
        let key = super::verifier::key_hash(der).ok();
        let _ = super::verifier::valid_until(der);
        key
    }

    /// Reads a certificate's PEM file; returns its bytes in DER.
    pub fn certificate_pem(pem: &[u8]) -> Option<Vec<u8>> {
        let der = rustls::pki_types::CertificateDer::from_pem_slice(pem).ok()?;
        Some(der.as_ref().to_vec())
    }

    /// Reads a private key's PEM file; returns the file as this crate writes it.
    pub fn key_pem(pem: &[u8]) -> Option<String> {
        super::keys::SecretKey::from_pem(pem).map(|key| key.to_pem())
    }

    /// The PEM file of a certificate.
    pub fn to_pem(der: &[u8]) -> String {
        super::keys::pem("CERTIFICATE", der)
    }
}

/// Locks a mutex. No lock is held across a wait, and the data behind a lock is whole even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
