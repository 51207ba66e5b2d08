//! The conditions on the files of a [`World`].
//!
//! Within a bounded time after the faults: [`in_place`] and [`names_agree`]. At any time, if a scenario guarantees it:
//! [`copies_at_least`]. In worlds whose leases lapse: [`promises_kept`] and [`names_answered`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::disk::Disk;
use super::super::network::Slot;
use super::super::world::World;
use super::BEGIN_UNIX_MS;
use super::outcome::{Outcome, Requested};
use super::promises::Promises;
use crate::id::{ContentId, FileName, Position};
use crate::names::{NameHistory, Rank, content_of};
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

/// Everything that users were told holds. [`names_agree`]; and, by the histories of the names as their keepers join them:
/// each acknowledged record is in its history, unless it was replaced too long ago or is too old for a full history;
/// each content that was acknowledged and that a name refers to is on the disks of all its replicas, with the right
/// bytes; and each pinned copy is where it was pinned.
///
/// # Errors
/// The first promise that is not kept.
pub fn promises_kept(world: &World) -> Result<(), String> {
    names_agree(world)?;
    let Some(files) = &world.files else { return Ok(()) };
    let (promises, kept_for) = (&files.promises, world.settings.versions.duration());
    let versions = usize::from(world.settings.versions.count);
    let now_ms = BEGIN_UNIX_MS + world.now().0 / 1_000;
    let clocks_are_right = files.homes.values().all(|home| home.clock_offset_ms == 0);
    for (slot, content) in &promises.pins {
        let home = files.homes.get(slot).filter(|_| world.node(*slot).is_some());
        if home.is_some_and(|home| !home.disk.lock().holds(content)) {
            return Err(format!("{slot} lacks {content:?}, which is pinned there"));
        }
    }
    let ring = Ring::of(world);
    let mut histories: BTreeMap<Position, NameHistory> = BTreeMap::new();
    for (.., disk) in &ring.members {
        for key in disk.record_keys() {
            let Some(kept) = disk.record(&key) else { continue };
            let joined = histories.entry(key).or_default();
            for record in kept.into_owned().into_records() {
                joined.merge(record, versions).map_err(|error| error.to_string())?;
            }
        }
    }
    for (key, history) in &histories {
        // Where clocks are wrong, versions may go earlier or later.
        if clocks_are_right {
            records_known(promises, key, history, (versions, kept_for), now_ms)?;
        }
        let kept_for = if clocks_are_right { kept_for } else { Duration::ZERO };
        for reference in history.references(now_ms, kept_for) {
            let content = reference.content;
            if !promises.contents.contains(&content) {
                continue;
            }
            if let Some((slot, _)) = ring.keepers(&content.key()).find(|(_, disk)| !disk.holds(&content)) {
                let name = reference.link.name;
                return Err(format!("{slot} lacks {content:?}, to which {name} refers"));
            }
        }
    }
    Ok(())
}

/// Every acknowledged record of a name is in its history, as long as it must be.
fn records_known(
    promises: &Promises,
    key: &Position,
    history: &NameHistory,
    (versions_max, kept_for): (usize, Duration),
    now_ms: u64,
) -> Result<(), String> {
    let versions = history.versions();
    let full = versions.len() >= versions_max;
    for record in promises.records.get(key).into_iter().flatten() {
        let is_known = versions.iter().any(|version| version.record == *record);
        let later = versions.iter().filter(|version| version.record.clock > record.clock);
        let replaced_at = later.map(|version| version.record.clock.unix_ms()).min();
        let is_old =
            replaced_at.is_some_and(|at| u128::from(now_ms.saturating_sub(at)) >= kept_for.as_millis());
        if !is_known && !full && !is_old {
            return Err(format!("version {} of {} is in no history", record.version, record.name));
        }
    }
    Ok(())
}

/// Every name that was ever acknowledged is answered with the file that it stands for, or not at all if it was removed.
/// A member asks, another one for each name.
///
/// # Errors
/// The first name with another answer.
pub fn names_answered(world: &mut World) -> Result<(), String> {
    let members: Vec<Slot> = world.living().values().copied().collect();
    let names: Vec<NameRecord> = world.acknowledged_names().map(|(_, record)| record.clone()).collect();
    let mut asked: BTreeMap<u64, (FileName, Option<ContentId>)> = BTreeMap::new();
    for (record, at) in names.into_iter().zip(members.iter().cycle()) {
        // The winner may be a later record that was not acknowledged.
        let stands_for = Ring::of(world).current(&record.name.key());
        let id = world.request(*at, record.name.as_str());
        asked.insert(id, (record.name, stands_for));
    }
    world.run_until(ANSWERED_WITHIN, |world| match world.files_under_way() {
        0 => Ok(()),
        count => Err(format!("{count} requests do not end")),
    })?;
    for ended in world.take_ended() {
        let Some((name, stands_for)) = asked.remove(&ended.id) else { continue };
        let Outcome::Requested(requested) = ended.outcome else { continue };
        let found = match &requested {
            Requested::Found { content, .. } => Some(Some(*content)),
            Requested::Unknown => Some(None),
            _ => None,
        };
        if found != Some(stands_for) {
            return Err(format!("{name} stands for {stands_for:?}, and is answered with {requested:?}"));
        }
    }
    asked.first_key_value().map_or(Ok(()), |(_, (name, _))| Err(format!("the request for {name} was lost")))
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

    /// The content that a name stands for, by the word of its owner.
    fn current(&self, key: &Position) -> Option<ContentId> {
        let (_, owner) = self.keepers(key).next()?;
        let record = owner.record(key)?.current.as_ref()?.decode().ok()?;
        content_of(&record)
    }

    /// The members that should keep the data of this key.
    fn keepers(&self, key: &Position) -> impl Iterator<Item = (Slot, &Disk)> {
        let owner = self.members.partition_point(|(position, ..)| position < key);
        let at = move |step: usize| &self.members[(owner + step) % self.members.len()];
        (0..self.copies).map(at).map(|(_, slot, disk)| (*slot, &**disk))
    }
}

/// The time within which all names must be answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);
