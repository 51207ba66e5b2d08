//! Quoit: a ring of peers that keep files for each other.
//!
//! The map of the crate, bottom up; imports go downward only (a test reads them):
//!
//! | layer | modules | what they are |
//! |---|---|---|
//! | L0 | [`id`] [`time`] [`config`] | values |
//! | L1 | [`wire`] [`outboard`] | messages, their codec and their bounds; SHA-256 chunk by chunk |
//! | L2 | [`chord`] [`replica`] [`names`] | the pure core: decides, touches nothing |
//! | L3 | [`files`] [`blob`] [`transport`] [`sim`] | what is done with files; disk, network, and the deterministic world for tests |
//! | L4 | [`peer`] | joins core, disk and network into one running peer |
//! | L5 | [`cli`] | commands and the prompt |

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
pub mod sim;
pub mod time;
pub mod transport;
pub mod wire;
