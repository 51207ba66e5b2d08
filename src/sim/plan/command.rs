//! The commands that the users of peers give in a plan.

use std::collections::BTreeMap;
use std::fmt;

use super::super::network::Slot;
use super::super::world::World;
use crate::wire::VersionChoice;

/// A command of a user to a peer. A file's name is the number here with `.bin` behind it; a peer's number is that of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Stores a new file under this name.
    Store(u16),
    /// Brings the file of this name to the peer.
    Request(u16),
    /// Removes this name.
    Remove(u16),
    /// Makes this version of the name the current one again.
    Restore(u16, u16),
    /// Brings the file of this name to the peer and pins it there.
    Pin(u16),
    /// Ends that pin.
    Unpin(u16),
    /// Frees the peer's copy of the file, if it is one too many.
    Drop(u16),
    /// Frees all copies of the peer that are one too many.
    Evict,
    /// Forgets a member that does not answer.
    Forget(u16),
    /// Revokes the key of a member. Its machine is not started again, and takes no more commands.
    Revoke(u16),
}

impl Command {
    /// Gives the command to the peer at this place. A peer that does not run, or whose key was revoked, gets none.
    pub(super) fn give(self, world: &mut World, at: Slot, peers: &BTreeMap<u16, Slot>) {
        if !world.keeps_files(at) || world.is_revoked(at) {
            return;
        }
        let file = |name: u16| format!("{name}.bin");
        match self {
            Command::Store(name) => drop(world.store(at, &file(name), FILE_BYTES)),
            Command::Request(name) => drop(world.request(at, &file(name))),
            Command::Remove(name) => drop(world.remove(at, &file(name))),
            Command::Restore(name, version) => {
                world.restore(at, &file(name), VersionChoice::Number(version.into()));
            }
            Command::Pin(name) => drop(world.pin(at, &file(name))),
            Command::Unpin(name) => drop(world.unpin(at, &file(name))),
            Command::Drop(name) => drop(world.drop_copy(at, &file(name))),
            Command::Evict => drop(world.evict(at)),
            Command::Forget(whom) => {
                if let Some(whom) = peers.get(&whom) {
                    world.forget(at, *whom);
                }
            }
            Command::Revoke(whom) => {
                if let Some(whom) = peers.get(&whom).filter(|whom| **whom != at) {
                    world.revoke(at, *whom);
                }
            }
        }
    }

    /// The command whose words are these.
    pub(super) fn of_words(words: &[&str]) -> Option<Command> {
        let number = |word: &str| word.parse::<u16>().ok();
        Some(match words {
            ["store", name] => Command::Store(number(name)?),
            ["request", name] => Command::Request(number(name)?),
            ["remove", name] => Command::Remove(number(name)?),
            ["restore", version] => {
                let (name, version) = version.split_once('@')?;
                Command::Restore(number(name)?, number(version)?)
            }
            ["pin", name] => Command::Pin(number(name)?),
            ["unpin", name] => Command::Unpin(number(name)?),
            ["drop", name] => Command::Drop(number(name)?),
            ["evict"] => Command::Evict,
            ["forget", peer] => Command::Forget(number(peer)?),
            ["revoke", peer] => Command::Revoke(number(peer)?),
            _ => return None,
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Store(name) => write!(f, "store {name}"),
            Command::Request(name) => write!(f, "request {name}"),
            Command::Remove(name) => write!(f, "remove {name}"),
            Command::Restore(name, version) => write!(f, "restore {name}@{version}"),
            Command::Pin(name) => write!(f, "pin {name}"),
            Command::Unpin(name) => write!(f, "unpin {name}"),
            Command::Drop(name) => write!(f, "drop {name}"),
            Command::Evict => write!(f, "evict"),
            Command::Forget(peer) => write!(f, "forget {peer}"),
            Command::Revoke(peer) => write!(f, "revoke {peer}"),
        }
    }
}

/// The length of the files that plans store, in bytes.
pub(super) const FILE_BYTES: u64 = 1 << 20;
