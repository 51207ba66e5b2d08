//! The parts that have to end with a peer, and the files that a failed start removes again.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::peer::ring::peer_file::SharedFile;
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
