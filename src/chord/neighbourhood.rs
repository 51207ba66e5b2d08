//! The neighbours of this peer on the ring, and the rules by which they change: STABILISE, FROM_PRED and RECTIFY of
//! P. Zave, *Reasoning About Identifier Spaces: How to Make Chord Correct* (IEEE TSE 2017).
//!
//! In a small ring the list is the living members in order, and none of these rules applies.
//!
//! Invariant: the list is in order clockwise, without this peer, without duplicates, and at most r long. It changes in
//! whole steps: an entry is never put before others that it does not know.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng, RngExt as _};

use super::members::Members;
use super::rules::Rules;
use super::timing::jittered;
use crate::id::{Position, between};
use crate::time::Moment;
use crate::wire::{Entry, MemberState};

/// The predecessor, the successor list, and the query that changes them.
#[derive(Debug, Clone)]
pub(super) struct Neighbourhood {
    predecessor: Option<Entry>,
    successors: Vec<Entry>,
    /// The stabilise query under way. Meanwhile the list is undefined to others.
    query: Option<Query>,
    busy_tries: u8,
    /// Living peers that may lie before the first successor.
    candidates: BTreeMap<Position, Entry>,
    stabilise_at: Moment,
    /// Whether the neighbours changed since the last stabilise period.
    changed: bool,
    /// The neighbours as they were last reported.
    reported: (Option<Entry>, Vec<Entry>),
}

/// The little that the rules need to know of the rest of the node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// The position of this peer.
    pub me: &'a Position,
    /// The known members.
    pub members: &'a Members,
    /// r, the greatest length of the list.
    pub successors_max: usize,
    /// Whether the ring is small.
    pub small: bool,
    /// The corrections that are followed.
    pub rules: &'a Rules,
}

/// A stabilise query under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    whom: Entry,
    kind: QueryKind,
    began: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueryKind {
    /// STABILISE: the first successor is asked.
    Successor,
    /// FROM_PRED: a living peer is asked that may lie before the first successor.
    Candidate,
}

/// The next step between two queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// FROM_PRED: this peer may lie before the first successor.
    Approach(Entry),
    /// No other member is known to live: the way back leads through remembered members.
    JoinAgain,
}

/// How a peer that may lie before the first successor takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Approach {
    /// This peer asks the candidate for its list first.
    Query(Query),
    /// This peer adopted the candidate on another peer's word, and has to notify it. Only without
    /// `candidate_asked_first`.
    Adopted,
}

/// The consequences of an adopted answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Adopted {
    /// FROM_PRED: the successor's predecessor may lie before it. Otherwise the first successor is to be notified.
    pub candidate: Option<Entry>,
    /// The successor names this peer as its predecessor, and this peer believes it dead: one of the two is wrong.
    pub believed_dead: Option<Entry>,
}

/// The consequences of the end of a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// The query waited for that peer, and is over.
    pub query_is_over: bool,
    /// The rest of the list, which may have died as well.
    pub suspects: Vec<Entry>,
}

/// The changes of the neighbours since the last report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// The first and the second successor, where they changed.
    pub successors: [Option<Position>; 2],
    /// The predecessor, if it changed.
    pub predecessor: Option<Position>,
    /// Whether the first successor is another one, or none is left.
    pub first_changed: bool,
}

impl Query {
    /// The peer that is asked.
    pub(super) fn whom(&self) -> &Entry {
        &self.whom
    }

    /// Whether the query belongs to FROM_PRED.
    pub(super) fn is_of_candidate(&self) -> bool {
        self.kind == QueryKind::Candidate
    }
}

impl Neighbourhood {
    /// No neighbours: this peer is alone.
    pub(super) fn new(now: Moment) -> Neighbourhood {
        Neighbourhood {
            predecessor: None,
            successors: Vec::new(),
            query: None,
            busy_tries: 0,
            candidates: BTreeMap::new(),
            stabilise_at: now,
            changed: false,
            reported: (None, Vec::new()),
        }
    }

    /// These neighbours, known for long.
    pub(super) fn settled(at: Moment, predecessor: Option<Entry>, successors: Vec<Entry>) -> Neighbourhood {
        let reported = (predecessor.clone(), successors.clone());
        Neighbourhood { predecessor, successors, reported, ..Neighbourhood::new(at) }
    }

    /// The predecessor; `None` while alone.
    pub(super) fn predecessor(&self) -> Option<&Entry> {
        self.predecessor.as_ref()
    }

    /// The successor list.
    pub(super) fn successors(&self) -> &[Entry] {
        &self.successors
    }

    /// The successors, then the predecessor.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.successors.iter().chain(&self.predecessor)
    }

    /// The two nearest successors and the predecessor: the peers that are pinged.
    pub(super) fn nearest(&self) -> impl Iterator<Item = &Entry> {
        self.successors.iter().take(2).chain(&self.predecessor)
    }

    /// The query under way.
    pub(super) fn query(&self) -> Option<&Query> {
        self.query.as_ref()
    }

    /// Living peers that may lie before the first successor, by position.
    pub(super) fn candidates(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.candidates.values()
    }

    /// Whether the list is undefined to others: this peer awaits an answer that changes it.
    pub(super) fn is_undefined(&self, known: Known<'_>) -> bool {
        self.query.is_some() && !known.small && known.rules.busy_while_asking
    }

    /// The moment of the next stabilise period.
    pub(super) fn next_timeout(&self) -> Moment {
        self.stabilise_at
    }

    /// Begins the next stabilise period at once.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.stabilise_at = now;
    }

    /// Sets the time of the next stabilise period.
    pub(super) fn stabilise_at(&mut self, at: Moment) {
        self.stabilise_at = at;
    }

    /// Begins a stabilise period if it is due, and sets the time of the next one: after one interval, or after two where
    /// nothing changes. A list that is too short, or names a peer that is gone, is not quiet, and neither is a ring of
    /// which the members are exchanged whole.
    pub(super) fn begin_period(
        &mut self,
        now: Moment,
        interval: Duration,
        known: Known<'_>,
        exchanges_whole: bool,
        rng: &mut impl Rng,
    ) -> bool {
        if self.stabilise_at > now {
            return false;
        }
        let whole = self.successors.len() >= known.successors_max
            && !self.successors.iter().any(|entry| known.members.is_gone(entry));
        let changed = std::mem::take(&mut self.changed);
        let quiet = !changed && whole && !exchanges_whole;
        self.stabilise_at = now + jittered(interval * (1 + u32::from(quiet)), rng);
        true
    }

    /// STABILISE: returns the query to the first successor, unless one is under way or this peer is alone.
    pub(super) fn stabilise(&mut self, now: Moment, known: Known<'_>) -> Option<Query> {
        if self.query.is_some() {
            return None;
        }
        self.drop_dead_heads(known);
        // A peer that is known to live before the first successor should take its place, however it became known.
        if let Some(nearest) = known.members.clockwise_from(known.me).next() {
            self.consider(known, nearest);
        }
        let whom = self.successors.first()?.clone();
        Some(Query { whom, kind: QueryKind::Successor, began: now })
    }

    /// RECTIFY, and a chance for FROM_PRED: a peer believes that it stands beside this one. It replaces the predecessor
    /// if it is nearer, or if the predecessor is dead (Zave 2017, RECTIFY). On a helper's word (`relayed`) a peer becomes
    /// a neighbour only if it is known to be alive.
    pub(super) fn rectify(&mut self, known: Known<'_>, from: &Entry, relayed: bool) {
        if known.small || known.members.is_gone(from) || from.position == *known.me {
            return;
        }
        if relayed && !known.members.alive().any(|member| member.position == from.position) {
            return;
        }
        let closer = match &self.predecessor {
            None => true,
            Some(old) => between(&old.position, &from.position, known.me) || known.members.is_gone(old),
        };
        if closer {
            self.predecessor = Some(from.clone());
        }
        self.consider(known, from);
    }

    /// Remembers a living peer if it may lie before the first successor.
    pub(super) fn consider(&mut self, known: Known<'_>, entry: &Entry) {
        if !known.small
            && self.lies_before_first(known.me, &entry.position)
            && self.candidates.len() < CANDIDATES_MAX
        {
            self.candidates.insert(entry.position, entry.clone());
        }
    }

    /// The next step between two queries, if there is one: FROM_PRED for the next candidate; where the list is wholly
    /// dead, the nearest living member takes its place. Peers that this skips are found by stabilising, as FROM_PRED
    /// walks back towards this peer.
    pub(super) fn next(&mut self, now: Moment, known: Known<'_>) -> Option<Next> {
        if known.small || self.query.is_some() {
            return None;
        }
        self.drop_dead_heads(known);
        if self.successors.is_empty() {
            let Some(next) = known.members.clockwise_from(known.me).next() else {
                return Some(Next::JoinAgain);
            };
            self.successors.push(next.clone());
            self.stabilise_at = now;
        }
        while let Some((position, entry)) = self.candidates.pop_first() {
            if self.lies_before_first(known.me, &position) && !known.members.is_gone(&entry) {
                return Some(Next::Approach(entry));
            }
        }
        None
    }

    /// FROM_PRED: a candidate is asked for its list; it is adopted when it answers.
    pub(super) fn approach(&mut self, now: Moment, known: Known<'_>, candidate: Entry) -> Approach {
        if known.rules.candidate_asked_first {
            return Approach::Query(Query { whom: candidate, kind: QueryKind::Candidate, began: now });
        }
        self.take_first(known, &candidate, self.successors.clone());
        Approach::Adopted
    }

    /// Notes that a query goes out.
    pub(super) fn begin_query(&mut self, query: Query) {
        self.query = Some(query);
    }

    /// Takes out the awaited query, since its answer came or is no longer needed.
    pub(super) fn take_query(&mut self) -> Option<Query> {
        self.query.take()
    }

    /// Notes that the asked peer gave its list. Answers that take as long as the period would leave this peer busy all
    /// the time.
    pub(super) fn note_state(&mut self, now: Moment, query: &Query) {
        self.busy_tries = 0;
        self.stabilise_at = self.stabilise_at.max(now + now.since(query.began));
    }

    /// Notes that the asked peer was busy: it is asked again up to five times, after a random wait in proportion to the
    /// round trip. Otherwise, far apart, all peers would be busy asking which peers are busy.
    pub(super) fn note_busy(&mut self, now: Moment, query: &Query, rng: &mut impl Rng) {
        if self.busy_tries >= BUSY_TRIES_MAX {
            return self.note_no_state();
        }
        self.busy_tries += 1;
        let unit = BUSY_WAIT.max(now.since(query.began));
        self.stabilise_at = now + unit.mul_f64(0.5 + rng.random::<f64>() * f64::from(self.busy_tries));
    }

    /// Notes that no list is to be had before the next period.
    pub(super) fn note_no_state(&mut self) {
        self.busy_tries = 0;
    }

    /// Whether the answer to a query still counts: the asked peer is alive, and is the first successor (STABILISE) or
    /// lies before it (FROM_PRED).
    pub(super) fn wants_answer(&self, known: Known<'_>, query: &Query) -> bool {
        let position = &query.whom.position;
        let still = match query.kind {
            QueryKind::Successor => self.successors.first().is_some_and(|s| s.position == *position),
            QueryKind::Candidate => self.lies_before_first(known.me, position),
        };
        still && !known.members.is_gone(&query.whom)
    }

    /// Adopts the answer to a query: `succ := whom :: L[..r-1]` (Zave 2017, STABILISE).
    pub(super) fn adopt(
        &mut self,
        known: Known<'_>,
        query: &Query,
        predecessor: Option<Entry>,
        list: Vec<Entry>,
    ) -> Adopted {
        self.take_first(known, &query.whom, list);
        let is_before = |p: &Entry| !query.is_of_candidate() && self.lies_before_first(known.me, &p.position);
        let mut candidate = predecessor.filter(is_before);
        let believed_dead = candidate.take_if(|p| known.members.is_gone(p));
        Adopted { candidate, believed_dead }
    }

    /// JOIN at the joiner: `j.succ := m.succ ; j.pred := m`, in one step.
    pub(super) fn join(&mut self, known: Known<'_>, host: Entry, successors: &[Entry]) {
        let Some((first, rest)) = successors.split_first() else { return };
        let whole = known.rules.join_in_one_step;
        self.successors = chain(known, first, if whole { rest.to_vec() } else { Vec::new() });
        self.predecessor = whole.then_some(host);
    }

    /// The small ring's list: the living others in order. Returns whether a query is over through that.
    pub(super) fn rebuild(&mut self, known: Known<'_>) -> bool {
        let was_asking = self.query.take().is_some();
        self.candidates.clear();
        let others = || known.members.clockwise_from(known.me);
        self.successors = others().take(known.successors_max).cloned().collect();
        self.predecessor = others().last().cloned();
        was_asking
    }

    /// Replaces an old life of a peer by its new life.
    pub(super) fn replace_life(&mut self, old: &Entry, new: &Entry) {
        for entry in self.successors.iter_mut().chain(&mut self.predecessor) {
            if entry.position == new.position && entry.incarnation <= old.incarnation {
                *entry = new.clone();
            }
        }
    }

    /// Handles the end of a peer: dead list entries are not dialled, and no query waits for it. The predecessor is
    /// replaced, never forgotten (Zave 2017, RECTIFY).
    pub(super) fn note_end(
        &mut self,
        now: Moment,
        interval: Duration,
        known: Known<'_>,
        entry: &Entry,
    ) -> Ended {
        if self.successors.iter().any(|listed| listed.position == entry.position) {
            // Other peers than its predecessor have a list to fill up, too.
            self.stabilise_at = self.stabilise_at.min(now + interval / 2);
        }
        self.candidates.remove(&entry.position);
        let mut ended = Ended {
            query_is_over: self.query.take_if(|query| known.members.is_gone(&query.whom)).is_some(),
            suspects: Vec::new(),
        };
        if self.drop_dead_heads(known) {
            self.stabilise_at = now;
            let died = known.members.at(&entry.position).is_some_and(|m| m.state == MemberState::Dead);
            if died && !known.small {
                ended.suspects.clone_from(&self.successors);
            }
        }
        if !known.rules.predecessor_kept {
            self.predecessor.take_if(|predecessor| known.members.is_gone(predecessor));
        }
        ended
    }

    /// The changes since the last report.
    pub(super) fn take_changes(&mut self) -> Option<Changes> {
        let (old_predecessor, old_successors) = &self.reported;
        if *old_predecessor == self.predecessor && *old_successors == self.successors {
            return None;
        }
        self.changed = true;
        let position = |entry: Option<&Entry>| entry.map(|e| e.position);
        let changed = |old, new: Option<Position>| new.filter(|new| old != Some(*new));
        let at = |list: &[Entry], rank: usize| position(list.get(rank));
        let changes = Changes {
            successors: [0, 1].map(|rank| changed(at(old_successors, rank), at(&self.successors, rank))),
            predecessor: changed(position(old_predecessor.as_ref()), position(self.predecessor.as_ref())),
            first_changed: at(old_successors, 0) != at(&self.successors, 0),
        };
        self.reported = (self.predecessor.clone(), self.successors.clone());
        Some(changes)
    }

    /// Forgets all but the neighbours, which an ended peer still names.
    pub(super) fn shed(&mut self) {
        (self.query, self.reported) = (None, (None, Vec::new()));
        self.candidates.clear();
    }

    /// Drops the query under way, and the record of busy peers.
    pub(super) fn stop_asking(&mut self) {
        (self.query, self.busy_tries) = (None, 0);
    }

    /// The memory that the neighbours take, in bytes, besides what all handles of one life share.
    pub(super) fn bytes(&self) -> usize {
        (self.successors.capacity() + self.reported.1.capacity()) * size_of::<Entry>()
            + self.candidates.len() * size_of::<(Position, Entry)>()
    }

    /// `succ := first :: list[..r-1]`.
    fn take_first(&mut self, known: Known<'_>, first: &Entry, list: Vec<Entry>) {
        match self.successors.first_mut() {
            Some(old) if old.position != first.position && !known.rules.list_in_one_step => {
                *old = first.clone()
            }
            _ => self.successors = chain(known, first, list),
        }
    }

    fn lies_before_first(&self, me: &Position, position: &Position) -> bool {
        self.successors.first().is_some_and(|first| between(me, position, &first.position))
    }

    /// `succ := succ[1..] ++ [pad]` while the first is dead. Returns whether it was.
    fn drop_dead_heads(&mut self, known: Known<'_>) -> bool {
        let dead = self.successors.iter().take_while(|s| known.members.is_gone(s)).count();
        if known.small || dead == 0 {
            return false;
        }
        self.successors.drain(..dead);
        true
    }
}

/// `first :: list`, cut to r entries and at the first entry that is not in order clockwise up to this peer: no self, no
/// duplicate, whatever the other side says. An entry is replaced by a later life that this peer knows to be alive and
/// the other side may not know yet.
fn chain(known: Known<'_>, first: &Entry, list: Vec<Entry>) -> Vec<Entry> {
    let mut chain = vec![first.clone()];
    for entry in list {
        let last = &chain[chain.len() - 1];
        if chain.len() >= known.successors_max || !between(&last.position, &entry.position, known.me) {
            break;
        }
        let later = known.members.at(&entry.position).filter(|member| {
            let again = member.entry.key == entry.key && member.entry.incarnation > entry.incarnation;
            again && member.state == MemberState::Alive
        });
        chain.push(later.map_or(entry, |member| member.entry.clone()));
    }
    chain
}

/// The number of times a busy peer is asked again before the next period.
const BUSY_TRIES_MAX: u8 = 5;
/// The shortest unit of the random wait after `Busy`.
const BUSY_WAIT: Duration = Duration::from_millis(20);
/// The most living peers that are remembered as possible first successors.
const CANDIDATES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::chord::sample::{entries, entry};
    use crate::wire::Member;
    use crate::wire::limits::MEMBERS_MAX;

    const ME: u8 = 100;
    const NOW: Moment = Moment(1_000_000);
    const INTERVAL: Duration = Duration::from_secs(1);

    /// A peer at 100 with r = 3, and the members that it knows.
    struct Bench {
        me: Position,
        members: Members,
        rules: Rules,
        small: bool,
        ring: Neighbourhood,
    }

    impl Bench {
        /// The peers at these numbers follow this one; the last one precedes it.
        fn new(successors: &[u8], predecessor: u8) -> Bench {
            let mut bench = Bench {
                me: Position::of_number(ME),
                members: Members::new(MEMBERS_MAX),
                rules: Rules::default(),
                small: false,
                ring: Neighbourhood::settled(NOW, Some(entry(predecessor)), entries(successors)),
            };
            successors
                .iter()
                .chain([&predecessor])
                .for_each(|number| bench.report(*number, MemberState::Alive));
            bench
        }

        fn report(&mut self, number: u8, state: MemberState) {
            self.members.merge(Member { entry: entry(number), state }, false);
        }

        /// The neighbourhood, and the facts that its rules need.
        fn parts(&mut self) -> (&mut Neighbourhood, Known<'_>) {
            let Bench { me, members, rules, small, ring } = self;
            (ring, Known { me, members, successors_max: 3, small: *small, rules })
        }

        fn end(&mut self, number: u8, state: MemberState) -> Ended {
            self.report(number, state);
            let (ring, known) = self.parts();
            ring.note_end(NOW, INTERVAL, known, &entry(number))
        }

        fn rectify(&mut self, number: u8, relayed: bool) -> Option<u8> {
            let (ring, known) = self.parts();
            ring.rectify(known, &entry(number), relayed);
            ring.predecessor().and_then(|predecessor| predecessor.position.number())
        }

        fn query(&mut self) -> Query {
            let (ring, known) = self.parts();
            let query = ring.stabilise(NOW, known).expect("there is a successor");
            ring.begin_query(query.clone());
            query
        }

        fn adopt(&mut self, query: &Query, predecessor: Option<u8>, list: &[u8]) -> Adopted {
            let (ring, known) = self.parts();
            ring.take_query();
            ring.adopt(known, query, predecessor.map(entry), entries(list))
        }

        fn list(&self) -> Vec<u8> {
            self.ring.successors().iter().filter_map(|entry| entry.position.number()).collect()
        }
    }

    /// RECTIFY replaces the predecessor only by a nearer one, or a dead one's by any (Zave 2017, RECTIFY).
    #[test]
    fn rectify_takes_a_nearer_predecessor_or_any_in_place_of_a_dead_one() {
        let mut bench = Bench::new(&[120, 140], 60);
        assert_eq!(bench.rectify(40, false), Some(60), "farther");
        assert_eq!(bench.rectify(80, false), Some(80), "nearer");
        bench.end(80, MemberState::Dead);
        assert_eq!(bench.rectify(40, false), Some(40), "the old one is dead");
    }

    #[test]
    fn rectify_believes_no_helper_about_an_unknown_peer() {
        let mut bench = Bench::new(&[120, 140], 60);
        assert_eq!(bench.rectify(80, true), Some(60));
        bench.report(80, MemberState::Alive);
        assert_eq!(bench.rectify(80, true), Some(80));
    }

    /// The predecessor is replaced, never forgotten (Zave 2017, RECTIFY).
    #[test]
    fn a_dead_predecessor_is_kept() {
        let mut bench = Bench::new(&[120, 140], 60);
        bench.end(60, MemberState::Dead);
        assert_eq!(bench.ring.predecessor(), Some(&entry(60)));
        bench.rules = Rules::original();
        bench.end(60, MemberState::Dead);
        assert_eq!(bench.ring.predecessor(), None, "Chord of 2001");
    }

    /// STABILISE asks the first successor and takes its list whole: `succ := s :: L[..r-1]` (Zave 2017, STABILISE).
    #[test]
    fn stabilise_adopts_the_successors_list() {
        let mut bench = Bench::new(&[120, 140], 60);
        let query = bench.query();
        assert_eq!(query.whom(), &entry(120));
        let adopted = bench.adopt(&query, Some(ME), &[130, 150, 170]);
        assert_eq!((bench.list(), adopted.candidate), (vec![120, 130, 150], None));
    }

    /// FROM_PRED: the successor's predecessor is asked before it is adopted (Zave 2017, STABILISE).
    #[test]
    fn a_peer_before_the_first_successor_is_asked_first() {
        let mut bench = Bench::new(&[120, 140], 60);
        let query = bench.query();
        let adopted = bench.adopt(&query, Some(110), &[140]);
        assert_eq!(adopted, Adopted { candidate: Some(entry(110)), believed_dead: None });
        let (ring, known) = bench.parts();
        let Approach::Query(query) = ring.approach(NOW, known, entry(110)) else { panic!("it is asked") };
        assert!(query.is_of_candidate() && ring.wants_answer(known, &query));
        assert_eq!(bench.list(), [120, 140], "its answer is awaited");
        bench.adopt(&query, None, &[120, 140]);
        assert_eq!(bench.list(), [110, 120, 140]);
    }

    #[test]
    fn a_predecessor_that_is_believed_dead_is_no_candidate() {
        let mut bench = Bench::new(&[120, 140], 60);
        bench.report(110, MemberState::Dead);
        let query = bench.query();
        let adopted = bench.adopt(&query, Some(110), &[140]);
        assert_eq!(adopted, Adopted { candidate: None, believed_dead: Some(entry(110)) });
    }

    /// While a peer awaits an answer its list is undefined (Zave 2017: no query is answered during an operation).
    #[test]
    fn the_list_is_undefined_while_a_query_is_under_way() {
        let mut bench = Bench::new(&[120], 60);
        bench.query();
        let (ring, known) = bench.parts();
        assert!(ring.is_undefined(known) && ring.stabilise(NOW, known).is_none());
        bench.small = true;
        let (ring, known) = bench.parts();
        assert!(!ring.is_undefined(known), "in a small ring a list is no one's belief");
    }

    #[test]
    fn a_list_ends_at_the_first_entry_out_of_order() {
        let mut bench = Bench::new(&[120], 60);
        let query = bench.query();
        for (said, taken) in [
            (&[140, 130][..], &[120, 140][..]),
            (&[120], &[120]),
            (&[ME], &[120]),
            (&[140, 110], &[120, 140]),
        ] {
            bench.adopt(&query, None, said);
            assert_eq!(bench.list(), taken, "{said:?}");
        }
    }

    #[test]
    fn a_later_life_that_is_known_takes_the_place_of_the_listed_one() {
        let mut bench = Bench::new(&[120], 60);
        let later = entry(140).with_incarnation(3);
        bench.members.merge(Member { entry: later.clone(), state: MemberState::Alive }, false);
        let query = bench.query();
        bench.adopt(&query, None, &[140]);
        assert_eq!(bench.ring.successors()[1], later);
    }

    /// A dead first successor gives its place to the next one; the rest of the list may have died with it.
    #[test]
    fn the_next_one_follows_a_dead_successor() {
        let mut bench = Bench::new(&[120, 140, 160], 60);
        bench.query();
        let ended = bench.end(120, MemberState::Dead);
        assert_eq!(ended, Ended { query_is_over: true, suspects: entries(&[140, 160]) });
        assert_eq!((bench.list(), bench.ring.next_timeout()), (vec![140, 160], NOW));
        let ended = bench.end(140, MemberState::Left);
        assert_eq!(ended.suspects, [], "a farewell is no reason to suspect others");
    }

    #[test]
    fn with_a_wholly_dead_list_the_nearest_living_member_follows() {
        let mut bench = Bench::new(&[120], 60);
        bench.end(120, MemberState::Dead);
        let (ring, known) = bench.parts();
        assert_eq!(ring.next(NOW, known), None);
        assert_eq!(bench.list(), [60]);
        bench.end(60, MemberState::Dead);
        let (ring, known) = bench.parts();
        assert_eq!(ring.next(NOW, known), Some(Next::JoinAgain));
    }

    #[test]
    fn candidates_are_bounded_and_asked_only_before_the_first_successor() {
        let mut bench = Bench::new(&[150], 60);
        for number in 101..=u8::MAX {
            let (ring, known) = bench.parts();
            ring.consider(known, &entry(number));
        }
        assert_eq!(bench.ring.candidates().len(), CANDIDATES_MAX);
        let (ring, known) = bench.parts();
        assert_eq!(ring.next(NOW, known), Some(Next::Approach(entry(101))));
        bench.ring.successors = entries(&[102]);
        let (ring, known) = bench.parts();
        assert_eq!(ring.next(NOW, known), None, "the others lie behind it now");
    }

    #[test]
    fn a_busy_peer_is_asked_again_five_times() {
        let mut bench = Bench::new(&[120], 60);
        let (query, rng) = (bench.query(), &mut ChaCha8Rng::seed_from_u64(1));
        bench.ring.stabilise_at(NOW + INTERVAL);
        for tries in 1..=BUSY_TRIES_MAX {
            bench.ring.note_busy(NOW, &query, rng);
            assert!(bench.ring.next_timeout() < NOW + INTERVAL && bench.ring.busy_tries == tries);
        }
        bench.ring.stabilise_at(NOW + INTERVAL);
        bench.ring.note_busy(NOW, &query, rng);
        assert_eq!((bench.ring.next_timeout(), bench.ring.busy_tries), (NOW + INTERVAL, 0));
    }

    #[test]
    fn where_nothing_changes_every_second_period_is_enough() {
        let mut bench = Bench::new(&[120, 140, 160], 60);
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let mut period = |bench: &mut Bench| {
            bench.ring.hurry(NOW);
            let (ring, known) = bench.parts();
            assert!(ring.begin_period(NOW, INTERVAL, known, false, rng));
            ring.next_timeout().since(NOW)
        };
        assert!(period(&mut bench) > INTERVAL);
        bench.ring.successors = entries(&[120, 140, 170]);
        assert!(bench.ring.take_changes().is_some());
        assert!(period(&mut bench) <= INTERVAL, "the list has changed");
        bench.end(140, MemberState::Dead);
        assert!(period(&mut bench) <= INTERVAL, "the list names a dead peer");
    }

    #[test]
    fn changes_are_reported_once() {
        let mut bench = Bench::new(&[120, 140], 60);
        assert_eq!(bench.ring.take_changes(), None);
        bench.rectify(80, false);
        bench.end(120, MemberState::Dead);
        let changes = Changes {
            successors: [Some(entry(140).position), None],
            predecessor: Some(entry(80).position),
            first_changed: true,
        };
        assert_eq!(bench.ring.take_changes(), Some(changes));
        assert_eq!(bench.ring.take_changes(), None);
    }

    /// In a small ring the list is the living others in order, after SWIM.
    #[test]
    fn a_small_ring_lists_the_living_in_order() {
        let mut bench = Bench::new(&[120], 60);
        (20..30).for_each(|number| bench.report(number, MemberState::Alive));
        bench.query();
        bench.report(120, MemberState::Dead);
        bench.small = true;
        let (ring, known) = bench.parts();
        assert!(ring.rebuild(known), "the query is over");
        assert_eq!((bench.list(), bench.ring.predecessor()), (vec![20, 21, 22], Some(&entry(60))));
    }

    /// JOIN at the joiner, in one step (Zave 2017, JOIN).
    #[test]
    fn a_joiner_takes_the_hosts_list() {
        let mut bench = Bench::new(&[], 60);
        let (ring, known) = bench.parts();
        ring.join(known, entry(90), &entries(&[120, 140, 160, 180]));
        assert_eq!((bench.list(), bench.ring.predecessor()), (vec![120, 140, 160], Some(&entry(90))));
    }
}
