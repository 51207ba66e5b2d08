//! The files that members of the ring cannot take, as `status` shows them:
//! `A ->[Unkept] B`, `B ->[Unkept { files, bytes, reason }] A`.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::peer::api::{Listed, UnkeptFiles};
use crate::peer::shared::Shared;
use crate::wire::{MissingReason, StorageReply, StorageRequest, shortened};

impl Shared {
    /// The living members that cannot take files that belong to them, as they report it; at most [`ASKED_MAX`] are
    /// asked.
    pub(in crate::peer) async fn unkept_of_ring(self: &Arc<Self>) -> Listed<UnkeptFiles> {
        let view = self.view();
        if !view.is_member() {
            return Listed::default();
        }
        let mut asked = JoinSet::new();
        for whom in std::iter::once(&view.me).chain(view.alive()).take(ASKED_MAX) {
            let (shared, whom) = (self.clone(), whom.clone());
            asked.spawn(async move {
                let answer = shared.ask_storage(&whom, StorageRequest::Unkept, UNKEPT_TIMEOUT).await;
                (whom.position, answer)
            });
        }
        let mut unkept = Vec::new();
        while let Some(Ok((peer, answer))) = asked.join_next().await {
            if let Ok(StorageReply::Unkept { files, bytes, reason: Some(reason) }) = answer
                && files > 0
            {
                let reason = in_short(reason);
                unkept.push(UnkeptFiles { peer: self.named(&peer), files, bytes, reason });
            }
        }
        let me = self.position();
        unkept.sort_by_key(|one: &UnkeptFiles| me.distance_to(&one.peer.position));
        let total = unkept.len() as u64;
        unkept.truncate(TOLD_MAX);
        Listed { first: unkept, total }
    }
}

/// A shortened reason, of which a list of many has room.
fn in_short(reason: MissingReason) -> MissingReason {
    let cut = |text: String| shortened(text, REASON_TOLD_BYTES_MAX);
    match reason {
        MissingReason::Disk(text) => MissingReason::Disk(cut(text)),
        MissingReason::Refused(text) => MissingReason::Refused(cut(text)),
        MissingReason::Final(text) => MissingReason::Final(cut(text)),
        MissingReason::NotGiven(text) => MissingReason::NotGiven(cut(text)),
        MissingReason::Unreachable | MissingReason::NoRoom { .. } | MissingReason::NotYet => reason,
    }
}

/// The most members that one status asks, and the timeout of their answers.
const ASKED_MAX: usize = 64;
const UNKEPT_TIMEOUT: Duration = Duration::from_secs(3);
/// The most bytes shown of a reason in another peer's words.
const REASON_TOLD_BYTES_MAX: usize = 200;
/// The most full peers that one status names.
const TOLD_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_ends_with_a_whole_word() {
        let reason = in_short(MissingReason::Disk("unreachable ".repeat(REASON_TOLD_BYTES_MAX)));
        let text = reason.to_string();
        assert!(text.ends_with("unreachable …"), "{text}");
    }
}
