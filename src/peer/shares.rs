//! Transfers at the same time: so many in all, and of these at most a share for each peer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::id::Position;

/// The slots of one direction. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    share: usize,
    /// Peers that have or want a slot.
    peers: Arc<Mutex<HashMap<Option<Position>, Arc<Semaphore>>>>,
}

/// A slot, as long as this lives.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    peer: Option<Position>,
    /// Gone before the table is looked at.
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Slots {
    pub(super) fn new(all: usize, share: usize) -> Slots {
        Slots { all: Arc::new(Semaphore::new(all)), share, peers: Arc::default() }
    }

    /// A slot for another peer, or for this one's own tasks, which share among themselves; waits for it at
    /// most so long.
    pub(super) async fn slot(&self, peer: Option<Position>, wait: Duration) -> Option<Slot> {
        let share =
            || Arc::new(Semaphore::new(if peer.is_some() { self.share } else { Semaphore::MAX_PERMITS }));
        let own = self.lock().entry(peer).or_insert_with(share).clone();
        // The share first: who has too many does not stand in the queue of all.
        let mut slot = Slot { slots: self.clone(), peer, permits: None };
        let permits = timeout(wait, async {
            Some((own.acquire_owned().await.ok()?, self.all.clone().acquire_owned().await.ok()?))
        });
        slot.permits = permits.await.ok().flatten();
        slot.permits.is_some().then_some(slot)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<Position>, Arc<Semaphore>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.permits = None;
        let mut peers = self.slots.lock();
        // Nobody else has it or waits for it: the table's own is the only one.
        if peers.get(&self.peer).is_some_and(|own| Arc::strong_count(own) == 1) {
            peers.remove(&self.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_peer_has_its_share_and_no_more() {
        let slots = Slots::new(3, 2);
        let [one, other] = [1, 2].map(|number| Some(Position::of_number(number)));
        let first = slots.slot(one, Duration::ZERO).await.unwrap();
        let second = slots.slot(one, Duration::ZERO).await.unwrap();
        assert!(slots.slot(one, Duration::ZERO).await.is_none(), "its share is used up");
        let third = slots.slot(other, Duration::ZERO).await.unwrap();
        assert!(slots.slot(other, Duration::ZERO).await.is_none(), "all are");
        drop(first);
        assert!(slots.slot(one, Duration::from_secs(5)).await.is_some());
        drop((second, third));
        assert!(slots.lock().is_empty(), "nobody is remembered");
    }
}
