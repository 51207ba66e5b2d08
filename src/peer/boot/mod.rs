//! How a peer begins.
//!
//! | part | what it is |
//! |---|---|
//! | `start` | identity, folders and socket first; then all other tasks begin |
//! | `folders` | the default folders |
//! | `stop` | the end of a peer |
//! | `running` | the parts that have to end with the peer |
//! | `admit` | certificates for peers and clients, on the machine with the ring CA's key; needs no running peer |
//! | `enrol` | a start with a ticket |
//! | `bundle` | a start with a certificate that was made on another machine |

pub(in crate::peer) mod admit;
pub(in crate::peer) mod bundle;
pub(in crate::peer) mod enrol;
pub(in crate::peer) mod folders;
pub(in crate::peer) mod running;
pub(in crate::peer) mod start;
pub(in crate::peer) mod stop;
