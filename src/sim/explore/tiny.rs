//! A world of a few peers that waits for each step, and can be resumed from any state.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::found::Found;
use super::letters::{Kind, Letter};
use super::setup::Setup;
use super::step::Step;
use crate::chord::{Node, NodeConfig, Output, PhaseKind, ReplyTo, Rules, Start, Token};
use crate::config::RingSettings;
use crate::id::Position;
use crate::sim::places::numbered;
use crate::sim::{Slot, check, contact};
use crate::time::Moment;
use crate::wire::Member;

/// The state of the world. A copy shares the peers that no step has changed.
#[derive(Debug, Clone)]
pub(super) struct Tiny {
    pub(super) setup: Rc<Setup>,
    pub(super) settings: RingSettings,
    pub(super) rules: Rules,
    pub(super) peers: BTreeMap<u8, Peer>,
    /// The failed peers that may come back, with their incarnations and remembered members.
    pub(super) failed: BTreeMap<u8, (u64, Vec<Member>)>,
    /// The peers that may still join.
    pub(super) outside: Vec<u8>,
    pub(super) post: Vec<Letter>,
    /// The outputs that are carried out at once.
    pub(super) doing: VecDeque<(u8, Output)>,
    /// The asking peers of the requests that are being answered.
    pub(super) askers: BTreeMap<ReplyTo, (u8, Token)>,
    pub(super) next_reply: u64,
    /// The peer that goes on sending for ever without time passing, if any.
    pub(super) endless: Option<u8>,
    /// The peer whose turn it is, until it has asked something.
    pub(super) turn_of: Option<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) node: Rc<Node>,
    pub(super) clock: Moment,
}

impl Tiny {
    /// The ring of the founders, made by joins, after it has become quiet.
    ///
    /// # Errors
    /// The part of one ordered ring that is missing.
    pub(super) fn settled(setup: &Setup) -> Result<Tiny, Found> {
        let mut world = Tiny {
            setup: Rc::new(setup.clone()),
            settings: RingSettings { replicas: 2, successors: setup.successors, ..RingSettings::default() },
            rules: Rules::default(),
            peers: BTreeMap::new(),
            failed: BTreeMap::new(),
            outside: setup.joiners.clone(),
            post: Vec::new(),
            doing: VecDeque::new(),
            askers: BTreeMap::new(),
            next_reply: 0,
            endless: None,
            turn_of: None,
        };
        for (i, number) in setup.founders.iter().enumerate() {
            let start = if i == 0 { Start::Found } else { Start::Join { known: contact(setup.founders[0]) } };
            world.begin(*number, 1, start);
            world.come_to_rest()?;
        }
        world.set_rules(setup.rules);
        Ok(world)
    }

    /// All possible next steps.
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
        steps.extend(self.failed.keys().map(|number| Step::Return(*number)));
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

    /// Takes these steps, separated by `;`, and shows the world after each.
    ///
    /// # Errors
    /// A step that cannot be taken there, and those that can.
    pub(super) fn follow_steps(
        &mut self,
        steps: &str,
        mut show: impl FnMut(Step, &Tiny),
    ) -> Result<Vec<Step>, String> {
        let mut taken = Vec::new();
        for text in steps.split(';').map(str::trim).filter(|text| !text.is_empty()) {
            let could = self.steps();
            let Some(step) = could.iter().find(|step| step.to_string() == text) else {
                let could: Vec<String> = could.iter().map(Step::to_string).collect();
                return Err(format!("{text:?} is none of: {}\n{self}", could.join("; ")));
            };
            self.take(*step);
            taken.push(*step);
            show(*step, self);
        }
        Ok(taken)
    }

    /// Takes one of [`Tiny::steps`].
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Join { number, through } => {
                self.outside.retain(|other| *other != number);
                self.begin(number, 1, Start::Join { known: contact(through) });
            }
            Step::Turn(number) => self.turn(number),
            Step::Detect(number) => self.detect(number),
            Step::Arrive { kind, from, to } => {
                let is_it = |letter: &Letter| (letter.kind, letter.from, letter.to) == (kind, from, to);
                self.arrive_first(is_it);
            }
            Step::Leave(number) => {
                self.act(number, |node, now| {
                    node.begin_leaving(now);
                    node.depart(now);
                });
                self.follow();
            }
            Step::Fail(number) => {
                let remembered = self.node(number).filter(|node| self.setup.returns && node.is_member());
                if let Some((life, members)) = remembered.map(|n| (n.me().incarnation, n.remembered())) {
                    self.failed.insert(number, (life, members));
                }
                self.remove(number);
            }
            Step::Return(number) => {
                if let Some((life, remembered)) = self.failed.remove(&number) {
                    self.begin(number, life + 1, Start::Resume { remembered, given: Vec::new() });
                }
            }
        }
    }

    /// Checks that, without further events from outside, one ordered ring follows, each key has one owner, and no
    /// violation occurs on the way. Returns the number of turns of each peer.
    ///
    /// # Errors
    /// The violation, and the steps that lead to it.
    pub(super) fn calm(mut self) -> Result<usize, Found> {
        let rounds = self.come_to_rest()?;
        for number in self.peers.keys().flat_map(|number| [*number, number.wrapping_add(1)]) {
            let key = Position::of_number(number);
            let owners = self.members().filter(|node| check::owns_key(node, &key)).count();
            if owners != 1 {
                let what = format!("with all quiet, {} has {owners} owners", key.label());
                return Err(Found { what, steps: Vec::new() });
            }
        }
        Ok(rounds)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Node> {
        self.peers.values().map(|peer| &*peer.node).filter(|node| node.is_member())
    }

    pub(super) fn node(&self, number: u8) -> Option<&Node> {
        self.peers.get(&number).map(|peer| &*peer.node)
    }

    fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        for peer in self.peers.values_mut() {
            Rc::make_mut(&mut peer.node).set_rules(rules);
        }
    }

    fn begin(&mut self, number: u8, incarnation: u64, start: Start) {
        let me = numbered(Slot::from(number), number, number, incarnation);
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
            self.arrive_first(|letter| letter.kind == Kind::Query && letter.from == number);
        }
    }

    /// Lets a peer find a dead neighbour. Meanwhile the peer stabilises as it must, and asked peers answer.
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
            while self.arrive_first(|letter| letter.keeps_waiting(number)) {}
        }
    }

    /// Delivers the first letter of this kind; false if there is none.
    fn arrive_first(&mut self, of: impl Fn(&Letter) -> bool) -> bool {
        let Some(at) = self.post.iter().position(of) else { return false };
        let letter = self.post.remove(at);
        self.arrive(letter);
        self.follow();
        true
    }

    /// Runs a peer's clock to its next timeout.
    fn pass_time(&mut self, number: u8) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        let Some(at) = peer.node.poll_timeout() else { return };
        peer.clock = peer.clock.max(at);
        self.act(number, |node, now| node.handle_timeout(now));
        self.follow();
    }

    /// Lets all peers have their turns and all letters arrive, until there is one ordered ring.
    fn come_to_rest(&mut self) -> Result<usize, Found> {
        let mut steps = Vec::new();
        let mut is_ring = Ok(());
        for round in 1..=ROUNDS_MAX {
            let numbers: Vec<u8> = self.peers.keys().copied().collect();
            for number in numbers {
                if !self.post.iter().any(|letter| letter.keeps_waiting(number)) {
                    self.take_safely(Step::Turn(number), &mut steps)?;
                }
                for _ in 0..LETTERS_MAX {
                    let Some(Letter { kind, from, to, .. }) = self.post.first() else { break };
                    let step = Step::Arrive { kind: *kind, from: *from, to: *to };
                    self.take_safely(step, &mut steps)?;
                }
            }
            let nodes = self.peers.values().map(|peer| &*peer.node);
            is_ring = check::is_one_ordered_ring(nodes, self.settings.successors.into());
            if is_ring.is_ok() && self.post.is_empty() {
                return Ok(round);
            }
        }
        let why = is_ring.err().unwrap_or_else(|| "letters without end".to_owned());
        Err(Found { what: format!("after {ROUNDS_MAX} turns of each: {why}"), steps: Vec::new() })
    }

    fn take_safely(&mut self, step: Step, steps: &mut Vec<Step>) -> Result<(), Found> {
        steps.push(step);
        self.take(step);
        self.safe().map_err(|what| Found { what, steps: std::mem::take(steps) })
    }
}

/// The time between two pings of a peer.
const INTERVAL: Duration = Duration::from_secs(1);
/// The most contacts of a peer: more than there are peers.
const CONTACTS_MAX: usize = 64;
/// The number of timeouts within which a peer stabilises, however quiet it is.
const TIMEOUTS_MAX: usize = 16;
/// The number of timeouts within which a silent neighbour is found dead.
const TIMEOUTS_OF_DEATH_MAX: usize = 64;
/// The number of turns of each peer within which there must be one ordered ring.
const ROUNDS_MAX: usize = 48;
/// The most letters that may follow from one turn.
const LETTERS_MAX: usize = 256;
