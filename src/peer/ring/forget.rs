//! `forget PEER`: removes a member that will not come back.
//!
//! The ring is told that the member left in an incarnation after the known one. So no gossip about its last incarnation
//! brings it back, and it may join again with a later incarnation.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::message::ActorMessage;
use crate::peer::api::{ForgetError, ForgetReport};
use crate::peer::shared::Shared;
use crate::wire::{Entry, MemberState, MembershipRequest, NeighbourRequest};

impl Shared {
    /// Forgets a member that does not answer. Unless `sure`, only reports which member is meant.
    ///
    /// # Errors
    /// [`ForgetError`] if there is no such member, it answers, or the ring still counts it as alive.
    pub(in crate::peer) async fn forget(
        self: &Arc<Self>,
        whom: &str,
        sure: bool,
    ) -> Result<ForgetReport, ForgetError> {
        if !self.view().is_member() {
            return Err(self.why_not_active().into());
        }
        let entry = self.entry_of(whom).await?;
        let peer = self.named(&entry.position);
        if entry.position == self.position() {
            return Err(ForgetError::Asked { peer });
        }
        let state = self.view().members.at(&entry.position).map(|member| member.state);
        if self.answers(&entry).await {
            return Err(ForgetError::Answers { peer });
        }
        match state {
            Some(MemberState::Dead) => {}
            Some(MemberState::Alive) => return Err(ForgetError::NotGivenUp { peer }),
            Some(MemberState::Left) | None => return Err(ForgetError::NoMember { peer }),
        }
        let without_copy = self.health().await.without_copy;
        if sure && !self.forget_now(&entry).await {
            return Err(ForgetError::Back { peer });
        }
        Ok(ForgetReport { peer, address: entry.address.clone(), done: sure, without_copy })
    }

    /// Whether a peer answers a probe.
    async fn answers(&self, entry: &Entry) -> bool {
        let probe = MembershipRequest::Neighbour(NeighbourRequest::Probe);
        self.ask_membership(entry, probe, PROBE_TIMEOUT).await.is_ok()
    }

    /// Tells the ring. False if the peer is not a member that has stopped answering.
    async fn forget_now(&self, entry: &Entry) -> bool {
        let (done, forgotten) = oneshot::channel();
        self.ring.tell_actor(ActorMessage::Forget { whom: entry.position, done }).await;
        forgotten.await.unwrap_or(false)
    }
}

/// The timeout of the probe that looks whether the peer answers after all.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
