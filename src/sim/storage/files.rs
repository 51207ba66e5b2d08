//! The state of the files' side of a world: the homes of its peers, and the acknowledged files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::super::disk::{Disk, Kind, Real};
use super::super::lock::Lock;
use super::super::network::Slot;
use super::keeper::Keeper;
use super::outcome::{Acknowledged, Ended, Moved};
use super::promises::Promises;
use super::settings::FileSettings;
use crate::chord::PhaseKind;
use crate::files::Laws;
use crate::id::{FileName, Position};
use crate::wire::{Entry, NameRecord};

/// The files' side of a world.
pub(in crate::sim) struct Files {
    pub(super) settings: FileSettings,
    pub(super) homes: BTreeMap<Slot, Home>,
    /// The operations under way, with their slots and names.
    pub(super) under_way: BTreeMap<u64, (Slot, FileName)>,
    pub(super) ended: Vec<Ended>,
    pub(super) acknowledged: Vec<Acknowledged>,
    /// The greatest acknowledged record of each name, tombstones included.
    pub(super) names: BTreeMap<Position, NameRecord>,
    /// The promises that users were given.
    pub(super) promises: Promises,
    pub(super) moved: Moved,
    /// The members that come back if they are away, in a world whose planners know.
    pub(super) returning: Option<BTreeSet<Position>>,
    pub(super) rng: ChaCha8Rng,
    pub(super) laws: Laws,
    /// A process that is to die after this many more steps.
    pub(super) dies: Option<(Slot, u64)>,
}

/// The place where the processes of one peer run, one after the other.
pub(super) struct Home {
    pub(super) disk: Arc<Lock<Disk>>,
    pub(super) keeper: Option<Arc<Keeper>>,
    pub(super) clock_offset_ms: i64,
    pub(super) seen: Option<Neighbours>,
    /// The number of times that a task of its processes went from one wait to the next.
    pub(super) steps: u64,
}

/// The phase and incarnation of a process and the number of changes to the room of others, and its neighbours.
pub(super) type Neighbours = ((PhaseKind, u64, u64), Option<Entry>, Vec<Entry>);

impl Files {
    pub(super) fn home(&mut self, slot: Slot) -> &mut Home {
        let kind = || match self.settings.real_stores {
            true => Kind::Real(Real::new(self.settings.checkpoint_chunks)),
            false => Kind::Light(Box::default()),
        };
        self.homes.entry(slot).or_insert_with(|| Home {
            disk: Arc::new(Lock::new(Disk(kind()))),
            keeper: None,
            clock_offset_ms: 0,
            seen: None,
            steps: 0,
        })
    }

    pub(super) fn acknowledge_name(&mut self, record: &NameRecord) {
        let known = self.names.entry(record.name.key()).or_insert_with(|| record.clone());
        if (record.clock, record.writer) > (known.clock, known.writer) {
            known.clone_from(record);
        }
    }

    pub(super) fn keeper(&self, slot: Slot) -> Option<&Arc<Keeper>> {
        self.homes.get(&slot)?.keeper.as_ref()
    }
}
