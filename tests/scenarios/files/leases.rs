//! Leases: bytes stay as long as a name refers to them, and go a while after the last one does not.

use std::collections::BTreeMap;
use std::time::Duration;

use quoit::chord::Start;
use quoit::config::{KeepVersions, RingSettings};
use quoit::files::Laws;
use quoit::id::ContentId;
use quoit::replica::LeaseTerms;
use quoit::sim::storage::{FileSettings, Outcome, Requested, check};
use quoit::sim::{World, seeds};
use quoit::wire::{Target, VersionChoice};

use super::harness::{
    MINUTE, SECOND, Stores, just_after, keepers, members, on_both, requested, settings, settle, stored,
    until_member,
};

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

/// Goal: clocks that are set forward by more than a lease lasts free nothing that a name refers to: one of them, or all at
/// once, as where no machine had the time until its line to the outside came back.
#[test]
fn clocks_set_far_forward_free_nothing_that_is_referred_to() {
    for seed in seeds(0..12) {
        let peers = [1, 2, 3, 7][seed as usize % 4];
        let mut world = converged(Stores::Light, seed, peers);
        let at = members(&world);
        let contents: Vec<ContentId> =
            (0..6).map(|i| store(&mut world, at[i % peers], &format!("{i}"), &[i as u8], seed)).collect();
        world.run_for(TERMS.period * 3 + SECOND * (seed as u32 * 5));
        let before: Vec<usize> = contents.iter().map(|content| copies(&world)[content]).collect();
        let set = if seed % 3 == 0 { 1 } else { peers };
        for slot in &at[..set] {
            world.set_clock_offset(*slot, 10 * TERMS.kept_for.as_millis() as i64);
        }
        for _ in 0..60 {
            world.run_for(TERMS.period / 10);
            let now = copies(&world);
            let left: Vec<usize> =
                contents.iter().map(|content| now.get(content).copied().unwrap_or(0)).collect();
            assert_eq!(left, before, "seed {seed}, {set} of {peers} clocks");
        }
    }
}

/// Goal: a copy that was one too many for longer than a lease lasts, so that nobody renewed its lease, stays when its peer
/// becomes one of the R that should keep the file: a keeper left.
#[test]
fn an_old_surplus_copy_stays_when_its_peer_becomes_a_keeper() {
    for seed in seeds(0..8) {
        let mut world = converged(Stores::Light, seed, 8);
        let at = members(&world);
        let content = store(&mut world, at[1], "a", &seed.to_be_bytes(), seed);
        settle(&mut world, MINUTE, seed);
        let surplus = keepers(&world, &content)[2];
        let known = Target::from(world.entry(at[0]).unwrap());
        let comes = world.start_at(just_after(&content.key()), Start::Join { known });
        until_member(&mut world, comes, seed);
        settle(&mut world, MINUTE * 2, seed);
        let now = keepers(&world, &content);
        assert!(!now.contains(&surplus), "seed {seed}");
        world.run_for(TERMS.kept_for * 2 + SECOND * seed as u32);
        assert_eq!(copies(&world)[&content], 4, "seed {seed}");
        world.leave_slot(now[seed as usize % 3]);
        for _ in 0..100 {
            world.run_for(SECOND * 2);
            let left = copies(&world).get(&content).copied().unwrap_or(0);
            assert!(left >= 3, "seed {seed}: {left} copies");
        }
        assert!(keepers(&world, &content).contains(&surplus), "seed {seed}");
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

/// A removed version is restored at a moment of the span in which its bytes go. The error says what became of a version
/// whose restoring was acknowledged; otherwise whether it was.
fn restored_late(seed: u64, laws: Laws) -> Result<bool, String> {
    let mut world = converged(Stores::Light, seed, 6);
    world.set_laws(laws);
    let at = members(&world);
    store(&mut world, at[1], "removed", b"removed", seed);
    world.remove(at[2], "removed");
    world.finish(MINUTE);
    world.run_for(GONE_AFTER - SECOND * 140 + SECOND * 6 * (seed as u32 % 24));
    world.restore(at[3], "removed", VersionChoice::Number(1));
    let ended = world.finish(MINUTE * 2);
    let acknowledged = ended.iter().any(|ended| matches!(ended.outcome, Outcome::Restored(Ok(_))));
    world.run_for(GONE_AFTER);
    if acknowledged {
        check::promises_kept(&world)?;
        check::names_answered(&mut world)?;
    }
    Ok(acknowledged)
}

/// Goal: a version whose restoring is acknowledged stands at all its keepers. Without the law that its bytes are found and
/// leased first, the oracle sees names that stand for nothing.
#[test]
fn a_restored_version_stands_at_all_keepers() {
    let (mut acknowledged, mut caught) = (0, 0);
    for seed in seeds(0..24) {
        let kept = restored_late(seed, Laws::default()).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        acknowledged += u32::from(kept);
        let without = Laws { restored_leased: false, ..Laws::default() };
        caught += u32::from(restored_late(seed, without).is_err());
    }
    println!("without \"restored versions are leased\": {caught} of the games");
    assert!(acknowledged > 0 && caught > 0, "{acknowledged} were acknowledged, {caught} caught");
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
