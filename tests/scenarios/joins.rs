//! Joins: many into one gap, cut off at every step, through peers that cannot let a joiner in at the moment.

use quoit::chord::{PhaseKind, Start};
use quoit::id::Position;
use quoit::sim::{World, check, contact, seeds};

use crate::{SECOND, both, converge, end_of, split, spread};

/// The numbers of the joining peers of these scenarios: all in one gap, between 128 and the next member.
const GAP: [u8; 6] = [130, 131, 134, 137, 140, 141];

/// A ring that is large with r = 8, with no peer between 128 and 142.
fn gapped(seed: u64, settings: quoit::config::RingSettings) -> World {
    let numbers: Vec<u8> =
        spread(settings.successors * 2 + 8).into_iter().filter(|n| !(120..150).contains(n)).collect();
    let mut world = World::new(seed, settings);
    world.grow(&[numbers.as_slice(), &[128]].concat());
    world
}

/// Scenario 3: k joins into one gap at the same moment, in every order of stabilise and notify.
///
/// Goal: one ordered ring at every moment.
/// Method: up to six joiners through one contact or through different ones, over seeds that shuffle all delays.
#[test]
fn many_into_one_gap_at_the_same_moment() {
    for settings in both() {
        for seed in seeds(0..40) {
            let mut world = gapped(seed, settings);
            let joiners = &GAP[..2 + seed as usize % 5];
            let contacts = [0, 128, 255];
            for (i, joiner) in joiners.iter().enumerate() {
                let known = contacts[if seed % 2 == 0 { 0 } else { i % 3 }];
                world.start(*joiner, Start::Join { known: contact(known) });
            }
            converge(&mut world, 10, seed);
        }
    }
}

/// Scenario 16, membership: a request reaches a joiner.
///
/// Goal: no joiner answers as owner before it is active; each key has an owner among the members at every moment, and
/// never two among the settled members. Method: joins into one gap, all keys of interest looked at after every single
/// event.
#[test]
fn one_owner_while_others_join() {
    for settings in both() {
        for seed in seeds(0..12) {
            let mut world = gapped(seed, settings);
            world.run_for(SECOND * 3);
            let settled: Vec<Position> = world.views().iter().map(|view| view.me.position).collect();
            let mut keys: Vec<Position> = GAP.iter().map(|number| Position::of_number(*number)).collect();
            keys.extend([Position::ZERO, Position::MAX, Position::of_number(128), Position::of_number(150)]);
            for joiner in &GAP[..2 + seed as usize % 4] {
                world.start(*joiner, Start::Join { known: contact(0) });
            }
            for _ in 0..2_000 {
                world.run_steps(1);
                for key in &keys {
                    let owners = check::owners(&world, key);
                    let of_settled = owners.iter().filter(|o| settled.contains(&o.position)).count();
                    assert!(!owners.is_empty(), "seed {seed}: nobody owns {}", key.label());
                    assert!(of_settled <= 1, "seed {seed}: {} is owned by {owners:?}", key.label());
                }
            }
            converge(&mut world, 10, seed);
            check::one_owner_each(&world, &keys).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        }
    }
}

/// Scenario 4: a joiner dies at each step of its join.
///
/// Goal: the ring stays one, whatever the dead joiner had told other peers. Method: the joiner is ended after one event
/// of the simulation, after two, and so on until long after it is in.
#[test]
fn a_joiner_dies_at_each_step() {
    for settings in both() {
        for seed in seeds(0..2) {
            for steps in 0..40 {
                let mut world = gapped(seed, settings);
                world.start(130, Start::Join { known: contact(0) });
                world.run_steps(steps * 2);
                world.crash(&[130]);
                converge(&mut world, 15, seed);
            }
        }
    }
}

/// Scenario 4: the contact, or the peer that lets the joiner in, dies between routing and answer.
///
/// Goal: the joiner ends as a member, or fails with its cause within its time and leaves nothing.
#[test]
fn the_contact_dies_at_each_step() {
    for settings in both() {
        for seed in seeds(0..2) {
            for (dead, steps) in [0, 128].into_iter().flat_map(|dead| (0..20).map(move |steps| (dead, steps)))
            {
                let mut world = gapped(seed, settings);
                world.start(130, Start::Join { known: contact(0) });
                world.run_steps(steps * 2);
                world.crash(&[dead]);
                world.run_for(SECOND * 5);
                in_or_failed(&world, 130, seed);
                converge(&mut world, 15, seed);
            }
        }
    }
}

/// Scenario 5: a join while a large part of the ring has just died.
///
/// Goal: it ends as a member within a bounded time, or fails with its cause and leaves nothing.
#[test]
fn a_join_in_the_middle_of_mass_death() {
    for settings in both() {
        for seed in seeds(0..16) {
            let mut world = gapped(seed, settings);
            // A third of all peers die, sometimes whole lists: more than the invariant allows.
            world.oracle.safety = false;
            let numbers: Vec<u8> = world.views().iter().filter_map(|v| v.me.position.number()).collect();
            let first = seed as usize % numbers.len();
            let dead: Vec<u8> = (0..numbers.len() / 3)
                .map(|i| numbers[(first + i) % numbers.len()])
                .filter(|n| *n != 0)
                .collect();
            world.crash(&dead);
            world.run_for(SECOND * (seed as u32 % 4));
            world.start(130, Start::Join { known: contact(0) });
            world.run_for(SECOND * 5);
            in_or_failed(&world, 130, seed);
            converge(&mut world, 60, seed);
        }
    }
}

/// Scenario 5: a join while the ring is split in two.
///
/// Goal: the joiner is a member in the half of its contact, and in the one ring after the split has healed.
#[test]
fn a_join_during_a_partition() {
    for settings in both() {
        for seed in seeds(0..8) {
            let mut world = gapped(seed, settings);
            // Peers that live take each other for dead: beyond the theorem.
            world.oracle.safety = false;
            let slots: Vec<u32> = world.living().values().copied().collect();
            let (one, other): (Vec<_>, Vec<_>) = slots.iter().partition(|slot| *slot % 2 == seed as u32 % 2);
            split(&mut world, &[one, [other.as_slice(), &[130]].concat()]);
            world.run_for(SECOND * (seed as u32 * 2));
            let known = if seed % 2 == 0 { 255 } else { 0 };
            world.start(130, Start::Join { known: contact(known) });
            world.run_for(SECOND * 10);
            in_or_failed(&world, 130, seed);
            world.network.calm();
            converge(&mut world, 60, seed);
        }
    }
}

/// Scenario 5: a join through a peer that is no member, that leaves, or that was stopped and asks whether it is
/// still counted.
///
/// Goal: it ends as a member within a bounded time, or fails with its cause and leaves nothing.
#[test]
fn a_join_through_who_cannot_let_it_in() {
    for settings in both() {
        for seed in seeds(0..8) {
            for kind in ["non-member", "leaving", "gone", "checking", "dead"] {
                let mut world = gapped(seed, settings);
                match kind {
                    "non-member" => {
                        world.start(200, Start::Form { contacts: vec![contact(201), contact(202)] })
                    }
                    "leaving" => world.begin_leaving(128),
                    "gone" => world.leave(128),
                    "checking" => {
                        // A peer that was stopped is taken for dead though it lives: beyond the theorem.
                        world.oracle.safety = false;
                        world.pause(128, true);
                        world.run_for(SECOND * 8);
                        world.start(130, Start::Join { known: contact(128) });
                        world.pause(128, false);
                    }
                    _ => world.crash(&[128]),
                }
                let known = if kind == "non-member" { 200 } else { 128 };
                if kind != "checking" {
                    world.start(130, Start::Join { known: contact(known) });
                }
                world.run_for(SECOND * 5);
                in_or_failed(&world, 130, seed);
                if kind == "leaving" {
                    world.leave(128);
                }
                world.crash(&[200]);
                converge(&mut world, 30, seed);
            }
        }
    }
}

/// A joiner is a member; or it has ended, has said why, and no peer counts it.
fn in_or_failed(world: &World, number: u8, seed: u64) {
    let position = Position::of_number(number);
    let view = world.view(number);
    let active = view.is_some_and(|view| view.phase == PhaseKind::Active);
    let failed = end_of(world, &position);
    assert!(active || failed.is_some(), "seed {seed}: peer {number} neither in nor failed");
    if !active {
        let counted = world.nodes().find(|node| {
            node.is_member() && node.members().alive().any(|member| member.position == position)
        });
        assert!(counted.is_none(), "seed {seed}: failed with {failed:?}, and counted by {counted:?}");
    }
}
