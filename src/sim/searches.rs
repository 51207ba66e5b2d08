//! The lookups of a world that are under way, and the outcomes of the others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::network::Slot;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::Entry;

/// The outcome of a lookup.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The peer that began the lookup.
    pub from: Slot,
    /// The key that was looked up.
    pub key: Position,
    /// The owner that was found, if one was.
    pub found: Option<Entry>,
    /// Whether the found peer is the first living member at or after the key, at the end.
    pub right: bool,
    /// The number of answered messages, including the last one, to the owner.
    pub hops: u32,
    /// The number of messages that were not answered in time.
    pub timeouts: u32,
    /// The time that the lookup took.
    pub took: Duration,
    /// The moment at which the lookup ended.
    pub ended: Moment,
}

#[derive(Debug, Default)]
pub(super) struct Searches {
    pub(super) under_way: BTreeMap<u64, Search>,
    pub(super) outcomes: Vec<Outcome>,
}

#[derive(Debug)]
pub(super) struct Search {
    pub from: Slot,
    pub key: Position,
    pub began: Moment,
}

/// The result of a lookup.
pub(super) struct Found {
    pub search: u64,
    pub owner: Option<Entry>,
    pub hops: u32,
    pub timeouts: u32,
}

impl Searches {
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn take_outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// Forgets the lookups of a process that has ended.
    pub(super) fn end(&mut self, slot: Slot) {
        self.under_way.retain(|_, search| search.from != slot);
    }
}
