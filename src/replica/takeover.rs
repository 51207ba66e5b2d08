//! The take-over of a peer's range: the peer gets the files of its ranges, once in each incarnation.
//!
//! The R peers after a joiner and the R before it keep what the joiner should keep. It asks each of them for it
//! (`Sync`), until that peer has given all or gives nothing more. As long as one of them may have more, the joiner is
//! *syncing*: it takes and gives files on request, but its "no" is no vote. A peer that was believed dead and
//! contradicts it does the same in its new life: meanwhile others have stood in its place. If it believed those others
//! dead, too, they become its neighbours only after that, and are asked then.
//!
//! A neighbour that did not answer, or gave nothing for a while, is no longer waited for, and *owes*: it is asked again
//! later, with backoff. Should it go away before it has given all, the peer's "no" is no vote. As long as all
//! neighbours owe, the take-over is not over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::backoff::Backoff;
use crate::chord::View;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, MemberState, StorageReply};

/// The take-over of a peer's range.
#[derive(Debug, Clone, Default)]
pub struct TakeOver {
    /// The incarnation in which the take-over is done, or was begun; `None` before the first.
    life: Option<u64>,
    begun: Moment,
    /// The moment at which the first requests of the last life were due.
    due: Option<Moment>,
    asked: BTreeSet<Position>,
    /// The neighbours that may have more, and the moment when each last gave something.
    sources: BTreeMap<Position, Moment>,
    /// Whether one of them has given all, in this life.
    gave_all: bool,
    /// The neighbours that were asked and have not given all.
    owing: BTreeMap<Position, Debt>,
    objects: u64,
    bytes: u64,
}

/// The debt of a neighbour that has not given all.
#[derive(Debug, Clone, Copy)]
struct Debt {
    /// The incarnation of the neighbour.
    life: u64,
    /// The pauses before it is asked again, each time that it was given up.
    later: Backoff,
}

/// The neighbours to ask now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Whether a new life has begun: requests from before do not count any more.
    pub anew: bool,
    /// The neighbours to ask, each after this time, and again as [`TakeOver::hear`] says.
    pub ask: Vec<(Entry, Duration)>,
}

impl TakeOver {
    /// The take-over of a founder: in its first life there is nothing to take over.
    pub fn of_founder(me: &Entry) -> TakeOver {
        TakeOver { life: Some(me.incarnation), ..TakeOver::default() }
    }

    /// Looks at the ring after each change. Begins anew once this peer is a member in another life than before, and
    /// lists the peers that become its neighbours shortly after. Returns `None` if there is no peer to ask and nothing
    /// has begun.
    ///
    /// Lives that follow each other quickly, as an attacker may cause them, ask once in a few seconds.
    pub fn look(&mut self, now: Moment, view: &View) -> Option<Sources> {
        if !view.is_member() {
            return None;
        }
        let anew = self.life != Some(view.me.incarnation);
        if anew {
            let due = match self.due {
                None => now,
                Some(due) if due > now => due, // still to come, and not put off
                Some(due) => now.max(due + LIVES_APART),
            };
            let life = Some(view.me.incarnation);
            let owing = std::mem::take(&mut self.owing);
            *self = TakeOver { life, begun: now, due: Some(due), owing, ..TakeOver::default() };
        }
        let mut ask = self.ask_around(now, view);
        for entry in view.alive() {
            // The neighbour broke off, and is back with its files.
            if self.owing.get(&entry.position).is_some_and(|debt| debt.life != entry.incarnation) {
                self.owing.insert(entry.position, Debt { life: entry.incarnation, later: LATER });
                self.sources.insert(entry.position, now);
                ask.push((entry.clone(), Duration::ZERO));
            }
        }
        (anew || !ask.is_empty()).then_some(Sources { anew, ask })
    }

    /// The neighbours that were not asked in this life yet.
    fn ask_around(&mut self, now: Moment, view: &View) -> Vec<(Entry, Duration)> {
        let mut ask = Vec::new();
        let Some(due) = self.due.filter(|_| now.since(self.begun) < YOUNG) else { return ask };
        let copies = view.settings.unwrap_or_default().replicas.into();
        let near: Vec<&Entry> = view.alive().collect();
        for entry in near.iter().take(copies).chain(near.iter().rev().take(copies)) {
            if self.asked.insert(entry.position) {
                self.sources.insert(entry.position, now.max(due));
                self.owing.insert(entry.position, Debt { life: entry.incarnation, later: LATER });
                ask.push(((*entry).clone(), due.since(now)));
            }
        }
        ask
    }

    /// Takes the answer of one neighbour; `None` if it did not answer. Returns the time after which it is asked again,
    /// if it is.
    pub fn hear(&mut self, now: Moment, from: &Position, answer: Option<&StorageReply>) -> Option<Duration> {
        if let Some(StorageReply::Synced { objects, bytes, complete, .. }) = answer {
            if let Some(progress) = self.sources.get_mut(from) {
                self.objects = self.objects.saturating_add(*objects);
                self.bytes = self.bytes.saturating_add(*bytes);
                if *objects > 0 {
                    *progress = now;
                }
                let in_time = (now + PAUSE).since(*progress) < PROGRESS_WITHIN;
                if !complete && in_time && now.since(self.begun) < GIVEN_WITHIN {
                    return Some(PAUSE);
                }
            }
            if *complete {
                self.gave_all = true;
                self.owing.remove(from);
            }
        }
        self.sources.remove(from);
        self.owing.get_mut(from).map(|debt| debt.later.next())
    }

    /// Ends the take-over when no asked peer may still answer. Returns the number of objects that came, their bytes,
    /// and the moment of the beginning; counts anew.
    pub fn end(&mut self) -> (u64, u64, Moment) {
        self.sources.clear();
        (std::mem::take(&mut self.objects), std::mem::take(&mut self.bytes), self.begun)
    }

    /// Whether a member that is away now broke off before it had given all. A peer that left or was forgotten owes
    /// nothing.
    fn is_owed(&self, view: &View) -> bool {
        let is_away =
            |peer: &Position| view.members.at(peer).is_some_and(|member| member.state == MemberState::Dead);
        self.owing.keys().any(is_away)
    }

    /// Whether the take-over of the present life is over: no neighbour is waited for, and one has given all, if there
    /// is any.
    pub fn is_over(&self, view: &View) -> bool {
        let is_member = |peer: &Position| view.members.at(peer).is_some_and(|m| m.state != MemberState::Left);
        let all_owe = !self.gave_all && self.owing.keys().any(is_member);
        self.life == Some(view.me.incarnation) && self.sources.is_empty() && !all_owe
    }
}

/// Whether a peer's "no" is no vote: it is taking over, or is not a member; or a neighbour went away before it had
/// given all, and may be the only one that has some of it.
pub fn has_no_vote(view: &View, takeover: &TakeOver) -> bool {
    !view.is_member() || !takeover.is_over(view) || takeover.is_owed(view)
}

/// The pause before a peer that has not given all is asked again.
const PAUSE: Duration = Duration::from_millis(150);
/// The pause before a peer that was given up is asked again: 15 s, and after each time twice as long, up to 16 minutes.
const LATER: Backoff = Backoff::doubling(Duration::from_secs(15), Duration::from_secs(960));
/// The time for which a peer asks a neighbour that has not given all and gives nothing.
const PROGRESS_WITHIN: Duration = Duration::from_secs(15);
/// The time for which it asks a neighbour that says each time that it gave something.
const GIVEN_WITHIN: Duration = Duration::from_secs(3_600);
/// The time after the beginning of a life in which new neighbours are asked, too: the ring may have been split.
const YOUNG: Duration = Duration::from_secs(15);
/// The time between the first requests of one life and those of the next.
const LIVES_APART: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{entry, numbers_of, peer, view, view_of, view_with};
    use super::*;
    use crate::chord::PhaseKind;
    use crate::config::RingSettings;
    use crate::wire::Member;

    fn synced(objects: u64, complete: bool) -> StorageReply {
        StorageReply::Synced { objects, bytes: 10 * objects, records: 0, complete }
    }

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000)
    }

    fn later_life(view: View, incarnation: u64) -> View {
        View { me: view.me.with_incarnation(incarnation), ..view }
    }

    fn with_copies(view: View, replicas: u8) -> View {
        View { settings: Some(RingSettings { replicas, ..RingSettings::default() }), ..view }
    }

    fn begun(view: &View) -> (TakeOver, Vec<u8>) {
        let mut takeover = TakeOver::default();
        let asked = asked(takeover.look(at(0), view));
        (takeover, asked)
    }

    fn asked(sources: Option<Sources>) -> Vec<u8> {
        let ask = sources.unwrap().ask;
        numbers_of(ask.iter().map(|(entry, _)| entry))
    }

    #[test]
    fn the_neighbours_on_both_sides_are_asked_each_once() {
        let asked = |copies| begun(&with_copies(view(30), copies)).1;
        assert_eq!(asked(1), [40, 20]);
        assert_eq!(asked(2), [40, 50, 20, 10]);
        assert_eq!(asked(3), [40, 50, 10, 20]);
        let alone = view_of(30, &[]);
        assert!(begun(&alone).0.is_over(&alone));
    }

    #[test]
    fn it_is_over_when_all_have_given_all_or_are_silent() {
        let view = with_copies(view(30), 1);
        let (mut takeover, _) = begun(&view);
        assert_eq!(takeover.hear(at(10), &peer(20), Some(&synced(3, true))), None);
        assert!(!takeover.is_over(&view));
        assert_eq!(takeover.hear(at(10), &peer(40), Some(&synced(1, false))), Some(PAUSE));
        assert_eq!(takeover.hear(at(200), &peer(40), None), Some(LATER.peek()));
        assert!(takeover.is_over(&view));
        assert_eq!(takeover.end(), (4, 40, at(0)));
        assert_eq!(takeover.look(at(400), &view), None, "once in each life");
    }

    #[test]
    fn each_life_takes_over_anew() {
        let first = with_copies(view(30), 1);
        let mut takeover = TakeOver::of_founder(&first.me);
        assert!(takeover.is_over(&first) && takeover.look(at(0), &first).is_none());
        let second = later_life(first, 2);
        assert!(has_no_vote(&second, &takeover), "before anybody was asked");
        let outside = View { phase: PhaseKind::Entering, ..second.clone() };
        assert_eq!(takeover.look(at(5), &outside), None);
        assert_eq!(asked(takeover.look(at(10), &second)), [40, 20]);
        assert_eq!(takeover.hear(at(15), &peer(20), Some(&synced(3, true))), None);
        let third = later_life(second, 3);
        assert!(takeover.look(at(20), &third).unwrap().anew);
        assert_eq!(takeover.hear(at(40), &peer(40), None), Some(LATER.peek()));
        assert!(has_no_vote(&third, &takeover), "20 gave to an earlier life");
        assert_eq!(takeover.hear(at(40), &peer(20), Some(&synced(3, true))), None);
        assert!(!has_no_vote(&third, &takeover));
        assert!(has_no_vote(&View { phase: PhaseKind::Checking, ..third }, &takeover));
    }

    #[test]
    fn a_neighbour_that_broke_off_and_is_away_leaves_no_vote_until_it_is_back_or_forgotten() {
        let one = |others: &[u8], away: &[u8]| with_copies(view_with(30, others, away), 1);
        let (mut takeover, _) = begun(&one(&[20, 40], &[]));
        assert_eq!(takeover.hear(at(10), &peer(20), Some(&synced(3, true))), None);
        assert_eq!(takeover.hear(at(10), &peer(40), None), Some(LATER.peek()));
        assert!(takeover.is_over(&one(&[20, 40], &[])) && !has_no_vote(&one(&[20, 40], &[]), &takeover));
        assert!(has_no_vote(&one(&[20], &[40]), &takeover), "it may have what nobody else has");
        assert!(!has_no_vote(&one(&[40], &[20]), &takeover), "this one has given all");
        assert!(!has_no_vote(&one(&[20], &[]), &takeover), "it was forgotten");
        // Long afterwards the peer is back with another incarnation.
        let mut members = one(&[20, 40], &[]);
        let back = Member { entry: entry(40).with_incarnation(2), state: MemberState::Alive };
        let known = Member { entry: entry(20), state: MemberState::Alive };
        members.members = crate::chord::Table::of([known, back]);
        assert_eq!(asked(takeover.look(at(900_000), &members)), [40]);
        assert!(has_no_vote(&members, &takeover));
        assert_eq!(takeover.hear(at(900_010), &peer(40), Some(&synced(1, true))), None);
        assert!(!has_no_vote(&members, &takeover));
        assert_eq!(takeover.look(at(900_020), &members), None);
    }

    /// Goal: a joiner whose questions all fail at once, as on a line that breaks down, has not taken over.
    #[test]
    fn where_nobody_has_given_all_it_is_not_over() {
        let view = with_copies(view(30), 1);
        let (mut takeover, _) = begun(&view);
        for neighbour in [20, 40] {
            assert_eq!(takeover.hear(at(10), &peer(neighbour), None), Some(LATER.peek()));
        }
        assert!(!takeover.is_over(&view) && has_no_vote(&view, &takeover));
        assert_eq!(takeover.hear(at(15_010), &peer(40), Some(&synced(1, true))), None);
        assert!(takeover.is_over(&view), "20 owes, and nobody waits for it");
        let (mut takeover, _) = begun(&view);
        for neighbour in [20, 40] {
            takeover.hear(at(10), &peer(neighbour), None);
        }
        assert!(takeover.is_over(&with_copies(view_of(30, &[]), 1)), "both were forgotten");
    }

    /// Goal: after one failed question a neighbour does not owe for ever.
    #[test]
    fn a_neighbour_that_was_given_up_is_asked_again_and_pays() {
        let view = with_copies(view_of(30, &[20, 40]), 1);
        let (mut takeover, _) = begun(&view);
        let mut now = at(10);
        assert_eq!(takeover.hear(now, &peer(40), Some(&synced(0, true))), None);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let pause = takeover.hear(now, &peer(20), None).unwrap();
            pauses.push(pause.as_secs());
            now = now + pause;
            assert!(takeover.is_over(&view), "nobody waits for it");
        }
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 960, 960, 960]);
        let gone = with_copies(view_with(30, &[40], &[20]), 1);
        assert!(has_no_vote(&gone, &takeover));
        assert_eq!(takeover.hear(now, &peer(20), Some(&synced(2, true))), None);
        assert!(!has_no_vote(&gone, &takeover), "it has given all, and may go");
    }

    #[test]
    fn neighbours_that_were_apart_are_asked_once_they_are_back() {
        let alone = later_life(with_copies(view_with(30, &[], &[20, 40]), 1), 2);
        let mut takeover = TakeOver::of_founder(&view(30).me);
        let none = Sources { anew: true, ask: Vec::new() };
        assert_eq!(takeover.look(at(0), &alone), Some(none));
        let back = later_life(with_copies(view_of(30, &[20, 40]), 1), 2);
        assert_eq!(asked(takeover.look(at(1_000), &back)), [40, 20]);
        assert!(has_no_vote(&back, &takeover));
        assert_eq!(takeover.hear(at(1_010), &peer(20), Some(&synced(0, true))), None);
        assert_eq!(takeover.hear(at(1_010), &peer(40), Some(&synced(0, true))), None);
        assert!(!has_no_vote(&back, &takeover));
        let joined = later_life(with_copies(view_of(30, &[20, 35, 40]), 1), 2);
        assert_eq!(takeover.look(at(15_000), &joined), None, "a joiner brings nothing");
    }

    /// Goal: an attacker that has a peer declared dead again and again can neither make it ask its neighbours each
    /// time, nor keep it from asking.
    #[test]
    fn lives_that_follow_each_other_quickly_ask_now_and_then() {
        let view = with_copies(view_of(30, &[20]), 1);
        let mut takeover = TakeOver::default();
        let mut dues = std::collections::BTreeSet::new();
        for life in 0..200 {
            let now = at(life * 100);
            let sources = takeover.look(now, &later_life(view.clone(), life + 1)).unwrap();
            assert!(sources.anew && sources.ask.len() == 1);
            dues.insert(now + sources.ask[0].1);
        }
        let dues: Vec<Moment> = dues.into_iter().collect();
        assert!(dues.len() >= 6, "{dues:?}");
        assert!(dues.windows(2).all(|pair| pair[1].since(pair[0]) >= LIVES_APART), "{dues:?}");
    }

    #[test]
    fn a_neighbour_that_gives_nothing_for_a_while_is_not_waited_for() {
        let view = view_of(30, &[20]);
        let (mut takeover, _) = begun(&view);
        assert_eq!(takeover.hear(at(14_000), &peer(20), Some(&synced(0, false))), Some(PAUSE));
        assert_eq!(takeover.hear(at(14_500), &peer(20), Some(&synced(2, false))), Some(PAUSE), "progress");
        assert_eq!(takeover.hear(at(29_000), &peer(20), Some(&synced(0, false))), Some(PAUSE));
        assert_eq!(takeover.hear(at(29_350), &peer(20), Some(&synced(0, false))), Some(LATER.peek()));
        assert!(takeover.sources.is_empty());
    }

    proptest! {
        /// Goal: syncing ends. The joiner waits for no peer longer than the limits, whether that peer gives nothing or
        /// claims each time that it gave something.
        #[test]
        fn it_ends(
            others in prop::collection::btree_set(0u8..=255, 0..20),
            copies in 1u8..5,
            objects in 0u64..2,
        ) {
            let others: Vec<u8> = others.into_iter().filter(|number| *number != 30).collect();
            let view = with_copies(view_of(30, &others), copies);
            let mut takeover = TakeOver::default();
            let sources = takeover.look(at(0), &view).unwrap().ask;
            prop_assert_eq!(sources.len(), others.len().min(2 * usize::from(copies)));
            let most = if objects == 0 { PROGRESS_WITHIN } else { GIVEN_WITHIN };
            for (source, _) in &sources {
                let (mut now, mut asked) = (at(0), 0);
                while takeover.hear(now, &source.position, Some(&synced(objects, false))) == Some(PAUSE) {
                    now = now + PAUSE;
                    asked += 1;
                    prop_assert!(asked <= most.as_millis() / PAUSE.as_millis());
                }
            }
            prop_assert!(takeover.sources.is_empty());
        }
    }
}
