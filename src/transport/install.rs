//! The changes that were made in a certificates directory, and how to undo them.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::{self, Access};
use super::identity;
use super::identity_error::IdentityError;

/// The changes of one installation, in order.
#[derive(Debug)]
pub struct Installed {
    certs_dir: PathBuf,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    path: PathBuf,
    /// The bytes that were there before, if any.
    before: Option<Vec<u8>>,
}

impl Installed {
    pub(super) fn in_folder(certs_dir: &Path) -> Installed {
        Installed { certs_dir: certs_dir.to_owned(), changes: Vec::new() }
    }

    /// Whether anything was changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Undoes all changes; a file that cannot be restored does no harm.
    pub fn undo(self) {
        if self.changes.is_empty() {
            return;
        }
        let _lock = identity::lock(&self.certs_dir);
        for Change { path, before } in self.changes.into_iter().rev() {
            let undone = match before {
                Some(bytes) => files::write(&path, &bytes, Access::Public),
                None => files::remove(&path),
            };
            if let Err(error) = undone {
                tracing::warn!(path = %path.display(), %error, "cannot be undone");
            }
            if let Some(folder) = path.parent() {
                // The folder is removed only if nothing else is in it.
                let _ = fs::remove_dir(folder);
            }
        }
    }

    pub(super) fn made(&mut self, path: PathBuf) {
        self.changes.push(Change { path, before: None });
    }

    /// Writes a file, perhaps over an existing one. A key is never replaced, so only public bytes can be overwritten.
    pub(super) fn write(&mut self, path: &Path, bytes: &[u8], access: Access) -> Result<(), IdentityError> {
        let io = |source| IdentityError::io(path, source);
        let before = files::read(path).map_err(io)?;
        files::write(path, bytes, access).map_err(io)?;
        self.changes.push(Change { path: path.to_owned(), before });
        Ok(())
    }
}
