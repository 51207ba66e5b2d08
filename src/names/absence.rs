//! Whether the names that this peer kept while it was away still count.
//!
//! A tombstone does not live for ever. A peer that was away while one lived and died has the record that it removed, and
//! nothing tells it so. Two dates decide, both of the ring's clock at the time when they were noted, so that a wrong clock
//! of today changes nothing: when this peer was last active in its ring, and up to which date each other keeper has
//! dropped tombstones. If a keeper may have dropped one that is dated after this peer went (less a slack), all names
//! here are *stale*: they are dropped and taken over anew. If no keeper has, nothing can have been missed, however long
//! the absence was: a ring that slept as a whole has dropped nothing meanwhile, and keeps all its names.
//!
//! After an absence of nearly a tombstone's life the names are *in doubt* until the neighbours have told that date: they
//! are told to nobody, and the peer's "no" is no vote. A shorter absence is checked in the same way, without a doubt.
//!
//! A clock that was wrong when a date was noted: the slack, a week, covers a day in either direction. A data directory
//! from a backup has the date of the backup, and so is an absence since then.

use std::collections::BTreeSet;

use crate::id::Position;
use crate::wire::Entry;

/// The absence of this peer from its ring, and the words of others about what it may have missed.
#[derive(Debug, Clone, Default)]
pub struct Absence {
    /// When this peer was last active in its ring, in milliseconds since the Unix epoch by the ring's clock; `None` while
    /// nothing here is older than that.
    active_ms: Option<u64>,
    /// The open questions; `None` once the neighbours' words have settled it.
    open: Option<Open>,
}

#[derive(Debug, Clone, Default)]
struct Open {
    in_doubt: bool,
    /// The lives of the peers that told up to which date they have dropped tombstones.
    heard: BTreeSet<(Position, u64)>,
    /// The greatest of these dates.
    dropped_ms: u64,
}

/// The margins by which dates are compared, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Margins {
    /// The longest absence after which the names here are not in doubt.
    pub away_max_ms: u64,
    /// By how much dates may be wrong.
    pub slack_ms: u64,
}

/// An absence that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// How long this peer was away, in milliseconds.
    pub away_ms: u64,
    /// The latest date up to which a neighbour has dropped tombstones, in milliseconds since the Unix epoch.
    pub dropped_ms: u64,
}

impl Absence {
    /// The absence of a peer that was last active at this time; `None` for one that keeps no older names.
    pub fn since(active_ms: Option<u64>) -> Absence {
        Absence { active_ms, open: active_ms.map(|_| Open::default()) }
    }

    /// Looks at the ring's clock. A long time without a note of activity is an absence, whether the process ended or only
    /// stood still.
    pub fn look(&mut self, now_ms: u64, margins: &Margins) {
        let Some(active_ms) = self.active_ms else { return };
        let away_ms = now_ms.saturating_sub(active_ms);
        // A date far in the future says nothing about the absence.
        let in_doubt = away_ms > margins.away_max_ms || active_ms > now_ms.saturating_add(margins.slack_ms);
        if in_doubt {
            self.open.get_or_insert_default().in_doubt = true;
        }
    }

    /// Whether the names here count, in votes and for other peers.
    pub fn names_count(&self) -> bool {
        self.open.as_ref().is_none_or(|open| !open.in_doubt)
    }

    /// Whether the word of a peer is still to be heard before it is given a name.
    pub fn needs_word_of(&self, peer: &Entry) -> bool {
        self.open.as_ref().is_some_and(|open| !open.heard.contains(&(peer.position, peer.incarnation)))
    }

    /// Whether something is still open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether any peer has been heard.
    pub fn heard_any(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.heard.is_empty())
    }

    /// Takes the word of a peer that has dropped tombstones up to this date. Returns the date up to which names here are
    /// stale now, if they are: the caller drops them and takes over anew.
    pub fn hear(&mut self, peer: &Entry, dropped_ms: u64, margins: &Margins) -> Option<u64> {
        let open = self.open.as_mut()?;
        if open.heard.len() >= HEARD_MAX {
            open.heard.pop_first();
        }
        open.heard.insert((peer.position, peer.incarnation));
        open.dropped_ms = open.dropped_ms.max(dropped_ms);
        let active_ms = self.active_ms?;
        if dropped_ms <= active_ms.saturating_sub(margins.slack_ms) {
            return None;
        }
        open.in_doubt = true;
        Some(active_ms.saturating_add(margins.slack_ms))
    }

    /// Notes that the stale names were dropped: nothing here is older than this life any more.
    pub fn dropped(&mut self) {
        self.active_ms = None;
    }

    /// Settles what was open, once all neighbours were heard and the names here are theirs, too.
    pub fn settle(&mut self, now_ms: u64) -> Option<Returned> {
        let open = self.open.take()?;
        let away_ms = self.active_ms.replace(now_ms).map_or(0, |active| now_ms.saturating_sub(active));
        Some(Returned { away_ms, dropped_ms: open.dropped_ms })
    }

    /// Notes that this peer is active in its ring now. Returns whether the date is to be written down: not while something
    /// is open, since another start has to look at the same absence.
    pub fn note_active(&mut self, now_ms: u64) -> bool {
        let is_settled = self.open.is_none();
        if is_settled {
            self.active_ms = Some(now_ms);
        }
        is_settled
    }
}

/// When this peer may drop tombstones.
///
/// Not for a week after an absence of more than a week in which the ring did not go on, or after a jump of the clock: the
/// other peers of a ring that slept come back, too, and a wrong clock is set. Not while half of the members are away: the
/// rest may be the smaller part of a ring that is split.
#[derive(Debug, Clone, Copy, Default)]
pub struct Walks {
    looked_ms: Option<u64>,
    quiet_until_ms: u64,
    walked_ms: Option<u64>,
}

impl Walks {
    /// Notes the end of an absence.
    pub fn returned(&mut self, now_ms: u64, returned: &Returned, life_ms: u64, slack_ms: u64) {
        let goes_on = returned.dropped_ms.saturating_add(slack_ms) >= now_ms.saturating_sub(life_ms);
        if returned.away_ms > slack_ms && !goes_on {
            self.quiet_until_ms = now_ms.saturating_add(slack_ms);
        }
    }

    /// Looks at the ring's clock. Returns whether all names are to be walked through now. `in_touch`: this peer has a vote,
    /// and more than half of the members answer.
    pub fn look(&mut self, now_ms: u64, in_touch: bool, every_ms: u64, slack_ms: u64) -> bool {
        let looked_ms = self.looked_ms.replace(now_ms).unwrap_or(now_ms);
        let jumped = now_ms.abs_diff(looked_ms) > slack_ms;
        let is_far_off = self.quiet_until_ms > now_ms.saturating_add(slack_ms);
        if jumped || is_far_off {
            self.quiet_until_ms = now_ms.saturating_add(slack_ms);
        }
        if !in_touch || now_ms < self.quiet_until_ms {
            return false;
        }
        let is_due = self.walked_ms.is_none_or(|walked| now_ms.abs_diff(walked) >= every_ms);
        if is_due {
            self.walked_ms = Some(now_ms);
        }
        is_due
    }
}

/// The most lives of other peers that are remembered; one that was forgotten is asked once more.
const HEARD_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{KeyHash, Position};
    use crate::wire::{Address, Life};

    const DAY: u64 = 86_400_000;
    const MARGINS: Margins = Margins { away_max_ms: 83 * DAY, slack_ms: 7 * DAY };
    const LIFE: u64 = 90 * DAY;

    fn peer(number: u8) -> Entry {
        Entry::from(Life {
            position: Position::of_number(number),
            incarnation: 1,
            key: KeyHash([number; 32]),
            address: Address::new("127.0.0.1:1").unwrap(),
        })
    }

    fn away(active: u64, now: u64) -> Absence {
        let mut absence = Absence::since(Some(active * DAY));
        absence.look(now * DAY, &MARGINS);
        absence
    }

    /// Goal: a peer that was away for 91 days of a ring that went on drops its names; before it has asked, they count for
    /// nothing.
    #[test]
    fn names_are_stale_if_a_keeper_may_have_dropped_a_later_tombstone() {
        let mut absence = away(100, 191);
        assert!(!absence.names_count() && absence.needs_word_of(&peer(1)));
        assert_eq!(absence.hear(&peer(1), (191 - 90) * DAY, &MARGINS), Some(107 * DAY));
        absence.dropped();
        assert!(
            !absence.names_count() && !absence.needs_word_of(&peer(1)) && absence.needs_word_of(&peer(2))
        );
        assert!(!absence.note_active(191 * DAY), "the take-over is still to come");
        assert_eq!(absence.hear(&peer(2), u64::MAX, &MARGINS), None, "nothing here is old any more");
        absence.settle(191 * DAY);
        assert!(absence.names_count() && absence.note_active(192 * DAY));
    }

    /// Goal: a ring that slept as a whole for any time has dropped nothing meanwhile, and keeps all.
    #[test]
    fn names_of_a_ring_that_slept_count() {
        let mut absence = away(100, 3_000);
        assert!(!absence.names_count());
        assert_eq!(absence.hear(&peer(1), (100 - 90) * DAY, &MARGINS), None);
        let returned = absence.settle(3_000 * DAY).unwrap();
        assert_eq!(returned, Returned { away_ms: 2_900 * DAY, dropped_ms: 10 * DAY });
        assert!(absence.names_count());
        let mut walks = Walks::default();
        walks.returned(3_000 * DAY, &returned, LIFE, 7 * DAY);
        assert!(!walks.look(3_000 * DAY, true, DAY, 7 * DAY), "the others may come back later");
        assert!(!walks.look(3_006 * DAY, true, DAY, 7 * DAY));
        assert!(walks.look(3_007 * DAY, true, DAY, 7 * DAY));
    }

    /// Goal: a short absence is no doubt; what a wrong clock hides, the words of the others show.
    #[test]
    fn clocks_of_today_decide_nothing() {
        for now in [100, 101, 183, 99, 93] {
            let mut absence = away(100, now);
            assert!(absence.names_count(), "{now}");
            assert_eq!(absence.hear(&peer(1), 93 * DAY, &MARGINS), None);
            assert_eq!(absence.hear(&peer(2), 94 * DAY, &MARGINS), Some(107 * DAY), "{now}");
            assert!(!absence.names_count());
        }
        assert!(!away(100, 92).names_count(), "the date may be wrong");
    }

    #[test]
    fn a_process_that_stood_still_was_away() {
        let mut absence = Absence::since(None);
        absence.look(5 * DAY, &MARGINS);
        assert!(absence.names_count() && !absence.is_open() && absence.note_active(5 * DAY));
        absence.look(88 * DAY, &MARGINS);
        assert!(absence.names_count());
        absence.look(89 * DAY, &MARGINS);
        assert!(!absence.names_count() && !absence.note_active(89 * DAY));
    }

    /// Goal: a peer that is away every week drops tombstones as soon as it is back, since the ring went on without it.
    #[test]
    fn walks_go_on_where_the_ring_did() {
        let mut walks = Walks::default();
        let returned = Returned { away_ms: 30 * DAY, dropped_ms: 110 * DAY };
        walks.returned(200 * DAY, &returned, LIFE, 7 * DAY);
        assert!(!walks.look(200 * DAY, false, DAY, 7 * DAY), "half of the ring is away");
        assert!(walks.look(200 * DAY, true, DAY, 7 * DAY));
        assert!(!walks.look(200 * DAY + DAY / 2, true, DAY, 7 * DAY), "once a day");
        assert!(walks.look(201 * DAY, true, DAY, 7 * DAY));
    }

    /// Goal: a clock that is a year ahead for less than a week drops nothing; set right again, it drops again after a week.
    #[test]
    fn a_clock_that_jumps_puts_the_walk_off() {
        let mut walks = Walks::default();
        assert!(walks.look(100 * DAY, true, DAY, 7 * DAY));
        assert!(!walks.look(465 * DAY, true, DAY, 7 * DAY));
        assert!(!walks.look(471 * DAY, true, DAY, 7 * DAY));
        assert!(!walks.look(107 * DAY, true, DAY, 7 * DAY));
        assert!(walks.look(114 * DAY, true, DAY, 7 * DAY));
        assert!(walks.look(115 * DAY + DAY, true, DAY, 7 * DAY), "a day ahead is no jump");
    }

    #[test]
    fn what_is_heard_is_bounded() {
        let mut absence = Absence::since(Some(DAY));
        for life in 0..2 * HEARD_MAX as u64 {
            absence.hear(&peer(1).with_incarnation(life), 0, &MARGINS);
        }
        assert_eq!(absence.open.unwrap().heard.len(), HEARD_MAX);
    }
}
