//! The peers that are believed to hold a file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::{ContentId, Position};

/// A peer that is believed to hold a file; valid while this incarnation of the peer lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The position of the peer.
    pub position: Position,
    /// The incarnation of the peer.
    pub incarnation: u64,
}

/// The known holders, as soft state: lost at a restart, and announced anew.
#[derive(Default)]
pub(super) struct Holders(Mutex<HashMap<ContentId, Vec<Holder>>>);

impl Holders {
    pub fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, Vec<Holder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
