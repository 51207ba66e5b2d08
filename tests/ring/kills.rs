//! SIGKILL under load: nothing that was acknowledged is lost, nothing that was removed comes back.
//!
//! `QUOIT_KILLS=200 cargo test --test peers ring::kills` runs so many rounds for each length of the lists; without it
//! there are a few. `QUOIT_SEED` begins with another seed.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::harness::{LISTS, Ring};
use super::load::{Acknowledged, EDITS, rounds};
use super::samples::check_disk;

const FIVE: [u8; 5] = [40, 90, 140, 190, 240];

/// Goal: each round a peer is killed in the middle of stores, new versions and removals through another one, and starts
/// again; afterwards the peers give every acknowledged file that they are asked for, whole, and deny every removed name: a
/// part of them in each round, all of them in the end.
#[test]
fn a_kill_under_load_loses_nothing() {
    let (rounds, seed) = rounds("QUOIT_KILLS", 2);
    for successors in LISTS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed * 256 + u64::from(successors));
        let mut ring = Ring::of(successors, &FIVE);
        let mut acknowledged = Acknowledged::default();
        for round in 0..rounds {
            let first = rng.random_range(0..FIVE.len());
            let (victim, writer) = (FIVE[first], FIVE[(first + 1 + round % 4) % FIVE.len()]);
            let kill_after = rng.random_range(1..EDITS);
            let kill = || ring.peer(victim).kill();
            acknowledged.change_during(&ring, (writer, &round.to_string()), (kill_after, false, kill));
            ring.kill(&[victim]);
            acknowledged.check_part(&ring, round);
            ring.begin_run(victim);
            ring.peer(victim).wait_active();
            ring.settle();
            acknowledged.check_part(&ring, round);
        }
        acknowledged.check(&ring);
        println!("{rounds} kills, {} names acknowledged", acknowledged.count());
        assert!(acknowledged.count() > 0);
        FIVE.iter().for_each(|number| check_disk(&ring, *number));
    }
}
