//! The record of a name: its versions, its absence, and how many copies a store waits for.

use std::time::{Duration, Instant};

use super::harness::{LISTS, Ring, SEVEN};
use super::samples::{Sample, check_disk};
use crate::eventually::eventually;

/// Goal: the same name with other bytes is its next version, everywhere; the same bytes again move nothing.
#[test]
fn a_name_gets_a_new_version() {
    for successors in LISTS {
        let ring = Ring::of(successors, &SEVEN);
        let (one, two) = (ring.scratch().join("1"), ring.scratch().join("2"));
        [&one, &two].iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
        let first = Sample::random(&one, "report.bin", 1, 3 << 20);
        let second = Sample::random(&two, "report.bin", 2, 40_000);
        let text = first.store(&ring, 36, "--wait all");
        assert!(!text.contains("version"), "{text}");
        SEVEN[..4].iter().for_each(|number| drop(first.request(&ring, *number)));
        let text = second.store(&ring, 182, "--wait all");
        assert!(text.contains(&format!("  version 2, replaces sha256:{}", first.sha256)), "{text}");
        for number in SEVEN {
            let text = second.request(&ring, number);
            assert!(text.starts_with("Received report.bin, version 2 ("), "{text}");
        }
        // The first content is still there by its address.
        let old = ring.ask(255, &format!("Request sha256:{}", first.sha256)).done();
        assert!(old.contains(&first.sha256), "{old}");
        SEVEN.iter().for_each(|number| check_disk(&ring, *number));
    }
}

/// Goal: bytes that are there already are not moved again.
#[test]
fn the_same_bytes_again_move_nothing() {
    let ring = Ring::of(8, &SEVEN);
    let sample = Sample::random(&ring.scratch(), "large", 3, 48 << 20);
    sample.store(&ring, 36, "--wait all");
    eventually("three told copies", || copies_told(&ring) == 3);
    let text = sample.store(&ring, 36, "--wait all");
    assert!(text.contains("3 of 3 copies"), "{text}");
    let text = ring.ask(219, &format!("Store --as other --wait all '{}'", sample.path.display())).done();
    assert!(text.contains("3 of 3 copies"), "{text}");
    for number in SEVEN {
        sample.request(&ring, number);
        ring.ask(number, "Request other").done();
    }
    assert_eq!(copies_told(&ring), 3);
}

/// Goal: two writers at once end with one winner at every peer, and both contents are kept.
#[test]
fn two_write_one_name_at_once() {
    for successors in LISTS {
        let ring = Ring::of(successors, &SEVEN);
        let (one, two) = (ring.scratch().join("1"), ring.scratch().join("2"));
        [&one, &two].iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
        for round in 0..5 {
            let name = format!("contested {round}");
            let samples = [
                Sample::random(&one, &name, 10 + round, 50_000),
                Sample::random(&two, &name, 20 + round, 50_000),
            ];
            let at = [36, 182];
            let line = |i: usize| format!("Store --wait all '{}'", samples[i].path.display());
            let (first, second) = (ring.peer(at[0]).begin(&line(0)), ring.peer(at[1]).begin(&line(1)));
            let told = [first.answer().done(), second.answer().done()];
            let winner = samples.iter().find(|sample| {
                let text = ring.ask(255, &format!("Whereis '{name}'")).done();
                text.contains(&sample.sha256)
            });
            let winner = winner.unwrap_or_else(|| panic!("neither: {told:?}"));
            SEVEN.iter().for_each(|number| drop(winner.request(&ring, *number)));
            for sample in &samples {
                ring.ask(109, &format!("Request sha256:{}", sample.sha256)).done();
            }
        }
    }
}

/// Goal: the answers for an absent name and for a name that peers cannot tell differ.
#[test]
fn a_name_that_nobody_has() {
    for successors in LISTS {
        let mut ring = Ring::of(successors, &[50, 100, 150, 200, 250]);
        for number in ring.numbers() {
            // A peer that still takes over its part of the ring cannot say no.
            eventually("a no from all", || {
                let why = ring.ask(number, "Request 'no such thing'").error();
                why.starts_with("error: no file named no such thing in ring ")
            });
            let why = ring.ask(number, "Whereis nothing").error();
            assert!(why.starts_with("error: no file named nothing in ring "), "{why}");
        }
        let none = "0".repeat(64);
        let why = ring.ask(50, &format!("Request sha256:{none}")).error();
        assert!(why.contains("no peer of ring ") && why.contains(&none), "{why}");
        ring.kill(&[150, 200]);
        ring.settle();
        // All five are among the first 2R − 1 of every name.
        let why = ring.ask(50, "Request 'no such thing'").error();
        assert!(why.contains("cannot tell whether there is a file named no such thing"), "{why}");
        assert!(why.contains("150") && why.contains("200") && why.contains("do not answer"), "{why}");
    }
}

/// Goal: `--wait` counts durable copies, members that do not answer count as members, and the report names the missing
/// peers.
#[test]
fn store_waits_for_as_many_copies_as_asked() {
    let mut ring = Ring::of(8, &[60, 120, 240]);
    let sample = Sample::write(&ring.scratch(), "waited for", b"three copies");
    for wait in ["2", "3", "all"] {
        let text = sample.store(&ring, 60, &format!("--wait {wait}"));
        eventually("three copies", || sample.on_disk(&ring).len() == 3);
        assert!(wait == "2" || text.contains("3 of 3 copies"), "{text}");
    }
    for wait in ["1", "4"] {
        let why = ring.ask(60, &format!("Store --wait {wait} '{}'", sample.path.display())).error();
        assert!(why.contains("waits for 2 to 3 copies"), "{why}");
    }
    ring.kill(&[120]);
    ring.settle();
    let sample = Sample::write(&ring.scratch(), "not everywhere", b"two copies");
    let begun = Instant::now();
    let why = ring.ask(60, &format!("Store --wait all --timeout 3 '{}'", sample.path.display())).error();
    assert!(why.contains("2 of 3 copies after 3s; missing: peer 120 (does not answer)"), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let text = sample.store(&ring, 240, "--wait 2");
    assert!(text.contains("2 of 3 copies"), "{text}");
    sample.request(&ring, 60);
    ring.kill(&[240]);
    ring.settle();
    // One of three is no majority, whatever `--wait` says.
    let why = ring.ask(60, &format!("Store --timeout 2 '{}'", sample.path.display())).error();
    assert!(why.contains("1 of 2 copies") && why.contains("peer 120") && why.contains("peer 240"), "{why}");
}

/// The number of received copies that the peers have reported.
fn copies_told(ring: &Ring) -> usize {
    ring.numbers().iter().map(|number| ring.peer(*number).all().err.matches("A copy of ").count()).sum()
}
