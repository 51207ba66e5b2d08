//! A node of the ring among members that send any message, in any name and any order.
//!
//! Laws: no panic; a list in order, without itself, at most r long; every table bounded; each output fits its frame or
//! datagram, and a step has a bounded number of outputs; time always goes on.
#![no_main]

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use quoit::chord::{Lookup, Node, NodeConfig, Output, ReplyTo, Start, Step, Token, Unanswered};
use quoit::config::RingSettings;
use quoit::id::{KeyHash, Position, between};
use quoit::time::Moment;
use quoit::wire::{
    Address, Datagram, Entry, Life, Member, MembershipReply, MembershipRequest, Reply, Request, Target,
    codec, limits,
};
use quoit_fuzz::{byte, one_encoding, piece};

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let Some(mut world) = World::new(&mut rest) else { return };
    for _ in 0..STEPS_MAX {
        if world.step(&mut rest).is_none() {
            return;
        }
    }
});

struct World {
    now: Moment,
    node: Node,
    /// Requests of the node without an answer yet.
    asked: VecDeque<(Token, Target)>,
    persisting: Option<u64>,
    requests: u64,
}

impl World {
    fn new(rest: &mut &[u8]) -> Option<World> {
        let (how, list) = (byte(rest)?, byte(rest)?);
        let settings = RingSettings {
            replicas: 3,
            successors: if list % 2 == 0 { 2 } else { 8 },
            ..RingSettings::default()
        };
        let start = match how % 5 {
            0 | 1 => Start::Found,
            2 => Start::Join { known: Target::from(&entry(10)) },
            3 => Start::Form {
                contacts: vec![Target::from(&entry(10)), Target::from(entry(20).address.clone())],
            },
            _ => Start::Resume {
                remembered: piece(rest).and_then(one_encoding::<Vec<Member>>)?,
                given: Vec::new(),
            },
        };
        let config = NodeConfig {
            me: entry(0),
            address_given: how % 2 == 0,
            settings: (how % 5 != 2).then_some(settings),
            interval: Duration::from_millis(50 * (1 + u64::from(list))),
            contacts_max: 1 + usize::from(list),
            start,
            seed: u64::from(how),
        };
        let now = Moment(1_000);
        let mut world = World {
            now,
            node: Node::new(now, config),
            asked: VecDeque::new(),
            persisting: None,
            requests: 0,
        };
        world.drain(0);
        Some(world)
    }

    fn step(&mut self, rest: &mut &[u8]) -> Option<()> {
        let now = self.now;
        let mut members = 0;
        match byte(rest)? % 8 {
            0 | 1 => {
                let (from, bytes) = (sender(byte(rest)?), piece(rest)?);
                members = bytes.len() / MEMBER_BYTES_MIN;
                if let Some(request) = one_encoding::<MembershipRequest>(bytes) {
                    self.requests += 1;
                    self.node.handle_request(now, &from, ReplyTo(self.requests), request);
                }
            }
            2 => {
                let (from, bytes) = (sender(byte(rest)?), piece(rest)?);
                members = bytes.len() / MEMBER_BYTES_MIN;
                if let Some(datagram) = one_encoding::<Datagram>(bytes) {
                    self.node.handle_datagram(now, &from, datagram);
                }
            }
            3 => {
                let (which, who, bytes) = (byte(rest)?, byte(rest)?, piece(rest)?);
                members = bytes.len() / MEMBER_BYTES_MIN;
                let Some((token, target)) = self.take_asked(which) else { return Some(()) };
                let Some(reply) = one_encoding::<MembershipReply>(bytes) else { return Some(()) };
                // A question to a position is answered by that peer. A question to a bare address may be answered by
                // anybody.
                let mut from = sender(who);
                if let Some(position) = target.position {
                    from = Entry::from(Life { position, ..(*from).clone() });
                }
                self.node.handle_reply(now, token, Ok((from, reply)));
            }
            4 => {
                let which = byte(rest)?;
                if let Some((token, _)) = self.take_asked(which) {
                    let unanswered = Unanswered { why: "silence".to_owned(), refused: which & 0x40 != 0 };
                    self.node.handle_reply(now, token, Err(unanswered));
                }
            }
            5 => self.let_pass(Duration::from_millis(u64::from(byte(rest)?) * 20)),
            6 => {
                if let Some(incarnation) = self.persisting.take() {
                    self.node.handle_persisted(now, incarnation);
                }
            }
            _ => match byte(rest)? % 8 {
                0 => self.node.begin_leaving(now),
                1 => self.node.depart(now),
                _ => self.look_up(rest),
            },
        }
        self.drain(members);
        Some(())
    }

    /// Lets time pass; between two turns of a node some of it always does.
    fn let_pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(at) = self.node.poll_timeout().filter(|at| *at <= end) {
            turns = if at > self.now { 0 } else { turns + 1 };
            assert!(turns < TURNS_AT_ONCE_MAX, "the node wakes again and again at {:?}", self.now);
            self.now = self.now.max(at);
            self.node.handle_timeout(self.now);
            self.drain(0);
        }
        self.now = end;
    }

    fn take_asked(&mut self, which: u8) -> Option<(Token, Target)> {
        let at = usize::from(which & 0x3f) % self.asked.len().max(1);
        self.asked.remove(at)
    }

    /// A lookup asks each peer once and ends, whatever the answers are.
    fn look_up(&mut self, rest: &mut &[u8]) {
        let view = self.node.view();
        let mut lookup = Lookup::new(&view, Position([byte(rest).unwrap_or(0); 32]), BTreeSet::new());
        let mut asked = Vec::new();
        loop {
            match lookup.next_step() {
                Step::Ask(entry) => {
                    assert!(!asked.contains(&entry.position) && entry.position != view.me.position);
                    asked.push(entry.position);
                    assert!(asked.len() <= LOOKUP_MAX);
                    if let Some(reply) = piece(rest).and_then(one_encoding::<MembershipReply>) {
                        lookup.answered(&entry, reply);
                    }
                }
                // No other peer answers.
                Step::Wait => asked.iter().for_each(|whom| lookup.failed(whom)),
                Step::Found { .. } | Step::Failed => return,
            }
        }
    }

    /// Takes the outputs of the node, and checks its laws on them.
    fn drain(&mut self, members: usize) {
        let (mut outputs, mut asks) = (0, 0);
        while let Some(output) = self.node.poll_output() {
            outputs += 1;
            match output {
                Output::Request { token, to, request, .. } => {
                    asks += 1;
                    codec::encode(&Request::Membership(request)).expect("a request fits a frame");
                    self.asked.push_back((token, to));
                    // The node itself gives up after a while; so does this list.
                    if self.asked.len() > ASKED_KEPT_MAX {
                        self.asked.pop_front();
                    }
                }
                Output::Reply { reply, .. } => {
                    codec::encode(&Reply::Membership(reply)).expect("a reply fits a frame");
                }
                Output::Datagram { datagram, .. } => {
                    let bytes = codec::encode(&datagram).expect("a datagram fits a frame");
                    assert!(bytes.len() <= limits::DATAGRAM_BYTES_MAX, "{} bytes: {datagram:?}", bytes.len());
                }
                Output::Persist { incarnation } => self.persisting = Some(incarnation),
                Output::Forget { .. } | Output::Event(_) => {}
            }
        }
        assert!(outputs <= OUTPUTS_MAX + 4 * members, "{outputs} outputs for a message of {members} members");
        assert!(asks <= ASKS_MAX, "{asks} requests in one step");
        self.check_view();
    }

    fn check_view(&self) {
        let view = self.node.view();
        let r = usize::from(view.settings.unwrap_or_default().successors);
        assert!(view.successors.len() <= r, "{} successors", view.successors.len());
        let mut last = view.me.position;
        for successor in &view.successors {
            let in_order = between(&last, &successor.position, &view.me.position);
            assert!(in_order, "the list of {:?} is {:?}", view.me, view.successors);
            last = successor.position;
        }
        assert!(view.predecessor.is_none_or(|before| before.position != view.me.position));
        assert!(view.members.len() <= limits::MEMBERS_MAX);
        assert!(view.members.iter().all(|member| member.entry.position != view.me.position));
    }
}

/// One of eight members, in one of several lives, with its own key or another's.
fn sender(who: u8) -> Entry {
    let mut life = (*entry([10, 20, 30, 40, 50, 60, 70, 80][usize::from(who & 7)])).clone();
    life.incarnation += u64::from(who >> 3 & 3);
    if who & 0x20 != 0 {
        life.key = KeyHash([1; 32]);
    }
    if who & 0x40 != 0 {
        life.address = entry(90).address.clone();
    }
    Entry::from(life)
}

/// The members that the golden messages speak of.
fn entry(number: u8) -> Entry {
    Entry::from(Life {
        position: Position::of_number(number),
        incarnation: 1_000 + u64::from(number),
        key: KeyHash([number; 32]),
        address: Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 12_000 + u16::from(number)))),
    })
}

const STEPS_MAX: usize = 200;
/// The least that a member takes in a message.
const MEMBER_BYTES_MIN: usize = 69;
/// The most outputs of one step, beside those that each member in its message may cause.
const OUTPUTS_MAX: usize = 256;
const ASKS_MAX: usize = 128;
const ASKED_KEPT_MAX: usize = 64;
const TURNS_AT_ONCE_MAX: usize = 16;
const LOOKUP_MAX: usize = 65;
