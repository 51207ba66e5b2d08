//! Rings of real peers: processes of this build on loopback, with real files.
//!
//! Tests of 1 GiB run with `scripts/test.sh --all` only, and say so.
#![cfg(unix)]

mod admission;
mod client;
mod departing;
mod files;
mod forming;
mod full;
mod harness;
mod health;
mod idle;
mod input;
mod names;
mod pauses;
mod peer;
mod reach;
mod refusals;
mod rot;
mod samples;
mod shell;
mod silent;
mod starting;
