//! The faults that are held against other peers, and how they are reported.

use std::sync::{MutexGuard, PoisonError};

use crate::id::Position;
use crate::peer::api::{Listed, Misbehaviour, PeerEvent};
use crate::peer::shared::Shared;
use crate::replica::Ledger;
use crate::wire::Fault;

impl Shared {
    /// Records a fault of a peer.
    pub(in crate::peer) fn blame(&self, peer: &Position, fault: Fault) {
        let now = self.ring.clock.now();
        if *peer != self.position() && self.ledger().note(*peer, fault, now) {
            let warning = format!("peer {} misbehaves: {fault}", self.named(peer));
            tracing::warn!("{warning}");
            self.tell(PeerEvent::Warning(warning));
        }
    }

    /// Records the fault of a wrong answer against the peer that gave it. If a helper passed the answer on, the helper
    /// may have changed it: then no peer is blamed, and another way to the peer is looked for. True if the peer was
    /// blamed.
    pub(in crate::peer) fn blame_answer(&self, peer: &Position, fault: Fault) -> bool {
        let hearsay = self.transport.was_asked_through_a_helper(peer);
        if hearsay {
            tracing::debug!(peer = %peer.label(), %fault, "through a helper, so nobody is held to account");
            self.transport.set_detour(*peer, None);
            self.ring.contacts.seek(*peer);
        } else {
            self.blame(peer, fault);
        }
        !hearsay
    }

    /// All recorded faults, as people read them.
    pub(in crate::peer) fn misbehaving(&self) -> Listed<Misbehaviour> {
        let lines = self.ledger().report().into_iter();
        lines.map(|(peer, kind, count)| Misbehaviour { peer: self.named(&peer), kind, count }).collect()
    }

    pub(in crate::peer) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ring.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
