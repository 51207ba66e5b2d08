//! Deaths of neighbours, and of many at once.

use quoit::id::{Position, sha256};
use quoit::sim::{World, check, seeds};

use crate::{SECOND, both, converge, large, ring, safe};

/// Scenario 1: all r successors of one peer die at once.
///
/// Goal: the peer finds back through those that it remembers.
/// Method: the invariant is broken by the deaths themselves, so that safety is suspended; one ring is demanded.
#[test]
fn all_successors_of_one_peer_at_once() {
    for settings in both() {
        for seed in seeds(0..24) {
            let (mut world, slots) = ring(seed, settings, large(settings) + 8);
            world.oracle.safety = false;
            let first = seed as usize % slots.len();
            let r = usize::from(settings.successors);
            for step in 1..=r {
                world.crash_slot(slots[(first + step) % slots.len()]);
            }
            converge(&mut world, 30, seed);
            // Whoever has a list again is safe again.
            world.oracle.safety = true;
            world.run_for(SECOND * 10);
            safe(&world, seed);
        }
    }
}

/// Scenario 1, less one: r − 1 adjacent deaths at once are within the theorem.
///
/// Goal: not for a moment is there no ring, and the deaths are found within the death timeout.
/// Method: any r − 1 adjacent peers die; the oracle looks on.
#[test]
fn all_but_one_successor_at_once() {
    for settings in both() {
        for seed in seeds(0..24) {
            let (mut world, slots) = ring(seed, settings, large(settings) + 8);
            let first = seed as usize % slots.len();
            for step in 1..usize::from(settings.successors) {
                world.crash_slot(slots[(first + step) % slots.len()]);
            }
            let took = converge(&mut world, 20, seed);
            assert!(took < SECOND * 10, "seed {seed}: {took:?}");
            safe(&world, seed);
        }
    }
}

/// Scenario 2: a large part of all peers dies at once.
///
/// Goal: every lookup right afterwards finds the owner, and the ring is one again.
/// Method: 10 to 50 % die; each survivor looks keys up before anything is repaired. With half of the peers dead,
/// somewhere r adjacent ones are, so that safety is suspended. The figures are measured elsewhere.
#[test]
fn a_large_part_dies_at_once() {
    let settings = both()[0];
    for seed in seeds(0..2) {
        for percent in [10, 20, 30, 40, 50] {
            let (mut world, slots) = ring(seed, settings, 200);
            world.oracle.safety = false;
            kill(&mut world, &slots, percent, seed);
            for i in 0..200u64 {
                let key = Position(sha256(&[seed.to_be_bytes(), i.to_be_bytes()].concat()));
                let Some(from) = world.random_member() else { continue };
                world.search(from, key);
            }
            world.run_for(SECOND * 60);
            assert_eq!(world.searches_under_way(), 0);
            let outcomes = world.take_outcomes();
            let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.found.is_none()).collect();
            assert!(
                failed.is_empty(),
                "seed {seed}, {percent} %: {} failed, first {:?}",
                failed.len(),
                failed[0]
            );
            converge(&mut world, 60, seed);
            check::one_owner_each(&world, &[Position::ZERO, Position::MAX]).unwrap();
        }
    }
}

/// So many percent of these die, by chance.
fn kill(world: &mut World, slots: &[u32], percent: usize, seed: u64) {
    let mut order: Vec<u32> = slots.to_vec();
    order.sort_by_key(|slot| sha256(&[seed.to_be_bytes().as_slice(), &slot.to_be_bytes()].concat()));
    for slot in &order[..slots.len() * percent / 100] {
        world.crash_slot(*slot);
    }
}
