//! A deterministic world for the pure core: virtual time, one seed, faults on demand.
//!
//! It drives [`crate::chord::Node`]s through the same inputs and outputs as the network driver does. The same
//! seed gives the same run, event by event. What must hold at every moment is in [`oracle`], what must hold in the
//! end in [`check`].

pub mod check;
mod experiment;
mod network;
pub mod oracle;
mod queue;
mod search;
pub mod storage;
mod traffic;
mod world;

pub use experiment::{Experiment, ExperimentError, Health, Report, Spread};
pub use network::{Network, Slot};
pub use search::Outcome;
pub use traffic::Sent;
pub use world::{World, contact};

/// The seeds of a test: these, or the one that `QUOIT_SEED` names.
pub fn seeds(range: std::ops::Range<u64>) -> Vec<u64> {
    match std::env::var("QUOIT_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => range.collect(),
    }
}
