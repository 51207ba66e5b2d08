//! The state that all tasks of one peer share.

use std::sync::Arc;
use std::time::Duration;

use crate::blob::Store;
use crate::chord::View;
use crate::files;
pub(super) use crate::files::{LATE_WORD, STORAGE_TIMEOUT};
use crate::id::Position;
use crate::peer::api::PeerEvent;
use crate::peer::control::state::ControlState;
use crate::peer::flows::state::FlowState;
use crate::peer::ring::state::RingState;
use crate::transport::{Identity, RequestFailure, Transport, Verifier, spawn_blocking};
use crate::wire::{
    Entry, Fault, MembershipReply, MembershipRequest, Missing, MissingCopy, MissingReason, PeerName, Reply,
    Request, StorageReply, StorageRequest, Target,
};

/// The parts of one peer, held by every task of it.
pub(super) struct Shared {
    pub store: Store,
    pub transport: Transport,
    pub identity: Identity,
    pub verifier: Verifier,
    /// The state of the ring.
    pub ring: RingState,
    /// The state that its flows share.
    pub flows: FlowState,
    /// The state that its commands and its watchers share.
    pub control: ControlState,
}

impl Shared {
    /// The view that this peer has of the ring at the moment.
    pub(super) fn view(&self) -> Arc<View> {
        self.ring.view()
    }

    /// The position of this peer.
    pub(super) fn position(&self) -> Position {
        self.identity.position()
    }

    /// The name of a peer, as people know it.
    pub(super) fn named(&self, peer: &Position) -> PeerName {
        PeerName { position: *peer, name: self.transport.display_name(peer) }
    }

    /// The names of peers, as people know them.
    pub(super) fn all_named<'a, L: FromIterator<PeerName>>(
        &self,
        peers: impl IntoIterator<Item = &'a Position>,
    ) -> L {
        peers.into_iter().map(|peer| self.named(peer)).collect()
    }

    /// Missing copies, with the peers' names as people know them.
    pub(super) fn missing_named(&self, missing: &[Missing]) -> Vec<MissingCopy> {
        let named =
            |copy: &Missing| MissingCopy { peer: self.named(&copy.peer), reason: copy.reason.clone() };
        missing.iter().map(named).collect()
    }

    /// Whether this peer is still taking over its ranges.
    pub(super) fn is_syncing(&self) -> bool {
        !self.flows.takeover().is_over(&self.view())
    }

    /// Sends an event to all who watch this peer.
    pub(super) fn tell(&self, event: PeerEvent) {
        // Sending fails only if nobody watches.
        let _ = self.control.events.send(event);
    }

    /// Runs disk or hashing work off the async threads.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> T {
        let store = self.store.clone();
        spawn_blocking(move || work(&store)).await
    }

    /// The number of free bytes on a full disk, as [`Store::full_with`] tells, off the async threads.
    pub(super) async fn full_with(&self) -> Option<u64> {
        self.blocking(Store::full_with).await
    }

    /// Asks another peer about the ring.
    pub(super) async fn ask_membership(
        &self,
        whom: &Entry,
        request: MembershipRequest,
        timeout: Duration,
    ) -> Result<MembershipReply, String> {
        let request = Request::Membership(request);
        match self.transport.request(&Target::from(whom), &request, timeout).await {
            Ok((_, Reply::Membership(reply))) => Ok(reply),
            Ok((from, _)) => {
                self.blame_answer(&from.position, Fault::WrongReply);
                Err(format!("peer {} broke the protocol", self.named(&from.position)))
            }
            Err(failure) => Err(failure.to_string()),
        }
    }

    /// Asks another peer about files, as [`files::ask_storage`] does.
    ///
    /// # Errors
    /// The same as [`files::ask_storage`].
    pub(super) async fn ask_storage(
        self: &Arc<Self>,
        whom: &Entry,
        request: StorageRequest,
        timeout: Duration,
    ) -> Result<StorageReply, MissingReason> {
        files::ask_storage(self, whom, request, timeout).await
    }

    /// Turns a failed request into the reason why a copy is missing. A peer that cannot be dialled is marked as sought.
    pub(super) fn reason_of(&self, whom: &Entry, failure: &RequestFailure) -> MissingReason {
        match failure {
            RequestFailure::Unsendable(error) => return MissingReason::Refused(error.to_string()),
            RequestFailure::Dial(_) => self.ring.contacts.seek(whom.position),
            _ => {}
        }
        MissingReason::Unreachable
    }
}

/// How long bytes from a slow connection are gathered before they are written, reported or passed on.
pub(super) const GATHER: Duration = Duration::from_secs(1);
