//! Files in virtual time: what peers do with objects and name records, over a network and on disks that fail on
//! demand. `QUOIT_SEED` replays one seed.

mod harness;
mod repair;
