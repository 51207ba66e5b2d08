//! The peers that keep a key, and the peers that have a vote on it.

use crate::chord::{Route, View};
use crate::id::{KeyRange, Position, owns};
use crate::wire::Entry;

/// The peers that should keep what the owner owns: the owner and the next R − 1, without duplicates.
pub fn replicas(owner: &Entry, successors: &[Entry], copies: usize) -> Vec<Entry> {
    let mut replicas: Vec<Entry> = Vec::with_capacity(copies);
    for entry in std::iter::once(owner).chain(successors) {
        if replicas.len() < copies && replicas.iter().all(|r| r.position != entry.position) {
            replicas.push(entry.clone());
        }
    }
    replicas
}

/// The other replicas of this peer's range, the nearest first.
pub fn own_replicas(view: &View, copies: usize) -> Vec<Entry> {
    replicas(&view.me, &view.successors, copies).into_iter().skip(1).collect()
}

/// The other peers that get a new object of this peer's range, the nearest first. Peers that say that they have no room
/// are passed over, and the next ones stand in; so does one more peer if this one has no room itself. Where there are not
/// enough others, the full ones are asked after all, so that the store tells of them. All are among the first
/// [`vote_count`] peers from the key on, where copies are looked for.
pub fn store_replicas(view: &View, copies: usize) -> Vec<Entry> {
    let is_full = |entry: &Entry| view.full.contains(&entry.position);
    let others = replicas(&view.me, &view.successors, vote_count(copies)).into_iter().skip(1);
    let (full, roomy): (Vec<Entry>, Vec<Entry>) = others.partition(is_full);
    let wanted = if is_full(&view.me) { copies } else { copies.saturating_sub(1) };
    roomy.into_iter().chain(full).take(wanted).collect()
}

/// The number of peers from a key on that are asked before a key is said to have nothing: 2R − 1. All peers that kept
/// the key before are still among them after R − 1 joins in front of them.
pub fn vote_count(copies: usize) -> usize {
    (2 * copies).saturating_sub(1)
}

/// The peers whose votes it takes to say that a key has nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voters {
    /// The first 2R − 1 peers from the key on, the owner first.
    pub first: Vec<Entry>,
    /// Other peers that may have kept it while the ring was split. The asker asks these peers, too.
    pub apart: Vec<Entry>,
    /// Peers that would be among the first, and cannot be asked.
    pub away: Vec<Position>,
    /// Peers that would be among the first, and left while others may have missed what they kept.
    pub departed: Vec<Position>,
}

impl Voters {
    /// The voters with R copies of everything, once the owner is found with 2R − 2 peers behind it.
    pub fn of(view: &View, copies: usize, key: &Position, found: &Found) -> Voters {
        let count = vote_count(copies);
        let first = found.first(count);
        let apart = kept_apart(view, key, &first, count);
        let away = away_voters(view, key, &found.owner, count);
        let departed =
            departed_among(view, key, first.iter().map(|entry| &entry.position).chain(&away), count);
        Voters { first, apart, away, departed }
    }

    /// All peers that are asked.
    pub fn asked(&self) -> impl Iterator<Item = &Entry> {
        self.first.iter().chain(&self.apart)
    }
}

/// Members that do not answer and would stand among the first `count` from a key on: their votes are missing. So is the
/// vote of a member that is believed to answer and lies nearer to the key than the owner that was found: the lookup
/// asked it in vain, before the ring has noticed.
fn away_voters(view: &View, key: &Position, owner: &Entry, count: usize) -> Vec<Position> {
    let nearer = |position: &Position| {
        *position != view.me.position && key.distance_to(position) < key.distance_to(&owner.position)
    };
    let mut around: Vec<(Position, bool)> = view.alive().map(|entry| (entry.position, true)).collect();
    around.extend([(view.me.position, true), (owner.position, true)]);
    around.extend(view.away().map(|entry| (entry.position, false)));
    around.sort_by_key(|(position, alive)| (key.distance_to(position), !alive));
    around.dedup_by_key(|(position, _)| *position);
    let missing = around.into_iter().take(count).filter(|(position, alive)| !alive || nearer(position));
    missing.map(|(position, _)| position).collect()
}

/// Members that left lately and would stand among the first `count` from a key on, together with `members`.
fn departed_among<'a>(
    view: &View,
    key: &Position,
    members: impl Iterator<Item = &'a Position>,
    count: usize,
) -> Vec<Position> {
    let mut around: Vec<(Position, bool)> = members.map(|position| (*position, false)).collect();
    around.extend(view.departed.iter().map(|position| (*position, true)));
    around.sort_by_key(|(position, _)| key.distance_to(position));
    around.dedup_by_key(|(position, _)| *position);
    around.into_iter().take(count).filter(|(_, departed)| *departed).map(|(position, _)| position).collect()
}

/// Other peers than those `asked` that may have kept a key while the ring was split: the first `count` from the key on
/// of the members that came back lately, and of the members that stayed. At least three of each, since the members that
/// came back may have been several parts. Each of these may have been a ring of its own until then.
fn kept_apart(view: &View, key: &Position, asked: &[Entry], count: usize) -> Vec<Entry> {
    if view.rejoined.is_empty() {
        return Vec::new();
    }
    let mut known: Vec<&Entry> = view.alive().chain([&view.me]).collect();
    known.sort_by_key(|entry| key.distance_to(&entry.position));
    let (back, stayed): (Vec<&Entry>, Vec<&Entry>) =
        known.into_iter().partition(|entry| view.rejoined.contains(&entry.position));
    let count = count.max(3);
    let kept = back.into_iter().take(count).chain(stayed.into_iter().take(count));
    kept.filter(|entry| asked.iter().all(|other| other.position != entry.position)).cloned().collect()
}

/// The living peers that are known after a position, this one among them; the nearest first, at most `count`.
pub fn known_after(view: &View, position: &Position, count: usize) -> Vec<Entry> {
    let mut known: Vec<Entry> = view.alive().chain([&view.me]).cloned().collect();
    known.retain(|entry| entry.position != *position);
    known.sort_by_key(|entry| position.distance_to(&entry.position));
    known.truncate(count);
    known
}

/// The owner of a key, and its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The peer that owns the key.
    pub owner: Entry,
    /// The predecessor of the owner, if it is known: the owner's range begins after it.
    pub predecessor: Option<Entry>,
    /// The peers after the owner.
    pub successors: Vec<Entry>,
}

impl Found {
    /// The owner from a peer's own route; `None` if the peer only knows other peers to ask.
    pub fn of(route: Route) -> Option<Found> {
        match route {
            Route::Owner { owner, predecessor, successors } => Some(Found { owner, predecessor, successors }),
            Route::Near(_) | Route::Closer(_) => None,
        }
    }

    /// Whether this is the owner of that key, too.
    pub fn owns(&self, key: &Position) -> bool {
        let before = self.predecessor.as_ref();
        before.is_some_and(|before| owns(&before.position, key, &self.owner.position))
    }

    /// The keys around this one that have the same owner, as far as is known; at least the key itself.
    pub fn range_around(&self, key: &Position) -> KeyRange {
        let before = self.predecessor.as_ref();
        let owned = before.map(|before| KeyRange::owned(&before.position, &self.owner.position));
        let around = owned.into_iter().flatten().find(|range| range.contains(key));
        around.unwrap_or(KeyRange { first: *key, last: *key })
    }

    /// The first `count` peers from the key on, the owner first: the replicas for R, the voters for [`vote_count`].
    pub fn first(&self, count: usize) -> Vec<Entry> {
        replicas(&self.owner, &self.successors, count)
    }

    /// The peer to ask for the rest of a list that ends before the wanted peers do (R > r, or an owner at the end of
    /// the asker's own list): the last peer in it knows those that follow. `None` if enough are known.
    pub fn ends_early(&self, view: &View, wanted: usize) -> Option<&Entry> {
        let wanted = if view.small { wanted.min(view.alive().count()) } else { wanted };
        (self.successors.len() < wanted).then(|| self.successors.last().unwrap_or(&self.owner))
    }

    /// Adds the peers behind the last one. Returns false if there are no more: the list has come around, or nothing is
    /// new.
    pub fn extend(&mut self, behind: Vec<Entry>) -> bool {
        let before = self.successors.len();
        for entry in behind {
            if entry.position == self.owner.position {
                return false;
            }
            if self.successors.iter().all(|known| known.position != entry.position) {
                self.successors.push(entry);
            }
        }
        self.successors.len() > before
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{entry, numbers, numbers_of, peer, view, view_of, view_with};
    use super::*;

    #[test]
    fn replicas_are_distinct_however_small_the_ring() {
        let two = [entry(20), entry(10), entry(20)];
        assert_eq!(replicas(&entry(10), &two, 3).len(), 2);
        assert_eq!(numbers_of(&own_replicas(&view(50), 3)), [10, 20]);
        assert!(own_replicas(&view(50), 1).is_empty());
    }

    #[test]
    fn a_store_passes_over_peers_without_room() {
        let with_full = |full: &[u8]| {
            let view = view_with(10, &[20, 30, 40, 50, 60, 70], &[]);
            let view = View { full: full.iter().map(|number| peer(*number)).collect(), ..view };
            numbers_of(&store_replicas(&view, 3))
        };
        assert_eq!(with_full(&[]), [20, 30]);
        assert_eq!(with_full(&[20]), [30, 40]);
        assert_eq!(with_full(&[10]), [20, 30, 40], "one stands in for this peer");
        assert_eq!(with_full(&[10, 20, 30]), [40, 50, 20], "not beyond the peers that are asked for copies");
        assert_eq!(with_full(&[20, 30, 40, 50]), [20, 30], "all of them are asked after all");
        let three = View { full: [peer(30)].into(), ..view_with(10, &[20, 30], &[]) };
        assert_eq!(numbers_of(&store_replicas(&three, 3)), [20, 30], "the store tells that 30 is full");
        assert!(store_replicas(&view(50), 1).is_empty());
    }

    #[test]
    fn a_voter_that_is_away_has_no_word() {
        let view = view_with(10, &[20, 30, 40], &[25, 50, 60]);
        // From 21 on: 25, 30, 40, 50, 60, 10, 20.
        assert_eq!(numbers(&away_voters(&view, &peer(21), &entry(30), 4)), [25, 50]);
        assert_eq!(numbers(&away_voters(&view, &peer(25), &entry(30), 1)), [25], "at the key itself");
        assert!(
            away_voters(&view, &peer(21), &entry(25), 3).is_empty(),
            "the owner answers, whatever is known"
        );
        let passed_over = away_voters(&view, &peer(21), &entry(40), 4);
        assert_eq!(numbers(&passed_over), [25, 30, 50], "30 was asked first, and did not answer");
        assert_eq!(numbers_of(&known_after(&view, &peer(30), 3)), [40, 10, 20]);
    }

    #[test]
    fn while_some_are_just_back_both_parts_are_asked() {
        let view = view(30);
        assert!(kept_apart(&view, &peer(15), &[entry(20)], 1).is_empty(), "nobody was away");
        let view = View { rejoined: [10, 20].map(peer).into(), ..view };
        let kept = |key, asked: &[u8], count| {
            let asked: Vec<Entry> = asked.iter().map(|number| entry(*number)).collect();
            numbers_of(&kept_apart(&view, &peer(key), &asked, count))
        };
        assert_eq!(kept(15, &[20], 1), [10, 30, 40, 50]);
        assert_eq!(kept(20, &[20, 30], 3), [10, 40, 50]);
        let more = view_of(30, &[10, 20, 40, 50, 60, 70]);
        let more = View { rejoined: [10, 20, 60, 70].map(peer).into(), ..more };
        assert_eq!(numbers_of(&kept_apart(&more, &peer(25), &[], 3)), [60, 70, 10, 30, 40, 50]);
    }

    #[test]
    fn a_list_that_ends_early_is_continued_once_around() {
        let mut found = Found { owner: entry(20), predecessor: Some(entry(10)), successors: vec![entry(30)] };
        assert!(found.owns(&peer(20)) && !found.owns(&peer(10)) && !found.owns(&peer(21)));
        let range = KeyRange { first: peer(10).next().unwrap(), last: peer(20) };
        assert_eq!(found.range_around(&peer(15)), range);
        let unsure = Found { predecessor: None, ..found.clone() };
        assert_eq!(unsure.range_around(&peer(15)), KeyRange { first: peer(15), last: peer(15) });
        let large = View { small: false, ..view(10) };
        assert_eq!(found.ends_early(&large, 4), Some(&entry(30)));
        assert!(found.extend(vec![entry(40), entry(50)]));
        assert!(!found.extend(vec![entry(40), entry(50)]), "nothing new");
        assert!(!found.extend(vec![entry(10), entry(20), entry(30)]), "once around");
        assert_eq!(numbers_of(&found.successors), [30, 40, 50, 10]);
        assert_eq!(found.ends_early(&large, 4), None);
        assert_eq!(found.ends_early(&view(10), 9), None, "a small ring has no more");
        assert_eq!(numbers_of(&found.first(vote_count(2))), [20, 30, 40]);
    }

    proptest! {
        /// Goal: members that are away and living members are counted together, each once, in ring order.
        #[test]
        fn voters_are_the_first_from_the_key_on(
            others in prop::collection::btree_set(2u8..250, 1..12),
            away_every in 2usize..5,
            key in 0u8..=255,
            count in 1usize..8,
        ) {
            let away: Vec<u8> = others.iter().copied().step_by(away_every).collect();
            let alive: Vec<u8> = others.iter().copied().filter(|n| !away.contains(n)).collect();
            let view = view_with(1, &alive, &away);
            let key = peer(key);
            let mut all: Vec<u8> = others.iter().copied().chain([1]).collect();
            all.sort_by_key(|n| key.distance_to(&peer(*n)));
            let owner = *all.iter().find(|n| !away.contains(n)).unwrap();
            let expected: Vec<u8> = all.into_iter().take(count).filter(|n| away.contains(n)).collect();
            prop_assert_eq!(numbers(&away_voters(&view, &key, &entry(owner), count)), expected);
        }
    }
}
