//! The credentials of a client: the key that it shows to its peer, and the verifier by which it checks that peer.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::identity::Identity;
use super::identity_error::IdentityError;
use super::verifier::Verifier;

/// The key by which a client proves that it may command, and the verifier by which it checks the peer.
#[derive(Debug)]
pub struct Credentials {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) verifier: Verifier,
}

impl Credentials {
    /// The credentials of the peer's own key.
    ///
    /// # Errors
    /// The errors of [`Identity::verifier`].
    pub fn of_peer(identity: &Identity) -> Result<Credentials, IdentityError> {
        let (chain, key) = identity.for_tls();
        Ok(Credentials { chain, key, verifier: identity.verifier()? })
    }
}
