//! Removed names are forgotten after a while, and nothing brings them back.
//!
//! A day lasts ten seconds here: a tombstone lives for 900 s, and the bytes of versions stay for 300 s.

use std::collections::BTreeSet;
use std::time::Duration;

use quoit::config::{KeepVersions, RingSettings};
use quoit::files::Laws;
use quoit::id::{ContentId, FileName, Position};
use quoit::names::NameTerms;
use quoit::sim::storage::{FileSettings, Outcome, Requested, check};
use quoit::sim::{Slot, World, check as ring, seeds};

use super::harness::{
    MINUTE, SECOND, Stores, keepers, members, on_both, requested, settings, settle, stored,
};

const DAY: Duration = Duration::from_secs(10);
const DAY_MS: i64 = 10_000;
const TERMS: NameTerms = NameTerms {
    tombstones_for: Duration::from_secs(900),
    slack: Duration::from_secs(70),
    tick: Duration::from_secs(1),
    walk: DAY,
};

/// A settled ring in which days are short.
fn converged(stores: Stores, seed: u64, peers: usize) -> World {
    let versions = KeepVersions { seconds: 300, ..KeepVersions::DEFAULT };
    let settings = RingSettings { versions, ..settings(seed) };
    let mut world = World::converged(seed, settings, peers, SECOND, 4_096);
    world.oracle.safety = false;
    world.enable_files_with(FileSettings {
        names: TERMS,
        real_stores: stores == Stores::Real,
        ..FileSettings::default()
    });
    world
}

fn key(name: &str) -> Position {
    FileName::new(name).unwrap().key()
}

fn store(world: &mut World, at: Slot, name: &str, seed: u64) {
    let id = world.store(at, name, 1 << 12);
    let ended = world.finish(MINUTE);
    stored(&ended, id, seed);
}

fn remove(world: &mut World, at: Slot, name: &str, seed: u64) {
    world.remove(at, name);
    let ended = world.finish(MINUTE);
    assert!(matches!(ended[0].outcome, Outcome::Removed(Ok(_))), "seed {seed}: {ended:?}");
}

/// The slots on whose disks a record of this name is.
fn disks_with(world: &mut World, name: &str) -> Vec<Slot> {
    let key = key(name);
    let all = members(world);
    let has =
        |world: &mut World, slot| world.with_disk(slot, |disk| disk.record(&key).is_some()).unwrap_or(false);
    all.into_iter().filter(|slot| has(world, *slot)).collect()
}

/// The answers of every living member to requests for a name.
fn answers(world: &mut World, name: &str) -> Vec<Requested> {
    let ids: Vec<u64> = members(world).into_iter().map(|slot| world.request(slot, name)).collect();
    let ended = world.finish(MINUTE * 3);
    ids.into_iter().map(|id| requested(&ended, id, 0)).collect()
}

fn is_found(answer: &Requested) -> bool {
    matches!(answer, Requested::Found { .. })
}

/// Goal: tombstones go at every peer after their time, also where clocks differ by a day; they do not come back, and the
/// peers agree afterwards. Other names stay.
#[test]
fn tombstones_go_after_their_time_and_do_not_come_back() {
    for (seed, stores) in on_both(seeds(0..6)) {
        let mut world = converged(stores, seed, 7);
        let at = members(&world);
        // Two clocks are wrong by a day, in either direction.
        world.set_clock_offset(at[seed as usize % 7], DAY_MS);
        world.set_clock_offset(at[(seed as usize + 3) % 7], -DAY_MS);
        for i in 0..4 {
            store(&mut world, at[i], &format!("removed-{i}"), seed);
            store(&mut world, at[i + 2], &format!("kept-{i}"), seed);
        }
        for i in 0..4 {
            remove(&mut world, at[i + 1], &format!("removed-{i}"), seed);
        }
        world.run_for(TERMS.tombstones_for - DAY * 4);
        for i in 0..4 {
            let name = format!("removed-{i}");
            assert!(disks_with(&mut world, &name).len() >= 3, "seed {seed}: {name} went too early");
        }
        world.run_for(DAY * 10);
        for day in 0..20 {
            for i in 0..4 {
                let name = format!("removed-{i}");
                let with = disks_with(&mut world, &name);
                assert!(with.is_empty(), "seed {seed}, {stores:?}, day {day}: {name} is at {with:?}");
            }
            world.run_for(DAY);
        }
        for i in 0..4 {
            let gone = answers(&mut world, &format!("removed-{i}"));
            assert!(gone.iter().all(|answer| *answer == Requested::Unknown), "seed {seed}: {gone:?}");
            let kept = answers(&mut world, &format!("kept-{i}"));
            assert!(kept.iter().all(is_found), "seed {seed}: {kept:?}");
        }
        check::names_agree(&world).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        // A name that is free again can be written.
        store(&mut world, at[6], "removed-0", seed);
        assert!(answers(&mut world, "removed-0").iter().all(is_found), "seed {seed}");
    }
}

/// A keeper of the file "removed" dies, and a day later the name is removed. Returns that keeper.
fn away_for_a_removal(world: &mut World, members: &[Slot], seed: u64) -> Slot {
    let with = disks_with(world, "removed");
    let late = with[seed as usize % with.len()];
    world.crash_slot(late);
    world.run_for(DAY);
    let other = *members.iter().find(|slot| **slot != late).unwrap();
    remove(world, other, "removed", seed);
    late
}

/// A keeper has the record of a file, is away while the name is removed and the tombstone lives and dies, and comes back
/// after so many days. Its clock is wrong by so many days then. Returns whether any peer was ever told of the removed name
/// afterwards, and the world.
fn away_and_back(seed: u64, stores: Stores, days: u32, wrong_days: i64, laws: Laws) -> (bool, World) {
    let mut world = converged(stores, seed, 7);
    if laws != Laws::default() {
        world.set_laws(laws);
    }
    let at = members(&world);
    store(&mut world, at[0], "removed", seed);
    for (i, slot) in at.iter().take(3).enumerate() {
        store(&mut world, *slot, &format!("kept-{i}"), seed);
    }
    settle(&mut world, MINUTE * 2, seed);
    let late = away_for_a_removal(&mut world, &at, seed);
    world.run_for(DAY * (days - 1));
    world.set_clock_offset(late, wrong_days * DAY_MS);
    world.restart_slot(late);
    let mut was_found = false;
    for _ in 0..20 {
        world.run_for(SECOND);
        was_found |= answers(&mut world, "removed").iter().any(is_found);
    }
    world.run_for(DAY * 10);
    was_found |= answers(&mut world, "removed").iter().any(is_found);
    was_found |= !disks_with(&mut world, "removed").is_empty();
    (was_found, world)
}

/// Goal: a keeper that comes back after 91 days, or after a year, with the record of a file that was removed meanwhile,
/// whatever its clock says then, revives nothing; and it has all that belongs to it soon afterwards.
#[test]
fn a_keeper_that_was_away_for_long_revives_nothing() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let (days, wrong_days) = [(91, 0), (92, -1), (100, 1), (120, -60), (365, 0)][seed as usize % 5];
        let what = format!("seed {seed}, {stores:?}, {days} days, the clock off by {wrong_days}");
        let (was_found, mut world) = away_and_back(seed, stores, days, wrong_days, Laws::default());
        assert!(!was_found, "{what}");
        check::names_agree(&world).unwrap_or_else(|why| panic!("{what}: {why}"));
        for i in 0..3 {
            let kept = answers(&mut world, &format!("kept-{i}"));
            assert!(kept.iter().all(is_found), "{what}: {kept:?}");
        }
    }
}

/// Goal: without the rule a removed name comes back, so the scenario above shows something.
#[test]
fn without_the_rule_a_removed_name_comes_back() {
    let laws = Laws { stale_names_dropped: false, ..Laws::default() };
    let revived = seeds(0..6).into_iter().filter(|seed| away_and_back(*seed, Stores::Light, 110, 0, laws).0);
    assert!(revived.count() > 0, "nothing is seen without the rule");
}

/// Goal: a ring of which every peer was off for 91 days has all its names afterwards, in whatever order the peers come
/// back within a day; a name that one keeper did not know to be removed stays removed.
#[test]
fn a_ring_that_slept_keeps_all_names() {
    for (seed, stores) in on_both(seeds(0..8)) {
        let mut world = converged(stores, seed, 5);
        let at = members(&world);
        for i in 0..8 {
            store(&mut world, at[i % 5], &format!("kept-{i}"), seed);
        }
        store(&mut world, at[0], "removed", seed);
        settle(&mut world, MINUTE * 2, seed);
        let _ = away_for_a_removal(&mut world, &at, seed);
        world.run_for(DAY);
        at.iter().for_each(|slot| world.crash_slot(*slot));
        world.run_for(DAY * [91, 400][seed as usize % 2]);
        for step in 0..5 {
            world.restart_slot(at[(step * 2 + seed as usize) % 5]);
            world.run_for(SECOND * (seed as u32 % 3));
        }
        let whole = world.run_until(MINUTE * 5, ring::one_ordered_ring);
        whole.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        for minute in 0..4 {
            world.run_for(MINUTE);
            let removed = answers(&mut world, "removed");
            assert!(!removed.iter().any(is_found), "seed {seed}, {stores:?}, minute {minute}: {removed:?}");
            for i in 0..8 {
                let kept = answers(&mut world, &format!("kept-{i}"));
                assert!(kept.iter().all(is_found), "seed {seed}, {stores:?}, minute {minute}: {kept:?}");
            }
        }
        check::names_agree(&world).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// Goal: a peer whose data directory comes from a backup, of any age, joins again without losing or reviving anything:
/// what was written and removed since the backup is as the others have it.
#[test]
fn a_restored_backup_loses_and_revives_nothing() {
    for seed in seeds(0..8) {
        let days = [1, 30, 91, 200][seed as usize % 4];
        let mut world = converged(Stores::Light, seed, 7);
        let at = members(&world);
        for name in ["removed", "removed soon", "kept", "written again"] {
            store(&mut world, at[1], name, seed);
        }
        settle(&mut world, MINUTE * 2, seed);
        world.run_for(DAY);
        let victim = at[seed as usize % 7];
        let backup = world.with_disk(victim, |disk| disk.backup()).unwrap();
        let others: Vec<Slot> = at.iter().copied().filter(|slot| *slot != victim).collect();
        remove(&mut world, others[0], "removed", seed);
        store(&mut world, others[1], "written again", seed);
        store(&mut world, victim, "written by it", seed);
        world.run_for(DAY * days);
        remove(&mut world, others[2], "removed soon", seed);
        store(&mut world, others[3], "written later", seed);
        world.run_for(MINUTE);
        world.crash_slot(victim);
        world.with_disk(victim, |disk| *disk = backup);
        world.restore_slot(victim);
        let whole = world.run_until(MINUTE * 3, |world| {
            ring::one_ordered_ring(world)?;
            check::in_place(world).and_then(|()| check::names_agree(world))
        });
        whole.unwrap_or_else(|why| panic!("seed {seed}, {days} days: {why}"));
        let newest: BTreeSet<_> = world.acknowledged().iter().map(|file| file.content).collect();
        for name in ["kept", "written again", "written by it", "written later"] {
            let last = world.acknowledged().iter().rfind(|file| file.name.as_str() == name).unwrap().content;
            for answer in answers(&mut world, name) {
                let is_last = matches!(&answer, Requested::Found { content, .. } if *content == last);
                assert!(is_last, "seed {seed}, {days} days: {name}: {answer:?} of {newest:?}");
            }
        }
        for name in ["removed", "removed soon"] {
            let gone = answers(&mut world, name);
            assert!(gone.iter().all(|answer| *answer == Requested::Unknown), "seed {seed}, {days}: {gone:?}");
        }
    }
}

/// Goal: every keeper has the same versions, as many as the ring keeps, also those that were away for some of them.
#[test]
fn all_keep_the_versions_that_the_ring_keeps() {
    for (seed, stores) in on_both(seeds(0..6)) {
        let count = [1, 3, 16][seed as usize % 3];
        let versions = KeepVersions { count, ..KeepVersions::DEFAULT };
        let settings = RingSettings { versions, ..settings(seed) };
        let mut world = World::converged(seed, settings, 6, SECOND, 4_096);
        world.oracle.safety = false;
        world.enable_files_with(FileSettings {
            real_stores: stores == Stores::Real,
            ..FileSettings::default()
        });
        let at = members(&world);
        for round in 0..20 {
            if round % 5 == 1 {
                world.crash_slot(at[(round / 5 + seed as usize) % 6]);
            }
            let writers = members(&world);
            store(&mut world, writers[round % writers.len()], "a.txt", seed);
            if round % 5 == 3 {
                world.restart_slot(at[(round / 5 + seed as usize) % 6]);
                world.run_for(SECOND * 20);
            }
        }
        settle(&mut world, MINUTE * 3, seed);
        world.run_for(MINUTE);
        let name = key("a.txt");
        let kept: Vec<_> = keepers(&world, &ContentId(name.0))
            .into_iter()
            .map(|slot| world.with_disk(slot, |disk| disk.record(&name).unwrap().into_owned()).unwrap())
            .map(|history| history.into_records().map(|record| record.id()).collect::<Vec<_>>())
            .collect();
        let full = kept.iter().filter(|ids| ids.len() == usize::from(count)).count();
        assert_eq!(full, 3, "seed {seed}, {stores:?}: {count} are kept, but {kept:?}");
        assert!(kept.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}: {kept:?}");
    }
}

/// Goal: a history that cannot be read at one keeper is healed from the others, and all agree; the only one of a ring
/// stays as it is.
#[test]
fn an_unreadable_history_is_healed_from_another_keeper() {
    for seed in seeds(0..3) {
        let mut world = converged(Stores::Real, seed, 5);
        let at = members(&world);
        for _ in 0..2 {
            store(&mut world, at[1], "a.txt", seed);
        }
        settle(&mut world, MINUTE * 2, seed);
        let name = key("a.txt");
        let with = disks_with(&mut world, "a.txt");
        let victim = with[seed as usize % with.len()];
        let read = |world: &mut World| {
            world.with_disk(victim, |disk| disk.record(&name).map(|history| history.into_owned())).unwrap()
        };
        let before = read(&mut world);
        world.with_disk(victim, |disk| disk.spoil_record(&name));
        assert_eq!(read(&mut world), None, "seed {seed}");
        assert!(answers(&mut world, "a.txt").iter().all(is_found), "seed {seed}: the others have it");
        let healed = world.run_until(MINUTE * 5, check::names_agree);
        healed.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        world.run_for(MINUTE);
        assert_eq!(read(&mut world), before, "seed {seed}: all versions are back");
    }
    let mut world = converged(Stores::Real, 1, 1);
    let only = members(&world)[0];
    store(&mut world, only, "a.txt", 1);
    world.with_disk(only, |disk| disk.spoil_record(&key("a.txt")));
    world.run_for(MINUTE * 5);
    assert_eq!(
        answers(&mut world, "a.txt"),
        [Requested::CannotTell(vec![world.entry(only).unwrap().position])]
    );
}
