//! Rings of every size around the change from the map to Chord, and keys at every edge.

use quoit::chord::{PhaseKind, Start};
use quoit::config::RingSettings;
use quoit::id::Position;
use quoit::sim::{World, check, contact, seeds};

use crate::{SECOND, both, converge, safe, spread};

/// Scenario 14: N = 1, 2, 3, r, r + 1, r + 2, growing and shrinking through r + 1 again and again.
///
/// Goal: an ordered ring at each size, whether peers leave or die.
#[test]
fn through_every_size_and_back() {
    for settings in both() {
        for seed in seeds(0..6) {
            let numbers = spread(settings.successors + 5);
            let mut world = World::new(seed, settings);
            world.grow(&numbers);
            let from = usize::from(settings.successors) - 1;
            for turn in 0..2 {
                for (i, number) in numbers[from..].iter().enumerate().rev() {
                    if (i as u64 + seed + turn).is_multiple_of(2) {
                        world.leave(*number);
                    } else {
                        world.crash(&[*number]);
                    }
                    converge(&mut world, 20, seed);
                }
                for number in &numbers[from..] {
                    world.start_as(*number, *number, 2 + turn, Start::Join { known: contact(numbers[0]) });
                    converge(&mut world, 20, seed);
                }
            }
            safe(&world, seed);
        }
    }
}

/// Scenario 14: all leave but one.
#[test]
fn all_leave_but_one() {
    for settings in both() {
        for seed in seeds(0..6) {
            let numbers = spread(settings.successors + 4);
            let mut world = World::new(seed, settings);
            world.grow(&numbers);
            let last = seed as usize % numbers.len();
            for (i, number) in numbers.iter().enumerate() {
                if i != last {
                    world.leave(*number);
                    converge(&mut world, 10, seed);
                }
            }
            let alone = world.view(numbers[last]).unwrap();
            assert!(alone.predecessor.is_none() && alone.successors.is_empty(), "seed {seed}: {alone:?}");
            assert_eq!(alone.phase, PhaseKind::Active, "seed {seed}");
        }
    }
}

/// Scenario 14: all restart from their disks, one by one or at the same moment.
#[test]
fn all_restart_together() {
    for settings in both() {
        for seed in seeds(0..8) {
            for count in [3, settings.successors + 1, settings.successors + 3, 2 * settings.successors + 10] {
                let numbers = spread(count);
                let mut world = World::new(seed, settings);
                world.grow(&numbers);
                world.run_for(SECOND * 5);
                // A ring that ends as a whole has no invariant.
                world.oracle.safety = false;
                world.crash(&numbers);
                world.run_for(SECOND * 30);
                for number in &numbers {
                    world.restart(*number);
                    world.run_for(std::time::Duration::from_millis(seed * 150));
                }
                converge(&mut world, 60, seed);
            }
        }
    }
}

/// Scenario 20, membership: a rolling restart: each peer in turn ends and comes back, faster than the others repair.
///
/// Goal: one ring at every moment, and the same members in the end.
#[test]
fn a_rolling_restart() {
    for settings in both() {
        for seed in seeds(0..6) {
            let numbers = spread(2 * settings.successors + 8);
            let mut world = World::new(seed, settings);
            world.grow(&numbers);
            world.run_for(SECOND * 3);
            for number in &numbers {
                world.crash(&[*number]);
                world.run_for(std::time::Duration::from_millis(200 + seed * 150));
                world.restart(*number);
                world.run_for(SECOND * 2);
            }
            converge(&mut world, 20, seed);
        }
    }
}

/// Scenario 21: a key exactly at a peer's position, position 0, position 2^256 − 1, ranges that wrap, adjacent
/// positions.
///
/// Goal: exactly one owner for every key, always.
/// Method: peers at the edges of the circle and side by side; keys at, before and behind each of them.
#[test]
fn keys_at_the_edges() {
    for settings in both() {
        for seed in seeds(0..6) {
            for crowd in [3, usize::from(settings.successors) + 6] {
                edges(seed, settings, crowd);
            }
        }
    }
}

fn edges(seed: u64, settings: RingSettings, crowd: usize) {
    let middle = |low: u8| {
        let mut position = Position([0x7f; 32]);
        position.0[31] = low;
        position
    };
    let mut positions = vec![Position::ZERO, Position::MAX, middle(1), middle(2), middle(3)];
    positions.extend((0..crowd).map(|i| Position([(40 + 17 * i % 200) as u8; 32])));
    let mut world = World::new(seed, settings);
    let first = seed as usize % positions.len();
    let founder = world.start_at(positions[first], Start::Found);
    let known = quoit::wire::Target::from(world.entry(founder).unwrap());
    for step in 1..positions.len() {
        let position = positions[(first + step) % positions.len()];
        world.start_at(position, Start::Join { known: known.clone() });
        converge(&mut world, 20, seed);
    }
    let keys: Vec<Position> = positions.iter().flat_map(|p| [before(p), *p, after(p)]).collect();
    check::one_owner_each(&world, &keys).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    for position in &positions {
        let owners = check::owners(&world, position);
        assert_eq!(owners[0].position, *position, "seed {seed}: who stands at a key owns it");
    }
    // A lookup from any peer finds the owner that the sizes of the ranges say.
    let slots: Vec<u32> = world.living().values().copied().collect();
    for slot in &slots {
        keys.iter().for_each(|key| world.search(*slot, *key));
    }
    world.run_for(SECOND * 5);
    let outcomes = world.take_outcomes();
    assert_eq!(outcomes.len(), slots.len() * keys.len());
    let wrong = outcomes.iter().find(|outcome| !outcome.right);
    assert!(wrong.is_none(), "seed {seed}: {wrong:?}");
    // The same must hold after the peer at an edge and one of two adjacent peers are gone.
    for gone in [Position::ZERO, middle(2)] {
        let slot = world.living()[&gone];
        world.crash_slot(slot);
    }
    converge(&mut world, 20, seed);
    check::one_owner_each(&world, &keys).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    safe(&world, seed);
}

fn after(position: &Position) -> Position {
    // The distance from the last point of the circle, which lies one before the first.
    Position::MAX.distance_to(position)
}

fn before(position: &Position) -> Position {
    let one = Position::MAX.distance_to(&Position::ZERO);
    one.distance_to(position)
}
