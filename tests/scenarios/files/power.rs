//! A loss of power at every call of a disk: a ring with real stores stores, requests, makes new versions, removes, takes
//! a joiner in, lets a member go, and frees copies, while the disk of one peer loses power before one of its calls.
//! The part that the loss leaves of the unsynced changes is of another kind each time.
//!
//! The gate tries one loss in 199; `QUOIT_DEATHS=1` tries all, `QUOIT_DEATHS=3/10` the third tenth.

use quoit::blob::Loss;
use quoit::config::RingSettings;
use quoit::sim::{Slot, World};

use super::harness::{SECOND, Share, Stores, enable, keepers, members, nothing_is_lost};

/// One step of the workload, and the tenths of a second after which the next one comes.
type Step = (fn(&mut Ring), u32);

const WORKLOAD: [Step; 8] = [
    (Ring::stores, 8),
    (Ring::joins, 15),
    (Ring::new_versions, 8),
    (Ring::requests, 10),
    (Ring::removes, 8),
    (Ring::leaves, 40),
    (Ring::frees, 10),
    (Ring::stores_on, 20),
];

/// Three peers, the one that joins them, and the loss of power that one of them suffers.
struct Ring {
    world: World,
    peers: Vec<Slot>,
    /// The peer, its call, and the kind of loss.
    victim: Option<(Slot, u64, Loss)>,
}

impl Ring {
    fn new(victim: Option<(Slot, u64, Loss)>) -> Ring {
        let settings = RingSettings { replicas: 3, successors: 8, ..RingSettings::default() };
        let mut world = World::converged(11, settings, 3, SECOND, 4_096);
        enable(&mut world, Stores::Real);
        world.place_files(3, Stores::Real.length(3 << 19));
        world.run_for(SECOND * 3);
        let peers = members(&world);
        let mut ring = Ring { world, peers, victim };
        ring.peers.clone().into_iter().for_each(|slot| ring.arm(slot));
        ring
    }

    fn arm(&mut self, slot: Slot) {
        if let Some((_, call, loss)) = self.victim.filter(|(victim, ..)| *victim == slot) {
            self.world.with_disk(slot, |disk| {
                disk.set_loss(loss);
                disk.die_before_call(call);
            });
        }
    }

    fn work(&mut self) {
        for (step, tenths) in WORKLOAD {
            step(self);
            self.world.run_for(SECOND / 10 * tenths);
        }
    }

    /// The place of a peer at which a user can type: that one, or the next.
    fn at(&self, number: usize) -> Slot {
        let mut slots = self.peers.iter().cycle().skip(number).take(self.peers.len());
        *slots.find(|slot| self.world.keeps_files(**slot)).unwrap()
    }

    fn store(&mut self, number: usize, name: &str, label: &str, bytes: u64) {
        let at = self.at(number);
        self.world.store_labelled(at, name, label.as_bytes(), Stores::Real.length(bytes));
    }

    fn stores(&mut self) {
        self.store(0, "small", "small, version 1", 8_000);
        self.store(1, "large", "large, version 1", 3 << 19);
    }

    fn joins(&mut self) {
        let joiner = self.world.join_one().unwrap();
        self.peers.push(joiner);
        self.arm(joiner);
    }

    fn new_versions(&mut self) {
        self.store(2, "small", "small, version 2", 9_000);
        self.store(0, "large", "large, version 2", 3 << 19);
        self.store(1, SHORT_LIVED, "short-lived", 3_000);
    }

    fn requests(&mut self) {
        let names = self.world.acknowledged().iter().map(|file| file.name.to_string());
        let names: Vec<String> = names.filter(|name| name.as_str() != SHORT_LIVED).collect();
        for number in 0..self.peers.len() {
            let at = self.at(number);
            for name in &names {
                self.world.request(at, name);
            }
        }
    }

    fn removes(&mut self) {
        // A store that is still under way could end after the removal, and rightly so.
        if self.world.acknowledged().iter().any(|file| file.name.as_str() == SHORT_LIVED) {
            let at = self.at(2);
            self.world.remove(at, SHORT_LIVED);
        }
    }

    /// A member hands everything over and goes.
    fn leaves(&mut self) {
        let at = self.at(0);
        self.world.leave_slot(at);
    }

    /// Each copy that is one too many, or only cached, is freed.
    fn frees(&mut self) {
        let files = self.world.acknowledged().to_vec();
        for slot in self.peers.clone() {
            for file in &files {
                let is_keeper = keepers(&self.world, &file.content).contains(&slot);
                if self.world.keeps_files(slot) && !is_keeper {
                    self.world.free_copy(slot, file.content);
                }
            }
        }
    }

    fn stores_on(&mut self) {
        self.store(1, "small", "small, version 3", 10_000);
        self.store(2, "last", "last", 3 << 19);
    }
}

/// The name that is removed in the end.
const SHORT_LIVED: &str = "short-lived";

/// The number of calls of each peer's disk in the workload, without a loss of power.
fn calls() -> Vec<(Slot, u64)> {
    let mut ring = Ring::new(None);
    let calls = |ring: &mut Ring, slot| ring.world.with_disk(slot, |disk| disk.calls()).unwrap_or(0);
    let before: Vec<u64> = ring.peers.clone().iter().map(|slot| calls(&mut ring, *slot)).collect();
    ring.work();
    let all = ring.peers.clone();
    all.iter()
        .enumerate()
        .map(|(at, slot)| (*slot, calls(&mut ring, *slot) - before.get(at).copied().unwrap_or(0)))
        .collect()
}

/// Lets a peer lose power in the middle of the workload. Returns what is wrong after it.
fn lose_power(victim: Slot, call: u64, loss: Loss, restarts: bool) -> Result<(), String> {
    let mut ring = Ring::new(Some((victim, call, loss)));
    ring.work();
    // With what chance brings, its disk may have fewer calls than it had without a loss of power.
    ring.world.crash_slot(victim);
    if restarts {
        ring.world.restart_slot(victim);
    }
    ring.world.run_for(SECOND * 12);
    nothing_is_lost(&mut ring.world, &[SHORT_LIVED])
}

const LOSSES: [Loss; 5] = [Loss::Nothing, Loss::Everything, Loss::Torn, Loss::Reordered, Loss::Chance];

/// Goal: whatever a peer is doing when its power goes, and whatever that leaves on its disk, nothing that was
/// acknowledged is lost, nothing unverified is visible, and no flow is stuck; the peer comes back or not.
#[test]
fn a_loss_of_power_at_every_call_of_a_mixed_workload() {
    let share = Share::of_gate(199);
    let (mut losses, mut number) = (0, 0);
    let all = calls();
    for (victim, calls) in &all {
        for call in 1..=*calls {
            for restarts in [true, false] {
                number += 1;
                if !share.has(number) {
                    continue;
                }
                losses += 1;
                let loss = LOSSES[losses % LOSSES.len()];
                let wrong = lose_power(*victim, call, loss, restarts);
                assert_eq!(
                    wrong,
                    Ok(()),
                    "{victim} loses power at call {call}, {loss:?}, starts again: {restarts}"
                );
            }
        }
    }
    println!("{losses} losses of power, {share:?} of {number}; calls {all:?}");
    assert!(losses > 10, "{losses}");
}
