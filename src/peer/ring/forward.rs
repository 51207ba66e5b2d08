//! The helper's part: it carries streams between two peers that cannot reach each other.
//!
//! Every peer that both can reach may be the helper. It forwards only to living members, over one hop, and a bounded
//! number of exchanges at a time (`places`). The asked peer learns only from the helper who asks, and treats that as hearsay.

use std::sync::Arc;
use std::time::Instant;

use crate::id::Position;
use crate::peer::shared::Shared;
use crate::transport::{RequestStream, StreamError};
use crate::wire::limits::INCARNATION_LEAP_MAX;
use crate::wire::{Entry, Member, RelayFailure, Reply, Request, Target};

impl Shared {
    /// Handles `Forward`: joins the asker's stream to one with the target.
    pub(in crate::peer) async fn forward(
        self: &Arc<Self>,
        from: &Entry,
        mut stream: RequestStream,
        to: Position,
    ) -> Result<(), StreamError> {
        let view = self.view();
        let target = view.alive().find(|entry| entry.position == to && to != from.position);
        let refusal = match (target, self.ring.forwards.begin(from.position, Instant::now())) {
            (Some(target), Some(place)) => Ok((target, place)),
            (None, _) => Err(RelayFailure::Unanswered),
            (Some(_), None) => Err(RelayFailure::Refused),
        };
        let (target, place) = match refusal {
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
                tokio::select! {
                    joined = stream.join(onward, || place.moved()) => joined,
                    () = place.gives_way.notified() => Err(StreamError::Cancelled),
                }
            }
            Err(error) => {
                tracing::debug!(to = %to.label(), %error, "cannot forward");
                stream.send_reply(&Reply::Forwarding(Err(RelayFailure::Unanswered))).await?;
                stream.finish().await
            }
        }
    }

    /// The origin of a forwarded request, as far as this peer can believe the helper.
    ///
    /// # Errors
    /// The reason why the request is not looked at.
    pub(in crate::peer) fn origin_of(&self, origin: Entry, request: &Request) -> Result<Entry, String> {
        if matches!(request, Request::Forward { .. } | Request::Forwarded { .. }) {
            return Err("what was forwarded is not forwarded again".to_owned());
        }
        let view = self.view();
        if origin.position == self.position() {
            return Err(ANOTHER_NAME.to_owned());
        }
        if self.verifier.revoked().of(&origin.key).is_some() {
            return Err("it is forwarded for a peer whose certificate was revoked".to_owned());
        }
        believable(origin, |position| view.members.iter().find(|m| m.entry.position == *position))
    }
}

/// The entry that a helper reported, with known facts in place of those that are not to be believed.
fn believable<'a>(told: Entry, known: impl Fn(&Position) -> Option<&'a Member>) -> Result<Entry, String> {
    let known = known(&told.position).map(|member| &member.entry);
    let most = known.map_or(0, |known| known.incarnation).saturating_add(INCARNATION_LEAP_MAX);
    match known {
        _ if !told.has_lived() || told.incarnation > most => {
            Err("it is forwarded in the name of a life that is not to be believed".to_owned())
        }
        Some(known) if known.key != told.key => Err(ANOTHER_NAME.to_owned()),
        Some(known) => Ok(told.with_address(known.address.clone())),
        None => Ok(told),
    }
}

const ANOTHER_NAME: &str = "it is forwarded in the name of another peer's position";
#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyHash;
    use crate::wire::limits::INCARNATION_MAX;
    use crate::wire::{Address, Life, MemberState};

    #[test]
    fn words_of_a_helper_are_checked_against_the_known() {
        let entry = |incarnation, key, host: &str| {
            let (position, key) = (Position::of_number(7), KeyHash([key; 32]));
            Entry::from(Life { position, incarnation, key, address: Address::new(host).unwrap() })
        };
        let known = Member { entry: entry(5, 1, "127.0.0.1:1"), state: MemberState::Alive };
        let with = |told: Entry| believable(told, |_| Some(&known));
        assert_eq!(with(entry(6, 1, "127.0.0.1:2")), Ok(entry(6, 1, "127.0.0.1:1")), "with its address");
        assert!(with(entry(5, 2, "127.0.0.1:1")).is_err(), "another key");
        for incarnation in [0, 6 + INCARNATION_LEAP_MAX, INCARNATION_MAX, u64::MAX] {
            assert!(with(entry(incarnation, 1, "127.0.0.1:1")).is_err(), "{incarnation}");
            assert!(believable(entry(incarnation, 1, "127.0.0.1:1"), |_| None).is_err(), "{incarnation}");
        }
        assert!(believable(entry(1, 1, "127.0.0.1:1"), |_| None).is_ok());
    }
}
