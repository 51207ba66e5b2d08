//! The state of one peer in the ring, and its interface: messages, time and wishes in; outputs out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::departed::Departed;
use super::detector::Detector;
use super::entrance::{Entering, GivenOrder, Start};
use super::gossip::{Gossip, HEAL_EVERY};
use super::judge::NEWS_TOLD_MAX;
use super::lookup::Lookup;
use super::members::{Listener, Members};
use super::output::{EndReason, Event, Output, ReplyTo, Token, Unanswered};
use super::pause::Checking;
use super::rejoined::Rejoined;
use super::rules::Rules;
use super::silence::Silences;
use super::stabilise::Query;
use super::table::Table;
use super::view::{Local, PhaseKind, Turn, View};
use crate::config::RingSettings;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::limits::INCARNATION_MAX;
use crate::wire::{
    Address, Datagram, Entry, Member, MemberState, MembershipReply, MembershipRequest, NeighbourReply,
    NeighbourRequest, RelayFailure, Target,
};

/// The configuration of a new node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The entry of this peer, with an incarnation that is on disk.
    pub me: Entry,
    /// Whether a person gave the address. If not, the address counts at which the peer's contact sees it.
    pub address_given: bool,
    /// The ring's settings, if this peer brings them.
    pub settings: Option<RingSettings>,
    /// The time between two pings.
    pub interval: Duration,
    /// The number of answering members that are kept as contacts. A ring of so many is one hop wide; each takes
    /// [`Table::BYTES_PER_MEMBER`] and the cost of its news.
    pub contacts_max: usize,
    /// The way into the ring.
    pub start: Start,
    /// The seed for jitter and the choice of helpers.
    pub seed: u64,
}

/// The membership of one peer.
#[derive(Debug, Clone)]
pub struct Node {
    pub(super) me: Entry,
    pub(super) address_given: bool,
    /// The settings as given or learned; the default until then.
    pub(super) settings: RingSettings,
    pub(super) settings_known: bool,
    pub(super) interval: Duration,
    pub(super) phase: Phase,
    pub(super) members: Members,
    pub(super) predecessor: Option<Entry>,
    pub(super) successors: Vec<Entry>,
    /// The stabilise query under way. Meanwhile the list is undefined to others.
    pub(super) query: Option<Query>,
    pub(super) busy_tries: u8,
    /// Living peers that may lie before the first successor.
    pub(super) candidates: BTreeMap<Position, Entry>,
    pub(super) stabilise_at: Moment,
    /// Whether the neighbours changed since the last stabilise period.
    pub(super) neighbours_changed: bool,
    pub(super) detector: Detector,
    pub(super) gossip: Gossip,
    pub(super) rejoined: Rejoined,
    pub(super) departed: Departed,
    pub(super) silences: Silences,
    /// The last turn of this peer: a long time ago means that its process was stopped.
    pub(super) last_turn: Moment,
    /// Given contacts that have not been met in the ring yet.
    pub(super) strangers: Vec<Target>,
    pub(super) given_order: Option<GivenOrder>,
    pub(super) rules: Rules,
    /// Whether membership is the small ring's map.
    small: bool,
    /// The moment since which so few are known alive that a large ring may have become small.
    pub(super) few_since: Option<Moment>,
    pub(super) rng: ChaCha8Rng,
    pub(super) persisting: Option<u64>,
    /// Whether the message at hand came through a helper: then its sender is hearsay.
    pub(super) second_hand: bool,
    pending: BTreeMap<Token, (Moment, Purpose)>,
    next_token: u64,
    shown: (Option<Entry>, Vec<Entry>),
    /// The view at the last call of [`Node::version`], and the number of its changes so far.
    face: Face,
    version: u64,
    /// The turn of this peer while it leaves.
    turn: Turn,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone)]
pub(super) enum Phase {
    Entering(Entering),
    Active,
    Leaving,
    /// The process was stopped, and asks whether the ring still counts this peer.
    Checking(Checking),
    /// The peer has left: it answers `Gone` until this moment.
    Gone {
        until: Moment,
    },
    Ended,
}

/// The purpose of a request.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    Join(Address),
    Query,
    Exchange(Address),
    Notify,
    DirectProbe(Position),
    HelperProbe {
        target: Position,
        helper: Position,
    },
    Relay(ReplyTo),
    Farewell,
    /// Asks for a page of contacts.
    Contacts,
    /// Has another peer look up this peer's own position.
    Heal {
        whom: Entry,
        hops: u32,
    },
    /// Asks whether the ring still counts this peer.
    Check(Position),
}

/// The content of a view without its large parts; of those, the number of changes. A field that [`View`] gets has its
/// counterpart here; wherever debug assertions are on, each published view is compared with the node's own.
#[derive(Debug, Clone, Default)]
struct Face {
    me: Option<Entry>,
    phase: Option<PhaseKind>,
    settings: Option<RingSettings>,
    predecessor: Option<Entry>,
    successors: Vec<Entry>,
    counts: [u64; 4],
    small: bool,
    waiting_for: Vec<String>,
    turn: Turn,
}

impl Face {
    fn of(node: &Node) -> Face {
        Face {
            me: Some(node.me.clone()),
            phase: Some(node.phase()),
            settings: node.settings_shown(),
            predecessor: node.predecessor.clone(),
            successors: node.successors.clone(),
            counts: node.face_counts(),
            small: node.is_small(),
            waiting_for: node.waiting_for(),
            turn: node.turn,
        }
    }
}

impl Node {
    /// Begins; the first outputs are ready at once.
    pub fn new(now: Moment, config: NodeConfig) -> Node {
        let NodeConfig { me, address_given, settings, interval, contacts_max, start, seed } = config;
        let mut node = Node {
            me,
            address_given,
            settings: settings.unwrap_or_default(),
            settings_known: settings.is_some(),
            interval,
            phase: Phase::Ended,
            members: Members::new(contacts_max),
            predecessor: None,
            successors: Vec::new(),
            query: None,
            busy_tries: 0,
            candidates: BTreeMap::new(),
            stabilise_at: now,
            neighbours_changed: false,
            detector: Detector::new(now),
            gossip: Gossip::new(now),
            rejoined: Rejoined::default(),
            departed: Departed::default(),
            silences: Silences::default(),
            last_turn: now,
            strangers: Vec::new(),
            given_order: None,
            rules: Rules::default(),
            small: true,
            few_since: None,
            rng: ChaCha8Rng::seed_from_u64(seed),
            persisting: None,
            second_hand: false,
            pending: BTreeMap::new(),
            next_token: 0,
            shown: (None, Vec::new()),
            face: Face::default(),
            version: 0,
            turn: Turn::Unasked,
            outputs: VecDeque::new(),
        };
        node.enter(now, start);
        node.settle(now);
        node
    }

    /// A node like that of a peer which has long been in its ring, with these neighbours and contacts. For simulations.
    pub fn converged(
        now: Moment,
        config: NodeConfig,
        predecessor: Option<Entry>,
        successors: Vec<Entry>,
        contacts: Table,
    ) -> Node {
        let mut node = Node::new(now, NodeConfig { start: Start::Found, ..config });
        node.members.settled(contacts);
        node.judge_size(now);
        (node.predecessor, node.successors) = (predecessor, successors);
        node.shown = (node.predecessor.clone(), node.successors.clone());
        node.watch_neighbours(now);
        // Not all peers begin at the same moment.
        let [stabilise, ping, heal]: [f64; 3] = node.rng.random();
        node.stabilise_at = now + node.interval.mul_f64(stabilise);
        node.detector.begin_anew(now + node.interval.mul_f64(ping));
        node.gossip.begin_at(now + (node.interval * HEAL_EVERY).mul_f64(heal));
        node.outputs.clear();
        node
    }

    /// Follows other rules from now on. For simulations.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Forgets all that an ended or dead peer no longer needs. It still answers that it is gone, and still tells which
    /// peers it kept contact with. For simulations.
    pub fn shed(&mut self) {
        self.members = Members::new(0);
        self.detector = Detector::new(self.last_turn);
        (self.rejoined, self.departed) = (Rejoined::default(), Departed::default());
        (self.silences, self.face) = (Silences::default(), Face::default());
        self.shown = (None, Vec::new());
        self.candidates.clear();
        self.pending.clear();
        self.outputs = VecDeque::new();
        (self.query, self.strangers, self.given_order) = (None, Vec::new(), None);
    }

    /// Takes a datagram from the peer that the connection proves.
    pub fn handle_datagram(&mut self, now: Moment, from: &Entry, datagram: Datagram) {
        if matches!(self.phase, Phase::Gone { .. } | Phase::Ended) {
            return;
        }
        self.notice_pause(now);
        match datagram {
            Datagram::Ping { sequence, news } => {
                self.event(Event::PingReceived(from.position));
                // The answer leaves out the news that this datagram brings.
                let belief = self.must_hear(from);
                let answer = self.members.take_news(self.listener(from), belief);
                self.hear_all(now, &from.into(), news, NEWS_TOLD_MAX);
                self.heard(now, from);
                self.output(Output::Datagram {
                    to: from.clone(),
                    datagram: Datagram::Pong { sequence, news: answer },
                });
            }
            Datagram::Pong { sequence, news } => {
                self.hear_all(now, &from.into(), news, NEWS_TOLD_MAX);
                self.handle_pong(now, from, sequence);
            }
            // The ring's clock is not a matter of membership.
            Datagram::Clock { .. } => {}
        }
        self.settle(now);
    }

    /// Takes a request; an [`Output::Reply`] answers it, most often at once.
    pub fn handle_request(&mut self, now: Moment, from: &Entry, to: ReplyTo, request: MembershipRequest) {
        self.notice_pause(now);
        if self.second_hand {
            self.heard_of_later_life(now, from);
        } else {
            self.heard(now, from);
        }
        if let Some(reply) = self.answer(now, from, to, request) {
            self.output(Output::Reply { to, reply });
        }
        self.settle(now);
    }

    /// Like [`Node::handle_request`], for a request that a helper forwarded: its sender is hearsay, and it is no sign
    /// of life.
    pub fn handle_forwarded_request(
        &mut self,
        now: Moment,
        from: &Entry,
        to: ReplyTo,
        request: MembershipRequest,
    ) {
        self.second_hand = true;
        self.handle_request(now, from, to, request);
        self.second_hand = false;
    }

    /// Like [`Node::handle_reply`], for an answer that came through a helper.
    pub fn handle_forwarded_reply(
        &mut self,
        now: Moment,
        token: Token,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        self.second_hand = true;
        self.handle_reply(now, token, answer);
        self.second_hand = false;
    }

    /// Takes the answer to a request, or the news that no peer answered it. Late answers are dropped.
    pub fn handle_reply(
        &mut self,
        now: Moment,
        token: Token,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        self.notice_pause(now);
        // Before the request is taken from `pending`: `heard` begins an exchange where none is pending, so the answer
        // to one would begin the next, in every round trip while the answering peer is busy.
        if let Ok((from, _)) = &answer
            && self.pending.contains_key(&token)
        {
            self.heard(now, from);
        }
        if let Some((_, purpose)) = self.pending.remove(&token) {
            self.resolve(now, purpose, answer);
        }
        self.settle(now);
    }

    /// Begins to look up the owner of a key; the caller drives the lookup. Distrusted peers are asked last.
    pub fn lookup(&self, key: Position, distrusted: BTreeSet<Position>) -> Lookup {
        Lookup::with(self.local(), key, distrusted)
    }

    /// Takes an answer to a lookup of this peer: its sender is alive, and the peers that it names are worth knowing.
    pub fn handle_lookup_answer(&mut self, now: Moment, from: &Entry, reply: &MembershipReply) {
        self.notice_pause(now);
        self.heard(now, from);
        let named: Vec<Entry> = match reply {
            MembershipReply::Owner { owner, successors, .. } => {
                std::iter::once(owner).chain(successors).cloned().collect()
            }
            MembershipReply::Near { peers } | MembershipReply::Closer { peers } => peers.clone(),
            _ => Vec::new(),
        };
        let alive = |entry| Member { entry, state: MemberState::Alive };
        self.hear_quietly(now, &from.into(), named.into_iter().take(NAMED_MAX).map(alive));
        self.settle(now);
    }

    /// Notes that a peer left a lookup of this one unanswered.
    pub fn handle_lookup_silence(&mut self, now: Moment, whom: &Entry) {
        self.notice_pause(now);
        let believed_alive =
            self.members.at(&whom.position).is_some_and(|known| known.state == MemberState::Alive);
        if believed_alive && matches!(self.phase, Phase::Active | Phase::Leaving) {
            self.suspect(now, whom);
        }
        self.settle(now);
    }

    /// Notes that the incarnation of an [`Output::Persist`] is on disk.
    pub fn handle_persisted(&mut self, now: Moment, incarnation: u64) {
        if self.persisting.take_if(|asked| *asked <= incarnation).is_some() {
            self.me = self.me.with_incarnation(incarnation);
            self.members.announce(Member { entry: self.me.clone(), state: MemberState::Alive });
            self.stabilise_at = now;
            self.retry_entrance(now);
        }
        self.settle(now);
    }

    /// Lets time pass: handles everything that is due by `now`.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.notice_pause(now);
        self.rejoined.forget(now, self.death_timeout());
        self.departed.look(now, self.members.away().next().is_some());
        let late: Vec<Token> =
            self.pending.iter().filter(|(_, (at, _))| *at <= now).map(|(t, _)| *t).collect();
        for token in late {
            if let Some((_, purpose)) = self.pending.remove(&token) {
                self.resolve(now, purpose, Err(Unanswered::from("it does not answer".to_owned())));
            }
        }
        match self.phase {
            Phase::Entering(_) => self.entrance_timeout(now),
            Phase::Active | Phase::Leaving => {
                self.detector_timeout(now);
                self.stabilise_timeout(now);
                self.heal_timeout(now);
                self.compare_given_order(now);
            }
            Phase::Checking(_) => self.checking_timeout(now),
            Phase::Gone { until } if until <= now => self.end(EndReason::Left),
            Phase::Gone { .. } | Phase::Ended => {}
        }
        self.settle(now);
    }

    /// The next output for the driver, if there is one.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The moment at which to call [`Node::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let phase = match &self.phase {
            Phase::Entering(entering) => entering.next_timeout(),
            Phase::Active | Phase::Leaving => [
                self.detector.next_timeout(),
                Some(self.stabilise_at),
                self.given_order.as_ref().map(|given| given.at),
            ]
            .into_iter()
            .flatten()
            .min(),
            Phase::Checking(checking) => Some(checking.again_at),
            Phase::Gone { until } => Some(*until),
            Phase::Ended => None,
        };
        let pending = self.pending.values().map(|(at, _)| *at).min();
        phase.into_iter().chain(pending).min()
    }

    /// Begins to leave: takes nothing new from now on, but still answers and keeps its range.
    pub fn begin_leaving(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Active) {
            self.phase = Phase::Leaving;
            self.turn = Turn::Unasked;
        }
        self.settle(now);
    }

    /// Stays after all: takes new objects again.
    pub fn stay(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Leaving) {
            self.phase = Phase::Active;
            self.turn = Turn::Unasked;
            self.version += 1;
        }
        self.settle(now);
    }

    /// Begins to ask the neighbours whether this leaving peer may go (`MayLeave`).
    pub fn ask_turn(&mut self) {
        if matches!(self.phase, Phase::Leaving) && self.turn == Turn::Unasked {
            self.turn = Turn::Asked;
        }
    }

    /// All neighbours let this peer go: it does ([`Turn::Taken`]), unless it has let one of them go first meanwhile,
    /// which may not have been leaving when it answered.
    pub fn take_turn(&mut self) {
        if self.turn == Turn::Asked {
            self.turn = Turn::Taken;
        }
    }

    /// Whether a neighbour that leaves may go. It may not while this peer's list names no other living peer. Of two
    /// that leave, the lower position goes first, but no peer goes before one that has its turn.
    pub(super) fn lets_go(&mut self, whom: &Entry) -> bool {
        let is_other = |entry: &Entry| entry.position != whom.position && !self.members.is_gone(entry);
        if !self.is_small() && self.successors.len() > 1 && !self.successors.iter().any(is_other) {
            return false;
        }
        if !matches!(self.phase, Phase::Leaving) {
            return true;
        }
        if self.turn == Turn::Taken || self.me.position < whom.position {
            return false;
        }
        if self.turn == Turn::Asked {
            self.turn = Turn::Unasked;
        }
        true
    }

    /// Tells the neighbours and goes; `Ended` follows after two ping intervals of answering `Gone`.
    pub fn depart(&mut self, now: Moment) {
        // A peer that was stopped meanwhile, and checks whether it is still counted, goes all the same.
        if !matches!(self.phase, Phase::Active | Phase::Leaving | Phase::Checking(_)) {
            return;
        }
        let farewell = MembershipRequest::Left {
            predecessor: self.predecessor.clone(),
            successors: self.successors.clone(),
        };
        let mut told: Vec<Entry> =
            self.predecessor.iter().chain(self.successors.iter().take(2)).cloned().collect();
        if self.is_small() {
            told = self.members.alive().cloned().collect();
        } else if let Some(second) = self.second_predecessor() {
            told.push(second);
        }
        told.sort_by_key(|entry| entry.position);
        told.dedup_by_key(|entry| entry.position);
        for entry in told {
            self.ask(now, Target::from(&entry), farewell.clone(), self.request_timeout(), Purpose::Farewell);
        }
        self.phase = Phase::Gone { until: now + self.interval * 2 };
        self.settle(now);
    }

    /// No longer counts a member that does not answer, and tells the ring. Its last life and the next one are declared
    /// over, so that the peer may come back with a later one. Returns false if there is no such member.
    pub fn forget(&mut self, now: Moment, whom: &Position) -> bool {
        let known = self.members.at(whom).filter(|known| known.state == MemberState::Dead);
        let Some(entry) = known.map(|known| known.entry.clone()) else { return false };
        let over = entry.incarnation.saturating_add(1).min(INCARNATION_MAX);
        self.learn(now, Member { entry: entry.with_incarnation(over), state: MemberState::Left });
        self.settle(now);
        self.members.at(whom).is_none_or(|known| known.state == MemberState::Left)
    }

    /// Whether a farewell of this peer is still unanswered.
    pub(super) fn says_farewell(&self) -> bool {
        self.pending.values().any(|(_, purpose)| matches!(purpose, Purpose::Farewell))
    }

    /// A number that changes whenever [`Node::view`] does. It is found by comparing what a view shows, so that no step
    /// of this node can forget to report a change.
    pub fn version(&mut self) -> u64 {
        if !self.is_shown_by(&self.face) {
            self.face = Face::of(self);
            self.version += 1;
        }
        self.version
    }

    /// Whether a view shows this node as it is, compared in full if the ring is small enough. For checks of
    /// [`Node::version`].
    pub fn is_shown_in(&self, view: &View) -> bool {
        view.members.len().max(self.members.table().len()) > COMPARED_MAX || *view == self.view()
    }

    fn is_shown_by(&self, face: &Face) -> bool {
        let waits = matches!(self.phase, Phase::Entering(_));
        face.counts == self.face_counts()
            && face.me.as_ref() == Some(&self.me)
            && face.phase == Some(self.phase())
            && face.settings == self.settings_shown()
            && face.predecessor == self.predecessor
            && face.successors == self.successors
            && (face.small, face.turn) == (self.is_small(), self.turn)
            && (!waits || face.waiting_for == self.waiting_for())
    }

    /// The number of changes to the large parts of a view.
    fn face_counts(&self) -> [u64; 4] {
        let gossip = self.gossip.acquaintance_changes();
        [self.members.changes(), gossip, self.rejoined.changes(), self.departed.changes()]
    }

    fn settings_shown(&self) -> Option<RingSettings> {
        self.settings_known.then_some(self.settings)
    }

    fn waiting_for(&self) -> Vec<String> {
        match &self.phase {
            Phase::Entering(entering) => entering.waiting_for(),
            _ => Vec::new(),
        }
    }

    /// The beliefs of this peer at the moment.
    pub fn view(&self) -> View {
        View {
            me: self.me.clone(),
            phase: self.phase(),
            settings: self.settings_shown(),
            predecessor: self.predecessor.clone(),
            successors: self.successors.clone(),
            members: self.members.table().clone(),
            acquaintances: self.gossip.acquaintances().to_vec(),
            rejoined: self.rejoined.positions(),
            departed: self.departed.positions(),
            small: self.is_small(),
            waiting_for: self.waiting_for(),
            turn: self.turn,
        }
    }

    /// The phase of this peer.
    pub fn phase(&self) -> PhaseKind {
        match self.phase {
            Phase::Entering(_) => PhaseKind::Entering,
            Phase::Active => PhaseKind::Active,
            Phase::Leaving => PhaseKind::Leaving,
            Phase::Checking(_) => PhaseKind::Checking,
            Phase::Gone { .. } | Phase::Ended => PhaseKind::Ended,
        }
    }

    /// The entry of this peer.
    pub fn me(&self) -> &Entry {
        &self.me
    }

    /// Sets the address of this peer, found out before it tells any other.
    pub fn set_address(&mut self, address: Address) {
        self.me = self.me.with_address(address);
        if matches!(self.phase, Phase::Active | Phase::Leaving) {
            // This takes the place of the news with the old address.
            self.members.announce(Member { entry: self.me.clone(), state: MemberState::Alive });
        }
    }

    /// Sets a new address of this peer's machine when others know the old one. They learn it with a new life, since of
    /// one life the first word counts.
    pub fn moved(&mut self, now: Moment, address: Address) {
        if matches!(self.phase, Phase::Gone { .. } | Phase::Ended) || address == self.me.address {
            return;
        }
        self.me = self.me.with_address(address);
        self.raise_incarnation_above(self.me.incarnation);
        self.settle(now);
    }

    /// All members that this peer knows of.
    pub fn members(&self) -> &Table {
        self.members.table()
    }

    /// Whether this peer keeps in contact with another one: a neighbour, or one of its random partners.
    pub fn keeps_contact_with(&self, position: &Position) -> bool {
        let mut neighbours = self.successors.iter().take(NEAR_KEPT).chain(&self.predecessor);
        neighbours.any(|entry| entry.position == *position) || self.gossip.has_partner(position)
    }

    /// The kind of listener that a peer is to the news of this one.
    pub(super) fn listener(&self, whom: &Entry) -> Listener {
        let ahead = self.successors.iter().take(2);
        let mut beside = ahead.chain(self.members.table().counter_clockwise_from(&self.me.position).take(2));
        match beside.any(|entry| entry.position == whom.position) {
            true => Listener::Neighbour,
            false => Listener::Random,
        }
    }

    /// The predecessor; `None` while alone.
    pub fn predecessor(&self) -> Option<&Entry> {
        self.predecessor.as_ref()
    }

    /// The successor list, at most r entries.
    pub fn successors(&self) -> &[Entry] {
        &self.successors
    }

    /// Whether this peer takes part in the ring.
    pub fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Leaving)
    }

    /// If the answer to this request brings a list that this peer takes over: the peer whose list it is.
    pub fn awaits_list(&self, token: Token) -> Option<&Entry> {
        let query = self.query.as_ref().filter(|_| {
            self.pending.get(&token).is_some_and(|(_, purpose)| matches!(purpose, Purpose::Query))
        })?;
        Some(query.whom())
    }

    /// The peer whose list this one waits for; its own list is undefined meanwhile.
    pub fn asks(&self) -> Option<&Entry> {
        self.query.as_ref().map(Query::whom)
    }

    /// The request for which this one was relayed, if it was.
    pub fn relays(&self, token: Token) -> Option<ReplyTo> {
        match self.pending.get(&token)? {
            (_, Purpose::Relay(to)) => Some(*to),
            _ => None,
        }
    }

    /// The memory that this peer's state takes, in bytes, besides what the handles of one life share.
    pub fn bytes(&self) -> usize {
        size_of::<Node>()
            + self.members.bytes()
            + self.gossip.bytes()
            + self.rejoined.bytes()
            + self.departed.bytes()
            + self.silences.bytes()
            + (self.successors.capacity() + self.shown.1.capacity() + self.face.successors.capacity())
                * size_of::<Entry>()
            + (self.pending.len() + self.candidates.len()) * size_of::<(Token, (Moment, Purpose))>()
    }

    pub(super) fn local(&self) -> Local<'_> {
        Local {
            me: &self.me,
            is_member: self.is_member(),
            predecessor: self.predecessor.as_ref(),
            successors: &self.successors,
            successors_max: self.settings.successors.into(),
            members: self.members.table(),
            small: self.is_small(),
        }
    }

    /// Whether membership is the small ring's map: fewer than r + 2 members are known alive.
    pub fn is_small(&self) -> bool {
        self.rules.small_ring_map && self.small
    }

    /// Judges whether the ring is small. A member that took it for large waits one period before it believes so: it may
    /// hear of a death long before it has met the peers that came meanwhile, and a list of the few that it knows would
    /// pass over them. With no peer left in its own list it has nothing better.
    pub(super) fn judge_size(&mut self, now: Moment) {
        let few = self.members.alive_count() + 1 < self.settings.chord_from();
        if !few || self.small {
            (self.small, self.few_since) = (few, None);
            return;
        }
        let since = *self.few_since.get_or_insert(now);
        if since + self.interval <= now || self.successors.is_empty() || !self.is_member() {
            (self.small, self.few_since) = (true, None);
            self.rebuild();
        }
    }

    fn resolve(
        &mut self,
        now: Moment,
        purpose: Purpose,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        match purpose {
            Purpose::Join(_) => self.join_answered(now, answer),
            Purpose::Query => self.query_answered(now, answer),
            Purpose::Exchange(_) => self.exchange_answered(now, answer),
            Purpose::DirectProbe(target) => self.probe_answered(now, target, None, answer),
            Purpose::HelperProbe { target, helper } => self.probe_answered(now, target, Some(helper), answer),
            Purpose::Relay(to) => {
                let relayed = match answer {
                    Ok((_, MembershipReply::Neighbour(reply))) => Ok(reply),
                    Ok((_, MembershipReply::Gone { .. })) => Ok(NeighbourReply::Inactive),
                    Ok(_) | Err(_) => Err(RelayFailure::Unanswered),
                };
                self.output(Output::Reply { to, reply: MembershipReply::Relayed(relayed) });
            }
            Purpose::Notify => {
                if let Ok((from, MembershipReply::Gone { .. })) = answer {
                    self.hear_from(now, &from, MemberState::Left);
                }
            }
            Purpose::Farewell => {}
            Purpose::Contacts => self.contacts_answered(now, answer),
            Purpose::Heal { whom, hops } => self.heal_answered(now, &whom, hops, answer),
            Purpose::Check(whom) => self.check_answered(now, &whom, answer),
        }
    }

    /// Sends a request; its answer comes back to [`Node::resolve`] with the purpose.
    pub(super) fn ask(
        &mut self,
        now: Moment,
        to: Target,
        request: MembershipRequest,
        timeout: Duration,
        purpose: Purpose,
    ) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.pending.insert(token, (now + timeout, purpose));
        self.output(Output::Request { token, to, request, timeout });
        token
    }

    /// The requests that this peer relays at the moment.
    pub(super) fn relays_under_way(&self) -> Vec<ReplyTo> {
        let relays = self.pending.values().filter_map(|(_, purpose)| match purpose {
            Purpose::Relay(to) => Some(*to),
            _ => None,
        });
        relays.collect()
    }

    pub(super) fn is_pending(&self, of: impl Fn(&Purpose) -> bool) -> bool {
        self.count_pending(of) > 0
    }

    pub(super) fn count_pending(&self, of: impl Fn(&Purpose) -> bool) -> usize {
        self.pending.values().filter(|(_, purpose)| of(purpose)).count()
    }

    /// Drops the pending requests of this kind.
    pub(super) fn forget_pending(&mut self, of: impl Fn(&Purpose) -> bool) {
        self.pending.retain(|_, (_, purpose)| !of(purpose));
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn end(&mut self, reason: EndReason) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.pending.clear();
            self.event(Event::Ended(reason));
        }
    }

    /// After every step: reports changes to people, to the detector and to the neighbour behind.
    fn settle(&mut self, now: Moment) {
        if !matches!(self.phase, Phase::Active | Phase::Leaving) {
            return;
        }
        self.continue_stabilising(now);
        if self.shown.0 == self.predecessor && self.shown.1 == self.successors {
            return;
        }
        self.neighbours_changed = true;
        let position = |entry: Option<&Entry>| entry.map(|e| e.position);
        for rank in 0..2 {
            let (old, new) = (position(self.shown.1.get(rank)), position(self.successors.get(rank)));
            if let Some(new) = new.filter(|new| old != Some(*new)) {
                self.event(Event::SuccessorChanged(rank as u8 + 1, new));
            }
        }
        let (old, new) = (position(self.shown.0.as_ref()), position(self.predecessor.as_ref()));
        if let Some(new) = new.filter(|new| old != Some(*new)) {
            self.event(Event::PredecessorChanged(new));
        }
        if position(self.shown.1.first()) != position(self.successors.first()) && !self.is_small() {
            // The second predecessor of the peer that came or went learns of it at once.
            if let Some(predecessor) = self.predecessor.clone() {
                let request = MembershipRequest::Neighbour(NeighbourRequest::Changed);
                self.ask(now, Target::from(&predecessor), request, self.request_timeout(), Purpose::Notify);
            }
        }
        self.shown = (self.predecessor.clone(), self.successors.clone());
        self.watch_neighbours(now);
    }

    /// The predecessor's predecessor, as far as the known members tell.
    fn second_predecessor(&self) -> Option<Entry> {
        let predecessor = self.predecessor.as_ref()?;
        let before: Option<&Entry> = self.members.clockwise_from(&predecessor.position).last();
        before.filter(|entry| entry.position != self.me.position).cloned()
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.interval.clamp(REQUEST_TIMEOUT_MIN, REQUEST_TIMEOUT_MAX)
    }

    pub(super) fn probe_timeout(&self) -> Duration {
        (self.interval / 2).max(PROBE_TIMEOUT_MIN)
    }

    /// A duration, shortened at random by up to a quarter.
    pub(super) fn jittered(&mut self, period: Duration) -> Duration {
        period.mul_f64(1.0 - 0.25 * self.rng.random::<f64>())
    }
}

/// The number of successors that a peer of a large ring keeps connected.
pub const NEAR_KEPT: usize = 3;
/// The most members up to which a view is compared in full.
const COMPARED_MAX: usize = 64;
/// The most peers that one answer of a lookup names.
const NAMED_MAX: usize = 1 + crate::config::RingSettings::SUCCESSORS_MAX as usize;
const REQUEST_TIMEOUT_MIN: Duration = Duration::from_millis(500);
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(2);
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(250);
