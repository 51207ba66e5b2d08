//! The offers between peers, by which every copy comes to where it belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};

use super::placement::{Found, own_replicas, replicas};
use crate::chord::{Route, Table, View};
use crate::id::{Position, between, owns};
use crate::wire::{Entry, Member, MemberState};

/// The offers that a peer plans to make.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OfferPlan {
    /// The offers, by the position of the peer that should have these keys.
    pub offers: BTreeMap<Position, Offer>,
    /// Keys of which too little is known here. They have to be looked up first (see [`OfferPlan::place`]), with
    /// `spread` peers behind the owner.
    pub unknown: BTreeSet<Position>,
    /// The number of peers that an unknown key is offered to, the owner first and without this one.
    pub spread: usize,
}

/// An offer to one peer.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    /// The peer that the offer goes to.
    pub to: Entry,
    /// The keys of the offered objects and records.
    pub keys: Vec<Position>,
}

/// Plans repair: this peer's holdings are offered to their owners, and an owner offers to its living replicas.
pub fn plan_offers(view: &View, copies: usize, keys: impl IntoIterator<Item = Position>) -> OfferPlan {
    plan_repair(view, copies, &BTreeSet::new(), keys)
}

/// Plans the help of a replica: it offers objects of another owner to the other replicas. The owner gives them these by
/// itself; where its line is slow, this peer's may not be.
pub fn plan_help(view: &View, copies: usize, keys: impl IntoIterator<Item = Position>) -> OfferPlan {
    let (mut plan, me) = (OfferPlan { spread: 1, ..OfferPlan::default() }, view.me.position);
    for key in keys {
        let Some(Route::Owner { owner, successors, .. }) = view.route(&key) else { continue };
        let keepers = replicas(&owner, &successors, copies);
        if owner.position == me || keepers.iter().all(|keeper| keeper.position != me) {
            continue;
        }
        for keeper in keepers.into_iter().filter(|keeper| ![me, owner.position].contains(&keeper.position)) {
            plan.add(keeper, key);
        }
    }
    plan
}

/// Like [`plan_offers`], with patience. Members that are away and waited for keep what they have, so no other peer is
/// given it, as long as two living peers of the first R from the key on are left to keep it. Where only this one is
/// left, the next living one is given it at once.
pub fn plan_repair(
    view: &View,
    copies: usize,
    waited: &BTreeSet<Position>,
    keys: impl IntoIterator<Item = Position>,
) -> OfferPlan {
    let mut plan = OfferPlan { spread: 1, ..OfferPlan::default() };
    let keepers = Keepers::of(view, copies, waited);
    for key in keys {
        match view.route(&key) {
            Some(Route::Owner { owner, .. }) if owner.position == view.me.position => {
                for keeper in keepers.others(&key) {
                    plan.add(keeper.clone(), key);
                }
            }
            Some(Route::Owner { owner, .. }) => plan.add(owner, key),
            Some(Route::Near(_) | Route::Closer(_)) => plan.look_up(key),
            None => {}
        }
    }
    plan
}

/// The peers that keep the keys of this peer's range.
struct Keepers {
    me: Position,
    /// The living replicas of this peer's range.
    replicas: Vec<Entry>,
    /// The R − 1 peers behind this one, including those that are waited for; empty if none is waited for.
    patient: Vec<(Entry, bool)>,
    /// The peers before this one that are waited for, and that owned a part of its range.
    before: Vec<Position>,
}

impl Keepers {
    fn of(view: &View, copies: usize, waited: &BTreeSet<Position>) -> Keepers {
        let me = view.me.position;
        let (replicas, mut patient, mut before) = (own_replicas(view, copies), Vec::new(), Vec::new());
        let away: Vec<&Entry> = view.away().filter(|entry| waited.contains(&entry.position)).collect();
        if !away.is_empty() {
            before.extend(away.iter().map(|entry| entry.position).filter(|position| view.owns(position)));
            let living = view.successors.iter().chain(view.alive()).filter(|entry| !view.is_gone(entry));
            patient.extend(living.map(|entry| (entry.clone(), true)));
            patient.extend(away.into_iter().map(|entry| (entry.clone(), false)));
            patient.sort_by_key(|(entry, lives)| (me.distance_to(&entry.position), !lives));
            patient.dedup_by_key(|(entry, _)| entry.position);
            patient.truncate(copies.saturating_sub(1));
        }
        Keepers { me, replicas, patient, before }
    }

    fn others(&self, key: &Position) -> Vec<&Entry> {
        if self.patient.is_empty() {
            return self.replicas.iter().collect();
        }
        let reach = key.distance_to(&self.me);
        let before = self.before.iter().filter(|position| key.distance_to(position) < reach).count();
        let patient = self.patient.iter().take(self.patient.len().saturating_sub(before));
        let living: Vec<&Entry> = patient.filter(|(_, lives)| *lives).map(|(entry, _)| entry).collect();
        if living.is_empty() { self.replicas.iter().take(1).collect() } else { living }
    }
}

/// Plans the offers to a joiner that asks for its keys (`Sync`): the keys that the joiner owns, and the keys that this
/// peer owns if the joiner is one of its replicas. The plan has no offers to other peers.
///
/// The joiner counts as standing in its place, whether this peer has made room for it yet or not. The joiner's range
/// begins after the nearest member before it that is known here. Otherwise this peer would tell the joiner that there
/// is nothing more, and the joiner would take itself for complete.
pub fn plan_sync(
    view: &View,
    copies: usize,
    keys: impl IntoIterator<Item = Position>,
    asker: &Entry,
) -> OfferPlan {
    let mut plan = OfferPlan { spread: 1, ..OfferPlan::default() };
    if asker.position == view.me.position {
        return plan;
    }
    let view = with_member(view, asker);
    let before = member_before(&view, &asker.position);
    let is_replica = own_replicas(&view, copies).iter().any(|replica| replica.position == asker.position);
    for key in keys {
        if owns(&before, &key, &asker.position) || (is_replica && view.owns(&key)) {
            plan.add(asker.clone(), key);
        }
    }
    plan
}

/// The position of the nearest living member before a position, as far as this peer knows; its own if there is no
/// other.
fn member_before(view: &View, position: &Position) -> Position {
    let neighbours = view.predecessor.iter().chain(&view.successors).filter(|entry| !view.is_gone(entry));
    let known = view.alive().chain(neighbours).map(|entry| entry.position);
    let others = known.chain([view.me.position]).filter(|other| other != position);
    others.min_by_key(|other| other.distance_to(position)).unwrap_or(view.me.position)
}

/// The view that a peer will have once it has taken notice of one more member.
fn with_member(view: &View, new: &Entry) -> View {
    let (me, there) = (view.me.position, new.position);
    let mut view = view.clone();
    let before = view.predecessor.as_ref().map_or(me, |entry| entry.position);
    if between(&before, &there, &me) || before == there {
        view.predecessor = Some(new.clone());
    }
    view.successors.retain(|entry| entry.position != there);
    let place =
        view.successors.partition_point(|entry| me.distance_to(&entry.position) < me.distance_to(&there));
    // Behind the last entry of a full list there may be other peers that are nearer.
    let most = view.settings.unwrap_or_default().successors.into();
    if place < view.successors.len() || view.successors.len() < most {
        view.successors.insert(place, new.clone());
        view.successors.truncate(most);
    }
    let known = Member { entry: new.clone(), state: MemberState::Alive };
    view.members = Table::of(view.members.iter().cloned().chain([known]));
    view
}

/// Plans the hand-over of a peer that is about to leave: it offers its holdings to all replicas as they will be without
/// it.
pub fn plan_handover(view: &View, copies: usize, keys: impl IntoIterator<Item = Position>) -> OfferPlan {
    let mut plan = OfferPlan { spread: copies, ..OfferPlan::default() };
    for key in keys {
        match view.route(&key) {
            Some(Route::Owner { owner, successors, .. }) => {
                let others: Vec<Entry> = std::iter::once(owner)
                    .chain(successors)
                    .filter(|entry| entry.position != view.me.position)
                    .collect();
                // A short list ends before the replicas do; in a small ring it holds every member.
                if others.len() < copies && !view.small {
                    plan.look_up(key);
                    continue;
                }
                let Some((first, rest)) = others.split_first() else { continue };
                for replica in replicas(first, rest, copies) {
                    plan.add(replica, key);
                }
            }
            Some(Route::Near(_) | Route::Closer(_)) => plan.look_up(key),
            None => {}
        }
    }
    plan
}

impl OfferPlan {
    /// Adds the offers of another plan.
    pub fn join(&mut self, other: OfferPlan) {
        for (peer, offer) in other.offers {
            for key in offer.keys {
                self.add(offer.to.clone(), key);
            }
            if let Some(offer) = self.offers.get_mut(&peer) {
                offer.keys.sort_unstable();
                offer.keys.dedup();
            }
        }
    }

    /// Offers one key to one peer.
    pub fn add(&mut self, to: Entry, key: Position) {
        self.offers.entry(to.position).or_insert_with(|| Offer { to, keys: Vec::new() }).keys.push(key);
    }

    /// The next key to look up. It, and with it the rest of its range, leaves the list with [`OfferPlan::place`] or
    /// [`OfferPlan::pass_over`].
    pub fn next_unknown(&self) -> Option<Position> {
        self.unknown.first().copied()
    }

    /// Places a key that the peer at `me` has looked up: it is offered to the first `spread` others, and with it all
    /// unknown keys of the same range.
    pub fn place(&mut self, me: &Position, key: &Position, found: &Found) {
        let (mut there, end) = (vec![*key], found.owner.position);
        if let Some(before) = &found.predecessor {
            let begin = before.position;
            if begin < end {
                there.extend(self.unknown.range((Excluded(begin), Included(end))));
            } else {
                there.extend(self.unknown.range((Excluded(begin), Unbounded)));
                there.extend(self.unknown.range(..=end));
            }
        }
        for key in there {
            if !self.unknown.remove(&key) {
                continue;
            }
            let others = std::iter::once(&found.owner).chain(&found.successors);
            for other in others.filter(|other| other.position != *me).take(self.spread) {
                self.add(other.clone(), key);
            }
        }
    }

    /// Drops a key whose place no peer knows: this round does not offer it.
    pub fn pass_over(&mut self, key: &Position) {
        self.unknown.remove(key);
    }

    fn look_up(&mut self, key: Position) {
        self.unknown.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{entry, numbers, peer, view, view_of, view_with};
    use super::*;

    fn offered(plan: &OfferPlan) -> Vec<u8> {
        numbers(plan.offers.keys())
    }

    /// Goal: if the owner is slow, each of its replicas gives its objects to the other replicas, and no other peer
    /// does.
    #[test]
    fn a_replica_helps_the_other_replicas() {
        let offers = |me| plan_help(&view(me), 3, [peer(15)]).offers;
        // 20 owns it, 30 and 40 are its replicas.
        assert_eq!(numbers(offers(30).keys()), [40]);
        assert_eq!(numbers(offers(40).keys()), [30]);
        assert!(offers(20).is_empty(), "the owner gives by itself");
        assert!(offers(50).is_empty(), "and this one keeps nothing of it");
    }

    #[test]
    fn the_owner_offers_to_its_replicas_and_others_to_the_owner() {
        let key = Position::of_number(15); // owned by 20, kept by 20, 30, 40
        assert_eq!(offered(&plan_offers(&view(20), 3, [key])), [30, 40]);
        for other in [10, 30, 40, 50] {
            assert_eq!(offered(&plan_offers(&view(other), 3, [key])), [20]);
        }
    }

    /// Goal: repair does not replace a peer that is away and waited for; but if one copy is left, it makes a second at
    /// once.
    #[test]
    fn an_away_peer_is_waited_for_while_two_copies_are_left() {
        let waits = |view: &View, waited: &[u8], key| {
            let waited = waited.iter().map(|number| peer(*number)).collect();
            numbers(plan_repair(view, 3, &waited, [peer(key)]).offers.keys())
        };
        let one = view_with(20, &[10, 30, 50, 60], &[40]);
        assert_eq!(waits(&one, &[40], 15), [30], "40 comes back with what it has");
        assert_eq!(waits(&one, &[], 15), [30, 50], "40 has been away for too long");
        let two = view_with(20, &[10, 50, 60], &[30, 40]);
        assert_eq!(waits(&two, &[30, 40], 15), [50], "one copy was left");
        // 20 owned it, and is away: 30 owns it now.
        let owner = view_with(30, &[10, 40, 50, 60], &[20]);
        assert_eq!(waits(&owner, &[20], 15), [40], "20, 30 and 40 keep it");
        assert_eq!(waits(&owner, &[20], 25), [40, 50], "30, 40 and 50 keep it");
        assert_eq!(waits(&view_with(30, &[10, 50], &[20, 40]), &[20, 40], 15), [50]);
    }

    #[test]
    fn a_leaving_peer_offers_to_the_replicas_as_they_will_be() {
        let key = Position::of_number(15);
        assert_eq!(offered(&plan_handover(&view(20), 3, [key])), [30, 40, 50]);
        assert_eq!(offered(&plan_handover(&view(40), 3, [key])), [20, 30, 50]);
    }

    #[test]
    fn keys_that_a_short_list_does_not_cover_are_looked_up() {
        let mut short = View { small: false, ..view(20) };
        short.successors.truncate(2);
        let key = Position::of_number(15);
        let plan = plan_handover(&short, 3, [key]);
        assert_eq!((plan.next_unknown(), plan.spread, plan.offers.len()), (Some(key), 3, 0));
        assert_eq!(offered(&plan_handover(&short, 2, [key])), [30, 40]);
    }

    #[test]
    fn one_lookup_places_a_whole_range() {
        let mut far = View { small: false, ..view(20) };
        far.successors.truncate(1);
        // 12 belongs to 20 itself and 25 to 30; 35, 36 and 40 lie beyond the list, and so does 45.
        let keys: Vec<Position> = [12, 25, 35, 36, 40, 45].map(peer).into();
        let mut plan = plan_offers(&far, 3, keys);
        assert_eq!(numbers(&plan.unknown), [35, 36, 40, 45]);
        let key = plan.next_unknown().unwrap();
        let found = Found { owner: entry(40), predecessor: Some(entry(30)), successors: vec![entry(50)] };
        plan.place(&peer(20), &key, &found);
        assert_eq!(numbers(&plan.offers[&peer(40)].keys), [35, 36, 40]);
        assert_eq!(plan.next_unknown(), Some(peer(45)));
        plan.pass_over(&peer(45));
        assert_eq!(plan.next_unknown(), None);
        assert_eq!(offered(&plan), [30, 40], "not the owner's successor, and nobody for what nobody knows");
    }

    /// Goal: in a ring that no list shows whole, the peers behind a joiner give it the objects that it owns.
    #[test]
    fn a_joiner_is_given_its_range_by_those_behind_it() {
        let mut large = View { small: false, ..view_of(30, &[10, 40, 50, 60, 70, 80]) };
        large.successors.truncate(2);
        let keys = [5, 12, 20, 21, 25, 75].map(peer);
        let given = plan_sync(&large, 3, keys, &entry(20));
        assert_eq!(numbers(&given.offers[&peer(20)].keys), [12, 20], "and not what 30 owns or 10 does");
        // 45 is a replica of 30's own keys, but not of the keys of others.
        let given = plan_sync(&large, 3, keys, &entry(45));
        assert_eq!(numbers(&given.offers[&peer(45)].keys), [12, 20, 21, 25]);
        assert!(plan_sync(&large, 3, keys, &entry(30)).offers.is_empty(), "itself");
    }

    #[test]
    fn a_key_is_placed_even_if_its_range_is_not_known() {
        let mut plan = OfferPlan { unknown: [peer(35), peer(36)].into(), spread: 2, ..OfferPlan::default() };
        let found = Found { owner: entry(40), predecessor: None, successors: vec![entry(20), entry(50)] };
        plan.place(&peer(20), &peer(35), &found);
        assert_eq!(offered(&plan), [40, 50], "this peer is passed over");
        assert_eq!(numbers(&plan.unknown), [36]);
    }

    proptest! {
        /// Goal: one lookup takes the keys of its range from the list, all of them and no others.
        #[test]
        fn a_lookup_places_just_the_keys_that_the_owner_owns(
            keys in prop::collection::btree_set(0u8..=255, 1..30),
            before in 0u8..=255,
            owner in 0u8..=255,
            first in 0u8..=255,
        ) {
            let unknown: BTreeSet<Position> = keys.iter().copied().chain([first]).map(peer).collect();
            let mut plan = OfferPlan { unknown: unknown.clone(), spread: 1, ..OfferPlan::default() };
            let found = Found { owner: entry(owner), predecessor: Some(entry(before)), successors: Vec::new() };
            let me = Position::ZERO;
            plan.place(&me, &peer(first), &found);
            let placed = |key: &&Position| **key == peer(first) || found.owns(key);
            let given: Vec<Position> = plan.offers.values().flat_map(|offer| offer.keys.clone()).collect();
            prop_assert_eq!(given.len(), unknown.iter().filter(placed).count());
            prop_assert!(given.iter().all(|key| placed(&key)));
            prop_assert!(plan.unknown.iter().all(|key| !placed(&key)));
        }

        /// Goal: a plan offers each object only to peers that it belongs to, leaves none out, and offers none to the
        /// peer itself.
        #[test]
        fn every_key_is_offered_to_its_owner_or_its_replicas(
            ring in prop::collection::btree_set(0u8..=255, 2..12),
            keys in prop::collection::btree_set(0u8..=255, 1..20),
            copies in 1usize..5,
        ) {
            let ring: Vec<u8> = ring.into_iter().collect();
            for me in &ring {
                let others: Vec<u8> = ring.iter().copied().filter(|n| n != me).collect();
                let view = view_of(*me, &others);
                let at = |key: u8| ring.iter().position(|n| *n >= key).unwrap_or(0);
                let keepers = |key: u8| -> Vec<u8> {
                    (0..copies.min(ring.len())).map(|i| ring[(at(key) + i) % ring.len()]).collect()
                };
                let plan = plan_offers(&view, copies, keys.iter().map(|key| peer(*key)));
                prop_assert!(plan.unknown.is_empty(), "in a small ring everything is known");
                for key in &keys {
                    let told: Vec<u8> = plan
                        .offers
                        .values()
                        .filter(|offer| offer.keys.contains(&peer(*key)))
                        .map(|offer| offer.to.position.number().unwrap())
                        .collect();
                    let mut due: Vec<u8> = match keepers(*key) {
                        keepers if keepers[0] == *me => keepers[1..].to_vec(),
                        keepers => vec![keepers[0]],
                    };
                    due.sort_unstable();
                    prop_assert_eq!(told, due);
                }
                for asker in &others {
                    let given = plan_sync(&view, copies, keys.iter().map(|key| peer(*key)), &entry(*asker));
                    prop_assert_eq!(given.offers.get(&peer(*asker)), plan.offers.get(&peer(*asker)));
                    prop_assert!(given.offers.len() <= 1);
                    // The plan is the same before this peer has adopted the joiner.
                    let before: Vec<u8> = others.iter().copied().filter(|n| n != asker).collect();
                    let early = view_of(*me, &before);
                    let early = plan_sync(&early, copies, keys.iter().map(|key| peer(*key)), &entry(*asker));
                    prop_assert_eq!(early.offers, given.offers);
                }
                let handed = plan_handover(&view, copies, keys.iter().map(|key| peer(*key)));
                for key in &keys {
                    let told = handed.offers.values().filter(|offer| offer.keys.contains(&peer(*key))).count();
                    prop_assert_eq!(told, copies.min(others.len()), "as many copies as there can be without it");
                }
                prop_assert!(!handed.offers.contains_key(&peer(*me)) && !plan.offers.contains_key(&peer(*me)));
            }
        }
    }
}
