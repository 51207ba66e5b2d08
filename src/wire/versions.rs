//! Reports on the versions of a name.

use serde::{Deserialize, Serialize};

use super::{MissingCopy, PeerName};
use crate::id::{ContentId, FileName};

/// The versions of a name, as the peers that keep its record know them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReport {
    /// The name.
    pub name: FileName,
    /// Its versions, the current one first, then the others, latest first.
    pub versions: Vec<VersionLine>,
}

/// One version of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionLine {
    /// The number of the version, from 1. Siblings may have the number of another version.
    pub version: u64,
    /// The time at which it was written, as RFC 3339.
    pub written: String,
    /// The peer that wrote it.
    pub writer: PeerName,
    /// The place of this version among the others.
    pub state: VersionState,
    /// The file that the name stood for; `None` if this version removed the name.
    pub file: Option<VersionFile>,
}

/// The place of a version among the others of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionState {
    /// The name stands for it now.
    Current,
    /// A later version replaced it.
    Past,
    /// It lost to a version that was written at the same time in another place, and no version replaced it.
    Sibling,
}

/// The file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionFile {
    /// The content id of the file.
    pub content: ContentId,
    /// The length of the file in bytes.
    pub length: u64,
    /// The number of peers that hold its bytes now; `None` if too few peers answered to tell.
    pub holders: Option<u64>,
}

/// The result of removing a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveReport {
    /// The name that was removed.
    pub name: FileName,
    /// The version that the removal is.
    pub version: u64,
    /// The version that the name had before.
    pub before: u64,
    /// The content that the name stood for before.
    pub content: ContentId,
    /// The copies of the removal's record that are not there yet.
    pub missing: Vec<MissingCopy>,
}

/// The result of restoring a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreReport {
    /// The name that was changed.
    pub name: FileName,
    /// The version that the name has now.
    pub version: u64,
    /// The version whose file it stands for.
    pub from: u64,
    /// The content that the name stands for.
    pub content: ContentId,
    /// The length of the file in bytes.
    pub length: u64,
    /// The number of siblings that were settled.
    pub settled: u64,
    /// Whether the name stood for this file already and had no siblings, so that there is no new version.
    pub unchanged: bool,
    /// The copies of the record that are not there yet.
    pub missing: Vec<MissingCopy>,
}
