//! Names: one winner everywhere, whatever clocks say and whichever peers were away.

use quoit::sim::storage::{Outcome, Requested, check};
use quoit::sim::{World, seeds};
use quoit::wire::RecordTarget;

use super::harness::{
    MINUTE, SECOND, all_are_found_everywhere, converged_on, members, on_both, request_everywhere, requested,
    settings, settle, stored,
};

fn owner_of_name(world: &World, name: &str) -> u32 {
    let key = quoit::id::FileName::new(name).unwrap().key();
    world.first_at_or_after(&key).unwrap()
}

/// Scenario 17. Goal: writers whose clocks are an hour behind still replace the records of others, since they have seen
/// them. Writers whose clocks are an hour ahead of the owner's are refused, and harm no later writer.
#[test]
fn clocks_that_are_an_hour_off() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = converged_on(stores, seed, 12);
        let owner = owner_of_name(&world, "a.txt");
        let at: Vec<_> = members(&world).into_iter().filter(|slot| *slot != owner).collect();
        let hour = 3_600_000;
        world.set_clock_offset(at[0], -hour);
        world.set_clock_offset(at[1], hour);
        let mut versions = Vec::new();
        for (writer, goes) in [(at[2], true), (at[0], true), (at[1], false), (at[3], true), (at[0], true)] {
            let id = world.store(writer, "a.txt", 1 << 20);
            let ended = world.finish(MINUTE * 2);
            if goes {
                versions.push(stored(&ended, id, seed).record);
            } else {
                let failure = super::harness::failed(&ended, id, seed);
                assert!(format!("{failure:?}").contains("ahead"), "seed {seed}: {failure:?}");
            }
        }
        for two in versions.windows(2) {
            assert!(
                two[0].clock < two[1].clock && two[0].version + 1 == two[1].version,
                "seed {seed}: {two:?}"
            );
        }
        settle(&mut world, MINUTE, seed);
        let latest = versions.last().unwrap().target;
        let RecordTarget::Content { content, .. } = latest else { panic!() };
        for (slot, _, what) in request_everywhere(&mut world, &["a.txt".to_owned()]) {
            assert!(
                matches!(what, Requested::Found { content: found, .. } if found == content),
                "{slot} {what:?}"
            );
        }
    }
}

/// Goal: a read gives the record to a replica that lacks it, without waiting for a round of repair.
#[test]
fn a_read_brings_the_replicas_up_to_date() {
    for seed in seeds(0..4) {
        let mut world = converged_on(super::harness::Stores::Light, seed, 12);
        world.place_files(40, 1 << 10);
        world.run_for(MINUTE);
        let names = ["file-1", "file-2"];
        let keys = names.map(|name| quoit::id::FileName::new(name).unwrap().key());
        let owner = owner_of_name(&world, names[0]);
        world.with_disk(owner, quoit::sim::disk::Disk::lose);
        let reader = members(&world).into_iter().find(|slot| *slot != owner).unwrap();
        let id = world.request(reader, names[0]);
        let ended = world.finish(SECOND * 2);
        assert!(matches!(requested(&ended, id, seed), Requested::Found { .. }), "seed {seed}");
        world.run_for(SECOND);
        let here = world.with_disk(owner, |disk| disk.record_keys()).unwrap();
        assert!(here.contains(&keys[0]), "seed {seed}");
        assert!(
            !here.contains(&keys[1]),
            "seed {seed}: a round of repair came first, and this test shows nothing"
        );
        settle(&mut world, MINUTE * 2, seed);
    }
}

/// Reported: version 2 was acknowledged by the owner and the second replica; the owner died; the first replica, now the
/// owner, answered with version 1, and the next write made version 2 a sibling.
///
/// Goal: no reader gets a version older than the acknowledged one, and each writer replaces the acknowledged one.
#[test]
fn a_new_owner_does_not_hide_what_others_have() {
    for (seed, stores) in on_both(seeds(0..12)) {
        let mut world = converged_on(stores, seed, 12);
        let key = quoit::id::FileName::new("a.txt").unwrap().key();
        let mut around = members(&world);
        around.sort_by_key(|slot| key.distance_to(&world.entry(*slot).unwrap().position));
        let (owner, first, writer, reader) = (around[0], around[1], around[5], around[7]);
        let one = world.store(writer, "a.txt", 1 << 10);
        let ended = world.finish(MINUTE);
        assert_eq!(stored(&ended, one, seed).record.version, 1);
        settle(&mut world, MINUTE, seed);
        world.network.cut(owner, first);
        let two = world.store(writer, "a.txt", 1 << 10);
        let ended = world.finish(MINUTE);
        let second = stored(&ended, two, seed);
        assert_eq!(second.record.version, 2, "seed {seed}");
        world.crash_slot(owner);
        let (mut asked, mut third) = (Vec::new(), None);
        for step in 0..400 {
            world.run_for(SECOND / 20);
            asked.push(world.request(reader, "a.txt"));
            if world.first_at_or_after(&key) == Some(first) && step == 20 * (seed as usize % 20) {
                third = Some(world.store(writer, "a.txt", 1 << 10));
            }
        }
        let ended = world.finish(MINUTE);
        let third = stored(&ended, third.unwrap(), seed);
        assert_eq!(third.record.version, 3, "seed {seed}: it replaces version 1");
        let allowed = [second.content, third.content];
        for id in asked {
            match requested(&ended, id, seed) {
                Requested::Found { content, .. } => {
                    assert!(allowed.contains(&content), "seed {seed}: request {id} got version 1");
                }
                other => assert!(!matches!(other, Requested::Unknown), "seed {seed}: {other:?}"),
            }
        }
    }
}

/// Scenario 17. Goal: an owner whose own clock is an hour ahead, or behind, refuses no writer with a right clock for
/// longer than its error takes to show, and the greatest record wins everywhere.
#[test]
fn an_owner_whose_clock_is_ahead() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = converged_on(stores, seed, 12);
        let owner = owner_of_name(&world, "a.txt");
        world.set_clock_offset(owner, 3_600_000);
        let at = members(&world);
        for i in 0..3 {
            let id = world.store(at[(seed + i) as usize % at.len()], "a.txt", 1 << 20);
            let ended = world.finish(MINUTE * 2);
            stored(&ended, id, seed);
        }
        settle(&mut world, MINUTE, seed);
    }
}

/// Scenario 17. Goal: a name that is removed while a replica of it is away stays removed, for a request at any peer,
/// when the replica comes back with the old record. Method: the replica is away for 20 minutes; with `QUOIT_LONG` for
/// 89 days and pings once a minute.
#[test]
fn a_tombstone_wins_over_a_late_replica() {
    let long = std::env::var_os("QUOIT_LONG").is_some();
    let (interval, away) = if long { (MINUTE, MINUTE * 60 * 24 * 89) } else { (SECOND, MINUTE * 20) };
    for seed in seeds(0..8) {
        let mut world = World::converged(seed, settings(seed), 12, interval, 4_096);
        world.enable_files();
        let at = members(&world);
        let id = world.store(at[seed as usize % 12], "a.txt", 1 << 20);
        let ended = world.finish(MINUTE);
        stored(&ended, id, seed);
        settle(&mut world, MINUTE, seed);
        let owner = owner_of_name(&world, "a.txt");
        let place = at.iter().position(|slot| *slot == owner).unwrap();
        // The late peer is the owner, or one of the two behind it.
        let late = at[(place + seed as usize % 3) % at.len()];
        world.crash_slot(late);
        world.run_for(interval * 15);
        let other = *at.iter().find(|slot| **slot != late).unwrap();
        world.remove(other, "a.txt");
        let ended = world.finish(MINUTE);
        assert!(matches!(ended[0].outcome, Outcome::Removed(Ok(_))), "seed {seed}: {ended:?}");
        world.run_for(away);
        world.restart_slot(late);
        for _ in 0..100 {
            world.run_for(SECOND / 10);
            let asks = at[seed as usize * 5 % at.len()];
            if world.node(asks).is_some_and(|node| node.is_member()) {
                let id = world.request(asks, "a.txt");
                let ended = world.finish(MINUTE);
                assert_eq!(requested(&ended, id, seed), Requested::Unknown, "seed {seed}");
            }
        }
        world.run_for(MINUTE);
        check::names_agree(&world).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let asked = request_everywhere(&mut world, &["a.txt".to_owned()]);
        assert!(asked.iter().all(|(.., what)| *what == Requested::Unknown), "seed {seed}: {asked:?}");
    }
}

/// Goal: a removed name can be stored again.
#[test]
fn a_removed_name_is_stored_again() {
    for (seed, stores) in on_both(seeds(0..4)) {
        let mut world = converged_on(stores, seed, 12);
        let at = members(&world);
        world.store(at[0], "a.txt", 1 << 20);
        world.finish(MINUTE);
        world.remove(at[1], "a.txt");
        world.finish(MINUTE);
        let id = world.store(at[2], "a.txt", 1 << 20);
        let ended = world.finish(MINUTE);
        assert_eq!(stored(&ended, id, seed).record.version, 3, "seed {seed}");
        all_are_found_everywhere(&mut world, seed);
    }
}
