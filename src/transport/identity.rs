//! A peer's identity: its key, its certificate, its position; and the files that hold them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::files::{self, Access};
use super::identity_error::IdentityError;
use super::keys::{self, SecretKey};
use super::names::{self, LABEL_DIGITS};
use super::verifier::{self, Verifier};
use crate::id::{KeyHash, Position, Weight};
use crate::time::Timestamp;

/// One peer's identity, with its private key.
#[derive(Debug)]
pub struct Identity {
    position: Position,
    key_hash: KeyHash,
    ring_name: String,
    valid_until: SystemTime,
    display_name: Option<String>,
    key: SecretKey,
    certificate: CertificateDer<'static>,
    ca: CertificateDer<'static>,
}

impl Identity {
    pub(super) fn new(
        key: SecretKey,
        certificate: CertificateDer<'static>,
        ca: CertificateDer<'static>,
    ) -> Result<Identity, IdentityError> {
        Ok(Identity {
            position: verifier::certificate_position(&certificate)?,
            key_hash: KeyHash::of(key.public_key()),
            ring_name: names::ring_name(verifier::public_key(&ca)?),
            valid_until: verifier::valid_until(&certificate)?,
            display_name: verifier::certificate_display_name(&certificate),
            key,
            certificate,
            ca,
        })
    }

    /// Reads the identity of this label from a certificates directory, and checks that it is of the ring there and
    /// valid now.
    ///
    /// # Errors
    /// [`IdentityError::Missing`] when there is no such identity, [`IdentityError::KeyElsewhere`] when only its
    /// certificate is there, [`IdentityError::Expired`] when that has ended; other errors when it cannot be used.
    pub fn load(certs_dir: &Path, label: &str) -> Result<Identity, IdentityError> {
        let (certificate_path, key_path) = paths(certs_dir, label);
        let certificate = verifier::read_certificate(&certificate_path)?;
        let key = SecretKey::read(&key_path).map_err(|error| match error {
            IdentityError::Missing { path } => {
                IdentityError::KeyElsewhere { path, certificate: certificate_path.clone() }
            }
            error => error,
        })?;
        if verifier::public_key(&certificate)? != key.public_key() {
            return Err(IdentityError::KeyMismatch { path: key_path });
        }
        let identity = Identity::new(key, certificate, verifier::read_ca_certificate(certs_dir)?)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let last = verifier::last_ms(&identity.certificate)?;
        let first = verifier::first_ms(&identity.certificate)?;
        if now < first {
            let day = |ms| Timestamp::of_unix_ms(ms).to_string().chars().take(DAY_CHARS).collect();
            return Err(IdentityError::ClockNotSet { now: day(now), begin: day(first) });
        }
        identity.verifier()?.verify_certificate(&identity.certificate, now.min(last))?;
        if now > last {
            let until = Timestamp::of_unix_ms(last).to_string();
            return Err(IdentityError::Expired { path: certificate_path, until });
        }
        Ok(identity)
    }

    /// Writes the key (mode 0600), then the certificate, to a certificates directory. An identity of the same label is
    /// never replaced, even if another process saves at the same time.
    ///
    /// # Errors
    /// [`IdentityError::Exists`] when there is an identity of this label; [`IdentityError::Io`] when a file cannot be
    /// written.
    pub fn save(&self, certs_dir: &Path) -> Result<(), IdentityError> {
        let (certificate_path, key_path) = paths(certs_dir, &self.label());
        let write = || -> io::Result<bool> {
            // A key without a certificate is left over from a crash; it is overwritten.
            let _lock = lock(certs_dir)?;
            if certificate_path.exists() {
                return Ok(false);
            }
            files::write(&key_path, self.key.to_pem().as_bytes(), Access::Private)?;
            let pem = keys::pem("CERTIFICATE", &self.certificate);
            files::write(&certificate_path, pem.as_bytes(), Access::Public)?;
            Ok(true)
        };
        match write() {
            Ok(true) => Ok(()),
            Ok(false) => Err(IdentityError::Exists { path: certificate_path.clone() }),
            Err(source) => Err(IdentityError::io(&certificate_path, source)),
        }
    }

    /// Removes both files of this identity from a certificates directory.
    ///
    /// # Errors
    /// [`IdentityError::Io`] when a file is there and cannot be removed.
    pub fn remove_files(&self, certs_dir: &Path) -> Result<(), IdentityError> {
        let (certificate_path, key_path) = paths(certs_dir, &self.label());
        for path in [&certificate_path, &key_path] {
            files::remove(path).map_err(|source| IdentityError::io(path, source))?;
        }
        Ok(())
    }

    /// The path of the certificate of this label in a certificates directory.
    pub fn certificate_path(certs_dir: &Path, label: &str) -> PathBuf {
        paths(certs_dir, label).0
    }

    /// The path where the key of this label is, or would be.
    pub fn key_path(certs_dir: &Path, label: &str) -> PathBuf {
        paths(certs_dir, label).1
    }

    /// The peer's position.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The hash of the peer's public key.
    pub fn key_hash(&self) -> KeyHash {
        self.key_hash
    }

    /// The short name of the peer's ring, see [`super::Authority::ring_name`].
    pub fn ring_name(&self) -> &str {
        &self.ring_name
    }

    /// The peer's certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The ring CA's certificate in DER.
    pub fn ca_der(&self) -> &[u8] {
        &self.ca
    }

    /// The end of the certificate's validity.
    pub fn valid_until(&self) -> SystemTime {
        self.valid_until
    }

    /// The display name, by which people call the peer if not by its number: see [`super::certificate_display_name`].
    pub fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }

    /// The weight in the peer's certificate.
    pub fn weight(&self) -> Weight {
        verifier::certificate_weight(&self.certificate)
    }

    /// The peer's label: see [`label_of`].
    pub fn label(&self) -> String {
        label_of(&self.position)
    }

    /// The peer's Ed25519 signature (RFC 8032) of these bytes.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.key.sign(bytes)
    }

    /// The verifier of certificates of the same ring.
    ///
    /// # Errors
    /// [`IdentityError`] when the CA's certificate cannot serve as an anchor of trust.
    pub fn verifier(&self) -> Result<Verifier, IdentityError> {
        Verifier::new(self.ca.clone())
    }

    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
        self.key.derive(purpose)
    }

    pub(super) fn for_tls(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.clone()], self.key.for_tls())
    }
}

/// The label of a peer, which its files carry: its number, or the first 16 hexadecimal digits of its position.
pub fn label_of(position: &Position) -> String {
    match position.number() {
        Some(number) => number.to_string(),
        None => position.to_string().chars().take(LABEL_DIGITS).collect(),
    }
}

/// The paths of the certificate and the key of this label.
pub(super) fn paths(certs_dir: &Path, label: &str) -> (PathBuf, PathBuf) {
    let folder = folder(certs_dir);
    (folder.join(format!("{label}.pem")), folder.join(format!("{label}-key.pem")))
}

/// The folder of all peers' certificates.
pub(super) fn folder(certs_dir: &Path) -> PathBuf {
    certs_dir.join(FOLDER)
}

/// Locks the folder of peers' certificates for a change by one process alone; makes the folder. The lock ends with the
/// file.
pub(super) fn lock(certs_dir: &Path) -> io::Result<File> {
    let folder = folder(certs_dir);
    files::make_folder(&folder)?;
    let lock = File::create(folder.join(LOCK_FILE))?;
    lock.lock()?;
    Ok(lock)
}

const FOLDER: &str = "peers";
const LOCK_FILE: &str = ".lock";

/// The number of characters of an RFC 3339 text that are the day.
const DAY_CHARS: usize = 10;
