//! Small files that appear completely or not at all: certificates and keys.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The readers that a file allows.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// Every user: for a certificate.
    Public,
    /// The owner only: for a private key.
    Private,
}

/// Writes a file beside its place, syncs it and renames it there.
pub(super) fn write(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let (file, folder) = write_beside(path, bytes, access)?;
    file.persist(path)?;
    sync_folder(folder)
}

/// Like [`write`], but an existing file stays: then the error is `AlreadyExists`.
pub(super) fn write_new(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let (file, folder) = write_beside(path, bytes, access)?;
    file.persist_noclobber(path)?;
    sync_folder(folder)
}

fn write_beside<'a>(
    path: &'a Path,
    bytes: &[u8],
    access: Access,
) -> io::Result<(tempfile::NamedTempFile, &'a Path)> {
    let folder = folder_of(path);
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let mode = match access {
        Access::Public => 0o644,
        Access::Private => 0o600,
    };
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok((file, folder))
}

/// Makes a folder and the missing ones above it. Their names are durable on return: after a loss of power a key in a
/// folder without a name would be gone with it.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(path)?;
    for folder in missing {
        // A folder that this process may search but not read is synced by its owner, or in time.
        if let Ok(above) = File::open(folder_of(folder)) {
            above.sync_all()?;
        }
    }
    Ok(())
}

/// Makes the changes in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder in which a path is.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads a small file; `None` when there is none. A file longer than `FILE_BYTES_MAX` is an error.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // A device has no length, and no end.
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long for a certificate or key"));
    }
    Ok(Some(bytes))
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The longest file of this kind.
const FILE_BYTES_MAX: u64 = 64 * 1024;
