//! Quoit: a ring of peers that keep files for each other.
//!
//! The map of the crate, bottom up; imports go downward only (a test reads them):
//!
//! | layer | modules | what they are |
//! |---|---|---|
//! | L0 | [`id`] [`time`] [`config`] `backoff` | values |
//! | L1 | [`wire`] [`outboard`] | messages, their codec and their bounds; SHA-256 chunk by chunk |
//! | L2 | [`chord`] [`replica`] [`names`] | the pure core: decides, touches nothing |
//! | L3 | [`files`] [`blob`] [`transport`] | what is done with files; disk and network |
//! | L4 | `shelf` [`peer`] [`sim`] | joins flows and disk; core, flows, disk and network in one running peer; the same in a deterministic world for tests |
//! | L5 | [`cli`] | commands and the prompt |

mod backoff;
pub mod blob;
pub mod chord;
pub mod cli;
pub mod config;
pub mod files;
pub mod id;
pub mod names;
pub mod outboard;
pub mod peer;
pub mod replica;
mod shelf;
pub mod sim;
pub mod time;
pub mod transport;
pub mod wire;

// The one wait of all tests; those below `tests` include it, too.
#[cfg(test)]
#[path = "../tests/support/eventually.rs"]
mod eventually;
