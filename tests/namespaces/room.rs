//! Files that fit nowhere: no peer moves them, and every peer says so.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::lab::{Family, Lab};

const THREE: [u8; 3] = [36, 146, 255];

/// Goal: a file that does not fit on two of three peers is not sent to them, by a store or afterwards; the store keeps
/// its timeout, and every status names the peers with full disks. Once there is room, the copy is made without a
/// restart.
#[test]
#[ignore = "needs --all, namespaces"]
fn a_file_that_fits_nowhere_stays_where_it_is() {
    let mut lab = Lab::new();
    for number in THREE {
        lab.machine(&machine(number));
    }
    lab.on_a_disk_of(146, "55m");
    lab.on_a_disk_of(255, "55m");
    lab.found(36, &machine(36), Family::V4, &[]);
    lab.join(146, &machine(146), Family::V4, 36, &[]);
    lab.join(255, &machine(255), Family::V4, 36, &[]);
    lab.settle(&THREE);
    // The owner has room; or it has none, and then the bytes go to the peer with room.
    for (owner, begins) in [(36, 0..=36), (146, 37..=146)] {
        let file = file_of(&lab, owner, |first| begins.contains(&first));
        let before = traffic(&lab);
        let begun = Instant::now();
        let said = lab.ask(36, &format!("Store --timeout 5 '{}'", file.display())).error();
        let moved = traffic(&lab) - before;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}: {said}", begun.elapsed());
        assert!(said.contains("1 of 2 copies"), "{said}");
        for full in [146, 255] {
            assert!(said.contains(&format!("peer {full} (no room for {LENGTH} bytes; ")), "{said}");
        }
        // The bytes go from peer 36 to the owner and back, unless peer 36 is the owner. Each cable is counted at both
        // ends.
        let most = if owner == 36 { 1 << 20 } else { 5 * LENGTH };
        assert!(moved < most, "owner {owner}: {moved} bytes");
    }
    lab.settle(&THREE);
    let before = traffic(&lab);
    std::thread::sleep(IDLE);
    let moved = traffic(&lab) - before;
    // Room for pings and offers; one try to make a copy would take ten times as many bytes.
    assert!(moved < LENGTH / 10, "{moved} bytes while idle");
    for number in THREE {
        for full in [146, 255] {
            let line = format!("2 files (114.4 MiB) have no copy on {full}: no room (");
            lab.eventually_says(number, "Status", &line);
        }
        assert!(!lab.ask(number, "Status").out.contains("all files of the ring have their copies"));
    }
    lab.resize_disk(146, "300m");
    for number in THREE {
        lab.eventually_says(number, "Status", "2 files (114.4 MiB) have no copy on 255: no room (");
        crate::eventually::eventually("146 has them", || {
            let status = lab.ask(number, "Status").out;
            if status.contains("no copy on 146") { Err(status) } else { Ok(()) }
        });
    }
}

/// A file that belongs to a peer by the first byte of its content id.
fn file_of(lab: &Lab, owner: u8, belongs: impl Fn(u8) -> bool) -> PathBuf {
    let path = lab.scratch().join(format!("large-{owner}"));
    for i in 0.. {
        // A sparse file is quick to make and to hash.
        let file = std::fs::File::create(&path).unwrap();
        file.write_all_at(format!("{owner} {i}").as_bytes(), 0).unwrap();
        file.set_len(LENGTH).unwrap();
        if belongs(Sha256::digest(std::fs::read(&path).unwrap())[0]) {
            return path;
        }
    }
    unreachable!("one in seven belongs there");
}

fn traffic(lab: &Lab) -> u64 {
    THREE.iter().map(|number| lab.traffic(&machine(*number))).sum()
}

fn machine(number: u8) -> String {
    format!("m{number}")
}

/// Longer than the room on the small disks.
const LENGTH: u64 = 60_000_000;
/// Time for at least one round of repair of each peer. The fault made a copy every few seconds.
const IDLE: Duration = Duration::from_secs(45);
