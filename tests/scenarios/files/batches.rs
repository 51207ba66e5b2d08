//! Many small files stored at once.

use quoit::sim::seeds;
use quoit::sim::storage::{Ended, Outcome, check};

use super::harness::{
    MINUTE, SECOND, Stores, all_are_found_everywhere, converged_on, members, on_both, settle, stored,
};

/// Names and labels of so many files.
fn files(prefix: &str, seed: u64, count: usize) -> Vec<(String, Vec<u8>)> {
    (0..count).map(|i| (format!("{prefix}-{i}"), format!("{prefix} {i} of {seed}").into_bytes())).collect()
}

fn acknowledged(ended: &[Ended]) -> usize {
    ended.iter().filter(|ended| matches!(ended.outcome, Outcome::Stored(Ok(_)))).count()
}

/// Goal: many files that are stored together are each acknowledged with W durable copies, have R soon after, and every
/// peer finds them; no byte is moved twice, and it takes a few round trips, however many files there are.
#[test]
fn many_files_are_stored_with_few_round_trips() {
    for (seed, stores) in on_both(seeds(0..4)) {
        for peers in [1, 2, 3, 12] {
            let mut world = converged_on(stores, seed, peers);
            let at = members(&world)[seed as usize % peers];
            let begun = world.now();
            let ids = world.store_many(at, &files("many", seed, 60), 5_000);
            let ended = world.finish(MINUTE);
            let quorum = world.settings.write_quorum(peers);
            for id in &ids {
                let stored = stored(&ended, *id, seed);
                assert!(stored.holders.len() >= quorum, "seed {seed}: {stored:?}");
            }
            check::copies_at_least(&world, quorum).unwrap();
            let took = ended.iter().map(|ended| ended.ended - begun).max().unwrap();
            assert!(took < SECOND * 2, "seed {seed}, {peers} peers: {took:?}");
            settle(&mut world, SECOND * 20, seed);
            // From the storing peer to the owner, and down the chain, which may lead back.
            let moves = if peers == 1 { 0 } else { peers.min(3) as u64 };
            assert!(
                world.moved().stored <= moves * 60 * 5_000,
                "seed {seed}, {peers} peers: {:?}",
                world.moved()
            );
            all_are_found_everywhere(&mut world, seed);
        }
    }
}

/// Goal: whatever peer dies, and whenever, while many files are stored, nothing is lost that was acknowledged, and the
/// files of the others go on.
#[test]
fn a_peer_dies_in_the_middle_of_a_batch() {
    let mut stored = 0;
    for (seed, stores) in on_both(seeds(0..12)) {
        let mut world = converged_on(stores, seed, 7);
        let at = members(&world);
        world.store_many(at[0], &files("one", seed, 40), 9_000);
        world.store_many(at[3], &files("other", seed, 40), 9_000);
        world.run_for(SECOND * (seed as u32 % 12) / 40);
        world.crash_slot(at[1 + seed as usize % 6]);
        let ended = world.finish(MINUTE * 5);
        stored += acknowledged(&ended);
        settle(&mut world, MINUTE * 2, seed);
        all_are_found_everywhere(&mut world, seed);
    }
    assert!(stored > 300, "{stored}");
}

/// Goal: a replica without room costs its own copies only, and no file of a batch fails for it.
#[test]
fn a_full_replica_keeps_no_batch_from_the_others() {
    for (seed, stores) in on_both(seeds(0..4)) {
        let mut world = converged_on(stores, seed, 7);
        let at = members(&world);
        world.with_disk(at[2], |disk| disk.set_capacity(20_000));
        world.store_many(at[0], &files("many", seed, 50), 9_000);
        let ended = world.finish(MINUTE * 5);
        assert_eq!(acknowledged(&ended), 50, "seed {seed}: {ended:?}");
        let found = world.oracle.violations();
        assert!(found.is_empty(), "seed {seed}: {:?}", found[0]);
        // A request keeps the file, so it needs room.
        world.with_disk(at[2], |disk| disk.set_capacity(1 << 30));
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Goal: files of the same bytes, and files under the same name, each get their own outcome.
#[test]
fn the_same_bytes_and_the_same_name_may_come_twice() {
    for (seed, stores) in on_both(seeds(0..4)) {
        let mut world = converged_on(stores, seed, 5);
        let at = members(&world)[0];
        let mut named = files("many", seed, 8);
        named[3].1 = named[2].1.clone();
        named[6].0 = named[5].0.clone();
        let ids = world.store_many(at, &named, 700);
        let ended = world.finish(MINUTE);
        ids.iter().for_each(|id| drop(stored(&ended, *id, seed)));
        // Stored again, all is there already.
        let moved = world.moved().stored;
        world.store_many(at, &named[..3], 700);
        assert_eq!(acknowledged(&world.finish(MINUTE)), 3, "seed {seed}");
        assert_eq!(world.moved().stored, moved, "seed {seed}: bytes that are there are not moved again");
        settle(&mut world, MINUTE, seed);
        all_are_found_everywhere(&mut world, seed);
    }
}

/// Goal: the files of a directory go together, without names, and are acknowledged as files with names are: whatever peer
/// dies meanwhile, an acknowledged tree has all its files. Stored again with one file more, that one alone is moved.
#[test]
fn the_files_of_a_tree_go_together() {
    let mut acknowledged = 0;
    for seed in seeds(0..6) {
        let mut world = converged_on(Stores::Real, seed, 7);
        let at = members(&world);
        let labels: Vec<Vec<u8>> = (0..40).map(|i| format!("{i} of {seed}").into_bytes()).collect();
        let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
        let begun = world.now();
        let whole = world.store_tree(at[0], "whole", &labels[..30], 5_000);
        let ended = world.finish(MINUTE);
        stored(&ended, whole, seed);
        let took = ended.iter().map(|ended| ended.ended - begun).max().unwrap();
        assert!(took < SECOND * 2, "seed {seed}: {took:?}");
        let quorum = world.settings.write_quorum(7);
        check::copies_at_least(&world, quorum).unwrap();
        settle(&mut world, SECOND * 20, seed);
        let moved = world.moved().stored;
        let more = world.store_tree(at[0], "more", &labels[..31], 5_000);
        stored(&world.finish(MINUTE), more, seed);
        // One file and the tree, to three peers each.
        assert!(world.moved().stored - moved < 2 * 3 * 6_000, "seed {seed}: {:?}", world.moved());
        let cut = world.store_tree(at[3], "cut", &labels, 5_000);
        world.run_for(SECOND * (seed as u32) / 20);
        world.crash_slot(at[1 + seed as usize % 6]);
        let ended = world.finish(MINUTE * 5);
        settle(&mut world, MINUTE * 2, seed);
        let is_stored = |one: &&Ended| one.id == cut && matches!(one.outcome, Outcome::Stored(Ok(_)));
        if ended.iter().any(|one| is_stored(&one)) {
            acknowledged += 1;
            for label in &labels {
                let copies = world.copies_of_all();
                let content = world.content_of(label, 5_000);
                assert!(
                    copies.get(&content).is_some_and(|count| *count >= quorum),
                    "seed {seed}: {copies:?}"
                );
            }
        }
    }
    assert!(acknowledged > 2, "{acknowledged}");
}
