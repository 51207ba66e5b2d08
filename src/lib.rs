//! Quoit is a ring of peers that keep files for each other, each file under the SHA-256 of its bytes. Each peer is one
//! [`Handle`] with one data directory; peers find each other, and the owners of each file, without a server. Both ends of
//! every connection are authenticated by the ring's own certificate authority, and a file counts as stored when several
//! peers have it on disk.
//!
//! # A ring of two
//!
//! One peer founds a ring, the other joins it; a file that is stored at one is requested at the other.
//!
//! ```
//! use quoit::{Entrance, StartOptions, StoreOptions, Wanted, start};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let options = |name: &str, entrance| StartOptions {
//!     data_dir: Some(dir.path().join(name)),
//!     certs_dir: Some(dir.path().join("certs")),
//!     listen: Some(([127, 0, 0, 1], 0).into()),
//!     ..StartOptions::new(entrance)
//! };
//! let first = start(options("first", Entrance::Found)).await?;
//! first.wait_active().await?;
//! let second = start(options("second", Entrance::Join { known: first.address() })).await?;
//! second.wait_active().await?;
//!
//! let path = dir.path().join("hello.txt");
//! std::fs::write(&path, "hello, ring\n")?;
//! let stored = first.store(&path, &StoreOptions::default(), &Default::default()).await?;
//! second.request(&Wanted::Name(stored.name), true, &Default::default()).await?;
//! let received = second.data_dir().join("received/hello.txt");
//! assert_eq!(std::fs::read_to_string(received)?, "hello, ring\n");
//!
//! second.leave().await?;
//! first.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go next
//!
//! - [`StartOptions`] and [`Entrance`] are the ways into a ring; [`Handle`] is all that a running peer does. Each of its
//!   operations that can fail has an error type of its own.
//! - [`Client`] commands a peer of another process, with the same methods.
//! - [`peer::admit`] makes certificates for the peers of other machines.
//! - `examples/` has whole programs, `docs/README.md` the list of the documents. `docs/architecture.md` begins with one
//!   page for newcomers, `docs/glossary.md` has the words.
//!
//! # The map of the crate
//!
//! Bottom up; imports go downward only (a test reads them). A user of the library needs [`peer`], and the values of
//! [`id`] and [`config`]. The other modules are public for tests, measurements and the curious.
//!
//! | layer | modules | what they are |
//! |---|---|---|
//! | L0 | [`id`] [`time`] [`config`] `backoff` | values |
//! | L1 | [`wire`] [`outboard`] [`tree`] | messages, their codec and their bounds; SHA-256 chunk by chunk; the object that stands for a directory |
//! | L2 | [`chord`] [`replica`] [`names`] | the pure core: decides, touches nothing |
//! | L3 | [`files`] [`blob`] [`transport`] | what is done with files; disk and network |
//! | L4 | `shelf` [`peer`] [`sim`] | joins flows and disk; core, flows, disk and network in one running peer; the same in a deterministic world for tests |
//! | L5 | `cli` | the program `quoit`: commands and the prompt |

pub use peer::{
    Client, Entrance, Handle, LeaveError, RequestError, StartError, StartOptions, StoreError, StoreOptions,
    Wanted, start,
};

pub mod peer;

pub mod config;
pub mod id;
pub mod time;
pub mod wire;

mod backoff;
pub mod blob;
pub mod chord;
pub mod files;
pub mod names;
pub mod outboard;
pub mod replica;
mod shelf;
pub mod transport;
pub mod tree;

/// The program `quoit`. It is no part of the library's interface.
#[doc(hidden)]
pub mod cli;
pub mod sim;

// The one wait of all tests; those below `tests` include it, too.
#[cfg(test)]
#[path = "../tests/support/eventually.rs"]
mod eventually;

// The one relay of tests and benchmarks.
#[cfg(test)]
#[path = "../tests/support/line.rs"]
mod line;
