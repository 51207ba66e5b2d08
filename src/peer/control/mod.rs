//! How people command a running peer.
//!
//! | part | what it is |
//! |---|---|
//! | `handle` | the peer, for the program that started it |
//! | `commands` | the server of `quoit-client/1` |
//! | `client` | its client: another process commands the peer |
//! | `choice` | which of the peers of this machine is meant |
//! | `report` | what a peer tells of itself and its ring |
//! | `export` | where the bytes of a request go: a file, or standard output |

pub(in crate::peer) mod choice;
pub(in crate::peer) mod client;
pub(in crate::peer) mod commands;
pub(in crate::peer) mod export;
pub(in crate::peer) mod handle;
pub(in crate::peer) mod report;
