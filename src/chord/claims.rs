//! The checks of other peers' statements about the ring against its rules, and the origin of a statement.
//!
//! An answer that contradicts itself convicts its sender. An answer that only contradicts what this peer knows may come
//! from a ring that changes at the moment; it is checked with others before it is believed.

use crate::id::{Position, between, owns};
use crate::wire::limits::{CLOSER_MAX, MEMBERS_PER_MESSAGE_MAX, NEWS_MAX};
use crate::wire::{Entry, Fault};

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

/// Checks the state of a neighbour: its predecessor is another peer, and its list is one.
pub(super) fn check_state(
    whom: &Position,
    predecessor: Option<&Entry>,
    successors: &[Entry],
    most: usize,
) -> Result<(), Fault> {
    if predecessor.is_some_and(|before| before.position == *whom) {
        return Err(Fault::BadList);
    }
    check_list(whom, successors, most)?;
    predecessor.map_or(Ok(()), |before| check_lives(std::slice::from_ref(before)))
}

/// Checks that each incarnation is one that a peer can have.
pub(super) fn check_lives(entries: &[Entry]) -> Result<(), Fault> {
    if entries.iter().all(Entry::has_lived) { Ok(()) } else { Err(Fault::BadIncarnation) }
}

/// The way on which something was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From the peer itself, over a connection that proves who it is.
    Direct,
    /// A known helper gave another peer's words. They may be the lie of either, and convict neither; the helper accounts
    /// for the strangers in them.
    Relayed,
    /// A helper forwarded a message of a sender that it names. Such a sender costs nothing to invent.
    Forwarded,
}

/// The source of a report.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    /// The peer that tells.
    pub entry: Entry,
    /// The way on which it was heard.
    pub origin: Origin,
}

impl Teller {
    /// The peer at the other end of a connection.
    pub(super) fn direct(entry: &Entry) -> Teller {
        Teller { entry: entry.clone(), origin: Origin::Direct }
    }

    /// The sender that a helper names.
    pub(super) fn forwarded(entry: &Entry) -> Teller {
        Teller { entry: entry.clone(), origin: Origin::Forwarded }
    }

    /// This teller as the helper that gives another peer's words.
    pub(super) fn as_helper(&self) -> Teller {
        let origin = match self.origin {
            Origin::Direct | Origin::Relayed => Origin::Relayed,
            Origin::Forwarded => Origin::Forwarded,
        };
        Teller { entry: self.entry.clone(), origin }
    }

    /// Another peer, heard of on the same way.
    pub(super) fn with_entry(&self, entry: &Entry) -> Teller {
        Teller { entry: entry.clone(), origin: self.origin }
    }

    /// Whether these are the peer's own words: they can convict it.
    pub(super) fn is_direct(&self) -> bool {
        self.origin == Origin::Direct
    }

    /// The peer that accounts for the strangers in these words: all forwarded senders together may tell of as many as
    /// one peer, and count as this peer itself.
    pub(super) fn accountable(&self, me: &Position) -> Position {
        if self.origin == Origin::Forwarded { *me } else { self.entry.position }
    }
}

/// The most members in one message: all that may be told, the asked peer, and the teller.
pub(super) const TOLD_MAX: usize = MEMBERS_PER_MESSAGE_MAX + 2;
/// The most news in one datagram: the correction for the receiver may come on top.
pub(super) const NEWS_TOLD_MAX: usize = NEWS_MAX + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::sample::{entries as list, entry};
    use crate::wire::limits::INCARNATION_MAX;

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
