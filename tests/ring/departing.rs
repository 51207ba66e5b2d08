//! Peers that are killed, alone or together, or leave one after the other, and come back.

use super::harness::{LISTS, Ring, SEVEN};
use super::samples::{Sample, check_disk, several};
use crate::eventually::eventually;

/// Goal: one death, then two adjacent ones at once, are repaired; every file stays and gets its copies back.
#[test]
fn one_and_then_two_adjacent_ones_are_killed() {
    for successors in LISTS {
        let mut ring = Ring::of(successors, &SEVEN);
        let samples = several(&ring);
        samples.iter().for_each(|sample| drop(sample.store(&ring, 146, "--wait all")));
        for killed in [&[109][..], &[182, 219]] {
            ring.kill(killed);
            ring.settle();
            samples.iter().for_each(|sample| three_copies_again(&ring, sample));
        }
        for number in ring.numbers() {
            samples.iter().for_each(|sample| drop(sample.request(&ring, number)));
            check_disk(&ring, number);
        }
    }
}

/// Goal: a peer that quits hands everything over first; the last peer says which files are gone with it.
#[test]
fn all_quit_one_after_the_other() {
    for successors in LISTS {
        let mut ring = Ring::of(successors, &SEVEN);
        let samples = several(&ring);
        samples.iter().for_each(|sample| drop(sample.store(&ring, 36, "")));
        for number in [146, 182, 36, 255, 73, 109] {
            let (code, answer) = ring.quit(number);
            assert_eq!(code, Some(0), "peer {number}: {answer:?}");
            assert!(answer.out.starts_with("Left the ring"), "{}", answer.out);
            ring.settle();
            for other in ring.numbers() {
                let said = ring.peer(other).all().err;
                assert!(!said.contains("is no longer alive"), "peer {other}:\n{said}");
                // A peer that lacks copies would fetch them for a request, so only the last peers request all files.
                let few = if ring.numbers().len() > 2 { 1 } else { samples.len() };
                samples[..few].iter().for_each(|sample| drop(sample.request(&ring, other)));
            }
        }
        check_disk(&ring, 219);
        let (code, answer) = ring.quit(219);
        assert_eq!(code, Some(0), "{answer:?}");
        assert!(answer.out.contains("This was the last peer: 9 files cannot be reached"), "{}", answer.out);
        assert!(answer.out.contains("quoit run --data-dir"), "{}", answer.out);
        samples.iter().for_each(|sample| assert!(answer.out.contains(&sample.name), "{}", answer.out));
    }
}

/// Reported: with two of four machines off, leaving said that nothing had to be copied, and left one copy of each file.
/// Goal: it says what would remain, and stays, unless it is forced.
#[test]
fn a_peer_that_would_leave_too_few_copies_stays() {
    let mut ring = Ring::of(8, &[36, 109, 182, 255]);
    let samples = several(&ring);
    samples.iter().for_each(|sample| drop(sample.store(&ring, 36, "--wait all")));
    ring.kill(&[182, 255]);
    ring.settle();
    for sample in &samples {
        eventually("both have it", || sample.on_disk(&ring).len() >= 2);
    }
    let said = format!("only ONE copy of {} files and ", samples.len());
    for line in ["Leave --dry-run", "Leave", "Quit"] {
        let refused = ring.ask(36, line).error();
        assert!(
            refused.contains(&said) && refused.contains("would remain, on 109; this peer stays"),
            "{refused}"
        );
        assert!(refused.contains("--force"), "{refused}");
    }
    ring.settle();
    // The peer takes new files as before.
    samples[0].request(&ring, 36);
    let late = Sample::random(&ring.scratch(), "late", 99, 10_000);
    late.store(&ring, 36, "");
    ring.peer(36).type_in("Quit --force\n");
    let (code, answer) = ring.ended_by_itself(36);
    assert_eq!(code, Some(0), "{answer:?}");
    samples.iter().chain([&late]).for_each(|sample| drop(sample.request(&ring, 109)));
}

/// Goal: a killed peer that starts again, by any command, has its identity and its files.
#[test]
fn a_killed_peer_starts_again() {
    for successors in LISTS {
        let mut ring = Ring::of(successors, &SEVEN);
        let samples = several(&ring);
        samples.iter().for_each(|sample| drop(sample.store(&ring, 73, "--wait all")));
        ring.kill(&[73]);
        ring.settle();
        ring.begin_run(73);
        ring.peer(73).wait_active();
        ring.settle();
        // At once, before any peer has noticed.
        ring.kill(&[182]);
        ring.init(182, 219, 255);
        ring.peer(182).wait_active();
        ring.settle();
        // A joined peer starts by the same command, though its contact has gone meanwhile.
        ring.join(90, 219);
        ring.settle();
        ring.kill(&[90, 219]);
        ring.settle();
        ring.begin_join(90, 219);
        ring.peer(90).wait_active();
        ring.settle();
        for number in [73, 182, 90] {
            let lives = lives_of(&ring, number);
            assert!(lives >= 2, "peer {number} has life {lives}");
            samples.iter().for_each(|sample| drop(sample.request(&ring, number)));
            check_disk(&ring, number);
        }
    }
}

/// Goal: killed together and started again together, in any order, they are the same ring with its files.
#[test]
fn all_are_killed_and_start_again() {
    for successors in LISTS {
        let mut ring = Ring::of(successors, &SEVEN);
        let samples = several(&ring);
        samples.iter().for_each(|sample| drop(sample.store(&ring, 255, "--wait all")));
        let name = ring_name(&ring);
        ring.kill(&SEVEN);
        for number in [219, 36, 146, 255] {
            ring.begin_run(number);
        }
        // The others start by the command that they began with.
        for (number, first, second) in [(73, 109, 146), (109, 146, 182), (182, 219, 255)] {
            ring.init(number, first, second);
        }
        SEVEN.iter().for_each(|number| ring.peer(*number).wait_active());
        ring.settle();
        assert_eq!(ring_name(&ring), name);
        for number in SEVEN {
            samples.iter().for_each(|sample| drop(sample.request(&ring, number)));
            check_disk(&ring, number);
        }
    }
}

/// Waits until three living peers have the file on disk, and every peer knows them.
fn three_copies_again(ring: &Ring, sample: &Sample) {
    eventually(&format!("three copies of {}", sample.name), || sample.on_disk(ring).len() >= 3);
    let at = ring.numbers()[0];
    eventually(&format!("three holders of {}", sample.name), || {
        let holders = sample.holders(ring, at);
        holders.len() >= 3 && holders.iter().all(|holder| ring.numbers().contains(holder))
    });
}

/// The incarnation of a peer, as `Ring` shows it.
fn lives_of(ring: &Ring, number: u8) -> u64 {
    let text = ring.ask(number, "Ring").done();
    let line = text.lines().find(|line| line.ends_with("you")).expect(&text);
    // PEER ADDRESS SHARE % LIFE STATE you
    line.split_whitespace().nth(4).and_then(|life| life.parse().ok()).expect(line)
}

fn ring_name(ring: &Ring) -> String {
    let text = ring.ask(255, "Status").done();
    text.lines().next().and_then(|line| line.split_whitespace().nth(4)).expect(&text).to_owned()
}
