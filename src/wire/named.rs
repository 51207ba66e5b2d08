//! Peers as people know them, and lists of which a report has only the beginning.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::LISTED_MAX;
use crate::id::Position;

/// A peer as people know it: by the display name in its certificate, else by its number, else by the
/// first hexadecimal digits of its position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerName {
    /// The position of the peer.
    pub position: Position,
    /// Its display name, if it has one and its certificate was seen.
    pub name: Option<String>,
}

impl PeerName {
    /// The name to show: the display name, else the label of the position.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.position.label())
    }
}

impl From<Position> for PeerName {
    fn from(position: Position) -> PeerName {
        PeerName { position, name: None }
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

/// The beginning of a list, and the length of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed<T> {
    /// The first entries, at most [`LISTED_MAX`].
    pub first: Vec<T>,
    /// The number of entries in all.
    pub total: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Listed<T> {
        Listed { first: Vec::new(), total: 0 }
    }
}

impl<T> FromIterator<T> for Listed<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Listed<T> {
        let mut listed = Listed::default();
        for item in items {
            listed.total += 1;
            if listed.first.len() < LISTED_MAX {
                listed.first.push(item);
            }
        }
        listed
    }
}

impl<T> Listed<T> {
    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}
