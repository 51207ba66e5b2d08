//! Rings of real peers: processes of this build on loopback, with real files.
//!
//! Tests of 1 GiB run with `scripts/test.sh --all` only, and say so.
#![cfg(unix)]

mod client;
mod departing;
mod files;
mod forming;
mod harness;
mod input;
mod names;
mod peer;
mod refusals;
mod samples;
mod shell;
