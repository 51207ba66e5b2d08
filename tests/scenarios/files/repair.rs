//! Repair: peers make missing copies again.

use quoit::config::RingSettings;
use quoit::sim::storage::check;
use quoit::sim::{Slot, World, seeds};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::harness::{MINUTE, SECOND, converged, is_chosen, members, settle};

/// Goal: no peer moves files that were at their places from the beginning.
#[test]
fn files_in_place_stay_there() {
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

/// Goal: R − 1 deaths between two repairs lose no file, however often they come. Each time every file has R copies
/// again after a while.
#[test]
fn two_neighbours_die_at_once_and_all_copies_are_made_again() {
    for seed in seeds(0..6) {
        let mut world = converged(seed, 50);
        // With r = 2 both entries of a list are gone.
        world.oracle.safety = world.settings.successors > 2;
        world.place_files(500, 1 << 20);
        for time in 0..3 {
            let (living, before) = (members(&world), world.repair_bytes());
            let first = (seed as usize + time * 17) % living.len();
            let victims = living.iter().cycle().skip(first).take(2);
            victims.for_each(|slot| world.crash_slot(*slot));
            assert_eq!(world.files_lost(), 0, "seed {seed}");
            check::copies_at_least(&world, 1).unwrap();
            settle(&mut world, MINUTE * 2, seed);
            // Two of fifty die: a file has three keepers, so about 2 × 3/50 of the files lose a copy.
            assert!(world.repair_bytes() > before, "seed {seed}");
        }
    }
}

/// Goal: of the files that are stored with R copies, p^R are lost where each peer dies with the probability p, all at
/// once. Method: the mean over all seeds, with its standard error.
///
/// `QUOIT_LONG=1 QUOIT_SEEDS=1000` with a release build makes the figures of docs/measurements.md.
#[test]
fn of_all_files_p_to_the_r_are_lost() {
    let long = std::env::var_os("QUOIT_LONG").is_some();
    let (peers, files) = if long { (1_000, 100_000) } else { (200, 2_000) };
    let fractions = [0.1, 0.2, 0.3, 0.4, 0.5];
    let mut lost: [Vec<f64>; 5] = Default::default();
    for seed in seeds(0..20) {
        let mut world = World::converged(seed, RingSettings::default(), peers, SECOND, 8);
        world.enable_files();
        world.place_files(files, 1 << 20);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let dies: Vec<(f64, Slot)> = members(&world).into_iter().map(|slot| (rng.random(), slot)).collect();
        for (fraction, lost) in fractions.into_iter().zip(&mut lost) {
            dies.iter().filter(|(at, _)| *at < fraction).for_each(|(_, slot)| world.crash_slot(*slot));
            lost.push(world.files_lost() as f64 / files as f64);
        }
    }
    for (fraction, lost) in fractions.into_iter().zip(lost) {
        let (count, expected) = (lost.len() as f64, fraction.powi(3));
        let mean = lost.iter().sum::<f64>() / count;
        let variance = lost.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let error = (variance / count).sqrt();
        println!(
            "p {fraction}: lost {:.4} % ± {:.4} % (95 %), p^R {:.4} %",
            mean * 100.0,
            1.96 * error * 100.0,
            expected * 100.0
        );
        assert!((mean - expected).abs() < 4.0 * error + RARE, "p {fraction}: {mean}, not {expected}");
    }
}

/// Goal: of many peers three tenths die at once. Only files whose copies all died then are lost. All other files have
/// all their copies again after a while.
#[test]
fn three_tenths_of_all_peers_die_at_once() {
    for seed in seeds(0..1) {
        let mut world = converged(seed, 300);
        world.place_files(2_000, 1 << 16);
        let victims: Vec<_> = world.living().values().copied().collect();
        let victims: Vec<_> = victims.into_iter().filter(|slot| is_chosen(seed, *slot, 3)).collect();
        victims.iter().for_each(|slot| world.crash_slot(*slot));
        let lost = world.files_lost();
        world.run_for(SECOND * 60);
        assert_eq!(world.files_lost(), lost, "seed {seed}: repair loses nothing");
        let (copies, all) = (world.copies_of_all(), world.acknowledged());
        let short = all.iter().filter(|file| copies.get(&file.content).is_some_and(|count| *count < 3));
        assert_eq!(short.count(), 0, "seed {seed}: what is not lost has all its copies again");
    }
}

/// Three neighbours that die are so rare at the least fraction that a few seeds may have none.
const RARE: f64 = 0.002;
