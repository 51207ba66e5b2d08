//! Finding owners and replicas: the production lookup, driven by a task. As `peer::lookup` does it.

use std::sync::Arc;
use std::time::Duration;

use super::keeper::{Effect, Keeper};
use super::wait::Set;
use crate::chord::{HOP_GIVEN_UP, Lookup, Step, check_list};
use crate::id::Position;
use crate::replica::{Found, known_after};
use crate::wire::{Entry, MembershipReply, MembershipRequest};

impl Keeper {
    /// Finds the owner of a key, with at least `wanted` peers after it if there are so many; nothing when
    /// nobody who is left to ask knows.
    pub(super) async fn find(self: &Arc<Self>, key: Position, wanted: usize) -> Option<Found> {
        let view = self.view();
        if !view.is_member() {
            return None;
        }
        let mut lookup = Lookup::new(&view, key, Default::default());
        let found = self.drive(&mut lookup, key).await?;
        Some(self.with_successors(found, wanted).await)
    }

    /// As [`Keeper::find`], for somebody who waits: right after a departure or a death nobody answers for its
    /// range, until its neighbours have noticed.
    pub(super) async fn find_soon(self: &Arc<Self>, key: Position, wanted: usize) -> Option<Found> {
        let deadline = self.now() + FIND_WAIT;
        loop {
            match self.find(key, wanted).await {
                None if self.view().is_member() && self.now() < deadline => self.sleep(FIND_PAUSE).await,
                found => return found,
            }
        }
    }

    async fn drive(self: &Arc<Self>, lookup: &mut Lookup, key: Position) -> Option<Found> {
        let mut asked = Set::new();
        loop {
            let patience = match lookup.next_step() {
                Step::Ask(whom) => {
                    asked.add(async move {
                        let request = MembershipRequest::FindOwner { key };
                        let reply = self.ask_membership(&whom, request, HOP_GIVEN_UP).await;
                        (whom, reply)
                    });
                    self.ways.hop_timeout
                }
                Step::Wait => HOP_GIVEN_UP,
                Step::Found { owner, predecessor, successors } => {
                    return Some(Found { owner, predecessor, successors });
                }
                Step::Failed => return None,
            };
            // Whoever takes longer may still answer while the next best is asked.
            let Some(Some((whom, reply))) = self.timeout(patience, asked.next()).await else { continue };
            match reply {
                Some(reply) => {
                    lookup.answered(&whom, reply.clone());
                    self.want(Effect::Heard(whom, reply));
                }
                None => {
                    lookup.failed(&whom.position);
                    self.want(Effect::Silence(whom));
                }
            }
        }
    }

    /// Asks on where a successor list ends before the wanted peers do.
    async fn with_successors(self: &Arc<Self>, mut found: Found, wanted: usize) -> Found {
        let view = self.view();
        while let Some(last) = found.ends_early(&view, wanted).cloned() {
            let behind = match self.successors_of(&last).await {
                Some(behind) => behind,
                // Silent, or dead and not known to be: this peer's own knowledge of who follows takes the place.
                None => known_after(&view, &last.position, wanted),
            };
            if !found.extend(behind) {
                break;
            }
        }
        found
    }

    async fn successors_of(self: &Arc<Self>, whom: &Entry) -> Option<Vec<Entry>> {
        let view = self.view();
        if whom.position == view.me.position {
            return Some(view.successors.clone());
        }
        let request = MembershipRequest::FindOwner { key: whom.position };
        match self.ask_membership(whom, request, HOP_GIVEN_UP).await {
            Some(MembershipReply::Owner { owner, successors, .. }) if owner.position == whom.position => {
                let most = view.settings.unwrap_or_default().successors.into();
                check_list(&whom.position, &successors, most).is_ok().then_some(successors)
            }
            _ => None,
        }
    }
}

/// How long an owner is looked for that nobody knows at the moment, and how often.
const FIND_WAIT: Duration = Duration::from_secs(5);
const FIND_PAUSE: Duration = Duration::from_millis(200);
