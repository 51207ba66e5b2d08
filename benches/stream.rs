//! One raw QUIC stream over loopback, memory to memory: the ceiling that a transfer stands beside.
//!
//! `cargo bench --bench stream` prints the median of five rounds for each size of packet. The settings are those of
//! [`TransportSettings`]. Each side has a thread and a runtime of its own; nothing is hashed, and no disk is touched.
//! With `QUOIT_BENCH_JSON=1` it runs one round of each and prints a line of JSON for it, for programs.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt,
};
use quoit::transport::TransportSettings;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

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
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let (tell, told) = std::sync::mpsc::channel();
    let (ours, theirs) = (settings.clone(), settings.clone());
    let sender_certificate = certificate.clone();
    let before = cpu_seconds();
    let sender = std::thread::spawn(move || {
        runtime().block_on(async move {
            let endpoint = endpoint(&ours, Some(server(sender_certificate, key, &ours)));
            tell.send(endpoint.local_addr().expect("an address")).expect("the receiver waits");
            let connection = endpoint.accept().await.expect("a connection").await.expect("a handshake");
            let mut stream = connection.accept_uni().await.expect("a stream to ask on");
            stream.read_to_end(16).await.expect("a request");
            let mut out = connection.open_uni().await.expect("a stream");
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
        let endpoint = endpoint(&theirs, None);
        let config = client(certificate, &theirs);
        let dialled = endpoint.connect_with(config, address, "localhost").expect("a dial");
        let connection = dialled.await.expect("a handshake");
        let mut ask = connection.open_uni().await.expect("a stream");
        ask.write_all(b"all").await.expect("the sender reads");
        ask.finish().expect("the stream is open");
        let begun = Instant::now();
        let mut stream = connection.accept_uni().await.expect("the bytes");
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

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn endpoint(settings: &TransportSettings, server: Option<ServerConfig>) -> Endpoint {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let options = socket2::SockRef::from(&socket);
    let _ = options.set_recv_buffer_size(settings.socket_buffer_bytes);
    let _ = options.set_send_buffer_size(settings.socket_buffer_bytes);
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(settings.packet_bytes_max).expect("a size that QUIC allows");
    Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime)).expect("an endpoint")
}

fn transport(settings: &TransportSettings) -> Arc<TransportConfig> {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(settings.packet_bytes_max);
    let mut congestion = quinn::congestion::CubicConfig::default();
    congestion.initial_window(settings.initial_window_bytes);
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(VarInt::from_u32(settings.stream_window_bytes))
        .receive_window(VarInt::from_u32(settings.connection_window_bytes))
        .send_window(settings.send_window_bytes)
        .congestion_controller_factory(Arc::new(congestion))
        .mtu_discovery_config(Some(discovery));
    Arc::new(config)
}

/// The provider of quoit: AES-128 first.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    Arc::new(rustls::crypto::CryptoProvider {
        cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
        ..rustls::crypto::ring::default_provider()
    })
}

fn server(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    settings: &TransportSettings,
) -> ServerConfig {
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate with its key");
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("for QUIC")));
    config.transport_config(transport(settings));
    config
}

fn client(certificate: CertificateDer<'static>, settings: &TransportSettings) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("for QUIC")));
    config.transport_config(transport(settings));
    config
}

/// The processor time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
