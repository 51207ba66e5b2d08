//! A valid member that lies, among honest peers: the peer that hears a lie detects it, names it in its status, and
//! routes around the liar; no corrupt byte is delivered or stored as complete.

mod files;
mod forwards;
mod liar;
mod membership;
mod ring;
