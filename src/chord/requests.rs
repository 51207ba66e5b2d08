//! The requests of this peer that await an answer, each with its purpose and its deadline.

use std::collections::BTreeMap;

use super::output::{ReplyTo, Token};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Address, Entry};

/// The purpose of a request: it decides what becomes of the answer.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// JOIN, sent to this address.
    Join(Address),
    /// The stabilise query under way: STABILISE or FROM_PRED.
    Query,
    /// An exchange of states outside of STABILISE, with the peer at this address.
    Exchange(Address),
    /// RECTIFY at the other side: this peer may stand beside it.
    Notify,
    /// The direct probe of a suspected peer.
    DirectProbe(Position),
    /// A probe through a helper.
    HelperProbe {
        /// The suspected peer.
        target: Position,
        /// The peer that relays the probe.
        helper: Position,
    },
    /// A request of another peer that this one relays; the answer goes to it.
    Relay(ReplyTo),
    /// The news that this peer has left.
    Farewell,
    /// A page of contacts.
    Contacts,
    /// A lookup of this peer's own position by another peer: the search for another ring.
    Search {
        /// The asked peer.
        whom: Entry,
        /// The number of peers that this search asked before.
        hops: u32,
    },
    /// The question whether the ring still counts this peer.
    Check(Position),
}

/// The requests under way, by their tokens. Each ends with an answer, at its deadline, or when it is forgotten.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    pending: BTreeMap<Token, (Moment, Purpose)>,
    next_token: u64,
}

impl Requests {
    /// Adds a request; its answer is due by `deadline`. Tokens count up and are never used twice.
    pub(super) fn add(&mut self, deadline: Moment, purpose: Purpose) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.pending.insert(token, (deadline, purpose));
        token
    }

    /// Ends a request; `None` if it has ended before: then its answer is late.
    pub(super) fn take(&mut self, token: Token) -> Option<Purpose> {
        self.pending.remove(&token).map(|(_, purpose)| purpose)
    }

    /// The purpose of a request that is under way.
    pub(super) fn purpose(&self, token: Token) -> Option<&Purpose> {
        self.pending.get(&token).map(|(_, purpose)| purpose)
    }

    /// The requests whose deadline has passed, the oldest first.
    pub(super) fn overdue(&self, now: Moment) -> Vec<Token> {
        self.pending.iter().filter(|(_, (at, _))| *at <= now).map(|(token, _)| *token).collect()
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.pending.values().map(|(at, _)| *at).min()
    }

    /// Whether a request of this kind is under way.
    pub(super) fn is_pending(&self, of: impl Fn(&Purpose) -> bool) -> bool {
        self.pending.values().any(|(_, purpose)| of(purpose))
    }

    /// Drops the requests of this kind: their answers will be late.
    pub(super) fn forget(&mut self, of: impl Fn(&Purpose) -> bool) {
        self.pending.retain(|_, (_, purpose)| !of(purpose));
    }

    /// The requests of others that this peer relays at the moment.
    pub(super) fn relays(&self) -> impl Iterator<Item = ReplyTo> {
        self.pending.values().filter_map(|(_, purpose)| match purpose {
            Purpose::Relay(to) => Some(*to),
            _ => None,
        })
    }

    /// The memory that the requests take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.pending.len() * size_of::<(Token, (Moment, Purpose))>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Moment {
        Moment(second * 1_000_000)
    }

    #[test]
    fn a_request_ends_once() {
        let mut requests = Requests::default();
        let token = requests.add(at(2), Purpose::Query);
        assert_ne!(requests.add(at(3), Purpose::Notify), token);
        assert!(matches!(requests.take(token), Some(Purpose::Query)));
        assert!(requests.take(token).is_none(), "the second answer is late");
        assert_ne!(requests.add(at(4), Purpose::Query), token, "no token is used twice");
    }

    #[test]
    fn deadlines_pass_oldest_request_first() {
        let mut requests = Requests::default();
        let tokens = [5, 1, 3].map(|second| requests.add(at(second), Purpose::Farewell));
        assert_eq!(requests.next_deadline(), Some(at(1)));
        assert_eq!(requests.overdue(at(3)), tokens[1..]);
        assert!(requests.overdue(at(0)).is_empty());
    }

    #[test]
    fn requests_of_one_kind_are_forgotten() {
        let mut requests = Requests::default();
        requests.add(at(1), Purpose::Query);
        requests.add(at(1), Purpose::Relay(ReplyTo(7)));
        requests.forget(|purpose| matches!(purpose, Purpose::Query));
        assert!(!requests.is_pending(|purpose| matches!(purpose, Purpose::Query)));
        assert_eq!(requests.relays().collect::<Vec<_>>(), [ReplyTo(7)]);
    }
}
