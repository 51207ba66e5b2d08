//! The CA, identities, and the certificates that a verifier accepts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::id::{KeyHash, Position};
use crate::transport::keys::SecretKey;

pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A certificate that `Authority::issue` would never make, signed by the ring's own CA.
pub(super) fn forged(ring: &Ring, names: &[String], years: (i32, i32)) -> Identity {
    let folder = ring.folder.path().join("ca");
    let ca_key = SecretKey::from_pem(&std::fs::read(folder.join("ca-key.pem")).unwrap()).unwrap();
    let ca = crate::transport::verifier::read_certificate(&folder.join("ca.pem")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&ca, ca_key.for_certificates().unwrap()).unwrap();
    let key = SecretKey::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(names).unwrap();
    parameters.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let certificate = parameters.signed_by(&key.for_certificates().unwrap(), &issuer).unwrap();
    Identity::new(key, certificate.der().clone(), ca).unwrap()
}

pub(super) fn names(number: u8) -> Vec<String> {
    let label = Position::of_number(number).dns_label();
    vec!["peer.quoit".to_owned(), format!("{label}.peer.quoit")]
}

pub(super) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn several_founders_at_once_agree_on_one_ca() {
    let folder = tempfile::tempdir().unwrap();
    let start = std::sync::Barrier::new(8);
    let found = || {
        start.wait();
        let authority = Authority::found_or_open(folder.path()).unwrap();
        let identity = authority.issue(Placement::SelfPlaced(Weight::ONE), None).unwrap();
        (authority.ring_name(), identity.certificate_der().to_vec())
    };
    let found: Vec<_> = std::thread::scope(|scope| {
        let founders: Vec<_> = (0..8).map(|_| scope.spawn(found)).collect();
        founders.into_iter().map(|founder| founder.join().unwrap()).collect()
    });
    let verifier = Verifier::open(folder.path()).unwrap();
    for (name, certificate) in found {
        assert_eq!(name, verifier.ring_name());
        verifier.verify_certificate(&certificate, now_ms()).unwrap();
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["ca"], "nothing of the losers is left");
}

#[test]
fn a_ca_without_its_key_is_not_founded_again() {
    let ring = Ring::new();
    std::fs::remove_file(ring.folder.path().join("ca/ca-key.pem")).unwrap();
    assert!(Authority::open(ring.folder.path()).unwrap().is_none());
    assert!(matches!(Authority::found_or_open(ring.folder.path()), Err(IdentityError::Missing { .. })));
    assert!(Verifier::open(ring.folder.path()).is_ok());
}

#[test]
fn an_identity_survives_its_files_and_keeps_its_key_to_itself() {
    let ring = Ring::new();
    let folder = ring.folder.path();
    let identity = ring.authority.issue(Placement::Numbered(42), Some("Alice.example")).unwrap();
    identity.save(folder).unwrap();
    assert!(matches!(identity.save(folder), Err(IdentityError::Exists { .. })));
    assert_eq!(mode(&folder.join("ca/ca-key.pem")), 0o600);
    assert_eq!(mode(&folder.join("peers/42-key.pem")), 0o600);
    assert_eq!(mode(&folder.join("peers/42.pem")), 0o644);

    let loaded = Identity::load(folder, "42").unwrap();
    assert_eq!(loaded.position(), Position::of_number(42));
    assert_eq!(loaded.certificate_der(), identity.certificate_der());
    assert_eq!((loaded.key_hash(), loaded.ring_name()), (identity.key_hash(), &*ring.authority.ring_name()));
    assert_eq!(loaded.sign(b"x"), identity.sign(b"x"));
    let secret = std::fs::read_to_string(folder.join("peers/42-key.pem")).unwrap();
    let shown = format!("{loaded:?}");
    assert!(shown.contains("SecretKey(hidden)") && !shown.contains(secret.lines().nth(1).unwrap()));

    loaded.remove_files(folder).unwrap();
    loaded.remove_files(folder).unwrap();
    assert!(matches!(Identity::load(folder, "42"), Err(IdentityError::Missing { .. })));
}

#[test]
fn files_of_another_identity_or_ring_are_refused() {
    let (ring, other) = (Ring::new(), Ring::new());
    let folder = ring.folder.path();
    other.identity(1).save(folder).unwrap();
    assert!(matches!(Identity::load(folder, "1"), Err(IdentityError::NotOfThisRing { .. })));
    ring.identity(2).save(folder).unwrap();
    std::fs::copy(folder.join("peers/1-key.pem"), folder.join("peers/2-key.pem")).unwrap();
    assert!(matches!(Identity::load(folder, "2"), Err(IdentityError::KeyMismatch { .. })));
}

#[test]
fn positions_come_back_from_certificates() {
    let ring = Ring::new();
    for number in [0, 1, 127, 255] {
        let der = ring.identity(number).certificate_der().to_vec();
        assert_eq!(certificate_position(&der).unwrap(), Position::of_number(number));
        assert!(der.len() <= crate::wire::limits::CERTIFICATE_BYTES_MAX);
    }
    let placed = ring.authority.issue(Placement::SelfPlaced(Weight::ONE), None).unwrap();
    assert_eq!(certificate_position(placed.certificate_der()).unwrap(), placed.position());
    assert_eq!(placed.key_hash(), KeyHash(placed.position().0));
    assert_eq!(placed.label(), placed.position().to_string()[..16]);
    assert!(certificate_position(b"junk").is_err());
}

#[test]
fn display_names_with_authority_are_refused() {
    let ring = Ring::new();
    for bad in
        ["client.quoit", "PEER.QUOIT", "x.peer.quoit", "quoit", "*.example", "", "a b", "-x", "1.2.3.4", "7"]
            .into_iter()
            .chain(["0123456789abcdef", "../nas", "nas\n", "nas/", "näs", &"a".repeat(64)])
    {
        let issued = ring.authority.issue(Placement::Numbered(1), Some(bad));
        assert!(matches!(issued, Err(IdentityError::DisplayName { .. })), "{bad:?}");
    }
}

#[test]
fn a_display_name_is_the_only_name_outside_quoit() {
    let ring = Ring::new();
    let issued = ring.authority.issue(Placement::SelfPlaced(Weight::ONE), Some("Nas.example")).unwrap();
    assert_eq!(issued.display_name(), Some("nas.example"));
    assert_eq!(certificate_display_name(issued.certificate_der()).as_deref(), Some("nas.example"));
    assert_eq!(ring.identity(4).display_name(), None);
    for more in [&["nas", "laptop"][..], &["*.example"], &["4"], &["NAS"], &["client.quoit"]] {
        let names: Vec<String> = names(3).into_iter().chain(more.iter().map(|&s| s.to_owned())).collect();
        assert_eq!(forged(&ring, &names, (2020, 2040)).display_name(), None, "{more:?}");
    }
    assert_eq!(certificate_display_name(b"junk"), None);
    assert!(!is_client_certificate(issued.certificate_der()) && !is_client_certificate(b"junk"));
}

#[test]
fn a_record_is_verified_by_ring_time_and_key() {
    let (ring, other) = (Ring::new(), Ring::new());
    let verifier = ring.authority.verifier().unwrap();
    let writer = ring.identity(9);
    let signature = writer.sign(b"record");
    let verify = |der: &[u8], at, bytes: &[u8], signature: &[u8]| {
        verifier.verify_record_signature(der, at, bytes, signature)
    };
    let der = writer.certificate_der();
    assert_eq!(verify(der, now_ms(), b"record", &signature).unwrap(), Position::of_number(9));
    assert!(matches!(verify(der, now_ms(), b"recorD", &signature), Err(IdentityError::Signature { .. })));
    assert!(matches!(verify(der, now_ms(), b"record", &[0; 64]), Err(IdentityError::Signature { .. })));
    assert!(matches!(verify(der, now_ms(), b"record", b""), Err(IdentityError::Signature { .. })));
    for years_off in [-1, 6] {
        let at = now_ms().saturating_add_signed(years_off * 365 * 24 * 3_600_000);
        assert!(matches!(verify(der, at, b"record", &signature), Err(IdentityError::NotOfThisRing { .. })));
    }
    let stranger = other.identity(9);
    let signed = stranger.sign(b"record");
    let refused = verify(stranger.certificate_der(), now_ms(), b"record", &signed);
    assert!(matches!(refused, Err(IdentityError::NotOfThisRing { .. })));
    assert!(verify(&[0x30; 5_000], now_ms(), b"record", &signed).is_err());
}

#[test]
fn a_certificate_has_one_position() {
    let ring = Ring::new();
    let one = forged(&ring, &names(3), (2020, 2040));
    assert_eq!(one.position(), Position::of_number(3));
    let parse = |names: &[String]| {
        let key = SecretKey::generate().unwrap().for_certificates().unwrap();
        let der = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        certificate_position(der.der())
    };
    assert!(parse(&[names(3), names(4)].concat()).is_err());
    assert!(parse(&["peer.quoit".into()]).is_err());
    assert!(parse(&["*.peer.quoit".into()]).is_err());
    assert!(parse(&[names(3)[1].to_ascii_uppercase()]).is_err());
    assert!(parse(&[]).is_err());
}
