//! Membership and routing: the members of the ring, their order, and the owner of each key.
//!
//! Pure (sans-IO): time comes in as an argument, effects go out as [`Output`] values. The rules in
//! rings of at least r + 2 members known alive are those of P. Zave, *Reasoning About Identifier
//! Spaces: How to Make Chord Correct* (IEEE TSE 2017), to which the comments refer by its names
//! (JOIN, STABILISE, FROM_PRED, RECTIFY). Below that, membership is a map that is merged by the
//! greatest (incarnation, state), after SWIM (Das et al., DSN 2002), and the list is the living
//! others in order. Both kinds of peer speak the same messages.
//!
//! A successor list that the paper would pad at its end is here simply shorter than r: a pad is
//! dead by definition, is never dialled, and lies just past the last entry, so that it skips no peer.
//!
//! Laws: a message that breaks a rule is dropped, never a panic; every table is bounded; after any
//! `handle_*`, drain `poll_output`, then re-arm `poll_timeout`.
//!
//! Not here: files, sockets, clocks, the disk.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod acquaintances;
mod admission;
mod claims;
mod contact_copy;
mod counted;
mod departed;
mod departure;
mod detector;
mod entering;
mod face;
mod given;
mod hearsay;
mod join_failure;
mod lives;
mod lookup;
mod members;
mod memory;
mod neighbourhood;
mod news;
mod node;
mod output;
mod partners;
mod pause;
mod rejoined;
mod reports;
mod requests;
mod ring_search;
mod ring_size;
mod rooms;
mod rules;
#[cfg(test)]
mod sample;
mod silence;
mod table;
mod timing;
mod view;

pub use claims::check_list;
pub use entering::Start;
pub use join_failure::JoinFailure;
pub use lookup::{Evidence, HOP_GIVEN_UP, Lookup, Step, hop_timeout};
pub use members::Members;
pub use news::Listener;
pub use node::{NEAR_KEPT, Node, NodeConfig};
pub use output::{EndReason, Event, Output, ReplyTo, Token, Unanswered};
pub use rules::Rules;
pub use table::Table;
pub use view::{PhaseKind, Route, Turn, View};
