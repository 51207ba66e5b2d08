//! A disk in memory that loses power: for simulated peers and for tests of crash safety.
//!
//! A sync makes earlier changes durable: for a file its bytes and its length, for a folder its names. When the power
//! goes, chance decides about everything else. Of the writes that no sync followed, any combination may be there, each
//! of them perhaps in part, sector by sector. The same holds for names, except that a rename is one step, as on a file
//! system with a journal. [`Loss`] narrows that down to one kind of loss.
//!
//! A handle belongs to one life of the disk. Once the power is off, every operation through the handles of that life
//! fails and changes nothing, so that a dead process cannot write any more.

mod loss;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

pub use loss::Loss;
use loss::{Keeping, Write};

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

const DEVICE: u64 = 1;

/// The size that a disk without a bound reports.
const UNLIMITED_BYTES: u64 = 1 << 40;

#[cfg(test)]
mod tests;
