//! How a peer begins.
//!
//! | part | what it is |
//! |---|---|
//! | `start` | identity, folders, socket; then everything else begins |
//! | `admit` | certificates for peers and clients, where the ring CA's key is; needs no running peer |
//! | `bundle` | a start with a certificate that was made elsewhere |

pub(in crate::peer) mod admit;
pub(in crate::peer) mod bundle;
pub(in crate::peer) mod start;
