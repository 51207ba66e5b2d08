//! Rings in everyday life: slow disks, bad copies, departures over slow lines, other addresses.

use std::time::Duration;

use quoit::sim::storage::{FileSettings, Outcome, Requested};
use quoit::sim::{Slot, World, check as ring, seeds};

use super::harness::{
    MINUTE, SECOND, Stores, all_are_found_everywhere, converged_on, keepers, members, on_both,
    request_everywhere, settings, settle, stored, until_member,
};
use crate::false_death;

/// Scenario 25. Goal: while files move to, from and past a peer behind a line of 1 or 8 Mbit/s with a queue of 300 KB
/// or 1 MB, no peer is declared dead, no other copy waits for that peer, and it has its copies in the end. Without the
/// congestion control of a running peer, which leaves the line free for pings, that peer is declared dead: so the
/// traffic is heavy enough.
#[test]
fn traffic_over_a_slow_line_kills_nobody() {
    let mut dead_without_pacing = 0;
    for (seed, stores) in on_both(seeds(0..6)) {
        for (bytes_s, queue_bytes) in [(125_000, 300_000), (125_000, 1_000_000), (1_000_000, 1_000_000)] {
            let what = format!("seed {seed}, {stores:?}, {bytes_s} B/s, {queue_bytes} B");
            let (world, slow) = ring_behind_a_line(seed, stores, bytes_s, queue_bytes, true);
            assert_eq!(false_death(&world), None, "{what}: {slow}");
            let (world, _) = ring_behind_a_line(seed, stores, bytes_s, queue_bytes, false);
            dead_without_pacing += u32::from(false_death(&world).is_some());
        }
    }
    assert!(dead_without_pacing > 0, "the traffic is too light to show anything");
}

/// Runs a store, requests and a repair to, from and past a peer behind such a line. Returns the world and that peer.
fn ring_behind_a_line(
    seed: u64,
    stores: Stores,
    bytes_s: u64,
    queue_bytes: u64,
    paced: bool,
) -> (World, Slot) {
    let mut world = World::converged(seed, settings(seed), 9, SECOND, 4_096);
    world.enable_files_with(FileSettings {
        slice_bytes: 8_192,
        real_stores: stores == Stores::Real,
        ..FileSettings::default()
    });
    world.place_files(9, stores.length(1 << 20));
    world.run_for(SECOND * 3);
    let (label, length) = (seed.to_be_bytes(), stores.length(6_000_000));
    let content = world.content_of(&label, length);
    let of_store = keepers(&world, &content);
    let slow = of_store[2];
    world.network.set_line(slow, bytes_s, queue_bytes, paced);
    let others: Vec<Slot> = members(&world).into_iter().filter(|slot| !of_store.contains(slot)).collect();
    let began = world.now();
    let id = world.store_labelled(others[0], "past.bin", &label, length);
    for i in 0..9 {
        world.request(slow, &format!("file-{i}"));
        world.request(others[i % others.len()], &format!("file-{i}"));
    }
    let ended = world.finish(MINUTE * 10);
    if paced {
        let store = ended.iter().find(|ended| ended.id == id).unwrap();
        assert!(matches!(store.outcome, Outcome::Stored(Ok(_))), "seed {seed}: {store:?}");
        let (took, alone) = (store.ended - began, Duration::from_secs(length / bytes_s));
        assert!(took < (alone / 2).max(SECOND * 10), "seed {seed}: {took:?}, alone {alone:?}");
    }
    // A neighbour of that peer dies, so that its files go to others, that peer among them.
    world.crash_slot(others[1]);
    world.run_for(MINUTE);
    if paced {
        settle(&mut world, MINUTE * 10, seed);
    }
    (world, slow)
}

/// Scenario 26. Goal: with disks whose every call takes 1 to 500 ms, so that a vote, a take-over or a departure is in
/// the middle of one when something else happens, no peer denies an acknowledged file, and no record is lost.
#[test]
fn disks_that_take_their_time() {
    for (seed, stores) in on_both(seeds(0..4)) {
        let mut world = World::converged(seed, settings(seed), 10, SECOND, 4_096);
        world.oracle.safety = false;
        world.enable_files_with(FileSettings {
            call_time: (Duration::from_millis(1), Duration::from_millis(500)),
            sync_time: Duration::from_millis(300),
            real_stores: stores == Stores::Real,
            ..FileSettings::default()
        });
        world.place_files(20, 1 << 18);
        let (mut asked, mut stored) = (0, 0);
        for round in 0..8u64 {
            let at = members(&world);
            for i in 0..4 {
                world.store(at[(round + i) as usize % at.len()], &format!("{round}-{i}.bin"), 1 << 18);
            }
            match (round + seed) % 4 {
                0 => drop(world.join_one()),
                1 => world.leave_slot(at[round as usize % at.len()]),
                2 => world.crash_slot(at[round as usize % at.len()]),
                _ => drop((world.join_one(), world.join_one())),
            }
            let names: Vec<String> = world.acknowledged().iter().map(|file| file.name.to_string()).collect();
            for (i, name) in names.iter().enumerate() {
                let at = members(&world);
                world.request(at[(i * 7 + round as usize) % at.len()], name);
                world.run_for(SECOND / 10);
            }
            world.run_for(SECOND * 10);
        }
        for ended in world.finish(MINUTE * 10) {
            match ended.outcome {
                Outcome::Requested(what) => {
                    assert_ne!(what, Requested::Unknown, "seed {seed}, {stores:?}: at {}", ended.at);
                    asked += 1;
                }
                Outcome::Stored(Ok(_)) => stored += 1,
                Outcome::Stored(Err(_))
                | Outcome::Removed(_)
                | Outcome::Restored(_)
                | Outcome::Left { .. }
                | Outcome::Stays(_)
                | Outcome::Pinned(_)
                | Outcome::Unpinned(_)
                | Outcome::Evicted(_)
                | Outcome::Freed(_)
                | Outcome::Gathered(_) => {}
            }
        }
        assert!(asked > 100 && stored > 15, "seed {seed}, {stores:?}: {asked} requests, {stored} stores");
        settle(&mut world, MINUTE * 10, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// The keepers of bad copies, counted from the owner of the file.
const BAD: [&[usize]; 4] = [&[0], &[1], &[0, 1], &[1, 2]];

/// Scenario 28. Goal: bad copies at the owner, at a replica, at R − 1 of R are found once they are read, and healed
/// from a good one. Each request succeeds meanwhile, and no peer is blamed: the disks lied, not the peers.
#[test]
fn bad_copies_are_healed_from_a_good_one() {
    for seed in seeds(0..2) {
        for bad in BAD {
            let mut world = converged_on(Stores::Real, seed, 9);
            world.place_files(3, 5 << 19);
            world.run_for(SECOND * 30);
            let file = world.acknowledged()[0].clone();
            let keepers = keepers(&world, &file.content);
            for at in bad {
                world.with_disk(keepers[*at], |disk| disk.rot(&file.content));
            }
            // A copy that was hashed within the hour is believed if nobody wrote to it.
            world.run_for(MINUTE * 61);
            for (slot, _, what) in request_everywhere(&mut world, &[file.name.to_string()]) {
                assert!(matches!(what, Requested::Found { .. }), "seed {seed}, {bad:?}: {slot} {what:?}");
                let holds = world.with_disk(slot, |disk| disk.holds(&file.content)).unwrap();
                assert!(holds || keepers.contains(&slot), "seed {seed}, {bad:?}: {slot} has other bytes");
            }
            for slot in members(&world) {
                world.with_disk(slot, |disk| disk.check_reads());
            }
            settle(&mut world, MINUTE * 5, seed);
            for slot in members(&world) {
                assert_eq!(world.faults_seen(slot), [], "seed {seed}, {bad:?}: {slot}");
            }
        }
    }
}

/// Scenario 28. Goal: a part of a file that went bad while its receiver was down is noticed, and only the bad chunks
/// are fetched again; no peer is blamed for them.
#[test]
fn a_bad_part_is_noticed() {
    let mut cut_off = 0;
    for seed in seeds(0..24) {
        let mut world = converged_on(Stores::Real, seed, 9);
        let (label, length) = (seed.to_be_bytes(), 6_000_000);
        let content = world.content_of(&label, length);
        let keepers = keepers(&world, &content);
        let from = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
        let id = world.store_labelled(from, "a.bin", &label, length);
        // The owner has received two megabytes or more, and syncs nothing before the end.
        world.run_for(SECOND / 1_000 * (250 + 20 * (seed as u32 % 12)));
        let victim = keepers[0];
        world.crash_slot(victim);
        cut_off += u64::from(world.with_disk(victim, |disk| disk.spoil_part(&content)).unwrap());
        world.restart_slot(victim);
        let ended = world.finish(MINUTE * 3);
        stored(&ended, id, seed);
        settle(&mut world, MINUTE * 3, seed);
        all_are_found_everywhere(&mut world, seed);
        for slot in members(&world) {
            assert_eq!(world.faults_seen(slot), [], "seed {seed}: {slot}");
        }
    }
    assert!(cut_off > 3, "only {cut_off} parts were there to go bad");
}

/// Scenario 10, of files. Goal: the owner of a file and one of its replicas do not reach each other, and the storing
/// peer does not reach the owner. A third peer forwards their messages, and all copies are made.
#[test]
fn files_go_through_a_third_peer() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = converged_on(stores, seed, 9);
        world.oracle.safety = false;
        let (label, length) = (seed.to_be_bytes(), 5 << 19);
        let content = world.content_of(&label, length);
        let keepers = keepers(&world, &content);
        let from = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
        for (one, other) in [(keepers[0], keepers[1]), (from, keepers[0])] {
            world.network.cut(one, other);
            world.network.cut(other, one);
        }
        let id = world.store_labelled(from, "a.bin", &label, length);
        let ended = world.finish(MINUTE * 3);
        stored(&ended, id, seed);
        settle(&mut world, MINUTE * 3, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Scenario 29. Goal: the only peer that has a copy of a file leaves, over a line of one megabit a second; or two such
/// peers leave; or one is killed while its neighbour leaves. No acknowledged file is lost: the leaving peer waits as
/// long as bytes move.
#[test]
fn a_departure_with_the_only_copy() {
    for (seed, stores) in on_both(seeds(0..8)) {
        for others in ["stay", "one leaves too", "one dies meanwhile"] {
            let mut world = World::converged(seed, settings(seed), 8, SECOND, 4_096);
            world.oracle.safety = false;
            world.enable_files_with(FileSettings {
                bandwidth_bytes_s: 125_000,
                slice_bytes: 62_500,
                real_stores: stores == Stores::Real,
                ..FileSettings::default()
            });
            world.place_files(1, 3 << 20);
            world.run_for(SECOND * 3);
            let file = world.acknowledged()[0].clone();
            let keepers = keepers(&world, &file.content);
            for slot in &keepers[1..] {
                // The disks of these peers are new when they come back, and they come back at once.
                world.crash_slot(*slot);
                world.with_disk(*slot, |disk| disk.lose());
                world.restart_slot(*slot);
            }
            keepers[1..].iter().for_each(|slot| until_member(&mut world, *slot, seed));
            let copies = world.copies_of_all()[&file.content];
            assert_eq!(copies, 1, "seed {seed}, {stores:?}: the line is slow");
            world.leave_slot(keepers[0]);
            let bystander = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
            match others {
                "one leaves too" => world.leave_slot(keepers[1]),
                "one dies meanwhile" => {
                    world.run_for(SECOND * 3);
                    world.crash_slot(bystander);
                }
                _ => {}
            }
            let left = world.run_until(MINUTE * 20, |world| match members(world).contains(&keepers[0]) {
                false => Ok(()),
                true => Err("it is still there".to_owned()),
            });
            left.unwrap_or_else(|why| panic!("seed {seed}, {stores:?}, {others}: {why}"));
            let copies = world.copies_of_all().get(&file.content).copied().unwrap_or(0);
            assert!(copies > 0, "seed {seed}, {stores:?}, {others}: {} is lost", file.name);
            settle(&mut world, MINUTE * 20, seed);
        }
    }
}

/// Scenario 30. Goal: all peers get other addresses while all are stopped. Each is told where the first of them is now,
/// and the last one comes a minute late: one ring again, with all files.
#[test]
fn all_addresses_change_while_all_are_stopped() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = converged_on(stores, seed, 7);
        world.oracle.safety = false;
        for i in 0..8 {
            let at = members(&world);
            world.store(at[i % at.len()], &format!("{i}.bin"), 1 << 18);
        }
        world.finish(MINUTE);
        assert_eq!(world.files_acknowledged(), 8, "seed {seed}");
        world.run_for(SECOND * 40);
        let all = members(&world);
        all.iter().for_each(|slot| world.crash_slot(*slot));
        world.run_for(MINUTE);
        let first = world.restart_elsewhere(all[0], &[]).unwrap();
        world.run_for(SECOND * 2);
        for slot in &all[1..6] {
            world.restart_elsewhere(*slot, &[first]).unwrap();
            world.run_for(SECOND);
        }
        world.run_for(MINUTE);
        world.restart_elsewhere(all[6], &[first]).unwrap();
        let whole = world.run_until(MINUTE * 5, |world| match members(world).len() {
            7 => ring::one_ordered_ring(world),
            count => Err(format!("{count} of 7 are members")),
        });
        whole.unwrap_or_else(|why| panic!("seed {seed}, {stores:?}: {why}"));
        settle(&mut world, MINUTE * 5, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}
