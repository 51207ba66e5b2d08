//! When copies were last verified, here and at other peers: for `Whereis` and `Status`.
//!
//! `A ->[Verified { objects }] B`, `B ->[Verified { objects, oldest }] A`: the times of the named objects, and the
//! oldest time of all objects of B.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::blob::{BlobError, Store};
use crate::id::{ContentId, Position};
use crate::peer::api::Verifications;
use crate::peer::shared::Shared;
use crate::wire::{Entry, StorageReply, StorageRequest};

impl Shared {
    /// Handles `Verified`: when each of these objects was verified here, and the oldest verification of all.
    pub(in crate::peer) async fn answer_verified(
        &self,
        objects: Vec<ContentId>,
    ) -> Result<StorageReply, String> {
        let answer = self.blocking(move |store| -> Result<_, BlobError> {
            let times = objects.iter().map(|content| store.verified_at(content)).collect::<Result<_, _>>()?;
            Ok(StorageReply::Verified { objects: times, oldest: oldest_of(store)? })
        });
        answer.await.map_err(|error| error.to_string())
    }

    /// When each of these peers verified its copy of an object: milliseconds since the Unix epoch, 0 for never. A peer
    /// that does not say so is left out.
    pub(in crate::peer) async fn verified_at(
        self: &Arc<Self>,
        content: ContentId,
        holders: &[Entry],
    ) -> BTreeMap<Position, u64> {
        let answers = self.ask_verified(holders, vec![content]).await;
        let time = |(peer, (times, _)): (Position, (Vec<Option<u64>>, _))| Some((peer, (*times.first()?)?));
        answers.into_iter().filter_map(time).collect()
    }

    /// The oldest verifications of this peer and of the living members; at most [`ASKED_MAX`] of them are asked.
    pub(in crate::peer) async fn verifications(self: &Arc<Self>) -> Verifications {
        let here = self.blocking(oldest_of).await.ok().flatten();
        let view = self.view();
        let asked: Vec<Entry> = view.alive().take(ASKED_MAX).cloned().collect();
        let answers = self.ask_verified(&asked, Vec::new()).await;
        let others = answers.into_iter().filter_map(|(peer, (_, oldest))| Some((oldest?, peer)));
        let oldest = others.chain(here.map(|here| (here, view.me.position))).min();
        Verifications {
            here,
            ring: oldest.map(|(time, _)| time),
            at: oldest.map(|(_, peer)| self.named(&peer)),
        }
    }

    /// Asks peers when they verified these objects, and what their oldest verification is.
    async fn ask_verified(
        self: &Arc<Self>,
        whom: &[Entry],
        objects: Vec<ContentId>,
    ) -> BTreeMap<Position, (Vec<Option<u64>>, Option<u64>)> {
        let mut asked = JoinSet::new();
        for whom in whom.iter().cloned() {
            let (shared, objects) = (self.clone(), objects.clone());
            asked.spawn(async move {
                let wanted = objects.len();
                let request = StorageRequest::Verified { objects };
                match shared.ask_storage(&whom, request, VERIFIED_TIMEOUT).await {
                    Ok(StorageReply::Verified { objects, oldest }) if objects.len() == wanted => {
                        Some((whom.position, (objects, oldest)))
                    }
                    _ => None,
                }
            });
        }
        let mut answers = BTreeMap::new();
        while let Some(Ok(answer)) = asked.join_next().await {
            answers.extend(answer);
        }
        answers
    }
}

/// The oldest verification of all objects here: 0 if one was never verified, `None` if there are no objects.
pub(in crate::peer) fn oldest_of(store: &Store) -> Result<Option<u64>, BlobError> {
    let oldest = store.least_lately_verified(&std::collections::BTreeSet::new())?;
    Ok(oldest.map(|oldest| oldest.verified_ms.unwrap_or(0)))
}

/// The most members that one status asks, and the timeout of their answers.
const ASKED_MAX: usize = 64;
const VERIFIED_TIMEOUT: Duration = Duration::from_secs(3);
