//! Admission: certificates for peers on other machines, for requests whose key stays where it is, and for clients; and
//! renewals of these certificates.
//!
//! The public certificate of every admitted peer and client stays in the certificates directory:
//!
//! ```text
//! CERTS_DIR/peers/<label>.pem         a peer's
//! CERTS_DIR/clients/<key>.pem         a client's, by the first digits of its key's hash
//! ```
//!
//! So a number or a display name never stands for two peers' keys, a certificate can be renewed, and each can be revoked
//! by the name of its peer or client.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{ExtendedKeyUsagePurpose, SubjectPublicKeyInfo};
use ring::signature::{ED25519, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::authority::{Authority, Placement, subject};
use super::bundle::Bundle;
use super::files::{self, Access};
use super::identity::{self, label_of};
use super::identity_error::IdentityError;
use super::keys;
use super::names::{LABEL_DIGITS, checked_display_name};
use super::placement::new_key;
use super::verifier::{self, CLIENT_NAME, CLIENT_SUBJECT, Verifier};
use crate::id::{KeyHash, Position, Weight};

/// The content of a certificate that is to be made.
struct Wanted {
    /// The public key info, in DER.
    key_info: Vec<u8>,
    public_key: Vec<u8>,
    position: Position,
    display_name: Option<String>,
    weight: Weight,
}

/// A peer or client whose certificate is kept in the certificates directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The position in the certificate; `None` for a client.
    pub position: Option<Position>,
    /// The hash of its key.
    pub key: KeyHash,
    /// The display name in the certificate; a client always has one.
    pub name: Option<String>,
    /// The weight in the certificate; 1 for a client.
    pub weight: Weight,
}

impl Issued {
    fn of(certificate: &CertificateDer<'_>) -> Result<Issued, IdentityError> {
        let key = verifier::key_hash(certificate)?;
        Ok(match verifier::is_client_certificate(certificate) {
            true => {
                let name = Some(verifier::client_name(certificate));
                Issued { position: None, key, name, weight: Weight::ONE }
            }
            false => Issued {
                position: Some(verifier::certificate_position(certificate)?),
                key,
                name: verifier::certificate_display_name(certificate),
                weight: verifier::certificate_weight(certificate),
            },
        })
    }
}

impl Authority {
    /// The peers and clients whose certificates are kept here, revoked ones included, in no order.
    ///
    /// # Errors
    /// [`IdentityError`] when the certificates cannot be read.
    pub fn issued(&self) -> Result<Vec<Issued>, IdentityError> {
        let mut issued = Vec::new();
        self.each_admitted(|_, one| {
            issued.push(one.clone());
            Ok(())
        })?;
        Ok(issued)
    }

    /// Makes the key and certificate of a peer that is to run on another machine. A copy of the certificate stays here;
    /// the key does not.
    ///
    /// # Errors
    /// [`IdentityError::GivenOut`] when the number or the display name already belongs to another key; other errors
    /// when the display name is refused or files cannot be read or written.
    pub fn admit(&self, placement: Placement, display_name: Option<&str>) -> Result<Bundle, IdentityError> {
        let key = self.key_for(placement)?;
        let key_info = key.public_key_info();
        let certificate = self.admit_key(key_info, placement, display_name)?;
        Bundle::new(self.certificate().clone(), certificate, Some(key))
    }

    /// Makes a certificate for the key of a PKCS#10 request (RFC 2986), in PEM. Nothing else of the request is used:
    /// the caller decides the position and the display name.
    ///
    /// # Errors
    /// [`IdentityError::Request`] when the request is malformed, not for an Ed25519 key, or not signed by that key;
    /// otherwise the errors of [`Authority::admit`].
    pub fn certify_request(
        &self,
        request_pem: &[u8],
        placement: Placement,
        display_name: Option<&str>,
    ) -> Result<Bundle, IdentityError> {
        let key_info = requested_key(&request_der(request_pem)?)?;
        let certificate = self.admit_key(key_info, placement, display_name)?;
        Bundle::new(self.certificate().clone(), certificate, None)
    }

    /// Like [`Authority::certify_request`], for a key info in DER that such a request gave; returns the certificate.
    pub(super) fn certify_key(
        &self,
        key_info: Vec<u8>,
        placement: Placement,
        display_name: Option<&str>,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        self.admit_key(key_info, placement, display_name)
    }

    /// Checks that a number or a display name is free for a key that is not there yet.
    pub(super) fn check_unclaimed(
        &self,
        placement: Placement,
        display_name: Option<&str>,
    ) -> Result<Option<String>, IdentityError> {
        let display_name = display_name.map(checked_display_name).transpose()?;
        let position = match placement {
            Placement::Numbered(number) => Some(Position::of_number(number)),
            Placement::SelfPlaced(_) => None,
        };
        self.check_free(position.as_ref(), display_name.as_deref(), None)?;
        Ok(display_name)
    }

    /// Makes a new certificate for the same key, position, display name and weight, and replaces the one that is kept here. The
    /// old certificate may have ended already.
    ///
    /// # Errors
    /// [`IdentityError::Missing`] when no peer of this label was admitted here; other errors when its
    /// certificate is not this ring's, or files cannot be read or written.
    pub fn renew(&self, label: &str) -> Result<Bundle, IdentityError> {
        let folder = self.peers_folder();
        let path = identity::paths(self.certs_dir(), label).0;
        let _lock = identity::lock(self.certs_dir()).map_err(|source| IdentityError::io(&folder, source))?;
        let before = verifier::read_certificate(&path)?;
        self.check_own(&before)?;
        let wanted = Wanted {
            key_info: verifier::public_key_info(&before)?,
            public_key: verifier::public_key(&before)?.to_vec(),
            position: verifier::certificate_position(&before)?,
            display_name: verifier::certificate_display_name(&before),
            weight: verifier::certificate_weight(&before),
        };
        if label_of(&wanted.position) != label {
            let reason = format!("it is the certificate of peer {}", wanted.position.label());
            return Err(IdentityError::Malformed { path, reason });
        }
        self.check_not_revoked(&KeyHash::of(&wanted.public_key))?;
        let certificate = self.certify_and_keep(&wanted)?;
        Bundle::new(self.certificate().clone(), certificate, None)
    }

    /// Makes the key and certificate of a client. A client may command every peer of the ring and is not a peer itself.
    /// Several clients may have the same name. A copy of the certificate stays here; the key does not.
    ///
    /// # Errors
    /// [`IdentityError`] when the name is refused, or the certificate cannot be made or kept.
    pub fn admit_client(&self, name: Option<&str>) -> Result<Bundle, IdentityError> {
        let name = name.map(checked_display_name).transpose()?;
        let key = new_key()?;
        let common_name = match name {
            None => CLIENT_SUBJECT.to_owned(),
            Some(name) => format!("{CLIENT_SUBJECT} {name}"),
        };
        let info = SubjectPublicKeyInfo::from_der(&key.public_key_info()).map_err(IdentityError::making)?;
        let certificate = self
            .certify(
                &info,
                subject(common_name),
                vec![CLIENT_NAME.to_owned()],
                vec![ExtendedKeyUsagePurpose::ClientAuth],
            )
            .map_err(IdentityError::making)?;
        let path = self.client_path(&KeyHash::of(key.public_key()));
        let io = |source| IdentityError::io(&path, source);
        files::make_folder(&self.clients_folder()).map_err(io)?;
        let pem = keys::pem("CERTIFICATE", &certificate);
        files::write(&path, pem.as_bytes(), Access::Public).map_err(io)?;
        Bundle::new(self.certificate().clone(), certificate, Some(key))
    }

    /// The label of the peer that was admitted here under this display name, and is not revoked.
    ///
    /// # Errors
    /// [`IdentityError`] when the certificates cannot be read.
    pub fn label_of_display_name(&self, display_name: &str) -> Result<Option<String>, IdentityError> {
        let name = checked_display_name(display_name)?;
        let verifier = self.revoked()?;
        let mut found = None;
        self.each_admitted(|_, issued| {
            if issued.name.as_ref() == Some(&name) && verifier.revoked().of(&issued.key).is_none() {
                found = issued.position.as_ref().map(label_of).or(found.take());
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Takes back an admission whose bundle reached no one.
    ///
    /// # Errors
    /// [`IdentityError::Io`] when the copy of the certificate cannot be removed.
    pub fn take_back(&self, bundle: &Bundle) -> Result<(), IdentityError> {
        let path = match bundle.label() {
            Some(label) => identity::paths(self.certs_dir(), &label).0,
            None => self.client_path(&verifier::key_hash(bundle.certificate_der())?),
        };
        let io = |source| IdentityError::io(&path, source);
        let _lock = identity::lock(self.certs_dir()).map_err(io)?;
        if verifier::read_certificate(&path).is_ok_and(|kept| *kept == *bundle.certificate_der()) {
            files::remove(&path).map_err(io)?;
        }
        Ok(())
    }

    fn admit_key(
        &self,
        key_info: Vec<u8>,
        placement: Placement,
        display_name: Option<&str>,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let public_key =
            verifier::ed25519_key(&key_info).ok_or(IdentityError::Request { reason: NOT_ED25519 })?;
        let position = placement.position(&public_key);
        let display_name = display_name.map(checked_display_name).transpose()?;
        let wanted = Wanted { key_info, public_key, position, display_name, weight: placement.weight() };
        let io = |source| IdentityError::io(&self.peers_folder(), source);
        let _lock = identity::lock(self.certs_dir()).map_err(io)?;
        self.check_not_revoked(&KeyHash::of(&wanted.public_key))?;
        let key = KeyHash::of(&wanted.public_key);
        self.check_free(Some(&wanted.position), wanted.display_name.as_deref(), Some(&key))?;
        self.set_revoked_aside(&wanted)?;
        self.certify_and_keep(&wanted)
    }

    /// A verifier that knows the revocations that are kept here.
    pub(super) fn revoked(&self) -> Result<Verifier, IdentityError> {
        let verifier = self.verifier()?;
        verifier.load_revocations(self.certs_dir())?;
        Ok(verifier)
    }

    fn check_not_revoked(&self, key: &KeyHash) -> Result<(), IdentityError> {
        match self.revoked()?.revoked().of(key) {
            Some(revocation) => {
                Err(IdentityError::Revoked { position: revocation.position, at_ms: revocation.at_ms })
            }
            None => Ok(()),
        }
    }

    /// Renames the files of a revoked key that stand in the place of a new certificate, so that a number can be given
    /// to a new key.
    fn set_revoked_aside(&self, wanted: &Wanted) -> Result<(), IdentityError> {
        let (certificate, key) = identity::paths(self.certs_dir(), &label_of(&wanted.position));
        let there = match verifier::read_certificate(&certificate) {
            Err(IdentityError::Missing { .. }) => return Ok(()),
            there => there?,
        };
        if verifier::public_key(&there)? == wanted.public_key {
            return Ok(());
        }
        for path in [key, certificate] {
            let aside = path.with_extension("revoked");
            match fs::rename(&path, aside) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(IdentityError::io(&path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn certify_and_keep(&self, wanted: &Wanted) -> Result<CertificateDer<'static>, IdentityError> {
        let info = SubjectPublicKeyInfo::from_der(&wanted.key_info).map_err(IdentityError::making)?;
        let certificate = self
            .certify_peer(&info, &wanted.position, wanted.display_name.as_deref(), wanted.weight)
            .map_err(IdentityError::making)?;
        let path = identity::paths(self.certs_dir(), &label_of(&wanted.position)).0;
        let pem = keys::pem("CERTIFICATE", &certificate);
        files::write(&path, pem.as_bytes(), Access::Public)
            .map_err(|source| IdentityError::io(&path, source))?;
        Ok(certificate)
    }

    /// Checks that the position and the display name are not those of another key that is still good, and that the key
    /// is not another peer's. The same admission may be repeated.
    fn check_free(
        &self,
        wanted_position: Option<&Position>,
        wanted_name: Option<&str>,
        wanted_key: Option<&KeyHash>,
    ) -> Result<(), IdentityError> {
        let verifier = self.revoked()?;
        self.each_admitted(|path, issued| {
            let Issued { position: Some(position), key, name: display_name, .. } = issued else {
                return Ok(());
            };
            let same_name = wanted_name.is_some() && wanted_name == display_name.as_deref();
            let what = if verifier.revoked().of(key).is_some() {
                return Ok(());
            } else if Some(key) == wanted_key {
                if wanted_position == Some(position) && wanted_name == display_name.as_deref() {
                    return Ok(());
                }
                "this key".to_owned()
            } else if same_name {
                format!("display name {:?}", display_name.clone().unwrap_or_default())
            } else if wanted_position == Some(position) {
                format!("number {}", position.label())
            } else {
                return Ok(());
            };
            let whom = display_name.clone().unwrap_or_else(|| label_of(position));
            Err(IdentityError::GivenOut { what, whom, path: path.to_owned() })
        })
    }

    /// Visits this ring's peers and clients whose certificates are kept here, each with the path of its certificate.
    pub(super) fn each_admitted(
        &self,
        mut visit: impl FnMut(&Path, &Issued) -> Result<(), IdentityError>,
    ) -> Result<(), IdentityError> {
        let verifier = self.verifier()?;
        for folder in [self.peers_folder(), self.clients_folder()] {
            let io = |source| IdentityError::io(&folder, source);
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries.map_err(io)?,
            };
            for entry in entries {
                let path = entry.map_err(io)?.path();
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if !name.ends_with(".pem") || name.ends_with("-key.pem") || name.starts_with('.') {
                    continue;
                }
                let certificate = verifier::read_certificate(&path)?;
                // It may have ended.
                let is_own = verifier.verify_chain(&certificate, verifier::last_ms(&certificate)?).is_ok();
                if is_own && let Ok(issued) = Issued::of(&certificate) {
                    visit(&path, &issued)?;
                }
            }
        }
        Ok(())
    }

    /// Checks that this CA made the certificate for a peer; it may have ended.
    fn check_own(&self, certificate: &CertificateDer<'static>) -> Result<(), IdentityError> {
        let at = verifier::last_ms(certificate)?;
        self.verifier()?.verify_certificate(certificate, at).map(drop)
    }

    fn peers_folder(&self) -> PathBuf {
        identity::folder(self.certs_dir())
    }

    fn clients_folder(&self) -> PathBuf {
        self.certs_dir().join(CLIENTS_FOLDER)
    }

    fn client_path(&self, key: &KeyHash) -> PathBuf {
        let digits: String = key.to_string().chars().take(LABEL_DIGITS).collect();
        self.clients_folder().join(format!("{digits}.pem"))
    }
}

/// The bytes of a small file.
///
/// # Errors
/// [`IdentityError::Missing`], [`IdentityError::Io`]; also when the file is too long for a certificate or key.
pub fn read_pem(path: &Path) -> Result<Vec<u8>, IdentityError> {
    files::read(path)
        .map_err(|source| IdentityError::io(path, source))?
        .ok_or_else(|| IdentityError::Missing { path: path.to_owned() })
}

/// The request in a PEM file, in DER.
fn request_der(request_pem: &[u8]) -> Result<Vec<u8>, IdentityError> {
    let wrong = |reason| Err(IdentityError::Request { reason });
    match <(SectionKind, Vec<u8>)>::pem_slice_iter(request_pem).next() {
        Some(Ok((SectionKind::Csr, der))) => Ok(der),
        Some(Ok((SectionKind::PrivateKey, _))) => {
            wrong("it is a private key, which must stay where it is; make a request with it")
        }
        Some(Ok(_)) => wrong("it is something else"),
        _ => wrong("there is no PEM section CERTIFICATE REQUEST"),
    }
}

/// The key of a request in DER, as its key info in DER. The signature proves that the requester has the private key.
pub(super) fn requested_key(request: &[u8]) -> Result<Vec<u8>, IdentityError> {
    let wrong = |reason| IdentityError::Request { reason };
    let (rest, request) =
        X509CertificationRequest::from_der(request).map_err(|_| wrong("it cannot be read"))?;
    if !rest.is_empty() {
        return Err(wrong("something follows it"));
    }
    let info = &request.certification_request_info;
    let key_info = info.subject_pki.raw.to_vec();
    let public_key = verifier::ed25519_key(&key_info).ok_or_else(|| wrong(NOT_ED25519))?;
    if request.signature_algorithm.algorithm != x509_parser::oid_registry::OID_SIG_ED25519 {
        return Err(wrong(NOT_ED25519));
    }
    UnparsedPublicKey::new(&ED25519, public_key)
        .verify(info.raw, &request.signature_value.data)
        .map_err(|_| wrong("its signature is not by its own key"))?;
    Ok(key_info)
}

const CLIENTS_FOLDER: &str = "clients";
const NOT_ED25519: &str = "its key is no Ed25519 key";
