//! News of members: changes that this peer still passes on, a bounded number of times each.
//!
//! Pings and their answers carry them (piggybacking, after SWIM, Das et al., DSN 2002).

use std::collections::VecDeque;

use crate::id::KeyHash;
use crate::wire::limits::{DATAGRAM_BYTES_MAX, NEWS_MAX};
use crate::wire::{Entry, Life, Member, MemberState};

/// The changes that are still passed on, at most [`NEWS_KEPT_MAX`].
#[derive(Debug, Clone, Default)]
pub(super) struct News {
    items: Vec<Item>,
    /// The last lives that came through [`News::put_once`], at most [`ONCE_MAX`]: the first bytes of the position, which
    /// stand for the member, and the incarnation.
    told: VecDeque<(u64, u64)>,
}

/// A change that is still passed on.
#[derive(Debug, Clone)]
struct Item {
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

impl News {
    /// Puts a change into the news, to be passed on a bounded number of times.
    pub(super) fn put(&mut self, member: Member) {
        let position = member.entry.position;
        let prefix = (position.prefix() >> 32) as u32;
        let news = Item { prefix, member, copies_left: [COPIES_TO_NEIGHBOURS, COPIES_TO_OTHERS] };
        // The first bytes tell most positions apart without a look at the entry.
        let is_of_same = |news: &Item| news.prefix == prefix && news.member.entry.position == position;
        // It takes the place of older news of the same peer, or else of the news that was told most often already.
        let full = self.items.len() >= NEWS_KEPT_MAX;
        match self.items.iter().position(is_of_same).or(full.then(|| self.items.len() - 1)) {
            Some(at) => {
                self.items[..=at].rotate_right(1);
                self.items[0] = news;
            }
            None => self.items.insert(0, news),
        }
    }

    /// Puts the life of a member that is not kept into the news. Heard again, it is no news: otherwise peers that forget it
    /// would tell each other of it for ever.
    pub(super) fn put_once(&mut self, entry: Entry) {
        let (prefix, incarnation) = (entry.position.prefix(), entry.incarnation);
        if self.told.iter().any(|told| told.0 == prefix && told.1 >= incarnation) {
            return;
        }
        if self.told.len() >= ONCE_MAX {
            self.told.pop_front();
        }
        self.told.push_back((prefix, incarnation));
        self.put(Member { entry, state: MemberState::Alive });
    }

    /// The freshest news for a listener, at most [`NEWS_MAX`] and as many as fit a datagram; each is counted as passed
    /// on once.
    pub(super) fn take(&mut self, to: Listener, first: Option<Member>) -> Vec<Member> {
        let to = to as usize;
        if !self.items.is_sorted_by(|one, other| one.copies_left[to] >= other.copies_left[to]) {
            self.items.sort_by_key(|news| std::cmp::Reverse(news.copies_left[to]));
        }
        let mut taken: Vec<Member> = first.into_iter().collect();
        let mut bytes: usize = taken.iter().map(wire_bytes).sum();
        for news in self.items.iter_mut().take_while(|news| news.copies_left[to] > 0) {
            bytes += wire_bytes(&news.member);
            if taken.len() >= NEWS_MAX || bytes > NEWS_BYTES {
                break; // fresher news goes first, so none is passed over for ever
            }
            taken.push(news.member.clone());
            news.copies_left[to] -= 1;
        }
        self.items.retain(|news| news.copies_left != [0, 0]);
        taken
    }

    /// Drops the news for all but neighbours: there are no other peers, or they hear of everything anyway.
    pub(super) fn keep_none_for_others(&mut self) {
        for news in &mut self.items {
            news.copies_left[Listener::Random as usize] = 0;
        }
        self.items.retain(|news| news.copies_left != [0, 0]);
    }

    /// The memory that the news takes, in bytes, besides what all handles of one life share.
    pub(super) fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<Item>() + self.told.capacity() * size_of::<(u64, u64)>()
    }
}

/// The most bytes that a member takes on the wire.
pub(super) fn wire_bytes(member: &Member) -> usize {
    let Life { position, key, address, .. } = &*member.entry;
    let key_bytes = if key.0 == position.0 { 0 } else { size_of::<KeyHash>() };
    MEMBER_BYTES + key_bytes + address.as_str().len()
}

/// The number of times a peer passes a change on to its neighbours, so that no peer along the ring is left out.
const COPIES_TO_NEIGHBOURS: u8 = 3;
/// The number of times it passes a change on to others, which are random: each time doubles the number of peers that
/// know.
const COPIES_TO_OTHERS: u8 = 4;
/// The most changes that are still passed on.
const NEWS_KEPT_MAX: usize = 1_024;
/// The most lives that are remembered as passed on. The ring tells of one for some tens of intervals; if more than these
/// begin within that time, a peer passes some of them on twice.
const ONCE_MAX: usize = 256;
/// The most bytes of a member on the wire without its key and its address: a hash, an incarnation, whether there is a
/// key, a length, a state.
const MEMBER_BYTES: usize = 32 + 9 + 1 + 3 + 1;
/// The bytes that news may take of a datagram: all but a tag, a sequence number and a length.
const NEWS_BYTES: usize = DATAGRAM_BYTES_MAX - (1 + 9 + 1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::sample::entry;
    use crate::wire::MemberState;

    fn member(number: u8, incarnation: u64) -> Member {
        Member { entry: entry(number).with_incarnation(incarnation), state: MemberState::Alive }
    }

    #[test]
    fn news_is_passed_on_a_bounded_number_of_times() {
        let mut news = News::default();
        (0..20).for_each(|number| news.put(member(number, 1)));
        for (listener, copies) in
            [(Listener::Random, COPIES_TO_OTHERS), (Listener::Neighbour, COPIES_TO_NEIGHBOURS)]
        {
            let mut passed_on = 0;
            loop {
                let taken = news.take(listener, None);
                assert!(taken.len() <= NEWS_MAX);
                if taken.is_empty() {
                    break;
                }
                passed_on += taken.len();
            }
            assert_eq!(passed_on, 20 * usize::from(copies));
        }
        assert!(news.items.is_empty(), "it is news no more");
    }

    #[test]
    fn fresher_news_of_a_peer_takes_the_place_of_older() {
        let mut news = News::default();
        (0..3).for_each(|number| news.put(member(number, 1)));
        news.put(member(1, 2));
        assert_eq!(news.items.len(), 3);
        assert_eq!(news.take(Listener::Random, None)[0], member(1, 2), "the freshest goes first");
    }

    /// Rule: a member that is not kept is told of once, and again when there is newer news of it.
    #[test]
    fn what_is_not_kept_is_told_of_once() {
        let mut news = News::default();
        let life = |number, incarnation| member(number, incarnation).entry;
        news.put_once(life(1, 5));
        while !(news.take(Listener::Random, None).is_empty()
            && news.take(Listener::Neighbour, None).is_empty())
        {}
        for old in [life(1, 5), life(1, 4)] {
            news.put_once(old);
            assert!(news.items.is_empty());
        }
        news.put_once(life(1, 6));
        news.put_once(life(2, 1));
        assert_eq!(news.items.len(), 2);
    }

    /// Rule: however many members a peer does not keep, it remembers a bounded number of them.
    #[test]
    fn what_is_told_of_once_is_bounded() {
        let mut news = News::default();
        for incarnation in 0..=ONCE_MAX as u64 {
            news.put_once(member(1, incarnation).entry);
        }
        assert_eq!(news.told.len(), ONCE_MAX);
    }

    #[test]
    fn news_is_bounded() {
        let mut news = News::default();
        for number in 0..2 * NEWS_KEPT_MAX as u64 {
            let mut position = crate::id::Position::ZERO;
            position.0[..8].copy_from_slice(&number.to_be_bytes());
            let Member { entry, state } = member(0, 1);
            news.put(Member {
                entry: crate::wire::Entry::from(Life { position, ..(*entry).clone() }),
                state,
            });
        }
        assert_eq!(news.items.len(), NEWS_KEPT_MAX);
    }
}
