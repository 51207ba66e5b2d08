//! How a fault strikes a world.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::network::Slot;
use super::super::world::World;
use super::command::FILE_BYTES;
use super::{CLONES, Fault};
use crate::chord::Start;
use crate::id::{Position, sha256};
use crate::wire::Target;

impl Fault {
    /// Lets the fault happen. `names` are the places of the peers, by their numbers in the plan; a new peer is added.
    pub(super) fn strike(&self, world: &mut World, names: &mut BTreeMap<u16, Slot>) {
        let slot = |name: &u16| names.get(name).copied();
        match self {
            Fault::Crash(peer) => slot(peer).into_iter().for_each(|slot| world.crash_slot(slot)),
            Fault::Restart(peer) => {
                // A machine whose key was revoked stays off.
                let slot = slot(peer).filter(|slot| !world.is_revoked(*slot));
                slot.into_iter().for_each(|slot| world.restart_slot(slot));
            }
            Fault::Pause(peer) => slot(peer).into_iter().for_each(|slot| world.pause_slot(slot, true)),
            Fault::Resume(peer) => slot(peer).into_iter().for_each(|slot| world.pause_slot(slot, false)),
            Fault::Leave(peer) => {
                if let Some(slot) = slot(peer) {
                    match world.has_files() {
                        // It stays if copies would be missing.
                        true => world.ask_to_leave(slot),
                        false => world.leave_slot(slot),
                    }
                }
            }
            Fault::Join(peer, through) => {
                let slot = slot(through).filter(|slot| !world.is_revoked(*slot));
                let known = slot.and_then(|slot| world.entry(slot)).map(Target::from);
                if let Some(known) = known.filter(|_| !names.contains_key(peer)) {
                    let position = Position(sha256(&peer.to_be_bytes()));
                    names.insert(*peer, world.start_at(position, Start::Join { known }));
                }
            }
            Fault::Clone(peer) => {
                let clone = slot(peer).and_then(|slot| world.clone_slot(slot));
                // The clone gets a name of its own, so that it is brought back as well.
                let name = (CLONES..).find(|name| !names.contains_key(name));
                names.extend(name.zip(clone));
            }
            Fault::Cut(from, to) => {
                if let (Some(from), Some(to)) = (slot(from), slot(to)) {
                    world.network.cut(from, to);
                }
            }
            Fault::Split(groups) => {
                for (group, peers) in (0..).zip(groups) {
                    for slot in peers.iter().filter_map(slot) {
                        world.network.set_group(slot, group);
                    }
                }
            }
            Fault::Heal => world.heal(),
            Fault::Slow(peer, factor) => {
                if let Some(slot) = slot(peer) {
                    world.network.set_slow(slot, (*factor).into());
                }
            }
            Fault::Loss(share) => world.network.loss = f64::from(*share) / 1_000.0,
            Fault::Duplication(share) => world.network.duplication = f64::from(*share) / 1_000.0,
            Fault::Holdups(share, most_ms) => {
                let most = Duration::from_millis((*most_ms).into());
                world.network.holdups = (f64::from(*share) / 1_000.0, most);
            }
            Fault::User(peer, command) => {
                if let Some(slot) = slot(peer) {
                    command.give(world, slot, names);
                }
            }
            Fault::Room(peer, files) => {
                if let Some(slot) = slot(peer) {
                    world.with_disk(slot, |disk| disk.set_capacity(u64::from(*files) * FILE_BYTES));
                }
            }
            Fault::FailSync(peer) => {
                if let Some(slot) = slot(peer) {
                    world.with_disk(slot, |disk| disk.fail_next_sync());
                }
            }
            Fault::Clock(peer, seconds) => {
                if let Some(slot) = slot(peer) {
                    world.set_clock_offset(slot, i64::from(*seconds) * 1_000);
                }
            }
        }
    }
}
