//! Starts that must fail: with a clear error within five seconds, exit code 2, and nothing left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::harness::{Ring, quoit};
use super::samples::entries;

/// Five seconds, and one for a busy machine.
const SOON: Duration = Duration::from_secs(6);

/// Goal: a join fails with the address if no peer answers at KNOWN.
#[test]
fn known_is_unreachable() {
    let ring = Ring::of(8, &[10]);
    let said = refused(&ring, &["join", "20", "30"], &ring.certs_dir());
    let address = format!("127.0.0.1:{}", ring.port(30));
    assert!(said.contains(&format!("cannot join through {address}: ")), "{said}");
    assert!(said.contains("answer") || said.contains("no reply within"), "{said}");
}

/// Goal: a join is refused with its cause if KNOWN is of another ring.
#[test]
fn known_is_of_another_ring() {
    let (ours, theirs) = (Ring::of(8, &[10]), Ring::of(8, &[10]));
    let known = format!("127.0.0.1:{}", theirs.port(10));
    let said = refused(&ours, &["join", "20", &known], &ours.certs_dir());
    assert!(said.contains(&format!("cannot join through {known}: ")), "{said}");
    assert!(said.contains("ring") || said.contains("CA") || said.contains("certificate"), "{said}");
    assert_eq!(theirs.shown_by(10), [10]);
    // The user of the peer reads that once, without a log.
    let told = || {
        let err = theirs.peer(10).all().err;
        err.lines()
            .filter(|line| line.starts_with("warning: refused a connection from 127.0.0.1:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    crate::eventually::eventually("the warning is there", || !told().is_empty());
    let told = told();
    assert!(
        told[0].ends_with(": it says that this peer's certificate is of another ring (1 so far)"),
        "{told:?}"
    );
}

/// Goal: another peer has the position: the old one stays, the new one goes.
#[test]
fn the_position_is_taken() {
    for successors in super::harness::LISTS {
        let ring = Ring::of(successors, &[10, 60, 120, 200]);
        // The ring's CA and none of its peers: a second peer 60 with a key of its own.
        let certs = ring.scratch().join("certs");
        fs::create_dir_all(certs.join("ca")).unwrap();
        for file in entries(&ring.certs_dir().join("ca")) {
            fs::copy(&file, certs.join("ca").join(file.file_name().unwrap())).unwrap();
        }
        let listen = format!("127.0.0.1:{}", ring.port(61));
        let join = |known: u8| {
            let known = format!("127.0.0.1:{}", ring.port(known));
            refused(&ring, &["join", "60", &known, "--listen", &listen], &certs)
        };
        // The join through the old peer itself is refused as well.
        let said = join(60);
        assert!(said.contains("position"), "{said}");
        for said in [10, 120].map(join) {
            assert!(said.contains("position") && said.contains("60") && said.contains("taken"), "{said}");
            assert!(said.contains(&format!("127.0.0.1:{}", ring.port(60))), "{said}");
        }
        ring.settle();
    }
}

/// Goal: without a CA a peer cannot admit itself, and the error names `admit`.
#[test]
fn there_is_no_authority() {
    let ring = Ring::of(8, &[10]);
    let empty = ring.scratch().join("none");
    let said = refused(&ring, &["join", "20", "10"], &empty);
    assert!(said.contains("quoit admit"), "{said}");
    assert!(!empty.join("ca").exists());
}

/// Goal: a data directory that is in use, or of another peer, stays as it is.
#[test]
fn the_data_directory_is_of_another() {
    let ring = Ring::of(8, &[10]);
    let data = ring.data_dir(10);
    let before = fs::read(data.join("peer.toml")).unwrap();
    let listen = format!("127.0.0.1:{}", ring.port(11));
    for (words, reason) in [
        (&["init", "10", "--listen", &listen][..], "is in use by process"),
        (&["run", "--listen", &listen], "is in use by process"),
        (&["init", "11"], "belongs to peer 10, not 11"),
    ] {
        let begun = Instant::now();
        let output = quoit(words)
            .arg("--data-dir")
            .arg(&data)
            .arg("--certs-dir")
            .arg(ring.certs_dir())
            .args(["--base-port", &ring.port(0).to_string()])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(begun.elapsed() < SOON);
    }
    assert_eq!(fs::read(data.join("peer.toml")).unwrap(), before);
    assert_eq!(ring.shown_by(10), [10]);
}

/// Runs a command that must be refused, in a data directory of its own, and returns its error.
pub fn refused(ring: &Ring, words: &[&str], certs: &Path) -> String {
    let peers = certs.join("peers");
    let is_key = |path: &PathBuf| path.extension().is_some_and(|end| end == "pem");
    let files =
        || if peers.exists() { entries(&peers).iter().filter(|path| is_key(path)).count() } else { 0 };
    let (data, before) = (ring.scratch().join("data").join("20"), files());
    let begun = Instant::now();
    let output = ring.command(words, &data, certs).stdin(Stdio::null()).output().unwrap();
    let (took, said) = (begun.elapsed(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(took < SOON, "{took:?}: {said}");
    assert!(output.stdout.is_empty() && said.starts_with("error: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(!data.exists(), "{} is left", data.display());
    assert_eq!(files(), before, "certificates are left");
    said
}
