//! The ring CA: the holder of its key admits peers.
//!
//! The CA is made at most once per certificates directory, completely or not at all, even if several processes try at
//! the same time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateDer;

use super::files::{self, Access};
use super::identity::Identity;
use super::identity_error::IdentityError;
use super::keys::{self, SecretKey};
use super::names::{PARENT_NAME, checked_display_name, ring_name};
use super::verifier::{self, CA_CERTIFICATE_FILE, CA_FOLDER, Verifier, ca_certificate_path};
use crate::id::{Position, Weight};

/// The certificate authority of one ring, with its private key.
#[derive(Debug)]
pub struct Authority {
    key: SecretKey,
    certificate: CertificateDer<'static>,
    certs_dir: PathBuf,
}

/// The position that a peer is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The position of this number.
    Numbered(u8),
    /// The SHA-256 of the peer's public key, of several keys the one that gives a peer of this weight its share.
    SelfPlaced(Weight),
}

impl Authority {
    /// Opens the CA of a certificates directory, or founds one if there is none. If several processes try at once, one
    /// founds the CA and the others open it.
    ///
    /// # Errors
    /// [`IdentityError`] when files cannot be read or written, or there is a CA without its key.
    pub fn found_or_open(certs_dir: &Path) -> Result<Authority, IdentityError> {
        if let Some(authority) = Authority::open(certs_dir)? {
            return Ok(authority);
        }
        let folder = certs_dir.join(CA_FOLDER);
        files::make_folder(certs_dir).map_err(|source| IdentityError::io(certs_dir, source))?;
        Authority::found(certs_dir, &folder).map_err(|source| IdentityError::io(&folder, source))?;
        Authority::open(certs_dir)?.ok_or_else(|| IdentityError::Missing { path: folder.join(KEY_FILE) })
    }

    /// Opens the CA of a certificates directory; `None` when its private key is missing.
    ///
    /// # Errors
    /// [`IdentityError`] when the files cannot be read, or do not belong together.
    pub fn open(certs_dir: &Path) -> Result<Option<Authority>, IdentityError> {
        let path = certs_dir.join(CA_FOLDER).join(KEY_FILE);
        let key = match SecretKey::read(&path) {
            Err(IdentityError::Missing { .. }) => return Ok(None),
            key => key?,
        };
        let certificate = verifier::read_ca_certificate(certs_dir)?;
        if verifier::public_key(&certificate)? != key.public_key() {
            return Err(IdentityError::KeyMismatch { path });
        }
        Ok(Some(Authority { key, certificate, certs_dir: certs_dir.to_owned() }))
    }

    /// The ring's short name: the first eight hexadecimal digits of SHA-256 of the CA's public key,
    /// as in the CA's own subject.
    pub fn ring_name(&self) -> String {
        ring_name(self.key.public_key())
    }

    /// The verifier of this ring's certificates.
    ///
    /// # Errors
    /// [`IdentityError`] when the CA's certificate cannot serve as an anchor of trust.
    pub fn verifier(&self) -> Result<Verifier, IdentityError> {
        Verifier::new(self.certificate.clone())
    }

    /// Makes a key and a certificate for a new peer; writes nothing. The display name, if any, must
    /// be a DNS name outside `quoit`.
    ///
    /// # Errors
    /// [`IdentityError`] when the display name is refused or there are no random numbers.
    pub fn issue(&self, placement: Placement, display_name: Option<&str>) -> Result<Identity, IdentityError> {
        let key = self.key_for(placement)?;
        let position = placement.position(key.public_key());
        let display_name = display_name.map(checked_display_name).transpose()?;
        let key_info = key.public_key_info();
        let certificate = SubjectPublicKeyInfo::from_der(&key_info)
            .and_then(|key| self.certify_peer(&key, &position, display_name.as_deref(), placement.weight()))
            .map_err(IdentityError::making)?;
        Identity::new(key, certificate, self.certificate.clone())
    }

    /// Makes a peer's certificate; the display name has been checked. A weight other than 1 stands in its subject.
    pub(super) fn certify_peer(
        &self,
        key: &SubjectPublicKeyInfo,
        position: &Position,
        display_name: Option<&str>,
        weight: Weight,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        let names = [PARENT_NAME.to_owned(), format!("{}.{PARENT_NAME}", position.dns_label())];
        let names = names.into_iter().chain(display_name.map(str::to_owned)).collect();
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let mut subject = subject(format!("quoit peer {}", position.label()));
        if weight != Weight::ONE {
            subject.push(DnType::OrganizationalUnitName, verifier::weight_in_subject(weight));
        }
        self.certify(key, subject, names, usages)
    }

    pub(super) fn certify(
        &self,
        key: &SubjectPublicKeyInfo,
        subject: rcgen::DistinguishedName,
        names: Vec<String>,
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        let mut parameters = CertificateParams::new(names)?;
        set_validity(&mut parameters, PEER_DAYS);
        // rcgen would derive the serial number from the key, and a renewed certificate must have a new one (RFC 5280).
        let mut serial = rand::random::<[u8; SERIAL_BYTES]>();
        serial[0] &= 0x7f;
        parameters.serial_number = Some(serial.to_vec().into());
        parameters.distinguished_name = subject;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = usages;
        parameters.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, self.key.for_certificates()?)?;
        Ok(parameters.signed_by(key, &issuer)?.der().clone())
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.key.sign(bytes)
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) fn certs_dir(&self) -> &Path {
        &self.certs_dir
    }

    /// Founds the CA: both files are made in a folder beside its place, which then takes the place in one step. If
    /// another process was first, `rename` onto its folder fails, and this attempt is removed.
    fn found(certs_dir: &Path, folder: &Path) -> io::Result<()> {
        let key = SecretKey::generate().ok_or_else(|| io::Error::other("no random numbers"))?;
        let certificate = self_signed(&key).map_err(io::Error::other)?;
        let beside = tempfile::Builder::new().prefix(".ca-").tempdir_in(certs_dir)?;
        files::write(&beside.path().join(KEY_FILE), key.to_pem().as_bytes(), Access::Private)?;
        let pem = keys::pem("CERTIFICATE", &certificate);
        files::write(&beside.path().join(CA_CERTIFICATE_FILE), pem.as_bytes(), Access::Public)?;
        put_in_place(beside, certs_dir, folder).map(drop)
    }
}

/// Puts the certificate of a CA whose key is on another machine into a certificates directory, and returns its path;
/// `None` when another CA was there first.
pub(super) fn put_certificate(certs_dir: &Path, ca: &CertificateDer<'static>) -> io::Result<Option<PathBuf>> {
    let beside = tempfile::Builder::new().prefix(".ca-").tempdir_in(certs_dir)?;
    let pem = keys::pem("CERTIFICATE", ca);
    files::write(&beside.path().join(CA_CERTIFICATE_FILE), pem.as_bytes(), Access::Public)?;
    let put = put_in_place(beside, certs_dir, &certs_dir.join(CA_FOLDER))?;
    Ok(put.then(|| ca_certificate_path(certs_dir)))
}

/// Moves the CA's folder into its place as a whole; false when another one is there.
fn put_in_place(beside: tempfile::TempDir, certs_dir: &Path, folder: &Path) -> io::Result<bool> {
    match fs::rename(beside.path(), folder) {
        Ok(()) => {
            // Nothing is left at the old path for the guard to remove.
            let _ = beside.keep();
            files::sync_folder(certs_dir).map(|()| true)
        }
        Err(error) => match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => Ok(false),
            _ => Err(error),
        },
    }
}

fn self_signed(key: &SecretKey) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    set_validity(&mut parameters, CA_DAYS);
    parameters.distinguished_name = subject(format!("quoit ring {}", ring_name(key.public_key())));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters.self_signed(&key.for_certificates()?)?.der().clone())
}

pub(super) fn subject(common_name: String) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Sets the validity to begin an hour ago, so that a clock that is a little behind accepts the certificate too.
fn set_validity(parameters: &mut CertificateParams, days: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + now.saturating_sub(BACKDATED);
    parameters.not_after = epoch + now + Duration::from_secs(days * 24 * 3_600);
}

const KEY_FILE: &str = "ca-key.pem";
const CA_DAYS: u64 = 3_652;
const PEER_DAYS: u64 = 1_826;
const SERIAL_BYTES: usize = 16;
const BACKDATED: Duration = Duration::from_secs(3_600);
