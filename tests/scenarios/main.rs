//! The scenarios that a ring must survive, in the deterministic simulator, over many seeds.
//!
//! Each test is one scenario or one side of it, and demands two things. Safety: while the ring is large, the oracle
//! finds nothing against the invariant at any moment. Liveness: once the faults stop, the ring is one ordered ring
//! again within a bounded time. A scenario suspends safety explicitly if it breaks the invariant itself, or if living
//! peers are taken for dead because no peer can reach them, which lies beyond the theorem.
//!
//! `QUOIT_SEEDS=1000` widens the seeds of every test, `QUOIT_SEED=7` runs one alone. `QUOIT_LONG=1` makes the worlds as
//! large and the time as long as the scenarios ask, which is for a release build and an evening.

mod catches;
mod churn;
mod controls;
mod corrupt;
mod deaths;
mod departures;
mod detection;
mod explore;
mod files;
mod identity;
mod joins;
mod links;
mod lookups;
mod membership;
mod pauses;
mod sizes;
mod splits;
mod swarm;

use std::time::Duration;

use quoit::chord::Event;
use quoit::config::RingSettings;
use quoit::id::Position;
use quoit::sim::{Slot, World, check};

const SECOND: Duration = Duration::from_secs(1);

/// Whether worlds are as large, and times as long, as the scenarios ask.
fn long() -> bool {
    std::env::var_os("QUOIT_LONG").is_some()
}

/// r = 8, the default, and r = 2, with Chord from four peers on.
fn both() -> [RingSettings; 2] {
    [
        RingSettings { replicas: 3, successors: 8, ..RingSettings::default() },
        RingSettings { replicas: 3, successors: 2, ..RingSettings::default() },
    ]
}

/// Numbers that are spread evenly over the circle.
fn spread(count: u8) -> Vec<u8> {
    (0..count).map(|i| (u16::from(i) * 255 / u16::from(count.max(2) - 1)) as u8).collect()
}

/// A converged ring of this number of self-placed peers, and their slots in the order of their positions.
fn ring(seed: u64, settings: RingSettings, count: usize) -> (World, Vec<Slot>) {
    let mut world = World::converged(seed, settings, count, SECOND, 4_096);
    world.run_for(SECOND * 3);
    let slots = world.living().values().copied().collect();
    (world, slots)
}

/// The least number of peers of a ring that uses no map and exchanges no whole member lists.
fn large(settings: RingSettings) -> usize {
    2 * settings.chord_from() + 4
}

/// Asserts liveness: one ordered ring within this number of seconds. Asserts safety: the oracle found nothing so far
/// and, if a scenario had suspended it, finds nothing from now on. Returns the time until then.
fn converge(world: &mut World, within: u32, seed: u64) -> Duration {
    let took = one_ring_within(world, within, seed);
    if !world.oracle.safety {
        world.oracle.safety = true;
        world.run_for(SECOND * 10);
    }
    safe(world, seed);
    took
}

/// Asserts liveness alone.
fn one_ring_within(world: &mut World, within: u32, seed: u64) -> Duration {
    world
        .run_until(SECOND * within, check::one_ordered_ring)
        .unwrap_or_else(|why| panic!("seed {seed}: not one ring after {within} s: {why}"))
}

/// Asserts safety: the oracle found nothing.
fn safe(world: &World, seed: u64) {
    let found = world.oracle.violations();
    assert!(found.is_empty(), "seed {seed}: {} violations, first {:?}", world.oracle.count(), found[0]);
}

/// The number of times that a peer was declared dead.
fn deaths(world: &World) -> usize {
    world.events().iter().filter(|(_, _, event)| matches!(event, Event::Dead(_))).count()
}

/// The first peer that was declared dead although it runs.
fn false_death(world: &World) -> Option<String> {
    let lives = |position: &Position| world.nodes().any(|node| node.me().position == *position);
    world.events().iter().find_map(|(at, by, event)| match event {
        Event::Dead(position) if lives(position) => {
            Some(format!("at {} by {}: {}", at.0, by.label(), position.label()))
        }
        _ => None,
    })
}

/// The reason that one peer gave when it ended, if it ended.
fn end_of(world: &World, position: &Position) -> Option<String> {
    world.events().iter().find_map(|(_, by, event)| match event {
        Event::Ended(reason) if by == position => Some(reason.to_string()),
        _ => None,
    })
}

/// Splits the network into these groups.
fn split(world: &mut World, groups: &[Vec<Slot>]) {
    for (i, group) in groups.iter().enumerate() {
        for slot in group {
            world.network.set_group(*slot, i as u8);
        }
    }
}
