//! Strangers and members that overdo something: the excess is bounded and counted, and no other peer suffers.

use std::net::SocketAddr;

use super::*;
use crate::id::Position;
use crate::transport::guard::{
    CONNECTIONS_PER_PEER_MAX, FAILURES, FAULTS, HANDSHAKES_PER_SOURCE_MAX, HELLOS,
};
use crate::transport::turns::LINE_MAX;
use crate::wire::{Fault, codec, limits};

/// A member's bare end of the network: the test decides what it sends.
fn bare_member(identity: &Identity, from: &str) -> quinn::Endpoint {
    let config = client_settings(identity);
    let mut endpoint = quinn::Endpoint::client(from.parse().unwrap()).unwrap();
    endpoint.set_default_client_config(config);
    endpoint
}

async fn greeted(endpoint: &quinn::Endpoint, to: SocketAddr, incarnation: u64) -> quinn::Connection {
    let connection = soon(endpoint.connect(to, "peer.quoit").unwrap()).await.unwrap();
    hello(&connection, incarnation).await;
    connection
}

async fn hello(connection: &quinn::Connection, incarnation: u64) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let hello = codec::frame(&Hello { incarnation, advertised: None, revocations: 0 }).unwrap();
    let _ = send.write_all(&hello).await;
    let _ = send.finish();
    let _ = soon(frame::read::<Hello>(&mut recv)).await;
}

fn code_of(end: &quinn::ConnectionError) -> Option<quinn::VarInt> {
    match end {
        quinn::ConnectionError::ApplicationClosed(close) => Some(close.error_code),
        _ => None,
    }
}

/// The faults that were reported so far.
fn told(inbox: &mut mpsc::Receiver<Incoming>) -> Vec<Fault> {
    std::iter::from_fn(|| inbox.try_recv().ok())
        .filter_map(|event| match event {
            Incoming::Misbehaved { fault, .. } => Some(fault),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn an_impossible_incarnation_is_refused_at_the_hello_and_both_sides_can_read_why() {
    let ring = Ring::new();
    let b = ring.peer(2);
    let to = b.transport.local_address().unwrap();
    for incarnation in [0, limits::INCARNATION_MAX + 1, u64::MAX] {
        let member = bare_member(&ring.identity(3), "127.0.0.1:0");
        let connection = soon(member.connect(to, "peer.quoit").unwrap()).await.unwrap();
        hello(&connection, incarnation).await;
        let end = soon(connection.closed()).await;
        assert_eq!(code_of(&end), Some(stream_error::close_code::BAD_HELLO), "{end:?}");
        assert!(end.to_string().contains(&incarnation.to_string()), "{end}");
        // The other way round: the dialled peer names the dialler.
        let liar = Peer::start(&ring.identity(4), "127.0.0.1:0".parse().unwrap(), incarnation).unwrap();
        let error = soon(b.transport.connect(&liar.target)).await.unwrap_err();
        assert!(matches!(&error, DialError::Refused { refusal: Refusal::BadHello(_), .. }), "{error:?}");
        assert!(error.to_string().contains(&incarnation.to_string()), "{error}");
    }
    assert_eq!(b.transport.counters().refused_handshakes(), 3);
    assert!(b.transport.connected().is_empty());
}

/// Goal: the holder of a certificate speaks for its own position only.
#[tokio::test]
async fn a_position_is_the_certificates_and_no_hello_changes_it() {
    let ring = Ring::new();
    let (a, b) = (ring.peer(1), ring.peer(2));
    let claimed = Target { position: Some(Position::of_number(9)), ..b.target.clone() };
    let error = soon(a.transport.connect(&claimed)).await.unwrap_err();
    assert!(matches!(error, DialError::WrongPeer { .. }), "{error:?}");
    soon(a.transport.connect(&b.target)).await.unwrap();
    assert_eq!(a.transport.connected()[0].position, Position::of_number(2));
}

#[tokio::test]
async fn failing_handshakes_cost_their_address_and_nobody_else() {
    let (ring, other) = (Ring::new(), Ring::new());
    let b = ring.peer(2);
    let to = b.transport.local_address().unwrap();
    let known = bare_member(&ring.identity(3), "127.0.0.9:0");
    greeted(&known, to, 1).await;
    // The stranger's certificate is of another ring. Its side would refuse b's certificate, so its client checks none.
    let stranger = hostile::bare_client(&ring, b"quoit/1");
    stranger.rebind(std::net::UdpSocket::bind("127.0.0.9:0").unwrap()).unwrap();
    for _ in 0..3 * FAILURES.burst as usize {
        if let Ok(connection) = soon(stranger.connect(to, "peer.quoit").unwrap()).await {
            soon(connection.closed()).await;
        }
    }
    let counters = b.transport.counters();
    eventually_async("most were turned away unheard", async || {
        counters.turned_away() >= FAILURES.burst as u64
    })
    .await;
    assert!(counters.refused_handshakes() >= 3 * FAILURES.burst as u64);
    // Its neighbour behind the same address, which b knows, connects again; so does every other peer.
    greeted(&known, to, 1).await;
    let elsewhere = bare_member(&ring.identity(4), "127.0.0.1:0");
    greeted(&elsewhere, to, 1).await;
    drop(other);
}

/// Handshakes that fail, from `sockets` ports of 127.0.0.1 at a time, until this is dropped. Each socket is
/// used a few times and then another takes its place.
fn failing_handshakes(ring: &Ring, to: SocketAddr, sockets: usize) -> tokio::task::JoinSet<()> {
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..sockets {
        let stranger = hostile::bare_client(ring, b"quoit/1");
        flood.spawn(async move {
            for round in 1_u32.. {
                if let Ok(Ok(connection)) =
                    timeout(Duration::from_secs(1), stranger.connect(to, "peer.quoit").unwrap()).await
                {
                    let _ = timeout(Duration::from_secs(1), connection.closed()).await;
                }
                if round.is_multiple_of(4) {
                    stranger.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
                }
            }
        });
    }
    flood
}

/// Goal: an attacker without a certificate cannot lock out a command or a new peer at its own address, and ports of
/// clients do not push out those of peers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_and_new_peers_come_in_beside_a_flood_from_their_own_address() {
    let ring = Ring::new();
    let (identity, old) = (ring.identity(2), ring.peer(1));
    let b = Peer::start(&identity, "127.0.0.1:0".parse().unwrap(), 1).unwrap();
    old.probe(&b.target).await.unwrap();
    let flood = failing_handshakes(&ring, b.transport.local_address().unwrap(), 8);
    let counters = b.transport.counters();
    eventually_async("it is slowed", async || counters.turned_away() >= 2 * FAILURES.burst as u64).await;
    let credentials = Credentials::of_peer(&identity).unwrap();
    for _ in 0..20 {
        let client = ClientConnection::connect(&credentials, &b.target.address, b.target.position).await;
        client.expect("within the time of a dial").close().await;
    }
    for number in 10..20 {
        let new = ring.peer(number);
        new.transport.connect(&b.target).await.expect("within the time of a dial");
    }
    assert_eq!(old.probe(&b.target).await.unwrap().1, alive());
    let before = counters.refused_handshakes();
    eventually_async("the flood goes on", async || counters.refused_handshakes() > before).await;
    drop(flood);
}

/// Goal: a host that holds up as many handshakes as it can does not lock out others at its address for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_are_begun_and_left_keep_no_client_out() {
    let ring = Ring::new();
    let identity = ring.identity(2);
    let b = Peer::start(&identity, "127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let to = b.transport.local_address().unwrap();
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let mute = bare_member(&ring.identity(3), "127.0.0.1:0");
        flood.spawn(async move {
            loop {
                if let Ok(connection) = mute.connect(to, "peer.quoit").unwrap().await {
                    connection.closed().await;
                }
                // Pings, as fast as the rates allow, without a busy loop.
                sleep(Duration::from_millis(1)).await;
                mute.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            }
        });
    }
    let counters = b.transport.counters();
    eventually_async("it is slowed", async || counters.refused_handshakes() >= 2 * FAILURES.burst as u64)
        .await;
    let credentials = Credentials::of_peer(&identity).unwrap();
    for _ in 0..5 {
        let client = ClientConnection::connect(&credentials, &b.target.address, b.target.position).await;
        client.expect("within the time of a dial").close().await;
    }
}

/// Goal: the user gets one line about strangers, and no flood of lines.
#[tokio::test]
async fn of_many_refused_connections_one_is_told_at_a_time() {
    let (ring, other) = (Ring::new(), Ring::new());
    let mut b = ring.peer(2);
    let to = b.transport.local_address().unwrap();
    // The client does not check which peer b is, so that b sees the client's certificate.
    let (chain, key) = other.identity(3).for_tls();
    let verifier = ring.authority.verifier().unwrap();
    let config =
        settings::client(chain, key, &verifier, settings::ALPN_PEER, &TransportSettings::default()).unwrap();
    let mut foreign = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    foreign.set_default_client_config(config);
    let begin = std::time::Instant::now();
    for _ in 0..20 {
        if let Ok(connection) = soon(foreign.connect(to, "peer.quoit").unwrap()).await {
            soon(connection.closed()).await;
        }
    }
    let counters = b.transport.counters();
    eventually_async("all are refused", async || counters.refused_handshakes() >= 20).await;
    let intervals = begin.elapsed().as_secs() / 5 + 1;
    let mut told = Vec::new();
    while let Ok(event) = b.inbox.try_recv() {
        if let Incoming::Refused { from, reason, total } = event {
            told.push((from, reason, total));
        }
    }
    assert!((1..=intervals).contains(&(told.len() as u64)), "{told:?} in {intervals} intervals");
    let first = (foreign.local_addr().unwrap(), "its certificate is of another ring".to_owned(), 1);
    assert_eq!(told[0], first);
}

#[tokio::test]
async fn connections_of_one_peer_are_few_and_the_oldest_goes() {
    let ring = Ring::new();
    let b = ring.peer(2);
    let member = bare_member(&ring.identity(3), "127.0.0.1:0");
    let to = b.transport.local_address().unwrap();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS_PER_PEER_MAX + 3 {
        connections.push(greeted(&member, to, 1).await);
    }
    for connection in &connections[..3] {
        let end = soon(connection.closed()).await;
        assert_eq!(code_of(&end), Some(stream_error::close_code::SUPERSEDED), "{end:?}");
    }
    eventually_async("the books agree", async || b.open_connections() <= CONNECTIONS_PER_PEER_MAX).await;
    assert_eq!(b.transport.counters().surplus_connections(), 3);
}

/// Goal: b accepts only a few of a thousand connections of one member, and then shuns the member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_from_one_address_are_bounded() {
    let ring = Ring::new();
    let (a, mut b) = (ring.peer(1), ring.peer(2));
    a.probe(&b.target).await.unwrap();
    let to = b.transport.local_address().unwrap();
    let identity = ring.identity(3);
    let mut churn = tokio::task::JoinSet::new();
    // The handshakes that are let in, those that fail before their address is turned away, and those under way.
    let most = (HELLOS.burst + FAULTS.burst + FAILURES.burst) as usize + HANDSHAKES_PER_SOURCE_MAX + LINE_MAX;
    for _ in 0..20 {
        let member = bare_member(&identity, "127.0.0.2:0");
        churn.spawn(async move {
            for _ in 0..50 {
                if let Ok(connection) = member.connect(to, "peer.quoit").unwrap().await
                    && let Ok((mut send, mut recv)) = connection.open_bi().await
                {
                    let hello = Hello { incarnation: 1, advertised: None, revocations: 0 };
                    let _ = send.write_all(&codec::frame(&hello).unwrap()).await;
                    let _ = timeout(Duration::from_secs(5), frame::read::<Hello>(&mut recv)).await;
                }
            }
        });
    }
    while !churn.is_empty() {
        let _ = timeout(Duration::from_millis(20), churn.join_next()).await;
        assert!(b.open_connections() <= most, "{} connections", b.open_connections());
        assert_eq!(a.probe(&b.target).await.unwrap().1, alive(), "others are served meanwhile");
    }
    let counters = b.transport.counters();
    assert!(counters.shunned() >= 1);
    assert!(counters.turned_away() > 0);
    assert!(told(&mut b.inbox).contains(&Fault::Reconnecting));
    assert!(counters.surplus_connections() <= HELLOS.burst as u64 + FAULTS.burst as u64 + 2);
}

#[tokio::test]
async fn a_peer_that_goes_on_with_malformed_messages_is_shunned_and_comes_back_by_itself() {
    let ring = Ring::new();
    let settings = TransportSettings { shun_min: Duration::from_secs(3), ..TransportSettings::default() };
    let (a, mut b) = (ring.peer(1), Peer::with(&ring.identity(2), &settings).unwrap());
    a.probe(&b.target).await.unwrap();
    let identity = ring.identity(3);
    let member = bare_member(&identity, "127.0.0.1:0");
    let to = b.transport.local_address().unwrap();
    let connection = greeted(&member, to, 1).await;
    let mut sent = 0;
    while connection.close_reason().is_none() && sent < 1_000 {
        sent += 1;
        if let Ok((mut send, mut recv)) = connection.open_bi().await {
            let _ = send.write_all(&[0xff; 64]).await;
            // The answer is an error of the protocol, or the end of the connection.
            let _ = soon(frame::read::<Reply>(&mut recv)).await;
        }
    }
    let end = soon(connection.closed()).await;
    assert_eq!(code_of(&end), Some(stream_error::close_code::MISBEHAVED), "{end:?}");
    assert!(end.to_string().contains("malformed messages"), "{end}");
    assert!((FAULTS.burst as u64..FAULTS.burst as u64 + 3).contains(&sent), "{sent}");
    assert!(told(&mut b.inbox).contains(&Fault::Malformed));

    // Meanwhile b neither lets the member in nor dials it; b serves others.
    let again = soon(member.connect(to, "peer.quoit").unwrap()).await.unwrap();
    hello(&again, 1).await;
    assert_eq!(code_of(&soon(again.closed()).await), Some(stream_error::close_code::MISBEHAVED));
    let back = Target { address: member.local_addr().unwrap().into(), position: Some(identity.position()) };
    let error = soon(b.transport.connect(&back)).await.unwrap_err();
    assert!(matches!(&error, DialError::Refused { refusal: Refusal::ShunnedHere, .. }), "{error:?}");
    assert!(!error.is_final());
    assert_eq!(a.probe(&b.target).await.unwrap().1, alive());

    // An honest peer whose bug is over is a peer like others after a while.
    let honest = Peer::start(&identity, "127.0.0.1:0".parse().unwrap(), 2).unwrap();
    eventually_async("it comes back", async || honest.probe(&b.target).await.is_ok()).await;
    assert_eq!(b.transport.counters().shunned(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_datagrams_is_dropped_unread_and_ends_the_connection() {
    let ring = Ring::new();
    let (a, mut b) = (ring.peer(1), ring.peer(2));
    a.probe(&b.target).await.unwrap();
    let member = bare_member(&ring.identity(3), "127.0.0.1:0");
    let connection = greeted(&member, b.transport.local_address().unwrap(), 1).await;
    let flood = {
        let connection = connection.clone();
        tokio::spawn(async move {
            while connection.send_datagram_wait(Bytes::from_static(&[7; 64])).await.is_ok() {}
        })
    };
    let end = soon(connection.closed()).await;
    assert_eq!(code_of(&end), Some(stream_error::close_code::MISBEHAVED), "{end:?}");
    soon(flood).await.unwrap();
    assert!(b.transport.counters().flooded_datagrams() > 0);
    assert_eq!(a.probe(&b.target).await.unwrap().1, alive());
    // The faults came among the datagrams that were let through.
    assert!(b.transport.counters().shunned() == 1);
    drop(told(&mut b.inbox));
}

/// Goal: abandoned streams end by themselves, and cost the peer that left them.
#[tokio::test]
async fn streams_opened_and_left_end() {
    let ring = Ring::new();
    let settings =
        TransportSettings { stream_silence: Duration::from_secs(2), ..TransportSettings::default() };
    let (a, b) = (ring.peer(1), Peer::with(&ring.identity(2), &settings).unwrap());
    a.probe(&b.target).await.unwrap();
    let member = bare_member(&ring.identity(3), "127.0.0.1:0");
    let connection = greeted(&member, b.transport.local_address().unwrap(), 1).await;
    let mut left = Vec::new();
    for _ in 0..64 {
        let (mut send, recv) = soon(connection.open_bi()).await.unwrap();
        // Half a header opens the stream without a request.
        send.write_all(&[0, 0]).await.unwrap();
        left.push((send, recv));
    }
    assert_eq!(a.probe(&b.target).await.unwrap().1, alive(), "others are served meanwhile");
    let chatter = tokio::spawn({
        let connection = connection.clone();
        async move {
            // The client sends all the time.
            while connection.send_datagram(Bytes::from_static(b"x")).is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let end = soon(connection.closed()).await;
    assert_eq!(code_of(&end), Some(stream_error::close_code::MISBEHAVED), "{end:?}");
    let counters = b.transport.counters();
    assert!(counters.streams_left_open() >= FAULTS.burst as u64, "{}", counters.streams_left_open());
    soon(chatter).await.unwrap();
}
