//! A death at every step: each process that takes part in a flow dies at each of its waits in turn, for the disk, for
//! others or for time, and starts again or not. With a real store it dies at each call of its disk as well, and loses
//! what was not synced.
//!
//! With real stores the gate tries one death in 29; `QUOIT_DEATHS=1` tries all, `QUOIT_DEATHS=3/10` the third tenth.

use quoit::config::RingSettings;
use quoit::files::Laws;
use quoit::sim::{Slot, World};

use super::harness::{SECOND, Share, Stores, enable, keepers, members, nothing_is_lost};

/// The flow that is under way while a peer dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Store,
    Request,
    Join,
    Leave,
    Repair,
}

const FLOWS: [Flow; 5] = [Flow::Store, Flow::Request, Flow::Join, Flow::Leave, Flow::Repair];

/// The moment at which a process dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// After this many more of its steps with files.
    Step(u64),
    /// In place of the n-th call of its disk from now on.
    Call(u64),
}

/// A ring of five with one file, just before the flow begins.
fn begin(flow: Flow, laws: Laws, stores: Stores) -> (World, Vec<Slot>) {
    let settings = RingSettings { replicas: 3, successors: 2, ..RingSettings::default() };
    let mut world = World::converged(7, settings, 5, SECOND, 4_096);
    enable(&mut world, stores);
    if laws != Laws::default() {
        world.set_laws(laws);
    }
    // Files of more than one chunk, so that they have outboards.
    world.place_files(3, stores.length(3 << 19));
    world.run_for(SECOND * 3);
    let mut parties = members(&world);
    let content = world.content_of(b"a flow", stores.length(3 << 20));
    let file = world.acknowledged()[0].clone();
    match flow {
        Flow::Store => {
            let keepers = keepers(&world, &content);
            let from = *parties.iter().find(|slot| !keepers.contains(slot)).unwrap();
            world.store_labelled(from, "a flow.bin", b"a flow", stores.length(3 << 20));
        }
        Flow::Request => {
            let keepers = keepers(&world, &file.content);
            let from = *parties.iter().find(|slot| !keepers.contains(slot)).unwrap();
            world.request(from, file.name.as_str());
        }
        Flow::Join => parties.push(world.join_one().unwrap()),
        Flow::Leave => world.leave_slot(keepers(&world, &file.content)[0]),
        Flow::Repair => {
            // Two deaths within a moment, in lists of two: the theorem does not cover that.
            world.oracle.safety = false;
            let victim = keepers(&world, &file.content)[1];
            world.crash_slot(victim);
            world.with_disk(victim, |disk| disk.lose());
            world.restart_slot(victim);
        }
    }
    (world, parties)
}

/// All deaths of all parties in the flow, at the steps of a run without deaths.
fn deaths(flow: Flow, stores: Stores) -> Vec<(Slot, Death)> {
    let (mut world, parties) = begin(flow, Laws::default(), stores);
    let counts = |world: &mut World| -> Vec<(u64, u64)> {
        let calls = |world: &mut World, slot| world.with_disk(slot, |disk| disk.calls()).unwrap_or(0);
        parties.iter().map(|slot| (world.steps_with_files(*slot), calls(world, *slot))).collect()
    };
    let before = counts(&mut world);
    world.run_for(SECOND * 8);
    let after = counts(&mut world);
    let mut deaths = Vec::new();
    for (at, slot) in parties.iter().enumerate() {
        let ((steps, calls), (steps_after, calls_after)) = (before[at], after[at]);
        deaths.extend((1..=steps_after - steps).map(|step| (*slot, Death::Step(step))));
        deaths.extend((1..=calls_after - calls).map(|call| (*slot, Death::Call(call))));
    }
    deaths
}

/// Lets one peer die in the middle of a flow, and returns what is wrong after it.
fn die(
    flow: Flow,
    laws: Laws,
    stores: Stores,
    (victim, death): (Slot, Death),
    restarts: bool,
) -> Result<(), String> {
    let (mut world, _) = begin(flow, laws, stores);
    match death {
        Death::Step(step) => world.die_after_steps(victim, step),
        Death::Call(call) => {
            world.with_disk(victim, |disk| disk.die_before_call(call));
        }
    }
    world.run_for(SECOND * 8);
    if restarts {
        world.restart_slot(victim);
    }
    // The peer is a member again, and repair has looked at the files that belong to it.
    world.run_for(SECOND * 12);
    nothing_is_lost(&mut world, &[])
}

/// Tries a share of all deaths in a flow, each in a world of its own. Returns their number, and the first after which
/// something is wrong.
fn try_deaths(flow: Flow, laws: Laws, stores: Stores, share: Share) -> (u64, Option<String>) {
    let mut points = 0;
    for (at, death) in deaths(flow, stores).into_iter().enumerate() {
        for restarts in [true, false] {
            if !share.has(2 * at + usize::from(restarts)) {
                continue;
            }
            points += 1;
            if let Err(why) = die(flow, laws, stores, death, restarts) {
                let restarts = if restarts { "and starts again" } else { "for good" };
                return (points, Some(format!("{death:?} {restarts}: {why}")));
            }
        }
    }
    (points, None)
}

/// Goal: after a death at any step, with or without a restart, no acknowledged file is lost, no unverified byte is
/// visible, and no flow is stuck.
#[test]
fn a_death_at_every_step() {
    for flow in FLOWS {
        let (points, wrong) = try_deaths(flow, Laws::default(), Stores::Light, Share::ALL);
        println!("{flow:?}: {points} deaths");
        assert!(points > 100, "{flow:?} has {points} points of death");
        assert_eq!(wrong, None, "{flow:?}");
    }
}

/// Goal: the same with real stores, at each call of the disk too.
#[test]
fn a_death_at_every_call_of_the_disk() {
    let share = Share::of_gate(29);
    for flow in FLOWS {
        let (points, wrong) = try_deaths(flow, Laws::default(), Stores::Real, share);
        println!("{flow:?}: {points} deaths, {share:?}");
        assert!(points > 10, "{flow:?} has {points} points of death");
        assert_eq!(wrong, None, "{flow:?}");
    }
}

/// Goal: some death detects a store that trusts a partial object after a crash without a check.
#[test]
fn a_death_shows_a_part_that_is_believed() {
    let laws = Laws { parts_hashed_again: false, ..Laws::default() };
    assert!(try_deaths(Flow::Store, laws, Stores::Light, Share::ALL).1.is_some());
}
