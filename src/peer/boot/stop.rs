//! The end of a peer.

use super::running::Running;
use crate::blob::Store;
use crate::peer::api::Ended;
use crate::peer::ring::peer_file::save_file;
use crate::peer::shared::Shared;

impl Shared {
    /// Ends all tasks of this peer, and closes the network and the store. `left` says whether the peer has left its ring.
    pub(in crate::peer) async fn stop(&self, running: &Running, left: bool) {
        let tasks: Vec<_> =
            running.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..).collect();
        if tasks.is_empty() {
            // Another task stops the peer, or has stopped it.
            return running.stopped().await;
        }
        self.transport.close().await;
        for task in tasks {
            task.abort();
            // The task was aborted, or had already ended.
            let _ = task.await;
        }
        if let Err(error) = self.blocking(Store::write_verified).await {
            tracing::debug!(%error, "the last verifications are not in the index");
        }
        if let Err(error) = self.blocking(Store::settle_journal).await {
            tracing::warn!(%error, "the journal is settled at the next start");
        }
        let saved = save_file(&self.store, &running.peer_file, |file| {
            file.process_id = 0;
            file.left = left;
        });
        if let Err(error) = saved.await {
            tracing::warn!(%error, "the peer's file was not written at its end");
        }
        self.ring.ended.send_if_modified(|why| why.is_none().then(|| *why = Some(Ended::ShutDown)).is_some());
        running.stopped.send_replace(true);
    }
}
