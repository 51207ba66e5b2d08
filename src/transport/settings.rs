//! Settings of the transport, and their translation for quinn and rustls.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;

use super::identity::Identity;
use super::pace::PaceConfig;
use super::verifier::{Verifier, provider};
use crate::wire::limits;

/// The settings of the transport. The defaults were measured over loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportSettings {
    /// The silence after which a connection ends. Pings find deaths earlier.
    pub idle_timeout: Duration,
    /// The interval at which a quiet connection sends something, which also keeps ways through address translators
    /// open.
    pub keep_alive: Duration,
    /// The most bytes of one stream that may be on their way. Larger is faster over long paths and costs memory.
    pub stream_window_bytes: u32,
    /// The most bytes of all streams of a connection that may be on their way to us.
    pub connection_window_bytes: u32,
    /// The most bytes that a connection keeps because they were sent and are not acknowledged; fewer on a slow path
    /// (see `pace`).
    pub send_window_bytes: u64,
    /// The congestion window that a connection starts with, in bytes. RFC 9002 asks for 12,000 or so; larger finishes
    /// small files in fewer round trips and is rude to a slow network.
    pub initial_window_bytes: u64,
    /// The largest packet that is tried, in bytes; above 6,500 segmentation offload collapses.
    pub packet_bytes_max: u16,
    /// The time from one search for the largest packet of a path to the next. A search repeats each packet that is too
    /// large three times, so a shorter time costs an idle path more bytes.
    pub packet_search_interval: Duration,
    /// The time from the loss of all large packets to the next search. Until then packets have 1,200 bytes.
    pub packet_search_after_black_hole: Duration,
    /// The size of the socket's buffers, in bytes; the system may give less.
    pub socket_buffer_bytes: usize,
    /// The most pooled connections at once; the least recently used idle one makes room for a new one.
    pub connections_max: usize,
    /// How long a stream may be silent while bytes are due. A longer time tolerates more; a shorter one finds a lost
    /// path sooner.
    pub stream_silence: Duration,
    /// How long a misbehaving peer is shunned the first time.
    pub shun_min: Duration,
    /// The longest time of a shun; each shun lasts twice as long as the last, up to this.
    pub shun_max: Duration,
}

impl Default for TransportSettings {
    fn default() -> TransportSettings {
        TransportSettings {
            idle_timeout: Duration::from_secs(45),
            keep_alive: Duration::from_secs(20),
            stream_window_bytes: 8 << 20,
            connection_window_bytes: 32 << 20,
            send_window_bytes: 16 << 20,
            initial_window_bytes: 32 << 10,
            packet_bytes_max: 6_500,
            packet_search_interval: Duration::from_secs(120),
            packet_search_after_black_hole: Duration::from_secs(10),
            socket_buffer_bytes: 1 << 20,
            connections_max: limits::CONNECTIONS_MAX,
            stream_silence: limits::STREAM_SILENCE_MAX,
            shun_min: Duration::from_secs(10),
            shun_max: Duration::from_secs(600),
        }
    }
}

impl TransportSettings {
    /// The settings of a connection, for quinn. Public for the benchmarks, which send with the settings of a peer.
    #[doc(hidden)]
    pub fn for_quinn(&self) -> TransportConfig {
        let mut config = TransportConfig::default();
        let mut discovery = quinn::MtuDiscoveryConfig::default();
        discovery
            .upper_bound(self.packet_bytes_max)
            .interval(self.packet_search_interval)
            .black_hole_cooldown(self.packet_search_after_black_hole);
        let mut congestion = quinn::congestion::CubicConfig::default();
        congestion.initial_window(self.initial_window_bytes);
        config
            .max_concurrent_bidi_streams(VarInt::from_u32(limits::STREAMS_PER_CONNECTION_MAX))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .max_idle_timeout(IdleTimeout::try_from(self.idle_timeout).ok())
            .keep_alive_interval(Some(self.keep_alive))
            .stream_receive_window(VarInt::from_u32(self.stream_window_bytes))
            .receive_window(VarInt::from_u32(self.connection_window_bytes))
            .send_window(self.send_window_bytes)
            .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
            .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
            .congestion_controller_factory(Arc::new(PaceConfig(Arc::new(congestion))))
            .mtu_discovery_config(Some(discovery));
        config
    }
}

/// The protocol between peers, as TLS names it (RFC 7301).
pub(super) const ALPN_PEER: &[u8] = b"quoit/1";
/// The protocol between a client and its own peer.
pub(super) const ALPN_CLIENT: &[u8] = b"quoit-client/1";
/// The protocol of a stranger with a ticket.
pub(super) const ALPN_ENROL: &[u8] = b"quoit-enrol/1";

/// The endpoint's configuration. The reset key comes from the identity, so that a killed and restarted peer can tell
/// the others, by a stateless reset (RFC 9000, section 10.3), that their connections are gone.
pub(super) fn endpoint(identity: &Identity, settings: &TransportSettings) -> io::Result<EndpointConfig> {
    let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &identity.derive("quoit stateless reset"));
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config
        .cid_generator(|| Box::new(RandomIds))
        .max_udp_payload_size(settings.packet_bytes_max)
        .map_err(io::Error::other)?;
    Ok(config)
}

/// Connection ids that are plain random numbers. quinn's own ids carry a mark of their process, and packets for another
/// process's ids would be dropped instead of answered with a reset.
struct RandomIds;

impl quinn::ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        quinn::ConnectionId::new(&rand::random::<[u8; CONNECTION_ID_BYTES]>())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The configuration of the dialled side: a client certificate has to be of the ring. Only for `quoit-enrol/1` there
/// may be none, which is known after the handshake.
pub(super) fn server(
    identity: &Identity,
    verifier: &Verifier,
    settings: &TransportSettings,
) -> io::Result<ServerConfig> {
    let (chain, key) = identity.for_tls();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .with_client_cert_verifier(verifier.for_clients())
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    tls.alpn_protocols = vec![ALPN_PEER.to_vec(), ALPN_CLIENT.to_vec(), ALPN_ENROL.to_vec()];
    // A resumed session would not check the certificate again.
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(settings.for_quinn()))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(INCOMING_BUFFER_BYTES * INCOMING_MAX as u64);
    Ok(config)
}

/// The configuration of the dialling side, for this protocol.
pub(super) fn client(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    verifier: &Verifier,
    protocol: &[u8],
    settings: &TransportSettings,
) -> io::Result<ClientConfig> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(verifier.roots())
        .with_client_auth_cert(chain, key)
        .map_err(io::Error::other)?;
    tls.alpn_protocols = vec![protocol.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(settings.for_quinn()));
    Ok(config)
}

/// The configuration of a stranger, which shows no certificate. `checks` decides about the certificate of the other
/// side.
pub(super) fn stranger(
    checks: Arc<dyn ServerCertVerifier>,
    settings: &TransportSettings,
) -> io::Result<ClientConfig> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(checks)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN_ENROL.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(settings.for_quinn()));
    Ok(config)
}

/// The protocol that a connection speaks.
pub(super) fn protocol(quic: &quinn::Connection) -> Vec<u8> {
    let handshake = quic.handshake_data().and_then(|any| any.downcast::<HandshakeData>().ok());
    handshake.and_then(|handshake| handshake.protocol).unwrap_or_default()
}

/// The configuration for a dial that repeats no packet within its time: quinn repeats one after three initial round
/// trips.
pub(super) fn patient(settings: &TransportSettings) -> TransportConfig {
    let mut config = settings.for_quinn();
    config.initial_rtt(limits::CONNECT_TIMEOUT);
    config
}

/// The most handshakes that are under way at once.
pub(super) const HANDSHAKES_MAX: usize = 128;
/// The most handshakes that wait to be heard, beside those under way, and the bytes that are kept of each meanwhile.
const INCOMING_MAX: usize = 2 * HANDSHAKES_MAX;
const INCOMING_BUFFER_BYTES: u64 = 16 * 1024;
/// The bytes of datagrams that wait in a connection, either way.
const DATAGRAM_BUFFER_BYTES: usize = 256 * 1024;
const CONNECTION_ID_BYTES: usize = 8;
