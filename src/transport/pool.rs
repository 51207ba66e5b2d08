//! The connections that new streams and datagrams use: one for each peer.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::time::Duration;

use super::connection::Connection;
use crate::id::Position;
use crate::wire::Entry;

/// One connection for each position. Connections that lost their place live on elsewhere until their streams have
/// ended.
#[derive(Debug)]
pub(super) struct Pool {
    live: HashMap<Position, Connection>,
    connections_max: usize,
}

/// The result of offering a new connection to the pool.
#[derive(Debug)]
pub(super) enum Offer {
    /// The new connection is the pooled one; an older one may have lost its place to it.
    Pooled {
        /// The older connection that lost its place.
        displaced: Option<Connection>,
    },
    /// The pool already has a better connection.
    Second {
        /// The better connection.
        first: Connection,
    },
    /// The place belongs to another key. The new connection is served, but nothing is sent to that position through it:
    /// a clash of identities does not drive out the peer that came first.
    Apart,
    /// The pool is full, and no place can be made.
    Full,
}

impl Pool {
    pub(super) fn new(connections_max: usize) -> Pool {
        Pool { live: HashMap::new(), connections_max }
    }

    /// The connection to this peer, if it can be used.
    pub(super) fn usable(&self, position: &Position) -> Option<Connection> {
        self.live.get(position).filter(|connection| connection.is_usable()).cloned()
    }

    pub(super) fn offer(&mut self, new: &Connection) -> Offer {
        let full = self.live.len() >= self.connections_max;
        match self.live.entry(new.peer().position) {
            Slot::Occupied(mut slot) => {
                let old = slot.get();
                if old.peer().key != new.peer().key && old.is_usable() {
                    Offer::Apart
                } else if old.peer().key != new.peer().key || new.replaces(old) {
                    Offer::Pooled { displaced: Some(slot.insert(new.clone())) }
                } else {
                    Offer::Second { first: old.clone() }
                }
            }
            Slot::Vacant(slot) if !full => {
                slot.insert(new.clone());
                Offer::Pooled { displaced: None }
            }
            Slot::Vacant(_) => match self.least_recently_used_idle() {
                Some(idle) => {
                    let displaced = self.live.remove(&idle);
                    self.live.insert(new.peer().position, new.clone());
                    Offer::Pooled { displaced }
                }
                None => Offer::Full,
            },
        }
    }

    /// Takes this very connection out; true if it was in the pool.
    pub(super) fn remove(&mut self, connection: &Connection) -> bool {
        match self.live.entry(connection.peer().position) {
            Slot::Occupied(slot) if slot.get().is_same(connection) => {
                slot.remove();
                true
            }
            _ => false,
        }
    }

    /// Takes out the connection to this incarnation of a peer, or to an earlier one.
    pub(super) fn take(&mut self, position: &Position, incarnation: u64) -> Option<Connection> {
        match self.live.get(position) {
            Some(connection) if connection.peer().incarnation <= incarnation => self.live.remove(position),
            _ => None,
        }
    }

    /// Takes out connections that this side dialled and that were not used for `since`.
    pub(super) fn take_unused(
        &mut self,
        since: Duration,
        keep: impl Fn(&Position) -> bool,
    ) -> Vec<Connection> {
        let unused = |connection: &Connection| {
            connection.is_ours() && connection.streams() == 0 && connection.last_used().elapsed() >= since
        };
        let mut taken = Vec::new();
        self.live.retain(|position, connection| {
            let goes = unused(connection) && !keep(position);
            taken.extend(goes.then(|| connection.clone()));
            !goes
        });
        taken
    }

    /// The peers that there are connections to, in no order.
    pub(super) fn peers(&self) -> Vec<Entry> {
        self.live.values().map(|connection| connection.peer().clone()).collect()
    }

    /// The peers that know this one by an earlier incarnation.
    pub(super) fn greeted_before(&self, incarnation: u64) -> Vec<Entry> {
        let outdated = self.live.values().filter(|c| c.own_incarnation() < incarnation && c.is_usable());
        outdated.map(|connection| connection.peer().clone()).collect()
    }

    fn least_recently_used_idle(&self) -> Option<Position> {
        let idle = self.live.iter().filter(|(_, connection)| connection.streams() == 0);
        idle.min_by_key(|(_, connection)| connection.last_used()).map(|(position, _)| *position)
    }
}
