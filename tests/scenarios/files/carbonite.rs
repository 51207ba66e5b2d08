//! Copies beyond the oracle's (B.-G. Chun et al., *Efficient Replica Maintenance for Distributed Storage Systems*, NSDI
//! 2006): peers come and go, most of them with their disks, and repair makes copies for absences that look like
//! departures for ever. The same sessions are played several times: with the away limit of a running peer, without any,
//! and with planners that know of each absence whether it is for ever.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use quoit::config::RingSettings;
use quoit::sim::storage::FileSettings;
use quoit::sim::{Slot, World, seeds};
use quoit::time::Moment;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::harness::{MINUTE, SECOND};

/// How planners judge an absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planner {
    /// An absence that is longer than this counts as for ever.
    Limit(Duration),
    /// They know.
    Oracle,
}

/// How peers come and go: the medians of the time for which a peer is there and for which it is away, both Pareto with
/// shape 2, and the part of the departures that are for ever. Another peer joins for each of these.
#[derive(Debug, Clone, Copy)]
struct Sessions {
    there: Duration,
    away: Duration,
    for_ever: f64,
}

/// The cost of a run, and the number of files that it lost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    copies: u64,
    departures: u64,
    for_ever: u64,
    lost: u64,
}

/// The next event of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Departs,
    Returns,
}

/// The sessions of one run, drawn from the seed alone: the same for every planner.
struct Run {
    rng: ChaCha8Rng,
    sessions: Sessions,
    next: BinaryHeap<Reverse<(Moment, Slot, Next)>>,
    /// The peers that are away and come back.
    returning: BTreeSet<Slot>,
}

impl Run {
    fn put(&mut self, now: Moment, slot: Slot, next: Next) {
        let median = if next == Next::Departs { self.sessions.there } else { self.sessions.away };
        let chance: f64 = 1.0 - self.rng.random::<f64>();
        let after = median.div_f64(2f64.sqrt() * chance.sqrt());
        self.next.push(Reverse((now + after, slot, next)));
    }
}

fn play(seed: u64, sessions: Sessions, planner: Planner) -> Cost {
    let settings = RingSettings { replicas: 3, successors: 8, ..RingSettings::default() };
    let mut world = World::converged(seed, settings, PEERS, INTERVAL, 4_096);
    world.oracle.safety = false;
    let away_wait = match planner {
        Planner::Limit(limit) => limit,
        Planner::Oracle => Duration::ZERO,
    };
    world.enable_files_with(FileSettings { away_wait, ..FileSettings::default() });
    world.place_files(FILES, FILE_BYTES);
    let rng = ChaCha8Rng::seed_from_u64(seed);
    let mut run = Run { rng, sessions, next: BinaryHeap::new(), returning: BTreeSet::new() };
    let (begin, mut cost) = (world.now(), Cost::default());
    for slot in world.living().values().copied().collect::<Vec<_>>() {
        run.put(begin, slot, Next::Departs);
    }
    while let Some(Reverse((at, slot, next))) = run.next.pop().filter(|Reverse((at, ..))| *at < begin + LASTS)
    {
        world.run_to(at);
        match next {
            Next::Departs if run.rng.random_bool(sessions.for_ever) => {
                (cost.departures, cost.for_ever) = (cost.departures + 1, cost.for_ever + 1);
                world.crash_slot(slot);
                world.with_disk(slot, |disk| disk.lose());
                let joins = world.join_one().expect("a ring of so many peers has a member");
                run.put(at, joins, Next::Departs);
            }
            Next::Departs => {
                cost.departures += 1;
                run.returning.insert(slot);
                // The planners know before they see it.
                if planner == Planner::Oracle {
                    world.let_planners_know(&run.returning);
                }
                world.crash_slot(slot);
                run.put(at, slot, Next::Returns);
            }
            Next::Returns => {
                run.returning.remove(&slot);
                world.restart_slot(slot);
                run.put(at, slot, Next::Departs);
            }
        }
    }
    world.run_to(begin + LASTS);
    let moved = world.moved();
    cost.copies = (moved.repaired + moved.taken_over) / FILE_BYTES;
    run.returning.iter().for_each(|slot| world.restart_slot(*slot));
    world.run_for(MINUTE * 2);
    cost.lost = world.files_lost();
    cost
}

/// Goal: the away limit of a running peer costs at most 1.2 times the copies of an oracle, where peers are there for hours
/// and away for minutes.
/// It prints a table, and takes minutes for each row and seed:
/// `QUOIT_CARBONITE=1 cargo test --profile ci --test scenarios files::carbonite -- --include-ignored --nocapture`
#[test]
#[ignore = "needs QUOIT_CARBONITE"]
fn copies_beyond_the_oracles() {
    for (there, away) in TABLE {
        let sessions = Sessions { there: MINUTE * there, away: MINUTE * away, for_ever: 0.05 };
        let mut sum = [Cost::default(); 3];
        for seed in seeds(0..2) {
            let planners = [Planner::Oracle, Planner::Limit(AWAY_LIMIT), Planner::Limit(Duration::ZERO)];
            for (planner, sum) in planners.into_iter().zip(&mut sum) {
                let cost = play(seed, sessions, planner);
                sum.copies += cost.copies;
                sum.departures += cost.departures;
                sum.for_ever += cost.for_ever;
                sum.lost += cost.lost;
            }
        }
        let [oracle, limit, none] = sum;
        let beyond = |cost: Cost| cost.copies as f64 / oracle.copies as f64;
        println!(
            "there {there} min, away {away} min: {} departures, {} for ever; copies {} {} {}: {:.2} and {:.2} times; \
             lost {} {} {}",
            oracle.departures,
            oracle.for_ever,
            oracle.copies,
            limit.copies,
            none.copies,
            beyond(limit),
            beyond(none),
            oracle.lost,
            limit.lost,
            none.lost
        );
    }
}

/// The medians in minutes for which a peer is there, and away.
const TABLE: [(u32, u32); 4] = [(120, 2), (120, 5), (120, 10), (480, 5)];
/// How long a running peer waits for one that is away.
const AWAY_LIMIT: Duration = Duration::from_secs(900);
const PEERS: usize = 20;
const FILES: u64 = 200;
const FILE_BYTES: u64 = 1 << 20;
const INTERVAL: Duration = SECOND.saturating_mul(5);
const LASTS: Duration = Duration::from_secs(24 * 3_600);
