//! Members that lie about files, in virtual time.

use quoit::id::Position;
use quoit::sim::storage::{Acknowledged, Lie, Outcome, Requested};
use quoit::sim::{Slot, World, seeds};
use quoit::wire::{Fault, ObjectInfo};

use super::harness::{
    MINUTE, SECOND, Stores, converged_on, keepers, members, on_both, request_everywhere, requested,
};

/// A ring of eight, one of which is about to lie: it owns a file of three chunks, and the name of that file belongs
/// to others.
fn ring_with_liar(seed: u64, stores: Stores) -> (World, Slot, Acknowledged) {
    let mut world = converged_on(stores, seed, 8);
    world.place_files(24, stores.length(3 << 20));
    world.run_for(SECOND * 30);
    let owned = |file: &&Acknowledged| {
        let liar = keepers(&world, &file.content)[0];
        let of_name = world.first_at_or_after(&file.name.key()).unwrap();
        of_name != liar
    };
    let file = world.acknowledged().iter().find(owned).unwrap().clone();
    let liar = keepers(&world, &file.content)[0];
    (world, liar, file)
}

/// The faults that honest peers have seen, with the peer that each one blames.
fn seen_by_honest(world: &World, liar: Slot) -> Vec<(Position, Fault)> {
    members(world).into_iter().filter(|slot| *slot != liar).flat_map(|slot| world.faults_seen(slot)).collect()
}

fn nobody_honest_is_blamed(world: &World, liar: Slot, seed: u64, lie: Lie) {
    let position = world.entry(liar).unwrap().position;
    let wronged = seen_by_honest(world, liar).into_iter().find(|(peer, _)| *peer != position);
    assert_eq!(wronged, None, "seed {seed}, {lie:?}");
}

/// Goal: a request succeeds whatever the owner of the file says. Each lie that can be proved is counted as a fault of
/// the owner, and no other peer is blamed.
#[test]
fn a_request_survives_each_lie_of_the_owner() {
    let mut told = [0; Lie::ALL.len()];
    for (seed, stores) in on_both(seeds(0..8)) {
        for (at, lie) in Lie::ALL.into_iter().enumerate() {
            let (mut world, liar, file) = ring_with_liar(seed, stores);
            world.set_lie(liar, lie);
            let keepers = keepers(&world, &file.content);
            let reader = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
            let id = world.request(reader, file.name.as_str());
            let ended = world.finish(MINUTE * 3);
            let outcome = requested(&ended, id, seed);
            assert!(matches!(outcome, Requested::Found { .. }), "seed {seed}, {lie:?}: {outcome:?}");
            assert_eq!(
                world.with_disk(reader, |disk| disk.holds(&file.content)),
                Some(true),
                "seed {seed}, {lie:?}"
            );
            nobody_honest_is_blamed(&world, liar, seed, lie);
            let position = world.entry(liar).unwrap().position;
            // It may have told this lie to others alone, when they looked after their names.
            let faults = match lie {
                Lie::OtherReply => seen_by_honest(&world, liar),
                _ => world.faults_seen(reader),
            };
            if world.lies_told(liar) > 0
                && lie != Lie::ForgedRecord
                && lie != Lie::FalseCopies
                && let Some(fault) = lie.fault()
            {
                assert!(faults.contains(&(position, fault)), "seed {seed}, {lie:?}: {faults:?}");
            }
            told[at] += world.lies_told(liar);
        }
    }
    // No peer stores here, and no peer asks this owner for a name.
    let untold = [Lie::FalseHere, Lie::FalseCopies, Lie::ForgedRecord, Lie::SlowReader];
    for (lie, told) in Lie::ALL.into_iter().zip(told) {
        assert!(told > 0 || untold.contains(&lie), "{lie:?} was never told");
    }
}

/// Goal: with one liar in the ring, stores, departures, deaths and repair go on. Every file that was acknowledged has a
/// sound copy at an honest peer, each honest peer finds it, and no honest peer is blamed.
#[test]
fn a_ring_lives_with_each_liar() {
    let mut told = [0; Lie::ALL.len()];
    for (seed, stores) in on_both(seeds(0..2)) {
        for (at, lie) in Lie::ALL.into_iter().enumerate() {
            let (mut world, liar, file) = ring_with_liar(seed, stores);
            world.oracle.safety = false;
            world.set_lie(liar, lie);
            let honest: Vec<Slot> = members(&world).into_iter().filter(|slot| *slot != liar).collect();
            for i in 0..10 {
                world.store(honest[i % honest.len()], &format!("new-{i}.bin"), stores.length(2 << 20));
                let small: Vec<(String, Vec<u8>)> =
                    (0..6).map(|j| (format!("small-{i}-{j}"), format!("{i} {j}").into_bytes())).collect();
                world.store_many(honest[(i + 1) % honest.len()], &small, 900);
                world.request(honest[(i + 3) % honest.len()], file.name.as_str());
                for file in (i..24).step_by(10) {
                    world.request(honest[(i + 5) % honest.len()], &format!("file-{file}"));
                }
                world.run_for(SECOND / 2);
            }
            for ended in world.finish(MINUTE * 5) {
                if let Outcome::Requested(requested) = &ended.outcome {
                    assert!(matches!(requested, Requested::Found { .. }), "seed {seed}, {lie:?}: {ended:?}");
                }
            }
            // Repair talks with the liar, too.
            world.run_for(MINUTE * 2);
            told[at] += world.lies_told(liar);
            nobody_honest_is_blamed(&world, liar, seed, lie);
            let names: Vec<String> = world.acknowledged().iter().map(|file| file.name.to_string()).collect();
            for (slot, name, what) in request_everywhere(&mut world, &names) {
                let found = matches!(what, Requested::Found { .. });
                assert!(slot == liar || found, "seed {seed}, {lie:?}: {name} at {slot}: {what:?}");
            }
            for file in world.acknowledged().to_vec() {
                let mut sound =
                    |slot: &Slot| world.with_disk(*slot, |disk| disk.holds(&file.content)) == Some(true);
                assert!(honest.iter().any(&mut sound), "seed {seed}, {lie:?}: {}", file.name);
            }
        }
    }
    for (lie, told) in Lie::ALL.into_iter().zip(told) {
        assert!(told > 0, "{lie:?} was never told");
    }
}

/// Goal: more stores at once than a peer takes from one other peer wait for their turn, or are refused and tried again: all
/// files are stored, and nobody is blamed.
#[test]
fn more_stores_at_once_than_a_peer_takes_are_stored_in_turn() {
    for seed in seeds(0..2) {
        let mut world = converged_on(Stores::Light, seed, 3);
        let [from, others @ ..] = &members(&world)[..] else { panic!("three members") };
        for slot in [*from].iter().chain(others) {
            world.network.set_line(*slot, 8_000_000, 1_000_000, true);
        }
        let ids: Vec<u64> = (0..80).map(|i| world.store(*from, &format!("file-{i}"), 1 << 20)).collect();
        let ended = world.finish(MINUTE * 60);
        for id in ids {
            let outcome = ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome);
            assert!(matches!(outcome, Some(Outcome::Stored(Ok(_)))), "seed {seed}: {outcome:?}");
        }
        for slot in members(&world) {
            assert_eq!(world.faults_seen(slot), [], "seed {seed}");
        }
    }
}

/// Goal: a message that came through a third peer convicts no peer, since the third one may have changed it; the
/// request succeeds all the same. (Without the cut the same lie is held against the liar, as the first test here
/// shows.)
#[test]
fn a_lie_through_a_third_peer_convicts_nobody() {
    let mut told = 0;
    for (seed, stores) in on_both(seeds(0..8)) {
        let (mut world, liar, file) = ring_with_liar(seed, stores);
        world.oracle.safety = false;
        world.set_lie(liar, Lie::CorruptBytes);
        let keepers = keepers(&world, &file.content);
        let reader = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
        world.network.cut(reader, liar);
        world.network.cut(liar, reader);
        let id = world.request(reader, file.name.as_str());
        let ended = world.finish(MINUTE * 3);
        let outcome = requested(&ended, id, seed);
        assert!(matches!(outcome, Requested::Found { .. }), "seed {seed}: {outcome:?}");
        assert_eq!(world.with_disk(reader, |disk| disk.holds(&file.content)), Some(true), "seed {seed}");
        assert_eq!(world.faults_seen(reader), [], "seed {seed}");
        told += world.lies_told(liar);
    }
    assert!(told > 0, "the liar was never asked");
}

/// Goal: the owner refuses a store whose bytes differ from its announcement, and counts it as a fault of the storing
/// peer: bytes of another content id, another outboard (also of an object that is here already), another length. No
/// wrong byte is kept.
#[test]
fn whoever_describes_its_bytes_wrongly_is_refused() {
    for seed in seeds(0..4) {
        let mut world = converged_on(Stores::Real, seed, 9);
        let (label, length) = (seed.to_be_bytes(), 3 << 20);
        let (right, other) = (world.object_of(&label, length), world.object_of(b"other", length));
        let shorter = world.object_of(&label, length - 1);
        for (described, fault) in [
            (other, Fault::CorruptBytes),
            (ObjectInfo { outboard: other.outboard, ..right }, Fault::BadOutboard),
            (ObjectInfo { outboard: other.outboard, ..right }, Fault::BadOutboard),
            (ObjectInfo { content: shorter.content, ..right }, Fault::CorruptBytes),
        ] {
            let keepers = keepers(&world, &described.content);
            let from = *members(&world).iter().find(|slot| !keepers.contains(slot)).unwrap();
            let position = world.entry(from).unwrap().position;
            let id = world.store_described(from, "a.bin", (&label, length), described);
            let ended = world.finish(MINUTE * 5);
            let outcome = ended.iter().find(|ended| ended.id == id).map(|ended| &ended.outcome);
            assert!(
                matches!(outcome, Some(Outcome::Stored(Err(_)))),
                "seed {seed}, {described:?}: {outcome:?}"
            );
            let seen = world.faults_seen(keepers[0]);
            assert!(seen.contains(&(position, fault)), "seed {seed}, {described:?}: {seen:?}");
            let copies = world.copies_of_all();
            assert!(
                described.content == right.content || !copies.contains_key(&described.content),
                "seed {seed}"
            );
        }
        assert_eq!(world.files_acknowledged(), 0, "seed {seed}");
    }
}
