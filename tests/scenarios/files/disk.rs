//! Disks that are full, fail, tear what they write, and rot.

use quoit::id::ContentId;
use quoit::sim::storage::{Outcome, Requested, StoreFailure, check};
use quoit::sim::{Slot, World, seeds};
use quoit::wire::MissingReason;

use super::harness::{
    MINUTE, SECOND, Stores, all_are_found_everywhere, converged_on, enable, keepers, members, on_both,
    request_everywhere, settings, settle, stored,
};

/// Stores a file until all R copies are there, and returns its keepers.
fn with_a_file(seed: u64, stores: Stores, length: u64) -> (World, ContentId, Vec<Slot>) {
    let mut world = converged_on(stores, seed, 12);
    let content = world.content_of(&seed.to_be_bytes(), length);
    let keepers = keepers(&world, &content);
    let from = members(&world)[seed as usize % 12];
    let id = world.store_labelled(from, "a.bin", &seed.to_be_bytes(), length);
    let ended = world.finish(MINUTE);
    stored(&ended, id, seed);
    settle(&mut world, MINUTE, seed);
    (world, content, keepers)
}

/// Scenario 18. Goal: if one of the R disks is full or fails its sync, the owner's or another, the store is
/// acknowledged and says which peer has no copy and why. If two disks fail, it is not acknowledged.
#[test]
fn a_disk_that_takes_nothing() {
    for (seed, stores) in on_both(seeds(0..6)) {
        for (full, failing) in [(true, 1), (false, 1), (true, 2), (false, 2)] {
            let mut world = converged_on(stores, seed, 12);
            let content = world.content_of(&seed.to_be_bytes(), 1 << 20);
            let keepers = keepers(&world, &content);
            let from = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
            for i in 0..failing {
                let slot = keepers[(seed as usize + i) % 3];
                world.with_disk(slot, |disk| match full {
                    true => disk.set_capacity(1 << 19),
                    false => disk.fail_next_sync(),
                });
            }
            let id = world.store_labelled(from, "a.bin", &seed.to_be_bytes(), 1 << 20);
            let ended = world.finish(MINUTE * 3);
            if failing == 1 {
                let stored = stored(&ended, id, seed);
                let slot = world.entry(keepers[seed as usize % 3]).unwrap().position;
                let missing = stored.missing.iter().find(|copy| copy.peer == slot).map(|copy| &copy.reason);
                assert!(missing.is_some_and(MissingReason::is_of_its_disk), "seed {seed}: {stored:?}");
                check::copies_at_least(&world, 2).unwrap();
                for (at, _, what) in request_everywhere(&mut world, &["a.bin".to_owned()]) {
                    let takes = at != keepers[seed as usize % 3];
                    assert_eq!(matches!(what, Requested::Found { .. }), takes, "seed {seed}: {at} {what:?}");
                }
            } else {
                let failure = super::harness::failed(&ended, id, seed);
                assert!(failure_of_disks(&failure), "seed {seed}: {failure:?}");
            }
        }
    }
}

/// Scenario 27. Goal: a peer has no room for its files for a day. Its neighbours hold the copies, no peer sends bytes
/// to it again and again, and every file is found. Once it has room it gets its copies.
#[test]
fn a_peer_without_room_for_a_day() {
    for (seed, stores) in on_both(seeds(0..2)) {
        let mut world = World::converged(seed, settings(seed), 7, SECOND * 10, 4_096);
        enable(&mut world, stores);
        let full = members(&world)[seed as usize % 7];
        world.with_disk(full, |disk| disk.set_capacity(1 << 19));
        let from = members(&world)[(seed as usize + 3) % 7];
        for i in 0..12 {
            world.store(from, &format!("{i}.bin"), 1 << 20);
        }
        world.finish(MINUTE * 10);
        assert_eq!(world.files_acknowledged(), 12, "seed {seed}");
        let moved = |world: &World| {
            let moved = world.moved();
            moved.stored + moved.repaired + moved.taken_over + moved.handed_over
        };
        // The other peers make the copies that the stores left undone.
        world.run_for(MINUTE * 10);
        let before = moved(&world);
        world.run_for(MINUTE * 60 * 24);
        assert_eq!(moved(&world) - before, 0, "seed {seed}");
        check::copies_at_least(&world, 2).unwrap();
        all_are_found_by_others(&mut world, full, seed);
        world.with_disk(full, |disk| disk.mend());
        settle(&mut world, MINUTE * 10, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Every acknowledged file is found from every living member but one, which has no room for it.
fn all_are_found_by_others(world: &mut World, full: Slot, seed: u64) {
    let names: Vec<String> = world.acknowledged().iter().map(|file| file.name.to_string()).collect();
    for (slot, name, what) in request_everywhere(world, &names) {
        let found = matches!(what, Requested::Found { .. });
        assert!(found || slot == full, "seed {seed}: {name} at {slot}: {what:?}");
    }
}

/// Scenario 18. Goal: a peer whose sync failed starts anew, and has all its files soon after.
#[test]
fn after_a_failed_sync_a_new_start_heals() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let (mut world, _, keepers) = with_a_file(seed, stores, 1 << 20);
        let poisoned = keepers[seed as usize % 3];
        world.with_disk(poisoned, |disk| disk.fail_next_sync());
        let from = members(&world)[0];
        for i in 0..6 {
            world.store(from, &format!("{i}.bin"), 1 << 20);
        }
        world.finish(MINUTE * 3);
        world.crash_slot(poisoned);
        world.restart_slot(poisoned);
        world.run_for(SECOND * 5);
        settle(&mut world, MINUTE * 3, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Scenario 18. Goal: a keeper that crashes at any moment of a transfer has a whole object afterwards or none, and
/// repair completes it.
#[test]
fn a_keeper_crashes_while_it_writes() {
    for (seed, stores) in on_both(seeds(0..24)) {
        let mut world = converged_on(stores, seed, 12);
        let content = world.content_of(&seed.to_be_bytes(), stores.length(12_500_000));
        let keepers = keepers(&world, &content);
        let from = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
        world.store_labelled(from, "a.bin", &seed.to_be_bytes(), stores.length(12_500_000));
        world.run_for(SECOND / 20 * (seed as u32 % 24 + 1));
        let victim = keepers[seed as usize % 3];
        let was_there = world.with_disk(victim, |disk| disk.holds(&content)).unwrap();
        world.crash_slot(victim);
        let is_there = world.with_disk(victim, |disk| disk.holds(&content)).unwrap();
        assert_eq!(was_there, is_there, "seed {seed}");
        world.run_for(SECOND * (seed as u32 % 5));
        world.restart_slot(victim);
        let ended = world.finish(MINUTE * 3);
        assert_eq!(world.files_acknowledged(), 1, "seed {seed}: {ended:?}");
        settle(&mut world, MINUTE * 3, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Scenario 18, first half. Goal: with rot on one copy, and on R − 1, every peer gets the right bytes or none, and
/// every peer finds the file as long as one copy is sound.
#[test]
fn nothing_corrupt_is_delivered() {
    for (seed, stores) in on_both(seeds(0..8)) {
        for rotten in [1, 2, 3] {
            let (mut world, content, keepers) = with_a_file(seed, stores, 5 << 20);
            for i in 0..rotten {
                world.with_disk(keepers[(seed as usize + i) % 3], |disk| disk.rot(&content));
            }
            for (slot, _, what) in request_everywhere(&mut world, &["a.bin".to_owned()]) {
                let sound = world.with_disk(slot, |disk| disk.holds(&content)).unwrap();
                match what {
                    // A peer with a rotten copy believes in it, since nobody has read it.
                    Requested::Found { sources, .. } if sources.is_empty() && keepers.contains(&slot) => {}
                    Requested::Found { .. } => assert!(sound, "seed {seed}: {slot}"),
                    Requested::Unreachable { corrupt, .. } => {
                        assert!(corrupt && rotten == 3, "seed {seed}: {slot}")
                    }
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
    }
}

/// Scenario 18, second half. Goal: rot on one copy, and on R − 1, is healed from the sound copies once it is noticed.
///
/// A running peer does not notice by itself yet: it has no scrub of all objects, and on an offer of an object that it
/// has it believes its index. So these disks check each object that they are asked for.
#[test]
fn rot_is_healed_where_it_is_noticed() {
    for (seed, stores) in on_both(seeds(0..8)) {
        for rotten in [1, 2] {
            let (mut world, content, keepers) = with_a_file(seed, stores, 5 << 20);
            for slot in members(&world) {
                world.with_disk(slot, |disk| disk.check_reads());
            }
            for i in 0..rotten {
                world.with_disk(keepers[(seed as usize + i) % 3], |disk| disk.rot(&content));
            }
            settle(&mut world, MINUTE * 2, seed);
        }
    }
}

/// Goal: a request at a peer with a full disk says so and harms no other peer.
#[test]
fn a_request_at_a_full_disk() {
    for stores in [Stores::Light, Stores::Real] {
        let (mut world, _, keepers) = with_a_file(1, stores, 5 << 20);
        let other = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
        world.with_disk(other, |disk| disk.set_capacity(1 << 20));
        world.request(other, "a.bin");
        let ended = world.finish(MINUTE);
        assert!(matches!(ended[0].outcome, Outcome::Requested(Requested::Disk)), "{ended:?}");
    }
}

/// Whether the copies are missing because disks fail or are full.
fn failure_of_disks(failure: &StoreFailure) -> bool {
    let StoreFailure::TooFewCopies { missing, .. } = failure else { return false };
    missing.iter().any(|copy| copy.reason.is_of_its_disk())
}
