//! A helper's part: streams between two peers that cannot reach each other go through a third.
//!
//! Each peer that both can reach is one. It forwards only to living members, over one hop, and a bounded
//! number of exchanges at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shared::Shared;
use crate::id::Position;
use crate::transport::{RequestStream, StreamError};
use crate::wire::limits::{FORWARDS_MAX, FORWARDS_PER_PEER_MAX};
use crate::wire::{Entry, RelayFailure, Reply, Request, Target};

/// How many exchanges are forwarded for each peer.
#[derive(Debug, Default)]
pub(super) struct Forwards(Mutex<BTreeMap<Position, usize>>);

/// One exchange; its place is free again when this is dropped.
struct Place<'a> {
    forwards: &'a Forwards,
    of: Position,
}

impl Forwards {
    /// A place for one more, unless there are too many in all, or of this peer.
    fn begin(&self, of: Position) -> Option<Place<'_>> {
        let mut counts = self.lock();
        let all: usize = counts.values().sum();
        let own = counts.get(&of).copied().unwrap_or_default();
        if all >= FORWARDS_MAX || own >= FORWARDS_PER_PEER_MAX {
            return None;
        }
        counts.insert(of, own + 1);
        Some(Place { forwards: self, of })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Position, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.forwards.lock();
        match counts.get_mut(&self.of) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.of)),
        }
    }
}

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
        let refusal = match (target, self.forwards.begin(from.position)) {
            (Some(target), Some(place)) => Ok((target, place)),
            (None, _) => Err(RelayFailure::Unanswered),
            (Some(_), None) => Err(RelayFailure::Refused),
        };
        let (target, _place) = match refusal {
            Ok(both) => both,
            Err(why) => {
                stream.send_reply(&Reply::Forwarding(Err(why))).await?;
                return stream.finish().await;
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_takes_all_places() {
        let forwards = Forwards::default();
        let take = |number: u8, count| -> Vec<Place<'_>> {
            (0..count).map_while(|_| forwards.begin(Position::of_number(number))).collect()
        };
        let greedy = take(1, FORWARDS_MAX);
        assert_eq!(greedy.len(), FORWARDS_PER_PEER_MAX);
        let others: Vec<Place<'_>> = (2..20).flat_map(|number| take(number, FORWARDS_MAX)).collect();
        assert_eq!(greedy.len() + others.len(), FORWARDS_MAX);
        assert!(forwards.begin(Position::of_number(99)).is_none());
        drop(greedy);
        assert_eq!(take(99, FORWARDS_MAX).len(), FORWARDS_PER_PEER_MAX);
        drop(others);
        assert!(forwards.lock().is_empty());
    }
}
