//! Many small files brought at once, as those of a directory are.

use quoit::sim::storage::{Ended, Lie, Outcome};
use quoit::sim::{Slot, World, seeds};
use quoit::wire::Fault;

use super::harness::{MINUTE, SECOND, Stores, converged_on, members, on_both, settle, stored};

const FILES: usize = 60;
const LENGTH: u64 = 5_000;

/// A ring of seven with small files, and their labels.
fn ring_with_small_files(stores: Stores, seed: u64) -> (World, Vec<Vec<u8>>) {
    let mut world = converged_on(stores, seed, 7);
    let at = members(&world)[seed as usize % 7];
    let labels: Vec<Vec<u8>> = (0..FILES).map(|i| format!("small {i} of {seed}").into_bytes()).collect();
    let named: Vec<(String, Vec<u8>)> =
        labels.iter().enumerate().map(|(i, label)| (format!("small-{i}"), label.clone())).collect();
    let ids = world.store_many(at, &named, LENGTH);
    let ended = world.finish(MINUTE);
    ids.iter().for_each(|id| drop(stored(&ended, *id, seed)));
    settle(&mut world, MINUTE, seed);
    (world, labels)
}

fn gather(world: &mut World, at: Slot, labels: &[Vec<u8>]) -> u64 {
    let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
    world.gather(at, &labels, LENGTH)
}

/// The number of files that came.
fn came(ended: &[Ended], id: u64) -> usize {
    match ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome) {
        Some(Outcome::Gathered(came)) => came.iter().filter(|came| **came).count(),
        other => panic!("{other:?}"),
    }
}

/// Goal: small files come in a few round trips, however many there are, and each byte travels once, even those of equal
/// files. One that no peer has and one that is too long spoil no other.
#[test]
fn small_files_come_together() {
    for (seed, stores) in on_both(seeds(0..4)) {
        let (mut world, mut labels) = ring_with_small_files(stores, seed);
        for at in members(&world) {
            let (begun, moved) = (world.now(), world.moved().requested);
            let id = gather(&mut world, at, &labels);
            let ended = world.finish(MINUTE);
            assert_eq!(came(&ended, id), FILES, "seed {seed}");
            let took = ended.iter().map(|ended| ended.ended - begun).max().unwrap();
            assert!(took < SECOND, "seed {seed}: {took:?}");
            assert_eq!(world.moved().requested - moved, FILES as u64 * LENGTH, "seed {seed}");
        }
        labels.extend([labels[0].clone(), b"unknown".to_vec()]);
        let (at, moved) = (members(&world)[0], world.moved().requested);
        let id = gather(&mut world, at, &labels);
        assert_eq!(came(&world.finish(MINUTE), id), FILES + 1, "seed {seed}");
        assert_eq!(world.moved().requested - moved, FILES as u64 * LENGTH, "seed {seed}");
        let long = world.gather(at, &[b"small 0"], 1 << 20);
        assert_eq!(came(&world.finish(MINUTE), long), 0, "seed {seed}");
    }
}

/// Goal: a peer that dies meanwhile, or before anybody has noticed, costs time and no file.
#[test]
fn a_dead_holder_costs_no_file() {
    for (seed, stores) in on_both(seeds(0..6)) {
        let (mut world, labels) = ring_with_small_files(stores, seed);
        let at = members(&world);
        world.crash_slot(at[1 + seed as usize % 6]);
        let begun = world.now();
        let id = gather(&mut world, at[0], &labels);
        let ended = world.finish(MINUTE);
        assert_eq!(came(&ended, id), FILES, "seed {seed}");
        let took = ended.iter().map(|ended| ended.ended - begun).max().unwrap();
        assert!(took < SECOND * 10, "seed {seed}: {took:?}");
    }
}

/// Goal: whatever one of the holders says, the right bytes come from the others. A lie that is proven is held against the
/// liar, and nothing against others.
#[test]
fn a_lying_holder_costs_no_file() {
    let mut told = [0; Lie::ALL.len()];
    for (seed, stores) in on_both(seeds(0..3)) {
        for (at, lie) in Lie::ALL.into_iter().enumerate() {
            let (mut world, labels) = ring_with_small_files(stores, seed);
            let (reader, liar) = (members(&world)[0], members(&world)[3]);
            world.set_lie(liar, lie);
            let id = gather(&mut world, reader, &labels);
            assert_eq!(came(&world.finish(MINUTE * 3), id), FILES, "seed {seed}, {lie:?}");
            let position = world.entry(liar).unwrap().position;
            let faults = world.faults_seen(reader);
            assert!(faults.iter().all(|(peer, _)| *peer == position), "seed {seed}, {lie:?}: {faults:?}");
            let proven = match lie {
                // The reader's own idea of the length may be wrong.
                Lie::WrongLength => None,
                Lie::CorruptBytes | Lie::FewerBytes | Lie::MoreBytes | Lie::OtherReply => lie.fault(),
                _ => None,
            };
            if world.lies_told(liar) > 0
                && let Some(fault) = proven
            {
                assert!(faults.contains(&(position, fault)), "seed {seed}, {lie:?}: {faults:?}");
            }
            told[at] += world.lies_told(liar);
        }
    }
    for (lie, told) in Lie::ALL.into_iter().zip(told) {
        let is_about_bytes =
            matches!(lie.fault(), Some(Fault::CorruptBytes | Fault::Endless | Fault::WrongLength));
        assert!(told > 0 || !is_about_bytes || lie == Lie::LongOutboard, "{lie:?} was never told");
    }
}
