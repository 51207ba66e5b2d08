//! The same identity again: before its death is noticed, with another key, in two processes, in two rings.

use std::time::Duration;

use quoit::chord::Start;
use quoit::id::Position;
use quoit::sim::{World, check, contact, seeds};

use crate::{SECOND, both, converge, end_of, large, ring, safe, spread};

/// Scenario 6: the same identity comes back before its death is noticed.
///
/// Goal: the higher incarnation wins, and the old membership state is dropped everywhere. Method: the peer comes back
/// after each part of the death timeout, while others ping it, probe it and declare it dead.
#[test]
fn back_before_the_death_is_noticed() {
    for settings in both() {
        for seed in seeds(0..12) {
            for after in 0..8 {
                let (mut world, slots) = ring(seed, settings, large(settings));
                let slot = slots[seed as usize % slots.len()];
                world.crash_slot(slot);
                world.run_for(Duration::from_millis(50 + 500 * after));
                world.restart_slot(slot);
                converge(&mut world, 10, seed);
                world.run_for(SECOND * 5);
                let me = world.entry(slot).unwrap().clone();
                assert!(me.incarnation > 1, "seed {seed}");
                for node in world.nodes() {
                    let list = node.successors().iter().chain(node.predecessor());
                    let stale = list.into_iter().find(|e| e.position == me.position && **e != me);
                    assert!(stale.is_none(), "seed {seed}: {:?} lists {stale:?}, not {me:?}", node.me());
                }
                safe(&world, seed);
            }
        }
    }
}

/// Scenario 6: a peer crashes and comes back again and again, faster than any other notices.
#[test]
fn a_crash_loop_of_one_peer() {
    for settings in both() {
        for seed in seeds(0..8) {
            let (mut world, slots) = ring(seed, settings, large(settings));
            let slot = slots[seed as usize % slots.len()];
            for turn in 0..12 {
                world.crash_slot(slot);
                world.run_for(Duration::from_millis(100 * ((seed + turn) % 7)));
                world.restart_slot(slot);
                world.run_for(Duration::from_millis(150 * ((seed * turn) % 9)));
            }
            converge(&mut world, 20, seed);
        }
    }
}

/// Scenario 7: the same position with another key.
///
/// Goal: every contact refuses it with the cause, and the ring does not change.
#[test]
fn a_taken_position_with_another_key_is_refused() {
    for settings in both() {
        for seed in seeds(0..8) {
            let numbers = spread(settings.successors * 2 + 8);
            let mut world = World::new(seed, settings);
            world.grow(&numbers);
            let taken = numbers[3];
            let known = numbers[seed as usize % numbers.len()];
            world.start_as(taken, 77, 1 + seed % 3, Start::Join { known: contact(known) });
            world.run_for(SECOND * 5);
            let why = end_of(&world, &Position::of_number(taken)).unwrap_or_default();
            assert!(why.contains("taken"), "seed {seed}: {why}");
            check::one_ordered_ring(&world).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            safe(&world, seed);
        }
    }
}

/// Scenario 7: a cloned data directory, one key in two processes.
///
/// Goal: one of the two fences itself off, and the ring is one with the other. Method: the copy has a later incarnation
/// than the original, as it has been started more often; also while the original is stopped and wakes again. The peers
/// that let copies in tell apart copies with the same incarnation. They cannot do so for two that come in at the same
/// moment through peers that know neither.
#[test]
fn of_two_processes_with_one_key_one_ends() {
    for settings in both() {
        for seed in seeds(0..16) {
            let (mut world, slots) = ring(seed, settings, large(settings));
            let original = slots[seed as usize % slots.len()];
            let position = world.entry(original).unwrap().position;
            if seed % 4 == 3 {
                world.pause_slot(original, true);
                world.run_for(SECOND * (seed as u32 % 10));
            }
            world.clone_slot(original).unwrap();
            world.run_for(SECOND * 8);
            world.pause_slot(original, false);
            world.run_for(SECOND * 20);
            let running = |world: &World| {
                let all = world.nodes().filter(|node| node.me().position == position);
                all.filter(|node| node.is_member()).count()
            };
            assert_eq!(running(&world), 1, "seed {seed}");
            let why = end_of(&world, &position).unwrap_or_default();
            assert!(why.contains("fences"), "seed {seed}: {why}");
            converge(&mut world, 20, seed);
            if seed % 4 != 3 {
                safe(&world, seed);
            }
        }
    }
}

/// Scenario 12: two rings founded apart meet.
///
/// Rings of different CAs never meet: the handshake fails, which in this world is a network that does not carry between
/// them. The core adds one rule: rings with different settings refuse each other, with the cause, and stay as they are.
#[test]
fn two_rings_founded_apart_do_not_mix() {
    let [eight, two] = both();
    for seed in seeds(0..8) {
        let mut world = World::new(seed, eight);
        world.grow(&[10, 60, 110, 160]);
        world.settings = two;
        world.oracle.safety = false;
        world.start(30, Start::Found);
        world.start(90, Start::Join { known: contact(30) });
        world.run_for(SECOND * 5);
        // A peer with the settings of one ring comes to the other.
        world.start(200, Start::Form { contacts: vec![contact(10), contact(60)] });
        world.run_for(SECOND * 10);
        let why = end_of(&world, &Position::of_number(200)).unwrap_or_default();
        assert!(why.contains("replicas"), "seed {seed}: {why}");
        let list = |number| -> Vec<Option<u8>> {
            world.view(number).unwrap().successors.iter().map(|e| e.position.number()).collect()
        };
        assert_eq!(list(10), [Some(60), Some(110), Some(160)], "seed {seed}");
        assert_eq!(list(30), [Some(90)], "seed {seed}");
    }
}
