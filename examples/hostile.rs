//! A hostile member: floods one peer with everything that a valid certificate allows, and more.
//!
//! `hostile CERTS_DIR HOST:PORT SECONDS [FROM]`: takes identities from the ring CA in CERTS_DIR, one for each
//! kind of attack, so that being shunned for one does not end another; attacks from the IP addresses FROM
//! (127.0.0.1; several with commas between, in turn). For measurements on a ring of one's own: `scripts/measure.py hostile`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quoit::id::{ContentId, OutboardDigest, Position};
use quoit::transport::{Authority, Identity, Placement};
use quoit::wire::{
    Datagram, Hello, MembershipRequest, NeighbourRequest, ObjectInfo, Request, StorageRequest, StoreRole,
    codec,
};
use rand::Rng as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One kind of attack, with the number of times it was made so far.
#[derive(Clone, Copy, Debug)]
enum Attack {
    RandomStreams,
    DatagramFlood,
    PingFlood,
    StreamsLeft,
    Churn,
    ForeignCertificate,
    TransfersLeft,
    Requests,
}

const ATTACKS: [Attack; 8] = [
    Attack::RandomStreams,
    Attack::DatagramFlood,
    Attack::PingFlood,
    Attack::StreamsLeft,
    Attack::Churn,
    Attack::ForeignCertificate,
    Attack::TransfersLeft,
    Attack::Requests,
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [certs_dir, target, seconds, from @ ..] = &words[..] else {
        return Err("usage: hostile CERTS_DIR HOST:PORT SECONDS [FROM]".into());
    };
    let (target, until): (SocketAddr, _) =
        (target.parse()?, Instant::now() + Duration::from_secs_f64(seconds.parse()?));
    let from = from.first().map_or("127.0.0.1", String::as_str).split(',');
    let from = from.map(str::parse).collect::<Result<Vec<IpAddr>, _>>()?;
    let ring = Authority::open(Path::new(certs_dir))?.ok_or("no ring CA there")?;
    let elsewhere = tempfile::tempdir()?;
    let foreign = Authority::found_or_open(elsewhere.path())?;
    let mut running = Vec::new();
    for (attack, from) in ATTACKS.into_iter().zip(from.iter().cycle()) {
        let authority = if matches!(attack, Attack::ForeignCertificate) { &foreign } else { &ring };
        let endpoint =
            endpoint(&authority.issue(Placement::SelfPlaced(quoit::id::Weight::ONE), None)?, *from)?;
        let done = Arc::new(AtomicU64::new(0));
        let counted = done.clone();
        let task = tokio::spawn(async move {
            while Instant::now() < until {
                let once = carry_out(attack, &endpoint, target, &counted, until);
                let _ = tokio::time::timeout(until - Instant::now().min(until), once).await;
                // A pause, so that the figures do not measure how fast this side can fail.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        running.push((attack, done, task));
    }
    for (attack, done, task) in running {
        task.await?;
        println!("{attack:?}: {}", done.load(Ordering::Relaxed));
    }
    Ok(())
}

/// An endpoint that trusts every peer, since it is there to attack.
fn endpoint(identity: &Identity, from: IpAddr) -> Result<quinn::Endpoint, Failure> {
    let dir = tempfile::tempdir()?;
    identity.save(dir.path())?;
    let (mut chain, mut key) = (Vec::new(), None);
    for file in std::fs::read_dir(dir.path().join("peers"))? {
        let pem = std::fs::read(file?.path())?;
        match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(found) => key = Some(found),
            Err(_) => chain.extend(CertificateDer::from_pem_slice(&pem)),
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_client_auth_cert(chain, key.ok_or("no key")?)?;
    tls.alpn_protocols = vec![b"quoit/1".to_vec()];
    let mut endpoint = quinn::Endpoint::client(SocketAddr::new(from, 0))?;
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = quinn::TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_secs(5).try_into()?));
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// Carries out an attack over one connection.
async fn carry_out(
    attack: Attack,
    endpoint: &quinn::Endpoint,
    target: SocketAddr,
    done: &AtomicU64,
    until: Instant,
) -> Result<(), Failure> {
    let connecting = endpoint.connect(target, "peer.quoit")?;
    let connection = tokio::time::timeout(Duration::from_secs(1), connecting).await;
    if matches!(attack, Attack::ForeignCertificate) {
        done.fetch_add(1, Ordering::Relaxed);
    }
    let connection = connection??;
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(&codec::frame(&Hello { incarnation: 1, advertised: None, revocations: 0 })?).await?;
    send.finish()?;
    recv.read_to_end(1 << 16).await?;
    let mut left = Vec::new();
    while Instant::now() < until && connection.close_reason().is_none() {
        done.fetch_add(1, Ordering::Relaxed);
        match attack {
            Attack::Churn | Attack::ForeignCertificate => break,
            Attack::RandomStreams => {
                let (mut send, _) = connection.open_bi().await?;
                let mut noise = [0; 256];
                rand::rng().fill_bytes(&mut noise);
                send.write_all(&noise).await?;
            }
            Attack::DatagramFlood => {
                connection.send_datagram_wait(Bytes::from_static(&[0xaa; 1_000])).await?;
            }
            Attack::PingFlood => {
                let ping = codec::encode(&Datagram::Ping { sequence: 1, news: Vec::new() })?;
                connection.send_datagram_wait(ping.into()).await?;
            }
            Attack::StreamsLeft => {
                let (mut send, recv) = connection.open_bi().await?;
                send.write_all(&[0]).await?;
                left.push((send, recv));
            }
            Attack::TransfersLeft => left.push(transfer_left(&connection).await?),
            Attack::Requests => {
                let (mut send, recv) = connection.open_bi().await?;
                let request = Request::Membership(MembershipRequest::FindOwner { key: Position::MAX });
                send.write_all(&codec::frame(&request)?).await?;
                send.finish()?;
                drop(recv);
            }
        }
    }
    Ok(())
}

/// Announces an object and sends only a little of it, or asks for an answer and does not read it.
async fn transfer_left(
    connection: &quinn::Connection,
) -> Result<(quinn::SendStream, quinn::RecvStream), Failure> {
    let (mut send, recv) = connection.open_bi().await?;
    let mut content = ContentId([0; 32]);
    rand::rng().fill_bytes(&mut content.0);
    let object = ObjectInfo { content, length: 1 << 30, outboard: OutboardDigest([0; 32]) };
    let role = StoreRole::Replica { chain: Vec::new() };
    let request = match content.0[0] % 3 {
        0 => Request::Storage(StorageRequest::ListFiles { after: None }),
        1 => {
            Request::Membership(MembershipRequest::Neighbour(NeighbourRequest::State { members: Vec::new() }))
        }
        _ => Request::Storage(StorageRequest::StoreObject { object, links: Vec::new(), role }),
    };
    send.write_all(&codec::frame(&request)?).await?;
    send.write_all(&[0; 4_096]).await?;
    Ok((send, recv))
}

#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
