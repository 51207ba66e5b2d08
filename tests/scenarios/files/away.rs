//! Peers that are away for a while and come back with all their files.
//!
//! Peers make new copies only if one copy is left, or after the away limit. [`quoit::replica::plan_repair`] decides
//! that. Most other worlds of these tests have a limit of zero, so that they are repaired soon.

use std::time::Duration;

use quoit::sim::storage::{FileSettings, Outcome, Requested, check};
use quoit::sim::{World, check as ring, seeds};

use super::harness::{MINUTE, SECOND, all_are_found_everywhere, is_chosen, members, settings, settle};

fn world_that_waits(seed: u64, peers: usize, away_wait: Duration) -> World {
    let mut world = World::converged(seed, settings(seed), peers, SECOND, 4_096);
    world.enable_files_with(FileSettings { away_wait, ..FileSettings::default() });
    world
}

/// Scenario 19. Goal: three tenths of the peers are away for ten minutes and come back. While they are away, repair
/// makes one copy, and only of a file with one copy left. After their return no file is below R.
///
/// Peers that come back at once, and do not know yet which others do, make some copies more: at most a quarter of the
/// copies that were away.
#[test]
fn three_tenths_are_waited_for() {
    for seed in seeds(0..3) {
        let Away { one_left, missing, while_away, all } = three_tenths_are_away(seed, MINUTE * 15);
        println!(
            "seed {seed}: {missing} copies away, {one_left} files had one left; {while_away} made meanwhile, {} after the return",
            all - while_away
        );
        assert!(
            while_away <= one_left + missing / 20,
            "seed {seed}: {while_away}, {one_left} had one copy left"
        );
        assert!(
            all <= one_left + missing / 4,
            "seed {seed}: {all}, {one_left} had one copy left of {missing}"
        );
    }
}

/// Scenario 19 with a limit of zero, as a control: repair makes every copy that is away anew, once, and after their
/// return no file is below R.
#[test]
fn three_tenths_are_not_waited_for() {
    for seed in seeds(0..2) {
        let Away { missing, all, .. } = three_tenths_are_away(seed, Duration::ZERO);
        assert!(all <= missing + missing / 4, "seed {seed}: {all} for {missing}");
    }
}

/// Counts of copies and of files while a peer is away.
struct Away {
    /// Files with one copy left.
    one_left: u64,
    /// Copies that are away.
    missing: u64,
    /// Copies that were made meanwhile.
    while_away: u64,
    /// Copies that were made meanwhile and after the return.
    all: u64,
}

fn three_tenths_are_away(seed: u64, away_wait: Duration) -> Away {
    let mut world = world_that_waits(seed, 60, away_wait);
    // If that many peers go at once, whole successor lists go somewhere.
    world.oracle.safety = false;
    world.place_files(200, 1 << 20);
    let away: Vec<_> = members(&world).into_iter().filter(|slot| is_chosen(seed, *slot, 3)).collect();
    away.iter().for_each(|slot| world.crash_slot(*slot));
    let left = world.copies_of_all();
    let one_left = left.values().filter(|left| **left == 1).count() as u64;
    let missing = 3 * 200 - left.values().sum::<usize>() as u64;
    world.run_for(MINUTE * 10);
    let while_away = world.repair_bytes() >> 20;
    away.iter().for_each(|slot| world.restart_slot(*slot));
    let whole = world.run_until(MINUTE * 3, ring::one_ordered_ring);
    whole.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    settle(&mut world, MINUTE * 3, seed);
    world.run_for(MINUTE);
    assert_eq!(world.files_lost(), 0, "seed {seed}");
    Away { one_left, missing, while_away, all: world.repair_bytes() >> 20 }
}

/// Scenario 20. Goal: all peers are restarted one after the other, either way round, faster than repair. No copy is
/// made and none is lost, and every file can be read throughout.
#[test]
fn a_rolling_restart_faster_than_repair() {
    for seed in seeds(0..4) {
        let mut world = world_that_waits(seed, 20, Duration::ZERO);
        world.place_files(60, 1 << 20);
        let mut order = members(&world);
        if seed % 2 == 1 {
            order.reverse();
        }
        for (i, slot) in order.into_iter().enumerate() {
            world.crash_slot(slot);
            world.run_for(SECOND / 2);
            let reader = members(&world)[i % 19];
            world.request(reader, &format!("file-{i}"));
            world.restart_slot(slot);
            world.run_for(SECOND / 2);
            check::copies_at_least(&world, 2).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        }
        for ended in world.finish(MINUTE) {
            let Outcome::Requested(requested) = &ended.outcome else { continue };
            assert!(matches!(requested, Requested::Found { .. }), "seed {seed}: {ended:?}");
        }
        settle(&mut world, MINUTE, seed);
        assert_eq!(world.repair_bytes(), 0, "seed {seed}");
        all_are_found_everywhere(&mut world, seed);
    }
}
