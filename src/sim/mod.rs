//! A deterministic world for the pure core: virtual time, one seed, faults on demand.
//!
//! It drives [`crate::chord::Node`]s through the same inputs and outputs as the network driver does. The same
//! seed gives the same run, event by event. What must hold at every moment is in [`oracle`], what must hold in the
//! end in [`check`].

mod arrivals;
mod chance;
pub mod check;
mod experiment;
pub mod explore;
mod network;
pub mod oracle;
pub mod plan;
mod queue;
mod run;
mod search;
pub mod storage;
mod traffic;
mod world;

pub use experiment::{Experiment, ExperimentError, Health, Report, Spread};
pub use network::{Network, Slot};
pub use search::Outcome;
pub use traffic::Sent;
pub use world::{World, contact};

/// The seeds of a test: these, as many from there on as `QUOIT_SEEDS` says, or the one that `QUOIT_SEED` names.
pub fn seeds(range: std::ops::Range<u64>) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("QUOIT_SEED"), number("QUOIT_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (range.start..range.start.saturating_add(count)).collect(),
        (None, None) => range.collect(),
    }
}
