//! Worlds with files, and the steps that many scenarios share.

use std::time::Duration;

use quoit::chord::PhaseKind;
use quoit::config::RingSettings;
use quoit::id::ContentId;
use quoit::outboard::CHUNK_BYTES;
use quoit::sim::storage::{Ended, FileSettings, Outcome, Requested, StoreFailure, StoredFile, check};
use quoit::sim::{Slot, World};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);

/// r = 8, the default, for every second seed; r = 2, with Chord from four peers on, for the others.
pub fn settings(seed: u64) -> RingSettings {
    RingSettings {
        replicas: 3,
        successors: if seed.is_multiple_of(2) { 8 } else { 2 },
        ..RingSettings::default()
    }
}

/// A settled ring of this number of self-placed peers, with files enabled.
pub fn converged(seed: u64, peers: usize) -> World {
    converged_with(seed, settings(seed), peers)
}

/// The stores that the peers of a world have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stores {
    /// Disks that keep lengths.
    Light,
    /// The stores of running peers, on disks in memory.
    Real,
}

impl Stores {
    /// The length of a file that stands for one of so many bytes. A real file is hashed, so it has a quarter of the
    /// length, and lines a quarter of the bandwidth. A file of several chunks keeps several.
    pub fn length(self, bytes: u64) -> u64 {
        let shortest = if bytes > CHUNK_BYTES { bytes.min(CHUNK_BYTES / 4 * 5) } else { 0 };
        (bytes / self.scale()).max(shortest)
    }

    fn scale(self) -> u64 {
        match self {
            Stores::Light => 1,
            Stores::Real => 4,
        }
    }
}

/// Each seed with light disks; and the first seeds, one in four of all, with real stores as well.
pub fn on_both(seeds: Vec<u64>) -> Vec<(u64, Stores)> {
    let real = seeds.len().div_ceil(4);
    let light = seeds.iter().map(|seed| (*seed, Stores::Light));
    light.chain(seeds.iter().take(real).map(|seed| (*seed, Stores::Real))).collect()
}

/// Like [`converged`], with stores of this kind.
pub fn converged_on(stores: Stores, seed: u64, peers: usize) -> World {
    let mut world = World::converged(seed, settings(seed), peers, SECOND, 4_096);
    enable(&mut world, stores);
    world
}

/// Seven peers with r = 8, which free copies that are one too many after two minutes.
pub fn seven_that_free_surplus(seed: u64, stores: Stores) -> World {
    let mut world = World::converged(seed, RingSettings::default(), 7, SECOND, 4_096);
    world.enable_files_with(FileSettings {
        real_stores: stores == Stores::Real,
        surplus_wait: Some(MINUTE * 2),
        ..FileSettings::default()
    });
    world
}

/// From now on the peers of a world keep files, in stores of this kind.
pub fn enable(world: &mut World, stores: Stores) {
    let usual = FileSettings::default();
    world.enable_files_with(FileSettings {
        real_stores: stores == Stores::Real,
        bandwidth_bytes_s: usual.bandwidth_bytes_s / stores.scale(),
        slice_bytes: usual.slice_bytes / stores.scale(),
        ..usual
    });
}

/// Like [`converged`], with stores of this kind and other settings.
pub fn converged_with(seed: u64, settings: RingSettings, peers: usize) -> World {
    let mut world = World::converged(seed, settings, peers, SECOND, 4_096);
    world.enable_files();
    world
}

/// Lets time pass until every file and every record is where it belongs. Asserts that the oracle has found nothing.
pub fn settle(world: &mut World, within: Duration, seed: u64) {
    let end = world.now() + within;
    loop {
        match check::in_place(world).and_then(|()| check::names_agree(world)) {
            Ok(()) => break,
            Err(why) if world.now() >= end => panic!("seed {seed}: {why}"),
            Err(_) => world.run_for(SECOND / 4),
        }
    }
    let found = world.oracle.violations();
    assert!(found.is_empty(), "seed {seed}: {} violations, first {:?}", world.oracle.count(), found[0]);
}

/// The report of a store that must have succeeded.
pub fn stored(ended: &[Ended], id: u64, seed: u64) -> StoredFile {
    match ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome) {
        Some(Outcome::Stored(Ok(stored))) => stored.clone(),
        other => panic!("seed {seed}: store {id} is {other:?}"),
    }
}

/// The outcome of a request.
pub fn requested(ended: &[Ended], id: u64, seed: u64) -> Requested {
    match ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome) {
        Some(Outcome::Requested(requested)) => requested.clone(),
        other => panic!("seed {seed}: request {id} is {other:?}"),
    }
}

/// Whether chance, without a world, puts a peer among this number of tenths.
pub fn is_chosen(seed: u64, slot: Slot, tenths: u64) -> bool {
    let hash = ContentId::of(&[seed, u64::from(slot)].map(u64::to_be_bytes).concat());
    u64::from(hash.as_bytes()[0]) * 10 < tenths * 256
}

/// Lets time pass until a peer is in the ring.
pub fn until_member(world: &mut World, slot: Slot, seed: u64) {
    let in_ring = |world: &World| match world.node(slot).is_some_and(|node| node.is_member()) {
        true => Ok(()),
        false => Err(format!("{slot} is on its way")),
    };
    world.run_until(SECOND * 10, in_ring).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
}

/// The slots of the living members, in ring order.
pub fn members(world: &World) -> Vec<Slot> {
    world.living().values().copied().collect()
}

/// The peers that should keep the key of a content, the owner first.
pub fn keepers(world: &World, content: &ContentId) -> Vec<Slot> {
    let owner = world.first_at_or_after(&content.key()).unwrap();
    let members = members(world);
    let at = members.iter().position(|slot| *slot == owner).unwrap();
    (0..members.len().min(3)).map(|step| members[(at + step) % members.len()]).collect()
}

/// Lets every living member that does not leave request every name, and returns each outcome. The process of one that
/// leaves ends, with what it was asked for.
pub fn request_everywhere(world: &mut World, names: &[String]) -> Vec<(Slot, String, Requested)> {
    let mut asked = Vec::new();
    let leaves =
        |world: &World, slot| world.node(slot).is_some_and(|node| node.phase() == PhaseKind::Leaving);
    for slot in members(world) {
        if leaves(world, slot) {
            continue;
        }
        for name in names {
            asked.push((slot, name.clone(), world.request(slot, name)));
        }
    }
    let ended = world.finish(MINUTE * 3);
    let outcome = |id| match ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome) {
        Some(Outcome::Requested(requested)) => requested.clone(),
        other => panic!("{other:?}"),
    };
    asked.into_iter().map(|(slot, name, id)| (slot, name, outcome(id))).collect()
}

/// Every acknowledged file is found from every living member.
pub fn all_are_found_everywhere(world: &mut World, seed: u64) {
    let names: Vec<String> = world.acknowledged().iter().map(|file| file.name.to_string()).collect();
    for (slot, name, requested) in request_everywhere(world, &names) {
        assert!(matches!(requested, Requested::Found { .. }), "seed {seed}: {name} at {slot}: {requested:?}");
    }
}

/// The error of a store that must have failed.
pub fn failed(ended: &[Ended], id: u64, seed: u64) -> StoreFailure {
    match ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome) {
        Some(Outcome::Stored(Err(failure))) => failure.clone(),
        other => panic!("seed {seed}: store {id} is {other:?}"),
    }
}

/// After deaths that the laws bear, every acknowledged file and name comes to its place within some minutes, no flow is
/// stuck, every member finds every file, and all visible bytes are right. The names `removed` were removed last: once
/// that was acknowledged, nobody finds them.
///
/// # Errors
/// The first of these that does not hold.
pub fn nothing_is_lost(world: &mut World, removed: &[&str]) -> Result<(), String> {
    // A peer that was never a member has nothing to come back to; one that left is gone.
    world.run_until(MINUTE * 4, |world| match world.files_under_way() {
        0 => check::in_place(world).and_then(|()| check::names_agree(world)),
        count => Err(format!("{count} stores or requests do not end")),
    })?;
    let mut gone = Vec::new();
    for ended in world.take_ended() {
        match ended.outcome {
            Outcome::Requested(Requested::Unknown) => {
                return Err("a file that was acknowledged was unknown".to_owned());
            }
            Outcome::Removed(Ok(record)) => gone.push(record.name.to_string()),
            _ => {}
        }
    }
    for (slot, name, requested) in request_everywhere(world, &gone) {
        if requested != Requested::Unknown {
            return Err(format!("{name} was removed, and at {slot} it is {requested:?}"));
        }
    }
    let names = world.acknowledged().iter().map(|file| file.name.to_string());
    let names: Vec<String> = names.filter(|name| !removed.contains(&name.as_str())).collect();
    for (slot, name, requested) in request_everywhere(world, &names) {
        let Requested::Found { content, .. } = requested else {
            return Err(format!("{name} at {slot}: {requested:?}"));
        };
        if world.with_disk(slot, |disk| disk.holds(&content)) != Some(true) {
            return Err(format!("{name} at {slot} has wrong bytes"));
        }
    }
    match world.oracle.violations().first() {
        Some(violation) => Err(violation.what.to_string()),
        None => Ok(()),
    }
}

/// A share of many cases: those whose number leaves this rest when it is divided by the number of shares.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    rest: usize,
    of: usize,
}

impl Share {
    pub const ALL: Share = Share { rest: 0, of: 1 };

    /// One in so many cases, or what `QUOIT_DEATHS` says: all of them with 1, the third of ten shares with 3/10.
    pub fn of_gate(one_in: usize) -> Share {
        let Ok(words) = std::env::var("QUOIT_DEATHS") else { return Share { rest: 0, of: one_in } };
        match words.split_once('/') {
            Some((which, of)) => Share { rest: which.parse::<usize>().unwrap() - 1, of: of.parse().unwrap() },
            None => Share::ALL,
        }
    }

    pub fn has(self, number: usize) -> bool {
        number % self.of == self.rest
    }
}
