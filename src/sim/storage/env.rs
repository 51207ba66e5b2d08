//! The world of the flows of [`crate::files`], in the simulator.

use std::sync::Arc;
use std::time::Duration;

use super::keeper::{Effect, Keeper};
use crate::chord::View;
use crate::files::{self, Env, Standing};
use crate::id::Position;
use crate::replica::Found;
use crate::time::Moment;
use crate::wire::{Entry, Fault, MembershipReply, MembershipRequest};

impl Env for Keeper {
    fn now(&self) -> Moment {
        Keeper::now(self)
    }

    async fn sleep_until(self: &Arc<Self>, at: Moment) {
        Keeper::sleep_until(self, at).await;
    }

    fn view(&self) -> Arc<View> {
        Keeper::view(self)
    }

    async fn view_until(
        self: &Arc<Self>,
        within: Duration,
        holds: impl Fn(&View) -> bool + Send + Sync,
    ) -> bool {
        Keeper::view_until(self, within, &holds).await;
        holds(&Keeper::view(self))
    }

    fn was_member(&self) -> bool {
        self.was_member.get()
    }

    async fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> Option<MembershipReply> {
        Keeper::ask_membership(self, whom, request, within).await
    }

    fn hop_timeout(&self, _: &Position) -> Duration {
        self.ways.hop_timeout
    }

    async fn tell_of_lookup(self: &Arc<Self>, whom: Entry, reply: Option<MembershipReply>) {
        self.want(match reply {
            Some(reply) => Effect::Heard(whom, reply),
            None => Effect::Silence(whom),
        });
    }

    fn standing(&self, _: &View) -> Standing {
        Standing::default()
    }

    /// Nobody lies here.
    fn blame_answer(&self, _: &Position, _: Fault) {}
}

impl Keeper {
    /// As [`files::find`].
    pub(super) async fn find(self: &Arc<Self>, key: Position, wanted: usize) -> Option<Found> {
        files::find(self, key, wanted).await.ok()
    }

    /// As [`files::find_soon`].
    pub(super) async fn find_soon(self: &Arc<Self>, key: Position, wanted: usize) -> Option<Found> {
        files::find_soon(self, key, wanted).await.ok()
    }
}
