//! A death at every step: each process that takes part in a flow dies at each of its waits in turn, for the disk, for
//! others or for time, and starts again or not.

use quoit::config::RingSettings;
use quoit::files::Laws;
use quoit::sim::storage::{Outcome, Requested, check};
use quoit::sim::{Slot, World};

use super::harness::{MINUTE, SECOND, keepers, members, request_everywhere};

/// What goes on while somebody dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Store,
    Request,
    Join,
    Leave,
    Repair,
}

const FLOWS: [Flow; 5] = [Flow::Store, Flow::Request, Flow::Join, Flow::Leave, Flow::Repair];

/// A ring of five with one file, and what the flow is about to do.
fn begin(flow: Flow, laws: Laws) -> (World, Vec<Slot>) {
    let settings = RingSettings { replicas: 3, successors: 2 };
    let mut world = World::converged(7, settings, 5, SECOND, 4_096);
    world.enable_files();
    world.set_laws(laws);
    world.place_files(3, 1 << 20);
    world.run_for(SECOND * 3);
    let mut parties = members(&world);
    let content = world.content_of(b"a flow", 3 << 20);
    let file = world.acknowledged()[0].clone();
    match flow {
        Flow::Store => {
            let keepers = keepers(&world, &content);
            let from = *parties.iter().find(|slot| !keepers.contains(slot)).unwrap();
            world.store_labelled(from, "a flow.bin", b"a flow", 3 << 20);
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

/// How many steps each party makes in the flow, when nobody dies.
fn steps(flow: Flow) -> Vec<(Slot, u64)> {
    let (mut world, parties) = begin(flow, Laws::default());
    let before: Vec<u64> = parties.iter().map(|slot| world.steps_with_files(*slot)).collect();
    world.run_for(SECOND * 8);
    let of = |(slot, before): (Slot, u64)| (slot, world.steps_with_files(slot) - before);
    parties.into_iter().zip(before).map(of).collect()
}

/// One death. What is wrong after it.
fn die(flow: Flow, laws: Laws, victim: Slot, step: u64, restarts: bool) -> Result<(), String> {
    let (mut world, _) = begin(flow, laws);
    world.die_after_steps(victim, step);
    world.run_for(SECOND * 8);
    if restarts {
        world.restart_slot(victim);
    }
    // It is a member again, and repair has looked at what belongs to it.
    world.run_for(SECOND * 12);
    // A peer that was never a member has nothing to come back to; one that left is gone.
    let settled = world.run_until(MINUTE * 4, |world| match world.files_under_way() {
        0 => check::in_place(world).and_then(|()| check::names_agree(world)),
        count => Err(format!("{count} stores or requests do not end")),
    });
    settled?;
    for ended in world.take_ended() {
        if let Outcome::Requested(Requested::Unknown) = ended.outcome {
            return Err("a file that was acknowledged was unknown".to_owned());
        }
    }
    let names: Vec<String> = world.acknowledged().iter().map(|file| file.name.to_string()).collect();
    for (slot, name, requested) in request_everywhere(&mut world, &names) {
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

/// All deaths in a flow, each in a world of its own: how many there are, and the first after which something is wrong.
fn all_deaths(flow: Flow, laws: Laws) -> (u64, Option<String>) {
    let mut points = 0;
    for (victim, steps) in steps(flow) {
        for step in 1..=steps {
            for restarts in [true, false] {
                points += 1;
                if let Err(why) = die(flow, laws, victim, step, restarts) {
                    let restarts = if restarts { "and starts again" } else { "for good" };
                    return (points, Some(format!("{victim} dies after {step} steps {restarts}: {why}")));
                }
            }
        }
    }
    (points, None)
}

/// Goal: at whatever step a process dies, and whether it comes back or not, nothing that was acknowledged is lost,
/// nothing unverified is visible, and nothing is stuck.
#[test]
fn a_death_at_every_step() {
    for flow in FLOWS {
        let (points, wrong) = all_deaths(flow, Laws::default());
        println!("{flow:?}: {points} deaths");
        assert!(points > 100, "{flow:?} has {points} points of death");
        assert_eq!(wrong, None, "{flow:?}");
    }
}

/// Goal: were a part of an object believed after a crash as it was noted, some death would show it.
#[test]
fn a_death_shows_a_part_that_is_believed() {
    let laws = Laws { parts_hashed_again: false, ..Laws::default() };
    assert!(all_deaths(Flow::Store, laws).1.is_some());
}
