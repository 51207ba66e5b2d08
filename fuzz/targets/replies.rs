//! The replies of a peer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quoit::wire::Reply;
use quoit_fuzz::one_encoding;

fuzz_target!(|data: &[u8]| {
    if let Some(reply) = one_encoding::<Reply>(data) {
        // Replies are shown in logs.
        let _ = format!("{reply:?}");
    }
});
