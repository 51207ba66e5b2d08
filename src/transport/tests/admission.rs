//! Admission of peers, the bundles that are carried to them, and the files that a certificates directory takes.

use std::fs;
use std::time::Duration;

use super::certificates::{forged, mode, names, now_ms};
use super::*;
use crate::id::Position;
use crate::transport::keys::{SecretKey, pem};

const MINUTE: Duration = Duration::from_secs(60);

/// A request as another tool would make it, with any names that its maker chose.
fn request(key: &rcgen::KeyPair, names: &[String]) -> String {
    let mut parameters = rcgen::CertificateParams::new(names).unwrap();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "quoit peer 1");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.serialize_request(key).unwrap().pem().unwrap()
}

fn ed25519() -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
}

/// A whole bundle of an identity that the ring's CA made, with any content.
fn bundle_of(ring: &Ring, identity: &Identity) -> Bundle {
    let key = SecretKey::from_der(identity.for_tls().1.secret_der().to_vec());
    let certificate = identity.certificate_der().to_vec().into();
    Bundle::new(ring.authority.certificate().clone(), certificate, key).unwrap()
}

/// The sections of a bundle: CA certificate, certificate, key.
fn sections(bundle: &Bundle) -> Vec<String> {
    let text = bundle.to_pem();
    let begin = |text: &str| text.find("-----BEGIN").unwrap_or(text.len());
    let mut rest = &text[begin(&text)..];
    let mut sections = Vec::new();
    while !rest.is_empty() {
        let next = 1 + begin(&rest[1..]);
        sections.push(rest[..next].to_owned());
        rest = &rest[next..];
    }
    sections
}

fn parsed(parts: &[&String]) -> Result<Bundle, BundleError> {
    Bundle::from_pem(parts.iter().map(|part| part.as_str()).collect::<String>().as_bytes())
}

/// Goal: a request admitted in one place becomes an identity in another; the key is in one place only.
#[test]
fn a_bundle_becomes_an_identity_elsewhere() {
    let (ring, elsewhere) = (Ring::new(), tempfile::tempdir().unwrap());
    let certs = elsewhere.path().join("certs");
    let bundle = ring.authority.admit(Placement::SelfPlaced(Weight::ONE), Some("NAS")).unwrap();
    let label = bundle.label().unwrap();
    let path = elsewhere.path().join("nas.bundle.pem");
    bundle.write(&path, false).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert!(matches!(bundle.write(&path, false), Err(BundleError::Exists { .. })));
    bundle.write(&path, true).unwrap();
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let socket = elsewhere.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for other in [link.as_path(), &socket, elsewhere.path()] {
        for overwrite in [false, true] {
            let refused = bundle.write(other, overwrite);
            assert!(matches!(refused, Err(BundleError::NotAFile { .. })), "{refused:?}");
        }
    }
    assert!(link.is_symlink());
    assert!(fs::read_to_string(&path).unwrap().starts_with("Bundle of peer nas of the Quoit ring "));

    let kept: Vec<_> = fs::read_dir(ring.folder.path().join("peers"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert_eq!(kept, [format!("{label}.pem")]);
    let here = Identity::load(ring.folder.path(), &label);
    assert!(matches!(here, Err(IdentityError::KeyElsewhere { .. })), "{here:?}");

    let installed = Bundle::read(&path).unwrap().install(&certs).unwrap();
    assert!(!installed.is_empty());
    let identity = Identity::load(&certs, &label).unwrap();
    assert_eq!(identity.display_name(), Some("nas"));
    assert_eq!(Some(identity.position()), bundle.position());
    assert_eq!(identity.ring_name(), ring.authority.ring_name());
    assert_eq!(mode(&certs.join(format!("peers/{label}-key.pem"))), 0o600);
    assert!(!certs.join("ca/ca-key.pem").exists() && Authority::open(&certs).unwrap().is_none());
    assert!(Bundle::read(&path).unwrap().install(&certs).unwrap().is_empty(), "nothing is left to do");
    installed.undo();
    assert!(matches!(Identity::load(&certs, &label), Err(IdentityError::Missing { .. })));
    assert!(!certs.join("ca").exists());
}

#[test]
fn a_number_and_a_name_stand_for_one_key() {
    let ring = Ring::new();
    let admit = |placement, name| ring.authority.admit(placement, name);
    admit(Placement::Numbered(8), Some("laptop")).unwrap();
    ring.identity(9).save(ring.folder.path()).unwrap();
    for (placement, name, what) in [
        (Placement::Numbered(8), None, "number 8"),
        (Placement::Numbered(9), None, "number 9"),
        (Placement::SelfPlaced(Weight::ONE), Some("Laptop"), "laptop"),
        (Placement::Numbered(10), Some("laptop"), "laptop"),
    ] {
        let refused = admit(placement, name).unwrap_err();
        assert!(matches!(refused, IdentityError::GivenOut { .. }), "{refused:?}");
        let said = refused.to_string();
        assert!(said.contains(what) && said.contains("can be renewed") && said.contains(".pem"), "{said}");
    }
    assert!(matches!(
        admit(Placement::SelfPlaced(Weight::ONE), Some("x.quoit")),
        Err(IdentityError::DisplayName { .. })
    ));
    assert_eq!(ring.authority.label_of_display_name("LAPTOP").unwrap().as_deref(), Some("8"));
    assert_eq!(ring.authority.label_of_display_name("nas").unwrap(), None);
    let unused = admit(Placement::Numbered(10), None).unwrap();
    ring.authority.take_back(&unused).unwrap();
    admit(Placement::Numbered(10), None).unwrap();
}

#[test]
fn of_several_admissions_at_once_one_gets_the_name() {
    let ring = Ring::new();
    let start = std::sync::Barrier::new(8);
    let admit = || {
        start.wait();
        ring.authority.admit(Placement::SelfPlaced(Weight::ONE), Some("nas"))
    };
    let admitted: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(admit)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(admitted.iter().filter(|admitted| admitted.is_ok()).count(), 1);
    let refused = admitted.into_iter().filter_map(Result::err);
    assert!(refused.into_iter().all(|error| matches!(error, IdentityError::GivenOut { .. })));
}

/// Goal: of a request only the key counts, and only with a proof of its private half.
#[test]
fn a_request_gives_a_key_and_nothing_else() {
    let ring = Ring::new();
    let key = ed25519();
    let wishes = [names(1), vec!["boss".to_owned(), "client.quoit".to_owned()]].concat();
    let asked = request(&key, &wishes);
    let certify = |request: &str, name| {
        ring.authority.certify_request(request.as_bytes(), Placement::SelfPlaced(Weight::ONE), name)
    };
    let bundle = certify(&asked, Some("nas")).unwrap();
    assert!(!bundle.has_key());
    assert_eq!(bundle.position(), Some(Position::of_public_key(key.public_key_raw())));
    assert_eq!(bundle.display_name().as_deref(), Some("nas"));
    ring.authority.verifier().unwrap().verify_certificate(bundle.certificate_der(), now_ms()).unwrap();
    assert!(!is_client_certificate(bundle.certificate_der()));
    assert!(!crate::transport::verifier::is_authority(bundle.certificate_der()));

    // The same request has the same result again; under another name it has not.
    assert_eq!(certify(&asked, Some("nas")).unwrap().position(), bundle.position());
    for other in [Some("other"), None] {
        assert!(matches!(certify(&asked, other), Err(IdentityError::GivenOut { .. })));
    }
    let second = request(&ed25519(), &[]);
    assert!(matches!(certify(&second, Some("nas")), Err(IdentityError::GivenOut { .. })));
    assert_eq!(certify(&second, None).unwrap().display_name(), None);

    let mut tampered = pem_bytes(&asked);
    let at = tampered.windows(32).position(|window| window == key.public_key_raw()).unwrap();
    tampered[at..at + 32].copy_from_slice(ed25519().public_key_raw());
    let ecdsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    for (bad, why) in [
        (pem("CERTIFICATE REQUEST", &tampered), "signature"),
        (request(&ecdsa, &[]), "Ed25519"),
        (key.serialize_pem(), "private key"),
        (pem("CERTIFICATE REQUEST", b"junk"), "cannot be read"),
        (asked[..asked.len() / 2].to_owned(), "CERTIFICATE REQUEST"),
        (String::new(), "CERTIFICATE REQUEST"),
    ] {
        let refused = certify(&bad, None).unwrap_err();
        assert!(matches!(refused, IdentityError::Request { .. }), "{refused:?}");
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[test]
fn a_renewed_certificate_is_of_the_same_peer() {
    let (ring, elsewhere) = (Ring::new(), tempfile::tempdir().unwrap());
    let (authority, certs) = (&ring.authority, elsewhere.path());
    let ended = forged(&ring, &[names(7), vec!["nas".into()]].concat(), (2020, 2021));
    ended.save(ring.folder.path()).unwrap();
    assert!(matches!(Identity::load(ring.folder.path(), "7"), Err(IdentityError::Expired { .. })));
    let renewed = authority.renew("7").unwrap();
    assert_eq!(
        (renewed.position(), renewed.display_name()),
        (Some(Position::of_number(7)), Some("nas".into()))
    );
    assert!(!renewed.has_key());
    // The key of that position is here too, so the position is in use already.
    let loaded = Identity::load(ring.folder.path(), "7").unwrap();
    assert_eq!((loaded.key_hash(), loaded.display_name()), (ended.key_hash(), Some("nas")));
    assert!(loaded.valid_until() > std::time::SystemTime::now() + MINUTE);

    // On the other machine the new certificate replaces the old one, and the old one cannot replace it.
    let year = 1970 + (now_ms() / (1_000 * 31_556_952)) as i32;
    let old = forged(&ring, &names(9), (2020, year + 2));
    old.save(ring.folder.path()).unwrap();
    let first = bundle_of(&ring, &old);
    first.install(certs).unwrap();
    let before = Identity::load(certs, "9").unwrap().valid_until();
    let second = authority.renew("9").unwrap();
    let installed = second.install(certs).unwrap();
    assert_eq!(Identity::load(certs, "9").unwrap().valid_until(), second.valid_until());
    assert!(first.install(certs).unwrap().is_empty());
    assert_eq!(Identity::load(certs, "9").unwrap().valid_until(), second.valid_until());
    installed.undo();
    assert_eq!(Identity::load(certs, "9").unwrap().valid_until(), before);

    assert!(matches!(authority.renew("8"), Err(IdentityError::Missing { .. })));
    Ring::new().identity(3).save(ring.folder.path()).unwrap();
    assert!(matches!(authority.renew("3"), Err(IdentityError::NotOfThisRing { .. })));
    fs::copy(ring.folder.path().join("peers/9.pem"), ring.folder.path().join("peers/4.pem")).unwrap();
    assert!(matches!(authority.renew("4"), Err(IdentityError::Malformed { .. })));
}

#[test]
fn a_client_is_no_peer() {
    let (ring, elsewhere) = (Ring::new(), tempfile::tempdir().unwrap());
    let client = ring.authority.admit_client(None).unwrap();
    let der = client.certificate_der();
    assert!(is_client_certificate(der) && client.has_key());
    assert!(certificate_position(der).is_err());
    assert_eq!((client.position(), client.label()), (None, None));
    assert_eq!(client.display_name().as_deref(), Some("client"));
    let verifier = ring.authority.verifier().unwrap();
    assert!(matches!(verifier.verify_certificate(der, now_ms()), Err(IdentityError::Position { .. })));
    verifier.verify_chain(der, now_ms()).unwrap();
    let path = elsewhere.path().join("client.bundle.pem");
    client.write(&path, false).unwrap();
    let read = Bundle::read(&path).unwrap();
    assert!(matches!(read.install(&elsewhere.path().join("certs")), Err(BundleError::Client)));
    assert!(!elsewhere.path().join("certs").exists());
}

#[test]
fn a_broken_bundle_says_what_is_wrong() {
    let (ring, other) = (Ring::new(), Ring::new());
    let bundle = ring.authority.admit(Placement::Numbered(3), None).unwrap();
    let stranger = other.authority.admit(Placement::Numbered(3), None).unwrap();
    let (parts, theirs) = (sections(&bundle), sections(&stranger));
    let [ca, certificate, key] = &parts[..] else { panic!("{parts:?}") };
    parsed(&[key, certificate, ca]).unwrap();
    assert!(!parsed(&[certificate, ca]).unwrap().has_key());
    let ended = sections(&bundle_of(&ring, &forged(&ring, &names(3), (2020, 2021))));
    let later = sections(&bundle_of(&ring, &forged(&ring, &names(3), (2090, 2091))));
    let cut = certificate[..certificate.len() - 20].to_owned();
    let (junk, public) = (pem("CERTIFICATE", b"junk"), pem("PUBLIC KEY", b"junk"));
    let bad_key = pem("PRIVATE KEY", b"junk");
    for (parts, why) in [
        (&[certificate, key][..], "no certificate of a ring CA"),
        (&[ca, key], "no peer's certificate"),
        (&[], "no certificate of a ring CA"),
        (&[ca, ca, certificate], "two certificates of a CA"),
        (&[ca, certificate, certificate], "two certificates of peers"),
        (&[ca, certificate, key, key], "two keys"),
        (&[ca, certificate, &theirs[2]], "its key is not that of its certificate"),
        (&[&theirs[0], certificate, key], "not by the ring CA in it"),
        (&[ca, &ended[1], &ended[2]], "ended at 2021-01-01T00:00:00Z"),
        (&[ca, &later[1], &later[2]], "not valid before 2090-01-01T00:00:00Z"),
        (&[ca, &cut], "cut off"),
        (&[ca, &junk], "not a peer's certificate"),
        (&[ca, certificate, &public], "something else"),
        (&[ca, certificate, &bad_key], "no Ed25519 key"),
    ] {
        let error = parsed(parts).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.pem");
    fs::write(&path, vec![b'\n'; 70_000]).unwrap();
    for (path, why) in
        [(path.as_path(), "too long"), (folder.path(), "directory"), ("/dev/zero".as_ref(), "too long")]
    {
        let error = Bundle::read(path).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(matches!(
        Bundle::read(&folder.path().join("none")),
        Err(BundleError::Identity(IdentityError::Missing { .. }))
    ));
}

/// Goal: files that do not belong there are refused, and nothing is changed.
#[test]
fn a_certificates_directory_is_of_one_ring_and_one_key() {
    let (ring, other) = (Ring::new(), Ring::new());
    let elsewhere = tempfile::tempdir().unwrap();
    let certs = elsewhere.path();
    let bundle = ring.authority.admit(Placement::Numbered(3), None).unwrap();
    let refused = bundle.install(other.folder.path()).unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, BundleError::OtherRing { .. }), "{said}");
    assert!(
        said.contains(&ring.authority.ring_name()) && said.contains(&other.authority.ring_name()),
        "{said}"
    );
    assert!(!other.folder.path().join("peers").exists());

    // Without a key, one must be there already, alone or given by its file.
    let mut without = Bundle::from_pem(sections(&bundle)[..2].concat().as_bytes()).unwrap();
    assert!(matches!(without.install(certs), Err(BundleError::NoKey { .. })));
    assert_eq!(fs::read_dir(certs).unwrap().count(), 0);
    let (key_path, peers) = (certs.join("given.pem"), certs.join("peers"));
    fs::write(&key_path, SecretKey::generate().unwrap().to_pem()).unwrap();
    assert!(matches!(without.read_key(&key_path), Err(BundleError::KeyMismatch)));
    fs::create_dir(&peers).unwrap();
    fs::copy(&key_path, peers.join("3-key.pem")).unwrap();
    for bundle in [&without, &bundle] {
        let refused = bundle.install(certs).unwrap_err();
        assert!(matches!(refused, BundleError::OtherKey { .. }), "{refused}");
        assert!(!certs.join("ca").exists() && !peers.join("3.pem").exists());
    }
    fs::write(peers.join("3-key.pem"), &sections(&bundle)[2]).unwrap();
    without.install(certs).unwrap().undo();
    assert!(peers.join("3-key.pem").exists() && !peers.join("3.pem").exists());
    without.install(certs).unwrap();
    Identity::load(certs, "3").unwrap();

    // Another key of the same number never takes the place, with or without its key there.
    let second = bundle_of(&ring, &ring.identity(3));
    assert!(matches!(second.install(certs), Err(BundleError::OtherKey { .. })));
    fs::remove_file(peers.join("3-key.pem")).unwrap();
    assert!(matches!(second.install(certs), Err(BundleError::OtherKey { .. })));
    fs::write(&key_path, &sections(&bundle)[2]).unwrap();
    without.read_key(&key_path).unwrap();
    without.install(certs).unwrap();
    Identity::load(certs, "3").unwrap();
}

fn pem_bytes(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    data_encoding::BASE64.decode(base64.as_bytes()).unwrap()
}
