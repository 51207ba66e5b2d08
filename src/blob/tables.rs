//! The tables of the index, and their rows.

use redb::TableDefinition;

use crate::id::{ContentId, OutboardDigest};
use crate::time::Timestamp;
use crate::wire::{ObjectInfo, limits};

/// Why an object is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The ring placed it here, because this peer owns its key or is one of the peers behind the owner.
    Replica,
    /// A user of this peer requested it.
    Requested,
}

pub(super) fn read_object(
    key: &[u8; 32],
    (length, outboard, kind): (u64, &[u8; 32], u8),
) -> (ObjectInfo, Kind) {
    let kind = if kind == REQUESTED { Kind::Requested } else { Kind::Replica };
    (ObjectInfo { content: ContentId(*key), length, outboard: OutboardDigest(*outboard) }, kind)
}

pub(super) fn read_name((clock, content): (u64, Option<&[u8; 32]>)) -> (Timestamp, Option<ContentId>) {
    (Timestamp(clock), content.map(|content| ContentId(*content)))
}

/// The most names of one object that a listing shows.
pub(super) const NAMES_LISTED_MAX: usize = limits::LINKS_PER_OBJECT_MAX;

/// Content id → length, outboard digest, kind.
pub(super) const OBJECTS: TableDefinition<'_, &[u8; 32], (u64, &[u8; 32], u8)> =
    TableDefinition::new("objects");
/// Name → clock, and the object that it stands for; no object once the name was unlinked.
pub(super) const NAMES: TableDefinition<'_, &str, (u64, Option<&[u8; 32]>)> = TableDefinition::new("names");
/// (Content id, name) → clock: the reverse of the table above.
pub(super) const NAMES_OF: TableDefinition<'_, (&[u8; 32], &str), u64> =
    TableDefinition::new("names of objects");
/// Name key → record, opaque here.
pub(super) const RECORDS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("records");
pub(super) const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

pub(super) const REMEMBERED: &str = "remembered members";
pub(super) const KNOWN: &str = "known of members";
pub(super) const FORMAT: &str = "format";
pub(super) const FORMAT_KNOWN: u64 = 1;
pub(super) const BUILT: &str = "built";
pub(super) const BYTES: &str = "bytes";
/// The place in the log of records before which the index has all of them: the number of the file, the offset in it.
pub(super) const LOG_FILE: &str = "log file";
pub(super) const LOG_OFFSET: &str = "log offset";
pub(super) const SIBLINGS_KNOWN: &str = "siblings";
pub(super) const VERIFIED_KNOWN: &str = "verified";
pub(super) const REPLICA: u8 = 0;
pub(super) const REQUESTED: u8 = 1;
