//! Lines of 256 kbit/s to 8 Mbit/s with long queues, while files move over them.
//!
//! Reported: such a peer was declared dead and alive again without end, stores that had fast replicas failed, a joiner
//! never got a byte that it kept, repair of others waited for it, and a peer left with the only copy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::lab::{Family, Lab, Stored, seeds_owned_by, sha256};
use crate::eventually::{eventually, eventually_within};

/// Goal: bytes on their way to a slow peer do not hold up its pings: no peer is declared dead, and the copy is made.
#[test]
#[ignore = "needs --all, namespaces"]
fn a_slow_line_is_not_a_dead_peer() {
    for (rate, queue) in [("1mbit", "300kb"), ("8mbit", "1mb")] {
        let mut lab = Lab::new();
        ring(&mut lab, &[10, 80, 150, 220]);
        lab.slow("m220", rate, queue);
        // At least four of the five files have a replica behind the slow line.
        let files: Vec<_> = (0..5).map(|seed| lab.store(10, seed, 1 << 20)).collect();
        let begun = Instant::now();
        eventually_within(LONG, "all copies", || all_fine(&lab, 10));
        eprintln!(
            "{rate}, queue {queue}: all copies {:.1} s after the last store",
            begun.elapsed().as_secs_f64()
        );
        files.iter().for_each(|file| lab.request(220, file));
        for number in [10, 80, 150, 220] {
            let said = lab.all_said(number);
            assert!(!said.contains("is no longer alive"), "{rate}: peer {number}:\n{said}");
        }
    }
}

/// Goal: a store is acknowledged in the time of a fast line, although the slow replica stands before the fast one in
/// the chain.
#[test]
#[ignore = "needs --all, namespaces"]
fn a_chain_does_not_wait_for_a_slow_replica() {
    const PEERS: [u8; 4] = [10, 80, 150, 220];
    const LENGTH: usize = 8 << 20;
    let mut lab = Lab::new();
    ring(&mut lab, &PEERS);
    lab.slow("m80", "1mbit", "300kb");
    // The owner is fast, and gives to 80, which would give to 150. 8 MiB take 67 s at 80.
    let mut took = Vec::new();
    for seed in seeds_owned_by(10, &PEERS, LENGTH).take(3) {
        let begun = Instant::now();
        lab.store(10, seed, LENGTH);
        took.push(begun.elapsed());
    }
    eprintln!("three stores of 8 MiB whose second replica is behind 1 Mbit/s: {took:.1?}");
    assert!(took.iter().all(|took| *took < Duration::from_secs(20)), "{took:?}");
}

/// Goal: a joiner behind any line that moves bytes gets all its files.
#[test]
#[ignore = "needs --all, namespaces"]
fn a_joiner_behind_a_slow_line_gets_everything() {
    let mut lab = Lab::new();
    lab.machine("m10");
    lab.machine("m150");
    lab.found(10, "m10", Family::V4, &[]);
    let files: Vec<_> = (0..8).map(|seed| lab.store(10, seed, 512 << 10)).collect();
    lab.slow("m150", "512kbit", "300kb");
    let begun = Instant::now();
    lab.join(150, "m150", Family::V4, 10, &[]);
    eventually_within(LONG, "eight files came", || {
        let here = lab.objects_of(150).len();
        (here == files.len()).then_some(()).ok_or(format!("{here} of {}", files.len()))
    });
    eprintln!("8 files of 512 KiB over 512 kbit/s: {:.0} s", begun.elapsed().as_secs_f64());
    for number in [10, 150] {
        assert!(!lab.all_said(number).contains("is no longer alive"), "{}", lab.all_said(number));
    }
}

/// Goal: repair makes copies at fast peers in the time of a fast line, whatever a slow peer does meanwhile. When a
/// second peer dies 45 s after the first, no file is down to one copy, and soon each fast peer has its files.
#[test]
#[ignore = "needs --all, namespaces"]
fn repair_does_not_wait_for_a_slow_peer() {
    let mut lab = Lab::new();
    let (slow, mut peers) = (146, vec![36, 73, 109, 146, 182, 219, 255]);
    ring(&mut lab, &peers);
    let files: Vec<_> = (0..400).map(|seed| lab.store(36, seed, 300_000)).collect();
    eventually("all copies", || all_fine(&lab, 36));
    lab.slow("m146", "256kbit", "300kb");
    for dies in [219, 255] {
        let killed = Instant::now();
        lab.kill(dies);
        peers.retain(|peer| *peer != dies);
        eventually_within(Duration::from_secs(45), "the fast peers have what belongs to them", || {
            let lacking = lacking(&lab, &files, &peers, slow);
            if lacking == 0 { Ok(()) } else { Err(format!("{lacking} copies are missing")) }
        });
        eprintln!("the copies of {dies} were back at fast peers {:.1?} after its end", killed.elapsed());
    }
}

/// Goal: a departure over a slow line waits for its copies, and loses no file.
#[test]
#[ignore = "needs --all, namespaces"]
fn the_only_copy_leaves_over_a_slow_line() {
    let mut lab = Lab::new();
    lab.machine("m10");
    lab.machine("m150");
    lab.found(10, "m10", Family::V4, &[]);
    let file = lab.store(10, 1, 40 << 20);
    lab.slow("m10", "8mbit", "1mb");
    lab.join(150, "m150", Family::V4, 10, &[]);
    let begun = Instant::now();
    let (code, said) = lab.quit_within(10, LONG);
    eprintln!("left with 40 MiB over 8 Mbit/s: {:.0} s", begun.elapsed().as_secs_f64());
    assert_eq!(code, Some(0), "{said}");
    assert!(begun.elapsed() > Duration::from_secs(30), "it went before the bytes could have");
    lab.settle(&[150]);
    lab.request(150, &file);
}

/// Goal: two neighbours leave over slow lines, and a third peer is killed meanwhile: no file is lost.
#[test]
#[ignore = "needs --all, namespaces"]
fn two_leave_over_slow_lines_and_one_is_killed() {
    let mut lab = Lab::new();
    let numbers = [20, 60, 100, 140, 180, 220];
    ring(&mut lab, &numbers);
    let files: Vec<_> = (0..12).map(|seed| lab.store(20, seed, 500_000)).collect();
    eventually("all copies", || all_fine(&lab, 20));
    lab.slow("m100", "2mbit", "300kb");
    lab.slow("m140", "2mbit", "300kb");
    lab.begin_quit(100);
    lab.begin_quit(140);
    lab.kill(180);
    for number in [100, 140] {
        let (code, said) = lab.ended_within(number, LONG);
        assert_eq!(code, Some(0), "peer {number}: {said}");
    }
    lab.settle(&[20, 60, 220]);
    for number in [20, 60, 220] {
        files.iter().for_each(|file| lab.request(number, file));
    }
}

/// Goal: `cat` works over any line that moves bytes, at a peer that can keep none of them. A chunk takes more than a
/// minute, and the peer gives no byte of it before it has checked the whole chunk.
#[test]
#[ignore = "needs --all, namespaces"]
fn a_peer_without_room_reads_over_a_slow_line() {
    let mut lab = Lab::new();
    lab.on_a_disk_of(150, "40m");
    // Two packets of this line take longer than four pings a second leave.
    lab.interval = "1";
    ring(&mut lab, &[10, 80, 150]);
    lab.fill_disk(150);
    let file = lab.store(10, 1, (1 << 20) + 100_000);
    lab.slow("m150", "128kbit", "300kb");
    let begun = Instant::now();
    let said = lab.shell(150, &["cat", &file.name]).output().unwrap();
    let (took, err) = (begun.elapsed(), String::from_utf8_lossy(&said.stderr));
    eprintln!("1.1 MiB over 128 kbit/s, not kept: {:.0} s", took.as_secs_f64());
    assert!(said.status.success(), "{err}");
    assert_eq!(sha256(&said.stdout), file.sha256);
    assert!(took > Duration::from_secs(60), "{took:?}: it was kept, or the line is not slow");
    assert!(!lab.objects_of(150).contains(&file.sha256), "there is no room for it");
}

/// Goal: a store joins a transfer of the same file that repair, or an earlier store, is making to the same peer. Its
/// timeout counts only while no bytes move.
#[test]
#[ignore = "needs --all, namespaces"]
fn a_store_again_joins_the_transfer_of_an_interrupted_one() {
    const LENGTH: usize = 4 << 20;
    let mut lab = Lab::new();
    ring(&mut lab, &[10, 150]);
    lab.slow("m150", "2mbit", "300kb");
    let seed = seeds_owned_by(10, &[10, 150], LENGTH).next().unwrap();
    let (path, sha256) = lab.write(seed, LENGTH);
    let path = path.display().to_string();
    let mut first = lab.shell(10, &["store", &path]).spawn().unwrap();
    eventually("the copy at 10", || {
        if lab.objects_of(10).contains(&sha256) { Ok(()) } else { Err("not there".to_owned()) }
    });
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(!lab.objects_of(150).contains(&sha256), "the first store is to be interrupted");
    let begun = Instant::now();
    let said = lab.ask(10, &format!("Store --timeout 5 '{path}'")).done();
    eprintln!(
        "4 MiB to 150 over 2 Mbit/s, after an interrupted store: {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(said.contains(&sha256) && said.contains("2 of 2 copies"), "{said}");
    assert!(lab.objects_of(150).contains(&sha256));
}

/// Machines `mN` with one peer N each, all active.
fn ring(lab: &mut Lab, numbers: &[u8]) {
    for number in numbers {
        lab.machine(&format!("m{number}"));
    }
    lab.found(numbers[0], &format!("m{}", numbers[0]), Family::V4, &[]);
    for number in &numbers[1..] {
        lab.join(*number, &format!("m{number}"), Family::V4, numbers[0], &[]);
    }
    lab.settle(numbers);
}

fn all_fine(lab: &Lab, number: u8) -> Result<(), String> {
    let status = lab.ask(number, "Status").out;
    if status.contains("all files of the ring have their copies") { Ok(()) } else { Err(status) }
}

/// The number of copies of these files that are missing at the peers that should have them, except the slow one.
fn lacking(lab: &Lab, files: &[Stored], peers: &[u8], slow: u8) -> usize {
    let held: BTreeMap<u8, BTreeSet<String>> =
        peers.iter().map(|peer| (*peer, lab.objects_of(*peer).into_iter().collect())).collect();
    let missing = files.iter().map(|file| {
        let replicas = file.replicas(peers);
        replicas.iter().filter(|peer| **peer != slow && !held[peer].contains(&file.sha256)).count()
    });
    missing.sum()
}

/// More time than any of these lines needs for its bytes.
const LONG: Duration = Duration::from_secs(280);
