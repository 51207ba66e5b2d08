//! Peers that leave, and hand their files over first.

use std::time::Duration;

use quoit::sim::storage::{Ended, Outcome, Requested, check};
use quoit::sim::{Slot, World, check as ring, seeds};

use super::harness::{
    MINUTE, SECOND, all_are_found_everywhere, converged_on, keepers, members, on_both, requested, settle,
};

/// Lets time pass until these peers have left and nothing else is under way. Asserts that no acknowledged file is below
/// W meanwhile.
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

/// Scenario 15. Goal: the owner, a replica, or the storing peer may leave in the middle of a transfer.
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
    for (seed, stores) in on_both(seeds(0..4)) {
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

/// Scenario 15. Goal: a leaver that crashes before it has handed over counts as crashed; one that crashes after its
/// farewell counts as left. No acknowledged file is below W in either case, nor later.
#[test]
fn a_leaver_crashes() {
    for (seed, stores) in on_both(seeds(0..12)) {
        let mut world = converged_on(stores, seed, 14);
        world.place_files(60, stores.length(1 << 20));
        let leaver = members(&world)[seed as usize % 14];
        world.leave_slot(leaver);
        // After a tenth of a second or more; the leaver is gone after one or two seconds.
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

/// The outcome when a peer is asked to leave.
fn asked_to_leave(world: &mut World, slot: Slot, seed: u64) -> Outcome {
    world.take_ended();
    world.ask_to_leave(slot);
    let mut outcome = None;
    for _ in 0..40 * 60 {
        world.run_for(SECOND);
        outcome = world.take_ended().into_iter().find(|ended| ended.at == slot).map(|ended| ended.outcome);
        if outcome.is_some() {
            break;
        }
    }
    outcome.unwrap_or_else(|| panic!("seed {seed}: {slot} neither leaves nor says that it stays"))
}

/// Goal: a peer that is not forced leaves when all copies are made. It stays, and says which files would be left, if
/// too few peers would remain or if the others take nothing. Then it is a member as before, and no copy is lost.
#[test]
fn a_peer_stays_where_copies_would_be_missing() {
    for (seed, stores) in on_both(seeds(0..4)) {
        let mut world = converged_on(stores, seed, 6);
        world.place_files(12, 1 << 16);
        world.run_for(SECOND * 3);
        let leaver = members(&world)[seed as usize % 6];
        let outcome = asked_to_leave(&mut world, leaver, seed);
        assert!(matches!(outcome, Outcome::Left { .. }), "seed {seed}: {outcome:?}");
        settle(&mut world, MINUTE * 2, seed);
        // No other disk takes bytes.
        let all = members(&world);
        let leaver = all[seed as usize % all.len()];
        for slot in all.iter().filter(|slot| **slot != leaver) {
            world.with_disk(*slot, |disk| disk.set_capacity(0));
        }
        let outcome = asked_to_leave(&mut world, leaver, seed);
        let Outcome::Stays(why) = &outcome else { panic!("seed {seed}: {outcome:?}") };
        assert!(why.contains("would remain") && why.contains("nothing moves any more"), "seed {seed}: {why}");
        // Three of five peers are away.
        let away: Vec<Slot> = all.iter().copied().filter(|slot| *slot != leaver).skip(1).collect();
        away.iter().for_each(|slot| world.crash_slot(*slot));
        world.run_for(MINUTE);
        let outcome = asked_to_leave(&mut world, leaver, seed);
        let Outcome::Stays(why) = &outcome else { panic!("seed {seed}: {outcome:?}") };
        assert!(why.contains("would remain"), "seed {seed}: {why}");
        assert!(members(&world).contains(&leaver), "seed {seed}: it is still a member");
        away.iter().for_each(|slot| world.restart_slot(*slot));
        world.run_until(MINUTE * 5, ring::one_ordered_ring).unwrap();
        check::copies_at_least(&world, 1).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// Goal: an object that is requested by its content id, of which no record names length and outboard, comes from its
/// holders, which agree on both, even while one holder after the other dies.
#[test]
fn an_object_is_requested_by_its_content_id() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = converged_on(stores, seed, 9);
        world.place_files(3, stores.length(3 << 20));
        world.run_for(SECOND * 3);
        let file = world.acknowledged()[0].clone();
        let keepers = keepers(&world, &file.content);
        let others: Vec<Slot> = members(&world).into_iter().filter(|slot| !keepers.contains(slot)).collect();
        for (i, at) in others.iter().take(3).enumerate() {
            let id = world.request_content(*at, file.content);
            world.run_for(SECOND / 20 * (seed as u32 % 5));
            if i < 2 {
                world.crash_slot(keepers[i]);
            }
            let ended = world.finish(MINUTE * 3);
            let outcome = requested(&ended, id, seed);
            assert!(matches!(outcome, Requested::Found { .. }), "seed {seed}, {i}: {outcome:?}");
        }
    }
}
