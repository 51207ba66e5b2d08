//! DATA_DIR/peer.toml, as the tasks of a running peer share it.

use std::sync::Arc;

use crate::blob::{BlobError, PeerFile, RealDisk, Store};
use crate::transport::spawn_blocking;

/// The content of DATA_DIR/peer.toml. A task that changes it writes it to disk before it lets the next one in.
pub(in crate::peer) type SharedFile = Arc<tokio::sync::Mutex<PeerFile>>;

/// Changes DATA_DIR/peer.toml; durable on return.
///
/// # Errors
/// The error of the disk.
pub(in crate::peer) async fn save_file(
    store: &Store,
    file: &SharedFile,
    change: impl FnOnce(&mut PeerFile),
) -> Result<(), BlobError> {
    let mut file = file.lock().await;
    change(&mut file);
    let (file, dir) = (file.clone(), store.dir().to_owned());
    spawn_blocking(move || file.save(&dir, &RealDisk)).await
}
