//! Lookups under way: the production code of a lookup, driven by the world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::network::Slot;
use super::traffic::Purpose;
use super::world::{Ask, Delivery, World};
use crate::chord::{HOP_GIVEN_UP, Lookup, Step, hop_timeout};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, MembershipReply, MembershipRequest, Target};

/// The outcome of a lookup.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The peer that began the lookup.
    pub from: Slot,
    /// The key that was looked up.
    pub key: Position,
    /// The owner that was found, if one was.
    pub found: Option<Entry>,
    /// Whether the found peer is the first living member at or after the key, at the end.
    pub right: bool,
    /// The number of answered messages, including the last one, to the owner.
    pub hops: u32,
    /// The number of messages that were not answered in time.
    pub timeouts: u32,
    /// The time that the lookup took.
    pub took: Duration,
    /// The moment at which the lookup ended.
    pub ended: Moment,
}

#[derive(Debug, Default)]
pub(super) struct Searches {
    under_way: BTreeMap<u64, Search>,
    next: u64,
    outcomes: Vec<Outcome>,
}

#[derive(Debug)]
struct Search {
    from: Slot,
    key: Position,
    began: Moment,
    lookup: Lookup,
    open: BTreeSet<Position>,
    hops: u32,
    timeouts: u32,
}

impl Searches {
    pub(super) fn begin(&mut self, from: Slot, key: Position, began: Moment, lookup: Lookup) -> u64 {
        let id = self.next;
        self.next += 1;
        let search = Search { from, key, began, lookup, open: BTreeSet::new(), hops: 0, timeouts: 0 };
        self.under_way.insert(id, search);
        id
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn take_outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }
}

impl World {
    pub(super) fn drive_search(&mut self, id: u64) {
        let Some(search) = self.searches.under_way.get_mut(&id) else { return };
        let from = search.from;
        let found = match search.lookup.next_step() {
            Step::Ask(whom) => {
                search.open.insert(whom.position);
                let request = MembershipRequest::FindOwner { key: search.key };
                self.send_request(from, &Target::from(&whom), Ask::Search(id), request, Purpose::Lookup);
                let slow = hop_timeout(Some(self.network.round_trip_max()));
                for (after, for_good) in [(slow, false), (HOP_GIVEN_UP, true)] {
                    let timeout = Delivery::SearchTimeout { search: id, whom: whom.clone(), for_good };
                    self.queue.put(self.now + after, timeout);
                }
                return;
            }
            Step::Wait => return,
            Step::Found { owner, .. } => Some(owner),
            Step::Failed => None,
        };
        self.end_search(id, found);
    }

    pub(super) fn search_answered(&mut self, id: u64, from: &Entry, reply: MembershipReply) {
        let Some(search) = self.searches.under_way.get_mut(&id) else { return };
        search.open.remove(&from.position);
        search.hops += 1;
        search.lookup.answered(from, reply);
        self.drive_search(id);
    }

    pub(super) fn deliver_timeout(&mut self, delivery: Delivery) {
        let Delivery::SearchTimeout { search: id, whom, for_good } = delivery else { return };
        let Some(search) = self.searches.under_way.get_mut(&id) else { return };
        let from = search.from;
        if !search.open.contains(&whom.position) {
            return;
        }
        if for_good {
            search.open.remove(&whom.position);
            search.lookup.failed(&whom.position);
            let local = self.local_time(from);
            match self.running(from) {
                Some(peer) => peer.node.handle_lookup_silence(local, &whom),
                // The peer that looked up is dead itself.
                None => {
                    self.searches.under_way.remove(&id);
                    return;
                }
            }
            self.drain(from);
        } else {
            search.timeouts += 1;
        }
        self.drive_search(id);
    }

    fn end_search(&mut self, id: u64, found: Option<Entry>) {
        let Some(search) = self.searches.under_way.remove(&id) else { return };
        let truth = self.first_at_or_after(&search.key).and_then(|slot| self.entry(slot)).map(|e| e.position);
        // A peer that knows the owner by itself has to ask only the owner.
        let itself = self.entry(search.from).map(|entry| entry.position);
        let told = found.as_ref().is_some_and(|owner| search.hops == 0 && Some(owner.position) != itself);
        let right = found.as_ref().map(|owner| owner.position) == truth;
        self.searches.outcomes.push(Outcome {
            from: search.from,
            key: search.key,
            found,
            right,
            hops: search.hops + u32::from(told),
            timeouts: search.timeouts,
            took: self.now - search.began,
            ended: self.now,
        });
    }
}
