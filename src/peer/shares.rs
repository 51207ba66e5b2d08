//! Transfers at the same time: so many in all, and of these at most a share for each peer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::id::Position;
use crate::transport::RequestStream;

/// Whose transfer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Party {
    /// This peer's own tasks, which share among themselves.
    Here,
    /// Another peer's.
    Peer(Position),
    /// Of whoever asks through this helper: who that is, is hearsay, and the helper's own share is another.
    Through(Position),
}

impl Party {
    /// Who is behind a stream.
    pub(super) fn of(stream: &RequestStream) -> Party {
        let peer = stream.peer().position;
        if stream.is_through_a_helper() { Party::Through(peer) } else { Party::Peer(peer) }
    }
}

/// The slots of one direction. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    share: usize,
    /// Those that have or want a slot.
    parties: Arc<Mutex<HashMap<Party, Arc<Semaphore>>>>,
}

/// A slot, as long as this lives.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    party: Party,
    /// Gone before the table is looked at.
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Slots {
    pub(super) fn new(all: usize, share: usize) -> Slots {
        Slots { all: Arc::new(Semaphore::new(all)), share, parties: Arc::default() }
    }

    /// A slot; waits for it at most so long.
    pub(super) async fn slot(&self, party: Party, wait: Duration) -> Option<Slot> {
        let most = if party == Party::Here { Semaphore::MAX_PERMITS } else { self.share };
        let share = || Arc::new(Semaphore::new(most));
        let own = self.lock().entry(party).or_insert_with(share).clone();
        // The share first: who has too many does not stand in the queue of all.
        let mut slot = Slot { slots: self.clone(), party, permits: None };
        let permits = timeout(wait, async {
            Some((own.acquire_owned().await.ok()?, self.all.clone().acquire_owned().await.ok()?))
        });
        slot.permits = permits.await.ok().flatten();
        slot.permits.is_some().then_some(slot)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Party, Arc<Semaphore>>> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.permits = None;
        let mut parties = self.slots.lock();
        // Nobody else has it or waits for it: the table's own is the only one.
        if parties.get(&self.party).is_some_and(|own| Arc::strong_count(own) == 1) {
            parties.remove(&self.party);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_party_has_its_share_and_no_more() {
        let slots = Slots::new(3, 2);
        let [one, other] = [Party::Peer, Party::Through].map(|party| party(Position::of_number(1)));
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
