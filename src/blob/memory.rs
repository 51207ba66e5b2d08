//! A disk in memory that loses power: for simulated peers and for tests of crash safety.
//!
//! A sync makes earlier changes durable: for a file its bytes and its length, for a folder its names. When the power
//! goes, chance decides about everything else. Of the writes that no sync followed, any combination may be there, each
//! of them perhaps in part, sector by sector. The same holds for names, except that a rename is one step, as on a file
//! system with a journal. [`Loss`] narrows that down to one kind of loss.
//!
//! A handle belongs to one life of the disk. Once the power is off, every operation through the handles of that life
//! fails and changes nothing, so that a dead process cannot write any more.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::disk::{Access, Disk, DiskFile, Stamp, Stat, SyncError};
use super::room::Room;
use crate::time::Moment;

/// One life of a disk in memory. Clones are the same life of the same disk.
#[derive(Clone)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Shared>>,
    life: u64,
}

struct Shared {
    /// The life that has power; `None` while the power is off.
    powered: Option<u64>,
    lives: u64,
    names: BTreeMap<PathBuf, Node>,
    /// The changes of names that no sync has made durable, oldest first.
    pending: Vec<Renaming>,
    files: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Rises with each change, and is part of each stamp.
    tick: u64,
    now: Moment,
    wall_clock: SystemTime,
    capacity: u64,
    next_sync_fails: bool,
    calls: u64,
    dies_before: Option<u64>,
    loss: Loss,
    watcher: Option<Watcher>,
}

/// The function that [`MemoryDisk::watch`] calls.
type Watcher = Arc<dyn Fn(MemoryDisk) + Send + Sync>;

/// The fate of the changes that no sync has made durable, once the power goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Loss {
    /// All of them are on the disk, as when only the process ends.
    Nothing,
    /// None of them is.
    Everything,
    /// Of each file and of the names the first few are, and of the next write of a file some sectors.
    Torn,
    /// Any of them are, each as a whole: they were written in any order.
    Reordered,
    /// For each file and for the names chance takes the first few or any, and tears half of the writes.
    #[default]
    Chance,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Folder,
    File(u64),
    Link(PathBuf),
}

/// Names that changed in one step, each with its node before and after.
#[derive(Clone)]
struct Renaming(Vec<(PathBuf, Option<Node>, Option<Node>)>);

#[derive(Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    /// The writes that no sync has made durable, oldest first.
    pending: Vec<Write>,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Rises with each change of the bytes, also with bit rot.
    version: u64,
    handles: u32,
    locked_by: Option<u64>,
}

/// One change of a file's bytes, and how to undo it.
#[derive(Clone)]
struct Write {
    offset: u64,
    /// The bytes that the change wrote; empty if it set the length.
    new: Vec<u8>,
    new_length: u64,
    /// The bytes that were there before, as far as the file reached.
    old: Vec<u8>,
    old_length: u64,
}

impl Default for MemoryDisk {
    fn default() -> MemoryDisk {
        let shared = Shared {
            powered: Some(0),
            lives: 0,
            names: BTreeMap::from([(PathBuf::from("/"), Node::Folder)]),
            pending: Vec::new(),
            files: BTreeMap::new(),
            next_inode: 1,
            tick: 0,
            now: Moment::default(),
            wall_clock: SystemTime::UNIX_EPOCH,
            capacity: UNLIMITED_BYTES,
            next_sync_fails: false,
            calls: 0,
            dies_before: None,
            loss: Loss::default(),
            watcher: None,
        };
        MemoryDisk { shared: Arc::new(Mutex::new(shared)), life: 0 }
    }
}

/// Power, time and faults.
impl MemoryDisk {
    /// Cuts the power. Every call fails from now on; [`MemoryDisk::power_on`] decides what is on the disk.
    pub fn power_off(&self) {
        self.lock().powered = None;
    }

    /// Whether this life of the disk has power.
    pub fn has_power(&self) -> bool {
        self.lock().powered == Some(self.life)
    }

    /// Begins the next life of the disk. Chance decides which of the unsynced changes are on it, within the kind of loss
    /// of [`MemoryDisk::set_loss`].
    #[must_use]
    pub fn power_on(&self, rng: &mut ChaCha8Rng) -> MemoryDisk {
        let mut shared = self.lock();
        shared.lose_unsynced(rng);
        shared.lives += 1;
        let life = shared.lives;
        shared.powered = Some(life);
        shared.dies_before = None;
        shared.next_sync_fails = false;
        MemoryDisk { shared: self.shared.clone(), life }
    }

    /// Sets the kind of loss that each later loss of power brings.
    pub fn set_loss(&self, loss: Loss) {
        self.lock().loss = loss;
    }

    /// Another disk with the same content, unsynced changes included, that nobody watches.
    #[must_use]
    pub fn fork(&self) -> MemoryDisk {
        let shared = self.lock();
        let fork = Shared {
            powered: Some(self.life),
            lives: shared.lives,
            names: shared.names.clone(),
            pending: shared.pending.clone(),
            files: shared.files.clone(),
            next_inode: shared.next_inode,
            tick: shared.tick,
            now: shared.now,
            wall_clock: shared.wall_clock,
            capacity: shared.capacity,
            next_sync_fails: false,
            calls: 0,
            dies_before: None,
            loss: shared.loss,
            watcher: None,
        };
        MemoryDisk { shared: Arc::new(Mutex::new(fork)), life: self.life }
    }

    /// Calls `watcher` with a fork of the disk before each call that changes it, and before each sync.
    pub fn watch(&self, watcher: impl Fn(MemoryDisk) + Send + Sync + 'static) {
        self.lock().watcher = Some(Arc::new(watcher));
    }

    /// Sets both clocks of the disk.
    pub fn set_time(&self, now: Moment, wall_clock: SystemTime) {
        let mut shared = self.lock();
        (shared.now, shared.wall_clock) = (now, wall_clock);
    }

    /// Sets the number of bytes that the disk can hold; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes.unwrap_or(UNLIMITED_BYTES);
    }

    /// The number of bytes of all files together.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Makes the next sync fail.
    pub fn fail_next_sync(&self) {
        self.lock().next_sync_fails = true;
    }

    /// Takes back [`MemoryDisk::fail_next_sync`].
    pub fn mend_syncs(&self) {
        self.lock().next_sync_fails = false;
    }

    /// The number of calls of the disk so far, reads included.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Cuts the power instead of the n-th call from now on, counted from 1.
    pub fn die_before_call(&self, n: u64) {
        let mut shared = self.lock();
        shared.dies_before = Some(shared.calls + n);
    }

    /// Removes everything, as with a new disk.
    pub fn erase(&self) {
        let mut shared = self.lock();
        shared.names.retain(|path, _| path.parent().is_none());
        shared.files.clear();
        shared.pending.clear();
    }

    /// Flips a bit of a file in place: its times stay as they are. False if there is no such file, or it is empty.
    pub fn flip_bit(&self, path: &Path, rng: &mut ChaCha8Rng) -> bool {
        let mut shared = self.lock();
        let Some(Node::File(inode)) = shared.names.get(path).cloned() else { return false };
        let Some(file) = shared.files.get_mut(&inode) else { return false };
        if file.bytes.is_empty() {
            return false;
        }
        let at = rng.random_range(0..file.bytes.len());
        file.bytes[at] ^= 1 << rng.random_range(0..8);
        file.version += 1;
        true
    }

    /// The bytes of a file, whether the power is on or not; `None` if there is no such file.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let shared = self.lock();
        match shared.names.get(path)? {
            Node::File(inode) => shared.files.get(inode).map(|file| file.bytes.clone()),
            Node::Folder | Node::Link(_) => None,
        }
    }

    /// The file at a path, and a number that differs after each change of its bytes; `None` if there is no such file.
    pub fn version(&self, path: &Path) -> Option<(u64, u64)> {
        let shared = self.lock();
        match shared.names.get(path)? {
            Node::File(inode) => shared.files.get(inode).map(|file| (*inode, file.version)),
            Node::Folder | Node::Link(_) => None,
        }
    }

    /// The regular files below a folder and their lengths, whether the power is on or not.
    pub fn files_below(&self, folder: &Path) -> Vec<(PathBuf, u64)> {
        let shared = self.lock();
        let file = |(path, node): (&PathBuf, &Node)| match node {
            Node::File(inode) => Some((path.clone(), shared.files.get(inode)?.bytes.len() as u64)),
            Node::Folder | Node::Link(_) => None,
        };
        let below = shared.names.range(folder.to_owned()..).take_while(|(path, _)| path.starts_with(folder));
        below.filter_map(file).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the state for a call of a process; fails without power.
    fn call(&self) -> io::Result<MutexGuard<'_, Shared>> {
        let mut shared = self.lock();
        if shared.powered != Some(self.life) {
            return Err(power_is_off());
        }
        shared.calls += 1;
        if shared.dies_before == Some(shared.calls) {
            shared.powered = None;
            return Err(power_is_off());
        }
        Ok(shared)
    }

    /// Like [`MemoryDisk::call`], for a call that changes the disk or syncs a change.
    fn change(&self) -> io::Result<MutexGuard<'_, Shared>> {
        let watcher = if self.has_power() { self.lock().watcher.clone() } else { None };
        if let Some(watcher) = watcher {
            watcher(self.fork());
        }
        self.call()
    }
}

impl Shared {
    fn stamp_now(&mut self) -> (i64, i64) {
        self.tick += 1;
        let since = self.wall_clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (since.as_secs() as i64, self.tick as i64)
    }

    fn used(&self) -> u64 {
        let named = self.names.values().filter_map(|node| match node {
            Node::File(inode) => Some(*inode),
            Node::Folder | Node::Link(_) => None,
        });
        let named: std::collections::BTreeSet<u64> = named.collect();
        let counts = |(inode, file): &(&u64, &Inode)| named.contains(inode) || file.handles > 0;
        self.files.iter().filter(counts).map(|(_, file)| file.bytes.len() as u64).sum()
    }

    fn node(&self, path: &Path) -> io::Result<&Node> {
        self.names.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        match self.node(path)? {
            Node::File(inode) => Ok(*inode),
            Node::Folder => Err(io::ErrorKind::IsADirectory.into()),
            Node::Link(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.files.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Changes names in one step.
    fn set_names(&mut self, changes: Vec<(PathBuf, Option<Node>)>) {
        let mut steps = Vec::with_capacity(changes.len());
        for (path, after) in changes {
            let before = match &after {
                Some(node) => self.names.insert(path.clone(), node.clone()),
                None => self.names.remove(&path),
            };
            steps.push((path, before, after));
        }
        self.pending.push(Renaming(steps));
    }

    fn has_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if self.names.get(parent) != Some(&Node::Folder) => {
                Err(io::ErrorKind::NotFound.into())
            }
            _ => Ok(()),
        }
    }

    fn new_file(&mut self, path: &Path) -> io::Result<u64> {
        self.has_parent(path)?;
        let (inode, stamp) = (self.next_inode, self.stamp_now());
        self.next_inode += 1;
        let file = Inode { modified: stamp, changed: stamp, ..Inode::default() };
        self.files.insert(inode, file);
        self.set_names(vec![(path.to_owned(), Some(Node::File(inode)))]);
        Ok(inode)
    }

    fn write(&mut self, inode: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let length = self.file(inode)?.bytes.len() as u64;
        self.make_room(end.saturating_sub(length))?;
        let stamp = self.stamp_now();
        let file = self.file(inode)?;
        let old_end = end.min(length);
        let old = if offset < old_end {
            file.bytes[offset as usize..old_end as usize].to_vec()
        } else {
            Vec::new()
        };
        let write =
            Write { offset, new: bytes.to_vec(), new_length: end.max(length), old, old_length: length };
        write.redo(&mut file.bytes, |_| true);
        file.pending.push(write);
        (file.modified, file.changed, file.version) = (stamp, stamp, file.version + 1);
        Ok(())
    }

    fn set_length(&mut self, inode: u64, new_length: u64) -> io::Result<()> {
        let old_length = self.file(inode)?.bytes.len() as u64;
        self.make_room(new_length.saturating_sub(old_length))?;
        let stamp = self.stamp_now();
        let file = self.file(inode)?;
        let offset = new_length.min(old_length);
        let old = file.bytes[offset as usize..].to_vec();
        let write = Write { offset, new: Vec::new(), new_length, old, old_length };
        write.redo(&mut file.bytes, |_| true);
        file.pending.push(write);
        (file.modified, file.changed, file.version) = (stamp, stamp, file.version + 1);
        Ok(())
    }

    fn make_room(&self, more: u64) -> io::Result<()> {
        if more > 0 && self.capacity < UNLIMITED_BYTES && self.used() + more > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Whether this sync fails, because a test asked for that.
    fn sync_fails(&mut self) -> bool {
        std::mem::take(&mut self.next_sync_fails)
    }

    /// Makes the changes of names in a folder durable, and the earlier ones that they build on: a file system that has
    /// taken the rename of a file has taken the name that the file had before.
    fn sync_names(&mut self, folder: &Path) {
        let mut durable = std::collections::BTreeSet::new();
        for at in (0..self.pending.len()).rev() {
            let Renaming(steps) = &self.pending[at];
            let is_durable =
                |(path, ..): &(PathBuf, _, _)| path.parent() == Some(folder) || durable.contains(path);
            if steps.iter().any(is_durable) {
                durable.extend(self.pending.remove(at).0.into_iter().map(|(path, ..)| path));
            }
        }
    }

    /// Undoes the unsynced changes, and redoes those that chance keeps.
    fn lose_unsynced(&mut self, rng: &mut ChaCha8Rng) {
        let pending = std::mem::take(&mut self.pending);
        for Renaming(steps) in pending.iter().rev() {
            for (path, before, _) in steps.iter().rev() {
                self.put_name(path, before.as_ref());
            }
        }
        let keeps = Keeping::draw(self.loss, rng, pending.len());
        for (at, Renaming(steps)) in pending.iter().enumerate() {
            if keeps.keeps(rng, at) {
                steps.iter().for_each(|(path, _, after)| self.put_name(path, after.as_ref()));
            }
        }
        // Entries of a folder that is not there are not there either.
        let lost: Vec<PathBuf> = self.names.keys().filter(|path| !self.is_reachable(path)).cloned().collect();
        lost.iter().for_each(|path| drop(self.names.remove(path)));
        let mut named = std::collections::BTreeSet::new();
        for node in self.names.values() {
            if let Node::File(inode) = node {
                named.insert(*inode);
            }
        }
        self.files.retain(|inode, _| named.contains(inode));
        for file in self.files.values_mut() {
            let pending = std::mem::take(&mut file.pending);
            pending.iter().rev().for_each(|write| write.undo(&mut file.bytes));
            let keeps = Keeping::draw(self.loss, rng, pending.len());
            for (at, write) in pending.iter().enumerate() {
                if keeps.keeps(rng, at) {
                    let torn = self.loss == Loss::Chance && rng.random_bool(0.5);
                    write.redo(&mut file.bytes, |_| !torn || rng.random_bool(0.5));
                } else if self.loss == Loss::Torn && keeps.is_next(at) {
                    write.redo(&mut file.bytes, |_| rng.random_bool(0.5));
                }
            }
            (file.handles, file.locked_by, file.version) = (0, None, file.version + 1);
        }
    }

    fn put_name(&mut self, path: &Path, node: Option<&Node>) {
        match node {
            Some(node) => drop(self.names.insert(path.to_owned(), node.clone())),
            None => drop(self.names.remove(path)),
        }
    }

    fn is_reachable(&self, path: &Path) -> bool {
        path.ancestors().skip(1).all(|above| self.names.get(above) == Some(&Node::Folder))
    }
}

impl Write {
    /// Redoes the change; `keeps` decides for each sector whether its bytes are written.
    fn redo(&self, bytes: &mut Vec<u8>, mut keeps: impl FnMut(usize) -> bool) {
        if self.new.is_empty() {
            bytes.resize(self.new_length as usize, 0);
            return;
        }
        let length = bytes.len().max(self.offset as usize + self.new.len());
        bytes.resize(length, 0);
        for (sector, new) in self.new.chunks(SECTOR_BYTES).enumerate() {
            if keeps(sector) {
                let at = self.offset as usize + sector * SECTOR_BYTES;
                bytes[at..at + new.len()].copy_from_slice(new);
            }
        }
    }

    fn undo(&self, bytes: &mut Vec<u8>) {
        bytes.resize(self.old_length as usize, 0);
        // Bytes that were written beyond the end had none before.
        let at = (self.offset as usize).min(bytes.len());
        bytes[at..at + self.old.len()].copy_from_slice(&self.old);
    }
}

/// The unsynced changes of one place that remain after the power was cut.
enum Keeping {
    /// The first few: the changes were written in their order.
    First(usize),
    /// Each one by chance: the changes were written in any order.
    Any,
}

impl Keeping {
    fn draw(loss: Loss, rng: &mut ChaCha8Rng, count: usize) -> Keeping {
        match loss {
            Loss::Nothing => Keeping::First(count),
            Loss::Everything => Keeping::First(0),
            Loss::Torn => Keeping::First(rng.random_range(0..=count)),
            Loss::Reordered => Keeping::Any,
            Loss::Chance if rng.random_bool(0.5) => Keeping::First(rng.random_range(0..=count)),
            Loss::Chance => Keeping::Any,
        }
    }

    fn keeps(&self, rng: &mut ChaCha8Rng, at: usize) -> bool {
        match self {
            Keeping::First(count) => at < *count,
            Keeping::Any => rng.random_bool(0.5),
        }
    }

    /// Whether this change is the first one that is lost.
    fn is_next(&self, at: usize) -> bool {
        matches!(self, Keeping::First(count) if at == *count)
    }
}

impl Disk for MemoryDisk {
    fn now(&self) -> Moment {
        self.lock().now
    }

    fn wall_clock(&self) -> SystemTime {
        self.lock().wall_clock
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.change()?;
        let mut missing: Vec<&Path> =
            path.ancestors().filter(|above| !above.as_os_str().is_empty()).collect();
        missing.retain(|above| !shared.names.contains_key(*above));
        for folder in missing.into_iter().rev() {
            shared.set_names(vec![(folder.to_owned(), Some(Node::Folder))]);
        }
        match shared.node(path)? {
            Node::Folder => Ok(()),
            Node::File(_) | Node::Link(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut shared = self.change()?;
        let inode = match shared.inode(path) {
            Ok(inode) => {
                shared.set_length(inode, 0)?;
                inode
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => shared.new_file(path)?,
            Err(error) => return Err(error),
        };
        Ok(Box::new(self.handle(&mut shared, inode)?))
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut shared = self.call()?;
        let inode = shared.inode(path)?;
        Ok(Box::new(self.handle(&mut shared, inode)?))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let shared = self.call()?;
        match shared.node(path)? {
            Node::File(inode) => {
                let stamp = shared.stamp(*inode)?;
                let modified = Duration::from_secs(stamp.modified.0.unsigned_abs());
                Ok(Stat { is_file: true, stamp, modified: Some(SystemTime::UNIX_EPOCH + modified) })
            }
            Node::Folder | Node::Link(_) => {
                let stamp = Stamp { device: DEVICE, inode: 0, length: 0, modified: (0, 0), changed: (0, 0) };
                Ok(Stat { is_file: false, stamp, modified: None })
            }
        }
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let shared = self.call()?;
        if *shared.node(path)? != Node::Folder {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let below = shared.names.range(path.to_owned()..).skip(1).map(|(name, _)| name);
        let inside =
            below.take_while(|name| name.starts_with(path)).filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| name.file_name()).map(OsString::from).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.change()?;
        let node = shared.node(from)?.clone();
        shared.has_parent(to)?;
        if from != to {
            shared.set_names(vec![(to.to_owned(), Some(node)), (from.to_owned(), None)]);
        }
        Ok(())
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        let mut shared = self.change()?;
        let (first, second) = (shared.node(one)?.clone(), shared.node(other)?.clone());
        shared.set_names(vec![(one.to_owned(), Some(second)), (other.to_owned(), Some(first))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.change()?;
        if *shared.node(path)? == Node::Folder {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        shared.set_names(vec![(path.to_owned(), None)]);
        Ok(())
    }

    /// No mode is kept; a file's ctime changes as it would with one.
    fn set_mode(&self, path: &Path, _: u32) -> io::Result<()> {
        let mut shared = self.call()?;
        match shared.inode(path) {
            Ok(inode) => shared.touch(inode),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, path: &Path) -> Result<(), SyncError> {
        let mut shared = self.change().map_err(SyncError::Begin)?;
        if shared.sync_fails() {
            return Err(SyncError::Sync(io::Error::other("this sync was to fail")));
        }
        shared.sync_names(path);
        Ok(())
    }

    fn reflink(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        let mut shared = self.change()?;
        shared.has_parent(link)?;
        if shared.names.contains_key(link) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        shared.set_names(vec![(link.to_owned(), Some(Node::Link(target.to_owned())))]);
        Ok(())
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        match self.call()?.node(path)? {
            Node::Link(target) => Ok(target.clone()),
            Node::File(_) | Node::Folder => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn room(&self, _: &Path) -> io::Result<Room> {
        let shared = self.call()?;
        let free = shared.capacity.saturating_sub(shared.used());
        Ok(Room { free, total: shared.capacity, inodes: None })
    }
}

impl Shared {
    fn stamp(&self, inode: u64) -> io::Result<Stamp> {
        let file = self.files.get(&inode).ok_or(io::ErrorKind::NotFound)?;
        let length = file.bytes.len() as u64;
        Ok(Stamp { device: DEVICE, inode, length, modified: file.modified, changed: file.changed })
    }

    fn touch(&mut self, inode: u64) -> io::Result<()> {
        let stamp = self.stamp_now();
        let file = self.file(inode)?;
        file.changed = stamp;
        Ok(())
    }
}

/// An open file of one life of a disk.
struct MemoryFile {
    disk: MemoryDisk,
    inode: u64,
    /// The number of this opening of the file, for its lock.
    opening: u64,
}

impl MemoryDisk {
    fn handle(&self, shared: &mut Shared, inode: u64) -> io::Result<MemoryFile> {
        shared.tick += 1;
        let opening = shared.tick;
        shared.file(inode)?.handles += 1;
        Ok(MemoryFile { disk: self.clone(), inode, opening })
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let mut shared = self.disk.lock();
        if shared.powered == Some(self.disk.life)
            && let Ok(file) = shared.file(self.inode)
        {
            file.handles = file.handles.saturating_sub(1);
            file.locked_by.take_if(|holder| *holder == self.opening);
        }
    }
}

impl MemoryFile {
    fn sync_bytes(&self) -> io::Result<()> {
        let mut shared = self.disk.change()?;
        if shared.sync_fails() {
            return Err(io::Error::other("this sync was to fail"));
        }
        shared.file(self.inode)?.pending.clear();
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn stamp(&self) -> io::Result<Stamp> {
        self.disk.call()?.stamp(self.inode)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut shared = self.disk.call()?;
        let file = shared.file(self.inode)?;
        let begin = (offset as usize).min(file.bytes.len());
        let read = bytes.len().min(file.bytes.len() - begin);
        bytes[..read].copy_from_slice(&file.bytes[begin..begin + read]);
        Ok(read)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut shared = self.disk.change()?;
        if bytes.is_empty() { Ok(()) } else { shared.write(self.inode, offset, bytes) }
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.change()?.set_length(self.inode, length)
    }

    fn set_mode(&self, _: u32) -> io::Result<()> {
        self.disk.call()?.touch(self.inode)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_bytes()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_bytes()
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut shared = self.disk.call()?;
        let holder = &mut shared.file(self.inode)?.locked_by;
        Ok(*holder.get_or_insert(self.opening) == self.opening)
    }

    fn unlock(&self) -> io::Result<()> {
        let mut shared = self.disk.call()?;
        shared.file(self.inode)?.locked_by.take_if(|holder| *holder == self.opening);
        Ok(())
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

/// The size that a disk without a bound reports.
const UNLIMITED_BYTES: u64 = 1 << 40;
const SECTOR_BYTES: usize = 512;
const DEVICE: u64 = 1;

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// Goal: synced bytes survive every loss of power. Unsynced bytes may survive, be torn, or be lost, and each of
    /// these happens.
    #[test]
    fn a_sync_is_what_makes_bytes_and_names_durable() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let disk = MemoryDisk::default();
            disk.create_dir(Path::new("/d")).unwrap();
            let file = disk.create(Path::new("/d/a")).unwrap();
            file.write_all_at(&[1; 2_048], 0).unwrap();
            file.sync().unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            file.write_all_at(&[2; 2_048], 0).unwrap();
            disk.create(Path::new("/d/b")).unwrap();
            disk.power_off();
            let disk = disk.power_on(&mut rng(seed));
            let bytes = disk.contents(Path::new("/d/a")).unwrap();
            assert_eq!(bytes.len(), 2_048);
            let written = bytes.iter().filter(|byte| **byte == 2).count();
            assert!(bytes.iter().all(|byte| [1, 2].contains(byte)) && written.is_multiple_of(SECTOR_BYTES));
            let state = if written == 0 {
                "lost"
            } else if written == 2_048 {
                "there"
            } else {
                "torn"
            };
            seen.insert((state, disk.contents(Path::new("/d/b")).is_some()));
        }
        assert_eq!(seen.len(), 6, "{seen:?}");
    }

    /// Goal: two writes may reach the disk in either order.
    #[test]
    fn writes_are_reordered() {
        let later_alone = (0..200).filter(|seed| {
            let disk = MemoryDisk::default();
            disk.create_dir(Path::new("/d")).unwrap();
            let file = disk.create(Path::new("/d/a")).unwrap();
            file.set_length(1_024).unwrap();
            file.sync().unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            file.write_all_at(&[1; 512], 0).unwrap();
            file.write_all_at(&[2; 512], 512).unwrap();
            let disk = disk.power_on(&mut rng(*seed));
            let bytes = disk.contents(Path::new("/d/a")).unwrap();
            (bytes[0], bytes[512]) == (0, 2)
        });
        assert!(later_alone.count() > 10);
    }

    /// Goal: a file whose rename is durable is at its new place only, also if the folder of its old name was not synced.
    #[test]
    fn a_durable_rename_leaves_no_old_name() {
        for seed in 0..50 {
            let disk = MemoryDisk::default();
            disk.create_dir(Path::new("/a")).unwrap();
            disk.create_dir(Path::new("/b")).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            disk.create(Path::new("/a/new")).unwrap();
            disk.rename(Path::new("/a/new"), Path::new("/a/part")).unwrap();
            disk.rename(Path::new("/a/part"), Path::new("/b/object")).unwrap();
            disk.sync_dir(Path::new("/b")).unwrap();
            let disk = disk.power_on(&mut rng(seed));
            assert_eq!(disk.read_dir(Path::new("/b")).unwrap(), ["object"]);
            assert!(disk.read_dir(Path::new("/a")).unwrap().is_empty(), "seed {seed}");
        }
    }

    /// Goal: each kind of loss leaves what it says of three unsynced writes and two names.
    #[test]
    fn a_kind_of_loss_is_as_it_says() {
        let after = |loss, seed| {
            let disk = MemoryDisk::default();
            disk.create_dir(Path::new("/d")).unwrap();
            let file = disk.create(Path::new("/d/a")).unwrap();
            file.set_length(3 * 2_048).unwrap();
            file.sync().unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            for write in 0..3u8 {
                file.write_all_at(&[write + 1; 2_048], u64::from(write) * 2_048).unwrap();
            }
            disk.create(Path::new("/d/b")).unwrap();
            disk.create(Path::new("/d/c")).unwrap();
            disk.set_loss(loss);
            let fork = disk.fork();
            disk.power_off();
            let disk = fork.power_on(&mut rng(seed));
            let bytes = disk.contents(Path::new("/d/a")).unwrap();
            let written = |part: &[u8]| match part.iter().filter(|byte| **byte != 0).count() {
                0 => 'n',
                2_048 => 'y',
                _ => 't',
            };
            let writes: String = bytes.chunks(2_048).map(written).collect();
            let names = ["/d/b", "/d/c"].map(|name| disk.contents(Path::new(name)).is_some());
            (writes, names)
        };
        let all = |loss| (0..300).map(|seed| after(loss, seed)).collect::<std::collections::BTreeSet<_>>();
        let whole = |writes: &str, names| std::collections::BTreeSet::from([(writes.to_owned(), names)]);
        assert_eq!(all(Loss::Nothing), whole("yyy", [true, true]));
        assert_eq!(all(Loss::Everything), whole("nnn", [false, false]));
        let torn = all(Loss::Torn);
        assert!(
            torn.iter().all(|(writes, names)| writes.chars().is_sorted_by_key(|at| "ytn".find(at))
                && names[0] >= names[1])
        );
        assert!(torn.iter().any(|(writes, _)| writes == "ytn"), "{torn:?}");
        let reordered = all(Loss::Reordered);
        assert!(reordered.iter().all(|(writes, _)| !writes.contains('t')));
        assert!(reordered.contains(&("nny".to_owned(), [false, true])), "{reordered:?}");
    }

    /// Goal: a watcher sees the disk before each change, and its fork is a disk of its own.
    #[test]
    fn a_watcher_gets_the_disk_before_each_change() {
        let disk = MemoryDisk::default();
        disk.create_dir(Path::new("/d")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = seen.clone();
        disk.watch(move |fork| {
            note.lock().unwrap().push(fork.contents(Path::new("/d/a")).map(|bytes| bytes.len()));
            fork.create(Path::new("/d/of the fork")).unwrap();
        });
        let file = disk.create(Path::new("/d/a")).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        file.read_at(&mut [0; 3], 0).unwrap();
        file.sync().unwrap();
        assert_eq!(*seen.lock().unwrap(), [None, Some(0), Some(3)]);
        assert_eq!(disk.read_dir(Path::new("/d")).unwrap(), ["a"]);
    }

    /// Goal: handles of a dead process change no file, and its lock is gone.
    #[test]
    fn an_earlier_life_is_over() {
        let disk = MemoryDisk::default();
        disk.create_dir(Path::new("/d")).unwrap();
        let old = disk.create(Path::new("/d/a")).unwrap();
        assert!(old.try_lock().unwrap());
        disk.sync_dir(Path::new("/d")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        assert!(!disk.open(Path::new("/d/a"), Access::Update).unwrap().try_lock().unwrap());
        let next = disk.power_on(&mut rng(1));
        assert!(old.write_all_at(b"late", 0).is_err() && old.sync().is_err());
        assert!(disk.create(Path::new("/d/b")).is_err());
        assert!(next.open(Path::new("/d/a"), Access::Update).unwrap().try_lock().unwrap());
        assert_eq!(next.contents(Path::new("/d/a")), Some(Vec::new()));
    }

    #[test]
    fn the_power_goes_before_the_call_that_was_named() {
        let disk = MemoryDisk::default();
        disk.die_before_call(2);
        disk.create_dir(Path::new("/d")).unwrap();
        assert!(disk.create(Path::new("/d/a")).is_err() && !disk.has_power());
    }

    #[test]
    fn a_full_disk_takes_nothing_more_until_there_is_room() {
        let disk = MemoryDisk::default();
        disk.create_dir(Path::new("/d")).unwrap();
        let file = disk.create(Path::new("/d/a")).unwrap();
        disk.set_capacity(Some(100));
        file.write_all_at(&[1; 100], 0).unwrap();
        let full = file.write_all_at(&[1; 1], 100).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        file.write_all_at(&[2; 100], 0).unwrap();
        disk.remove(Path::new("/d/a")).unwrap();
        assert_eq!(disk.used(), 100, "it is open");
        drop(file);
        assert_eq!(disk.used(), 0);
    }
}
