//! Certificates and keys: in DER as TLS and records bring them, in PEM as files hold them.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use quoit::id::Position;
use quoit::transport::{Verifier, certificate_position, fuzz};
use quoit_fuzz::{GOOD_AT_UNIX_MS, certs_dir, choice};

/// The verifier of one ring, and the one certificate that it accepts.
fn good() -> &'static (Verifier, Vec<u8>) {
    static GOOD: OnceLock<(Verifier, Vec<u8>)> = OnceLock::new();
    GOOD.get_or_init(|| {
        let pem = std::fs::read(certs_dir().join("peers/7.pem")).expect("fuzz/seeds");
        let der = fuzz::certificate_pem(&pem).expect("a certificate");
        (Verifier::open(&certs_dir()).expect("the CA certificate of fuzz/seeds"), der)
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = choice(data) else { return };
    match which % 4 {
        0 => certificate(rest),
        1 => {
            if let Some(der) = fuzz::certificate_pem(rest) {
                assert_eq!(fuzz::certificate_pem(fuzz::to_pem(&der).as_bytes()), Some(der.clone()));
                certificate(&der);
            }
        }
        2 => {
            if let Some(pem) = fuzz::key_pem(rest) {
                assert_eq!(fuzz::key_pem(pem.as_bytes()).as_ref(), Some(&pem));
            }
        }
        // The good certificate with a few bytes changed: two input bytes give the place, one the value.
        _ => {
            let mut der = good().1.clone();
            for change in rest.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % der.len();
                der[at] = change[2];
            }
            certificate(&der);
        }
    }
});

fn certificate(der: &[u8]) {
    let _ = fuzz::certificate(der);
    if let Ok(position) = certificate_position(der) {
        assert_eq!(Position::from_dns_label(&position.dns_label()), Some(position));
    }
    let (verifier, good) = good();
    if verifier.verify_certificate(der, GOOD_AT_UNIX_MS).is_ok() {
        assert!(der == good, "a certificate that nobody signed is let through");
    }
}
