//! The members that a peer knows, merged by the greatest (incarnation, state), and the news of them.

use std::collections::{BTreeMap, VecDeque};

use super::counted::Counted;
use super::table::{Crowded, Table};
use crate::id::{KeyHash, Position};
use crate::wire::limits::{
    DATAGRAM_BYTES_MAX, INCARNATION_LEAP_MAX, MEMBERS_MAX, MEMBERS_PER_MESSAGE_MAX, NEWS_MAX,
};
use crate::wire::{Entry, Life, Member, MemberState};

/// Members by position, without this peer, within a budget of members that answer and of members that do not.
#[derive(Debug, Clone)]
pub struct Members {
    table: Counted<Table>,
    /// The number of answering members that are kept, beside the neighbours.
    contacts_max: usize,
    /// The positions of members that do not answer or left, in the order in which that was learned.
    gone: VecDeque<Position>,
    /// Changes that are still passed on.
    news: Vec<News>,
    /// Members that were never met, each with the peer that told of it.
    told: BTreeMap<Position, Position>,
    tellers: BTreeMap<Position, usize>,
    /// The last incarnation of a member that its own word confirmed.
    proven: BTreeMap<Position, u64>,
    /// The crowding at the time of the last question.
    crowding: Option<Crowding>,
}

/// The unpinned peers with the least room in the table, as of its change number `changes`.
#[derive(Debug, Clone)]
struct Crowding {
    changes: u64,
    pins: Vec<Entry>,
    /// The first bytes of the positions of these pins.
    prefixes: Vec<u64>,
    crowded: Crowded,
}

impl Crowding {
    fn of(table: &Counted<Table>, me: &Position, pins: Vec<Entry>) -> Crowding {
        let prefixes: Vec<u64> = pins.iter().map(|pin| pin.position.prefix()).collect();
        let crowded = table.most_crowded(me, |position| is_among(&pins, &prefixes, position));
        Crowding { changes: table.changes(), pins, prefixes, crowded }
    }

    fn is_pinned(&self, position: &Position) -> bool {
        is_among(&self.pins, &self.prefixes, position)
    }

    fn bytes(&self) -> usize {
        self.pins.capacity() * size_of::<Entry>()
            + self.prefixes.capacity() * size_of::<u64>()
            + self.crowded.bytes()
    }
}

/// Whether a position is among these pins. The first bytes tell most of them apart.
fn is_among(pins: &[Entry], prefixes: &[u64], position: &Position) -> bool {
    prefixes.contains(&position.prefix()) && pins.iter().any(|pin| pin.position == *position)
}

/// A change that is still passed on.
#[derive(Debug, Clone)]
struct News {
    member: Member,
    /// The first bytes of the member's position.
    prefix: u32,
    /// The number of times the change is still told to neighbours, and to others.
    copies_left: [u8; 2],
}

/// The kind of peer that hears news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// A peer beside this one on the ring, which hears most of it from others beside it.
    Neighbour,
    /// Any other peer.
    Random,
}

impl Members {
    /// The most members never met that one peer may tell of: a liar fills at most this much of the table.
    pub(super) const TOLD_BY_ONE_MAX: usize = MEMBERS_MAX / 4;

    /// An empty table, for at most `contacts_max` answering members beside the neighbours.
    pub fn new(contacts_max: usize) -> Members {
        Members {
            table: Counted::default(),
            contacts_max,
            gone: VecDeque::new(),
            news: Vec::new(),
            told: BTreeMap::new(),
            tellers: BTreeMap::new(),
            proven: BTreeMap::new(),
            crowding: None,
        }
    }

    /// The table of all known members.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The number of changes to the table.
    pub(super) fn changes(&self) -> u64 {
        self.table.changes()
    }

    /// Takes a table as known for long: there is no news to tell.
    pub(super) fn settled(&mut self, table: Table) {
        *self.table.change() = table;
        self.news.clear();
    }

    /// Whether this peer may tell of one more member that was never met here.
    pub(super) fn may_tell(&self, teller: &Position) -> bool {
        self.tellers.get(teller).is_none_or(|told| *told < Members::TOLD_BY_ONE_MAX)
    }

    /// Notes that `teller` told of a member that is about to be merged.
    pub(super) fn told(&mut self, of: Position, teller: Position) {
        self.met(&of);
        self.told.insert(of, teller);
        *self.tellers.entry(teller).or_default() += 1;
    }

    /// Notes that a member's own word confirmed this life. Returns whether this life is believed to have ended without
    /// notice.
    pub(super) fn prove(&mut self, entry: &Entry) -> bool {
        let known = self.table.at(&entry.position).filter(|known| known.entry.key == entry.key);
        let Some(known) = known else { return false };
        let proven = self.proven.entry(entry.position).or_default();
        *proven = (*proven).max(entry.incarnation);
        known.state == MemberState::Dead && known.entry.incarnation >= entry.incarnation
    }

    /// Whether hearsay about a member can be believed. It may exceed the last incarnation the member itself confirmed
    /// by at most a leap. What others said before does not count: step by step it would lead beyond what the member
    /// itself believes, and could not be contradicted. News that the member is alive may leap twice as far, so that
    /// every believed death can be contradicted, by hearsay too.
    pub(super) fn may_hear(&self, known: Option<&Member>, member: &Member) -> bool {
        if known.is_some_and(|known| known.entry.incarnation >= member.entry.incarnation) {
            return true;
        }
        let proven = self.proven.get(&member.entry.position).copied().unwrap_or(0);
        let leap = match member.state {
            MemberState::Alive => CONTRADICTED_LEAP_MAX,
            MemberState::Left | MemberState::Dead => INCARNATION_LEAP_MAX,
        };
        member.entry.incarnation <= proven.saturating_add(leap)
    }

    /// Notes that a member was met, or is forgotten: it no longer counts against its teller.
    pub(super) fn met(&mut self, position: &Position) {
        let Some(teller) = self.told.remove(position) else { return };
        if let Some(told) = self.tellers.get_mut(&teller) {
            *told -= 1;
            if *told == 0 {
                self.tellers.remove(&teller);
            }
        }
    }

    /// Whether a report on a member is newer than what is known of it.
    pub(super) fn is_news(&self, member: &Member) -> bool {
        is_more(member, self.table.at(&member.entry.position))
    }

    /// Merges a report on a member, and tells it on if `is_news`. Returns whether the report was new.
    pub fn merge(&mut self, member: Member, is_news: bool) -> bool {
        let position = member.entry.position;
        if !self.is_news(&member) {
            return false;
        }
        if is_news {
            self.announce(member.clone());
        }
        let is_gone = member.state != MemberState::Alive;
        self.table.change().insert(member);
        if is_gone {
            self.gone.push_back(position);
            self.forget_long_gone();
        }
        true
    }

    /// Whether more answering members are known than are kept, beside so many neighbours.
    pub(super) fn is_over_budget(&self, neighbours: usize) -> bool {
        self.table.alive_count() > self.contacts_max.saturating_add(neighbours)
    }

    /// Whether there is no room for one more answering member.
    pub(super) fn is_full(&self, neighbours: usize) -> bool {
        self.table.alive_count() >= self.contacts_max.saturating_add(neighbours)
    }

    /// Whether an unknown answering member would itself be the one to go, because there is no room for it beside so
    /// many neighbours. The members that `pins` lists stay.
    pub(super) fn would_go<'a>(
        &mut self,
        me: &Position,
        newcomer: &Position,
        neighbours: usize,
        pins: impl Iterator<Item = &'a Entry> + Clone,
    ) -> bool {
        if !self.is_full(neighbours) || self.is_over_budget(neighbours) {
            return false;
        }
        let changes = self.table.changes();
        let is_of_now = |known: &Crowding| {
            known.changes == changes
                && pins.clone().map(Entry::handle).eq(known.pins.iter().map(Entry::handle))
        };
        let known = match self.crowding.take().filter(is_of_now) {
            Some(known) => known,
            None => Crowding::of(&self.table, me, pins.cloned().collect()),
        };
        let known = self.crowding.insert(known);
        let pinned = |position: &Position| known.is_pinned(position);
        !pinned(newcomer) && self.table.would_crowd_most(newcomer, &known.crowded, pinned)
    }

    /// Forgets the contact that crowds its neighbours most, except `pinned` ones. Returns whether there was one.
    pub(super) fn thin_out(&mut self, me: &Position, pinned: impl FnMut(&Entry) -> bool) -> bool {
        let victim = self.table.most_crowding(me, pinned);
        if let Some(victim) = victim {
            self.forget(&victim);
        }
        victim.is_some()
    }

    /// Puts a change into the news, to be passed on a bounded number of times.
    pub fn announce(&mut self, member: Member) {
        let position = member.entry.position;
        let prefix = (position.prefix() >> 32) as u32;
        let news = News { prefix, member, copies_left: [COPIES_TO_NEIGHBOURS, COPIES_TO_OTHERS] };
        // The first bytes tell most positions apart without a look at the entry.
        let is_of_same = |news: &News| news.prefix == prefix && news.member.entry.position == position;
        // It takes the place of older news of the same peer, or else of the news that was told most often already.
        let full = self.news.len() >= NEWS_KEPT_MAX;
        match self.news.iter().position(is_of_same).or(full.then(|| self.news.len() - 1)) {
            Some(at) => {
                self.news[..=at].rotate_right(1);
                self.news[0] = news;
            }
            None => self.news.insert(0, news),
        }
    }

    /// The freshest news for a listener, at most [`NEWS_MAX`] and as many as fit a datagram; each is counted as passed
    /// on once.
    pub fn take_news(&mut self, to: Listener, first: Option<Member>) -> Vec<Member> {
        let to = to as usize;
        if !self.news.is_sorted_by(|one, other| one.copies_left[to] >= other.copies_left[to]) {
            self.news.sort_by_key(|news| std::cmp::Reverse(news.copies_left[to]));
        }
        let mut taken: Vec<Member> = first.into_iter().collect();
        let mut bytes: usize = taken.iter().map(wire_bytes).sum();
        for news in self.news.iter_mut().take_while(|news| news.copies_left[to] > 0) {
            bytes += wire_bytes(&news.member);
            if taken.len() >= NEWS_MAX || bytes > NEWS_BYTES {
                break; // fresher news goes first, so none is passed over for ever
            }
            taken.push(news.member.clone());
            news.copies_left[to] -= 1;
        }
        self.news.retain(|news| news.copies_left != [0, 0]);
        taken
    }

    /// Drops the news for all but neighbours: there are no other peers, or they hear of everything anyway.
    pub(super) fn keep_no_news_for_others(&mut self) {
        for news in &mut self.news {
            news.copies_left[Listener::Random as usize] = 0;
        }
        self.news.retain(|news| news.copies_left != [0, 0]);
    }

    /// The member at a position, as far as is known.
    pub fn at(&self, position: &Position) -> Option<&Member> {
        self.table.at(position)
    }

    /// Whether this life of the peer is known to be over.
    pub fn is_gone(&self, entry: &Entry) -> bool {
        self.table.is_gone(entry)
    }

    /// All known members, by position.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Member> {
        self.table.iter()
    }

    /// The members that answer, by position.
    pub fn alive(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.table.alive()
    }

    /// The number of known members that answer.
    pub fn alive_count(&self) -> usize {
        self.table.alive_count()
    }

    /// The members that do not answer but remain members.
    pub fn away(&self) -> impl Iterator<Item = &Entry> {
        self.table.away()
    }

    /// The members that answer, clockwise from just after a position.
    pub fn clockwise_from(&self, from: &Position) -> impl Iterator<Item = &Entry> {
        self.table.clockwise_from(from)
    }

    /// As many members as a message holds, those that answer first.
    pub fn for_message(&self) -> Vec<Member> {
        let mut all: Vec<&Member> = self.iter().collect();
        all.sort_by_key(|m| m.state);
        fitting(all)
    }

    /// The members that answer, clockwise from just after a position, as many as a message holds.
    pub(super) fn page_after(&self, after: &Position) -> Vec<Member> {
        let alive = |entry: &Entry| Member { entry: entry.clone(), state: MemberState::Alive };
        let page: Vec<Member> = self.clockwise_from(after).take(MEMBERS_PER_MESSAGE_MAX).map(alive).collect();
        fitting(page.iter())
    }

    /// The memory that all this takes, in bytes, besides what the handles of one life share.
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes()
            + self.gone.capacity() * size_of::<Position>()
            + self.news.capacity() * size_of::<News>()
            + self.crowding.as_ref().map_or(0, Crowding::bytes)
            + (self.told.len() + self.tellers.len() + self.proven.len()) * TREE_ENTRY_BYTES
    }

    /// Forgets surplus members that no longer answer, those known longest first.
    fn forget_long_gone(&mut self) {
        while self.gone.len() > GONE_MAX {
            let Some(position) = self.gone.pop_front() else { return };
            let is_gone = self.at(&position).is_some_and(|known| known.state != MemberState::Alive);
            if is_gone && !self.gone.contains(&position) {
                self.forget(&position);
            }
        }
    }

    fn forget(&mut self, position: &Position) {
        self.proven.remove(position);
        self.met(position);
        self.table.change().remove(position);
    }
}

/// Whether a report on a member is newer than what is known of it.
pub(super) fn is_more(said: &Member, known: Option<&Member>) -> bool {
    let order = |member: &Member| (member.entry.incarnation, member.state);
    known.is_none_or(|known| order(said) > order(known))
}

/// As many of these members as a message holds.
fn fitting<'a>(members: impl IntoIterator<Item = &'a Member>) -> Vec<Member> {
    let mut bytes = 0;
    members
        .into_iter()
        .take(MEMBERS_PER_MESSAGE_MAX)
        .take_while(|m| {
            bytes += wire_bytes(m);
            bytes <= MESSAGE_BYTES
        })
        .cloned()
        .collect()
}

/// The most bytes that a member takes on the wire.
fn wire_bytes(member: &Member) -> usize {
    let Life { position, key, address, .. } = &*member.entry;
    let key_bytes = if key.0 == position.0 { 0 } else { size_of::<KeyHash>() };
    MEMBER_BYTES + key_bytes + address.as_str().len()
}

/// The most by which a life of its own that others tell of may exceed a peer's present one: as far as any peer believes
/// on hearsay.
pub(super) const CONTRADICTED_LEAP_MAX: u64 = 2 * INCARNATION_LEAP_MAX;
/// The number of times a peer passes a change on to its neighbours, so that no peer along the ring is left out.
const COPIES_TO_NEIGHBOURS: u8 = 3;
/// The number of times it passes a change on to others, which are random: each time doubles the number of peers that
/// know.
const COPIES_TO_OTHERS: u8 = 4;
/// The most changes that are still passed on.
const NEWS_KEPT_MAX: usize = 1_024;
/// The most members that are remembered although they left or no longer answer: while they are, no stale news brings
/// them back.
const GONE_MAX: usize = MEMBERS_MAX / 4;
/// The memory that an entry of a map takes, in bytes, about.
pub(super) const TREE_ENTRY_BYTES: usize = 96;
/// The most bytes of a member on the wire without its key and its address: a hash, an incarnation, whether there is a
/// key, a length, a state.
const MEMBER_BYTES: usize = 32 + 9 + 1 + 3 + 1;
/// The bytes that news may take of a datagram: all but a tag, a sequence number and a length.
const NEWS_BYTES: usize = DATAGRAM_BYTES_MAX - (1 + 9 + 1);
/// The bytes that the members of one message may take of a frame.
const MESSAGE_BYTES: usize = 40_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Address;

    fn member(number: u8, incarnation: u64, state: MemberState) -> Member {
        let address = Address::new("127.0.0.1:1").unwrap();
        let position = Position::of_number(number);
        Member { entry: Entry::from(Life { position, incarnation, key: KeyHash([0; 32]), address }), state }
    }

    fn any_member() -> impl Strategy<Value = Member> {
        let states = [MemberState::Alive, MemberState::Left, MemberState::Dead];
        (0u8..4, 0u64..4, 0usize..3).prop_map(move |(n, i, s)| member(n, i, states[s]))
    }

    proptest! {
        /// Goal: the order in which news arrives does not matter, nor how often.
        #[test]
        fn merging_commutes(news in prop::collection::vec(any_member(), 0..20), seed in any::<u64>()) {
            let mut one = Members::new(MEMBERS_MAX);
            let mut other = Members::new(MEMBERS_MAX);
            news.iter().for_each(|m| { one.merge(m.clone(), true); });
            let mut shuffled = news.clone();
            shuffled.sort_by_key(|m| (m.entry.incarnation ^ seed, m.state, m.entry.position));
            shuffled.iter().chain(&news).for_each(|m| { other.merge(m.clone(), true); });
            prop_assert!(one.iter().eq(other.iter()));
            prop_assert_eq!(one.alive_count(), one.alive().count());
        }
    }

    #[test]
    fn news_is_passed_on_a_bounded_number_of_times() {
        let mut members = Members::new(MEMBERS_MAX);
        for number in 0..20 {
            members.merge(member(number, 1, MemberState::Alive), true);
        }
        let mut copies = 0;
        loop {
            let news = members.take_news(Listener::Random, None);
            assert!(news.len() <= NEWS_MAX);
            if news.is_empty() {
                break;
            }
            copies += news.len();
        }
        assert!((80..300).contains(&copies), "{copies}");
    }

    /// Goal: a peer that tells of ever new dead members fills no table beyond its bound.
    #[test]
    fn news_is_bounded_as_members_are() {
        let mut members = Members::new(MEMBERS_MAX);
        for i in 0..2 * MEMBERS_MAX as u64 {
            let Member { entry, state } = member(0, 1, MemberState::Dead);
            let mut position = entry.position;
            position.0[..8].copy_from_slice(&i.to_be_bytes());
            members.merge(Member { entry: Entry::from(Life { position, ..(*entry).clone() }), state }, true);
        }
        assert_eq!(members.table().len(), GONE_MAX);
        assert!(members.news.len() <= NEWS_KEPT_MAX && members.gone.len() <= GONE_MAX);
    }

    #[test]
    fn clockwise_wraps_and_skips_the_dead() {
        let mut members = Members::new(MEMBERS_MAX);
        for number in [2, 5, 9] {
            members.merge(member(number, 1, MemberState::Alive), true);
        }
        members.merge(member(9, 1, MemberState::Dead), true);
        let numbers = |from: u8| {
            let from = Position::of_number(from);
            members.clockwise_from(&from).map(|e| e.position.number().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(4), [5, 2]);
        assert_eq!(numbers(5), [2]);
    }
}
