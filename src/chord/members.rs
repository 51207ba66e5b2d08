//! The members that a peer knows, merged by the greatest (incarnation, state), and the news of them.

use std::collections::VecDeque;

use super::counted::Counted;
use super::hearsay::Hearsay;
use super::news::{Listener, News, wire_bytes};
use super::table::{Crowded, Table};
use crate::config::RingSettings;
use crate::id::{KeyHash, Position};
use crate::wire::limits::{INCARNATION_MAX, MEMBERS_MAX, MEMBERS_PER_MESSAGE_MAX};
use crate::wire::{Entry, Member, MemberState};

/// Members by position, without this peer, within a budget of members that answer and of members that do not.
#[derive(Debug, Clone)]
pub struct Members {
    table: Counted<Table>,
    /// The number of answering members that are kept, beside the neighbours.
    contacts_max: usize,
    /// The positions of members that do not answer or left, in the order in which that was learned.
    gone: VecDeque<Position>,
    news: News,
    hearsay: Hearsay,
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

impl Members {
    /// An empty table, for at most `contacts_max` answering members beside the neighbours.
    pub fn new(contacts_max: usize) -> Members {
        Members {
            table: Counted::default(),
            contacts_max,
            gone: VecDeque::new(),
            news: News::default(),
            hearsay: Hearsay::default(),
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
        self.news = News::default();
    }

    /// The bounds within which hearsay is believed.
    pub(super) fn hearsay(&self) -> &Hearsay {
        &self.hearsay
    }

    /// Notes that `teller` told of a member that is about to be merged.
    pub(super) fn note_told(&mut self, of: Position, teller: Position) {
        self.hearsay.note_told(of, teller);
    }

    /// Notes that a member was met: it no longer counts against its teller.
    pub(super) fn note_met(&mut self, position: &Position) {
        self.hearsay.note_met(position);
    }

    /// Notes that a member's own word confirmed this life. Returns whether this life is believed to have ended without
    /// notice.
    pub(super) fn note_confirmed(&mut self, entry: &Entry) -> bool {
        let known = self.table.at(&entry.position).filter(|known| known.entry.key == entry.key);
        let Some(known) = known else { return false };
        self.hearsay.note_confirmed(entry);
        known.state == MemberState::Dead && known.entry.incarnation >= entry.incarnation
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

    /// Whether more answering members are known than the budget allows, beside this number of neighbours.
    pub(super) fn is_over_budget(&self, neighbours: usize) -> bool {
        self.table.alive_count() > self.contacts_max.saturating_add(neighbours)
    }

    /// Whether there is no room for one more answering member.
    pub(super) fn is_full(&self, neighbours: usize) -> bool {
        self.table.alive_count() >= self.contacts_max.saturating_add(neighbours)
    }

    /// Whether an unknown answering member would itself be the one to go, because there is no room for it beside this
    /// number of neighbours. The members that `pins` lists stay.
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
        self.news.put(member);
    }

    /// Puts the life of a member that this peer does not keep into the news: heard again, it is none.
    pub(super) fn announce_once(&mut self, entry: Entry) {
        self.news.put_once(entry);
    }

    /// The freshest news for a listener, after `first`: at most [`NEWS_MAX`](crate::wire::limits::NEWS_MAX), and as many as
    /// fit a datagram. Each is counted as passed on once.
    pub fn take_news(&mut self, to: Listener, first: Option<Member>) -> Vec<Member> {
        self.news.take(to, first)
    }

    /// Drops the news for all but neighbours: there are no other peers, or they hear of everything anyway.
    pub(super) fn keep_no_news_for_others(&mut self) {
        self.news.keep_none_for_others();
    }

    /// Whether members are exchanged whole: the ring is small, or nearly so.
    pub(super) fn are_exchanged_whole(&self, settings: RingSettings) -> bool {
        self.alive_count() + 1 < self.whole_below(settings)
    }

    /// The number of peers known alive, this one included, below which members are exchanged whole. A peer that keeps
    /// too few members for a nearly small ring cannot tell it from a large one.
    pub(super) fn whole_below(&self, settings: RingSettings) -> usize {
        let kept = self.contacts_max.saturating_add(settings.neighbours());
        let nearly_small = settings.known_whole_below();
        if kept >= nearly_small { nearly_small } else { settings.chord_from() }
    }

    /// The correction for a peer about itself. If it is believed over, or in a later life, it must hear that to
    /// contradict it. If its life is also lived at another address, it must hear that, or neither of two processes
    /// would end.
    pub(super) fn correction_for(&self, whom: &Entry) -> Option<Member> {
        let known = self.at(&whom.position)?;
        let elsewhere = known.entry.incarnation == whom.incarnation && known.entry.address != whom.address;
        (self.is_gone(whom) || elsewhere).then(|| known.clone())
    }

    /// The report by which a member that does not answer is forgotten. Its last life and the next one are declared over,
    /// so that the peer may come back with a later one. `None` if no such member is away.
    pub(super) fn forgotten(&self, whom: &Position) -> Option<Member> {
        self.at(whom).filter(|known| known.state == MemberState::Dead).map(left_for_good)
    }

    /// Like [`Members::forgotten`], for a member whose key was revoked, whether it is away or not.
    pub(super) fn expelled(&self, whom: &Position, key: &KeyHash) -> Option<Member> {
        let counts = |known: &&Member| known.state != MemberState::Left && known.entry.key == *key;
        self.at(whom).filter(counts).map(left_for_good)
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
    pub fn alive(&self) -> impl DoubleEndedIterator<Item = &Entry> + Clone {
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
    pub fn clockwise_from(&self, from: &Position) -> impl Iterator<Item = &Entry> + Clone {
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
            + self.news.bytes()
            + self.crowding.as_ref().map_or(0, Crowding::bytes)
            + self.hearsay.bytes()
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
        self.hearsay.forget(position);
        self.table.change().remove(position);
    }
}

/// Whether a report on a member is newer than what is known of it.
pub(super) fn is_more(said: &Member, known: Option<&Member>) -> bool {
    let order = |member: &Member| (member.entry.incarnation, member.state);
    known.is_none_or(|known| order(said) > order(known))
}

/// The report that a member left: its last life and the next one are over.
fn left_for_good(known: &Member) -> Member {
    let over = known.entry.incarnation.saturating_add(1).min(INCARNATION_MAX);
    Member { entry: known.entry.with_incarnation(over), state: MemberState::Left }
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

/// The most members that are remembered although they left or no longer answer: while they are, no stale news brings
/// them back.
const GONE_MAX: usize = MEMBERS_MAX / 4;
/// The bytes that the members of one message may take of a frame.
const MESSAGE_BYTES: usize = 40_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chord::sample::entry;
    use crate::wire::{Address, Life};

    fn member(number: u8, incarnation: u64, state: MemberState) -> Member {
        Member { entry: entry(number).with_incarnation(incarnation), state }
    }

    fn any_member() -> impl Strategy<Value = Member> {
        let states = [MemberState::Alive, MemberState::Left, MemberState::Dead];
        (0u8..4, 0u64..4, 0usize..3).prop_map(move |(n, i, s)| member(n, i, states[s]))
    }

    proptest! {
        /// Goal: the order and the number of arrivals of news do not matter.
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

    /// Goal: a peer that reports ever new dead members cannot fill a table beyond its bound.
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
        assert!(members.gone.len() <= GONE_MAX);
    }

    /// Rule: in rings that are small, or nearly so, each state brings all members (design, small rings), if a peer keeps
    /// as many.
    #[test]
    fn members_are_exchanged_whole_in_nearly_small_rings() {
        let settings = RingSettings { successors: 1, ..RingSettings::default() };
        let whole = |contacts_max, count: u8| {
            let mut members = Members::new(contacts_max);
            for number in 0..count {
                members.merge(member(number, 1, MemberState::Alive), false);
            }
            members.are_exchanged_whole(settings)
        };
        assert!(whole(MEMBERS_MAX, 4) && !whole(MEMBERS_MAX, 5), "six peers are twice as many as three");
        assert!(whole(4, 4) && !whole(3, 4), "a peer that keeps fewer may be in a large ring");
        assert!(whole(3, 1) && !whole(3, 2), "three peers are no small ring");
    }

    /// Rule: a peer that finds itself marked contradicts it (SWIM, §4.2), so it has to hear of the mark.
    #[test]
    fn a_peer_is_corrected_about_itself() {
        let mut members = Members::new(MEMBERS_MAX);
        members.merge(member(1, 5, MemberState::Alive), false);
        members.merge(member(2, 5, MemberState::Dead), false);
        let correction = |number, life| members.correction_for(&entry(number).with_incarnation(life));
        assert_eq!(correction(1, 5), None);
        assert_eq!(correction(1, 4), Some(member(1, 5, MemberState::Alive)), "it has lived longer");
        assert_eq!(correction(2, 5), Some(member(2, 5, MemberState::Dead)), "it is believed dead");
        assert_eq!(correction(2, 6), None, "the mark is of an earlier life");
        assert_eq!(correction(3, 1), None, "a stranger");
        let moved = entry(1).with_incarnation(5).with_address(Address::new("127.0.0.1:9").unwrap());
        assert_eq!(members.correction_for(&moved), Some(member(1, 5, MemberState::Alive)));
    }

    /// Rule: a member that was forgotten by hand is none (design, words), until it comes back with a later life.
    #[test]
    fn a_forgotten_member_comes_back_with_a_later_life() {
        let mut members = Members::new(MEMBERS_MAX);
        members.merge(member(1, 5, MemberState::Dead), false);
        members.merge(member(2, 5, MemberState::Alive), false);
        let forgotten = members.forgotten(&entry(1).position).unwrap();
        assert_eq!(forgotten, member(1, 6, MemberState::Left));
        assert!(members.merge(forgotten, false) && !members.is_news(&member(1, 6, MemberState::Alive)));
        assert!(members.is_news(&member(1, 7, MemberState::Alive)));
        assert_eq!(members.forgotten(&entry(2).position), None, "a living member");
        assert_eq!(members.forgotten(&entry(3).position), None, "a stranger");
    }

    /// Goal: a member with a revoked key is taken out whether it answers or not, by its key and not by its place.
    #[test]
    fn a_revoked_member_is_expelled() {
        let mut members = Members::new(MEMBERS_MAX);
        members.merge(member(1, 5, MemberState::Alive), false);
        members.merge(member(2, 5, MemberState::Dead), false);
        for number in [1, 2] {
            let (position, key) = (entry(number).position, entry(number).key);
            assert_eq!(members.expelled(&position, &KeyHash([0xee; 32])), None, "another key");
            let report = members.expelled(&position, &key).unwrap();
            assert_eq!(report, member(number, 6, MemberState::Left));
            assert!(members.merge(report, false));
            assert_eq!(members.expelled(&position, &key), None, "it has left already");
        }
        assert_eq!(members.alive_count(), 0);
        // A peer that does not know of the revocation yet may bring it back once more.
        assert!(members.is_news(&member(1, 7, MemberState::Alive)));
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
