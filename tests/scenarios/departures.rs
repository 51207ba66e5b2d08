//! Peers that leave with a notice: side by side, beside joins, and dying meanwhile.

use std::time::Duration;

use quoit::chord::{Event, PhaseKind, Start};
use quoit::sim::{World, contact, seeds};
use quoit::wire::MemberState;

use crate::{SECOND, both, converge, deaths, end_of, large, ring, safe, spread};

/// Scenario 15, membership: one peer leaves.
///
/// Goal: no peer takes it for dead, its neighbours close the gap at once, and it ends.
#[test]
fn one_leaves() {
    for settings in both() {
        for seed in seeds(0..16) {
            let (mut world, slots) = ring(seed, settings, large(settings));
            let leaver = slots[seed as usize % slots.len()];
            let position = world.entry(leaver).unwrap().position;
            world.leave_slot(leaver);
            let took = converge(&mut world, 10, seed);
            assert!(took < SECOND * 8, "seed {seed}: {took:?}");
            world.run_for(SECOND * 10);
            assert_eq!(deaths(&world), 0, "seed {seed}");
            assert_eq!(end_of(&world, &position).as_deref(), Some("left the ring"), "seed {seed}");
            safe(&world, seed);
        }
    }
}

/// Scenario 15: two adjacent leaves at the same moment.
///
/// Goal: both end, one ring is left, and there is one at each moment. With r = 2 both entries of a list would go at
/// once: peers that leave side by side wait for each other, by the answers of [`quoit::chord`] to `MayLeave`. Method: a
/// world with files, in which peers hand over before they leave.
#[test]
fn two_adjacent_leaves() {
    for settings in both() {
        for seed in seeds(0..16) {
            let (mut world, slots) = ring(seed, settings, large(settings));
            world.enable_files();
            let at = seed as usize % (slots.len() - 1);
            let leavers = [slots[at], slots[at + 1]];
            let positions = leavers.map(|slot| world.entry(slot).unwrap().position);
            world.leave_slot(leavers[seed as usize % 2]);
            world.run_for(Duration::from_millis(seed * 3));
            world.leave_slot(leavers[1 - seed as usize % 2]);
            let both_end = |world: &World| match positions.iter().all(|p| end_of(world, p).is_some()) {
                true => Ok(()),
                false => Err("one does not end".to_owned()),
            };
            world.run_until(SECOND * 15, both_end).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            converge(&mut world, 15, seed);
        }
    }
}

/// Scenario 15: a leave and a join in one gap, in every order and at every distance in time.
#[test]
fn a_leave_and_a_join_in_one_gap() {
    for settings in both() {
        for seed in seeds(0..24) {
            let numbers = spread(2 * settings.successors + 6);
            let mut world = World::new(seed, settings);
            world.grow(&numbers);
            world.run_for(SECOND * 2);
            let leaver = numbers[4];
            // Just behind the leaver, or just before it.
            let joiner = if seed % 2 == 0 { leaver + 1 } else { leaver - 1 };
            let known = if seed % 3 == 0 { leaver } else { numbers[0] };
            let steps = (seed / 2) * 4;
            if seed % 4 < 2 {
                world.start(joiner, Start::Join { known: contact(known) });
                world.run_steps(steps);
                world.leave(leaver);
            } else {
                world.leave(leaver);
                world.run_steps(steps);
                world.start(joiner, Start::Join { known: contact(known) });
            }
            world.run_for(SECOND * 5);
            let phase = world.view(joiner).unwrap().phase;
            assert!(matches!(phase, PhaseKind::Active | PhaseKind::Ended), "seed {seed}: {phase:?}");
            converge(&mut world, 15, seed);
        }
    }
}

/// Scenario 15: the leaver crashes after its notice, before all have heard it.
///
/// Goal: the ring is one; peers that did not hear the notice detect a death.
#[test]
fn the_leaver_crashes_after_its_notice() {
    for settings in both() {
        for seed in seeds(0..24) {
            let (mut world, slots) = ring(seed, settings, large(settings));
            let leaver = slots[seed as usize % slots.len()];
            world.leave_slot(leaver);
            world.run_steps(seed);
            world.crash_slot(leaver);
            converge(&mut world, 15, seed);
        }
    }
}

/// Scenario 15: a peer leaves while a neighbour dies, and a neighbour dies just after a peer has left.
#[test]
fn a_leave_beside_a_death() {
    for settings in both() {
        for seed in seeds(0..16) {
            let (mut world, slots) = ring(seed, settings, large(settings));
            // With r = 2 both entries of a list may be gone at once.
            world.oracle.safety = settings.successors > 2;
            let at = seed as usize % (slots.len() - 2);
            let (one, other) = if seed % 2 == 0 { (at, at + 1) } else { (at + 1, at) };
            world.crash_slot(slots[one]);
            world.run_for(Duration::from_millis(seed * 100));
            world.leave_slot(slots[other]);
            converge(&mut world, 30, seed);
        }
    }
}

/// Scenario 15: a peer that has left joins again, under the same identity.
///
/// Goal: it is a member again, in its next life.
#[test]
fn a_peer_that_left_comes_again() {
    for settings in both() {
        for seed in seeds(0..8) {
            let numbers = spread(2 * settings.successors + 6);
            let mut world = World::new(seed, settings);
            world.grow(&numbers);
            let leaver = numbers[3];
            world.leave(leaver);
            world.run_for(Duration::from_millis(seed * 600));
            world.start_as(leaver, leaver, 2, Start::Join { known: contact(numbers[0]) });
            converge(&mut world, 15, seed);
            assert!(world.view(leaver).is_some_and(|view| view.is_member()), "seed {seed}");
            let clash = world.events().iter().any(|(_, _, event)| matches!(event, Event::Clash(_)));
            assert!(!clash, "seed {seed}");
            safe(&world, seed);
        }
    }
}

/// A peer's key is revoked, and the others hear of it one after the other.
///
/// Goal: once all of them know, none counts the peer any more, although it lives, contradicts, and talked all the time
/// to those that did not know yet; and the others are one ring.
#[test]
fn a_revoked_peer_is_expelled() {
    for settings in both() {
        for seed in seeds(0..16) {
            let (mut world, slots) = ring(seed, settings, large(settings));
            // The revoked peer is alone in a ring of its own from some moment on.
            world.oracle.safety = false;
            let revoked = slots[seed as usize % slots.len()];
            let position = world.entry(revoked).unwrap().position;
            let others: Vec<_> = slots.into_iter().filter(|slot| *slot != revoked).collect();
            let counts = |world: &World, slot| {
                let view = world.node(slot).unwrap().view();
                view.members.at(&position).is_some_and(|member| member.state != MemberState::Left)
            };
            for knowing in (1..=others.len()).chain([others.len(); 60]) {
                for slot in &others[..knowing] {
                    if counts(&world, *slot) {
                        world.expel(*slot, revoked);
                    }
                }
                world.run_for(Duration::from_millis(250));
            }
            let counting: Vec<_> = others.iter().filter(|slot| counts(&world, **slot)).collect();
            assert!(counting.is_empty(), "seed {seed}: counted by {counting:?}");
            world.crash_slot(revoked);
            world.heal();
            converge(&mut world, 10, seed);
            let counting: Vec<_> = others.iter().filter(|slot| counts(&world, **slot)).collect();
            assert!(counting.is_empty(), "seed {seed}: counted again by {counting:?}");
        }
    }
}
