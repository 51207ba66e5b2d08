//! Copies that are one too many, the cache, and disks that are nearly full.

use std::time::Duration;

use quoit::chord::Start;
use quoit::files::{Laws, NotFreed};
use quoit::id::{ContentId, Position};
use quoit::sim::storage::{Ended, FileSettings, Outcome, check};
use quoit::sim::{Slot, World, seeds};
use quoit::wire::Target;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::harness::{
    MINUTE, SECOND, Stores, all_are_found_everywhere, converged_on, just_after, keepers, members, on_both,
    settings, settle, seven_that_free_surplus, stored, until_member,
};

fn freed(ended: &[Ended], id: u64, seed: u64) -> Result<Vec<Position>, NotFreed> {
    match ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome) {
        Some(Outcome::Freed(freed)) => freed.clone(),
        other => panic!("seed {seed}: {id} is {other:?}"),
    }
}

fn holders(world: &mut World, content: &ContentId) -> Vec<Slot> {
    let members = members(world);
    members
        .into_iter()
        .filter(|slot| world.with_disk(*slot, |disk| disk.holds(content)) == Some(true))
        .collect()
}

/// Joins a peer as near behind a key as there is a place, so that it is one of the first from the key on.
fn join_in_front(world: &mut World, key: &Position) -> Slot {
    let known = Target::from(world.entry(members(world)[0]).unwrap());
    let mut place = just_after(key);
    while world.living().contains_key(&place) {
        place = just_after(&place);
    }
    world.start_at(place, Start::Join { known })
}

/// Stores a file until all R copies are there, and lets a peer join in front of it: the last of the old keepers has one
/// copy too many then. Returns that keeper.
fn with_a_surplus(seed: u64, stores: Stores) -> (World, ContentId, Slot) {
    let mut world = converged_on(stores, seed, 8);
    let length = stores.length(1 << 20);
    let content = world.content_of(&seed.to_be_bytes(), length);
    let old = keepers(&world, &content);
    let id = world.store_labelled(members(&world)[0], "a.bin", &seed.to_be_bytes(), length);
    let ended = world.finish(MINUTE);
    stored(&ended, id, seed);
    settle(&mut world, MINUTE, seed);
    let comes = join_in_front(&mut world, &content.key());
    until_member(&mut world, comes, seed);
    settle(&mut world, MINUTE * 2, seed);
    (world, content, old[2])
}

/// Goal: a copy that is one too many goes when its peer is told so; a copy that belongs stays, and the answer names the
/// others.
#[test]
fn only_a_copy_that_is_one_too_many_is_freed() {
    for (seed, stores) in on_both(seeds(0..12)) {
        let (mut world, content, surplus) = with_a_surplus(seed, stores);
        assert!(holders(&mut world, &content).contains(&surplus), "seed {seed}");
        let now = keepers(&world, &content);
        assert!(!now.contains(&surplus), "seed {seed}");
        let positions: Vec<Position> = now.iter().map(|slot| world.entry(*slot).unwrap().position).collect();
        for slot in &now {
            let id = world.free_copy(*slot, content);
            let ended = world.finish(MINUTE);
            let Err(NotFreed::Belongs { keepers }) = freed(&ended, id, seed) else { panic!("{ended:?}") };
            assert_eq!(keepers, positions, "seed {seed}");
        }
        let id = world.free_copy(surplus, content);
        let ended = world.finish(MINUTE);
        assert_eq!(freed(&ended, id, seed), Ok(positions), "seed {seed}");
        let mut left = holders(&mut world, &content);
        left.sort_unstable();
        let mut now = now;
        now.sort_unstable();
        assert_eq!(left, now, "seed {seed}");
        let id = world.free_copy(surplus, content);
        let ended = world.finish(MINUTE);
        assert_eq!(freed(&ended, id, seed), Err(NotFreed::NotHere), "seed {seed}");
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Goal: while one of the R that should keep a file has no copy, or a bad one, the surplus copy stays, and the answer
/// names that peer. (On light disks: a real store believes for an hour in bytes that it has hashed.)
#[test]
fn a_surplus_copy_stays_until_all_r_vouch() {
    for seed in seeds(0..8) {
        let (mut world, content, surplus) = with_a_surplus(seed, Stores::Light);
        let keepers = keepers(&world, &content);
        let bad = keepers[seed as usize % 3];
        world.with_disk(bad, |disk| disk.rot(&content));
        let id = world.free_copy(surplus, content);
        let ended = world.finish(MINUTE * 2);
        let Err(NotFreed::TooFew { holders: vouched, missing }) = freed(&ended, id, seed) else {
            panic!("seed {seed}: {ended:?}")
        };
        assert_eq!(vouched.len(), 2, "seed {seed}");
        assert_eq!(missing[0].peer, world.entry(bad).unwrap().position, "seed {seed}");
        assert!(holders(&mut world, &content).contains(&surplus), "seed {seed}");
        // The bad copy was noticed, and is replaced; then the surplus copy may go.
        settle(&mut world, MINUTE * 3, seed);
        let id = world.free_copy(surplus, content);
        let ended = world.finish(MINUTE);
        assert!(freed(&ended, id, seed).is_ok(), "seed {seed}: {ended:?}");
    }
}

/// A ring whose peers free surplus copies after this time.
fn that_frees(seed: u64, stores: Stores, peers: usize, wait: Duration) -> World {
    let mut world = World::converged(seed, settings(seed), peers, SECOND, 4_096);
    world.enable_files_with(FileSettings {
        real_stores: stores == Stores::Real,
        surplus_wait: Some(wait),
        ..FileSettings::default()
    });
    world
}

/// The number of copies that are one too many, of all acknowledged files.
fn surplus_copies(world: &World) -> usize {
    world.copies_of_all().values().map(|copies| copies.saturating_sub(3)).sum()
}

/// Goal: after a fourth and a fifth machine joined, each file has R copies again once the wait is over, not earlier, and
/// every file is found everywhere.
#[test]
fn surplus_copies_go_after_the_wait() {
    for (seed, stores) in on_both(seeds(0..6)) {
        let wait = MINUTE * 10;
        let mut world = that_frees(seed, stores, 3, wait);
        for i in 0..12 {
            world.store(members(&world)[i % 3], &format!("{i}.bin"), stores.length(1 << 18));
        }
        world.finish(MINUTE * 2);
        assert_eq!(world.files_acknowledged(), 12, "seed {seed}");
        settle(&mut world, MINUTE, seed);
        for _ in 0..2 {
            let known = members(&world)[0];
            let comes = world.join_through(known).unwrap();
            until_member(&mut world, comes, seed);
        }
        settle(&mut world, MINUTE * 2, seed);
        // Every file is in place, and other copies may still be on their way.
        world.run_for(MINUTE);
        let before = surplus_copies(&world);
        assert!(before > 0, "seed {seed}");
        world.run_for(MINUTE * 5);
        assert_eq!(surplus_copies(&world), before, "seed {seed}: too early");
        let all_gone = |world: &World| match surplus_copies(world) {
            0 => Ok(()),
            left => Err(format!("{left} copies are one too many")),
        };
        world.run_until(wait * 2, all_gone).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        check::copies_at_least(&world, 3).unwrap();
        assert_eq!(world.files_lost(), 0, "seed {seed}");
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Goal: where room is short, a surplus copy goes long before its time, and makes room.
#[test]
fn surplus_copies_go_at_once_where_room_is_short() {
    for seed in seeds(0..6) {
        let (mut world, length) = (that_frees(seed, Stores::Light, 3, MINUTE * 60 * 24 * 7), 1 << 20);
        for i in 0..12 {
            world.store(members(&world)[i % 3], &format!("{i}.bin"), length);
        }
        world.finish(MINUTE * 2);
        let old = members(&world);
        for _ in 0..3 {
            let comes = world.join_through(old[0]).unwrap();
            until_member(&mut world, comes, seed);
        }
        settle(&mut world, MINUTE * 2, seed);
        world.run_for(MINUTE * 20);
        let before = surplus_copies(&world);
        assert!(before > 0, "seed {seed}: they stay while there is room");
        for slot in &old {
            world.with_disk(*slot, |disk| disk.set_capacity(12 * length));
        }
        let some_gone = |world: &World| match surplus_copies(world) < before {
            true => Ok(()),
            false => Err("no copy goes".to_owned()),
        };
        world.run_until(MINUTE * 5, some_gone).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        check::copies_at_least(&world, 3).unwrap();
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Goal: the next peers keep the copies of a peer without room, so that every file has R copies; once it has room, it gets
/// its copies, and the others' go again, without anybody's help.
#[test]
fn the_next_peers_stand_in_for_a_full_one() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = seven_that_free_surplus(seed, stores);
        let full = members(&world)[seed as usize % 7];
        world.with_disk(full, |disk| disk.set_capacity(1 << 16));
        let length = stores.length(1 << 20);
        for i in 0..12 {
            let from = members(&world)[(seed as usize + 1 + i % 6) % 7];
            world.store(from, &format!("{i}.bin"), length);
        }
        world.finish(MINUTE * 5);
        assert_eq!(world.files_acknowledged(), 12, "seed {seed}, {stores:?}");
        let three = |world: &World| check::copies_at_least(world, 3);
        world.run_until(MINUTE * 5, three).unwrap_or_else(|why| panic!("seed {seed}, {stores:?}: {why}"));
        // The stand-ins keep them for as long as it takes.
        world.run_for(MINUTE * 20);
        three(&world).unwrap_or_else(|why| panic!("seed {seed}, {stores:?}: {why}"));
        let all = |world: &World| world.copies_of_all().values().sum::<usize>();
        assert_eq!(all(&world), 36, "seed {seed}, {stores:?}: one stand-in for each copy");
        world.with_disk(full, |disk| disk.mend());
        settle(&mut world, MINUTE * 5, seed);
        let as_before = |world: &World| match surplus_copies(world) {
            0 => Ok(()),
            left => Err(format!("{left} stand-ins are left")),
        };
        world
            .run_until(MINUTE * 20, as_before)
            .unwrap_or_else(|why| panic!("seed {seed}, {stores:?}: {why}"));
        settle(&mut world, MINUTE, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// An adversary against a ring that frees surplus copies as soon as it may: peers join in front of files, crash, come
/// back and lose their disks; of the keepers of one file no more than one at a time.
fn play(seed: u64, laws: Laws) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = that_frees(seed, Stores::Light, rng.random_range(5..=8), Duration::ZERO);
    world.set_laws(laws);
    for i in 0..6 {
        let from = members(&world)[i % 5];
        world.store(from, &format!("{i}.bin"), [1 << 16, 30 << 20][i % 2]);
    }
    world.finish(MINUTE * 5);
    let files: Vec<ContentId> = world.acknowledged().iter().map(|file| file.content).collect();
    for _ in 0..GAME_ROUNDS {
        let content = files[rng.random_range(0..files.len())];
        match rng.random_range(0..4) {
            0 => {
                for _ in 0..rng.random_range(1..=3) {
                    join_in_front(&mut world, &content.key());
                    world.run_for(Duration::from_millis(rng.random_range(0..3_000)));
                }
            }
            1 => {
                let keepers = keepers(&world, &content);
                let away = keepers[rng.random_range(0..3)];
                world.crash_slot(away);
                world.run_for(Duration::from_millis(rng.random_range(0..90_000)));
                world.restart_slot(away);
            }
            2 if members(&world).len() > 5 => {
                let keepers = keepers(&world, &content);
                let lost = keepers[rng.random_range(0..3)];
                world.crash_slot(lost);
                world.with_disk(lost, |disk| disk.lose());
            }
            _ => {
                // All holders ask at once.
                for slot in holders(&mut world, &content) {
                    if world.keeps_files(slot) {
                        world.free_copy(slot, content);
                    }
                }
            }
        }
        world.run_for(Duration::from_millis(rng.random_range(0..20_000)));
        if world.files_lost() > 0 {
            return Err(format!("seed {seed}: {} acknowledged files have no copy left", world.files_lost()));
        }
        world.run_for(MINUTE * 2);
        check::copies_at_least(&world, 1).map_err(|why| format!("seed {seed}: {why}"))?;
    }
    world
        .run_until(MINUTE * 10, |world| check::copies_at_least(world, 3))
        .map(drop)
        .map_err(|why| format!("seed {seed}: {why}"))
}

/// Goal: whatever joins, dies and comes back, and however eagerly copies are freed, no acknowledged file is lost.
#[test]
fn no_file_is_lost_by_freeing() {
    for seed in seeds(0..24) {
        play(seed, Laws::default()).unwrap_or_else(|why| panic!("{why}"));
    }
}

/// The control: where a peer frees a copy as soon as it believes that it is one too many, some game loses a file.
#[test]
fn without_the_owners_grant_a_file_is_lost() {
    let laws = Laws { drops_are_granted: false, ..Laws::default() };
    let lost = seeds(0..60).into_iter().find_map(|seed| play(seed, laws).err());
    assert!(lost.is_some(), "no game was lost");
}

/// The rounds of one game.
const GAME_ROUNDS: u32 = 8;
