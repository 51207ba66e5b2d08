//! A world of a few peers that waits for each step, and can be taken up again from any state.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::rc::Rc;
use std::time::Duration;

use super::Setup;
use super::letters::{Body, Kind, Letter};
use crate::chord::{Node, NodeConfig, Output, PhaseKind, ReplyTo, Rules, Start, Token, Unanswered};
use crate::config::RingSettings;
use crate::id::Position;
use crate::sim::oracle::{Snapshot, could_go_on, invariant, list_in_order};
use crate::sim::world::numbered;
use crate::sim::{Slot, check, contact};
use crate::time::Moment;
use crate::wire::{Datagram, Entry, Target};
use crate::wire::{MembershipReply, MembershipRequest, NeighbourReply, NeighbourRequest};

/// One of the things that may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A peer begins to join through a member.
    Join {
        /// It.
        number: u8,
        /// The member.
        through: u8,
    },
    /// A peer's clock runs until it stabilises, or goes on with its way in or out.
    Turn(u8),
    /// A peer's clock runs until it takes a neighbour for dead that is.
    Detect(u8),
    /// A letter arrives.
    Arrive {
        /// What.
        kind: Kind,
        /// Who sent it.
        from: u8,
        /// Who gets it.
        to: u8,
    },
    /// A member leaves.
    Leave(u8),
    /// A peer ends without notice.
    Fail(u8),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Join { number, through } => write!(f, "{number} joins through {through}"),
            Step::Turn(number) => write!(f, "{number} has its turn"),
            Step::Detect(number) => write!(f, "{number} finds a death"),
            Step::Arrive { kind, from, to } => write!(f, "{from} {kind} {to}"),
            Step::Leave(number) => write!(f, "{number} leaves"),
            Step::Fail(number) => write!(f, "{number} fails"),
        }
    }
}

/// The world. A copy shares the peers that no step has changed.
#[derive(Debug, Clone)]
pub(super) struct Tiny {
    setup: Rc<Setup>,
    settings: RingSettings,
    rules: Rules,
    peers: BTreeMap<u8, Peer>,
    /// Who may still join.
    outside: Vec<u8>,
    post: Vec<Letter>,
    /// What follows at once.
    doing: VecDeque<(u8, Output)>,
    /// Who asked what is being answered.
    askers: BTreeMap<ReplyTo, (u8, Token)>,
    next_reply: u64,
    /// Whose turn it is, until it has asked something.
    turn_of: Option<u8>,
}

#[derive(Debug, Clone)]
struct Peer {
    node: Rc<Node>,
    clock: Moment,
}

impl Tiny {
    /// The founders' ring, made by joins, in which all is quiet.
    ///
    /// # Errors
    /// What it lacks of one ordered ring.
    pub(super) fn settled(setup: &Setup) -> Result<Tiny, String> {
        let mut world = Tiny {
            setup: Rc::new(setup.clone()),
            settings: RingSettings { replicas: 2, successors: setup.successors },
            rules: Rules::default(),
            peers: BTreeMap::new(),
            outside: setup.joiners.clone(),
            post: Vec::new(),
            doing: VecDeque::new(),
            askers: BTreeMap::new(),
            next_reply: 0,
            turn_of: None,
        };
        for (i, number) in setup.founders.iter().enumerate() {
            let start = if i == 0 { Start::Found } else { Start::Join { known: contact(setup.founders[0]) } };
            world.begin(*number, start);
            world.come_to_rest()?;
        }
        world.set_rules(setup.rules);
        Ok(world)
    }

    /// All that may happen next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for letter in &self.post {
            let step = Step::Arrive { kind: letter.kind, from: letter.from, to: letter.to };
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
        for (number, peer) in &self.peers {
            let waits = self.post.iter().any(|letter| letter.keeps_waiting(*number));
            if !waits {
                steps.push(Step::Turn(*number));
            }
            if !waits && self.has_dead_neighbour(&peer.node) {
                steps.push(Step::Detect(*number));
            }
        }
        for number in &self.outside {
            let members = self.peers.iter().filter(|(_, peer)| peer.node.is_member());
            steps.extend(members.map(|(through, _)| Step::Join { number: *number, through: *through }));
        }
        for (number, peer) in &self.peers {
            if !self.may_end(*number) {
                continue;
            }
            steps.push(Step::Fail(*number));
            if peer.node.phase() == PhaseKind::Active {
                steps.push(Step::Leave(*number));
            }
        }
        steps
    }

    /// Takes one of [`Tiny::steps`].
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Join { number, through } => {
                self.outside.retain(|other| *other != number);
                self.begin(number, Start::Join { known: contact(through) });
            }
            Step::Turn(number) => self.turn(number),
            Step::Detect(number) => self.detect(number),
            Step::Arrive { kind, from, to } => {
                let is_it = |letter: &Letter| (letter.kind, letter.from, letter.to) == (kind, from, to);
                if let Some(at) = self.post.iter().position(is_it) {
                    let letter = self.post.remove(at);
                    self.arrive(letter);
                    self.follow();
                }
            }
            Step::Leave(number) => {
                self.act(number, |node, now| {
                    node.begin_leaving(now);
                    node.depart(now);
                });
                self.follow();
            }
            Step::Fail(number) => self.remove(number),
        }
    }

    /// What must hold at every moment.
    ///
    /// # Errors
    /// What does not.
    pub(super) fn safe(&self) -> Result<(), String> {
        self.members().try_for_each(list_in_order)?;
        invariant(&self.snapshot(None))
    }

    /// Whether the theorem says nothing of this state, the ring being small or taken for that.
    pub(super) fn is_small(&self) -> bool {
        !self.snapshot(None).is_large()
    }

    /// Nothing happens any more from outside: one ordered ring, each key with one owner, and no violation on the
    /// way there.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) fn calm(mut self) -> Result<(), String> {
        self.come_to_rest()?;
        for number in self.peers.keys().flat_map(|number| [*number, number.wrapping_add(1)]) {
            let key = Position::of_number(number);
            let owners = self.members().filter(|node| check::owns_key(node, &key)).count();
            if owners != 1 {
                return Err(format!("{} has {owners} owners", key.label()));
            }
        }
        Ok(())
    }

    /// A state in 128 bits.
    pub(super) fn digest(&self) -> u128 {
        let mut wide = Wide::default();
        self.outside.hash(&mut wide);
        for (number, peer) in &self.peers {
            number.hash(&mut wide);
            peer.node.digest(&mut wide);
        }
        // In whatever order they were sent.
        let letters = self.post.iter().map(|letter| {
            let mut wide = Wide::default();
            letter.hash(&mut wide);
            wide.whole()
        });
        letters.fold(0, u128::wrapping_add).hash(&mut wide);
        wide.whole()
    }

    /// Who lives, and beside whom, in 128 bits.
    pub(super) fn ring(&self) -> u128 {
        let mut wide = Wide::default();
        for (number, peer) in &self.peers {
            let numbers = |entry: &Entry| entry.position;
            (number, peer.node.phase() as u8).hash(&mut wide);
            peer.node.predecessor().map(numbers).hash(&mut wide);
            peer.node.successors().iter().map(numbers).collect::<Vec<_>>().hash(&mut wide);
        }
        wide.whole()
    }

    fn members(&self) -> impl Iterator<Item = &Node> {
        self.peers.values().map(|peer| &*peer.node).filter(|node| node.is_member())
    }

    fn node(&self, number: u8) -> Option<&Node> {
        self.peers.get(&number).map(|peer| &*peer.node)
    }

    fn snapshot(&self, except: Option<u8>) -> Snapshot<'_> {
        let lost = except.map(Position::of_number);
        let members = self.members().filter(|node| Some(node.me().position) != lost).collect();
        let mut snapshot = Snapshot::new(self.settings.successors.into(), members);
        for letter in &self.post {
            if let (Body::Answer(reply), Some(to)) = (&letter.body, self.node(letter.to))
                && Some(letter.to) != except
            {
                snapshot.coming(to, letter.token, reply, true);
            }
        }
        snapshot
    }

    /// Whether the theorem lets this peer end; in a small ring, whether those who stay are still linked by whom
    /// they know. Who is not in has nothing that others need.
    fn may_end(&self, number: u8) -> bool {
        let Some(node) = self.node(number).filter(|node| node.phase() != PhaseKind::Ended) else {
            return false;
        };
        let most = self.setup.founders.len() + self.setup.joiners.len();
        if !node.is_member() {
            true
        } else if most < self.settings.chord_from() {
            self.is_linked_without(number)
        } else {
            could_go_on(self.snapshot(Some(number)))
        }
    }

    fn is_linked_without(&self, number: u8) -> bool {
        let lost = Position::of_number(number);
        let rest: Vec<&Node> = self.members().filter(|node| node.me().position != lost).collect();
        let Some(first) = rest.first() else { return false };
        let knows = |one: &Node, other: &Node| {
            one.members().alive().any(|entry| entry.position == other.me().position)
        };
        let mut linked = vec![*first];
        let mut at = 0;
        while let Some(one) = linked.get(at).copied() {
            let more = rest.iter().filter(|other| knows(one, other) || knows(other, one));
            let more: Vec<&Node> = more
                .filter(|other| linked.iter().all(|known| known.me().position != other.me().position))
                .copied()
                .collect();
            linked.extend(more);
            at += 1;
        }
        linked.len() == rest.len()
    }

    /// Whether somebody whom this peer watches, and takes for a member, is none any more.
    fn has_dead_neighbour(&self, node: &Node) -> bool {
        let mut watched = node.successors().iter().take(2).chain(node.predecessor());
        node.is_member() && watched.any(|entry| !self.lives(entry) && !node.members().is_gone(entry))
    }

    fn lives(&self, entry: &Entry) -> bool {
        let node = entry.position.number().and_then(|number| self.node(number));
        node.is_some_and(|node| node.phase() != PhaseKind::Ended)
    }

    fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        for peer in self.peers.values_mut() {
            Rc::make_mut(&mut peer.node).set_rules(rules);
        }
    }

    fn begin(&mut self, number: u8, start: Start) {
        let me = numbered(Slot::from(number), number, number, 1);
        let config = NodeConfig {
            me,
            address_given: true,
            settings: Some(self.settings),
            interval: INTERVAL,
            contacts_max: CONTACTS_MAX,
            start,
            seed: u64::from(number),
        };
        let mut node = Node::new(Moment::default(), config);
        node.set_rules(self.rules);
        self.peers.insert(number, Peer { node: Rc::new(node), clock: Moment::default() });
        self.act(number, |_, _| {});
        self.follow();
    }

    fn turn(&mut self, number: u8) {
        self.turn_of = Some(number);
        for _ in 0..TIMEOUTS_MAX {
            let Some(node) = self.node(number) else { return };
            let before = (node.phase(), node.asks().map(|entry| entry.position));
            self.pass_time(number);
            let after = self.node(number).map(|node| (node.phase(), node.asks().map(|entry| entry.position)));
            if self.turn_of.is_none() || after != Some(before) {
                break;
            }
        }
        self.turn_of = None;
        if !self.setup.answers_apart {
            self.have_list(number);
        }
    }

    /// Whoever this peer asks for a list answers.
    fn have_list(&mut self, number: u8) {
        let asked = |letter: &Letter| letter.kind == Kind::Query && letter.from == number;
        if let Some(at) = self.post.iter().position(asked) {
            let letter = self.post.remove(at);
            self.arrive(letter);
            self.follow();
        }
    }

    /// Meanwhile it stabilises as it must; who is asked answers.
    fn detect(&mut self, number: u8) {
        let gone = |world: &Tiny| {
            let members = world.node(number).map(Node::members);
            members.map_or(0, |members| members.len() - members.alive_count())
        };
        let before = gone(self);
        for _ in 0..TIMEOUTS_OF_DEATH_MAX {
            self.pass_time(number);
            if gone(self) != before {
                return;
            }
            while self.post.iter().any(|letter| letter.keeps_waiting(number)) {
                self.have_list(number);
                self.have_answer(number);
            }
        }
    }

    fn have_answer(&mut self, number: u8) {
        let answered = |letter: &Letter| letter.kind == Kind::Answer && letter.to == number;
        if let Some(at) = self.post.iter().position(answered) {
            let letter = self.post.remove(at);
            self.arrive(letter);
            self.follow();
        }
    }

    /// A peer's clock runs to its next timeout.
    fn pass_time(&mut self, number: u8) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        let Some(at) = peer.node.poll_timeout() else { return };
        peer.clock = peer.clock.max(at);
        self.act(number, |node, now| node.handle_timeout(now));
        self.follow();
    }

    /// All have their turns and all letters arrive, until there is one ordered ring.
    fn come_to_rest(&mut self) -> Result<(), String> {
        let mut is_ring = Ok(());
        for _ in 0..ROUNDS_MAX {
            let numbers: Vec<u8> = self.peers.keys().copied().collect();
            for number in numbers {
                if !self.post.iter().any(|letter| letter.keeps_waiting(number)) {
                    self.turn(number);
                }
                for _ in 0..LETTERS_MAX {
                    if self.post.is_empty() {
                        break;
                    }
                    let letter = self.post.remove(0);
                    self.arrive(letter);
                    self.follow();
                }
                self.safe()?;
            }
            let nodes = self.peers.values().map(|peer| &*peer.node);
            is_ring = check::is_one_ordered_ring(nodes, self.settings.successors.into());
            if is_ring.is_ok() && self.post.is_empty() {
                return Ok(());
            }
        }
        is_ring.and(Err("letters without end".to_owned()))
    }

    fn act(&mut self, number: u8, how: impl FnOnce(&mut Node, Moment)) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        let node = Rc::make_mut(&mut peer.node);
        how(node, peer.clock);
        while let Some(output) = node.poll_output() {
            self.doing.push_back((number, output));
        }
    }

    /// Carries out all that follows at once.
    fn follow(&mut self) {
        while let Some((number, output)) = self.doing.pop_front() {
            let Some(me) = self.node(number).map(|node| node.me().clone()) else { continue };
            match output {
                Output::Request { token, to, request, .. } => self.request(number, me, token, &to, request),
                Output::Reply { to, reply } => {
                    if let Some((asker, token)) = self.askers.remove(&to) {
                        self.reply(number, me, asker, token, reply);
                    }
                }
                Output::Datagram { to, datagram } => self.send(&me, &to, datagram),
                Output::Persist { incarnation } => {
                    self.act(number, |node, now| node.handle_persisted(now, incarnation));
                }
                Output::Forget { .. } | Output::Event(_) => {}
            }
        }
        let ended: Vec<u8> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.node.poll_timeout().is_none())
            .map(|(number, _)| *number)
            .collect();
        ended.into_iter().for_each(|number| self.remove(number));
    }

    fn send(&mut self, from: &Entry, to: &Entry, datagram: Datagram) {
        if let Some(to) = to.position.number() {
            self.act(to, |node, now| node.handle_datagram(now, from, datagram));
        }
    }

    fn request(&mut self, from: u8, sender: Entry, token: Token, to: &Target, request: MembershipRequest) {
        let Some(to) = to.position.and_then(|position| position.number()) else { return };
        let Some(node) = self.node(from) else { return };
        let kind = match &request {
            MembershipRequest::Neighbour(NeighbourRequest::State { .. }) => {
                self.turn_of.take_if(|number| *number == from);
                let node = self.node(from);
                match node.is_some_and(|node| node.awaits_list(token).is_some()) {
                    true => Some(Kind::Query),
                    false => node.filter(|node| node.is_small()).map(|_| Kind::Exchange),
                }
            }
            MembershipRequest::Neighbour(NeighbourRequest::Notify) => Some(Kind::Notify),
            MembershipRequest::Left { .. } => Some(Kind::Left),
            MembershipRequest::Join { .. } => {
                let apart = self.setup.answers_apart && node.phase() == PhaseKind::Entering;
                self.turn_of.take_if(|number| *number == from);
                apart.then_some(Kind::Join)
            }
            _ => None,
        };
        let Some(_) = self.node(to) else {
            // Who asks for a list waits until it has waited long enough: its list is undefined meanwhile.
            if kind != Some(Kind::Query) {
                let silence = Err(Unanswered::from("nobody is there".to_owned()));
                self.act(from, |node, now| node.handle_reply(now, token, silence));
            }
            return;
        };
        let body = Body::Ask(request);
        let letter = Letter { from, sender, to, token, kind: kind.unwrap_or(Kind::Join), body };
        if kind.is_some() {
            self.post.retain(|other| !letter.replaces(other));
            self.post.push(letter);
        } else {
            self.arrive(letter);
        }
    }

    fn arrive(&mut self, letter: Letter) {
        let Letter { from, sender, to, token, body, .. } = letter;
        match body {
            Body::Ask(request) => {
                let reply_to = ReplyTo(self.next_reply);
                self.next_reply += 1;
                self.askers.insert(reply_to, (from, token));
                self.act(to, |node, now| node.handle_request(now, &sender, reply_to, request));
            }
            Body::Answer(reply) => {
                self.act(to, |node, now| node.handle_reply(now, token, Ok((sender, reply))));
            }
        }
    }

    fn reply(&mut self, from: u8, sender: Entry, asker: u8, token: Token, reply: MembershipReply) {
        let awaits_list = self.node(asker).is_some_and(|node| node.awaits_list(token).is_some());
        let apart = match &reply {
            MembershipReply::Welcome { .. } => true,
            MembershipReply::Neighbour(NeighbourReply::State { .. }) => awaits_list,
            _ => false,
        };
        let letter = Letter { from, sender, to: asker, token, kind: Kind::Answer, body: Body::Answer(reply) };
        if self.setup.answers_apart && apart && self.peers.contains_key(&asker) {
            self.post.push(letter);
        } else {
            self.arrive(letter);
        }
    }

    /// Without notice; what it has sent still arrives.
    fn remove(&mut self, number: u8) {
        self.peers.remove(&number);
        self.post.retain(|letter| letter.to != number);
        self.doing.retain(|(whose, _)| *whose != number);
    }
}

impl fmt::Display for Tiny {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, peer) in &self.peers {
            let node = &peer.node;
            let (before, list) = (node.predecessor(), node.successors());
            write!(f, "    {number}: {:?}, after {before:?}, before {list:?}", node.phase())?;
            if let Some(asked) = node.asks() {
                write!(f, ", asks {asked:?}")?;
            }
            if node.is_small() {
                f.write_str(", small")?;
            }
            let gone = node.members().iter().filter(|member| node.members().is_gone(&member.entry));
            let gone: Vec<String> = gone.map(|member| member.entry.position.label()).collect();
            let known: Vec<String> = node.members().alive().map(|entry| entry.position.label()).collect();
            writeln!(f, "; knows {}; gone: {}", known.join(" "), gone.join(" "))?;
        }
        let post: Vec<String> =
            self.post.iter().map(|letter| format!("{} {} {}", letter.from, letter.kind, letter.to)).collect();
        write!(f, "    under way: {}", post.join("; "))
    }
}

/// Two hashes beside each other.
struct Wide(DefaultHasher, DefaultHasher);

impl Default for Wide {
    fn default() -> Wide {
        let mut wide = Wide(DefaultHasher::new(), DefaultHasher::new());
        wide.1.write_u8(1);
        wide
    }
}

impl Wide {
    fn whole(&self) -> u128 {
        u128::from(self.0.finish()) << 64 | u128::from(self.1.finish())
    }
}

impl Hasher for Wide {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// Between two pings of a peer.
const INTERVAL: Duration = Duration::from_secs(1);
/// More than there are peers.
const CONTACTS_MAX: usize = 64;
/// Timeouts within which a peer stabilises, however quiet it is.
const TIMEOUTS_MAX: usize = 16;
/// Timeouts within which a neighbour that does not answer is found dead.
const TIMEOUTS_OF_DEATH_MAX: usize = 64;
/// Turns of each peer within which there must be one ordered ring.
const ROUNDS_MAX: usize = 48;
/// Letters that may follow from one turn.
const LETTERS_MAX: usize = 256;
