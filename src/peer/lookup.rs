//! Finding owners and replicas: the pure lookup, driven over the network.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::chord::{Lookup, Step};
use crate::id::Position;
use crate::replica::replicas;
use crate::wire::{Entry, MembershipReply, MembershipRequest};

/// Who owns a key, and who stands around the owner.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub owner: Entry,
    /// As many as are needed for the replicas, where the ring has so many.
    pub successors: Vec<Entry>,
}

impl Shared {
    /// Finds the owner of a key, with at least `wanted` peers after it if there are so many.
    ///
    /// # Errors
    /// Says that nobody who is left to ask knows.
    pub(super) async fn find(self: &Arc<Self>, key: Position, wanted: usize) -> Result<Found, String> {
        let view = self.view();
        if !view.is_member() {
            return Err(self.why_not_active());
        }
        let mut lookup = Lookup::new(&view, key);
        loop {
            match lookup.next_step() {
                Step::Ask(whom) => {
                    let request = MembershipRequest::FindOwner { key };
                    if let Ok(reply) = self.ask_membership(&whom, request, HOP_TIMEOUT).await {
                        lookup.answered(reply);
                    }
                }
                Step::Found { owner, successors, .. } => {
                    return Ok(self.with_successors(key, Found { owner, successors }, wanted).await);
                }
                Step::Failed => return Err(format!("nobody who answers knows who owns {}", key.short())),
            }
        }
    }

    /// The peers that should keep what belongs to a key, owner first.
    ///
    /// # Errors
    /// As [`Shared::find`].
    pub(super) async fn replicas_of(self: &Arc<Self>, key: Position) -> Result<Vec<Entry>, String> {
        let copies = usize::from(self.settings().replicas);
        let found = self.find(key, copies - 1).await?;
        Ok(replicas(&found.owner, &found.successors, copies))
    }

    /// Why this peer does nothing for the ring at the moment.
    pub(super) fn why_not_active(&self) -> String {
        let view = self.view();
        if view.waiting_for.is_empty() {
            "this peer is not in its ring (yet)".to_owned()
        } else {
            format!(
                "this peer is not in its ring yet; it waits for {}",
                super::word_list(view.waiting_for.clone())
            )
        }
    }

    /// Who found an owner at the end of its list knows too few peers after it; the owner knows more.
    async fn with_successors(self: &Arc<Self>, key: Position, found: Found, wanted: usize) -> Found {
        let view = self.view();
        let possible = wanted.min(view.alive().count());
        if found.successors.len() >= possible || found.owner.position == view.me.position {
            return found;
        }
        match self.ask_membership(&found.owner, MembershipRequest::FindOwner { key }, HOP_TIMEOUT).await {
            Ok(MembershipReply::Owner { owner, successors, .. })
                if owner.position == found.owner.position && successors.len() > found.successors.len() =>
            {
                Found { owner, successors }
            }
            _ => found,
        }
    }
}

/// How long one peer of a lookup may take.
const HOP_TIMEOUT: Duration = Duration::from_secs(1);
