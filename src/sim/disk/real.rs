//! A real [`Store`] in a simulated peer: its index, its outboards and its files lie on a disk in memory, which outlives
//! the process and loses unsynced data.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::blob::{BlobError, Kind, MemoryDisk, Store};
use crate::id::{ContentId, Position};
use crate::names::NameHistory;
use crate::shelf;
use crate::time::Moment;
use crate::wire::ObjectInfo;

pub(in crate::sim) struct Real {
    pub(in crate::sim) memory: MemoryDisk,
    pub(in crate::sim) checks_reads: bool,
    /// The number of chunks after which a transfer is marked.
    checkpoint_chunks: u64,
    /// The open store, while a process runs.
    store: Option<Store>,
    /// Whether a sync failed since a person last looked.
    poisoned: bool,
    /// For each object, whether its bytes are right, and the version of the file that was checked.
    looked: RefCell<BTreeMap<ContentId, Looked>>,
}

/// The file and version that were checked, and whether the bytes were right.
type Looked = ((u64, u64), bool);

impl Real {
    /// An empty disk, on which transfers are marked whenever so many chunks have come.
    pub(in crate::sim) fn new(checkpoint_chunks: u64) -> Real {
        Real {
            memory: MemoryDisk::default(),
            checks_reads: false,
            checkpoint_chunks,
            store: None,
            poisoned: false,
            looked: RefCell::default(),
        }
    }

    /// The store of the running process.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`] when no process runs: the caller is about to end.
    pub(in crate::sim) fn store(&self) -> Result<Store, BlobError> {
        self.store.clone().ok_or_else(|| BlobError::Poisoned { dir: ROOT.into() })
    }

    pub(in crate::sim) fn set_time(&mut self, now: Moment, unix_ms: u64) {
        self.memory.set_time(now, SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms));
    }

    /// # Panics
    /// When the store does not open: whatever happened to the disk, it must open.
    pub(in crate::sim) fn open(&mut self) {
        if self.store.is_none() {
            let opened = Store::open(Path::new(ROOT), Arc::new(self.memory.clone()));
            let store = opened.unwrap_or_else(|error| panic!("the store does not open: {error}"));
            store.checkpoint_every(self.checkpoint_chunks);
            self.store = Some(store);
        }
    }

    pub(in crate::sim) fn close(&mut self) {
        self.poisoned |= self.store.take().is_some_and(|store| store.is_poisoned());
    }

    /// Cuts the power. The content of the disk afterwards is decided at once.
    pub(in crate::sim) fn crash(&mut self, rng: &mut ChaCha8Rng) {
        self.memory.power_off();
        self.store = None;
        self.memory = self.memory.power_on(rng);
        self.poisoned = false;
    }

    pub(in crate::sim) fn mend(&mut self) -> bool {
        self.memory.set_capacity(None);
        self.memory.mend_syncs();
        self.poisoned || self.store.as_ref().is_some_and(Store::is_poisoned)
    }

    pub(in crate::sim) fn lose(&mut self) {
        self.memory.erase();
        self.looked.take();
    }

    /// Sets the room for objects; the index, the outboards and the reserve of the file system come on top of it.
    pub(in crate::sim) fn set_capacity(&mut self, bytes: u64) {
        let objects: u64 = self.files_in(OBJECTS).map(|(_, length)| length).sum();
        let others = self.memory.used() - objects;
        self.memory.set_capacity(Some((others + INDEX_GROWTH_BYTES).saturating_add(bytes)));
    }

    pub(in crate::sim) fn contains(&self, content: &ContentId) -> Result<bool, BlobError> {
        let store = self.store()?;
        if self.checks_reads { store.scrub(content) } else { store.contains(content) }
    }

    pub(in crate::sim) fn look_at_files(&self) -> Result<(), BlobError> {
        let store = self.store()?;
        store.settle_journal()?;
        for (content, _) in store.object_ids()? {
            if self.checks_reads {
                store.scrub(&content)?
            } else {
                store.contains(&content)?
            };
        }
        Ok(())
    }

    pub(in crate::sim) fn objects(&self) -> Vec<(ContentId, bool)> {
        let contents =
            self.files_in(OBJECTS).filter_map(|(path, _)| path.file_name()?.to_str()?.parse().ok());
        contents.map(|content| (content, self.holds(&content))).collect()
    }

    pub(in crate::sim) fn has(&self, content: &ContentId) -> bool {
        self.memory.version(&object_path(content)).is_some()
    }

    pub(in crate::sim) fn keeps(&self, content: &ContentId) -> bool {
        let kind = self.store.as_ref().and_then(|store| store.kind(content).ok()?);
        kind == Some(Kind::Replica)
    }

    /// Checks the bytes on the disk, whatever the store believes.
    pub(in crate::sim) fn holds(&self, content: &ContentId) -> bool {
        let path = object_path(content);
        let Some(version) = self.memory.version(&path) else { return false };
        let mut looked = self.looked.borrow_mut();
        if let Some((seen, sound)) = looked.get(content)
            && *seen == version
        {
            return *sound;
        }
        let sound = self.memory.contents(&path).is_some_and(|bytes| ContentId::of(&bytes) == *content);
        looked.insert(*content, (version, sound));
        sound
    }

    pub(in crate::sim) fn record_keys(&self) -> Vec<Position> {
        let mut keys = Vec::new();
        if let Ok(store) = self.store() {
            // A disk that has just lost power reports nothing.
            let _ = shelf::for_each_record(&store, |key, _| keys.push(key));
        }
        keys
    }

    pub(in crate::sim) fn record(&self, key: &Position) -> Option<NameHistory> {
        let history = shelf::history(&self.store().ok()?, key).ok()?;
        history.current.is_some().then_some(history)
    }

    pub(in crate::sim) fn part(&self, content: &ContentId) -> Option<u64> {
        self.memory.contents(&part_path(content)).map(|bytes| bytes.len() as u64)
    }

    pub(in crate::sim) fn rot(&mut self, content: &ContentId) {
        self.flip_bit(&object_path(content));
    }

    pub(in crate::sim) fn spoil_part(&mut self, content: &ContentId) -> bool {
        self.flip_bit(&part_path(content))
    }

    fn flip_bit(&self, path: &Path) -> bool {
        // Any bit will do.
        self.memory.flip_bit(path, &mut ChaCha8Rng::seed_from_u64(0))
    }

    pub(in crate::sim) fn spoil_record(&mut self, key: Position) {
        let spoilt = self.store().and_then(|store| store.put_record(key, vec![0xff, 9, 7]));
        spoilt.unwrap_or_else(|error| panic!("{error}"));
    }

    pub(in crate::sim) fn put_object(&mut self, info: &ObjectInfo, text: &[u8]) {
        let put = || -> Result<(), BlobError> {
            let mut receiver = self.store()?.receive(info.content, info.length)?;
            receiver.write(text)?;
            receiver.finish(Kind::Replica).map(drop)
        };
        match put() {
            Ok(()) | Err(BlobError::AlreadyHere { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub(in crate::sim) fn put_record(&mut self, key: Position, history: &NameHistory) {
        let put = || -> Result<(), BlobError> {
            let kept = shelf::kept(history).unwrap_or_else(|error| panic!("{error}"));
            self.store()?.put_record(key, kept)
        };
        put().unwrap_or_else(|error| panic!("{error}"));
    }

    fn files_in(&self, folder: &str) -> impl Iterator<Item = (PathBuf, u64)> {
        self.memory.files_below(&Path::new(ROOT).join(folder)).into_iter()
    }
}

fn object_path(content: &ContentId) -> PathBuf {
    let hex = content.to_string();
    Path::new(ROOT).join(OBJECTS).join(&hex[..2]).join(hex)
}

fn part_path(content: &ContentId) -> PathBuf {
    Path::new(ROOT).join("incoming").join(format!("{content}.part"))
}

/// The data directory of the simulated peer.
const ROOT: &str = "/peer";
const OBJECTS: &str = "objects";
/// The reserve that objects leave free on a small file system (1 MiB), and room for the index to grow.
const INDEX_GROWTH_BYTES: u64 = (1 << 20) + (1 << 18);
