//! A deterministic world for the pure core: virtual time, one seed, faults on demand.
//!
//! The world drives [`crate::chord::Node`]s through the same inputs and outputs as the network driver does. The same
//! seed gives the same run, event by event. The invariants of every moment are in [`oracle`], those of the end in
//! [`check`].

mod arrivals;
mod beginnings;
mod chance;
pub mod check;
mod clocks;
pub mod disk;
mod drift;
mod errands;
mod experiment;
pub mod explore;
mod faults;
mod lock;
mod mailbox;
mod network;
pub mod oracle;
mod places;
pub mod plan;
mod post;
mod queue;
mod replay;
mod revocation;
mod revoked;
mod run;
mod search;
mod searches;
pub mod storage;
mod tasks;
mod traffic;
mod violations;
mod world;

pub use chance::until_next;
pub use experiment::{Experiment, ExperimentError, Health, LeaveKind, Parameter, Report, Spread};
pub use network::{Network, Slot};
pub use places::contact;
pub use replay::seeds;
pub use searches::Outcome;
pub use traffic::Sent;
pub use world::World;
