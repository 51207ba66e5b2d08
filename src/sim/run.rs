//! An experiment under way: its schedule, and its counts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::chance::{rest_of_session, session, until_next};
use super::check;
use super::experiment::{Experiment, ExperimentError, Health, LeaveKind, Report, Spread};
use super::network::{Slot, mixed};
use super::searches::Outcome;
use super::world::World;
use crate::id::Position;
use crate::time::Moment;

impl Experiment {
    /// Runs the experiment. `progress` is told now and then the part that is done, 0.0 to 1.0.
    ///
    /// # Errors
    /// The errors of [`Experiment::validate`].
    pub fn run(&self, progress: &mut dyn FnMut(f64)) -> Result<Report, ExperimentError> {
        self.validate()?;
        Ok(run(self, progress))
    }
}

/// Runs a valid experiment.
fn run(experiment: &Experiment, progress: &mut dyn FnMut(f64)) -> Report {
    let mut run = Run::begin(experiment);
    let started = Instant::now();
    run.fail_at_once();
    run.go_on(run.begin + experiment.duration, progress);
    run.settle();
    progress(1.0);
    run.report(started.elapsed())
}

/// The kind of the next event of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Lookup,
    Join,
    Leave,
    SessionEnds(Slot),
    /// Check whether the ring is in order again.
    Look,
    /// Record the state of the ring.
    Sample,
    /// Begin to count traffic.
    Measure,
}

struct Run<'a> {
    experiment: &'a Experiment,
    world: World,
    rng: ChaCha8Rng,
    begin: Moment,
    /// The moment of the last progress report.
    told: Moment,
    next: BinaryHeap<Reverse<(Moment, u64, What)>>,
    sequence: u64,
    lookups_left: u64,
    hops: Vec<u64>,
    lookups: u64,
    timeouts: u64,
    failed: u64,
    wrong: u64,
    /// The bytes that each peer had sent when the count began, and since when the peer is there.
    sent_before: BTreeMap<Slot, (Moment, u64)>,
    measured_from: Option<Moment>,
    disturbed: Moment,
    converged: Option<Moment>,
    /// The peers that failed or left before their sessions ended.
    gone: BTreeSet<Slot>,
    health: Vec<Health>,
}

impl<'a> Run<'a> {
    fn begin(experiment: &'a Experiment) -> Run<'a> {
        let Experiment { seed, settings, peers, interval, .. } = *experiment;
        let mut world = World::converged(seed, settings, peers, interval, experiment.contacts_max());
        world.keep_no_events();
        world.network.latency = experiment.latency;
        world.network.loss = experiment.loss;
        if experiment.files > 0 {
            world.enable_files();
            world.place_files(experiment.files, FILE_BYTES);
        }
        let begin = world.now();
        let mut run = Run {
            experiment,
            world,
            rng: ChaCha8Rng::seed_from_u64(mixed(seed ^ SUB_SEED)),
            begin,
            told: begin,
            next: BinaryHeap::new(),
            sequence: 0,
            lookups_left: experiment.lookups,
            hops: Vec::new(),
            lookups: 0,
            timeouts: 0,
            failed: 0,
            wrong: 0,
            sent_before: BTreeMap::new(),
            measured_from: None,
            disturbed: begin,
            converged: Some(begin),
            gone: BTreeSet::new(),
            health: Vec::new(),
        };
        run.schedule_all();
        run
    }

    fn schedule_all(&mut self) {
        let Experiment { duration, join_rate, leave_rate, session_median, lookups, .. } = *self.experiment;
        if lookups > 0 {
            self.put(duration.div_f64(lookups as f64 + 1.0), What::Lookup);
        }
        self.put_next(join_rate, What::Join);
        self.put_next(leave_rate, What::Leave);
        if let Some(median) = session_median {
            let slots: Vec<Slot> = self.world.living().values().copied().collect();
            for slot in slots {
                let rest = rest_of_session(&mut self.rng, median);
                self.put(rest, What::SessionEnds(slot));
            }
        }
        self.put(Duration::ZERO, What::Sample);
        // At the beginning, connections and partners that an old ring would already have are made anew.
        self.put((duration / 5).min(WARM_UP_MAX), What::Measure);
    }

    /// Kills the part of the peers that dies at the beginning, chosen at random.
    fn fail_at_once(&mut self) {
        let mut slots: Vec<Slot> = self.world.living().values().copied().collect();
        slots.shuffle(&mut self.rng);
        let dead = (slots.len() as f64 * self.experiment.fail_fraction).round() as usize;
        if dead == 0 {
            return;
        }
        // No ring need survive that many deaths.
        self.world.oracle.safety = false;
        for slot in &slots[..dead.min(slots.len())] {
            self.world.crash_slot(*slot);
            self.gone.insert(*slot);
        }
        self.disturb();
    }

    /// Runs the scheduled events until a moment.
    fn go_on(&mut self, end: Moment, progress: &mut dyn FnMut(f64)) {
        while self.next.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            let Some(Reverse((at, _, what))) = self.next.pop() else { break };
            self.run_to(at, progress);
            self.happen(what);
        }
        self.run_to(end, progress);
    }

    /// Lets time pass until a moment, and reports progress now and then.
    fn run_to(&mut self, at: Moment, progress: &mut dyn FnMut(f64)) {
        let pause = (self.experiment.duration / TOLD).min(TOLD_EVERY_MAX);
        while self.told + pause <= at {
            self.told = self.told + pause;
            self.world.run_to(self.told);
            // Only the part of the past that the report needs is kept.
            self.count_outcomes();
            self.world.forget_the_past();
            let so_far = (self.told - self.begin).as_secs_f64() / self.experiment.duration.as_secs_f64();
            progress(so_far * SHARE_OF_RUN);
        }
        self.world.run_to(at);
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Lookup => self.look_up(),
            What::Join => {
                self.join();
                self.put_next(self.experiment.join_rate, What::Join);
            }
            What::Leave => {
                if self.world.living().len() > 1
                    && let Some(slot) = self.world.random_member()
                {
                    match self.experiment.leave_kind {
                        LeaveKind::Notice => self.world.leave_slot(slot),
                        LeaveKind::Death => self.world.crash_slot(slot),
                    }
                    self.gone.insert(slot);
                    self.disturb();
                }
                self.put_next(self.experiment.leave_rate, What::Leave);
            }
            What::SessionEnds(slot) => {
                if !self.gone.remove(&slot) {
                    self.world.crash_slot(slot);
                    self.disturb();
                    self.join();
                }
            }
            What::Look => {
                self.look_for_order();
                if self.converged.is_none() {
                    self.put(LOOK_FOR_ORDER_EVERY, What::Look);
                }
            }
            What::Sample => {
                self.sample();
                let pause = (self.experiment.duration / SAMPLES).max(Duration::from_millis(100));
                self.put(pause, What::Sample);
            }
            What::Measure => self.begin_measuring(),
        }
        self.count_outcomes();
    }

    fn join(&mut self) {
        let Some(slot) = self.world.join_one() else { return };
        self.disturb();
        if let Some(median) = self.experiment.session_median {
            let session = session(&mut self.rng, median);
            self.put(session, What::SessionEnds(slot));
        }
    }

    fn look_up(&mut self) {
        self.lookups_left -= 1;
        let key = Position(self.rng.random());
        if let Some(from) = self.random_slot() {
            self.world.search(from, key);
        }
        if self.lookups_left > 0 {
            self.put(self.experiment.duration.div_f64(self.experiment.lookups as f64 + 1.0), What::Lookup);
        }
    }

    /// A living member, each about equally likely.
    fn random_slot(&mut self) -> Option<Slot> {
        let count = self.world.living().len();
        let point = Position(self.rng.random());
        let steps = self.rng.random_range(0..STEPS_MAX.min(count.max(1)));
        let living = self.world.living();
        let around = living.range(point..).chain(living.range(..point));
        around.map(|(_, slot)| *slot).nth(steps)
    }

    fn count_outcomes(&mut self) {
        for Outcome { found, right, hops, timeouts, .. } in self.world.take_outcomes() {
            self.lookups += 1;
            self.timeouts += u64::from(timeouts);
            match found {
                None => self.failed += 1,
                Some(_) => {
                    self.wrong += u64::from(!right);
                    let hops = hops as usize;
                    if self.hops.len() <= hops {
                        self.hops.resize(hops + 1, 0);
                    }
                    self.hops[hops] += 1;
                }
            }
        }
    }

    fn disturb(&mut self) {
        self.disturbed = self.world.now();
        if self.converged.take().is_some() {
            self.put(LOOK_FOR_ORDER_EVERY, What::Look);
        }
    }

    fn sample(&mut self) {
        let at_s = (self.world.now() - self.begin).as_secs_f64();
        let alive = self.world.living().len();
        self.health.push(Health { at_s, alive, in_order: check::in_order(&self.world) });
    }

    fn look_for_order(&mut self) {
        if self.converged.is_none() && check::one_ordered_ring(&self.world).is_ok() {
            self.converged = Some(self.world.now());
            self.world.oracle.safety = true;
        }
    }

    fn begin_measuring(&mut self) {
        let now = self.world.now();
        self.measured_from = Some(now);
        let slots: Vec<Slot> = self.world.living().values().copied().collect();
        for slot in slots {
            let sent = self.world.sent(slot).maintenance;
            self.sent_before.insert(slot, (now, sent));
        }
    }

    /// Ends the run: no more events happen, lookups end, and the ring comes to order.
    fn settle(&mut self) {
        let end = self.world.now() + SETTLE_MAX;
        self.count_outcomes();
        while self.world.now() < end && (self.converged.is_none() || self.world.searches_under_way() > 0) {
            self.world.run_for(LOOK_FOR_ORDER_EVERY);
            self.count_outcomes();
            self.look_for_order();
        }
    }

    fn report(mut self, took: Duration) -> Report {
        let mut traffic = self.traffic();
        traffic.sort_by(f64::total_cmp);
        let nodes = self.world.nodes().count().max(1);
        let bytes: usize = self.world.nodes().map(crate::chord::Node::bytes).sum();
        Report {
            peers: self.experiment.peers,
            seed: self.experiment.seed,
            virtual_s: self.experiment.duration.as_secs_f64(),
            lookups: self.lookups,
            hops: spread_of_counts(&self.hops),
            hops_histogram: self.hops,
            timeouts_mean: self.timeouts as f64 / self.lookups.max(1) as f64,
            lookups_failed: self.failed,
            lookups_wrong_owner: self.wrong,
            maintenance_bytes_per_peer_s: spread_of(&traffic),
            convergence_s: self.converged.map(|at| (at - self.disturbed).as_secs_f64()),
            files_acknowledged: self.world.files_acknowledged(),
            files_lost: self.world.files_lost(),
            repair_bytes: self.world.repair_bytes(),
            invariant_violations: self.world.oracle.count(),
            events_per_s: self.world.steps() as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE),
            bytes_per_peer: bytes as f64 / nodes as f64,
            health: self.health,
        }
    }

    /// The bytes per second of each peer that was there for long enough.
    fn traffic(&mut self) -> Vec<f64> {
        let now = self.world.now();
        let Some(from) = self.measured_from else { return Vec::new() };
        let mut rates = Vec::new();
        for slot in self.world.slots() {
            let before = self.sent_before.get(&slot).copied();
            let Some((since, sent)) = before.or_else(|| self.world.started_at(slot).map(|at| (at, 0))) else {
                continue;
            };
            if since < from {
                continue; // it was dead already
            }
            let until = self.world.died_at(slot).unwrap_or(now);
            let there = until.since(since).as_secs_f64();
            if there >= THERE_MIN_S.min((now - from).as_secs_f64()) {
                rates.push((self.world.sent(slot).maintenance - sent) as f64 / there);
            }
        }
        rates
    }

    fn put_next(&mut self, rate: f64, what: What) {
        if let Some(after) = until_next(&mut self.rng, rate) {
            self.put(after, what);
        }
    }

    fn put(&mut self, after: Duration, what: What) {
        self.next.push(Reverse((self.world.now() + after, self.sequence, what)));
        self.sequence += 1;
    }
}

fn spread_of_counts(counts: &[u64]) -> Spread {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return Spread::default();
    }
    let sum: u64 = counts.iter().enumerate().map(|(value, count)| value as u64 * count).sum();
    let at = |share: f64| {
        let rank = (share * all as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let reached = counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        reached.unwrap_or(0) as f64
    };
    Spread { mean: sum as f64 / all as f64, p1: at(0.01), p50: at(0.5), p99: at(0.99) }
}

fn spread_of(sorted: &[f64]) -> Spread {
    let Some(last) = sorted.len().checked_sub(1) else { return Spread::default() };
    let at = |share: f64| sorted[((share * sorted.len() as f64).ceil() as usize).clamp(1, last + 1) - 1];
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
    Spread { mean, p1: at(0.01), p50: at(0.5), p99: at(0.99) }
}

/// The constant that separates an experiment's draws from those of its world.
const SUB_SEED: u64 = 0x0e1f_9c5a;
/// The length of a file, in bytes.
const FILE_BYTES: u64 = 1 << 20;
/// The number of samples of the ring's health.
const SAMPLES: u32 = 100;
/// The number of progress reports of a run, at which the past is forgotten too, and the longest time between two of
/// them.
const TOLD: u32 = 1_000;
const TOLD_EVERY_MAX: Duration = Duration::from_secs(60);
/// The longest time before traffic counts; in a short run it is a fifth of the duration.
const WARM_UP_MAX: Duration = Duration::from_secs(300);
/// The time that a peer must be there for its traffic to count, in seconds.
const THERE_MIN_S: f64 = 60.0;
/// The longest time that the ring may take to come to order at the end.
const SETTLE_MAX: Duration = Duration::from_secs(300);
/// How often a changed ring is checked until it is in order.
const LOOK_FOR_ORDER_EVERY: Duration = Duration::from_millis(250);
/// The share of the run itself in the whole work, for the progress.
const SHARE_OF_RUN: f64 = 0.95;
/// The number of members behind a random point among which a searcher may be chosen.
const STEPS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RingSettings;

    #[test]
    fn percentiles_are_those_of_the_counts() {
        let spread = spread_of_counts(&[0, 98, 1, 1]);
        assert_eq!((spread.p1, spread.p50, spread.p99), (1.0, 1.0, 2.0));
        assert!((spread.mean - 1.03).abs() < 1e-9);
        let spread = spread_of(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!((spread.mean, spread.p1, spread.p50, spread.p99), (2.5, 1.0, 2.0, 4.0));
        assert_eq!(spread_of(&[]), Spread::default());
    }

    #[test]
    fn the_same_seed_gives_the_same_report() {
        let experiment = Experiment {
            peers: 60,
            lookups: 200,
            session_median: Some(Duration::from_secs(120)),
            duration: Duration::from_secs(60),
            ..Experiment::default()
        };
        let report = |seed| {
            let report = Experiment { seed, ..experiment.clone() }.run(&mut |_| {}).unwrap();
            Report { events_per_s: 0.0, ..report }
        };
        assert_eq!(report(7), report(7));
        assert_ne!(report(7), report(8));
    }

    /// Goal: the time until a ring is in order does not depend on the sampling rate. A peer that failed in the
    /// beginning is not replaced when its session would have ended.
    #[test]
    fn order_is_looked_for_and_the_dead_have_no_sessions() {
        let experiment = Experiment {
            peers: 60,
            lookups: 0,
            fail_fraction: 0.5,
            duration: Duration::from_secs(30),
            ..Experiment::default()
        };
        let long = Experiment { duration: Duration::from_secs(600), ..experiment.clone() };
        let order = |experiment: &Experiment| experiment.run(&mut |_| {}).unwrap().convergence_s;
        assert_eq!(order(&experiment), order(&long));
        let sessions = Experiment { session_median: Some(Duration::from_secs(20)), ..experiment };
        let report = sessions.run(&mut |_| {}).unwrap();
        assert!(report.health.iter().all(|health| health.alive <= 31), "{:?}", report.health);
    }

    /// Goal: with files, only files with all copies on dead peers are lost, and the rest is copied anew.
    #[test]
    fn files_are_placed_lost_and_repaired() {
        let experiment = Experiment {
            peers: 60,
            lookups: 0,
            files: 300,
            fail_fraction: 0.5,
            duration: Duration::from_secs(60),
            ..Experiment::default()
        };
        let report = experiment.run(&mut |_| {}).unwrap();
        assert_eq!(report.files_acknowledged, 300);
        assert!((1..=90).contains(&report.files_lost), "{}", report.files_lost);
        assert!(report.repair_bytes > 0);
        let peace = Experiment { fail_fraction: 0.0, ..experiment }.run(&mut |_| {}).unwrap();
        assert_eq!((peace.files_acknowledged, peace.files_lost, peace.repair_bytes), (300, 0, 0));
    }

    /// Goal: a ring finds every key right after a third of its peers died at once, and comes to order.
    #[test]
    fn a_third_dies_and_nothing_is_lost_on_the_way() {
        let experiment = Experiment {
            peers: 100,
            lookups: 300,
            fail_fraction: 0.3,
            duration: Duration::from_secs(30),
            ..Experiment::default()
        };
        let report = experiment.run(&mut |_| {}).unwrap();
        assert_eq!((report.lookups, report.lookups_failed, report.lookups_wrong_owner), (300, 0, 0));
        assert!(report.convergence_s.is_some_and(|s| s < 30.0), "{:?}", report.convergence_s);
        assert!(report.health.first().is_some_and(|h| h.alive == 70 && h.in_order < 1.0));
    }

    fn with_churn(leave_kind: LeaveKind) -> Experiment {
        Experiment {
            peers: 40,
            lookups: 300,
            join_rate: 1.0,
            leave_rate: 1.0,
            leave_kind,
            duration: Duration::from_secs(300),
            settings: RingSettings { successors: 6, ..RingSettings::default() },
            fingers_only: true,
            interval: Duration::from_secs(5),
            ..Experiment::default()
        }
    }

    /// Reported: a simulation grew by 1.6 MB for every second of virtual time.
    #[test]
    fn memory_of_a_world_does_not_grow_with_time() {
        for leave_kind in [LeaveKind::Notice, LeaveKind::Death] {
            let experiment = with_churn(leave_kind);
            let mut run = Run::begin(&experiment);
            for seconds in [100, 300] {
                run.go_on(run.begin + Duration::from_secs(seconds), &mut |_| ());
                run.world.forget_the_past();
                assert_eq!(run.world.kept(), [0, 0, 0], "{leave_kind}, {seconds} s");
            }
            let gone = run.world.slots().len() - run.world.living().len();
            assert!(gone > 200, "{gone}");
        }
    }

    /// Goal: no peer asks a peer that left with a notice; peers still ask one that died, and it does not answer.
    #[test]
    fn deaths_cost_timeouts() {
        let timeouts = |kind| with_churn(kind).run(&mut |_| ()).unwrap().timeouts_mean;
        let (notice, death) = (timeouts(LeaveKind::Notice), timeouts(LeaveKind::Death));
        assert!(death > 0.01 && death > 10.0 * notice, "{notice} with a notice, {death} without");
    }

    #[test]
    fn how_far_it_is_is_told_evenly() {
        let experiment = Experiment { lookups: 0, peers: 4, ..with_churn(LeaveKind::Notice) };
        let experiment = Experiment { join_rate: 0.0, leave_rate: 0.0, ..experiment };
        let mut shares = Vec::new();
        run(&experiment, &mut |share| shares.push(share));
        assert_eq!(shares.len(), TOLD as usize + 1);
        assert!(shares.is_sorted() && shares.last() == Some(&1.0), "{shares:?}");
    }
}
