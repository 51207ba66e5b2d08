//! The outcome of a round of offers: `A ->[Offer] B`, `B ->[Wanted] A`, then A gives what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use crate::chord::View;
use crate::id::{ContentId, KeyRange, Position, RecordId, SetDigest};
use crate::wire::{SignedRecord, StorageReply};

/// The objects and records that a peer holds.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// The content ids of the objects that it holds complete.
    pub objects: BTreeSet<ContentId>,
    /// All records of each name, by name key, the current one first.
    pub records: BTreeMap<Position, Vec<SignedRecord>>,
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
    /// The ranges that were compared and in which a peer has what was here then, with the digest of that.
    same: BTreeMap<Position, Compared>,
}

/// Ranges without common keys, by their first keys.
type Compared = BTreeMap<Position, (KeyRange, SetDigest)>;

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
    /// The name keys, and the current records of these names.
    pub records: Vec<(Position, SignedRecord)>,
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

    /// Notes that a peer has just what is here of a range, by the digest of both.
    pub fn hear_same(&mut self, to: Position, range: KeyRange, digest: SetDigest) {
        self.same.entry(to).or_default().insert(range.first, (range, digest));
    }

    /// The ranges that were compared, and the digest of each.
    pub fn compared(&self) -> impl Iterator<Item = (KeyRange, SetDigest)> {
        self.same.values().flat_map(BTreeMap::values).copied()
    }

    /// Forgets what was compared and has changed here meanwhile: a peer need not have what came later. `now` are the
    /// present digests.
    pub fn forget_changed(&mut self, now: &BTreeMap<KeyRange, SetDigest>) {
        for compared in self.same.values_mut() {
            compared.retain(|_, (range, digest)| now.get(range) == Some(digest));
        }
    }

    /// Whether a peer has an object, as far as the round learned.
    pub fn has_object(&self, peer: &Position, content: &ContentId) -> bool {
        self.with(self.with_object.get(content), &content.key()).contains(peer)
    }

    /// The number of other peers that have an object, as far as the round learned.
    pub fn others_with(&self, content: &ContentId) -> usize {
        self.with(self.with_object.get(content), &content.key()).len()
    }

    /// The peers that have something with this key: those that said so of the thing itself, and those whose range is
    /// the same.
    fn with(&self, told: Option<&BTreeSet<Position>>, key: &Position) -> BTreeSet<Position> {
        let has = |compared: &Compared| {
            let nearest = compared.range(..=key).next_back();
            nearest.is_some_and(|(_, (range, _))| range.contains(key))
        };
        let same = self.same.iter().filter(|(_, compared)| has(compared)).map(|(peer, _)| *peer);
        told.into_iter().flatten().copied().chain(same).collect()
    }

    /// The short files and names by the number of their copies at living peers, and where these are.
    pub fn left_with(&self, view: &View, short: &Short) -> BTreeMap<usize, LeftWith> {
        let alive: BTreeSet<Position> = view.alive().map(|entry| entry.position).collect();
        let with = |told, key: &Position| -> BTreeSet<Position> {
            self.with(told, key).intersection(&alive).copied().collect()
        };
        let mut left: BTreeMap<usize, LeftWith> = BTreeMap::new();
        for content in &short.objects {
            let peers = with(self.with_object.get(content), &content.key());
            let of_these = left.entry(peers.len()).or_default();
            of_these.files += 1;
            of_these.on.extend(peers);
        }
        for (key, record) in &short.records {
            let peers = with(self.with_record.get(&record.id()), key);
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
        for (peer, compared) in other.same {
            self.same.entry(peer).or_default().extend(compared);
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
        let is_short = |told, key: &Position| self.with(told, key).intersection(&alive).count() < needed;
        let lacks = |content: &&ContentId| is_short(self.with_object.get(content), &content.key());
        let objects = holdings.objects.iter().filter(lacks);
        let current = holdings.records.iter().filter_map(|(key, records)| Some((*key, records.first()?)));
        let records = current.filter(|(key, record)| is_short(self.with_record.get(&record.id()), key));
        let records = records.map(|(key, record)| (key, record.clone()));
        Short { objects: objects.copied().collect(), records: records.collect() }
    }
}

fn places(indices: &[u16]) -> BTreeSet<usize> {
    indices.iter().map(|i| usize::from(*i)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{peer, view, view_of, view_with};
    use super::super::{Place, plan_handover};
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
            (vec![content(35)], vec![(peer(25), record(1))]),
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

    /// Goal: a range that a peer has just as this one counts for all that is in it; but not once something has come
    /// since.
    #[test]
    fn what_was_compared_counts_until_something_changes() {
        let holdings = holdings(&[15, 35], &[(25, 1)]);
        let range = |first, last| KeyRange { first: peer(first), last: peer(last) };
        let digest = |count| SetDigest { count, sum: 7 };
        let mut round = Round::default();
        round.hear_same(peer(20), range(10, 29), digest(2));
        round.hear_same(peer(30), range(10, 19), digest(1));
        assert_eq!((round.others_with(&content(15)), round.others_with(&content(35))), (2, 0));
        assert!(round.has_object(&peer(30), &content(15)) && !round.has_object(&peer(40), &content(15)));
        let view = view_of(10, &[20, 30, 40]);
        let short = round.short(&view, 2, &holdings);
        assert_eq!((short.objects, short.records), (vec![content(35)], vec![(peer(25), record(1))]));
        assert!(round.short(&view, 1, &holdings).records.is_empty());
        let now = [(range(10, 29), digest(3)), (range(10, 19), digest(1))].into();
        round.forget_changed(&now);
        assert_eq!(round.others_with(&content(15)), 1);
        assert_eq!(round.compared().collect::<Vec<_>>(), [(range(10, 19), digest(1))]);
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
            let mut round = Round::default();
            let (mut i, mut refused) = (0, None);
            for content in holdings.objects.iter() {
                let Place::At(peers) = plan_handover(&view, copies, &content.key()) else { panic!() };
                for to in peers {
                    let given = round.hear_wanted(to.position, &[*content], &[0], &[]);
                    prop_assert_eq!(given, [*content]);
                    if i == refuses {
                        refused = Some(*content);
                    } else {
                        round.gave_object(to.position, *content, 1);
                    }
                    i += 1;
                }
            }
            let short = round.short(&view, copies, &holdings);
            prop_assert_eq!(short.objects, refused.into_iter().collect::<Vec<_>>());
        }
    }
}
