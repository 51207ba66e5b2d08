//! Peers that come and go all the time.

use std::collections::BTreeMap;
use std::time::Duration;

use quoit::chord::Node;
use quoit::config::RingSettings;
use quoit::id::Position;
use quoit::sim::{Outcome, Slot, World, seeds, until_next};
use quoit::time::Moment;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{SECOND, converge, long};

/// The number of peers and of seconds: smaller than scenario 23 asks unless `QUOIT_LONG` is set.
fn size() -> (usize, u32) {
    if long() { (1_000, 1_800) } else { (80, 180) }
}

/// The time to the next event of a Poisson process.
fn next_event(rng: &mut ChaCha8Rng, mean: f64) -> Duration {
    until_next(rng, 1.0 / mean).expect("a rate above zero")
}

/// Scenario 23: Poisson churn, from one event a minute to one every 1.25 s: joins, and as many leaves or deaths;
/// lookups at one a second throughout.
///
/// Goal: the invariant holds all the time, lookups are answered, and one ring is left.
#[test]
fn poisson_churn() {
    let (peers, seconds) = size();
    for seed in seeds(0..2) {
        for mean in [60.0, 5.0, 1.25] {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut world = World::converged(seed, RingSettings::default(), peers, SECOND, 4_096);
            world.run_for(SECOND * 3);
            let end = world.now() + SECOND * seconds;
            let mut next_change = world.now() + next_event(&mut rng, mean);
            let mut next_lookup = world.now();
            while world.now() < end {
                world.run_to(next_change.min(next_lookup).min(end));
                if next_lookup <= world.now() {
                    next_lookup = world.now() + next_event(&mut rng, 1.0);
                    if let Some(from) = world.random_member() {
                        world.search(from, Position(rng.random()));
                    }
                }
                if next_change <= world.now() {
                    next_change = world.now() + next_event(&mut rng, mean);
                    change(&mut world, &mut rng, peers);
                }
            }
            world.run_for(SECOND * 20);
            let outcomes = world.take_outcomes();
            let failed = outcomes.iter().filter(|outcome| outcome.found.is_none()).count();
            assert_eq!(failed, 0, "seed {seed}, mean {mean} s: of {} lookups", outcomes.len());
            // A peer that was asked while it came or went may name another owner than the one at the end.
            let wrong = outcomes.iter().filter(|outcome| !outcome.right).count();
            println!(
                "seed {seed}, mean {mean} s: {wrong} of {} lookups found another than the owner",
                outcomes.len()
            );
            assert!(
                wrong * 50 <= outcomes.len(),
                "seed {seed}, mean {mean} s: {wrong} of {}",
                outcomes.len()
            );
            converge(&mut world, 60, seed);
        }
    }
}

/// A peer joins if there are few, and one goes if there are many.
fn change(world: &mut World, rng: &mut ChaCha8Rng, peers: usize) {
    let living = world.living().len();
    if rng.random_bool(if living < peers { 0.7 } else { 0.3 }) {
        world.join_one();
    } else if let Some(slot) = world.random_member() {
        if rng.random_bool(0.5) {
            world.leave_slot(slot);
        } else {
            world.crash_slot(slot);
        }
    }
}

/// Scenario 23: Pareto sessions with a median of 1.4 min: many short ones, a few that last.
///
/// Goal: as above. All departures are deaths without notice, so that neighbours die together now and then. Safety is
/// suspended, but the ring is one again soon after.
#[test]
fn pareto_sessions() {
    let (peers, seconds) = size();
    for seed in seeds(0..2) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World::converged(seed, RingSettings::default(), peers, SECOND, 4_096);
        let mut keys = ChaCha8Rng::seed_from_u64(seed + 1);
        // Shape 1: the median is twice the least.
        let mut session = || Duration::from_secs_f64(42.0 / (1.0 - rng.random::<f64>()));
        let begin = world.now();
        let mut ends: Vec<(quoit::time::Moment, u32)> =
            world.living().values().map(|slot| (begin + session(), *slot)).collect();
        let end = begin + SECOND * seconds;
        let mut next_lookup = begin + SECOND;
        loop {
            ends.sort_unstable_by(|one, other| other.cmp(one));
            let Some((at, slot)) = ends.pop().filter(|(at, _)| *at < end) else { break };
            while next_lookup < at {
                world.run_to(next_lookup);
                next_lookup = next_lookup + SECOND;
                if let Some(from) = world.random_member() {
                    world.search(from, Position(keys.random()));
                }
            }
            world.run_to(at);
            world.crash_slot(slot);
            if let Some(joiner) = world.join_one() {
                ends.push((world.now() + session(), joiner));
            }
        }
        world.run_to(end);
        world.run_for(SECOND * 20);
        let outcomes = world.take_outcomes();
        let failed = outcomes.iter().filter(|outcome| outcome.found.is_none()).count();
        assert_eq!(failed, 0, "seed {seed}: of {} lookups", outcomes.len());
        // Lookups of peers that died themselves do not count.
        assert!(outcomes.len() as u32 > seconds * 9 / 10, "seed {seed}: {} lookups", outcomes.len());
        let wrong = outcomes.iter().filter(|outcome| !outcome.right).count();
        println!("seed {seed}: {wrong} of {} lookups found another than the owner", outcomes.len());
        converge(&mut world, 60, seed);
    }
}

/// Goal: under churn of 0.4 joins and 0.4 departures a second at most 5 of 10,000 lookups do not find the owner, and
/// each finds it when the whole lookup is tried again for up to 5 s, as stores and requests do. Method: 1,000 peers and
/// a million lookups with `QUOIT_LONG`, fewer without.
#[test]
fn no_lookup_fails_that_is_tried_again() {
    let (peers, seconds, each_ms) = if long() { (1_000, 2_000, 2) } else { (200, 60, 20) };
    for seed in seeds(0..1) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World::converged(seed, RingSettings::default(), peers, SECOND * 5, 4_096);
        world.run_for(SECOND * 20);
        let end = world.now() + SECOND * seconds;
        let mut next = [1.0 / 0.4, 1.0 / 0.4].map(|mean| world.now() + next_event(&mut rng, mean));
        let (mut lookups, mut missed) = (0u64, 0u64);
        // The lookups to try again, by key: from where, how often, and when next.
        let mut again: BTreeMap<Position, (Slot, u32, Moment)> = BTreeMap::new();
        while world.now() < end || world.searches_under_way() > 0 || !again.is_empty() {
            if let Some(from) = world.random_member().filter(|_| world.now() < end) {
                world.search(from, Position(rng.random()));
                lookups += 1;
            }
            if next[0] <= world.now() {
                next[0] = world.now() + next_event(&mut rng, 1.0 / 0.4);
                world.join_one();
            }
            if next[1] <= world.now() {
                next[1] = world.now() + next_event(&mut rng, 1.0 / 0.4);
                if let Some(slot) = world.random_member() {
                    if rng.random_bool(0.5) { world.leave_slot(slot) } else { world.crash_slot(slot) }
                }
            }
            world.run_for(Duration::from_millis(each_ms));
            for Outcome { from, key, right, .. } in world.take_outcomes() {
                let tries = again.get(&key).map_or(0, |(_, tries, _)| *tries);
                missed += u64::from(!right && tries == 0);
                assert!(
                    right || tries < 5,
                    "seed {seed}: {key:?} from {from} is not found after {tries} more tries"
                );
                again.remove(&key);
                if !right {
                    again.insert(key, (from, tries + 1, world.now() + SECOND));
                }
            }
            let now = world.now();
            // A peer that is gone needs no result of its lookups.
            again.retain(|_, (from, ..)| world.node(*from).is_some_and(Node::is_member));
            for (key, (from, _, at)) in &mut again {
                if *at <= now {
                    *at = now + SECOND * 3_600;
                    world.search(*from, *key);
                }
            }
        }
        println!("{missed} of {lookups} lookups did not find the owner at once; tried again, none was left");
        assert!(missed * 10_000 <= 5 * lookups.max(2_000), "seed {seed}: {missed} of {lookups}");
    }
}
