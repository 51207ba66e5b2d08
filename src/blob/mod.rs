//! Files on disk: objects under their SHA-256, outboards, names, and the index of all of them.
//!
//! One [`Store`] has one data directory:
//!
//! ```text
//! DATA_DIR/                       mode 0700
//!   peer.toml                     PeerFile: who this peer is
//!   peer.toml.spare               room for the next one
//!   objects/ab/abcdef…            whole files, mode 0444; the name is the SHA-256
//!   outboards/ab/abcdef….mid      outboards, for files of more than one chunk
//!   names/report.pdf              relative symbolic link to an object held here
//!   received/report.pdf           what was requested here, under its own name
//!   incoming/abcdef….part         partial transfers, resumed from the last whole chunk
//!   incoming/abcdef….marks        which chunks of a part are there for certain
//!   incoming/N.tmp                on their way to their place; removed when the store opens
//!   quarantine/                   what failed verification, with the reason beside it
//!   records/N.base, N.log         a second copy of the name records, for a lost index
//!   journal/N.journal             small objects whose files are not durable yet; replayed when the store opens
//!   known                         hashes of a user's files, by their stamps
//!   index.redb                    objects, names, records
//!   reserve                       room for what must be written on a full disk
//! ```
//!
//! Invariants. Only a complete file, every byte hashed, is in objects/ or the index. A call that reports success has
//! made its work durable: data synced, then its name, then the index entry; or, for a small object, all three in the
//! journal. After a failed sync nothing more is written
//! ([`BlobError::Poisoned`]). At most one store has a data directory.
//!
//! Everything here blocks; asynchronous callers use `spawn_blocking`. Nothing here knows the ring: a name record is
//! opaque bytes, and other modules decide which peer should hold which object.

mod backend;
mod buffers;
mod bulk;
mod change;
mod check;
mod checks;
mod chunks;
mod claim;
mod digests;
mod discard;
mod disk;
mod error;
mod evict;
mod fit;
mod flight;
mod folder;
mod graves;
mod held;
mod holders;
mod identity;
mod index;
mod journal;
mod keeping;
mod known;
mod lapse;
mod layout;
mod leases;
mod links;
mod log;
mod marks;
mod memory;
mod notice;
mod open;
mod part;
mod promises;
mod rebuild;
mod receive;
mod records;
mod repeats;
mod reserve;
mod room;
mod scrub;
mod settling;
mod siblings;
mod small;
mod source;
mod store;
mod stripes;
mod tables;
#[cfg(test)]
mod tests;
mod twin;
mod uses;
mod verified;
mod wish;

pub use backend::{is_in_use, occupy};
pub use bulk::{BulkWriter, Cache};
pub use change::{KeptName, KeptRecord, ObjectRow};
pub use chunks::{ChunkFate, ChunkReceiver};
pub(crate) use disk::is_sync_unsupported;
pub use disk::{Access, Disk, DiskFile, FileSystem, RealDisk, Stamp, Stat, SyncError};
pub use error::BlobError;
pub use evict::{Copy, Freeing};
pub use graves::Grave;
pub use held::HeldRows;
pub use holders::Holder;
pub use identity::PeerFile;
pub use known::KnownFiles;
pub use lapse::Unreferenced;
pub use memory::{Loss, MemoryDisk};
pub use notice::Notice;
pub use receive::Receiver;
pub use room::{Limits, Room};
pub use scrub::{Aged, Scrub, ScrubStep};
pub use small::SmallObject;
pub use source::{Source, SourceReader};
pub use store::{ObjectReader, Store};
pub use tables::Kind;
pub use wish::CopyWish;
