//! When a peer may free its copy of an object, and when it wants to.
//!
//! A copy at a peer that does not belong to the first R from the key on is one too many: a fourth machine joined, or a
//! peer that was away came back. It may go once all R peers that should keep the object have vouched for their copies. Each of
//! them checks its bytes first, and from then on frees its own copy on no permission that it asked for before. So of the
//! peers that free their copies, the one that asked last leaves R copies behind: those that vouched for it can only go
//! by a later permission. The owner gives one permission at a time, which keeps the number of copies plain to see; the
//! argument does not need it, so it holds while peers differ on which of them is the owner.

use std::collections::BTreeMap;
use std::time::Duration;

use super::placement::own_replicas;
use crate::chord::{Route, View};
use crate::id::{ContentId, Position, owns};
use crate::time::Moment;
use crate::wire::{Entry, Missing, MissingReason, StorageReply, WhyKept};

/// The permissions that an owner has given and that may still be used: one for each object, at most [`Grants::MAX`].
#[derive(Debug, Clone, Default)]
pub struct Grants {
    given: BTreeMap<ContentId, (Position, Moment)>,
}

impl Grants {
    /// The most permissions at the same time.
    pub const MAX: usize = 4_096;
    /// The time in which a permission is used, or not at all.
    pub const LASTS: Duration = Duration::from_secs(120);

    /// Begins to give a permission to this peer.
    ///
    /// # Errors
    /// The peer that frees its copy of the object at the moment, or of another object if there are too many.
    pub fn begin(&mut self, now: Moment, content: ContentId, to: Position) -> Result<(), Position> {
        self.given.retain(|_, (_, since)| now.since(*since) < Grants::LASTS);
        match self.given.get(&content) {
            Some((other, _)) if *other != to => return Err(*other),
            None if self.given.len() >= Grants::MAX => {
                return Err(self.given.first_key_value().map_or(to, |(_, (other, _))| *other));
            }
            _ => {}
        }
        self.given.insert(content, (to, now));
        Ok(())
    }

    /// Ends the permission of this peer: it was refused, or was used.
    pub fn end(&mut self, content: &ContentId, of: &Position) {
        if self.given.get(content).is_some_and(|(peer, _)| peer == of) {
            self.given.remove(content);
        }
    }
}

/// The words of the peers that should keep an object, about their copies.
#[derive(Debug, Clone)]
pub struct Vouchers {
    keepers: Vec<Entry>,
    copies: usize,
    /// For each peer that was heard, why it does not vouch; `None` if it does.
    words: BTreeMap<Position, Option<MissingReason>>,
}

impl Vouchers {
    /// The peers that have to vouch before `asker` may free its copy, as this peer sees the ring.
    ///
    /// # Errors
    /// The answer when this peer is not the owner, or the asker is one of those peers.
    pub fn of(
        view: &View,
        copies: usize,
        key: &Position,
        asker: &Position,
    ) -> Result<Vouchers, StorageReply> {
        match view.route(key) {
            Some(Route::Owner { owner, .. }) if owner.position == view.me.position => {}
            Some(Route::Owner { owner, .. }) => return Err(StorageReply::NotOwner { owner: Some(owner) }),
            _ => return Err(StorageReply::NotOwner { owner: None }),
        }
        let keepers: Vec<Entry> =
            std::iter::once(view.me.clone()).chain(own_replicas(view, copies)).collect();
        if keepers.iter().any(|keeper| keeper.position == *asker) {
            let keepers = keepers.into_iter().map(|keeper| keeper.position).collect();
            return Err(StorageReply::Kept(WhyKept::Belongs { keepers }));
        }
        Ok(Vouchers { keepers, copies, words: BTreeMap::new() })
    }

    /// The peers to ask, the owner first.
    pub fn asked(&self) -> &[Entry] {
        &self.keepers
    }

    /// Takes the answer of one of them.
    pub fn hear(&mut self, from: Position, answer: Result<StorageReply, MissingReason>) {
        let word = match answer {
            Ok(StorageReply::Vouched) => None,
            Ok(_) => Some(MissingReason::NotYet),
            Err(reason) => Some(reason),
        };
        self.words.insert(from, word);
    }

    /// The answer to the asker, once all have been heard. A peer that was not heard does not vouch.
    pub fn answer(&self) -> StorageReply {
        let (mut holders, mut missing) = (Vec::new(), Vec::new());
        for keeper in &self.keepers {
            let peer = keeper.position;
            match self.words.get(&peer) {
                Some(None) => holders.push(peer),
                Some(Some(reason)) => missing.push(Missing { peer, reason: reason.clone() }),
                None => missing.push(Missing { peer, reason: MissingReason::Unreachable }),
            }
        }
        match missing.is_empty() && holders.len() >= self.copies {
            true => StorageReply::Granted { holders },
            false => StorageReply::Kept(WhyKept::TooFew { holders, missing }),
        }
    }
}

/// The part of the circle whose keys this peer should keep, as far as it knows the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptRange {
    me: Position,
    /// The range begins after this position; `None` for the whole circle.
    after: Option<Position>,
}

impl KeptRange {
    /// The range of the peer with this view, with R copies of everything. Members that it does not know can only make
    /// its range smaller.
    pub fn of(view: &View, copies: usize) -> KeptRange {
        let me = view.me.position;
        let mut others: Vec<Position> = view.alive().map(|entry| entry.position).collect();
        others.sort_by_key(|other| other.distance_to(&me));
        KeptRange { me, after: copies.checked_sub(1).and_then(|nearer| others.get(nearer).copied()) }
    }

    /// Whether there are keys in this range that were not in an earlier one of the same peer.
    pub fn reaches_beyond(&self, earlier: &KeptRange) -> bool {
        match (self.after, earlier.after) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(now), Some(then)) => now.distance_to(&self.me) > then.distance_to(&self.me),
        }
    }

    /// Whether this peer should keep what has this key.
    pub fn contains(&self, key: &Position) -> bool {
        self.after.is_none_or(|after| owns(&after, key, &self.me))
    }
}

/// The next step with a copy that the ring placed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SurplusStep {
    /// Nothing changes.
    Leave,
    /// It has become one too many: note since when.
    Mark,
    /// It belongs here again.
    Unmark,
    /// Ask whether it may go.
    Free,
}

impl SurplusStep {
    /// Decides about a copy that is here, which has been one too many since `since_ms`, on the clock that shows
    /// `now_ms`. It goes after `wait`, or at once where room is short.
    pub fn of(
        belongs: bool,
        since_ms: Option<u64>,
        now_ms: u64,
        wait: Duration,
        is_short_of_room: bool,
    ) -> SurplusStep {
        match since_ms {
            Some(_) if belongs => SurplusStep::Unmark,
            None if belongs => SurplusStep::Leave,
            _ if is_short_of_room => SurplusStep::Free,
            // A clock that was set back begins the wait anew.
            Some(since) if since <= now_ms => match u128::from(now_ms - since) >= wait.as_millis() {
                true => SurplusStep::Free,
                false => SurplusStep::Leave,
            },
            _ => SurplusStep::Mark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{numbers, numbers_of, peer, view_with};
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn one_permission_at_a_time_and_not_for_ever() {
        let (mut grants, content) = (Grants::default(), ContentId::of(b"a"));
        assert_eq!(grants.begin(at(0), content, peer(1)), Ok(()));
        assert_eq!(grants.begin(at(1), content, peer(2)), Err(peer(1)));
        assert_eq!(grants.begin(at(1), content, peer(1)), Ok(()), "it asks once more");
        assert_eq!(grants.begin(at(1), ContentId::of(b"b"), peer(2)), Ok(()));
        grants.end(&content, &peer(2));
        assert_eq!(grants.begin(at(120), content, peer(2)), Err(peer(1)));
        assert_eq!(grants.begin(at(121), content, peer(2)), Ok(()), "the first one is over");
        grants.end(&content, &peer(2));
        assert_eq!(grants.begin(at(122), content, peer(1)), Ok(()));
    }

    #[test]
    fn permissions_are_bounded() {
        let mut grants = Grants::default();
        for i in 0..Grants::MAX {
            assert_eq!(grants.begin(at(0), ContentId::of(&i.to_be_bytes()), peer(1)), Ok(()));
        }
        assert!(grants.begin(at(0), ContentId::of(b"more"), peer(2)).is_err());
    }

    #[test]
    fn all_keepers_have_to_vouch() {
        let view = view_with(10, &[20, 30, 40], &[]);
        let mut vouchers = Vouchers::of(&view, 3, &peer(5), &peer(40)).unwrap();
        assert_eq!(numbers_of(vouchers.asked()), [10, 20, 30]);
        vouchers.hear(peer(10), Ok(StorageReply::Vouched));
        vouchers.hear(peer(20), Ok(StorageReply::NotHere));
        let StorageReply::Kept(WhyKept::TooFew { holders, missing }) = vouchers.answer() else { panic!() };
        assert_eq!(numbers(&holders), [10]);
        let missing: Vec<_> = missing.into_iter().map(|copy| (copy.peer, copy.reason)).collect();
        assert_eq!(missing, [(peer(20), MissingReason::NotYet), (peer(30), MissingReason::Unreachable)]);
        vouchers.hear(peer(20), Ok(StorageReply::Vouched));
        vouchers.hear(peer(30), Ok(StorageReply::Vouched));
        let StorageReply::Granted { holders } = vouchers.answer() else { panic!() };
        assert_eq!(numbers(&holders), [10, 20, 30]);
    }

    #[test]
    fn only_the_owner_gives_permissions_and_none_to_a_keeper() {
        let view = view_with(10, &[20, 30, 40], &[]);
        let answer = |key, asker| Vouchers::of(&view, 3, &peer(key), &peer(asker)).map(drop).unwrap_err();
        let StorageReply::NotOwner { owner: Some(owner) } = answer(15, 40) else { panic!() };
        assert_eq!(owner.position, peer(20));
        let StorageReply::Kept(WhyKept::Belongs { keepers }) = answer(5, 30) else { panic!() };
        assert_eq!(numbers(&keepers), [10, 20, 30]);
    }

    /// Goal: with fewer than R living peers, no copy goes, whatever they say.
    #[test]
    fn too_few_living_peers_give_no_permission() {
        let view = view_with(10, &[20], &[30]);
        let mut vouchers = Vouchers::of(&view, 3, &peer(5), &peer(30)).unwrap();
        for number in [10, 20] {
            vouchers.hear(peer(number), Ok(StorageReply::Vouched));
        }
        assert!(matches!(vouchers.answer(), StorageReply::Kept(WhyKept::TooFew { .. })));
    }

    #[test]
    fn the_kept_range_reaches_back_over_r_peers() {
        let view = view_with(50, &[10, 20, 30, 40, 60], &[]);
        let range = KeptRange::of(&view, 3);
        let kept: Vec<u8> = (0..7).map(|i| i * 10 + 5).filter(|key| range.contains(&peer(*key))).collect();
        assert_eq!(kept, [25, 35, 45]);
        let grown = KeptRange::of(&view_with(50, &[10, 20, 40, 60], &[]), 3);
        assert!(
            grown.reaches_beyond(&range) && !range.reaches_beyond(&grown) && !range.reaches_beyond(&range)
        );
        let alone = KeptRange::of(&view_with(50, &[10, 20], &[]), 3);
        assert!(alone.reaches_beyond(&range) && !range.reaches_beyond(&alone));
        assert!((0..=255).all(|key| alone.contains(&peer(key))), "three peers keep everything");
    }

    #[test]
    fn a_surplus_copy_goes_after_its_wait_or_where_room_is_short() {
        use SurplusStep::{Free, Leave, Mark, Unmark};
        let step =
            |belongs, since, now, short| SurplusStep::of(belongs, since, now, Duration::from_secs(10), short);
        assert_eq!(step(false, None, 5_000, false), Mark);
        assert_eq!(step(false, Some(5_000), 14_999, false), Leave);
        assert_eq!(step(false, Some(5_000), 15_000, false), Free);
        assert_eq!(step(false, Some(5_000), 4_000, false), Mark, "the clock was set back");
        assert_eq!([step(false, None, 0, true), step(false, Some(9), 0, true)], [Free, Free]);
        assert_eq!([step(true, None, 0, true), step(true, Some(5), 9_000_000, true)], [Leave, Unmark]);
    }
}
