//! One raw QUIC stream over loopback, memory to memory: the ceiling that a transfer stands beside.
//!
//! `cargo bench --bench stream` prints the median of five rounds for each size of packet. The settings are those of
//! [`TransportSettings`]. Each side has a thread and a runtime of its own; nothing is hashed, and no disk is touched.
//! With `QUOIT_BENCH_JSON=1` it runs one round of each and prints a line of JSON for it, for programs.

#[path = "support/processor.rs"]
mod processor;
#[path = "support/quic.rs"]
mod quic;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use processor::cpu_seconds;
use quic::runtime;
use quoit::transport::TransportSettings;

const BYTES: u64 = 1 << 30;
const PIECE_BYTES: usize = 1 << 20;
const ROUNDS: usize = 5;
const PACKETS: [u16; 2] = [6_500, 1_452];

fn main() {
    let as_json = std::env::var_os("QUOIT_BENCH_JSON").is_some_and(|value| value == "1");
    for packet_bytes_max in PACKETS {
        let settings = TransportSettings { packet_bytes_max, ..TransportSettings::default() };
        if as_json {
            let (took, cpu) = transfer(&settings);
            println!(
                r#"{{"packet_bytes_max":{packet_bytes_max},"bytes":{BYTES},"took_s":{took:.4},"cpu_s":{cpu:.3}}}"#
            );
            continue;
        }
        let mut rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| transfer(&settings)).collect();
        rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (took, cpu) = rounds[ROUNDS / 2];
        println!(
            "packets of at most {packet_bytes_max} bytes: {:.2} GB/s, {cpu:.1} CPU s/GiB (median of {ROUNDS})",
            BYTES as f64 / took / 1e9
        );
    }
}

/// Sends [`BYTES`] bytes over one stream. Returns the seconds that it took, and the processor time of both sides.
fn transfer(settings: &TransportSettings) -> (f64, f64) {
    let certified = quic::Certified::new();
    let certificate = certified.certificate.clone();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (tell, told) = std::sync::mpsc::channel();
    let (ours, theirs) = (settings.clone(), settings.clone());
    let before = cpu_seconds();
    let sender = std::thread::spawn(move || {
        runtime().block_on(async move {
            let endpoint = quic::endpoint(any, &ours, Some(certified.server(ours.for_quinn())));
            tell.send(endpoint.local_addr().expect("an address")).expect("the receiver waits");
            let connection = endpoint.accept().await.expect("a connection").await.expect("a handshake");
            let (mut out, mut asked) = connection.accept_bi().await.expect("a stream to ask on");
            asked.read_to_end(16).await.expect("a request");
            let piece = Bytes::from(vec![0x5a; PIECE_BYTES]);
            for _ in 0..BYTES / PIECE_BYTES as u64 {
                out.write_chunk(piece.clone()).await.expect("the receiver reads");
            }
            out.finish().expect("the stream is open");
            let _ = out.stopped().await;
        });
    });
    let address: SocketAddr = told.recv().expect("an address");
    let took = runtime().block_on(async move {
        let endpoint = quic::endpoint(any, &theirs, None);
        let config = quic::client(certificate, theirs.for_quinn());
        let dialled = endpoint.connect_with(config, address, "localhost").expect("a dial");
        let connection = dialled.await.expect("a handshake");
        let (mut ask, mut stream) = connection.open_bi().await.expect("a stream");
        ask.write_all(b"all").await.expect("the sender reads");
        ask.finish().expect("the stream is open");
        let begun = Instant::now();
        let (mut chunks, mut came) = (vec![Bytes::new(); 64], 0);
        while let Some(count) = stream.read_chunks(&mut chunks).await.expect("the sender goes on") {
            came += chunks[..count].iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        }
        assert_eq!(came, BYTES);
        begun.elapsed().as_secs_f64()
    });
    sender.join().expect("the sender ends");
    (took, cpu_seconds() - before)
}
