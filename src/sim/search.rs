//! Lookups that the world asks for: [`files::look_up`], as a running peer does them, with their hops counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::lock::Lock;
use super::mailbox::{Effect, Mailbox};
use super::network::Slot;
use super::world::World;
use crate::files::{self, Clock, Either, Hops, race};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, MembershipReply, MembershipRequest};

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
    outcomes: Vec<Outcome>,
}

#[derive(Debug)]
struct Search {
    from: Slot,
    key: Position,
    began: Moment,
}

/// The result of a lookup.
pub(super) struct Found {
    search: u64,
    owner: Option<Entry>,
    hops: u32,
    timeouts: u32,
}

impl Searches {
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn take_outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// Forgets the lookups of a process that has ended.
    pub(super) fn end(&mut self, slot: Slot) {
        self.under_way.retain(|_, search| search.from != slot);
    }
}

impl World {
    /// Begins a lookup of a key from a member; see [`World::take_outcomes`].
    pub fn search(&mut self, from: Slot, key: Position) {
        let Some(node) = self.node(from) else { return };
        let mut lookup = node.lookup(key, Default::default());
        let Some(mailbox) = self.mailbox(from) else { return };
        let id = mailbox.next_id();
        self.searches.under_way.insert(id, Search { from, key, began: self.now });
        let seeker = Arc::new(Seeker { mailbox, hops: Lock::default(), timeouts: Lock::default() });
        let task = async move {
            let found = files::look_up(&seeker, &mut lookup, key).await.ok();
            let (hops, timeouts) = (seeker.hops.get(), seeker.timeouts.get());
            let owner = found.map(|found| found.owner);
            seeker.mailbox.want(Effect::Found(Found { search: id, owner, hops, timeouts }));
        };
        self.tasks.spawn(from, Box::pin(task));
        self.go_on();
    }

    pub(super) fn end_search(&mut self, found: Found) {
        let Found { search, owner, hops, timeouts } = found;
        let Some(search) = self.searches.under_way.remove(&search) else { return };
        let truth = self.first_at_or_after(&search.key).and_then(|slot| self.entry(slot)).map(|e| e.position);
        // A peer that knows the owner by itself has to ask only the owner.
        let itself = self.entry(search.from).map(|entry| entry.position);
        let told = owner.as_ref().is_some_and(|owner| hops == 0 && Some(owner.position) != itself);
        self.searches.outcomes.push(Outcome {
            from: search.from,
            key: search.key,
            right: owner.as_ref().map(|owner| owner.position) == truth,
            found: owner,
            hops: hops + u32::from(told),
            timeouts,
            took: self.now - search.began,
            ended: self.now,
        });
    }
}

/// One lookup of a process.
struct Seeker {
    mailbox: Arc<Mailbox>,
    hops: Lock<u32>,
    timeouts: Lock<u32>,
}

impl Clock for Seeker {
    fn now(&self) -> Moment {
        self.mailbox.now()
    }

    fn sleep_until(self: &Arc<Self>, at: Moment) -> impl Future<Output = ()> + Send {
        self.mailbox.sleep(at)
    }
}

impl Hops for Seeker {
    async fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> Option<MembershipReply> {
        let mut answer = Box::pin(self.mailbox.ask_membership(whom, request, within));
        let slow = self.mailbox.sleep(self.now() + self.mailbox.hop_timeout());
        let answer = match race(answer.as_mut(), slow).await {
            Either::Left(answer) => answer,
            Either::Right(()) => {
                self.timeouts.set(self.timeouts.get() + 1);
                answer.await
            }
        };
        self.hops.set(self.hops.get() + u32::from(answer.is_some()));
        answer
    }

    fn hop_timeout(&self, _: &Position) -> Duration {
        self.mailbox.hop_timeout()
    }

    async fn tell_of_lookup(self: &Arc<Self>, whom: Entry, reply: Option<MembershipReply>) {
        self.mailbox.tell_of_lookup(whom, reply);
    }
}
