//! The search for another ring that belongs to this one.
//!
//! A ring that was split has two rings' worth of correct neighbours, and stabilising never joins them. So each peer now
//! and then asks a peer that it remembers to look up the asker's position. An answer that names another peer comes from
//! another ring: the two peers exchange what they know, and each takes its place between the other's neighbours. If the
//! two rings stay apart for long, the asker leaves its list behind and joins again through the other ring.

use std::time::Duration;

use rand::seq::IteratorRandom as _;
use rand::{Rng, RngExt as _};

use super::claims::{check_closer, check_near, check_owner};
use super::timing::jittered;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, MembershipReply};

/// The time of the next search, and the number of times in a row that another ring was found.
#[derive(Debug, Clone)]
pub(super) struct RingSearch {
    at: Moment,
    found: u32,
}

/// The content of an answer about the place at which this peer should stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing: the answer is faulty, or says nothing of the place.
    Nothing,
    /// This peer stands there, or no other peer is named.
    InPlace,
    /// This peer knows the place better.
    Ask(Entry),
    /// Another peer stands there, in a ring that does not know this peer: that peer, and its predecessor.
    OtherRing(Vec<Entry>),
}

/// The step that a finding leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask this peer in the same search.
    Ask(Entry),
    /// Exchange what both rings know with these peers, and stand beside them.
    Merge(Vec<Entry>),
    /// Join again through these peers: merging led to nothing for long.
    JoinThrough(Vec<Entry>),
}

impl RingSearch {
    pub(super) fn new(now: Moment) -> RingSearch {
        RingSearch { at: now, found: 0 }
    }

    /// Begins at this moment, like a peer that has long been in its ring.
    pub(super) fn begin_at(&mut self, at: Moment) {
        self.at = at;
    }

    /// Whether a search is due.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.at <= now
    }

    /// Begins a search: chooses the peer to ask, if there is one. A peer that seems dead is the way into another ring; a
    /// partner costs nothing to ask.
    pub(super) fn begin<'a>(
        &mut self,
        now: Moment,
        interval: Duration,
        dead: impl FnOnce() -> Vec<&'a Entry>,
        partners: impl Iterator<Item = &'a Entry>,
        rng: &mut impl Rng,
    ) -> Option<Entry> {
        self.at = now + jittered(interval * SEARCH_EVERY, rng);
        let dead = dead().into_iter().choose(rng).cloned();
        let alive = partners.choose(rng).cloned();
        if rng.random_bool(0.5) { dead.or(alive) } else { alive }
    }

    /// Takes a finding of `asked`, the peer that was asked after `hops` others.
    pub(super) fn note(&mut self, me: &Position, asked: &Entry, hops: u32, finding: Finding) -> Option<Step> {
        match finding {
            Finding::Nothing => None,
            Finding::InPlace => {
                self.found = 0;
                None
            }
            Finding::Ask(next) => {
                (hops < HOPS_MAX && next.position != asked.position).then_some(Step::Ask(next))
            }
            Finding::OtherRing(mut peers) => {
                peers.retain(|peer| peer.position != *me);
                self.found += 1;
                if self.found <= FOUND_MAX {
                    return Some(Step::Merge(peers));
                }
                self.found = 0;
                Some(Step::JoinThrough(peers))
            }
        }
    }
}

impl Finding {
    /// Judges an answer of `from` to a lookup of this peer's position.
    pub(super) fn of(
        me: &Position,
        from: &Position,
        reply: MembershipReply,
        successors_max: usize,
    ) -> Finding {
        match reply {
            MembershipReply::Owner { owner, predecessor, successors } => {
                let fits =
                    check_owner(me, from, &owner, predecessor.as_ref(), &successors, successors_max).is_ok();
                match owner {
                    _ if !fits => Finding::Nothing,
                    owner if owner.position == *me => Finding::InPlace,
                    owner if owner.position == *from => {
                        Finding::OtherRing([Some(owner), predecessor].into_iter().flatten().collect())
                    }
                    owner => Finding::Ask(owner),
                }
            }
            MembershipReply::Near { peers } if check_near(me, from, &peers).is_ok() => {
                let next = peers.into_iter().next().filter(|near| near.position != *me);
                next.map_or(Finding::InPlace, Finding::Ask)
            }
            MembershipReply::Closer { peers } if check_closer(me, from, &peers).is_ok() => {
                peers.into_iter().next().map_or(Finding::InPlace, Finding::Ask)
            }
            _ => Finding::Nothing,
        }
    }
}

/// The number of intervals between two searches.
pub(super) const SEARCH_EVERY: u32 = 12;
/// The most peers that one search asks.
const HOPS_MAX: u32 = 32;
/// The number of times that another ring is found before this peer joins that one.
const FOUND_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::sample::{entries, entry};

    const ME: Position = Position([10; 32]);

    fn owner(owner: u8, predecessor: u8) -> MembershipReply {
        let predecessor = Some(entry(predecessor));
        MembershipReply::Owner { owner: entry(owner), predecessor, successors: Vec::new() }
    }

    fn finding(from: u8, reply: MembershipReply) -> Finding {
        Finding::of(&ME, &entry(from).position, reply, 8)
    }

    #[test]
    fn another_peer_at_this_place_is_another_ring() {
        assert_eq!(finding(20, owner(20, 5)), Finding::OtherRing(entries(&[20, 5])));
        assert_eq!(finding(30, owner(20, 5)), Finding::Ask(entry(20)), "its own word counts");
    }

    /// Reported: the search for another ring believed an owner whose claim broke the rules.
    #[test]
    fn a_claim_that_contradicts_itself_tells_nothing() {
        // The position does not lie between 15 and 20.
        assert_eq!(finding(20, owner(20, 15)), Finding::Nothing);
        assert_eq!(finding(20, MembershipReply::Closer { peers: entries(&[15]) }), Finding::Nothing);
        assert_eq!(finding(20, MembershipReply::Busy), Finding::Nothing);
    }

    #[test]
    fn peers_that_know_the_place_better_are_asked_once() {
        let mut search = RingSearch::new(Moment::default());
        let nearer = finding(200, MembershipReply::Closer { peers: entries(&[5]) });
        assert_eq!(search.note(&ME, &entry(200), 0, nearer.clone()), Some(Step::Ask(entry(5))));
        assert_eq!(search.note(&ME, &entry(5), 1, nearer.clone()), None, "it named itself");
        assert_eq!(search.note(&ME, &entry(200), HOPS_MAX, nearer), None);
    }

    #[test]
    fn after_eight_merges_in_vain_this_peer_joins_the_other_ring() {
        let mut search = RingSearch::new(Moment::default());
        let mut other = || search.note(&ME, &entry(20), 0, finding(20, owner(20, 5)));
        for _ in 0..FOUND_MAX {
            assert_eq!(other(), Some(Step::Merge(entries(&[20, 5]))));
        }
        assert_eq!(other(), Some(Step::JoinThrough(entries(&[20, 5]))));
        assert_eq!(other(), Some(Step::Merge(entries(&[20, 5]))), "the count begins anew");
    }

    #[test]
    fn a_peer_that_is_found_in_its_place_ends_the_count() {
        let mut search = RingSearch::new(Moment::default());
        search.found = FOUND_MAX;
        let near = Finding::of(&ME, &entry(20).position, MembershipReply::Near { peers: Vec::new() }, 8);
        assert_eq!(near, Finding::InPlace);
        assert_eq!(search.note(&ME, &entry(20), 0, near), None);
        assert_eq!(search.found, 0);
    }
}
