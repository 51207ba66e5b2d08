//! Peers come together: all at once, one after the other, and several into one gap.

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::harness::{LISTS, Ring, SEVEN};
use super::samples::{Sample, several};
use crate::eventually::eventually;

/// Goal: seven peers that start at once are one ring, small or large by the length of their lists.
#[test]
fn seven_at_once() {
    for successors in LISTS {
        let ring = Ring::of(successors, &SEVEN);
        let membership = if successors == 2 { "corrected Chord" } else { "small ring, one map" };
        for number in SEVEN {
            assert_eq!(ring.shown_by(number).first(), Some(&number));
            eventually("the membership", || ring.ask(number, "Status").done().contains(membership));
            let said = ring.peer(number).all().err;
            assert!(!said.contains("is no longer alive"), "peer {number}:\n{said}");
            let (_, after) = said.split_once("is active in ring ").unwrap();
            assert!(!after.contains("Waiting") && !after.contains("active again"), "peer {number}:\n{said}");
        }
    }
}

/// Goal: joins in any order, each through any member, end as one ring, and each joiner gets its files.
#[test]
fn five_join_in_random_order() {
    let seed = seed();
    for successors in LISTS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut ring = Ring::of(successors, &[40, 200]);
        let samples = several(&ring);
        samples.iter().for_each(|sample| drop(sample.store(&ring, 40, "--wait all")));
        let mut joiners = [7, 60, 120, 180, 250];
        joiners.shuffle(&mut rng);
        eprintln!("seed {seed} (QUOIT_SEED), order {joiners:?}");
        for joiner in joiners {
            let known = ring.numbers();
            let known = known[rng.random_range(0..known.len())];
            ring.join(joiner, known);
        }
        ring.settle();
        for sample in &samples {
            three_copies_where_they_belong(&ring, sample);
            ring.numbers().iter().for_each(|number| drop(sample.request(&ring, *number)));
        }
    }
}

/// Goal: three that join at once between the same two peers all get their place.
#[test]
fn three_join_one_gap_at_once() {
    for successors in LISTS {
        let mut ring = Ring::of(successors, &[20, 60, 200, 240]);
        for (joiner, known) in [(100, 20), (120, 60), (140, 240)] {
            ring.begin_join(joiner, known);
        }
        [100, 120, 140].iter().for_each(|joiner| ring.peer(*joiner).wait_active());
        ring.settle();
    }
}

/// Goal: a verbose peer prints each ping, death and repair with the numbers of the peers, and never a placeholder.
#[test]
fn verbose_peers_tell_their_story() {
    let mut ring = Ring::of(8, &[2, 4, 5, 8]);
    let peer = ring.peer(2);
    peer.wait_said("Ping requests sent to Peers 4, 5 and 8\n");
    peer.wait_said("Ping response received from Peer 4\n");
    peer.wait_said("Ping request received from Peer 8\n");
    ring.kill(&[4]);
    let peer = ring.peer(2);
    peer.wait_said("Peer 4 is no longer alive\n");
    peer.wait_said("My new first successor is Peer 5\n");
    peer.wait_said("My new second successor is Peer 8\n");
    ring.peer(5).wait_said("My new predecessor is Peer 2\n");
    assert_eq!(ring.quit(5).0, Some(0));
    ring.peer(2).wait_said("Peer 5 left the ring\n");
    ring.peer(2).wait_said("My new first successor is Peer 8\n");
    ring.kill(&[8]);
    ring.peer(2).wait_said("Peer 8 is no longer alive\n");
    ring.ask(2, "Ring").done();
    ring.ask(2, "Status").done();
    let said = ring.peer(2).all();
    for word in ["None", "nobody", "unknown", "?", "Some(", "panicked"] {
        let told = said.err.lines().find(|line| line.contains(word));
        assert_eq!(told, None, "{word}");
    }
}

/// The three copies are where they belong; more copies may be elsewhere.
fn three_copies_where_they_belong(ring: &Ring, sample: &Sample) {
    let key = u8::from_str_radix(&sample.sha256[..2], 16).unwrap();
    let numbers = ring.numbers();
    let first = numbers.iter().position(|number| *number >= key).unwrap_or(0);
    let replicas: Vec<u8> = (0..3).map(|i| numbers[(first + i) % numbers.len()]).collect();
    eventually(&format!("{} on {replicas:?}", sample.name), || {
        let here = sample.on_disk(ring);
        replicas.iter().all(|replica| here.contains(replica))
    });
}

fn seed() -> u64 {
    let given = std::env::var("QUOIT_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| rand::rng().random())
}
