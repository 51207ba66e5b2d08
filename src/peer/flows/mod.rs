//! What joins the flows of [`crate::files`] with disk and network.
//!
//! | part | what it is |
//! |---|---|
//! | `env` | the world of the flows |
//! | `bytes` | the bytes of objects, on streams and on the disk |
//! | `serve` | takes streams and hands each request to its one handler |
//! | `store` | a store that a person asks for |
//! | `request` | a request, from a name to a file in received/ |
//! | `relay` | a request whose bytes go to a client and not to the disk |
//! | `leave` | a departure, and what people are told of it |
//! | `records` | signatures of name records |
//! | `hopeless` | what need not be tried: files that do not fit, copies that others do not take |
//! | `mend` | what the store has to tell, and what is fetched again |
//! | `health` | which files have fewer copies than they should |

pub(in crate::peer) mod bytes;
pub(in crate::peer) mod env;
pub(in crate::peer) mod health;
pub(in crate::peer) mod hopeless;
pub(in crate::peer) mod leave;
pub(in crate::peer) mod mend;
pub(in crate::peer) mod records;
pub(in crate::peer) mod relay;
pub(in crate::peer) mod request;
pub(in crate::peer) mod serve;
pub(in crate::peer) mod store;
