//! The index with a million name records: how long it takes to open, and how much memory that takes.
//!
//! `cargo bench --bench index` prints the figures and the machine; `QUOIT_RECORDS=100000` takes fewer records. Each
//! opening is a process of its own, since memory is counted for a process.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use quoit::blob::{RealDisk, Store};
use quoit::id::ContentId;

/// The bytes of a record of one version: a body, a signature, a certificate.
const RECORD_BYTES: usize = 700;
/// Threads that write at the same time share a commit.
const THREADS: usize = 512;
const ROUNDS: usize = 5;

fn main() {
    if let Some(dir) = std::env::var_os("QUOIT_OPEN") {
        return open(Path::new(&dir));
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores, {} {}", std::env::consts::OS, std::env::consts::ARCH);
    let wanted = std::env::var("QUOIT_RECORDS").ok().and_then(|text| text.parse().ok());
    let records: usize = wanted.unwrap_or(1_000_000);
    let dir = tempfile::tempdir().expect("a folder for the bench");
    fill(dir.path(), records);
    let bytes = std::fs::metadata(dir.path().join("index.redb")).map_or(0, |file| file.len());
    println!("an index of {} MiB:", bytes >> 20);
    for _ in 0..ROUNDS {
        let program = std::env::current_exe().expect("the path of this program");
        let opened = Command::new(program).env("QUOIT_OPEN", dir.path()).status();
        assert!(opened.is_ok_and(|status| status.success()), "it does not open");
    }
}

fn fill(dir: &Path, records: usize) {
    let store = Store::open(dir, Arc::new(RealDisk)).expect("a fresh store");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = store.clone();
            scope.spawn(move || {
                for record in (thread..records).step_by(THREADS) {
                    let key = ContentId::of(&record.to_le_bytes()).key();
                    let value: Vec<u8> = key.0.iter().copied().cycle().take(RECORD_BYTES).collect();
                    store.put_record(key, value).expect("space for the record");
                }
            });
        }
    });
    println!("write {records} records, {THREADS} at a time: {:?}", begin.elapsed());
    let begin = Instant::now();
    store.tidy_records().expect("space for the log");
    println!("write a base of the log of records:   {:?}", begin.elapsed());
}

fn open(dir: &Path) {
    let begin = Instant::now();
    let store = Store::open(dir, Arc::new(RealDisk)).expect("the store of the bench");
    let opened = begin.elapsed();
    let begin = Instant::now();
    let (records, siblings) = (store.record_count(), store.siblings(48));
    println!(
        "open: {opened:?}; count {records:?} and siblings {siblings:?}: {:?}; {}",
        begin.elapsed(),
        memory()
    );
}

/// The most memory that this process had so far, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.map_or_else(String::new, |line| {
        format!("at most {} of memory", line.trim_start_matches("VmHWM:").trim())
    })
}
