//! Leaving: hand over first, then tell the neighbours, then go. As `peer::leave` does it.

use std::sync::Arc;
use std::time::Duration;

use super::keeper::{Effect, Keeper};
use super::outcome::{Cause, Outcome};
use crate::chord::{PhaseKind, Turn};
use crate::replica::{Round, plan_handover};
use crate::time::Moment;
use crate::wire::{Entry, MembershipReply, MembershipRequest};

impl Keeper {
    /// Leaves the ring: copies until min(R, N − 1) copies exist without this peer, or time is over.
    pub(super) async fn leave(self: Arc<Self>, id: u64) {
        if self.view().phase != PhaseKind::Active {
            return;
        }
        let begin = self.now();
        let deadline = begin + LEAVE_TIMEOUT;
        self.want(Effect::BeginLeaving);
        self.view_until(LEAVE_TIMEOUT, |view| view.phase != PhaseKind::Active).await;
        self.wait_for_turn(deadline).await;
        let short = loop {
            // What a round that takes too long has learned is lost, and counts as short.
            let within = deadline.since(self.now());
            let round =
                crate::files::timeout(&self, within, self.round(Cause::HandOver, plan_handover)).await;
            let round: Round = round.unwrap_or_default();
            let short = round.short(&self.view(), self.copies(), &self.holdings());
            if short.is_empty() || self.now() >= deadline {
                break short;
            }
            self.sleep(RETRY).await;
        };
        let took = self.now().since(begin);
        self.want(Effect::Ended { id, outcome: Outcome::Left { short, took } });
        self.want(Effect::Depart);
    }

    /// Of those that leave side by side one goes at a time (see [`Turn`]).
    async fn wait_for_turn(self: &Arc<Self>, deadline: Moment) {
        while self.now() < deadline {
            self.want(Effect::AskTurn);
            let view = self.view();
            let neighbours: Vec<Entry> =
                view.predecessor.iter().chain(view.successors.iter().take(2)).cloned().collect();
            let mut wait = false;
            for neighbour in &neighbours {
                let answer = self.ask_membership(neighbour, MembershipRequest::MayLeave, ASK_TIMEOUT).await;
                // Who let this peer go may not have heard yet that somebody else has gone.
                wait |= matches!(answer, Some(MembershipReply::Wait | MembershipReply::Gone { .. }));
            }
            if !wait {
                self.want(Effect::TakeTurn);
                self.view_until(ASK_TIMEOUT, |view| view.turn != Turn::Asked).await;
                if self.view().turn == Turn::Taken {
                    return;
                }
            }
            self.sleep(RETRY).await;
        }
    }
}

/// After how long a leaving peer says what is short, and goes all the same.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(30);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(200);
