//! The parts that have to end with a peer, and the files that a failed start removes again.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::peer::ring::actor::{SharedFile, save_file};
use crate::peer::shared::Shared;
use crate::transport::{Identity, Installed, spawn_blocking};

/// The parts that have to end with the peer.
pub struct Running {
    pub(super) tasks: std::sync::Mutex<Vec<tokio::task::JoinHandle<()>>>,
    pub(super) peer_file: SharedFile,
    pub(super) stopped: watch::Sender<bool>,
    /// The files that its start made; see [`Running::undo`].
    pub(super) made: std::sync::Mutex<Option<Folders>>,
}

/// The folders of a peer, and which of their contents are new.
pub(super) struct Folders {
    pub data_dir: PathBuf,
    pub certs_dir: PathBuf,
    /// The data directory was made by this start; a failed start removes it.
    pub new_data: bool,
    pub new_identity: Option<Identity>,
    pub installed: Option<Installed>,
}

impl Running {
    /// Waits until the peer is stopped, by any task.
    pub(in crate::peer) async fn stopped(&self) {
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// Removes what the start of a stopped peer has made.
    pub(in crate::peer) async fn undo(&self) {
        let made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(folders) = made {
            folders.undo().await;
        }
    }

    /// Ends all tasks, and closes the network and the store.
    pub(in crate::peer) async fn stop(&self, shared: &Shared, left: bool) {
        let tasks: Vec<_> =
            self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..).collect();
        if tasks.is_empty() {
            // Another task stops the peer, or has stopped it.
            return self.stopped().await;
        }
        shared.transport.close().await;
        for task in tasks {
            task.abort();
            // The task was aborted, or had already ended.
            let _ = task.await;
        }
        if let Err(error) = shared.blocking(crate::blob::Store::write_verified).await {
            tracing::debug!(%error, "the last verifications are not in the index");
        }
        let saved = save_file(shared, &self.peer_file, |file| {
            file.process_id = 0;
            file.left = left;
        });
        if let Err(error) = saved.await {
            tracing::warn!(%error, "the peer's file was not written at its end");
        }
        shared
            .ring
            .ended
            .send_if_modified(|why| why.is_none().then(|| *why = Some("shut down".to_owned())).is_some());
        self.stopped.send_replace(true);
    }
}

impl Folders {
    /// Removes what this start has made.
    pub async fn undo(self) {
        spawn_blocking(move || {
            if self.new_data {
                // A folder that cannot be removed does no harm.
                let _ = std::fs::remove_dir_all(&self.data_dir);
            }
            if let Some(identity) = &self.new_identity {
                let _ = identity.remove_files(&self.certs_dir);
            }
            if let Some(installed) = self.installed {
                installed.undo();
            }
        })
        .await;
    }
}
