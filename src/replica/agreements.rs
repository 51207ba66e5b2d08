//! The ranges in which another peer has what is here, as comparisons have shown.
//!
//! A round of repair leaves out what was compared just before, whichever of the two asked; and an owner knows by it how
//! many copies there are, without a list of them. Only what was here at the time of the comparison is covered.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::chord::View;
use crate::id::{ContentId, KeyRange, Position, SetDigest};
use crate::time::Moment;
use crate::wire::Entry;

/// The outcome of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Both peers have the same.
    Same,
    /// The other peer has all that is here, and more.
    More,
}

/// The ranges on which this peer and others agreed, by the position of the other one.
#[derive(Debug, Clone, Default)]
pub struct Agreements {
    peers: BTreeMap<Position, (u64, Vec<Agreement>)>,
    /// The objects that came since the oldest comparison, and when.
    came: BTreeMap<ContentId, Mark>,
    /// The objects that a peer said since then that it lacks, and when.
    lacked: BTreeMap<(Position, ContentId), Mark>,
    now: u64,
}

/// A point between the events at this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

#[derive(Debug, Clone, Copy)]
struct Agreement {
    range: KeyRange,
    digest: SetDigest,
    extent: Extent,
    at: Moment,
    mark: Mark,
}

impl Agreements {
    /// A mark for the beginning of a comparison, before the digests are read: what comes later is not covered.
    pub fn mark(&mut self) -> Mark {
        self.now += 1;
        Mark(self.now)
    }

    /// Notes that an object has come: no earlier comparison covers it.
    pub fn came(&mut self, content: ContentId) {
        self.make_room();
        if !self.peers.is_empty() {
            self.came.insert(content, Mark(self.now));
        }
    }

    /// Notes that a peer turned out to lack an object, whatever a comparison had shown.
    pub fn lacks(&mut self, peer: &Position, content: ContentId) {
        self.make_room();
        if self.peers.contains_key(peer) {
            self.lacked.insert((*peer, content), Mark(self.now));
        }
    }

    fn make_room(&mut self) {
        if self.came.len().max(self.lacked.len()) >= EXCEPTIONS_MAX {
            (self.peers, self.came, self.lacked) = Default::default();
        }
    }

    /// Notes the outcome of a comparison that began at this mark: in this life, a peer has what is here of a range, and
    /// the digest of that.
    pub fn agree(
        &mut self,
        now: Moment,
        with: &Entry,
        (range, digest): (KeyRange, SetDigest),
        extent: Extent,
        mark: Mark,
    ) {
        let (life, agreements) = self.peers.entry(with.position).or_default();
        if *life != with.incarnation {
            (*life, *agreements) = (with.incarnation, Vec::new());
        }
        agreements.retain(|known| known.range.common(&range).is_none());
        if agreements.len() < PER_PEER_MAX {
            agreements.push(Agreement { range, digest, extent, at: now, mark });
        }
    }

    /// Notes that a range differs from that of a peer. Returns whether it was believed to be the same.
    pub fn differ(&mut self, from: &Position, range: &KeyRange) -> bool {
        let Some((_, agreements)) = self.peers.get_mut(from) else { return false };
        let before = agreements.len();
        agreements.retain(|known| known.range.common(range).is_none());
        agreements.len() < before
    }

    /// Whether a range with this digest need not be compared with a peer again yet.
    pub fn is_fresh(&self, now: Moment, with: &Entry, range: &KeyRange, digest: &SetDigest) -> bool {
        let fresh = |known: &Agreement| {
            let within = match known.extent {
                Extent::Same => SAME_FOR,
                Extent::More => MORE_FOR,
            };
            known.range == *range && known.digest == *digest && now.since(known.at) < within
        };
        let known = self.peers.get(&with.position);
        known.is_some_and(|(life, known)| *life == with.incarnation && known.iter().any(fresh))
    }

    /// The peers that have an object which is here, each with the life in which that was so.
    pub fn holders(&self, content: &ContentId) -> impl Iterator<Item = (Position, u64)> {
        let (key, content) = (content.key(), *content);
        let came = self.came.get(&content).copied();
        self.peers.iter().filter_map(move |(peer, (life, known))| {
            let since = came.max(self.lacked.get(&(*peer, content)).copied());
            let covers = |known: &Agreement| {
                known.range.contains(&key) && since.is_none_or(|since| since < known.mark)
            };
            known.iter().any(covers).then_some((*peer, *life))
        })
    }

    /// Drops what does not count any more: of peers that do not answer, or live another life, and what was not renewed
    /// for long.
    pub fn tidy(&mut self, now: Moment, view: &View) {
        let lives: BTreeMap<Position, u64> =
            view.alive().map(|entry| (entry.position, entry.incarnation)).collect();
        self.peers.retain(|peer, (life, known)| {
            known.retain(|known| now.since(known.at) < KEPT_FOR);
            !known.is_empty() && lives.get(peer) == Some(life)
        });
        let known = self.peers.values().flat_map(|(_, known)| known);
        let oldest = known.map(|known| known.mark).min();
        let counts = |since: &Mark| oldest.is_some_and(|oldest| *since >= oldest);
        self.came.retain(|_, since| counts(since));
        self.lacked.retain(|_, since| counts(since));
    }
}

/// The time after which two peers compare the same ranges again: more than half of the time between two rounds, so that
/// only one of them asks.
const SAME_FOR: Duration = Duration::from_secs(20);
/// The same, with a peer that has more: this one is no replica, and its copies are only a reserve.
const MORE_FOR: Duration = Duration::from_secs(15 * 60);
/// The time for which a comparison tells where copies are.
const KEPT_FOR: Duration = Duration::from_secs(3_600);
/// The most ranges that are remembered of one peer.
const PER_PEER_MAX: usize = 256;
/// The most objects that are known to have come since the comparisons, or to be lacked; beyond that, nothing is known.
const EXCEPTIONS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::super::sample::{entry, peer, view, view_of};
    use super::*;

    fn range(first: u8, last: u8) -> KeyRange {
        KeyRange { first: peer(first), last: peer(last) }
    }

    fn digest(count: u64) -> SetDigest {
        SetDigest { count, sum: 7 }
    }

    fn content(number: u8) -> ContentId {
        ContentId(peer(number).0)
    }

    #[test]
    fn what_was_compared_is_not_compared_again_at_once() {
        let (mut agreements, now) = (Agreements::default(), Moment(5));
        let mark = agreements.mark();
        agreements.agree(now, &entry(20), (range(1, 9), digest(3)), Extent::Same, mark);
        agreements.agree(now, &entry(30), (range(1, 9), digest(3)), Extent::More, mark);
        let fresh = |agreements: &Agreements, later, of: &Entry, range, count| {
            agreements.is_fresh(now + later, of, &range, &digest(count))
        };
        assert!(fresh(&agreements, Duration::ZERO, &entry(20), range(1, 9), 3));
        assert!(!fresh(&agreements, Duration::ZERO, &entry(20), range(1, 9), 4), "something came");
        assert!(!fresh(&agreements, Duration::ZERO, &entry(20), range(1, 8), 3), "another range");
        assert!(!fresh(&agreements, Duration::ZERO, &entry(20).with_incarnation(2), range(1, 9), 3));
        assert!(!fresh(&agreements, SAME_FOR, &entry(20), range(1, 9), 3), "it is time");
        assert!(fresh(&agreements, SAME_FOR, &entry(30), range(1, 9), 3));
        assert!(agreements.differ(&peer(30), &range(9, 12)) && !agreements.differ(&peer(30), &range(9, 12)));
        assert!(!fresh(&agreements, Duration::ZERO, &entry(30), range(1, 9), 3));
        agreements.agree(now, &entry(20).with_incarnation(2), (range(40, 41), digest(1)), Extent::Same, mark);
        assert!(!fresh(&agreements, Duration::ZERO, &entry(20), range(1, 9), 3), "that was another life");
    }

    /// Goal: an object that came after, or during, a comparison does not count as held by the other peer.
    #[test]
    fn a_comparison_tells_where_copies_are_of_what_was_here() {
        let (mut agreements, now) = (Agreements::default(), Moment(5));
        let holders = |agreements: &Agreements, number| -> Vec<(Position, u64)> {
            agreements.holders(&content(number)).collect()
        };
        let first = agreements.mark();
        agreements.agree(now, &entry(20), (range(1, 9), digest(3)), Extent::Same, first);
        let second = agreements.mark();
        agreements.came(content(5));
        agreements.agree(now, &entry(30), (range(1, 9), digest(3)), Extent::More, second);
        assert_eq!(holders(&agreements, 4), [(peer(20), 1), (peer(30), 1)]);
        assert!(holders(&agreements, 5).is_empty() && holders(&agreements, 10).is_empty());
        let third = agreements.mark();
        agreements.agree(now, &entry(30), (range(5, 6), digest(1)), Extent::Same, third);
        assert_eq!(holders(&agreements, 5), [(peer(30), 1)]);
        assert_eq!(holders(&agreements, 4), [(peer(20), 1)], "the range of 30 was replaced");
        agreements.lacks(&peer(30), content(6));
        assert!(holders(&agreements, 6) == [(peer(20), 1)], "whatever was compared");
        agreements.tidy(now, &view(10));
        assert_eq!(holders(&agreements, 5), [(peer(30), 1)], "20 was asked before it came");
        agreements.tidy(now, &view_of(10, &[30]));
        assert!(holders(&agreements, 4).is_empty() && agreements.came.is_empty());
        agreements.tidy(now + KEPT_FOR, &view(10));
        assert!(agreements.peers.is_empty());
    }

    #[test]
    fn nothing_grows_without_end() {
        let mut agreements = Agreements::default();
        agreements.came(content(1));
        assert!(agreements.came.is_empty(), "there is nothing to except it from");
        let mark = agreements.mark();
        for number in 0..=255 {
            let one = KeyRange { first: content(number).key(), last: content(number).key() };
            agreements.agree(Moment(1), &entry(20), (one, digest(1)), Extent::Same, mark);
            agreements.agree(Moment(1), &entry(20), (range(254, 255), digest(1)), Extent::Same, mark);
        }
        assert!(agreements.peers[&peer(20)].1.len() <= PER_PEER_MAX);
        (0..=EXCEPTIONS_MAX as u64).for_each(|i| agreements.came(ContentId::of(&i.to_be_bytes())));
        assert!(agreements.came.len() <= EXCEPTIONS_MAX);
        assert!(agreements.holders(&content(7)).next().is_none(), "rather nothing is known");
    }
}
