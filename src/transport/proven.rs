//! Memory of what needs no second check: the writers' certificates that were checked, so that each of many records of one
//! writer costs one check of a signature and not two; and this peer's own signatures, of records that come back to it as
//! to their owner or a replica.
//!
//! A certificate is remembered only after a whole check, by all of its bytes. The one thing in that check that depends on
//! anything else is the time, which is compared again. Revocations are no part of it: a record that was signed before
//! its writer was revoked stays valid.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::digest::{Context, SHA256};

use crate::id::Position;

/// The facts that a checked certificate proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    pub position: Position,
    /// The raw Ed25519 key.
    pub key: [u8; 32],
    /// The first and the last second, since the Unix epoch, at which the certificate is valid.
    pub first_s: u64,
    pub last_s: u64,
}

/// The certificates of one ring that were checked.
#[derive(Debug, Default)]
pub(super) struct ProvenCertificates(Mutex<BTreeMap<Vec<u8>, Proof>>);

impl ProvenCertificates {
    /// The proof of this certificate, if it was checked before and is valid at that second.
    pub fn find(&self, certificate_der: &[u8], at_s: u64) -> Option<Proof> {
        let proof = self.lock().get(certificate_der).copied()?;
        (proof.first_s..=proof.last_s).contains(&at_s).then_some(proof)
    }

    /// Remembers a certificate that was checked. When there are too many, all others are forgotten.
    pub fn remember(&self, certificate_der: &[u8], proof: Proof) {
        let mut proven = self.lock();
        if proven.len() >= PROVEN_MAX {
            proven.clear();
        }
        proven.insert(certificate_der.to_vec(), proof);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Proof>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signatures that this process made lately, each known by a digest of certificate, signature and signed bytes.
#[derive(Debug, Default)]
pub(super) struct OwnSignatures(Mutex<BTreeSet<Vec<u8>>>);

impl OwnSignatures {
    /// Remembers a signature that was just made. When there are too many, all others are forgotten.
    pub fn remember(&self, certificate_der: &[u8], signed_bytes: &[u8], signature: &[u8]) {
        let digest = digest_of(certificate_der, signed_bytes, signature);
        let mut own = self.lock();
        if own.len() >= OWN_MAX {
            own.clear();
        }
        own.insert(digest);
    }

    /// Whether this signature of these bytes, made with the key of this certificate, is one of them.
    pub fn has(&self, certificate_der: &[u8], signed_bytes: &[u8], signature: &[u8]) -> bool {
        self.lock().contains(&digest_of(certificate_der, signed_bytes, signature))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest_of(certificate_der: &[u8], signed_bytes: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    for part in [certificate_der, signature, signed_bytes] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finish().as_ref().to_vec()
}

/// The most certificates that are remembered.
const PROVEN_MAX: usize = 256;
/// The most own signatures that are remembered: those of the batches of several clients.
const OWN_MAX: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_known_by_all_its_bytes_and_within_its_time() {
        let (proven, position) = (ProvenCertificates::default(), Position([7; 32]));
        let proof = Proof { position, key: [1; 32], first_s: 10, last_s: 20 };
        proven.remember(b"certificate", proof);
        let at = |at_s| proven.find(b"certificate", at_s);
        assert_eq!([9, 10, 20, 21].map(at), [None, Some(proof), Some(proof), None]);
        assert_eq!(proven.find(b"certificatf", 15), None);
        for other in 0..PROVEN_MAX {
            proven.remember(&other.to_be_bytes(), proof);
        }
        assert!(proven.lock().len() <= PROVEN_MAX);
    }

    #[test]
    fn an_own_signature_is_known_with_its_certificate_and_its_bytes_only() {
        let own = OwnSignatures::default();
        own.remember(b"certificate", b"bytes", b"signature");
        assert!(own.has(b"certificate", b"bytes", b"signature"));
        assert!(!own.has(b"certificat", b"bytes", b"esignature"));
        assert!(!own.has(b"certificate", b"byte", b"signature"));
        assert!(!own.has(b"certificate", b"bytes", b"signatura"));
        for other in 0..OWN_MAX {
            own.remember(b"certificate", &other.to_be_bytes(), b"signature");
        }
        assert!(own.lock().len() <= OWN_MAX);
    }
}
