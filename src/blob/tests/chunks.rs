//! Objects that come chunk by chunk, and what a restart believes of a partial transfer.

use std::fs::{self, File, FileTimes};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::SystemTime;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::outboard::{Chain, Midstate};

/// A file of seven chunks, the last of them short.
fn file() -> (Vec<u8>, ContentId) {
    let bytes = sample(6 * CHUNK + 700);
    let content = ContentId::of(&bytes);
    (bytes, content)
}

fn chain_of(bytes: &[u8]) -> Chain {
    Chain::new(ContentId::of(bytes), outboard_of(bytes))
}

/// A chunk in pieces.
fn chunk(bytes: &[u8], index: u64) -> Vec<Bytes> {
    let chunk = bytes.chunks(CHUNK).nth(index as usize).unwrap();
    chunk.chunks(300_000).map(Bytes::copy_from_slice).collect()
}

fn begin(store: &Store, bytes: &[u8]) -> ChunkReceiver {
    store.receive_chunks(chain_of(bytes), bytes.len() as u64).unwrap()
}

fn place(receiver: &ChunkReceiver, bytes: &[u8], chunks: &[u64]) {
    for index in chunks {
        assert_eq!(receiver.place(*index, &chunk(bytes, *index)).unwrap(), ChunkFate::Linked);
    }
}

fn here(receiver: &ChunkReceiver) -> Vec<u64> {
    receiver.here().iter().collect()
}

/// A fixture that marks after every second chunk.
fn marking() -> Fixture {
    let fixture = Fixture::new();
    fixture.store.checkpoint_every(2);
    fixture
}

/// Counts the reads of parts from now on: one for each chunk.
fn count_reads(fixture: &Fixture) -> Arc<AtomicU64> {
    let counted = Arc::new(AtomicU64::new(0));
    let counter = counted.clone();
    *fixture.disk.0.on_read.lock().unwrap() = Some(Arc::new(move |path, _| {
        if path.to_string_lossy().ends_with(".part") {
            counter.fetch_add(1, SeqCst);
        }
    }));
    counted
}

#[test]
fn chunks_come_in_any_order_on_several_threads() {
    let (bytes, content) = file();
    for order in [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 1, 5, 2, 4]] {
        let fixture = marking();
        let receiver = begin(&fixture.store, &bytes);
        std::thread::scope(|scope| {
            for half in order.chunks(4) {
                scope.spawn(|| place(&receiver, &bytes, half));
            }
        });
        assert!(receiver.here().is_full());
        let info = receiver.finish(Kind::Replica, &[link("a", 1)]).unwrap();
        assert_eq!((info.content, info.outboard), (content, outboard_of(&bytes).digest()));
        assert_eq!(fixture.get(&content, 0), bytes);
        assert_eq!(fixture.store.outboard(&content).unwrap(), Some(outboard_of(&bytes)));
        assert_eq!(fixture.store.linked(&name("a")).unwrap(), Some(content));
        assert_eq!(fixture.incoming(), 0);
        let late = receiver.place(0, &chunk(&bytes, 0)).unwrap_err();
        assert!(matches!(late, BlobError::Incomplete { .. }), "{late}");
        assert!(receiver.finish(Kind::Replica, &[]).is_err());
    }
}

#[test]
fn a_wrong_chunk_is_not_written_and_nothing_incomplete_becomes_an_object() {
    let (bytes, content) = file();
    let fixture = marking();
    let receiver = begin(&fixture.store, &bytes);
    let mut bad = bytes.clone();
    bad[CHUNK + 5] ^= 1;
    let fate = receiver.place(1, &chunk(&bad, 1)).unwrap();
    assert!(matches!(fate, ChunkFate::Unlinked { .. }));
    assert_eq!(receiver.place(1, &chunk(&bad, 1)).unwrap(), fate, "the same bytes, the same state");
    assert!(matches!(receiver.place(7, &chunk(&bytes, 1)).unwrap(), ChunkFate::Unlinked { .. }));
    assert_eq!(fs::metadata(fixture.path(&format!("incoming/{content}.part"))).unwrap().len(), 0);
    place(&receiver, &bytes, &[0, 2, 3, 4, 5, 6]);
    let early = receiver.finish(Kind::Replica, &[]).unwrap_err();
    assert!(matches!(early, BlobError::Incomplete { .. }), "{early}");
    assert!(!fixture.store.contains(&content).unwrap());
    place(&receiver, &bytes, &[1]);
    receiver.finish(Kind::Replica, &[]).unwrap();
}

#[test]
fn a_forged_outboard_makes_no_object() {
    let (bytes, content) = file();
    let fixture = marking();
    let mut midstates = outboard_of(&bytes).midstates().to_vec();
    midstates[2] = Midstate([7; 32]);
    let forged = Chain::new(content, Outboard::new(bytes.len() as u64, midstates).unwrap());
    let receiver = fixture.store.receive_chunks(forged, bytes.len() as u64).unwrap();
    for index in 0..7 {
        let fate = receiver.place(index, &chunk(&bytes, index)).unwrap();
        assert_eq!(fate == ChunkFate::Linked, index != 2 && index != 3, "{index}");
    }
    assert!(receiver.finish(Kind::Replica, &[]).is_err());
    drop(receiver);
    // The chunks that were linked between true midstates serve with the true outboard.
    let receiver = begin(&fixture.store, &bytes);
    assert_eq!(here(&receiver), [0, 1, 4, 5, 6]);
    place(&receiver, &bytes, &[2, 3]);
    receiver.finish(Kind::Replica, &[]).unwrap();
    let shorter = fixture.store.receive_chunks(chain_of(b"x"), 2).map(drop);
    assert!(matches!(shorter, Err(BlobError::Outboard { .. })));
}

/// Goal: after a restart the marked chunks are there without being read. The bytes behind them are read and checked.
#[test]
fn a_restart_goes_on_from_marked_chunks_without_hashing_them() {
    let (bytes, content) = file();
    let fixture = marking();
    let receiver = begin(&fixture.store, &bytes);
    place(&receiver, &bytes, &[6, 4, 0, 1, 2]);
    drop(receiver);
    let fixture = fixture.reopen(|_| {});
    let reads = count_reads(&fixture);
    let receiver = begin(&fixture.store, &bytes);
    assert_eq!(here(&receiver), [0, 1, 2, 4, 6]);
    // The unmarked chunk 2, and the holes behind it and behind chunk 4.
    assert!(reads.load(SeqCst) <= 3, "{} chunks were read", reads.load(SeqCst));
    assert_eq!(fixture.store.received_bytes(&content), 5 * CHUNK_BYTES);
    place(&receiver, &bytes, &[3, 5]);
    receiver.finish(Kind::Replica, &[]).unwrap();
    assert_eq!(fixture.get(&content, 0), bytes);
}

/// Goal: a part to which somebody else wrote is not trusted: each marked chunk is checked. So it is if mtime was put
/// back, or if the file was replaced.
#[test]
fn a_part_that_was_written_to_is_checked() {
    let (bytes, content) = file();
    type Change = fn(&Path, &str);
    let flip: Change = |path, name| {
        let path = path.join("incoming").join(name);
        let mut part = fs::read(&path).unwrap();
        part[CHUNK + 9] ^= 1;
        fs::write(path, part).unwrap();
    };
    let flip_and_put_the_time_back: Change = |path, name| {
        let path = path.join("incoming").join(name);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        std::os::unix::fs::FileExt::write_all_at(
            &File::options().write(true).open(&path).unwrap(),
            &[77, 78],
            CHUNK_BYTES + 9,
        )
        .unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(modified).set_accessed(SystemTime::now())).unwrap();
    };
    let replace: Change = |path, name| {
        let path = path.join("incoming").join(name);
        let mut part = fs::read(&path).unwrap();
        part[CHUNK + 9] ^= 1;
        fs::write(path.with_extension("new"), part).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    for (at, change) in [flip, flip_and_put_the_time_back, replace].into_iter().enumerate() {
        let fixture = marking();
        let receiver = begin(&fixture.store, &bytes);
        place(&receiver, &bytes, &[0, 1, 2, 3, 5, 6]);
        drop(receiver);
        let fixture = fixture.reopen(|path| change(path, &format!("{content}.part")));
        let receiver = begin(&fixture.store, &bytes);
        assert_eq!(here(&receiver), [0, 2, 3, 5, 6], "change {at}");
        place(&receiver, &bytes, &[1, 4]);
        receiver.finish(Kind::Replica, &[]).unwrap();
        assert_eq!(fixture.get(&content, 0), bytes);
        // In order, from its beginning.
        let fixture = marking();
        let mut receiver = fixture.store.receive(content, bytes.len() as u64).unwrap();
        receiver.write(&bytes[..5 * CHUNK]).unwrap();
        drop(receiver);
        let fixture = fixture.reopen(|path| change(path, &format!("{content}.part")));
        let reads = count_reads(&fixture);
        let receiver = fixture.store.receive(content, bytes.len() as u64).unwrap();
        assert_eq!((receiver.offset(), reads.load(SeqCst)), (5 * CHUNK_BYTES, 5), "all are hashed");
        assert_ne!(receiver.midstates(), &outboard_of(&bytes).midstates()[..5]);
    }
}

/// Goal: marked chunks are there after a loss of power that takes all that was not synced, the names of the files too.
#[test]
fn marked_chunks_survive_a_loss_of_power() {
    let bytes = sample(5 * CHUNK + 700);
    let disk = MemoryDisk::default();
    let store = Store::open(Path::new("/peer"), Arc::new(disk.clone())).unwrap();
    store.checkpoint_every(2);
    let receiver = begin(&store, &bytes);
    place(&receiver, &bytes, &[5, 0, 3]);
    disk.set_loss(Loss::Everything);
    disk.power_off();
    drop((receiver, store));
    let disk = disk.power_on(&mut ChaCha8Rng::seed_from_u64(0));
    let store = Store::open(Path::new("/peer"), Arc::new(disk)).unwrap();
    assert_eq!(here(&begin(&store, &bytes)), [0, 5]);
}

/// Goal: a transfer in order goes on from its marked chunks too, and hashes only what follows them; and a transfer in any
/// order goes on from one in order, and the other way round.
#[test]
fn transfers_of_both_kinds_go_on_from_each_other() {
    let (bytes, content) = file();
    let fixture = marking();
    let mut receiver = fixture.store.receive(content, bytes.len() as u64).unwrap();
    receiver.write(&bytes[..3 * CHUNK + 77]).unwrap();
    drop(receiver);
    let fixture = fixture.reopen(|_| {});
    let reads = count_reads(&fixture);
    let receiver = fixture.store.receive(content, bytes.len() as u64).unwrap();
    assert_eq!((receiver.offset(), reads.load(SeqCst)), (3 * CHUNK_BYTES, 1), "two of three are marked");
    assert_eq!(receiver.midstates(), &outboard_of(&bytes).midstates()[..3]);
    drop(receiver);
    let receiver = begin(&fixture.store, &bytes);
    assert_eq!(here(&receiver), [0, 1, 2]);
    fixture.store.checkpoint_every(2);
    place(&receiver, &bytes, &[5, 6]);
    drop(receiver);
    let mut receiver = fixture.store.receive(content, bytes.len() as u64).unwrap();
    assert_eq!(receiver.offset(), 3 * CHUNK_BYTES, "the holes and what lies behind them come again");
    receiver.write(&bytes[3 * CHUNK..]).unwrap();
    receiver.finish(Kind::Replica).unwrap();
    assert_eq!(fixture.get(&content, 0), bytes);
    assert_eq!(fixture.incoming(), 0);
}

#[test]
fn a_disk_that_is_full_ends_a_transfer_and_damaged_marks_only_cost_a_check() {
    let (bytes, content) = file();
    let fixture = marking();
    let receiver = begin(&fixture.store, &bytes);
    place(&receiver, &bytes, &[0, 1, 2, 3]);
    drop(receiver);
    let fixture = fixture.reopen(|path| {
        let marks = path.join(format!("incoming/{content}.marks"));
        let length = fs::metadata(&marks).unwrap().len();
        File::options().write(true).open(&marks).unwrap().set_len(length - 1).unwrap();
    });
    let receiver = begin(&fixture.store, &bytes);
    assert_eq!(here(&receiver), [0, 1, 2, 3]);
    fixture.disk.0.room.store(CHUNK as i64 / 2, SeqCst);
    fixture.disk.0.limited.store(true, SeqCst);
    let full = receiver.place(4, &chunk(&bytes, 4)).unwrap_err();
    assert!(full.is_disk_full(), "{full}");
    assert!(receiver.place(5, &chunk(&bytes, 5)).is_err() && receiver.finish(Kind::Replica, &[]).is_err());
    assert_eq!(fixture.incoming(), 0);
}

/// Goal: parts that expire take their marks with them, and marks without a part go when the store opens.
#[test]
fn marks_go_with_their_part() {
    let (bytes, content) = file();
    let fixture = marking();
    let receiver = begin(&fixture.store, &bytes);
    place(&receiver, &bytes, &[0, 1]);
    drop(receiver);
    assert_eq!(fixture.incoming(), 2);
    assert_eq!(fixture.store.expire_parts(std::time::Duration::ZERO, 9).unwrap(), 1);
    assert_eq!(fixture.incoming(), 0);
    let receiver = begin(&fixture.store, &bytes);
    place(&receiver, &bytes, &[0, 1]);
    drop(receiver);
    let fixture =
        fixture.reopen(|path| fs::remove_file(path.join(format!("incoming/{content}.part"))).unwrap());
    assert_eq!(fixture.incoming(), 0);
    let receiver = begin(&fixture.store, &bytes);
    place(&receiver, &bytes, &[0, 1]);
    receiver.discard();
    assert_eq!(fixture.incoming(), 0);
}

/// Receives an object in this order until the power goes, which is before the n-th call of the disk. Returns whether it
/// went, and the disk after it has come back.
fn cut(bytes: &[u8], order: &[u64], n: u64) -> (bool, MemoryDisk) {
    let disk = MemoryDisk::default();
    disk.die_before_call(n);
    let work = || -> Result<(), BlobError> {
        let store = Store::open(Path::new("/peer"), Arc::new(disk.clone()))?;
        store.checkpoint_every(2);
        let receiver = store.receive_chunks(chain_of(bytes), bytes.len() as u64)?;
        for index in order {
            receiver.place(*index, &chunk(bytes, *index))?;
        }
        drop(receiver);
        // In order, from what is there.
        let mut receiver = store.receive(ContentId::of(bytes), bytes.len() as u64)?;
        let offset = receiver.offset() as usize;
        receiver.write(&bytes[offset..5 * CHUNK])
    };
    let worked = work();
    let died = !disk.has_power();
    assert!(died || worked.is_ok(), "{worked:?}");
    (died, disk.power_on(&mut ChaCha8Rng::seed_from_u64(n)))
}

/// Goal: after a loss of power at any call of the disk, each chunk that the store believes to be here has the right bytes
/// on the disk, and the transfer goes on to the right object.
#[test]
fn a_loss_of_power_before_every_call_of_a_transfer() {
    let bytes = sample(5 * CHUNK + 700);
    let content = ContentId::of(&bytes);
    let (mut cuts, mut kept) = (0, 0);
    for n in 1.. {
        let (died, disk) = cut(&bytes, &[5, 0, 1, 3], n);
        cuts += 1;
        let store = Store::open(Path::new("/peer"), Arc::new(disk.clone())).unwrap();
        let receiver = begin(&store, &bytes);
        let part = disk.contents(&Path::new("/peer/incoming").join(format!("{content}.part"))).unwrap();
        for index in here(&receiver) {
            let range = index as usize * CHUNK..bytes.len().min((index as usize + 1) * CHUNK);
            assert!(part[range.clone()] == bytes[range], "the power goes before call {n}: chunk {index}");
            kept += 1;
        }
        let missing: Vec<u64> = (0..6).filter(|index| !receiver.here().contains(*index)).collect();
        place(&receiver, &bytes, &missing);
        receiver.finish(Kind::Replica, &[]).unwrap();
        let object = disk.contents(&Path::new("/peer").join(object(&content))).unwrap();
        assert!(object == bytes, "the power goes before call {n}");
        if !died {
            break;
        }
    }
    assert!(cuts > 60 && kept > 40, "{cuts} losses of power, {kept} chunks kept");
}
