//! Everyday life with the files of a peer: bytes that change, disks that are full, folders that
//! cannot do what is asked, an index that is cut or of another version.

use std::os::unix::fs::FileExt;

use super::*;

/// Flips one bit of a file, whatever its mode.
fn flip(path: &Path, at: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// The object of the only notice of a quarantine.
fn quarantined(fixture: &Fixture) -> Option<ObjectInfo> {
    fixture.notices().into_iter().find_map(|notice| match notice {
        Notice::Quarantined { object, .. } => Some(object),
        _ => None,
    })
}

/// Reported: one byte of an object changed while the peer ran. The peer gave the bad bytes out, and said "already here"
/// to a store.
#[test]
fn changed_bytes_are_not_here() {
    let bytes = sample(2 * CHUNK + 5);
    type Question = fn(&Store, &ContentId) -> bool;
    let questions: [Question; 4] = [
        |store, content| store.contains(content).unwrap(),
        |store, content| store.check(content).unwrap(),
        |store, content| store.read(content, 0).is_ok(),
        |store, content| store.receive(*content, 2 * CHUNK as u64 + 5).is_err(),
    ];
    for question in questions {
        let fixture = Fixture::new();
        let info = fixture.put(&bytes);
        fixture.store.link(&link("a", 1), info.content).unwrap();
        assert!(question(&fixture.store, &info.content));
        flip(&fixture.path(&object(&info.content)), CHUNK as u64 + 7);
        assert!(!question(&fixture.store, &info.content));
        assert_eq!(quarantined(&fixture), Some(info));
        assert!(fixture.path(&format!("quarantine/{}", info.content)).exists());
        assert!(fs::symlink_metadata(fixture.path("names/a")).is_err());
        assert!(fixture.store.object_ids().unwrap().is_empty());
        fixture.put(&bytes);
        assert!(fixture.store.check(&info.content).unwrap());
    }
}

/// Goal: a read of a file that changed while the peer did not run gives the chunks before the wrong one, and no byte of
/// the wrong one.
#[test]
fn a_wrong_chunk_is_found_before_it_is_given() {
    let bytes = sample(3 * CHUNK);
    for offset in [0, CHUNK, CHUNK + 9, 2 * CHUNK] {
        let fixture = Fixture::new();
        let info = fixture.put(&bytes);
        let fixture = fixture.reopen(|dir| flip(&dir.join(object(&info.content)), 2 * CHUNK as u64 - 1));
        assert!(fixture.store.contains(&info.content).unwrap(), "it has its length, and was not read");
        let mut reader = fixture.store.read(&info.content, offset as u64).unwrap();
        let mut given = offset;
        let error = loop {
            match reader.read_piece() {
                Ok(piece) if piece.is_empty() => break None,
                Ok(piece) => {
                    assert_eq!(piece, bytes[given..given + piece.len()]);
                    given += piece.len();
                }
                Err(error) => break Some(error),
            }
        };
        match offset {
            offset if offset >= 2 * CHUNK => assert!(error.is_none() && given == bytes.len()),
            offset => {
                assert!(matches!(error, Some(BlobError::Rotten { .. })), "{error:?}");
                assert_eq!(given, offset.max(if offset < CHUNK { CHUNK } else { offset }));
                assert_eq!(quarantined(&fixture), Some(info));
                assert!(!fixture.store.contains(&info.content).unwrap());
            }
        }
    }
}

/// Reported: `: > object` while the peer was stopped; the status was clean, and 0 bytes were delivered.
#[test]
fn another_length_is_found_at_the_start() {
    let fixture = Fixture::new();
    let info = fixture.put(b"some bytes");
    let fixture = fixture.reopen(|dir| {
        let path = dir.join(object(&info.content));
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"").unwrap();
    });
    assert_eq!(quarantined(&fixture), Some(info));
    assert_eq!(fixture.store.totals().unwrap(), (0, 0));
    fixture.put(b"some bytes");
}

/// Goal: a copy for a person is hashed in the pass that makes it.
#[test]
fn wrong_bytes_are_not_placed_in_received() {
    let fixture = Fixture::new();
    fixture.disk.0.no_reflinks.store(true, SeqCst);
    let info = fixture.put(b"some bytes");
    let fixture = fixture.reopen(|dir| flip(&dir.join(object(&info.content)), 3));
    let placed = fixture.store.place_received(&info.content, &name("a"));
    assert!(matches!(placed, Err(BlobError::Rotten { .. })), "{placed:?}");
    assert!(!fixture.path("received/a").exists());
    assert_eq!(fixture.incoming(), 0);
    assert_eq!(quarantined(&fixture), Some(info));
}

/// Reported: received/F was made writable and edited; it was a hard link, and so the object was edited.
#[test]
fn an_edited_received_file_is_replaced_and_the_object_untouched() {
    let fixture = Fixture::new();
    let info = fixture.put(b"some bytes");
    let path = fixture.store.place_received(&info.content, &name("a")).unwrap();
    flip(&path, 0);
    assert!(fixture.store.scrub(&info.content).unwrap());
    fixture.store.place_received(&info.content, &name("a")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"some bytes");
}

/// Reported: too many open files for one moment, and the store was latched for ever.
#[test]
fn only_a_failed_sync_poisons() {
    let fixture = Fixture::new();
    let faults = fixture.disk.0.clone();
    let mut receiver = fixture.store.receive(ContentId::of(b"new"), 3).unwrap();
    receiver.write(b"new").unwrap();
    faults.dir_opens.store(true, SeqCst);
    assert!(matches!(receiver.finish(Kind::Replica), Err(BlobError::Io { .. })));
    assert!(!fixture.store.is_poisoned());
    faults.dir_opens.store(false, SeqCst);
    fixture.put(b"new");
}

/// Reported: once the disk had been full, every store, cat and request failed until a restart.
#[test]
fn a_full_disk_fails_each_write_by_itself() {
    let fixture = Fixture::new();
    let info = fixture.put(b"before");
    let faults = fixture.disk.0.clone();
    let full = |record: Vec<u8>| {
        let error = fixture.store.put_record(Position::ZERO, record).unwrap_err();
        assert!(error.is_disk_full(), "{error}");
        assert!(!fixture.store.is_poisoned());
        // Reading needs no room, even right after a failed write.
        assert_eq!(fixture.get(&info.content, 0), b"before");
        assert_eq!(fixture.store.record(&Position::ZERO).unwrap(), None);
    };
    // Less room than a commit needs: the store does not ask redb.
    faults.free.store(1, SeqCst);
    full(vec![1]);
    assert!(fixture.store.full_with().is_some());
    faults.free.store(0, SeqCst);
    // Enough to begin a commit, but not for all of it: redb refuses everything until it is opened again.
    faults.room.store(2 << 20, SeqCst);
    faults.limited.store(true, SeqCst);
    full(sample(4 << 20));
    faults.limited.store(false, SeqCst);
    fixture.store.put_record(Position::ZERO, vec![1]).unwrap();
    assert_eq!(fixture.store.record(&Position::ZERO).unwrap(), Some(vec![1]));
    fixture.put(b"after");
    assert!(fixture.store.keep_reserve() && fixture.path("reserve").exists());
}

/// Reported: "cannot write peer.toml.tmp" at the start on a full disk.
#[test]
fn the_reserve_makes_room_for_who_a_peer_is() {
    let fixture = Fixture::new();
    let faults = fixture.disk.0.clone();
    let file = PeerFile::parse(
        format!(
            "position = \"{}\"\nring = \"r\"\nlisten = \"127.0.0.1:1\"\ncertificate = \"1\"\nincarnation = 1\n",
            Position::of_number(1)
        )
        .as_bytes(),
    )
    .unwrap();
    let save = || file.save(fixture.store.dir(), &fixture.disk);
    faults.room.store(0, SeqCst);
    faults.limited.store(true, SeqCst);
    save().unwrap();
    assert!(!fixture.path("reserve").exists() && fixture.path("peer.toml").exists());
    faults.room.store(0, SeqCst);
    save().unwrap();
    assert!(fixture.path("peer.toml.spare").exists() && fixture.path("peer.toml").exists());
    assert!(!fixture.store.keep_reserve() || fixture.path("reserve").exists());
}

/// Goal: each thread that waits for a failing commit gets the error, and none waits for ever.
#[test]
fn a_failed_commit_is_told_to_all_that_wait() {
    let fixture = Fixture::new();
    let faults = fixture.disk.0.clone();
    faults.free.store(1, SeqCst);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16u8)
            .map(|i| {
                let store = fixture.store.clone();
                scope.spawn(move || store.put_record(Position::of_number(i), vec![i]))
            })
            .collect();
        for thread in threads {
            assert!(thread.join().unwrap().unwrap_err().is_disk_full());
        }
    });
    assert!(!fixture.store.is_poisoned());
}

/// Reported: an index that was cut short, emptied, overwritten or removed ended the identity of its peer.
#[test]
fn an_index_that_is_not_one_is_set_aside() {
    type Harm = fn(&Path);
    let harms: [(Harm, bool); 5] = [
        (|path| fs::File::options().write(true).open(path).unwrap().set_len(10_000).unwrap(), true),
        (|path| fs::File::options().write(true).open(path).unwrap().set_len(100).unwrap(), true),
        (|path| fs::write(path, b"").unwrap(), false),
        (|path| fs::write(path, sample(300_000)).unwrap(), true),
        (|path| fs::remove_file(path).unwrap(), false),
    ];
    for (i, (harm, kept)) in harms.into_iter().enumerate() {
        let fixture = Fixture::new();
        let info = fixture.put(b"some bytes");
        fixture.store.put_record(Position::ZERO, vec![1]).unwrap();
        fs::write(fixture.path("peer.toml"), "").unwrap();
        let fixture = fixture.reopen(|dir| harm(&dir.join("index.redb")));
        assert_eq!(fixture.store.info(&info.content).unwrap(), Some(info), "{i}");
        let notices = fixture.notices();
        let rebuilt = notices.iter().filter(|n| matches!(n, Notice::IndexRebuilt { .. })).count();
        assert_eq!((rebuilt, notices.len()), (1, 1), "{i}: {notices:?}");
        assert_eq!(fixture.path("quarantine/index.redb").exists(), kept, "{i}");
    }
}

/// Goal: whatever comes and goes, by whatever way, the digest of a range is that of what is in it, also after the index
/// was lost and built up again; and a listing of the range by pages has just that.
#[test]
fn a_digest_is_that_of_what_is_here() {
    let mut fixture = Fixture::new();
    let everything = |fixture: &Fixture, range: &KeyRange, max| {
        let (mut left, mut sum, mut first) = (Some(*range), SetDigest::default(), None);
        while let Some(range) = left {
            let page = fixture.store.held(&range, max).unwrap();
            assert!(page.objects.len() <= max && page.records.len() <= max);
            let keys =
                page.objects.iter().map(ContentId::key).chain(page.records.iter().map(|(key, _)| *key));
            first = keys.chain(first).min();
            sum = sum + page.objects.iter().map(SetDigest::of_object).sum();
            sum = sum + page.records.iter().map(|(key, bytes)| SetDigest::of_records(key, bytes)).sum();
            left = page.rest;
        }
        assert_eq!(fixture.store.first_held(&range.first).unwrap().filter(|key| range.contains(key)), first);
        sum
    };
    let check = |fixture: &Fixture, count: u64| {
        let mut ranges = vec![KeyRange::WHOLE];
        for _ in 0..4 {
            let digests = ranges.iter().map(|range| fixture.store.digest(range).unwrap());
            let digests: Vec<SetDigest> = digests.collect();
            assert_eq!(digests.iter().map(|digest| digest.count).sum::<u64>(), count);
            for (range, digest) in ranges.iter().zip(digests).step_by(ranges.len().div_ceil(64)) {
                assert_eq!(digest, everything(fixture, range, 3));
            }
            ranges = ranges.iter().flat_map(KeyRange::parts).collect();
        }
    };
    let contents: Vec<ContentId> = (0u32..20).map(|i| fixture.put(&i.to_be_bytes()).content).collect();
    (0..20).for_each(|i| fixture.store.put_record(ContentId::of(&[i]).key(), vec![i]).unwrap());
    check(&fixture, 40);
    (0..20).for_each(|i| fixture.store.put_record(ContentId::of(&[i]).key(), vec![i / 2]).unwrap());
    (0..5).for_each(|i| fixture.store.remove_record(ContentId::of(&[i]).key()).unwrap());
    fixture.store.remove_record(Position::ZERO).unwrap();
    contents[..5].iter().for_each(|content| fixture.store.quarantine(content, "it is rotten").unwrap());
    check(&fixture, 30);
    assert_eq!(
        fixture.store.digest(&KeyRange { first: Position::MAX, last: Position::ZERO }).unwrap().count,
        0
    );
    fixture = fixture.reopen(|_| {});
    check(&fixture, 30);
    fixture = fixture.reopen(|dir| fs::remove_file(dir.join("index.redb")).unwrap());
    check(&fixture, 30);
    fixture.store.index().forget_digests();
    fixture = fixture.reopen(|_| {});
    check(&fixture, 30);
}

/// Goal: an object that is only cached is not the same as a replica, so that a comparison finds it, and it is one once it
/// is made a replica.
#[test]
fn a_cached_object_has_another_digest() {
    let fixture = Fixture::new();
    let content = ContentId::of(b"cached");
    let mut receiver = fixture.store.receive(content, 6).unwrap();
    receiver.write(b"cached").unwrap();
    receiver.finish(Kind::Requested).unwrap();
    let digest = || fixture.store.digest(&KeyRange::WHOLE).unwrap();
    assert_eq!(digest(), SetDigest::of_object(&content).cached());
    fixture.store.promote(&content).unwrap();
    assert_eq!(digest(), SetDigest::of_object(&content));
    fixture.store.quarantine(&content, "it is rotten").unwrap();
    assert_eq!(digest(), SetDigest::default());
}

/// Found by reading the code: an index of another file format counted as damage, and would have gone to quarantine with
/// all its names.
#[test]
fn an_index_of_another_format_is_refused_and_left() {
    for version in [2, 4] {
        let fixture = Fixture::new();
        fixture.put(b"some bytes");
        let Fixture { dir, disk, store, .. } = fixture;
        drop(store);
        let path = dir.path().join("data/index.redb");
        let file = fs::File::options().write(true).open(&path).unwrap();
        for slot in [64, 192] {
            file.write_all_at(&[version], slot).unwrap();
        }
        drop(file);
        let before = fs::read(&path).unwrap();
        let refused = Store::open(&dir.path().join("data"), Arc::new(disk)).map(drop).unwrap_err();
        assert!(
            matches!(refused, BlobError::FileFormat { found, known: 3, .. } if found == version),
            "{refused}"
        );
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(dir.path().join("data/quarantine")).unwrap().count(), 0);
    }
}

/// Reported: where received/ was a file system of its own, each copy failed with "Invalid cross-device link".
#[test]
fn received_and_names_may_be_file_systems_of_their_own() {
    let fixture = Fixture::new();
    fixture.disk.0.names_apart.store(true, SeqCst);
    let info = fixture.put(b"some bytes");
    fixture.store.link(&link("a", 1), info.content).unwrap();
    for _ in 0..2 {
        let path = fixture.store.place_received(&info.content, &name("a")).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"some bytes");
    }
    assert_eq!(fs::read(fixture.path("names/a")).unwrap(), b"some bytes");
    assert_eq!(fixture.incoming(), 0);
    assert_eq!(fs::read_dir(fixture.path("received")).unwrap().count(), 1);
}

#[test]
fn objects_on_a_file_system_of_their_own_are_refused() {
    let disk = FaultyDisk::default();
    disk.0.objects_apart.store(true, SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let refused = Store::open(&dir.path().join("data"), Arc::new(disk)).map(drop).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, BlobError::Apart { folder: "objects", .. }), "{text}");
    assert!(text.contains("objects is on another file system"), "{text}");
}

/// Reported: a folder in the place of a link, and a file system without links, made durable copies "missing".
#[test]
fn a_link_that_cannot_be_made_costs_no_copy() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("names/foo")).unwrap();
    let mut receiver = fixture.store.receive(ContentId::of(b"x"), 1).unwrap();
    receiver.write(b"x").unwrap();
    let info = receiver.finish_linked(Kind::Replica, &[link("foo", 1)]).unwrap();
    fixture.disk.0.no_symlinks.store(true, SeqCst);
    fixture.store.link(&link("bar", 1), info.content).unwrap();
    assert!(fixture.store.check(&info.content).unwrap());
    assert_eq!(fixture.store.linked(&name("bar")).unwrap(), Some(info.content));
    assert_eq!(fixture.incoming(), 0, "no temporary link is left");
    let notices = fixture.notices();
    assert!(matches!(notices.as_slice(), [Notice::NoLink { .. }]), "once for all: {notices:?}");
    // A folder in the place of a file for a person: the file is named by its content id.
    fs::create_dir(fixture.path("received/foo")).unwrap();
    let path = fixture.store.place_received(&info.content, &name("foo")).unwrap();
    assert_eq!(path, fixture.path(&format!("received/{}", info.content)));
}

/// Reported: on a disk that folds case, names/A and received/A held the bytes of `a`.
#[test]
fn names_that_a_disk_takes_for_one_stay_two() {
    let disk = FaultyDisk::default();
    disk.0.folds.store(true, SeqCst);
    let fixture = Fixture::on(disk);
    let [upper, lower] = [("A", b"upper"), ("a", b"lower")].map(|(text, bytes)| {
        let content = fixture.put(bytes).content;
        fixture.store.link(&link(text, 1), content).unwrap();
        fixture.store.place_received(&content, &name(text)).unwrap()
    });
    assert_eq!((fs::read(upper).unwrap(), fs::read(lower).unwrap()), (b"upper".to_vec(), b"lower".to_vec()));
    assert_eq!(fs::read(fixture.path("names/%41")).unwrap(), b"upper");
    assert_eq!(fs::read(fixture.path("names/a")).unwrap(), b"lower");
    // The names survive the loss of the index.
    let fixture = fixture.reopen(|dir| fs::remove_file(dir.join("index.redb")).unwrap());
    assert_eq!(fixture.store.linked(&name("A")).unwrap(), Some(ContentId::of(b"upper")));
    assert_eq!(fixture.store.linked(&name("a")).unwrap(), Some(ContentId::of(b"lower")));
}

/// Found by reading the code: a failed sync in received/, which may be another file system, poisoned the store.
#[test]
fn a_failed_sync_of_a_received_file_fails_that_copy_only() {
    let fixture = Fixture::new();
    let content = fixture.put(b"some bytes").content;
    let faults = fixture.disk.0.clone();
    for fault in [&faults.file_syncs, &faults.dir_syncs] {
        fault.store(true, SeqCst);
        let placed = fixture.store.place_received(&content, &name("a"));
        assert!(matches!(placed, Err(BlobError::Io { doing: "sync", .. })), "{placed:?}");
        fault.store(false, SeqCst);
        assert!(!fixture.store.is_poisoned());
    }
    faults.dir_syncs_unsupported.store(true, SeqCst);
    let path = fixture.store.place_received(&content, &name("a")).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"some bytes");
    faults.dir_syncs_unsupported.store(false, SeqCst);
    fixture.put(b"others");
}

/// Puts the right bytes in the place of an object's file, as a transfer does.
fn replace(path: &Path, bytes: &[u8]) {
    let temporary = path.with_added_extension("new");
    fs::write(&temporary, bytes).unwrap();
    fs::rename(&temporary, path).unwrap();
}

/// Found by reading the code: a reader that found rot in an object's earlier file moved the file to quarantine that had
/// come in its place.
#[test]
fn rot_of_an_earlier_file_does_not_move_the_present_one() {
    let bytes = sample(2 * CHUNK + 5);
    let fixture = Fixture::new();
    let info = fixture.put(&bytes);
    let path = fixture.path(&object(&info.content));
    let fixture = fixture.reopen(|dir| flip(&dir.join(object(&info.content)), CHUNK as u64 + 7));
    // A slow reader has the bad file open while a good one comes.
    let mut reader = fixture.store.read(&info.content, 0).unwrap();
    assert_eq!(reader.read_piece().unwrap(), bytes[..ObjectReader::PIECE_BYTES_MAX]);
    replace(&path, &bytes);
    while matches!(reader.read_piece(), Ok(piece) if !piece.is_empty()) {}
    assert!(matches!(reader.read_piece(), Err(BlobError::Rotten { .. })));
    assert!(path.exists() && fixture.store.check(&info.content).unwrap());
    // A long hash behaves alike: its result is about the file that it read.
    flip(&path, 3);
    let replaced = Arc::new(std::sync::Once::new());
    let good = bytes.clone();
    *fixture.disk.0.on_read.lock().unwrap() = Some(Arc::new(move |path, offset| {
        if offset > CHUNK_BYTES {
            replaced.call_once(|| replace(path, &good));
        }
    }));
    assert!(fixture.store.scrub(&info.content).unwrap());
    assert!(path.exists() && fixture.store.info(&info.content).unwrap().is_some());
    assert_eq!(quarantined(&fixture), None);
}

/// Found by reading the code: a read decided once whether it trusted an object, and gave bytes that changed later out
/// unchecked.
#[test]
fn an_object_that_changes_during_a_read_is_checked_from_then_on() {
    let bytes = sample(3 * CHUNK);
    let piece = ObjectReader::PIECE_BYTES_MAX;
    for changed in [CHUNK, CHUNK + piece, 3 * CHUNK - 1] {
        let fixture = Fixture::new();
        let info = fixture.put(&bytes);
        let mut reader = fixture.store.read(&info.content, 0).unwrap();
        assert_eq!(reader.read_piece().unwrap(), bytes[..piece]);
        flip(&fixture.path(&object(&info.content)), changed as u64);
        let mut given = piece;
        let error = loop {
            match reader.read_piece() {
                Ok(piece) => {
                    assert!(!piece.is_empty(), "it ends well");
                    assert_eq!(piece, bytes[given..given + piece.len()]);
                    given += piece.len();
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(error, BlobError::Rotten { .. }), "{error}");
        assert!(given <= changed);
        assert_eq!(quarantined(&fixture), Some(info));
    }
    // Only the times of the file change: the reader gives all of it.
    let fixture = Fixture::new();
    let info = fixture.put(&bytes);
    let mut reader = fixture.store.read(&info.content, 5).unwrap();
    let mut given = reader.read_piece().unwrap().to_vec();
    let path = fixture.path(&object(&info.content));
    fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap();
    while let piece = reader.read_piece().unwrap()
        && !piece.is_empty()
    {
        given.extend_from_slice(&piece);
    }
    assert!(given == bytes[5..]);
}

/// The same, with the copy for a person.
#[test]
fn an_object_that_changes_while_it_is_copied_is_not_handed_out() {
    let bytes = sample(2 * CHUNK);
    let fixture = Fixture::new();
    fixture.disk.0.no_reflinks.store(true, SeqCst);
    let info = fixture.put(&bytes);
    let changed = std::sync::Once::new();
    *fixture.disk.0.on_read.lock().unwrap() = Some(Arc::new(move |path, offset| {
        if offset >= CHUNK_BYTES {
            changed.call_once(|| flip(path, 2 * CHUNK_BYTES - 1));
        }
    }));
    let placed = fixture.store.place_received(&info.content, &name("a"));
    assert!(matches!(placed, Err(BlobError::Rotten { .. })), "{placed:?}");
    assert_eq!(fs::read_dir(fixture.path("received")).unwrap().count(), 0);
    assert_eq!(quarantined(&fixture), Some(info));
}

/// Found by reading the code: a read error in the copy to received/ was reported as "cannot copy to …", for ever.
#[test]
fn an_object_that_the_disk_cannot_read_is_rotten_for_each_reader() {
    type Reader = fn(&Fixture, &ContentId) -> Option<BlobError>;
    let readers: [Reader; 3] = [
        |fixture, content| fixture.store.place_received(content, &name("a")).err(),
        |fixture, content| fixture.store.read(content, 0).unwrap().read_piece().err(),
        |fixture, content| {
            let here = fixture.store.scrub(content).unwrap();
            (!here).then_some(BlobError::Rotten { content: *content, reason: String::new() })
        },
    ];
    for reader in readers {
        let fixture = Fixture::new();
        fixture.disk.0.no_reflinks.store(true, SeqCst);
        let info = fixture.put(b"some bytes");
        fixture.disk.0.unreadable.store(true, SeqCst);
        let error = reader(&fixture, &info.content);
        assert!(matches!(error, Some(BlobError::Rotten { .. })), "{error:?}");
        assert_eq!(quarantined(&fixture), Some(info));
        assert!(!fixture.path("received/a").exists());
        fixture.disk.0.unreadable.store(false, SeqCst);
        fixture.put(b"some bytes");
        // A target that cannot be written is no fault of the object.
        fixture.disk.0.room.store(0, SeqCst);
        fixture.disk.0.limited.store(true, SeqCst);
        let full = fixture.store.place_received(&info.content, &name("a")).unwrap_err();
        assert!(full.is_disk_full(), "{full}");
        assert!(fixture.store.check(&info.content).unwrap());
    }
}

/// The same, with the part that an earlier transfer left.
#[test]
fn a_part_that_the_disk_cannot_read_comes_again() {
    let fixture = Fixture::new();
    let bytes = sample(2 * CHUNK);
    let content = ContentId::of(&bytes);
    let mut receiver = fixture.store.receive(content, bytes.len() as u64).unwrap();
    receiver.write(&bytes[..CHUNK + 5]).unwrap();
    drop(receiver);
    fixture.disk.0.unreadable.store(true, SeqCst);
    assert_eq!(fixture.store.receive(content, bytes.len() as u64).unwrap().offset(), 0);
    fixture.disk.0.unreadable.store(false, SeqCst);
    fixture.put(&bytes);
}

/// Found by reading the code: after `chmod -R` each question about an object began a hash of its own.
#[test]
fn one_hash_of_an_object_answers_all_that_ask_meanwhile() {
    let fixture = Fixture::new();
    let bytes = sample(2 * CHUNK);
    let content = fixture.put(&bytes).content;
    for wrong in [false, true] {
        let path = fixture.path(&object(&content));
        fs::set_permissions(&path, fs::Permissions::from_mode(if wrong { 0o400 } else { 0o440 })).unwrap();
        if wrong {
            flip(&path, CHUNK as u64);
        }
        let begun = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let asked = Arc::new(std::sync::Barrier::new(ASKERS));
        let (count, store) = (begun.clone(), fixture.store.clone());
        *fixture.disk.0.on_read.lock().unwrap() = Some(Arc::new(move |_, offset| {
            if offset == 0 {
                count.fetch_add(1, SeqCst);
                // Long enough for the others to ask.
                std::thread::sleep(std::time::Duration::from_millis(300));
            } else {
                assert!(store.hashed_bytes(&content).is_some_and(|hashed| hashed > 0 && hashed <= offset));
            }
        }));
        std::thread::scope(|scope| {
            for _ in 0..ASKERS {
                scope.spawn(|| {
                    asked.wait();
                    assert_eq!(fixture.store.contains(&content).unwrap(), !wrong);
                });
            }
        });
        assert_eq!(begun.load(SeqCst), 1);
        assert_eq!(fixture.store.hashed_bytes(&content), None);
        *fixture.disk.0.on_read.lock().unwrap() = None;
    }
    assert!(quarantined(&fixture).is_some());
}

const ASKERS: usize = 8;

/// Found by reading the code: on a full disk a start failed when it had a fault of the index to correct.
#[test]
fn a_start_on_a_full_disk_puts_right_what_it_can() {
    for lost in [false, true] {
        let fixture = Fixture::new();
        let [kept, gone] = [b"kept", b"gone"].map(|bytes| fixture.put(bytes).content);
        fixture.store.link(&link("a", 1), kept).unwrap();
        let (new, faults) = (ContentId::of(b"new"), fixture.disk.0.clone());
        let fixture = fixture.reopen(|dir| {
            fs::remove_file(dir.join(object(&gone))).unwrap();
            let path = dir.join(object(&new));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"new").unwrap();
            if lost {
                fs::remove_file(dir.join("index.redb")).unwrap();
            }
            faults.free.store(1, SeqCst);
            faults.limited.store(true, SeqCst);
        });
        let notices = fixture.notices();
        assert!(notices.iter().any(|notice| matches!(notice, Notice::Full { .. })), "{notices:?}");
        fixture.store.keep_reserve();
        assert_eq!(fixture.store.info(&new).unwrap(), None);
        // Once there is room, the store does the rest without a restart.
        fixture.disk.0.limited.store(false, SeqCst);
        fixture.disk.0.free.store(1 << 30, SeqCst);
        assert!(fixture.store.keep_reserve());
        for content in [kept, new] {
            assert!(fixture.store.check(&content).unwrap());
        }
        assert_eq!(fixture.store.totals().unwrap().0, 2);
        assert_eq!(fixture.store.linked(&name("a")).unwrap(), Some(kept));
    }
}

/// Found by reading the code: an object whose commit found no room stayed on disk unknown, and took the room that its
/// next transfer needed.
#[test]
fn an_object_whose_commit_fails_leaves_nothing() {
    let fixture = Fixture::new();
    let bytes = sample(CHUNK + 5);
    let content = ContentId::of(&bytes);
    let mut receiver = fixture.store.receive(content, bytes.len() as u64).unwrap();
    receiver.write(&bytes).unwrap();
    fixture.disk.0.free.store(1, SeqCst);
    let error = receiver.finish(Kind::Replica).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert!(!fixture.path(&object(&content)).exists());
    assert_eq!(fixture.incoming(), 0);
    assert!(!fixture.store.is_poisoned());
    fixture.disk.0.free.store(0, SeqCst);
    fixture.put(&bytes);
}

/// Peer 1 with its first incarnation.
fn peer_one() -> PeerFile {
    let position = Position::of_number(1);
    let text = format!(
        "position = \"{position}\"\nring = \"r\"\nlisten = \"127.0.0.1:1\"\ncertificate = \"1\"\nincarnation = 1\n"
    );
    PeerFile::parse(text.as_bytes()).unwrap()
}

/// Found by reading the code: the reserve made room for one new peer.toml, and another program took that room. Then the
/// next start failed, and so did the next incarnation of a peer that was declared dead.
#[test]
fn the_identity_can_be_written_again_and_again_on_a_full_disk() {
    let fixture = Fixture::new();
    let dir = fixture.store.dir().to_owned();
    let mut file = peer_one();
    file.save(&dir, &fixture.disk).unwrap();
    fs::remove_file(fixture.path("reserve")).unwrap();
    fixture.disk.0.room.store(0, SeqCst);
    fixture.disk.0.free.store(1, SeqCst);
    fixture.disk.0.limited.store(true, SeqCst);
    for life in 2..200 {
        file.incarnation = life * 1_000_003;
        file.process_id = if life % 2 == 0 { 0 } else { 4_194_303 };
        let addresses = (0..life % 16).map(|i| crate::wire::Address::new(&format!("10.0.0.{i}:99")).unwrap());
        file.contacts = addresses.collect();
        file.save(&dir, &fixture.disk).unwrap();
        assert_eq!(PeerFile::load(&dir).unwrap().as_ref(), Some(&file));
    }
    // Without an atomic exchange of two names it works as long as there is room.
    fixture.disk.0.limited.store(false, SeqCst);
    fixture.disk.0.no_exchange.store(true, SeqCst);
    for life in 1..3 {
        file.incarnation = life;
        file.save(&dir, &fixture.disk).unwrap();
        assert_eq!(PeerFile::load(&dir).unwrap().as_ref(), Some(&file));
    }
}

/// Goal: a crash while peer.toml is written leaves it whole, the one before or the next.
#[test]
fn files_of_a_crash_beside_the_identity_do_no_harm() {
    let fixture = Fixture::new();
    let dir = fixture.store.dir().to_owned();
    let mut file = peer_one();
    for spare in [Vec::new(), b"half a fi".to_vec(), vec![0; 100_000]] {
        file.save(&dir, &fixture.disk).unwrap();
        fs::write(fixture.path("peer.toml.spare"), spare).unwrap();
        assert_eq!(PeerFile::load(&dir).unwrap().as_ref(), Some(&file));
        file.incarnation += 1;
        // A failed sync leaves the file before it.
        fixture.disk.0.file_syncs.store(true, SeqCst);
        assert!(file.save(&dir, &fixture.disk).is_err());
        fixture.disk.0.file_syncs.store(false, SeqCst);
        assert_eq!(PeerFile::load(&dir).unwrap().unwrap().incarnation + 1, file.incarnation);
    }
}

/// Found by reading the code: while the data directory was full, a received/ on a file system with room did not help,
/// since each copy was made in the data directory first.
#[test]
fn a_received_file_takes_room_in_received_only() {
    let fixture = Fixture::new();
    let faults = fixture.disk.0.clone();
    let content = fixture.put(b"some bytes").content;
    faults.no_reflinks.store(true, SeqCst);
    faults.names_apart.store(true, SeqCst);
    faults.received_roomy.store(true, SeqCst);
    faults.limited.store(true, SeqCst);
    let path = fixture.store.place_received(&content, &name("a")).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"some bytes");
    faults.limited.store(false, SeqCst);
    // The next start removes what a crash left. It keeps a person's files.
    let fixture = fixture.reopen(|dir| {
        fs::write(dir.join("received/.quoit-123-4.tmp"), b"half").unwrap();
        fs::write(dir.join("received/.quoit-notes"), b"mine").unwrap();
    });
    let mut left: Vec<_> =
        fs::read_dir(fixture.path("received")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort_unstable();
    assert_eq!(left, [".quoit-notes", "a"]);
}

/// Found by reading the code: a file system without inodes was reported as "0 bytes are free".
#[test]
fn a_file_system_without_inodes_is_told_as_such() {
    let fixture = Fixture::new();
    fixture.disk.0.no_inodes.store(true, SeqCst);
    let refused = fixture.store.receive(ContentId::of(b"x"), 1).map(drop).unwrap_err();
    assert!(refused.lacks_room());
    assert_eq!(refused.to_string(), "no room for another file: the file system has no inodes left");
    assert!(fixture.store.room_for(1, 0).is_err());
    fixture.disk.0.no_inodes.store(false, SeqCst);
    fixture.put(b"x");
}
