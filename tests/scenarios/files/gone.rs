//! Members that are gone for ever.

use quoit::config::RingSettings;
use quoit::id::FileName;
use quoit::sim::storage::Requested;
use quoit::sim::{World, seeds};

use super::harness::{MINUTE, SECOND, converged_with, members, request_everywhere};

/// Six peers, all in one map, three copies.
fn six(seed: u64) -> World {
    let mut world =
        converged_with(seed, RingSettings { replicas: 3, successors: 8, ..RingSettings::default() }, 6);
    world.oracle.safety = false;
    world
}

/// Stores names while the first of two peers is gone, so that many have the least number of copies when the second goes
/// at once.
fn stored_in_between(world: &mut World, gone: [usize; 2]) -> Vec<String> {
    let all = members(world);
    world.crash_slot(all[gone[0]]);
    for i in 0..24 {
        let at = members(world)[i % 5];
        world.store(at, &format!("file-{i}"), 1 << 14);
    }
    world.finish(MINUTE * 2);
    world.crash_slot(all[gone[1]]);
    world.acknowledged().iter().map(|file| file.name.to_string()).collect()
}

/// Asks the remaining four for names that nobody stored. Returns the number of denials and the number of "cannot tell".
fn denials(world: &mut World) -> (usize, usize) {
    let names: Vec<String> = (0..24).map(|i| format!("never-{i}")).collect();
    let said = request_everywhere(world, &names);
    let denied = said.iter().filter(|(_, _, what)| *what == Requested::Unknown).count();
    let unsure = said.iter().filter(|(_, _, what)| matches!(what, Requested::CannotTell(_))).count();
    assert_eq!(denied + unsure, said.len(), "{said:?}");
    (denied, unsure)
}

/// Scenario 31. Goal: two of six members are gone for ever, whichever two. No peer ever denies an acknowledged file. A
/// name that was never stored is denied where fewer than a quorum of each window is gone. So it is always denied if the
/// two are three apart, and never if one of its windows holds both.
#[test]
fn two_of_six_are_gone_for_ever() {
    for seed in seeds(0..1) {
        let mut sums = [(0, 0); 3];
        for first in 0..6 {
            for apart in [1, 2, 3] {
                let gone = [first, (first + apart) % 6];
                let mut world = six(seed);
                let names = stored_in_between(&mut world, gone);
                assert!(names.len() >= 20, "seed {seed}, {gone:?}: {} were acknowledged", names.len());
                for pause in [0, 2, 20, 120] {
                    world.run_for(SECOND * pause);
                    for (slot, name, what) in request_everywhere(&mut world, &names) {
                        let why =
                            format!("seed {seed}, {gone:?}, after {pause} s: {name} at {slot}: {what:?}");
                        assert_ne!(what, Requested::Unknown, "{why}");
                        let found = matches!(what, Requested::Found { .. } | Requested::CannotTell(_));
                        assert!(found || pause < 20, "{why}");
                    }
                }
                let (denied, unsure) = denials(&mut world);
                assert!(apart < 3 || unsure == 0, "seed {seed}, {gone:?}: {unsure}");
                sums[apart - 1] = (sums[apart - 1].0 + denied, sums[apart - 1].1 + unsure);
            }
        }
        // Some names' windows hold both of two that stand close together, and some do not.
        let mixed = |(denied, unsure): (usize, usize)| denied > 0 && unsure > 0;
        assert!(mixed(sums[0]) && mixed(sums[1]), "seed {seed}: {sums:?}");
    }
}

/// Goal: the rule for a certain "no" needs all its words. Of three members in a row, the middle one cannot be reached
/// while files are stored, and the other two, which acknowledge them, go at once. All remaining members say, truly,
/// that they have no such name. Three of four words of five are there, and are not enough.
#[test]
fn files_that_only_the_gone_had_are_not_denied() {
    let mut unsure = 0;
    for seed in seeds(0..6) {
        // Pings are so rare that no peer misses the middle one before all is over.
        let settings = RingSettings { replicas: 3, successors: 8, ..RingSettings::default() };
        let mut world = World::converged(seed, settings, 6, SECOND * 10, 4_096);
        world.enable_files();
        world.oracle.safety = false;
        let all = members(&world);
        let [before, silent, after] = [all[0], all[1], all[2]];
        let names = (0..)
            .map(|i| format!("file-{i}"))
            .filter(|name| world.first_at_or_after(&FileName::new(name).unwrap().key()) == Some(before));
        let names: Vec<String> = names.take(4).collect();
        all.iter().for_each(|slot| world.network.set_group(*slot, u8::from(*slot == silent)));
        for name in &names {
            world.store(before, name, 1 << 10);
        }
        // Stores that wait at the middle peer end with that peer.
        world.run_for(SECOND * 20);
        let stored: Vec<String> = world.acknowledged().iter().map(|file| file.name.to_string()).collect();
        world.crash_slot(before);
        world.crash_slot(after);
        world.heal();
        for pause in [0, 30, 120] {
            world.run_for(SECOND * pause);
            let knows =
                |world: &World, slot| world.node(slot).is_some_and(|node| node.view().away().count() == 2);
            let all_know = pause < 120 || members(&world).into_iter().all(|slot| knows(&world, slot));
            assert!(all_know, "seed {seed}: the death of two is not known");
            for (slot, name, what) in request_everywhere(&mut world, &stored) {
                assert_ne!(what, Requested::Unknown, "seed {seed}, after {pause} s: {name} at {slot}");
                unsure += usize::from(pause == 120 && matches!(what, Requested::CannotTell(_)));
            }
        }
    }
    assert!(unsure > 0, "each of these names was also kept by somebody else");
}
