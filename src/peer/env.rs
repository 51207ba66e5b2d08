//! The world of the flows of [`crate::files`], in a running peer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::actor::ActorMessage;
use super::shared::Shared;
use crate::chord::{View, hop_timeout};
use crate::files::{Env, Standing};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::{Entry, Fault, MembershipReply, MembershipRequest};

impl Env for Shared {
    fn now(&self) -> Moment {
        self.clock.now()
    }

    async fn sleep_until(self: &Arc<Self>, at: Moment) {
        self.clock.sleep_until(Some(at)).await;
    }

    fn view(&self) -> Arc<View> {
        Shared::view(self)
    }

    async fn view_until(
        self: &Arc<Self>,
        within: Duration,
        holds: impl Fn(&View) -> bool + Send + Sync,
    ) -> bool {
        Shared::view_until(self, within, holds).await
    }

    fn was_member(&self) -> bool {
        self.was_member.load(Ordering::Relaxed)
    }

    async fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> Option<MembershipReply> {
        Shared::ask_membership(self, whom, request, within).await.ok()
    }

    fn hop_timeout(&self, whom: &Position) -> Duration {
        let connection = self.transport.connection(whom);
        hop_timeout(connection.map(|connection| connection.round_trip_time()))
    }

    async fn tell_of_lookup(self: &Arc<Self>, whom: Entry, reply: Option<MembershipReply>) {
        let message = match reply {
            // What a helper passes on is no sign of life.
            Some(_) if self.transport.was_asked_through_a_helper(&whom.position) => return,
            Some(reply) => ActorMessage::LookupAnswer { from: whom, reply },
            None => ActorMessage::LookupSilence { whom },
        };
        self.tell_actor(message).await;
    }

    fn standing(&self, view: &View) -> Standing {
        Standing { distrusted: self.ledger.distrusted(), settled: self.ledger.is_settled(view) }
    }

    fn blame_answer(&self, peer: &Position, fault: Fault) {
        Shared::blame_answer(self, peer, fault);
    }
}
