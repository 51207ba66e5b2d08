//! The content ids of a user's files that were hashed before, so that an unchanged file is not read again.
//!
//! A file is known by device, inode, length, mtime and ctime. These say nothing of a write within the clock's
//! resolution of the last one, so a hash is noted only of a file whose ctime is at least [`SETTLED_AFTER`] older than
//! the moment at which the hashing began. No program can set a ctime.
//!
//! The file `known` has a fixed number of buckets of four slots each, at the place that device and inode give; inodes
//! that follow each other share pages. A slot carries a checksum, so that processes may share the file without a lock:
//! a torn slot is an unknown file. A file that does not fit is forgotten, and a lost or unwritable file costs only time.
//! docs/store-format.md has the slot to the byte.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::disk::Stamp;
use crate::id::{ContentId, OutboardDigest, sha256};
use crate::wire::ObjectInfo;

/// The files whose hashes are known.
#[derive(Debug)]
pub struct KnownFiles(File);

impl KnownFiles {
    /// Opens the file of a data directory, and makes it if it is missing.
    ///
    /// # Errors
    /// It can be neither opened nor made.
    pub fn open(dir: &Path) -> io::Result<KnownFiles> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(KnownFiles::path(dir)).map(KnownFiles)
    }

    /// The path of the file in a data directory.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("known")
    }

    /// The object that a file with this stamp is; `None` if that is not known.
    pub fn object(&self, stamp: &Stamp) -> Option<ObjectInfo> {
        let bucket = self.bucket(stamp)?;
        let slots = bucket.as_chunks::<SLOT_BYTES>().0.iter();
        slots.filter_map(Slot::read).find(|slot| slot.stamp == *stamp).map(|slot| slot.object)
    }

    /// Notes the object that a file with this stamp is, if the stamp is old enough. `begun`: when the hashing began.
    pub fn note(&self, stamp: &Stamp, object: &ObjectInfo, begun: SystemTime) {
        let Ok(now) = begun.duration_since(SystemTime::UNIX_EPOCH) else { return };
        let Some(settled) = now.checked_sub(SETTLED_AFTER) else { return };
        if stamp.changed > (settled.as_secs() as i64, settled.subsec_nanos().into()) {
            return;
        }
        let Some(bucket) = self.bucket(stamp) else { return };
        let slots: Vec<Option<Slot>> = bucket.as_chunks::<SLOT_BYTES>().0.iter().map(Slot::read).collect();
        // Another state of the same file, else an empty slot, else the oldest one gives way.
        let same = slots.iter().position(|slot| slot.as_ref().is_some_and(|s| s.stamp.is_same_file(stamp)));
        let oldest = || (0..slots.len()).min_by_key(|at| slots[*at].as_ref().map_or(0, |slot| slot.noted));
        let Some(at) = same.or_else(oldest) else { return };
        let slot = Slot { stamp: *stamp, object: *object, noted: now.as_secs() };
        self.write(stamp, at, &slot.to_bytes());
    }

    /// Forgets a file: its bytes turned out to be others.
    pub fn forget(&self, stamp: &Stamp) {
        let Some(bucket) = self.bucket(stamp) else { return };
        for (at, slot) in bucket.as_chunks::<SLOT_BYTES>().0.iter().enumerate() {
            if Slot::read(slot).is_some_and(|slot| slot.stamp.is_same_file(stamp)) {
                self.write(stamp, at, &[0; SLOT_BYTES]);
            }
        }
    }

    fn bucket(&self, stamp: &Stamp) -> Option<[u8; BUCKET_BYTES]> {
        let mut bucket = [0; BUCKET_BYTES];
        let mut filled = 0;
        // A file that ends before the bucket has nothing there yet.
        while filled < BUCKET_BYTES {
            match self.0.read_at(&mut bucket[filled..], place(stamp) + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(bucket)
    }

    fn write(&self, stamp: &Stamp, slot: usize, bytes: &[u8; SLOT_BYTES]) {
        if let Err(error) = self.0.write_all_at(bytes, place(stamp) + (slot * SLOT_BYTES) as u64) {
            tracing::debug!(%error, "a hash is not noted");
        }
    }
}

/// Where the bucket of a file begins.
fn place(stamp: &Stamp) -> u64 {
    // Any odd number spreads the devices.
    let bucket = stamp.device.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(stamp.inode / SLOTS as u64);
    bucket % BUCKETS * BUCKET_BYTES as u64
}

struct Slot {
    stamp: Stamp,
    object: ObjectInfo,
    /// When it was noted: seconds since the Unix epoch.
    noted: u64,
}

impl Slot {
    fn to_bytes(&self) -> [u8; SLOT_BYTES] {
        let (stamp, object) = (&self.stamp, &self.object);
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        for number in [stamp.device, stamp.inode, stamp.length] {
            bytes.extend(number.to_le_bytes());
        }
        for (seconds, nanos) in [stamp.modified, stamp.changed] {
            bytes.extend(seconds.to_le_bytes());
            bytes.extend((nanos as u32).to_le_bytes());
        }
        bytes.extend(object.content.0);
        bytes.extend(object.outboard.0);
        bytes.extend(self.noted.to_le_bytes());
        bytes.extend(&checksum(&bytes)[..CHECKSUM_BYTES]);
        let mut slot = [0; SLOT_BYTES];
        slot.copy_from_slice(&bytes);
        slot
    }

    fn read(bytes: &[u8; SLOT_BYTES]) -> Option<Slot> {
        let (body, sum) = bytes.split_at(SLOT_BYTES - CHECKSUM_BYTES);
        if checksum(body)[..CHECKSUM_BYTES] != *sum {
            return None;
        }
        let mut rest = body;
        let device = u64::from_le_bytes(take(&mut rest)?);
        let inode = u64::from_le_bytes(take(&mut rest)?);
        let length = u64::from_le_bytes(take(&mut rest)?);
        let modified = (i64::from_le_bytes(take(&mut rest)?), u32::from_le_bytes(take(&mut rest)?).into());
        let changed = (i64::from_le_bytes(take(&mut rest)?), u32::from_le_bytes(take(&mut rest)?).into());
        let (content, outboard) = (ContentId(take(&mut rest)?), OutboardDigest(take(&mut rest)?));
        let noted = u64::from_le_bytes(take(&mut rest)?);
        let stamp = Stamp { device, inode, length, modified, changed };
        Some(Slot { stamp, object: ObjectInfo { content, length, outboard }, noted })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

fn checksum(body: &[u8]) -> [u8; 32] {
    sha256(&[b"quoit known file 1\0", body].concat())
}

/// The least age of a ctime at which a hash is noted: file systems count in steps of up to two seconds.
pub const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// The number of buckets: room for 262,144 files in 32 MiB, of which only the used pages take room on a disk.
const BUCKETS: u64 = 65_536;
const SLOTS: usize = 4;
const BUCKET_BYTES: usize = SLOTS * SLOT_BYTES;
const SLOT_BYTES: usize = 128;
const CHECKSUM_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(inode: u64, changed: i64) -> Stamp {
        Stamp { device: 7, inode, length: 3, modified: (-1, 999_999_999), changed: (changed, 5) }
    }

    fn object(text: &[u8]) -> ObjectInfo {
        ObjectInfo { content: ContentId::of(text), length: 3, outboard: OutboardDigest([9; 32]) }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_is_known_by_its_whole_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownFiles::open(dir.path()).unwrap();
        assert_eq!(known.object(&stamp(1, 100)), None);
        known.note(&stamp(1, 100), &object(b"one"), at(200));
        known.note(&stamp(2, 100), &object(b"two"), at(200));
        let again = KnownFiles::open(dir.path()).unwrap();
        assert_eq!(again.object(&stamp(1, 100)), Some(object(b"one")));
        assert_eq!(again.object(&stamp(2, 100)), Some(object(b"two")));
        let changes: [fn(&mut Stamp); 5] = [
            |s| s.device += 1,
            |s| s.inode += 65_536 * 4,
            |s| s.length += 1,
            |s| s.modified.1 -= 1,
            |s| s.changed.1 += 1,
        ];
        for change in changes {
            let mut other = stamp(1, 100);
            change(&mut other);
            assert_eq!(again.object(&other), None, "{other:?}");
        }
        known.note(&stamp(1, 150), &object(b"new"), at(200));
        assert_eq!(
            (again.object(&stamp(1, 100)), again.object(&stamp(1, 150))),
            (None, Some(object(b"new")))
        );
        again.forget(&stamp(1, 150));
        assert_eq!(
            (known.object(&stamp(1, 150)), known.object(&stamp(2, 100))),
            (None, Some(object(b"two")))
        );
    }

    /// Goal: a write in the same tick of the file system's clock as the last one is never missed.
    #[test]
    fn a_file_that_was_just_written_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownFiles::open(dir.path()).unwrap();
        for (inode, begun) in [(1, at(100)), (2, at(102)), (3, at(50))] {
            known.note(&stamp(inode, 100), &object(b"one"), begun);
            assert_eq!(known.object(&stamp(inode, 100)), None, "{inode}");
        }
        known.note(&stamp(4, 100), &object(b"one"), at(102) + Duration::from_nanos(5));
        assert_eq!(known.object(&stamp(4, 100)), Some(object(b"one")));
    }

    #[test]
    fn a_full_bucket_forgets_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownFiles::open(dir.path()).unwrap();
        let inode = |i: u64| i * 65_536 * 4;
        for i in 0..6 {
            known.note(&stamp(inode(i), 100), &object(b"one"), at(200 + i));
        }
        let kept: Vec<u64> = (0..6).filter(|i| known.object(&stamp(inode(*i), 100)).is_some()).collect();
        assert_eq!(kept, [2, 3, 4, 5]);
    }

    #[test]
    fn a_torn_slot_is_an_unknown_file() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownFiles::open(dir.path()).unwrap();
        known.note(&stamp(1, 100), &object(b"one"), at(200));
        known.0.write_all_at(b"x", place(&stamp(1, 100)) + 60).unwrap();
        assert_eq!(known.object(&stamp(1, 100)), None);
        known.note(&stamp(1, 100), &object(b"one"), at(200));
        assert_eq!(known.object(&stamp(1, 100)), Some(object(b"one")));
    }
}
