//! Copies for people that are written while the object comes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::*;
use crate::outboard::Chain;

const LENGTH: usize = (16 << 20) + 5;

fn without_reflinks() -> Fixture {
    let disk = FaultyDisk::default();
    disk.0.no_reflinks.store(true, SeqCst);
    Fixture::on(disk)
}

fn received(fixture: &Fixture) -> usize {
    fs::read_dir(fixture.path("received")).unwrap().count()
}

/// The number of bytes of objects that were read.
fn reads(fixture: &Fixture) -> Arc<AtomicU64> {
    let reads = Arc::new(AtomicU64::new(0));
    let counted = reads.clone();
    *fixture.disk.0.on_read.lock().unwrap() = Some(Arc::new(move |_, _| {
        counted.fetch_add(1, SeqCst);
    }));
    reads
}

/// Goal: a large file that is requested is written to its two places while it comes, and is not read again; its copy is
/// a file of its own.
#[test]
fn a_large_request_is_not_copied_afterwards() {
    let fixture = without_reflinks();
    let bytes = sample(LENGTH);
    let content = ContentId::of(&bytes);
    let reads = reads(&fixture);
    let wish = fixture.store.wish_copy(content);
    fixture.put(&bytes);
    assert_eq!(received(&fixture), 1, "it is written on the way");
    let path = fixture.store.place_received(&content, &name("a")).unwrap();
    assert_eq!(reads.load(SeqCst), 0);
    assert!(fs::read(&path).unwrap() == bytes);
    let copy = fs::metadata(&path).unwrap();
    assert_eq!((copy.mode() & 0o777, copy.nlink()), (0o444, 1));
    // Another name for it, and a wish that a reader no longer has, leave nothing behind.
    fixture.store.place_received(&content, &name("b")).unwrap();
    drop(wish);
    assert_eq!(received(&fixture), 2);
    assert!(fs::read(fixture.path("received/b")).unwrap() == bytes);
}

/// Goal: a twin that has not all bytes is never taken for the file, whether the transfer was resumed or the copy could
/// not be written.
#[test]
fn a_twin_that_is_not_whole_is_not_used() {
    for resumed in [true, false] {
        let fixture = without_reflinks();
        let bytes = sample(LENGTH);
        let content = ContentId::of(&bytes);
        let wish = fixture.store.wish_copy(content);
        if resumed {
            let mut receiver = fixture.store.receive(content, LENGTH as u64).unwrap();
            receiver.write(&bytes[..3 * CHUNK]).unwrap();
            drop(receiver);
            assert_eq!(received(&fixture), 0, "it goes with the transfer");
            fixture.put(&bytes);
        } else {
            // The file in received/ is written second, and finds no room.
            fixture.disk.0.room.store(2 * LENGTH as i64 - CHUNK as i64, SeqCst);
            fixture.disk.0.limited.store(true, SeqCst);
            let mut receiver = fixture.store.receive(content, LENGTH as u64).unwrap();
            bytes.chunks(CHUNK).for_each(|piece| receiver.write(piece).unwrap());
            fixture.disk.0.limited.store(false, SeqCst);
            receiver.finish(Kind::Requested).unwrap();
            assert_eq!(received(&fixture), 0);
        }
        let reads = reads(&fixture);
        let path = fixture.store.place_received(&content, &name("a")).unwrap();
        assert!(reads.load(SeqCst) > 0, "the copy is made afterwards");
        assert!(fs::read(&path).unwrap() == bytes);
        drop(wish);
        assert_eq!(received(&fixture), 1);
    }
}

/// Goal: a twin goes on with its part after a restart, also where marks lag behind; one that somebody has touched, or that
/// nobody wants any more, is removed, and the copy is made afterwards.
#[test]
fn a_twin_goes_on_with_its_part() {
    let (bytes, order) = (sample(LENGTH), [3, 0, 9, 16, 4]);
    let content = ContentId::of(&bytes);
    let chunk = |index: u64| [Bytes::copy_from_slice(bytes.chunks(CHUNK).nth(index as usize).unwrap())];
    let begin = |store: &Store| {
        store.receive_chunks(Chain::new(content, outboard_of(&bytes)), LENGTH as u64).unwrap()
    };
    for (touched, wanted) in [(false, true), (true, true), (false, false)] {
        let fixture = without_reflinks();
        fixture.store.checkpoint_every(2);
        let wish = fixture.store.wish_copy(content);
        let receiver = begin(&fixture.store);
        for index in order {
            receiver.place(index, &chunk(index)).unwrap();
        }
        drop((receiver, wish));
        assert_eq!(received(&fixture), 1);
        let fixture = fixture.reopen(|path| {
            let twin = fs::read_dir(path.join("received")).unwrap().next().unwrap().unwrap().path();
            if touched {
                File::options().write(true).open(twin).unwrap().write_at(b"no", 0).unwrap();
            }
        });
        assert_eq!(received(&fixture), 1);
        let wish = wanted.then(|| fixture.store.wish_copy(content));
        let receiver = begin(&fixture.store);
        assert_eq!(received(&fixture), usize::from(wanted && !touched));
        assert_eq!(receiver.here().count(), 5);
        for index in (0..=16).filter(|index| !order.contains(index)) {
            receiver.place(index, &chunk(index)).unwrap();
        }
        receiver.finish(Kind::Requested, &[]).unwrap();
        drop(receiver);
        let reads = reads(&fixture);
        let path = fixture.store.place_received(&content, &name("a")).unwrap();
        assert_eq!(reads.load(SeqCst) == 0, wanted && !touched);
        assert!(fs::read(&path).unwrap() == bytes);
        drop(wish);
        assert_eq!(received(&fixture), 1);
    }
}

/// Goal: a twin goes with a part that expires, and when the store opens without one.
#[test]
fn a_twin_goes_with_its_part() {
    let bytes = sample(LENGTH);
    let content = ContentId::of(&bytes);
    for expires in [true, false] {
        let fixture = without_reflinks();
        fixture.store.checkpoint_every(2);
        let wish = fixture.store.wish_copy(content);
        let mut receiver = fixture.store.receive(content, LENGTH as u64).unwrap();
        receiver.write(&bytes[..3 * CHUNK]).unwrap();
        drop((receiver, wish));
        assert_eq!(received(&fixture), 1);
        let fixture = if expires {
            assert_eq!(fixture.store.expire_parts(std::time::Duration::ZERO, 9).unwrap(), 1);
            fixture
        } else {
            fixture.reopen(|path| fs::remove_file(path.join(format!("incoming/{content}.part"))).unwrap())
        };
        assert_eq!(received(&fixture), 0);
    }
}

/// Goal: bytes that are not the object's leave no copy, and a wish that is given up leaves none either.
#[test]
fn a_twin_goes_with_its_transfer_or_its_wish() {
    let fixture = without_reflinks();
    let bytes = sample(LENGTH);
    let wish = fixture.store.wish_copy(ContentId::of(b"another"));
    let mut receiver = fixture.store.receive(ContentId::of(b"another"), LENGTH as u64).unwrap();
    receiver.write(&bytes).unwrap();
    assert!(matches!(receiver.finish(Kind::Requested), Err(BlobError::Mismatch { .. })));
    assert_eq!(received(&fixture), 0);
    drop(wish);
    let wish = fixture.store.wish_copy(ContentId::of(&bytes));
    fixture.put(&bytes);
    assert_eq!(received(&fixture), 1);
    drop(wish);
    assert_eq!(received(&fixture), 0);
    // Small files, and files that nobody waits for, have no twin.
    let _small = fixture.store.wish_copy(ContentId::of(b"small"));
    fixture.put(b"small");
    assert_eq!(received(&fixture), 0);
}
