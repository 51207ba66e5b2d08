//! Small exhaustive worlds: all orders of events in rings of a few peers, up to a depth (see
//! [`quoit::sim::explore`]). `QUOIT_EXPLORE_DEPTH` sets the depth of each search.

use std::time::Instant;

use quoit::chord::Rules;
use quoit::sim::explore::{Report, Setup, explore, replay};

/// Searches all of these to a depth, and prints what there was.
fn search(name: &str, setups: &[&str], depth: usize) -> Report {
    let set = std::env::var("QUOIT_EXPLORE_DEPTH").ok().and_then(|text| text.parse().ok());
    let mut all = Report::default();
    for text in setups {
        let began = Instant::now();
        let report = explore(&setup(text), set.unwrap_or(depth)).unwrap_or_else(|found| {
            panic!(
                "{name}, {text}: {found}\nQUOIT_EXPLORE='{text}: {}' cargo test --test explore replay -- --nocapture",
                found.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            )
        });
        print(text, &report, began);
        all.add(&report);
    }
    print(name, &all, Instant::now());
    all
}

fn print(name: &str, report: &Report, began: Instant) {
    println!(
        "{name}: depth {}, {} states {:?}, {} steps, {} small, {} rings, one each after {} turns, {:.1} s",
        report.depth(),
        report.total(),
        report.states,
        report.steps,
        report.small,
        report.rings,
        report.turns_max,
        began.elapsed().as_secs_f64()
    );
}

fn setup(text: &str) -> Setup {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Goal: with one successor each, up to five peers keep to the invariant in all orders of events. Method: joins into
/// one gap, into two, and beside an established peer.
#[test]
fn one_successor_up_to_five_peers() {
    search("r = 1, up to 5", &R1, 6);
    search("r = 1, up to 5, answers apart", &R1.map(apart).each_ref().map(String::as_str), 6);
}

/// Goal: with two successors each, up to six peers keep to the invariant in all orders of events, and end as one
/// ring. Method: all placements of two joiners in the gaps of a ring of four, and one in a ring of five.
#[test]
fn two_successors_up_to_six_peers() {
    search("r = 2, up to 6", &R2, 5);
    search("r = 2, up to 6, answers apart", &R2.map(apart).each_ref().map(String::as_str), 5);
}

/// Goal: the small ring's map keeps lists in order and ends as one ring with one owner for each key, whatever
/// order things happen in. Method: from one peer up to four.
#[test]
fn the_map_up_to_four_peers() {
    search("the map, up to 4", &MAP, 6);
    search("the map, up to 4, answers apart", &MAP.map(apart).each_ref().map(String::as_str), 6);
}

/// Goal: lists stay in order and one ring comes of it while a ring grows and shrinks through r + 2, which is outside
/// of the theorem.
#[test]
fn through_the_change_from_the_map() {
    search("through r + 2", &THROUGH, 5);
}

/// Goal: each correction is there for something. Method: with one switched off, the search finds a violation; the
/// searches that find none are the same as those above.
#[test]
fn rules_that_are_wrong_are_caught() {
    let right = Rules::default();
    let controls = [
        ("the original rules", R2[0], Rules::original()),
        ("join_checked_again", R2[0], Rules { join_checked_again: false, ..right }),
        ("join_in_one_step", R2[0], Rules { join_in_one_step: false, ..right }),
        ("list_in_one_step", R2[0], Rules { list_in_one_step: false, ..right }),
        ("candidate_asked_first", R2[0], Rules { candidate_asked_first: false, ..right }),
        ("predecessor_kept", R2[0], Rules { predecessor_kept: false, ..right }),
        ("small_ring_map", MAP[0], Rules { small_ring_map: false, ..right }),
    ];
    for (name, text, rules) in controls {
        match explore(&Setup { rules, ..setup(text) }, CONTROL_DEPTH) {
            Ok(_) => panic!("{name} was not caught in {CONTROL_DEPTH} steps"),
            Err(found) => println!("{name}: {found}"),
        }
    }
}

/// Shows `QUOIT_EXPLORE`, a setup and steps as a failure prints them.
#[test]
fn replay_of_a_failure() {
    let Ok(text) = std::env::var("QUOIT_EXPLORE") else { return };
    let (of, steps) = text.split_once(':').unwrap_or((&text, ""));
    println!("{}", replay(&setup(of), steps).unwrap_or_else(|why| panic!("{why}")));
}

fn apart(text: &str) -> String {
    format!("{text}, answers apart")
}

const R1: [&str; 3] = [
    "r 1, ring 32 96 160, joiners 40 48",
    "r 1, ring 32 96 160, joiners 40 104",
    "r 1, ring 32 96 160 224, joiners 40",
];
const R2: [&str; 4] = [
    "r 2, ring 32 96 160 224, joiners 40 48",
    "r 2, ring 32 96 160 224, joiners 40 104",
    "r 2, ring 32 96 160 224, joiners 40 168",
    "r 2, ring 32 80 128 176 224, joiners 40",
];
const MAP: [&str; 1] = ["r 3, ring 32, joiners 96 160 224"];
const THROUGH: [&str; 3] = [
    "r 2, ring 32, joiners 96 160 224",
    "r 2, ring 32 96 160, joiners 40 48",
    "r 2, ring 32 96 160, joiners 40 104",
];
const CONTROL_DEPTH: usize = 5;
