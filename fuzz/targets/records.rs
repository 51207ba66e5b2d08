//! Name records: their encoding, and their signatures.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use quoit::transport::Verifier;
use quoit::wire::{NameRecord, SignedRecord};
use quoit_fuzz::{GOOD_AT_UNIX_MS, certs_dir, choice, one_encoding};

fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| Verifier::open(&certs_dir()).expect("the CA certificate of fuzz/seeds"))
}

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = choice(data) else { return };
    if which % 2 == 0 {
        if let Some(record) = one_encoding::<NameRecord>(rest) {
            let _ = (record.clock.to_string(), record.name.to_string(), record.name.key());
        }
        return;
    }
    let Some(signed) = one_encoding::<SignedRecord>(rest) else { return };
    let Ok(record) = signed.decode() else { return };
    assert!(signed.body.len() <= SignedRecord::BODY_BYTES_MAX);
    let bytes = SignedRecord::signed_bytes(&signed.body);
    let position =
        verifier().verify_record_signature(&signed.certificate, GOOD_AT_UNIX_MS, &bytes, &signed.signature);
    if let Ok(position) = position {
        // The only identity of the seeds: any other identity that passes is forged.
        assert_eq!(position.number(), Some(7), "{record:?}");
    }
});
