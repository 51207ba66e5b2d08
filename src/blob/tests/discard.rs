//! Objects that are removed for good.

use super::*;

fn files_of(fixture: &Fixture, content: &ContentId) -> usize {
    let outboard = format!("outboards/{}/{content}.mid", &content.to_string()[..2]);
    [object(content), outboard].iter().filter(|below| fixture.path(below).exists()).count()
}

#[test]
fn a_discarded_object_is_gone_with_all_that_belongs_to_it() {
    let fixture = Fixture::new();
    let (short, long) = (fixture.put(&sample(10)), fixture.put(&sample(CHUNK + 1)));
    fixture.store.link(&link("a", 1), long.content).unwrap();
    fixture.store.link(&link("b", 1), long.content).unwrap();
    assert_eq!((files_of(&fixture, &short.content), files_of(&fixture, &long.content)), (1, 2));
    for info in [short, long] {
        assert!(fixture.store.discard(&info.content, |row| row.kind == Kind::Replica).unwrap());
        assert!(!fixture.store.contains(&info.content).unwrap());
        assert_eq!(files_of(&fixture, &info.content), 0);
        assert!(!fixture.store.discard(&info.content, |_| true).unwrap(), "it is not here any more");
    }
    assert_eq!(fixture.store.totals().unwrap(), (0, 0));
    assert_eq!(fixture.store.linked(&name("a")).unwrap(), None);
    assert!(!fixture.path("names/a").is_symlink() && !fixture.path("names/b").is_symlink());
    let fixture = fixture.reopen(|_| {});
    assert_eq!(fixture.store.totals().unwrap(), (0, 0));
    assert_eq!(fixture.get(&fixture.put(&sample(10)).content, 0), sample(10), "it may come again");
    let fixture = fixture.reopen(|_| {});
    assert_eq!(fixture.get(&short.content, 0), sample(10), "and stays then");
}

#[test]
fn the_condition_is_looked_at_where_the_object_would_go() {
    let fixture = Fixture::new();
    let info = fixture.put(&sample(10));
    assert!(!fixture.store.discard(&info.content, |row| row.kind == Kind::Requested).unwrap());
    assert!(!fixture.store.discard(&info.content, move |row| row.object != info).unwrap());
    assert_eq!(fixture.get(&info.content, 0), sample(10));
    assert_eq!(fixture.store.totals().unwrap(), (1, 10));
}

/// Goal: a reader that has begun gets all bytes; once it is at its end, the object may go.
#[test]
fn an_object_that_is_read_stays() {
    let fixture = Fixture::new();
    let info = fixture.put(&sample(3 * CHUNK));
    let mut reader = fixture.store.read(&info.content, 0).unwrap();
    reader.read_piece().unwrap();
    assert!(!fixture.store.discard(&info.content, |_| true).unwrap());
    drop(reader);
    assert!(fixture.store.discard(&info.content, |_| true).unwrap());
}

/// Goal: a file that could not be removed is not taken for an object that the index has lost.
#[test]
fn a_file_that_could_not_be_removed_goes_at_the_next_opening() {
    let fixture = Fixture::new();
    let info = fixture.put(&sample(CHUNK + 1));
    fixture.disk.0.dir_opens.store(true, SeqCst);
    assert!(fixture.store.discard(&info.content, |_| true).is_err(), "the folder cannot be synced");
    fixture.disk.0.dir_opens.store(false, SeqCst);
    assert!(!fixture.store.contains(&info.content).unwrap());
    fs::write(fixture.path(&object(&info.content)), sample(CHUNK + 1)).unwrap();
    let fixture = fixture.reopen(|_| {});
    assert!(!fixture.store.contains(&info.content).unwrap());
    assert_eq!(files_of(&fixture, &info.content), 0);
    assert!(fixture.notices().is_empty());
}

#[test]
fn nothing_goes_after_a_failed_sync() {
    let fixture = Fixture::new();
    let (info, other) = (fixture.put(&sample(10)), fixture.put(&sample(11)));
    fixture.disk.0.dir_syncs.store(true, SeqCst);
    assert!(matches!(fixture.store.discard(&info.content, |_| true), Err(BlobError::Sync { .. })));
    assert!(matches!(fixture.store.discard(&other.content, |_| true), Err(BlobError::Poisoned { .. })));
    assert_eq!(fixture.get(&other.content, 0), sample(11));
}
