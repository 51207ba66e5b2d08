//! Reports on copies that a person keeps at a peer, or frees there.

use serde::{Deserialize, Serialize};

use super::space::Amount;
use super::{Listed, PeerName};
use crate::id::{ContentId, FileName};

/// The result of pinning a file, or of ending its pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinReport {
    /// The name of the file, if one was given or is known.
    pub name: Option<FileName>,
    /// The content id of the file.
    pub content: ContentId,
    /// The length of the file in bytes; 0 if it is not here.
    pub length: u64,
    /// Whether the file is pinned now.
    pub pinned: bool,
    /// Whether that is new.
    pub changed: bool,
}

/// The result of freeing a peer's copy of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropReport {
    /// The name of the file, if one was given or is known.
    pub name: Option<FileName>,
    /// The content id of the file.
    pub content: ContentId,
    /// The length of the file in bytes.
    pub length: u64,
    /// The peers that vouched for their copies.
    pub holders: Vec<PeerName>,
}

/// The result of freeing all copies that are safe elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictReport {
    /// The freed copies; with `dry_run` the ones that would be freed.
    pub freed: Amount,
    /// The copies that stay because this peer is one of those that should keep the file.
    pub belonging: Amount,
    /// The copies that stay because they are pinned.
    pub pinned: Amount,
    /// The copies that stay because not enough other peers vouch for theirs, or none could be asked.
    pub unsafe_elsewhere: Amount,
    /// Why copies were not known to be safe elsewhere, each reason once.
    pub reasons: Listed<String>,
    /// Whether nothing was done yet.
    pub dry_run: bool,
}
