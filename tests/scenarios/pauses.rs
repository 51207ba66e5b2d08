//! Processes that stop for a while, and peers that are slow.

use std::time::Duration;

use quoit::chord::{PhaseKind, Start};
use quoit::sim::{Slot, World, check, contact, seeds};

use crate::{SECOND, both, converge, deaths, false_death, large, ring, spread};

/// Runs until a process is to stop: after some events, and for every second seed in the middle of a query, when its
/// list is undefined.
fn until_it_stops(world: &mut World, slot: Slot, seed: u64) {
    world.run_steps(seed * 7);
    if seed % 2 == 1 {
        let asks = (0..STEPS_MAX).find(|_| {
            world.run_steps(1);
            world.node(slot).is_some_and(|node| node.asks().is_some())
        });
        assert!(asks.is_some(), "seed {seed}: it asks nobody in {STEPS_MAX} events");
    }
}

/// Enough events for a peer to make a query.
const STEPS_MAX: u32 = 20_000;

/// Scenario 8: a process is stopped for less time than a peer needs to declare it dead.
///
/// Goal: no peer notices. Method: the process stops in the middle of its work, over many seeds and moments.
#[test]
fn a_short_stop_is_nobodys_death() {
    for settings in both() {
        for seed in seeds(0..24) {
            let (mut world, slots) = ring(seed, settings, large(settings));
            let slot = slots[seed as usize % slots.len()];
            until_it_stops(&mut world, slot, seed);
            world.pause_slot(slot, true);
            world.run_for(SECOND);
            world.pause_slot(slot, false);
            world.run_for(SECOND * 10);
            assert_eq!(deaths(&world), 0, "seed {seed}");
            converge(&mut world, 1, seed);
        }
    }
}

/// Scenario 8: a process is stopped for the death timeout, for a minute, for an hour.
///
/// Goal: the peer is a member again, no key has two owners, and the peer declares no other dead because it slept
/// itself: the answers that it waited for came, but it did not read them. Method: it stops at moments that differ by a
/// few events, in the middle of queries and probes. A false death lies beyond the theorem, so safety is suspended.
#[test]
fn a_long_stop_ends_as_a_member_again() {
    for settings in both() {
        for (stopped, count) in [(3, 12), (4, 12), (5, 12), (6, 12), (60, 8), (3_600, 1)] {
            for seed in seeds(0..count) {
                let (mut world, slots) = ring(seed, settings, large(settings));
                world.oracle.safety = false;
                let slot = slots[seed as usize % slots.len()];
                until_it_stops(&mut world, slot, seed);
                world.pause_slot(slot, true);
                world.run_for(SECOND * stopped);
                world.forget_events();
                world.pause_slot(slot, false);
                let me = world.entry(slot).unwrap().position;
                converge(&mut world, 20, seed);
                world.run_for(SECOND * 10);
                check::one_ordered_ring(&world).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
                check::one_owner_each(&world, &[me]).unwrap();
                let declared =
                    false_death(&world).filter(|told| told.contains(&format!("by {}", me.label())));
                assert_eq!(declared, None, "seed {seed}, {stopped} s");
            }
        }
    }
}

/// Scenario 8: a whole neighbourhood sleeps, as many virtual machines on one host do, and wakes together.
#[test]
fn neighbours_stop_together() {
    for settings in both() {
        for (stopped, count) in [(4, 8), (6, 8), (30, 8)] {
            for seed in seeds(0..count) {
                let (mut world, slots) = ring(seed, settings, large(settings));
                world.oracle.safety = false;
                let first = seed as usize;
                let asleep = usize::from(settings.successors) + 1;
                for step in 0..asleep {
                    world.pause_slot(slots[(first + step) % slots.len()], true);
                }
                world.run_for(SECOND * stopped);
                for step in 0..asleep {
                    world.pause_slot(slots[(first + step) % slots.len()], false);
                }
                converge(&mut world, 60, seed);
            }
        }
    }
}

/// Scenario 8: all of a ring sleep, as on a host that is suspended, and wake together.
///
/// Goal: no peer is declared dead, since no clock showed a silence. Method: a peer that wakes is no member before it
/// has asked, and all ask at the same time, so safety is suspended.
#[test]
fn a_whole_ring_stops_together() {
    for settings in both() {
        for (stopped, count) in [(4, 8), (10, 8), (3_600, 8)] {
            for seed in seeds(0..count) {
                for peers in [3, large(settings)] {
                    let (mut world, slots) = ring(seed, settings, peers);
                    world.oracle.safety = false;
                    slots.iter().for_each(|slot| world.pause_slot(*slot, true));
                    world.run_for(SECOND * stopped);
                    slots.iter().for_each(|slot| world.pause_slot(*slot, false));
                    world.run_for(SECOND * 10);
                    assert_eq!(deaths(&world), 0, "seed {seed}, {peers} peers, {stopped} s");
                    converge(&mut world, 5, seed);
                }
            }
        }
    }
}

/// Scenario 9: a slow peer, ten times the latency, on fast networks and on slow ones.
///
/// Goal: no peer declares the slow one dead, even while a neighbour of it dies.
#[test]
fn ten_times_the_latency_is_not_dead() {
    for settings in both() {
        for (latency_ms, count) in [(3, 6), (20, 6), (35, 6), (50, 6)] {
            for seed in seeds(0..count) {
                let (mut world, slots) = ring(seed, settings, large(settings));
                world.network.latency = Duration::from_millis(latency_ms);
                let at = 1 + seed as usize % (slots.len() - 1);
                world.network.set_slow(slots[at], 10);
                world.run_for(SECOND * 60);
                assert_eq!(false_death(&world), None, "seed {seed}, {latency_ms} ms");
                world.crash_slot(slots[at - 1]);
                world.run_for(SECOND * 60);
                assert_eq!(
                    false_death(&world),
                    None,
                    "seed {seed}, {latency_ms} ms, after a death beside it"
                );
                converge(&mut world, 5, seed);
            }
        }
    }
}

/// Scenario 9: chains and cycles of `Busy`.
///
/// Goal: no deadlock. The ring handles joins and deaths although every peer is almost always in the middle of a query.
/// Method: each message takes a large part of the ping interval.
#[test]
fn everybody_is_busy_and_the_ring_goes_on() {
    for settings in both() {
        for seed in seeds(0..8) {
            let mut world = World::new(seed, settings);
            world.interval = Duration::from_millis(250);
            let numbers = spread(settings.successors * 2 + 6);
            world.grow(&numbers);
            // A query takes longer than the period between two queries.
            world.network.latency = Duration::from_millis(120);
            world.run_for(SECOND * 5);
            world.crash(&numbers[2..3]);
            // A join may fail within its four seconds, and says so; the test tries it again.
            for _ in 0..3 {
                if world.view(99).is_none_or(|view| view.phase != PhaseKind::Active) {
                    world.start(99, Start::Join { known: contact(numbers[0]) });
                    world.run_for(SECOND * 7);
                }
            }
            assert_eq!(false_death(&world), None, "seed {seed}");
            assert_eq!(world.view(99).unwrap().phase, PhaseKind::Active, "seed {seed}");
            converge(&mut world, 20, seed);
        }
    }
}
