//! peer.toml: the identity of a peer, from one start to the next.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{Access, Disk, DiskFile, SyncError, read_full_at};
use super::error::{BlobError, IoContext, Result};
use super::layout::{PEER_FILE, create_root};
use super::reserve;
use crate::config::{KeepVersions, RingSettings};
use crate::id::{ContentId, Position};
use crate::wire::Address;

/// The content of peer.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerFile {
    /// The peer's position.
    #[serde(with = "hex")]
    pub position: Position,
    /// The peer's number, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u8>,
    /// The peer's display name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of the peer's ring.
    pub ring: String,
    /// The UDP address that the peer listens on.
    pub listen: SocketAddr,
    /// The address at which other peers reach it, if it is not the one it listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Address>,
    /// The label of its certificate's file in the folder of certificates.
    pub certificate: String,
    /// The certificates directory that the peer used last, an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certs_dir: Option<PathBuf>,
    /// The peer's present or last incarnation. Saved before it is used. At most 2^63 − 1, as TOML allows.
    pub incarnation: u64,
    /// The process id of this peer; 0 if it was stopped cleanly.
    #[serde(default)]
    pub process_id: u32,
    /// The time between pings, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// The period within which each object is read and hashed again, in milliseconds; 0 for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub_every_ms: Option<u64>,
    /// R of the peer's ring, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u8>,
    /// r of the peer's ring, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successors: Option<u8>,
    /// The versions of a name that the peer's ring keeps, once known: `16,30d`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "versions")]
    pub keep_versions: Option<KeepVersions>,
    /// The most bytes that objects may take, if a person set a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// The bytes of the file system that objects leave free, if a person set them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_bytes: Option<u64>,
    /// Whether the peer left its ring.
    #[serde(default)]
    pub left: bool,
    /// Addresses of other members, through which the peer comes back if the index is lost: at most
    /// [`PeerFile::CONTACTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Address>,
}

impl PeerFile {
    /// The most contacts that are kept.
    pub const CONTACTS_MAX: usize = 16;

    /// Whether this peer was a member of its ring, according to this file.
    pub fn was_member(&self) -> bool {
        !self.left && self.replicas.is_some()
    }

    /// The settings of the peer's ring, once known. A file of an earlier program names no versions: they are the default.
    pub fn settings(&self) -> Option<RingSettings> {
        let versions = self.keep_versions.unwrap_or_default();
        Some(RingSettings { replicas: self.replicas?, successors: self.successors?, versions })
    }

    /// Notes the settings of the peer's ring.
    pub fn set_settings(&mut self, settings: Option<RingSettings>) {
        self.replicas = settings.map(|settings| settings.replicas);
        self.successors = settings.map(|settings| settings.successors);
        self.keep_versions = settings.map(|settings| settings.versions);
    }

    /// Reads DATA_DIR/peer.toml; `None` if no peer lives there. The file before it takes the place of a damaged one, if it
    /// was kept as the spare file; [`PeerFile::damage`] tells.
    ///
    /// # Errors
    /// [`BlobError::PeerFile`] when the file cannot be understood; [`BlobError::Io`].
    pub fn load(dir: &Path) -> Result<Option<PeerFile>> {
        let path = PeerFile::path(dir);
        match PeerFile::load_from(&path) {
            Err(BlobError::PeerFile { path, reason }) => match PeerFile::load_spare(&path) {
                Some(spare) => {
                    tracing::warn!(file = %path.display(), reason, "damaged; the one before it is used");
                    Ok(Some(spare))
                }
                None => Err(BlobError::PeerFile { path, reason }),
            },
            loaded => loaded,
        }
    }

    /// The damage of DATA_DIR/peer.toml, in words, if the file before it takes its place.
    pub fn damage(dir: &Path) -> Option<String> {
        let path = PeerFile::path(dir);
        match PeerFile::load_from(&path) {
            Err(BlobError::PeerFile { reason, .. }) => PeerFile::load_spare(&path).map(|_| reason),
            _ => None,
        }
    }

    fn load_from(path: &Path) -> Result<Option<PeerFile>> {
        let mut text = vec![0; FILE_BYTES_MAX + 1];
        let read = match super::disk::RealDisk.open(path, Access::Read) {
            Ok(file) => read_full_at(&*file, &mut text, 0).during("read", path)?,
            // A file in the place of the folder also means that no peer lives there.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error).during("read", path),
        };
        let wrong = |reason: String| BlobError::PeerFile { path: path.to_owned(), reason };
        if read > FILE_BYTES_MAX {
            return Err(wrong(format!("longer than {FILE_BYTES_MAX} bytes")));
        }
        PeerFile::parse(&text[..read]).map(Some).map_err(wrong)
    }

    /// The peer.toml before the present one. The damaged one may have had the next incarnation, so that one counts as
    /// used.
    fn load_spare(path: &Path) -> Option<PeerFile> {
        let spare = PeerFile::load_from(&spare_of(path)).ok().flatten()?;
        Some(PeerFile { incarnation: spare.incarnation + 1, ..spare })
    }

    /// Parses the content of peer.toml.
    ///
    /// # Errors
    /// The part that cannot be understood, or that the check does not agree with the rest. A file of an earlier program
    /// has no check.
    pub fn parse(text: &[u8]) -> std::result::Result<PeerFile, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        if let Some((body, check)) = text.rsplit_once(CHECK)
            && check.trim_end() != check_of(body)
        {
            return Err(format!(
                "some of its bytes have changed: they do not agree with its last line (if a person changed them, remove \
                 the line {:?})",
                format!("{CHECK}{}", check.trim_end())
            ));
        }
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// The content of peer.toml as text.
    ///
    /// # Errors
    /// A value that TOML cannot express: an incarnation of 2^63 or more.
    pub fn to_text(&self) -> std::result::Result<String, String> {
        let text = toml::to_string(self).map_err(|error| error.to_string())?;
        let body = format!("{HEADER}{text}");
        let check = check_of(&body);
        Ok(format!("{body}{CHECK}{check}\n"))
    }

    /// Writes DATA_DIR/peer.toml in one step; durable on return. On a full disk the spare file provides the room. As
    /// long as there is no spare file, the store gives up its reserve to make room.
    ///
    /// # Errors
    /// [`BlobError::Sync`] when the disk did not take the file; [`BlobError::Io`].
    pub fn save(&self, dir: &Path, disk: &dyn Disk) -> Result<()> {
        let path = PeerFile::path(dir);
        let text = self.to_text().map_err(|reason| BlobError::PeerFile { path: path.clone(), reason })?;
        create_root(disk, dir)?;
        reserve::with_reserve(dir, disk, || write(dir, disk, &path, text.as_bytes()))
    }

    /// The path of peer.toml in a data directory.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(PEER_FILE)
    }
}

/// Replaces the content of peer.toml in one step. The bytes are written into a spare file that already has its blocks,
/// and the two files exchange their names: so no block is freed that another program could take, and none is needed.
fn write(dir: &Path, disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let spare = spare_of(path);
    let (file, kept) = match disk.stat(&spare) {
        Ok(there) if there.is_file && there.length() <= SPARE_BYTES => {
            (disk.open(&spare, Access::Update).during("open", &spare)?, there.length() as usize)
        }
        _ => (make_spare(disk, &spare)?, 0),
    };
    take_blocks(&*file, &spare);
    // Shortening a file frees its blocks, so the file keeps its length: spaces follow the text.
    let mut text = bytes.to_vec();
    if let Some(spaces) = kept.checked_sub(text.len() + 1) {
        text.resize(text.len() + spaces, b' ');
        text.push(b'\n');
    }
    if let Err(error) = file.write_all_at(&text, 0) {
        if kept == 0 {
            // A half-written file would only take room.
            let _ = disk.remove(&spare);
        }
        return Err(error).during("write", &spare);
    }
    file.set_mode(PEER_FILE_MODE).during("close to others", &spare)?;
    file.sync().map_err(|source| BlobError::Sync { path: spare.clone(), source })?;
    if disk.exchange(&spare, path).is_err() {
        // At the first write there is nothing to exchange, and some file systems cannot do it.
        disk.rename(&spare, path).during("write", path)?;
        match make_spare(disk, &spare) {
            Ok(next) => take_blocks(&*next, &spare),
            Err(error) => tracing::debug!(file = %spare.display(), %error, "no spare file is kept"),
        }
    }
    disk.sync_dir(dir).map_err(|error| match error {
        SyncError::Begin(source) => BlobError::Io { doing: "sync", path: path.to_owned(), source },
        SyncError::Sync(source) => BlobError::Sync { path: path.to_owned(), source },
    })
}

fn make_spare(disk: &dyn Disk, spare: &Path) -> Result<Box<dyn DiskFile>> {
    if disk.stat(spare).is_ok_and(|there| !there.is_file) {
        disk.remove(spare).during("remove", spare)?;
    }
    disk.create(spare).during("create", spare)
}

/// Allocates blocks for a spare file, if there is room for them and the file system can do it.
fn take_blocks(file: &dyn DiskFile, spare: &Path) {
    if let Err(error) = file.allocate(SPARE_BYTES) {
        tracing::debug!(file = %spare.display(), %error, "it has only the blocks that it had");
    }
}

fn spare_of(path: &Path) -> PathBuf {
    path.with_added_extension("spare")
}

/// The check of the text before it: the first 16 digits of its SHA-256.
fn check_of(body: &str) -> String {
    let mut digits = ContentId::of(body.as_bytes()).to_string();
    digits.truncate(CHECK_DIGITS);
    digits
}

/// A position as hexadecimal digits.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::id::Position;

    pub fn serialize<S: Serializer>(position: &Position, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(position)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Position, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Versions that are kept, as a person types them.
mod versions {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::config::KeepVersions;

    pub fn serialize<S: Serializer>(keep: &Option<KeepVersions>, serializer: S) -> Result<S::Ok, S::Error> {
        match keep {
            Some(keep) => serializer.collect_str(keep),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KeepVersions>, D::Error> {
        String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
    }
}

const HEADER: &str = "# The identity of this peer. Read it as you like; the peer itself writes it.\n";
/// The beginning of the last line, which has the check of all that comes before it.
const CHECK: &str = "# check ";
const CHECK_DIGITS: usize = 16;
const FILE_BYTES_MAX: usize = 64 * 1024;
/// The size of the spare file: more than any peer.toml takes in practice (sixteen contacts, two long paths).
const SPARE_BYTES: u64 = 16 * 1024;
const PEER_FILE_MODE: u32 = 0o600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::RealDisk;

    fn sample() -> PeerFile {
        PeerFile {
            position: Position::of_number(4),
            number: Some(4),
            name: None,
            ring: "cs.example".to_owned(),
            listen: "127.0.0.1:12004".parse().unwrap(),
            advertise: Some(Address::new("host.example:12004").unwrap()),
            certificate: "4".to_owned(),
            certs_dir: Some("/etc/quoit/certs".into()),
            incarnation: 7,
            process_id: 1_234,
            interval_ms: Some(1_000),
            scrub_every_ms: Some(86_400_000),
            replicas: Some(3),
            successors: None,
            keep_versions: "8,90d".parse().ok(),
            capacity_bytes: Some(500_000_000_000),
            reserve_bytes: None,
            left: false,
            contacts: vec![Address::new("127.0.0.1:12036").unwrap()],
        }
    }

    #[test]
    fn it_comes_back_and_replaces_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(PeerFile::load(dir.path()).unwrap(), None);
        let mut peer = sample();
        peer.save(dir.path(), &RealDisk).unwrap();
        peer.incarnation += 1;
        peer.name = Some("café \"4\"\n".to_owned());
        peer.save(dir.path(), &RealDisk).unwrap();
        assert_eq!(PeerFile::load(dir.path()).unwrap(), Some(peer));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "itself and the spare file");
        let text = std::fs::read_to_string(PeerFile::path(dir.path())).unwrap();
        assert!(text.starts_with("# The identity") && text.contains("position = \"04ffff"), "{text}");
    }

    /// Goal: whichever bit of the file flips, the file is refused or says the same; no other identity comes of it.
    #[test]
    fn a_flipped_bit_never_makes_another_identity() {
        let peer = sample();
        let text = peer.to_text().unwrap().into_bytes();
        let mut refused = 0;
        for at in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            match PeerFile::parse(&flipped) {
                Ok(found) => assert_eq!(found, peer, "bit {at}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > text.len() * 8 * 9 / 10, "{refused} of {}", text.len() * 8);
    }

    /// Goal: the one before takes the place of a damaged file, with a life that was not used; a file of an earlier
    /// program, without a check, is read; one that a person changed says what to do.
    #[test]
    fn the_one_before_takes_the_place_of_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = PeerFile::path(dir.path());
        let mut peer = sample();
        for life in 7..10 {
            peer.incarnation = life;
            peer.save(dir.path(), &RealDisk).unwrap();
        }
        assert_eq!(PeerFile::damage(dir.path()), None);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("incarnation = 9", "incarnation = 1")).unwrap();
        assert_eq!(PeerFile::load(dir.path()).unwrap().unwrap().incarnation, 9);
        assert!(PeerFile::damage(dir.path()).unwrap().contains("remove the line \"# check "));
        std::fs::write(&path, text.replace("# check ", "# ").replace("incarnation = 9", "incarnation = 12"))
            .unwrap();
        assert_eq!(PeerFile::load(dir.path()).unwrap().unwrap().incarnation, 12);
        std::fs::write(&path, "[[[").unwrap();
        std::fs::write(spare_of(&path), "[[[").unwrap();
        assert!(matches!(PeerFile::load(dir.path()), Err(BlobError::PeerFile { .. })));
    }

    #[test]
    fn an_unreadable_file_is_no_missing_identity() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["position = 4", "\u{0}", "[[["] {
            std::fs::write(PeerFile::path(dir.path()), bad).unwrap();
            assert!(matches!(PeerFile::load(dir.path()), Err(BlobError::PeerFile { .. })), "{bad:?}");
        }
    }
}
