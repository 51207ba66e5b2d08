//! The ring, as one running peer keeps it.
//!
//! | part | what it is |
//! |---|---|
//! | `actor` | owns the [`crate::chord::Node`]; publishes a [`crate::chord::View`] after every change |
//! | `message` | the messages to the actor |
//! | `peer_file` | DATA_DIR/peer.toml |
//! | `contact` | keeps connections to the members, finds ways to those that cannot be reached, keeps their names |
//! | `contact_state` | which members have no connection, are sought, or are away |
//! | `forward` | joins streams between two peers that cannot reach each other |
//! | `places` | the bounded places of forwarded streams |
//! | `lookup` | asks other peers about the ring |
//! | `blame` | faults of other peers, and how they are reported |
//! | `ping` | asks a peer that a person names how it answers |
//! | `forget` | removes a member that will not come back |
//! | `revocation` | learns of revoked keys, tells others, and refuses these keys |
//! | `clock` | time since the peer was made, sleep of the machine included |
//! | `state` | what the tasks of a peer know of its ring, and its time |

pub(in crate::peer) mod actor;
pub(in crate::peer) mod blame;
pub(in crate::peer) mod clock;
pub(in crate::peer) mod contact;
pub(in crate::peer) mod contact_state;
pub(in crate::peer) mod forget;
pub(in crate::peer) mod forward;
pub(in crate::peer) mod lookup;
pub(in crate::peer) mod message;
pub(in crate::peer) mod peer_file;
pub(in crate::peer) mod ping;
pub(in crate::peer) mod places;
pub(in crate::peer) mod revocation;
pub(in crate::peer) mod state;
