//! A violation that a search finds.

use std::fmt;

use super::step::Step;

/// A violation, and the steps that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The violation, in words.
    pub what: String,
    /// The fewest steps that lead there; empty if the ring did not even settle.
    pub steps: Vec<Step>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(Step::to_string).collect();
        write!(f, "after {} steps {}: {}", steps.len(), self.what, steps.join("; "))
    }
}
