//! The state of the contact with each member: dials that failed and their backoff, members that are sought, and since
//! when a silent member is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::chord::View;
use crate::id::Position;
use crate::wire::Entry;

/// The state of the contact with each member.
#[derive(Debug, Default)]
pub(in crate::peer) struct Contacts {
    /// Wanted members without a connection.
    apart: Mutex<BTreeMap<Position, Apart>>,
    /// Distant members that were to be asked and could not be dialled, and until when they count as sought.
    sought: Mutex<BTreeMap<Position, Instant>>,
    /// Since when each silent member has not answered, in milliseconds since the Unix epoch.
    away_since: Mutex<BTreeMap<Position, u64>>,
}

/// A wanted member without a connection.
#[derive(Debug, Clone)]
struct Apart {
    incarnation: u64,
    /// The dials that failed in a row, and the pauses after them.
    dials: Backoff,
    /// When the member is dialled next.
    next: Instant,
    /// When a helper is searched for next, if there is none.
    search: Instant,
    /// A dial or a search is under way.
    trying: bool,
}

impl Contacts {
    /// Since when a member has not answered, in milliseconds since the Unix epoch.
    pub(in crate::peer) fn away_since(&self, position: &Position) -> Option<u64> {
        lock(&self.away_since).get(position).copied()
    }

    /// Notes that a member was to be asked and could not be dialled, so that a way to it is looked for.
    pub(in crate::peer) fn seek(&self, peer: Position) {
        let now = Instant::now();
        let mut sought = lock(&self.sought);
        sought.retain(|_, until| *until > now);
        if sought.len() < SOUGHT_MAX || sought.contains_key(&peer) {
            sought.insert(peer, now + SOUGHT_FOR);
        }
    }

    /// Notes since when a member was away, as an earlier run knew.
    pub(super) fn recall_away(&self, position: Position, since_ms: u64) {
        lock(&self.away_since).insert(position, since_ms);
    }

    /// Whether a member was lately to be asked and could not be dialled.
    pub(super) fn is_sought(&self, peer: &Position) -> bool {
        lock(&self.sought).get(peer).is_some_and(|until| *until > Instant::now())
    }

    /// Updates since when members are away.
    pub(super) fn note_away(&self, view: &View, now_ms: u64) {
        let away: BTreeSet<Position> = view.away().map(|entry| entry.position).collect();
        let mut since = lock(&self.away_since);
        since.retain(|position, _| away.contains(position));
        for position in away {
            since.entry(position).or_insert(now_ms);
        }
    }

    /// The members to dial now, and those for which only a helper is searched.
    pub(super) fn due(
        &self,
        now: Instant,
        wanted: &[Entry],
        me: &Position,
        connected: impl Fn(&Position) -> bool,
        has_detour: impl Fn(&Position) -> bool,
    ) -> (Vec<Entry>, Vec<Entry>) {
        let mut apart = lock(&self.apart);
        let missing: BTreeMap<Position, &Entry> =
            wanted.iter().filter(|e| !connected(&e.position)).map(|e| (e.position, e)).collect();
        apart.retain(|position, _| missing.contains_key(position));
        let mut busy = apart.values().filter(|apart| apart.trying).count();
        let (mut dial, mut search) = (Vec::new(), Vec::new());
        for (position, entry) in missing {
            // If two peers learn of each other at the same time, one of them dials first.
            let grace = if *me < position { Duration::ZERO } else { GRACE };
            let fresh = Apart {
                incarnation: entry.incarnation,
                dials: DIALS,
                next: now + grace,
                search: now,
                trying: false,
            };
            let one = apart.entry(position).or_insert_with(|| fresh.clone());
            if one.incarnation != entry.incarnation {
                *one = Apart { trying: one.trying, ..fresh };
            }
            if one.trying || busy >= TRIES_AT_ONCE_MAX {
                continue;
            }
            if one.next <= now {
                dial.push(entry.clone());
            } else if one.dials.failures() > 0 && one.search <= now && !has_detour(&position) {
                search.push(entry.clone());
            } else {
                continue;
            }
            one.trying = true;
            busy += 1;
        }
        (dial, search)
    }

    /// Notes that a dial (`dialled`) or a search for a helper has ended without a connection.
    pub(super) fn tried(&self, now: Instant, entry: &Entry, dialled: bool) {
        let mut apart = lock(&self.apart);
        let Some(one) = apart.get_mut(&entry.position) else { return };
        one.trying = false;
        one.search = now + SEARCH_PAUSE;
        if dialled && one.incarnation == entry.incarnation {
            one.next = now + one.dials.next();
        }
    }

    /// The number of dials to a member that failed in a row.
    pub(super) fn failures(&self, position: &Position) -> u32 {
        lock(&self.apart).get(position).map_or(0, |apart| apart.dials.failures())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most distant members that are sought at a time, and how long each stays sought after it was last wanted.
const SOUGHT_MAX: usize = 64;
const SOUGHT_FOR: Duration = Duration::from_secs(600);
/// How long the peer with the higher position waits before it dials.
const GRACE: Duration = Duration::from_millis(400);
/// The pauses between dials that fail.
const DIALS: Backoff = Backoff::doubling(Duration::from_secs(2), Duration::from_secs(60));
/// The pause between two searches for a helper.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);
/// The most dials and searches at the same time.
const TRIES_AT_ONCE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyHash;
    use crate::wire::{Address, Life};

    /// The time between two looks at missing connections, half a second as in a running peer.
    const LOOK_EVERY: Duration = Duration::from_millis(500);

    fn entry(number: u8) -> Entry {
        let address = Address::new("192.0.2.1:1").unwrap();
        Entry::from(Life {
            position: Position::of_number(number),
            incarnation: 1,
            key: KeyHash([0; 32]),
            address,
        })
    }

    /// Goal: a failed dial is repeated with pauses that grow to a minute, and meanwhile the peer searches for a helper.
    #[test]
    fn dials_that_fail_are_repeated_ever_less_often() {
        let (contacts, me, other) = (Contacts::default(), Position::of_number(1), [entry(2)]);
        let (mut dialled, mut searched) = (Vec::new(), 0);
        let begin = Instant::now();
        for look in 0..1_200 {
            let now = begin + LOOK_EVERY * look;
            let (dial, search) = contacts.due(now, &other, &me, |_| false, |_| false);
            let again = contacts.due(now, &other, &me, |_| false, |_| false);
            assert!(again.0.is_empty() || dial.is_empty(), "one try at a time");
            dialled.extend(dial.iter().map(|_| (now - begin).as_secs()));
            searched += search.len();
            dial.iter().for_each(|entry| contacts.tried(now, entry, true));
            search.iter().for_each(|entry| contacts.tried(now, entry, false));
        }
        let pauses: Vec<u64> = dialled.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(pauses[..6], [2, 4, 8, 16, 32, 60]);
        assert!(pauses.iter().all(|pause| *pause <= 60), "{pauses:?}");
        assert!(searched > 400, "about once a second: {searched}");
        let (dial, search) =
            contacts.due(begin + DIALS.after(u32::MAX) * 30, &other, &me, |_| true, |_| false);
        assert!(dial.is_empty() && search.is_empty() && contacts.failures(&other[0].position) == 0);
    }

    /// Goal: of two peers that hear of each other at once, the one with the lower position dials.
    #[test]
    fn the_higher_position_waits_a_moment() {
        let (contacts, me, lower) = (Contacts::default(), Position::of_number(9), [entry(2)]);
        let begin = Instant::now();
        let due = |now| contacts.due(now, &lower, &me, |_| false, |_| false).0.len();
        assert_eq!((due(begin), due(begin + GRACE)), (0, 1));
    }
}
