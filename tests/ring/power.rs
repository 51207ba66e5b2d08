//! Losses of power on a real file system: an ext4 that is shut down without its journal, under load. Everything
//! that was acknowledged is there afterwards, nothing that was removed is, and the peers serve on.
//!
//! `QUOIT_POWER_CUTS=50 cargo test --test peers ring::power -- --include-ignored` runs so many rounds in each test.
//! `QUOIT_SEED` begins with another seed.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::disk::Disk;
use super::harness::Ring;
use super::load::{Acknowledged, EDITS, rounds};
use super::samples::check_disk;

const THREE: [u8; 3] = [36, 146, 255];

/// Cuts the power of a disk in the middle of changes through `writer`, which `victims` do not survive, and starts these
/// again.
fn cut_power(
    ring: &mut Ring,
    disk: &Disk,
    victims: &[u8],
    (writer, round): (u8, usize),
    acknowledged: &mut Acknowledged,
    rng: &mut ChaCha8Rng,
) {
    let after = rng.random_range(1..EDITS);
    let fail = || {
        disk.cut_power();
        victims.iter().for_each(|victim| ring.peer(*victim).kill());
    };
    acknowledged.change_during(ring, (writer, &round.to_string()), (after, victims.contains(&writer), fail));
    ring.kill(victims);
    disk.power_on();
    if !ring.numbers().is_empty() {
        acknowledged.check_part(ring, round);
    }
    victims.iter().for_each(|victim| ring.begin_run(*victim));
    victims.iter().for_each(|victim| ring.peer(*victim).wait_active());
    ring.settle();
    acknowledged.check_part(ring, round);
}

/// Goal: all peers and the certificates are on one disk, so that nothing outlives the loss but what was synced.
#[test]
#[ignore = "needs --all, mount, perl"]
fn a_ring_that_loses_power_as_a_whole_keeps_what_it_acknowledged() {
    let (rounds, seed) = rounds("QUOIT_POWER_CUTS", 2);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut ring = Ring::new(8);
    let disk = Disk::of(ring.dir(), 1_024, &[]);
    ring.init_all(&THREE);
    ring.settle();
    let mut acknowledged = Acknowledged::default();
    for round in 0..rounds {
        let writer = THREE[round % THREE.len()];
        cut_power(&mut ring, &disk, &THREE, (writer, round), &mut acknowledged, &mut rng);
    }
    acknowledged.check(&ring);
    println!("{rounds} losses of power, {} names acknowledged", acknowledged.count());
    assert!(acknowledged.count() > 0);
    THREE.iter().for_each(|number| check_disk(&ring, *number));
}

/// Goal: one peer loses power, through which the changes are made every second time; the others serve meanwhile.
#[test]
#[ignore = "needs --all, mount, perl"]
fn a_peer_that_loses_power_comes_back_with_what_it_acknowledged() {
    let (rounds, seed) = rounds("QUOIT_POWER_CUTS", 2);
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1_000);
    let mut ring = Ring::new(8);
    let disk = Disk::of(&ring.data_dir(146), 512, &[]);
    ring.init_all(&THREE);
    ring.settle();
    let mut acknowledged = Acknowledged::default();
    for round in 0..rounds {
        let writer = [146, 255, 146, 36][round % 4];
        cut_power(&mut ring, &disk, &[146], (writer, round), &mut acknowledged, &mut rng);
    }
    acknowledged.check(&ring);
    println!("{rounds} losses of power, {} names acknowledged", acknowledged.count());
    assert!(acknowledged.count() > 0);
    THREE.iter().for_each(|number| check_disk(&ring, *number));
}

/// Goal: a peer alone, of whose files there is no other copy.
#[test]
#[ignore = "needs --all, mount, perl"]
fn a_peer_alone_that_loses_power_keeps_what_it_acknowledged() {
    let (rounds, seed) = rounds("QUOIT_POWER_CUTS", 2);
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 2_000);
    let mut ring = Ring::new(8);
    let disk = Disk::of(ring.dir(), 512, &[]);
    ring.found(36);
    let mut acknowledged = Acknowledged::default();
    for round in 0..rounds {
        cut_power(&mut ring, &disk, &[36], (36, round), &mut acknowledged, &mut rng);
    }
    acknowledged.check(&ring);
    println!("{rounds} losses of power, {} names acknowledged", acknowledged.count());
    assert!(acknowledged.count() > 0);
    check_disk(&ring, 36);
}
