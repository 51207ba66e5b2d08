//! Corrupt state, put into the peers, that no run leads to.

use quoit::config::{KeepVersions, RingSettings};
use quoit::sim::{World, seeds};

use crate::{SECOND, converge, one_ring_within, spread};

/// Small lists, so that a dozen peers are a large ring.
const TWO: RingSettings = RingSettings { replicas: 3, successors: 2, versions: KeepVersions::DEFAULT };

/// Scenario 22: a double-wound ring: each peer's first successor is the second one after it. With this number of peers
/// that is one ring that winds twice round the circle and is in order for none of them.
///
/// Goal: the oracle detects it, and the peers recover, although all they know of each other is that order. Method:
/// safety is suspended while the scenario itself breaks the invariant, and is on again once the ring is one.
#[test]
fn a_ring_that_winds_twice() {
    for seed in seeds(0..8) {
        for knows_all in [true, false] {
            let numbers = spread(13);
            let mut world = World::new(seed, TWO);
            world.oracle.safety = false;
            let at = |i: usize| numbers[i % numbers.len()];
            for i in 0..numbers.len() {
                let list = [at(i + 2), at(i + 4)];
                let near = [at(i + 2), at(i + 4), at(i + 6), at(i + 11), at(i + 9)];
                let known = if knows_all { &numbers[..] } else { &near[..] };
                world.put_with(at(i), Some(at(i + 11)), &list, known);
            }
            let found = quoit::sim::oracle::one_ring(&world);
            assert!(found.as_ref().is_err_and(|why| why.contains("winds 2 times")), "seed {seed}: {found:?}");
            converge(&mut world, 120, seed);
            assert_eq!(quoit::sim::oracle::one_ring(&world), Ok(()));
        }
    }
}

/// Scenario 22: two rings in one: peers at even places know only each other, and so do those at odd places, except for
/// a few contacts that each of them remembers.
///
/// Goal: detected; one ring.
#[test]
fn two_rings_that_hardly_know_of_each_other() {
    for seed in seeds(0..8) {
        let numbers = spread(24);
        let mut world = World::new(seed, TWO);
        world.oracle.safety = false;
        let at = |i: usize| numbers[i % numbers.len()];
        for i in 0..numbers.len() {
            let mut known: Vec<u8> = (0..12).map(|step| at(i + 2 * step)).collect();
            // A member of the other ring, on the far side.
            known.push(at(i + 11));
            world.put_with(at(i), Some(at(i + 22)), &[at(i + 2), at(i + 4)], &known);
        }
        let found = quoit::sim::oracle::one_ring(&world);
        assert!(found.as_ref().is_err_and(|why| why.contains("two rings")), "seed {seed}: {found:?}");
        converge(&mut world, 120, seed);
    }
}

/// Scenario 22: stale contacts: every peer also knows many peers that never existed, all of them in its list.
///
/// Goal: detected; one ring.
#[test]
fn lists_full_of_ghosts() {
    for seed in seeds(0..8) {
        let numbers = spread(13);
        let mut world = World::new(seed, TWO);
        world.oracle.safety = false;
        let at = |i: usize| numbers[i % numbers.len()];
        for i in 0..numbers.len() {
            let ghosts: Vec<u8> = (1..6).map(|step| at(i).wrapping_add(step)).collect();
            let mut known = ghosts.clone();
            // Two contacts that exist.
            known.extend([at(i + 1 + seed as usize % 5), at(i + 7)]);
            world.put_with(at(i), Some(at(i).wrapping_sub(3)), &ghosts[..2], &known);
        }
        let found = quoit::sim::oracle::one_ring(&world);
        assert!(found.as_ref().is_err_and(|why| why.contains("no living member")), "seed {seed}: {found:?}");
        converge(&mut world, 120, seed);
    }
}

/// Scenario 22: malformed lists: with the peer itself, with one peer twice, out of order, too long, wrong way round.
///
/// Goal: the oracle detects them, the peer corrects them, and no other peer adopts them.
#[test]
fn malformed_lists() {
    for seed in seeds(0..8) {
        for kind in 0..5 {
            let numbers = spread(13);
            let mut world = World::new(seed, TWO);
            world.oracle.safety = false;
            let at = |i: usize| numbers[i % numbers.len()];
            let bad = seed as usize % numbers.len();
            for i in 0..numbers.len() {
                let list = match (i == bad, kind) {
                    (true, 0) => vec![at(i), at(i + 1)],
                    (true, 1) => vec![at(i + 1), at(i + 1)],
                    (true, 2) => vec![at(i + 3), at(i + 1)],
                    (true, 3) => (1..12).map(|step| at(i + step)).collect(),
                    (true, _) => vec![at(i + 12), at(i + 11)],
                    (false, _) => vec![at(i + 1), at(i + 2)],
                };
                world.put_with(at(i), Some(at(i + 12)), &list, &numbers);
            }
            // A list that is only too long has no wrong entry.
            assert!(world.oracle.count() > 0 || kind == 3, "seed {seed}, kind {kind}: not detected");
            one_ring_within(&mut world, 60, seed);
            let found = world.oracle.count();
            world.oracle.safety = true;
            world.run_for(SECOND * 10);
            assert_eq!(
                world.oracle.count(),
                found,
                "seed {seed}, kind {kind}: {:?}",
                world.oracle.violations().last()
            );
        }
    }
}
