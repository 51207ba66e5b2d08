//! Peers and strangers that break the rules: they pay for it, and the peer works on.

use super::*;
use crate::wire::codec;

/// Sends raw bytes on a new stream, in place of a request, and reads the reply.
async fn say(a: &Peer, b: &Peer, bytes: &[u8]) -> Reply {
    let connection = soon(a.transport.connect(&b.target)).await.unwrap();
    let (mut send, mut recv) = connection.quic().open_bi().await.unwrap();
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    soon(frame::read(&mut recv)).await.unwrap()
}

#[tokio::test]
async fn malformed_requests_are_answered_and_counted() {
    let ring = Ring::new();
    let (a, b) = (ring.peer(1), ring.peer(2));
    let whole = codec::frame(&probe()).unwrap();
    let trailing = [&(whole.len() as u32).to_be_bytes()[..], &whole[4..], &[0; 4]].concat();
    let cases: [(&str, Vec<u8>); 7] = [
        ("a length of 2^32 - 1", vec![0xff; 4]),
        ("one more than a frame has", (64 * 1024 + 1u32).to_be_bytes().to_vec()),
        ("nothing", vec![]),
        ("half a header", vec![0, 0]),
        ("half a frame", whole[..whole.len() - 1].to_vec()),
        ("garbage", [&8u32.to_be_bytes()[..], &[0xee; 8]].concat()),
        ("trailing bytes", trailing),
    ];
    let count = cases.len() as u64;
    for (what, bytes) in cases {
        let reply = say(&a, &b, &bytes).await;
        assert!(matches!(reply, Reply::ProtocolError(_)), "{what}: {reply:?}");
    }
    assert_eq!(b.transport.counters().malformed(), count);
    assert_eq!(a.probe(&b.target).await.unwrap().1, alive());
    assert_eq!((a.open_connections(), b.open_connections()), (1, 1));
}

/// Goal: a claimed length takes no memory: the buffer is made after the check.
#[test]
fn a_claimed_length_is_checked_first() {
    assert!(codec::frame_length([0xff; 4]).is_err());
}

pub(super) fn bare_client(ring: &Ring, alpn: &[u8]) -> quinn::Endpoint {
    let verifier = ring.authority.verifier().unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(verifier::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(verifier.roots())
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(std::sync::Arc::new(crypto)));
    endpoint
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let ring = Ring::new();
    let b = ring.peer(2);
    let client = bare_client(&ring, b"quoit/1");
    let address = b.transport.local_address().unwrap();
    // The dialler may look connected: the refusal comes after its side of the handshake.
    let end = match soon(client.connect(address, "peer.quoit").unwrap()).await {
        Ok(connection) => soon(connection.closed()).await,
        Err(error) => error,
    };
    assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(_)), "{end:?}");
    eventually_async("the refusal is counted", async || b.transport.counters().refused_handshakes() == 1)
        .await;
    assert!(b.transport.connected().is_empty());
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let ring = Ring::new();
    let b = ring.peer(2);
    let client = bare_client(&ring, b"quoit/2");
    let connecting = client.connect(b.transport.local_address().unwrap(), "peer.quoit").unwrap();
    assert!(soon(connecting).await.is_err());
}

#[tokio::test]
async fn a_peer_that_does_not_greet_is_refused_in_time() {
    let ring = Ring::new();
    let b = ring.peer(2);
    let identity = ring.identity(3);
    let config = client_settings(&identity);
    let mut mute = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    mute.set_default_client_config(config);
    let connecting = mute.connect(b.transport.local_address().unwrap(), "peer.quoit").unwrap();
    let connection = soon(connecting).await.unwrap();
    let end = soon(connection.closed()).await;
    assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(_)), "{end:?}");
    eventually_async("the refusal is counted", async || b.transport.counters().refused_handshakes() == 1)
        .await;
    assert!(b.transport.connected().is_empty());
}

#[tokio::test]
async fn a_hello_that_is_none_is_refused() {
    let ring = Ring::new();
    let b = ring.peer(2);
    let identity = ring.identity(3);
    let config = client_settings(&identity);
    let mut rude = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    rude.set_default_client_config(config);
    let connecting = rude.connect(b.transport.local_address().unwrap(), "peer.quoit").unwrap();
    let connection = soon(connecting).await.unwrap();
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&[0xff; 64]).await.unwrap();
    let end = soon(connection.closed()).await;
    assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(_)), "{end:?}");
    assert_eq!(b.transport.counters().refused_handshakes(), 1);
}

/// Goal: a peer reports no refused connection for late packets of handshakes that it gave up. A peer that was stopped
/// sends such packets when it goes on.
#[tokio::test]
async fn late_packets_of_a_handshake_are_dropped_in_silence() {
    let ring = Ring::new();
    let (a, b) = (ring.peer(1), ring.peer(2));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let accepted = || b.transport.shared.endpoint.stats().accepted_handshakes;
    for id in 0..64u8 {
        // RFC 9000, section 17.2.2: an Initial of version 1, with two connection ids, no token, and 1,178 bytes whose
        // key nobody has.
        let mut packet = vec![0xc0, 0, 0, 0, 1, 8];
        packet.extend([id; 8]);
        packet.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0x44, 0x9a]);
        packet.resize(1_204, id);
        socket.send_to(&packet, b.transport.local_address().unwrap()).unwrap();
    }
    a.probe(&b.target).await.unwrap();
    assert_eq!(accepted(), 1, "only the last one is a connection");
    assert_eq!(b.transport.counters().refused_handshakes(), 0);
}
