//! No room: on a holder, at the requester, and at the path that a person wants the file at.

use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use super::super::client::{Said, sh};
use super::super::harness::Ring;
use super::super::samples::{Sample, check_disk, entries};
use super::super::shell::parts;
use crate::eventually::eventually;

const FOUR: [u8; 4] = [40, 90, 140, 200];

/// Goal: a store names a holder without room, the others keep the file, and the full holder keeps no part of it. Once
/// it has room, it gets its copy.
#[test]
#[cfg(target_os = "linux")]
fn a_holder_is_full() {
    let ring = Ring::of(8, &FOUR);
    let sample = Sample::random(&ring.scratch(), "large", 1, LARGE);
    let holders = holders_of(&sample);
    // The full peer is the owner first, and then the last replica.
    for (name, full) in [("first", holders[0]), ("last", holders[2])] {
        let bytes = format!("{name} {}", LARGE);
        let sample = with_holder(&ring, name, &bytes, |holders| match name {
            "first" => holders[0] == full,
            _ => holders[2] == full,
        });
        limit(&ring, full, Some(LIMIT));
        let said = ring.said(FOUR[0], &["store", "--json", "--timeout", "4", name]);
        // Two of three copies are enough, whichever disk is full.
        let why = missing(&said.value(), full);
        assert!(why.contains("File too large") || why.contains("full"), "{why}");
        assert!(!sample.on_disk(&ring).contains(&full));
        // One more try may still be on its way: once enough copies are there, a store does not wait for the rest.
        let no_part = || parts(&ring).iter().all(|(number, _)| *number != full);
        eventually(&format!("no part is left at peer {full}"), no_part);
        check_disk(&ring, full);
        // The peer runs on, and takes files that it has room for.
        let small = Sample::write(&ring.scratch(), &format!("small beside {name}"), name.as_bytes());
        small.store(&ring, full, "--wait 2");
        limit(&ring, full, None);
        eventually("a copy where there was no room", || sample.on_disk(&ring).contains(&full));
        eventually("its part is gone", || parts(&ring).is_empty());
        ring.numbers().iter().for_each(|number| check_disk(&ring, *number));
    }
}

/// Goal: a requester without room says so and keeps nothing, but `cat` works. Once there is room, the requester keeps
/// the file.
#[test]
#[cfg(target_os = "linux")]
fn the_requester_is_full() {
    let ring = Ring::of(8, &FOUR);
    let sample = Sample::random(&ring.scratch(), "large", 2, LARGE);
    ring.said(FOUR[0], &["store", "--wait", "all", "large"]).done();
    let holders = sample.on_disk(&ring);
    let asker = *FOUR.iter().find(|number| !holders.contains(number)).unwrap();
    limit(&ring, asker, Some(LIMIT));
    let why = super::refused(&ring, asker, &["request", "large"], 2);
    let cannot = format!("peer {asker} cannot keep sha256:{}", sample.sha256);
    assert!(why.contains(&cannot) && why.contains("File too large"), "{why}");
    // Reading needs no room: the bytes pass through.
    let said = ring.said(asker, &["cat", "large"]);
    assert!(said.code == Some(0) && said.out == std::fs::read(&sample.path).unwrap(), "{}", said.err);
    assert!(!sample.on_disk(&ring).contains(&asker));
    assert!(parts(&ring).is_empty() && entries(&ring.data_dir(asker).join("received")).is_empty());
    check_disk(&ring, asker);
    limit(&ring, asker, None);
    sample.request(&ring, asker);
}

/// Goal: `-o PATH` writes the whole file or none.
#[test]
fn there_is_no_room_for_the_path() {
    let ring = Ring::of(8, &FOUR[..2]);
    let dir = ring.scratch();
    Sample::random(&dir, "large", 3, LARGE);
    ring.said(FOUR[0], &["store", "large"]).done();
    std::fs::write(dir.join("old"), "old").unwrap();
    for (path, options) in [("copy", &[][..]), ("old", &["--overwrite"])] {
        let words = [&["request", "large", "-o", path][..], options].concat();
        // In blocks of 512 bytes: 4 MiB.
        let script = "ulimit -f 8192; exec \"$0\" \"$@\"";
        let why = Said::by(sh(script, &ring.shell(FOUR[0], &words))).error(2);
        assert!(why.contains(&format!("cannot write {path}")) && why.contains("too large"), "{why}");
    }
    assert!(!dir.join("copy").exists());
    assert_eq!(std::fs::read(dir.join("old")).unwrap(), b"old");
    assert!(entries(&dir).iter().all(|path| !path.to_str().unwrap().contains(".quoit-")));
    if std::path::Path::new("/dev/full").exists() {
        let why = ring.said(FOUR[0], &["request", "large", "-o", "/dev/full"]).error(2);
        assert!(why.contains("/dev/full") && why.contains("No space left"), "{why}");
        let why =
            Said::by(sh("exec \"$0\" \"$@\" >/dev/full", &ring.shell(FOUR[0], &["cat", "large"]))).error(2);
        assert!(why.contains("standard output") && why.contains("No space left"), "{why}");
    }
}

/// Goal: the same on a file system that is really full.
#[test]
#[ignore = "needs --all, mount"]
#[cfg(target_os = "linux")]
fn a_full_file_system() {
    let mut ring = Ring::new(8);
    let full = FOUR[1];
    let mount = Mount::of(&ring.data_dir(full), "size=12m");
    ring.init_all(&FOUR);
    ring.settle();
    let sample = with_holder(&ring, "large", "tmpfs", |holders| holders[1..].contains(&full));
    let value = ring.said(FOUR[0], &["store", "--json", "large"]).value();
    let why = missing(&value, full);
    assert!(why.contains(&format!("no room for {LARGE} bytes")), "{why}");
    let why = super::refused(&ring, full, &["request", "large"], 2);
    assert!(why.contains("cannot keep") && why.contains("no room"), "{why}");
    assert!(!sample.on_disk(&ring).contains(&full));
    assert!(parts(&ring).iter().all(|(number, _)| *number != full));
    check_disk(&ring, full);
    mount.change("remount,size=200m");
    eventually("a copy where there was no room", || sample.on_disk(&ring).contains(&full));
    sample.request(&ring, full);
    ring.kill(&[full]);
}

/// A file whose holders satisfy this condition.
fn with_holder(ring: &Ring, name: &str, salt: &str, wanted: impl Fn(&[u8; 3]) -> bool) -> Sample {
    let path = ring.scratch().join(name);
    for i in 0..10_000 {
        // A sparse file is quick to make and to hash.
        let file = std::fs::File::create(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, format!("{salt} {i}").as_bytes(), 0).unwrap();
        file.set_len(LARGE).unwrap();
        let sample = Sample::of(&path);
        if wanted(&holders_of(&sample)) {
            return sample;
        }
    }
    unreachable!("one in four has its copies there");
}

/// The peers that should hold the sample: the first one at or after its first byte, and the next two.
fn holders_of(sample: &Sample) -> [u8; 3] {
    let key = u8::from_str_radix(&sample.sha256[..2], 16).unwrap();
    let owner = FOUR.iter().position(|number| *number >= key).unwrap_or(0);
    [0, 1, 2].map(|i| FOUR[(owner + i) % FOUR.len()])
}

/// The reason why this peer has no copy, as a report states it.
#[track_caller]
fn missing(report: &Value, peer: u8) -> String {
    let (missing, label) = (report["missing"].as_array().unwrap(), peer.to_string());
    let copy = missing.iter().find(|copy| copy["label"].as_str() == Some(&label));
    copy.unwrap_or_else(|| panic!("peer {peer} is not missing: {report}"))["reason"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// From now on no file of a running peer may become longer than this.
fn limit(ring: &Ring, number: u8, bytes: Option<u64>) {
    let id = i32::try_from(ring.peer(number).id()).unwrap();
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Pid::from_raw(id), Resource::Fsize, limit).unwrap();
}

/// A file system in memory, unmounted when this is dropped.
struct Mount(std::path::PathBuf);

impl Mount {
    fn of(path: &std::path::Path, options: &str) -> Mount {
        std::fs::create_dir_all(path).unwrap();
        let mount = Mount(path.to_owned());
        assert!(mount.run(options), "no file system can be mounted here");
        mount
    }

    fn change(&self, options: &str) {
        assert!(self.run(options));
    }

    fn run(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&self.0);
        mount.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A lazy unmount: a process that still has a file open there keeps it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Larger than the room.
const LARGE: u64 = 24 << 20;
/// The index fits, and a part of the file.
const LIMIT: u64 = 8 << 20;
