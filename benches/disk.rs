//! The store on disk alone: hashing, one large object, many small ones.
//!
//! `cargo bench --bench disk` prints the median of five rounds of each, and the machine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quoit::blob::{Kind, RealDisk, Source, Store};
use quoit::id::ContentId;

const LARGE_BYTES: usize = 256 << 20;
const SMALL_BYTES: usize = 10 << 10;
const SMALL: usize = 100;
const THREADS: usize = 8;
const ROUNDS: usize = 5;

fn main() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores, {} {}", std::env::consts::OS, std::env::consts::ARCH);
    let bytes: Vec<u8> =
        (0..LARGE_BYTES).map(|i| (i as u64).wrapping_mul(0x9e37_79b9).to_le_bytes()[2]).collect();
    let rate = |took: Duration| format!("{:.0} MiB/s", (LARGE_BYTES >> 20) as f64 / took.as_secs_f64());
    let hashed = median(|dir| hash(dir, &bytes));
    println!("hash a file of 256 MiB:                {hashed:?}, {}", rate(hashed));
    let received = median(|dir| receive(dir, &bytes));
    println!("receive 256 MiB, verified and synced:  {received:?}, {}", rate(received));
    let small = median(|dir| receive_small(dir, &bytes));
    println!("receive 100 files of 10 KiB, synced:   {small:?} on {THREADS} threads");
}

fn median(round: impl Fn(&Path) -> Duration) -> Duration {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let dir = tempfile::tempdir().expect("a folder for the bench");
            round(dir.path())
        })
        .collect();
    took.sort();
    took[ROUNDS / 2]
}

fn hash(dir: &Path, bytes: &[u8]) -> Duration {
    let path = dir.join("file");
    std::fs::write(&path, bytes).expect("space for the file");
    let begin = Instant::now();
    Source::open(&path).and_then(|source| source.hash(&mut |_| {})).expect("a file that does not change");
    begin.elapsed()
}

fn receive(dir: &Path, bytes: &[u8]) -> Duration {
    let store = Store::open(dir, Arc::new(RealDisk)).expect("a fresh store");
    let content = ContentId::of(bytes);
    let begin = Instant::now();
    keep(&store, content, bytes);
    begin.elapsed()
}

fn receive_small(dir: &Path, bytes: &[u8]) -> Duration {
    let store = Store::open(dir, Arc::new(RealDisk)).expect("a fresh store");
    let files: Vec<&[u8]> = bytes.chunks(SMALL_BYTES).take(SMALL).collect();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for share in files.chunks(SMALL.div_ceil(THREADS)) {
            let store = store.clone();
            scope.spawn(move || share.iter().for_each(|file| keep(&store, ContentId::of(file), file)));
        }
    });
    begin.elapsed()
}

fn keep(store: &Store, content: ContentId, bytes: &[u8]) {
    let Ok(mut receiver) = store.receive(content, bytes.len() as u64) else { return };
    bytes.chunks(1 << 18).try_for_each(|piece| receiver.write(piece)).expect("space for the object");
    receiver.finish(Kind::Replica).expect("the same bytes");
}
