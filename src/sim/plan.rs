//! Fault plans: the faults of a ring and their times. Plans are drawn from a seed, printed, read back, run, and made as
//! short as possible while they still fail.
//!
//! A plan names its peers by numbers: those of the initial ring from 0 on, in the order of their positions, so that
//! consecutive numbers are neighbours; then each joining peer by the number that its `join` gives it. A fault that
//! makes no sense at its time (a peer that is not there, or is already dead) does nothing: so any part of a plan is a
//! plan.

mod command;
mod draw;
mod strike;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

pub use command::Command;
pub use text::PlanError;

use super::network::Slot;
use super::storage::{FileSettings, check as files};
use super::world::World;
use super::{check, oracle::Violation};
use crate::config::{KeepVersions, RingSettings};
use crate::replica::LeaseTerms;

/// A ring and its faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The number of peers in the initial ring.
    pub peers: u16,
    /// The length of their successor lists, r.
    pub successors: u8,
    /// The greatest drift of their clocks, in millionths.
    pub drift_ppm: u16,
    /// The faults, in the order of time.
    pub faults: Vec<Timed>,
}

/// A fault and its time after the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// The time of the fault, in milliseconds.
    pub at_ms: u32,
    /// The fault that happens.
    pub fault: Fault,
}

/// One fault of a ring. Fractions are in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A peer ends without notice.
    Crash(u16),
    /// A crashed peer starts again.
    Restart(u16),
    /// The process of a peer is paused.
    Pause(u16),
    /// A paused process continues.
    Resume(u16),
    /// A new peer joins through another one.
    Join(u16, u16),
    /// A peer leaves in good order.
    Leave(u16),
    /// A second process begins with a copy of a peer's disk.
    Clone(u16),
    /// Packets no longer get from the first peer to the second.
    Cut(u16, u16),
    /// Peers of different groups no longer reach each other.
    Split(Vec<Vec<u16>>),
    /// All cuts and splits are repaired.
    Heal,
    /// A peer becomes slower by this factor.
    Slow(u16, u8),
    /// This part of the packets is lost.
    Loss(u16),
    /// This part of the datagrams comes twice.
    Duplication(u16),
    /// This part of the datagrams is delayed, each by at most this many milliseconds.
    Holdups(u16, u16),
    /// A user of a peer gives it a command.
    User(u16, Command),
    /// The disk of a peer has room for so many files in all, those that are there included.
    Room(u16, u16),
    /// The next sync of a peer's disk fails.
    FailSync(u16),
    /// The wall clock of a peer is wrong by this many seconds.
    Clock(u16, i16),
}

/// Why a plan failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The oracle found a violation. If the theorem does not cover the plan, it checks only what always holds.
    #[error("at {} ms: {}", .0.at.0 / 1_000, .0.what)]
    Safety(Violation),
    /// After the faults, the files were not in their places in time.
    #[error("files {after_s} s after the ring was one again: {why}")]
    Files {
        /// The time that was waited, in seconds.
        after_s: u64,
        /// The defect, in words.
        why: String,
    },
    /// After the faults, the ring was not one ordered ring in time.
    #[error("not one ordered ring {after_s} s after the faults: {why}")]
    Liveness {
        /// The time that was waited, in seconds.
        after_s: u64,
        /// The defect, in words.
        why: String,
    },
    /// The caller's check after a fault failed.
    #[error("after \"{fault}\": {why}")]
    Checked {
        /// The fault before the check.
        fault: Timed,
        /// The defect, in words.
        why: String,
    },
}

impl Plan {
    /// Runs the plan, ends all faults, brings every peer back, and demands one ordered ring within a bounded time. In
    /// plans with files it also demands that each acknowledged file has all its copies and each name one winner. Safety
    /// must hold throughout if the theorem covers the plan.
    ///
    /// # Errors
    /// The demand that was not met.
    pub fn run(&self, seed: u64) -> Result<(), Failure> {
        self.play(&mut self.world(seed), &mut |_, _| Ok(()))
    }

    /// The world in which the plan begins.
    pub fn world(&self, seed: u64) -> World {
        let settings = RingSettings { replicas: 3, successors: self.successors, versions: VERSIONS };
        let mut world = World::converged(seed, settings, self.peers.into(), INTERVAL, CONTACTS);
        world.drift(self.drift_ppm.into());
        if self.faults.iter().any(|timed| timed.fault.is_of_files()) {
            world.enable_files_with(FileSettings {
                leases: LEASES,
                surplus_wait: Some(LEASES.kept_for / 2),
                hear_clocks: true,
                ..FileSettings::default()
            });
        }
        world
    }

    /// Like [`Plan::run`], in a world of [`Plan::world`]. `check` is called after each fault.
    ///
    /// # Errors
    /// The demand that was not met.
    pub fn play(
        &self,
        world: &mut World,
        check: &mut dyn FnMut(&World, &Fault) -> Result<(), String>,
    ) -> Result<(), Failure> {
        let mut names: BTreeMap<u16, Slot> = (0..).zip(world.living().values().copied()).collect();
        world.oracle.safety = self.is_covered();
        let begin = world.now();
        for timed in &self.faults {
            world.run_to(begin + Duration::from_millis(timed.at_ms.into()));
            timed.fault.strike(world, &mut names);
            check(world, &timed.fault).map_err(|why| Failure::Checked { fault: timed.clone(), why })?;
        }
        world.network.calm();
        for slot in names.values() {
            world.pause_slot(*slot, false);
            match world.is_revoked(*slot) {
                true => world.crash_slot(*slot),
                false => world.restart_slot(*slot),
            }
        }
        for slot in names.values().filter(|slot| !world.is_revoked(**slot)).copied().collect::<Vec<_>>() {
            if world.with_disk(slot, |disk| disk.mend()) == Some(true) {
                // A disk that has failed accepts nothing before a new start.
                world.run_for(Duration::from_millis(REPAIRED_AFTER_MS.into()));
                world.crash_slot(slot);
                world.restart_slot(slot);
            }
        }
        let healed = world.run_until(HEALED_WITHIN, check::one_ordered_ring);
        healed.map_err(|why| Failure::Liveness { after_s: HEALED_WITHIN.as_secs(), why })?;
        if world.has_files() {
            files_settle(world)?;
        }
        match world.oracle.violations().first() {
            Some(violation) => Err(Failure::Safety(violation.clone())),
            None => Ok(()),
        }
    }

    /// Whether the theorem covers the plan: peers join, crash, come back and leave, one at a time, with time for repair
    /// between two departures, and the ring never becomes small. No fault makes a peer take a living peer for dead.
    pub fn is_covered(&self) -> bool {
        let mut gone_at: Option<u32> = None;
        let mut gone = 0;
        let mut covered = true;
        for Timed { at_ms, fault } in &self.faults {
            match fault {
                Fault::Crash(_) | Fault::Leave(_) => {
                    covered &= gone_at.is_none_or(|before| at_ms - before >= REPAIRED_AFTER_MS);
                    gone_at = Some(*at_ms);
                    gone += 1;
                }
                Fault::Restart(_) | Fault::Join(..) | Fault::Heal => {}
                Fault::Duplication(_) | Fault::Holdups(..) | Fault::Slow(..) => {}
                // Peers that run and may stay are refused by all others.
                Fault::User(_, Command::Revoke(_)) => covered = false,
                Fault::User(..) | Fault::Room(..) | Fault::FailSync(_) | Fault::Clock(..) => {}
                Fault::Pause(_) | Fault::Resume(_) | Fault::Clone(_) => covered = false,
                Fault::Cut(..) | Fault::Split(_) | Fault::Loss(_) => covered = false,
            }
        }
        covered && usize::from(self.peers) >= usize::from(self.successors) + 3 + gone
    }

    /// The shortest plan that is found by leaving faults out, in ever smaller groups, as long as the plan still fails
    /// (Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, TSE 2002).
    #[must_use]
    pub fn shortest(&self, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
        let mut plan = self.clone();
        let mut group = plan.faults.len().div_ceil(2);
        let mut tries = 0;
        while group > 0 {
            let (mut at, mut shorter) = (0, false);
            while at < plan.faults.len() && tries < TRIES_MAX {
                let mut without = plan.clone();
                without.faults.drain(at..(at + group).min(plan.faults.len()));
                tries += 1;
                if fails(&without) {
                    (plan, shorter) = (without, true);
                } else {
                    at += group;
                }
            }
            if group > 1 {
                group = group.div_ceil(2);
            } else if !shorter || tries >= TRIES_MAX {
                break;
            }
        }
        plan
    }

    /// The one command that replays the plan.
    pub fn replay(&self, seed: u64) -> String {
        let text = self.to_string().trim_end().replace('\n', "; ");
        format!(
            "QUOIT_SEED={seed} QUOIT_PLAN='{text}' QUOIT_LOG_EVENTS=1 cargo test --test scenarios swarm::replay \
             -- --include-ignored --nocapture"
        )
    }
}

impl Fault {
    /// Whether the fault makes sense only in a world with files.
    fn is_of_files(&self) -> bool {
        matches!(self, Fault::User(..) | Fault::Room(..) | Fault::FailSync(_) | Fault::Clock(..))
    }
}

/// Lets time pass until each file and name is where it belongs, and then until every lease that nobody renews has lapsed:
/// all that was promised must be there before and after, and every name must be answered with what it stands for.
fn files_settle(world: &mut World) -> Result<(), Failure> {
    let failure = |after: Duration, why| Failure::Files { after_s: after.as_secs(), why };
    let end = world.now() + SETTLED_WITHIN;
    loop {
        let settled = match world.files_under_way() {
            0 => files::promises_kept(world),
            count => Err(format!("{count} operations do not end")),
        };
        match settled {
            Ok(()) => break,
            Err(why) if world.now() >= end => return Err(failure(SETTLED_WITHIN, why)),
            Err(_) => world.run_for(INTERVAL / 4),
        }
    }
    let rest = LEASES.kept_for + LEASES.period * 2;
    world.run_for(rest);
    files::promises_kept(world).map_err(|why| failure(SETTLED_WITHIN + rest, why))?;
    files::names_answered(world).map_err(|why| failure(SETTLED_WITHIN + rest, why))
}

const INTERVAL: Duration = Duration::from_secs(1);
const CONTACTS: usize = 4_096;
/// The time after the faults within which the ring must be one.
const HEALED_WITHIN: Duration = Duration::from_secs(60);
/// The time after that within which all files must be in their places.
const SETTLED_WITHIN: Duration = Duration::from_secs(300);
/// The leases of plans: half a minute stands for a day.
const LEASES: LeaseTerms = LeaseTerms { period: Duration::from_secs(30), kept_for: Duration::from_secs(120) };
/// The versions of plans: six days.
const VERSIONS: KeepVersions = KeepVersions { seconds: 180, ..KeepVersions::DEFAULT };
/// The time that a ring needs after a death before the next one, in milliseconds.
const REPAIRED_AFTER_MS: u32 = 15_000;
/// The most runs of a plan in the search for a shorter one.
const TRIES_MAX: u32 = 1_000;
/// The first name of clones.
const CLONES: u16 = 30_000;
