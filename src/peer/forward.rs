//! A helper's part: streams between two peers that cannot reach each other go through a third.
//!
//! Each peer that both can reach is one. It forwards only to living members, over one hop, and a bounded
//! number of exchanges at a time.

use std::sync::Arc;

use super::shared::Shared;
use crate::id::Position;
use crate::transport::{RequestStream, StreamError};
use crate::wire::{Entry, RelayFailure, Reply, Request, Target};

impl Shared {
    /// Handles `Forward`.
    pub(super) async fn forward(
        self: &Arc<Self>,
        from: &Entry,
        mut stream: RequestStream,
        to: Position,
    ) -> Result<(), StreamError> {
        let view = self.view();
        let target = view.alive().find(|entry| entry.position == to && to != from.position);
        let (Some(target), Ok(_permit)) = (target, self.forwards.try_acquire()) else {
            stream.send_reply(&Reply::Forwarding(Err(RelayFailure::Refused))).await?;
            return stream.finish().await;
        };
        let request = Request::Forwarded { from: from.clone() };
        match self.transport.open_directly(&Target::from(target), &request).await {
            Ok(onward) => {
                stream.send_reply(&Reply::Forwarding(Ok(onward.peer().clone()))).await?;
                stream.join(onward).await
            }
            Err(error) => {
                tracing::debug!(to = %to.label(), %error, "cannot forward");
                stream.send_reply(&Reply::Forwarding(Err(RelayFailure::Unanswered))).await?;
                stream.finish().await
            }
        }
    }

    /// Why a request that came through a helper is not looked at.
    pub(super) fn why_not_from(&self, origin: &Entry, request: &Request) -> Option<String> {
        let view = self.view();
        let another_key =
            |m: &crate::wire::Member| m.entry.position == origin.position && m.entry.key != origin.key;
        if matches!(request, Request::Forward { .. } | Request::Forwarded { .. }) {
            Some("what was forwarded is not forwarded again".to_owned())
        } else if origin.position == self.position() || view.members.iter().any(another_key) {
            Some("it is forwarded in the name of another peer's position".to_owned())
        } else {
            None
        }
    }
}
