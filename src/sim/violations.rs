//! The violations that the oracle found, and the schedule of its checks.

use crate::time::Moment;

/// A violation of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The moment at which it happened.
    pub at: Moment,
    /// The violation, in words.
    pub what: String,
}

/// The schedule of the checks, and the violations found.
#[derive(Debug)]
pub struct Oracle {
    /// Whether the whole ring is checked; false while a scenario itself breaks the invariant.
    pub safety: bool,
    /// The number of members up to which the whole ring is checked after every change.
    pub every_change_up_to: usize,
    violations: Vec<Violation>,
    count: u64,
    /// Whether anything changed since the whole ring was checked.
    pub(super) changed: bool,
    pub(super) next_look: Moment,
}

impl Default for Oracle {
    fn default() -> Oracle {
        Oracle {
            safety: true,
            every_change_up_to: 16,
            violations: Vec::new(),
            count: 0,
            changed: false,
            next_look: Moment::default(),
        }
    }
}

impl Oracle {
    /// The violations found; if there are many, the first ones.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The number of violations found.
    pub fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn found(&mut self, at: Moment, what: String) {
        self.count += 1;
        if self.violations.len() < KEPT_MAX {
            self.violations.push(Violation { at, what });
        }
    }
}

/// The number of violations that are kept in words.
const KEPT_MAX: usize = 64;
