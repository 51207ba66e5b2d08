//! A valid member that lies, among honest peers: each lie is detected by whom it is told to, named in its
//! status, and routed around; no corrupt byte is delivered or stored as complete.

mod files;
mod forwards;
mod liar;
mod membership;
mod ring;
