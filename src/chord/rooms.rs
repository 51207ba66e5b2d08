//! The peers that have no room for further files, as each says of itself in its pongs.
//!
//! Only the peers that this one pings are heard: both nearest successors, the predecessor, and partners. A peer's word
//! changes at most once a minute, however often it says something else, so that one that flaps costs a round of repair a
//! minute. A word that is not repeated ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::memory::TREE_ENTRY_BYTES;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::limits::FULL_PEERS_MAX;

/// The last words of other peers, at most [`Rooms::MAX`], and this peer's own.
#[derive(Debug, Clone, Default)]
pub(super) struct Rooms {
    own_full: bool,
    words: BTreeMap<Position, Word>,
    changes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Word {
    full: bool,
    /// When the word changed.
    changed: Moment,
    /// When the peer was heard last.
    heard: Moment,
}

impl Rooms {
    const MAX: usize = FULL_PEERS_MAX - 1;
    /// The least time between two changes of one peer's word.
    const HOLDS: Duration = Duration::from_secs(60);
    /// The ping intervals without a pong after which a word ends. Partners are pinged in turn, so each more rarely.
    const SILENT: u32 = 64;

    /// Sets whether this peer itself has no room.
    pub(super) fn set_own(&mut self, full: bool) {
        self.changes += u64::from(self.own_full != full);
        self.own_full = full;
    }

    /// Whether this peer itself has no room.
    pub(super) fn own_full(&self) -> bool {
        self.own_full
    }

    /// Takes a peer's word, from its pong.
    pub(super) fn hear(&mut self, now: Moment, peer: Position, full: bool) {
        let has_place = self.words.len() < Rooms::MAX;
        match self.words.get_mut(&peer) {
            Some(word) => {
                word.heard = now;
                if word.full != full && now.since(word.changed) >= Rooms::HOLDS {
                    (word.full, word.changed) = (full, now);
                    self.changes += 1;
                }
            }
            None if full && has_place => {
                self.words.insert(peer, Word { full, changed: now, heard: now });
                self.changes += 1;
            }
            None => {}
        }
    }

    /// Forgets the words of peers that were not heard for long, and of those that have room again.
    pub(super) fn forget(&mut self, now: Moment, interval: Duration) {
        let silent = (interval * Rooms::SILENT).max(Rooms::HOLDS);
        let mut ended = 0;
        self.words.retain(|_, word| {
            let is_silent = now.since(word.heard) >= silent;
            ended += u64::from(is_silent && word.full);
            !is_silent && (word.full || now.since(word.changed) < Rooms::HOLDS)
        });
        self.changes += ended;
    }

    /// The peers without room; `me` among them if this peer has none.
    pub(super) fn full(&self, me: &Position) -> BTreeSet<Position> {
        let others = self.words.iter().filter(|(_, word)| word.full).map(|(peer, _)| *peer);
        others.chain(self.own_full.then_some(*me)).collect()
    }

    /// The number of changes to the set of peers without room.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The memory that this takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.words.len() * (TREE_ENTRY_BYTES + size_of::<Word>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    fn peer(number: u8) -> Position {
        Position::of_number(number)
    }

    fn full(rooms: &Rooms) -> Vec<u8> {
        rooms.full(&peer(1)).into_iter().filter_map(|position| position.number()).collect()
    }

    #[test]
    fn a_word_counts_until_it_is_taken_back() {
        let mut rooms = Rooms::default();
        rooms.hear(at(0), peer(2), false);
        assert_eq!((full(&rooms), rooms.changes()), (vec![], 0), "room is nothing new");
        rooms.hear(at(1), peer(2), true);
        rooms.set_own(true);
        rooms.set_own(true);
        assert_eq!((full(&rooms), rooms.changes()), (vec![1, 2], 2));
        rooms.hear(at(61), peer(2), false);
        rooms.set_own(false);
        assert_eq!((full(&rooms), rooms.changes()), (vec![], 4));
    }

    /// Goal: a peer that says something else each second changes nothing more than once a minute, and what it says last
    /// counts.
    #[test]
    fn a_word_changes_once_a_minute() {
        let mut rooms = Rooms::default();
        for second in 0..601 {
            rooms.hear(at(second), peer(2), second % 2 == 0);
            rooms.forget(at(second), SECOND);
        }
        assert!((6..=11).contains(&rooms.changes()), "{}", rooms.changes());
        for second in 601..700 {
            rooms.hear(at(second), peer(2), false);
        }
        assert!(full(&rooms).is_empty());
    }

    #[test]
    fn a_word_that_is_not_repeated_ends() {
        let mut rooms = Rooms::default();
        rooms.hear(at(0), peer(2), true);
        rooms.hear(at(0), peer(3), true);
        rooms.hear(at(60), peer(3), true);
        rooms.forget(at(63), SECOND);
        assert_eq!(full(&rooms), [2, 3]);
        rooms.forget(at(64), SECOND);
        assert_eq!((full(&rooms), rooms.changes()), (vec![3], 3));
        rooms.forget(at(120), SECOND * 60);
        assert_eq!(full(&rooms), [3], "where pings are rare it lasts longer");
    }

    #[test]
    fn words_are_bounded() {
        let mut rooms = Rooms::default();
        for number in 0..1_000u16 {
            let mut bytes = [0; 32];
            bytes[..2].copy_from_slice(&number.to_be_bytes());
            rooms.hear(at(0), Position(bytes), true);
        }
        assert_eq!(rooms.full(&peer(1)).len(), Rooms::MAX);
    }
}
