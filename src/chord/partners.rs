//! Gossip partners: random members with which this peer keeps in contact.
//!
//! Along the ring alone, news would need as many intervals as there are peers. So each peer keeps up to
//! [`PARTNERS_MAX`] random members in contact, replaces one a minute, and pings one of them each interval: news then
//! spreads like an epidemic (Demers et al., *Epidemic Algorithms for Replicated Database Maintenance*, PODC 1987), in
//! about log2 N intervals.

use std::collections::VecDeque;
use std::time::Duration;

use rand::{Rng, RngExt as _};

use super::acquaintances::Acquaintances;
use super::table::Table;
use super::timing::jittered;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::Entry;

/// The partners, and the ping to one of them.
#[derive(Debug, Clone)]
pub(super) struct Partners {
    /// The members that are kept in contact, the one pinged longest ago first.
    partners: VecDeque<Entry>,
    /// The partner that was pinged last, until it answers: its position, the sequence number and the misses.
    pinged: Option<(Position, u64, u32)>,
    replace_at: Moment,
}

/// The next ping to a partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Ping this partner, which missed `misses` pings in a row.
    Ping { partner: Entry, misses: u32 },
    /// This peer missed its pings and is no longer a partner: suspect it.
    Silent(Entry),
    /// There is no partner.
    Nobody,
}

impl Partners {
    pub(super) fn new(now: Moment) -> Partners {
        Partners { partners: VecDeque::new(), pinged: None, replace_at: now }
    }

    /// Begins at this moment, like a peer that has long been in its ring.
    pub(super) fn begin_at(&mut self, at: Moment) {
        self.replace_at = at;
    }

    /// The partners, the one pinged longest ago first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.partners.iter()
    }

    /// Whether the peer at a position is a partner.
    pub(super) fn contains(&self, position: &Position) -> bool {
        self.partners.iter().any(|partner| partner.position == *position)
    }

    /// Keeps at most [`PARTNERS_MAX`] partners: replaces one by another random member once a minute, and adds one at a
    /// time. Partners become acquaintances.
    pub(super) fn keep(
        &mut self,
        now: Moment,
        members: &Table,
        acquaintances: &mut Acquaintances,
        rng: &mut impl Rng,
    ) {
        if self.replace_at <= now {
            self.replace_at = now + jittered(REPLACE_EVERY, rng);
            if self.partners.len() >= PARTNERS_MAX {
                self.partners.pop_front();
            }
            if let Some(entry) = random_member(members, rng) {
                acquaintances.remember(entry, rng);
            }
        }
        if self.partners.len() < PARTNERS_MAX
            && let Some(entry) = random_member(members, rng).filter(|entry| !self.contains(&entry.position))
        {
            self.partners.push_front(entry.clone());
            if !acquaintances.is_full() {
                acquaintances.remember(entry, rng);
            }
        }
    }

    /// Chooses the partner to ping next: the one that left the last ping unanswered, or the one pinged longest ago.
    pub(super) fn next(&mut self) -> Next {
        let silent = self.pinged.take().and_then(|(position, _, misses)| {
            let partner = self.partners.iter().find(|partner| partner.position == position)?.clone();
            Some((partner, misses + 1))
        });
        match silent {
            Some((partner, misses)) if misses >= MISSES_MAX => {
                self.end(&partner.position);
                Next::Silent(partner)
            }
            Some((partner, misses)) => Next::Ping { partner, misses },
            None => {
                let Some(partner) = self.partners.pop_front() else { return Next::Nobody };
                self.partners.push_back(partner.clone());
                Next::Ping { partner, misses: 0 }
            }
        }
    }

    /// Notes that a partner was pinged with this sequence number.
    pub(super) fn note_ping(&mut self, partner: &Position, sequence: u64, misses: u32) {
        self.pinged = Some((*partner, sequence, misses));
    }

    /// Takes a partner's answer to a ping.
    pub(super) fn note_pong(&mut self, from: &Position, sequence: u64) {
        self.pinged.take_if(|(partner, asked, _)| partner == from && *asked == sequence);
    }

    /// Ends a partnership. The peer stays an acquaintance: it may only be in another ring.
    pub(super) fn end(&mut self, position: &Position) {
        self.partners.retain(|partner| partner.position != *position);
        self.pinged.take_if(|(partner, ..)| partner == position);
    }

    /// The memory that the partners take, in bytes, besides what all handles of one life share.
    pub(super) fn bytes(&self) -> usize {
        self.partners.capacity() * size_of::<Entry>()
    }
}

/// A member that answers, some steps behind a random point: far ones as likely as near ones, however the contacts lie,
/// and a member behind a wide gap hardly more often than others.
fn random_member(members: &Table, rng: &mut impl Rng) -> Option<Entry> {
    let point = Position(rng.random());
    let steps = rng.random_range(0..STEPS_MAX);
    members.clockwise_from(&point).nth(steps).cloned()
}

/// The number of random members that are kept in contact. Each holds one long-lived connection of a peer.
pub(super) const PARTNERS_MAX: usize = 16;
/// The number of members behind a random point that may be chosen.
const STEPS_MAX: usize = 16;
/// The time between two replacements of a partner.
const REPLACE_EVERY: Duration = Duration::from_secs(60);
/// The number of pings without an answer after which a partner is suspected.
const MISSES_MAX: u32 = 2;

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::chord::sample::entry;
    use crate::wire::{Member, MemberState};

    fn members() -> Table {
        Table::of((0..100).map(|number| Member { entry: entry(number), state: MemberState::Alive }))
    }

    fn at(second: u64) -> Moment {
        Moment(second * 1_000_000)
    }

    fn full(rng: &mut ChaCha8Rng) -> (Partners, Acquaintances) {
        let (mut partners, mut known) = (Partners::new(at(0)), Acquaintances::default());
        for _ in 0..200 {
            partners.keep(at(0), &members(), &mut known, rng);
        }
        assert_eq!(partners.iter().count(), PARTNERS_MAX);
        (partners, known)
    }

    #[test]
    fn one_partner_is_replaced_each_minute() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let (mut partners, mut known) = full(rng);
        let before: Vec<Position> = partners.iter().map(|partner| partner.position).collect();
        partners.keep(at(60), &members(), &mut known, rng);
        let stayed = before.iter().filter(|position| partners.contains(position)).count();
        assert_eq!((stayed, partners.contains(&before[0])), (PARTNERS_MAX - 1, false));
        assert!(known.iter().count() >= PARTNERS_MAX, "they are remembered");
    }

    #[test]
    fn partners_are_pinged_in_turn() {
        let (mut partners, _) = full(&mut ChaCha8Rng::seed_from_u64(1));
        let order: Vec<Position> = partners.iter().map(|partner| partner.position).collect();
        for (sequence, position) in (0..).zip(order) {
            let Next::Ping { partner, misses: 0 } = partners.next() else { panic!("a ping is due") };
            assert_eq!(partner.position, position);
            partners.note_ping(&position, sequence, 0);
            partners.note_pong(&position, sequence);
        }
    }

    #[test]
    fn a_partner_that_misses_two_pings_is_suspected() {
        let (mut partners, _) = full(&mut ChaCha8Rng::seed_from_u64(1));
        let mut pinged = Vec::new();
        let silent = loop {
            match partners.next() {
                Next::Ping { partner, misses } => {
                    partners.note_ping(&partner.position, 1, misses);
                    partners.note_pong(&partner.position, 7);
                    pinged.push(partner);
                }
                Next::Silent(partner) => break partner,
                Next::Nobody => panic!("there are partners"),
            }
        };
        assert_eq!(pinged, [silent.clone(), silent.clone()], "another number is no answer");
        assert!(!partners.contains(&silent.position));
    }
}
