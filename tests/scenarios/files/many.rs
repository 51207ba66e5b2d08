//! A download from many holders at once, in virtual time: each of them dies, stalls, lies or is slow in the middle.

use std::time::Duration;

use quoit::config::RingSettings;
use quoit::id::Position;
use quoit::sim::storage::{Acknowledged, FileSettings, Lie, Requested};
use quoit::sim::{Slot, World, seeds};
use quoit::wire::Fault;

use super::harness::{MINUTE, SECOND, Stores, keepers, members, requested, until_member};

/// The bytes that each peer sends a second.
const UPLINK: u64 = 10_000_000;
/// The length of the file: 24 chunks.
const LENGTH: u64 = 24 << 20;

/// A settled ring of eight with one file, which so many peers hold, and a peer that has no copy.
struct Scene {
    world: World,
    file: Acknowledged,
    holders: Vec<Slot>,
    reader: Slot,
}

fn scene(seed: u64, holders: u8, stores: Stores) -> Scene {
    let settings = RingSettings { replicas: holders, successors: 8, ..RingSettings::default() };
    let mut world = World::converged(seed, settings, 8, SECOND, 4_096);
    world.enable_files_with(FileSettings {
        bandwidth_bytes_s: UPLINK,
        slice_bytes: 1 << 18,
        real_stores: stores == Stores::Real,
        checkpoint_chunks: 1,
        ..FileSettings::default()
    });
    world.place_files(1, if stores == Stores::Real { LENGTH / 4 } else { LENGTH });
    world.run_for(SECOND * 3);
    world.oracle.safety = false;
    let file = world.acknowledged()[0].clone();
    let has = |world: &mut World, slot: Slot| world.with_disk(slot, |disk| disk.holds(&file.content));
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for slot in members(&world) {
        if has(&mut world, slot) == Some(true) { with.push(slot) } else { without.push(slot) }
    }
    assert_eq!(with.len(), usize::from(holders), "seed {seed}");
    assert_eq!(keepers(&world, &file.content).len(), 3, "seed {seed}");
    let reader = without[seed as usize % without.len()];
    Scene { world, file, holders: with, reader }
}

impl Scene {
    /// Lets the request go on until it ends. Returns its outcome and the time it took from `begun` on.
    fn end(&mut self, id: u64, seed: u64) -> (Requested, Duration) {
        let begun = self.world.now();
        while self.world.files_under_way() > 0 {
            self.world.run_for(SECOND / 50);
            assert!(self.world.now().since(begun) < MINUTE * 5, "seed {seed}: it does not end");
        }
        let took = self.world.now().since(begun);
        let ended = self.world.take_ended();
        (requested(&ended, id, seed), took)
    }

    fn is_found(&mut self, outcome: &Requested, what: &str) -> Vec<Position> {
        let Requested::Found { sources, .. } = outcome else { panic!("{what}: {outcome:?}") };
        let sound = self.world.with_disk(self.reader, |disk| disk.holds(&self.file.content));
        assert_eq!(sound, Some(true), "{what}");
        sources.clone()
    }

    fn position(&self, slot: Slot) -> Position {
        self.world.entry(slot).unwrap().position
    }
}

/// The time that so many holders need for the file.
fn whole(holders: u64) -> Duration {
    Duration::from_secs_f64(LENGTH as f64 / (holders * UPLINK) as f64)
}

/// Goal: n holders bring a file n times as fast as one of them, and each brings its part.
#[test]
fn many_holders_bring_a_file_together() {
    for seed in seeds(0..6) {
        for holders in 1..=4u8 {
            let mut scene = scene(seed, holders, Stores::Light);
            let id = scene.world.request(scene.reader, scene.file.name.as_str());
            let (outcome, took) = scene.end(id, seed);
            let what = format!("seed {seed}, {holders} holders");
            let sources = scene.is_found(&outcome, &what);
            assert_eq!(sources.len(), usize::from(holders), "{what}");
            let ideal = whole(holders.into());
            assert!(took < ideal.mul_f64(1.1) + SECOND / 4, "{what}: {took:?} for {ideal:?}");
        }
    }
}

/// The trouble with one holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Dies,
    Stalls,
    Lies(Lie),
    IsSlow,
}

/// Goal: a holder that dies, stalls, lies or is slow, at any point of the download, costs only its chunks: the others
/// bring them, in about the time that they need for the whole file. No honest peer is blamed, and a proven liar is.
#[test]
fn one_bad_holder_costs_only_its_chunks() {
    for seed in seeds(0..6) {
        for holders in 2..=4u8 {
            for trouble in [
                Trouble::Dies,
                Trouble::Stalls,
                Trouble::Lies(Lie::CorruptBytes),
                Trouble::Lies(Lie::FewerBytes),
                Trouble::Lies(Lie::Stalls),
                Trouble::Lies(Lie::OneByte),
                Trouble::IsSlow,
            ] {
                let mut scene = scene(seed, holders, Stores::Light);
                let bad = scene.holders[seed as usize % usize::from(holders)];
                match trouble {
                    Trouble::Lies(lie) => scene.world.set_lie(bad, lie),
                    Trouble::IsSlow => scene.world.network.set_line(bad, UPLINK / 20, 1 << 16, true),
                    Trouble::Dies | Trouble::Stalls => {}
                }
                let id = scene.world.request(scene.reader, scene.file.name.as_str());
                let middle = whole(holders.into()).mul_f64((seed as f64 + 0.5) / 7.0);
                scene.world.run_for(middle);
                match trouble {
                    Trouble::Dies => scene.world.crash_slot(bad),
                    Trouble::Stalls => scene.world.network.cut(bad, scene.reader),
                    Trouble::Lies(_) | Trouble::IsSlow => {}
                }
                let (outcome, took) = scene.end(id, seed);
                let what = format!("seed {seed}, {holders} holders, {trouble:?}");
                scene.is_found(&outcome, &what);
                let ideal = whole(u64::from(holders) - 1);
                assert!(took + middle < ideal.mul_f64(1.2) + SECOND, "{what}: {took:?} for {ideal:?}");
                let faults = scene.world.faults_seen(scene.reader);
                let liar = scene.position(bad);
                assert!(faults.iter().all(|(peer, _)| *peer == liar), "{what}: {faults:?}");
                if trouble == Trouble::Lies(Lie::CorruptBytes) {
                    assert!(faults.contains(&(liar, Fault::CorruptBytes)), "{what}: {faults:?}");
                }
            }
        }
    }
}

/// Goal: if all holders but one lie, the file comes from that one. Liars that agree on the same wrong bytes make the
/// asker drop the outboard; they are convicted all the same, once the right bytes are there.
#[test]
fn all_holders_but_one_lie() {
    for seed in seeds(0..6) {
        for holders in 2..=4u8 {
            let mut scene = scene(seed, holders, Stores::Light);
            let honest = scene.holders[seed as usize % usize::from(holders)];
            let liars: Vec<Slot> = scene.holders.iter().copied().filter(|slot| *slot != honest).collect();
            liars.iter().for_each(|slot| scene.world.set_lie(*slot, Lie::CorruptBytes));
            let id = scene.world.request(scene.reader, scene.file.name.as_str());
            let (outcome, _) = scene.end(id, seed);
            let what = format!("seed {seed}, {holders} holders");
            scene.is_found(&outcome, &what);
            let faults = scene.world.faults_seen(scene.reader);
            let honest = scene.position(honest);
            assert!(faults.iter().all(|(peer, _)| *peer != honest), "{what}: {faults:?}");
            assert!(faults.iter().any(|(_, fault)| *fault == Fault::CorruptBytes), "{what}: {faults:?}");
        }
    }
}

/// Goal: two liars that agree on a forged outboard, for a bare content id, delay the file and blame nobody: honest
/// holders whose identical chunks do not fit convict the outboard.
#[test]
fn a_forged_outboard_on_which_two_agree_is_dropped() {
    let mut told = 0;
    for (seed, stores) in seeds(0..6).into_iter().zip([Stores::Light, Stores::Real].into_iter().cycle()) {
        let mut scene = scene(seed, 4, stores);
        let (liars, honest) = scene.holders.split_at(2);
        let honest: Vec<Position> = honest.iter().map(|slot| scene.position(*slot)).collect();
        for slot in liars {
            scene.world.set_lie(*slot, Lie::ForgedOutboard);
        }
        let id = scene.world.request_content(scene.reader, scene.file.content);
        let (outcome, _) = scene.end(id, seed);
        told += scene.holders[..2].iter().map(|slot| scene.world.lies_told(*slot)).sum::<u64>();
        let what = format!("seed {seed}, {stores:?}");
        scene.is_found(&outcome, &what);
        let faults = scene.world.faults_seen(scene.reader);
        assert!(faults.iter().all(|(peer, _)| !honest.contains(peer)), "{what}: {faults:?}");
    }
    assert!(told > 0, "no lie was told");
}

/// Goal: a peer that is restarted in the middle of a download, at any point, goes on and gets the right bytes; with real
/// stores from the chunks that were marked.
#[test]
fn the_asker_is_restarted_in_the_middle() {
    for (seed, stores) in [(0, Stores::Light), (1, Stores::Light), (2, Stores::Real), (3, Stores::Real)] {
        for point in 1..8u32 {
            let mut scene = scene(seed, 3, stores);
            scene.world.request(scene.reader, scene.file.name.as_str());
            let length = whole(3) / if stores == Stores::Real { 4 } else { 1 };
            scene.world.run_for(length * point / 8);
            scene.world.crash_slot(scene.reader);
            let part = scene.world.with_disk(scene.reader, |disk| disk.part(&scene.file.content)).flatten();
            // Each holder brings two chunks of the small file, and eight of the other one.
            let early = if stores == Stores::Real { 6 } else { 4 };
            assert!(part.is_some() || point < early, "seed {seed}, {point}: nothing was kept");
            scene.world.run_for(SECOND);
            scene.world.restart_slot(scene.reader);
            until_member(&mut scene.world, scene.reader, seed);
            scene.world.take_ended();
            let id = scene.world.request(scene.reader, scene.file.name.as_str());
            let (outcome, _) = scene.end(id, seed);
            scene.is_found(&outcome, &format!("seed {seed}, {stores:?}, point {point}"));
            assert_eq!(scene.world.faults_seen(scene.reader), [], "seed {seed}, point {point}");
        }
    }
}
