//! Networks that fall apart and heal.

use std::time::Duration;

use quoit::config::RingSettings;
use quoit::sim::storage::check as files;
use quoit::sim::{Slot, World, check, seeds};

use crate::{SECOND, both, converge, large, long, ring, split};

/// The shapes of a split: half and half, nine to one, in three; each part contiguous, or interleaved.
fn shapes(slots: &[Slot]) -> Vec<(&'static str, Vec<Vec<Slot>>)> {
    let count = slots.len();
    let tenth = (count / 10).max(1);
    let every = |n: usize, rest: usize| -> Vec<Slot> {
        slots.iter().enumerate().filter(|(i, _)| i % n == rest).map(|(_, slot)| *slot).collect()
    };
    let not_every = |n: usize| -> Vec<Slot> {
        slots.iter().enumerate().filter(|(i, _)| i % n != 0).map(|(_, slot)| *slot).collect()
    };
    let pieces = |sizes: &[usize]| -> Vec<Vec<Slot>> {
        let mut rest = slots;
        let mut out = Vec::new();
        for size in sizes {
            let (piece, others) = rest.split_at(*size);
            out.push(piece.to_vec());
            rest = others;
        }
        out.push(rest.to_vec());
        out
    };
    vec![
        ("halves in one piece", pieces(&[count / 2])),
        ("halves one by one", vec![every(2, 0), every(2, 1)]),
        ("a tenth in one piece", pieces(&[tenth])),
        ("a tenth one by one", vec![every(10, 0), not_every(10)]),
        ("thirds in one piece", pieces(&[count / 3, count / 3])),
        ("thirds one by one", (0..3).map(|rest| every(3, rest)).collect()),
    ]
}

/// Splits the ring for this time, heals it, and demands one ring again within 60 intervals. Peers that live take each
/// other for dead, which lies beyond the theorem, so that safety is suspended.
fn falls_apart(
    seed: u64,
    settings: RingSettings,
    interval: Duration,
    apart: Duration,
    shapes_of_six: impl IntoIterator<Item = usize>,
) {
    for shape in shapes_of_six {
        let mut world = World::converged(seed, settings, large(settings) + 8, interval, 4_096);
        world.oracle.safety = false;
        world.run_for(interval * 3);
        let slots: Vec<Slot> = world.living().values().copied().collect();
        let (name, groups) = shapes(&slots).swap_remove(shape);
        split(&mut world, &groups);
        world.run_for(apart);
        world.network.calm();
        let healed = world.run_until(interval * 60, check::one_ordered_ring);
        healed.unwrap_or_else(|why| panic!("seed {seed}, r = {}, {name}: {why}", settings.successors));
    }
}

/// Scenario 11: splits of all shapes, healed after a minute.
///
/// Goal: one ordered ring within 60 ping intervals after the network is whole.
#[test]
fn a_minute_apart() {
    for settings in both() {
        for seed in seeds(0..4) {
            falls_apart(seed, settings, SECOND, SECOND * 60, 0..6);
        }
    }
}

/// Scenario 11: as above, healed before any peer was declared dead, and while deaths are being found.
#[test]
fn a_moment_apart() {
    for settings in both() {
        for seed in seeds(0..4) {
            falls_apart(seed, settings, SECOND, Duration::from_millis(1_000 + seed * 900), 0..6);
        }
    }
}

/// Scenario 11: a day apart. With a ping a minute a day has as many rounds of everything as the events of one
/// test may take; with a ping a second it is for `QUOIT_LONG`.
#[test]
fn a_day_apart() {
    let all = long();
    let interval = if all { SECOND } else { SECOND * 60 };
    for settings in both() {
        for seed in seeds(0..1) {
            let shapes_of_six = if all { vec![0, 1, 2, 3, 4, 5] } else { vec![1, 2, 5] };
            falls_apart(seed, settings, interval, SECOND * 86_400, shapes_of_six);
        }
    }
}

/// Scenario 11: flapping: the network splits and heals in quick turns, each time in another shape.
#[test]
fn flapping() {
    for settings in both() {
        for seed in seeds(0..6) {
            let (mut world, slots) = ring(seed, settings, large(settings) + 8);
            world.oracle.safety = false;
            for turn in 0..8u64 {
                let (_, groups) = shapes(&slots).swap_remove((turn + seed) as usize % 6);
                split(&mut world, &groups);
                world.run_for(Duration::from_millis(700 + 1_300 * ((turn * seed) % 7)));
                world.network.calm();
                world.run_for(Duration::from_millis(500 + 900 * ((turn + seed) % 5)));
            }
            converge(&mut world, 60, seed);
        }
    }
}

/// Scenario 11: deaths, joins and leaves in one half during the split stay true after it.
#[test]
fn the_halves_change_while_they_are_apart() {
    for settings in both() {
        for seed in seeds(0..6) {
            let (mut world, slots) = ring(seed, settings, large(settings) + 8);
            world.oracle.safety = false;
            let (_, groups) = shapes(&slots).swap_remove(seed as usize % 2);
            split(&mut world, &groups);
            world.run_for(SECOND * 20);
            world.crash_slot(groups[0][1]);
            world.leave_slot(groups[1][2]);
            for (group, contacts) in groups.iter().enumerate() {
                let joiner = world.join_through(contacts[0]).unwrap();
                world.network.set_group(joiner, group as u8);
            }
            world.run_for(SECOND * 60);
            world.network.calm();
            converge(&mut world, 60, seed);
        }
    }
}

/// Scenario 11: two halves of a large ring, an hour apart.
///
/// Goal: one ring again within 60 s; no file lost, whether it was stored before or on either side; soon all files are
/// where they belong, and each name that both sides wrote has one winner. Method: 2 × 60 peers; 2 × 500 with
/// `QUOIT_LONG`, which prints the time.
#[test]
fn large_halves_an_hour_apart() {
    let all = long();
    let (peers, apart) = if all { (1_000, SECOND * 3_600) } else { (120, SECOND * 600) };
    for seed in seeds(0..1) {
        for by_one in [false, true] {
            let mut world = World::converged(seed, RingSettings::default(), peers, SECOND, 4_096);
            world.oracle.safety = false;
            world.enable_files();
            world.place_files(2 * peers as u64, 1 << 20);
            world.run_for(SECOND * 3);
            let slots: Vec<Slot> = world.living().values().copied().collect();
            let (name, groups) = shapes(&slots).swap_remove(usize::from(by_one));
            split(&mut world, &groups);
            world.run_for(apart / 2);
            for i in 0..peers / 10 {
                for group in &groups {
                    world.store(group[i], &format!("of-{}.txt", group[i]), 1 << 20);
                    world.store(group[i], &format!("of-both-{i}.txt"), 1 << 20);
                }
            }
            world.run_for(apart / 2);
            let stored = world.take_ended().len();
            let acknowledged = world.files_acknowledged() as usize - 2 * peers;
            assert!(
                stored == 4 * (peers / 10) && acknowledged * 2 > stored,
                "seed {seed}: {acknowledged} of {stored}"
            );
            world.network.calm();
            let took = converge(&mut world, 60, seed);
            assert_eq!(world.files_lost(), 0, "seed {seed}");
            let in_place = |world: &World| files::in_place(world).and_then(|()| files::names_agree(world));
            let settled = world.run_until(SECOND * 300, in_place);
            settled.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            println!(
                "seed {seed}: {name} of {peers} peers are one ring again after {:.1} s",
                took.as_secs_f64()
            );
        }
    }
}
