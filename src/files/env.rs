//! The world of the flows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::chord::View;
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, Fault, MembershipReply, MembershipRequest};

/// All that the flows of one peer know of the world.
///
/// Futures are `Send`, so that a runtime with several threads can run the flows.
pub trait Env: Send + Sync + 'static {
    /// The time, on a clock that never goes back.
    fn now(&self) -> Moment;

    /// Waits until then.
    fn sleep_until(self: &Arc<Self>, at: Moment) -> impl Future<Output = ()> + Send;

    /// What this peer believes of the ring at the moment.
    fn view(&self) -> Arc<View>;

    /// Waits until the view satisfies a condition, at most so long. Says whether it does.
    fn view_until(
        self: &Arc<Self>,
        within: Duration,
        holds: impl Fn(&View) -> bool + Send + Sync,
    ) -> impl Future<Output = bool> + Send;

    /// Whether this process has been a member of its ring: if it is none now, it soon will be again.
    fn was_member(&self) -> bool;

    /// Asks another peer about the ring; nothing when there is no answer in time, or none that can be used.
    fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> impl Future<Output = Option<MembershipReply>> + Send;

    /// How long one peer of a lookup is waited for before the next one is asked.
    fn hop_timeout(&self, whom: &Position) -> Duration;

    /// Tells the membership protocol that a peer answered a lookup, or, with no reply, that it did not.
    fn tell_of_lookup(
        self: &Arc<Self>,
        whom: Entry,
        reply: Option<MembershipReply>,
    ) -> impl Future<Output = ()> + Send;

    /// Whom this peer believes, with this view.
    fn standing(&self, view: &View) -> Standing;

    /// Holds what a peer answered against it.
    fn blame_answer(&self, peer: &Position, fault: Fault);
}

/// Whom a peer believes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Peers that lied lately: they are asked last.
    pub distrusted: BTreeSet<Position>,
    /// The ring has been the same for a while, so that whoever knows less of it does not merely lag behind.
    pub settled: bool,
}
