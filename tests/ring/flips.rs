//! A flipped bit in each kind of file of a stopped peer, and a data directory that came from an older backup.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::disk::run;
use super::harness::{LISTS, Ring};
use super::load::Acknowledged;
use super::rot::{THREE, flip, is_sound, object};
use super::samples::{Sample, check_disk, entries};
use crate::eventually::eventually;

fn start_again(ring: &mut Ring) {
    ring.begin_run(146);
    ring.peer(146).wait_active();
    ring.settle();
}

fn status(ring: &Ring) -> String {
    String::from_utf8(ring.said(146, &["status"]).out).unwrap()
}

/// A bit of this file flips while peer 146 is stopped. Returns the status after its next start.
fn flip_while_stopped(ring: &mut Ring, path: &Path) -> String {
    ring.kill(&[146]);
    flip(path);
    start_again(ring);
    status(ring)
}

/// Goal: the outcome that docs/store-format.md states for each kind of file in a data directory; afterwards the peer has
/// everything, with right bytes.
#[test]
fn a_flipped_bit_in_each_kind_of_file_has_its_outcome() {
    let mut ring = Ring::of(8, &THREE);
    let dir = ring.scratch();
    let small = Sample::random(&dir, "small", 1, 5_000);
    let large = Sample::random(&dir, "large", 2, (2 << 20) + 9);
    for sample in [&small, &large] {
        sample.store(&ring, 36, "--wait all");
        sample.request(&ring, 146);
    }
    let data = ring.data_dir(146);
    // A second start, so that the spare file has a whole identity, too.
    ring.kill(&[146]);
    start_again(&mut ring);

    let text = flip_while_stopped(&mut ring, &data.join("peer.toml"));
    assert!(text.contains("peer.toml was damaged") && text.contains("the one before it was used"), "{text}");
    let text = flip_while_stopped(&mut ring, &data.join("peer.toml.spare"));
    assert!(!text.contains("peer.toml was damaged"), "{text}");
    flip_while_stopped(&mut ring, &data.join("reserve"));
    // The middle of the index may be a page that is not in use.
    flip_while_stopped(&mut ring, &data.join("index.redb"));
    small.request(&ring, 146);

    let log = entries(&data.join("records")).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len());
    flip_while_stopped(&mut ring, &log.unwrap());
    ring.said(146, &["scrub"]).done();
    let text = status(&ring);
    assert!(text.contains("held no name record") && text.contains("written there anew"), "{text}");

    let outboard = data.join("outboards").join(&large.sha256[..2]).join(format!("{}.mid", large.sha256));
    let whole = fs::read(&outboard).unwrap();
    flip_while_stopped(&mut ring, &outboard);
    ring.said(146, &["scrub"]).done();
    assert_eq!(fs::read(&outboard).unwrap(), whole);

    flip_while_stopped(&mut ring, &data.join("received/large"));
    large.request(&ring, 146);

    let link = data.join("names/small");
    let target = fs::read_link(&link).unwrap();
    ring.kill(&[146]);
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("../objects/00/elsewhere", &link).unwrap();
    start_again(&mut ring);
    assert_eq!(fs::read_link(&link).unwrap(), target);

    for path in [&small, &large].map(|sample| object(&ring, 146, sample)) {
        flip_while_stopped(&mut ring, &path);
    }
    let report = ring.said(146, &["scrub", "--json"]).value();
    assert_eq!((&report["quarantined"], &report["fetched_again"]), (&2.into(), &2.into()), "{report}");
    let reason = data.join("quarantine").join(format!("{}.reason", small.sha256));
    flip_while_stopped(&mut ring, &reason);
    for sample in [&small, &large] {
        assert!(is_sound(&ring, 146, sample));
        sample.request(&ring, 146);
    }
    check_disk(&ring, 146);
}

/// Goal: a flipped bit in a certificate or key is refused by name, and the peer starts once the file is whole again; a
/// damaged list of revoked keys is told, and the others have what is lost.
#[test]
fn a_flipped_bit_in_the_certificates_is_named() {
    let mut ring = Ring::of(8, &THREE);
    let sample = Sample::random(&ring.scratch(), "file", 1, 5_000);
    sample.store(&ring, 36, "--wait all");
    let certs = ring.certs_dir();
    ring.kill(&[146]);
    for file in ["peers/146.pem", "peers/146-key.pem", "ca/ca.pem"] {
        let path = certs.join(file);
        let whole = fs::read(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions();
        flip(&path);
        let why = ring.said(146, &["run"]).error(2);
        assert!(why.contains(path.to_str().unwrap()) || why.contains("certificate"), "{file}: {why}");
        fs::write(&path, whole).unwrap();
        fs::set_permissions(&path, mode).unwrap();
    }
    fs::write(certs.join("revoked.bin"), [0xa5; 64]).unwrap();
    start_again(&mut ring);
    ring.peer(146).wait_said("the list of revoked keys is damaged");
    sample.request(&ring, 146);
}

fn copy_folder(from: &Path, to: &Path) {
    assert!(run(Command::new("cp").arg("-a").arg(from).arg(to)), "{} is not copied", from.display());
}

/// Goal: a data directory that is restored from an older backup joins again: what was stored, renewed and removed since
/// then stays so, at every peer.
#[test]
fn a_directory_from_an_older_backup_loses_and_revives_nothing() {
    for successors in LISTS {
        let mut ring = Ring::of(successors, &[36, 90, 146, 200, 255]);
        let mut acknowledged = Acknowledged::default();
        acknowledged.change(&ring, 36, "first");
        acknowledged.change(&ring, 146, "second");
        let (data, backup): (PathBuf, _) = (ring.data_dir(146), ring.dir().join("backup"));
        ring.kill(&[146]);
        copy_folder(&data, &backup);
        start_again(&mut ring);
        // New versions of what was there, removals of other names, names that were removed come back, new names.
        acknowledged.change(&ring, 146, "first");
        acknowledged.change(&ring, 255, "second");
        acknowledged.change(&ring, 146, "third");
        acknowledged.check(&ring);
        ring.kill(&[146]);
        fs::remove_dir_all(&data).unwrap();
        copy_folder(&backup, &data);
        start_again(&mut ring);
        ring.numbers().into_iter().for_each(|number| acknowledged.check_at(&ring, number));
        eventually("the restored peer has its files", || {
            ring.said(146, &["status", "--json"]).value()["syncing"] == serde_json::Value::Bool(false)
        });
        ring.numbers().into_iter().for_each(|number| acknowledged.check_at(&ring, number));
        check_disk(&ring, 146);
    }
}
