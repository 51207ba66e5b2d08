//! The network: identities, one QUIC endpoint, streams and datagrams.
//!
//! Both ends of every connection are authenticated by the ring CA, and a peer's position comes from
//! its certificate, never from what it says. quinn, rustls and rcgen are known here only.

mod authority;
mod connection;
mod counters;
mod detour;
mod dial;
mod endpoint;
mod files;
mod frame;
mod identity;
mod keys;
mod names;
mod pool;
mod request;
mod settings;
mod stream;
mod verifier;

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use authority::{Authority, Placement};
pub use connection::Connection;
pub use counters::TransportCounters;
pub use dial::{DialError, Refusal};
pub use endpoint::{Incoming, Transport};
pub use frame::{LostReason, StreamError};
pub use identity::{Identity, IdentityError, label_of};
pub use request::RequestFailure;
pub use settings::TransportSettings;
pub use stream::{OpenStream, RequestStream};
pub use verifier::{Verifier, certificate_position};

/// No lock is held across a wait, and what is behind one is whole after a panic too.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
