//! One running peer: the actor that joins the pure core with disk and network.

mod api;
mod handle;

pub use api::*;
pub use handle::*;
