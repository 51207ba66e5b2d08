//! The outcome of a round of offers: `A ->[Offer] B`, `B ->[Wanted] A`, then A gives what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use super::offers::Offer;
use crate::chord::View;
use crate::id::{ContentId, Position, RecordId};
use crate::wire::{SignedRecord, StorageReply};

/// The objects and records that a peer holds.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// The content ids of the objects that it holds complete.
    pub objects: BTreeSet<ContentId>,
    /// All records of each name, by name key, the current one first.
    pub records: BTreeMap<Position, Vec<SignedRecord>>,
}

impl Holdings {
    /// The keys of all objects and records.
    pub fn keys(&self) -> BTreeSet<Position> {
        self.objects.iter().map(ContentId::key).chain(self.records.keys().copied()).collect()
    }

    /// The held objects among the keys of an offer.
    pub fn objects_of(&self, offer: &Offer) -> Vec<ContentId> {
        let contents = offer.keys.iter().map(|key| ContentId(key.0));
        contents.filter(|content| self.objects.contains(content)).collect()
    }

    /// The held records among the keys of an offer, including those that lost: history goes where its name goes.
    pub fn records_of(&self, offer: &Offer) -> Vec<(Position, SignedRecord)> {
        let held = offer.keys.iter().filter_map(|key| self.records.get_key_value(key));
        held.flat_map(|(key, records)| records.iter().map(|record| (*key, record.clone()))).collect()
    }
}

/// The outcome of a round of offers, and the facts that it learned about other peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// The number of objects that were given.
    pub objects: u64,
    /// The number of bytes of these objects.
    pub bytes: u64,
    /// The number of records that were given.
    pub records: u64,
    /// Whether some offer or push failed, or was left to another peer.
    pub incomplete: bool,
    with_object: BTreeMap<ContentId, BTreeSet<Position>>,
    with_record: BTreeMap<RecordId, BTreeSet<Position>>,
}

/// The files and names that would be left with a given number of copies when this peer goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftWith {
    /// The number of files.
    pub files: u64,
    /// The number of names, by their records.
    pub names: u64,
    /// The peers that have these copies.
    pub on: BTreeSet<Position>,
}

/// The number of living peers that would stay, if it is too small for a departure: min(R, N − 1) are needed, where N
/// counts the members that do not answer. `None` if enough stay.
pub fn too_few_stay(view: &View, copies: usize) -> Option<usize> {
    let stay = view.alive().count();
    (stay < copies.min(view.members_count().saturating_sub(1))).then_some(stay)
}

/// The objects and records of which fewer other peers than needed have a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Short {
    /// The content ids of these objects.
    pub objects: Vec<ContentId>,
    /// The current records of these names.
    pub records: Vec<SignedRecord>,
}

impl Short {
    /// Whether nothing is short.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.records.is_empty()
    }
}

impl Round {
    /// A round, or one offer of it, that failed.
    pub fn failed() -> Round {
        Round { incomplete: true, ..Round::default() }
    }

    /// Takes a peer's answer to an offer of these objects, by index. Returns the objects to give to it. An object that
    /// another peer sends at the moment is neither given nor counted as there; the peer has the rest.
    pub fn hear_wanted(
        &mut self,
        to: Position,
        offered: &[ContentId],
        wanted: &[u16],
        arriving: &[u16],
    ) -> Vec<ContentId> {
        self.hear_wanted_in_part(to, offered, wanted, arriving, &[])
    }

    /// Like [`Round::hear_wanted`], for a peer that cannot take some of them. It is not asked again for that: each
    /// round offers them anew, and the peer says when it can take them.
    pub fn hear_wanted_in_part(
        &mut self,
        to: Position,
        offered: &[ContentId],
        wanted: &[u16],
        arriving: &[u16],
        unkept: &[u16],
    ) -> Vec<ContentId> {
        self.incomplete |= !arriving.is_empty();
        let (wanted, arriving, unkept) = (places(wanted), places(arriving), places(unkept));
        for (i, content) in offered.iter().enumerate() {
            if !wanted.contains(&i) && !arriving.contains(&i) && !unkept.contains(&i) {
                self.with_object.entry(*content).or_default().insert(to);
            }
        }
        wanted.into_iter().filter_map(|i| offered.get(i).copied()).collect()
    }

    /// Takes a peer's answer to an offer of these records, by index. Returns the records to give to it; the peer has
    /// the rest.
    pub fn hear_wanted_records<'a>(
        &mut self,
        to: Position,
        offered: &'a [(Position, SignedRecord)],
        wanted: &[u16],
    ) -> Vec<&'a SignedRecord> {
        let wanted = places(wanted);
        for (i, (_, record)) in offered.iter().enumerate() {
            if !wanted.contains(&i) {
                self.with_record.entry(record.id()).or_default().insert(to);
            }
        }
        wanted.into_iter().filter_map(|i| offered.get(i)).map(|(_, record)| record).collect()
    }

    /// Notes that a peer was given an object, and has it.
    pub fn gave_object(&mut self, to: Position, content: ContentId, bytes: u64) {
        self.objects = self.objects.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.with_object.entry(content).or_default().insert(to);
    }

    /// Notes that a peer was given a record, and has it.
    pub fn gave_record(&mut self, to: Position, record: RecordId) {
        self.records = self.records.saturating_add(1);
        self.with_record.entry(record).or_default().insert(to);
    }

    /// Whether a peer has an object, as far as the round learned.
    pub fn has_object(&self, peer: &Position, content: &ContentId) -> bool {
        self.with_object.get(content).is_some_and(|peers| peers.contains(peer))
    }

    /// The number of other peers that have an object, as far as the round learned.
    pub fn others_with(&self, content: &ContentId) -> usize {
        self.with_object.get(content).map_or(0, BTreeSet::len)
    }

    /// The short files and names by the number of their copies at living peers, and where these are.
    pub fn left_with(&self, view: &View, short: &Short) -> BTreeMap<usize, LeftWith> {
        let alive: BTreeSet<Position> = view.alive().map(|entry| entry.position).collect();
        let with = |peers: Option<&BTreeSet<Position>>| -> BTreeSet<Position> {
            peers.map(|peers| peers.intersection(&alive).copied().collect()).unwrap_or_default()
        };
        let mut left: BTreeMap<usize, LeftWith> = BTreeMap::new();
        for content in &short.objects {
            let peers = with(self.with_object.get(content));
            let of_these = left.entry(peers.len()).or_default();
            of_these.files += 1;
            of_these.on.extend(peers);
        }
        for record in &short.records {
            let peers = with(self.with_record.get(&record.id()));
            let of_these = left.entry(peers.len()).or_default();
            of_these.names += 1;
            of_these.on.extend(peers);
        }
        left
    }

    /// Adds the outcome of another offer of the same round.
    pub fn absorb(&mut self, other: Round) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.records = self.records.saturating_add(other.records);
        self.incomplete |= other.incomplete;
        for (content, peers) in other.with_object {
            self.with_object.entry(content).or_default().extend(peers);
        }
        for (record, peers) in other.with_record {
            self.with_record.entry(record).or_default().extend(peers);
        }
    }

    /// The answer to the joiner that asked for the round (`Sync`).
    pub fn synced(&self) -> StorageReply {
        StorageReply::Synced {
            objects: self.objects,
            bytes: self.bytes,
            records: self.records,
            complete: !self.incomplete,
        }
    }

    /// The files and records that are short if this peer leaves after this round: fewer than min(R, N − 1) others have
    /// a copy, as far as the round learned. Peers that left or no longer answer do not count.
    pub fn short(&self, view: &View, copies: usize, holdings: &Holdings) -> Short {
        let alive: BTreeSet<Position> = view.alive().map(|entry| entry.position).collect();
        let needed = copies.min(alive.len());
        let with = |peers: Option<&BTreeSet<Position>>| peers.map_or(0, |p| p.intersection(&alive).count());
        let objects = holdings.objects.iter().filter(|content| with(self.with_object.get(content)) < needed);
        let current = holdings.records.values().filter_map(|records| records.first());
        let records = current.filter(|record| with(self.with_record.get(&record.id())) < needed);
        Short { objects: objects.copied().collect(), records: records.cloned().collect() }
    }
}

fn places(indices: &[u16]) -> BTreeSet<usize> {
    indices.iter().map(|i| usize::from(*i)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plan_handover;
    use super::super::sample::{entry, peer, view, view_of, view_with};
    use super::*;

    fn content(number: u8) -> ContentId {
        ContentId(peer(number).0)
    }

    fn record(of: u8) -> SignedRecord {
        SignedRecord { body: vec![of], signature: Vec::new(), certificate: Vec::new() }
    }

    fn holdings(objects: &[u8], records: &[(u8, u8)]) -> Holdings {
        let mut holdings = Holdings::default();
        holdings.objects.extend(objects.iter().map(|number| content(*number)));
        for (key, of) in records {
            holdings.records.entry(peer(*key)).or_default().push(record(*of));
        }
        holdings
    }

    #[test]
    fn an_offer_has_the_objects_and_records_of_its_keys() {
        let holdings = holdings(&[15, 35], &[(15, 1), (15, 2), (25, 3)]);
        assert_eq!(holdings.keys(), [peer(15), peer(25), peer(35)].into());
        let offer = Offer { to: entry(20), keys: vec![peer(15), peer(25), peer(99)] };
        assert_eq!(holdings.objects_of(&offer), [content(15)]);
        let records = holdings.records_of(&offer);
        assert_eq!(records, [(peer(15), record(1)), (peer(15), record(2)), (peer(25), record(3))]);
    }

    #[test]
    fn an_object_that_is_not_wanted_is_there() {
        let mut round = Round::default();
        let offered = [1, 2, 3, 4].map(content);
        assert_eq!(round.hear_wanted(peer(20), &offered, &[2, 9, 2], &[3]), [content(3)]);
        let has = |round: &Round| [1, 2, 3, 4].map(|n| round.has_object(&peer(20), &content(n)));
        assert_eq!(has(&round), [true, true, false, false]);
        assert!(round.incomplete, "somebody else sends the last one");
        round.gave_object(peer(20), content(3), 7);
        assert_eq!(has(&round), [true, true, true, false]);
        let offered = [1, 2].map(|of| (peer(15), record(of)));
        let given = round.hear_wanted_records(peer(20), &offered, &[1]);
        assert_eq!(given, [&record(2)]);
        round.gave_record(peer(20), record(2).id());
        let synced = StorageReply::Synced { objects: 1, bytes: 7, records: 1, complete: false };
        assert_eq!(round.synced(), synced);
    }

    #[test]
    fn a_leaving_peer_counts_the_copies_of_others() {
        let holdings = holdings(&[15, 35], &[(25, 1), (25, 2)]);
        let mut round = Round::default();
        for to in [20, 30] {
            round.gave_object(peer(to), content(15), 1);
            round.gave_record(peer(to), record(1).id());
        }
        let mut other = Round::default();
        other.gave_object(peer(40), content(15), 1);
        other.gave_object(peer(40), content(35), 1);
        round.absorb(other);
        let short = round.short(&view(10), 3, &holdings);
        assert_eq!(
            (short.objects, short.records),
            (vec![content(35)], vec![record(1)]),
            "not of past records"
        );
        assert!(round.short(&view(10), 1, &holdings).is_empty());
        let one_left = view_of(10, &[30, 40, 50]);
        assert_eq!(round.short(&one_left, 3, &holdings).objects, [content(15), content(35)], "20 has left");
        let short = round.short(&view_of(10, &[20, 30]), 3, &holdings);
        assert_eq!((short.objects.len(), short.records.len()), (1, 0), "no more than there are others");
        assert!(Round::failed().short(&view_of(10, &[]), 3, &holdings).is_empty(), "the last one");
        assert!(!Round::failed().short(&view(10), 1, &holdings).is_empty(), "nothing was learned");
    }

    /// Reported: with two of four machines off, a departure left one copy of each file.
    #[test]
    fn members_that_do_not_answer_count_for_what_has_to_stay() {
        assert_eq!(too_few_stay(&view_with(10, &[20], &[30, 40]), 3), Some(1));
        assert_eq!(too_few_stay(&view_with(10, &[], &[20]), 3), Some(0));
        assert_eq!(too_few_stay(&view_with(10, &[20, 30, 40], &[50]), 3), None, "three are left");
        assert_eq!(too_few_stay(&view_of(10, &[20]), 3), None, "no more than there are members");
        assert_eq!(too_few_stay(&view_of(10, &[]), 3), None, "the last one");
    }

    #[test]
    fn the_short_files_follow_from_the_copies_that_are_left() {
        let holdings = holdings(&[15, 35], &[(25, 1)]);
        let mut round = Round::default();
        round.gave_object(peer(20), content(15), 1);
        let view = view_of(10, &[20, 30]);
        let left = round.left_with(&view, &round.short(&view, 3, &holdings));
        let none = LeftWith { files: 1, names: 1, on: BTreeSet::new() };
        let one = LeftWith { files: 1, names: 0, on: [peer(20)].into() };
        assert_eq!(left, [(0, none), (1, one)].into());
    }

    proptest! {
        /// Goal: no file is short if all offers of a hand-over were taken; a file whose offer was not taken is short.
        #[test]
        fn a_whole_hand_over_leaves_nothing_short(
            others in prop::collection::btree_set(0u8..=255, 1..10),
            objects in prop::collection::btree_set(0u8..=255, 1..10),
            copies in 1usize..5,
            refuses in 0usize..40,
        ) {
            let others: Vec<u8> = others.into_iter().filter(|number| *number != 77).collect();
            let view = view_of(77, &others);
            let objects: Vec<u8> = objects.into_iter().collect();
            let holdings = holdings(&objects, &[]);
            let plan = plan_handover(&view, copies, holdings.keys());
            let mut round = Round::default();
            let (mut i, mut refused) = (0, None);
            for offer in plan.offers.values() {
                let offered = holdings.objects_of(offer);
                let all: Vec<u16> = (0..offered.len() as u16).collect();
                for content in round.hear_wanted(offer.to.position, &offered, &all, &[]) {
                    if i == refuses {
                        refused = Some(content);
                    } else {
                        round.gave_object(offer.to.position, content, 1);
                    }
                    i += 1;
                }
            }
            let short = round.short(&view, copies, &holdings);
            prop_assert_eq!(short.objects, refused.into_iter().collect::<Vec<_>>());
        }
    }
}
