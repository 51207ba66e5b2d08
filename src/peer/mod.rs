//! One running peer: the actor that joins the pure core with disk and network.

mod api;

pub use api::*;
