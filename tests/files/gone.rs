//! Members that are gone for ever.

use quoit::config::RingSettings;
use quoit::sim::storage::Requested;
use quoit::sim::{World, seeds};

use crate::harness::{MINUTE, SECOND, converged_with, members, request_everywhere};

/// Six peers, all in one map, three copies.
fn six(seed: u64) -> World {
    let mut world = converged_with(seed, RingSettings { replicas: 3, successors: 8 }, 6);
    world.oracle.safety = false;
    world
}

/// Names that there are: stored while the first of two is gone, so that many have the least number of copies when the
/// second goes at once.
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

/// What the four that are left say of names that nobody stored: so many denials, and so many times that nobody can tell.
fn denials(world: &mut World) -> (usize, usize) {
    let names: Vec<String> = (0..24).map(|i| format!("never-{i}")).collect();
    let said = request_everywhere(world, &names);
    let denied = said.iter().filter(|(_, _, what)| *what == Requested::Unknown).count();
    let unsure = said.iter().filter(|(_, _, what)| matches!(what, Requested::CannotTell(_))).count();
    assert_eq!(denied + unsure, said.len(), "{said:?}");
    (denied, unsure)
}

/// Scenario 31. Goal: two of six members are gone for ever, whichever two. What was acknowledged is never denied, at any
/// time and by nobody; what never was is denied by name where fewer than a quorum of each window is gone: always, where
/// the two are three apart; of no name whose windows hold both.
#[test]
fn two_of_six_are_gone_for_ever() {
    for seed in seeds(0..3) {
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
                match apart {
                    3 => assert_eq!(unsure, 0, "seed {seed}, {gone:?}"),
                    _ => assert!(denied > 0 && unsure > 0, "seed {seed}, {gone:?}: {denied} and {unsure}"),
                }
            }
        }
    }
}

/// Control: a rule that takes one word fewer denies what was acknowledged. Of the names whose windows hold both that are
/// gone some were kept by these two alone: all that are left say, truly, that they have none, and nobody denies them.
#[test]
fn what_only_the_gone_had_is_not_denied() {
    let mut only_theirs = 0;
    for seed in seeds(0..12) {
        let mut world = six(seed);
        let all = members(&world);
        // Three in a row; one is away while files are stored, so that its two neighbours are a quorum.
        let (before, silent, after) = (all[0], all[1], all[2]);
        for i in 0..24 {
            world.store(before, &format!("file-{i}"), 1 << 14);
        }
        // The two go before repair has made a third copy of what they took meanwhile.
        world.network.set_group(silent, 1);
        world
            .run_until(MINUTE, |world| match world.files_under_way() {
                0 => Ok(()),
                count => Err(format!("{count} are under way")),
            })
            .unwrap();
        world.crash_slot(before);
        world.crash_slot(after);
        world.heal();
        world.run_for(SECOND * 30);
        let names: Vec<String> = world.acknowledged().iter().map(|file| file.name.to_string()).collect();
        for (slot, name, what) in request_everywhere(&mut world, &names) {
            assert_ne!(what, Requested::Unknown, "seed {seed}: {name} at {slot}");
            only_theirs += usize::from(matches!(what, Requested::CannotTell(_)));
        }
    }
    assert!(only_theirs > 0, "each of these names was also kept by somebody else");
}
