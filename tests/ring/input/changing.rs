//! A file that is written to while it is stored.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use super::super::client::Said;
use super::super::harness::Ring;
use super::super::samples::sha256_of;
use super::super::shell::parts;
use super::is_anywhere;
use crate::eventually::eventually;

/// The kind of change to the file.
#[derive(Debug, Clone, Copy)]
enum Change {
    Grows,
    IsOverwritten,
    Shrinks,
    /// Overwritten with its times put back, so that only the bytes show the change.
    IsOverwrittenInSecret,
}

/// The moment of the change.
#[derive(Debug, Clone, Copy)]
enum During {
    Hashing,
    Sending,
}

impl During {
    /// The bytes of a file that is long enough to stop its reader in the middle.
    fn length(self) -> u64 {
        match self {
            During::Hashing => 384 << 20,
            During::Sending => 96 << 20,
        }
    }
}

const CASES: [(During, Change); 7] = [
    (During::Hashing, Change::IsOverwrittenInSecret),
    (During::Sending, Change::IsOverwrittenInSecret),
    (During::Hashing, Change::Grows),
    (During::Hashing, Change::IsOverwritten),
    (During::Sending, Change::Grows),
    (During::Sending, Change::IsOverwritten),
    (During::Sending, Change::Shrinks),
];

/// Goal: after any change of the file at any moment the store fails, says so, and no peer keeps bytes of it. Method:
/// the process that reads the file is stopped in the middle, and goes on after the change.
#[test]
#[cfg(target_os = "linux")]
fn a_file_changes_while_it_is_stored() {
    let ring = Ring::of(8, &[40, 90, 140, 200]);
    let file = ring.scratch().join("changing");
    for (during, change) in CASES {
        // From a shell: the client reads, and the peer fetches from it.
        let sha256 = make(&file, during);
        let mut command = ring.shell(40, &["store", "changing"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let client = command.spawn().unwrap();
        in_the_middle(&ring, client.id(), 0, during, || apply(&file, change));
        let why = Said::of(client).error(2);
        told(&why, &file, "changing");
        kept_nothing(&ring, &sha256, during, change);

        // At the prompt: the peer reads.
        let sha256 = make(&file, during);
        let id = ring.peer(40).id();
        let read_before = bytes_read(id);
        let asked = ring.peer(40).begin(&format!("Store {}", file.display()));
        in_the_middle(&ring, id, read_before, during, || apply(&file, change));
        let why = asked.answer().error();
        told(&why, &file, file.to_str().unwrap());
        kept_nothing(&ring, &sha256, during, change);
    }
    // One try each, and no peer is blamed, not even the peer of that user.
    for number in ring.numbers() {
        let status = ring.ask(number, "Status").done();
        assert!(!status.contains("misbehaved"), "{status}");
    }
    // A file that does not change can be stored, and so can one that has changed before.
    let text = ring.said(40, &["store", "changing"]).done();
    assert!(text.contains(&sha256_of(&file)), "{text}");
}

/// A sparse file, large enough that reading it takes a while.
fn make(path: &Path, during: During) -> String {
    let _ = fs::remove_file(path);
    let file = File::create(path).unwrap();
    file.set_len(during.length()).unwrap();
    // Always the same bytes.
    static SHA256: [OnceLock<String>; 2] = [const { OnceLock::new() }; 2];
    SHA256[during as usize].get_or_init(|| sha256_of(path)).clone()
}

fn apply(path: &Path, change: Change) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let before = file.metadata().unwrap();
    match change {
        Change::Grows => OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap(),
        // The last byte, which the reader has not read yet, and the first, which it has read.
        Change::IsOverwrittenInSecret => {
            apply(path, Change::IsOverwritten);
            let times = FileTimes::new().set_modified(before.modified().unwrap());
            file.set_times(times.set_accessed(before.accessed().unwrap())).unwrap();
        }
        Change::IsOverwritten => {
            [0, before.len() - 1].iter().for_each(|at| file.write_all_at(b"x", *at).unwrap())
        }
        Change::Shrinks => file.set_len(before.len() / 2).unwrap(),
    }
}

/// Stops a process at some point, does something, and lets it go on.
fn in_the_middle(ring: &Ring, id: u32, read_before: u64, during: During, change: impl FnOnce()) {
    let reached = || match during {
        During::Hashing => bytes_read(id) - read_before > SOME,
        During::Sending => parts(ring).iter().any(|(_, length)| *length > SOME),
    };
    eventually(&format!("{during:?} is reached"), reached);
    let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    change();
    kill_process(pid, Signal::CONT).unwrap();
}

/// The bytes that a process has read from all its files so far.
fn bytes_read(id: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|count| count.parse().ok()).unwrap_or_default()
}

fn told(why: &str, file: &Path, path: &str) {
    assert!(why.contains(path), "{}: {why}", file.display());
    assert!(why.contains("changed while it was stored; nothing was kept"), "{why}");
}

fn kept_nothing(ring: &Ring, sha256: &str, during: During, change: Change) {
    eventually(&format!("nothing is kept ({during:?}, {change:?})"), || {
        if is_anywhere(ring, sha256, "changing") { Err(format!("{:?}", parts(ring))) } else { Ok(()) }
    });
    for number in ring.numbers() {
        eventually("no such name", || ring.said(number, &["whereis", "changing"]).code == Some(1));
    }
}

/// The bytes after which the reader is in the middle.
const SOME: u64 = 8 << 20;
