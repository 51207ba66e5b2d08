//! Negative controls: the simulator's oracle detects each wrong rule of the ring.
//!
//! A schedule of joins, deaths and restarts is made against the right rules, at random from a seed, and never leaves
//! what the theorem allows: no peer dies whose death would leave a member without a living entry in its list, or the
//! ring with fewer than r + 1 principals. With the right rules no schedule may end in a violation. The same schedules
//! with a rule wrong must, or the oracle proves nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use quoit::chord::{PhaseKind, Rules, Start, View};
use quoit::config::RingSettings;
use quoit::id::Position;
use quoit::sim::{Slot, World, check, contact, oracle, seeds};
use rand::seq::IteratorRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// One event that the adversary causes.
#[derive(Debug, Clone, Copy)]
enum Step {
    Join { number: u8, through: u8 },
    Crash(u8),
    Restart(u8),
}

/// An adversary that plays against a ring from outside, by chance, whichever rules the ring follows.
struct Adversary {
    rng: ChaCha8Rng,
    world: World,
    used: BTreeSet<u8>,
    joiners: Vec<u8>,
}

/// Plays one game. Its error is the first thing that went wrong.
fn play(seed: u64, r: u8, rules: Rules) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let settings = RingSettings { replicas: 2, successors: r, ..RingSettings::default() };
    let mut world = World::new(seed, settings);
    let (interval, latency) = [(1_000, 3), (1_000, 60), (500, 50)][rng.random_range(0..3)];
    world.interval = Duration::from_millis(interval);
    world.network.latency = Duration::from_millis(latency);
    let count = rng.random_range(usize::from(r) + 4..=9);
    let founders: Vec<u8> = (0..=255).sample(&mut rng, count);
    world.grow(&founders);
    world.run_for(SECOND * 3);
    world.set_rules(rules);
    let used = founders.into_iter().collect();
    let mut adversary = Adversary { rng, world, used, joiners: Vec::new() };
    for _ in 0..ROUNDS {
        adversary.round();
        safe(&adversary.world)?;
    }
    end(&mut adversary.world)
}

impl Adversary {
    fn round(&mut self) {
        match self.rng.random_range(0..10) {
            0..3 => self.joins_into_one_gap(),
            3..7 => {
                self.joins_into_one_gap();
                let soon = self.rng.random_range(0..400);
                self.world.run_for(Duration::from_millis(soon));
                self.purge();
            }
            7..8 => self.beside_a_joiner(),
            8..9 => self.ambush(),
            _ => self.restart(),
        }
        let wait = match self.rng.random_range(0..4) {
            0 => 0..20,
            1 => 20..200,
            2 => 200..1_000,
            _ => 1_000..3_000,
        };
        self.world.run_for(Duration::from_millis(self.rng.random_range(wait)));
    }

    /// Up to three peers join between two adjacent members.
    fn joins_into_one_gap(&mut self) {
        let living = self.living();
        let Some(at) = (0..living.len()).choose(&mut self.rng) else { return };
        for _ in 0..self.rng.random_range(1..=3) {
            let through = living.iter().copied().choose(&mut self.rng).unwrap_or(living[at]);
            self.join(living[at], living[(at + 1) % living.len()], through);
        }
    }

    fn small_round(&mut self) {
        let living = self.living();
        match self.rng.random_range(0..4) {
            0 if (1..=usize::from(self.world.settings.successors)).contains(&living.len()) => {
                let at = self.rng.random_range(0..living.len());
                self.join(living[at], living[(at + 1) % living.len()], living[at]);
            }
            0 | 1 => self.restart(),
            _ => {
                let victims = self.rng.random_range(0..living.len().max(1));
                let victims: Vec<u8> = living.into_iter().sample(&mut self.rng, victims);
                self.world.crash(&victims);
            }
        }
        let wait = self.rng.random_range(0..6_000);
        self.world.run_for(Duration::from_millis(wait));
    }

    fn join(&mut self, after: u8, before: u8, through: u8) {
        let gap = before.wrapping_sub(after).wrapping_sub(1);
        let free = (1..=gap).map(|step| after.wrapping_add(step));
        let number = free.filter(|number| !self.used.contains(number)).choose(&mut self.rng);
        if let Some(number) = number.filter(|_| self.world.nodes().count() < PEERS_MAX) {
            self.used.insert(number);
            self.joiners.push(number);
            self.step(Step::Join { number, through });
        }
    }

    /// Some join, each through the one before its place. Meanwhile each peer that may die does so just when a member's
    /// list is undefined; the old list has only dead entries then.
    fn ambush(&mut self) {
        let living = self.living();
        for at in 0..living.len() {
            self.join(living[at], living[(at + 1) % living.len()], living[at]);
        }
        self.purge();
        for _ in 0..150 {
            self.world.run_for(Duration::from_millis(5));
            let living = self.living();
            if let Some(victim) = living.into_iter().find(|victim| self.exposes(*victim)) {
                self.crash(victim);
            }
        }
    }

    /// Whether some list would have no living entry without this peer.
    fn exposes(&self, victim: u8) -> bool {
        let victim = Position::of_number(victim);
        let lives = |position: &Position| *position != victim && self.world.living().contains_key(position);
        let mut members = self.world.nodes().filter(|node| lives(&node.me().position));
        members.any(|node| !node.successors().iter().any(|entry| lives(&entry.position)))
    }

    /// The last joiner, or a neighbour of it, dies as soon as the joiner is in.
    fn beside_a_joiner(&mut self) {
        let Some(joiner) = self.joiners.last().copied() else { return };
        for _ in 0..100 {
            if self.living().contains(&joiner) {
                break;
            }
            self.world.run_for(Duration::from_millis(10));
        }
        let living = self.living();
        let Some(at) = living.iter().position(|number| *number == joiner) else { return };
        let after = |step: usize| living[(at + step) % living.len()];
        let mut victims = vec![joiner, after(1), after(2), after(living.len() - 1)];
        for _ in 0..self.rng.random_range(1..=3) {
            let victim = (0..victims.len()).choose(&mut self.rng).map(|at| victims.swap_remove(at));
            if let Some(victim) = victim {
                self.crash(victim);
            }
        }
    }

    /// All peers that may die do so at one moment.
    fn purge(&mut self) {
        let mut living = self.living();
        while let Some(at) = (0..living.len()).choose(&mut self.rng) {
            self.crash(living.swap_remove(at));
        }
    }

    fn restart(&mut self) {
        let up: BTreeSet<u8> = self.world.nodes().filter_map(|node| node.me().position.number()).collect();
        if let Some(number) =
            self.used.iter().copied().filter(|number| !up.contains(number)).choose(&mut self.rng)
            && self.world.nodes().count() < PEERS_MAX
        {
            self.step(Step::Restart(number));
        }
    }

    fn crash(&mut self, number: u8) {
        let enough = self.living().len() > usize::from(self.world.settings.successors) + 3;
        if enough && oracle::could_die(&self.world, Slot::from(number)) {
            self.step(Step::Crash(number));
        }
    }

    fn step(&mut self, step: Step) {
        apply(&mut self.world, step);
    }

    fn living(&self) -> Vec<u8> {
        self.world.living().keys().filter_map(Position::number).collect()
    }
}

/// Takes a step, where the theorem allows it in this world. A peer that was no member when it crashed has no ring to
/// come back to.
fn apply(world: &mut World, step: Step) {
    match step {
        Step::Join { number, through } => world.start(number, Start::Join { known: contact(through) }),
        Step::Crash(number) if allowed(world, step) => world.crash(&[number]),
        Step::Restart(number) => {
            if world.could_return(number) {
                world.restart(number);
            }
        }
        Step::Crash(_) => {}
    }
}

fn allowed(world: &World, step: Step) -> bool {
    match step {
        Step::Crash(number) => oracle::could_die(world, Slot::from(number)),
        _ => true,
    }
}

fn safe(world: &World) -> Result<(), String> {
    match world.oracle.violations().first() {
        None => Ok(()),
        Some(found) => Err(format!("at {:?}: {}", found.at, found.what)),
    }
}

/// No more events: demands one ordered ring, and no violation on the way there.
fn end(world: &mut World) -> Result<(), String> {
    // A peer that comes back and remembers no living peer waits for ever, as it should.
    let living: Vec<String> = world.living().keys().map(Position::label).collect();
    let waits = |view: &View| !view.waiting_for.iter().any(|label| living.contains(label));
    let entering: Vec<View> =
        world.views().into_iter().filter(|view| view.phase == PhaseKind::Entering).collect();
    let stranded: Vec<u8> =
        entering.iter().filter(|view| waits(view)).filter_map(|v| v.me.position.number()).collect();
    world.crash(&stranded);
    let ended = world.run_until(SECOND * 60, |world| match safe(world) {
        Ok(()) => check::one_ordered_ring(world),
        Err(_) => Ok(()),
    });
    safe(world)?;
    ended.map(drop).map_err(|why| format!("not one ring: {why}"))
}

/// One game in a ring of at most r + 1. Any peer may die as long as one is left; all but one may die at one moment.
fn play_small(seed: u64, r: u8, rules: Rules) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::new(seed, RingSettings { replicas: 2, successors: r, ..RingSettings::default() });
    world.network.latency = Duration::from_millis(60);
    let count = rng.random_range(2..=usize::from(r) + 1);
    let founders: Vec<u8> = (0..=255).sample(&mut rng, count);
    world.grow(&founders);
    world.run_for(SECOND * 3);
    world.set_rules(rules);
    // Such deaths break the invariant: the game demands only one ring in the end.
    world.oracle.safety = false;
    let used = founders.into_iter().collect();
    let mut adversary = Adversary { rng, world, used, joiners: Vec::new() };
    for _ in 0..ROUNDS {
        adversary.small_round();
    }
    end(&mut adversary.world)
}

/// The first violation in the runs of the fixed seeds, with r = 2 and with r = 3. The first catch ends them;
/// `QUOIT_COUNT=1` plays them all and prints how many are caught.
fn caught(name: &str, play: fn(u64, u8, Rules) -> Result<(), String>, rules: Rules) -> Option<String> {
    let runs: Vec<(u8, u64)> =
        [2, 3].into_iter().flat_map(|r| seeds(0..SEEDS).into_iter().map(move |seed| (r, seed))).collect();
    let played = |(r, seed): &(u8, u64)| {
        play(*seed, *r, rules).err().map(|what| format!("r {r}, seed {seed}, {what}"))
    };
    if std::env::var_os("QUOIT_COUNT").is_none() {
        let first = runs.iter().find_map(played);
        println!("{name}: the first that is caught: {first:?}");
        return first;
    }
    let seen: Vec<String> = runs.iter().filter_map(played).collect();
    println!("{name}: caught in {} of {} runs; the first: {:?}", seen.len(), runs.len(), seen.first());
    seen.into_iter().next()
}

/// Goal: with the right rules no schedule does harm, so each catch below is due to a wrong rule.
#[test]
fn right_rules_pass() {
    assert_eq!(caught("the rules", play, Rules::default()), None);
    assert_eq!(caught("the rules, few peers", play_small, Rules::default()), None);
}

// Goal of the others: the oracle sees the violation that each correction prevents. Method: the same schedules with the
// rules of 2001, and with one correction switched off at a time.

#[test]
fn the_original_rules_are_caught() {
    assert!(caught("the rules of 2001", play, Rules::original()).is_some());
}

#[test]
fn a_list_that_is_told_while_it_is_undefined_is_caught() {
    let rules = Rules { busy_while_asking: false, ..Rules::default() };
    assert!(caught("busy_while_asking", play, rules).is_some());
}

#[test]
fn a_join_that_is_not_checked_again_is_caught() {
    let rules = Rules { join_checked_again: false, ..Rules::default() };
    assert!(caught("join_checked_again", play, rules).is_some());
}

#[test]
fn a_join_in_two_steps_is_caught() {
    let rules = Rules { join_in_one_step: false, ..Rules::default() };
    assert!(caught("join_in_one_step", play, rules).is_some());
}

#[test]
fn a_list_in_two_steps_is_caught() {
    let rules = Rules { list_in_one_step: false, ..Rules::default() };
    assert!(caught("list_in_one_step", play, rules).is_some());
}

#[test]
fn a_candidate_that_is_not_asked_first_is_caught() {
    let rules = Rules { candidate_asked_first: false, ..Rules::default() };
    assert!(caught("candidate_asked_first", play, rules).is_some());
}

#[test]
fn a_predecessor_that_is_forgotten_is_caught() {
    let rules = Rules { predecessor_kept: false, ..Rules::default() };
    assert!(caught("predecessor_kept", play, rules).is_some());
}

#[test]
fn a_peer_that_answers_before_it_is_a_member_is_caught() {
    let rules = Rules { only_members_answer: false, ..Rules::default() };
    assert!(caught("only_members_answer", play, rules).is_some());
}

#[test]
fn the_rules_of_a_large_ring_among_few_are_caught() {
    let rules = Rules { small_ring_map: false, ..Rules::default() };
    assert!(caught("small_ring_map", play_small, rules).is_some());
}

const SECOND: Duration = Duration::from_secs(1);
const SEEDS: u64 = 200;
const ROUNDS: usize = 14;
const PEERS_MAX: usize = 14;
