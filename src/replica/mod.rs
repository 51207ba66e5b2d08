//! Where copies belong, who is given them, and what is made of what the others say: decisions, no effects.
//!
//! | part | what it decides |
//! |---|---|
//! | `placement` | who keeps a key, whose word on it counts, who of these does not answer |
//! | `copies` | who has a copy and who has not; when a store is acknowledged |
//! | `duty` | what a peer answers to a store, to whom it passes it on, and what its owner still has to do |
//! | `election` | whose word it takes to say that there is nothing of a key |
//! | `holders` | who has an object, for a request |
//! | `offers` | what a peer offers to whom: repair, hand-over, a joiner's take-over |
//! | `round` | what a round of offers did, and what is short after it |
//! | `ledger` | which peers did what wrong, and for how long that is held against them |
//! | `arrivals` | what a peer wants of an offer |
//! | `setbacks` | which copies are not tried again for a while, since they would fail again |
//! | `unkept` | which files belong to a peer that cannot take them |
//! | `repair` | when the next round of repair is due |
//! | `takeover` | whom a joiner asks for what belongs to it, and when that is over |
//!
//! The replicas of a key are its owner and the R − 1 peers after it. Whoever holds something compares it
//! with that: an owner offers its range to its replicas, everybody else offers what they hold to the
//! owner it belongs to. So a copy that survives anywhere comes back to its owner, and from there to all
//! replicas. ([`plan_repair`] waits for who is away, and moves less; the running peer does not wait yet.)
//!
//! Pure: time comes in as an argument, effects go out as values. Not here: bytes, disks, sockets, and which
//! of two records of a name wins (see [`crate::names`]).

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod arrivals;
mod copies;
mod duty;
mod election;
mod holders;
mod ledger;
mod offers;
mod placement;
mod repair;
mod round;
mod setbacks;
mod takeover;
mod unkept;

pub use arrivals::{Arrivals, Presence};
pub use copies::{Copies, CopiesWanted, WaitError};
pub use duty::{ChainWords, NotKept, StoreDuty, put_duty, store_duty};
pub use election::{Election, all_is_seen};
pub use holders::{HolderSearch, Holders, who_has};
pub use ledger::Ledger;
pub use offers::{Offer, OfferPlan, plan_handover, plan_help, plan_offers, plan_repair, plan_sync};
pub use placement::{Found, known_after, own_replicas, replicas, vote_count};
pub use repair::RepairSchedule;
pub use round::{Holdings, LeftWith, Round, Short, too_few_stay};
pub use setbacks::Setbacks;
pub use takeover::{Sources, TakeOver, has_no_vote};
pub use unkept::Unkept;

#[cfg(test)]
mod sample;
