//! The ends of a raw QUIC connection, for benchmarks.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TransportConfig};
use quoit::transport::TransportSettings;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A server's certificate for `localhost`, with its key.
pub struct Certified {
    pub certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Certified {
    pub fn new() -> Certified {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        Certified { certificate: made.cert.der().clone(), key }
    }

    pub fn server(&self, transport: TransportConfig) -> ServerConfig {
        let tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .expect("a certificate with its key");
        let crypto = QuicServerConfig::try_from(tls).expect("for QUIC");
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        config
    }
}

pub fn client(certificate: CertificateDer<'static>, transport: TransportConfig) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("for QUIC")));
    config.transport_config(Arc::new(transport));
    config
}

pub fn endpoint(at: SocketAddr, settings: &TransportSettings, server: Option<ServerConfig>) -> Endpoint {
    let socket = UdpSocket::bind(at).expect("a port");
    let options = socket2::SockRef::from(&socket);
    let _ = options.set_recv_buffer_size(settings.socket_buffer_bytes);
    let _ = options.set_send_buffer_size(settings.socket_buffer_bytes);
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(settings.packet_bytes_max).expect("a size that QUIC allows");
    Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime)).expect("an endpoint")
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The provider of quoit: AES-128 first.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::CryptoProvider {
        cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
        ..rustls::crypto::ring::default_provider()
    })
}
