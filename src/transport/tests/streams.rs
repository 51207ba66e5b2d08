//! Exchanges, raw bytes and datagrams.

use super::*;
use crate::id::ContentId;
use crate::wire::Target;
use crate::wire::{Address, StorageRequest, limits};

fn echo() -> Request {
    Request::Storage(StorageRequest::Sync)
}

/// Goal: 64 MiB go both ways at once and arrive unchanged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_bytes_there_and_back() {
    const PIECES: u64 = (64 << 20) / limits::PIECE_BYTES as u64;
    let ring = Ring::new();
    let (a, b) = (ring.peer(1), ring.peer(2));
    let piece = |number: u64| -> Bytes {
        let words = limits::PIECE_BYTES as u64 / 8;
        (0..words).flat_map(|word| (number * words + word).to_le_bytes()).collect()
    };
    let mut stream = soon(a.transport.open(&b.target, &echo())).await.unwrap();
    assert_eq!(stream.read_reply(PATIENCE).await.unwrap(), Reply::Storage(StorageReply::Noted));
    let (mut sent, mut received) = (0, 0);
    while received < PIECES {
        // A lead of 4 MiB stays below the windows, so that the two sides do not wait for each other for ever.
        if sent < PIECES && sent < received + 16 {
            stream.send_piece(piece(sent)).await.unwrap();
            sent += 1;
            if sent == PIECES {
                stream.finish_send();
            }
        } else {
            let came = stream.gather(limits::PIECE_BYTES, PATIENCE).await.unwrap().unwrap();
            assert!(came.parts().concat() == piece(received), "piece {received} is other than it was sent");
            received += 1;
        }
    }
    assert_eq!(stream.read_piece(1).await.unwrap(), None);
}

#[tokio::test]
async fn a_dropped_exchange_does_not_look_whole() {
    let ring = Ring::new();
    let a = ring.peer(1);
    let identity = ring.identity(3);
    let hello = Hello { incarnation: 1, advertised: None, revocations: 0 };
    let (third, mut incoming) = Transport::bind(
        &identity,
        &identity.verifier().unwrap(),
        "127.0.0.1:0".parse().unwrap(),
        hello,
        &TransportSettings::default(),
    )
    .unwrap();
    let target = Target::from(Address::from(third.local_address().unwrap()));
    let mut stream = soon(a.transport.open(&target, &echo())).await.unwrap();
    stream.send_piece(Bytes::from_static(b"half a file")).await.unwrap();
    let Some(Incoming::Stream { stream: mut asked, .. }) = soon(incoming.recv()).await else {
        panic!("no stream");
    };
    asked.read_request().await.unwrap();
    drop(stream);
    let end = loop {
        match asked.read_piece(100).await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end, Err(StreamError::Cancelled));
    // The other way round: the answer breaks off.
    let mut stream = soon(a.transport.open(&target, &echo())).await.unwrap();
    let Some(Incoming::Stream { stream: asked, .. }) = soon(incoming.recv()).await else {
        panic!("no stream");
    };
    drop(asked);
    assert_eq!(stream.read_reply(PATIENCE).await, Err(StreamError::Cancelled));
}

#[tokio::test]
async fn a_request_without_an_answer_ends_in_time_and_spares_the_connection() {
    let ring = Ring::new();
    let (a, b) = (ring.peer(1), ring.peer(2));
    a.probe(&b.target).await.unwrap();
    let never = Request::Storage(StorageRequest::Announce { content: ContentId::of(b"") });
    let failure = a.transport.request(&b.target, &never, Duration::from_millis(400)).await.unwrap_err();
    assert_eq!(failure, RequestFailure::Timeout { waited_ms: 400 });
    // The peer acknowledged the bytes: its connection works on.
    assert!(a.transport.connection(&b.target.position.unwrap()).is_some());
    assert_eq!(a.probe(&b.target).await.unwrap().1, alive());
}

#[tokio::test]
async fn datagrams_go_both_ways() {
    let ring = Ring::new();
    let (mut a, mut b) = (ring.peer(1), ring.peer(2));
    // The first datagram waits for a dial.
    let largest = Bytes::from(vec![9; limits::DATAGRAM_BYTES_MAX]);
    a.transport.send_datagram(&b.target, largest.clone());
    let Some(Incoming::Datagram { from, bytes }) = soon(b.inbox.recv()).await else {
        panic!("no datagram");
    };
    assert_eq!(from.position, a.target.position.unwrap());
    assert_eq!(bytes, largest);
    b.transport.send_datagram(&Target::from(&from), Bytes::from_static(b"pong"));
    let Some(Incoming::Datagram { bytes, .. }) = soon(a.inbox.recv()).await else {
        panic!("no datagram");
    };
    assert_eq!(bytes, "pong");
    assert_eq!(a.transport.counters().undelivered_datagrams(), 0);
    a.transport.send_datagram(&b.target, Bytes::from(vec![0; 60_000]));
    assert_eq!(a.transport.counters().undelivered_datagrams(), 1);
}

#[tokio::test]
async fn datagrams_beyond_the_queue_are_dropped_and_counted() {
    let ring = Ring::new();
    let a = ring.peer(1);
    let identity = ring.identity(2);
    let hello = Hello { incarnation: 1, advertised: None, revocations: 0 };
    let listen = "127.0.0.1:0".parse().unwrap();
    let settings = TransportSettings::default();
    let (b, incoming) =
        Transport::bind(&identity, &identity.verifier().unwrap(), listen, hello, &settings).unwrap();
    let target = Target { address: b.local_address().unwrap().into(), position: Some(identity.position()) };
    soon(a.transport.connect(&target)).await.unwrap();
    eventually_async("the queue is full", async || {
        (0..50).for_each(|_| a.transport.send_datagram(&target, Bytes::from_static(b"x")));
        b.counters().dropped_datagrams() > 0
    })
    .await;
    drop(incoming);
}

/// Prints the throughput of one stream, memory to memory:
/// `cargo test --release --lib transport:: -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs QUOIT_MEASURE"]
async fn throughput_of_one_stream() {
    const BYTES: u64 = 1 << 30;
    let ring = Ring::new();
    for window in [12 << 10, 128 << 10, 1 << 20] {
        let settings = TransportSettings { initial_window_bytes: window, ..TransportSettings::default() };
        let (a, b) = (ring.identity(1), ring.identity(2));
        let (a, b) = (Peer::with(&a, &settings).unwrap(), Peer::with(&b, &settings).unwrap());
        let fetch =
            Request::Storage(StorageRequest::FetchObject { content: ContentId::of(b""), offset: BYTES });
        for way in ["read_piece", "gather"] {
            let begun = std::time::Instant::now();
            let mut stream = a.transport.open(&b.target, &fetch).await.unwrap();
            stream.read_reply(PATIENCE).await.unwrap();
            let (mut received, mut reads) = (0, 0u64);
            while received < BYTES {
                received += match way {
                    "gather" => {
                        stream.gather(limits::PIECE_BYTES, PATIENCE).await.unwrap().unwrap().len() as u64
                    }
                    _ => stream.read_piece(limits::PIECE_BYTES).await.unwrap().unwrap().len() as u64,
                };
                reads += 1;
            }
            let rate = BYTES as f64 / begun.elapsed().as_secs_f64() / 1e9;
            println!("initial window {window}, {way}: {rate:.2} GB/s, {} bytes a read", BYTES / reads);
        }
    }
}
