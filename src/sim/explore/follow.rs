//! The immediate consequences of a step, and the letters that are kept until their own step.

use std::rc::Rc;

use super::letters::{Body, Kind, Letter};
use super::tiny::Tiny;
use crate::chord::{Node, Output, PhaseKind, ReplyTo, Token, Unanswered};
use crate::time::Moment;
use crate::wire::{Datagram, Entry, Target};
use crate::wire::{MembershipReply, MembershipRequest, NeighbourReply, NeighbourRequest};

impl Tiny {
    pub(super) fn act(&mut self, number: u8, how: impl FnOnce(&mut Node, Moment)) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        let node = Rc::make_mut(&mut peer.node);
        how(node, peer.clock);
        while let Some(output) = node.poll_output() {
            self.doing.push_back((number, output));
        }
    }

    /// Carries out all immediate consequences.
    pub(super) fn follow(&mut self) {
        let mut count = 0;
        while let Some((number, output)) = self.doing.pop_front() {
            count += 1;
            if count > FOLLOWS_MAX {
                self.doing.clear();
                self.endless = Some(number);
                break;
            }
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
            // A peer that asks for a list waits until its timeout: its list is undefined meanwhile.
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

    pub(super) fn arrive(&mut self, letter: Letter) {
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

    /// Removes a peer without notice; letters that it has sent still arrive.
    pub(super) fn remove(&mut self, number: u8) {
        self.peers.remove(&number);
        self.post.retain(|letter| letter.to != number);
        self.doing.retain(|(whose, _)| *whose != number);
    }
}

/// The most messages and answers that may follow at once from one step.
const FOLLOWS_MAX: usize = 10_000;
