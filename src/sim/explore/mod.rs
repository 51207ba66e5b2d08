//! All orders of events in rings of a few peers, up to a depth.
//!
//! What [`super::World`] draws by chance is looked through here: from a settled ring on, every order in which peers
//! join, stabilise, rectify, leave, fail and find failures, breadth first, so that the first violation found is
//! the shortest. The peers are the [`crate::chord::Node`]s of production. In every state that is reached the
//! invariant of [`super::oracle`] must hold; and from every ring that is reached, nothing happening any more from
//! outside, there must be one ordered ring within a bounded number of turns.
//!
//! As in P. Zave's model (*Reasoning About Identifier Spaces: How to Make Chord Correct*, IEEE TSE 2017), to ask, to be
//! answered and to apply the answer is one step, or, with [`Setup::answers_apart`], three. What does not decide the
//! order of a ring is no step but follows at once: pings, probes, news, contacts. Each peer has a clock of its
//! own, which stands still but while that peer has a step: clocks drift as they like.
//!
//! Two states are the same where no peer's [`crate::chord::Node::digest`] tells them apart, nor any letter. What that
//! leaves out (clocks, chance, counters, who is watched, news still to be told) is as it was when a state was first
//! reached: of orders that differ in nothing else, one is looked at. Of two letters alike between two peers only
//! the later is kept, and no living peer is waited for in vain. So a violation that is found is one,
//! but a search is complete only up to that.

mod follow;
mod letters;
mod setup;
mod state;
mod tiny;

use std::collections::HashSet;
use std::fmt;

pub use letters::Kind;
pub use setup::{Setup, SetupError};
pub use tiny::Step;
use tiny::Tiny;

/// What was looked through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many states were first reached by so many steps: at 0 one.
    pub states: Vec<usize>,
    /// How many steps were taken, to states known or not.
    pub steps: u64,
    /// How many states are outside of the theorem: some member takes the ring for small.
    pub small: usize,
    /// From how many rings, all different, one ordered ring had to come.
    pub rings: usize,
    /// After how many turns of each peer it was there, at most.
    pub turns_max: usize,
}

/// A violation, and how it comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What does not hold.
    pub what: String,
    /// The fewest steps that lead there; none where the ring did not even settle.
    pub steps: Vec<Step>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(Step::to_string).collect();
        write!(f, "after {} steps {}: {}", steps.len(), self.what, steps.join("; "))
    }
}

impl Report {
    /// By how many steps all was looked through.
    pub fn depth(&self) -> usize {
        self.states.len().saturating_sub(1)
    }

    /// How many states there are.
    pub fn total(&self) -> usize {
        self.states.iter().sum()
    }

    /// As if both had been one search.
    pub fn add(&mut self, other: &Report) {
        self.states.resize(self.states.len().max(other.states.len()), 0);
        self.states.iter_mut().zip(&other.states).for_each(|(one, more)| *one += more);
        (self.steps, self.small) = (self.steps + other.steps, self.small + other.small);
        self.rings += other.rings;
        self.turns_max = self.turns_max.max(other.turns_max);
    }
}

/// Looks through all orders of so many steps; of fewer, where there would be more states than memory is meant for.
///
/// # Errors
/// The first of the shortest that lead to a violation, by themselves or with all quiet afterwards.
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

/// Takes the steps that [`Found`] shows. Returns what all peers believe after each, and what does not hold.
///
/// # Errors
/// A step that cannot be taken there, and those that could.
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

/// How each state was first reached.
#[derive(Default)]
struct Tree {
    /// Before the state to begin from.
    before: Vec<Step>,
    steps: Vec<(u32, Step)>,
}

impl Tree {
    fn grow(&mut self, from: u32, step: Step) -> u32 {
        self.steps.push((from, step));
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// What was found by some steps more.
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

/// The state to begin from.
const ROOT: u32 = 0;
/// States from which a search goes on, at most: each takes up to 16 KiB.
const LEVEL_MAX: usize = 250_000;
