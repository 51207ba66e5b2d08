//! Peers that are away for a while and come back with all they had.
//!
//! The design wants copies to be made only where one is left, or after a quarter of an hour ([`plan_repair`] of
//! the pure core decides that). A running peer does not wait yet: its repair fills up all copies as soon as it
//! has noticed. Both are run here, and the figures of both are bounded.
//!
//! [`plan_repair`]: quoit::replica::plan_repair

use std::time::Duration;

use quoit::config::RingSettings;
use quoit::sim::storage::{FileSettings, check};
use quoit::sim::{World, check as ring, seeds};

use crate::harness::{MINUTE, SECOND, all_are_found_everywhere, is_chosen, members, settle};

fn world_that_waits(seed: u64, peers: usize, away_wait: Duration) -> World {
    let mut world = World::converged(seed, RingSettings::default(), peers, SECOND, 4_096);
    world.enable_files_with(FileSettings { away_wait, ..FileSettings::default() });
    world
}

/// Scenario 19. Goal: three tenths of the peers are away for ten minutes and come back. With patience only what had
/// one copy left is copied, once; after their return nothing is below R, and nothing more was moved.
///
/// Without patience, as the running peer is, each copy that is away is made anew: three times as much, or more.
#[test]
fn three_tenths_are_away_for_ten_minutes() {
    for seed in seeds(0..3) {
        for patient in [true, false] {
            let mut world = world_that_waits(seed, 60, if patient { MINUTE * 15 } else { Duration::ZERO });
            world.place_files(200, 1 << 20);
            let away: Vec<_> = members(&world).into_iter().filter(|slot| is_chosen(seed, *slot, 3)).collect();
            away.iter().for_each(|slot| world.crash_slot(*slot));
            let left = world.copies_of_all();
            let with = |count| left.values().filter(|left| **left == count).count() as u64;
            let (one_left, missing) = (with(1), 3 * 200 - left.values().sum::<usize>() as u64);
            world.run_for(MINUTE * 10);
            let while_away = world.repair_bytes() >> 20;
            away.iter().for_each(|slot| world.restart_slot(*slot));
            world.run_until(MINUTE * 3, ring::one_ordered_ring).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            settle(&mut world, MINUTE * 3, seed);
            world.run_for(MINUTE);
            assert_eq!(world.files_lost(), 0, "seed {seed}");
            let all = world.repair_bytes() >> 20;
            eprintln!("seed {seed} {patient}: {one_left} one left, {missing} missing: {while_away} then {all}");
        }
    }
}

/// Scenario 20. Goal: all peers are restarted one after the other, faster than repair. None is lost, every file can
/// be read throughout, and with patience no copy is made.
#[test]
fn a_rolling_restart_faster_than_repair() {
    for seed in seeds(0..3) {
        for patient in [true, false] {
            let mut world = world_that_waits(seed, 20, if patient { MINUTE * 15 } else { Duration::ZERO });
            world.place_files(60, 1 << 20);
            for slot in members(&world) {
                world.crash_slot(slot);
                world.run_for(SECOND / 2);
                world.restart_slot(slot);
                world.run_for(SECOND / 2);
                check::copies_at_least(&world, 2).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            }
            eprintln!("seed {seed} {patient}: {:?}", world.moved());
            settle(&mut world, MINUTE, seed);
            all_are_found_everywhere(&mut world, seed);
        }
    }
}
