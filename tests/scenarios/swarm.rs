//! Plans of faults, all drawn from seeds: after any combination of faults, the ring is one again.
//!
//! A failing plan is printed with its seed, the shortest part of it that still fails, and the command that replays it.

use std::collections::BTreeSet;

use quoit::id::sha256;
use quoit::sim::plan::{Fault, Plan};
use quoit::sim::seeds;

use super::catches::{TakeAway, each_is_caught};

/// The number of faults in a plan.
const SIZE: usize = 30;
/// The most plans until one without a law must have failed.
const PLANS_MAX: u64 = 100;

/// Goal: safety while the theorem covers the faults, liveness always.
#[test]
fn any_plan_ends_in_one_ring() {
    for seed in seeds(0..150) {
        demand(&Plan::draw(seed, SIZE), seed);
    }
}

/// Goal: the same for many plans of two or three faults, which shows how these interact.
#[test]
fn short_plans() {
    for seed in seeds(0..400) {
        demand(&Plan::draw(seed, 2 + seed as usize % 6), seed);
    }
}

/// Goal: after any faults of the ring, its disks and its clocks, and whatever users ask of it (stores, requests, removals,
/// versions made current again, pins, drops, evictions, a member forgotten or revoked), each acknowledged file that a
/// name refers to has all its copies in the end, each name one winner, each pin its copy; no removed name is back.
#[test]
fn any_plan_with_files_ends_with_all_of_them() {
    for seed in seeds(0..60) {
        demand(&with_files(seed), seed);
    }
}

fn with_files(seed: u64) -> Plan {
    Plan::draw_with_files(seed, 4 + seed as usize % 27)
}

/// The laws of what users ask, each with the switch that takes it away. (That of a restored version needs the right moment,
/// and has a game of its own in `files/leases.rs`.)
const CONTROLS: [(&str, TakeAway); 4] = [
    ("drops are granted", |laws| laws.drops_are_granted = false),
    ("pins are kept", |laws| laws.pins_kept = false),
    ("removals are kept", |laws| laws.removals_kept = false),
    ("versions are leased", |laws| laws.versions_leased = false),
];

/// Goal: if any one of these laws is off, some plan ends in a failure that names it. The first such plan is enough;
/// `QUOIT_COUNT=1` counts all of them.
#[test]
fn without_a_law_some_plan_fails() {
    each_is_caught(&CONTROLS, PLANS_MAX, |seed, laws| {
        let plan = with_files(seed);
        let mut world = plan.world(seed);
        if !world.has_files() {
            return Ok(());
        }
        world.set_laws(laws);
        plan.play(&mut world, &mut |_, _| Ok(())).map_err(|why| why.to_string())
    });
}

/// Goal: the plans that once failed pass now.
#[test]
fn plans_that_once_failed() {
    for (seed, plan) in ONCE_FAILED {
        demand(&plan.parse().unwrap_or_else(|error| panic!("{error}")), *seed);
    }
}

/// Shows one plan: `QUOIT_SEED=7 QUOIT_PLAN='ring 5 r 2 drift 0; 3.000 crash 1' QUOIT_LOG_EVENTS=1`.
#[test]
#[ignore = "needs QUOIT_PLAN"]
fn replay() {
    let text = std::env::var("QUOIT_PLAN").unwrap();
    let plan: Plan = text.parse().unwrap_or_else(|error| panic!("{error}"));
    for seed in seeds(0..1) {
        let mut world = plan.world(seed);
        let outcome = plan.play(&mut world, &mut |_, _| Ok(()));
        println!("seed {seed}, {} steps: {outcome:?}", world.steps());
        if let Err(failure) = outcome {
            panic!("seed {seed}: {failure}");
        }
    }
}

/// Goal: a failing plan leads to the one fault that makes it fail.
/// Method: a check that is wrong on purpose: no peer may ever be stopped.
#[test]
fn a_failing_plan_shrinks_to_its_cause() {
    let fails = |plan: &Plan| {
        let mut check = |_: &_, fault: &Fault| match fault {
            Fault::Pause(peer) => Err(format!("{peer} is stopped")),
            _ => Ok(()),
        };
        plan.play(&mut plan.world(1), &mut check).is_err()
    };
    let plan = (0..).map(|seed| Plan::draw(seed, 40)).find(|plan| fails(plan)).unwrap();
    let shortest = plan.shortest(fails);
    assert_eq!(shortest.faults.len(), 1, "{shortest}");
    assert!(matches!(shortest.faults[0].fault, Fault::Pause(_)), "{shortest}");
    // A failure that needs two faults keeps both.
    let both = |plan: &Plan| {
        let has = |of: fn(&Fault) -> bool| plan.faults.iter().any(|timed| of(&timed.fault));
        has(|fault| matches!(fault, Fault::Crash(_))) && has(|fault| matches!(fault, Fault::Join(..)))
    };
    assert_eq!(plan.shortest(both).faults.len(), 2);
}

/// Goal: the same seed gives the same run, byte by byte; another seed gives another run.
#[test]
fn the_same_seed_gives_the_same_run() {
    let log = |seed| {
        let plan = Plan::draw(seed, SIZE);
        let mut world = plan.world(seed);
        world.record();
        let _ = plan.play(&mut world, &mut |_, _| Ok(()));
        world.log().join("\n")
    };
    let mut seen = BTreeSet::new();
    for seed in seeds(0..4) {
        let first = log(seed);
        assert!(first.len() > 10_000, "seed {seed}: {} bytes are no run", first.len());
        assert!(first == log(seed), "seed {seed} gives two runs");
        assert!(seen.insert(first), "seed {seed} gives the run of another one");
    }
}

/// Prints a SHA-256 of the event log of each of these seeds, and one of all. A restructuring must not change them.
/// `QUOIT_LOGS=200 cargo test --profile ci --test scenarios event_logs -- --include-ignored --nocapture`
#[test]
#[ignore = "needs QUOIT_LOGS"]
fn event_logs() {
    let count: u64 = std::env::var("QUOIT_LOGS").unwrap().parse().unwrap();
    let mut all = String::new();
    for seed in seeds(0..count) {
        // Every second plan has files.
        let plan = match seed % 2 {
            0 => Plan::draw(seed, SIZE),
            _ => with_files(seed),
        };
        let mut world = plan.world(seed);
        world.record();
        let outcome = plan.play(&mut world, &mut |_, _| Ok(()));
        let log = format!("{}\n{outcome:?}", world.log().join("\n"));
        let line = format!("seed {seed} {} bytes {}", log.len(), hex(&sha256(log.as_bytes())));
        println!("{line}");
        all.push_str(&line);
    }
    println!("all {}", hex(&sha256(all.as_bytes())));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn demand(plan: &Plan, seed: u64) {
    let Err(failure) = plan.run(seed) else { return };
    let shortest = plan.shortest(|plan| plan.run(seed).is_err());
    let why = shortest.run(seed).expect_err("the shortest one fails as well");
    panic!(
        "seed {seed}: {failure}\n{plan}\nshortest, which fails with: {why}\n{shortest}\n{}",
        shortest.replay(seed)
    );
}

/// Seeds, and the shortest plans that failed with them.
const ONCE_FAILED: &[(u64, &str)] = &[
    // Of two clocks the later one counts; it was set forward by more than a lease, and all files were freed.
    (127, "ring 2 r 8 drift 0; 77.855 store 0 at 0; 93.280 clock 1 by 3600"),
    // A peer with an old surplus copy became a keeper when the ring was split, and freed it, since nobody had renewed its
    // lease.
    (
        260,
        "ring 9 r 8 drift 0; 3.187 join 9 through 6; 16.531 fail-sync 4; 22.680 store 4 at 7; 52.117 evict at 0; \
         144.307 unpin 3 at 3; 152.264 restore 2@1 at 2; 181.086 store 0 at 5; \
         317.399 split 2 3 | 1 4 5 7 8 | 0 6 9; 334.628 resume 6",
    ),
    // A peer whose clock was an hour behind between two looks at its leases renewed one, and freed the object a second later.
    (
        587,
        "ring 4 r 2 drift 0; 12.365 pause 2; 42.391 evict at 0; 43.151 store 4 at 0; 69.767 clock 2 by -3600; \
         74.508 store 5 at 0; 76.722 request 4 at 2",
    ),
    // A leaver that was stopped, and asked whether it was still counted when it wanted to go, never went.
    (
        69,
        "ring 17 r 2 drift 50; 6.417 join 19 through 1; \
         9.564 split 0 1 3 6 13 | 4 7 8 11 14 16 17 18 19 | 2 5 9 10 12 15; 31.882 pause 5; 32.070 leave 5; \
         66.104 remove 3 at 8",
    ),
    // One peer alone believed another one dead, and never told it: it stood beside the ring.
    (
        28,
        "ring 21 r 3 drift 500; 6.941 clone 0; 7.089 split 0 1 2 4 5 6 7 9 10 11 12 13 14 16 18 19 20 | 3 8 15 17; \
         10.804 leave 5; 13.457 clone 0",
    ),
    // A process that had been fenced off came back in the very life of the one that had fenced it.
    (36, "ring 2 r 3 drift 0; 24.421 clone 1; 27.625 crash 0; 29.710 crash 1"),
    // A peer that had left contradicted the news that it had, again and again.
    (
        56,
        "ring 9 r 8 drift 0; 3.124 crash 6; 3.276 crash 2; 3.531 slow 3 by 20; 3.554 leave 0; \
         4.212 split 3 4 5 | 0 1 2 | 6 7 8; 7.276 split 1 3 4 5 | 0 2 6 7 8; 11.168 pause 8; 13.310 heal; \
         13.385 cut 1 to 3; 14.456 join 9 through 8; 15.362 clone 2; 16.845 join 10 through 0; \
         19.774 split 2 5 6 7 8 | 10 | 0 1 3 4 9; 21.686 pause 3; 27.719 join 11 through 3; 27.830 clone 4; \
         27.892 resume 3; 30.421 pause 0; 31.141 duplication 264; 32.278 holdups 473 of 3492; 36.234 crash 3; \
         37.591 join 12 through 10; 37.754 split 5 6 7 8 9 10 11 12 | 0 1 2 3 4",
    ),
    // Two processes with one identity came to one and the same life, and neither ended.
    (
        29,
        "ring 12 r 2 drift 0; 9.810 slow 9 by 8; 10.236 loss 300; 10.266 crash 4; 10.334 crash 7; \
         10.671 slow 9 by 15; 10.804 split 10 11 | 0 1 2 3 4 5 6 7 8 9; 13.224 pause 5; 13.350 join 12 through 10; \
         16.613 crash 12; 18.916 restart 4; 39.321 heal; 51.867 clone 3",
    ),
    (
        187,
        "ring 20 r 2 drift 0; 6.025 cut 0 to 1; 29.009 pause 8; 30.891 holdups 454 of 3767; 33.801 pause 18; \
         41.404 split 0 1 3 4 6 7 8 11 12 13 17 18 19 | 2 5 9 10 14 15 16; 55.613 pause 2; 68.170 loss 50; \
         69.669 heal; 69.827 pause 1; 72.639 join 20 through 1; 77.587 join 22 through 14; 81.943 leave 10; \
         102.065 clone 0; 102.198 holdups 420 of 3799",
    ),
];
