//! The duty of a peer that is given an object or a record, and its check of reports from the peers it passes it on to.
//!
//! The owner of a key answers for all copies: it chooses the replicas, passes an object down their chain, and completes
//! what the chain could not do (see [`super::Copies::to_complete`]). A replica passes the object on to the chain that
//! it is given.

use super::placement::{Found, store_replicas};
use crate::chord::{PhaseKind, View};
use crate::config::RingSettings;
use crate::id::Position;
use crate::wire::limits::FILE_BYTES_MAX;
use crate::wire::{Entry, Missing, MissingReason, ObjectInfo, PutRole, StorageReply, StoreRole};

/// The duty to keep an object and pass it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDuty {
    /// The chain: the object goes to the first peer, which passes it on to the rest.
    pub chain: Vec<Entry>,
    /// Whether this peer answers for all copies, as the owner of the key.
    pub owner: bool,
}

impl StoreDuty {
    /// The same duty; the chain of an owner ends with the peer that gives the object, if that is a replica. It has the bytes
    /// anyway, and may be far away: the second copy is then durable sooner, and at a peer that does not die with it.
    pub fn with_giver_last(mut self, giver: Option<Position>) -> StoreDuty {
        if self.owner {
            self.chain.sort_by_key(|entry| Some(entry.position) == giver);
        }
        self
    }

    /// Whether a report on another copy is passed back to the sender of the object at once. The owner may still make a
    /// copy that the chain could not, and reports on it later.
    pub fn passes_back(&self, word: &StorageReply) -> bool {
        !(self.owner && matches!(word, StorageReply::Missing(_)))
    }

    /// Whether an object with this key, once it is kept, has come back to its owner, whose replicas may lack it: a
    /// reason for repair.
    pub fn has_come_back(&self, view: &View, key: &Position) -> bool {
        !self.owner && view.owns(key)
    }
}

/// The reason why a peer does not keep an object or record that it is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// The peer is not a member of a ring.
    #[error("this peer is not active in its ring")]
    NotActive,
    /// The peer is leaving: it takes nothing new as an owner.
    #[error("this peer is leaving")]
    Leaving,
    /// The claimed length is longer than any file.
    #[error("a file of {length} bytes is longer than SHA-256 allows")]
    TooLong {
        /// The claimed length in bytes.
        length: u64,
    },
    /// The chain has more replicas than a ring may have.
    #[error("the chain is too long")]
    ChainTooLong,
    /// The key belongs to another peer.
    #[error("the key belongs to another peer")]
    NotOwner {
        /// The owner of the key, as far as is known.
        owner: Option<Entry>,
    },
}

impl From<NotKept> for StorageReply {
    fn from(why: NotKept) -> StorageReply {
        match why {
            NotKept::NotOwner { owner } => StorageReply::NotOwner { owner },
            other => StorageReply::Refused(other.to_string()),
        }
    }
}

/// The duty of a peer for an object that it is given (`StoreObject`). A leaving peer takes nothing new as an owner. As
/// a replica it keeps what others hand over or repair, and hands it over in its turn; otherwise the first of two
/// neighbours that leave could not go before its time is over.
///
/// # Errors
/// [`NotKept`] is the answer to the sender.
pub fn store_duty(
    view: &View,
    copies: usize,
    object: &ObjectInfo,
    role: StoreRole,
) -> Result<StoreDuty, NotKept> {
    if !view.is_member() {
        return Err(NotKept::NotActive);
    }
    if object.length > FILE_BYTES_MAX {
        return Err(NotKept::TooLong { length: object.length });
    }
    match role {
        StoreRole::Owner if view.phase == PhaseKind::Leaving => Err(NotKept::Leaving),
        StoreRole::Owner => {
            check_owner(view, &object.content.key())?;
            Ok(StoreDuty { chain: store_replicas(view, copies), owner: true })
        }
        StoreRole::Replica { chain } if chain.len() > usize::from(RingSettings::REPLICAS_MAX) => {
            Err(NotKept::ChainTooLong)
        }
        StoreRole::Replica { chain } => Ok(StoreDuty { chain, owner: false }),
    }
}

/// Checks whether a peer takes a record with this key (`PutRecord`). An owner then gives it to all its replicas
/// ([`super::own_replicas`]) at once; a replica merges any record.
///
/// # Errors
/// [`NotKept`] is the answer to the sender.
pub fn put_duty(view: &View, key: &Position, role: PutRole) -> Result<(), NotKept> {
    match role {
        PutRole::Replica => Ok(()),
        PutRole::Owner => {
            check_owner(view, key)?;
            if view.phase == PhaseKind::Active { Ok(()) } else { Err(NotKept::Leaving) }
        }
    }
}

fn check_owner(view: &View, key: &Position) -> Result<(), NotKept> {
    if view.owns(key) {
        return Ok(());
    }
    Err(NotKept::NotOwner { owner: view.route(key).and_then(Found::of).map(|found| found.owner) })
}

/// The reports on copies that one receiver of an object sends back.
#[derive(Debug, Clone)]
pub struct ChainWords {
    to: Position,
    /// The peers that get the object through that receiver; `None` if it is the owner and chooses them.
    behind: Option<Vec<Position>>,
    heard: Vec<Position>,
}

impl ChainWords {
    /// No reports yet, on an object that is given to the peer `to` in this role.
    pub fn new(to: Position, role: &StoreRole) -> ChainWords {
        let behind = match role {
            StoreRole::Replica { chain } => Some(chain.iter().map(|entry| entry.position).collect()),
            StoreRole::Owner => None,
        };
        ChainWords { to, behind, heard: Vec::new() }
    }

    /// Takes a report. Returns false if it cannot be true and is not to be passed on: a copy at a peer that was not
    /// asked to make one or, where the owner chooses, is not a member.
    pub fn hear(&mut self, view: &View, word: &StorageReply) -> bool {
        match word {
            StorageReply::Durable { peer } if !self.may_have(view, peer) => return false,
            StorageReply::Durable { peer } => self.heard.push(*peer),
            StorageReply::Missing(copy) => self.heard.push(copy.peer),
            _ => {}
        }
        true
    }

    /// The copies without a report when the exchange breaks off for this reason. Of the peers behind the receiver, only
    /// this is known: they were not reached this way.
    pub fn unheard(&self, reason: &MissingReason) -> Vec<Missing> {
        let asked = std::iter::once(&self.to).chain(self.behind.iter().flatten());
        let silent = asked.filter(|peer| !self.heard.contains(peer));
        let missing = silent.enumerate().map(|(i, peer)| {
            let reason = if i == 0 { reason.clone() } else { MissingReason::Unreachable };
            Missing { peer: *peer, reason }
        });
        missing.collect()
    }

    fn may_have(&self, view: &View, peer: &Position) -> bool {
        *peer == self.to
            || match &self.behind {
                Some(asked) => asked.contains(peer),
                None => *peer == view.me.position || view.alive().any(|entry| entry.position == *peer),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{entry, numbers, numbers_of, peer, view, view_with};
    use super::*;
    use crate::id::{ContentId, OutboardDigest};

    /// An object whose key is the position of this number.
    fn object(number: u8) -> ObjectInfo {
        ObjectInfo { content: ContentId(peer(number).0), length: 5, outboard: OutboardDigest([0; 32]) }
    }

    #[test]
    fn the_owner_keeps_and_passes_on_to_its_replicas() {
        let duty = store_duty(&view(20), 3, &object(15), StoreRole::Owner).unwrap();
        assert_eq!((numbers_of(&duty.chain), duty.owner), (vec![30, 40], true));
        let alone = view_with(20, &[], &[]);
        assert!(store_duty(&alone, 3, &object(15), StoreRole::Owner).unwrap().chain.is_empty());
        let chain = vec![entry(40), entry(50)];
        let role = StoreRole::Replica { chain: chain.clone() };
        let duty = store_duty(&view(30), 3, &object(15), role).unwrap();
        assert_eq!(duty, StoreDuty { chain, owner: false });
    }

    #[test]
    fn the_chain_of_an_owner_ends_with_the_giver() {
        let duty = || store_duty(&view(20), 3, &object(15), StoreRole::Owner).unwrap();
        let ordered = |giver: u8| numbers_of(&duty().with_giver_last(Some(peer(giver))).chain);
        assert_eq!((ordered(30), ordered(40), ordered(10)), (vec![40, 30], vec![30, 40], vec![30, 40]));
        assert_eq!(duty().with_giver_last(None), duty());
        let replica = StoreDuty { chain: vec![entry(30), entry(40)], owner: false };
        assert_eq!(replica.clone().with_giver_last(Some(peer(30))), replica, "its owner has chosen it");
    }

    #[test]
    fn an_object_that_comes_back_to_its_owner_is_a_reason_for_repair() {
        let replica = StoreDuty { chain: Vec::new(), owner: false };
        assert!(replica.has_come_back(&view(20), &peer(15)) && !replica.has_come_back(&view(30), &peer(15)));
        let owner = StoreDuty { chain: vec![entry(30)], owner: true };
        assert!(!owner.has_come_back(&view(20), &peer(15)), "it makes all copies itself");
        let reason = MissingReason::Unreachable;
        let missing = StorageReply::Missing(Missing { peer: peer(30), reason });
        assert!(replica.passes_back(&missing) && !owner.passes_back(&missing));
        assert!(owner.passes_back(&StorageReply::Durable { peer: peer(30) }));
    }

    #[test]
    fn a_peer_that_does_not_own_a_key_names_the_owner() {
        let refused = store_duty(&view(30), 3, &object(15), StoreRole::Owner).unwrap_err();
        assert_eq!(refused, NotKept::NotOwner { owner: Some(entry(20)) });
        assert_eq!(StorageReply::from(refused), StorageReply::NotOwner { owner: Some(entry(20)) });
        let mut far = View { small: false, ..view(30) };
        far.successors.truncate(1);
        assert_eq!(put_duty(&far, &peer(15), PutRole::Owner), Err(NotKept::NotOwner { owner: None }));
        assert_eq!(put_duty(&far, &peer(15), PutRole::Replica), Ok(()));
        assert_eq!(put_duty(&far, &peer(25), PutRole::Owner), Ok(()));
    }

    #[test]
    fn an_inactive_peer_takes_nothing_new() {
        let replica = StoreRole::Replica { chain: Vec::new() };
        for phase in [PhaseKind::Entering, PhaseKind::Checking, PhaseKind::Ended] {
            let view = View { phase, ..view(20) };
            for role in [StoreRole::Owner, replica.clone()] {
                assert_eq!(store_duty(&view, 3, &object(15), role), Err(NotKept::NotActive), "{phase:?}");
            }
            assert!(put_duty(&view, &peer(15), PutRole::Owner).is_err(), "{phase:?}");
            assert_eq!(put_duty(&view, &peer(15), PutRole::Replica), Ok(()), "what others hold is merged");
        }
        let leaving = View { phase: PhaseKind::Leaving, ..view(20) };
        assert_eq!(put_duty(&leaving, &peer(15), PutRole::Owner), Err(NotKept::Leaving));
        assert_eq!(store_duty(&leaving, 3, &object(15), StoreRole::Owner), Err(NotKept::Leaving));
        assert!(
            store_duty(&leaving, 3, &object(15), replica).is_ok(),
            "handed over by a neighbour that leaves"
        );
    }

    #[test]
    fn a_length_or_a_chain_out_of_bounds_is_refused() {
        let long = ObjectInfo { length: FILE_BYTES_MAX + 1, ..object(15) };
        let refused = store_duty(&view(20), 3, &long, StoreRole::Owner).unwrap_err();
        assert_eq!(refused, NotKept::TooLong { length: FILE_BYTES_MAX + 1 });
        let chain = vec![entry(1); usize::from(RingSettings::REPLICAS_MAX) + 1];
        let refused = store_duty(&view(20), 3, &object(15), StoreRole::Replica { chain });
        assert_eq!(refused, Err(NotKept::ChainTooLong));
    }

    #[test]
    fn only_who_was_asked_can_have_a_copy() {
        let durable = |number| StorageReply::Durable { peer: peer(number) };
        let view = view_with(10, &[20, 30], &[50]);
        let role = StoreRole::Replica { chain: vec![entry(30), entry(60)] };
        let mut words = ChainWords::new(peer(20), &role);
        assert!(words.hear(&view, &durable(60)) && !words.hear(&view, &durable(10)));
        let full = MissingReason::Disk("full".to_owned());
        let missing = words.unheard(&full);
        assert_eq!(numbers(missing.iter().map(|copy| &copy.peer)), [20, 30]);
        assert_eq!((&missing[0].reason, &missing[1].reason), (&full, &MissingReason::Unreachable));
        let mut words = ChainWords::new(peer(20), &StoreRole::Owner);
        for (number, may) in [(10, true), (20, true), (30, true), (50, false), (60, false)] {
            assert_eq!(words.hear(&view, &durable(number)), may, "{number}");
        }
        assert!(words.unheard(&full).is_empty());
    }
}
