//! Ed25519 private keys: made, kept in PEM files, used; never printed.

use std::fmt;
use std::path::Path;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::files;
use super::identity_error::IdentityError;

/// An Ed25519 private key (RFC 8032).
///
/// It is stored as PKCS#8 version 1 (RFC 8410, section 7), which every tool reads; OpenSSL 3.0 refuses the version 2
/// that `ring` itself writes.
pub(super) struct SecretKey {
    pkcs8: Vec<u8>,
    pair: Ed25519KeyPair,
}

impl SecretKey {
    /// A new key from the system's random numbers; `None` when there are none.
    pub(super) fn generate() -> Option<SecretKey> {
        let mut seed = [0; SEED_BYTES];
        SystemRandom::new().fill(&mut seed).ok()?;
        SecretKey::from_pkcs8([&PKCS8_PREFIX[..], &seed].concat())
    }

    /// Reads the output of [`SecretKey::to_pem`]; `None` when there is no Ed25519 key in it.
    pub(super) fn from_pem(pem: &[u8]) -> Option<SecretKey> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
        SecretKey::from_pkcs8(key.secret_pkcs8_der().to_vec())
    }

    /// Reads the key in a PEM file.
    pub(super) fn read(path: &Path) -> Result<SecretKey, IdentityError> {
        let pem = files::read(path)
            .map_err(|source| IdentityError::io(path, source))?
            .ok_or_else(|| IdentityError::Missing { path: path.to_owned() })?;
        SecretKey::from_pem(&pem).ok_or_else(|| IdentityError::Malformed {
            path: path.to_owned(),
            reason: "no Ed25519 key in PKCS#8".into(),
        })
    }

    /// Reads a key in PKCS#8; `None` when it is not an Ed25519 key.
    pub(super) fn from_der(pkcs8: Vec<u8>) -> Option<SecretKey> {
        SecretKey::from_pkcs8(pkcs8)
    }

    /// The key as a PEM file.
    pub(super) fn to_pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    /// The raw 32-byte public key.
    pub(super) fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public key in the form of a certificate, in DER (RFC 8410, section 4).
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        [&PUBLIC_PREFIX[..], self.public_key()].concat()
    }

    /// The Ed25519 signature of these bytes.
    pub(super) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(bytes);
        let mut out = [0; 64];
        out.copy_from_slice(signature.as_ref());
        out
    }

    /// A secret derived from this key for one purpose (HMAC-SHA-256), the same after each restart.
    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.pkcs8);
        let tag = ring::hmac::sign(&key, purpose.as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// The key in the form that the TLS stack takes.
    pub(super) fn for_tls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.clone()))
    }

    /// The key in the form that rcgen takes to make certificates.
    pub(super) fn for_certificates(&self) -> Result<rcgen::KeyPair, rcgen::Error> {
        let key = PrivatePkcs8KeyDer::from(self.pkcs8.as_slice());
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519)
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Option<SecretKey> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).ok()?;
        Some(SecretKey { pkcs8, pair })
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(hidden)")
    }
}

/// DER bytes as a PEM file (RFC 7468).
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let base64 = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> =
        (0..base64.len()).step_by(64).map(|at| &base64[at..base64.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

const SEED_BYTES: usize = 32;
/// `PrivateKeyInfo { version 0, algorithm Ed25519, privateKey OCTET STRING of an OCTET STRING of 32 bytes }`.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// `SubjectPublicKeyInfo { algorithm Ed25519, subjectPublicKey BIT STRING of 32 bytes }`.
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
