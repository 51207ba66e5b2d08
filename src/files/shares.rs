//! Transfers at the same time: so many in all, and of these at most a share for each peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::env::Env;
use super::wait::timeout;
use crate::id::Position;

/// Whose transfer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// This peer's own tasks, which share among themselves.
    Here,
    /// Another peer's.
    Peer(Position),
    /// Of whoever asks through this helper: who that is, is hearsay, and the helper's own share is another.
    Through(Position),
}

impl Party {
    /// The other peer, if there is one and it is known for certain.
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
    /// Objects that others send here.
    pub incoming: Slots,
    /// Objects that are sent on request.
    pub outgoing: Slots,
    /// Objects that this peer gives by itself.
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

/// The slots of one direction. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Slots {
    all: Arc<Semaphore>,
    share: usize,
    /// Those that have or want a slot.
    parties: Arc<Mutex<BTreeMap<Party, Arc<Semaphore>>>>,
}

/// A slot, as long as this lives.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    party: Party,
    /// Gone before the table is looked at.
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Slots {
    /// So many in all, and of them at most so many for each other peer.
    pub fn new(all: usize, share: usize) -> Slots {
        Slots { all: Arc::new(Semaphore::new(all)), share, parties: Arc::default() }
    }

    /// A slot; waits for it at most so long.
    pub async fn slot<E: Env>(&self, env: &Arc<E>, party: Party, wait: Duration) -> Option<Slot> {
        timeout(env, wait, self.acquire(party)).await
    }

    /// A slot; waits for it as long as that takes.
    async fn acquire(&self, party: Party) -> Slot {
        let most = if party == Party::Here { Semaphore::MAX_PERMITS } else { self.share };
        let share = || Arc::new(Semaphore::new(most));
        let own = self.lock().entry(party).or_insert_with(share).clone();
        // The share first: who has too many does not stand in the queue of all.
        let mut slot = Slot { slots: self.clone(), party, permits: None };
        // Neither is ever closed.
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
        // Nobody else has it or waits for it: the table's own is the only one.
        if parties.get(&self.party).is_some_and(|own| Arc::strong_count(own) == 1) {
            parties.remove(&self.party);
        }
    }
}

/// Transfers in each direction at the same time; each may have a thread at the disk.
const TRANSFERS_MAX: usize = 128;
/// Of these, one peer's: it cannot keep all others out.
const TRANSFERS_PER_PEER_MAX: usize = TRANSFERS_MAX / 4;
/// Of those that this peer gives by itself, to one peer.
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
