//! The promises that users of a world were given. Whether it keeps them is judged at each moment at which a copy is freed, and
//! in the end (the conditions of [`super::check`]).

use std::collections::{BTreeMap, BTreeSet};

use super::super::network::Slot;
use crate::id::{ContentId, Position};
use crate::names::content_of;
use crate::wire::NameRecord;

/// The promises that users were given.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// The acknowledged records of each name, removals included.
    pub(super) records: BTreeMap<Position, Vec<NameRecord>>,
    /// The contents of acknowledged stores and restored versions.
    pub(super) contents: BTreeSet<ContentId>,
    /// The pins, by the place of their peer.
    pub(super) pins: BTreeSet<(Slot, ContentId)>,
}

impl Promises {
    pub(super) fn note_record(&mut self, record: &NameRecord) {
        self.contents.extend(content_of(record));
        self.records.entry(record.name.key()).or_default().push(record.clone());
    }

    pub(super) fn note_pin(&mut self, at: Slot, content: ContentId) {
        self.pins.insert((at, content));
    }

    pub(super) fn forget_pin(&mut self, at: Slot, content: &ContentId) {
        self.pins.remove(&(at, *content));
    }
}
