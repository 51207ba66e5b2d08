//! The joining machine's side of `quoit-enrol/1`: a ticket becomes a bundle.
//!
//! ```text
//! CERTS_DIR/enrolling/<ticket id>-key.pem      the new key, until the peer has joined
//! CERTS_DIR/enrolling/<ticket id>.bundle.pem   key and certificates, until the peer has joined
//! ```
//!
//! The key is on disk before it is named to anybody, so that the same command gets the certificate again when the
//! answer was lost, and joins again when the ring could not be reached.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::time::timeout;

use super::background::spawn_blocking;
use super::bundle::{Bundle, BundleError};
use super::connection::certificate;
use super::dial;
use super::dial_error::DialError;
use super::files::{self, Access};
use super::frame::{self, within};
use super::identity_error::IdentityError;
use super::keys::SecretKey;
use super::names;
use super::placement;
use super::settings::{self, TransportSettings};
use super::stream_error::StreamError;
use super::ticket::{Body, Ticket, TicketHolder};
use super::verifier::{self, Verifier};
use crate::id::sha256;
use crate::wire::{EnrolReply, EnrolRequest, Target, TicketRefusal, limits};

/// Why a ticket brought no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The certificates directory belongs to another ring.
    #[error("it is of ring {ticket}, and {} is of ring {there}; a ring needs a certificates directory of its own", .certs_dir.display())]
    OtherRing {
        /// The certificates directory.
        certs_dir: PathBuf,
        /// The ring that the directory belongs to.
        there: String,
        /// The ring of the ticket.
        ticket: String,
    },
    /// The machine with the ring CA's key is not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Another peer than the one that the ticket means answers at its address. The secret was not sent.
    #[error("the peer that answers at {address} is not the one that gave the ticket out: {reason}")]
    NotThatPeer {
        /// The address in the ticket.
        address: String,
        /// The reason, in words.
        reason: String,
    },
    /// The exchange broke off. The same ticket may be tried again from here.
    #[error("the enrolment broke off: {0}")]
    Broken(StreamError),
    /// No answer came in time. The same ticket may be tried again from here.
    #[error("no answer from {address} within {waited_ms} ms")]
    Late {
        /// The address in the ticket.
        address: String,
        /// The time that was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The ticket was refused.
    #[error("{0}")]
    Refused(TicketRefusal),
    /// The answer broke the protocol.
    #[error("the answer broke the protocol: {0}")]
    Protocol(String),
    /// The certificate that came is unusable.
    #[error("the certificate that came is unusable: {0}")]
    Certificate(BundleError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Files(#[from] IdentityError),
}

/// The files that an enrolment keeps in the certificates directory.
#[derive(Debug)]
pub struct Enrolment {
    certs_dir: PathBuf,
    key: PathBuf,
    bundle: PathBuf,
}

impl Enrolment {
    /// The enrolment with this ticket into this certificates directory. Touches nothing.
    pub fn new(certs_dir: &Path, ticket: &Ticket) -> Enrolment {
        let folder = certs_dir.join(FOLDER);
        let id = ticket.id();
        Enrolment {
            certs_dir: certs_dir.to_owned(),
            key: folder.join(format!("{id}-key.pem")),
            bundle: folder.join(format!("{id}.bundle.pem")),
        }
    }

    /// Brings the bundle, from an earlier try or from the machine with the ring CA's key; returns its path. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// [`EnrolError`]. A ticket that is refused leaves nothing here.
    pub async fn bring(&self, ticket: &Ticket) -> Result<PathBuf, EnrolError> {
        if self.bundle.exists() {
            return Ok(self.bundle.clone());
        }
        self.check_ring(ticket)?;
        let bundle = match self.bundle_of(ticket).await {
            Ok(bundle) => bundle,
            Err(error) => {
                if matches!(
                    error,
                    EnrolError::Refused(_) | EnrolError::NotThatPeer { .. } | EnrolError::Dial(_)
                ) {
                    self.forget();
                }
                return Err(error);
            }
        };
        let path = self.bundle.clone();
        let written = spawn_blocking(move || bundle.write(&path, true)).await;
        written.map_err(EnrolError::Certificate)?;
        Ok(self.bundle.clone())
    }

    async fn bundle_of(&self, ticket: &Ticket) -> Result<Bundle, EnrolError> {
        let path = self.key.clone();
        let kept = spawn_blocking(move || match SecretKey::read(&path) {
            Err(IdentityError::Missing { .. }) => Ok(None),
            kept => kept.map(Some),
        });
        let key = match kept.await? {
            Some(key) => key,
            None => {
                let (key, path) = (new_key(ticket).await?, self.key.clone());
                spawn_blocking(move || keep_key(key, &path)).await?
            }
        };
        let request = request_for(&key)?;
        let (ca, reply) = exchange(
            ticket,
            EnrolRequest::Redeem { ticket: ticket.body().id, secret: ticket.body().secret, request },
        )
        .await?;
        match reply {
            EnrolReply::Admitted { certificate } if certificate.len() <= limits::CERTIFICATE_BYTES_MAX => {
                Bundle::checked(ca, CertificateDer::from(certificate), key).map_err(EnrolError::Certificate)
            }
            other => Err(unexpected(other)),
        }
    }

    /// Removes what is kept of the enrolment: the peer has joined, or the ticket is of no use.
    pub fn forget(&self) {
        for path in [&self.bundle, &self.key] {
            if let Err(error) = files::remove(path) {
                tracing::warn!(path = %path.display(), %error, "cannot be removed");
            }
        }
        // Folders are removed only if nothing else is in them.
        let _ = fs::remove_dir(self.certs_dir.join(FOLDER));
        let _ = fs::remove_dir(&self.certs_dir);
    }

    /// Checks the ring before anything is asked: a ticket that is used for the wrong folder would be lost.
    fn check_ring(&self, ticket: &Ticket) -> Result<(), EnrolError> {
        let there = match verifier::read_ca_certificate(&self.certs_dir) {
            Err(IdentityError::Missing { .. }) => return Ok(()),
            there => there?,
        };
        if sha256(&there) == ticket.body().ca {
            return Ok(());
        }
        Err(EnrolError::OtherRing {
            certs_dir: self.certs_dir.clone(),
            there: names::ring_name(verifier::public_key(&there)?),
            ticket: ticket.ring_name(),
        })
    }
}

impl EnrolError {
    fn late(ticket: &Ticket) -> EnrolError {
        EnrolError::Late {
            address: ticket.address().to_string(),
            waited_ms: limits::ENROLMENT_TIME_MAX.as_millis() as u64,
        }
    }
}

/// A new key. The machine with the ring CA's key says which of several suits the ring best, unless the peer has a number
/// and so its position already.
async fn new_key(ticket: &Ticket) -> Result<SecretKey, EnrolError> {
    if matches!(ticket.holder(), TicketHolder::Number(_)) {
        return Ok(placement::new_key()?);
    }
    let (mut keys, candidates) = spawn_blocking(placement::candidates).await?;
    let Body { id, secret, .. } = ticket.body();
    let place = EnrolRequest::Place { ticket: *id, secret: *secret, candidates };
    match exchange(ticket, place).await?.1 {
        EnrolReply::Placed(place) if usize::from(place) < keys.len() => Ok(keys.swap_remove(place.into())),
        // It is of an older version.
        EnrolReply::ProtocolError(_) => Ok(keys.swap_remove(0)),
        other => Err(unexpected(other)),
    }
}

/// Keeps a new key; durable on return.
fn keep_key(key: SecretKey, path: &Path) -> Result<SecretKey, IdentityError> {
    let io = |source| IdentityError::io(path, source);
    files::make_folder(path.parent().unwrap_or(path)).map_err(io)?;
    files::write(path, key.to_pem().as_bytes(), Access::Private).map_err(io)?;
    Ok(key)
}

/// A request for a certificate of this key, in DER.
fn request_for(key: &SecretKey) -> Result<Vec<u8>, IdentityError> {
    let request = key
        .for_certificates()
        .and_then(|pair| rcgen::CertificateParams::default().serialize_request(&pair))
        .map_err(IdentityError::making)?;
    Ok(request.der().to_vec())
}

/// One exchange about a ticket, on a connection of its own; returns the CA's certificate and the reply.
async fn exchange(
    ticket: &Ticket,
    request: EnrolRequest,
) -> Result<(CertificateDer<'static>, EnrolReply), EnrolError> {
    timeout(limits::ENROLMENT_TIME_MAX, exchange_at_any(ticket, &request))
        .await
        .unwrap_or_else(|_| Err(EnrolError::late(ticket)))
}

/// Goes through the addresses of the ticket's name.
async fn exchange_at_any(
    ticket: &Ticket,
    request: &EnrolRequest,
) -> Result<(CertificateDer<'static>, EnrolReply), EnrolError> {
    let target = Target { address: ticket.address().clone(), position: None };
    let mut last = EnrolError::late(ticket);
    for address in dial::resolve(ticket.address(), None).await? {
        match timeout(limits::CONNECT_TIMEOUT, connect(&target, address)).await {
            Ok(Ok((_endpoint, quic))) => {
                let exchanged = exchange_on(&quic, ticket, request).await;
                dial::end(&quic).await;
                return exchanged;
            }
            Ok(Err(error)) => last = error.into(),
            Err(_) => last = dial::timed_out(&target.address).into(),
        }
    }
    Err(last)
}

/// The endpoint carries the connection while it lives.
async fn connect(
    target: &Target,
    address: SocketAddr,
) -> Result<(quinn::Endpoint, quinn::Connection), DialError> {
    let broken = |error: std::io::Error| DialError::Broken {
        address: target.address.clone(),
        reason: error.to_string(),
    };
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let endpoint = quinn::Endpoint::client(any).map_err(broken)?;
    let config =
        settings::stranger(Arc::new(AnyCertificate), &TransportSettings::default()).map_err(broken)?;
    let quic = dial::open(&endpoint, config, target, address).await?;
    Ok((endpoint, quic))
}

/// Asks who is there; sends the secret only to the peer that the ticket means.
async fn exchange_on(
    quic: &quinn::Connection,
    ticket: &Ticket,
    request: &EnrolRequest,
) -> Result<(CertificateDer<'static>, EnrolReply), EnrolError> {
    let ca = match ask(quic, &EnrolRequest::Authority).await? {
        EnrolReply::Authority { certificate } => CertificateDer::from(certificate),
        other => return Err(unexpected(other)),
    };
    check_server(quic, ticket, &ca)?;
    Ok((ca, ask(quic, request).await?))
}

/// Checks that the other side is the peer that the ticket means: TLS has proven that it has the key of its certificate,
/// the ticket says which CA must have signed that, and for which position.
fn check_server(
    quic: &quinn::Connection,
    ticket: &Ticket,
    ca: &CertificateDer<'static>,
) -> Result<(), EnrolError> {
    let other = |reason: String| EnrolError::NotThatPeer { address: ticket.address().to_string(), reason };
    let Body { ca: expected, server, .. } = ticket.body();
    if sha256(ca) != *expected {
        return Err(other("it is of another ring".to_owned()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let position = Verifier::new(ca.clone())
        .and_then(|verifier| verifier.verify_certificate(&certificate(quic)?, now))
        .map_err(|error| other(error.to_string()))?;
    match position == *server {
        true => Ok(()),
        false => Err(other(format!("it is peer {}, not peer {}", position.label(), server.label()))),
    }
}

async fn ask(quic: &quinn::Connection, request: &EnrolRequest) -> Result<EnrolReply, EnrolError> {
    let exchange = async {
        let (mut send, mut recv) = quic.open_bi().await?;
        frame::write(&mut send, request).await?;
        let _ = send.finish();
        frame::read(&mut recv).await
    };
    within(limits::ENROLMENT_TIME_MAX, exchange).await.map_err(EnrolError::Broken)
}

fn unexpected(reply: EnrolReply) -> EnrolError {
    match reply {
        EnrolReply::Refused(refusal) => EnrolError::Refused(refusal),
        EnrolReply::ProtocolError(why) => EnrolError::Protocol(why),
        _ => EnrolError::Protocol("it answers another question".to_owned()),
    }
}

/// Takes any certificate of the dialled side; `check_server` decides about it before anything is said. The handshake
/// still proves that the other side has its key.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // QUIC has TLS 1.3 alone.
        Err(rustls::PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = verifier::provider();
        verify_tls13_signature(message, certificate, signature, &provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        verifier::provider().signature_verification_algorithms.supported_schemes()
    }
}

const FOLDER: &str = "enrolling";
