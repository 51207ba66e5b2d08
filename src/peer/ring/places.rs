//! The places of forwarded exchanges: a bounded number, and a bounded share for each peer. When all places are taken, a
//! silent exchange of the peers with most places gives way.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::id::Position;
use crate::wire::limits::{FORWARDS_MAX, FORWARDS_PER_PEER_MAX};

/// The exchanges that this peer forwards.
#[derive(Debug, Default)]
pub(in crate::peer) struct Forwards(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    exchanges: HashMap<u64, Exchange>,
    next: u64,
}

/// One forwarded exchange: the peer it belongs to, and when something last came on it.
#[derive(Debug)]
struct Exchange {
    of: Position,
    moved: Instant,
    gives_way: Arc<Notify>,
}

/// The place of one exchange; dropping it frees the place.
pub(super) struct Place<'a> {
    forwards: &'a Forwards,
    number: u64,
    /// Wakes when the exchange has to give way to another one.
    pub gives_way: Arc<Notify>,
}

impl Forwards {
    /// Takes a place for one more exchange of this peer. If all places are taken, another exchange gives way if it may.
    pub(super) fn begin(&self, of: Position, now: Instant) -> Option<Place<'_>> {
        let mut table = self.lock();
        let own = table.exchanges.values().filter(|exchange| exchange.of == of).count();
        if own >= FORWARDS_PER_PEER_MAX || table.exchanges.len() >= FORWARDS_MAX {
            let number = table.exchange_to_evict(&of, own, now)?;
            let exchange = table.exchanges.remove(&number)?;
            exchange.gives_way.notify_one();
        }
        let number = table.next;
        table.next += 1;
        let gives_way = Arc::new(Notify::new());
        let exchange = Exchange { of, moved: now, gives_way: gives_way.clone() };
        table.exchanges.insert(number, exchange);
        Some(Place { forwards: self, number, gives_way })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The exchange that gives way: the one that was silent longest, among the asker's own if the asker has its full
    /// share, otherwise among those of the peers with most exchanges. A peer with as few as the asker loses only an
    /// exchange that was silent for at least [`SILENT_AFTER`].
    fn exchange_to_evict(&self, asker: &Position, own: usize, now: Instant) -> Option<u64> {
        let mut counts: BTreeMap<Position, usize> = BTreeMap::new();
        self.exchanges.values().for_each(|exchange| *counts.entry(exchange.of).or_default() += 1);
        let most = counts.values().copied().max().unwrap_or_default();
        let (from, anyway): (Vec<Position>, bool) = match own >= FORWARDS_PER_PEER_MAX {
            true => (vec![*asker], false),
            false => {
                let have_most = counts.iter().filter(|(_, count)| **count == most);
                (have_most.map(|(position, _)| *position).collect(), most > own + 1)
            }
        };
        let longest = |among: &dyn Fn(&Exchange) -> bool| {
            let among = self.exchanges.iter().filter(|(_, exchange)| among(exchange));
            among.min_by_key(|(number, exchange)| (exchange.moved, **number))
        };
        let silent = |exchange: &Exchange| now.saturating_duration_since(exchange.moved) >= SILENT_AFTER;
        let chosen = longest(&|exchange| from.contains(&exchange.of)).filter(|(_, e)| anyway || silent(e));
        chosen.map(|(number, _)| *number)
    }
}

impl Place<'_> {
    /// Notes that something came on the exchange.
    pub(super) fn moved(&self) {
        if let Some(exchange) = self.forwards.lock().exchanges.get_mut(&self.number) {
            exchange.moved = Instant::now();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.forwards.lock().exchanges.remove(&self.number);
    }
}

/// An exchange that was silent for this long gives way when places are short.
const SILENT_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn take(forwards: &Forwards, number: u8, count: usize, now: Instant) -> Vec<Place<'_>> {
        (0..count).map_while(|_| forwards.begin(Position::of_number(number), now)).collect()
    }

    fn count(forwards: &Forwards, number: u8) -> usize {
        let of = Position::of_number(number);
        forwards.lock().exchanges.values().filter(|exchange| exchange.of == of).count()
    }

    #[test]
    fn no_peer_takes_all_places() {
        let (forwards, now) = (Forwards::default(), Instant::now());
        let greedy = take(&forwards, 1, FORWARDS_MAX, now);
        assert_eq!(greedy.len(), FORWARDS_PER_PEER_MAX);
        let many: Vec<Place<'_>> =
            (2..20).flat_map(|number| take(&forwards, number, FORWARDS_MAX, now)).collect();
        assert_eq!(forwards.lock().exchanges.len(), FORWARDS_MAX);
        drop((greedy, many));
        assert!(forwards.lock().exchanges.is_empty());
    }

    /// Goal: a few members that hold all places, and let a byte pass now and then, do not keep others out.
    #[test]
    fn members_with_most_places_give_way() {
        let (forwards, now) = (Forwards::default(), Instant::now());
        let places: Vec<Place<'_>> =
            (1..5).flat_map(|number| take(&forwards, number, FORWARDS_PER_PEER_MAX, now)).collect();
        assert_eq!(forwards.lock().exchanges.len(), FORWARDS_MAX);
        let newcomer = take(&forwards, 99, 8, now);
        assert_eq!(newcomer.len(), 8);
        assert_eq!(count(&forwards, 99), 8, "none of its own gave way");
        assert_eq!(forwards.lock().exchanges.len(), FORWARDS_MAX);
        assert!((1..5).all(|number| count(&forwards, number) == FORWARDS_PER_PEER_MAX - 2));
        drop(places);
        assert_eq!(forwards.lock().exchanges.len(), 8);
    }

    #[test]
    fn a_silent_exchange_gives_way_to_ones_own() {
        let (forwards, now) = (Forwards::default(), Instant::now());
        let places = take(&forwards, 1, FORWARDS_PER_PEER_MAX, now);
        assert!(forwards.begin(Position::of_number(1), now).is_none());
        let later = now + SILENT_AFTER;
        assert!(forwards.begin(Position::of_number(1), later).is_some());
        assert!(!forwards.lock().exchanges.contains_key(&places[0].number), "the oldest");
    }
}
