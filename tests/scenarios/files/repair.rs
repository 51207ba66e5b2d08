//! Repair: peers make missing copies again.

use std::time::Duration;

use quoit::config::RingSettings;
use quoit::files::Laws;
use quoit::id::ContentId;
use quoit::sim::storage::{FileSettings, check};
use quoit::sim::{Slot, World, seeds};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::harness::{MINUTE, SECOND, converged, converged_with, is_chosen, keepers, members, settle};

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

/// The bytes that each peer sends for files in ten minutes at rest: the mean over all peers and rounds.
fn bytes_per_round_at_rest(peers: usize, files: u64) -> f64 {
    let mut world = converged_with(1, RingSettings::default(), peers);
    world.place_files(files, 1 << 10);
    // The first round of each peer finds out that nothing is to be done.
    world.run_for(MINUTE);
    let slots = members(&world);
    let sent = |world: &mut World| slots.iter().map(|slot| world.sent(*slot).files).sum::<u64>();
    let before = sent(&mut world);
    world.run_for(ROUND * ROUNDS);
    assert_eq!(world.repair_bytes(), 0);
    (sent(&mut world) - before) as f64 / (peers as f64 * f64::from(ROUNDS))
}

/// Goal: a ring at rest exchanges a few hundred bytes a round and peer, whatever it stores.
///
/// `QUOIT_LONG=1` with a release build makes the figures of docs/measurements.md.
#[test]
fn a_ring_at_rest_exchanges_digests_and_no_lists() {
    let counts: &[u64] = match std::env::var_os("QUOIT_LONG").is_some() {
        true => &[100, 1_000, 10_000, 100_000],
        false => &[100, 3_000],
    };
    for files in counts {
        let bytes = bytes_per_round_at_rest(7, *files);
        println!("7 peers, {files} files: {bytes:.0} bytes a round and peer");
        assert!(bytes < 1_024.0, "{files} files: {bytes} bytes");
    }
}

/// Goal: a peer that comes back after ten minutes costs what has changed meanwhile, however much the ring holds.
///
/// `QUOIT_LONG=1` with a release build makes the figures of docs/measurements.md.
#[test]
fn a_peer_that_comes_back_costs_what_has_changed() {
    const LENGTH: u64 = 10 << 10;
    let files = if std::env::var_os("QUOIT_LONG").is_some() { 10_000 } else { 2_000 };
    let mut world = World::converged(5, RingSettings::default(), 7, SECOND, 4_096);
    world.enable_files_with(FileSettings { away_wait: MINUTE * 15, ..FileSettings::default() });
    world.place_files(files, LENGTH);
    world.run_for(MINUTE);
    let away = members(&world)[3];
    world.crash_slot(away);
    world.run_for(MINUTE * 2);
    let others = members(&world);
    for i in 0..NEW_FILES {
        world.store(others[i as usize % others.len()], &format!("new-{i}"), LENGTH);
        world.run_for(SECOND);
    }
    assert_eq!(world.finish(MINUTE).len() as u64, NEW_FILES);
    world.run_for(MINUTE * 8);
    let (moved, before) = (world.repair_bytes(), sent_for_files(&mut world));
    assert_eq!(moved, 0, "it is waited for");
    world.restart_slot(away);
    world.run_for(SECOND * 10);
    settle(&mut world, MINUTE, 5);
    world.run_for(MINUTE);
    let held = world.with_disk(away, |disk| disk.objects().len()).unwrap() as u64 * LENGTH;
    let (moved, talked) = (world.repair_bytes(), sent_for_files(&mut world) - before);
    println!(
        "{files} files, {NEW_FILES} new: {moved} bytes of objects, {talked} bytes of all peers' messages; it holds {held} bytes"
    );
    // Half of the new files belong there at most; a file that it lacks may be given to it by two at once.
    assert!(moved <= NEW_FILES * LENGTH, "{moved} bytes for {NEW_FILES} new files of {LENGTH}");
    // Each message of a step names 16 ranges of 90 bytes, in three steps, to each of four neighbours, in both ways.
    assert!(talked - moved < 400_000, "{talked} bytes, of which {moved} are objects'");
}

fn sent_for_files(world: &mut World) -> u64 {
    world.slots().into_iter().map(|slot| world.sent(slot).files).sum()
}

/// Three peers hold as many objects and records of a range, and not the same ones. Returns whether all is in its place
/// again after five minutes.
fn is_a_difference_found(seed: u64, laws: Laws) -> bool {
    let mut world = converged_with(seed, RingSettings::default(), 5);
    world.set_laws(laws);
    world.place_files(60, 1 << 10);
    world.run_for(MINUTE);
    let contents: Vec<ContentId> = world.acknowledged().iter().map(|file| file.content).collect();
    // Of an owner's range that goes around zero the two parts are compared each on its own.
    let range = |content: &ContentId| {
        let keepers = keepers(&world, content);
        let is_before = world.entry(keepers[0]).is_some_and(|owner| content.key() <= owner.position);
        (keepers, is_before)
    };
    let owned = |first: &ContentId| {
        let others = contents.iter().filter(|other| *other != first);
        others.copied().find(|other| range(other) == range(first))
    };
    let (one, other) = contents.iter().find_map(|first| Some((*first, owned(first)?))).unwrap();
    for (i, keeper) in keepers(&world, &one).into_iter().enumerate() {
        let lost = if i == 0 { one } else { other };
        world.with_disk(keeper, |disk| {
            disk.check_reads();
            disk.rot(&lost);
        });
    }
    assert!(check::in_place(&world).is_err());
    world.run_for(MINUTE * 5);
    check::in_place(&world).is_ok()
}

/// Goal: a comparison finds what differs, though the numbers are the same; and the oracle sees it if it does not.
#[test]
fn the_same_number_is_not_the_same() {
    for seed in seeds(0..3) {
        assert!(is_a_difference_found(seed, Laws::default()), "seed {seed}");
        let blind = Laws { digests_compared: false, ..Laws::default() };
        assert!(!is_a_difference_found(seed, blind), "seed {seed}: the control shows nothing");
    }
}

/// Goal: repair sends no more bytes a second than a peer's rate.
#[test]
fn repair_keeps_to_its_rate() {
    const RATE: u64 = 1 << 20;
    let mut world = World::converged(3, RingSettings::default(), 5, SECOND, 4_096);
    world.enable_files_with(FileSettings {
        repair_bytes_s: Some(RATE),
        slice_bytes: 1 << 18,
        ..FileSettings::default()
    });
    world.place_files(100, 2 << 20);
    let victim = members(&world)[0];
    world.crash_slot(victim);
    let mut seconds = 0;
    while check::in_place(&world).is_err() {
        world.run_for(SECOND);
        seconds += 1;
        assert!(seconds < 600, "it does not end");
        let most = RATE * 4 * (seconds + 1) + (4 << 20);
        assert!(world.repair_bytes() <= most, "{} bytes in {seconds} s", world.repair_bytes());
    }
    // Four peers give about 60 copies of 2 MiB; without a limit that is over in a few seconds.
    assert!(seconds > 20 && world.repair_bytes() > 80 << 20, "{seconds} s, {} bytes", world.repair_bytes());
}

/// The time from one round of repair to the next, while nothing changes.
const ROUND: Duration = Duration::from_secs(31);
/// The number of rounds that are measured.
const ROUNDS: u32 = 20;
/// The files that are stored while a peer is away.
const NEW_FILES: u64 = 20;

/// Goal: repair makes copies at fast peers in the time of a fast line, whatever a slow peer does meanwhile, also where
/// the slow peer owns what is missing. When a second peer dies, no file is down to one copy.
#[test]
fn repair_does_not_wait_for_a_slow_owner() {
    for seed in seeds(0..4) {
        let mut world = World::converged(seed, RingSettings::default(), 7, SECOND, 4_096);
        world.enable_files_with(FileSettings { slice_bytes: 16 << 10, ..FileSettings::default() });
        world.place_files(400, 300_000);
        world.run_for(MINUTE);
        let slow = members(&world)[0];
        world.network.set_line(slow, 32_000, 300_000, true);
        for _ in 0..2 {
            let dies = members(&world)[2];
            let died = world.now();
            world.crash_slot(dies);
            let repaired = world.run_until(SECOND * 20, |world| check::in_place_except_at(world, Some(slow)));
            repaired.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            println!("seed {seed}: all copies at fast peers after {:?}", world.now().since(died));
        }
        assert_eq!(world.files_lost(), 0, "seed {seed}");
    }
}
