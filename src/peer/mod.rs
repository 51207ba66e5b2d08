//! One running peer: what joins flows, ring, disk and network.
//!
//! | room | what is in it |
//! |---|---|
//! | `boot` | how a peer begins |
//! | `ring` | the actor, contacts, detours, faults of other peers |
//! | `flows` | between [`crate::files`] and disk and network; stores, requests, departures, repair |
//! | `control` | how people and other processes command it, and what it reports |
//! | `api` | the values that go in and out |
//! | `shared` | what the tasks of one peer share |
//!
//! Nothing here blocks an async thread: disk and hashing go through `Shared::blocking`.

mod api;
mod boot;
mod control;
mod flows;
mod ring;
mod shared;

pub use api::*;
pub use boot::admit::{Admission, AdmitError, AdmitOptions, AdmitReport, Admittee, admit};
pub use boot::start::{start, start_telling};
pub use control::choice::{PeerChoice, is_process};
pub use control::client::Client;
pub use control::export::{Begun, Place, PlaceError, WriteError};
pub use control::handle::Handle;
pub use control::object_bytes::ObjectBytes;
pub use control::revoke::{AdmittedPeer, ToldPeer, find_admitted, revoke, tell_revocations};
pub use control::ticket::{TicketOptions, issue_ticket};
pub use control::trees::bring::{FoundTree, TreeLine, bring_tree, find_tree, find_tree_of};
pub use control::trees::peer::TreePeer;
pub use control::trees::store::{plan_tree, store_tree};
