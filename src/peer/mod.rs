//! One running peer: the actor that joins the pure core with disk and network.
//!
//! | part | what it does |
//! |---|---|
//! | `start` | identity, folders, socket; then everything else begins |
//! | `actor` | owns the [`crate::chord::Node`]; publishes a [`crate::chord::View`] after every change |
//! | `serve` | takes streams and hands each request to its one handler |
//! | `lookup` | finds owners and replicas |
//! | `copy`, `push` | objects on their way to other peers, and in from them |
//! | `fetch` | objects from their holders, on a user's request |
//! | `records` | name records, read and written |
//! | `contact` | keeps connections to the members, finds ways to those that cannot be reached, keeps their names |
//! | `forward` | joins streams between two peers that cannot reach each other |
//! | `health` | which files have fewer copies than they should |
//! | `store`, `request`, `leave`, `report` | what people ask for |
//! | `repair` | copies that are missing are made again; a joiner takes over its ranges |
//!
//! Nothing here blocks an async thread: disk and hashing go through `Shared::blocking`.

mod actor;
mod api;
mod arrivals;
mod contact;
mod copy;
mod fetch;
mod forward;
mod handle;
mod health;
mod leave;
mod lookup;
mod push;
mod records;
mod repair;
mod report;
mod request;
mod serve;
mod shared;
mod start;
mod store;

pub use api::*;
pub use handle::Handle;
pub use start::start;
