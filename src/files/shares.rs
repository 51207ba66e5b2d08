//! Limits on transfers at the same time: a number in all, and of these at most a share for each peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::id::Position;
use crate::time::Moment;

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
    /// The slots for batches of small objects that others send here. A batch is bounded in bytes, so these slots bound
    /// the bytes in memory, too.
    pub batches: Slots,
    /// The slots for batches that are passed on to the next peer of a chain, for as long as their bytes are needed.
    pub passes: Slots,
    /// The slots for objects that are sent on request.
    pub outgoing: Slots,
    /// The slots for objects that this peer gives on its own.
    pub gives: Slots,
    /// The pace of the objects that this peer gives for repair.
    pub pace: Pace,
    /// The limit to all bytes of objects that this peer sends to others.
    pub upload: Meter,
    /// The limit to all bytes of objects that others send here.
    pub download: Meter,
}

/// The most bytes of objects that move within a second, for each purpose; `None` for no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// The objects that this peer sends for repair.
    pub repair: Option<u64>,
    /// All that this peer sends to other peers.
    pub upload: Option<u64>,
    /// All that other peers send to this one.
    pub download: Option<u64>,
}

impl Default for Transfers {
    fn default() -> Transfers {
        Transfers::new(Rates::default())
    }
}

impl Transfers {
    /// The slots of a peer with these limits.
    pub fn new(rates: Rates) -> Transfers {
        Transfers {
            incoming: Slots::new(TRANSFERS_MAX, TRANSFERS_PER_PEER_MAX),
            batches: Slots::new(BATCHES_MAX, BATCHES_PER_PEER_MAX),
            passes: Slots::new(BATCHES_MAX, BATCHES_PER_PEER_MAX),
            outgoing: Slots::new(TRANSFERS_MAX, TRANSFERS_PER_PEER_MAX),
            gives: Slots::new(TRANSFERS_MAX, GIVES_PER_PEER_MAX),
            pace: Pace { meter: Meter::new(rates.repair), waited_for: Arc::default() },
            upload: Meter::new(rates.upload),
            download: Meter::new(rates.download),
        }
    }

    /// Whether an object is on its way, in or out.
    pub fn are_running(&self) -> bool {
        [&self.incoming, &self.batches, &self.passes, &self.outgoing, &self.gives]
            .iter()
            .any(|slots| slots.all.available_permits() < slots.most)
    }
}

/// A limit to the bytes that move within a second: each slice of an object waits for its turn.
#[derive(Debug)]
pub struct Meter {
    rate_bytes_s: Option<u64>,
    /// The end of the last turn that was given out.
    taken_until: Mutex<Moment>,
}

impl Meter {
    /// A limit of so many bytes a second; `None` for no limit.
    pub fn new(rate_bytes_s: Option<u64>) -> Meter {
        Meter { rate_bytes_s, taken_until: Mutex::default() }
    }

    /// The moment at which this many bytes may move. Turns that come a little late are made up for, so that late timers
    /// do not lower the rate.
    pub(super) fn turn(&self, now: Moment, bytes: u64) -> Moment {
        let Some(rate) = self.rate_bytes_s else { return now };
        let mut taken_until = lock(&self.taken_until);
        // A receiver takes a longer silence for the end.
        let latest = now + TURN_WAIT_MAX;
        let begin = if now.since(*taken_until) > LATE_MAX { now } else { latest.min(*taken_until) };
        *taken_until = begin + Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1));
        begin.max(now)
    }
}

/// The pace of repair: a slice of an object waits for its turn if there is a limit to the rate, and while people wait
/// for other transfers of this peer.
#[derive(Debug)]
pub struct Pace {
    meter: Meter,
    /// The number of transfers that people wait for.
    waited_for: Arc<Mutex<usize>>,
}

/// A transfer that somebody waits for: until it is dropped, repair gives way to it.
#[derive(Debug)]
pub struct Foreground(Arc<Mutex<usize>>);

impl Drop for Foreground {
    fn drop(&mut self) {
        *lock(&self.0) -= 1;
    }
}

impl Pace {
    /// Begins a transfer that somebody waits for.
    pub fn foreground(&self) -> Foreground {
        *lock(&self.waited_for) += 1;
        Foreground(self.waited_for.clone())
    }

    /// Whether slices wait for turns at the moment.
    pub(super) fn is_slow(&self) -> bool {
        self.meter.rate_bytes_s.is_some() || *lock(&self.waited_for) > 0
    }

    /// The moment at which this many bytes of repair may go.
    pub(super) fn turn(&self, now: Moment, bytes: u64) -> Moment {
        self.meter.turn(now, bytes)
    }

    /// The pause after a slice that took so long to send, while people wait for other transfers. On a line that is full
    /// a slice takes long, and the pause leaves time to the others; on a free one there is nothing to give way to.
    pub(super) fn pause(&self, took: Duration) -> Duration {
        match *lock(&self.waited_for) {
            0 => Duration::ZERO,
            // Somebody may wait for the very object that repair brings, so that it must not stand still.
            _ => took.min(GIVE_WAY_MAX),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        lock(&self.parties)
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
/// The batches that come in, or are passed on, at the same time, and those of one peer among them.
const BATCHES_MAX: usize = 16;
const BATCHES_PER_PEER_MAX: usize = BATCHES_MAX / 2;
/// The transfers to one peer among those that this peer gives on its own.
pub(super) const GIVES_PER_PEER_MAX: usize = 8;
/// The longest wait of a slice for its turn.
const TURN_WAIT_MAX: Duration = Duration::from_secs(5);
/// How late a turn may be so that the next ones make up for it.
const LATE_MAX: Duration = Duration::from_millis(50);
/// The longest pause after a slice, while people wait for other transfers.
const GIVE_WAY_MAX: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use futures_util::future::FutureExt as _;

    use super::*;

    #[test]
    fn repair_keeps_to_its_rate_and_gives_way() {
        let slow = Transfers::new(Rates { repair: Some(1_000), ..Rates::default() }).pace;
        let free = Transfers::default().pace;
        let now = Moment(70_000);
        let turns = |pace: &Pace| [500, 500, 500].map(|bytes| pace.turn(now, bytes).since(now));
        assert_eq!(turns(&free), [Duration::ZERO; 3]);
        assert_eq!(turns(&slow), [0, 500, 1_000].map(Duration::from_millis));
        assert!(slow.is_slow() && !free.is_slow());
        assert_eq!(slow.turn(now + TURN_WAIT_MAX * 4, 500), now + TURN_WAIT_MAX * 4, "nothing is saved up");
        slow.turn(now, 100_000);
        assert_eq!(slow.turn(now, 1), now + TURN_WAIT_MAX, "no transfer is silent for ever");
        let took = Duration::from_millis(20);
        assert_eq!(free.pause(took), Duration::ZERO);
        let waited = (free.foreground(), free.foreground());
        assert!(free.is_slow());
        assert_eq!((free.pause(took), free.pause(TURN_WAIT_MAX)), (took, GIVE_WAY_MAX));
        drop(waited);
        assert!(!free.is_slow() && free.pause(took).is_zero());
    }

    #[test]
    fn a_meter_makes_up_for_late_timers_and_saves_up_no_more() {
        let meter = Meter::new(Some(1_000_000));
        let at = |ms: u64| Moment((1_000 + ms) * 1_000);
        assert_eq!(meter.turn(at(0), 10_000), at(0));
        assert_eq!(meter.turn(at(0), 10_000), at(10));
        // The timer of the second turn is 3 ms late; the fourth is in time again.
        assert_eq!([meter.turn(at(13), 10_000), meter.turn(at(23), 10_000)], [at(20), at(30)]);
        assert_eq!([meter.turn(at(85), 10_000), meter.turn(at(85), 10_000)], [at(85), at(85)], "45 ms late");
        assert_eq!(
            [meter.turn(at(900), 10_000), meter.turn(at(900), 10_000)],
            [at(900), at(910)],
            "too late"
        );
        assert_eq!(Meter::new(None).turn(at(0), u64::MAX), at(0));
    }

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
