//! The members that a peer knows of, merged by the greatest (incarnation, state), and the news of them.

use std::collections::BTreeMap;

use crate::id::Position;
use crate::wire::limits::{
    DATAGRAM_BYTES_MAX, INCARNATION_LEAP_MAX, MEMBERS_MAX, MEMBERS_PER_MESSAGE_MAX, NEWS_MAX,
};
use crate::wire::{Entry, Member, MemberState};

/// Members by position, this peer not among them; at most [`MEMBERS_MAX`].
#[derive(Debug, Clone, Default)]
pub struct Members {
    map: BTreeMap<Position, Member>,
    alive: usize,
    news: BTreeMap<Position, News>,
    /// Members that were never met, and who told of them.
    told: BTreeMap<Position, Position>,
    tellers: BTreeMap<Position, usize>,
    /// In which life a member was last heard of by its own word.
    proven: BTreeMap<Position, u64>,
}

/// A change that is still passed on.
#[derive(Debug, Clone)]
struct News {
    member: Member,
    copies_left: u32,
}

impl Members {
    /// Of how many members that were never met one peer may tell: a liar fills at most so much of the table.
    pub(super) const TOLD_BY_ONE_MAX: usize = MEMBERS_MAX / 4;

    /// Whether this peer may tell of one more that nobody here has met.
    pub(super) fn may_tell(&self, teller: &Position) -> bool {
        self.tellers.get(teller).is_none_or(|told| *told < Members::TOLD_BY_ONE_MAX)
    }

    /// A peer told of one that is about to be merged.
    pub(super) fn told(&mut self, of: Position, teller: Position) {
        self.met(&of);
        self.told.insert(of, teller);
        *self.tellers.entry(teller).or_default() += 1;
    }

    /// A member was heard of by its own word, in this life.
    pub(super) fn prove(&mut self, entry: &Entry) {
        if self.map.get(&entry.position).is_some_and(|known| known.entry.key == entry.key) {
            let proven = self.proven.entry(entry.position).or_default();
            *proven = (*proven).max(entry.incarnation);
        }
    }

    /// Whether what somebody else says of a member can be believed. Lives that it was never heard of in are
    /// bounded by the last one that it was, not by what others said before: step by step they would lead
    /// beyond what the member itself believes, and could not be contradicted. That it lives is believed of
    /// more of them, so that every death which is believed can be contradicted, by hearsay too.
    pub(super) fn may_hear(&self, member: &Member) -> bool {
        let proven = self.proven.get(&member.entry.position).copied().unwrap_or(0);
        let ends_known_life = self
            .map
            .get(&member.entry.position)
            .is_some_and(|k| k.entry.incarnation >= member.entry.incarnation);
        let leap = match member.state {
            MemberState::Alive => CONTRADICTED_LEAP_MAX,
            MemberState::Left | MemberState::Dead => INCARNATION_LEAP_MAX,
        };
        ends_known_life || member.entry.incarnation <= proven.saturating_add(leap)
    }

    /// A member was met, or is forgotten.
    pub(super) fn met(&mut self, position: &Position) {
        let Some(teller) = self.told.remove(position) else { return };
        if let Some(told) = self.tellers.get_mut(&teller) {
            *told -= 1;
            if *told == 0 {
                self.tellers.remove(&teller);
            }
        }
    }

    /// Merges what somebody says. Returns whether that was new.
    pub fn merge(&mut self, member: Member) -> bool {
        let position = member.entry.position;
        if let Some(known) = self.map.get(&position) {
            let order = |m: &Member| (m.entry.incarnation, m.state);
            if order(&member) <= order(known) {
                return false;
            }
        } else if self.map.len() >= MEMBERS_MAX && !self.make_room() {
            self.met(&position);
            return false;
        }
        self.announce(member.clone());
        self.alive += usize::from(member.state == MemberState::Alive);
        if let Some(old) = self.map.insert(position, member) {
            self.alive -= usize::from(old.state == MemberState::Alive);
        }
        true
    }

    /// Puts a change into the news, to be passed on a bounded number of times.
    pub fn announce(&mut self, member: Member) {
        let copies_left = COPIES_BASE + 2 * (self.map.len() as u32 + 2).ilog2();
        self.news.insert(member.entry.position, News { member, copies_left });
    }

    /// The freshest news, at most [`NEWS_MAX`] and as many as a datagram holds, each counted as passed on once.
    pub fn take_news(&mut self, first: Option<Member>) -> Vec<Member> {
        let mut order: Vec<(u32, Position)> = self.news.iter().map(|(p, n)| (n.copies_left, *p)).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        let mut taken: Vec<Member> = first.into_iter().collect();
        let mut bytes: usize = taken.iter().map(wire_bytes).sum();
        for (_, position) in order {
            let Some(news) = self.news.get_mut(&position) else { continue };
            bytes += wire_bytes(&news.member);
            if taken.len() >= NEWS_MAX || bytes > NEWS_BYTES {
                break; // what is fresher goes first, so none of it is passed over for ever
            }
            taken.push(news.member.clone());
            news.copies_left -= 1;
            if news.copies_left == 0 {
                self.news.remove(&position);
            }
        }
        taken
    }

    /// What is known of the peer at a position.
    pub fn at(&self, position: &Position) -> Option<&Member> {
        self.map.get(position)
    }

    /// Whether this life of this peer is known to be over.
    pub fn is_gone(&self, entry: &Entry) -> bool {
        self.map.get(&entry.position).is_some_and(|known| {
            known.entry.incarnation > entry.incarnation
                || (known.entry.incarnation == entry.incarnation && known.state != MemberState::Alive)
        })
    }

    /// All that are known, by position.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Member> {
        self.map.values()
    }

    /// Those that answer, by position.
    pub fn alive(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.map.values().filter(|m| m.state == MemberState::Alive).map(|m| &m.entry)
    }

    /// How many answer.
    pub fn alive_count(&self) -> usize {
        self.alive
    }

    /// Those that do not answer but are still members.
    pub fn away(&self) -> impl Iterator<Item = &Entry> {
        self.map.values().filter(|m| m.state == MemberState::Dead).map(|m| &m.entry)
    }

    /// Those that answer, clockwise from just after a position.
    pub fn clockwise_from<'a>(&'a self, from: &Position) -> impl Iterator<Item = &'a Entry> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.map.range((Excluded(*from), Unbounded));
        let before = self.map.range(..*from);
        after.chain(before).map(|(_, m)| m).filter(|m| m.state == MemberState::Alive).map(|m| &m.entry)
    }

    /// As many as a message holds, those that answer first.
    pub fn for_message(&self) -> Vec<Member> {
        let mut all: Vec<&Member> = self.map.values().collect();
        all.sort_by_key(|m| m.state);
        let mut bytes = 0;
        all.into_iter()
            .take(MEMBERS_PER_MESSAGE_MAX)
            .take_while(|m| {
                bytes += wire_bytes(m);
                bytes <= MESSAGE_BYTES
            })
            .cloned()
            .collect()
    }

    /// Drops somebody who is not alive, and the news of it; false if all are.
    fn make_room(&mut self) -> bool {
        let victim = self.map.values().find(|m| m.state != MemberState::Alive).map(|m| m.entry.position);
        victim.is_some_and(|position| {
            self.news.remove(&position);
            self.proven.remove(&position);
            self.met(&position);
            self.map.remove(&position).is_some()
        })
    }
}

/// A member's bytes on the wire, at most.
fn wire_bytes(member: &Member) -> usize {
    MEMBER_BYTES + member.entry.address.as_str().len()
}

/// How far beyond its own a peer believes a life of its own that others tell of: as far as anybody believes one
/// on hearsay.
pub(super) const CONTRADICTED_LEAP_MAX: u64 = 2 * INCARNATION_LEAP_MAX;
/// How often a change is passed on, beside twice the logarithm of the number of members.
const COPIES_BASE: u32 = 4;
/// A member's bytes on the wire, at most, without its address: two hashes, an incarnation, a length, a state.
const MEMBER_BYTES: usize = 32 + 32 + 9 + 3 + 1;
/// What the news of a ping or pong may take of a datagram: all but a tag, a sequence and a length.
const NEWS_BYTES: usize = DATAGRAM_BYTES_MAX - (1 + 9 + 1);
/// What the members of one message may take of a frame.
const MESSAGE_BYTES: usize = 40_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::KeyHash;
    use crate::wire::Address;

    fn member(number: u8, incarnation: u64, state: MemberState) -> Member {
        let address = Address::new("127.0.0.1:1").unwrap();
        let position = Position::of_number(number);
        Member { entry: Entry { position, incarnation, key: KeyHash([0; 32]), address }, state }
    }

    fn any_member() -> impl Strategy<Value = Member> {
        let states = [MemberState::Alive, MemberState::Left, MemberState::Dead];
        (0u8..4, 0u64..4, 0usize..3).prop_map(move |(n, i, s)| member(n, i, states[s]))
    }

    proptest! {
        /// Goal: the order in which news arrives does not matter, nor how often.
        #[test]
        fn merging_commutes(news in prop::collection::vec(any_member(), 0..20), seed in any::<u64>()) {
            let mut one = Members::default();
            let mut other = Members::default();
            news.iter().for_each(|m| { one.merge(m.clone()); });
            let mut shuffled = news.clone();
            shuffled.sort_by_key(|m| (m.entry.incarnation ^ seed, m.state, m.entry.position));
            shuffled.iter().chain(&news).for_each(|m| { other.merge(m.clone()); });
            prop_assert!(one.iter().eq(other.iter()));
            prop_assert_eq!(one.alive_count(), one.alive().count());
        }
    }

    #[test]
    fn news_is_passed_on_a_bounded_number_of_times() {
        let mut members = Members::default();
        for number in 0..20 {
            members.merge(member(number, 1, MemberState::Alive));
        }
        let mut copies = 0;
        loop {
            let news = members.take_news(None);
            assert!(news.len() <= NEWS_MAX);
            if news.is_empty() {
                break;
            }
            copies += news.len();
        }
        assert!((80..400).contains(&copies), "{copies}");
    }

    /// Goal: who tells of ever new dead members fills no table beyond its bound.
    #[test]
    fn news_is_bounded_as_members_are() {
        let mut members = Members::default();
        for i in 0..2 * MEMBERS_MAX as u64 {
            let mut member = member(0, 1, MemberState::Dead);
            member.entry.position.0[..8].copy_from_slice(&i.to_be_bytes());
            members.merge(member);
        }
        assert_eq!(members.map.len(), MEMBERS_MAX);
        assert!(members.news.len() <= MEMBERS_MAX);
    }

    #[test]
    fn clockwise_wraps_and_skips_the_dead() {
        let mut members = Members::default();
        for number in [2, 5, 9] {
            members.merge(member(number, 1, MemberState::Alive));
        }
        members.merge(member(9, 1, MemberState::Dead));
        let numbers = |from: u8| {
            let from = Position::of_number(from);
            members.clockwise_from(&from).map(|e| e.position.number().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(4), [5, 2]);
        assert_eq!(numbers(5), [2]);
    }
}
