//! Worlds with files, and what is asked of them again and again.

use std::time::Duration;

use quoit::config::RingSettings;
use quoit::sim::World;
use quoit::sim::storage::{Ended, Outcome, Requested, StoredFile, check};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);

/// A ring of so many self-placed peers that have been together for long, with files.
pub fn converged(seed: u64, peers: usize) -> World {
    let mut world = World::converged(seed, RingSettings::default(), peers, SECOND, 4_096);
    world.enable_files();
    world
}

/// A ring of numbered peers that keep files; r = 2 makes a ring of four Chord.
pub fn numbered(seed: u64, successors: u8, numbers: &[u8]) -> World {
    let mut world = World::new(seed, RingSettings { replicas: 3, successors });
    world.enable_files();
    world.grow(numbers);
    world.run_for(SECOND * 5);
    world
}

/// Lets time pass until every file and every record is where it belongs.
pub fn settle(world: &mut World, within: Duration, seed: u64) -> Duration {
    let holds = |world: &World| check::in_place(world).and_then(|()| check::names_agree(world));
    world.run_until(within, holds).unwrap_or_else(|why| panic!("seed {seed}: {why}"))
}

/// What came of a store, which went well.
pub fn stored(ended: &[Ended], id: u64, seed: u64) -> StoredFile {
    match ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome) {
        Some(Outcome::Stored(Ok(stored))) => stored.clone(),
        other => panic!("seed {seed}: store {id} is {other:?}"),
    }
}

/// What came of a request.
pub fn requested(ended: &[Ended], id: u64, seed: u64) -> Requested {
    match ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome) {
        Some(Outcome::Requested(requested)) => requested.clone(),
        other => panic!("seed {seed}: request {id} is {other:?}"),
    }
}
