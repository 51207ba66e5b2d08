//! The state of one peer in the ring, and its interface: messages, time and wishes in; outputs out.
//!
//! A node owns sub-machines, each in a file of its own that does not know the node. The files of this folder dispatch:
//! they take a message apart, give each sub-machine what concerns it, and carry out the steps that it returns. The
//! rules are in the sub-machines.

mod admit;
mod answer;
mod departing;
mod digest;
mod entrance;
mod failures;
mod gossiping;
mod news;
mod pausing;
mod shown;
mod stabilising;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::acquaintances::Acquaintances;
use super::claims::{NEWS_TOLD_MAX, Teller};
use super::contact_copy::ContactCopy;
use super::departed::Departed;
use super::departure::Departure;
use super::detector::Detector;
use super::entering::{Entering, Start};
use super::face::Shown;
use super::given::Given;
use super::lives::{Lives, Step as LivesStep};
use super::lookup::Lookup;
use super::members::Members;
use super::neighbourhood::{Known, Neighbourhood};
use super::news::Listener;
use super::output::{EndReason, Event, Output, ReplyTo, Token, Unanswered};
use super::partners::Partners;
use super::pause::{Checking, PauseRule};
use super::rejoined::Rejoined;
use super::requests::{Purpose, Requests};
use super::ring_search::{RingSearch, SEARCH_EVERY};
use super::ring_size::RingSize;
use super::rooms::Rooms;
use super::rules::Rules;
use super::silence::Silences;
use super::table::Table;
use super::timing::{death_timeout, request_timeout};
use super::view::Local;
use crate::config::RingSettings;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{
    Address, Datagram, Entry, Member, MemberState, MembershipReply, MembershipRequest, NeighbourReply,
    RelayFailure, Target,
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
    /// The number of answering members that are kept as contacts. A ring of no more members is one hop wide. Each
    /// contact takes [`Table::BYTES_PER_MEMBER`] and the cost of its news.
    pub contacts_max: usize,
    /// The way into the ring.
    pub start: Start,
    /// The seed for jitter and the choice of helpers.
    pub seed: u64,
}

/// The membership of one peer.
///
/// Its driver calls four kinds of methods. `handle_*` take events: messages, answers, time. `begin_leaving`, `depart`
/// and the like take the wishes of this peer. `poll_output` and `poll_timeout` say what is to be done, and when to call
/// [`Node::handle_timeout`]: after any `handle_*` the driver drains the outputs, then re-arms its timer. The others
/// only tell what this peer believes.
#[derive(Debug, Clone)]
pub struct Node {
    me: Entry,
    address_given: bool,
    /// The settings as given or learned; `None` until then.
    settings: Option<RingSettings>,
    interval: Duration,
    rules: Rules,
    rng: ChaCha8Rng,
    phase: Phase,
    size: RingSize,
    members: Members,
    ring: Neighbourhood,
    detector: Detector,
    partners: Partners,
    acquaintances: Acquaintances,
    contact_copy: ContactCopy,
    ring_search: RingSearch,
    rejoined: Rejoined,
    departed: Departed,
    rooms: Rooms,
    silences: Silences,
    lives: Lives,
    pause: PauseRule,
    given: Given,
    departure: Departure,
    requests: Requests,
    shown: Shown,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone)]
enum Phase {
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

/// The answer to a request with its teller, or the reason why there is no answer.
type Answer = Result<(Teller, MembershipReply), Unanswered>;

impl Node {
    /// Begins; the first outputs are ready at once.
    pub fn new(now: Moment, config: NodeConfig) -> Node {
        let NodeConfig { me, address_given, settings, interval, contacts_max, start, seed } = config;
        let mut node = Node {
            me,
            address_given,
            settings,
            interval,
            rules: Rules::default(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            phase: Phase::Ended,
            size: RingSize::new(),
            members: Members::new(contacts_max),
            ring: Neighbourhood::new(now),
            detector: Detector::new(now),
            partners: Partners::new(now),
            acquaintances: Acquaintances::default(),
            contact_copy: ContactCopy::default(),
            ring_search: RingSearch::new(now),
            rejoined: Rejoined::default(),
            departed: Departed::default(),
            rooms: Rooms::default(),
            silences: Silences::default(),
            lives: Lives::default(),
            pause: PauseRule::new(now),
            given: Given::default(),
            departure: Departure::default(),
            requests: Requests::default(),
            shown: Shown::default(),
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
        node.ring = Neighbourhood::settled(now, predecessor, successors);
        node.watch_neighbours(now);
        // Not all peers begin at the same moment.
        let [stabilise, ping, search]: [f64; 3] = node.rng.random();
        node.ring.stabilise_at(now + node.interval.mul_f64(stabilise));
        node.detector.begin_anew(now + node.interval.mul_f64(ping));
        let search = now + (node.interval * SEARCH_EVERY).mul_f64(search);
        node.partners.begin_at(search);
        node.ring_search.begin_at(search);
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
        self.detector = Detector::new(self.pause.last_step());
        (self.rejoined, self.departed) = (Rejoined::default(), Departed::default());
        (self.silences, self.rooms) = (Silences::default(), Rooms::default());
        self.shown.shed();
        (self.given, self.requests) = (Given::default(), Requests::default());
        self.ring.shed();
        self.outputs = VecDeque::new();
    }

    /// Takes a datagram from the peer that the connection proves.
    pub fn handle_datagram(&mut self, now: Moment, from: &Entry, datagram: Datagram) {
        if matches!(self.phase, Phase::Gone { .. } | Phase::Ended) {
            return;
        }
        self.notice_pause(now);
        let teller = Teller::direct(from);
        match datagram {
            Datagram::Ping { sequence, news } => {
                self.event(Event::PingReceived(from.position));
                // The answer leaves out the news that this datagram brings.
                let correction = self.members.correction_for(from);
                let answer = self.members.take_news(self.listener(from), correction);
                self.ingest_gossip(now, &teller, news, NEWS_TOLD_MAX);
                self.note_contact(now, &teller);
                let datagram = match self.rooms.own_full() {
                    false => Datagram::Pong { sequence, news: answer },
                    true => Datagram::FullPong { sequence, news: answer },
                };
                self.output(Output::Datagram { to: from.clone(), datagram });
            }
            Datagram::Pong { sequence, news } => self.take_pong(now, &teller, sequence, news, false),
            Datagram::FullPong { sequence, news } => self.take_pong(now, &teller, sequence, news, true),
            // The ring's clock is not a matter of membership.
            Datagram::Clock { .. } => {}
        }
        self.settle(now);
    }

    /// Takes a request; an [`Output::Reply`] answers it, most often at once.
    pub fn handle_request(&mut self, now: Moment, from: &Entry, to: ReplyTo, request: MembershipRequest) {
        self.notice_pause(now);
        let teller = Teller::direct(from);
        self.note_contact(now, &teller);
        self.take_request(now, &teller, to, request);
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
        self.notice_pause(now);
        if self.detector.is_later_life(from) {
            self.exchange(now, from.clone());
        }
        self.take_request(now, &Teller::forwarded(from), to, request);
    }

    /// Takes the answer to a request, or the news that no peer answered it. Late answers are dropped.
    pub fn handle_reply(
        &mut self,
        now: Moment,
        token: Token,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        self.take_reply(now, token, answer.map(|(from, reply)| (Teller::direct(&from), reply)));
    }

    /// Like [`Node::handle_reply`], for an answer that came through a helper.
    pub fn handle_forwarded_reply(
        &mut self,
        now: Moment,
        token: Token,
        answer: Result<(Entry, MembershipReply), Unanswered>,
    ) {
        self.take_reply(now, token, answer.map(|(from, reply)| (Teller::forwarded(&from), reply)));
    }

    /// Begins to look up the owner of a key; the caller drives the lookup. Distrusted peers are asked last.
    pub fn lookup(&self, key: Position, distrusted: BTreeSet<Position>) -> Lookup {
        Lookup::with(self.local(), key, distrusted)
    }

    /// Takes an answer to a lookup of this peer: its sender is alive, and the peers that it names are worth knowing.
    pub fn handle_lookup_answer(&mut self, now: Moment, from: &Entry, reply: &MembershipReply) {
        self.notice_pause(now);
        let teller = Teller::direct(from);
        self.note_contact(now, &teller);
        let named: Vec<Entry> = match reply {
            MembershipReply::Owner { owner, successors, .. } => {
                std::iter::once(owner).chain(successors).cloned().collect()
            }
            MembershipReply::Near { peers } | MembershipReply::Closer { peers } => peers.clone(),
            _ => Vec::new(),
        };
        self.ingest_living(now, &teller, named.into_iter().take(NAMED_MAX));
        self.settle(now);
    }

    /// Notes that a peer left a lookup of this one unanswered.
    pub fn handle_lookup_silence(&mut self, now: Moment, whom: &Entry) {
        self.notice_pause(now);
        let believed_alive =
            self.members.at(&whom.position).is_some_and(|known| known.state == MemberState::Alive);
        if believed_alive && self.is_member() {
            self.suspect(now, whom);
        }
        self.settle(now);
    }

    /// Notes that the incarnation of an [`Output::Persist`] is on disk.
    pub fn handle_persisted(&mut self, now: Moment, incarnation: u64) {
        if self.lives.note_saved(incarnation) {
            self.me = self.me.with_incarnation(incarnation);
            self.announce_myself();
            self.ring.hurry(now);
            if let Phase::Entering(entering) = &mut self.phase {
                entering.hurry(now);
            }
        }
        self.settle(now);
    }

    /// Lets time pass: handles everything that is due by `now`.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.notice_pause(now);
        self.rejoined.forget(now, death_timeout(self.interval));
        self.departed.look(now, self.members.away().next().is_some());
        self.rooms.forget(now, self.interval);
        for token in self.requests.overdue(now) {
            if let Some(purpose) = self.requests.take(token) {
                self.resolve(now, purpose, Err(Unanswered::from("it does not answer".to_owned())));
            }
        }
        match &self.phase {
            Phase::Entering(_) => self.entrance_timeout(now),
            Phase::Active | Phase::Leaving => {
                self.detector_timeout(now);
                self.stabilise_timeout(now);
                self.search_timeout(now);
                self.compare_given_order(now);
            }
            Phase::Checking(_) => self.checking_timeout(now),
            Phase::Gone { until } if *until <= now => self.end(EndReason::Left),
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
            Phase::Entering(entering) => Some(entering.next_timeout()),
            Phase::Active | Phase::Leaving => {
                let timeouts =
                    [self.detector.next_timeout(), Some(self.ring.next_timeout()), self.given.next_timeout()];
                timeouts.into_iter().flatten().min()
            }
            Phase::Checking(checking) => Some(checking.next_timeout()),
            Phase::Gone { until } => Some(*until),
            Phase::Ended => None,
        };
        phase.into_iter().chain(self.requests.next_deadline()).min()
    }

    /// Sets the address of this peer, found out before it tells any other.
    pub fn set_address(&mut self, address: Address) {
        self.me = self.me.with_address(address);
        if self.is_member() {
            // This takes the place of the news with the old address.
            self.announce_myself();
        }
    }

    /// Sets a new address of this peer's machine when others know the old one. They learn it with a new life, since of
    /// one life the first word counts.
    pub fn moved(&mut self, now: Moment, address: Address) {
        if matches!(self.phase, Phase::Gone { .. } | Phase::Ended) || address == self.me.address {
            return;
        }
        self.me = self.me.with_address(address);
        let step = self.lives.raise_above(self.me.incarnation);
        self.change_life(step);
        self.settle(now);
    }

    /// Says from now on, in this peer's pongs, whether it has no room for further files.
    pub fn set_full(&mut self, full: bool) {
        self.rooms.set_own(full);
    }

    /// The number of changes to the set of peers that say in their pongs that they have no room.
    pub fn room_changes(&self) -> u64 {
        self.rooms.changes()
    }

    /// The entry of this peer.
    pub fn me(&self) -> &Entry {
        &self.me
    }

    /// All members that this peer knows of.
    pub fn members(&self) -> &Table {
        self.members.table()
    }

    /// The predecessor; `None` while alone.
    pub fn predecessor(&self) -> Option<&Entry> {
        self.ring.predecessor()
    }

    /// The successor list, at most r entries.
    pub fn successors(&self) -> &[Entry] {
        self.ring.successors()
    }

    /// Whether this peer takes part in the ring.
    pub fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Leaving)
    }

    /// Whether membership is the small ring's map: fewer than r + 2 members are known alive.
    pub fn is_small(&self) -> bool {
        self.rules.small_ring_map && self.size.is_small()
    }

    /// Whether this peer keeps in contact with another one: a neighbour, or one of its random partners.
    pub fn keeps_contact_with(&self, position: &Position) -> bool {
        let mut neighbours = self.ring.successors().iter().take(NEAR_KEPT).chain(self.ring.predecessor());
        neighbours.any(|entry| entry.position == *position) || self.partners.contains(position)
    }

    /// If the answer to this request brings a list that this peer takes over: the peer whose list it is.
    pub fn awaits_list(&self, token: Token) -> Option<&Entry> {
        self.asks().filter(|_| matches!(self.requests.purpose(token), Some(Purpose::Query)))
    }

    /// The peer whose list this one waits for; its own list is undefined meanwhile.
    pub fn asks(&self) -> Option<&Entry> {
        self.ring.query().map(|query| query.whom())
    }

    /// The request for which this one was relayed, if it was.
    pub fn relays(&self, token: Token) -> Option<ReplyTo> {
        match self.requests.purpose(token)? {
            Purpose::Relay(to) => Some(*to),
            _ => None,
        }
    }

    /// The memory that this peer's state takes, in bytes, besides what the handles of one life share.
    pub fn bytes(&self) -> usize {
        size_of::<Node>()
            + self.members.bytes()
            + self.ring.bytes()
            + self.partners.bytes()
            + self.acquaintances.bytes()
            + self.rejoined.bytes()
            + self.departed.bytes()
            + self.rooms.bytes()
            + self.silences.bytes()
            + self.shown.bytes()
            + self.requests.bytes()
    }

    fn take_pong(&mut self, now: Moment, from: &Teller, sequence: u64, news: Vec<Member>, full: bool) {
        self.ingest_gossip(now, from, news, NEWS_TOLD_MAX);
        self.handle_pong(now, from, sequence, full);
    }

    fn take_request(&mut self, now: Moment, from: &Teller, to: ReplyTo, request: MembershipRequest) {
        if let Some(reply) = self.answer(now, from, to, request) {
            self.output(Output::Reply { to, reply });
        }
        self.settle(now);
    }

    fn take_reply(&mut self, now: Moment, token: Token, answer: Answer) {
        self.notice_pause(now);
        // Before the request ends: a contact begins an exchange where none is pending, so the answer to one would begin
        // the next, in every round trip while the answering peer is busy.
        if let Ok((from, _)) = &answer
            && self.requests.purpose(token).is_some()
        {
            self.note_contact(now, from);
        }
        if let Some(purpose) = self.requests.take(token) {
            self.resolve(now, purpose, answer);
        }
        self.settle(now);
    }

    fn resolve(&mut self, now: Moment, purpose: Purpose, answer: Answer) {
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
                    self.ingest_own_report(now, &from, MemberState::Left);
                }
            }
            Purpose::Farewell => {}
            Purpose::Contacts => self.contacts_answered(now, answer),
            Purpose::Search { whom, hops } => self.search_answered(now, &whom, hops, answer),
            Purpose::Check(whom) => self.check_answered(now, &whom, answer),
        }
    }

    /// After every step: lets the neighbourhood go on, and reports its changes to people, to the detector and to the
    /// neighbour behind.
    fn settle(&mut self, now: Moment) {
        if self.is_member() {
            self.continue_stabilising(now);
            self.report_neighbours(now);
        }
    }

    /// Sends a request; its answer comes back to [`Node::resolve`] with the purpose.
    fn ask(
        &mut self,
        now: Moment,
        to: Target,
        request: MembershipRequest,
        timeout: Duration,
        purpose: Purpose,
    ) {
        let token = self.requests.add(now + timeout, purpose);
        self.output(Output::Request { token, to, request, timeout });
    }

    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn end(&mut self, reason: EndReason) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.requests.forget(|_| true);
            self.event(Event::Ended(reason));
        }
    }

    /// Tells the ring that this peer is alive in its present life, at its present address.
    fn announce_myself(&mut self) {
        self.members.announce(self.myself());
    }

    fn change_life(&mut self, step: Option<LivesStep>) {
        match step {
            None => {}
            Some(LivesStep::Clash) => self.event(Event::Clash(self.me.position)),
            Some(LivesStep::TakeAddress(address)) => self.set_address(address),
            Some(LivesStep::Save(incarnation)) => self.output(Output::Persist { incarnation }),
            Some(LivesStep::GiveWay(incarnation)) => {
                self.output(Output::Persist { incarnation });
                self.end(EndReason::Fenced { incarnation });
            }
        }
    }

    /// This peer as a living member.
    fn myself(&self) -> Member {
        Member { entry: self.me.clone(), state: MemberState::Alive }
    }

    /// The ring's settings; the default ones until they are known.
    fn settings(&self) -> RingSettings {
        self.settings.unwrap_or_default()
    }

    /// The facts that the rules of the neighbourhood need.
    fn known(&self) -> Known<'_> {
        Known {
            me: &self.me.position,
            members: &self.members,
            successors_max: self.settings().successors.into(),
            small: self.is_small(),
            rules: &self.rules,
        }
    }

    /// The neighbourhood, the facts that its rules need, and the generator of chance.
    fn ring_parts(&mut self) -> (&mut Neighbourhood, Known<'_>, &mut ChaCha8Rng) {
        let (successors_max, small) = (self.settings().successors.into(), self.is_small());
        let Node { me, members, rules, ring, rng, .. } = self;
        (ring, Known { me: &me.position, members, successors_max, small, rules }, rng)
    }

    fn local(&self) -> Local<'_> {
        Local {
            me: &self.me,
            is_member: self.is_member(),
            predecessor: self.ring.predecessor(),
            successors: self.ring.successors(),
            successors_max: self.settings().successors.into(),
            members: self.members.table(),
            small: self.is_small(),
        }
    }

    /// The kind of listener that a peer is to the news of this one.
    fn listener(&self, whom: &Entry) -> Listener {
        let ahead = self.ring.successors().iter().take(2);
        let mut beside = ahead.chain(self.members.table().counter_clockwise_from(&self.me.position).take(2));
        match beside.any(|entry| entry.position == whom.position) {
            true => Listener::Neighbour,
            false => Listener::Random,
        }
    }

    fn request_timeout(&self) -> Duration {
        request_timeout(self.interval)
    }
}

/// The number of successors that a peer of a large ring keeps connected.
pub const NEAR_KEPT: usize = 3;
/// The most peers that one answer of a lookup names.
const NAMED_MAX: usize = 1 + RingSettings::SUCCESSORS_MAX as usize;
