//! Stores and requests, on a good network and on a bad one, while the ring changes.

use quoit::sim::storage::{Ended, Outcome, Requested, check};
use quoit::sim::{check as ring, seeds};

use super::harness::{
    MINUTE, SECOND, all_are_found_everywhere, converged_on, keepers, members, on_both, request_everywhere,
    settle, stored, until_member,
};

/// Goal: an acknowledged file is durable at W peers at that moment, at R soon after, and every peer finds it.
#[test]
fn a_stored_file_is_found_from_every_peer() {
    for (seed, stores) in on_both(seeds(0..4)) {
        for peers in [1, 2, 3, 12] {
            let mut world = converged_on(stores, seed, peers);
            let at = members(&world);
            for i in 0..20 {
                let id = world.store(at[i % peers], &format!("{i}.txt"), (i as u64) << 18);
                let ended = world.finish(MINUTE);
                let stored = stored(&ended, id, seed);
                assert!(
                    stored.holders.len() >= world.settings.write_quorum(peers),
                    "seed {seed}: {stored:?}"
                );
                check::copies_at_least(&world, world.settings.write_quorum(peers)).unwrap();
            }
            settle(&mut world, SECOND * 5, seed);
            all_are_found_everywhere(&mut world, seed);
            let unknown = request_everywhere(&mut world, &["nothing.txt".to_owned()]);
            assert!(unknown.iter().all(|(.., requested)| *requested == Requested::Unknown), "{unknown:?}");
        }
    }
}

/// Scenario 13. Goal: with three tenths of all packets lost, datagrams doubled and held up, and ways that are cut for a
/// while so that answers are lost for good, a store that is tried again makes nothing twice, acknowledged files are
/// there, and bytes that are there already are not moved again.
#[test]
fn stores_are_idempotent_on_a_bad_network() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = converged_on(stores, seed, 12);
        let at = members(&world);
        world.network.loss = 0.3;
        world.network.duplication = 0.3;
        world.network.holdups = (0.1, SECOND * 5);
        let label = |i: u64| [seed, i].map(u64::to_be_bytes).concat();
        for i in 0..8 {
            // Two peers store the same file under the same name at once; a third stores it under another name.
            for (peer, name) in [(i, "a"), (i + 4, "a"), (i + 7, "b")] {
                let slot = at[peer as usize % at.len()];
                world.store_labelled(slot, &format!("{i}-{name}.txt"), &label(i), stores.length(3 << 20));
            }
            let (one, other) = (at[i as usize], at[(i as usize + 5) % at.len()]);
            world.network.cut(one, other);
            world.run_for(SECOND);
        }
        world.run_for(SECOND * 20);
        world.network.calm();
        let first = world.finish(MINUTE * 5);
        assert_eq!(first.len(), 24);
        settle(&mut world, MINUTE * 2, seed);
        all_are_found_everywhere(&mut world, seed);
        let before = world.moved().stored;
        let again: Vec<u64> = (0..8)
            .map(|i| world.store_labelled(at[0], &format!("{i}-a.txt"), &label(i), stores.length(3 << 20)))
            .collect();
        let ended = world.finish(MINUTE);
        again.iter().for_each(|id| drop(stored(&ended, *id, seed)));
        assert_eq!(world.moved().stored, before, "seed {seed}: bytes that are there are not moved again");
        for (i, id) in again.iter().enumerate() {
            let record = stored(&ended, *id, seed).record;
            // The name stands for these bytes already: its record is one of those that were written before.
            let written =
                |one: &Ended| matches!(&one.outcome, Outcome::Stored(Ok(file)) if file.record == record);
            assert!(first.iter().any(written), "seed {seed}: {i} {record:?}");
        }
    }
}

/// Scenario 16. Goal: while peers join and die around the keys, every peer finds an acknowledged file at any moment
/// afterwards, and no peer ever says "no such file" of it.
#[test]
fn a_file_acknowledged_while_ownership_moves_is_found() {
    for (seed, stores) in on_both(seeds(0..4)) {
        let mut world = converged_on(stores, seed, 14);
        world.oracle.safety = false;
        let at = members(&world);
        let (mut ids, mut names) = (Vec::new(), Vec::new());
        for round in 0..6u64 {
            for i in 0..4 {
                let slot = members(&world)[(round * 5 + i) as usize % world.living().len()];
                let name = format!("{round}-{i}.txt");
                ids.push(world.store(slot, &name, stores.length(4 << 20)));
            }
            world.run_for(SECOND / 10);
            match round % 3 {
                0 => drop((world.join_one(), world.join_one())),
                1 => world.crash_slot(at[(seed + round) as usize % at.len()]),
                _ => drop(world.join_one()),
            }
            world.run_for(SECOND * 2);
            // All peers request each acknowledged file, in the middle of all this.
            names = world.acknowledged().iter().map(|file| file.name.to_string()).collect();
            for (i, name) in names.iter().enumerate() {
                let slot = members(&world)[i * 7 % world.living().len()];
                world.request(slot, name);
            }
        }
        for ended in world.finish(MINUTE * 3) {
            if let Outcome::Requested(requested) = ended.outcome {
                assert_ne!(requested, Requested::Unknown, "seed {seed}: at {}", ended.at);
            }
        }
        assert!(names.len() > 12, "seed {seed}: {} of {} were acknowledged", names.len(), ids.len());
        settle(&mut world, MINUTE * 2, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Scenario 16. Goal: a joiner that is asked for a file that it does not have yet says so, and all peers, the joiner
/// too, find files that older members have.
#[test]
fn a_request_reaches_a_joiner_that_is_taking_over() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = converged_on(stores, seed, 14);
        world.place_files(150, stores.length(4 << 20));
        let joiner = world.join_one().unwrap();
        until_member(&mut world, joiner, seed);
        let others = members(&world);
        for i in 0..150 {
            world.request(if i % 3 == 0 { joiner } else { others[i % others.len()] }, &format!("file-{i}"));
        }
        for ended in world.finish(MINUTE * 3) {
            let Outcome::Requested(requested) = &ended.outcome else { continue };
            assert!(matches!(requested, Requested::Found { .. }), "seed {seed}: {ended:?}");
        }
        settle(&mut world, MINUTE, seed);
    }
}

/// Scenario 5. Goal: a peer joins through one that is still taking over its files. Both are members soon, and all files
/// are where they belong.
#[test]
fn a_peer_joins_through_one_that_is_taking_over() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = converged_on(stores, seed, 14);
        world.place_files(60, stores.length(1 << 20));
        let elder = world.join_one().unwrap();
        until_member(&mut world, elder, seed);
        assert!(check::in_place(&world).is_err(), "seed {seed}: it has taken over all");
        let joiner = world.join_through(elder).unwrap();
        until_member(&mut world, joiner, seed);
        settle(&mut world, MINUTE, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Scenario 16. Goal: the owner dies at some moment of a store, with W − 1 copies durable or fewer or more; the store
/// goes on with the next owner of the key. If the storing peer dies too, the file is whole or absent.
#[test]
fn the_owner_dies_in_the_middle_of_a_store() {
    for (seed, stores) in on_both(seeds(0..24)) {
        for both_die in [false, true] {
            let mut world = converged_on(stores, seed, 14);
            let content = world.content_of(&seed.to_be_bytes(), stores.length(25_000_000));
            let keepers = keepers(&world, &content);
            let from = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
            // The bytes take two seconds from peer to peer, and the syncs come at the end.
            let id = world.store_labelled(from, "large.bin", &seed.to_be_bytes(), stores.length(25_000_000));
            world.run_for(SECOND * 2 / 20 * (seed as u32 % 22) + SECOND / 1_000 * (seed as u32 % 100));
            world.crash_slot(keepers[0]);
            if both_die {
                world.crash_slot(from);
                world.run_for(MINUTE);
                let asked = request_everywhere(&mut world, &["large.bin".to_owned()]);
                let found = asked.iter().filter(|(.., what)| matches!(what, Requested::Found { .. })).count();
                let fine = |what: &Requested| match what {
                    Requested::Found { .. } => found == asked.len(),
                    Requested::Unknown | Requested::CannotTell(_) => found == 0,
                    _ => false,
                };
                assert!(asked.iter().all(|(.., what)| fine(what)), "seed {seed}: {asked:?}");
            } else {
                let ended = world.finish(MINUTE * 3);
                stored(&ended, id, seed);
                check::copies_at_least(&world, 2).unwrap();
                all_are_found_everywhere(&mut world, seed);
                settle(&mut world, MINUTE * 2, seed);
            }
        }
    }
}

/// Scenario 8, of a transfer. Goal: a process that takes part in a store is stopped in the middle of it, for a second,
/// for long enough to be taken for dead, for an hour, and goes on: an acknowledged file is found everywhere and has all
/// its copies in the end, and any other file is whole or absent.
#[test]
fn a_process_stops_in_the_middle_of_a_transfer() {
    for (stopped, count) in [(SECOND, 12), (SECOND * 6, 12), (MINUTE * 60, 3)] {
        for (seed, stores) in on_both(seeds(0..count)) {
            let mut world = converged_on(stores, seed, 14);
            world.oracle.safety = false;
            let content = world.content_of(&seed.to_be_bytes(), stores.length(25_000_000));
            let keepers = keepers(&world, &content);
            let from = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
            let id = world.store_labelled(from, "large.bin", &seed.to_be_bytes(), stores.length(25_000_000));
            world.run_for(SECOND / 12 * (1 + seed as u32));
            // The owner, a replica, or the storing peer.
            let who = [keepers[0], keepers[1], from][seed as usize % 3];
            world.pause_slot(who, true);
            world.run_for(stopped);
            world.pause_slot(who, false);
            let ended = world.finish(MINUTE * 3);
            let outcome = ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome);
            let acknowledged = match outcome {
                Some(Outcome::Stored(Ok(_))) => true,
                // A process that wakes after an hour has exceeded its user's time limit as well.
                Some(Outcome::Stored(Err(_))) if who == from => false,
                other => panic!("seed {seed}, {stopped:?}: {other:?}"),
            };
            world
                .run_until(MINUTE * 2, ring::one_ordered_ring)
                .unwrap_or_else(|why| panic!("seed {seed}, {stopped:?}: {why}"));
            settle(&mut world, MINUTE * 2, seed);
            let asked = request_everywhere(&mut world, &["large.bin".to_owned()]);
            let found = asked.iter().filter(|(.., what)| matches!(what, Requested::Found { .. })).count();
            let whole = if acknowledged { found == asked.len() } else { found == 0 || found == asked.len() };
            assert!(whole, "seed {seed}, {stopped:?}, acknowledged {acknowledged}: {asked:?}");
        }
    }
}
