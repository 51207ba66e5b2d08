//! The values that the index keeps beside objects: verifications, siblings, and records that outlive the index.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use redb::TableDefinition;

use super::*;
use crate::blob::disk::Disk as _;
use crate::time::Moment;

fn key(number: u8) -> Position {
    Position::of_number(number)
}

fn with_sibling(bytes: &[u8], of: &str) -> KeptRecord {
    KeptRecord { bytes: bytes.to_vec(), sibling: Some(name(of)) }
}

/// Scrubs an object to its end; returns the last step and the number of steps.
fn scrub(store: &Store, content: ContentId) -> (ScrubStep, usize) {
    let mut scrub = Scrub::new(store, content);
    for steps in 1.. {
        match scrub.step().unwrap() {
            ScrubStep::Read(_) => {}
            ended => return (ended, steps),
        }
    }
    unreachable!()
}

/// Goal: name records survive the loss of the index, like objects; also those that were written over, removed, and
/// written after a new base of the log.
#[test]
fn records_come_back_without_the_index() {
    let fixture = Fixture::new();
    let put = |number, bytes: &[u8]| fixture.store.put_record(key(number), bytes.to_vec()).unwrap();
    put(1, b"old");
    put(2, b"removed");
    put(3, b"kept");
    fixture.store.tidy_records().unwrap();
    put(1, b"new");
    fixture.store.remove_record(key(2)).unwrap();
    fs::write(fixture.path("peer.toml"), "").unwrap();
    let expected = [(key(1), b"new".to_vec()), (key(3), b"kept".to_vec())];
    let fixture = fixture.reopen(|dir| fs::remove_file(dir.join("index.redb")).unwrap());
    assert_eq!(fixture.store.records_after(None, 10).unwrap(), expected);
    let notices = fixture.notices();
    assert!(matches!(notices.as_slice(), [Notice::IndexRebuilt { .. }]), "{notices:?}");
    // They come back a second time, although the first index that was built anew is lost, too.
    let fixture = fixture.reopen(|dir| fs::write(dir.join("index.redb"), sample(300_000)).unwrap());
    assert_eq!(fixture.store.records_after(None, 10).unwrap(), expected);
    fixture.store.put_record(key(4), vec![4]).unwrap();
    fixture.store.tidy_records().unwrap();
    let fixture = fixture.reopen(|dir| fs::remove_file(dir.join("index.redb")).unwrap());
    assert_eq!(fixture.store.record(&key(4)).unwrap(), Some(vec![4]));
    assert_eq!(fixture.store.record_count().unwrap(), 3);
}

/// Goal: a log that has grown is made short, and stays complete while records are written meanwhile.
#[test]
fn the_log_of_records_stays_about_as_long_as_the_records() {
    let fixture = Fixture::new();
    let length = || -> u64 {
        let files = fs::read_dir(fixture.path("records")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let long = vec![7; 100_000];
    for round in 0..100_u8 {
        fixture.store.put_record(key(round % 5), long.clone()).unwrap();
        fixture.store.tidy_records().unwrap();
    }
    let whole = 5 * long.len() as u64;
    assert!((whole..3 * whole + (2 << 20)).contains(&length()), "{}", length());
    std::thread::scope(|scope| {
        let writers: Vec<_> = (10..14_u8)
            .map(|number| {
                let store = &fixture.store;
                scope.spawn(move || {
                    (0..50_u8).for_each(|round| store.put_record(key(number), vec![round; 20_000]).unwrap());
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            fixture.store.tidy_records().unwrap();
        }
    });
    fs::write(fixture.path("peer.toml"), "").unwrap();
    let fixture = fixture.reopen(|dir| fs::remove_file(dir.join("index.redb")).unwrap());
    for number in 10..14 {
        assert_eq!(fixture.store.record(&key(number)).unwrap(), Some(vec![49; 20_000]));
    }
    assert_eq!(fixture.store.record_count().unwrap(), 9);
}

/// The disk of a peer that ends now, with this loss of what was not synced.
fn cut(disk: &MemoryDisk, loss: Loss) -> MemoryDisk {
    let lost = disk.fork();
    lost.set_loss(loss);
    lost.power_on(&mut ChaCha8Rng::seed_from_u64(1))
}

fn open_on(disk: &MemoryDisk) -> Result<Store, BlobError> {
    Store::open(Path::new("/peer"), Arc::new(disk.clone()))
}

/// Goal: the log alone makes a record durable. Whatever the index lacks of it after a loss of power comes from there,
/// siblings are looked for in it, and a removed record stays away.
#[test]
fn the_newest_records_come_from_their_log() {
    let (disk, store) = on_memory();
    (0..2).for_each(|_| store.put_record(key(0), vec![0]).unwrap());
    let written = |disk: &MemoryDisk| disk.version(Path::new("/peer/index.redb"));
    let before = written(&disk);
    store.put_record(key(1), with_sibling(b"one", "a")).unwrap();
    let first = written(&disk);
    (0..9).for_each(|_| store.put_record(key(2), vec![2]).unwrap());
    assert_eq!(
        written(&disk),
        first,
        "a record costs no write of the index, but for the first one after a sync"
    );
    store.remove_record(key(2)).unwrap();
    assert_ne!(written(&disk), before, "a removal does");
    store.put_record(key(1), b"one".to_vec()).unwrap();
    store.put_record(key(3), with_sibling(b"two", "b")).unwrap();
    let expected = [(key(0), vec![0]), (key(1), b"one".to_vec()), (key(3), b"two".to_vec())];
    let mut disk = disk;
    // They come back as often as power is lost, and once they are settled.
    for _ in 0..3 {
        disk = cut(&disk, Loss::Everything);
        let store = open_on(&disk).unwrap();
        assert_eq!(store.records_after(None, 10).unwrap(), expected);
        store.look_for_siblings(|_, bytes| (bytes == b"two").then(|| name("b"))).unwrap();
        assert_eq!(store.siblings(10).unwrap(), (vec![name("b")], 1));
        store.put_record(key(3), with_sibling(b"two", "b")).unwrap();
    }
    let store = open_on(&cut(&disk, Loss::Everything)).unwrap();
    store.settle_journal().unwrap();
    store.tidy_records().unwrap();
    assert_eq!(store.records_after(None, 10).unwrap(), expected);
}

/// Goal: the reserve makes room for the records that the log has and the index lacks. Without it nobody hears that such a
/// record is not there.
#[test]
fn the_newest_records_are_not_denied_on_a_full_disk() {
    let (disk, store) = on_memory();
    store.put_record(key(1), vec![1]).unwrap();
    store.settle_journal().unwrap();
    store.put_record(key(2), vec![2]).unwrap();
    let fill = |disk: &MemoryDisk| disk.set_capacity(Some(disk.used()));
    let full = cut(&disk, Loss::Nothing);
    fill(&full);
    assert_eq!(open_on(&full).unwrap().record(&key(2)).unwrap(), Some(vec![2]));
    // Without the reserve, and with room only for what redb writes when it opens a file that was not closed.
    let full = cut(&disk, Loss::Nothing);
    full.remove(Path::new("/peer/reserve")).unwrap();
    full.set_capacity(Some(full.used() + (900 << 10)));
    let store = open_on(&full).unwrap();
    assert!(store.record(&key(2)).unwrap_err().is_disk_full());
    assert!(store.record(&key(1)).unwrap_err().is_disk_full(), "it may have a newer version");
    assert!(store.put_record(key(1), vec![3]).unwrap_err().is_disk_full());
    full.set_capacity(None);
    assert_eq!(store.record(&key(2)).unwrap(), Some(vec![2]));
    assert_eq!(store.record(&key(1)).unwrap(), Some(vec![1]));
}

#[test]
fn a_damaged_log_costs_one_record_and_says_so() {
    let fixture = Fixture::new();
    (0..5).for_each(|number| fixture.store.put_record(key(number), vec![number; 50]).unwrap());
    fs::write(fixture.path("peer.toml"), "").unwrap();
    let fixture = fixture.reopen(|dir| {
        fs::remove_file(dir.join("index.redb")).unwrap();
        let log = fs::read_dir(dir.join("records")).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&log).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&log, bytes).unwrap();
    });
    assert_eq!(fixture.store.record_count().unwrap(), 4);
    assert_eq!(fixture.store.record(&key(2)).unwrap(), None);
    let notices = fixture.notices();
    assert!(notices.iter().any(|notice| matches!(notice, Notice::LogDamaged { .. })), "{notices:?}");
}

#[test]
fn the_names_with_siblings_follow_their_records() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    assert_eq!(store.siblings(10).unwrap(), (Vec::new(), 0));
    store.put_record(key(2), with_sibling(b"two", "b")).unwrap();
    store.put_record(key(1), with_sibling(b"one", "a")).unwrap();
    store.put_record(key(3), vec![3]).unwrap();
    assert_eq!(store.siblings(10).unwrap(), (vec![name("a"), name("b")], 2));
    assert_eq!(store.siblings(1).unwrap(), (vec![name("a")], 2));
    store.put_record(key(1), b"one".to_vec()).unwrap();
    store.remove_record(key(2)).unwrap();
    assert_eq!(store.siblings(10).unwrap(), (Vec::new(), 0));
    store.put_record(key(2), with_sibling(b"two", "b")).unwrap();
    // An index that is built anew looks through the records once.
    fs::write(fixture.path("peer.toml"), "").unwrap();
    let fixture = fixture.reopen(|dir| fs::remove_file(dir.join("index.redb")).unwrap());
    assert_eq!(fixture.store.siblings(10).unwrap().1, 0);
    let of_two = |_: &Position, bytes: &[u8]| (bytes == b"two").then(|| name("b"));
    fixture.store.look_for_siblings(of_two).unwrap();
    assert_eq!(fixture.store.siblings(10).unwrap(), (vec![name("b")], 1));
    fixture.store.look_for_siblings(|_, _| panic!("it is known now")).unwrap();
}

/// A store on a disk in memory, whose clock a test sets.
fn on_memory() -> (MemoryDisk, Store) {
    let disk = MemoryDisk::default();
    set_clock(&disk, 1_000);
    let store = Store::open(Path::new("/peer"), Arc::new(disk.clone())).unwrap();
    (disk, store)
}

fn set_clock(disk: &MemoryDisk, seconds: u64) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    disk.set_time(Moment(seconds * 1_000_000), now);
}

fn put(store: &Store, bytes: &[u8]) -> ContentId {
    let content = ContentId::of(bytes);
    let mut receiver = store.receive(content, bytes.len() as u64).unwrap();
    receiver.write(bytes).unwrap();
    receiver.finish(Kind::Replica).unwrap();
    content
}

#[test]
fn the_object_that_was_verified_longest_ago_is_known_at_all_times() {
    let (disk, store) = on_memory();
    let nothing = BTreeSet::new();
    assert_eq!(store.least_lately_verified(&nothing).unwrap(), None);
    let contents: Vec<ContentId> = (0..5_u8)
        .map(|i| {
            set_clock(&disk, 1_000 + u64::from(i));
            put(&store, &[i; 10])
        })
        .collect();
    let oldest = |store: &Store, except: &BTreeSet<ContentId>| {
        store.least_lately_verified(except).unwrap().map(|aged| (aged.content, aged.verified_ms))
    };
    assert_eq!(oldest(&store, &nothing), Some((contents[0], Some(1_000_000))), "verified on its way in");
    set_clock(&disk, 2_000);
    assert_eq!(scrub(&store, contents[0]), (ScrubStep::Sound, 1));
    // The index does not have it yet.
    assert_eq!(oldest(&store, &nothing), Some((contents[1], Some(1_001_000))));
    assert_eq!(oldest(&store, &[contents[1]].into()), Some((contents[2], Some(1_002_000))));
    assert_eq!(store.latest_verified(&nothing).unwrap().unwrap().content, contents[0]);
    assert_eq!(store.verified_at(&contents[0]).unwrap(), Some(2_000_000));
    store.write_verified().unwrap();
    drop(store);
    let store = Store::open(Path::new("/peer"), Arc::new(disk.clone())).unwrap();
    assert_eq!(store.verified_at(&contents[0]).unwrap(), Some(2_000_000));
    assert_eq!(oldest(&store, &nothing), Some((contents[1], Some(1_001_000))));
    store.quarantine(&contents[1], "a test").unwrap();
    assert_eq!(store.verified_at(&contents[1]).unwrap(), None);
    assert_eq!(oldest(&store, &nothing), Some((contents[2], Some(1_002_000))));
}

/// Goal: verifications of many objects cost one commit.
#[test]
fn verifications_are_written_in_batches() {
    let (disk, store) = on_memory();
    let contents: Vec<ContentId> = (0..10_u8).map(|i| put(&store, &[i; 10])).collect();
    set_clock(&disk, 5_000);
    let length = |disk: &MemoryDisk| disk.version(Path::new("/peer/index.redb"));
    let before = length(&disk);
    contents.iter().for_each(|content| assert_eq!(scrub(&store, *content).0, ScrubStep::Sound));
    store.tidy_verified().unwrap();
    assert_eq!(length(&disk), before, "nothing is written");
    set_clock(&disk, 5_600);
    store.tidy_verified().unwrap();
    assert_ne!(length(&disk), before);
    for content in contents {
        assert_eq!(store.verified_at(&content).unwrap(), Some(5_000_000));
    }
}

#[test]
fn a_scrub_goes_chunk_by_chunk_and_finds_every_kind_of_damage() {
    let fixture = Fixture::new();
    for length in [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let info = fixture.put(&sample(length));
        let chunks = length.div_ceil(CHUNK).max(1);
        assert_eq!(scrub(&fixture.store, info.content), (ScrubStep::Sound, chunks), "{length} bytes");
    }
    type Harm = fn(&mut Vec<u8>);
    let harms: [Harm; 4] = [
        |bytes| bytes[CHUNK + 7] ^= 1,
        |bytes| bytes.truncate(CHUNK),
        |bytes| bytes.push(0),
        |bytes| bytes.clear(),
    ];
    for harm in harms {
        let bytes = sample(2 * CHUNK);
        let info = fixture.put(&bytes);
        let path = fixture.path(&object(&info.content));
        let mut harmed = bytes.clone();
        harm(&mut harmed);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, &harmed).unwrap();
        let (step, _) = scrub(&fixture.store, info.content);
        assert_eq!(step, ScrubStep::Quarantined(info, Kind::Replica));
        assert!(!path.exists() && fixture.path(&format!("quarantine/{}.reason", info.content)).exists());
        assert_eq!(scrub(&fixture.store, info.content), (ScrubStep::Gone, 1));
    }
}

/// Goal: a data directory of the program before this one opens: its tables, its values without versions, and no log of
/// records. All of it is there, and the new tables come to agree with it.
#[test]
fn a_data_directory_of_an_earlier_program_opens() {
    const OBJECTS: TableDefinition<'_, &[u8; 32], (u64, &[u8; 32], u8)> = TableDefinition::new("objects");
    const NAMES: TableDefinition<'_, &str, (u64, Option<&[u8; 32]>)> = TableDefinition::new("names");
    const NAMES_OF: TableDefinition<'_, (&[u8; 32], &str), u64> = TableDefinition::new("names of objects");
    const RECORDS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("records");
    const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
    const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
    let bytes = b"an object of before";
    let content = ContentId::of(bytes);
    let fixture = Fixture::new();
    fixture.put(bytes);
    let fixture = fixture.reopen(|dir| {
        fs::remove_dir_all(dir.join("records")).unwrap();
        fs::remove_file(dir.join("index.redb")).unwrap();
        let database = redb::Database::create(dir.join("index.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let outboard = outboard_of(bytes).digest();
        let row = (bytes.len() as u64, &outboard.0, 0);
        transaction.open_table(OBJECTS).unwrap().insert(&content.0, row).unwrap();
        transaction.open_table(NAMES).unwrap().insert("a", (7, Some(&content.0))).unwrap();
        transaction.open_table(NAMES_OF).unwrap().insert((&content.0, "a"), 7).unwrap();
        transaction.open_table(RECORDS).unwrap().insert(&key(4).0, &[0, 0][..]).unwrap();
        transaction.open_table(VALUES).unwrap().insert("remembered members", &[0][..]).unwrap();
        let mut numbers = transaction.open_table(NUMBERS).unwrap();
        for (number, value) in [("format", 1), ("built", 1), ("bytes", bytes.len() as u64)] {
            numbers.insert(number, value).unwrap();
        }
        drop(numbers);
        transaction.commit().unwrap();
    });
    let store = &fixture.store;
    assert_eq!(fixture.get(&content, 0), bytes);
    assert_eq!(store.linked(&name("a")).unwrap(), Some(content));
    assert_eq!(store.record(&key(4)).unwrap(), Some(vec![0, 0]));
    assert_eq!(store.remembered().unwrap(), Some(vec![0]));
    let oldest = store.least_lately_verified(&BTreeSet::new()).unwrap().unwrap();
    assert_eq!((oldest.content, oldest.verified_ms), (content, None), "nobody knows when");
    store.look_for_siblings(|_, _| Some(name("a"))).unwrap();
    assert_eq!(store.siblings(10).unwrap(), (vec![name("a")], 1));
    store.tidy_records().unwrap();
    fs::write(fixture.path("peer.toml"), "").unwrap();
    let fixture = fixture.reopen(|dir| fs::remove_file(dir.join("index.redb")).unwrap());
    assert_eq!(fixture.store.record(&key(4)).unwrap(), Some(vec![0, 0]), "the log has what was before it");
}
