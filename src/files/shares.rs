//! Limits on transfers at the same time: a number in all, and of these at most a share for each peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::id::Position;

/// The party that a transfer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// The tasks of this peer itself, which share among themselves.
    Here,
    /// Another peer, known by its connection.
    Peer(Position),
    /// Requests relayed by this peer; their origin is not authenticated. They do not use the helper's own share.
    Through(Position),
}

impl Party {
    /// The other peer, if there is one and its connection proves it.
    pub fn certain(self) -> Option<Position> {
        match self {
            Party::Peer(peer) => Some(peer),
            Party::Through(_) | Party::Here => None,
        }
    }
}

/// The slots of one peer for transfers of objects.
#[derive(Debug)]
pub struct Transfers {
    /// The slots for objects that others send here.
    pub incoming: Slots,
    /// The slots for objects that are sent on request.
    pub outgoing: Slots,
    /// The slots for objects that this peer gives on its own.
    pub gives: Slots,
}

impl Default for Transfers {
    fn default() -> Transfers {
        Transfers {
            incoming: Slots::new(TRANSFERS_MAX, TRANSFERS_PER_PEER_MAX),
            outgoing: Slots::new(TRANSFERS_MAX, TRANSFERS_PER_PEER_MAX),
            gives: Slots::new(TRANSFERS_MAX, GIVES_PER_PEER_MAX),
        }
    }
}

impl Transfers {
    /// Whether an object is on its way, in or out.
    pub fn are_running(&self) -> bool {
        [&self.incoming, &self.outgoing, &self.gives]
            .iter()
            .any(|slots| slots.all.available_permits() < slots.most)
    }
}

/// The slots of one direction. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Slots {
    all: Arc<Semaphore>,
    most: usize,
    share: usize,
    /// The parties that have or want a slot.
    parties: Arc<Mutex<BTreeMap<Party, Arc<Semaphore>>>>,
}

/// A slot for one transfer; dropping it frees it.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    party: Party,
    /// Taken out and dropped first, before the table of parties is checked.
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Slots {
    /// `all` slots, of which each other peer gets at most `share`.
    pub fn new(all: usize, share: usize) -> Slots {
        Slots { all: Arc::new(Semaphore::new(all)), most: all, share, parties: Arc::default() }
    }

    /// A slot; waits for it without a timeout.
    pub(super) async fn acquire(&self, party: Party) -> Slot {
        let most = if party == Party::Here { Semaphore::MAX_PERMITS } else { self.share };
        let share = || Arc::new(Semaphore::new(most));
        let own = self.lock().entry(party).or_insert_with(share).clone();
        // The share comes first: a party over its share does not stand in the queue of all.
        let mut slot = Slot { slots: self.clone(), party, permits: None };
        // Neither semaphore is ever closed.
        if let (Ok(own), Ok(one)) = (own.acquire_owned().await, self.all.clone().acquire_owned().await) {
            slot.permits = Some((own, one));
        }
        slot
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Party, Arc<Semaphore>>> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.permits = None;
        let mut parties = self.slots.lock();
        // The table holds the only reference: no transfer of this party has a slot or waits for one.
        if parties.get(&self.party).is_some_and(|own| Arc::strong_count(own) == 1) {
            parties.remove(&self.party);
        }
    }
}

/// The transfers in each direction at the same time; each may have a thread at the disk.
const TRANSFERS_MAX: usize = 128;
/// The transfers of one peer among these: it cannot keep all others out.
const TRANSFERS_PER_PEER_MAX: usize = TRANSFERS_MAX / 4;
/// The transfers to one peer among those that this peer gives on its own.
pub(super) const GIVES_PER_PEER_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use futures_util::future::FutureExt as _;

    use super::*;

    #[test]
    fn one_party_has_its_share_and_no_more() {
        let slots = Slots::new(3, 2);
        let [one, other] = [Party::Peer, Party::Through].map(|party| party(Position::of_number(1)));
        let at_once = |party| slots.acquire(party).now_or_never();
        let first = at_once(one).unwrap();
        let second = at_once(one).unwrap();
        assert!(at_once(one).is_none(), "its share is used up");
        let third = at_once(other).unwrap();
        assert!(at_once(other).is_none(), "all are");
        drop(first);
        assert!(at_once(one).is_some());
        drop((second, third));
        assert!(slots.lock().is_empty(), "nobody is remembered");
    }
}
