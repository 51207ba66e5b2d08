//! Members by position, at 24 bytes each besides what their entries share.
//!
//! A sorted vector: a ring that fits the budget is known whole, and a lookup is a binary search. When the table is over
//! its budget, it evicts the contact that crowds its neighbours most, relative to its distance from this peer. So the
//! contacts are dense nearby and thin out with the distance (Li et al., *Bandwidth-efficient management of DHT routing
//! tables*, NSDI 2005).

use crate::id::Position;
use crate::wire::{Entry, Member, MemberState};

/// Members in the order of their positions.
#[derive(Clone, Default)]
pub struct Table {
    slots: Vec<Slot>,
    alive: usize,
}

/// One member. The first bytes of its position stand beside the handle, so that most comparisons touch nothing else.
#[derive(Clone)]
struct Slot {
    prefix: u64,
    member: Member,
}

const _: () = assert!(size_of::<Slot>() == Table::BYTES_PER_MEMBER);

impl Table {
    /// The memory that a member takes, in bytes, besides what all handles of one life share.
    pub const BYTES_PER_MEMBER: usize = 24;

    /// A table of these members, in any order; of two at one position the later one counts.
    pub fn of(members: impl IntoIterator<Item = Member>) -> Table {
        let mut slots: Vec<Slot> = members.into_iter().map(Slot::from).collect();
        slots.sort_by_key(|slot| slot.member.entry.position);
        slots.reverse();
        slots.dedup_by_key(|slot| slot.member.entry.position);
        slots.reverse();
        slots.shrink_to_fit();
        let alive = slots.iter().filter(|slot| slot.is_alive()).count();
        Table { slots, alive }
    }

    /// The members at these ranks ahead of the one of rank `from`, all taken modulo the number of members.
    pub fn pick(&self, from: usize, ranks: &[usize]) -> Table {
        let count = self.slots.len();
        let at = |rank: &usize| (from + rank) % count.max(1);
        // In order: begins with the ranks that wrap around the end of the table.
        let wrapped = ranks.partition_point(|rank| from + rank < count);
        let (ahead, around) = ranks.split_at(wrapped);
        let mut slots = Vec::with_capacity(ranks.len());
        slots.extend(around.iter().chain(ahead).filter_map(|rank| self.slots.get(at(rank)).cloned()));
        let alive = slots.iter().filter(|slot| slot.is_alive()).count();
        Table { slots, alive }
    }

    /// The member at a position, as far as is known.
    pub fn at(&self, position: &Position) -> Option<&Member> {
        self.find(position).ok().map(|i| &self.slots[i].member)
    }

    /// Whether this life of the peer is known to be over.
    pub fn is_gone(&self, entry: &Entry) -> bool {
        self.at(&entry.position).is_some_and(|known| {
            known.entry.incarnation > entry.incarnation
                || (known.entry.incarnation == entry.incarnation && known.state != MemberState::Alive)
        })
    }

    /// All members, by position.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Member> {
        self.slots.iter().map(|slot| &slot.member)
    }

    /// The members that answer, by position.
    pub fn alive(&self) -> impl DoubleEndedIterator<Item = &Entry> + Clone {
        alive_of(&self.slots)
    }

    /// The members that do not answer but remain members.
    pub fn away(&self) -> impl Iterator<Item = &Entry> {
        // Mostly all answer, and then a large table need not be searched.
        let slots = if self.alive == self.slots.len() { &[] } else { self.slots.as_slice() };
        slots.iter().map(|slot| &slot.member).filter(|m| m.state == MemberState::Dead).map(|m| &m.entry)
    }

    /// The number of members that answer.
    pub fn alive_count(&self) -> usize {
        self.alive
    }

    /// The number of members, in whatever state.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the table has no members.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The memory that the table takes, in bytes, besides what all handles of one life share.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * Table::BYTES_PER_MEMBER
    }

    /// The members that answer, clockwise from just after a position, once around; without the one at the position.
    pub fn clockwise_from(&self, from: &Position) -> impl Iterator<Item = &Entry> + Clone {
        let (before, after) = self.around(from);
        alive_of(after).chain(alive_of(before))
    }

    /// The members that answer, counter-clockwise from just before a position, once around.
    pub fn counter_clockwise_from(&self, from: &Position) -> impl Iterator<Item = &Entry> {
        let (before, after) = self.around(from);
        alive_of(before).rev().chain(alive_of(after).rev())
    }

    /// The first member that answers at or after a position.
    pub fn at_or_after(&self, position: &Position) -> Option<&Entry> {
        match self.at(position) {
            Some(member) if member.state == MemberState::Alive => Some(&member.entry),
            _ => self.clockwise_from(position).next(),
        }
    }

    /// The `n`th member that answers, modulo their number.
    pub fn nth_alive(&self, n: usize) -> Option<&Entry> {
        let n = n.checked_rem(self.alive)?;
        if self.alive == self.slots.len() {
            return self.slots.get(n).map(|slot| &slot.member.entry);
        }
        self.alive().nth(n)
    }

    /// Puts a member in its place; returns the earlier one at that position.
    pub(super) fn insert(&mut self, member: Member) -> Option<Member> {
        self.alive += usize::from(member.state == MemberState::Alive);
        let slot = Slot::from(member);
        match self.find(&slot.member.entry.position) {
            Ok(i) => {
                let old = std::mem::replace(&mut self.slots[i], slot).member;
                self.alive -= usize::from(old.state == MemberState::Alive);
                Some(old)
            }
            Err(i) => {
                self.slots.insert(i, slot);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, position: &Position) -> Option<Member> {
        let i = self.find(position).ok()?;
        let old = self.slots.remove(i).member;
        self.alive -= usize::from(old.state == MemberState::Alive);
        Some(old)
    }

    /// Of the members that answer, the one that crowds its neighbours most, relative to its distance ahead of `me`;
    /// never a pinned one. `pinned` is asked in the order of that distance.
    pub(super) fn most_crowding(
        &self,
        me: &Position,
        mut pinned: impl FnMut(&Entry) -> bool,
    ) -> Option<Position> {
        let (before, after) = self.around(me);
        let mut most: Option<(Room, &Entry)> = None;
        for (room, entry) in rooms(me, [after, before]) {
            if most.is_none_or(|(least, _)| room.is_less_than(&least)) && !pinned(entry) {
                most = Some((room, entry));
            }
        }
        most.map(|(_, entry)| entry.position)
    }

    /// The answering, unpinned peers with the least room between their neighbours.
    pub(super) fn most_crowded(&self, me: &Position, pinned: impl Fn(&Position) -> bool) -> Crowded {
        let (before, after) = self.around(me);
        let mut least: Vec<(Room, Position)> = Vec::with_capacity(Crowded::KEPT + 1);
        for (room, entry) in rooms(me, [after, before]) {
            let place = least.partition_point(|(other, _)| !room.is_less_than(other));
            if place < Crowded::KEPT && !pinned(&entry.position) {
                least.insert(place, (room, entry.position));
                least.truncate(Crowded::KEPT);
            }
        }
        Crowded { me: *me, before: before.len(), after: self.slots.len() - after.len(), least }
    }

    /// Whether a member that is not in the table would, put into it, be the one of [`Table::most_crowding`]. `crowded`
    /// must belong to the table as it is now.
    pub(super) fn would_crowd_most(
        &self,
        newcomer: &Position,
        crowded: &Crowded,
        pinned: impl Fn(&Position) -> bool,
    ) -> bool {
        let Err(place) = self.find(newcomer) else { return false };
        let (before, after) = (&self.slots[..crowded.before], &self.slots[crowded.after..]);
        // The slots between this peer and the newcomer, and the slots beyond it.
        let (nearer, farther): ([&[Slot]; 2], [&[Slot]; 2]) =
            match place.checked_sub(crowded.after).filter(|_| *newcomer > crowded.me) {
                Some(place) => ([&after[..place], &[]], [&after[place..], before]),
                None => ([after, &before[..place]], [&before[place..], &[]]),
            };
        let origin = crowded.me.prefix();
        let ahead =
            |slot: Option<&Slot>, none: u64| slot.map_or(none, |slot| slot.prefix.wrapping_sub(origin));
        let alive = |slots: [_; 2]| slots.into_iter().flatten().filter(|slot: &&Slot| slot.is_alive());
        let mut back = alive(nearer).rev();
        let mut onward = alive(farther);
        let [(last, last_but_one), (next, next_but_one)] =
            [(back.next(), back.next()), (onward.next(), onward.next())];
        let distance = newcomer.prefix().wrapping_sub(origin);
        let room = |last: u64, distance: u64, next: u64| Room { gap: next - last, distance };
        let its = room(ahead(last, 0), distance, ahead(next, u64::MAX));
        // Of two members with the same room, the nearer one crowds most.
        let is_it = |slot: Option<&Slot>, position: &Position| {
            slot.is_some_and(|slot| slot.member.entry.position == *position)
        };
        let others = crowded.least.iter().find(|(_, at)| !is_it(last, at) && !is_it(next, at));
        let by_others = others.is_some_and(|(other, at)| {
            let is_nearer = (other.distance, at) < (distance, newcomer);
            if is_nearer { !its.is_less_than(other) } else { other.is_less_than(&its) }
        });
        let by_last = last.is_some_and(|slot| {
            let other = room(ahead(last_but_one, 0), ahead(last, 0), distance);
            !its.is_less_than(&other) && !pinned(&slot.member.entry.position)
        });
        let by_next = next.is_some_and(|slot| {
            let other = room(distance, ahead(next, 0), ahead(next_but_one, u64::MAX));
            other.is_less_than(&its) && !pinned(&slot.member.entry.position)
        });
        !by_others && !by_last && !by_next
    }

    fn find(&self, position: &Position) -> Result<usize, usize> {
        let prefix = position.prefix();
        self.slots.binary_search_by(|slot| {
            slot.prefix.cmp(&prefix).then_with(|| slot.member.entry.position.cmp(position))
        })
    }

    /// The slots before a position and the slots after it.
    fn around(&self, position: &Position) -> (&[Slot], &[Slot]) {
        match self.find(position) {
            Ok(i) => (&self.slots[..i], &self.slots[i + 1..]),
            Err(i) => self.slots.split_at(i),
        }
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Table) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Table {}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Slot {
    fn is_alive(&self) -> bool {
        self.member.state == MemberState::Alive
    }
}

impl From<Member> for Slot {
    fn from(member: Member) -> Slot {
        Slot { prefix: member.entry.position.prefix(), member }
    }
}

/// The peers of a table with the least room.
#[derive(Debug, Clone)]
pub(super) struct Crowded {
    /// The position from which distances count.
    me: Position,
    /// The number of slots before it, and the index at which those after it begin.
    before: usize,
    after: usize,
    /// The peers with the least room, the least first; of two with the same room the nearer one.
    least: Vec<(Room, Position)>,
}

impl Crowded {
    /// A newcomer changes the room of its two neighbours; the third peer's room still counts.
    const KEPT: usize = 3;

    /// The memory that this takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.least.capacity() * size_of::<(Room, Position)>()
    }
}

/// The room of a member between its neighbours, and its distance ahead.
#[derive(Debug, Clone, Copy)]
struct Room {
    gap: u64,
    distance: u64,
}

impl Room {
    /// By gap / distance, without division: the same on every machine.
    fn is_less_than(&self, other: &Room) -> bool {
        u128::from(self.gap) * u128::from(other.distance) < u128::from(other.gap) * u128::from(self.distance)
    }
}

/// The living peers of these slots, from `me` on, each with its room.
fn rooms<'a>(me: &Position, slots: [&'a [Slot]; 2]) -> impl Iterator<Item = (Room, &'a Entry)> {
    let origin = me.prefix();
    let alive = slots.into_iter().flatten().filter(|slot| slot.is_alive());
    let mut ahead = alive.map(move |slot| (slot.prefix.wrapping_sub(origin), &slot.member.entry)).peekable();
    let mut last = 0;
    std::iter::from_fn(move || {
        let (distance, entry) = ahead.next()?;
        let next = ahead.peek().map_or(u64::MAX, |(next, _)| *next);
        let gap = next - std::mem::replace(&mut last, distance);
        Some((Room { gap, distance }, entry))
    })
}

fn alive_of(slots: &[Slot]) -> impl DoubleEndedIterator<Item = &Entry> + Clone {
    slots.iter().filter(|slot| slot.is_alive()).map(|slot| &slot.member.entry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{KeyHash, sha256};
    use crate::wire::{Address, Life};

    fn member(position: Position, state: MemberState) -> Member {
        let address = Address::new("127.0.0.1:1").unwrap();
        let entry = Entry::from(Life { position, incarnation: 1, key: KeyHash([0; 32]), address });
        Member { entry, state }
    }

    fn numbered(number: u8) -> Member {
        member(Position::of_number(number), MemberState::Alive)
    }

    proptest! {
        /// Goal: the table agrees with a sorted map after any insertions and removals.
        #[test]
        fn it_is_a_sorted_map(steps in prop::collection::vec((any::<u8>(), 0u8..4), 0..60), from in any::<u8>()) {
            let mut table = Table::default();
            let mut model = std::collections::BTreeMap::new();
            for (number, what) in steps {
                let position = Position::of_number(number);
                let states = [MemberState::Alive, MemberState::Left, MemberState::Dead];
                match states.get(usize::from(what)) {
                    Some(state) => {
                        let member = member(position, *state);
                        prop_assert_eq!(table.insert(member.clone()), model.insert(position, member));
                    }
                    None => prop_assert_eq!(table.remove(&position), model.remove(&position)),
                }
            }
            prop_assert!(table.iter().eq(model.values()));
            prop_assert_eq!(table.alive_count(), table.alive().count());
            let from = Position::of_number(from);
            let mut ahead: Vec<Position> = table.alive().map(|e| e.position).filter(|p| *p != from).collect();
            ahead.sort_by_key(|p| from.distance_to(p));
            prop_assert!(table.clockwise_from(&from).map(|e| e.position).eq(ahead.iter().copied()));
            prop_assert!(table.counter_clockwise_from(&from).map(|e| e.position).eq(ahead.into_iter().rev()));
            prop_assert!(Table::of(model.into_values()).iter().eq(table.iter()));
        }
    }

    proptest! {
        /// Goal: the table recognises, without inserting it, a member that would be evicted at once, with any ties and
        /// pinned members.
        #[test]
        fn a_newcomer_that_would_go_is_told(
            known in prop::collection::btree_map(any::<u8>(), 0u8..4, 0..40),
            pins in prop::collection::btree_set(any::<u8>(), 0..20),
            me in any::<u8>(),
        ) {
            let me = Position::of_number(me);
            let state = |kind: u8| if kind == 0 { MemberState::Dead } else { MemberState::Alive };
            let others = known.iter().map(|(number, kind)| member(Position::of_number(*number), state(*kind)));
            let table = Table::of(others.filter(|other| other.entry.position != me));
            let pinned = |at: &Position| at.number().is_some_and(|number| pins.contains(&number));
            let crowded = table.most_crowded(&me, pinned);
            for newcomer in (0..=u8::MAX).map(numbered) {
                let position = newcomer.entry.position;
                if position == me || table.at(&position).is_some() || pinned(&position) {
                    continue;
                }
                let mut larger = table.clone();
                larger.insert(newcomer);
                let goes = larger.most_crowding(&me, |entry| pinned(&entry.position)) == Some(position);
                prop_assert_eq!(table.would_crowd_most(&position, &crowded, pinned), goes, "{:?}", position);
            }
        }
    }

    #[test]
    fn the_member_at_or_after_a_position() {
        let table =
            Table::of([numbered(10), numbered(20), member(Position::of_number(30), MemberState::Dead)]);
        let at = |n: u8| table.at_or_after(&Position::of_number(n)).and_then(|e| e.position.number());
        assert_eq!(
            [at(5), at(10), at(11), at(30), at(40)],
            [Some(10), Some(10), Some(20), Some(10), Some(10)]
        );
    }

    /// Goal: the contacts that stay are dense nearby and thin out with the distance: each doubling of the distance has
    /// about as many.
    #[test]
    fn crowding_leaves_a_density_that_falls_with_the_distance() {
        let me = Position::ZERO;
        let mut table = Table::default();
        for i in 0..6_000u32 {
            table.insert(member(Position(sha256(&i.to_be_bytes())), MemberState::Alive));
            if table.alive_count() > 128 {
                let victim = table.most_crowding(&me, |_| false).unwrap();
                table.remove(&victim);
            }
        }
        // The nearest of 6,000 members lies about 2^64 / 6,000 ahead, which leaves twelve and a half doublings.
        let mut octaves = [0u32; 12];
        for entry in table.alive() {
            let octave = entry.position.prefix().leading_zeros() as usize;
            octaves[octave.min(11)] += 1;
        }
        let full: Vec<u32> = octaves[..7].to_vec();
        assert!(full.iter().all(|count| (8..=26).contains(count)), "{octaves:?}");
    }

    #[test]
    fn picked_ones_are_in_order() {
        let table = Table::of((0..10).map(numbered));
        let picked = table.pick(7, &[1, 2, 5, 9]);
        let numbers: Vec<_> = picked.alive().filter_map(|e| e.position.number()).collect();
        assert_eq!((numbers, picked.alive_count()), (vec![2, 6, 8, 9], 4));
    }

    #[test]
    fn a_pinned_member_stays() {
        let table = Table::of((0..50).map(numbered));
        let keep = table.most_crowding(&Position::ZERO, |_| false).unwrap();
        assert_ne!(table.most_crowding(&Position::ZERO, |entry| entry.position == keep), Some(keep));
        assert_eq!(table.most_crowding(&Position::ZERO, |_| true), None);
    }
}
