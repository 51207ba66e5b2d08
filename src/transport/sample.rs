//! A ring's authority in a folder of its own, for the tests of this module.

use super::authority::Authority;

/// The folder is removed with this value.
pub(super) struct Ring {
    pub folder: tempfile::TempDir,
    pub authority: Authority,
}

/// Founds a ring.
pub(super) fn ring() -> Ring {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::found_or_open(folder.path()).unwrap();
    Ring { folder, authority }
}
