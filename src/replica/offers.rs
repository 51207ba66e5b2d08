//! The offers between peers, by which every copy comes to where it belongs.
//!
//! A peer goes through what it holds piece by piece. All keys of a piece have the same place (see [`Cuts`]), so that
//! one key of it stands for all. The ranges that a peer should have are first compared with what it has; only what
//! differs is offered (see [`crate::files`]).

use std::collections::{BTreeMap, BTreeSet};

use super::placement::{own_replicas, replicas};
use crate::chord::{Route, Table, View};
use crate::id::{KeyRange, Position, between, owns};
use crate::wire::{Entry, Member, MemberState};

/// The place of a key, for a peer that holds something of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// These peers should have it, and are offered it.
    At(Vec<Entry>),
    /// Too little is known here. The owner has to be looked up, with the peers behind it.
    LookUp {
        /// The number of peers that should have it, from the owner on and without this peer.
        spread: usize,
    },
}

/// The borders between pieces of the key space: keys between two neighbouring borders have the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuts(BTreeSet<Position>);

impl Cuts {
    /// The cuts at all peers that a view knows, and at one more, if it is given: a joiner that is not known yet.
    pub fn of(view: &View, joiner: Option<&Entry>) -> Cuts {
        let neighbours = view.predecessor.iter().chain(&view.successors).chain([&view.me]);
        let known = view.alive().chain(view.away()).chain(neighbours).chain(joiner);
        Cuts(known.map(|entry| entry.position).collect())
    }

    /// The piece of the key space that contains a key.
    pub fn around(&self, key: &Position) -> KeyRange {
        let before = self.0.range(..key).next_back().and_then(Position::next);
        let last = self.0.range(key..).next().copied().unwrap_or(Position::MAX);
        KeyRange { first: before.unwrap_or(Position::ZERO), last }
    }
}

/// The offers that a peer plans to make, by the position of the peer that should have these ranges.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OfferPlan(pub BTreeMap<Position, Offer>);

/// An offer to one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The peer that the offer goes to.
    pub to: Entry,
    /// The ranges of which it should have all that is here.
    pub ranges: Vec<KeyRange>,
}

impl OfferPlan {
    /// Offers a piece to each of these peers. Pieces come in the order of their keys.
    pub fn add(&mut self, to: impl IntoIterator<Item = Entry>, piece: KeyRange) {
        for to in to {
            let offer = self.0.entry(to.position).or_insert_with(|| Offer { to, ranges: Vec::new() });
            match offer.ranges.last_mut() {
                Some(range) if range.last.next() == Some(piece.first) => range.last = piece.last,
                _ => offer.ranges.push(piece),
            }
        }
    }

    /// Offers one key to a peer, unless a piece that it is offered has it.
    pub fn add_key(&mut self, to: Entry, key: Position) {
        let offer = self.0.entry(to.position).or_insert_with(|| Offer { to, ranges: Vec::new() });
        let at = offer.ranges.partition_point(|range| range.last < key);
        if offer.ranges.get(at).is_none_or(|range| key < range.first) {
            offer.ranges.insert(at, KeyRange { first: key, last: key });
        }
    }
}

/// Plans the help of a replica: it offers objects of another owner to the other replicas. The owner gives them these by
/// itself; where its line is slow, this peer's may not be. As in [`plan_repair`], nothing takes the place of a member
/// that is waited for.
pub fn plan_help(view: &View, copies: usize, waited: &BTreeSet<Position>, key: &Position) -> Vec<Entry> {
    let me = view.me.position;
    let Some(Route::Owner { owner, successors, .. }) = view.route(key) else { return Vec::new() };
    let mut keepers = replicas(&owner, &successors, copies);
    if owner.position == me || keepers.iter().all(|keeper| keeper.position != me) {
        return Vec::new();
    }
    let living = view.alive().map(|entry| entry.position).chain([me]);
    let mut places: Vec<Position> = living.chain(waited.iter().copied()).collect();
    places.sort_by_key(|position| key.distance_to(position));
    places.truncate(copies);
    keepers.retain(|keeper| places.contains(&keeper.position));
    keepers.retain(|keeper| ![me, owner.position].contains(&keeper.position));
    keepers
}

/// Plans repair: what this peer holds is offered to its owner, and an owner offers to its living replicas. With
/// patience: members that are away and waited for keep what they have, so no other peer is given it, as long as two
/// living peers of the first R from the key on are left to keep it. Where only this one is left, the next living one is
/// given it at once.
pub fn plan_repair(view: &View, copies: usize, waited: &BTreeSet<Position>, key: &Position) -> Place {
    match view.route(key) {
        Some(Route::Owner { owner, .. }) if owner.position == view.me.position => {
            let keepers = Keepers::of(view, copies, waited);
            Place::At(keepers.others(key).into_iter().cloned().collect())
        }
        Some(Route::Owner { owner, .. }) => Place::At(vec![owner]),
        Some(Route::Near(_) | Route::Closer(_)) => Place::LookUp { spread: 1 },
        None => Place::At(Vec::new()),
    }
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

/// Whether a joiner that asks for its keys (`Sync`) is offered this one: it owns the key, or this peer owns it and the
/// joiner is one of its replicas. No other peer is offered anything.
///
/// The joiner counts as standing in its place, whether this peer has made room for it yet or not. The joiner's range
/// begins after the nearest member before it that is known here. Otherwise this peer would tell the joiner that there
/// is nothing more, and the joiner would take itself for complete.
pub fn plan_sync(view: &View, copies: usize, asker: &Entry, key: &Position) -> Place {
    if asker.position == view.me.position {
        return Place::At(Vec::new());
    }
    let view = with_member(view, asker);
    let before = member_before(&view, &asker.position);
    let is_replica = || own_replicas(&view, copies).iter().any(|replica| replica.position == asker.position);
    let is_offered = owns(&before, key, &asker.position) || (view.owns(key) && is_replica());
    Place::At(is_offered.then(|| asker.clone()).into_iter().collect())
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
pub fn plan_handover(view: &View, copies: usize, key: &Position) -> Place {
    match view.route(key) {
        Some(Route::Owner { owner, successors, .. }) => {
            let is_other = |entry: &Entry| entry.position != view.me.position;
            let others: Vec<Entry> = std::iter::once(owner).chain(successors).filter(is_other).collect();
            // A short list ends before the replicas do; in a small ring it holds every member.
            if others.len() < copies && !view.small {
                return Place::LookUp { spread: copies };
            }
            let replicas = others.split_first().map(|(first, rest)| replicas(first, rest, copies));
            Place::At(replicas.unwrap_or_default())
        }
        Some(Route::Near(_) | Route::Closer(_)) => Place::LookUp { spread: copies },
        None => Place::At(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{entry, numbers_of, peer, view, view_of, view_with};
    use super::*;

    fn told(place: &Place) -> Vec<u8> {
        match place {
            Place::At(peers) => numbers_of(peers),
            Place::LookUp { .. } => panic!("it is to be looked up"),
        }
    }

    fn repair(view: &View, key: u8) -> Place {
        plan_repair(view, 3, &BTreeSet::new(), &peer(key))
    }

    /// Goal: if the owner is slow, each of its replicas gives its objects to the other replicas, and no other peer
    /// does.
    #[test]
    fn a_replica_helps_the_other_replicas() {
        let helped = |me| numbers_of(&plan_help(&view(me), 3, &BTreeSet::new(), &peer(15)));
        // 20 owns it, 30 and 40 are its replicas.
        assert_eq!(helped(30), [40]);
        assert_eq!(helped(40), [30]);
        assert!(helped(20).is_empty(), "the owner gives by itself");
        assert!(helped(50).is_empty(), "and this one keeps nothing of it");
        // 30 is away: 50 would be the third keeper.
        let away = view_with(40, &[10, 20, 50], &[30]);
        assert_eq!(numbers_of(&plan_help(&away, 3, &BTreeSet::new(), &peer(15))), [50]);
        assert!(plan_help(&away, 3, &[peer(30)].into(), &peer(15)).is_empty(), "30 is waited for");
    }

    #[test]
    fn the_owner_offers_to_its_replicas_and_others_to_the_owner() {
        // 15 is owned by 20, and kept by 20, 30, 40.
        assert_eq!(told(&repair(&view(20), 15)), [30, 40]);
        for other in [10, 30, 40, 50] {
            assert_eq!(told(&repair(&view(other), 15)), [20]);
        }
    }

    /// Goal: repair does not replace a peer that is away and waited for; but if one copy is left, it makes a second at
    /// once.
    #[test]
    fn an_away_peer_is_waited_for_while_two_copies_are_left() {
        let waits = |view: &View, waited: &[u8], key| {
            let waited = waited.iter().map(|number| peer(*number)).collect();
            told(&plan_repair(view, 3, &waited, &peer(key)))
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
        assert_eq!(told(&plan_handover(&view(20), 3, &peer(15))), [30, 40, 50]);
        assert_eq!(told(&plan_handover(&view(40), 3, &peer(15))), [20, 30, 50]);
    }

    #[test]
    fn keys_that_a_short_list_does_not_cover_are_looked_up() {
        let mut short = View { small: false, ..view(20) };
        short.successors.truncate(2);
        assert_eq!(plan_handover(&short, 3, &peer(15)), Place::LookUp { spread: 3 });
        assert_eq!(told(&plan_handover(&short, 2, &peer(15))), [30, 40]);
        short.successors.truncate(1);
        assert_eq!(told(&repair(&short, 25)), [30]);
        assert_eq!(repair(&short, 35), Place::LookUp { spread: 1 });
    }

    /// Goal: in a ring that no list shows whole, the peers behind a joiner give it the objects that it owns.
    #[test]
    fn a_joiner_is_given_its_range_by_those_behind_it() {
        let mut large = View { small: false, ..view_of(30, &[10, 40, 50, 60, 70, 80]) };
        large.successors.truncate(2);
        let given = |asker| {
            let is_given = |key: &u8| !told(&plan_sync(&large, 3, &entry(asker), &peer(*key))).is_empty();
            [5, 12, 20, 21, 25, 75].into_iter().filter(is_given).collect::<Vec<u8>>()
        };
        assert_eq!(given(20), [12, 20], "and not what 30 owns or 10 does");
        // 45 is a replica of 30's own keys, but not of the keys of others.
        assert_eq!(given(45), [12, 20, 21, 25]);
        assert!(given(30).is_empty(), "itself");
    }

    #[test]
    fn pieces_that_follow_each_other_are_one_range() {
        let piece = |first, last| KeyRange { first: peer(first).next().unwrap(), last: peer(last) };
        let mut plan = OfferPlan::default();
        plan.add([entry(1), entry(2)], piece(10, 20));
        plan.add([entry(1)], piece(20, 30));
        plan.add([entry(1), entry(2)], piece(40, 50));
        assert_eq!(plan.0[&peer(1)].ranges, [piece(10, 30), piece(40, 50)]);
        assert_eq!(plan.0[&peer(2)].ranges, [piece(10, 20), piece(40, 50)]);
    }

    proptest! {
        /// Goal: a plan offers each object only to peers that it belongs to, leaves none out, and offers none to the
        /// peer itself. One key of a piece stands for all.
        #[test]
        fn every_key_is_offered_to_its_owner_or_its_replicas(
            ring in prop::collection::btree_set(0u8..=255, 2..12),
            keys in prop::collection::btree_set(0u8..=255, 1..20),
            gone in prop::collection::btree_set(0u8..=255, 0..4),
            copies in 1usize..5,
        ) {
            let ring: Vec<u8> = ring.into_iter().collect();
            let gone: Vec<u8> = gone.into_iter().filter(|number| !ring.contains(number)).collect();
            for me in &ring {
                let others: Vec<u8> = ring.iter().copied().filter(|n| n != me).collect();
                let view = view_of(*me, &others);
                let at = |key: u8| ring.iter().position(|n| *n >= key).unwrap_or(0);
                let keepers = |key: u8| -> Vec<u8> {
                    (0..copies.min(ring.len())).map(|i| ring[(at(key) + i) % ring.len()]).collect()
                };
                for key in &keys {
                    let place = plan_repair(&view, copies, &BTreeSet::new(), &peer(*key));
                    let due = match keepers(*key) {
                        keepers if keepers[0] == *me => keepers[1..].to_vec(),
                        keepers => vec![keepers[0]],
                    };
                    prop_assert_eq!(told(&place), due);
                    for asker in &others {
                        let given = plan_sync(&view, copies, &entry(*asker), &peer(*key));
                        prop_assert_eq!(told(&given).contains(asker), told(&place).contains(asker));
                        // The plan is the same before this peer has adopted the joiner.
                        let before: Vec<u8> = others.iter().copied().filter(|n| n != asker).collect();
                        let early = plan_sync(&view_of(*me, &before), copies, &entry(*asker), &peer(*key));
                        prop_assert_eq!(early, given);
                    }
                    let handed = told(&plan_handover(&view, copies, &peer(*key)));
                    prop_assert_eq!(handed.len(), copies.min(others.len()), "as many copies as there can be without it");
                    prop_assert!(!handed.contains(me) && !told(&place).contains(me));
                    // Both ends of the piece have the same place, with away members among them, too.
                    let view = view_with(*me, &others, &gone);
                    let waited = gone.iter().map(|number| peer(*number)).collect();
                    let piece = Cuts::of(&view, None).around(&peer(*key));
                    let there = |key: &Position| plan_repair(&view, copies, &waited, key);
                    prop_assert!(piece.contains(&peer(*key)));
                    prop_assert_eq!(there(&piece.first), there(&peer(*key)));
                    prop_assert_eq!(there(&piece.last), there(&peer(*key)));
                }
            }
        }
    }
}
