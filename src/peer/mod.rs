//! One running peer: the actor that joins the pure core with disk and network.
//!
//! | part | what it does |
//! |---|---|
//! | `start` | identity, folders, socket; then everything else begins |
//! | `admit` | certificates for peers and clients, where the ring CA's key is; needs no running peer |
//! | `bundle` | a start with a certificate that was made elsewhere |
//! | `actor` | owns the [`crate::chord::Node`]; publishes a [`crate::chord::View`] after every change |
//! | `serve` | takes streams and hands each request to its one handler |
//! | `env`, `lookup` | between this peer and [`crate::files`] |
//! | `bytes` | the bytes of objects, on streams and on the disk |
//! | `records` | name records, read and written |
//! | `contact` | keeps connections to the members, finds ways to those that cannot be reached, keeps their names |
//! | `forward` | joins streams between two peers that cannot reach each other |
//! | `health` | which files have fewer copies than they should |
//! | `store`, `request`, `leave`, `ping`, `report` | what people ask for |
//! | `commands`, `client`, `choice` | both ends of `quoit-client/1`: another process commands the peer |
//! | `blame` | what is held against other peers, and how that is told |
//!
//! Nothing here blocks an async thread: disk and hashing go through `Shared::blocking`.

mod actor;
mod admit;
mod api;
mod blame;
mod bundle;
mod bytes;
mod choice;
mod client;
mod clock;
mod commands;
mod contact;
mod env;
mod export;
mod forget;
mod forward;
mod handle;
mod health;
mod hopeless;
mod leave;
mod lookup;
mod mend;
mod ping;
mod records;
mod relay;
mod report;
mod request;
mod serve;
mod shared;
mod start;
mod store;

pub use admit::{Admission, AdmitError, AdmitOptions, AdmitReport, Admittee, admit};
pub use api::*;
pub use choice::PeerChoice;
pub use client::{Client, ObjectBytes};
pub use export::{Begun, Place, WriteError};
pub use handle::Handle;
pub use start::{start, start_telling};
