//! Files that change on the disk of a peer: by a flipped byte, a cut, an editor, a hand.

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::client::Said;
use super::harness::{Ring, SEVEN};
use super::samples::{Sample, check_disk, sha256_of};
use crate::eventually::eventually;

/// R = 3: each of them holds everything.
pub const THREE: [u8; 3] = [36, 146, 255];

/// The path at which a peer keeps a file, if it keeps it.
pub fn object(ring: &Ring, number: u8, sample: &Sample) -> PathBuf {
    ring.data_dir(number).join("objects").join(&sample.sha256[..2]).join(&sample.sha256)
}

/// Changes one byte in the middle of a file, whatever its mode.
pub fn flip(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

pub fn is_sound(ring: &Ring, number: u8, sample: &Sample) -> bool {
    let path = object(ring, number, sample);
    path.exists() && sha256_of(&path) == sample.sha256
}

/// The bad copy of a file is in quarantine, a good one is in its place, and the status says so.
#[track_caller]
pub fn check_mended(ring: &Ring, number: u8, sample: &Sample) {
    eventually(&format!("a good copy at peer {number}"), || is_sound(ring, number, sample));
    let quarantine = ring.data_dir(number).join("quarantine");
    assert!(quarantine.join(&sample.sha256).exists());
    assert!(quarantine.join(format!("{}.reason", sample.sha256)).exists());
    let mut status = String::new();
    eventually("the status tells of it", || {
        status = String::from_utf8(ring.said(number, &["status"]).out).unwrap();
        let told = |line: &str| {
            line.contains(&sample.sha256) && line.contains("it is in quarantine/, and a good copy came back")
        };
        status.lines().any(told)
    });
    check_disk(ring, number);
}

/// Reported: one byte of an object was changed while its peer ran; `request` said "it was here already" and
/// gave the wrong bytes, and `cat` and `request -o` were refused for ever.
#[test]
fn a_changed_byte_is_never_given_out() {
    let ring = Ring::of(8, &THREE);
    let dir = ring.scratch();
    for (i, length) in [5_000, (3 << 20) + 7].into_iter().enumerate() {
        let sample = Sample::random(&dir, &format!("file {i}"), i as u64, length);
        sample.store(&ring, 36, "--wait all");
        let bytes = fs::read(&sample.path).unwrap();
        // Each way to read the file, at a peer whose copy has just become bad.
        flip(&object(&ring, 36, &sample));
        sample.request(&ring, 36);
        check_mended(&ring, 36, &sample);
        flip(&object(&ring, 146, &sample));
        let said = ring.said(146, &["cat", &sample.name]);
        assert!(said.code == Some(0) && said.out == bytes, "{}", said.err);
        check_mended(&ring, 146, &sample);
        flip(&object(&ring, 255, &sample));
        let path = dir.join(format!("copy {i}"));
        ring.said(255, &["request", &sample.name, "-o", path.to_str().unwrap()]).done();
        assert_eq!(sha256_of(&path), sample.sha256);
        check_mended(&ring, 255, &sample);
    }
    for number in THREE {
        let status = ring.said(number, &["status"]).done();
        assert!(!status.contains("corrupt bytes"), "nobody honest is blamed: {status}");
    }
}

/// Goal: a copy that goes bad while a person reads it costs nothing: the rest comes from another holder.
#[test]
fn a_copy_that_fails_in_the_middle_is_read_on_elsewhere() {
    let ring = Ring::of(8, &THREE);
    let sample = Sample::random(&ring.scratch(), "long", 8, 64 << 20);
    sample.store(&ring, 36, "--wait all");
    let mut cat = ring.shell(36, &["cat", &sample.name]);
    let mut child = cat.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = vec![0; 1 << 20];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let path = object(&ring, 36, &sample);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(2 << 20).unwrap();
    let said = Said::of(child);
    assert!(said.code == Some(0) && said.err.is_empty(), "{}", said.err);
    let bytes = [first, said.out].concat();
    assert!(bytes == fs::read(&sample.path).unwrap(), "{} bytes came", bytes.len());
    check_mended(&ring, 36, &sample);
}

/// Goal: a peer that asks a holder with a bad copy gets the file from a good one, and no peer is blamed.
#[test]
fn a_bad_copy_is_found_when_it_is_asked_for() {
    let mut ring = Ring::of(8, &SEVEN);
    let sample = Sample::random(&ring.scratch(), "file", 1, (2 << 20) + 1);
    sample.store(&ring, 36, "--wait all");
    let holders: Vec<u8> = sample.on_disk(&ring).into_iter().collect();
    // The peers are stopped meanwhile, so that they remember no hash of the file.
    ring.kill(&holders[..2]);
    holders[..2].iter().for_each(|holder| flip(&object(&ring, *holder, &sample)));
    holders[..2].iter().for_each(|holder| ring.begin_run(*holder));
    holders[..2].iter().for_each(|holder| ring.peer(*holder).wait_active());
    ring.settle();
    for number in SEVEN.iter().filter(|number| !holders.contains(number)) {
        sample.request(&ring, *number);
    }
    for number in SEVEN {
        let status = ring.ask(number, "Status").done();
        assert!(!status.contains("corrupt"), "nobody honest is blamed: {status}");
    }
    // The asked peer has found its own bad copy; the other finds its copy when it is asked.
    holders.iter().for_each(|holder| {
        sample.request(&ring, *holder);
        check_disk(&ring, *holder);
    });
}

/// Reported: all three copies were changed; `store --wait all` said "3 of 3 copies", and no peer could read the file.
#[test]
fn a_store_replaces_bad_copies() {
    let ring = Ring::of(8, &THREE);
    let sample = Sample::random(&ring.scratch(), "file", 2, (1 << 20) + 3);
    sample.store(&ring, 36, "--wait all");
    THREE.iter().for_each(|number| flip(&object(&ring, *number, &sample)));
    sample.store(&ring, 146, "--wait all");
    for number in THREE {
        assert!(is_sound(&ring, number, &sample), "peer {number} said that its copy is durable");
        sample.request(&ring, number);
    }
}

/// Reported: the owner's copy was bad; two good ones died one after the other, and the file was lost although
/// a third peer could have had it.
#[test]
fn a_good_copy_spreads_when_the_owner_has_a_bad_one() {
    let mut ring = Ring::of(8, &SEVEN);
    let sample = Sample::random(&ring.scratch(), "file", 3, 300_000);
    sample.store(&ring, 36, "--wait all");
    let holders = sample.holders(&ring, 36);
    assert_eq!(holders.len(), 3);
    flip(&object(&ring, holders[0], &sample));
    ring.kill(&holders[1..2]);
    eventually("three good copies again", || {
        ring.numbers().into_iter().filter(|number| is_sound(&ring, *number, &sample)).count() >= 3
    });
    ring.kill(&holders[2..3]);
    ring.settle();
    for number in ring.numbers() {
        sample.request(&ring, number);
    }
}

/// Reported: `: > object` while the peer was stopped; the status was clean and 0 bytes were delivered. A file with a
/// made-up hash name in objects/ was adopted and listed.
#[test]
fn a_change_while_stopped_is_found_at_the_start() {
    let mut ring = Ring::of(8, &THREE);
    let sample = Sample::random(&ring.scratch(), "file", 4, 70_000);
    sample.store(&ring, 36, "--wait all");
    ring.kill(&[146]);
    let path = object(&ring, 146, &sample);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    let invented = Sample { sha256: "ab".repeat(32), ..sample.clone() };
    let stranger = object(&ring, 146, &invented);
    fs::create_dir_all(stranger.parent().unwrap()).unwrap();
    fs::write(&stranger, "made up").unwrap();
    ring.begin_run(146);
    ring.peer(146).wait_active();
    ring.settle();
    check_mended_beside(&ring, &sample, &stranger);
    let status = ring.said(146, &["status"]);
    let text = String::from_utf8_lossy(&status.out).into_owned();
    assert!(text.contains("holds other bytes than its name says"), "{text}");
    let files = ring.said(146, &["files"]).done();
    assert!(!files.contains("abababab"), "{files}");
    let said = ring.said(36, &["cat", &format!("sha256:{}", invented.sha256)]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    fs::remove_file(&stranger).unwrap();
    sample.request(&ring, 146);
}

fn check_mended_beside(ring: &Ring, sample: &Sample, stranger: &Path) {
    eventually("a good copy again", || is_sound(ring, 146, sample));
    assert!(ring.data_dir(146).join("quarantine").join(&sample.sha256).exists());
    assert!(stranger.exists(), "what is not the ring's is left alone");
}

/// Reported: noise lay in incoming/ as a part of the file; the honest sender was blamed for corrupt bytes.
#[test]
fn bad_bytes_of_ones_own_convict_nobody() {
    let ring = Ring::of(8, &THREE);
    let dir = ring.scratch();
    let sample = Sample::random(&dir, "file", 5, 10 << 20);
    let noise = Sample::random(&dir, "noise", 6, 9 << 20);
    for number in THREE {
        let part = ring.data_dir(number).join("incoming").join(format!("{}.part", sample.sha256));
        fs::copy(&noise.path, part).unwrap();
    }
    sample.store(&ring, 36, "--wait all");
    for number in THREE {
        sample.request(&ring, number);
        let status = ring.said(number, &["status"]).done();
        assert!(!status.contains("corrupt"), "{status}");
    }
}

/// Reported: received/F, a hard link, was made writable and appended to; the next request gave the edited
/// text as F, and the object itself was edited.
#[test]
fn an_edited_received_file_gives_way_to_the_rings_bytes() {
    let ring = Ring::of(8, &THREE);
    let sample = Sample::write(&ring.scratch(), "file", b"the text of the ring\n");
    sample.store(&ring, 36, "--wait all");
    sample.request(&ring, 255);
    let received = ring.data_dir(255).join("received/file");
    fs::set_permissions(&received, Permissions::from_mode(0o644)).unwrap();
    fs::write(&received, b"edited\n").unwrap();
    assert!(is_sound(&ring, 255, &sample), "the object is another file");
    sample.request(&ring, 255);
    let said: Said = ring.said(255, &["cat", "file"]);
    assert_eq!(said.out, b"the text of the ring\n");
}
