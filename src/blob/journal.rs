//! The journal: small objects whose files are not durable yet.
//!
//! A file of its own costs two syncs and a commit. The journal costs one sync for all objects that arrive at the same
//! time: an object is appended to DATA_DIR/journal/N.journal with its names, the append is synced, and only then its
//! file gets its place in objects/, without a sync. From there on it is an object like any other: in its place, in the
//! index, readable. Every so often the store syncs the files of a segment, commits the index and removes the segment
//! (see [`Store::settle_journal`](super::Store::settle_journal)). Until then the next opening puts each object of the
//! journal into its place again, before anything is served.
//!
//! Threads that append at the same time share one write and one sync: the first of them that finds no other writing
//! writes for all that wait. A thread that is alone waits for nobody.
//!
//! An entry carries a check of its head, and its bytes are proved by its content id. Reading a segment skips an entry
//! whose bytes are wrong, and ends at a head that is wrong: nothing behind it can be found safely, since the bytes of an
//! object may look like a head.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::disk::DiskFile;
use super::error::{IoContext, Result};
use super::layout::Layout;
use super::tables::Kind;
use crate::id::{ContentId, FileName};
use crate::time::Timestamp;
use crate::wire::{Link, limits};

/// An object with its bytes, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub content: ContentId,
    pub kind: Kind,
    /// When it came, in milliseconds since the Unix epoch.
    pub came_ms: u64,
    pub links: Vec<Link>,
    pub bytes: Bytes,
}

/// The journal, as the writers of a store use it.
pub(super) struct Journal {
    layout: Arc<Layout>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of the next segment.
    next: u64,
    /// The segment that is appended to.
    open: Option<Open>,
    /// The group that is being gathered, and its outcome once it is written.
    gathering: Group,
    outcome: Arc<Outcome>,
    writing: bool,
    /// The segments that are on the disk, by number.
    segments: BTreeMap<u64, Segment>,
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    fn entries(&self) -> usize {
        self.segments.values().map(|segment| segment.contents.len()).sum()
    }
}

struct Open {
    number: u64,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    length: u64,
}

#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    contents: Vec<ContentId>,
    appenders: usize,
}

/// One file of the journal.
#[derive(Default)]
struct Segment {
    contents: Vec<ContentId>,
    bytes: u64,
    /// The appenders that have not put their objects into their places yet.
    under_way: usize,
}

/// The outcome of a group: the segment that has it, or the reason why none has.
type Outcome = OnceLock<Result<u64>>;

/// Entries that are durable in the journal. Until it is dropped, their segment stays.
pub(super) struct Journaled<'a> {
    journal: &'a Journal,
    number: u64,
}

impl Drop for Journaled<'_> {
    fn drop(&mut self) {
        let mut state = self.journal.lock();
        if let Some(segment) = state.segments.get_mut(&self.number) {
            segment.under_way -= 1;
        }
        self.journal.changed.notify_all();
    }
}

/// Segments that are not appended to any more, and the objects in them.
#[derive(Debug, Default)]
pub(super) struct Closed {
    numbers: Vec<u64>,
    pub contents: Vec<ContentId>,
}

impl Closed {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

impl Journal {
    /// Looks at the segments that are there. They are read by [`Journal::replay`].
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn open(layout: Arc<Layout>) -> Result<Journal> {
        let numbers = numbers(&layout)?;
        let next = numbers.last().map_or(1, |last| last + 1);
        let state = State { next, ..State::default() };
        Ok(Journal { layout, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Whether an object of this length goes through the journal.
    pub fn takes(length: u64) -> bool {
        length <= JOURNALED_BYTES_MAX
    }

    /// Appends entries; durable on return. Their objects may take their places from then on.
    ///
    /// # Errors
    /// [`BlobError::Sync`], which poisons the store; [`BlobError::Io`], also for a full disk; then none is appended.
    pub fn append<'e>(&self, entries: impl IntoIterator<Item = &'e Entry>) -> Result<Journaled<'_>> {
        let is_large = |state: &mut State| state.gathering.bytes.len() as u64 >= GROUP_BYTES_MAX;
        let state = self.changed.wait_while(self.lock(), is_large);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            entry.encode(&mut state.gathering.bytes);
            state.gathering.contents.push(entry.content);
        }
        state.gathering.appenders += 1;
        let group = state.outcome.clone();
        loop {
            if let Some(outcome) = group.get() {
                return match outcome {
                    Ok(number) => Ok(Journaled { journal: self, number: *number }),
                    Err(error) => Err(error.again()),
                };
            }
            state = match state.writing {
                false => self.write_for_all(state),
                true => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn write_for_all<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.writing = true;
        let group = std::mem::take(&mut state.gathering);
        let outcome = std::mem::take(&mut state.outcome);
        let open = state.open.take().filter(|open| open.length < SEGMENT_BYTES_MAX);
        let next = state.next;
        drop(state);
        // Others may gather the next group while this one is written.
        self.changed.notify_all();
        // The outcome is set however the write ends, so that no thread waits for ever.
        let turn = Turn { journal: self, outcome };
        let written = self.write(open, next, &group.bytes);
        let mut state = self.lock();
        let outcome = match written {
            Ok(open) => {
                let number = open.number;
                let segment = state.segments.entry(number).or_default();
                segment.contents.extend(group.contents);
                segment.bytes = open.length;
                segment.under_way += group.appenders;
                state.next = state.next.max(number + 1);
                state.open = Some(open);
                Ok(number)
            }
            Err(error) => {
                // The next entries go to a new segment, so that nothing of these comes before them.
                state.next += 1;
                Err(error)
            }
        };
        let _ = turn.outcome.set(outcome);
        drop(state);
        drop(turn);
        self.lock()
    }

    fn write(&self, open: Option<Open>, next: u64, bytes: &[u8]) -> Result<Open> {
        self.layout.check()?;
        let is_new = open.is_none();
        let mut open = match open {
            Some(open) => open,
            None => {
                let path = path(&self.layout, next);
                let file = self.layout.disk.create(&path).during("create", &path)?;
                file.write_all_at(HEADER, 0).during("write", &path)?;
                Open { number: next, path, file, length: HEADER.len() as u64 }
            }
        };
        if let Err(error) = open.file.write_all_at(bytes, open.length) {
            // Entries that were not acknowledged are cut off, as far as that works.
            let _ = open.file.set_length(open.length);
            return Err(error).during("write", &open.path);
        }
        self.layout.sync_data(&*open.file, &open.path)?;
        open.length += bytes.len() as u64;
        if is_new {
            self.layout.sync_dir(&self.layout.journal())?;
        }
        Ok(open)
    }

    /// Whether so much is in the journal that it is better settled now.
    pub fn is_long(&self) -> bool {
        let state = self.lock();
        state.bytes() >= SEGMENT_BYTES_MAX || state.entries() >= ENTRIES_MAX
    }

    /// Whether a segment is on the disk.
    pub fn is_empty(&self) -> bool {
        self.lock().segments.is_empty()
    }

    /// Whether so much is in the journal that nothing more is to be appended before it is settled.
    pub fn is_full(&self) -> bool {
        let state = self.lock();
        state.bytes() >= JOURNAL_BYTES_MAX || state.entries() >= JOURNAL_ENTRIES_MAX
    }

    /// Whether a segment on the disk has this object.
    pub fn has(&self, content: &ContentId) -> bool {
        self.lock().segments.values().any(|segment| segment.contents.contains(content))
    }

    /// Ends the segment that is appended to, and waits until the objects of all ended ones are in their places.
    pub fn close(&self) -> Closed {
        let mut state = self.lock();
        state = self.changed.wait_while(state, |state| state.writing).unwrap_or_else(PoisonError::into_inner);
        state.open = None;
        let numbers: Vec<u64> = state.segments.keys().copied().collect();
        let is_busy = |state: &mut State| {
            numbers.iter().any(|number| state.segments.get(number).is_some_and(|s| s.under_way > 0))
        };
        let state = self.changed.wait_while(state, is_busy).unwrap_or_else(PoisonError::into_inner);
        let closed = numbers.iter().filter_map(|number| state.segments.get(number));
        let contents = closed.flat_map(|segment| segment.contents.iter().copied()).collect();
        Closed { numbers, contents }
    }

    /// Removes ended segments, durably: their objects are durable by themselves.
    ///
    /// # Errors
    /// The errors of the disk; the segments may be replayed once more.
    pub fn cut(&self, closed: &Closed) -> Result<()> {
        for number in &closed.numbers {
            let path = path(&self.layout, *number);
            match self.layout.disk.remove(&path) {
                // An earlier try removed it, and failed at the next one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.during("remove", &path)?,
            }
        }
        self.layout.sync_dir(&self.layout.journal())?;
        let mut state = self.lock();
        closed.numbers.iter().for_each(|number| drop(state.segments.remove(number)));
        Ok(())
    }

    /// Gives the sound entries that an earlier life of the store left, oldest first, and lists their segments as ended.
    /// Returns the number of bytes that belong to no sound entry.
    ///
    /// # Errors
    /// The errors of `each` and of the disk.
    pub fn replay(&self, mut each: impl FnMut(Entry) -> Result<()>) -> Result<u64> {
        let mut skipped = 0;
        for number in numbers(&self.layout)? {
            if self.lock().segments.contains_key(&number) {
                continue;
            }
            let mut segment = Segment::default();
            skipped += self.read(number, &mut |entry| {
                segment.bytes += entry.bytes.len() as u64;
                segment.contents.push(entry.content);
                each(entry)
            })?;
            // Its objects are all in their places now.
            self.lock().segments.insert(number, segment);
        }
        Ok(skipped)
    }

    fn read(&self, number: u64, each: &mut impl FnMut(Entry) -> Result<()>) -> Result<u64> {
        let path = path(&self.layout, number);
        read_entries(&self.layout.read_whole(&path, SEGMENT_READ_MAX)?, each)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write; given back however the write ends.
struct Turn<'a> {
    journal: &'a Journal,
    outcome: Arc<Outcome>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Still open only after a panic.
        let broken_off = io::Error::other("the write was broken off");
        let _ = self.outcome.set(Err(broken_off).during("write", &self.journal.layout.journal()));
        self.journal.lock().writing = false;
        self.journal.changed.notify_all();
    }
}

impl Entry {
    fn encode(&self, into: &mut Vec<u8>) {
        let begin = into.len();
        let links = &self.links[..self.links.len().min(limits::LINKS_PER_OBJECT_MAX)];
        into.extend_from_slice(MAGIC);
        into.push(if self.kind == Kind::Requested { REQUESTED } else { REPLICA });
        into.push(links.len() as u8);
        into.extend_from_slice(&(self.bytes.len() as u32).to_be_bytes());
        into.extend_from_slice(&self.came_ms.to_be_bytes());
        into.extend_from_slice(&self.content.0);
        for link in links {
            let name = link.name.as_str().as_bytes();
            into.push(name.len() as u8);
            into.extend_from_slice(&link.clock.0.to_be_bytes());
            into.extend_from_slice(name);
        }
        let check = check_of(&into[begin..]);
        into.extend_from_slice(&check);
        into.extend_from_slice(&self.bytes);
    }
}

/// The check of a head: the first bytes of SHA-256 of all of it.
fn check_of(head: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = ContentId::of(head).0;
    std::array::from_fn(|i| digest[i])
}

/// Gives the sound entries of a segment. Returns the number of bytes that belong to none.
fn read_entries(segment: &[u8], each: &mut impl FnMut(Entry) -> Result<()>) -> Result<u64> {
    let Some(mut rest) = segment.strip_prefix(HEADER) else { return Ok(segment.len() as u64) };
    let mut skipped = 0;
    while !rest.is_empty() {
        let whole = rest;
        let Some((entry, length)) = decode_head(&mut rest) else {
            return Ok(skipped + whole.len() as u64);
        };
        let Some((bytes, behind)) = rest.split_at_checked(length) else {
            return Ok(skipped + whole.len() as u64);
        };
        rest = behind;
        if ContentId::of(bytes) == entry.content {
            each(Entry { bytes: Bytes::copy_from_slice(bytes), ..entry })?;
        } else {
            skipped += (whole.len() - rest.len()) as u64;
        }
    }
    Ok(skipped)
}

/// Reads a head, and leaves the bytes behind it; `None` if it is cut off or damaged. The length is that of the object.
fn decode_head(rest: &mut &[u8]) -> Option<(Entry, usize)> {
    let whole = *rest;
    if take(rest, MAGIC.len())? != MAGIC {
        return None;
    }
    let [kind, count] = *array(rest)?;
    let length = u32::from_be_bytes(*array(rest)?);
    let came_ms = u64::from_be_bytes(*array(rest)?);
    let content = ContentId(*array(rest)?);
    let kind = match kind {
        REPLICA => Kind::Replica,
        REQUESTED => Kind::Requested,
        _ => return None,
    };
    if u64::from(length) > JOURNALED_BYTES_MAX || usize::from(count) > limits::LINKS_PER_OBJECT_MAX {
        return None;
    }
    let mut links = Vec::new();
    for _ in 0..count {
        let [bytes] = *array(rest)?;
        let clock = Timestamp(u64::from_be_bytes(*array(rest)?));
        let name = std::str::from_utf8(take(rest, bytes.into())?).ok()?;
        links.push(Link { name: FileName::new(name).ok()?, clock });
    }
    let head = &whole[..whole.len() - rest.len()];
    let check: &[u8; CHECK_BYTES] = array(rest)?;
    (*check == check_of(head))
        .then(|| (Entry { content, kind, came_ms, links, bytes: Bytes::new() }, length as usize))
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(bytes)?;
    *rest = behind;
    Some(taken)
}

fn array<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    take(rest, N)?.try_into().ok()
}

/// The numbers of the segments that are there, in their order.
fn numbers(layout: &Layout) -> Result<Vec<u64>> {
    let folder = layout.journal();
    let names = layout.disk.read_dir(&folder).during("list", &folder)?;
    let number = |name: &std::ffi::OsString| name.to_str()?.strip_suffix(SEGMENT_SUFFIX)?.parse().ok();
    let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(layout: &Layout, number: u64) -> PathBuf {
    layout.journal().join(format!("{number:010}{SEGMENT_SUFFIX}"))
}

/// The longest object that goes through the journal: one of a batch. A longer one is written once, and synced by itself.
pub(super) const JOURNALED_BYTES_MAX: u64 = limits::BATCHED_OBJECT_BYTES_MAX;

/// The first bytes of a segment: its format and version.
const HEADER: &[u8; 8] = b"QUOITJ1\n";
const MAGIC: &[u8; 4] = b"QOBJ";
const REPLICA: u8 = 0;
const REQUESTED: u8 = 1;
const CHECK_BYTES: usize = 8;
const SEGMENT_SUFFIX: &str = ".journal";
/// The bytes, and the entries, from which on a segment is settled.
const SEGMENT_BYTES_MAX: u64 = 16 << 20;
const ENTRIES_MAX: usize = 8_192;
/// The bytes of all segments from which on appenders wait until they are settled.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
const JOURNAL_ENTRIES_MAX: usize = 4 * ENTRIES_MAX;
/// The bytes of a group from which on further appenders wait for the next one.
const GROUP_BYTES_MAX: u64 = 4 << 20;
/// The longest segment that is read: it is ended once it is long, after one more group, whose last batch is within
/// twice a batch's bound.
const SEGMENT_READ_MAX: u64 = SEGMENT_BYTES_MAX + 2 * GROUP_BYTES_MAX;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::memory::MemoryDisk;
    use super::*;

    fn entry(of: u8, length: usize, names: &[&str]) -> Entry {
        let bytes = vec![of; length];
        let links =
            names.iter().map(|name| Link { name: FileName::new(*name).unwrap(), clock: Timestamp(7) });
        let kind = if of.is_multiple_of(2) { Kind::Replica } else { Kind::Requested };
        Entry {
            content: ContentId::of(&bytes),
            kind,
            came_ms: 5,
            links: links.collect(),
            bytes: bytes.into(),
        }
    }

    fn segment(entries: &[Entry]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        entries.iter().for_each(|entry| entry.encode(&mut bytes));
        bytes
    }

    fn read(segment: &[u8]) -> (Vec<Entry>, u64) {
        let mut entries = Vec::new();
        let skipped = read_entries(segment, &mut |entry| {
            entries.push(entry);
            Ok(())
        });
        (entries, skipped.unwrap())
    }

    /// Goal: wherever a segment is cut, and whatever byte of it is changed, each entry that comes back is one that was
    /// written, and the entries before the damage all come back.
    #[test]
    fn a_damaged_segment_gives_nothing_that_was_not_written() {
        let entries = [entry(1, 30, &["a"]), entry(2, 0, &[]), entry(3, 40, &["b", "c"])];
        let whole = segment(&entries);
        assert_eq!(read(&whole), (entries.to_vec(), 0));
        let ends: Vec<usize> = (0..=entries.len()).map(|n| segment(&entries[..n]).len()).collect();
        for cut in HEADER.len()..whole.len() {
            let sound = ends.iter().filter(|end| **end <= cut).count() - 1;
            let expected = (entries[..sound].to_vec(), (cut - ends[sound]) as u64);
            assert_eq!(read(&whole[..cut]), expected, "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let (found, skipped) = read(&damaged);
            assert!(skipped > 0, "byte {at}");
            let sound = ends.iter().filter(|end| **end <= at).count().saturating_sub(1);
            assert!(found.starts_with(&entries[..sound]), "byte {at}");
            assert!(found.iter().all(|entry| entries.contains(entry)), "byte {at}");
        }
    }

    /// An object whose bytes look like an entry is not read as one after the head before it was damaged.
    #[test]
    fn an_entry_inside_an_object_is_not_believed() {
        let bytes = segment(&[entry(2, 9, &["forged"])]);
        let outer = Entry { content: ContentId::of(&bytes), bytes: bytes.into(), ..entry(4, 0, &["outer"]) };
        let mut damaged = segment(&[outer]);
        damaged[HEADER.len()] ^= 1;
        assert_eq!(read(&damaged).0, []);
    }

    #[test]
    fn a_segment_goes_only_after_its_objects_are_in_their_places() {
        let disk = MemoryDisk::default();
        let layout = Arc::new(Layout::create(Path::new("/data"), Arc::new(disk.clone())).unwrap());
        let journal = Journal::open(layout.clone()).unwrap();
        let entries = [entry(1, 30, &["a"]), entry(2, 10, &[])];
        drop(journal.append(&entries[..1]).unwrap());
        drop(journal.append(&entries[1..]).unwrap());
        assert!(journal.has(&entries[1].content));
        // The next life reads what this one has not settled.
        let next = Journal::open(layout).unwrap();
        let mut found = Vec::new();
        let skipped = next.replay(|entry| {
            found.push(entry);
            Ok(())
        });
        assert_eq!((found.as_slice(), skipped.unwrap()), (entries.as_slice(), 0));
        let closed = next.close();
        next.cut(&closed).unwrap();
        assert_eq!(disk.files_below(Path::new("/data/journal")), []);
        let closed = journal.close();
        assert_eq!(closed.contents.len(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut segment = HEADER.to_vec();
            segment.extend(&bytes);
            prop_assert_eq!(read(&segment).0, Vec::new());
        }
    }
}
