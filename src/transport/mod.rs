//! The network: identities, one QUIC endpoint, streams and datagrams.
//!
//! Both ends of every connection are authenticated by the ring CA, and a peer's position comes from
//! its certificate, never from what it says. quinn, rustls and rcgen are known here only.

mod authority;
mod files;
mod identity;
mod keys;
mod verifier;

pub use authority::{Authority, Placement};
pub use identity::{Identity, IdentityError, label_of};
pub use verifier::{Verifier, certificate_position};
