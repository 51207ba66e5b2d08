//! Rings of real peers: processes of this build on loopback, with real files.
//!
//! The `ignore` attribute of a test names its needs beyond those of any machine.
#![cfg(unix)]

mod admission;
#[cfg(target_os = "linux")]
mod attacker;
mod away;
mod client;
mod departing;
mod disk;
mod files;
mod flips;
mod forming;
mod forward;
mod full;
pub mod harness;
mod health;
mod idle;
mod input;
mod kills;
mod load;
mod many;
mod names;
mod pauses;
pub mod peer;
mod power;
mod reach;
mod refusals;
mod revoking;
mod rot;
mod samples;
mod scripts;
mod scrub;
mod shell;
mod silent;
mod small;
mod space;
mod starting;
mod tickets;
mod trees;
mod usage;
mod verdict;
mod versions;
