//! The votes that it takes to say that a key has nothing.
//!
//! A record, or a copy, is acknowledged once W = ⌊min(R, members)/2⌋ + 1 members of a window have it: of R members that
//! follow each other from the key on. Members that do not answer are members all the same. Which window it was depends
//! on the members at that time: up to R − 1 of those that stand first today may have come since, so it is one of the R
//! windows within the first 2R − 1 members. "There is nothing" is certain once each of these windows holds R − W + 1
//! members that say so: as W and R − W + 1 are more than R, each set of W members that can have kept it has one member
//! that was asked, which would have said so. With one vote fewer in one window, the W other members of it may be those
//! that have it.
//!
//! A "no" counts only from a member that is not taking over: it has been given what is its to keep. Members that left
//! count as silent for a while, since they, too, may have been among the W (see [`View::departed`]). While the parts of
//! a split come together, the windows of each part may have been others. So the votes of all are needed then; they
//! always suffice.

use std::collections::BTreeSet;

use super::placement::{Found, Voters, vote_count};
use crate::chord::View;
use crate::id::Position;
use crate::wire::Entry;

/// The voters on a key, and the votes that were heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    /// R, or the number of voters if that is smaller.
    copies: usize,
    /// The first 2R − 1 members from the key on, the nearest first, whether they answer or not; and further ones that
    /// are asked as well.
    seats: Vec<Seat>,
    /// The number of seats, from the first on, that hold the windows.
    windows_in: usize,
    /// Other peers that may have kept it while the ring was split, and that have not been heard.
    apart: BTreeSet<Position>,
    /// Whether the ring was split a moment ago: then the votes of all are needed.
    of_all: bool,
    /// Whether every member is known here, so that no unknown one stands between the seats.
    all_known: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seat {
    peer: Position,
    word: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// The peer was asked.
    Awaited,
    /// The peer does not answer, and is a member.
    Away,
    /// The peer left not long ago, or was forgotten: it is not waited for.
    Departed,
    /// The peer answered, but was not given all that it should have yet.
    TakingOver,
    /// The peer answered, and has all that it should.
    Heard,
}

impl Election {
    /// An election with R copies of everything, once the owner of the key is found with 2R − 2 peers behind it; and the
    /// peers to ask.
    pub fn of(view: &View, copies: usize, key: &Position, found: &Found) -> (Election, Vec<Entry>) {
        let voters = Voters::of(view, copies, key, found);
        let asked = voters.asked().cloned().collect();
        let positions =
            |peers: &[Entry]| -> Vec<Position> { peers.iter().map(|peer| peer.position).collect() };
        let mut election = Election::new(copies, key, positions(&voters.first), voters.away, voters.departed);
        election.apart = positions(&voters.apart).into_iter().collect();
        election.of_all = !view.rejoined.is_empty();
        election.all_known = view.small;
        (election, asked)
    }

    /// An election among these members around a key, in a ring that is known whole.
    pub fn new(
        copies: usize,
        key: &Position,
        asked: impl IntoIterator<Item = Position>,
        away: impl IntoIterator<Item = Position>,
        departed: impl IntoIterator<Item = Position>,
    ) -> Election {
        let seat = |word| move |peer| Seat { peer, word };
        let mut seats: Vec<Seat> = asked.into_iter().map(seat(Word::Awaited)).collect();
        seats.extend(away.into_iter().map(seat(Word::Away)));
        seats.extend(departed.into_iter().map(seat(Word::Departed)));
        let distance = |peer: &Position| if peer == key { Position::ZERO } else { key.distance_to(peer) };
        seats.sort_by_key(|seat| distance(&seat.peer));
        seats.dedup_by_key(|seat| seat.peer);
        let windows_in = seats.len().min(vote_count(copies));
        let copies = copies.min(seats.len());
        Election { copies, seats, windows_in, apart: BTreeSet::new(), of_all: false, all_known: true }
    }

    /// Takes the vote of one of them. `has_a_vote`: the peer has all its ranges, or it has the asked record or object.
    /// The flag does not matter for a peer that is asked because it was in another part of a split.
    pub fn hear(&mut self, peer: &Position, has_a_vote: bool) {
        self.apart.remove(peer);
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.peer == *peer && seat.word != Word::Heard)
        {
            seat.word = if has_a_vote { Word::Heard } else { Word::TakingOver };
        }
    }

    /// Whether all voters have been heard that can ever answer.
    pub fn all_were_heard(&self) -> bool {
        let heard = |seat: &Seat| matches!(seat.word, Word::Heard | Word::Departed);
        self.apart.is_empty() && self.seats.iter().all(heard)
    }

    /// Whether the votes suffice: had anything been acknowledged, one of the heard voters would have it.
    pub fn is_decided(&self) -> bool {
        let mut windows = self.seats[..self.windows_in].windows(self.copies.max(1));
        self.all_were_heard()
            || (!self.of_all && !self.seats.is_empty() && windows.all(|window| self.sees_into(window)))
    }

    /// Whether the rest need not be waited for. If this peer does not know all members, an unknown one may stand
    /// between those that it knows: then the rest are waited for a little.
    pub fn is_over(&self) -> bool {
        self.all_were_heard() || (self.all_known && self.is_decided())
    }

    /// Whether the newest version that was acknowledged lately is among the votes: they cover the first R members.
    pub fn has_the_newest(&self) -> bool {
        !self.of_all && self.sees_into(&self.seats[..self.copies])
    }

    /// The voters whose vote is missing: they do not answer, or are taking over.
    pub fn silent(&self) -> BTreeSet<Position> {
        let is_missing = |word| matches!(word, Word::Awaited | Word::Away | Word::TakingOver);
        let missing = self.seats.iter().filter(|seat| is_missing(seat.word));
        missing.map(|seat| seat.peer).chain(self.apart.iter().copied()).collect()
    }

    /// The missing voters that did answer, but are still taking over.
    pub fn taking_over(&self) -> BTreeSet<Position> {
        let answered = self.seats.iter().filter(|seat| seat.word == Word::TakingOver);
        answered.map(|seat| seat.peer).collect()
    }

    /// Whether a missing vote may still come in a moment. The other missing voters are known to be away.
    pub fn may_change(&self) -> bool {
        let may_change = |seat: &Seat| matches!(seat.word, Word::Awaited | Word::TakingOver);
        !self.apart.is_empty() || self.seats.iter().any(may_change)
    }

    /// Whether enough members of a window said no that every set of W of its members contains one of them.
    fn sees_into(&self, window: &[Seat]) -> bool {
        let heard = window.iter().filter(|seat| seat.word == Word::Heard).count();
        heard >= words_needed(self.copies)
    }
}

/// Whether the heard members together have all that was acknowledged in the ring, with R copies of everything: each
/// window of R members, wherever on the circle, has enough of them. If a peer does not know all members, or while the
/// parts of a split come together, all known members must have been heard.
pub fn all_is_seen(view: &View, copies: usize, heard: &BTreeSet<Position>) -> bool {
    let members = view.alive().chain([&view.me]).chain(view.away()).map(|entry| entry.position);
    let members: BTreeSet<Position> = members.collect();
    if members.is_subset(heard) {
        return true;
    }
    let around: Vec<Position> = members.union(&view.departed).copied().collect();
    let copies = copies.min(around.len());
    let sees_into = |start: usize| {
        let window = (start..start + copies).map(|i| &around[i % around.len()]);
        window.filter(|peer| heard.contains(peer)).count() >= words_needed(copies)
    };
    view.small && view.rejoined.is_empty() && (0..around.len()).all(sees_into)
}

/// R − W + 1, where R is `copies`.
fn words_needed(copies: usize) -> usize {
    let quorum = copies / 2 + 1;
    copies + 1 - quorum.min(copies)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{entry, numbers, numbers_of, peer, view_with};
    use super::*;
    use crate::chord::View;

    /// An election of members 1 to `count`; those in the bits of `heard` say no.
    fn election(copies: usize, count: u8, heard: u32) -> Election {
        let mut election = Election::new(copies, &peer(0), (1..=count).map(peer), [], []);
        (1..=count).filter(|n| heard & (1 << (n - 1)) != 0).for_each(|n| election.hear(&peer(n), true));
        election
    }

    /// All sets of W members of a window, as bits. Members are counted from the key on, with up to R − 1 members in
    /// front that have come since.
    fn keepers(copies: usize, count: usize) -> Vec<u32> {
        let (window, members) = (copies.min(count), count.min(2 * copies - 1));
        let quorum = window / 2 + 1;
        let windows: Vec<u32> = (0..=members - window).map(|start| ((1 << window) - 1) << start).collect();
        let of_window = |set: &u32| windows.iter().any(|window| set & !window == 0);
        (0..1u32 << members).filter(|set| set.count_ones() as usize == quorum && of_window(set)).collect()
    }

    /// Goal: a "no" is certain exactly when every set of members that may have kept a record contains a member that
    /// said no. Method: all rings of up to nine members, and all answers.
    #[test]
    fn a_no_is_certain_when_the_answers_meet_every_quorum_of_every_window() {
        for copies in 1..=5usize {
            for count in 1..=9u8 {
                let keepers = keepers(copies, count.into());
                for heard in 0..1u32 << count {
                    let is_seen = keepers.iter().all(|kept| kept & heard != 0);
                    assert_eq!(
                        election(copies, count, heard).is_decided(),
                        is_seen,
                        "R = {copies}, {count} members, {heard:b} say no"
                    );
                }
            }
        }
    }

    /// Control: with one "no" fewer in each window, in every ring where any "no" is left, there may be an acknowledged
    /// record that no heard member has.
    #[test]
    fn one_word_fewer_would_deny_what_was_acknowledged() {
        for copies in 1..=5usize {
            for count in 1..=9usize {
                let (window, members) = (copies.min(count), count.min(2 * copies - 1));
                let fewer = words_needed(window) - 1;
                let passes = |heard: &u32| {
                    (0..=members - window)
                        .all(|start| (heard >> start & ((1 << window) - 1)).count_ones() as usize >= fewer)
                };
                let keepers = keepers(copies, count);
                let wrong = (0..1u32 << members)
                    .filter(passes)
                    .find(|heard| keepers.iter().any(|kept| kept & heard == 0));
                let wrong = wrong.unwrap_or_else(|| panic!("R = {copies}, {count} members"));
                assert!(!election(copies, count as u8, wrong).is_decided());
            }
        }
    }

    #[test]
    fn six_peers_of_which_two_are_gone() {
        // Whether a "no" is certain with these two of six members gone for good, counted from the key on, and three
        // copies.
        let certain = |gone: [u8; 2]| {
            let asked = (1..=6).filter(|n| !gone.contains(n)).map(peer);
            let mut election = Election::new(3, &peer(0), asked.clone(), gone.map(peer), []);
            asked.for_each(|peer| election.hear(&peer, true));
            assert_eq!(election.is_over(), election.is_decided());
            election.is_decided()
        };
        for gone in [[1, 4], [1, 5], [2, 5], [1, 6], [2, 6], [3, 6], [4, 6], [5, 6]] {
            assert!(certain(gone), "{gone:?}");
        }
        for gone in [[1, 2], [1, 3], [2, 3], [2, 4], [3, 4], [3, 5], [4, 5]] {
            assert!(!certain(gone), "{gone:?} may have kept it");
        }
    }

    #[test]
    fn a_member_that_takes_over_has_no_vote() {
        let mut election = Election::new(3, &peer(0), [1, 2, 3].map(peer), [], []);
        election.hear(&peer(1), true);
        election.hear(&peer(2), false);
        assert!(!election.is_decided() && election.may_change());
        assert_eq!(numbers(&election.silent()), [2, 3]);
        assert_eq!(numbers(&election.taking_over()), [2]);
        election.hear(&peer(3), true);
        assert!(election.is_over(), "2 alone is no quorum");
    }

    #[test]
    fn a_member_that_left_counts_as_silent_but_is_not_waited_for() {
        // 1 was forgotten; 2, which may have kept the same, is away.
        let mut election = Election::new(3, &peer(0), [3, 4, 5].map(peer), [peer(2)], [peer(1)]);
        [3, 4, 5].map(peer).iter().for_each(|peer| election.hear(peer, true));
        assert!(!election.is_decided() && !election.may_change());
        assert_eq!(numbers(&election.silent()), [2]);
        // Once 2 is forgotten, too, there is no peer to wait for.
        let mut election = Election::new(3, &peer(0), [3, 4, 5].map(peer), [], [1, 2].map(peer));
        [3, 4, 5].map(peer).iter().for_each(|peer| election.hear(peer, true));
        assert!(election.is_over());
    }

    #[test]
    fn a_view_says_which_members_to_ask() {
        let found = Found {
            owner: entry(20),
            predecessor: Some(entry(10)),
            successors: [30, 40, 10].map(entry).to_vec(),
        };
        let view = view_with(10, &[20, 30, 40], &[50]);
        let (mut election, asked) = Election::of(&view, 3, &peer(15), &found);
        assert_eq!(numbers_of(&asked), [20, 30, 40, 10]);
        election.hear(&peer(30), true);
        election.hear(&peer(40), true);
        assert!(!election.is_decided(), "20 and 50 are not in one window, but 50 and 10 are");
        election.hear(&peer(10), true);
        assert!(election.is_over());
        // In a ring that was split a moment ago, the votes of all are needed.
        let split = View { rejoined: [peer(40)].into(), ..view.clone() };
        let (mut election, asked) = Election::of(&split, 3, &peer(15), &found);
        asked.iter().for_each(|entry| election.hear(&entry.position, true));
        assert!(!election.is_decided());
        // In a ring that is not known whole, the asker waits a little for the rest.
        let large = View { small: false, ..view };
        let (mut election, _) = Election::of(&large, 3, &peer(15), &found);
        [30, 40, 10].map(peer).iter().for_each(|peer| election.hear(peer, true));
        assert!(election.is_decided() && !election.is_over());
    }

    #[test]
    fn a_listing_is_whole_once_no_quorum_of_any_window_is_silent() {
        let view = view_with(10, &[20, 30, 40], &[50, 60]);
        let heard = |numbers: &[u8]| numbers.iter().map(|n| peer(*n)).collect::<BTreeSet<Position>>();
        assert!(!all_is_seen(&view, 3, &heard(&[10, 20, 30, 40])), "50 and 60 may have kept something");
        let apart = view_with(10, &[20, 40, 50], &[30, 60]);
        assert!(all_is_seen(&apart, 3, &heard(&[10, 20, 40, 50])));
        assert!(!all_is_seen(&apart, 3, &heard(&[10, 20, 40])));
        assert!(!all_is_seen(&apart, 1, &heard(&[10, 20, 40, 50])), "of one copy");
        let forgotten = View { departed: [peer(60)].into(), ..view_with(10, &[20, 30, 40], &[50]) };
        assert!(
            !all_is_seen(&forgotten, 3, &heard(&[10, 20, 30, 40])),
            "60 was forgotten, and kept the same"
        );
        let both = View { departed: [peer(50), peer(60)].into(), ..view_with(10, &[20, 30, 40], &[]) };
        assert!(all_is_seen(&both, 3, &heard(&[10, 20, 30, 40])));
        assert!(!all_is_seen(&View { small: false, ..apart }, 3, &heard(&[10, 20, 40, 50])));
    }

    #[test]
    fn the_newest_is_with_the_first() {
        let mut election = Election::new(3, &peer(0), (1..=5).map(peer), [], []);
        election.hear(&peer(5), true);
        election.hear(&peer(2), true);
        assert!(!election.has_the_newest());
        election.hear(&peer(1), true);
        assert!(election.has_the_newest() && !election.is_decided());
    }
}
