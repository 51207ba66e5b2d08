//! Downloads from many holders by real processes: ranges, limits of the rate, and a kill in the middle.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Instant;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use super::harness::Ring;
use crate::eventually::eventually;

const FOUR: [u8; 4] = [40, 100, 160, 220];

/// A ring of four peers with a file of this length, and the peer that has no copy of it.
fn ring_with_file(seed: u64, length: usize) -> (Ring, Vec<u8>, u8) {
    let ring = Ring::of(8, &FOUR);
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    let path = ring.scratch().join("big.bin");
    fs::write(&path, &bytes).unwrap();
    ring.said(FOUR[0], &["store", "--wait", "all", path.to_str().unwrap()]).done();
    let has = |number: u8| object(&ring, number, &bytes).exists();
    let reader = FOUR.into_iter().find(|number| !has(*number)).unwrap();
    (ring, bytes, reader)
}

fn content(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

fn object(ring: &Ring, number: u8, bytes: &[u8]) -> PathBuf {
    let content = content(bytes);
    ring.data_dir(number).join("objects").join(&content[..2]).join(content)
}

/// Goal: a range comes from the holders without the rest of the file, and is labelled as verified by outboard; where the
/// whole file is, it comes from there. Each bad range has its one outcome.
#[test]
fn a_range_brings_only_its_chunks() {
    const LENGTH: usize = (5 << 20) + 4_321;
    let (ring, bytes, reader) = ring_with_file(1, LENGTH);
    let holder = FOUR.into_iter().find(|number| *number != reader).unwrap();
    let request =
        |number: u8, range: &str| ring.said(number, &["request", "--range", range, "big.bin", "-o", "-"]);
    for (first, last) in
        [(0, 0), (0, 499), ((1 << 20) - 5, (3 << 20) + 7), (LENGTH - 1, LENGTH - 1), (0, LENGTH - 1)]
    {
        for (number, proof) in [(reader, "verified by outboard"), (holder, "the whole file is here")] {
            let said = request(number, &format!("{first}-{last}"));
            assert_eq!(said.code, Some(0), "{first}-{last} at {number}: {}", said.err);
            assert!(said.out == bytes[first..=last], "{first}-{last} at {number}");
            assert!(said.err.contains(proof), "{}", said.err);
        }
    }
    let said = ring.said(reader, &["request", "--range", "7-9", "--json", "big.bin", "-o", "-"]);
    let value: serde_json::Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!((&value["verified_by"], &value["first"]), (&"outboard".into(), &7.into()), "{value}");
    assert!(!object(&ring, reader, &bytes).exists(), "a range keeps nothing");
    assert_eq!(fs::read_dir(ring.data_dir(reader).join("incoming")).unwrap().count(), 0);
    for number in [reader, holder] {
        for beyond in
            [format!("0-{LENGTH}"), format!("{LENGTH}-{LENGTH}"), "7-18446744073709551615".to_owned()]
        {
            let error = request(number, &beyond).error(2);
            assert!(error.contains(&format!("has {LENGTH} bytes")), "{error}");
        }
    }
    for bad in ["9-7", "a-b", "5", "5-", "1-18446744073709551616"] {
        let said = request(reader, bad);
        assert!(
            said.code == Some(2) && said.out.is_empty() && said.err.contains("--range"),
            "{bad}: {}",
            said.err
        );
    }
    for elsewhere in
        [&["request", "--range", "0-1", "big.bin"][..], &["request", "--range", "0-1", "big.bin", "-o", "x"]]
    {
        assert_eq!(ring.said(reader, elsewhere).code, Some(2));
    }
    let error = ring.said(reader, &["request", "--range", "0-1", "no.bin", "-o", "-"]);
    assert_eq!(error.code, Some(1), "{}", error.err);
}

/// Goal: a peer that is killed in the middle of a download goes on from the chunks that it had marked; holders keep to
/// their upload rate, and together they are faster than one.
#[test]
fn a_download_goes_on_after_a_kill() {
    const LENGTH: usize = 48 << 20;
    const RATE: usize = 6 << 20;
    let (mut ring, bytes, reader) = ring_with_file(2, LENGTH);
    for number in FOUR {
        ring.kill(&[number]);
        ring.start(number, &["run", "--upload-rate", &RATE.to_string()]);
    }
    FOUR.iter().for_each(|number| ring.peer(*number).wait_active());
    ring.settle();
    let incoming = ring.data_dir(reader).join("incoming");
    let (part, marks) = (
        incoming.join(format!("{}.part", content(&bytes))),
        incoming.join(format!("{}.marks", content(&bytes))),
    );
    let begun = Instant::now();
    let asked = ring.peer(reader).begin("Request big.bin");
    eventually("marked chunks", || fs::metadata(&marks).is_ok_and(|marks| marks.len() > 1_000));
    let sent = fs::metadata(&part).unwrap().blocks() * 512;
    let most = RATE as f64 * 3.0 * (begun.elapsed().as_secs_f64() + 0.2);
    assert!((sent as f64) < most, "{sent} bytes are more than three holders may send");
    ring.peer(reader).kill();
    drop(asked);
    ring.kill(&[reader]);
    assert!(part.exists() && !object(&ring, reader, &bytes).exists());
    ring.begin_run(reader);
    ring.peer(reader).wait_active();
    ring.settle();
    let said = ring.said(reader, &["request", "big.bin"]).done();
    assert!(said.contains("peers "), "more than one holder: {said}");
    assert!(fs::read(object(&ring, reader, &bytes)).unwrap() == bytes);
    assert!(!part.exists() && !marks.exists());
}
