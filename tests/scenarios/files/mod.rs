//! Files in virtual time: what peers do with objects and name records, over a network and on disks that fail on
//! demand. `QUOIT_SEED` replays one seed.

mod again;
mod away;
mod batches;
mod carbonite;
mod controls;
mod deaths;
mod disk;
mod gather;
mod gone;
mod harness;
mod hostile;
mod leases;
mod leave;
mod life;
mod many;
mod names;
mod power;
mod repair;
mod retention;
mod room;
mod space;
mod split;
mod store;
mod verdict;
