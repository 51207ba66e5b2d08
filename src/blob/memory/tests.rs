//! Tests of the disk in memory: what a loss of power may leave, and what it may not.

use rand::SeedableRng as _;

use super::loss::SECTOR_BYTES;
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
        torn.iter()
            .all(|(writes, names)| writes.chars().is_sorted_by_key(|at| "ytn".find(at))
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
