//! Disks that are full or out of inodes, folders on file systems of their own, too few open files, and an index
//! that is lost.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::disk::{Disk, run};
use super::harness::Ring;
use super::samples::{Sample, check_disk, sha256_of};
use crate::eventually::eventually;

const THREE: [u8; 3] = [36, 146, 255];

/// Checks that `cat` at a peer gives the bytes of the sample.
#[track_caller]
fn cat(ring: &Ring, number: u8, sample: &Sample) {
    let said = ring.said(number, &["cat", &sample.name]);
    assert!(said.code == Some(0), "{}", said.err);
    assert!(said.out == fs::read(&sample.path).unwrap(), "other bytes");
}

/// Reported: a disk that was filled; from then on every store, cat and request failed at that peer, also after
/// space was freed, and the start failed.
#[test]
#[ignore = "needs --all, mount"]
fn a_full_disk_reads_and_recovers_without_a_restart() {
    let mut ring = Ring::new(8);
    let disk = Disk::of(&ring.data_dir(146), 64, &[]);
    ring.init_all(&THREE);
    ring.settle();
    let dir = ring.scratch();
    let before = Sample::random(&dir, "before", 1, (2 << 20) + 5);
    before.store(&ring, 36, "--wait all");
    let filler = disk.fill();
    for _ in 0..2 {
        cat(&ring, 146, &before);
    }
    // The peer passes bytes through that it does not keep.
    let beside = Sample::random(&dir, "beside", 2, (3 << 20) + 1);
    ring.said(36, &["store", "--wait", "2", "beside"]).done();
    assert!(!beside.on_disk(&ring).contains(&146));
    cat(&ring, 146, &beside);
    let path = dir.join("copy of beside");
    ring.said(146, &["request", "beside", "-o", path.to_str().unwrap()]).done();
    assert_eq!(sha256_of(&path), beside.sha256);
    // A command that needs space fails alone, and says why.
    let why = ring.said(146, &["request", "beside"]).error(2);
    assert!(why.contains("room") || why.contains("No space left"), "{why}");
    let status = String::from_utf8_lossy(&ring.said(146, &["status"]).out).into_owned();
    assert!(status.contains("is full"), "{status}");
    // Another peer dies as well: others take over, and the full peer takes part as it can.
    ring.kill(&[255]);
    ring.settle();
    cat(&ring, 146, &before);
    // The peer starts on the full disk and serves, even if another program takes all room that the start made.
    for _ in 0..3 {
        ring.kill(&[146]);
        ring.begin_run(146);
        ring.peer(146).wait_active();
        ring.settle();
        cat(&ring, 146, &before);
        disk.fill();
    }
    before.request(&ring, 36);
    ring.begin_run(255);
    ring.peer(255).wait_active();
    ring.settle();
    // Once there is room again, everything works without a restart.
    fs::remove_file(filler).unwrap();
    let after = Sample::random(&dir, "after", 3, 100_000);
    after.store(&ring, 146, "--wait all");
    eventually("the copy that had no room", || beside.on_disk(&ring).contains(&146));
    beside.request(&ring, 146);
    check_disk(&ring, 146);
    ring.kill(&[146]);
}

/// Goal: a disk without inodes is a full one.
#[test]
#[ignore = "needs --all, mount"]
fn a_disk_without_inodes() {
    let mut ring = Ring::new(8);
    let _disk = Disk::of(&ring.data_dir(146), 64, &["-N", "400"]);
    ring.init_all(&THREE);
    ring.settle();
    let before = Sample::random(&ring.scratch(), "before", 1, 5_000);
    before.store(&ring, 36, "--wait all");
    let folder = ring.data_dir(146).join("filler");
    fs::create_dir(&folder).unwrap();
    let full = (0..1_000).find(|i| fs::write(folder.join(i.to_string()), b"").is_err());
    assert!(full.is_some(), "no inode is left");
    let beside = Sample::random(&ring.scratch(), "beside", 2, 5_000);
    ring.said(36, &["store", "--wait", "2", "beside"]).done();
    cat(&ring, 146, &before);
    cat(&ring, 146, &beside);
    fs::remove_dir_all(&folder).unwrap();
    eventually("the copy for which there was no inode", || beside.on_disk(&ring).contains(&146));
    let after = Sample::random(&ring.scratch(), "after", 3, 5_000);
    after.store(&ring, 146, "--wait all");
    ring.kill(&[146]);
}

/// Reported: the limit of open files, reached for one moment, latched the store for ever.
#[test]
#[cfg(target_os = "linux")]
fn too_few_open_files_for_a_moment() {
    let ring = Ring::of(8, &THREE);
    let dir = ring.scratch();
    let id = Pid::from_raw(i32::try_from(ring.peer(146).id()).unwrap());
    let limit = getrlimit(Resource::Nofile);
    let open = fs::read_dir(format!("/proc/{}/fd", ring.peer(146).id())).unwrap().count() as u64;
    prlimit(id, Resource::Nofile, Rlimit { current: Some(open), maximum: limit.maximum }).unwrap();
    for i in 0..3 {
        let sample = Sample::random(&dir, &format!("during {i}"), i, 50_000);
        // This peer may keep the file or not.
        ring.said(36, &["store", "--timeout", "3", &sample.name]);
    }
    prlimit(id, Resource::Nofile, limit).unwrap();
    let after = Sample::random(&dir, "after", 9, 50_000);
    after.store(&ring, 36, "--wait all");
    after.request(&ring, 146);
    check_disk(&ring, 146);
}

/// Reported: received/ on tmpfs, and "Invalid cross-device link" for every copy. For the folders that have to be on one
/// file system, the start prints one sentence.
#[test]
#[ignore = "needs --all, mount"]
fn folders_on_file_systems_of_their_own() {
    let mut ring = Ring::of(8, &THREE);
    let mount = |folder: &str| {
        let at = ring.data_dir(146).join(folder);
        assert!(mount_at(&at), "no tmpfs can be mounted here");
        at
    };
    let umount = |at: &Path| run(Command::new("umount").arg("-l").arg(at));
    let sample = Sample::random(&ring.scratch(), "file", 1, 70_000);
    sample.store(&ring, 36, "--wait all");
    let received = mount("received");
    sample.request(&ring, 146);
    umount(&received);
    ring.kill(&[146]);
    let objects = ring.data_dir(146).join("objects");
    let at = mount_at(&objects);
    ring.begin_run(146);
    let (code, answer) = ring.ended_by_itself(146);
    umount(&objects);
    assert!(at && code == Some(2), "{code:?}");
    assert!(answer.err.contains("objects is on another file system"), "{}", answer.err);
}

fn mount_at(at: &Path) -> bool {
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(at))
}

/// Reported: an index that was cut, emptied, overwritten or missing ended the identity of its peer: "no peer of a
/// ring lives in …".
#[test]
fn a_peer_without_its_index_comes_back() {
    let mut ring = Ring::of(8, &THREE);
    let sample = Sample::random(&ring.scratch(), "file", 1, (1 << 20) + 7);
    sample.store(&ring, 36, "--wait all");
    let index = ring.data_dir(146).join("index.redb");
    let harms: [fn(&Path); 4] = [
        |path| fs::File::options().write(true).open(path).unwrap().set_len(5_000).unwrap(),
        |path| fs::write(path, b"").unwrap(),
        |path| fs::write(path, vec![0x5a; 200_000]).unwrap(),
        |path| fs::remove_file(path).unwrap(),
    ];
    for (i, harm) in harms.into_iter().enumerate() {
        // The peer is the same peer of the same ring, whichever command starts it.
        let contacts = fs::read_to_string(ring.data_dir(146).join("peer.toml")).unwrap();
        assert!(contacts.contains("contacts = ["), "{contacts}");
        ring.kill(&[146]);
        harm(&index);
        match i % 2 {
            0 => ring.begin_run(146),
            _ => ring.start(146, &["init", "146"]),
        }
        ring.peer(146).wait_active();
        ring.settle();
        sample.request(&ring, 146);
        let status = String::from_utf8_lossy(&ring.said(146, &["status"]).out).into_owned();
        assert!(status.contains("the index was built anew"), "{i}: {status}");
        eventually("its records again", || {
            let said = ring.said(146, &["status", "--json"]);
            String::from_utf8_lossy(&said.out).contains(r#""records":1,"#)
        });
    }
}
