//! The bundle that is carried to another machine: one PEM file with the ring CA's certificate, a peer's or a client's
//! certificate, and its key, unless the key is already there.
//!
//! A [`Bundle`] is always consistent: its certificate is signed by its CA and good now, and its key is that
//! certificate's. Installing a bundle puts it into a certificates directory, which belongs to one ring, or changes
//! nothing there.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject as _, SectionKind};

use super::authority;
use super::credentials::Credentials;
use super::files::{self, Access};
use super::identity::{self, label_of};
use super::identity_error::IdentityError;
use super::install::Installed;
use super::keys::{self, SecretKey};
use super::names;
use super::verifier::{self, Verifier};
use crate::id::{Position, Weight};
use crate::time::Timestamp;

/// A certificate on its way to the machine that uses it.
#[derive(Debug)]
pub struct Bundle {
    ca: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: Option<SecretKey>,
    /// The position of the bundle's peer; `None` for a client.
    position: Option<Position>,
    ring_name: String,
    valid_until: SystemTime,
}

/// Why a bundle, or the place where it is to go, is unusable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file or a certificate is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The file is not a PEM file.
    #[error("it is no bundle: {reason}")]
    Malformed {
        /// The reason, in words.
        reason: String,
    },
    /// A part is missing.
    #[error("it holds no {part}; a bundle of `quoit admit` holds the ring CA's certificate and the peer's")]
    Part {
        /// The part that is missing.
        part: &'static str,
    },
    /// The key does not belong to the certificate.
    #[error("its key is not that of its certificate")]
    KeyMismatch,
    /// The CA in the bundle did not sign the certificate.
    #[error("its certificate is not by the ring CA in it (ring {ring}): {reason}")]
    OtherAuthority {
        /// The short name of the ring of the CA in the bundle.
        ring: String,
        /// The reason, in the words of the verifier.
        reason: String,
    },
    /// The certificate has ended.
    #[error("its certificate ended at {until}; it has to be renewed where the ring CA's key is")]
    Expired {
        /// The end of the certificate, as RFC 3339.
        until: String,
    },
    /// The certificate is not valid yet.
    #[error("its certificate is not valid before {from}; is this machine's clock right?")]
    NotYet {
        /// The beginning of the certificate, as RFC 3339.
        from: String,
    },
    /// The bundle is a client's.
    #[error("it is a client's bundle, which cannot be a peer")]
    Client,
    /// The file already exists.
    #[error("{} exists already", .path.display())]
    Exists {
        /// The path of the bundle.
        path: std::path::PathBuf,
    },
    /// Something that is not a regular file is there; it is never replaced.
    #[error("{} is no regular file; the bundle needs a path of its own", .path.display())]
    NotAFile {
        /// The path of the file or folder.
        path: std::path::PathBuf,
    },
    /// The certificates directory belongs to another ring.
    #[error("it is of ring {bundle}, and {} is of ring {there}; a ring needs a certificates directory of its own", .certs_dir.display())]
    OtherRing {
        /// The certificates directory.
        certs_dir: std::path::PathBuf,
        /// The ring that the directory belongs to.
        there: String,
        /// The ring that the bundle belongs to.
        bundle: String,
    },
    /// The bundle has no key, and the certificates directory has none either.
    #[error("it holds no key, and there is no {}", .path.display())]
    NoKey {
        /// The path where a key was looked for.
        path: std::path::PathBuf,
    },
    /// The certificates directory has another key in that place.
    #[error("{} is of another key than the bundle's certificate", .path.display())]
    OtherKey {
        /// The key or certificate that is there.
        path: std::path::PathBuf,
    },
}

impl Credentials {
    /// The credentials of a bundle that was made for clients, or for the peer itself.
    ///
    /// # Errors
    /// [`BundleError`] when the bundle is unusable or has no key.
    pub fn of_bundle(path: &Path) -> Result<Credentials, BundleError> {
        Bundle::read(path)?.credentials()
    }
}

impl Bundle {
    pub(super) fn new(
        ca: CertificateDer<'static>,
        certificate: CertificateDer<'static>,
        key: Option<SecretKey>,
    ) -> Result<Bundle, IdentityError> {
        let position = match verifier::is_client_certificate(&certificate) {
            true => None,
            false => Some(verifier::certificate_position(&certificate)?),
        };
        let ring_name = names::ring_name(verifier::public_key(&ca)?);
        let valid_until = verifier::valid_until(&certificate)?;
        Ok(Bundle { ca, certificate, key, position, ring_name, valid_until })
    }

    /// A bundle of these parts, which come from elsewhere.
    pub(super) fn checked(
        ca: CertificateDer<'static>,
        certificate: CertificateDer<'static>,
        key: SecretKey,
    ) -> Result<Bundle, BundleError> {
        let mut bundle = Bundle::new(ca, certificate, None)?;
        bundle.check_certificate()?;
        bundle.take_key(key)?;
        Ok(bundle)
    }

    /// Turns the bundle into credentials for a dial.
    pub(super) fn credentials(self) -> Result<Credentials, BundleError> {
        let verifier = Verifier::new(self.ca)?;
        let key = self.key.ok_or(BundleError::Part { part: "key" })?.for_tls();
        Ok(Credentials { chain: vec![self.certificate], key, verifier })
    }

    /// Reads a bundle and checks all of it.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn read(path: &Path) -> Result<Bundle, BundleError> {
        let pem = files::read(path)
            .map_err(|source| IdentityError::io(path, source))?
            .ok_or_else(|| IdentityError::Missing { path: path.to_owned() })?;
        Bundle::from_pem(&pem)
    }

    /// Like [`Bundle::read`], from the file's bytes. The parts may come in any order.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn from_pem(pem: &[u8]) -> Result<Bundle, BundleError> {
        let Parts { ca, certificate, key } = Parts::of(pem)?;
        let ca = ca.ok_or(BundleError::Part { part: "certificate of a ring CA" })?;
        let certificate = certificate.ok_or(BundleError::Part { part: "peer's certificate" })?;
        let mut bundle = Bundle::new(ca, certificate, None)?;
        bundle.check_certificate()?;
        if let Some(key) = key {
            bundle.take_key(key)?;
        }
        Ok(bundle)
    }

    /// Takes the key from a PEM file: an Ed25519 key in PKCS#8.
    ///
    /// # Errors
    /// [`BundleError::KeyMismatch`] when the key does not belong to the certificate; [`BundleError::Identity`] when the
    /// file cannot be read.
    pub fn read_key(&mut self, path: &Path) -> Result<(), BundleError> {
        let key = SecretKey::read(path)?;
        self.take_key(key)
    }

    /// Writes the bundle, readable by its owner alone, completely or not at all.
    ///
    /// # Errors
    /// [`BundleError::Exists`] when there is a file that must not be overwritten; [`BundleError::NotAFile`] when
    /// something else is there; [`BundleError::Identity`] when the bundle cannot be written.
    pub fn write(&self, path: &Path, overwrite: bool) -> Result<(), BundleError> {
        // A device or a link would be replaced instead of written to.
        if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
            return Err(BundleError::NotAFile { path: path.to_owned() });
        }
        let written = match overwrite {
            true => files::write(path, self.to_pem().as_bytes(), Access::Private),
            false => files::write_new(path, self.to_pem().as_bytes(), Access::Private),
        };
        written.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => BundleError::Exists { path: path.to_owned() },
            _ => IdentityError::io(path, source).into(),
        })
    }

    /// Puts the CA certificate, certificate and key into a certificates directory. Of two certificates for the same
    /// key, the one that ends later stays.
    ///
    /// # Errors
    /// [`BundleError`]; then nothing was changed.
    pub fn install(&self, certs_dir: &Path) -> Result<Installed, BundleError> {
        let mut installed = Installed::in_folder(certs_dir);
        let done = self.install_into(certs_dir, &mut installed);
        match done {
            Ok(()) => Ok(installed),
            Err(error) => {
                installed.undo();
                Err(error)
            }
        }
    }

    /// The position of the bundle's peer; `None` for a client.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The label of the bundle's peer, see [`label_of`]; `None` for a client.
    pub fn label(&self) -> Option<String> {
        self.position.as_ref().map(label_of)
    }

    /// The display name of the bundle's peer, if it has one, or of its client.
    pub fn display_name(&self) -> Option<String> {
        match self.position {
            Some(_) => verifier::certificate_display_name(&self.certificate),
            None => Some(verifier::client_name(&self.certificate)),
        }
    }

    /// The weight of the bundle's peer; 1 for a client.
    pub fn weight(&self) -> Weight {
        verifier::certificate_weight(&self.certificate)
    }

    /// The short name of the bundle's ring, see [`super::Authority::ring_name`].
    pub fn ring_name(&self) -> &str {
        &self.ring_name
    }

    /// The certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The end of the certificate's validity.
    pub fn valid_until(&self) -> SystemTime {
        self.valid_until
    }

    /// Whether the bundle contains the key.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    pub(super) fn to_pem(&self) -> String {
        let whose = match (self.display_name(), self.label()) {
            (name, Some(label)) => format!("peer {}", name.unwrap_or(label)),
            (Some(name), None) if name != verifier::UNNAMED_CLIENT => format!("client {name}"),
            (_, None) => "a client".to_owned(),
        };
        let care = if self.has_key() {
            "It holds a private key: keep it to yourself"
        } else {
            "The key is not in it"
        };
        let key = self.key.as_ref().map(SecretKey::to_pem).unwrap_or_default();
        [
            format!("Bundle of {whose} of the Quoit ring {}. {care}.\n", self.ring_name),
            keys::pem("CERTIFICATE", &self.ca),
            keys::pem("CERTIFICATE", &self.certificate),
            key,
        ]
        .concat()
    }

    fn take_key(&mut self, key: SecretKey) -> Result<(), BundleError> {
        if verifier::public_key(&self.certificate)? != key.public_key() {
            return Err(BundleError::KeyMismatch);
        }
        self.key = Some(key);
        Ok(())
    }

    /// Checks that the certificate is signed by the CA that comes with it, and good now.
    fn check_certificate(&self) -> Result<(), BundleError> {
        let verifier = Verifier::new(self.ca.clone())?;
        verifier.verify_chain(&self.certificate, verifier::last_ms(&self.certificate)?).map_err(|error| {
            BundleError::OtherAuthority { ring: self.ring_name.clone(), reason: error.to_string() }
        })?;
        let (now, from) = (SystemTime::now(), verifier::valid_from(&self.certificate)?);
        if now >= self.valid_until {
            return Err(BundleError::Expired { until: rfc3339(self.valid_until) });
        }
        if now < from {
            return Err(BundleError::NotYet { from: rfc3339(from) });
        }
        Ok(())
    }

    fn install_into(&self, certs_dir: &Path, installed: &mut Installed) -> Result<(), BundleError> {
        let label = self.label().ok_or(BundleError::Client)?;
        let io = |source| IdentityError::io(certs_dir, source);
        let (certificate_path, key_path) = identity::paths(certs_dir, &label);
        // The ring is checked first, as far as that is possible without creating anything.
        self.check_ring(certs_dir)?;
        if !self.has_key() && !key_path.exists() {
            return Err(BundleError::NoKey { path: key_path });
        }
        files::make_folder(certs_dir).map_err(io)?;
        let _lock = identity::lock(certs_dir).map_err(io)?;
        self.install_ca(certs_dir, installed)?;
        let own_key = verifier::public_key(&self.certificate)?;
        let there = match verifier::read_certificate(&certificate_path) {
            Err(IdentityError::Missing { .. }) => None,
            read => Some(read?),
        };
        if let Some(there) = &there
            && verifier::public_key(there)? != own_key
        {
            return Err(BundleError::OtherKey { path: certificate_path });
        }
        match (SecretKey::read(&key_path), &self.key) {
            (Ok(key), _) if key.public_key() != own_key => {
                return Err(BundleError::OtherKey { path: key_path });
            }
            (Ok(_), _) => {}
            (Err(IdentityError::Missing { .. }), Some(key)) => {
                installed.write(&key_path, key.to_pem().as_bytes(), Access::Private)?;
            }
            (Err(IdentityError::Missing { path }), None) => return Err(BundleError::NoKey { path }),
            (Err(error), _) => return Err(error.into()),
        }
        let stays = match &there {
            Some(there) => *there == self.certificate || verifier::valid_until(there)? > self.valid_until,
            None => false,
        };
        if !stays {
            let pem = keys::pem("CERTIFICATE", &self.certificate);
            installed.write(&certificate_path, pem.as_bytes(), Access::Public)?;
        }
        Ok(())
    }

    /// Whether that directory belongs to this ring; false if it belongs to none yet.
    fn check_ring(&self, certs_dir: &Path) -> Result<bool, BundleError> {
        let there = match verifier::read_ca_certificate(certs_dir) {
            Err(IdentityError::Missing { .. }) => return Ok(false),
            there => there?,
        };
        if verifier::public_key(&there)? == verifier::public_key(&self.ca)? {
            return Ok(true);
        }
        Err(BundleError::OtherRing {
            certs_dir: certs_dir.to_owned(),
            there: names::ring_name(verifier::public_key(&there)?),
            bundle: self.ring_name.clone(),
        })
    }

    fn install_ca(&self, certs_dir: &Path, installed: &mut Installed) -> Result<(), BundleError> {
        if self.check_ring(certs_dir)? {
            return Ok(());
        }
        let io = |source| IdentityError::io(certs_dir, source);
        let made = authority::put_certificate(certs_dir, &self.ca).map_err(io)?;
        match made {
            Some(path) => installed.made(path),
            // Another process founded or installed a ring there at this moment; it may be this ring.
            None if self.check_ring(certs_dir)? => {}
            None => {
                return Err(IdentityError::Missing { path: verifier::ca_certificate_path(certs_dir) }.into());
            }
        }
        Ok(())
    }
}

/// The sections of a bundle's file.
#[derive(Default)]
struct Parts {
    ca: Option<CertificateDer<'static>>,
    certificate: Option<CertificateDer<'static>>,
    key: Option<SecretKey>,
}

impl Parts {
    fn of(pem: &[u8]) -> Result<Parts, BundleError> {
        let malformed = |reason: &str| BundleError::Malformed { reason: reason.to_owned() };
        let mut parts = Parts::default();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = section.map_err(|error| malformed(pem_reason(&error)))?;
            let second = match kind {
                SectionKind::Certificate if verifier::is_authority(&der) => {
                    parts.ca.replace(der.into()).map(|_| "two certificates of a CA")
                }
                SectionKind::Certificate => {
                    parts.certificate.replace(der.into()).map(|_| "two certificates of peers")
                }
                SectionKind::PrivateKey => {
                    let key =
                        SecretKey::from_der(der).ok_or_else(|| malformed("its key is no Ed25519 key"))?;
                    parts.key.replace(key).map(|_| "two keys")
                }
                _ => Some("something else than certificates and an Ed25519 key in PKCS#8"),
            };
            if let Some(what) = second {
                return Err(malformed(&format!("it holds {what}")));
            }
        }
        Ok(parts)
    }
}

fn pem_reason(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "a PEM section has no end; was the file cut off?",
        PemError::Base64Decode(_) => "a PEM section is no base64",
        _ => "it is no PEM file",
    }
}

fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::of_unix_ms(since.as_millis() as u64).to_string()
}
