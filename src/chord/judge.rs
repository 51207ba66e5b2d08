//! Judging what others say of the ring, against the rules and against what is known.
//!
//! An answer that contradicts itself convicts its sender. An answer that only contradicts what this peer knows may come
//! from a ring that changes at the moment; it is checked with others before it is believed.

use super::detector::WATCHES_MAX;
use super::members::{CONTRADICTED_LEAP_MAX, Members, is_more};
use super::node::{Node, Phase};
use super::output::Event;
use crate::id::{Position, between, owns};
use crate::time::Moment;
use crate::wire::limits::{CLOSER_MAX, INCARNATION_MAX, MEMBERS_PER_MESSAGE_MAX, NEWS_MAX};
use crate::wire::{Entry, Fault, Member, MemberState};

/// Checks a list of the peers that follow a position: in clockwise order, without duplicates, without the position
/// itself, at most `most` entries.
///
/// # Errors
/// The fault in the list.
pub fn check_list(after: &Position, list: &[Entry], most: usize) -> Result<(), Fault> {
    let mut last = after;
    for entry in list {
        if !between(last, &entry.position, after) {
            return Err(Fault::BadList);
        }
        last = &entry.position;
    }
    if list.len() > most { Err(Fault::BadList) } else { check_lives(list) }
}

/// Checks an answer that names the owner of a key. Only a peer that is alone may name no predecessor, its own.
pub(super) fn check_owner(
    key: &Position,
    from: &Position,
    owner: &Entry,
    predecessor: Option<&Entry>,
    successors: &[Entry],
    most: usize,
) -> Result<(), Fault> {
    let fits = match predecessor {
        Some(before) => before.position != owner.position && owns(&before.position, key, &owner.position),
        None => owner.position == *from && successors.is_empty(),
    };
    if !fits {
        return Err(Fault::WrongOwner);
    }
    check_lives(std::slice::from_ref(owner))?;
    check_list(&owner.position, successors, most)
}

/// Checks an answer that names peers closer to a key than the answering peer.
pub(super) fn check_closer(key: &Position, from: &Position, peers: &[Entry]) -> Result<(), Fault> {
    if peers.len() > CLOSER_MAX || peers.iter().any(|peer| !between(from, &peer.position, key)) {
        return Err(Fault::NotCloser);
    }
    check_lives(peers)
}

/// Checks an answer that names peers at or after a key, nearer to it than the answering peer.
pub(super) fn check_near(key: &Position, from: &Position, peers: &[Entry]) -> Result<(), Fault> {
    let is_near = |peer: &Entry| peer.position == *key || between(key, &peer.position, from);
    if peers.len() > CLOSER_MAX || !peers.iter().all(is_near) {
        return Err(Fault::NotCloser);
    }
    check_lives(peers)
}

/// Checks that each incarnation is one that a peer can have.
fn check_lives(entries: &[Entry]) -> Result<(), Fault> {
    if entries.iter().all(Entry::has_lived) { Ok(()) } else { Err(Fault::BadIncarnation) }
}

/// The source of a report.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    entry: Entry,
    /// Whether these are the peer's own words. Words that came through a helper may be the lie of either, and convict
    /// neither.
    first_hand: bool,
}

impl Teller {
    pub(super) fn through_a_helper(entry: Entry) -> Teller {
        Teller { entry, first_hand: false }
    }
}

impl From<&Entry> for Teller {
    fn from(entry: &Entry) -> Teller {
        Teller { entry: entry.clone(), first_hand: true }
    }
}

impl Node {
    /// Checks the state of a neighbour as `teller` reports it. A bad state convicts the teller.
    pub(super) fn check_state(
        &mut self,
        teller: &Teller,
        whom: &Entry,
        predecessor: Option<&Entry>,
        successors: &[Entry],
    ) -> Result<(), Fault> {
        let most = usize::from(self.settings.successors);
        let mut checked = check_list(&whom.position, successors, most);
        if predecessor.is_some_and(|before| before.position == whom.position) {
            checked = Err(Fault::BadList);
        }
        let lives = predecessor.map_or(Ok(()), |before| check_lives(std::slice::from_ref(before)));
        checked.and(lives).inspect_err(|fault| self.convict(teller, *fault))
    }

    /// Takes news of members, or members themselves, that another peer tells of. A report that no peer can have made in
    /// good faith is left out, and convicts the teller.
    pub(super) fn hear_all(&mut self, now: Moment, teller: &Teller, members: Vec<Member>, most: usize) {
        if members.len() > most {
            self.convict(teller, Fault::BadList);
        }
        for member in members.into_iter().take(most) {
            self.hear(now, teller, member, true);
        }
    }

    /// Like [`Node::hear_all`], for peers that are said to be alive: neighbours of the teller, of which others hear by
    /// other ways.
    pub(super) fn hear_of(&mut self, now: Moment, teller: &Teller, entries: impl IntoIterator<Item = Entry>) {
        let alive = |entry| Member { entry, state: MemberState::Alive };
        self.hear_quietly(now, teller, entries.into_iter().map(alive));
    }

    /// Takes reports on members that are no news: they are not passed on, except while the ring is nearly small.
    pub(super) fn hear_quietly(
        &mut self,
        now: Moment,
        teller: &Teller,
        members: impl IntoIterator<Item = Member>,
    ) {
        let is_news = self.exchanges_whole() && !matches!(self.phase, Phase::Entering(_));
        for member in members {
            self.hear(now, teller, member, is_news);
        }
    }

    /// Takes a peer's report on itself: that it is alive, or leaves. Through a helper it is hearsay.
    pub(super) fn hear_from(&mut self, now: Moment, from: &Entry, state: MemberState) {
        self.hear(now, &from.into(), Member { entry: from.clone(), state }, true);
    }

    /// Whether others may believe that this peer has had such a life; see [`Members::may_hear`].
    pub(super) fn may_be_mine(&self, incarnation: u64) -> bool {
        let most = self.me.incarnation.saturating_add(CONTRADICTED_LEAP_MAX).min(INCARNATION_MAX);
        incarnation <= most
    }

    fn hear(&mut self, now: Moment, teller: &Teller, member: Member, is_news: bool) {
        if let Err(fault) = check_lives(std::slice::from_ref(&member.entry)) {
            return self.convict(teller, fault);
        }
        let position = member.entry.position;
        let before = self.members.at(&position);
        let known = position != self.me.position && !is_more(&member, before);
        if position == teller.entry.position && teller.first_hand && !self.second_hand {
            let entry = member.entry.clone();
            if !known {
                self.take_in(now, member, is_news);
            }
            self.members.prove(&entry);
            return;
        }
        if known {
            return; // as most reports are
        }
        // By leaps, this peer's incarnations would soon be used up.
        if position == self.me.position {
            if self.may_be_mine(member.entry.incarnation) {
                self.learn(now, member);
            }
            return;
        }
        let is_stranger = before.is_none();
        if !self.members.may_hear(before, &member) {
            return;
        }
        // A sender that a helper names costs nothing to invent: all of them together may tell of as many as one peer.
        let accountable = if self.second_hand { self.me.position } else { teller.entry.position };
        if !is_stranger {
            self.take_in(now, member, is_news);
        } else if member.state == MemberState::Alive && self.meets_strangers() {
            self.meet(now, &member.entry);
        } else if self.members.may_tell(&accountable) {
            self.take_in_told(now, member, is_news, accountable);
        }
    }

    /// Whether strangers have to be met. In a ring that is small, or nearly so, every peer comes to know every other.
    /// There a stranger has to be reached, by this peer or by others, before it counts: invented members would
    /// otherwise own keys.
    fn meets_strangers(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Leaving) && self.exchanges_whole()
    }

    fn convict(&mut self, teller: &Teller, fault: Fault) {
        if teller.first_hand && !self.second_hand {
            self.event(Event::Misbehaved { peer: teller.entry.position, fault });
        }
    }
}

/// The most members in one message: all that may be told, the asked peer, and the teller.
pub(super) const TOLD_MAX: usize = MEMBERS_PER_MESSAGE_MAX + 2;
/// The most news in one datagram: the correction for the receiver may come on top.
pub(super) const NEWS_TOLD_MAX: usize = NEWS_MAX + 1;
const _: () = assert!(WATCHES_MAX <= Members::TOLD_BY_ONE_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyHash;
    use crate::wire::{Address, Life};

    fn entry(number: u8) -> Entry {
        let address = Address::new("127.0.0.1:1").unwrap();
        let position = Position::of_number(number);
        Entry::from(Life { position, incarnation: 1, key: KeyHash([0; 32]), address })
    }

    fn list(numbers: &[u8]) -> Vec<Entry> {
        numbers.iter().map(|number| entry(*number)).collect()
    }

    #[test]
    fn a_list_is_in_order_and_names_nobody_twice() {
        let after = Position::of_number(100);
        let check = |numbers: &[u8]| check_list(&after, &list(numbers), 3);
        for good in [&[][..], &[101], &[150, 200], &[150, 20, 99]] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        for bad in [&[100][..], &[150, 150], &[150, 140], &[20, 150], &[150, 20, 100], &[1, 2, 3, 4]] {
            assert_eq!(check(bad), Err(Fault::BadList), "{bad:?}");
        }
        let mut never = list(&[150]);
        never[0] = never[0].with_incarnation(0);
        assert_eq!(check_list(&after, &never, 3), Err(Fault::BadIncarnation));
        never[0] = never[0].with_incarnation(INCARNATION_MAX + 1);
        assert_eq!(check_list(&after, &never, 3), Err(Fault::BadIncarnation));
    }

    #[test]
    fn an_owner_owns_the_key() {
        let key = Position::of_number(120);
        let from = Position::of_number(100);
        let check = |before: Option<u8>, owner: u8, after: &[u8]| {
            let before = before.map(entry);
            check_owner(&key, &from, &entry(owner), before.as_ref(), &list(after), 4)
        };
        assert_eq!(check(Some(100), 150, &[200, 20, 100]), Ok(()));
        assert_eq!(check(Some(119), 120, &[]), Ok(()), "at the key itself");
        assert_eq!(check(None, 100, &[]), Ok(()), "alone");
        assert_eq!(check(None, 150, &[]), Err(Fault::WrongOwner), "of others a predecessor is known");
        assert_eq!(check(None, 100, &[150]), Err(Fault::WrongOwner), "alone, with others");
        assert_eq!(check(Some(130), 150, &[]), Err(Fault::WrongOwner), "the key lies before its range");
        assert_eq!(check(Some(20), 100, &[]), Err(Fault::WrongOwner), "or after it");
        assert_eq!(check(Some(150), 150, &[]), Err(Fault::WrongOwner), "its own predecessor");
        assert_eq!(check(Some(100), 150, &[20, 200]), Err(Fault::BadList));
    }

    #[test]
    fn closer_peers_are_closer() {
        let (key, from) = (Position::of_number(120), Position::of_number(100));
        assert_eq!(check_closer(&key, &from, &list(&[110, 105])), Ok(()));
        for bad in [&[100][..], &[130], &[110, 90], &[101, 102, 103, 104, 105]] {
            assert_eq!(check_closer(&key, &from, &list(bad)), Err(Fault::NotCloser), "{bad:?}");
        }
    }
}
