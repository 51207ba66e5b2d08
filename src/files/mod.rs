//! What a peer does with files: the flows that carry out what [`crate::replica`] and [`crate::names`] decide.
//!
//! | part | what it does |
//! |---|---|
//! | `ask` | asks a peer about files, this one itself too |
//! | `env` | all that the flows know of the world |
//! | `find` | finds owners and replicas |
//! | `offers` | says what this peer wants of what others offer |
//! | `records` | reads and writes name records |
//! | `search` | what a name stands for, who holds an object |
//! | `takeover` | takes over the peer's ranges |
//! | `wait` | waits for the first of several, and for no longer than so long |
//!
//! The flows are asynchronous functions without a runtime. A running peer gives them tokio, the network and the
//! disk; the simulator gives them virtual time. So both run the same code. No file, clock, thread, runtime or
//! unseeded chance stands in here; of two events that are there at the same time, the one that is named first
//! counts.
//!
//! The other flows still stand twice, in `peer` and in `sim::storage`; they move here one by one.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod ask;
mod env;
mod find;
mod offers;
mod records;
mod search;
mod takeover;
mod wait;

pub use ask::ask_storage;
pub use env::{Asker, BoxFuture, Env, OfferLook};
pub use find::{FindError, find, find_soon, list_after, member, replicas_of};
pub use offers::answer_offer;
pub use records::{
    LATE_WORD, STORAGE_TIMEOUT, Written, accept_record, answer_record, resolve, write_again, write_record,
};
pub use search::{answer_who_has, holders_of, other_holders, resolve_soon};
pub use takeover::take_over;
pub use wait::{Either, Together, race, timeout};
