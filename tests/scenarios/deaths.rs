//! Deaths of neighbours, and of many at once.

use quoit::chord::Event;
use quoit::id::{Position, sha256};
use quoit::sim::{World, check, seeds};

use crate::{SECOND, both, converge, large, long, ring};

/// Scenario 1: all r successors of one peer die at once.
///
/// Goal: the peer notices all of them within five intervals, and finds back through those that it remembers.
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
            let me = world.entry(slots[first]).unwrap().position;
            let all_noticed = |world: &World| {
                let dead = |(_, by, event): &&(_, _, Event)| *by == me && matches!(event, Event::Dead(_));
                match world.events().iter().filter(dead).count() {
                    count if count >= r => Ok(()),
                    count => Err(format!("{count} of {r} are noticed")),
                }
            };
            world.run_until(SECOND * 5, all_noticed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            converge(&mut world, 30, seed);
        }
    }
}

/// Scenario 1, less one: r − 1 adjacent deaths at once are within the theorem.
///
/// Goal: there is a ring at every moment, and the deaths are found within the death timeout. Method: any r − 1 adjacent
/// peers die; the oracle checks every moment.
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
    let peers = if long() { 1_000 } else { 200 };
    for (settings, seed) in
        both().into_iter().flat_map(|settings| seeds(0..2).into_iter().map(move |seed| (settings, seed)))
    {
        for percent in [10, 20, 30, 40, 50] {
            let (mut world, slots) = ring(seed, settings, peers);
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
            let wrong = outcomes.iter().filter(|outcome| !outcome.right).count();
            println!(
                "r = {}, seed {seed}, {percent} %: {wrong} of {} are wrong",
                settings.successors,
                outcomes.len()
            );
            converge(&mut world, 60, seed);
            check::one_owner_each(&world, &[Position::ZERO, Position::MAX]).unwrap();
        }
    }
}

/// Lets this percentage of the peers die, chosen by chance.
fn kill(world: &mut World, slots: &[u32], percent: usize, seed: u64) {
    let mut order: Vec<u32> = slots.to_vec();
    order.sort_by_key(|slot| sha256(&[seed.to_be_bytes().as_slice(), &slot.to_be_bytes()].concat()));
    for slot in &order[..slots.len() * percent / 100] {
        world.crash_slot(*slot);
    }
}
