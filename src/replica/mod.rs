//! Where copies belong, and which are to be made: plans, no effects.
//!
//! The replicas of a key are its owner and the R − 1 peers after it. Whoever holds something compares it
//! with that: an owner offers its range to its replicas, everybody else offers what they hold to the
//! owner it belongs to. So a copy that survives anywhere comes back to its owner, and from there to all
//! replicas. (The careful repair, which moves less, is to come.)

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;

use crate::chord::{Route, View};
use crate::id::Position;
use crate::wire::Entry;

/// The peers that should keep what the owner owns: the owner and the next R − 1, without repetition.
pub fn replicas(owner: &Entry, successors: &[Entry], copies: usize) -> Vec<Entry> {
    let mut replicas: Vec<Entry> = Vec::with_capacity(copies);
    for entry in std::iter::once(owner).chain(successors) {
        if replicas.len() < copies && replicas.iter().all(|r| r.position != entry.position) {
            replicas.push(entry.clone());
        }
    }
    replicas
}

/// What a peer offers to whom.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OfferPlan {
    /// Keys by the peer that should have what belongs to them.
    pub offers: BTreeMap<Position, Offer>,
    /// Keys of which too little is known here: to be looked up first.
    pub unknown: Vec<Position>,
    /// To how many peers, the owner first and without this one, an unknown key is offered.
    pub spread: usize,
}

/// To one peer.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    /// The peer.
    pub to: Entry,
    /// The keys.
    pub keys: Vec<Position>,
}

/// Whom to offer what this peer holds.
pub fn plan_offers(view: &View, copies: usize, keys: impl IntoIterator<Item = Position>) -> OfferPlan {
    let mut plan = OfferPlan { spread: 1, ..OfferPlan::default() };
    for key in keys {
        match view.route(&key) {
            Some(Route::Owner { owner, successors, .. }) if owner.position == view.me.position => {
                for replica in replicas(&owner, &successors, copies).into_iter().skip(1) {
                    plan.add(replica, key);
                }
            }
            Some(Route::Owner { owner, .. }) => plan.add(owner, key),
            Some(Route::Near(_) | Route::Closer(_)) => plan.unknown.push(key),
            None => {}
        }
    }
    plan
}

/// Whom to offer what this peer holds when it is about to leave: all replicas as they will be without it.
pub fn plan_handover(view: &View, copies: usize, keys: impl IntoIterator<Item = Position>) -> OfferPlan {
    let mut plan = OfferPlan { spread: copies, ..OfferPlan::default() };
    for key in keys {
        match view.route(&key) {
            Some(Route::Owner { owner, successors, .. }) => {
                let others: Vec<Entry> = std::iter::once(owner)
                    .chain(successors)
                    .filter(|entry| entry.position != view.me.position)
                    .collect();
                // A short list ends before the replicas do; in a small ring it holds everybody.
                if others.len() < copies && !view.small {
                    plan.unknown.push(key);
                    continue;
                }
                let Some((first, rest)) = others.split_first() else { continue };
                for replica in replicas(first, rest, copies) {
                    plan.add(replica, key);
                }
            }
            Some(Route::Near(_) | Route::Closer(_)) => plan.unknown.push(key),
            None => {}
        }
    }
    plan
}

impl OfferPlan {
    /// Offers one key to one peer.
    pub fn add(&mut self, to: Entry, key: Position) {
        self.offers.entry(to.position).or_insert_with(|| Offer { to, keys: Vec::new() }).keys.push(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::{PhaseKind, Table};
    use crate::config::RingSettings;
    use crate::id::KeyHash;
    use crate::wire::{Address, Life, Member, MemberState};

    fn entry(number: u8) -> Entry {
        let address = Address::new("127.0.0.1:1").unwrap();
        Entry::from(Life {
            position: Position::of_number(number),
            incarnation: 1,
            key: KeyHash([0; 32]),
            address,
        })
    }

    /// The view of one of the peers 10, 20, 30, 40, 50.
    fn view(me: u8) -> View {
        let ring: Vec<u8> = vec![10, 20, 30, 40, 50];
        let at = ring.iter().position(|n| *n == me).unwrap();
        let others: Vec<Entry> = (1..5).map(|step| entry(ring[(at + step) % 5])).collect();
        let members: Vec<Member> =
            others.iter().map(|e| Member { entry: e.clone(), state: MemberState::Alive }).collect();
        View {
            me: entry(me),
            phase: PhaseKind::Active,
            settings: Some(RingSettings::default()),
            predecessor: others.last().cloned(),
            successors: others,
            members: Table::of(members),
            acquaintances: Vec::new(),
            small: true,
            waiting_for: Vec::new(),
        }
    }

    fn offered(plan: &OfferPlan) -> Vec<u8> {
        plan.offers.keys().map(|p| p.number().unwrap()).collect()
    }

    #[test]
    fn the_owner_offers_to_its_replicas_and_others_to_the_owner() {
        let key = Position::of_number(15); // owned by 20, kept by 20, 30, 40
        assert_eq!(offered(&plan_offers(&view(20), 3, [key])), [30, 40]);
        for other in [10, 30, 40, 50] {
            assert_eq!(offered(&plan_offers(&view(other), 3, [key])), [20]);
        }
    }

    #[test]
    fn who_leaves_offers_to_the_replicas_as_they_will_be() {
        let key = Position::of_number(15);
        assert_eq!(offered(&plan_handover(&view(20), 3, [key])), [30, 40, 50]);
        assert_eq!(offered(&plan_handover(&view(40), 3, [key])), [20, 30, 50]);
    }

    #[test]
    fn what_a_short_list_does_not_tell_is_looked_up() {
        let mut short = View { small: false, ..view(20) };
        short.successors.truncate(2);
        let key = Position::of_number(15);
        let plan = plan_handover(&short, 3, [key]);
        assert_eq!((plan.unknown, plan.spread, plan.offers.len()), (vec![key], 3, 0));
        assert_eq!(offered(&plan_handover(&short, 2, [key])), [30, 40]);
    }

    #[test]
    fn replicas_are_distinct_however_small_the_ring() {
        let two = [entry(20), entry(10), entry(20)];
        assert_eq!(replicas(&entry(10), &two, 3).len(), 2);
    }
}
