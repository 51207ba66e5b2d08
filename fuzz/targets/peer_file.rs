//! peer.toml, as a person or a crash may have left it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quoit::blob::PeerFile;

fuzz_target!(|data: &[u8]| {
    let Ok(file) = PeerFile::parse(data) else { return };
    let Ok(text) = file.to_text() else {
        assert!(file.incarnation > i64::MAX as u64, "{file:?}");
        return;
    };
    assert_eq!(PeerFile::parse(text.as_bytes()).as_ref(), Ok(&file));
});
