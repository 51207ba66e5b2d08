//! How a node keeps gossip partners, copies contacts, and searches for another ring.

use super::{Answer, Node, Purpose};
use crate::chord::claims::TOLD_MAX;
use crate::chord::entering::Start;
use crate::chord::news::Listener;
use crate::chord::output::Output;
use crate::chord::partners::Next;
use crate::chord::ring_search::{Finding, Step};
use crate::time::Moment;
use crate::wire::{Datagram, Entry, Member, MemberState, MembershipReply, MembershipRequest, Target};

impl Node {
    /// Sends one ping to a partner, with each round of pings. A ring of which the members are exchanged whole needs no
    /// partners.
    pub(super) fn ping_partner(&mut self, now: Moment) {
        if self.exchanges_whole() {
            return self.members.keep_no_news_for_others();
        }
        self.partners.keep(now, self.members.table(), &mut self.acquaintances, &mut self.rng);
        match self.partners.next() {
            Next::Nobody => {}
            Next::Silent(partner) => self.suspect(now, &partner),
            Next::Ping { partner, misses } => {
                let sequence = self.detector.take_sequence();
                self.partners.note_ping(&partner.position, sequence, misses);
                let news = self.members.take_news(Listener::Random, None);
                self.output(Output::Datagram { to: partner, datagram: Datagram::Ping { sequence, news } });
            }
        }
    }

    /// Begins to copy contacts after this peer comes into a large ring from outside.
    pub(super) fn copy_contacts(&mut self, now: Moment) {
        if !self.exchanges_whole() {
            self.contact_copy.begin(&self.me.position);
            self.copy_page(now);
        }
    }

    pub(super) fn contacts_answered(&mut self, now: Moment, answer: Answer) {
        if !self.contact_copy.is_under_way() {
            return;
        }
        match answer {
            Ok((from, MembershipReply::Contacts { members })) => {
                self.contact_copy.note_page(&self.me.position, &members);
                self.ingest_quietly(now, &from, members.into_iter().take(TOLD_MAX));
            }
            _ => self.contact_copy.note_failure(),
        }
        self.copy_page(now);
    }

    /// Begins a search for another ring, if one is due.
    pub(super) fn search_timeout(&mut self, now: Moment) {
        if !self.ring_search.is_due(now) || self.exchanges_whole() {
            return;
        }
        let (members, silences) = (&self.members, &self.silences);
        let dead = || {
            let gone = self.acquaintances.iter().filter(|entry| members.is_gone(entry));
            gone.chain(members.away()).filter(|entry| silences.may_ask(now, &entry.address)).collect()
        };
        let partners = self.partners.iter();
        if let Some(whom) = self.ring_search.begin(now, self.interval, dead, partners, &mut self.rng) {
            if self.members.is_gone(&whom) {
                self.asks_in_silence(now, &whom.address);
            }
            self.ask_for_myself(now, whom, 0);
        }
    }

    pub(super) fn search_answered(&mut self, now: Moment, whom: &Entry, hops: u32, answer: Answer) {
        let Ok((from, reply)) = answer else { return };
        self.silences.broken(&whom.address);
        if self.members.is_gone(&from.entry) {
            // The peer is alive, and belongs to another ring or to none.
            self.exchange(now, from.entry.clone());
        }
        let (me, successors_max) = (self.me.position, self.settings().successors.into());
        let finding = Finding::of(&me, &from.entry.position, reply, successors_max);
        match self.ring_search.note(&me, whom, hops, finding) {
            None => {}
            Some(Step::Ask(next)) => self.ask_for_myself(now, next, hops + 1),
            Some(Step::Merge(peers)) => self.merge_with(now, peers),
            Some(Step::JoinThrough(peers)) => {
                let alive = |entry| Member { entry, state: MemberState::Alive };
                let remembered = peers.into_iter().map(alive).collect();
                self.enter(now, Start::Resume { remembered, given: Vec::new() });
            }
        }
    }

    /// Exchanges states with neighbours in another ring, and takes this peer's place beside them.
    fn merge_with(&mut self, now: Moment, peers: Vec<Entry>) {
        for peer in peers {
            self.exchange(now, peer.clone());
            self.notify(now, &peer);
            if !self.members.is_gone(&peer) {
                let (ring, known, _) = self.ring_parts();
                ring.consider(known, &peer);
            }
        }
    }

    fn ask_for_myself(&mut self, now: Moment, whom: Entry, hops: u32) {
        let request = MembershipRequest::FindOwner { key: self.me.position };
        let to = Target::from(&whom);
        self.ask(now, to, request, self.request_timeout(), Purpose::Search { whom, hops });
    }

    fn copy_page(&mut self, now: Moment) {
        let known = self.members.alive_count();
        if let Some((source, after)) = self.contact_copy.next_page(self.ring.iter(), known) {
            let request = MembershipRequest::Contacts { after };
            self.ask(now, Target::from(&source), request, self.request_timeout(), Purpose::Contacts);
        }
    }
}
