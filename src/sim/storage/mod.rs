//! Files in the simulated world: the peers' work with objects and name records, over a network and on disks that fail
//! on demand.
//!
//! The peers run production code ([`crate::files`], and in small worlds [`crate::blob::Store`]); this module connects
//! it to the world, as `peer` connects it to tokio:
//!
//! | part | what it is |
//! |---|---|
//! | `keeper` | the state that the tasks of one process share |
//! | `files` | the homes of the peers, and the acknowledged files |
//! | `stream`, `link` | requests, answers and bytes over the network |
//! | `env`, `bytes`, `chunks` | the connection between a simulated peer and [`crate::files`] |
//! | `work` | the commands of its user, and the requests of other peers |
//! | `liar` | a member that lies |
//! | `freed` | judges each copy that a peer frees by these promises |
//! | `promises` | the promises that users were given |
//! | `place` | files that are there from the beginning |
//! | `check` | the conditions on files |
//!
//! A light disk keeps only the length of an object. No signature is made: a mark stands for a forged one. A world
//! without files has none of this.

mod bytes;
pub mod check;
mod chunks;
mod effect;
mod env;
mod files;
mod frame;
mod freed;
mod keeper;
mod liar;
mod lie;
mod link;
mod news;
mod outcome;
mod place;
mod promises;
mod settings;
mod signature;
mod stream;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::bytes::Bytes;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

pub(super) use effect::FilesEffect;
pub(super) use files::Files;
pub(super) use keeper::BEGIN_UNIX_MS;
pub use lie::Lie;
pub(super) use news::News;
pub use outcome::{Acknowledged, Ended, Moved, Outcome, Requested, StoreFailure, StoredFile};
pub use settings::FileSettings;

use self::keeper::Keeper;
use self::promises::Promises;
use super::disk::{Disk, file_of, tree_of};
use super::lock::Lock;
use super::network::{Slot, mixed};
use super::world::World;
use crate::files::{self as flows, Laws, edit_name, free_copy};
use crate::id::{ContentId, FileName, Position};
use crate::wire::{Fault, NameRecord, ObjectInfo, RecordTarget, VersionChoice};

/// The commands for files.
impl World {
    /// Gives all peers files from now on. The running peers count as old neighbours.
    pub fn enable_files(&mut self) {
        self.enable_files_with(FileSettings::default());
    }

    /// Like [`World::enable_files`], with these settings.
    pub fn enable_files_with(&mut self, settings: FileSettings) {
        self.files = Some(Box::new(Files {
            settings,
            homes: BTreeMap::new(),
            under_way: BTreeMap::new(),
            ended: Vec::new(),
            acknowledged: Vec::new(),
            names: BTreeMap::new(),
            promises: Promises::default(),
            moved: Moved::default(),
            returning: None,
            rng: ChaCha8Rng::seed_from_u64(mixed(self.seed)),
            laws: Laws::default(),
            dies: None,
        }));
        let running: Vec<Slot> = self.slots_running();
        for slot in running {
            self.start_keeper(slot, true, true);
        }
        self.go_on();
    }

    /// Sets the laws of the store for all running and later peers. The running peers restart.
    ///
    /// # Panics
    /// When a law is off and the stores are real: real stores know no other laws.
    pub fn set_laws(&mut self, laws: Laws) {
        if let Some(files) = &mut self.files {
            assert!(!files.settings.real_stores || laws == Laws::default(), "a real store keeps to its laws");
            files.laws = laws;
        }
        for slot in self.slots_running() {
            self.start_keeper(slot, true, true);
        }
        self.go_on();
    }

    /// Whether the peers have files.
    pub fn has_files(&self) -> bool {
        self.files.is_some()
    }

    /// Whether a process that takes commands runs at this place.
    pub fn keeps_files(&self, at: Slot) -> bool {
        self.files.as_ref().is_some_and(|files| files.keeper(at).is_some())
    }

    /// Lets a user of a peer store a new file of this length. Returns the id of the operation; see
    /// [`World::take_ended`].
    pub fn store(&mut self, at: Slot, name: &str, length: u64) -> u64 {
        let next = self.ids.get();
        let label = format!("{name} {next} {}", self.seed);
        self.store_labelled(at, name, label.as_bytes(), length)
    }

    /// Like [`World::store`], for a file whose bytes a label determines.
    pub fn store_labelled(&mut self, at: Slot, name: &str, label: &[u8], length: u64) -> u64 {
        let (object, text) = self.file_of(label, length);
        self.begin(at, name, move |keeper, name| async move {
            Outcome::Stored(keeper.store(&name, object, text).await)
        })
    }

    /// Lets a user of a peer store many files of this length at once, each with a name and the label that determines its
    /// bytes. Returns the id of the operation for each.
    pub fn store_many(&mut self, at: Slot, named: &[(String, Vec<u8>)], length: u64) -> Vec<u64> {
        let described = |(name, label): &(String, Vec<u8>)| {
            let name = FileName::new(name.as_str()).unwrap_or_else(|error| panic!("{error}"));
            let (object, text) = self.file_of(label, length);
            (name, object, text)
        };
        let stores: Vec<_> = named.iter().map(described).collect();
        let Some(files) = &mut self.files else { panic!("this world has no files") };
        let keeper = files.keeper(at).unwrap_or_else(|| panic!("no peer runs at {at}")).clone();
        let ids: Vec<u64> = stores.iter().map(|_| keeper.next_id()).collect();
        for (id, (name, ..)) in ids.iter().zip(&stores) {
            files.under_way.insert(*id, (at, name.clone()));
        }
        let ended = ids.clone();
        let task = async move {
            for (id, stored) in ended.into_iter().zip(keeper.store_many(stores).await) {
                keeper.want(FilesEffect::Ended { id, outcome: Outcome::Stored(stored) });
            }
        };
        self.tasks.spawn(at, Box::pin(task));
        self.go_on();
        ids
    }

    /// Like [`World::store_labelled`], by a user who describes the file as another object than it is.
    pub fn store_described(
        &mut self,
        at: Slot,
        name: &str,
        (label, length): (&[u8], u64),
        described: ObjectInfo,
    ) -> u64 {
        let (_, text) = self.file_of(label, length);
        self.begin(at, name, move |keeper, name| async move {
            Outcome::Stored(keeper.store(&name, described, text).await)
        })
    }

    /// Lets a user of a peer store a directory of the files that these labels determine, each of this length.
    ///
    /// # Panics
    /// When stores are not real: the ring reads trees.
    pub fn store_tree(&mut self, at: Slot, name: &str, labels: &[&[u8]], length: u64) -> u64 {
        let files: Vec<(ObjectInfo, Option<Bytes>)> =
            labels.iter().map(|label| self.file_of(label, length)).collect();
        assert!(files.iter().all(|(_, text)| text.is_some()), "a tree has real bytes");
        let objects: Vec<ObjectInfo> = files.iter().map(|(object, _)| *object).collect();
        self.begin(at, name, move |keeper, name| async move {
            Outcome::Stored(keeper.store_tree(&name, files, tree_of(&objects)).await)
        })
    }

    /// The content id of the file of this length that a label determines.
    pub fn content_of(&self, label: &[u8], length: u64) -> ContentId {
        self.object_of(label, length).content
    }

    /// The description of the file of this length that a label determines.
    pub fn object_of(&self, label: &[u8], length: u64) -> ObjectInfo {
        self.file_of(label, length).0
    }

    fn file_of(&self, label: &[u8], length: u64) -> (ObjectInfo, Option<Bytes>) {
        let real_stores = self.files.as_ref().is_some_and(|files| files.settings.real_stores);
        file_of(label, length, real_stores)
    }

    /// Lets a user of a peer request a file by its name. Returns the id of the operation.
    pub fn request(&mut self, at: Slot, name: &str) -> u64 {
        self.begin(at, name, |keeper, name| async move { Outcome::Requested(keeper.request(&name).await) })
    }

    /// Lets a peer gather the bytes of files of this length, which labels determine, without keeping them.
    pub fn gather(&mut self, at: Slot, labels: &[&[u8]], length: u64) -> u64 {
        let objects: Vec<ObjectInfo> = labels.iter().map(|label| self.object_of(label, length)).collect();
        self.begin(at, "gather", move |keeper, _| async move {
            let gathered = flows::gather(&keeper, &objects).await;
            Outcome::Gathered(gathered.iter().map(Option::is_some).collect())
        })
    }

    /// Lets a user of a peer remove a name.
    pub fn remove(&mut self, at: Slot, name: &str) -> u64 {
        self.begin(at, name, |keeper, name| async move {
            let edit = RecordTarget::Tombstone.into();
            let removed = edit_name(&keeper, &name, &edit, Duration::from_secs(30)).await;
            Outcome::Removed(removed.map(|done| done.written.record).map_err(|why| format!("{why:?}")))
        })
    }

    /// Lets a user of a peer make a version of a name the current one again, which settles all siblings.
    pub fn restore(&mut self, at: Slot, name: &str, version: VersionChoice) -> u64 {
        self.begin(at, name, |keeper, name| async move {
            let restored = flows::restore(&keeper, &name, &version, Duration::from_secs(30)).await;
            Outcome::Restored(
                restored.map(|done| done.renamed.written.record).map_err(|why| format!("{why:?}")),
            )
        })
    }

    /// Lets a user of a peer bring a file to it and pin it there.
    pub fn pin(&mut self, at: Slot, name: &str) -> u64 {
        self.begin(at, name, |keeper, name| async move { Outcome::Pinned(keeper.pin(&name).await) })
    }

    /// Lets a user of a peer end the pin of a file there.
    pub fn unpin(&mut self, at: Slot, name: &str) -> u64 {
        self.begin(at, name, |keeper, name| async move { Outcome::Unpinned(keeper.unpin(&name).await) })
    }

    /// Lets a user free the copy of a file at a peer, if it is one too many.
    pub fn drop_copy(&mut self, at: Slot, name: &str) -> u64 {
        self.begin(at, name, |keeper, name| async move { Outcome::Freed(keeper.drop_copy(&name).await) })
    }

    /// Lets a user free all copies at a peer that are one too many.
    pub fn evict(&mut self, at: Slot) -> u64 {
        self.begin(at, "evict", |keeper, _| async move {
            let mut count = 0;
            let evicted = flows::evict(&keeper, true, |_, freed| count += u64::from(freed.is_ok())).await;
            Outcome::Evicted(evicted.map(|()| count))
        })
    }

    /// Lets a peer free its copy of an object, if it is one too many. Returns the id of the operation.
    pub fn free_copy(&mut self, at: Slot, content: ContentId) -> u64 {
        let name = content.to_string();
        self.begin(at, &name, move |keeper, _| async move {
            Outcome::Freed(free_copy(&keeper, content, true).await)
        })
    }

    /// Lets a peer request an object by its content id. Returns the id of the operation.
    pub fn request_content(&mut self, at: Slot, content: ContentId) -> u64 {
        let name = content.to_string();
        self.begin(at, &name, move |keeper, _| async move {
            Outcome::Requested(keeper.request_content(content, None).await)
        })
    }

    /// Asks a peer to leave. Unlike after [`World::leave_slot`] it stays if copies would be missing, and says why.
    pub fn ask_to_leave(&mut self, slot: Slot) {
        self.begin_handing_over(slot, false);
    }

    /// Begins a departure in which the peer hands everything over first.
    pub(super) fn begin_handing_over(&mut self, slot: Slot, force: bool) {
        let Some(keeper) = self.files.as_ref().and_then(|files| files.keeper(slot)).cloned() else { return };
        let id = keeper.next_id();
        self.tasks.spawn(slot, Box::pin(keeper.leave(id, force)));
        self.go_on();
    }

    fn begin<F>(&mut self, at: Slot, name: &str, what: impl FnOnce(Arc<Keeper>, FileName) -> F) -> u64
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let name = FileName::new(name).unwrap_or_else(|error| panic!("{error}"));
        let Some(files) = &mut self.files else { panic!("this world has no files") };
        let keeper = files.keeper(at).unwrap_or_else(|| panic!("no peer runs at {at}")).clone();
        let id = keeper.next_id();
        files.under_way.insert(id, (at, name.clone()));
        let doing = what(keeper.clone(), name);
        let task = async move {
            let outcome = doing.await;
            keeper.want(FilesEffect::Ended { id, outcome });
        };
        self.tasks.spawn(at, Box::pin(task));
        self.go_on();
        id
    }

    /// The operations that have ended since the last call.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        self.files.as_mut().map(|files| std::mem::take(&mut files.ended)).unwrap_or_default()
    }

    /// The number of stores and requests under way.
    pub fn files_under_way(&self) -> usize {
        self.files.as_ref().map_or(0, |files| files.under_way.len())
    }

    /// Lets time pass until all stores and requests have ended, at most `within`.
    ///
    /// # Panics
    /// When an operation does not end in time.
    pub fn finish(&mut self, within: Duration) -> Vec<Ended> {
        let ended = self.run_until(within, |world| match world.files_under_way() {
            0 => Ok(()),
            count => Err(format!("{count} stores and requests do not end")),
        });
        ended.unwrap_or_else(|why| panic!("{why}"));
        self.take_ended()
    }
}

/// Faults, and observation.
impl World {
    /// Changes the disk of a peer, whether its process runs or not.
    pub fn with_disk<T>(&mut self, slot: Slot, change: impl FnOnce(&mut Disk) -> T) -> Option<T> {
        let files = self.files.as_mut()?;
        Some(change(&mut files.home(slot).disk.lock()))
    }

    /// The number of steps with files that the processes of a peer have made: each goes from one wait (for the disk,
    /// for others or for time) to the next.
    pub fn steps_with_files(&self, slot: Slot) -> u64 {
        self.files.as_ref().and_then(|files| files.homes.get(&slot)).map_or(0, |home| home.steps)
    }

    /// Lets a process die after this many more of its steps with files, with its sent messages still on their way.
    pub fn die_after_steps(&mut self, slot: Slot, steps: u64) {
        if let Some(files) = &mut self.files {
            files.dies = Some((slot, steps));
        }
    }

    /// Makes a peer lie from now on, until its process ends.
    pub fn set_lie(&mut self, slot: Slot, lie: Lie) {
        if let Some(keeper) = self.files.as_ref().and_then(|files| files.keeper(slot)) {
            keeper.lie.set(Some(lie));
        }
    }

    /// Lets a peer say in its pongs that it has no room, or that it has, whatever its disk says; until its disk changes.
    pub fn claim_full(&mut self, slot: Slot, full: bool) {
        self.tell_node(slot, |node| node.set_full(full));
    }

    /// The number of lies that the process of a peer told.
    pub fn lies_told(&self, slot: Slot) -> u64 {
        self.files.as_ref().and_then(|files| files.keeper(slot)).map_or(0, |keeper| keeper.lies_told.get())
    }

    /// The faults of other peers that the process of a peer has seen.
    pub fn faults_seen(&self, slot: Slot) -> Vec<(Position, Fault)> {
        let keeper = self.files.as_ref().and_then(|files| files.keeper(slot));
        let seen = keeper.map(|keeper| keeper.ledger.lock().report()).unwrap_or_default();
        seen.into_iter().map(|(peer, fault, _)| (peer, fault)).collect()
    }

    /// Lets those that plan repairs know which peers come back if they are away: for a comparison with an oracle. All others
    /// are not waited for.
    pub fn let_planners_know(&mut self, returning: &BTreeSet<Slot>) {
        let places: BTreeSet<Position> =
            returning.iter().filter_map(|slot| Some(self.entry(*slot)?.position)).collect();
        let Some(files) = &mut self.files else { return };
        for keeper in files.homes.values().filter_map(|home| home.keeper.as_ref()) {
            keeper.returning.set(Some(places.clone()));
        }
        files.returning = Some(places);
    }

    /// Sets the wall clock of a peer wrong by this many milliseconds.
    pub fn set_clock_offset(&mut self, slot: Slot, ms: i64) {
        let Some(files) = &mut self.files else { return };
        let home = files.home(slot);
        home.clock_offset_ms = ms;
        if let Some(keeper) = &home.keeper {
            keeper.clock_offset_ms.set(ms);
        }
    }

    /// The acknowledged files.
    pub fn acknowledged(&self) -> &[Acknowledged] {
        self.files.as_ref().map(|files| files.acknowledged.as_slice()).unwrap_or_default()
    }

    /// The greatest acknowledged record of each name that was written.
    pub(super) fn acknowledged_names(&self) -> impl Iterator<Item = (&Position, &NameRecord)> {
        self.files.iter().flat_map(|files| &files.names)
    }

    /// The number of acknowledged files.
    pub fn files_acknowledged(&self) -> u64 {
        self.acknowledged().len() as u64
    }

    /// The number of acknowledged files without a sound copy on the disk of any living member.
    pub fn files_lost(&self) -> u64 {
        let copies = self.copies_of_all();
        let lost = |file: &&Acknowledged| !copies.contains_key(&file.content);
        self.acknowledged().iter().filter(lost).count() as u64
    }

    /// The bytes of objects that went to other peers, by cause.
    pub fn moved(&self) -> Moved {
        self.files.as_ref().map(|files| files.moved).unwrap_or_default()
    }

    /// The bytes of objects that were copied because of changes of the ring: by repair, and to peers that took over.
    pub fn repair_bytes(&self) -> u64 {
        self.moved().repaired + self.moved().taken_over
    }

    /// The number of living members with a sound copy, for each object with at least one.
    pub fn copies_of_all(&self) -> BTreeMap<ContentId, usize> {
        let mut copies = BTreeMap::new();
        for (.., disk) in self.living_disks() {
            for (content, _) in disk.lock().objects().into_iter().filter(|(_, sound)| *sound) {
                *copies.entry(content).or_default() += 1;
            }
        }
        copies
    }

    /// The number of living members that keep an object for the ring, those left out that have it only in their cache.
    pub fn replicas_of(&self, content: &ContentId) -> usize {
        self.living_disks().filter(|(.., disk)| disk.lock().keeps(content)).count()
    }

    /// The disks of the living members, by position.
    fn living_disks(&self) -> impl Iterator<Item = (Position, Slot, &Arc<Lock<Disk>>)> {
        let disk = |slot: &Slot| Some(&self.files.as_ref()?.homes.get(slot)?.disk);
        self.living().iter().filter_map(move |(position, slot)| Some((*position, *slot, disk(slot)?)))
    }
}
