//! The decisions about copies: where they belong, which peers are given them, and how answers are counted. No effects.
//!
//! | part | what it decides |
//! |---|---|
//! | `agreements` | the ranges in which another peer has what is here |
//! | `placement` | which peers keep a key, which have a vote on it, and which of these do not answer |
//! | `copies` | which peers have a copy and which do not; when a store is acknowledged |
//! | `duty` | a peer's answer to a store, the peers it passes the object on to, and what its owner still has to do |
//! | `election` | the votes that it takes to say that a key has nothing |
//! | `freeing` | when a peer may free a copy that is one too many, and when it wants to |
//! | `holders` | which peers hold an object, for a request |
//! | `offers` | the offers between peers: repair, hand-over, a joiner's take-over |
//! | `round` | the outcome of a round of offers, and the files that are short after it |
//! | `ledger` | which peers committed which faults, and for how long they are distrusted |
//! | `arrivals` | which objects of an offer a peer wants |
//! | `setbacks` | which copies are not tried again for a while, since they would fail again |
//! | `scrubbing` | which object a peer reads and hashes again next, and when |
//! | `room` | when a peer says that it has no room |
//! | `standins` | which peers keep the copies of a peer that has no room |
//! | `unkept` | which files belong to a peer that cannot take them |
//! | `repair` | when the next round of repair is due |
//! | `takeover` | the peers that a joiner asks for its files, and the end of the take-over |
//! | `tally` | the number of files by the peers that hold them, as one member reports it |
//! | `verdict` | how safe the files of the ring are, from the reports of its members |
//! | `stopping` | whether peers may stop, from the same reports |
//!
//! The replicas of a key are its owner and the R − 1 peers after it. Each peer compares its holdings with that: an
//! owner offers its range to its replicas, and any other peer offers what it holds to the owner. So a copy that
//! survives anywhere comes back to its owner, and from there to all replicas. [`plan_repair`] waits for peers that are
//! away, while two living ones are left, so that a restart or a night moves nothing.
//!
//! Pure: time comes in as an argument, effects go out as values. Not here: bytes, disks, sockets, and which
//! of two records of a name wins (see [`crate::names`]).

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod agreements;
mod arrivals;
mod copies;
mod duty;
mod election;
mod freeing;
mod holders;
mod leases;
mod ledger;
mod offers;
mod placement;
mod repair;
mod room;
mod round;
mod scrubbing;
mod setbacks;
mod standins;
mod stopping;
mod takeover;
mod tally;
mod unkept;
mod verdict;

pub use agreements::{Agreements, Extent, Mark};
pub use arrivals::{Arrivals, Presence, TransferId};
pub use copies::{Copies, CopiesWanted, WaitError};
pub use duty::{ChainWords, NotKept, StoreDuty, put_duty, store_duty};
pub use election::{Election, all_is_seen};
pub use freeing::{Grants, KeptRange, SurplusStep, Vouchers};
pub use holders::{HolderSearch, Holders, holders_reply};
pub use leases::{LeaseBook, LeaseSchedule, LeaseTerms, LeasesDue};
pub use ledger::Ledger;
pub use offers::{Cuts, Offer, OfferPlan, Place, plan_handover, plan_help, plan_repair, plan_sync};
pub use placement::{Found, known_after, own_replicas, replicas, store_replicas, vote_count};
pub use repair::RepairSchedule;
pub use room::{DiskRoom, RoomWord};
pub use round::{Holdings, LeftWith, Round, Short, too_few_stay};
pub use scrubbing::{NextScrub, Scrubbing, Stock, Verification};
pub use setbacks::Setbacks;
pub use standins::{NoRoom, plan_standins};
pub use stopping::may_stop;
pub use takeover::{Sources, TakeOver, has_no_vote};
pub use tally::Tally;
pub use unkept::Unkept;
pub use verdict::{Standing, Survey};

#[cfg(test)]
mod sample;
