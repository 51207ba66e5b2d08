//! Real peers over QUIC: processes of this build on loopback, members that lie among honest peers in this process, and
//! machines of their own. One binary, since each one links the crate anew; tests that need no network are in
//! `scenarios`, which runs in virtual time.

#[path = "support/eventually.rs"]
mod eventually;
mod hostile;
mod namespaces;
mod ring;
