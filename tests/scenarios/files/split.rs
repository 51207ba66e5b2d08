//! A ring that falls apart and comes together again.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use quoit::config::RingSettings;
use quoit::sim::storage::{Ended, Outcome, Requested, check};
use quoit::sim::{Slot, World, check as ring, seeds};
use quoit::wire::VersionChoice;

use super::harness::{
    MINUTE, SECOND, all_are_found_everywhere, converged, converged_with, members, request_everywhere,
    settings, settle,
};

/// The part that a peer is in, by its rank in the ring.
type Parts = fn(usize, usize) -> u8;

const SPLITS: [(&str, Parts); 4] = [
    ("half and half", |rank, count| u8::from(rank * 2 >= count)),
    ("every second one", |rank, _| (rank % 2) as u8),
    ("one in ten", |rank, count| u8::from(rank * 10 < count)),
    ("three parts", |rank, _| (rank % 3) as u8),
];

fn split(world: &mut World, parts: Parts) -> Vec<Vec<Slot>> {
    let all = members(world);
    let mut sides = vec![Vec::new(); 3];
    for (rank, slot) in all.iter().enumerate() {
        let part = parts(rank, all.len());
        world.network.set_group(*slot, part);
        sides[usize::from(part)].push(*slot);
    }
    sides.retain(|side| !side.is_empty());
    sides
}

fn heal(world: &mut World, seed: u64, how: &str) {
    world.heal();
    let whole = world.run_until(MINUTE * 10, ring::one_ordered_ring);
    whole.unwrap_or_else(|why| panic!("seed {seed}, {how}: {why}"));
}

fn come_together(world: &mut World, seed: u64, how: &str) {
    heal(world, seed, how);
    settle(world, MINUTE * 5, seed);
}

/// Restores each version of a name by its content, from any peer: the name stands for it, and no keeper of the record
/// counts a sibling any more.
fn settle_siblings(world: &mut World, name: &str, seed: u64) {
    let key = quoit::id::FileName::new(name).unwrap().key();
    let contents: Vec<_> =
        world.acknowledged().iter().filter(|f| f.name.as_str() == name).map(|f| f.content).collect();
    let at = members(world);
    for (i, content) in contents.iter().enumerate() {
        let choice = VersionChoice::Content(content.to_string());
        world.restore(at[i * 3 % at.len()], name, choice);
        let ended = world.finish(MINUTE);
        assert!(matches!(ended[0].outcome, Outcome::Restored(Ok(_))), "seed {seed}: {ended:?}");
        world.run_for(SECOND * 30);
        check::names_agree(world).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let mut keepers = at.clone();
        keepers.sort_by_key(|slot| key.distance_to(&world.entry(*slot).unwrap().position));
        for slot in &keepers[..3] {
            let history = world.with_disk(*slot, |disk| disk.record(&key).map(Cow::into_owned)).unwrap();
            assert_eq!(history.map_or(0, |history| history.siblings().count()), 0, "seed {seed}, {slot}");
        }
        for (slot, _, found) in request_everywhere(world, &[name.to_owned()]) {
            assert!(
                matches!(found, Requested::Found { content: c, .. } if c == *content),
                "seed {seed}, {slot}: {found:?}"
            );
        }
    }
}

/// Goal: a name that is removed on one side of a split, and written on the other at the same time, stands for the later
/// of the two at every peer; both stay in its history, and the other one is restored by its content.
#[test]
fn a_name_is_removed_on_one_side_and_written_on_the_other() {
    for seed in seeds(0..6) {
        let mut world = converged(seed, 16);
        world.oracle.safety = false;
        let before = world.store(members(&world)[0], "a.txt", 1 << 16);
        let ended = world.finish(MINUTE);
        assert!(ended.iter().any(|e| e.id == before && matches!(e.outcome, Outcome::Stored(Ok(_)))));
        settle(&mut world, MINUTE, seed);
        let sides = split(&mut world, SPLITS[1].1);
        world.run_for(SECOND * 30);
        // Either may be the later one.
        let removes_later = seed % 2 == 0;
        for step in [removes_later, !removes_later] {
            match step {
                true => world.store(sides[0][0], "a.txt", 1 << 17),
                false => world.remove(sides[1][0], "a.txt"),
            };
            let ended = world.finish(MINUTE);
            let done = |e: &Ended| matches!(e.outcome, Outcome::Stored(Ok(_)) | Outcome::Removed(Ok(_)));
            assert!(ended.iter().all(done), "seed {seed}: {ended:?}");
        }
        let written = world.acknowledged().last().unwrap().content;
        come_together(&mut world, seed, "every second one");
        for (slot, _, found) in request_everywhere(&mut world, &["a.txt".to_owned()]) {
            match removes_later {
                true => assert_eq!(found, Requested::Unknown, "seed {seed}, {slot}"),
                false => assert!(
                    matches!(found, Requested::Found { content, .. } if content == written),
                    "seed {seed}, {slot}: {found:?}"
                ),
            }
        }
        let choice = VersionChoice::Content(written.to_string());
        world.restore(members(&world)[3], "a.txt", choice);
        let ended = world.finish(MINUTE);
        assert!(matches!(ended[0].outcome, Outcome::Restored(Ok(_))), "seed {seed}: {ended:?}");
        for (slot, _, found) in request_everywhere(&mut world, &["a.txt".to_owned()]) {
            assert!(
                matches!(found, Requested::Found { content, .. } if content == written),
                "seed {seed}, {slot}: {found:?}"
            );
        }
    }
}

/// Scenario 11. Goal: every peer finds each file that was acknowledged before a split, or on either side of it, after
/// the split has healed. If several sides wrote a name, the greatest record wins everywhere, and its history has the
/// others.
#[test]
fn files_of_both_sides_of_a_split_are_found_after_it() {
    for seed in seeds(0..2) {
        for (how, parts) in SPLITS {
            let mut world = converged(seed, 20);
            world.oracle.safety = false;
            world.place_files(60, 1 << 16);
            let sides = split(&mut world, parts);
            world.run_for(SECOND * 30);
            for (i, side) in sides.iter().enumerate() {
                world.store(side[0], &format!("of-side-{i}.txt"), 1 << 20);
                world.store(side[side.len() - 1], "of-all-sides.txt", 1 << 20);
            }
            let ended = world.finish(MINUTE * 3);
            let stored = ended.iter().filter(|e| matches!(e.outcome, Outcome::Stored(Ok(_)))).count();
            world.run_for(SECOND * 30);
            come_together(&mut world, seed, how);
            all_are_found_everywhere(&mut world, seed);
            let key = quoit::id::FileName::new("of-all-sides.txt").unwrap().key();
            let owner = world.first_at_or_after(&key).unwrap();
            let written =
                world.acknowledged().iter().filter(|f| f.name.as_str() == "of-all-sides.txt").count();
            let history = world.with_disk(owner, |disk| disk.record(&key).map(Cow::into_owned)).unwrap();
            let siblings = history.map_or(0, |history| history.siblings().count());
            assert!(written >= 2, "seed {seed}, {how}: the name was written on {written} sides");
            assert!(
                siblings + 1 >= written,
                "seed {seed}, {how}: {siblings} siblings of {written}, {stored}"
            );
            settle_siblings(&mut world, "of-all-sides.txt", seed);
        }
    }
}

/// Scenario 11. Goal: the same after a long split (as long as a day for all that peers remember of each other), and
/// with a split that comes and goes.
#[test]
fn a_long_split_and_one_that_comes_and_goes() {
    for seed in seeds(0..1) {
        for flapping in [false, true] {
            let mut world = converged(seed, 20);
            world.oracle.safety = false;
            world.place_files(60, 1 << 16);
            if flapping {
                for _ in 0..6 {
                    split(&mut world, SPLITS[1].1);
                    world.run_for(SECOND * 7);
                    world.heal();
                    world.run_for(SECOND * 5);
                }
            } else {
                split(&mut world, SPLITS[0].1);
                world.run_for(Duration::from_secs(1_200));
            }
            come_together(&mut world, seed, "long or often");
            all_are_found_everywhere(&mut world, seed);
        }
    }
}

/// Scenario 11. Goal: during a split no peer says "no such file" of a file that may be on the other side.
#[test]
fn nobody_denies_what_may_be_on_the_other_side() {
    for seed in seeds(0..4) {
        let mut world = converged(seed, 20);
        world.oracle.safety = false;
        world.place_files(30, 1 << 16);
        split(&mut world, SPLITS[0].1);
        let names: Vec<String> = (0..30).map(|i| format!("file-{i}")).collect();
        for pause in [0, 5, 60] {
            world.run_for(SECOND * pause);
            for (slot, name, what) in request_everywhere(&mut world, &names) {
                assert_ne!(what, Requested::Unknown, "seed {seed}, after {pause} s: {name} at {slot}");
            }
        }
        world.heal();
        world.run_until(MINUTE * 10, ring::one_ordered_ring).unwrap();
        check::copies_at_least(&world, 1).unwrap();
    }
}

/// Stores files in each part of a split ring, at every peer in turn, and returns their names.
fn store_apart(world: &mut World, sides: &[Vec<Slot>], count: usize) -> Vec<String> {
    for i in 0..count {
        let side = &sides[i % sides.len()];
        world.store(side[i / sides.len() % side.len()], &format!("file-{i}"), 1 << 16);
    }
    world.finish(MINUTE * 3);
    world.acknowledged().iter().map(|file| file.name.to_string()).collect()
}

/// For 15 s every name is requested again and again, each time at the next peer. Returns the outcomes at peers that
/// knew, by then, that all peers are back.
fn request_all_along(world: &mut World, names: &[String]) -> Vec<Requested> {
    let mut knowing = BTreeSet::new();
    for step in 0..ROUNDS {
        world.run_for(SECOND / 4);
        let at = members(world);
        for (i, name) in names.iter().enumerate() {
            let slot = at[(step * 7 + i) % at.len()];
            let misses_nobody = world.node(slot).is_some_and(|node| node.view().away().count() == 0);
            let id = world.request(slot, name);
            if misses_nobody {
                knowing.insert(id);
            }
        }
    }
    let requested = |ended: Ended| match ended.outcome {
        Outcome::Requested(requested) if knowing.contains(&ended.id) => Some(requested),
        _ => None,
    };
    world.finish(MINUTE * 3).into_iter().filter_map(requested).collect()
}

/// Asserts that none of these answers denies a file, and that nearly all of them bring it.
fn nobody_denies(requested: &[Requested], names: usize, why: &str) {
    let asked = requested.len();
    assert!(asked * 4 >= names * ROUNDS * 3, "{why}: {asked} times a peer was asked that knows who is back");
    let denies =
        |requested: &&Requested| matches!(requested, Requested::Unknown | Requested::Unreachable { .. });
    assert_eq!(requested.iter().find(denies), None, "{why}");
    let found = requested.iter().filter(|requested| matches!(requested, Requested::Found { .. })).count();
    assert!(found * 100 >= asked * 98, "{why}: {found} of {asked} were found");
}

/// Scenarios 11 and 16. Goal: once the parts of a ring have found each other, no peer that has heard of it says "no
/// such file" of a file that one part stored, even before the file has reached the peers that should keep it now.
#[test]
fn nobody_denies_what_was_stored_apart_once_a_split_has_healed() {
    let mut misplaced = 0;
    for seed in seeds(0..4) {
        for (how, parts) in SPLITS {
            let mut world = converged(seed, 20);
            world.oracle.safety = false;
            let sides = split(&mut world, parts);
            world.run_for(SECOND * 30);
            let names = store_apart(&mut world, &sides, 40);
            assert!(names.len() > 30, "seed {seed}, {how}: {} were acknowledged", names.len());
            heal(&mut world, seed, how);
            misplaced += u32::from(check::in_place(&world).is_err());
            let requested = request_all_along(&mut world, &names);
            nobody_denies(&requested, names.len(), &format!("seed {seed}, {how}"));
        }
    }
    assert!(misplaced > 0, "all was in its place before anybody asked");
}

/// Scenario 11. Goal: the same in a ring of three with one copy of each file, of which one was cut off.
#[test]
fn nobody_denies_the_one_copy_of_who_was_cut_off() {
    let mut misplaced = 0;
    for seed in seeds(0..10) {
        let one_copy = RingSettings { replicas: 1, ..settings(seed) };
        let mut world = converged_with(seed, one_copy, 3);
        world.oracle.safety = false;
        let sides = split(&mut world, |rank, _| u8::from(rank == 2));
        world.run_for(SECOND * 30);
        let names = store_apart(&mut world, &sides, 30);
        assert_eq!(names.len(), 30, "seed {seed}");
        heal(&mut world, seed, "one of three");
        misplaced += u32::from(check::in_place(&world).is_err());
        let requested = request_all_along(&mut world, &names);
        nobody_denies(&requested, names.len(), &format!("seed {seed}"));
    }
    assert!(misplaced > 0, "all was in its place before anybody asked");
}

/// The number of requests for each name.
const ROUNDS: usize = 60;
