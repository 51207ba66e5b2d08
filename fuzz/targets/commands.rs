//! The commands of a client to its peer, and the peer's replies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quoit::wire::{ClientReply, ClientRequest};
use quoit_fuzz::{choice, one_encoding};

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = choice(data) else { return };
    if which % 2 == 0 {
        if let Some(command) = one_encoding::<ClientRequest>(rest) {
            let _ = format!("{command:?}");
        }
    } else if let Some(reply) = one_encoding::<ClientReply>(rest) {
        let _ = format!("{reply:?}");
    }
});
