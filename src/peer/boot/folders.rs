//! The folders in which peers and certificates lie unless a person names others.

use std::path::PathBuf;

/// The default certificates directory.
pub(in crate::peer) fn default_certs_dir() -> PathBuf {
    base_dir().join("certs")
}

/// The platform's folder for quoit.
fn base_dir() -> PathBuf {
    directories::ProjectDirs::from("", "", "quoit")
        .map_or_else(|| PathBuf::from(".quoit"), |dirs| dirs.data_dir().to_owned())
}

/// The default folder of all peers' data directories.
pub(in crate::peer) fn peers_dir() -> PathBuf {
    base_dir().join("peers")
}

/// The platform's folder for what can be made again; `None` if there is none.
pub(in crate::peer) fn cache_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "quoit").map(|dirs| dirs.cache_dir().to_owned())
}
