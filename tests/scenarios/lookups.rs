//! Lookups in rings whose peers know few of the others.

use quoit::id::{Position, sha256};
use quoit::sim::{Slot, World, seeds};

use crate::{SECOND, both};

/// Goal: with as few contacts as Chord has fingers every lookup finds the owner, in about half of log2 N hops, however
/// short the successor lists are. The lists tell the density of a ring for which a peer has too few contacts.
#[test]
fn with_fingers_only_every_lookup_finds_the_owner() {
    for settings in both() {
        for seed in seeds(0..3) {
            let mut world = World::converged(seed, settings, 256, SECOND, 8);
            for i in 0..500u64 {
                let key = Position(sha256(&[seed, i].map(u64::to_be_bytes).concat()));
                let from = world.random_member().unwrap();
                world.search(from, key);
            }
            world.run_for(SECOND * 5);
            let outcomes = world.take_outcomes();
            assert_eq!(outcomes.len(), 500);
            let wrong = outcomes.iter().find(|outcome| !outcome.right);
            assert!(wrong.is_none(), "seed {seed}, r = {}: {wrong:?}", settings.successors);
            let hops: u32 = outcomes.iter().map(|outcome| outcome.hops).sum();
            assert!(hops < 500 * 5, "seed {seed}, r = {}: {hops} hops", settings.successors);
        }
    }
}

/// Goal: the news of one peer that joined is told for a while, and no longer, among peers that keep few of the others.
/// Method: the bytes that ten members send in two minutes, before a peer joins and long after.
#[test]
fn news_of_members_that_nobody_keeps_dies_out() {
    for settings in both() {
        for seed in seeds(0..2) {
            let mut world = World::converged(seed, settings, 128, SECOND, 7);
            let some: Vec<Slot> = (0..10).filter_map(|_| world.random_member()).collect();
            let rate = |world: &mut World| {
                let sent =
                    |world: &mut World| some.iter().map(|slot| world.sent(*slot).maintenance).sum::<u64>();
                let before = sent(world);
                world.run_for(SECOND * 120);
                sent(world) - before
            };
            world.run_for(SECOND * 60);
            let at_rest = rate(&mut world);
            world.join_through(some[0]).unwrap();
            world.run_for(SECOND * 120);
            let after = rate(&mut world);
            assert!(after * 100 < at_rest * 105, "seed {seed}: {at_rest} bytes, and {after} after the join");
        }
    }
}
