//! The facts that a certificate proves: its ring, its position, its key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CipherSuite, RootCertStore};
use x509_parser::der_parser::oid::Oid;
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATIONAL_UNIT};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::files;
use super::identity_error::IdentityError;
use super::names::{self, PARENT_NAME};
use super::proven::{OwnSignatures, Proof, ProvenCertificates};
use super::revoked_keys::RevokedKeys;
use crate::id::{KeyHash, Position, Weight};
use crate::wire::{Revocation, limits};

/// Checks certificates and signatures of one ring. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Verifier {
    roots: Arc<RootCertStore>,
    chain: Arc<dyn ClientCertVerifier>,
    ring_name: String,
    /// The ring CA's raw public key.
    ca_key: Arc<[u8]>,
    revoked: Arc<RevokedKeys>,
    proven: Arc<ProvenCertificates>,
    own: Arc<OwnSignatures>,
}

impl Verifier {
    /// The verifier for the ring whose CA certificate is in this certificates directory. The CA's key is not needed.
    ///
    /// # Errors
    /// [`IdentityError`] when the file is missing or is not a CA certificate.
    pub fn open(certs_dir: &Path) -> Result<Verifier, IdentityError> {
        Verifier::new(read_ca_certificate(certs_dir)?)
    }

    pub(super) fn new(ca: CertificateDer<'static>) -> Result<Verifier, IdentityError> {
        let ca_key: Arc<[u8]> = public_key(&ca)?.into();
        let ring_name = names::ring_name(&ca_key);
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(IdentityError::untrusted)?;
        let roots = Arc::new(roots);
        // A stranger with a ticket has no certificate yet; `connection::proven` demands one of everybody else.
        let chain = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
            .allow_unauthenticated()
            .build()
            .map_err(IdentityError::untrusted)?;
        let (revoked, proven, own) = Default::default();
        Ok(Verifier { roots, chain, ring_name, ca_key, revoked, proven, own })
    }

    /// The ring's short name, see [`super::Authority::ring_name`].
    pub fn ring_name(&self) -> &str {
        &self.ring_name
    }

    /// The revoked keys that are known; empty until [`Verifier::load_revocations`] or
    /// [`Verifier::learn_revocations`]. All clones of a verifier share them.
    pub fn revoked(&self) -> &RevokedKeys {
        &self.revoked
    }

    /// The revocation of a certificate's key, if it is revoked.
    pub fn revocation_of(&self, certificate_der: &[u8]) -> Option<Revocation> {
        // The usual case, in which no certificate needs to be read.
        if self.revoked.count() == 0 {
            return None;
        }
        self.revoked.of(&key_hash(certificate_der).ok()?)
    }

    pub(super) fn ca_key(&self) -> &[u8] {
        &self.ca_key
    }

    /// Checks that a certificate is of this ring, was valid at that time, and has one position. A revoked key passes:
    /// what its peer signed before stays valid.
    ///
    /// # Errors
    /// [`IdentityError`] when the certificate fails a check.
    pub fn verify_certificate(
        &self,
        certificate_der: &[u8],
        at_unix_ms: u64,
    ) -> Result<Position, IdentityError> {
        self.verify_chain(certificate_der, at_unix_ms)?;
        certificate_position(certificate_der)
    }

    /// Checks that these bytes were signed by the peer of this certificate, which must be of this ring and valid at
    /// that time. Returns that peer's position.
    ///
    /// # Errors
    /// [`IdentityError`] when the certificate or the signature is not good.
    pub fn verify_record_signature(
        &self,
        certificate_der: &[u8],
        at_unix_ms: u64,
        signed_bytes: &[u8],
        signature: &[u8],
    ) -> Result<Position, IdentityError> {
        let Proof { position, key, .. } = self.prove(certificate_der, at_unix_ms)?;
        if self.own.has(certificate_der, signed_bytes, signature) {
            return Ok(position);
        }
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key)
            .verify(signed_bytes, signature)
            .map_err(|_| IdentityError::Signature { position })?;
        Ok(position)
    }

    /// Remembers a signature that was just made with the key of this certificate: it needs no check when it comes back.
    pub fn note_own_signature(&self, certificate_der: &[u8], signed_bytes: &[u8], signature: &[u8]) {
        self.own.remember(certificate_der, signed_bytes, signature);
    }

    /// The facts that a certificate proves, from memory if it was checked before.
    fn prove(&self, certificate_der: &[u8], at_unix_ms: u64) -> Result<Proof, IdentityError> {
        if let Some(proof) = self.proven.find(certificate_der, at_unix_ms / 1_000) {
            return Ok(proof);
        }
        let position = self.verify_certificate(certificate_der, at_unix_ms)?;
        let no_key = || position_error("its key is no Ed25519 key");
        let key = public_key(certificate_der)?.try_into().map_err(|_| no_key())?;
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let first_s = seconds(valid_from(certificate_der)?);
        let proof = Proof { position, key, first_s, last_s: seconds(valid_until(certificate_der)?) };
        self.proven.remember(certificate_der, proof);
        Ok(proof)
    }

    /// Checks that the certificate, a peer's or a client's, is of this ring and was valid at that time.
    pub(super) fn verify_chain(&self, certificate_der: &[u8], at_unix_ms: u64) -> Result<(), IdentityError> {
        if certificate_der.len() > limits::CERTIFICATE_BYTES_MAX {
            return Err(IdentityError::NotOfThisRing { reason: "the certificate is too long".into() });
        }
        let at = UnixTime::since_unix_epoch(Duration::from_millis(at_unix_ms));
        self.chain
            .verify_client_cert(&CertificateDer::from(certificate_der), &[], at)
            .map(drop)
            .map_err(IdentityError::untrusted)
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }

    pub(super) fn for_clients(&self) -> Arc<dyn ClientCertVerifier> {
        self.chain.clone()
    }
}

/// The one canonical position in a certificate: its only name of the form `<label>.peer.quoit`. The signature of the
/// certificate is not checked.
///
/// # Errors
/// [`IdentityError`] when there is no such name, there are several, or it is not canonical.
pub fn certificate_position(certificate_der: &[u8]) -> Result<Position, IdentityError> {
    let certificate = parse(certificate_der)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| position_error("its alternative names cannot be read"))?
        .ok_or_else(|| position_error("it has no alternative names"))?;
    let mut labels = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => name.strip_suffix(PARENT_NAME)?.strip_suffix('.'),
        _ => None,
    });
    match (labels.next(), labels.next()) {
        (Some(label), None) => {
            Position::from_dns_label(label).ok_or_else(|| position_error("its position is not canonical"))
        }
        (None, _) => Err(position_error("it names no position")),
        (Some(_), Some(_)) => Err(position_error("it names several positions")),
    }
}

/// The display name in a certificate: its only DNS name outside `quoit`, if that may be a display name.
pub fn certificate_display_name(certificate_der: &[u8]) -> Option<String> {
    let names = dns_names(certificate_der).ok()?;
    let is_outside = |name: &&String| name.rsplit('.').next() != Some("quoit");
    let mut outside = names.iter().filter(is_outside);
    match (outside.next(), outside.next()) {
        (Some(name), None) if names::is_display_name(name) => Some(name.clone()),
        _ => None,
    }
}

/// Whether a certificate is that of a client, which commands a peer and is not one: its only name is `client.quoit`.
/// The signature of the certificate is not checked.
pub fn is_client_certificate(certificate_der: &[u8]) -> bool {
    dns_names(certificate_der).is_ok_and(|names| names == [CLIENT_NAME])
}

/// The name of a client, as its certificate says it: `client` where none was given. The signature is not checked.
pub(super) fn client_name(certificate_der: &[u8]) -> String {
    let name = subject_value(certificate_der, &OID_X509_COMMON_NAME);
    let name = name.as_deref().and_then(|name| name.strip_prefix(CLIENT_SUBJECT)?.strip_prefix(' '));
    name.filter(|name| names::is_display_name(name)).unwrap_or(UNNAMED_CLIENT).to_owned()
}

/// The weight of a peer, as its certificate says it; 1 where it says none. The signature is not checked.
pub(super) fn certificate_weight(certificate_der: &[u8]) -> Weight {
    let unit = subject_value(certificate_der, &OID_X509_ORGANIZATIONAL_UNIT);
    let weight = unit.as_deref().and_then(|unit| unit.strip_prefix(WEIGHT_PREFIX)?.parse().ok());
    weight.unwrap_or_default()
}

/// The text in a certificate's subject that [`certificate_weight`] reads.
pub(super) fn weight_in_subject(weight: Weight) -> String {
    format!("{WEIGHT_PREFIX}{weight}")
}

/// The one value of this kind in a certificate's subject.
fn subject_value(certificate_der: &[u8], kind: &Oid<'_>) -> Option<String> {
    let certificate = parse(certificate_der).ok()?;
    let mut values = certificate.subject().iter_attributes().filter(|value| value.attr_type() == kind);
    match (values.next(), values.next()) {
        (Some(value), None) => value.as_str().ok().map(str::to_owned),
        _ => None,
    }
}

/// Whether a certificate is a CA's.
pub(super) fn is_authority(certificate_der: &[u8]) -> bool {
    parse(certificate_der).is_ok_and(|certificate| certificate.is_ca())
}

/// The hash of a certificate's key.
pub(super) fn key_hash(certificate_der: &[u8]) -> Result<KeyHash, IdentityError> {
    public_key(certificate_der).map(KeyHash::of)
}

/// The raw 32 bytes of the Ed25519 key in a certificate.
pub(super) fn public_key(certificate_der: &[u8]) -> Result<&[u8], IdentityError> {
    let certificate = parse(certificate_der)?;
    let info = &certificate.tbs_certificate.subject_pki;
    let key = info.subject_public_key.data.clone();
    match key {
        std::borrow::Cow::Borrowed(key)
            if key.len() == 32 && info.algorithm.algorithm == x509_parser::oid_registry::OID_SIG_ED25519 =>
        {
            Ok(key)
        }
        _ => Err(position_error("its key is no Ed25519 key")),
    }
}

/// The key info (RFC 5280, section 4.1.2.7) of a certificate, in DER.
pub(super) fn public_key_info(certificate_der: &[u8]) -> Result<Vec<u8>, IdentityError> {
    Ok(parse(certificate_der)?.tbs_certificate.subject_pki.raw.to_vec())
}

/// The raw key in a key info, if it is an Ed25519 key.
pub(super) fn ed25519_key(key_info: &[u8]) -> Option<Vec<u8>> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(key_info).ok()?;
    let is_ed25519 = info.algorithm.algorithm == x509_parser::oid_registry::OID_SIG_ED25519;
    let key = info.subject_public_key.data.into_owned();
    (rest.is_empty() && is_ed25519 && key.len() == 32).then_some(key)
}

/// When a certificate ends.
pub(super) fn valid_until(certificate_der: &[u8]) -> Result<SystemTime, IdentityError> {
    Ok(time_of(parse(certificate_der)?.validity().not_after))
}

/// When a certificate begins.
pub(super) fn valid_from(certificate_der: &[u8]) -> Result<SystemTime, IdentityError> {
    Ok(time_of(parse(certificate_der)?.validity().not_before))
}

/// When a certificate begins, in milliseconds since the Unix epoch.
pub(super) fn first_ms(certificate_der: &[u8]) -> Result<u64, IdentityError> {
    Ok(valid_from(certificate_der)?.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64)
}

/// A moment before a certificate ends, in milliseconds since the Unix epoch: for checks of everything but its time.
pub(super) fn last_ms(certificate_der: &[u8]) -> Result<u64, IdentityError> {
    let until = valid_until(certificate_der)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((until.as_millis() as u64).saturating_sub(1_000))
}

/// Reads a certificate from a PEM file.
pub(super) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    let pem = files::read(path)
        .map_err(|source| IdentityError::io(path, source))?
        .ok_or_else(|| IdentityError::Missing { path: path.to_owned() })?;
    CertificateDer::from_pem_slice(&pem)
        .map_err(|error| IdentityError::Malformed { path: path.to_owned(), reason: error.to_string() })
}

/// Reads the CA's certificate from a certificates directory.
pub(super) fn read_ca_certificate(certs_dir: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    read_certificate(&ca_certificate_path(certs_dir))
}

/// The path of the CA's certificate in a certificates directory.
pub(super) fn ca_certificate_path(certs_dir: &Path) -> PathBuf {
    certs_dir.join(CA_FOLDER).join(CA_CERTIFICATE_FILE)
}

/// The one provider of cryptography: it is always named, since another crate of a build may bring a second.
pub(super) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    // AES-128 needs ten rounds where AES-256 needs fourteen, and nobody breaks either.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn parse(certificate_der: &[u8]) -> Result<X509Certificate<'_>, IdentityError> {
    match X509Certificate::from_der(certificate_der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(position_error("it cannot be read")),
    }
}

/// All alternative names of a certificate; each must be a DNS name.
fn dns_names(certificate_der: &[u8]) -> Result<Vec<String>, IdentityError> {
    let certificate = parse(certificate_der)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| position_error("its alternative names cannot be read"))?
        .ok_or_else(|| position_error("it has no alternative names"))?;
    let as_dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Ok((*name).to_owned()),
        _ => Err(position_error("it has other names than DNS names")),
    };
    names.value.general_names.iter().map(as_dns).collect()
}

fn time_of(time: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn position_error(reason: &'static str) -> IdentityError {
    IdentityError::Position { reason }
}

/// The beginning of the organizational unit that says a weight.
const WEIGHT_PREFIX: &str = "weight ";
/// The common name of a client's certificate; the client's name follows, after a space, if it has one.
pub(super) const CLIENT_SUBJECT: &str = "quoit client";
/// The name of a client for which none was given.
pub(super) const UNNAMED_CLIENT: &str = "client";
/// The only DNS name in a client's certificate.
pub(super) const CLIENT_NAME: &str = "client.quoit";
/// The folder of the CA in a certificates directory, and the file of its certificate there.
pub(super) const CA_FOLDER: &str = "ca";
pub(super) const CA_CERTIFICATE_FILE: &str = "ca.pem";
