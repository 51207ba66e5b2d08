//! Random plans: half of them contain only faults that the theorem covers, the other half any faults.

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Command, Fault, Plan, REPAIRED_AFTER_MS, Timed};

impl Plan {
    /// A plan of `size` faults, drawn entirely from the seed.
    pub fn draw(seed: u64, size: usize) -> Plan {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ PLANS);
        let covered = rng.random_bool(0.5);
        let successors = *[2u8, 2, 3, 8].choose(&mut rng).unwrap_or(&2);
        let peers = if covered {
            u16::from(successors) + 3 + size as u16 / 4 + rng.random_range(0..8)
        } else {
            rng.random_range(2..28)
        };
        let drift_ppm = *[0u16, 0, 50, 500].choose(&mut rng).unwrap_or(&0);
        let mut draw = Draw { rng, peers, next: peers, at_ms: 3_000, gone: 0, left: 0, last_gone_ms: None };
        let mut faults = Vec::with_capacity(size);
        for _ in 0..size {
            let fault = if covered { draw.covered() } else { draw.any() };
            faults.push(Timed { at_ms: draw.at_ms, fault });
        }
        Plan { peers, successors, drift_ppm, faults }
    }

    /// Like [`Plan::draw`], with files: as many more faults are commands of users, or affect disks and clocks. Some plans
    /// stand still for minutes at one point, as for a night: leases lapse meanwhile.
    ///
    /// No process is cloned: which of two disks goes on is not guaranteed. At most one peer is forgotten or revoked: a
    /// file that was just acknowledged may stand at W = 2 peers, and survives the loss of W − 1.
    pub fn draw_with_files(seed: u64, size: usize) -> Plan {
        let mut plan = Plan::draw(seed, size);
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ FILES);
        plan.faults.retain(|timed| !matches!(timed.fault, Fault::Clone(_)));
        if rng.random_bool(0.3) {
            let night_ms = rng.random_range(60_000..NIGHT_MAX_MS);
            let from = rng.random_range(0..=plan.faults.len());
            plan.faults[from..].iter_mut().for_each(|timed| timed.at_ms += night_ms);
        }
        let end = plan.faults.last().map_or(0, |timed| timed.at_ms) + 5_000;
        let mut gone = false;
        for _ in 0..size {
            let peer = rng.random_range(0..plan.peers);
            let fault = disk_or_user(&mut rng, peer, plan.peers, &mut gone);
            plan.faults.push(Timed { at_ms: rng.random_range(3_000..=end.max(3_000)), fault });
        }
        plan.faults.sort_by_key(|timed| timed.at_ms);
        plan
    }
}

/// A fault of a peer's disk or clock, or a command of its user.
fn disk_or_user(rng: &mut ChaCha8Rng, peer: u16, peers: u16, gone: &mut bool) -> Fault {
    let (name, other) = (rng.random_range(0..NAMES), rng.random_range(0..peers));
    let command = match rng.random_range(0..100) {
        0..5 => return Fault::FailSync(peer),
        5..11 => return Fault::Room(peer, *[0, 1, 3].choose(rng).unwrap_or(&0)),
        11..14 => return Fault::Clock(peer, *[-3_600, -60, 60, 3_600].choose(rng).unwrap_or(&60)),
        14..18 if !*gone => {
            *gone = true;
            if rng.random_bool(0.5) { Command::Forget(other) } else { Command::Revoke(other) }
        }
        14..28 => Command::Request(name),
        28..37 => Command::Remove(name),
        37..46 => Command::Restore(name, rng.random_range(1..4)),
        46..52 => Command::Pin(name),
        52..55 => Command::Unpin(name),
        55..64 => Command::Drop(name),
        64..70 => Command::Evict,
        _ => Command::Store(name),
    };
    Fault::User(peer, command)
}

struct Draw {
    rng: ChaCha8Rng,
    peers: u16,
    /// The name of the next peer that joins.
    next: u16,
    at_ms: u32,
    gone: u16,
    left: u16,
    last_gone_ms: Option<u32>,
}

impl Draw {
    /// A fault that the theorem covers; see [`Plan::is_covered`].
    fn covered(&mut self) -> Fault {
        self.pass(6_000);
        match self.rng.random_range(0..100) {
            0..30 => self.join(),
            30..60 if self.gone < self.peers.saturating_sub(3) / 2 => {
                let earliest = self.last_gone_ms.map_or(0, |at| at + REPAIRED_AFTER_MS);
                self.at_ms = self.at_ms.max(earliest);
                self.last_gone_ms = Some(self.at_ms);
                self.gone += 1;
                let peer = self.peer();
                if self.rng.random_bool(0.6) { Fault::Crash(peer) } else { self.leave(peer) }
            }
            60..78 => Fault::Restart(self.peer()),
            78..86 => Fault::Duplication(self.rng.random_range(0..=500)),
            86..94 => Fault::Holdups(self.rng.random_range(0..=300), self.rng.random_range(0..=5_000)),
            _ => Fault::Slow(self.peer(), self.rng.random_range(1..=10)),
        }
    }

    fn any(&mut self) -> Fault {
        self.pass(4_000);
        match self.rng.random_range(0..100) {
            0..14 => Fault::Crash(self.peer()),
            14..27 => Fault::Restart(self.peer()),
            27..34 => Fault::Pause(self.peer()),
            34..42 => Fault::Resume(self.peer()),
            42..54 => self.join(),
            54..58 => {
                let peer = self.peer();
                self.leave(peer)
            }
            58..62 => Fault::Clone(self.peer()),
            62..70 => Fault::Cut(self.peer(), self.peer()),
            70..77 => self.split(),
            77..86 => Fault::Heal,
            86..89 => Fault::Slow(self.peer(), self.rng.random_range(1..=20)),
            89..93 => Fault::Loss(*[0, 50, 300].choose(&mut self.rng).unwrap_or(&0)),
            93..96 => Fault::Duplication(self.rng.random_range(0..=500)),
            _ => Fault::Holdups(self.rng.random_range(0..=500), self.rng.random_range(0..=5_000)),
        }
    }

    /// Lets time pass: usually about `while_ms`, sometimes hardly any, seldom long.
    fn pass(&mut self, while_ms: u32) {
        self.at_ms += match self.rng.random_range(0..10) {
            0..4 => self.rng.random_range(0..200),
            4..9 => self.rng.random_range(0..while_ms),
            _ => self.rng.random_range(while_ms..while_ms * 5),
        };
    }

    /// Any peer; often one of the first four, which are neighbours.
    fn peer(&mut self) -> u16 {
        let all = self.next;
        if self.rng.random_bool(0.4) {
            self.rng.random_range(0..all.min(4))
        } else {
            self.rng.random_range(0..all)
        }
    }

    fn join(&mut self) -> Fault {
        let through = self.peer();
        self.next += 1;
        Fault::Join(self.next - 1, through)
    }

    /// Lets a peer leave, but not more than a third: a peer that comes back must find one that did not leave for good.
    fn leave(&mut self, peer: u16) -> Fault {
        if self.left >= self.peers / 3 {
            return Fault::Crash(peer);
        }
        self.left += 1;
        Fault::Leave(peer)
    }

    fn split(&mut self) -> Fault {
        let mut peers: Vec<u16> = (0..self.next).collect();
        if self.rng.random_bool(0.5) {
            peers.shuffle(&mut self.rng);
        }
        let at = self.rng.random_range(0..=peers.len());
        let mut groups: Vec<Vec<u16>> = vec![peers.split_off(at), peers];
        if self.rng.random_bool(0.3) {
            let half = groups[0].len() / 2;
            let third = groups[0].split_off(half);
            groups.push(third);
        }
        groups.iter_mut().for_each(|group| group.sort_unstable());
        Fault::Split(groups)
    }
}

/// Separates the draws of a plan from those of the world in which it runs.
const PLANS: u64 = 0x504c_414e;
/// Separates the draws of a plan with files from those of the plan that it begins with.
const FILES: u64 = 0x4649_4c45;
/// The number of names under which files are stored: few, so that many stores write the same name.
const NAMES: u16 = 6;
/// The longest time for which a plan with files stands still, in milliseconds: longer than a lease.
const NIGHT_MAX_MS: u32 = 400_000;
