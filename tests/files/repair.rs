//! Copies that are missing are made again.

use quoit::sim::seeds;
use quoit::sim::storage::check;

use crate::harness::{MINUTE, SECOND, converged, settle};

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
    for seed in seeds(0..8) {
        let mut world = converged(seed, 50);
        world.place_files(500, 1 << 20);
        let victims: Vec<_> = world.living().values().copied().skip(seed as usize).take(2).collect();
        victims.iter().for_each(|slot| world.crash_slot(*slot));
        assert_eq!(world.files_lost(), 0, "seed {seed}");
        check::copies_at_least(&world, 1).unwrap();
        settle(&mut world, MINUTE * 2, seed);
        // Two of fifty die: a file has three keepers, so about 2 × 3/50 of the files lose a copy.
        assert!(world.repair_bytes() > 0, "seed {seed}");
    }
}
/// Goal: of 1,000 peers a part p dies at once. A file is lost where all its R keepers were among them, which is
/// about p^R of the files, and nothing else is.
#[test]
fn a_part_of_all_peers_dies_at_once() {
    for seed in seeds(0..1) {
        let mut world = converged(seed, 1_000);
        let begin = std::time::Instant::now();
        world.place_files(100_000, 1 << 20);
        let placing = begin.elapsed();
        assert!(placing < SECOND * 2, "{placing:?}");
        let victims: Vec<_> = (0..300).filter_map(|_| world.random_member()).collect();
        victims.iter().for_each(|slot| world.crash_slot(*slot));
        let dead = 1_000 - world.living().len();
        let expected = 100_000.0 * (dead as f64 / 1_000.0).powi(3);
        let lost = world.files_lost();
        assert!((lost as f64) < expected * 1.5 + 50.0, "seed {seed}: {lost} of {expected} expected");
        world.run_for(SECOND * 40);
        assert_eq!(world.files_lost(), lost, "seed {seed}: repair loses nothing");
        eprintln!("{dead} dead, {lost} lost, {expected} expected, placing {placing:?}, all {:?} {:?}", begin.elapsed(), world.moved());
    }
}
