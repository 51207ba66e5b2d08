//! Finding owners and replicas: the pure lookup, driven over the network.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::actor::ActorMessage;
use super::shared::Shared;
use crate::chord::{HOP_GIVEN_UP, Lookup, PhaseKind, Step, View, check_list, hop_timeout};
use crate::id::Position;
use crate::replica::{Found, known_after};
use crate::wire::{Entry, MembershipReply, MembershipRequest};

impl Shared {
    /// Finds the owner of a key, with at least `wanted` peers after it if there are so many.
    ///
    /// # Errors
    /// Says that nobody who is left to ask knows.
    pub(super) async fn find(self: &Arc<Self>, key: Position, wanted: usize) -> Result<Found, String> {
        self.until_member().await?;
        let view = self.view();
        let settled = self.ledger.is_settled(&view);
        let mut lookup = Lookup::new(&view, key, self.ledger.distrusted());
        let found = self.drive(&mut lookup, key).await;
        for doubt in lookup.doubts() {
            if doubt.certain || settled {
                self.blame_answer(&doubt.peer, doubt.fault);
            }
        }
        Ok(self.with_successors(found?, wanted).await)
    }

    /// As [`Shared::find`], for somebody who waits: right after a departure or a death nobody answers for its
    /// range, until its neighbours have noticed.
    ///
    /// # Errors
    /// As [`Shared::find`], once that has gone on for a while.
    pub(super) async fn find_soon(self: &Arc<Self>, key: Position, wanted: usize) -> Result<Found, String> {
        let deadline = Instant::now() + FIND_WAIT;
        loop {
            match self.find(key, wanted).await {
                Err(_) if self.view().is_member() && Instant::now() < deadline => sleep(FIND_PAUSE).await,
                found => return found,
            }
        }
    }

    async fn drive(self: &Arc<Self>, lookup: &mut Lookup, key: Position) -> Result<Found, String> {
        let mut asked = JoinSet::new();
        loop {
            let patience = match lookup.next_step() {
                Step::Ask(whom) => {
                    let connection = self.transport.connection(&whom.position);
                    let patience = hop_timeout(connection.map(|connection| connection.round_trip_time()));
                    let shared = self.clone();
                    asked.spawn(async move {
                        let request = MembershipRequest::FindOwner { key };
                        let reply = shared.ask_membership(&whom, request, HOP_GIVEN_UP).await;
                        (whom, reply)
                    });
                    patience
                }
                Step::Wait => HOP_GIVEN_UP,
                Step::Found { owner, predecessor, successors } => {
                    return Ok(Found { owner, predecessor, successors });
                }
                Step::Failed => return Err(format!("nobody who answers knows who owns {}", key.short())),
            };
            // Whoever takes longer may still answer while the next best is asked.
            let Ok(Some(Ok((whom, reply)))) = timeout(patience, asked.join_next()).await else { continue };
            match reply {
                Ok(reply) => {
                    lookup.answered(&whom, reply.clone());
                    // What a helper passes on is no sign of life.
                    if !self.transport.was_asked_through_a_helper(&whom.position) {
                        self.tell_actor(ActorMessage::LookupAnswer { from: whom, reply }).await;
                    }
                }
                Err(_) => {
                    lookup.failed(&whom.position);
                    self.tell_actor(ActorMessage::LookupSilence { whom }).await;
                }
            }
        }
    }

    /// The peers that should keep what belongs to a key, owner first.
    ///
    /// # Errors
    /// As [`Shared::find`].
    pub(super) async fn replicas_of(self: &Arc<Self>, key: Position) -> Result<Vec<Entry>, String> {
        let copies = usize::from(self.settings().replicas);
        let found = self.find_soon(key, copies - 1).await?;
        Ok(found.first(copies))
    }

    /// Waits until this peer is a member. One that has been a member, and asks after a pause whether it still is, or
    /// comes back, will be one in a moment.
    ///
    /// # Errors
    /// Says why it is no member.
    pub(super) async fn until_member(&self) -> Result<(), String> {
        if self.view().is_member() {
            return Ok(());
        }
        let is_over = |view: &View| view.is_member() || view.phase == PhaseKind::Ended;
        if self.was_member.load(Ordering::Relaxed) {
            self.view_until(MEMBER_WAIT, is_over).await;
        }
        if self.view().is_member() { Ok(()) } else { Err(self.why_not_active()) }
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

    /// The successor list that a peer gave as its own; one that is none is held against it.
    pub(super) fn list_after(&self, whom: &Entry, list: Vec<Entry>) -> Option<Vec<Entry>> {
        let checked = check_list(&whom.position, &list, self.settings().successors.into());
        match checked {
            Ok(()) => Some(list),
            Err(fault) => {
                self.blame_answer(&whom.position, fault);
                None
            }
        }
    }

    async fn successors_of(self: &Arc<Self>, whom: &Entry) -> Option<Vec<Entry>> {
        if whom.position == self.position() {
            return Some(self.view().successors.clone());
        }
        let request = MembershipRequest::FindOwner { key: whom.position };
        match self.ask_membership(whom, request, HOP_GIVEN_UP).await {
            Ok(MembershipReply::Owner { owner, successors, .. }) if owner.position == whom.position => {
                self.list_after(whom, successors)
            }
            _ => None,
        }
    }
}

/// How long a peer that was stopped is given to be a member again: three rounds of questions, and a join.
const MEMBER_WAIT: Duration = Duration::from_secs(12);
/// How long an owner is looked for that nobody knows at the moment, and how often.
const FIND_WAIT: Duration = Duration::from_secs(5);
const FIND_PAUSE: Duration = Duration::from_millis(200);
