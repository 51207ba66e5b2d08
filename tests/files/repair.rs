//! Copies that are missing are made again.

use quoit::sim::seeds;
use quoit::sim::storage::check;

use crate::harness::{MINUTE, SECOND, converged, is_chosen, members, settle};

/// Goal: files that are there from the beginning are just where they belong: nobody moves any.
#[test]
fn what_is_in_place_stays_there() {
    for seed in seeds(0..4) {
        let mut world = converged(seed, 50);
        world.place_files(500, 1 << 20);
        settle(&mut world, SECOND, seed);
        world.run_for(MINUTE * 3);
        settle(&mut world, SECOND, seed);
        assert_eq!((world.files_lost(), world.repair_bytes()), (0, 0), "seed {seed}");
        assert_eq!(world.files_acknowledged(), 500);
    }
}

/// Goal: R − 1 deaths at once lose nothing, and after a while there are R copies of everything again.
#[test]
fn two_neighbours_die_at_once_and_all_copies_are_made_again() {
    for seed in seeds(0..6) {
        let mut world = converged(seed, 50);
        world.place_files(500, 1 << 20);
        let victims: Vec<_> = members(&world).into_iter().cycle().skip(seed as usize % 50).take(2).collect();
        victims.iter().for_each(|slot| world.crash_slot(*slot));
        assert_eq!(world.files_lost(), 0, "seed {seed}");
        check::copies_at_least(&world, 1).unwrap();
        settle(&mut world, MINUTE * 2, seed);
        // Two of fifty die: a file has three keepers, so about 2 × 3/50 of the files lose a copy.
        assert!(world.repair_bytes() > 0, "seed {seed}");
    }
}
/// Goal: of many peers three tenths die at once. A file is lost where all its R keepers were among them, which is
/// about 0.3^R of the files, and nothing else is, then or later.
#[test]
fn three_tenths_of_all_peers_die_at_once() {
    for seed in seeds(0..1) {
        let mut world = converged(seed, 300);
        world.place_files(2_000, 1 << 16);
        let victims: Vec<_> = world.living().values().copied().collect();
        let victims: Vec<_> = victims.into_iter().filter(|slot| is_chosen(seed, *slot, 3)).collect();
        victims.iter().for_each(|slot| world.crash_slot(*slot));
        let expected = 2_000.0 * (victims.len() as f64 / 300.0).powi(3);
        let lost = world.files_lost();
        assert!((lost as f64) < expected * 1.5 + 20.0, "seed {seed}: {lost} lost, {expected} expected");
        world.run_for(SECOND * 60);
        assert_eq!(world.files_lost(), lost, "seed {seed}: repair loses nothing");
        let (copies, all) = (world.copies_of_all(), world.acknowledged());
        let short = all.iter().filter(|file| copies.get(&file.content).is_some_and(|count| *count < 3));
        assert_eq!(short.count(), 0, "seed {seed}: what is not lost has all its copies again");
    }
}
