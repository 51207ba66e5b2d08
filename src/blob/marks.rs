//! The marks of a partial transfer: which of its chunks are here for certain, so that a restart does not hash them again.
//!
//! `incoming/abcdef….marks` lies beside `incoming/abcdef….part`. Its format, to the byte, with all numbers big-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `QUOITK2\n`: the format and its version |
//! | 8 | 32 | the content id of the object |
//! | 40 | 8 | the length of the object |
//! | 48 | 8 | 1 if the chunks came in any order, so that the part may have holes, else 0; and 2 more while a transfer is under way |
//! | 56 | 56 | the stamp of the part: device, inode, length, seconds and nanoseconds of mtime and of ctime |
//! | 112 | 8 | the first bytes of SHA-256 of the 56 bytes before |
//! | 120 | 64 | the twin's stamp (see [`super::twin`]) and its check, in the same form; zeros where the part has no twin |
//! | 184 | – | runs, one behind the other |
//!
//! A run says that some chunks, one behind the other, are on the disk, and between which states of SHA-256:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | the first chunk |
//! | 4 | n, the number of chunks, 1 to [`RUN_CHUNKS_MAX`] |
//! | 32 × (n+1) | the states before the first and after each chunk; after the last chunk of the object, its content id |
//! | 8 | the first bytes of SHA-256 of the run so far |
//!
//! The bytes of a chunk are synced, in the twin too, before its run is written, and the run is synced too. The stamps are
//! written after each chunk and not synced: they survive a kill of the process, but perhaps no loss of power. While the
//! part has its stamp, the runs are believed. If it has another one, somebody else may have written to it; then a run only
//! says which chunks are worth checking. A process that is killed in the middle has written a little after it noted the
//! last stamps: then the part must be the same file, with times at most [`UNDER_WAY_S`] later. The same holds for the twin,
//! which is not gone on with otherwise. The first run that is damaged ends the list.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::disk::{Access, DiskFile, Stamp};
use super::error::{BlobError, IoContext, Result};
use super::layout::Layout;
use crate::id::{ContentId, sha256};
use crate::outboard::{CHUNK_BYTES, Midstate};

/// Chunks that lie one behind the other, and the states before the first and after each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub first: u64,
    /// One more than there are chunks.
    pub states: Vec<Midstate>,
}

impl Run {
    /// Each chunk with the states before and after it.
    pub fn chunks(&self) -> impl Iterator<Item = (u64, &Midstate, &Midstate)> {
        self.states.windows(2).zip(self.first..).map(|(ends, index)| (index, &ends[0], &ends[1]))
    }
}

/// The stamps of a part and of its twin, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamps {
    pub part: Stamp,
    pub twin: Option<Stamp>,
}

/// The content of a file of marks.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub runs: Vec<Run>,
    /// Whether the chunks came in any order, so that the part may have holes.
    pub scattered: bool,
    /// Whether nobody has written to the part since.
    pub trusted: bool,
    /// Whether the marked chunks are in the twin too, and nobody has written to it since.
    pub twin_trusted: bool,
    /// Where the next run goes.
    end: u64,
}

impl Kept {
    /// The bytes of the marked chunks, as far as the part reaches.
    pub fn bytes(&self, part_length: u64) -> u64 {
        let chunks: u64 = self.runs.iter().map(|run| run.states.len() as u64 - 1).sum();
        (chunks * CHUNK_BYTES).min(part_length)
    }

    /// The midstates after the marked chunks that follow each other from the beginning on: s(1), s(2), …
    pub fn prefix(&self) -> Vec<Midstate> {
        let all: BTreeMap<u64, (&Midstate, &Midstate)> = self
            .runs
            .iter()
            .flat_map(Run::chunks)
            .map(|(index, before, after)| (index, (before, after)))
            .collect();
        let mut prefix = Vec::new();
        let mut state = Midstate::INITIAL;
        while let Some((before, after)) = all.get(&(prefix.len() as u64))
            && **before == state
        {
            state = **after;
            prefix.push(state);
        }
        prefix
    }
}

/// The marks of a transfer under way.
pub(super) struct Marks {
    content: ContentId,
    length: u64,
    scattered: bool,
    path: PathBuf,
    file: Option<Box<dyn DiskFile>>,
    /// Where the next run goes.
    end: u64,
    /// Whether the names of this file and of the part are durable.
    named: bool,
}

impl Marks {
    /// Reads the marks that are here, for a part and a twin with these stamps. Marks that cannot be read are none.
    pub fn read(layout: &Layout, content: &ContentId, length: u64, stamps: &Stamps) -> Kept {
        let bytes = layout.read_whole(&layout.marks(content), MARKS_BYTES_MAX).unwrap_or_default();
        parse(&bytes, content, length, stamps).unwrap_or_default()
    }

    /// The marks of a transfer that begins, or goes on from what was kept. Marks that are not gone on with are removed for
    /// good: after a loss of power they would speak of a part that is another one by then.
    ///
    /// # Errors
    /// The errors of the disk.
    pub fn begin(
        layout: &Layout,
        content: &ContentId,
        length: u64,
        scattered: bool,
        kept: &Kept,
    ) -> Result<Marks> {
        let path = layout.marks(content);
        let goes_on = kept.trusted && kept.scattered == scattered;
        // Marks that cannot be opened are written anew.
        let file = if goes_on { layout.disk.open(&path, Access::Update).ok() } else { None };
        if file.is_none() && layout.disk.stat(&path).is_ok() {
            layout.disk.remove(&path).during("remove", &path)?;
            layout.sync_dir(&layout.incoming())?;
        }
        let end = if file.is_some() { kept.end } else { HEADER_BYTES };
        Ok(Marks { content: *content, length, scattered, path, file, end, named: false })
    }

    /// Whether there is a file, so that runs that it has need not be written again.
    pub fn is_begun(&self) -> bool {
        self.file.is_some()
    }

    /// Creates the file without runs. It says that the part may have holes.
    pub fn create(&mut self, layout: &Layout, stamps: &Stamps) -> Result<()> {
        let file = layout.disk.create(&self.path).during("create", &self.path)?;
        file.write_all_at(&self.header(stamps), 0).during("write", &self.path)?;
        (self.file, self.end, self.named) = (Some(file), HEADER_BYTES, false);
        Ok(())
    }

    /// Notes the stamps that the files have now, and whether the transfer is `under_way`. Not synced.
    pub fn stamp(&mut self, stamps: &Stamps, under_way: bool) {
        let noted = [self.flags(under_way).to_vec(), stamps.bytes()].concat();
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(&noted, FLAGS_AT)
        {
            tracing::debug!(%error, "the stamp of a part was not noted");
        }
    }

    /// Adds runs whose chunks are synced; durable on return.
    ///
    /// # Errors
    /// The errors of the disk.
    pub fn add(&mut self, layout: &Layout, runs: &[Run], stamps: &Stamps) -> Result<()> {
        if self.file.is_none() {
            self.create(layout, stamps)?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        let bytes: Vec<u8> = runs.iter().flat_map(run_bytes).collect();
        if self.end + bytes.len() as u64 > MARKS_BYTES_MAX {
            return Ok(());
        }
        file.write_all_at(&bytes, self.end).during("write", &self.path)?;
        file.write_all_at(&stamps.bytes(), STAMPS_AT).during("write", &self.path)?;
        layout.sync_data(&**file, &self.path)?;
        self.end += bytes.len() as u64;
        if !self.named {
            // The name of the part becomes durable as well.
            layout.sync_dir(&layout.incoming())?;
            self.named = true;
        }
        Ok(())
    }

    fn header(&self, stamps: &Stamps) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.content.0);
        bytes.extend(self.length.to_be_bytes());
        bytes.extend(self.flags(true));
        bytes.extend(stamps.bytes());
        bytes
    }

    fn flags(&self, under_way: bool) -> [u8; 8] {
        let scattered = if self.scattered { SCATTERED } else { 0 };
        (scattered | if under_way { UNDER_WAY } else { 0 }).to_be_bytes()
    }
}

/// The runs of these chunks, which are in order, between the states that `state` gives.
pub(super) fn runs_of(
    chunks: impl IntoIterator<Item = u64>,
    state: impl Fn(u64) -> Option<Midstate>,
) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for index in chunks {
        let (Some(before), Some(after)) = (state(index), state(index + 1)) else { continue };
        match runs.last_mut() {
            Some(run)
                if run.first + run.states.len() as u64 == index + 1
                    && run.states.len() <= RUN_CHUNKS_MAX as usize =>
            {
                run.states.push(after);
            }
            _ => runs.push(Run { first: index, states: vec![before, after] }),
        }
    }
    runs
}

fn parse(bytes: &[u8], content: &ContentId, length: u64, stamps: &Stamps) -> Option<Kept> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES as usize)?;
    let number = |at: usize| header[at..at + 8].try_into().map(u64::from_be_bytes).ok();
    if &header[..8] != MAGIC || header[8..40] != content.0 || number(40)? != length {
        return None;
    }
    let flags = number(FLAGS_AT as usize)?;
    let (noted_part, noted_twin) =
        header[STAMPS_AT as usize..].split_at_checked(STAMP_BYTES + CHECK_BYTES)?;
    let is_trusted = |noted: &[u8], found: &Stamp| {
        noted == stamp_bytes(found) || (flags & UNDER_WAY != 0 && is_little_later(noted, found))
    };
    let mut kept = Kept {
        scattered: flags & SCATTERED != 0,
        trusted: is_trusted(noted_part, &stamps.part),
        twin_trusted: stamps.twin.is_some_and(|twin| is_trusted(noted_twin, &twin)),
        end: HEADER_BYTES,
        ..Kept::default()
    };
    while let Some((run, bytes)) = parse_run(rest) {
        kept.runs.push(run);
        kept.end += bytes as u64;
        rest = &rest[bytes..];
    }
    Some(kept)
}

/// The run at the beginning of these bytes, and its length in bytes; `None` if there is none, or it is damaged.
fn parse_run(bytes: &[u8]) -> Option<(Run, usize)> {
    let (head, _) = bytes.split_at_checked(12)?;
    let first = u64::from_be_bytes(head[..8].try_into().ok()?);
    let chunks = u32::from_be_bytes(head[8..].try_into().ok()?);
    if chunks == 0 || chunks > RUN_CHUNKS_MAX || first > u64::from(u32::MAX) {
        return None;
    }
    let length = 12 + 32 * (chunks as usize + 1);
    let (run, rest) = bytes.split_at_checked(length)?;
    let (check, _) = rest.split_at_checked(CHECK_BYTES)?;
    let states = run[12..].as_chunks::<32>().0.iter().copied().map(Midstate).collect();
    (*check == check_of(run)).then_some((Run { first, states }, length + CHECK_BYTES))
}

fn run_bytes(run: &Run) -> Vec<u8> {
    let mut bytes = run.first.to_be_bytes().to_vec();
    bytes.extend((run.states.len() as u32 - 1).to_be_bytes());
    bytes.extend(run.states.iter().flat_map(|state| state.0));
    bytes.extend(check_of(&bytes));
    bytes
}

impl Stamps {
    fn bytes(&self) -> Vec<u8> {
        let twin = self.twin.as_ref().map_or_else(|| vec![0; STAMP_BYTES + CHECK_BYTES], stamp_bytes);
        [stamp_bytes(&self.part), twin].concat()
    }
}

fn stamp_bytes(stamp: &Stamp) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        [stamp.device, stamp.inode, stamp.length].iter().flat_map(|number| number.to_be_bytes()).collect();
    let times = [stamp.modified.0, stamp.modified.1, stamp.changed.0, stamp.changed.1];
    bytes.extend(times.iter().flat_map(|number| number.to_be_bytes()));
    bytes.extend(check_of(&bytes));
    bytes
}

/// Whether a file is that of this noted stamp, as the process left it that was killed in the middle of a write.
fn is_little_later(noted: &[u8], found: &Stamp) -> bool {
    let Some((stamp, check)) = noted.split_at_checked(STAMP_BYTES) else { return false };
    let numbers: Vec<i64> = stamp.as_chunks::<8>().0.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect();
    let [device, inode, _, modified, _, changed, _] = numbers[..] else { return false };
    check == check_of(stamp)
        && (device as u64, inode as u64) == (found.device, found.inode)
        && [(modified, found.modified.0), (changed, found.changed.0)]
            .iter()
            .all(|(noted, found)| (0..=UNDER_WAY_S).contains(&found.saturating_sub(*noted)))
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    std::array::from_fn(|i| sha256(bytes)[i])
}

/// Why a store goes on without marks: they only save work.
pub(super) fn is_harmless(error: &BlobError) -> bool {
    matches!(error, BlobError::Io { .. })
}

const MAGIC: &[u8; 8] = b"QUOITK2\n";
const FLAGS_AT: u64 = 48;
const SCATTERED: u64 = 1;
const UNDER_WAY: u64 = 2;
const STAMPS_AT: u64 = 56;
const STAMP_BYTES: usize = 56;
/// How many seconds later than the noted stamp the times of a part may be that a killed process left.
const UNDER_WAY_S: i64 = 2;
const HEADER_BYTES: u64 = 184;
const CHECK_BYTES: usize = 8;
/// The most chunks of one run.
pub(super) const RUN_CHUNKS_MAX: u32 = 4_096;
/// The longest file of marks: enough for a file of 100 GiB in single chunks, and of 1 TiB in order.
const MARKS_BYTES_MAX: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn state(index: u64) -> Option<Midstate> {
        let byte = u8::try_from(index).ok()?;
        Some(if index == 0 { Midstate::INITIAL } else { Midstate([byte; 32]) })
    }

    fn stamp() -> Stamp {
        Stamp { device: 1, inode: 2, length: 3, modified: (4, 5), changed: (6, 7) }
    }

    fn file(runs: &[Run]) -> Vec<u8> {
        let marks = Marks {
            content: ContentId([9; 32]),
            length: 77 << 20,
            scattered: true,
            path: PathBuf::new(),
            file: None,
            end: 0,
            named: false,
        };
        let runs: Vec<u8> = runs.iter().flat_map(run_bytes).collect();
        [marks.header(&Stamps { part: stamp(), twin: Some(twin()) }), runs].concat()
    }

    fn twin() -> Stamp {
        Stamp { inode: 9, ..stamp() }
    }

    fn read(bytes: &[u8], part: &Stamp) -> Option<Kept> {
        parse(bytes, &ContentId([9; 32]), 77 << 20, &Stamps { part: *part, twin: Some(twin()) })
    }

    #[test]
    fn what_is_written_is_read_and_the_format_does_not_drift() {
        let runs = runs_of([0, 1, 2, 5, 6, 9], state);
        assert_eq!(
            runs.iter().map(|run| (run.first, run.states.len())).collect::<Vec<_>>(),
            [(0, 4), (5, 3), (9, 2)]
        );
        let bytes = file(&runs);
        assert_eq!(bytes[..8], *b"QUOITK2\n");
        assert_eq!((bytes[47], bytes[55], bytes[63], bytes[71], bytes[111]), (0, 3, 1, 2, 7));
        assert_eq!((bytes[127], bytes[135]), (1, 9));
        assert_eq!(bytes[184..196], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        let kept = read(&bytes, &stamp()).unwrap();
        assert!(
            kept.trusted
                && kept.twin_trusted
                && kept.scattered
                && kept.runs == runs
                && kept.end == bytes.len() as u64
        );
        assert_eq!(kept.prefix(), [1, 2, 3].map(|index| state(index).unwrap()));
        assert_eq!((kept.bytes(u64::MAX), kept.bytes(5)), (6 * CHUNK_BYTES, 5));
    }

    /// Goal: the marks of a killed process are trusted if the part is the same file, written a moment later.
    #[test]
    fn a_process_that_was_killed_wrote_a_little_later() {
        let bytes = file(&runs_of([0, 1, 5], state));
        let own = stamp();
        for (found, trusted) in [
            (Stamp { length: 4, modified: (6, 0), changed: (8, 9), ..own }, true),
            (Stamp { modified: (7, 0), ..own }, false),
            (Stamp { changed: (9, 0), ..own }, false),
            (Stamp { modified: (3, 9), ..own }, false),
            (Stamp { inode: 3, ..own }, false),
            (Stamp { device: 2, ..own }, false),
        ] {
            assert_eq!(read(&bytes, &found).unwrap().trusted, trusted, "{found:?}");
        }
    }

    /// Goal: a part with another stamp is not trusted, and damage ends the list, wherever it is.
    #[test]
    fn other_stamps_and_damage() {
        let mut bytes = file(&runs_of([0, 1, 5], state));
        // No transfer is under way.
        bytes[55] = 1;
        let own = stamp();
        for other in [
            Stamp { device: 2, ..own },
            Stamp { inode: 3, ..own },
            Stamp { length: 4, ..own },
            Stamp { modified: (4, 6), ..own },
            Stamp { changed: (6, 8), ..own },
        ] {
            assert!(!read(&bytes, &other).unwrap().trusted, "{other:?}");
        }
        let first_run = HEADER_BYTES as usize..HEADER_BYTES as usize + 12 + 96 + CHECK_BYTES;
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            match read(&bad, &own) {
                None => assert!(at < 48, "{at}"),
                Some(kept) if at < HEADER_BYTES as usize => {
                    assert!(!kept.trusted || !kept.twin_trusted || !kept.scattered || at < 56)
                }
                Some(kept) => assert_eq!(kept.runs.len(), usize::from(!first_run.contains(&at)), "{at}"),
            }
            assert!(read(&bytes[..at], &own).is_none_or(|kept| kept.runs.len() < 2), "cut at {at}");
        }
        let stamps = |twin| Stamps { part: own, twin };
        assert!(parse(&bytes, &ContentId([8; 32]), 77 << 20, &stamps(None)).is_none());
        assert!(parse(&bytes, &ContentId([9; 32]), 76 << 20, &stamps(None)).is_none());
        // The twin is trusted for itself.
        for (found, trusted) in [(None, false), (Some(twin()), true), (Some(own), false)] {
            let kept = parse(&bytes, &ContentId([9; 32]), 77 << 20, &stamps(found)).unwrap();
            assert!(kept.trusted && kept.twin_trusted == trusted, "{found:?}");
        }
    }

    #[test]
    fn a_prefix_ends_where_the_states_do_not_follow() {
        let run = |first, states: &[u64]| Run {
            first,
            states: states.iter().map(|i| state(*i).unwrap()).collect(),
        };
        let kept = |runs| Kept { runs, ..Kept::default() };
        assert_eq!(kept(vec![run(2, &[2, 3]), run(0, &[0, 1, 2])]).prefix().len(), 3);
        assert_eq!(kept(vec![run(0, &[0, 1]), run(1, &[7, 2])]).prefix().len(), 1);
        assert_eq!(kept(vec![run(0, &[7, 1])]).prefix().len(), 0);
    }
}
