//! Failure detection: pings to the neighbours, then a probe, direct and through helpers.
//!
//! After the second missed ping a probe goes out on a reliable stream, directly and through two helpers, after SWIM
//! (Das et al., DSN 2002). A peer is dead if it missed three pings, left the direct probe unanswered, and was reached
//! by no helper. Slow is not dead: any sign of life begins the count anew.
//!
//! A watch is kept for each neighbour, for a peer under suspicion (it left a request unanswered), and for a stranger
//! (another peer reported it; it becomes a member once this peer has reached it).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::Rng;
use rand::seq::SliceRandom as _;

use crate::id::Position;
use crate::time::Moment;
use crate::wire::Entry;

/// The watched peers, and the state of each watch. At most [`WATCHES_MAX`] are not neighbours.
#[derive(Debug, Clone)]
pub(super) struct Detector {
    watches: BTreeMap<Position, Watch>,
    /// The helpers through which peers are reached that cannot be reached directly.
    via: BTreeMap<Position, Entry>,
    ping_at: Moment,
    next_sequence: u64,
}

/// A ping to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ping {
    pub to: Entry,
    pub sequence: u64,
}

/// An effect that the detector wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Probe this peer directly.
    Probe(Entry),
    /// Probe this peer through a helper.
    ProbeThrough { target: Entry, helper: Entry },
    /// This member is dead.
    Dead(Entry),
}

/// The meaning of a sign of life from a watched peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contact {
    /// Nothing that others need to know.
    Noted,
    /// The message names a later life than the watched one: its own answer tells whether it is in the ring again.
    LaterLife,
    /// This stranger was reached: it is a member.
    StrangerReached(Entry),
}

/// The outcome of one way of a probe that did not reach its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreached {
    /// The direct way.
    Direct,
    /// The way through this helper, which said that the target does not answer it.
    Through(Position),
    /// The way through this helper, which was silent itself and so proves nothing.
    HelperSilent(Position),
}

#[derive(Debug, Clone)]
struct Watch {
    entry: Entry,
    misses: u32,
    /// The sequence number of the last ping, and the moment until which its answer is due.
    outstanding: Option<(u64, Moment)>,
    probe: Probe,
    /// Whether this is a suspicion: the peer is not a neighbour, and is watched only until it answers or is found dead.
    suspect: bool,
    /// Whether the peer is unknown so far: it becomes a member once it was reached.
    stranger: bool,
    /// The number of queries it has left unanswered although it is alive.
    slowness: u32,
}

impl Watch {
    fn of(entry: Entry) -> Watch {
        Watch {
            entry,
            misses: 0,
            outstanding: None,
            probe: Probe::None,
            suspect: false,
            stranger: false,
            slowness: 0,
        }
    }

    /// Whether the peer's present silence may lead to its death.
    fn is_awaited(&self) -> bool {
        !self.stranger && (self.outstanding.is_some() || self.misses > 0)
    }

    /// Whether the peer is pinged: a neighbour always, any other until it has missed enough pings for a death.
    fn is_pinged(&self) -> bool {
        !self.suspect || self.misses < MISSES_DEAD
    }

    /// Begins the count anew.
    fn clear(&mut self) {
        (self.misses, self.probe, self.outstanding) = (0, Probe::None, None);
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Probe {
    None,
    /// The ways that are still unanswered: the direct one, and the helpers.
    Running {
        direct: bool,
        helpers: BTreeSet<Position>,
        tried: BTreeSet<Position>,
    },
    Failed,
}

impl Detector {
    pub(super) fn new(now: Moment) -> Detector {
        Detector { watches: BTreeMap::new(), via: BTreeMap::new(), ping_at: now, next_sequence: 0 }
    }

    /// Watches these neighbours, and no other peer for long. A new neighbour is pinged within a quarter of an interval.
    pub(super) fn watch(&mut self, now: Moment, interval: Duration, neighbours: Vec<Entry>) {
        let is_neighbour = |w: &Watch| {
            neighbours.iter().any(|n| n.position == w.entry.position && n.incarnation == w.entry.incarnation)
        };
        let is_beside = |w: &Watch| neighbours.iter().any(|n| n.position == w.entry.position);
        self.watches.retain(|_, w| is_neighbour(w) || (w.suspect && !is_beside(w)));
        let mut fresh = false;
        for entry in neighbours {
            let watch = self.watches.entry(entry.position).or_insert_with(|| {
                fresh = true;
                Watch::of(entry)
            });
            watch.suspect = false;
        }
        if fresh {
            self.ping_at = self.ping_at.min(now + interval / 4);
        }
    }

    /// Ends the watch on this life of a peer.
    pub(super) fn unwatch(&mut self, entry: &Entry) {
        let of_this_life = |w: &Watch| w.entry.incarnation <= entry.incarnation;
        if self.watches.get(&entry.position).is_some_and(of_this_life) {
            self.watches.remove(&entry.position);
        }
        self.via.remove(&entry.position);
    }

    /// Begins anew, as if no peer had been asked; neighbours stay watched.
    pub(super) fn begin_anew(&mut self, now: Moment) {
        self.watches.retain(|_, watch| !watch.suspect);
        self.watches.values_mut().for_each(Watch::clear);
        self.ping_at = now;
    }

    /// The moment at which an answer to a ping is overdue, or the next pings are due.
    pub(super) fn next_timeout(&self) -> Option<Moment> {
        let due = self.watches.values().filter_map(|w| w.outstanding.map(|(_, at)| at));
        due.chain([self.ping_at]).min()
    }

    /// Counts the pings whose answers are overdue. Returns the peers that missed one; each is to be judged by
    /// [`Detector::evaluate_misses`].
    pub(super) fn note_misses(&mut self, now: Moment) -> Vec<Position> {
        let late = self.watches.iter_mut().filter(|(_, w)| w.outstanding.is_some_and(|(_, at)| at <= now));
        late.map(|(position, watch)| {
            watch.outstanding = None;
            watch.misses += 1;
            *position
        })
        .collect()
    }

    /// Judges the misses of a peer so far: begins a probe after the second, and declares the peer dead after the third
    /// if the probe has failed. Helpers are drawn from `nearest`, the members that follow this peer.
    pub(super) fn evaluate_misses<'a>(
        &mut self,
        position: Position,
        nearest: impl Iterator<Item = &'a Entry>,
        rng: &mut impl Rng,
    ) -> Vec<Step> {
        let Some(watch) = self.watches.get(&position) else { return Vec::new() };
        match watch.probe {
            Probe::None if watch.misses >= MISSES_PROBE => self.start_probe(position, nearest, rng),
            Probe::Failed if watch.misses >= MISSES_DEAD => {
                let Watch { entry, stranger, .. } = watch;
                let dead = (!stranger).then(|| Step::Dead(entry.clone()));
                self.watches.remove(&position);
                dead.into_iter().collect()
            }
            Probe::None | Probe::Running { .. } | Probe::Failed => Vec::new(),
        }
    }

    /// Whether the next round of pings is due.
    pub(super) fn is_ping_due(&self, now: Moment) -> bool {
        self.ping_at <= now
    }

    /// The pings of one round; their answers are due within half an interval.
    pub(super) fn ping_all(&mut self, now: Moment, interval: Duration) -> Vec<Ping> {
        let due = now + interval / 2;
        let pinged = self.watches.values_mut().filter(|watch| watch.is_pinged());
        pinged
            .map(|watch| {
                let sequence = self.next_sequence;
                self.next_sequence += 1;
                watch.outstanding = Some((sequence, due));
                Ping { to: watch.entry.clone(), sequence }
            })
            .collect()
    }

    /// Sets the time of the next round of pings.
    pub(super) fn ping_at(&mut self, at: Moment) {
        self.ping_at = at;
    }

    /// The sequence number of one more ping, to a peer that is not watched.
    pub(super) fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    /// Whether a ping with this number was ever sent.
    pub(super) fn has_sent(&self, sequence: u64) -> bool {
        sequence < self.next_sequence
    }

    /// The peers whose silence counts from their ping on; any packet of theirs is a sign of life.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &Entry> {
        self.watches.values().filter(|watch| watch.is_awaited()).map(|watch| &watch.entry)
    }

    /// Notes a packet, if only an acknowledgement, from this very life of a peer.
    pub(super) fn note_packet(&mut self, from: &Entry) {
        let Some(watch) = self.watches.get_mut(&from.position) else { return };
        let same_life = (watch.entry.key, watch.entry.incarnation) == (from.key, from.incarnation);
        // A stranger becomes a member by its own words only.
        if !same_life || watch.stranger {
            return;
        }
        self.clear(&from.position);
    }

    /// Notes a peer's own message: a sign of life, if it comes from the watched life.
    pub(super) fn note_contact(&mut self, from: &Entry) -> Contact {
        let Some(watch) = self.watches.get(&from.position) else {
            self.via.remove(&from.position);
            return Contact::Noted;
        };
        if from.key != watch.entry.key {
            // Another peer wants this one's place: its message is no sign of life of the watched peer.
            Contact::Noted
        } else if from.incarnation > watch.entry.incarnation {
            Contact::LaterLife
        } else {
            self.via.remove(&from.position);
            self.clear(&from.position)
        }
    }

    /// Whether a message that a helper forwarded names a later life of a watched peer: no sign of life, but the peer's
    /// own answer may be one.
    pub(super) fn is_later_life(&self, from: &Entry) -> bool {
        let of_earlier =
            |watch: &Watch| watch.entry.key == from.key && watch.entry.incarnation < from.incarnation;
        self.watches.get(&from.position).is_some_and(of_earlier)
    }

    /// Begins a suspicion of a peer that is not a neighbour, with this number of misses at the start. The peer is
    /// watched until it answers or is found dead. Returns its first ping; `None` if it is watched already, or too many
    /// peers are.
    pub(super) fn start_suspicion(
        &mut self,
        now: Moment,
        interval: Duration,
        entry: &Entry,
        misses: u32,
    ) -> Option<Ping> {
        if !self.has_place_for(entry) {
            return None;
        }
        let sequence = self.take_sequence();
        let outstanding = Some((sequence, now + interval / 2));
        let watch = Watch { misses, outstanding, suspect: true, ..Watch::of(entry.clone()) };
        self.watches.insert(entry.position, watch);
        Some(Ping { to: entry.clone(), sequence })
    }

    /// Probes a peer that another one told of: it becomes a member once it was reached.
    pub(super) fn probe_stranger<'a>(
        &mut self,
        entry: &Entry,
        nearest: impl Iterator<Item = &'a Entry>,
        rng: &mut impl Rng,
    ) -> Vec<Step> {
        if !self.has_place_for(entry) {
            return Vec::new();
        }
        let watch = Watch { misses: MISSES_DEAD, suspect: true, stranger: true, ..Watch::of(entry.clone()) };
        self.watches.insert(entry.position, watch);
        self.start_probe(entry.position, nearest, rng)
    }

    /// Notes that a probe reached its target, directly or through a helper. Returns `None` if the target is not watched
    /// any more.
    pub(super) fn note_reached(&mut self, target: &Position) -> Option<Contact> {
        self.watches.contains_key(target).then(|| self.clear(target))
    }

    /// Notes that one way of a probe did not reach its target. After the last one the probe has failed.
    pub(super) fn note_unreached<'a>(
        &mut self,
        target: Position,
        way: Unreached,
        nearest: impl Iterator<Item = &'a Entry> + Clone,
        rng: &mut impl Rng,
    ) -> Vec<Step> {
        let Some(Watch { probe: Probe::Running { direct, helpers, .. }, .. }) = self.watches.get_mut(&target)
        else {
            return Vec::new();
        };
        let mut steps = Vec::new();
        match way {
            Unreached::Direct => *direct = false,
            Unreached::Through(helper) => {
                helpers.remove(&helper);
            }
            Unreached::HelperSilent(helper) => {
                helpers.remove(&helper);
                // Another helper takes its place.
                steps = self.choose_helpers(target, nearest.clone(), 1, rng);
            }
        }
        if let Some(watch) = self.watches.get_mut(&target)
            && matches!(&watch.probe, Probe::Running { direct: false, helpers, .. } if helpers.is_empty())
        {
            watch.probe = Probe::Failed;
        }
        steps.extend(self.evaluate_misses(target, nearest, rng));
        steps
    }

    /// Remembers the helper through which a peer is reached; for a peer that is not watched, only for a while.
    pub(super) fn reach_through(&mut self, target: Position, helper: Entry) {
        if self.via.len() >= WATCHES_MAX {
            self.via.retain(|position, _| self.watches.contains_key(position));
        }
        self.via.insert(target, helper);
    }

    /// The helper through which a peer is reached, if it is not reached directly.
    pub(super) fn via(&self, position: &Position) -> Option<&Entry> {
        self.via.get(position)
    }

    /// Gives a neighbour that left a query unanswered more time for the next one: if it lives, it is slow.
    pub(super) fn wait_longer_for(&mut self, position: &Position) {
        if let Some(watch) = self.watches.get_mut(position) {
            watch.slowness = (watch.slowness + 1).min(SLOWNESS_MAX);
        }
    }

    /// The factor by which a peer has longer for its answer than others: 1 to 4.
    pub(super) fn patience(&self, position: &Position) -> u32 {
        self.watches.get(position).map_or(1, |watch| 1 + watch.slowness)
    }

    fn has_place_for(&self, entry: &Entry) -> bool {
        !self.watches.contains_key(&entry.position) && self.watches.len() < WATCHES_MAX
    }

    /// Begins the count of a watched peer anew, and ends a suspicion.
    fn clear(&mut self, position: &Position) -> Contact {
        let Some(watch) = self.watches.get_mut(position) else { return Contact::Noted };
        watch.clear();
        let reached =
            if watch.stranger { Contact::StrangerReached(watch.entry.clone()) } else { Contact::Noted };
        if watch.suspect {
            self.watches.remove(position);
        }
        reached
    }

    fn start_probe<'a>(
        &mut self,
        position: Position,
        nearest: impl Iterator<Item = &'a Entry>,
        rng: &mut impl Rng,
    ) -> Vec<Step> {
        let Some(watch) = self.watches.get_mut(&position) else { return Vec::new() };
        watch.probe = Probe::Running { direct: true, helpers: BTreeSet::new(), tried: BTreeSet::new() };
        let mut steps = vec![Step::Probe(watch.entry.clone())];
        steps.extend(self.choose_helpers(position, nearest, HELPERS, rng));
        steps
    }

    /// Chooses this number of further helpers for a probe, at random among the nearest members.
    fn choose_helpers<'a>(
        &mut self,
        position: Position,
        nearest: impl Iterator<Item = &'a Entry>,
        count: usize,
        rng: &mut impl Rng,
    ) -> Vec<Step> {
        let Some(watch) = self.watches.get(&position) else { return Vec::new() };
        let Probe::Running { tried, .. } = &watch.probe else { return Vec::new() };
        let target = watch.entry.clone();
        let doubtful = |p: &Position| self.watches.get(p).is_some_and(|w| w.misses > 0);
        let mut helpers: Vec<Entry> = nearest
            .take(HELPERS_AMONG)
            .filter(|e| e.position != position && !tried.contains(&e.position))
            .cloned()
            .collect();
        // A peer that missed a ping itself is a helper only if there is no other.
        if !helpers.iter().all(|e| doubtful(&e.position)) {
            helpers.retain(|e| !doubtful(&e.position));
        }
        if tried.len() >= HELPERS_MAX {
            helpers.clear();
        }
        helpers.shuffle(rng);
        helpers.truncate(count);
        if let Some(Watch { probe: Probe::Running { helpers: open, tried, .. }, .. }) =
            self.watches.get_mut(&position)
        {
            open.extend(helpers.iter().map(|helper| helper.position));
            tried.extend(helpers.iter().map(|helper| helper.position));
        }
        helpers.into_iter().map(|helper| Step::ProbeThrough { target: target.clone(), helper }).collect()
    }
}

/// The misses with which a suspicion begins, where a peer left a request unanswered.
pub(super) const MISSES_OF_SILENCE: u32 = 1;
/// The misses with which the rest of a list is suspected after a neighbour was found dead, since others may have died
/// with it: each that leaves one ping unanswered is probed. Otherwise a row of deaths would take a death's time for
/// every two of them.
pub(super) const MISSES_BESIDE_DEATH: u32 = MISSES_DEAD - 1;
/// The most peers that are watched at once, suspects included.
pub(super) const WATCHES_MAX: usize = 64;
/// The number of missed pings after which a probe goes out.
const MISSES_PROBE: u32 = 2;
/// The number of missed pings that a death takes.
const MISSES_DEAD: u32 = 3;
/// The most by which the waiting factor for a slow peer exceeds one.
const SLOWNESS_MAX: u32 = 3;
/// The number of helpers that a probe has at a time.
const HELPERS: usize = 2;
/// The number of helpers that a probe has in all.
const HELPERS_MAX: usize = 5;
/// The number of next members that helpers are drawn from.
const HELPERS_AMONG: usize = 64;

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::chord::sample::{entries, entry};

    const INTERVAL: Duration = Duration::from_secs(1);

    fn at(tenths: u64) -> Moment {
        Moment(tenths * 100_000)
    }

    /// A detector that watches peer 1, with peers 2 to 9 as possible helpers.
    struct Bench {
        detector: Detector,
        helpers: Vec<Entry>,
        rng: ChaCha8Rng,
    }

    impl Bench {
        fn new() -> Bench {
            let mut detector = Detector::new(at(0));
            detector.watch(at(0), INTERVAL, vec![entry(1)]);
            Bench { detector, helpers: entries(&[2, 3, 4, 5, 6, 7, 8, 9]), rng: ChaCha8Rng::seed_from_u64(1) }
        }

        /// Peer 1 leaves one more ping unanswered, from this tenth of a second on.
        fn miss(&mut self, tenths: u64) -> Vec<Step> {
            self.detector.ping_all(at(tenths), INTERVAL);
            assert_eq!(self.detector.note_misses(at(tenths + 4)), []);
            assert_eq!(self.detector.note_misses(at(tenths + 5)), [entry(1).position]);
            self.detector.evaluate_misses(entry(1).position, self.helpers.iter(), &mut self.rng)
        }

        fn unreached(&mut self, way: Unreached) -> Vec<Step> {
            self.detector.note_unreached(entry(1).position, way, self.helpers.iter(), &mut self.rng)
        }
    }

    fn helpers_of(steps: &[Step]) -> Vec<Position> {
        let helper = |step: &Step| match step {
            Step::ProbeThrough { helper, .. } => Some(helper.position),
            _ => None,
        };
        steps.iter().filter_map(helper).collect()
    }

    /// Rule: a peer is dead if it missed three pings and neither the direct probe nor a helper reached it (SWIM).
    #[test]
    fn a_death_takes_three_misses_and_a_failed_probe() {
        let mut bench = Bench::new();
        assert_eq!(bench.miss(0), []);
        let probe = bench.miss(10);
        assert_eq!(probe[0], Step::Probe(entry(1)));
        let helpers = helpers_of(&probe);
        assert_eq!(helpers.len(), HELPERS);
        assert_eq!(bench.unreached(Unreached::Direct), []);
        for helper in helpers {
            assert_eq!(bench.unreached(Unreached::Through(helper)), []);
        }
        assert_eq!(bench.miss(20), [Step::Dead(entry(1))]);
        assert_eq!(bench.detector.awaited().count(), 0);
    }

    /// Rule: slow is not dead.
    #[test]
    fn any_sign_of_life_begins_the_count_anew() {
        let mut bench = Bench::new();
        bench.miss(0);
        bench.miss(10);
        bench.detector.note_packet(&entry(1));
        assert_eq!(bench.miss(20), []);
        assert_eq!(bench.detector.note_contact(&entry(1)), Contact::Noted);
        assert_eq!(bench.miss(30), []);
    }

    /// Rule: one helper that reaches the peer is enough, and the next query goes through it.
    #[test]
    fn a_peer_that_a_helper_reaches_is_alive() {
        let mut bench = Bench::new();
        bench.miss(0);
        bench.miss(10);
        bench.unreached(Unreached::Direct);
        assert_eq!(bench.detector.note_reached(&entry(1).position), Some(Contact::Noted));
        bench.detector.reach_through(entry(1).position, entry(2));
        assert_eq!(bench.detector.via(&entry(1).position), Some(&entry(2)));
        assert_eq!(bench.miss(20), []);
        bench.detector.note_contact(&entry(1));
        assert_eq!(bench.detector.via(&entry(1).position), None, "its own words came directly");
    }

    /// Rule: a helper that is silent itself proves nothing; at most five are tried.
    #[test]
    fn a_silent_helper_is_replaced_by_another() {
        let mut bench = Bench::new();
        bench.miss(0);
        let mut open = helpers_of(&bench.miss(10));
        bench.unreached(Unreached::Direct);
        let mut tried: BTreeSet<Position> = open.iter().copied().collect();
        while let Some(silent) = open.pop() {
            let next = helpers_of(&bench.unreached(Unreached::HelperSilent(silent)));
            assert!(next.iter().all(|helper| tried.insert(*helper)), "nobody is asked twice");
            open.extend(next);
        }
        assert_eq!(tried.len(), HELPERS_MAX);
        assert_eq!(bench.miss(20), [Step::Dead(entry(1))]);
    }

    #[test]
    fn a_later_life_is_no_sign_of_the_watched_one() {
        let mut bench = Bench::new();
        let later = entry(1).with_incarnation(2);
        assert_eq!(bench.detector.note_contact(&later), Contact::LaterLife);
        assert!(bench.detector.is_later_life(&later) && !bench.detector.is_later_life(&entry(1)));
    }

    /// Rule: a stranger becomes a member once it answers itself, and is forgotten if it does not answer.
    #[test]
    fn a_stranger_is_a_member_once_it_was_reached() {
        let mut bench = Bench::new();
        let steps = bench.detector.probe_stranger(&entry(20), bench.helpers.iter(), &mut bench.rng);
        assert_eq!(steps[0], Step::Probe(entry(20)));
        bench.detector.note_packet(&entry(20));
        assert_eq!(bench.detector.note_contact(&entry(20)), Contact::StrangerReached(entry(20)));
        assert_eq!(bench.detector.note_reached(&entry(20).position), None, "it is watched no more");
    }

    #[test]
    fn suspicions_are_bounded_and_neighbours_are_watched_all_the_same() {
        let mut bench = Bench::new();
        for number in 0..=u8::MAX {
            bench.detector.start_suspicion(at(0), INTERVAL, &entry(number), MISSES_OF_SILENCE);
        }
        assert_eq!(bench.detector.watches.len(), WATCHES_MAX);
        bench.detector.watch(at(0), INTERVAL, vec![entry(200)]);
        assert!(bench.detector.watches.contains_key(&entry(200).position));
        assert!(!bench.detector.watches.contains_key(&entry(1).position), "it is no neighbour any more");
    }

    #[test]
    fn a_slow_neighbour_has_up_to_four_times_as_long() {
        let mut bench = Bench::new();
        let of_one = |bench: &Bench| bench.detector.patience(&entry(1).position);
        assert_eq!(of_one(&bench), 1);
        (0..9).for_each(|_| bench.detector.wait_longer_for(&entry(1).position));
        assert_eq!((of_one(&bench), bench.detector.patience(&entry(2).position)), (4, 1));
    }
}
