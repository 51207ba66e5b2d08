//! How people command a running peer.
//!
//! | part | what it is |
//! |---|---|
//! | `handle` | the peer, for the program that started it |
//! | `commands` | the server of `quoit-client/1` |
//! | `client` | its client: another process commands the peer |
//! | `gifts` | the files of a client that its peer may ask for |
//! | `many` | many stores at once, their results in order |
//! | `choice` | the peer of this machine that is meant |
//! | `revoke` | revokes a certificate where the ring CA's key is, and tells the peers here |
//! | `ticket` | makes a ticket where the ring CA's key is |
//! | `enrol` | redeems tickets |
//! | `refused_tickets` | counts refused tickets, and bounds the lines that are told of them |
//! | `report` | a peer's reports on itself and its ring |
//! | `verdict` | how safe the files are, whether peers may stop, and the members in their own words |
//! | `spool` | bytes whose length is not known before their end |
//! | `trees` | directories: kept as one named tree, and brought back |
//! | `object_bytes` | the bytes of an object for a person |
//! | `export` | the target of a request's bytes: a file, or standard output |
//! | `state` | state that the commands share, and the subscribers |

pub(in crate::peer) mod choice;
pub(in crate::peer) mod client;
pub(in crate::peer) mod commands;
pub(in crate::peer) mod enrol;
pub(in crate::peer) mod export;
pub(in crate::peer) mod gifts;
pub(in crate::peer) mod handle;
pub(in crate::peer) mod many;
pub(in crate::peer) mod object_bytes;
pub(in crate::peer) mod refused_tickets;
pub(in crate::peer) mod report;
pub(in crate::peer) mod revoke;
mod spool;
pub(in crate::peer) mod state;
pub(in crate::peer) mod ticket;
pub(in crate::peer) mod trees;
pub(in crate::peer) mod verdict;
