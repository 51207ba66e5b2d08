//! Small files that a peer has, read by one client over one connection, many requests at once.
//!
//! `cargo bench --bench reads` prints how many files a second reach the client, and the processor time of both sides,
//! which are one process here. `QUOIT_ROUNDS=10` takes more rounds.

use std::sync::Arc;
use std::time::Instant;

#[path = "support/processor.rs"]
mod processor;

use futures_util::{StreamExt as _, stream};
use quoit::id::ContentId;
use quoit::peer::{PeerChoice, StoreItem};
use quoit::{Client, Entrance, StartOptions, StoreOptions, start};

const FILES: usize = 1_000;
const FILE_BYTES: usize = 10 * 1024;
/// The requests under way at once.
const AT_ONCE: usize = 64;
/// The reads of a round.
const READS: usize = 40_000;

fn main() {
    let rounds = std::env::var("QUOIT_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores, {} {}", std::env::consts::OS, std::env::consts::ARCH);
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let (peers, clients) = (runtime().expect("threads"), runtime().expect("threads"));
    let dir = tempfile::tempdir().expect("a folder for the bench");
    let options = StartOptions {
        data_dir: Some(dir.path().join("peer")),
        certs_dir: Some(dir.path().join("certs")),
        listen: Some(([127, 0, 0, 1], 0).into()),
        ..StartOptions::new(Entrance::Found)
    };
    let peer = peers.block_on(async {
        let peer = start(options).await.expect("a peer");
        peer.wait_active().await.expect("an active peer");
        peer
    });
    let choice = PeerChoice {
        data_dir: Some(dir.path().join("peer")),
        certs_dir: Some(dir.path().join("certs")),
        ..PeerChoice::default()
    };
    clients.block_on(async {
        let client = Client::connect(&choice).await.expect("a peer that listens");
        let contents = store(&client, dir.path()).await;
        let mut rates: Vec<f64> = Vec::new();
        for _ in 0..rounds {
            let (begin, before) = (Instant::now(), processor::cpu_seconds());
            read(&client, &contents).await;
            let (took, used) = (begin.elapsed(), processor::cpu_seconds() - before);
            rates.push(READS as f64 / took.as_secs_f64());
            let each = used * 1e6 / READS as f64;
            println!("{READS} reads: {took:?}, {each:.0} µs of processor time each");
        }
        rates.sort_by(f64::total_cmp);
        println!(
            "files/s: median {:.0}, least {:.0}, most {:.0}",
            rates[rates.len() / 2],
            rates[0],
            rates[rates.len() - 1]
        );
        client.close().await;
    });
    peers.block_on(peer.shutdown());
}

async fn store(client: &Client, dir: &std::path::Path) -> Vec<ContentId> {
    let item = |index: usize| {
        let path = dir.join(format!("file-{index}"));
        let bytes: Vec<u8> = index.to_le_bytes().into_iter().cycle().take(FILE_BYTES).collect();
        std::fs::write(&path, bytes).expect("space for the files");
        StoreItem { path, options: StoreOptions::default() }
    };
    let stored = client.store_many((0..FILES).map(item).collect::<Vec<_>>());
    stored.map(|report| report.expect("a file that is stored").content).collect().await
}

/// Reads files to their ends, so many at once.
async fn read(client: &Client, contents: &[ContentId]) {
    let contents: Arc<[ContentId]> = contents.into();
    stream::iter(0..READS)
        .for_each_concurrent(AT_ONCE, |index| {
            let content = contents[index % FILES];
            async move {
                let mut bytes = client.read(content).await.expect("a file that is there");
                let mut read = 0;
                while let Some(piece) = bytes.next().await.expect("all of its bytes") {
                    read += piece.len();
                }
                assert_eq!(read, FILE_BYTES);
            }
        })
        .await;
}
