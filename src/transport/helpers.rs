//! The helpers through which peers are reached, and the peers that were reached so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::lock;
use crate::id::Position;
use crate::wire::Entry;

/// The helper of each peer that needs one, and the peers that were recently asked through a helper; at most
/// [`DETOURS_MAX`] and [`USED_MAX`].
#[derive(Debug, Default)]
pub(super) struct Detours {
    pub(super) helpers: HashMap<Position, Entry>,
    pub(super) used: HashMap<Position, Instant>,
}

impl Detours {
    fn note_use(&mut self, of: Position) {
        let now = Instant::now();
        if self.used.len() >= USED_MAX && !self.used.contains_key(&of) {
            let oldest = self.used.iter().min_by_key(|(_, at)| **at).map(|(position, _)| *position);
            oldest.map(|position| self.used.remove(&position));
        }
        self.used.insert(of, now);
    }
}

/// The answering peer of a stream that a helper joined to another, while the stream goes on.
#[derive(Debug)]
pub(super) struct Reached {
    peer: Entry,
    detours: Arc<Mutex<Detours>>,
}

impl Reached {
    pub(super) fn new(peer: Entry, detours: &Arc<Mutex<Detours>>) -> Reached {
        lock(detours).note_use(peer.position);
        Reached { peer, detours: detours.clone() }
    }

    pub(super) fn peer(&self) -> &Entry {
        &self.peer
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        // Bytes that came on the stream may be examined only now.
        lock(&self.detours).note_use(self.peer.position);
    }
}

/// The most peers that are reached through helpers at the same time.
pub(super) const DETOURS_MAX: usize = 256;
/// The most peers that are remembered as asked through a helper.
const USED_MAX: usize = 1_024;
