//! Who did what wrong: counted, told, and held against them for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::api::{Listed, Misbehaviour, PeerEvent};
use super::shared::Shared;
use crate::chord::View;
use crate::id::Position;
use crate::wire::Fault;

/// What is held against whom; at most [`PEERS_MAX`] peers.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    peers: BTreeMap<Position, BTreeMap<Fault, Line>>,
    /// The living members, hashed, and since when they are the same.
    ring: Option<(u64, Instant)>,
}

#[derive(Debug)]
struct Line {
    count: u64,
    last: Instant,
    told: Instant,
}

impl Ledger {
    /// Counts a fault. Says whether it is to be told: the first time, and then now and then.
    fn note(&self, peer: Position, fault: Fault, now: Instant) -> bool {
        let mut book = self.lock();
        if book.peers.len() >= PEERS_MAX && !book.peers.contains_key(&peer) {
            let last = |lines: &BTreeMap<Fault, Line>| lines.values().map(|line| line.last).max();
            let oldest = book.peers.iter().min_by_key(|(_, lines)| last(lines)).map(|(peer, _)| *peer);
            oldest.map(|peer| book.peers.remove(&peer));
        }
        let lines = book.peers.entry(peer).or_default();
        let first = !lines.contains_key(&fault);
        let line = lines.entry(fault).or_insert(Line { count: 0, last: now, told: now });
        line.count += 1;
        line.last = now;
        let tell = first || now.saturating_duration_since(line.told) >= TELL_EVERY;
        if tell {
            line.told = now;
        }
        tell
    }

    /// Those who lied lately: they are asked last.
    pub(super) fn distrusted(&self) -> BTreeSet<Position> {
        let lately =
            |lines: &BTreeMap<Fault, Line>| lines.values().any(|line| line.last.elapsed() < DISTRUST);
        self.lock().peers.iter().filter(|(_, lines)| lately(lines)).map(|(peer, _)| *peer).collect()
    }

    /// All that was counted, for people.
    fn report(&self) -> Vec<(Position, Fault, u64)> {
        let book = self.lock();
        let lines = book.peers.iter().flat_map(|(peer, lines)| lines.iter().map(move |line| (peer, line)));
        lines.map(|(peer, (kind, line))| (*peer, *kind, line.count)).collect()
    }

    /// Whether the ring has been the same for a while, so that who knows less than this peer does not merely
    /// lag behind.
    pub(super) fn is_settled(&self, view: &View) -> bool {
        let mut hasher = DefaultHasher::new();
        view.alive().for_each(|entry| (entry.position, entry.incarnation).hash(&mut hasher));
        let (now, hash) = (Instant::now(), hasher.finish());
        let mut book = self.lock();
        match book.ring {
            Some((same, since)) if same == hash => now.saturating_duration_since(since) >= SETTLED_AFTER,
            _ => {
                book.ring = Some((hash, now));
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Holds a fault against a peer.
    pub(super) fn blame(&self, peer: &Position, fault: Fault) {
        if *peer != self.position() && self.ledger.note(*peer, fault, Instant::now()) {
            let warning = format!("peer {} misbehaves: {fault}", self.named(peer));
            tracing::warn!("{warning}");
            self.tell(PeerEvent::Warning(warning));
        }
    }

    /// Holds what a peer answered against it, unless that may be the lie of a helper: then nobody is convicted,
    /// and another way to the peer is looked for. Says whether it was.
    pub(super) fn blame_answer(&self, peer: &Position, fault: Fault) -> bool {
        let hearsay = self.transport.was_asked_through_a_helper(peer);
        if hearsay {
            tracing::debug!(peer = %peer.label(), %fault, "through a helper, so nobody is held to account");
            self.transport.set_detour(*peer, None);
            self.contacts.seek(*peer);
        } else {
            self.blame(peer, fault);
        }
        !hearsay
    }

    /// All that was counted, for people.
    pub(super) fn misbehaving(&self) -> Listed<Misbehaviour> {
        let lines = self.ledger.report().into_iter();
        lines.map(|(peer, kind, count)| Misbehaviour { peer: self.named(&peer), kind, count }).collect()
    }
}

/// Peers of which faults are remembered.
const PEERS_MAX: usize = 256;
/// The same fault of the same peer is told once in so long.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How long who lied is asked last.
const DISTRUST: Duration = Duration::from_secs(600);
/// News of a join or a death has gone round a ring of thousands in less.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_at_first_and_then_now_and_then() {
        let (ledger, now) = (Ledger::default(), Instant::now());
        let peer = Position::of_number(5);
        assert!(ledger.note(peer, Fault::CorruptBytes, now));
        assert!(!ledger.note(peer, Fault::CorruptBytes, now));
        assert!(ledger.note(peer, Fault::BadList, now), "another one");
        assert!(ledger.note(peer, Fault::CorruptBytes, now + TELL_EVERY));
        let counts: Vec<u64> = ledger.report().iter().map(|(_, _, count)| *count).collect();
        assert_eq!(counts, [1, 3], "in the order of the kinds");
        assert_eq!(ledger.distrusted(), BTreeSet::from([peer]));
    }

    #[test]
    fn the_ledger_is_bounded_and_forgets_the_oldest() {
        let (ledger, begin) = (Ledger::default(), Instant::now());
        let peer = |i: usize| Position::of_public_key(&i.to_be_bytes());
        for i in 0..PEERS_MAX + 10 {
            ledger.note(peer(i), Fault::Malformed, begin + Duration::from_millis(i as u64));
        }
        let report = ledger.report();
        assert_eq!(report.len(), PEERS_MAX);
        assert!(report.iter().all(|(who, ..)| *who != peer(0)));
        assert!(report.iter().any(|(who, ..)| *who == peer(PEERS_MAX + 9)));
    }
}
