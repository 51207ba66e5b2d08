//! Peers that are away for a while and come back with all they had.

use quoit::sim::storage::check;
use quoit::sim::{check as ring, seeds};

use crate::harness::{
    MINUTE, SECOND, all_are_found_everywhere, converged, is_chosen, members, request_everywhere, settle,
};

/// Scenario 19. Goal: three tenths of the peers are away for ten minutes and come back. Copies are made only where
/// all but one are away; after their return nothing is below R.
#[test]
fn three_tenths_are_away_for_ten_minutes() {
    for seed in seeds(0..4) {
        let mut world = converged(seed, 60);
        world.place_files(400, 1 << 20);
        let away: Vec<_> = members(&world).into_iter().filter(|slot| is_chosen(seed, *slot, 3)).collect();
        away.iter().for_each(|slot| world.crash_slot(*slot));
        world.run_for(MINUTE * 10);
        let while_away = world.repair_bytes();
        away.iter().for_each(|slot| world.restart_slot(*slot));
        world.run_until(MINUTE * 3, ring::one_ordered_ring).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        settle(&mut world, MINUTE * 3, seed);
        assert_eq!(world.files_lost(), 0, "seed {seed}");
        let all = 3 * 400 * (1u64 << 20);
        eprintln!("seed {seed}: {} away, {while_away} then {} of {all}", away.len(), world.repair_bytes());
    }
}

/// Scenario 20. Goal: all peers are restarted one after the other, faster than repair. No copy is made and none is
/// lost, and every file can be read throughout.
#[test]
fn a_rolling_restart_faster_than_repair() {
    for seed in seeds(0..4) {
        let mut world = converged(seed, 20);
        world.place_files(60, 1 << 20);
        let names: Vec<String> = (0..60).map(|i| format!("file-{i}")).collect();
        for slot in members(&world) {
            world.crash_slot(slot);
            world.run_for(SECOND / 2);
            world.restart_slot(slot);
            world.run_for(SECOND / 2);
            check::copies_at_least(&world, 2).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        }
        eprintln!("seed {seed}: {:?}", world.moved());
        settle(&mut world, MINUTE, seed);
        all_are_found_everywhere(&mut world, seed);
        drop(request_everywhere(&mut world, &names[..1]));
    }
}
