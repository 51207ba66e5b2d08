//! The flows of [`crate::files`], joined with disk and network.
//!
//! | part | what it is |
//! |---|---|
//! | `env` | the environment of the flows |
//! | `bytes` | the bytes of objects, on streams and on the disk |
//! | `chunks` | an object that comes in chunk by chunk |
//! | `serve` | takes streams and hands each request to its one handler |
//! | `store` | a store that a person asks for |
//! | `request` | a request, from a name to a file in received/ |
//! | `relay` | a request whose bytes go to a client instead of the disk |
//! | `leave` | a departure, and its report |
//! | `records` | signatures of name records |
//! | `hopeless` | attempts that are not worth making: files that do not fit, copies that other peers do not take |
//! | `unkept` | the files that members of the ring cannot take |
//! | `mend` | shows the notices of the store, and fetches bad copies again |
//! | `mending` | the searches for good copies that are under way |
//! | `notice_book` | the recent notices |
//! | `health` | which files have fewer copies than they should, and how many copies all have |
//! | `describe` | this peer in its own words |
//! | `scrub` | objects that are read and hashed again, for a person or by the schedule |
//! | `scrubs` | the one scrub that a person may run |
//! | `verified` | when copies were last verified, here and at other peers |
//! | `health` | which files have fewer copies than they should |
//! | `lost` | the search for contents that are named and that no peer has |
//! | `lost_search` | when that search is due |
//! | `versions` | the versions of a name, its removal and its restoring |
//! | `health_book` | the known copies of the files that this peer reports on |
//! | `space` | the room for files: pins, and copies that are freed |
//! | `state` | what the flows share |

pub(in crate::peer) mod bytes;
pub(in crate::peer) mod chunks;
pub(in crate::peer) mod describe;
pub(in crate::peer) mod env;
pub(in crate::peer) mod health;
pub(in crate::peer) mod health_book;
pub(in crate::peer) mod hopeless;
pub(in crate::peer) mod leave;
pub(in crate::peer) mod lost;
pub(in crate::peer) mod lost_search;
pub(in crate::peer) mod mend;
pub(in crate::peer) mod mending;
pub(in crate::peer) mod notice_book;
pub(in crate::peer) mod records;
pub(in crate::peer) mod relay;
pub(in crate::peer) mod request;
pub(in crate::peer) mod scrub;
pub(in crate::peer) mod scrubs;
pub(in crate::peer) mod serve;
pub(in crate::peer) mod space;
pub(in crate::peer) mod state;
pub(in crate::peer) mod store;
pub(in crate::peer) mod unkept;
pub(in crate::peer) mod verified;
pub(in crate::peer) mod versions;
