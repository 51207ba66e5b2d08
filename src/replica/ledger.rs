//! The faults of other peers: counted, reported, and held against them for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use crate::chord::View;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::Fault;

/// The faults that one peer has seen in others, for at most 256 peers.
#[derive(Debug, Default)]
pub struct Ledger {
    peers: BTreeMap<Position, BTreeMap<Fault, Line>>,
    /// The hash of the living members, and the moment since which it is the same.
    ring: Option<(u64, Moment)>,
}

#[derive(Debug)]
struct Line {
    count: u64,
    last: Moment,
    told: Moment,
}

impl Ledger {
    /// Counts a fault. Returns whether to report it: the first time, and then once in a while.
    pub fn note(&mut self, peer: Position, fault: Fault, now: Moment) -> bool {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            let last = |lines: &BTreeMap<Fault, Line>| lines.values().map(|line| line.last).max();
            let oldest = self.peers.iter().min_by_key(|(_, lines)| last(lines)).map(|(peer, _)| *peer);
            oldest.map(|peer| self.peers.remove(&peer));
        }
        let lines = self.peers.entry(peer).or_default();
        let first = !lines.contains_key(&fault);
        let line = lines.entry(fault).or_insert(Line { count: 0, last: now, told: now });
        line.count += 1;
        line.last = now;
        let tell = first || now.since(line.told) >= TELL_EVERY;
        if tell {
            line.told = now;
        }
        tell
    }

    /// The peers with a fault in the last ten minutes: they are asked last.
    pub fn distrusted(&self, now: Moment) -> BTreeSet<Position> {
        let lately =
            |lines: &BTreeMap<Fault, Line>| lines.values().any(|line| now.since(line.last) < DISTRUST);
        self.peers.iter().filter(|(_, lines)| lately(lines)).map(|(peer, _)| *peer).collect()
    }

    /// The number of times that each fault of each peer was seen.
    pub fn report(&self) -> Vec<(Position, Fault, u64)> {
        let lines = self.peers.iter().flat_map(|(peer, lines)| lines.iter().map(move |line| (peer, line)));
        lines.map(|(peer, (kind, line))| (*peer, *kind, line.count)).collect()
    }

    /// Whether the ring has been the same for ten seconds, so that a peer with less knowledge of it than this one does
    /// not merely lag behind.
    pub fn is_settled(&mut self, view: &View, now: Moment) -> bool {
        let mut hasher = DefaultHasher::new();
        view.alive().for_each(|entry| (entry.position, entry.incarnation).hash(&mut hasher));
        let hash = hasher.finish();
        match self.ring {
            Some((same, since)) if same == hash => now.since(since) >= SETTLED_AFTER,
            _ => {
                self.ring = Some((hash, now));
                false
            }
        }
    }
}

/// The most peers whose faults are remembered.
const PEERS_MAX: usize = 256;
/// The time between two reports of the same fault of the same peer.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// The time for which a peer is asked last after a fault.
const DISTRUST: Duration = Duration::from_secs(600);
/// The time without changes after which the ring is settled: news of a join or a death goes round a ring of thousands
/// in less.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_at_first_and_then_now_and_then() {
        let (mut ledger, now) = (Ledger::default(), Moment::default());
        let peer = Position::of_number(5);
        assert!(ledger.note(peer, Fault::CorruptBytes, now));
        assert!(!ledger.note(peer, Fault::CorruptBytes, now));
        assert!(ledger.note(peer, Fault::BadList, now), "another one");
        assert!(ledger.note(peer, Fault::CorruptBytes, now + TELL_EVERY));
        let counts: Vec<u64> = ledger.report().iter().map(|(_, _, count)| *count).collect();
        assert_eq!(counts, [1, 3], "in the order of the kinds");
        assert_eq!(ledger.distrusted(now), BTreeSet::from([peer]));
    }

    #[test]
    fn the_ledger_is_bounded_and_forgets_the_oldest() {
        let (mut ledger, begin) = (Ledger::default(), Moment::default());
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
