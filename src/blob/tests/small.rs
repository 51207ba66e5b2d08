//! Small objects: kept together, in the journal until they are settled, replayed by the next opening.

use super::*;

fn small(bytes: &[u8], name: &str) -> SmallObject {
    let link = Link { name: FileName::new(name).unwrap(), clock: Timestamp(1) };
    SmallObject { content: ContentId::of(bytes), links: vec![link], bytes: bytes.to_vec().into() }
}

fn segments(fixture: &Fixture) -> usize {
    fs::read_dir(fixture.path("journal")).unwrap().count()
}

/// Goal: each object of a batch has an outcome of its own, and those that are kept are files in their places at once.
#[test]
fn a_bad_object_of_a_batch_spoils_no_other() {
    let fixture = Fixture::new();
    let here = fixture.put(b"here already");
    let wrong = SmallObject { content: ContentId::of(b"something else"), ..small(b"wrong", "w") };
    let long = small(&vec![1; (64 << 10) + 1], "l");
    let batch = vec![small(b"one", "1"), wrong, small(b"here already", "h"), long, small(b"two", "2")];
    let kept = fixture.store.keep_small(batch, Kind::Replica);
    assert!(matches!(kept[1], Err(BlobError::Mismatch { .. })));
    assert!(matches!(kept[2], Err(BlobError::AlreadyHere { content }) if content == here.content));
    assert!(matches!(kept[3], Err(BlobError::TooLong { .. })));
    for (kept, bytes) in [(&kept[0], b"one"), (&kept[4], b"two")] {
        let info = kept.as_ref().unwrap();
        let hex = info.content.to_string();
        let path = fixture.path("objects").join(&hex[..2]).join(&hex);
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        assert!(fixture.store.check(&info.content).unwrap());
    }
    assert_eq!(fixture.store.linked(&FileName::new("2").unwrap()).unwrap(), Some(ContentId::of(b"two")));
    assert_eq!(fixture.store.totals().unwrap().0, 3);
}

/// Goal: of a batch that does not fit as a whole, as much is kept as fits.
#[test]
fn a_batch_without_room_for_all_is_kept_in_part() {
    let fixture = Fixture::new();
    fixture.store.set_limits(Limits { capacity: Some(25), reserve: Some(0) }).unwrap();
    let batch = [b"0123456789", b"1234567890", b"2345678901"].map(|bytes| small(bytes, "n")).to_vec();
    let kept = fixture.store.keep_small(batch, Kind::Replica);
    assert!(kept[..2].iter().all(Result::is_ok), "{kept:?}");
    assert!(matches!(kept[2], Err(BlobError::NoRoom { length: 10, .. })), "{kept:?}");
    assert_eq!(fixture.store.totals().unwrap(), (2, 20));
}

/// Goal: nobody else receives an object between the look whether it is here and the end of its batch.
#[test]
fn an_object_of_a_batch_is_received_by_the_batch_alone() {
    let fixture = Fixture::new();
    let (store, tried) = (fixture.store.clone(), Arc::new(Mutex::new(None)));
    let (content, heard) = (ContentId::of(b"both"), tried.clone());
    let other = move || *heard.lock().unwrap() = Some(store.receive(content, 4).map(drop));
    *fixture.disk.0.on_room.lock().unwrap() = Some(Box::new(other));
    let kept = fixture.store.keep_small(vec![small(b"both", "b")], Kind::Replica);
    assert!(kept[0].is_ok(), "{kept:?}");
    let tried = tried.lock().unwrap().take();
    assert!(matches!(tried, Some(Err(BlobError::AlreadyReceiving { .. }))), "{tried:?}");
}

/// Goal: an object in the journal comes back with its names even if its file is gone or torn, and the journal is empty
/// once it is settled.
#[test]
fn the_journal_makes_up_for_files_that_were_lost() {
    let fixture = Fixture::new();
    let kept = fixture.store.keep_small(vec![small(b"torn", "t"), small(b"gone", "g")], Kind::Replica);
    let [torn, gone] = [0, 1].map(|at: usize| kept[at].as_ref().unwrap().content);
    assert!(segments(&fixture) > 0);
    let path = |root: &Path, content: &ContentId| {
        let hex = content.to_string();
        root.join("objects").join(&hex[..2]).join(&hex)
    };
    let fixture = fixture.reopen_after_crash(|root| {
        fs::remove_file(path(root, &gone)).unwrap();
        fs::remove_file(path(root, &torn)).unwrap();
        fs::write(path(root, &torn), b"to").unwrap();
    });
    for (content, name) in [(torn, "t"), (gone, "g")] {
        assert!(fixture.store.scrub(&content).unwrap());
        assert_eq!(fixture.store.linked(&FileName::new(name).unwrap()).unwrap(), Some(content));
    }
    assert_eq!(segments(&fixture), 0, "replayed and settled");
    fixture.store.keep_small(vec![small(b"three", "3")], Kind::Replica)[0].as_ref().unwrap();
    fixture.store.settle_journal().unwrap();
    assert_eq!(segments(&fixture), 0);
    assert_eq!(fixture.reopen_after_crash(|_| ()).store.totals().unwrap().0, 3);
}

/// Goal: an object that was discarded does not come back out of the journal.
#[test]
fn a_discarded_object_stays_away() {
    let fixture = Fixture::new();
    let content =
        fixture.store.keep_small(vec![small(b"x", "x")], Kind::Replica)[0].as_ref().unwrap().content;
    assert!(fixture.store.discard(&content, |_| true).unwrap());
    let fixture = fixture.reopen_after_crash(|_| ());
    assert_eq!(fixture.store.info(&content).unwrap(), None);
}

/// Goal: a damaged tail is told and cut, and what was before it is there.
#[test]
fn a_damaged_tail_is_told_and_cut() {
    let fixture = Fixture::new();
    fixture.store.keep_small(vec![small(b"before", "b")], Kind::Replica)[0].as_ref().unwrap();
    let fixture = fixture.reopen_after_crash(|root| {
        let segment = fs::read_dir(root.join("journal")).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&segment).unwrap();
        bytes.extend(b"QOBJ, and no more");
        fs::write(&segment, bytes).unwrap();
    });
    let notices = fixture.notices();
    assert!(
        notices.iter().any(|notice| matches!(notice, Notice::JournalDamaged { skipped: 17, .. })),
        "{notices:?}"
    );
    assert!(fixture.store.contains(&ContentId::of(b"before")).unwrap());
    assert_eq!(segments(&fixture), 0);
}

/// Goal: without a sync nothing is acknowledged, and nothing more is written.
#[test]
fn a_failed_sync_of_the_journal_poisons_the_store() {
    let fixture = Fixture::new();
    fixture.disk.0.file_syncs.store(true, SeqCst);
    let kept = fixture.store.keep_small(vec![small(b"one", "1"), small(b"two", "2")], Kind::Replica);
    assert!(kept.iter().all(|kept| matches!(kept, Err(BlobError::Sync { .. }))), "{kept:?}");
    assert!(fixture.store.is_poisoned());
    assert_eq!(fixture.store.totals().unwrap().0, 0);
}
