//! The interface of the store, over a real folder; some tests inject failures.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tempfile::TempDir;

mod chunks;
mod discard;
mod everyday;
mod flips;
mod kept;
mod leases;
mod matrix;
mod small;
mod space;
mod twins;

use super::disk::faulty::FaultyDisk;
use super::*;
use crate::id::{ContentId, FileName, KeyRange, Position, SetDigest};
use crate::outboard::{CHUNK_BYTES, ChunkHasher, Outboard};
use crate::time::Timestamp;
use crate::wire::{Link, ObjectInfo};

const CHUNK: usize = CHUNK_BYTES as usize;

/// A store in a folder of its own.
struct Fixture {
    dir: TempDir,
    disk: FaultyDisk,
    store: Store,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::on(FaultyDisk::default())
    }

    fn on(disk: FaultyDisk) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("data"), Arc::new(disk.clone())).unwrap();
        Fixture { dir, disk, store, notices: Arc::default() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join("data").join(below)
    }

    /// Closes the store like a peer that stops, lets `between` work on the folder, and opens it again.
    fn reopen(self, between: impl FnOnce(&Path)) -> Fixture {
        // A store that is poisoned settles nothing.
        let _ = self.store.settle_journal();
        self.reopen_after_crash(between)
    }

    /// Like [`Fixture::reopen`], but the store is not closed first.
    fn reopen_after_crash(self, between: impl FnOnce(&Path)) -> Fixture {
        let Fixture { dir, disk, store, .. } = self;
        drop(store);
        between(&dir.path().join("data"));
        let store = Store::open(&dir.path().join("data"), Arc::new(disk.clone())).unwrap();
        Fixture { dir, disk, store, notices: Arc::default() }
    }

    fn put(&self, bytes: &[u8]) -> ObjectInfo {
        let mut receiver = self.store.receive(ContentId::of(bytes), bytes.len() as u64).unwrap();
        let offset = receiver.offset() as usize;
        bytes[offset..].chunks(300_000).for_each(|piece| receiver.write(piece).unwrap());
        receiver.finish(Kind::Replica).unwrap()
    }

    fn get(&self, content: &ContentId, offset: u64) -> Vec<u8> {
        let mut reader = self.store.read(content, offset).unwrap();
        let mut bytes = Vec::new();
        loop {
            match reader.read_piece().unwrap() {
                piece if piece.is_empty() => return bytes,
                piece => bytes.extend_from_slice(&piece),
            }
        }
    }

    /// The notices of the store so far.
    fn notices(&self) -> Vec<Notice> {
        self.store.on_notice({
            let notices = self.notices.clone();
            move |notice| notices.lock().unwrap().push(notice)
        });
        self.notices.lock().unwrap().clone()
    }

    fn incoming(&self) -> usize {
        fs::read_dir(self.path("incoming")).unwrap().count()
    }
}

fn sample(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn outboard_of(bytes: &[u8]) -> Outboard {
    let mut hasher = ChunkHasher::default();
    hasher.update(bytes);
    hasher.finish().1
}

fn object(content: &ContentId) -> String {
    format!("objects/{}/{content}", &content.to_string()[..2])
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn link(text: &str, clock: u64) -> Link {
    Link { name: name(text), clock: Timestamp(clock) }
}

#[test]
fn a_received_object_is_there_and_stays() {
    let fixture = Fixture::new();
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5] {
        let bytes = sample(length);
        let info = fixture.put(&bytes);
        assert_eq!(info.content, ContentId::of(&bytes));
        assert_eq!(info.outboard, outboard_of(&bytes).digest());
        assert_eq!(fixture.get(&info.content, 0), bytes);
        assert_eq!(fixture.get(&info.content, length as u64 / 2), bytes[length / 2..]);
        assert_eq!(fixture.store.outboard(&info.content).unwrap(), Some(outboard_of(&bytes)));
        let metadata = fs::metadata(fixture.path(&object(&info.content))).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o444);
        let past = fixture.store.read(&info.content, length as u64 + 1);
        assert!(matches!(past, Err(BlobError::PastEnd { .. })));
        let again = fixture.store.receive(info.content, info.length);
        assert!(matches!(again, Err(BlobError::AlreadyHere { .. })));
    }
    assert_eq!(fs::metadata(fixture.path("")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fixture.incoming(), 0);
    let totals = fixture.store.totals().unwrap();
    let fixture = fixture.reopen(|_| {});
    assert_eq!(fixture.store.totals().unwrap(), totals);
    assert_eq!(totals, (6, (CHUNK * 6 + 6) as u64));
    let ids = fixture.store.object_ids().unwrap();
    let mut paged = Vec::new();
    while let Some(entry) = fixture.store.objects_after(paged.last().copied(), 1).unwrap().pop() {
        paged.push(entry.object.content);
    }
    assert!(ids.iter().map(|(content, _)| *content).eq(paged));
}

#[test]
fn wrong_bytes_too_few_and_too_many_are_refused() {
    let fixture = Fixture::new();
    let content = ContentId::of(b"right");
    let mut receiver = fixture.store.receive(content, 5).unwrap();
    receiver.write(b"wro").unwrap();
    assert!(matches!(receiver.write(b"ng!"), Err(BlobError::Overrun { .. })));
    receiver.write(b"ng").unwrap();
    assert!(matches!(receiver.finish(Kind::Replica), Err(BlobError::Mismatch { resumed: 0, .. })));
    assert_eq!(fixture.incoming(), 0);
    let mut receiver = fixture.store.receive(content, 5).unwrap();
    receiver.write(b"rig").unwrap();
    assert!(matches!(receiver.finish(Kind::Replica), Err(BlobError::Incomplete { offset: 3, .. })));
    assert!(!fixture.store.contains(&content).unwrap());
    fixture.put(b"right");
    assert!(matches!(fixture.store.receive(content, u64::MAX), Err(BlobError::TooLong { .. })));
}

#[test]
fn one_receiver_for_an_object() {
    let fixture = Fixture::new();
    let content = ContentId::of(b"x");
    let first = fixture.store.receive(content, 1).unwrap();
    let second = fixture.store.clone().receive(content, 1);
    assert!(matches!(second, Err(BlobError::AlreadyReceiving { .. })));
    let other = fixture.store.receive(ContentId::of(b"y"), 1);
    assert!(other.is_ok());
    drop(first);
    assert!(fixture.store.receive(content, 1).is_ok());
}

#[test]
fn a_transfer_goes_on_after_a_restart() {
    let bytes = sample(3 * CHUNK + 5);
    let content = ContentId::of(&bytes);
    let fixture = Fixture::new();
    let mut receiver = fixture.store.receive(content, bytes.len() as u64).unwrap();
    receiver.write(&bytes[..2 * CHUNK + 77]).unwrap();
    drop(receiver);
    let fixture = fixture.reopen(|_| {});
    let receiver = fixture.store.receive(content, bytes.len() as u64).unwrap();
    assert_eq!(receiver.offset(), 2 * CHUNK_BYTES);
    assert_eq!(receiver.midstates(), &outboard_of(&bytes).midstates()[..2]);
    drop(receiver);
    fixture.put(&bytes);
    assert_eq!(fixture.get(&content, 0), bytes);
}

#[test]
fn a_corrupt_part_costs_the_sender_nothing() {
    let bytes = sample(3 * CHUNK + 5);
    let (content, length) = (ContentId::of(&bytes), bytes.len() as u64);
    let fixture = Fixture::new();
    let spoil = |receiver: Receiver| {
        drop(receiver);
        let path = fixture.path(&format!("incoming/{content}.part"));
        let mut part = fs::read(&path).unwrap();
        part[CHUNK + 9] ^= 1;
        fs::write(path, part).unwrap();
    };
    let mut receiver = fixture.store.receive(content, length).unwrap();
    receiver.write(&bytes[..2 * CHUNK]).unwrap();
    spoil(receiver);
    // The fault is found at the end, and the error says how many bytes were here before.
    let mut receiver = fixture.store.receive(content, length).unwrap();
    receiver.write(&bytes[2 * CHUNK..]).unwrap();
    let resumed = 2 * CHUNK_BYTES;
    let error = receiver.finish(Kind::Replica).unwrap_err();
    assert!(matches!(error, BlobError::Mismatch { resumed: r, .. } if r == resumed), "{error}");
    fixture.put(&bytes);
}

/// Goal: after any failed sync nothing is acknowledged until the store is opened again.
#[test]
fn a_failed_sync_poisons() {
    for folder in [false, true] {
        let fixture = Fixture::new();
        let kept = fixture.put(b"before");
        let faults = fixture.disk.0.clone();
        let fault = if folder { &faults.dir_syncs } else { &faults.file_syncs };
        // An object that is too long for the journal needs the sync of a folder.
        let new = if folder { sample(70_000) } else { b"new".to_vec() };
        let content = ContentId::of(&new);
        let mut receiver = fixture.store.receive(content, new.len() as u64).unwrap();
        receiver.write(&new).unwrap();
        fault.store(true, SeqCst);
        assert!(matches!(receiver.finish(Kind::Replica), Err(BlobError::Sync { .. })));
        fault.store(false, SeqCst);
        assert!(fixture.store.is_poisoned());
        let store = &fixture.store;
        let refused = [
            store.receive(ContentId::of(b"other"), 5).map(drop),
            store.link(&link("a", 1), kept.content),
            store.unlink(&name("a"), Timestamp(1)),
            store.put_record(Position::ZERO, vec![1]),
            store.update_records(&[Position::ZERO], |_, _, _| Some(vec![1].into())),
            store.remember(vec![1]),
            store.place_received(&kept.content, &name("a")).map(drop),
            store.quarantine(&kept.content, "no"),
        ];
        for result in refused {
            assert!(matches!(result, Err(BlobError::Poisoned { .. })), "{result:?}");
        }
        assert!(!store.contains(&content).unwrap());
        assert_eq!(fixture.get(&kept.content, 0), b"before");
        let fixture = fixture.reopen(|_| {});
        assert_eq!(fixture.incoming(), 0);
        if !fixture.store.contains(&content).unwrap() {
            fixture.put(&new);
        }
        assert_eq!(fixture.get(&content, 0), new);
    }
}

#[test]
fn a_full_disk_frees_its_part_and_goes_on() {
    let fixture = Fixture::new();
    // Room that other programs free meanwhile would be a reason to try again.
    fixture.disk.0.free.store(1 << 30, SeqCst);
    let bytes = sample(CHUNK + 1);
    let mut receiver = fixture.store.receive(ContentId::of(&bytes), bytes.len() as u64).unwrap();
    fixture.disk.0.room.store(CHUNK as i64 / 2, SeqCst);
    fixture.disk.0.limited.store(true, SeqCst);
    receiver.write(&bytes[..CHUNK / 2]).unwrap();
    let error = receiver.write(&bytes[CHUNK / 2..]).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert!(receiver.write(&bytes[CHUNK / 2..]).is_err());
    assert!(receiver.finish(Kind::Replica).is_err());
    assert_eq!(fixture.incoming(), 0);
    // The outboard does not fit either, after the object itself was written.
    fixture.disk.0.room.store(bytes.len() as i64, SeqCst);
    let mut receiver = fixture.store.receive(ContentId::of(&bytes), bytes.len() as u64).unwrap();
    receiver.write(&bytes).unwrap();
    assert!(receiver.finish(Kind::Replica).unwrap_err().is_disk_full());
    assert_eq!(fixture.incoming(), 0);
    // Two failed tries are enough, until there is more room.
    let again = fixture.store.receive(ContentId::of(&bytes), bytes.len() as u64).map(drop);
    assert!(matches!(again, Err(BlobError::NoRoomLately { .. })), "{again:?}");
    // A person's request is tried all the same.
    fixture.disk.0.limited.store(false, SeqCst);
    fixture.store.try_again();
    fixture.put(&bytes);
}

#[test]
fn a_lost_or_broken_index_is_built_up_again() {
    let long = sample(2 * CHUNK + 1);
    for garbage in [None, Some(vec![7; 5_000]), Some(b"short".to_vec())] {
        let fixture = Fixture::new();
        let infos = [fixture.put(b"short"), fixture.put(&long), fixture.put(&long[1..])];
        fixture.store.link(&link("a", 5), infos[0].content).unwrap();
        let broken = garbage.is_some();
        let fixture = fixture.reopen(|dir| {
            fs::remove_file(dir.join("index.redb")).unwrap();
            if let Some(garbage) = garbage {
                fs::write(dir.join("index.redb"), garbage).unwrap();
            }
            let hex = infos[1].content.to_string();
            fs::remove_file(dir.join(format!("outboards/{}/{hex}.mid", &hex[..2]))).unwrap();
            fs::write(dir.join("objects/stray"), b"").unwrap();
        });
        for info in infos {
            assert_eq!(fixture.store.info(&info.content).unwrap(), Some(info));
        }
        assert_eq!(fixture.store.outboard(&infos[1].content).unwrap(), Some(outboard_of(&long)));
        assert_eq!(fixture.store.names_of(&infos[0].content).unwrap(), [link("a", 0)]);
        assert_eq!(fixture.path("quarantine/index.redb.reason").exists(), broken);
    }
}

/// Reported: a file with a made-up hash name in objects/ was adopted, listed and called at risk.
#[test]
fn a_stranger_in_objects_is_ignored_and_told() {
    let long = sample(2 * CHUNK + 1);
    for with_outboard in [false, true] {
        let fixture = Fixture::new();
        let info = fixture.put(&long);
        let hex = info.content.to_string();
        let invented = ContentId::of(b"invented");
        let fixture = fixture.reopen(|dir| {
            fs::remove_file(dir.join("index.redb")).unwrap();
            if !with_outboard {
                fs::remove_file(dir.join(format!("outboards/{}/{hex}.mid", &hex[..2]))).unwrap();
            }
            let path = dir.join(object(&info.content));
            fs::remove_file(&path).unwrap();
            fs::write(path, [&long[1..], b"x"].concat()).unwrap();
            let path = dir.join(object(&invented));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"some bytes").unwrap();
        });
        for content in [info.content, invented] {
            assert!(!fixture.store.contains(&content).unwrap());
            assert!(fixture.path(&object(&content)).exists(), "left where it is");
            let path = fixture.path(&object(&content));
            assert!(fixture.notices().contains(&Notice::Stranger { path }));
        }
        assert!(fixture.store.object_ids().unwrap().is_empty());
        fixture.put(&long);
    }
}

#[test]
fn the_next_start_corrects_what_a_crash_left() {
    let fixture = Fixture::new();
    let info = fixture.put(b"here");
    fixture.store.link(&link("a", 1), info.content).unwrap();
    let gone = fixture.put(b"gone");
    fixture.store.link(&link("b", 1), gone.content).unwrap();
    let orphan = ContentId::of(b"orphan");
    let half = ContentId::of(b"half");
    let fixture = fixture.reopen(|dir| {
        let incoming = dir.join("incoming");
        fs::write(incoming.join("0.tmp"), b"").unwrap();
        fs::write(incoming.join(format!("{}.part", info.content)), b"he").unwrap();
        // Read-only already, not yet renamed.
        let part = incoming.join(format!("{half}.part"));
        fs::write(&part, b"half").unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o444)).unwrap();
        // Renamed, not yet in the index.
        let place = dir.join(object(&orphan));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, b"orphan").unwrap();
        fs::remove_file(dir.join(object(&gone.content))).unwrap();
        fs::remove_file(dir.join("names/a")).unwrap();
    });
    assert_eq!(fixture.incoming(), 1);
    fixture.put(b"half");
    assert_eq!(fixture.get(&orphan, 0), b"orphan");
    assert!(!fixture.store.contains(&gone.content).unwrap());
    assert_eq!(fs::read(fixture.path("names/a")).unwrap(), b"here");
    assert_eq!(fixture.store.linked(&name("b")).unwrap(), None);
    assert_eq!(fixture.store.totals().unwrap(), (3, 14));
}

#[test]
fn one_store_for_a_folder() {
    let fixture = Fixture::new();
    let second = Store::open(fixture.store.dir(), Arc::new(RealDisk));
    assert!(matches!(second, Err(BlobError::InUse { .. })));
}

#[test]
fn the_later_clock_has_the_name() {
    let fixture = Fixture::new();
    let (old, new) = (fixture.put(b"old").content, fixture.put(b"new").content);
    let shown = |fixture: &Fixture| fs::read(fixture.path("names/a b")).ok();
    fixture.store.link(&link("a b", 5), new).unwrap();
    fixture.store.link(&link("a b", 4), old).unwrap();
    assert_eq!(shown(&fixture).as_deref(), Some(&b"new"[..]));
    let target = fs::read_link(fixture.path("names/a b")).unwrap();
    assert_eq!(target, Path::new("..").join(object(&new)));
    fixture.store.link(&link("other", 1), new).unwrap();
    assert_eq!(fixture.store.names_of(&new).unwrap(), [link("a b", 5), link("other", 1)]);
    assert_eq!(fixture.store.names_of(&old).unwrap(), []);
    let fixture = fixture.reopen(|_| {});
    fixture.store.unlink(&name("a b"), Timestamp(4)).unwrap();
    assert_eq!(fixture.store.linked(&name("a b")).unwrap(), Some(new));
    fixture.store.unlink(&name("a b"), Timestamp(6)).unwrap();
    fixture.store.link(&link("a b", 5), new).unwrap();
    assert_eq!((shown(&fixture), fixture.store.linked(&name("a b")).unwrap()), (None, None));
    fixture.store.link(&link("a b", 7), old).unwrap();
    assert_eq!(shown(&fixture).as_deref(), Some(&b"old"[..]));
    let missing = fixture.store.link(&link("c", 1), ContentId::of(b"?"));
    assert!(matches!(missing, Err(BlobError::NotHere { .. })));
}

#[test]
fn odd_names_stay_in_their_folder() {
    let fixture = Fixture::new();
    let content = fixture.put(b"x").content;
    for odd in ["CON", "two\nlines", "-rf", ".hidden", "…", &"x".repeat(255)] {
        fixture.store.link(&link(odd, 1), content).unwrap();
        let path = fixture.store.place_received(&content, &name(odd)).unwrap();
        assert_eq!(path.parent(), Some(fixture.path("received").as_path()));
        assert_eq!(fs::read(fixture.path("names").join(odd)).unwrap(), b"x");
    }
}

/// Goal: on a file system without reflinks, root gets an independent copy, and other users a link to the same read-only
/// file. In both cases a second placing replaces the first and leaves no other file. Texts that people and strangers
/// give as names, good and bad.
fn any_name() -> impl Strategy<Value = String> {
    let hostile =
        prop::sample::select(vec!["..", "/", ".", "\0", "\n", "\\", "CON", " ", "-", "~", "…", "\u{202e}"]);
    prop_oneof![
        any::<String>(),
        prop::collection::vec(hostile, 0..4).prop_map(|parts| parts.concat()),
        ("[a-z./]{0,12}", 0usize..300).prop_map(|(text, more)| text + &"x".repeat(more)),
    ]
}

/// All files below a folder, and the targets of its links, without the files that change by themselves.
fn everything_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Goal: an accepted name makes one file in received/, one link in names/ and no other file. A refused name gets a
    /// reason.
    #[test]
    fn any_name_stays_in_its_folder_or_is_refused(texts in prop::collection::vec(any_name(), 1..6)) {
        let fixture = Fixture::new();
        let content = fixture.put(b"the bytes").content;
        let mut expected = everything_below(fixture.dir.path());
        for (clock, text) in texts.into_iter().enumerate() {
            let name = match FileName::new(text.clone()) {
                Ok(name) => name,
                Err(why) => {
                    prop_assert!(!why.to_string().is_empty() && !why.to_string().contains('\n'), "{}", why);
                    continue;
                }
            };
            let received = fixture.store.place_received(&content, &name).unwrap();
            fixture.store.link(&Link { name: name.clone(), clock: Timestamp(clock as u64) }, content).unwrap();
            prop_assert_eq!(&received, &fixture.path("received").join(&text));
            let link = fixture.path("names").join(&text);
            for path in [&received, &link] {
                prop_assert_eq!(fs::read(path).unwrap(), b"the bytes");
                prop_assert_eq!(path.file_name().unwrap(), &*text);
            }
            expected.extend([received, link]);
        }
        expected.sort();
        expected.dedup();
        prop_assert_eq!(everything_below(fixture.dir.path()), expected);
    }
}

#[test]
fn received_files_are_read_only_and_replaced() {
    let fixture = Fixture::new();
    let (a, b) = (fixture.put(b"a").content, fixture.put(b"b").content);
    for _ in 0..2 {
        for content in [a, a, b] {
            let path = fixture.store.place_received(&content, &name("file")).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(ContentId::of(&fs::read(&path).unwrap()), content);
            assert_eq!(metadata.permissions().mode() & 0o777, 0o444);
            let original = fs::metadata(fixture.path(&object(&content))).unwrap();
            assert_ne!(metadata.ino(), original.ino(), "the object could be changed through it");
            assert_eq!(fixture.incoming(), 0);
        }
        fixture.disk.0.no_reflinks.store(true, SeqCst);
    }
    let missing = fixture.store.place_received(&ContentId::of(b"?"), &name("file"));
    assert!(matches!(missing, Err(BlobError::NotHere { .. })));
}

#[test]
fn a_replica_stays_one_and_a_requested_object_becomes_one() {
    let fixture = Fixture::new();
    let mut receiver = fixture.store.receive(ContentId::of(b"x"), 1).unwrap();
    receiver.write(b"x").unwrap();
    let content = receiver.finish_linked(Kind::Requested, &[link("x", 3)]).unwrap().content;
    assert_eq!(fixture.store.names_of(&content).unwrap(), [link("x", 3)]);
    assert_eq!(fixture.store.kind(&content).unwrap(), Some(Kind::Requested));
    assert!(fixture.store.promote(&content).unwrap());
    assert_eq!(fixture.store.object_ids().unwrap(), [(content, Kind::Replica)]);
    assert!(!fixture.store.promote(&ContentId::of(b"?")).unwrap());
    assert_eq!(fixture.store.totals().unwrap(), (1, 1));
}

#[test]
fn scrub_finds_rot_and_mends_an_outboard() {
    let fixture = Fixture::new();
    let bytes = sample(2 * CHUNK + 5);
    let content = fixture.put(&bytes).content;
    fixture.store.link(&link("a", 1), content).unwrap();
    let hex = content.to_string();
    fs::write(fixture.path(&format!("outboards/{}/{hex}.mid", &hex[..2])), b"rot").unwrap();
    assert_eq!(fixture.store.outboard(&content).unwrap(), Some(outboard_of(&bytes)));
    assert!(fixture.store.scrub(&content).unwrap());
    let path = fixture.path(&object(&content));
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes[..CHUNK]).unwrap();
    assert!(!fixture.store.scrub(&content).unwrap());
    assert!(!fixture.store.contains(&content).unwrap() && !path.exists());
    assert!(fs::symlink_metadata(fixture.path("names/a")).is_err());
    fixture.put(&bytes);
}

#[test]
fn records_are_merged_one_at_a_time_and_stay() {
    let fixture = Fixture::new();
    let key = |number: u8| Position::of_number(number);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for round in 0..5 {
                    let grow = |_: &Position, old: Option<&[u8]>, _| {
                        Some([old.unwrap_or_default(), &[1]].concat().into())
                    };
                    // Threads take the keys in different orders.
                    let keys = [key(round % 2), key(1 - round % 2)];
                    fixture.store.update_records(&keys, grow).unwrap();
                }
            });
        }
    });
    let seen = std::cell::RefCell::new(Vec::new());
    let twice = |_: &Position, old: Option<&[u8]>, _| {
        seen.borrow_mut().push(old.map(<[u8]>::to_vec));
        Some([old.unwrap_or_default(), &[2]].concat().into())
    };
    fixture.store.update_records(&[key(3), key(3)], twice).unwrap();
    assert_eq!(seen.into_inner(), [None, Some(vec![2])], "the second change sees the first");
    assert_eq!(fixture.store.records(&[key(4), key(3)]).unwrap(), [None, Some(vec![2, 2])]);
    fixture.store.remove_record(key(3)).unwrap();
    fixture.store.update_records(&[key(0)], |_, _, _| None).unwrap();
    fixture.store.put_record(key(9), vec![9]).unwrap();
    assert_eq!(fixture.store.known().unwrap(), None, "as in a data directory of before");
    fixture.store.remember(b"members".to_vec()).unwrap();
    fixture.store.remember_known(b"names".to_vec()).unwrap();
    let fixture = fixture.reopen(|_| {});
    let expected = [(key(0), vec![1; 40]), (key(1), vec![1; 40]), (key(9), vec![9])];
    assert_eq!(fixture.store.records_after(None, 10).unwrap(), expected);
    assert_eq!(fixture.store.records_after(Some(key(0)), 1).unwrap(), expected[1..2]);
    assert_eq!(fixture.store.remembered().unwrap().as_deref(), Some(&b"members"[..]));
    assert_eq!(fixture.store.known().unwrap().as_deref(), Some(&b"names"[..]));
    fixture.store.remove_record(key(9)).unwrap();
    assert_eq!((fixture.store.record(&key(9)).unwrap(), fixture.store.record_count().unwrap()), (None, 2));
}

#[test]
fn holders_are_bounded_and_the_later_life_counts() {
    let fixture = Fixture::new();
    let content = ContentId::of(b"x");
    let holder = |number: u8, incarnation| Holder { position: Position::of_number(number), incarnation };
    (0..100).for_each(|number| fixture.store.add_holder(content, holder(number, 1)));
    assert_eq!(fixture.store.holders(&content).len(), crate::wire::limits::HOLDERS_PER_OBJECT_MAX);
    fixture.store.add_holder(content, holder(99, 3));
    fixture.store.add_holder(content, holder(99, 2));
    assert_eq!(fixture.store.holders(&content).last(), Some(&holder(99, 3)));
    (0..100).for_each(|number| fixture.store.remove_holder(&content, &Position::of_number(number)));
    assert_eq!(fixture.store.holders(&content), []);
}

#[test]
fn many_threads_receive_at_once() {
    let fixture = Fixture::new();
    let files: Vec<_> = (0..100u32).map(|i| sample(10_240 + i as usize)).collect();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (fixture, files) = (&fixture, &files);
            scope.spawn(move || {
                for file in files.iter().skip(worker).step_by(8) {
                    fixture.put(file);
                }
            });
        }
    });
    let fixture = fixture.reopen(|_| {});
    assert_eq!(fixture.store.totals().unwrap().0, 100);
    for file in &files {
        assert_eq!(fixture.get(&ContentId::of(file), 0), *file);
    }
}

#[test]
fn a_source_that_changes_is_noticed() {
    let fixture = Fixture::new();
    let path = fixture.path("source");
    let bytes = sample(CHUNK + 5);
    fs::write(&path, &bytes).unwrap();
    let mut seen = 0;
    let (info, outboard) = fixture.store.hash_file(&path, &mut |more| seen += more).unwrap();
    assert_eq!((info.content, outboard), (ContentId::of(&bytes), outboard_of(&bytes)));
    assert_eq!(seen, bytes.len() as u64);
    let source = Source::open(&path).unwrap();
    let mut reader = source.reader(CHUNK_BYTES);
    assert_eq!(reader.read_piece().unwrap(), &bytes[CHUNK..]);
    assert!(reader.read_piece().unwrap().is_empty());
    for change in [&bytes[..5], &[&bytes[..], b"more"].concat()] {
        fs::write(&path, change).unwrap();
        assert!(matches!(source.hash(&mut |_| ()), Err(BlobError::Changed { .. })));
    }
    let folder = fixture.store.hash_file(&fixture.path("objects"), &mut |_| ());
    assert!(matches!(folder, Err(BlobError::NotAFile { kind: "a directory", .. })));
}

#[test]
fn parts_that_nobody_goes_on_with_make_place() {
    let fixture = Fixture::new();
    let files: Vec<Vec<u8>> = (0..4usize).map(|i| sample(2 * CHUNK + i)).collect();
    let part_of = |file: &[u8]| fixture.path("incoming").join(format!("{}.part", ContentId::of(file)));
    for file in &files {
        let mut receiver = fixture.store.receive(ContentId::of(file), file.len() as u64).unwrap();
        receiver.write(&file[..CHUNK]).unwrap();
    }
    let day = std::time::Duration::from_secs(24 * 3_600);
    let old = fs::File::options().write(true).open(part_of(&files[0])).unwrap();
    old.set_modified(std::time::SystemTime::now() - 2 * day).unwrap();
    assert_eq!(fixture.store.expire_parts(day, 10).unwrap(), 1);
    assert!(!part_of(&files[0]).exists() && part_of(&files[1]).exists());
    // A transfer that is under way stays, however many there are.
    let busy = fixture.store.receive(ContentId::of(&files[1]), files[1].len() as u64).unwrap();
    assert_eq!(fixture.store.expire_parts(day, 0).unwrap(), 2);
    assert!(part_of(&files[1]).exists());
    drop(busy);
    assert_eq!(fixture.store.expire_parts(day, 1).unwrap(), 0);
    // A transfer that its sender gives up for good is removed at once.
    let receiver = fixture.store.receive(ContentId::of(&files[1]), files[1].len() as u64).unwrap();
    assert_eq!(receiver.offset(), CHUNK_BYTES);
    receiver.discard();
    assert!(!part_of(&files[1]).exists());
}

/// Goal: a peer sends only the hashed bytes of a user's file, even if the file's times were put back.
#[test]
fn a_source_gives_only_the_bytes_that_were_hashed() {
    use std::os::unix::fs::FileExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for length in [CHUNK / 2, CHUNK, 3 * CHUNK + 5] {
        for changed in [0, length / 2, length - 1] {
            fs::write(&path, vec![7; length]).unwrap();
            let source = Source::open(&path).unwrap();
            source.hash(&mut |_| ()).unwrap();
            let given = |offset: u64| {
                let mut reader = source.reader(offset);
                let mut bytes = 0;
                loop {
                    match reader.read_piece() {
                        Ok(piece) if piece.is_empty() => return Ok(bytes + offset),
                        Ok(piece) => bytes += piece.len() as u64,
                        Err(error) => return Err((error, bytes + offset)),
                    }
                }
            };
            for offset in [0, 5, length as u64 / CHUNK_BYTES * CHUNK_BYTES, length as u64] {
                assert_eq!(given(offset).unwrap(), length as u64, "{length} bytes from {offset}");
            }
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            file.write_all_at(&[8], changed as u64).unwrap();
            file.set_modified(modified).unwrap();
            let (error, bytes) = given(0).unwrap_err();
            assert!(matches!(error, BlobError::Changed { .. }), "{error}");
            let chunk = (changed as u64 / CHUNK_BYTES + 1) * CHUNK_BYTES;
            assert!(
                bytes < chunk.min(length as u64),
                "{length} bytes, {changed} changed: {bytes} were given"
            );
        }
    }
}

/// Goal: an object that does not fit is refused before any byte of it is taken, and the promises of others count.
#[test]
fn an_object_that_does_not_fit_is_refused_at_once() {
    let fixture = Fixture::new();
    fixture.disk.0.free.store(11 << 20, SeqCst);
    let content = |n: u8| ContentId::of(&[n]);
    let refused = |n, length| match fixture.store.receive(content(n), length).map(drop) {
        Err(BlobError::NoRoom { length: asked, free }) => {
            assert_eq!(asked, length);
            Some(free)
        }
        Ok(()) => None,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(refused(1, 20 << 20), Some(10 << 20), "a reserve is kept");
    assert!(fs::read_dir(fixture.path("incoming")).unwrap().next().is_none());
    let mut first = fixture.store.receive(content(1), 6 << 20).unwrap();
    let free = refused(2, 6 << 20).expect("the first one has the room");
    assert!(free < 4 << 20, "{free}");
    assert_eq!(refused(2, 3 << 20), None);
    first.write(&vec![0; 5 << 20]).unwrap();
    // A real file system would have fewer bytes free by now; this one reports as many as before.
    assert_eq!(refused(2, 6 << 20), None);
    drop(first);
    assert_eq!(refused(2, 9 << 20), None);
    assert!(fixture.store.room_for(5 << 20, 4 << 20).is_ok());
    assert!(fixture.store.room_for(5 << 20, 6 << 20).is_err());
}

/// Goal: an object that cannot be written although there seemed to be room is tried once more, and then left alone
/// for a while; a shorter one is taken all the same.
#[test]
fn a_write_that_failed_twice_is_not_tried_again_at_once() {
    let fixture = Fixture::new();
    let bytes = vec![1; 2 * CHUNK];
    let content = ContentId::of(&bytes);
    fixture.disk.0.free.store(1 << 30, SeqCst);
    fixture.disk.0.limited.store(true, SeqCst);
    for _ in 0..2 {
        fixture.disk.0.room.store(CHUNK as i64, SeqCst);
        let mut receiver = fixture.store.receive(content, bytes.len() as u64).unwrap();
        assert!(receiver.write(&bytes).unwrap_err().lacks_room());
    }
    fixture.disk.0.limited.store(false, SeqCst);
    let again = fixture.store.receive(content, bytes.len() as u64).map(drop);
    assert!(matches!(again, Err(BlobError::NoRoomLately { .. })), "{again:?}");
    let mut shorter = fixture.store.receive(ContentId::of(b"short"), 5).unwrap();
    shorter.write(b"short").unwrap();
    shorter.finish(Kind::Replica).unwrap();
}
