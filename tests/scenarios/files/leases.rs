//! Leases: bytes stay as long as a name refers to them, and go a while after the last one does not.

use std::collections::BTreeMap;
use std::time::Duration;

use quoit::config::{KeepVersions, RingSettings};
use quoit::id::ContentId;
use quoit::replica::LeaseTerms;
use quoit::sim::storage::{FileSettings, Outcome, Requested};
use quoit::sim::{World, seeds};
use quoit::wire::VersionChoice;

use super::harness::{MINUTE, SECOND, Stores, members, on_both, requested, settings, stored};

const TERMS: LeaseTerms = LeaseTerms { period: MINUTE, kept_for: Duration::from_secs(300) };
/// How long a replaced version refers to its bytes.
const VERSIONS_FOR: Duration = Duration::from_secs(120);
/// The latest time after a removal at which its bytes are gone: the version, its last lease, and two looks.
const GONE_AFTER: Duration = Duration::from_secs(120 + 60 + 300 + 10);

/// A settled ring in which days are minutes.
fn converged(stores: Stores, seed: u64, peers: usize) -> World {
    let versions = KeepVersions { seconds: VERSIONS_FOR.as_secs() as u32, ..KeepVersions::DEFAULT };
    let settings = RingSettings { versions, ..settings(seed) };
    let mut world = World::converged(seed, settings, peers, SECOND, 4_096);
    world.enable_files_with(FileSettings {
        leases: TERMS,
        real_stores: stores == Stores::Real,
        ..FileSettings::default()
    });
    world
}

fn store(world: &mut World, at: u32, name: &str, label: &[u8], seed: u64) -> ContentId {
    let id = world.store_labelled(at, name, label, 1 << 12);
    let ended = world.finish(MINUTE);
    stored(&ended, id, seed).content
}

fn copies(world: &World) -> BTreeMap<ContentId, usize> {
    world.copies_of_all()
}

/// Goal (design §5): the bytes of a removed name, and those of a replaced version, go at every peer; those of names that
/// stand for them stay, however long nobody asks for them.
#[test]
fn bytes_that_no_name_refers_to_go_and_others_stay() {
    for (seed, stores) in on_both(seeds(0..6)) {
        let mut world = converged(stores, seed, 9);
        let at = members(&world);
        let kept: Vec<ContentId> =
            (0..4).map(|i| store(&mut world, at[i], &format!("kept {i}"), &[i as u8], seed)).collect();
        let removed = store(&mut world, at[1], "removed", b"removed", seed);
        let shared = store(&mut world, at[2], "one name of it", b"shared", seed);
        store(&mut world, at[3], "another name of it", b"shared", seed);
        let replaced = store(&mut world, at[4], "two versions", b"first", seed);
        let second = store(&mut world, at[5], "two versions", b"second", seed);
        for name in ["removed", "one name of it"] {
            world.remove(at[6], name);
            let ended = world.finish(MINUTE);
            assert!(matches!(ended[0].outcome, Outcome::Removed(Ok(_))), "seed {seed}: {ended:?}");
        }
        world.run_for(VERSIONS_FOR + TERMS.period);
        let early = copies(&world);
        assert!(
            [&removed, &replaced].iter().all(|content| early.contains_key(content)),
            "seed {seed}: too early"
        );
        world.run_for(GONE_AFTER);
        let late = copies(&world);
        for content in [&removed, &replaced] {
            assert_eq!(late.get(content), None, "seed {seed}, {stores:?}");
        }
        world.run_for(GONE_AFTER * 4);
        let late = copies(&world);
        for content in kept.iter().chain([&shared, &second]) {
            assert!(late.get(content).is_some_and(|count| *count >= 3), "seed {seed}, {stores:?}: {late:?}");
        }
    }
}

/// Goal: nothing is freed while a member is away: it may keep the only record of a name that refers to it.
#[test]
fn nothing_goes_while_a_member_is_away() {
    for seed in seeds(0..6) {
        let mut world = converged(Stores::Light, seed, 9);
        let at = members(&world);
        let content = store(&mut world, at[1], "removed", b"removed", seed);
        world.remove(at[6], "removed");
        world.finish(MINUTE);
        let away = at[seed as usize % at.len()];
        world.crash_slot(away);
        world.run_for(GONE_AFTER * 3);
        assert!(copies(&world).contains_key(&content), "seed {seed}");
        world.restart_slot(away);
        world.run_for(GONE_AFTER * 2);
        assert_eq!(copies(&world).get(&content), None, "seed {seed}");
    }
}

/// Goal: whatever the moment, a version whose restoring is acknowledged, and a store of the same bytes under another name,
/// keep their bytes: also while these are about to go.
#[test]
fn what_is_acknowledged_while_bytes_are_about_to_go_keeps_them() {
    let mut kept = BTreeMap::new();
    for (seed, stores) in on_both(seeds(0..24)) {
        let mut world = converged(stores, seed, 6);
        let at = members(&world);
        let content = store(&mut world, at[1], "removed", b"removed", seed);
        world.remove(at[2], "removed");
        world.finish(MINUTE);
        // The bytes go within this span, at one replica after the other.
        world.run_for(GONE_AFTER - SECOND * 140 + SECOND * 6 * (seed as u32 % 24));
        let restores = seed % 2 == 0;
        let id = match restores {
            true => world.restore(at[3], "removed", VersionChoice::Number(1)),
            false => world.store_labelled(at[3], "again", b"removed", 1 << 12),
        };
        let ended = world.finish(MINUTE * 2);
        let outcome = ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome);
        let acknowledged = match outcome {
            Some(Outcome::Restored(done)) => done.is_ok(),
            Some(Outcome::Stored(done)) => done.is_ok(),
            other => panic!("seed {seed}: {other:?}"),
        };
        *kept.entry((restores, acknowledged)).or_insert(0) += 1;
        if !acknowledged {
            // A version can be too late, a store has the bytes itself.
            assert!(restores, "seed {seed}: {ended:?}");
            continue;
        }
        let name = if restores { "removed" } else { "again" };
        for wait in [SECOND, TERMS.period, GONE_AFTER * 2] {
            world.run_for(wait);
            let id = world.request(at[0], name);
            let ended = world.finish(MINUTE);
            let found = requested(&ended, id, seed);
            assert!(
                matches!(found, Requested::Found { content: c, .. } if c == content),
                "seed {seed}, {stores:?}: {found:?}"
            );
        }
        assert!(copies(&world)[&content] >= 3, "seed {seed}, {stores:?}");
    }
    assert!(kept.get(&(true, true)).is_some_and(|count| *count > 0), "{kept:?}");
    assert!(kept.get(&(false, true)).is_some_and(|count| *count > 0), "{kept:?}");
}

/// A tree's name, and the ring's copies of each file that it had.
fn tree(world: &mut World, at: u32, labels: &[&[u8]], seed: u64) -> ContentId {
    let id = world.store_tree(at, "tree", labels, 1 << 12);
    let ended = world.finish(MINUTE);
    stored(&ended, id, seed).content
}

/// Goal: the files of a tree, which no name stands for, stay for as long as a version of its name refers to it, and go
/// with it, unless something else refers to them.
#[test]
fn the_files_of_a_tree_stay_and_go_with_its_name() {
    for seed in seeds(0..4) {
        let mut world = converged(Stores::Real, seed, 9);
        let at = members(&world);
        let [one, two, three, four] = [b"one".as_slice(), b"two", b"three", b"four"];
        let content = |world: &World, label: &[u8]| world.content_of(label, 1 << 12);
        let contents = [one, two, three, four].map(|label| content(&world, label));
        let first = tree(&mut world, at[1], &[one, two, three], seed);
        store(&mut world, at[2], "a file of its own", three, seed);
        world.run_for(GONE_AFTER * 3);
        let found = copies(&world);
        for content in contents[..3].iter().chain([&first]) {
            assert!(found.get(content).is_some_and(|count| *count >= 3), "seed {seed}: {found:?}");
        }
        let second = tree(&mut world, at[3], &[two, four], seed);
        world.run_for(GONE_AFTER * 2);
        let found = copies(&world);
        // The keepers of the name read the tree, so that it may be in their caches.
        let left = (world.replicas_of(&first), found.get(&contents[0]));
        assert_eq!(left, (0, None), "seed {seed}: the first version");
        for content in [&contents[1], &contents[2], &contents[3], &second] {
            assert!(found.get(content).is_some_and(|count| *count >= 3), "seed {seed}: {found:?}");
        }
        world.remove(at[4], "tree");
        world.finish(MINUTE);
        // Brought back in time, its files come back with it.
        world.run_for(VERSIONS_FOR + TERMS.period);
        let id = world.restore(at[5], "tree", VersionChoice::Number(2));
        let ended = world.finish(MINUTE);
        assert!(
            ended.iter().any(|ended| ended.id == id && matches!(ended.outcome, Outcome::Restored(Ok(_)))),
            "seed {seed}: {ended:?}"
        );
        world.run_for(GONE_AFTER * 2);
        let found = copies(&world);
        for content in [&contents[1], &contents[3], &second] {
            assert!(found.get(content).is_some_and(|count| *count >= 3), "seed {seed}: {found:?}");
        }
        world.remove(at[6], "tree");
        world.finish(MINUTE);
        world.run_for(GONE_AFTER);
        let found = copies(&world);
        for content in [&contents[1], &contents[3]] {
            assert_eq!(found.get(content), None, "seed {seed}");
        }
        assert_eq!(world.replicas_of(&second), 0, "seed {seed}: the tree itself");
        assert!(
            found.get(&contents[2]).is_some_and(|count| *count >= 3),
            "seed {seed}: it has a name of its own"
        );
    }
}
