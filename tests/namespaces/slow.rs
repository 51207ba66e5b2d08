//! Lines of 256 kbit/s to 8 Mbit/s with long queues, while files move over them.
//!
//! Reported: such a peer was declared dead and alive again without end, stores that had fast replicas failed, a joiner
//! never got a byte that it kept, repair of others waited for it, and a peer left with the only copy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::harness::{eventually, eventually_within};
use super::lab::{Family, Lab};

/// Goal: bytes on their way to a slow peer keep no ping from it: nobody declares anybody dead, and the copy is made.
#[test]
fn a_slow_line_is_not_a_dead_peer() {
    for (rate, queue) in [("1mbit", "300kb"), ("8mbit", "1mb")] {
        let Some(mut lab) = Lab::new("a_slow_line_is_not_a_dead_peer") else { return };
        ring(&mut lab, &[10, 80, 150, 220]);
        lab.slow("m220", rate, queue);
        // Each has a replica behind the slow line, or four of the five.
        let files: Vec<_> = (0..5).map(|seed| lab.store(10, seed, 1 << 20)).collect();
        let begun = std::time::Instant::now();
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

/// Goal: a store is acknowledged by its fast replicas in a fast line's time; nothing is said to be missing of nobody.
#[test]
fn a_chain_does_not_wait_for_a_slow_replica() {
    let Some(mut lab) = Lab::new("a_chain_does_not_wait_for_a_slow_replica") else { return };
    ring(&mut lab, &[10, 80, 150, 220]);
    lab.slow("m80", "1mbit", "300kb");
    // One whose owner is fast, and whose chain goes through the slow one.
    let begun = std::time::Instant::now();
    let mut took = BTreeMap::new();
    for seed in 0..6 {
        let begun = std::time::Instant::now();
        lab.store(10, seed, 8 << 20);
        took.insert(seed, begun.elapsed());
    }
    eprintln!("six stores of 8 MiB beside a line of 1 Mbit/s: {took:?} in {:?}", begun.elapsed());
    // 8 MiB take 67 s there. Where the slow one is the owner itself, its copy is waited for.
    let fast = took.values().filter(|took| **took < Duration::from_secs(20)).count();
    assert!(fast >= 2, "{took:?}");
}

/// Goal: any line that moves bytes brings a joiner everything.
#[test]
fn a_joiner_behind_a_slow_line_gets_everything() {
    let Some(mut lab) = Lab::new("a_joiner_behind_a_slow_line_gets_everything") else { return };
    lab.machine("m10");
    lab.machine("m150");
    lab.found(10, "m10", Family::V4, &[]);
    let files: Vec<_> = (0..8).map(|seed| lab.store(10, seed, 512 << 10)).collect();
    lab.slow("m150", "512kbit", "300kb");
    let begun = std::time::Instant::now();
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

/// Goal: copies at fast peers come back in a fast line's time, whatever a slow one does meanwhile.
#[test]
fn repair_does_not_wait_for_a_slow_peer() {
    let Some(mut lab) = Lab::new("repair_does_not_wait_for_a_slow_peer") else { return };
    let numbers = [36, 73, 109, 146, 182, 219, 255];
    ring(&mut lab, &numbers);
    let scratch: Vec<_> = (0..105).map(|seed| lab.store(36, seed, 300_000)).collect();
    eventually("all copies", || all_fine(&lab, 36));
    lab.slow("m146", "256kbit", "300kb");
    lab.kill(219);
    let begun = std::time::Instant::now();
    // Two copies beside the slow one: a second death loses nothing.
    let fast = [36, 73, 109, 182, 255];
    eventually_within(Duration::from_secs(150), "two copies at fast peers", || {
        let few = scratch.len() - with_copies(&lab, &fast, 2);
        (few == 0).then_some(()).ok_or(format!("{few} files have fewer"))
    });
    eprintln!("105 files of 300 kB beside a line of 256 kbit/s: {:.0} s", begun.elapsed().as_secs_f64());
}

/// Goal: a departure over a slow line takes as long as it takes, and loses nothing.
#[test]
fn the_only_copy_leaves_over_a_slow_line() {
    let Some(mut lab) = Lab::new("the_only_copy_leaves_over_a_slow_line") else { return };
    lab.machine("m10");
    lab.machine("m150");
    lab.found(10, "m10", Family::V4, &[]);
    let file = lab.store(10, 1, 40 << 20);
    lab.slow("m10", "8mbit", "1mb");
    lab.join(150, "m150", Family::V4, 10, &[]);
    let begun = std::time::Instant::now();
    let (code, said) = lab.quit_within(10, LONG);
    eprintln!("left with 40 MiB over 8 Mbit/s: {:.0} s", begun.elapsed().as_secs_f64());
    assert_eq!(code, Some(0), "{said}");
    assert!(begun.elapsed() > Duration::from_secs(30), "it went before the bytes could have");
    lab.settle(&[150]);
    lab.request(150, &file);
}

/// Goal: two that leave side by side over slow lines, and one that is killed meanwhile: every file stays.
#[test]
fn two_leave_over_slow_lines_and_one_is_killed() {
    let Some(mut lab) = Lab::new("two_leave_over_slow_lines_and_one_is_killed") else { return };
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

/// How many objects have so many copies on the disks of these peers.
fn with_copies(lab: &Lab, numbers: &[u8], wanted: usize) -> usize {
    let mut copies: BTreeMap<String, BTreeSet<u8>> = BTreeMap::new();
    for number in numbers {
        for object in lab.objects_of(*number) {
            copies.entry(object).or_default().insert(*number);
        }
    }
    copies.values().filter(|holders| holders.len() >= wanted).count()
}

/// Beyond what any of these lines needs for what goes over it.
const LONG: Duration = Duration::from_secs(280);
