//! One iterative lookup: asks ever closer peers, until the owner of a key says that it owns it.
//!
//! A peer before the key names closer peers, or peers at or after the key. A peer that is named as the owner is asked
//! itself, and its word counts. The lookup does not wait for a slow peer: it asks the next best while the first may
//! still answer. Of the peers at or after the key, the nearest that answers is taken once every peer that is known to
//! lie nearer has failed.
//!
//! Each answer is checked against the rules and against the asker's knowledge. An answer that contradicts itself is
//! dropped. An answer that passes over a nearer peer that is known to be alive is kept while that peer is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use super::claims::{check_closer, check_near, check_owner};
use super::view::{Local, distance_behind};
use super::{Route, View};
use crate::config::RingSettings;
use crate::id::{Position, between};
use crate::wire::{Entry, Fault, MembershipReply};

/// A lookup under way. To drive it: take a [`Step`], ask, report the outcome, and repeat.
#[derive(Debug)]
pub struct Lookup {
    me: Position,
    key: Position,
    /// Peers before the key that were not asked yet, the nearest to it last. Distrusted peers stand first, to be asked
    /// last.
    candidates: Vec<Entry>,
    /// Peers at or after the key that another peer named as its owner or near it, not asked yet, the nearest last.
    near: Vec<Entry>,
    /// The nearest living peers at or after the key, as the asker knows them, nearest last.
    beyond: Vec<Entry>,
    /// More of the same, for when all others are silent.
    farther: Vec<Entry>,
    distrusted: BTreeSet<Position>,
    asked: BTreeSet<Position>,
    /// Peers that were asked and have neither answered nor failed.
    open: BTreeSet<Position>,
    failed: BTreeSet<Position>,
    successors_max: usize,
    found: Option<Step>,
    /// The answer of a peer that claims the key although a nearer peer is known to be alive, with that peer.
    passed_over: Option<(Position, Step)>,
    /// The peers at or after the key that answered, and the nearer peers that each named.
    acting: Vec<(Entry, Vec<Position>)>,
    /// The peers at or after the key that answered and named no peer there.
    behind: Vec<Entry>,
    /// Claims of ownership: the claiming peer, the owner that it named, and the peers that it named behind the owner.
    claims: Vec<(Position, Entry, Vec<Entry>)>,
    doubts: Vec<Doubt>,
    /// The asker itself, with all living peers that it knows between the key and itself, if those are few.
    myself: Option<(Entry, Vec<Position>)>,
}

/// The next step of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask this peer who owns the key.
    Ask(Entry),
    /// Ask no other peer before one of the asked peers answers or fails.
    Wait,
    /// The lookup has found the owner.
    Found {
        /// The owner of the key.
        owner: Entry,
        /// The predecessor of the owner.
        predecessor: Option<Entry>,
        /// The peers after the owner.
        successors: Vec<Entry>,
    },
    /// The lookup failed: no peer is left to ask.
    Failed,
}

/// A fault in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// The peer that gave the answer.
    pub peer: Position,
    /// The kind of fault.
    pub fault: Fault,
    /// Whether the answer contradicts itself. Otherwise it contradicts what others say, which may be no fault while the
    /// ring changes.
    pub certain: bool,
}

/// The owner in effect, as far as it can be told.
enum Acting {
    None,
    /// The owner depends on a peer that was asked and may still answer.
    Awaited,
    /// The owner depends on this peer, which is known to stand nearer to the key and was not asked yet.
    Unasked(Entry),
    /// No peer before the key has named it yet, and some of them can still be asked.
    Unlisted,
    Owner(Step),
}

impl Lookup {
    /// Begins with this peer's own knowledge. Distrusted peers are asked last.
    pub fn new(view: &View, key: Position, distrusted: BTreeSet<Position>) -> Lookup {
        Lookup::with(view.local(), key, distrusted)
    }

    pub(super) fn with(local: Local<'_>, key: Position, distrusted: BTreeSet<Position>) -> Lookup {
        let mut lookup = Lookup {
            me: local.me.position,
            key,
            candidates: Vec::new(),
            near: Vec::new(),
            beyond: Vec::new(),
            farther: Vec::new(),
            distrusted,
            asked: BTreeSet::from([local.me.position]),
            open: BTreeSet::new(),
            failed: BTreeSet::new(),
            successors_max: local.successors_max.min(RingSettings::SUCCESSORS_MAX.into()),
            found: None,
            passed_over: None,
            acting: Vec::new(),
            behind: Vec::new(),
            claims: Vec::new(),
            doubts: Vec::new(),
            myself: None,
        };
        let Some(route) = local.route(&key) else { return lookup };
        lookup.farther = local.nearest_at_or_after(&key, CANDIDATES_MAX);
        lookup.beyond = lookup.farther.iter().take(BEYOND_MAX).cloned().collect();
        lookup.beyond.reverse();
        lookup.farther.reverse();
        let nearer: Vec<Position> = lookup.farther.iter().map(|entry| entry.position).collect();
        lookup.myself = (nearer.len() < CANDIDATES_MAX).then(|| (local.me.clone(), nearer));
        // As many as there is room for: after a mass death most of them may be silent.
        match route {
            Route::Owner { owner, predecessor, successors }
                if local.small || owner.position == local.me.position =>
            {
                lookup.found = Some(Step::Found { owner, predecessor, successors });
            }
            Route::Owner { owner, successors, .. } => {
                lookup.claim(local.me.position, owner, successors);
                lookup.add(local.nearest_before(&key, CANDIDATES_MAX));
            }
            Route::Near(near) => {
                lookup.add_near(near);
                lookup.add(local.nearest_before(&key, CANDIDATES_MAX));
            }
            Route::Closer(_) => lookup.add(local.nearest_before(&key, CANDIDATES_MAX)),
        }
        lookup.add(local.successors.to_vec());
        lookup
    }

    /// The next step: a peer to ask, a wait, or the end of the lookup.
    pub fn next_step(&mut self) -> Step {
        if let Some(found) = &self.found {
            return found.clone();
        }
        let acting = match self.acting_owner() {
            Acting::Owner(found) => {
                self.found = Some(found.clone());
                return found;
            }
            Acting::Awaited => return Step::Wait,
            _ if self.open.len() >= OPEN_MAX => return Step::Wait,
            acting => acting,
        };
        // The asker never queries itself: if others name it and every nearer peer failed, it is the owner.
        if self.claims.iter().any(|(by, owner, _)| owner.position == self.me && *by != self.me)
            && let Some(found) = self.owner_in_the_end()
        {
            return found;
        }
        let next = match (&self.passed_over, acting) {
            _ if self.asked.len() > ASKED_MAX => None,
            // A peer that was passed over is asked before any other.
            (Some(_), _) => self.next_beyond(),
            (None, Acting::Unasked(nearer)) => {
                self.near.retain(|entry| entry.position != nearer.position);
                Some(nearer)
            }
            (None, Acting::Unlisted) => self.candidates.pop(),
            (None, _) => {
                let next = self.near.pop().or_else(|| self.candidates.pop());
                next.or_else(|| self.next_beyond()).or_else(|| self.next_farther())
            }
        };
        match next {
            Some(entry) => {
                self.asked.insert(entry.position);
                self.open.insert(entry.position);
                Step::Ask(entry)
            }
            None if !self.open.is_empty() => Step::Wait,
            None => self.last_resort(),
        }
    }

    /// Takes an asked peer's reply; any reply but an owner or peers to ask counts as no answer.
    pub fn answered(&mut self, from: &Entry, reply: MembershipReply) {
        let position = &from.position;
        self.open.remove(position);
        match reply {
            MembershipReply::Owner { owner, predecessor, successors } => {
                let most = self.successors_max;
                match check_owner(&self.key, position, &owner, predecessor.as_ref(), &successors, most) {
                    Err(fault) => self.doubt(position, fault),
                    Ok(()) if owner.position == *position => self.weigh(owner, predecessor, successors),
                    Ok(()) => self.claim(*position, owner, successors),
                }
            }
            MembershipReply::Near { peers } => match check_near(&self.key, position, &peers) {
                Err(fault) => self.doubt(position, fault),
                Ok(()) => {
                    if !between(&self.me, position, &self.key) {
                        let named = peers.iter().map(|peer| peer.position).collect();
                        self.acting.push((from.clone(), named));
                    }
                    self.add_near(peers);
                }
            },
            MembershipReply::Closer { peers } => match check_closer(&self.key, position, &peers) {
                Err(fault) => self.doubt(position, fault),
                Ok(()) => {
                    if !between(&self.me, position, &self.key) {
                        self.behind.push(from.clone());
                    }
                    self.add(peers);
                }
            },
            MembershipReply::Gone { successor: Some(successor) } => {
                self.failed.insert(*position);
                if between(&self.me, &successor.position, &self.key) {
                    self.add(vec![successor]);
                } else {
                    self.add_near(vec![successor]);
                }
            }
            _ => {
                self.failed.insert(*position);
            }
        }
    }

    /// Notes that an asked peer will not answer.
    pub fn failed(&mut self, whom: &Position) {
        self.open.remove(whom);
        self.failed.insert(*whom);
    }

    /// The faults in the answers so far.
    pub fn doubts(&self) -> &[Doubt] {
        &self.doubts
    }

    fn doubt(&mut self, peer: &Position, fault: Fault) {
        self.failed.insert(*peer);
        self.doubts.push(Doubt { peer: *peer, fault, certain: true });
    }

    /// Takes a claim of `by`: the owner that it names, and the peers behind that owner.
    fn claim(&mut self, by: Position, owner: Entry, behind: Vec<Entry>) {
        let behind_until_self = behind.iter().take_while(|entry| entry.position != by);
        let chain: Vec<Entry> = std::iter::once(&owner).chain(behind_until_self).cloned().collect();
        self.add_near(chain);
        if self.claims.len() < CLAIMS_MAX {
            self.claims.push((by, owner, behind));
        }
    }

    /// Judges a peer's claim to own the key: it is believed, unless a nearer peer is known to be alive.
    fn weigh(&mut self, owner: Entry, predecessor: Option<Entry>, successors: Vec<Entry>) {
        let reach = distance_behind(&self.key, &owner.position);
        let nearer = |entry: &Entry| distance_behind(&self.key, &entry.position) < reach;
        let passes_over =
            self.beyond.iter().any(|entry| nearer(entry) && !self.asked.contains(&entry.position));
        let from = owner.position;
        let found = Step::Found { owner, predecessor, successors };
        let earlier = self.passed_over.take();
        if passes_over && earlier.is_none() {
            self.passed_over = Some((from, found));
            return;
        }
        if let Some((peer, Step::Found { owner, .. })) = earlier
            && distance_behind(&self.key, &owner.position) > reach
        {
            self.doubts.push(Doubt { peer, fault: Fault::WrongOwner, certain: false });
        }
        for (by, claimed, _) in &self.claims {
            let farther = distance_behind(&self.key, &claimed.position) > reach;
            if farther && *by != self.me {
                self.doubts.push(Doubt { peer: *by, fault: Fault::WrongOwner, certain: false });
            }
        }
        self.found = Some(found);
    }

    /// The owner in effect: of the peers at or after the key that answered and named nearer ones, the nearest, once
    /// none of the nearer ones can answer any more. It takes their place as soon as it knows as much.
    fn acting_owner(&self) -> Acting {
        let reach = |position: &Position| distance_behind(&self.key, position);
        let claimed = self.behind.iter().filter_map(|entry| Some((entry, self.claimed_before(entry)?)));
        let acting = self.acting.iter().map(|(entry, named)| (entry, named.clone()));
        let nearest = acting.chain(claimed).min_by_key(|(entry, _)| reach(&entry.position));
        let Some((owner, named)) = nearest else { return Acting::None };
        let nearer = |position: &Position| reach(position) < reach(&owner.position);
        if named.iter().chain(&self.open).any(|p| nearer(p) && self.open.contains(p)) {
            return Acting::Awaited;
        }
        let unasked = |entry: &&Entry| nearer(&entry.position) && !self.asked.contains(&entry.position);
        let order = |entry: &&Entry| (self.distrusted.contains(&entry.position), reach(&entry.position));
        if let Some(next) = self.near.iter().chain(&self.beyond).filter(unasked).min_by_key(order) {
            return Acting::Unasked(next.clone());
        }
        if !named.iter().all(|p| self.failed.contains(p)) {
            return Acting::None;
        }
        let after = |list: &[Entry]| {
            let at = list.iter().position(|entry| entry.position == owner.position)?;
            Some(list[at + 1..].to_vec())
        };
        let claimed = |(_, claimed, behind): &(Position, Entry, Vec<Entry>)| match claimed.position {
            position if position == owner.position => Some(behind.clone()),
            _ => after(behind),
        };
        let listed = self.claims.iter().find_map(claimed);
        if listed.is_none() && !self.candidates.is_empty() {
            // The owner knows little of the peers behind it; a peer before the key has a list of them.
            return Acting::Unlisted;
        }
        let successors = listed.unwrap_or_default();
        Acting::Owner(Step::Found { owner: owner.clone(), predecessor: None, successors })
    }

    /// The peers that a claim names between the key and this peer.
    fn claimed_before(&self, entry: &Entry) -> Option<Vec<Position>> {
        self.claims.iter().find_map(|(_, owner, behind)| {
            let chain: Vec<Position> = std::iter::once(owner).chain(behind).map(|e| e.position).collect();
            let at = chain.iter().position(|position| *position == entry.position)?;
            Some(chain[..at].to_vec())
        })
    }

    fn next_beyond(&mut self) -> Option<Entry> {
        while let Some(next) = self.beyond.pop() {
            if !self.asked.contains(&next.position) {
                return Some(next);
            }
        }
        None
    }

    fn next_farther(&mut self) -> Option<Entry> {
        while let Some(next) = self.farther.pop() {
            if !self.asked.contains(&next.position) {
                return Some(next);
            }
        }
        None
    }

    /// The peer that was passed over does not answer, so the kept answer may be right.
    fn last_resort(&mut self) -> Step {
        match self.passed_over.take() {
            Some((_, found)) => {
                self.found = Some(found.clone());
                found
            }
            // The asker never queries itself: if every peer between the key and it has failed, it is the owner.
            None => self.owner_in_the_end().unwrap_or(Step::Failed),
        }
    }

    /// No peer that could own the key answers: returns the asker itself as the owner if every nearer peer failed.
    fn owner_in_the_end(&mut self) -> Option<Step> {
        let (me, nearer) = self.myself.as_ref()?;
        if nearer.iter().all(|peer| self.failed.contains(peer)) {
            let owner = me.clone();
            self.found = Some(Step::Found { owner, predecessor: None, successors: Vec::new() });
        }
        self.found.clone()
    }

    /// Adds peers before the key that were not asked yet, keeping the nearest to it last.
    fn add(&mut self, peers: Vec<Entry>) {
        for peer in peers {
            let known = self.candidates.iter().any(|c| c.position == peer.position);
            if between(&self.me, &peer.position, &self.key) && !self.asked.contains(&peer.position) && !known
            {
                self.candidates.push(peer);
            }
        }
        let (key, distrusted) = (self.key, &self.distrusted);
        self.candidates.sort_by_key(|c| {
            (!distrusted.contains(&c.position), std::cmp::Reverse(c.position.distance_to(&key)))
        });
        let surplus = self.candidates.len().saturating_sub(CANDIDATES_MAX);
        self.candidates.drain(..surplus);
    }

    /// Adds peers at or after the key that were not asked yet, keeping the nearest to it last.
    fn add_near(&mut self, peers: Vec<Entry>) {
        for peer in peers {
            let known = self.near.iter().any(|c| c.position == peer.position);
            if !self.asked.contains(&peer.position) && !known {
                self.near.push(peer);
            }
        }
        let (key, distrusted) = (self.key, &self.distrusted);
        self.near.sort_by_key(|c| {
            (!distrusted.contains(&c.position), std::cmp::Reverse(distance_behind(&key, &c.position)))
        });
        let surplus = self.near.len().saturating_sub(CANDIDATES_MAX);
        self.near.drain(..surplus);
    }
}

/// The time that one peer of a lookup has before the next one is asked: four round trips, within bounds.
pub fn hop_timeout(round_trip: Option<Duration>) -> Duration {
    round_trip.map_or(HOP_TIMEOUT_MIN, |trip| (trip * 4).clamp(HOP_TIMEOUT_MIN, HOP_GIVEN_UP))
}

/// The least time that one peer of a lookup has before the next one is asked.
const HOP_TIMEOUT_MIN: Duration = Duration::from_millis(250);
/// The time after which an asked peer is no longer expected to answer.
pub const HOP_GIVEN_UP: Duration = Duration::from_secs(1);
/// The most peers that one lookup asks.
const ASKED_MAX: usize = 64;
/// The most peers that it waits for at the same moment. With more, the lookup would ask ever worse peers for what the
/// first of them would have answered. As in Kademlia (Maymounkov and Mazières, IPTPS 2002).
const OPEN_MAX: usize = 3;
/// The most peers it keeps in mind before the key, and at or after it.
const CANDIDATES_MAX: usize = 32;
/// The most peers at or after the key that are asked from the asker's own table: when no other peer knows, or an answer
/// passes over them.
const BEYOND_MAX: usize = 3;
/// The most claims of others that it keeps in mind.
const CLAIMS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord::{PhaseKind, Table};
    use crate::id::KeyHash;
    use crate::wire::{Address, Life, Member, MemberState};

    fn entry(number: u8) -> Entry {
        let address = Address::new("127.0.0.1:1").unwrap();
        Entry::from(Life {
            position: Position::of_number(number),
            incarnation: 1,
            key: KeyHash([0; 32]),
            address,
        })
    }

    /// Peer 10 knows these alive, and two successors.
    fn view(members: &[u8]) -> View {
        let member = |n: &u8| Member { entry: entry(*n), state: MemberState::Alive };
        View {
            me: entry(10),
            phase: PhaseKind::Active,
            settings: Some(RingSettings { replicas: 3, successors: 2 }),
            predecessor: Some(entry(240)),
            successors: vec![entry(12), entry(14)],
            members: Table::of(members.iter().map(member)),
            acquaintances: Vec::new(),
            rejoined: Default::default(),
            departed: Default::default(),
            small: false,
            waiting_for: Vec::new(),
            turn: Default::default(),
        }
    }

    fn owner(owner: u8, before: u8) -> MembershipReply {
        MembershipReply::Owner {
            owner: entry(owner),
            predecessor: Some(entry(before)),
            successors: Vec::new(),
        }
    }

    fn near(peers: &[u8]) -> MembershipReply {
        MembershipReply::Near { peers: peers.iter().map(|number| entry(*number)).collect() }
    }

    fn asks(lookup: &mut Lookup) -> Option<u8> {
        match lookup.next_step() {
            Step::Ask(entry) => entry.position.number(),
            _ => None,
        }
    }

    fn found(lookup: &mut Lookup) -> Option<u8> {
        match lookup.next_step() {
            Step::Found { owner, .. } => owner.position.number(),
            _ => None,
        }
    }

    fn lookup(key: u8, members: &[u8], distrusted: &[u8]) -> Lookup {
        let distrusted = distrusted.iter().map(|number| Position::of_number(*number)).collect();
        Lookup::new(&view(members), Position::of_number(key), distrusted)
    }

    const ALL: [u8; 6] = [12, 14, 100, 150, 200, 240];
    /// Too few and too far apart to tell that the contacts around a key are all that there are.
    const FEW: [u8; 4] = [12, 14, 100, 240];

    /// Goal: in a ring that is known whole a lookup is one hop, to the owner.
    #[test]
    fn who_is_known_to_own_the_key_is_asked_itself() {
        let all: Vec<u8> = (0..25).map(|i| i * 10).filter(|n| *n != 10).collect();
        let mut lookup = lookup(125, &all, &[]);
        assert_eq!(asks(&mut lookup), Some(130));
        lookup.answered(&entry(130), owner(130, 120));
        assert_eq!((found(&mut lookup), lookup.doubts().len()), (Some(130), 0));
    }

    #[test]
    fn the_nearest_before_the_key_names_the_owner_and_the_owner_confirms() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(150, 100));
        assert_eq!(asks(&mut lookup), Some(150));
        lookup.answered(&entry(150), owner(150, 100));
        assert_eq!((found(&mut lookup), lookup.doubts().len()), (Some(150), 0));
    }

    /// Goal: a slow peer is not waited for, and may still answer.
    #[test]
    fn the_next_best_is_asked_while_the_first_is_slow() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        assert_eq!(asks(&mut lookup), Some(14));
        lookup.answered(&entry(100), owner(150, 100));
        assert_eq!(asks(&mut lookup), Some(150));
        lookup.answered(&entry(150), owner(150, 100));
        assert_eq!(found(&mut lookup), Some(150));
    }

    #[test]
    fn nobody_is_given_up_while_somebody_may_answer() {
        let mut lookup = lookup(13, &[12, 14], &[]);
        while asks(&mut lookup).is_some() {}
        assert_eq!(lookup.next_step(), Step::Wait);
        lookup.failed(&Position::of_number(12));
        assert_eq!(lookup.next_step(), Step::Wait);
        lookup.answered(&entry(14), owner(14, 12));
        assert_eq!(found(&mut lookup), Some(14));
    }

    /// Goal: right after deaths, the list of a peer before the key leads to the first living peer behind it,
    /// although no peer has noticed the deaths yet.
    #[test]
    fn behind_dead_owners_the_first_living_one_is_taken() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        let successors = vec![entry(160), entry(170)];
        let claim = MembershipReply::Owner { owner: entry(150), predecessor: Some(entry(100)), successors };
        lookup.answered(&entry(100), claim);
        for dead in [150, 160] {
            assert_eq!(asks(&mut lookup), Some(dead));
            lookup.failed(&Position::of_number(dead));
        }
        assert_eq!(asks(&mut lookup), Some(170));
        lookup.answered(&entry(170), near(&[160]));
        assert_eq!((found(&mut lookup), lookup.doubts().len()), (Some(170), 0));
    }

    /// Goal: slow is not dead: no peer takes the place of an owner that may still answer.
    #[test]
    fn a_slow_owner_stays_the_owner() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        let successors = vec![entry(170)];
        lookup.answered(
            &entry(100),
            MembershipReply::Owner { owner: entry(150), predecessor: Some(entry(100)), successors },
        );
        assert_eq!(asks(&mut lookup), Some(150));
        assert_eq!(asks(&mut lookup), Some(170), "while 150 is slow");
        lookup.answered(&entry(170), near(&[150]));
        assert_eq!(lookup.next_step(), Step::Wait);
        lookup.answered(&entry(150), owner(150, 100));
        assert_eq!(found(&mut lookup), Some(150));
    }

    /// Goal: a peer whose predecessor has just died finds itself.
    #[test]
    fn who_asks_may_be_the_owner_in_effect_itself() {
        let mut lookup = lookup(230, &[12, 14, 100, 240], &[]);
        while let Some(dead) = asks(&mut lookup) {
            lookup.failed(&Position::of_number(dead));
        }
        assert_eq!(found(&mut lookup), Some(10));
    }

    /// Goal: other peers know the predecessor's death already; the asker need not ask all of them first.
    #[test]
    fn who_asks_and_is_named_as_the_owner_is() {
        let mut lookup = lookup(230, &[12, 14, 100, 240], &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(10, 100));
        assert_eq!(asks(&mut lookup), Some(14), "240 may live");
        assert_eq!(asks(&mut lookup), Some(12));
        lookup.answered(&entry(14), MembershipReply::Inactive);
        assert_eq!(asks(&mut lookup), Some(240));
        lookup.failed(&Position::of_number(240));
        assert_eq!(found(&mut lookup), Some(10));
    }

    #[test]
    fn a_new_owner_is_named_by_the_one_behind_it() {
        let mut lookup = lookup(120, &FEW, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(150, 100));
        assert_eq!(asks(&mut lookup), Some(150));
        lookup.answered(&entry(150), near(&[130]));
        assert_eq!(asks(&mut lookup), Some(130));
        lookup.answered(&entry(130), owner(130, 100));
        assert_eq!(found(&mut lookup), Some(130));
    }

    #[test]
    fn who_is_passed_over_is_asked_itself() {
        let mut lookup = lookup(120, &ALL, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(200, 100));
        assert_eq!(asks(&mut lookup), Some(200));
        lookup.answered(&entry(200), owner(200, 100));
        assert_eq!(asks(&mut lookup), Some(150), "it lives, and lies nearer");
        lookup.answered(&entry(150), owner(150, 100));
        assert_eq!(found(&mut lookup), Some(150));
        let liars = lookup.doubts().iter().map(|doubt| (doubt.peer.number(), doubt.certain));
        assert_eq!(liars.collect::<Vec<_>>(), [(Some(200), false), (Some(100), false)]);
    }

    /// Goal: an asker that lags behind does not call an honest answer a lie.
    #[test]
    fn who_is_passed_over_and_silent_may_be_dead() {
        let mut lookup = lookup(120, &ALL, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(200, 100));
        assert_eq!(asks(&mut lookup), Some(200));
        lookup.answered(&entry(200), owner(200, 100));
        // All that are known at or after the key are asked, and say nothing that helps.
        while let Some(silent) = asks(&mut lookup) {
            lookup.failed(&Position::of_number(silent));
        }
        assert_eq!((found(&mut lookup), lookup.doubts().len()), (Some(200), 0));
    }

    /// Goal: after a row of deaths, the asker asks the peers that the answer depends on, not all others first.
    #[test]
    fn before_one_takes_the_place_of_the_owner_those_that_lie_nearer_are_asked() {
        let mut lookup = lookup(120, &ALL, &[]);
        assert_eq!(asks(&mut lookup), Some(100));
        lookup.answered(&entry(100), owner(200, 100));
        assert_eq!(asks(&mut lookup), Some(200));
        lookup.answered(&entry(200), near(&[]));
        assert_eq!(asks(&mut lookup), Some(150), "it is known, and lies nearer");
        lookup.failed(&Position::of_number(150));
        assert_eq!((found(&mut lookup), lookup.doubts().len()), (Some(200), 0));
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_dropped_and_somebody_else_asked() {
        for wrong in [
            owner(100, 14),
            MembershipReply::Owner { owner: entry(100), predecessor: None, successors: vec![entry(150)] },
            MembershipReply::Closer { peers: vec![entry(14)] },
            near(&[110]),
        ] {
            let mut lookup = lookup(120, &ALL, &[]);
            assert_eq!(asks(&mut lookup), Some(100));
            lookup.answered(&entry(100), wrong);
            assert!(lookup.doubts()[0].certain);
            assert_eq!(asks(&mut lookup), Some(14), "the next best before the key");
            assert_eq!(asks(&mut lookup), Some(12));
            assert_eq!(asks(&mut lookup), Some(150), "then whoever stands after it");
            lookup.answered(&entry(150), owner(150, 100));
            assert_eq!(found(&mut lookup), Some(150));
        }
    }

    #[test]
    fn who_lied_is_asked_last() {
        let mut lookup = lookup(120, &ALL, &[100]);
        assert_eq!(asks(&mut lookup), Some(14));
    }

    #[test]
    fn a_lookup_ends_whatever_is_answered() {
        let mut lookup = lookup(120, &ALL, &[]);
        let mut asked = 0;
        while let Step::Ask(whom) = lookup.next_step() {
            asked += 1;
            let mut position = Position([100 + (asked % 20) as u8; 32]);
            position.0[31] = asked as u8;
            let peer = Entry::from(Life { position, ..(*entry(0)).clone() });
            let peers = vec![peer];
            lookup.answered(
                &whom,
                match asked % 2 {
                    0 => MembershipReply::Closer { peers },
                    _ => MembershipReply::Near { peers },
                },
            );
        }
        assert!(asked <= ASKED_MAX + 1, "{asked}");
        assert_eq!(lookup.next_step(), Step::Failed);
    }
}
