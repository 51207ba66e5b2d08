//! SIGKILL under load: nothing that was acknowledged is lost, nothing that was removed comes back.
//!
//! `QUOIT_KILLS=200 cargo test --test peers ring::kills` runs so many rounds; without it there are a few.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::harness::{LISTS, Ring};
use super::samples::check_disk;
use crate::eventually::eventually;

const FIVE: [u8; 5] = [40, 90, 140, 190, 240];

/// The bytes that each name has to have, `None` once it was removed; as far as it was acknowledged.
type Acknowledged = BTreeMap<String, Option<Vec<u8>>>;

/// Goal: each round a peer is killed in the middle of stores, new versions and removals through another one, and starts
/// again; afterwards every peer gives every acknowledged file, whole, and denies every removed name.
#[test]
fn a_kill_under_load_loses_nothing() {
    let rounds: usize = std::env::var("QUOIT_KILLS").map_or(2, |rounds| rounds.parse().unwrap());
    for (seed, successors) in (0..).zip(LISTS) {
        let mut ring = Ring::of(successors, &FIVE);
        let (dir, mut rng) = (ring.scratch(), ChaCha8Rng::seed_from_u64(seed));
        let mut acknowledged = Acknowledged::new();
        for round in 0..rounds {
            let first = rng.random_range(0..FIVE.len());
            let (victim, writer) = (FIVE[first], FIVE[(first + 1 + round % 4) % FIVE.len()]);
            let kill_after = rng.random_range(1..EDITS);
            let done = AtomicUsize::new(0);
            let edits = thread::scope(|scope| {
                let edits = scope.spawn(|| edit(&ring, writer, &dir, round, &done));
                eventually("the moment of the kill", || done.load(Ordering::SeqCst) >= kill_after);
                ring.peer(victim).kill();
                edits.join().unwrap()
            });
            // A change that was not acknowledged may have happened or not: its name is not looked at any more.
            for (name, bytes) in edits {
                match bytes {
                    Some(bytes) => drop(acknowledged.insert(name, bytes)),
                    None => drop(acknowledged.remove(&name)),
                }
            }
            ring.kill(&[victim]);
            check(&ring, &acknowledged);
            ring.begin_run(victim);
            ring.peer(victim).wait_active();
            ring.settle();
            check(&ring, &acknowledged);
        }
        assert!(!acknowledged.is_empty());
        FIVE.iter().for_each(|number| check_disk(&ring, *number));
    }
}

/// Stores files, gives some of them a second version and removes others. Returns, for each name, what was acknowledged
/// last: its bytes, or `Some(None)` for a removal; `None` if the last change was not acknowledged.
fn edit(
    ring: &Ring,
    writer: u8,
    dir: &Path,
    round: usize,
    done: &AtomicUsize,
) -> Vec<(String, Option<Option<Vec<u8>>>)> {
    let mut edits = Vec::new();
    for i in 0..EDITS {
        let name = format!("{round} {i}");
        let path = dir.join(&name);
        let mut last = None;
        for version in 0..=i % 2 {
            let bytes = format!("{name}, version {version}\n").repeat(200 * i + 1).into_bytes();
            std::fs::write(&path, &bytes).unwrap();
            let said = ring.said(writer, &["store", path.to_str().unwrap()]);
            last = (said.code == Some(0)).then_some(Some(bytes));
        }
        if i % 3 == 2 && last.is_some() {
            last = (ring.said(writer, &["remove", &name]).code == Some(0)).then_some(None);
        }
        edits.push((name, last));
        done.fetch_add(1, Ordering::SeqCst);
    }
    edits
}

/// Every running peer gives each file that was acknowledged, and denies each name that was removed.
fn check(ring: &Ring, acknowledged: &Acknowledged) {
    for (at, (name, bytes)) in acknowledged.iter().enumerate() {
        let numbers = ring.numbers();
        let number = numbers[at % numbers.len()];
        eventually(&format!("{name} as it was acknowledged, at peer {number}"), || {
            let said = ring.said(number, &["cat", name]);
            match bytes {
                Some(bytes) => said.code == Some(0) && said.out == *bytes,
                None => said.code == Some(1),
            }
        });
    }
}

/// The number of names that are changed in a round.
const EDITS: usize = 12;
