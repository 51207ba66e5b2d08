//! The small messages: datagrams, the hello, remembered members, and the header of a frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quoit::wire::{Datagram, Hello, Member, codec, limits};
use quoit_fuzz::{choice, one_encoding};

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = choice(data) else { return };
    match which % 4 {
        0 => drop(one_encoding::<Datagram>(rest)),
        1 => drop(one_encoding::<Hello>(rest)),
        2 => drop(one_encoding::<Vec<Member>>(rest)),
        _ => {
            let Some((header, body)) = rest.split_first_chunk::<4>() else { return };
            if let Ok(length) = codec::frame_length(*header) {
                assert!(length <= limits::FRAME_BYTES_MAX);
                let _ = one_encoding::<Hello>(&body[..length.min(body.len())]);
            }
        }
    }
});
