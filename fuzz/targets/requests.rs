//! The requests of a peer: the first frame of every stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quoit::wire::{Request, codec};
use quoit_fuzz::one_encoding;

fuzz_target!(|data: &[u8]| {
    if let Some(request) = one_encoding::<Request>(data) {
        let frame = codec::frame(&request).expect("it came in a frame");
        assert_eq!(&frame[codec::FRAME_HEADER_BYTES..], data);
    }
});
