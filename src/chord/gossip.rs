//! Knowledge of the ring beyond the neighbours: random partners, contacts taken over from others, and the
//! search for another ring that belongs to this one.
//!
//! Along the ring alone, news would need as many intervals as there are peers. So each peer keeps up to
//! [`PARTNERS_MAX`] random members in contact, replaces one a minute, and pings one of them each interval:
//! news then spreads like an epidemic (Demers et al., *Epidemic Algorithms for Replicated Database
//! Maintenance*, PODC 1987), in about log2 N intervals. A peer that comes into a large ring copies contacts
//! from its neighbours, page by page.
//!
//! A ring that was split has two rings' worth of correct neighbours, and stabilising never joins them. So each peer
//! remembers random members, even when they seem dead, and now and then asks one of them to look up the asker's
//! position. An answer that names another peer comes from another ring: the two peers exchange what they know, and each
//! takes its place between the other's neighbours. Where that leads to nothing for long, the asker leaves its list
//! behind and joins again through the others.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngExt as _;
use rand::seq::IteratorRandom as _;

use super::counted::Counted;
use super::entrance::Start;
use super::judge::{TOLD_MAX, Teller, check_closer, check_near, check_owner};
use super::members::Listener;
use super::node::{Node, Purpose};
use super::output::{Output, Unanswered};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::limits::MEMBERS_PER_MESSAGE_MAX;
use crate::wire::{Datagram, Entry, MemberState, MembershipReply, MembershipRequest, Target};

/// Random members, the requests to them, and the progress of these.
#[derive(Debug, Clone)]
pub(super) struct Gossip {
    /// The members that are kept in contact, the one pinged longest ago first.
    partners: VecDeque<Entry>,
    /// The partner that was pinged last, until it answers: its position, the sequence number and the misses.
    pinged: Option<(Position, u64, u32)>,
    replace_at: Moment,
    /// Members that are remembered to find another ring by.
    acquaintances: Counted<Vec<Entry>>,
    heal_at: Moment,
    /// The number of times in a row that another ring was found.
    heals: u32,
    /// The position up to which contacts are copied, and the number of sources that failed.
    copying: Option<(Position, u32)>,
}

impl Gossip {
    pub(super) fn new(now: Moment) -> Gossip {
        Gossip {
            partners: VecDeque::new(),
            pinged: None,
            replace_at: now,
            acquaintances: Counted::default(),
            heal_at: now,
            heals: 0,
            copying: None,
        }
    }

    /// Begins at this moment, like a peer that has long been in its ring.
    pub(super) fn begin_at(&mut self, at: Moment) {
        (self.replace_at, self.heal_at) = (at, at);
    }

    pub(super) fn partners(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.partners.iter()
    }

    pub(super) fn has_partner(&self, position: &Position) -> bool {
        self.partners.iter().any(|partner| partner.position == *position)
    }

    pub(super) fn acquaintances(&self) -> &[Entry] {
        &self.acquaintances
    }

    /// The number of changes to the acquaintances.
    pub(super) fn acquaintance_changes(&self) -> u64 {
        self.acquaintances.changes()
    }

    /// Takes a partner's answer to a ping.
    pub(super) fn answered(&mut self, from: &Position, sequence: u64) {
        self.pinged.take_if(|(partner, asked, _)| partner == from && *asked == sequence);
    }

    /// Ends a partnership, since the peer is over. It stays an acquaintance: it may only be in another ring.
    pub(super) fn departed(&mut self, entry: &Entry) {
        self.partners.retain(|partner| partner.position != entry.position);
        self.pinged.take_if(|(partner, ..)| *partner == entry.position);
    }

    pub(super) fn bytes(&self) -> usize {
        (self.partners.capacity() + self.acquaintances.capacity()) * size_of::<Entry>()
    }
}

impl Node {
    /// Sends one ping to a partner, with each round of pings.
    pub(super) fn ping_partner(&mut self, now: Moment) {
        if self.exchanges_whole() {
            return self.members.keep_no_news_for_others();
        }
        self.keep_partners(now);
        let missed = self.gossip.pinged.take().map(|(partner, _, misses)| (partner, misses + 1));
        let again = missed.and_then(|(partner, misses)| {
            let entry = self.gossip.partners.iter().find(|p| p.position == partner)?.clone();
            Some((entry, misses))
        });
        let (partner, misses) = match again {
            Some((silent, misses)) if misses >= PARTNER_MISSES_MAX => {
                self.gossip.departed(&silent);
                return self.suspect(now, &silent);
            }
            Some(again) => again,
            None => {
                let Some(next) = self.gossip.partners.pop_front() else { return };
                self.gossip.partners.push_back(next.clone());
                (next, 0)
            }
        };
        let sequence = self.detector.take_sequence();
        self.gossip.pinged = Some((partner.position, sequence, misses));
        let news = self.members.take_news(Listener::Random, None);
        self.output(Output::Datagram { to: partner, datagram: Datagram::Ping { sequence, news } });
    }

    /// Begins to copy contacts after this peer comes into a large ring from outside: from its own place on, clockwise.
    pub(super) fn copy_contacts(&mut self, now: Moment) {
        if !self.exchanges_whole() {
            self.gossip.copying = Some((self.me.position, 0));
            self.copy_page(now);
        }
    }

    pub(super) fn contacts_answered(
        &mut self,
        now: Moment,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        let Some((cursor, failures)) = self.gossip.copying else { return };
        let Ok((from, MembershipReply::Contacts { members })) = answer else {
            self.gossip.copying = (failures < COPY_FAILURES_MAX).then_some((cursor, failures + 1));
            return self.copy_page(now);
        };
        let last = members.last().map(|member| member.entry.position);
        let goes_on = |last: &Position| {
            let (old, new) = (cursor.distance_to(&self.me.position), last.distance_to(&self.me.position));
            // From its own place once around: the part that lies ahead of this peer shrinks with each page.
            cursor == self.me.position || new < old
        };
        let next = last.filter(goes_on).filter(|last| *last != self.me.position);
        // A neighbour that gives few members a page and always has more would make this peer ask without end.
        let failures = failures + u32::from(members.len() < PAGE_MIN);
        self.hear_quietly(now, &Teller::from(&from), members.into_iter().take(TOLD_MAX));
        self.gossip.copying = next.filter(|_| failures <= COPY_FAILURES_MAX).map(|next| (next, failures));
        self.copy_page(now);
    }

    /// Now and then, has a remembered peer look up this peer's position: does it find this peer there?
    pub(super) fn heal_timeout(&mut self, now: Moment) {
        if self.gossip.heal_at > now || self.exchanges_whole() {
            return;
        }
        self.gossip.heal_at = now + self.jittered(self.interval * HEAL_EVERY);
        let seems_dead: Vec<&Entry> = self
            .gossip
            .acquaintances
            .iter()
            .filter(|entry| self.members.is_gone(entry))
            .chain(self.members.away())
            .filter(|entry| self.silences.may_ask(now, &entry.address))
            .collect();
        // A peer that seems dead is the way into another ring; a peer that is in contact costs nothing to ask.
        let dead = seems_dead.into_iter().choose(&mut self.rng).cloned();
        let alive = self.gossip.partners.iter().choose(&mut self.rng).cloned();
        let first = if self.rng.random_bool(0.5) { dead.or(alive) } else { alive };
        if let Some(whom) = first {
            if self.members.is_gone(&whom) {
                self.asks_in_silence(now, &whom.address);
            }
            self.ask_for_myself(now, whom, 0);
        }
    }

    pub(super) fn heal_answered(
        &mut self,
        now: Moment,
        whom: &Entry,
        hops: u32,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        let me = self.me.position;
        let Ok((from, reply)) = answer else { return };
        self.silences.broken(&whom.address);
        if self.members.is_gone(&from) {
            // The peer is alive, and belongs to another ring or to none.
            self.exchange(now, from.clone());
        }
        let most = self.settings.successors.into();
        let next = match reply {
            MembershipReply::Owner { ref owner, ref predecessor, ref successors }
                if check_owner(&me, &from.position, owner, predecessor.as_ref(), successors, most)
                    .is_err() =>
            {
                return;
            }
            MembershipReply::Owner { owner, .. } if owner.position == me => None,
            MembershipReply::Owner { owner, predecessor, .. } if owner.position == from.position => {
                return self.found_other_ring(now, [Some(owner), predecessor].into_iter().flatten());
            }
            MembershipReply::Owner { owner, .. } => Some(owner),
            MembershipReply::Near { peers } if check_near(&me, &from.position, &peers).is_ok() => {
                peers.into_iter().next().filter(|near| near.position != me)
            }
            MembershipReply::Closer { peers } if check_closer(&me, &from.position, &peers).is_ok() => {
                peers.into_iter().next()
            }
            // A faulty answer tells nothing of another ring.
            _ => return,
        };
        match next {
            Some(next) if hops < HEAL_HOPS_MAX && next.position != whom.position => {
                self.ask_for_myself(now, next, hops + 1);
            }
            Some(_) => {}
            None => self.gossip.heals = 0,
        }
    }

    /// Another peer stands at this peer's place, in a ring that does not know this peer.
    fn found_other_ring(&mut self, now: Moment, hints: impl Iterator<Item = Entry>) {
        let hints: Vec<Entry> = hints.filter(|hint| hint.position != self.me.position).collect();
        self.gossip.heals += 1;
        if self.gossip.heals > HEALS_MAX {
            self.gossip.heals = 0;
            let alive =
                |entry: &Entry| crate::wire::Member { entry: entry.clone(), state: MemberState::Alive };
            let remembered = hints.iter().map(alive).collect();
            return self.enter(now, Start::Resume { remembered, given: Vec::new() });
        }
        for hint in hints {
            self.exchange(now, hint.clone());
            self.notify(now, &hint);
            if !self.members.is_gone(&hint) {
                self.consider(&hint);
            }
        }
    }

    fn ask_for_myself(&mut self, now: Moment, whom: Entry, hops: u32) {
        let request = MembershipRequest::FindOwner { key: self.me.position };
        let to = Target::from(&whom);
        self.ask(now, to, request, self.request_timeout(), Purpose::Heal { whom, hops });
    }

    fn copy_page(&mut self, now: Moment) {
        let Some((after, failures)) = self.gossip.copying else { return };
        // The sources take turns, so that none tells of more peers than one peer may tell of.
        let sources = self.successors.iter().chain(&self.predecessor);
        let turn = self.members.alive_count() / COPIED_FROM_ONE + failures as usize;
        let count = sources.clone().count();
        let Some(source) = sources.clone().nth(turn % count.max(1)).cloned() else {
            self.gossip.copying = None;
            return;
        };
        let request = MembershipRequest::Contacts { after };
        self.ask(now, Target::from(&source), request, self.request_timeout(), Purpose::Contacts);
    }

    /// Keeps at most [`PARTNERS_MAX`] partners: replaces one by another random member now and then, and adds one at a
    /// time.
    fn keep_partners(&mut self, now: Moment) {
        if self.gossip.replace_at <= now {
            self.gossip.replace_at = now + self.jittered(REPLACE_EVERY);
            if self.gossip.partners.len() >= PARTNERS_MAX {
                self.gossip.partners.pop_front();
            }
            if let Some(entry) = self.random_member() {
                self.remember(entry);
            }
        }
        if self.gossip.partners.len() < PARTNERS_MAX
            && let Some(entry) =
                self.random_member().filter(|entry| !self.gossip.has_partner(&entry.position))
        {
            self.gossip.partners.push_front(entry.clone());
            if self.gossip.acquaintances.len() < ACQUAINTANCES_MAX {
                self.remember(entry);
            }
        }
    }

    fn remember(&mut self, entry: Entry) {
        let known = self.gossip.acquaintances.change();
        if let Some(old) = known.iter_mut().find(|old| old.position == entry.position) {
            *old = entry;
        } else if known.len() < ACQUAINTANCES_MAX {
            known.push(entry);
        } else {
            let at = self.rng.random_range(0..known.len());
            known[at] = entry;
        }
    }

    /// A living member some steps behind a random point: far ones as likely as near ones, however the contacts lie, and
    /// a member behind a wide gap hardly more often than others.
    fn random_member(&mut self) -> Option<Entry> {
        let point = Position(self.rng.random());
        let steps = self.rng.random_range(0..STEPS_MAX);
        self.members.clockwise_from(&point).nth(steps).cloned()
    }
}

/// The number of random members that are kept in contact. Each holds one long-lived connection of a peer.
pub(super) const PARTNERS_MAX: usize = 16;
/// The number of members behind a random point that may be chosen.
const STEPS_MAX: usize = 16;
/// The time between two replacements of a partner.
const REPLACE_EVERY: Duration = Duration::from_secs(60);
/// The number of pings without an answer after which a partner is suspected.
const PARTNER_MISSES_MAX: u32 = 2;
/// The number of random members that are remembered to find another ring by.
const ACQUAINTANCES_MAX: usize = 32;
/// The number of intervals between two searches for another ring.
pub(super) const HEAL_EVERY: u32 = 12;
/// The most peers that one search asks.
const HEAL_HOPS_MAX: u32 = 32;
/// The number of times that another ring is found before this peer joins that one.
const HEALS_MAX: u32 = 8;
/// The number of contacts that are copied from one neighbour before the next one is asked.
const COPIED_FROM_ONE: usize = 512;
/// The number of sources that may fail, or give nearly empty pages although more follow.
const COPY_FAILURES_MAX: u32 = 4;
/// A page with fewer members is nearly empty: a frame has room for more, however long their addresses are.
const PAGE_MIN: usize = MEMBERS_PER_MESSAGE_MAX / 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::NodeConfig;
    use crate::config::RingSettings;
    use crate::id::KeyHash;
    use crate::wire::{Life, Member};

    fn entry(position: Position) -> Entry {
        Entry::from(Life {
            position,
            incarnation: 1,
            key: KeyHash([7; 32]),
            address: crate::wire::Address::new("127.0.0.1:12001").unwrap(),
        })
    }

    fn founder(number: u8) -> Node {
        Node::new(
            Moment::default(),
            NodeConfig {
                me: entry(Position::of_number(number)),
                address_given: true,
                settings: Some(RingSettings::default()),
                interval: Duration::from_secs(1),
                contacts_max: 4_096,
                start: Start::Found,
                seed: 1,
            },
        )
    }

    /// Reported: a neighbour could draw out the copying of contacts one point a page, without bound.
    #[test]
    fn a_neighbour_that_gives_one_contact_a_page_is_not_asked_for_ever() {
        let mut node = founder(10);
        let liar = entry(Position::of_number(20));
        node.successors = vec![liar.clone()];
        node.gossip.copying = Some((node.me.position, 0));
        let mut pages = 0;
        for step in 1..=u8::MAX {
            if node.gossip.copying.is_none() {
                break;
            }
            let mut point = [step; 32];
            point[0] = 30;
            let members = vec![Member { entry: entry(Position(point)), state: MemberState::Alive }];
            let page = MembershipReply::Contacts { members };
            node.contacts_answered(Moment::default(), Ok((liar.clone(), page)));
            pages += 1;
        }
        assert_eq!((pages, node.gossip.copying), (COPY_FAILURES_MAX + 1, None));
    }

    /// Reported: in the search for another ring an owner was believed against the rules.
    #[test]
    fn an_owner_that_cannot_be_one_tells_nothing_of_another_ring() {
        let mut node = founder(10);
        let liar = entry(Position::of_number(20));
        for (predecessor, heals) in
            [(Some(entry(Position::of_number(15))), 0), (Some(entry(Position::of_number(5))), 1)]
        {
            // 10 lies before 15, and so not between it and 20; but between 5 and 20.
            let claim = MembershipReply::Owner { owner: liar.clone(), predecessor, successors: Vec::new() };
            node.heal_answered(Moment::default(), &liar, 0, Ok((liar.clone(), claim)));
            assert_eq!(node.gossip.heals, heals);
        }
    }
}
