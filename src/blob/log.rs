//! The log of name records: a second copy of what the index keeps of names, for the day on which the index is lost.
//!
//! DATA_DIR/records/ holds files with rising numbers: `N.base` has all records of one moment, `N.log` those that were
//! written after it, in their order. The writer of the index appends each record here, and syncs it, before the index
//! commits it. A commit of records alone is not synced, since this log makes them durable: the index remembers the place
//! in the log up to which it has the records, and its next opening takes those behind that place from here. An index that
//! is built anew takes all records from the last base and the logs after it. Of two entries of one key the later one
//! counts.
//!
//! Each entry carries a check of its own. An entry that fails it is skipped, and reading goes on at the next one that
//! is sound: a torn end or a flipped bit costs one record and not those behind it.
//!
//! A new base takes the place of the older files once the logs are larger than the base. Meanwhile records are written
//! on into the next log, so no writer waits for it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Access, DiskFile, read_full_at};
use super::error::{IoContext, Result};
use super::layout::Layout;
use crate::id::{ContentId, Position};

/// The log, as the writer of the index uses it.
pub(super) struct RecordLog {
    layout: Arc<Layout>,
    state: Mutex<State>,
}

struct State {
    /// The number of the next file.
    next: u64,
    /// The file that is appended to; `None` until something is written.
    open: Option<Open>,
    sizes: Sizes,
}

struct Open {
    number: u64,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    length: u64,
}

/// The sizes of the files, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    base: Option<u64>,
    logs: u64,
    log_files: usize,
}

/// An entry: a key, and what is kept of its name; `None` after it was removed.
pub(super) type Entry = (Position, Option<Vec<u8>>);

/// A place between two entries of the log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogPlace {
    /// The number of the file.
    pub file: u64,
    /// The number of bytes before the place.
    pub offset: u64,
}

impl RecordLog {
    /// Looks at the files that are there. Removes what an unfinished base left behind.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn open(layout: Arc<Layout>) -> Result<RecordLog> {
        let folder = layout.records();
        for name in layout.disk.read_dir(&folder).during("list", &folder)? {
            if name.to_string_lossy().ends_with(UNFINISHED_SUFFIX) {
                layout.remove_quietly(&folder.join(name));
            }
        }
        let files = LogFile::all(&layout)?;
        let next = files.last().map_or(1, |last| last.number + 1);
        let state = State { next, open: None, sizes: Sizes::of(&layout, &files) };
        Ok(RecordLog { layout, state: Mutex::new(state) })
    }

    /// Appends entries; durable on return. Returns the place behind them; `None` if there are none.
    ///
    /// # Errors
    /// [`BlobError::Sync`](super::BlobError::Sync), which poisons the store; [`BlobError::Io`](super::BlobError::Io),
    /// also for a full disk.
    pub fn append<'a>(
        &self,
        entries: impl Iterator<Item = (&'a Position, Option<&'a [u8]>)>,
    ) -> Result<Option<LogPlace>> {
        let mut bytes = Vec::new();
        entries.for_each(|(key, value)| encode(&mut bytes, key, value));
        if bytes.is_empty() {
            return Ok(None);
        }
        self.write(&mut self.lock(), &bytes).map(Some)
    }

    fn write(&self, state: &mut State, bytes: &[u8]) -> Result<LogPlace> {
        let (mut open, is_new) = match state.open.take() {
            Some(open) => (open, false),
            None => {
                let number = state.next;
                let path = LogFile { number, is_base: false }.path(&self.layout);
                let file = self.layout.disk.create(&path).during("create", &path)?;
                state.next += 1;
                state.sizes.log_files += 1;
                (Open { number, path, file, length: 0 }, true)
            }
        };
        if let Err(error) = open.file.write_all_at(bytes, open.length) {
            // Entries that were not acknowledged are cut off, as far as that works. The next ones go to a new file, so
            // that none of these can be taken for one of them.
            let _ = open.file.set_length(open.length);
            return Err(error).during("write", &open.path);
        }
        self.layout.sync_data(&*open.file, &open.path)?;
        if is_new {
            self.layout.sync_dir(&self.layout.records())?;
        }
        open.length += bytes.len() as u64;
        state.sizes.logs += bytes.len() as u64;
        let place = LogPlace { file: open.number, offset: open.length };
        state.open = Some(open);
        Ok(place)
    }

    /// Whether a new base would make the log much shorter, or no base exists yet.
    pub fn wants_base(&self) -> bool {
        let Sizes { base, logs, log_files } = self.lock().sizes;
        base.is_none_or(|base| logs > base + LOGS_BYTES_MIN || log_files > LOG_FILES_MAX)
    }

    /// The bytes that a new base takes, at most.
    pub fn base_bytes_max(&self) -> u64 {
        let sizes = self.lock().sizes;
        sizes.base.unwrap_or(0) + sizes.logs
    }

    /// Ends the present log, so that a base which is made now lies before all that is appended from now on. Returns
    /// the number of that base. The caller makes sure that nothing is being appended.
    pub fn begin_base(&self) -> u64 {
        let mut state = self.lock();
        state.open = None;
        state.next += 1;
        state.next - 1
    }

    /// Writes a base with all records that `fill` gives. It makes all files with smaller numbers needless.
    ///
    /// # Errors
    /// The errors of `fill` and of the disk; there is no such base then.
    pub fn write_base(&self, number: u64, fill: impl FnOnce(&mut BaseWriter) -> Result<()>) -> Result<()> {
        let path = LogFile { number, is_base: true }.path(&self.layout);
        let unfinished = path.with_added_extension(&UNFINISHED_SUFFIX[1..]);
        let written = self.write_unfinished(&unfinished, fill).and_then(|()| {
            self.layout.disk.rename(&unfinished, &path).during("write", &path)?;
            self.layout.sync_dir(&self.layout.records())
        });
        if written.is_err() {
            self.layout.remove_quietly(&unfinished);
        }
        written
    }

    /// Removes the files before a base, once an index that was opened now would take nothing from them.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn remove_before(&self, number: u64) -> Result<()> {
        for file in LogFile::all(&self.layout)?.into_iter().filter(|file| file.number < number) {
            self.layout.remove_quietly(&file.path(&self.layout));
        }
        let files = LogFile::all(&self.layout)?;
        let mut state = self.lock();
        state.sizes = Sizes::of(&self.layout, &files);
        Ok(())
    }

    fn write_unfinished(&self, path: &Path, fill: impl FnOnce(&mut BaseWriter) -> Result<()>) -> Result<()> {
        let file = self.layout.disk.create(path).during("create", path)?;
        let mut writer = BaseWriter { file, path: path.to_owned(), ready: Vec::new(), length: 0 };
        fill(&mut writer)?;
        writer.flush()?;
        self.layout.sync_file(&*writer.file, path)
    }

    /// Gives all entries in their order, from the last base on.
    ///
    /// # Errors
    /// The errors of `each` and of the disk.
    pub fn replay(&self, each: impl FnMut(Entry) -> Result<()>) -> Result<Replayed> {
        let files = LogFile::all(&self.layout)?;
        let from = files.iter().rposition(|file| file.is_base).unwrap_or(0);
        self.read_from(&files[from..], LogPlace::default(), each)
    }

    /// Gives the entries behind a place in their order.
    ///
    /// # Errors
    /// The errors of `each` and of the disk.
    pub fn replay_behind(&self, place: LogPlace, each: impl FnMut(Entry) -> Result<()>) -> Result<Replayed> {
        let mut logs = LogFile::all(&self.layout)?;
        logs.retain(|file| !file.is_base && file.number >= place.file);
        self.read_from(&logs, place, each)
    }

    fn read_from(
        &self,
        files: &[LogFile],
        begin: LogPlace,
        mut each: impl FnMut(Entry) -> Result<()>,
    ) -> Result<Replayed> {
        let mut replayed = Replayed { end: begin, skipped: 0 };
        for file in files {
            let path = file.path(&self.layout);
            let opened = self.layout.disk.open(&path, Access::Read).during("read", &path)?;
            let length = opened.stamp().during("read", &path)?.length;
            let offset = if file.number == begin.file { begin.offset } else { 0 };
            replayed.skipped += read_entries(&*opened, &path, offset..length, &mut each)?;
            replayed.end = replayed.end.max(LogPlace { file: file.number, offset: length });
        }
        Ok(replayed)
    }

    /// Reads all that [`RecordLog::replay`] would read and that is durable. Returns the number of bytes that belong to no
    /// sound entry. The caller makes sure that no base is written meanwhile.
    ///
    /// # Errors
    /// The errors of the disk.
    pub fn unsound_bytes(&self) -> Result<u64> {
        let (written, files) = {
            let state = self.lock();
            let written = state.open.as_ref().map(|open| (open.path.clone(), open.length));
            (written, LogFile::all(&self.layout)?)
        };
        let from = files.iter().rposition(|file| file.is_base).unwrap_or(0);
        let mut unsound = 0;
        for path in files[from..].iter().map(|file| file.path(&self.layout)) {
            let opened = self.layout.disk.open(&path, Access::Read).during("read", &path)?;
            // An entry may just be written behind the others.
            let end = match &written {
                Some((open, length)) if *open == path => *length,
                _ => opened.stamp().during("read", &path)?.length,
            };
            unsound += read_entries(&*opened, &path, 0..end, &mut |_| Ok(()))?;
        }
        Ok(unsound)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcome of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replayed {
    /// The place behind all entries.
    pub end: LogPlace,
    /// The number of bytes that belong to no sound entry.
    pub skipped: u64,
}

/// A base that is being written.
pub(super) struct BaseWriter {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    ready: Vec<u8>,
    length: u64,
}

impl BaseWriter {
    /// Adds a record.
    ///
    /// # Errors
    /// The errors of the disk.
    pub fn add(&mut self, key: &Position, value: &[u8]) -> Result<()> {
        encode(&mut self.ready, key, Some(value));
        if self.ready.len() < PIECE_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.ready, self.length).during("write", &self.path)?;
        self.length += self.ready.len() as u64;
        self.ready.clear();
        Ok(())
    }
}

/// A file of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LogFile {
    number: u64,
    is_base: bool,
}

impl LogFile {
    /// The files that are there, in the order of their numbers.
    fn all(layout: &Layout) -> Result<Vec<LogFile>> {
        let folder = layout.records();
        let names = layout.disk.read_dir(&folder).during("list", &folder)?;
        let mut files: Vec<LogFile> =
            names.iter().filter_map(|name| LogFile::named(name.to_str()?)).collect();
        files.sort_unstable();
        Ok(files)
    }

    fn named(name: &str) -> Option<LogFile> {
        let (number, kind) = name.split_once('.')?;
        let is_base = match kind {
            "base" => true,
            "log" => false,
            _ => return None,
        };
        Some(LogFile { number: number.parse().ok()?, is_base })
    }

    fn path(self, layout: &Layout) -> PathBuf {
        let kind = if self.is_base { "base" } else { "log" };
        layout.records().join(format!("{:010}.{kind}", self.number))
    }
}

impl Sizes {
    fn of(layout: &Layout, files: &[LogFile]) -> Sizes {
        let length = |file: &LogFile| layout.disk.stat(&file.path(layout)).map_or(0, |stat| stat.length());
        let base = files.iter().rposition(|file| file.is_base);
        let logs = &files[base.map_or(0, |at| at + 1)..];
        Sizes {
            base: base.map(|at| length(&files[at])),
            logs: logs.iter().map(length).sum(),
            log_files: logs.len(),
        }
    }
}

fn encode(bytes: &mut Vec<u8>, key: &Position, value: Option<&[u8]>) {
    let begin = bytes.len();
    bytes.extend_from_slice(MAGIC);
    bytes.push(if value.is_some() { KEPT } else { REMOVED });
    bytes.extend_from_slice(&key.0);
    let value = value.unwrap_or_default();
    bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
    bytes.extend_from_slice(value);
    let check = check_of(&bytes[begin..]);
    bytes.extend_from_slice(&check);
}

/// The check of an entry: the first bytes of SHA-256 of all that comes before it.
fn check_of(entry: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = ContentId::of(entry).0;
    std::array::from_fn(|i| digest[i])
}

/// The entry at the beginning of some bytes.
enum Found {
    /// A sound entry of this many bytes.
    Sound(Entry, usize),
    /// The beginning of what may be an entry of this many bytes.
    Part(usize),
    /// No entry.
    Nothing,
}

fn decode(bytes: &[u8]) -> Found {
    let Some(head) = bytes.get(..HEAD_BYTES) else { return Found::Part(HEAD_BYTES + CHECK_BYTES) };
    let kind = head[MAGIC.len()];
    let mut length = [0; 4];
    length.copy_from_slice(&head[HEAD_BYTES - 4..]);
    let length = u32::from_be_bytes(length) as usize;
    if !head.starts_with(MAGIC) || kind > REMOVED || length > VALUE_BYTES_MAX {
        return Found::Nothing;
    }
    let whole = HEAD_BYTES + CHECK_BYTES + length;
    let Some(entry) = bytes.get(..whole) else { return Found::Part(whole) };
    let (entry, check) = entry.split_at(HEAD_BYTES + length);
    if check != check_of(entry) {
        return Found::Nothing;
    }
    let mut key = [0; 32];
    key.copy_from_slice(&head[MAGIC.len() + 1..HEAD_BYTES - 4]);
    Found::Sound((Position(key), (kind == KEPT).then(|| entry[HEAD_BYTES..].to_vec())), whole)
}

/// Gives the sound entries between two offsets of a file in their order. Returns the number of bytes that belong to none.
fn read_entries(
    file: &dyn DiskFile,
    path: &Path,
    Range { start: mut offset, end }: Range<u64>,
    each: &mut impl FnMut(Entry) -> Result<()>,
) -> Result<u64> {
    let (mut buffer, mut at, mut skipped) = (Vec::new(), 0, 0);
    loop {
        let wanted = match decode(&buffer[at..]) {
            Found::Sound(entry, length) => {
                each(entry)?;
                at += length;
                continue;
            }
            Found::Part(wanted) => Some(wanted),
            Found::Nothing => None,
        };
        if let Some(wanted) = wanted {
            let piece = (wanted.max(PIECE_BYTES) as u64).min(end.saturating_sub(offset)) as usize;
            buffer.drain(..at);
            at = 0;
            let had = buffer.len();
            buffer.resize(had + piece, 0);
            let read = read_full_at(file, &mut buffer[had..], offset).during("read", path)?;
            buffer.truncate(had + read);
            offset += read as u64;
            if read > 0 {
                continue;
            }
            if buffer.is_empty() {
                return Ok(skipped);
            }
        }
        // No entry begins here: the search goes on at the next byte that may begin one.
        let next = buffer[at + 1..].windows(MAGIC.len()).position(|bytes| bytes == MAGIC);
        let step = next.map_or(buffer.len() - at, |next| next + 1);
        // A magic number may lie across the end of the buffer.
        let step = if next.is_none() && wanted.is_none() {
            step.saturating_sub(MAGIC.len() - 1).max(1)
        } else {
            step
        };
        skipped += step as u64;
        at += step;
    }
}

const MAGIC: &[u8; 4] = b"QREC";
const KEPT: u8 = 0;
const REMOVED: u8 = 1;
/// Magic number, kind, key and length.
const HEAD_BYTES: usize = 4 + 1 + 32 + 4;
const CHECK_BYTES: usize = 8;
/// The longest value that is read back. Values of names are far shorter: they fit a frame of the wire.
const VALUE_BYTES_MAX: usize = 16 << 20;
/// The bytes that are read or written at a time.
const PIECE_BYTES: usize = 1 << 20;
/// How much larger than the base the logs may become, and how many they may be.
const LOGS_BYTES_MIN: u64 = 1 << 20;
const LOG_FILES_MAX: usize = 64;
const UNFINISHED_SUFFIX: &str = ".tmp";

#[cfg(test)]
mod tests {
    use super::super::error::BlobError;
    use super::super::memory::MemoryDisk;
    use super::*;

    fn layout() -> (MemoryDisk, Arc<Layout>) {
        let disk = MemoryDisk::default();
        let layout = Layout::create(Path::new("/data"), Arc::new(disk.clone())).unwrap();
        (disk, Arc::new(layout))
    }

    fn key(number: u8) -> Position {
        Position::of_number(number)
    }

    fn append(log: &RecordLog, entries: &[(u8, Option<&[u8]>)]) {
        let entries: Vec<_> = entries.iter().map(|(number, value)| (key(*number), *value)).collect();
        log.append(entries.iter().map(|(key, value)| (key, *value))).unwrap();
    }

    fn all(layout: &Arc<Layout>) -> (Vec<Entry>, u64) {
        let mut entries = Vec::new();
        let log = RecordLog::open(layout.clone()).unwrap();
        let skipped = log.replay(|entry| {
            entries.push(entry);
            Ok(())
        });
        (entries, skipped.unwrap().skipped)
    }

    #[test]
    fn entries_come_back_in_their_order_over_several_lives() {
        let (_, layout) = layout();
        assert_eq!(all(&layout), (Vec::new(), 0));
        append(&RecordLog::open(layout.clone()).unwrap(), &[(1, Some(b"one")), (2, Some(b""))]);
        let long = vec![7; 3 << 20];
        append(&RecordLog::open(layout.clone()).unwrap(), &[(1, Some(&long)), (2, None)]);
        let expected = vec![
            (key(1), Some(b"one".to_vec())),
            (key(2), Some(Vec::new())),
            (key(1), Some(long)),
            (key(2), None),
        ];
        assert_eq!(all(&layout), (expected, 0));
    }

    #[test]
    fn a_base_takes_the_place_of_what_was_before_it() {
        let (_, layout) = layout();
        let log = RecordLog::open(layout.clone()).unwrap();
        append(&log, &[(1, Some(b"old")), (1, Some(b"new"))]);
        assert!(log.wants_base(), "no base exists yet");
        let number = log.begin_base();
        append(&log, &[(2, Some(b"meanwhile"))]);
        log.write_base(number, |base| base.add(&key(1), b"new")).unwrap();
        log.remove_before(number).unwrap();
        assert!(!log.wants_base());
        append(&log, &[(1, None)]);
        let expected =
            vec![(key(1), Some(b"new".to_vec())), (key(2), Some(b"meanwhile".to_vec())), (key(1), None)];
        assert_eq!(all(&layout), (expected.clone(), 0));
        // A base that fails leaves everything as it was.
        let number = log.begin_base();
        let full = || BlobError::NoRoom { length: 1, free: 0 };
        assert!(log.write_base(number, |_| Err(full())).is_err());
        assert_eq!(all(&layout), (expected, 0));
        append(&log, &[(3, Some(&vec![1; 2 << 20]))]);
        assert!(log.wants_base(), "the logs are larger than the base");
    }

    /// Goal: whatever byte of a log is changed, or wherever it is cut, at most one entry is lost and none is invented.
    #[test]
    fn a_damaged_entry_costs_only_itself() {
        let mut bytes = Vec::new();
        let entries: Vec<Entry> = (0..5).map(|i| (key(i), Some(vec![i; 40]))).collect();
        entries.iter().for_each(|(key, value)| encode(&mut bytes, key, value.as_deref()));
        let read = |bytes: &[u8]| {
            let (_, layout) = layout();
            let path = LogFile { number: 1, is_base: false }.path(&layout);
            layout.disk.create(&path).unwrap().write_all_at(bytes, 0).unwrap();
            all(&layout)
        };
        let whole = bytes.len() / entries.len();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let (found, skipped) = read(&damaged);
            let mut expected = entries.clone();
            expected.remove(at / whole);
            assert_eq!((found, skipped), (expected, whole as u64), "byte {at}");
            let (found, skipped) = read(&bytes[..at]);
            assert_eq!((found.len(), skipped), (at / whole, (at % whole) as u64), "cut at {at}");
        }
    }
}
