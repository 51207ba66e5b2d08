//! Plans of faults, all drawn from seeds: whatever comes together, the ring is one again when it is over.
//!
//! A plan that fails is printed with its seed, the shortest part of it that still fails, and the command that
//! shows what happens.

use std::collections::BTreeSet;

use quoit::sim::plan::{Fault, Plan};
use quoit::sim::seeds;

/// How many faults a plan has.
const SIZE: usize = 30;

/// Goal: safety while the theorem covers what happens, liveness always.
#[test]
fn any_plan_ends_in_one_ring() {
    for seed in seeds(0..150) {
        demand(&Plan::draw(seed, SIZE), seed);
    }
}

/// Goal: plans of few faults, so many more of them: what two or three faults do to each other.
#[test]
fn short_plans() {
    for seed in seeds(0..400) {
        demand(&Plan::draw(seed, 2 + seed as usize % 6), seed);
    }
}

/// Goal: the plans that once failed do not any more.
#[test]
fn plans_that_once_failed() {
    for (seed, plan) in ONCE_FAILED {
        demand(&plan.parse().unwrap_or_else(|error| panic!("{error}")), *seed);
    }
}

/// Shows one plan: `QUOIT_SEED=7 QUOIT_PLAN='ring 5 r 2 drift 0; 3.000 crash 1' QUOIT_LOG_EVENTS=1`.
#[test]
fn replay() {
    let Ok(text) = std::env::var("QUOIT_PLAN") else { return };
    let plan: Plan = text.parse().unwrap_or_else(|error| panic!("{error}"));
    for seed in seeds(0..1) {
        let mut world = plan.world(seed);
        world.record();
        let outcome = plan.play(&mut world, &mut |_, _| Ok(()));
        if std::env::var_os("QUOIT_LOG_EVENTS").is_some() {
            world.log().iter().for_each(|line| println!("{line}"));
        }
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
    // What needs two faults keeps both.
    let both = |plan: &Plan| {
        let has = |of: fn(&Fault) -> bool| plan.faults.iter().any(|timed| of(&timed.fault));
        has(|fault| matches!(fault, Fault::Crash(_))) && has(|fault| matches!(fault, Fault::Join(..)))
    };
    assert_eq!(plan.shortest(both).faults.len(), 2);
}

/// Goal: the same seed gives the same run, byte by byte; another seed another one.
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

fn demand(plan: &Plan, seed: u64) {
    let Err(failure) = plan.run(seed) else { return };
    let shortest = plan.shortest(|plan| plan.run(seed).is_err());
    let why = shortest.run(seed).expect_err("the shortest one fails as well");
    panic!(
        "seed {seed}: {failure}\n{plan}\nshortest, which fails with: {why}\n{shortest}\n{}",
        shortest.replay(seed)
    );
}

const ONCE_FAILED: &[(u64, &str)] = &[];
