//! Peers that say in their pongs that they have no room.

use std::time::Duration;

use quoit::id::{ContentId, Position};
use quoit::sim::storage::check;
use quoit::sim::{Slot, World, seeds};

use super::harness::{
    MINUTE, SECOND, Stores, all_are_found_everywhere, keepers, members, on_both, settle,
    seven_that_free_surplus,
};

/// Stores files until so many of them belong at a peer; returns these.
fn store_for(world: &mut World, at: Slot, count: usize, length: u64, round: &str) -> Vec<ContentId> {
    let (mut files, mut tries) = (Vec::new(), 0u32);
    while files.len() < count {
        let label = format!("{round} {tries} {at}");
        tries += 1;
        let content = world.content_of(label.as_bytes(), length);
        if keepers(world, &content).contains(&at) {
            let from = members(world).into_iter().find(|slot| *slot != at).unwrap();
            world.store_labelled(from, &format!("{label}.bin"), label.as_bytes(), length);
            files.push(content);
        }
    }
    world.finish(MINUTE * 2);
    files
}

/// The peers that know by pongs that a peer has no room.
fn that_know(world: &World, full: &Position) -> Vec<Slot> {
    let knows = |slot: &Slot| {
        let node = world.node(*slot).unwrap();
        node.me().position != *full && node.view().full.contains(full)
    };
    members(world).into_iter().filter(knows).collect()
}

fn holds_all(world: &mut World, at: Slot, files: &[ContentId]) -> bool {
    world.with_disk(at, |disk| files.iter().all(|content| disk.holds(content))) == Some(true)
}

/// Goal: once a peer has refused a file for lack of room, its neighbours know that it is full, and what is stored then has
/// all its copies at once, at the next peers, without any repair. When there is room again, the pongs say so, and the copies
/// move back without anybody's help.
#[test]
fn a_full_peer_says_so_and_the_next_peers_get_the_files() {
    for (seed, stores) in on_both(seeds(0..6)) {
        let mut world = seven_that_free_surplus(seed, stores);
        let (full, length) = (members(&world)[seed as usize % 7], stores.length(1 << 20));
        let position = world.entry(full).unwrap().position;
        world.run_for(MINUTE);
        assert!(that_know(&world, &position).is_empty(), "seed {seed}: there is room");
        world.with_disk(full, |disk| disk.set_capacity(1 << 16));
        let mut files = store_for(&mut world, full, 1, length, "first");
        world
            .run_until(SECOND * 20, |world| match that_know(world, &position).len() {
                0..3 => Err("its neighbours do not know".to_owned()),
                _ => Ok(()),
            })
            .unwrap_or_else(|why| panic!("seed {seed}, {stores:?}: {why}"));
        world
            .run_until(MINUTE * 2, |world| check::copies_at_least(world, 3))
            .unwrap_or_else(|why| panic!("seed {seed}, {stores:?}: {why}"));
        world.run_for(MINUTE);
        let repaired = world.repair_bytes();
        files.extend(store_for(&mut world, full, 6, length, "second"));
        world.run_for(SECOND * 2);
        check::copies_at_least(&world, 3).unwrap_or_else(|why| panic!("seed {seed}, {stores:?}: {why}"));
        assert_eq!(world.repair_bytes(), repaired, "seed {seed}, {stores:?}: no copy was made by repair");
        assert!(!holds_all(&mut world, full, &files), "seed {seed}: there was no room");

        world.run_for(MINUTE * 5);
        assert!(that_know(&world, &position).len() >= 3, "seed {seed}, {stores:?}: it is full as before");
        world.with_disk(full, |disk| disk.mend());
        world
            .run_until(MINUTE * 3, |world| match that_know(world, &position).len() {
                0 => Ok(()),
                some => Err(format!("{some} peers still believe that it is full")),
            })
            .unwrap_or_else(|why| panic!("seed {seed}, {stores:?}: {why}"));
        settle(&mut world, MINUTE * 5, seed);
        assert!(holds_all(&mut world, full, &files), "seed {seed}, {stores:?}: its copies are back");
        let no_stand_in = |world: &World| match world.copies_of_all().values().max() {
            Some(4..) => Err("a stand-in is left".to_owned()),
            _ => Ok(()),
        };
        world
            .run_until(MINUTE * 20, no_stand_in)
            .unwrap_or_else(|why| panic!("seed {seed}, {stores:?}: {why}"));
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Goal: a peer that claims to be full, and is not, gets no new file by stores, and every file has its copies all the same;
/// one that says something else each second changes what its neighbours believe once a minute at most, and costs no file.
#[test]
fn a_false_or_flapping_claim_costs_no_copy() {
    for seed in seeds(0..6) {
        let mut world = seven_that_free_surplus(seed, Stores::Light);
        let claims = members(&world)[seed as usize % 7];
        let position = world.entry(claims).unwrap().position;
        world.claim_full(claims, true);
        world.run_for(SECOND * 10);
        assert!(that_know(&world, &position).len() >= 3, "seed {seed}");
        store_for(&mut world, claims, 4, 1 << 20, "claimed");
        world.run_for(SECOND);
        check::copies_at_least(&world, 3).unwrap_or_else(|why| panic!("seed {seed}: {why}"));

        let before: Vec<(Slot, u64)> = members(&world)
            .into_iter()
            .map(|slot| (slot, world.node(slot).unwrap().room_changes()))
            .collect();
        for second in 0..300u32 {
            world.claim_full(claims, second % 2 == 0);
            world.run_for(Duration::from_millis(1_000));
            if second % 60 == 7 {
                store_for(&mut world, claims, 1, 1 << 20, &format!("flapping {second}"));
            }
        }
        for (slot, changes) in before.into_iter().filter(|(slot, _)| *slot != claims) {
            let changes = world.node(slot).unwrap().room_changes() - changes;
            assert!(changes <= 8, "seed {seed}: {changes} changes in five minutes or a little more");
        }
        world
            .run_until(MINUTE * 5, |world| check::copies_at_least(world, 3))
            .unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!(world.files_lost(), 0, "seed {seed}");
        world.claim_full(claims, false);
        settle(&mut world, MINUTE * 5, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}
