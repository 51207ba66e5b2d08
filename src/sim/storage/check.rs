//! The conditions on the files of a [`World`].
//!
//! Within a bounded time after the faults: [`in_place`] and [`names_agree`]. At any time, if a scenario guarantees it:
//! [`copies_at_least`].

use std::collections::BTreeMap;

use super::super::network::Slot;
use super::super::world::World;
use super::Disk;
use super::keeper::BEGIN_UNIX_MS;
use crate::id::Position;
use crate::names::Rank;
use crate::wire::{NameRecord, RecordTarget};

/// Every acknowledged file is on the disks of all its replicas, min(R, members) of them, with the right bytes.
///
/// # Errors
/// The first file that violates this, and the replica that lacks it.
pub fn in_place(world: &World) -> Result<(), String> {
    in_place_except_at(world, None)
}

/// Like [`in_place`], whatever one peer lacks.
///
/// # Errors
/// The first file that violates this, and the replica that lacks it.
pub fn in_place_except_at(world: &World, excused: Option<Slot>) -> Result<(), String> {
    let ring = Ring::of(world);
    for file in world.acknowledged() {
        for (slot, disk) in ring.keepers(&file.content.key()) {
            if Some(slot) != excused && !disk.holds(&file.content) {
                return Err(format!("{slot} lacks {} ({:?})", file.name, file.content));
            }
        }
    }
    Ok(())
}

/// Every name has one winner on all its replicas: the greatest record that any living member has, and not less than the
/// greatest acknowledged record.
///
/// # Errors
/// The first name that violates this.
pub fn names_agree(world: &World) -> Result<(), String> {
    let ring = Ring::of(world);
    let mut greatest: BTreeMap<Position, (Rank, String)> = BTreeMap::new();
    let rank_on = |disk: &Disk, key: &Position| {
        let history = disk.record(key)?;
        let current = history.current.as_ref()?;
        let record = current.decode().ok()?;
        Some(((record.clock, record.writer, current.id()), record.name.to_string()))
    };
    for (.., disk) in &ring.members {
        for key in disk.record_keys() {
            let Some(rank) = rank_on(disk, &key) else { continue };
            let known = greatest.entry(key).or_insert_with(|| rank.clone());
            if rank.0 > known.0 {
                *known = rank;
            }
        }
    }
    for (key, acknowledged) in world.acknowledged_names().filter(|(_, record)| !has_ended(world, record)) {
        let least = (acknowledged.clock, acknowledged.writer);
        if greatest.get(key).is_none_or(|((clock, writer, _), _)| (*clock, *writer) < least) {
            return Err(format!("nobody has the record of {} that was acknowledged", acknowledged.name));
        }
    }
    for (key, (rank, name)) in &greatest {
        for (slot, disk) in ring.keepers(key) {
            if rank_on(disk, key).map(|(rank, _)| rank) != Some(*rank) {
                return Err(format!("{slot} has not the greatest record of {name}"));
            }
        }
    }
    Ok(())
}

/// Whether a record is a tombstone that has lived its time.
fn has_ended(world: &World, record: &NameRecord) -> bool {
    let Some(files) = &world.files else { return false };
    let life_ms = files.settings.names.life_ms(world.settings.versions.duration());
    let age_ms = (BEGIN_UNIX_MS + world.now().0 / 1_000).saturating_sub(record.clock.unix_ms());
    record.target == RecordTarget::Tombstone && age_ms >= life_ms
}

/// Every acknowledged file has at least this many sound copies on living members.
///
/// # Errors
/// The first file that has fewer.
pub fn copies_at_least(world: &World, least: usize) -> Result<(), String> {
    let copies = world.copies_of_all();
    for file in world.acknowledged() {
        let count = copies.get(&file.content).copied().unwrap_or(0);
        if count < least {
            return Err(format!("{} has {count} copies, not {least}", file.name));
        }
    }
    Ok(())
}

/// The living members in the order of their positions, with their disks.
struct Ring<'a> {
    members: Vec<(Position, Slot, std::sync::MutexGuard<'a, Disk>)>,
    copies: usize,
}

impl Ring<'_> {
    fn of(world: &World) -> Ring<'_> {
        let members: Vec<_> =
            world.living_disks().map(|(position, slot, disk)| (position, slot, disk.lock())).collect();
        let copies = world.settings.copies(members.len());
        Ring { members, copies }
    }

    /// The members that should keep the data of this key.
    fn keepers(&self, key: &Position) -> impl Iterator<Item = (Slot, &Disk)> {
        let owner = self.members.partition_point(|(position, ..)| position < key);
        let at = move |step: usize| &self.members[(owner + step) % self.members.len()];
        (0..self.copies).map(at).map(|(_, slot, disk)| (*slot, &**disk))
    }
}
