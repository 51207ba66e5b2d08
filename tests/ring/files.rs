//! Real files, byte for byte, and transfers that are cut in the middle.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::client::Said;
use super::harness::{LISTS, Ring, SEVEN};
use super::peer::Answer;
use super::samples::{Sample, check_disk, entries, pdf, png, sha256_of};
use crate::eventually::eventually;

/// Goal: whatever is stored at one peer comes out of every other one, byte for byte; the files on disk are as
/// docs/store-format.md says.
#[test]
fn real_files_from_every_peer() {
    for successors in LISTS {
        let ring = Ring::of(successors, &SEVEN);
        let dir = ring.scratch();
        let mut samples = vec![
            Sample::write(&dir, "a page.pdf", &pdf()),
            Sample::write(&dir, "greys.png", &png()),
            Sample::write(&dir, "empty", b""),
            Sample::write(&dir, "one byte", b"\0"),
            Sample::random(&dir, "1 MiB", 1, 1 << 20),
            Sample::random(&dir, "1 MiB and 1", 2, (1 << 20) + 1),
        ];
        // One round with large files is enough: the kind of membership makes no difference to bytes.
        if successors == LISTS[0] {
            samples.push(Sample::random(&dir, "64 MiB", 3, 64 << 20));
            samples.extend(found("cargo's own binary", cargo()));
            samples.extend(found("a shared library", shared_library()));
        }
        for (i, sample) in samples.iter().enumerate() {
            let at = SEVEN[i % SEVEN.len()];
            let text = sample.store(&ring, at, "--wait all");
            assert!(text.contains("3 of 3 copies"), "{text}");
            SEVEN.iter().for_each(|number| drop(sample.request(&ring, *number)));
        }
        let by_content = format!("Request sha256:{}", samples[0].sha256);
        samples[0].check_received(&ring, SEVEN[3], ring.ask(SEVEN[3], &by_content));
        SEVEN.iter().for_each(|number| check_disk(&ring, *number));
    }
}

/// Goal: memory does not grow with the file: 1 GiB passes through peers that stay under 100 MiB.
#[test]
#[ignore = "needs --all"]
#[cfg(target_os = "linux")]
fn a_gibibyte_in_little_memory() {
    let ring = Ring::of(8, &SEVEN);
    let sample = Sample::random(&ring.scratch(), "1 GiB", 4, 1 << 30);
    eprint!("{}", sample.store(&ring, 36, "--wait all --timeout 300"));
    let holders = sample.on_disk(&ring);
    let without: Vec<u8> = SEVEN.into_iter().filter(|number| !holders.contains(number)).take(2).collect();
    for number in without {
        eprint!("{}", sample.request(&ring, number));
    }
    for number in SEVEN {
        let status = fs::read_to_string(format!("/proc/{}/status", ring.peer(number).id())).unwrap();
        let peak = Answer::field(&status, "VmHWM:").and_then(|peak| peak.strip_suffix(" kB")).unwrap();
        let peak: u64 = peak.trim().parse().unwrap();
        eprintln!("peer {number}: at most {} MiB resident", peak >> 10);
        assert!(peak < 100 << 10, "peer {number}: {peak} KiB");
    }
}

/// Goal: when one of the senders is killed in the middle, the transfer goes on from the others.
#[test]
fn the_sender_is_killed_in_mid_transfer() {
    let mut ring = Ring::of(8, &SEVEN);
    let sample = Sample::random(&ring.scratch(), "large", 5, LARGE);
    sample.store(&ring, 36, "--wait all --timeout 60");
    let holders = sample.holders(&ring, 36);
    let asker = *SEVEN.iter().find(|number| !holders.contains(number)).unwrap();
    let asked = ring.peer(asker).begin("Request large");
    wait_under_way(&ring, asker);
    let sender = holders[0];
    ring.peer(sender).kill();
    let killed = Instant::now();
    let text = sample.check_received(&ring, asker, asked.answer());
    eprint!("{text}");
    // The ring finds a death within a second or so. The timeout of a silent stream alone is longer than this bound.
    assert!(killed.elapsed() < Duration::from_secs(9), "{:?}", killed.elapsed());
    let from = Answer::field(&text, "from").unwrap();
    let others = holders[1..].iter().filter(|other| from.contains(&other.to_string()));
    assert_eq!((from.contains(&sender.to_string()), others.count()), (true, 2), "{text}");
    ring.kill(&[sender]);
    check_disk(&ring, asker);
}

/// Goal: when all holders are killed in the middle and one starts again at once, the transfer goes on from it.
#[test]
fn the_only_holder_starts_again_in_mid_transfer() {
    let mut ring = Ring::of(8, &[36, 109, 182, 255]);
    let sample = Sample::random(&ring.scratch(), "large", 7, 2 * LARGE);
    sample.store(&ring, 36, "--wait all --timeout 60");
    let holders = sample.holders(&ring, 36);
    let asker = *ring.numbers().iter().find(|number| !holders.contains(number)).unwrap();
    let mut request = ring.shell(asker, &["request", "large"]);
    let request = request.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_under_way(&ring, asker);
    ring.kill(&holders);
    ring.begin_run(holders[0]);
    let said = Said::of(request);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(sha256_of(&ring.data_dir(asker).join("received/large")), sample.sha256);
}

/// Goal: a requester that is killed in the middle goes on where it was, once it runs again.
#[test]
fn the_requester_is_killed_in_mid_transfer() {
    let mut ring = Ring::of(8, &SEVEN);
    let sample = Sample::random(&ring.scratch(), "large", 6, LARGE);
    sample.store(&ring, 36, "--wait all --timeout 60");
    let holders = sample.holders(&ring, 36);
    let asker = *SEVEN.iter().find(|number| !holders.contains(number)).unwrap();
    ring.peer(asker).type_in("Request large\n");
    wait_under_way(&ring, asker);
    ring.kill(&[asker]);
    let before = part_length(&ring, asker).expect("a part of it");
    assert!((SOME..LARGE).contains(&before), "{before} bytes");
    ring.begin_run(asker);
    ring.peer(asker).wait_active();
    eventually("the part is kept", || part_length(&ring, asker).is_some_and(|length| length <= before));
    sample.request(&ring, asker);
    assert_eq!(part_length(&ring, asker), None);
    check_disk(&ring, asker);
}

fn wait_under_way(ring: &Ring, asker: u8) {
    eventually("the transfer begins", || part_length(ring, asker).is_some_and(|length| length >= SOME));
}

/// The number of bytes of the partial file of the only transfer; it may have holes.
fn part_length(ring: &Ring, number: u8) -> Option<u64> {
    let incoming = entries(&ring.data_dir(number).join("incoming"));
    let part = incoming.iter().find(|path| path.extension().is_some_and(|end| end == "part"))?;
    fs::metadata(part).ok().map(|metadata| metadata.blocks() * 512)
}

fn found(what: &str, path: Option<PathBuf>) -> Option<Sample> {
    if path.is_none() {
        eprintln!("SKIPPED: {what} was not found, and is not among the files");
    }
    path.as_deref().map(Sample::of)
}

/// The real binary. The first one on the path may be a proxy of a few MiB, which serves as well.
fn cargo() -> Option<PathBuf> {
    let by_rustup = Command::new("rustup").args(["which", "cargo"]).output().ok();
    let by_rustup = by_rustup.and_then(|output| String::from_utf8(output.stdout).ok());
    let named = [by_rustup.map(|path| PathBuf::from(path.trim())), option_env!("CARGO").map(PathBuf::from)];
    named.into_iter().flatten().find(|path| path.is_file())
}

fn shared_library() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"].map(PathBuf::from).into();
    folders.extend(folders.clone().iter().flat_map(|folder| folders_in(folder)));
    let libraries = folders.iter().map(|folder| folder.join("libc.so.6"));
    libraries.into_iter().find(|path| path.is_file())
}

fn folders_in(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Large enough to be caught in the middle.
const LARGE: u64 = 160 << 20;
/// The bytes after which a transfer is in its middle.
const SOME: u64 = 8 << 20;
