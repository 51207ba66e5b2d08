//! The figures of `Status` on the files of the ring when peers die and come back.

use std::collections::BTreeSet;

use super::harness::{LISTS, Ring, SEVEN};
use super::samples::Sample;
use crate::eventually::eventually;

/// The line of a ring in which nothing is missing.
const ALL_FINE: &str = "  copies       all files of the ring have their copies";

/// Goal: `status` at every peer says in one line how many files are short and which peers are away. The exit code is 3,
/// or 2 if files are at risk. The names are listed only on request, and the line is gone once the copies are there
/// again.
#[test]
fn short_files_are_named_until_their_copies_are_back() {
    let mut ring = Ring::of(8, &[36, 109, 219]);
    let samples = ["a.bin", "b.bin"].map(|name| Sample::random(&ring.scratch(), name, 1, 40_000));
    // The same bytes under two names are one file.
    samples.iter().for_each(|sample| drop(sample.store(&ring, 36, "--wait all")));
    [36, 109, 219].into_iter().for_each(|number| says(&ring, number, &[ALL_FINE]));
    ring.kill(&[219]);
    for number in [36, 109] {
        let line = "  short        1 file has 2 of 3 copies: 219 is away";
        says(&ring, number, &[line, "    a.bin, b.bin: 2 of 3 copies: ", "; 219 away", "  away         219"]);
        let said = ring.said(number, &["status"]);
        assert_eq!(said.code, Some(3), "{said:?}");
        let text = String::from_utf8_lossy(&said.out);
        assert!(text.contains(line) && !text.contains("a.bin"), "one line, without names: {text}");
        assert!(!status(&ring, number).contains("  at risk"), "two acknowledge");
    }
    ring.kill(&[109]);
    let line = "  short        1 file has 1 of 3 copies: 109 and 219 are away";
    says(
        &ring,
        36,
        &[
            line,
            "    a.bin, b.bin: 1 of 3 copies: 36; ",
            "109 away",
            "219 away",
            "  at risk      1 file has fewer copies than",
        ],
    );
    assert_eq!(ring.said(36, &["status"]).code, Some(2));
    ring.begin_run(109);
    ring.begin_run(219);
    [36, 109, 219].into_iter().for_each(|number| says(&ring, number, &[ALL_FINE]));
    [36, 109, 219].into_iter().for_each(|number| drop(ring.said(number, &["status"]).done()));
}

/// Goal: after a death the copies are made again elsewhere, and the numbers follow.
#[test]
fn after_a_repair_nothing_is_short() {
    for successors in LISTS {
        let mut ring = Ring::of(successors, &SEVEN);
        for (i, number) in SEVEN.into_iter().enumerate() {
            let sample = Sample::random(&ring.scratch(), &format!("f{i}"), i as u64, 20_000);
            sample.store(&ring, number, "--wait all");
        }
        ring.kill(&[109, 146]);
        ring.settle();
        for number in ring.numbers() {
            says(&ring, number, &[ALL_FINE, "  away         109 and 146"]);
        }
    }
}

/// Goal: the keepers of a name report its file if no answering peer has the bytes.
#[test]
fn a_file_without_any_copy_is_told() {
    let mut ring = Ring::of(8, &SEVEN);
    // A file whose name is kept by a peer without its bytes.
    let (sample, holders) = (0..50)
        .find_map(|seed| {
            let sample = Sample::random(&ring.scratch(), &format!("f{seed}"), seed, 1_000);
            sample.store(&ring, 36, "--wait all");
            let holders: BTreeSet<u8> = sample.on_disk(&ring);
            let whereis = ring.ask(36, &format!("Whereis {}", sample.name)).done();
            let (_, record) = whereis.split_once("record on ")?;
            let record = record.lines().next()?.replace(" and ", ", ");
            let elsewhere = record.split(", ").any(|number| !holders.contains(&number.parse().unwrap()));
            elsewhere.then_some((sample, holders))
        })
        .expect("names and bytes have other owners");
    ring.wait_taken_over();
    let dead: Vec<u8> = holders.into_iter().collect();
    ring.kill(&dead);
    ring.settle();
    let told = format!("{}: 0 of 3 copies; ", sample.name);
    ring.numbers().into_iter().for_each(|number| says(&ring, number, &[&told, "  at risk"]));
    dead.iter().for_each(|number| ring.begin_run(*number));
    ring.numbers().into_iter().for_each(|number| says(&ring, number, &[ALL_FINE]));
}

fn status(ring: &Ring, number: u8) -> String {
    ring.ask(number, "Status --verbose").done()
}

/// Waits until a peer's status has all these texts.
#[track_caller]
fn says(ring: &Ring, number: u8, texts: &[&str]) {
    eventually(&format!("peer {number} says {texts:?}"), || {
        let said = status(ring, number);
        if texts.iter().all(|text| said.contains(text)) { Ok(()) } else { Err(said) }
    });
}
