//! Peers that leave hand over first.

use std::time::Duration;

use quoit::sim::storage::{Ended, Outcome, check};
use quoit::sim::{Slot, World, seeds};

use super::harness::{
    MINUTE, SECOND, all_are_found_everywhere, converged_on, keepers, members, on_both, settle,
};

/// Lets time pass until these have left and nothing else is under way; no acknowledged file is below W meanwhile.
fn until_left(world: &mut World, leavers: &[Slot], seed: u64) -> Vec<Ended> {
    let mut ended = Vec::new();
    for _ in 0..800 {
        world.run_for(Duration::from_millis(100));
        check::copies_at_least(world, 2).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        ended.extend(world.take_ended());
        let stays = |slot: &Slot| world.living().values().any(|living| living == slot);
        if world.files_under_way() == 0 && !leavers.iter().any(stays) {
            return ended;
        }
    }
    panic!("seed {seed}: {leavers:?} do not leave, {} under way", world.files_under_way());
}

fn nothing_was_short(ended: &[Ended], leavers: &[Slot], seed: u64) {
    for leaver in leavers {
        let left = ended.iter().find(|ended| ended.at == *leaver).map(|ended| &ended.outcome);
        let Some(Outcome::Left { short, took }) = left else { panic!("seed {seed}: {left:?}") };
        let (objects, records) = (short.objects.len(), short.records.len());
        assert!(short.is_empty(), "seed {seed}: {leaver} is short of {objects} and {records} after {took:?}");
        assert!(*took < SECOND * 30, "seed {seed}: {took:?}");
    }
}

/// Scenario 15. Goal: the owner, or a replica, or who stores, leaves in the middle of a transfer.
#[test]
fn a_peer_leaves_during_a_transfer() {
    for (seed, stores) in on_both(seeds(0..12)) {
        let mut world = converged_on(stores, seed, 14);
        world.place_files(60, stores.length(1 << 20));
        let content = world.content_of(&seed.to_be_bytes(), stores.length(25_000_000));
        let keepers = keepers(&world, &content);
        let from = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
        world.store_labelled(from, "large.bin", &seed.to_be_bytes(), stores.length(25_000_000));
        world.run_for(SECOND / 10 * (seed as u32 % 12 * 2 + 1));
        let leaver = keepers[seed as usize % 3];
        world.leave_slot(leaver);
        let ended = until_left(&mut world, &[leaver], seed);
        nothing_was_short(&ended, &[leaver], seed);
        assert_eq!(world.files_acknowledged(), 61, "seed {seed}: {ended:?}");
        settle(&mut world, MINUTE, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Scenario 15. Goal: two, and three, neighbours that leave at the same moment both end, one after the other, and
/// leave all copies behind.
#[test]
fn neighbours_leave_at_the_same_moment() {
    for (seed, stores) in on_both(seeds(0..12)) {
        for count in [2, 3] {
            let mut world = converged_on(stores, seed, 14);
            world.place_files(60, stores.length(1 << 20));
            let leavers: Vec<Slot> =
                members(&world).into_iter().cycle().skip(seed as usize).take(count).collect();
            leavers.iter().for_each(|slot| world.leave_slot(*slot));
            let ended = until_left(&mut world, &leavers, seed);
            nothing_was_short(&ended, &leavers, seed);
            check::copies_at_least(&world, 3).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            settle(&mut world, MINUTE, seed);
        }
    }
}

/// Scenario 15. Goal: a peer joins into the gap that another one leaves.
#[test]
fn one_leaves_and_another_joins() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = converged_on(stores, seed, 14);
        world.place_files(60, stores.length(1 << 20));
        let leaver = members(&world)[seed as usize % 14];
        world.leave_slot(leaver);
        world.join_one();
        until_left(&mut world, &[leaver], seed);
        settle(&mut world, MINUTE, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Scenario 15. Goal: a leaver that crashes before it has handed over is one that crashed; one that crashes after
/// its farewell has left. No acknowledged file is below W in either case, nor later.
#[test]
fn a_leaver_crashes() {
    for (seed, stores) in on_both(seeds(0..12)) {
        let mut world = converged_on(stores, seed, 14);
        world.place_files(60, stores.length(1 << 20));
        let leaver = members(&world)[seed as usize % 14];
        world.leave_slot(leaver);
        // From a tenth of a second on; it is gone after one or two.
        world.run_for(SECOND / 10 * (1 + 3 * (seed as u32 % 12)));
        world.crash_slot(leaver);
        for _ in 0..600 {
            world.run_for(SECOND / 10);
            check::copies_at_least(&world, 2).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        }
        settle(&mut world, MINUTE, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}
