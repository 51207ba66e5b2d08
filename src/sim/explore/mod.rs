//! All orders of events in rings of a few peers, up to a depth.
//!
//! [`super::World`] draws events by chance; this search goes through all of them. From a settled ring on, it tries
//! every order in which peers join, stabilise, rectify, leave, fail and find failures, breadth first, so that the first
//! violation found is the shortest. The peers are the [`crate::chord::Node`]s of production. In every reached state the
//! invariant of [`super::oracle`] must hold; and from every reached ring, without further events from outside, one
//! ordered ring must follow within a bounded number of turns.
//!
//! As in P. Zave's model (*Reasoning About Identifier Spaces: How to Make Chord Correct*, IEEE TSE 2017), a request,
//! its answer and the application of the answer are one step, or, with [`Setup::answers_apart`], three. Events that do
//! not decide the order of a ring are no steps but follow at once: pings, probes, gossip, contacts. Each peer has a
//! clock of its own, which runs only while that peer has a step: so clocks drift freely.
//!
//! Two states are the same if neither a peer's [`crate::chord::Node::digest`] nor a letter tells them apart. The parts
//! outside the digest (clocks, chance, counters, the watched peers, gossip still to be told) are as they were when a
//! state was first reached: of orders that differ in nothing else, one is examined. Of two equal letters between two
//! peers only the later is kept, and no wait for a living peer is in vain. So every violation that is found is real,
//! but a search is complete only up to these limits.

mod follow;
mod found;
mod letters;
mod setup;
mod state;
mod step;
mod tiny;

use std::collections::HashSet;

pub use found::Found;
pub use letters::Kind;
pub use setup::{Setup, SetupError};
pub use step::Step;
use tiny::Tiny;

/// The extent of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of states that were first reached by each number of steps: at 0 steps, one.
    pub states: Vec<usize>,
    /// The number of steps taken, to known or new states.
    pub steps: u64,
    /// The number of states outside of the theorem: some member takes the ring for small.
    pub small: usize,
    /// The number of different rings from which one ordered ring had to follow.
    pub rings: usize,
    /// The greatest number of turns of each peer until it followed.
    pub turns_max: usize,
}

impl Report {
    /// The number of steps up to which the search is complete.
    pub fn depth(&self) -> usize {
        self.states.len().saturating_sub(1)
    }

    /// The number of all states.
    pub fn total(&self) -> usize {
        self.states.iter().sum()
    }

    /// Adds another report, as if both had been one search.
    pub fn add(&mut self, other: &Report) {
        self.states.resize(self.states.len().max(other.states.len()), 0);
        self.states.iter_mut().zip(&other.states).for_each(|(one, more)| *one += more);
        (self.steps, self.small) = (self.steps + other.steps, self.small + other.small);
        self.rings += other.rings;
        self.turns_max = self.turns_max.max(other.turns_max);
    }
}

/// Searches all orders of `depth` steps; of fewer, if the states would exceed the intended memory.
///
/// # Errors
/// The first of the shortest sequences that lead to a violation, either at once or after all is quiet.
pub fn explore(setup: &Setup, depth: usize) -> Result<Report, Found> {
    let mut tree = Tree::default();
    let mut start = Tiny::settled(setup)?;
    tree.before = start
        .follow_steps(&setup.before, |_, _| {})
        .map_err(|what| tree.found(ROOT, Found { what, steps: Vec::new() }))?;
    let mut report = Report { states: vec![1], ..Report::default() };
    let mut seen = HashSet::from([start.digest()]);
    let mut rings = HashSet::new();
    let mut level = vec![(ROOT, start)];
    for at in 1..=depth {
        let mut next = Vec::new();
        for (from, world) in level {
            for step in world.steps() {
                report.steps += 1;
                let mut after = world.clone();
                after.take(step);
                if !seen.insert(after.digest()) {
                    continue;
                }
                let reached = tree.grow(from, step);
                after.safe().map_err(|what| tree.found(reached, Found { what, steps: Vec::new() }))?;
                report.small += usize::from(after.is_small());
                if rings.insert(after.ring()) {
                    let turns = after.clone().calm().map_err(|found| tree.found(reached, found))?;
                    report.turns_max = report.turns_max.max(turns);
                }
                if at < depth {
                    next.push((reached, after));
                }
            }
        }
        report.states.push(tree.steps.len() + 1 - report.total());
        level = next;
        if level.len() > LEVEL_MAX {
            break;
        }
    }
    report.rings = rings.len();
    Ok(report)
}

/// Takes the steps that [`Found`] shows. Returns the beliefs of all peers after each step, and any violation.
///
/// # Errors
/// A step that cannot be taken there, and those that can.
pub fn replay(setup: &Setup, steps: &str) -> Result<String, String> {
    let mut world = Tiny::settled(setup).map_err(|found| found.to_string())?;
    let mut told = format!("{world}\n");
    world.follow_steps(steps, |step, world| {
        let safe = world.safe().err().map(|what| format!("VIOLATION {what}\n")).unwrap_or_default();
        told += &format!("{step}\n{world}\n{safe}");
    })?;
    let end = match world.calm() {
        Ok(turns) => format!("one ordered ring after {turns} turns of each\n"),
        Err(found) => format!("with all quiet afterwards, {found}\n"),
    };
    Ok(told + &end)
}

/// The way in which each state was first reached.
#[derive(Default)]
struct Tree {
    /// The steps before the initial state.
    before: Vec<Step>,
    steps: Vec<(u32, Step)>,
}

impl Tree {
    fn grow(&mut self, from: u32, step: Step) -> u32 {
        self.steps.push((from, step));
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// Prepends the steps to this state to those of a violation.
    fn found(&self, state: u32, Found { what, steps }: Found) -> Found {
        let before = self.before.iter().copied();
        Found { what, steps: before.chain(self.way_to(state)).chain(steps).collect() }
    }

    fn way_to(&self, mut state: u32) -> Vec<Step> {
        let mut way = Vec::new();
        while state != ROOT {
            let (from, step) = self.steps[state as usize - 1];
            way.push(step);
            state = from;
        }
        way.reverse();
        way
    }
}

/// The index of the initial state.
const ROOT: u32 = 0;
/// The most states from which a search continues: each takes up to 16 KiB.
const LEVEL_MAX: usize = 250_000;
