//! From a target to a connection: resolve, handshake, hello.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::TransportErrorCode as Code;
use rustls::AlertDescription as Alert;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::background::background;
use super::connection::{self, Proven};
use super::dial_error::{DIALS_MAX, DialError, Refusal};
use super::endpoint::{Outcome, Shared};
use super::guard;
use super::identity_error::IdentityError;
use super::lock;
use super::names::PARENT_NAME;
use super::revoked_keys::RevokedKeys;
use super::stream_error::{StreamError, close_code};
use crate::backoff::Backoff;
use crate::wire::{Address, Target, limits, shortened};

impl Shared {
    /// The connection to the target: the pooled one, or the result of a dial. All tasks that ask for the same target at
    /// the same time share one dial.
    pub(super) async fn connect(self: &Arc<Self>, target: &Target) -> Outcome {
        if target.position == Some(self.own) {
            return Err(DialError::SamePosition { address: target.address.clone() });
        }
        if let Some(connection) = target.position.and_then(|position| lock(&self.pool).usable(&position)) {
            return Ok(connection);
        }
        if target.position.is_some_and(|position| self.guard.shunned(&position).is_some()) {
            let address = target.address.clone();
            return Err(DialError::Refused { address, refusal: Refusal::ShunnedHere });
        }
        let mut outcome = self.join_dial(target)?;
        let outcome = outcome.wait_for(Option::is_some).await.map_err(|_| DialError::Closed)?;
        outcome.clone().unwrap_or(Err(DialError::Closed))
    }

    fn join_dial(self: &Arc<Self>, target: &Target) -> Result<watch::Receiver<Option<Outcome>>, DialError> {
        let mut dials = lock(&self.dials);
        if let Some(outcome) = dials.get(target) {
            return Ok(outcome.clone());
        }
        if dials.len() >= DIALS_MAX {
            return Err(DialError::Busy);
        }
        let (done, outcome) = watch::channel(None);
        dials.insert(target.clone(), outcome.clone());
        let (shared, target) = (self.clone(), target.clone());
        // The dial has a task of its own, so that it goes on if one of the waiting tasks gives up.
        background(async move {
            let outcome = shared.dial(&target).await;
            lock(&shared.dials).remove(&target);
            let _ = done.send(Some(outcome));
        });
        Ok(outcome)
    }

    /// Makes a new connection, whatever the pool holds. The result may be another, better connection.
    pub(super) async fn dial(self: &Arc<Self>, target: &Target) -> Outcome {
        let limit = limits::CONNECT_TIMEOUT;
        let connection = timeout(limit, self.try_addresses(target, Instant::now() + limit))
            .await
            .unwrap_or_else(|_| Err(timed_out(&target.address)))?;
        self.guard.succeeded(connection.quic().remote_address());
        self.admit(connection, true).map_err(|reason| DialError::Refused {
            address: target.address.clone(),
            refusal: match reason {
                guard::SHUNNED => Refusal::ShunnedHere,
                reason => Refusal::Other(format!("this peer takes no connection with it: {reason}")),
            },
        })
    }

    /// Tries one address after the other; each gets its share of the time that is left.
    async fn try_addresses(self: &Arc<Self>, target: &Target, deadline: Instant) -> Outcome {
        let addresses = resolve(&target.address, Some(&self.listen)).await?;
        let mut left = addresses.len() as u32;
        let mut last = Err(timed_out(&target.address));
        for address in addresses {
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            left -= 1;
            last = timeout_at(Instant::now() + share, self.shake_hands(target, address))
                .await
                .unwrap_or_else(|_| Err(timed_out(&target.address)));
            if last.is_ok() {
                break;
            }
        }
        last
    }

    async fn shake_hands(&self, target: &Target, address: SocketAddr) -> Outcome {
        let client = self.unanswered.dialled(address, &self.client);
        let opened = open(&self.endpoint, client, target, address).await;
        if !matches!(opened, Err(DialError::Timeout { .. })) {
            self.unanswered.answered(&address);
        }
        let quic = opened?;
        let proven = proven_as_expected(&quic, target, self.verifier.revoked())?;
        if proven.position == self.own {
            quic.close(close_code::SAME_POSITION, b"");
            return Err(DialError::SamePosition { address: target.address.clone() });
        }
        let hello = self.own_hello();
        // Under TLS 1.3 a refused client learns of the refusal only now.
        let greeted = connection::greet(quic.clone(), proven, self.own, &hello, &self.settings).await;
        greeted.map_err(|error| match self.heed_revocation(&quic) {
            true => DialError::Refused { address: target.address.clone(), refusal: Refusal::OursRevoked },
            false => ungreeted(target, &quic, &error),
        })
    }
}

/// The addresses of a name, looked up anew each time, since a peer may have moved. With `listen`, only those that a
/// socket with that address can reach.
pub(super) async fn resolve(
    address: &Address,
    listen: Option<&SocketAddr>,
) -> Result<Vec<SocketAddr>, DialError> {
    let fail = |reason: String| DialError::Resolve { address: address.clone(), reason };
    let found = tokio::net::lookup_host(address.as_str()).await.map_err(|e| fail(e.to_string()))?;
    let (mut usable, mut why_not) = (Vec::new(), None);
    for found in found {
        match listen.and_then(|listen| why_no_way(listen, &found)) {
            None => usable.push(found),
            Some(reason) => why_not = Some(reason),
        }
    }
    usable.truncate(ADDRESSES_MAX);
    match why_not.filter(|_| usable.is_empty()) {
        Some(reason) => Err(DialError::NoWay { address: address.clone(), reason }),
        None if usable.is_empty() => Err(fail("it has no address".into())),
        None => Ok(usable),
    }
}

/// Does the TLS handshake: with the peer of the target's position, or with any peer of the ring.
pub(super) async fn open(
    endpoint: &quinn::Endpoint,
    config: quinn::ClientConfig,
    target: &Target,
    address: SocketAddr,
) -> Result<quinn::Connection, DialError> {
    let name = match target.position {
        Some(position) => format!("{}.{PARENT_NAME}", position.dns_label()),
        None => PARENT_NAME.to_owned(),
    };
    let mut backoff = REFUSED_BACKOFF;
    for tries_left in (0..REFUSED_TRIES_MAX).rev() {
        let connecting =
            endpoint.connect_with(config.clone(), address, &name).map_err(|error| match error {
                quinn::ConnectError::EndpointStopping => DialError::Closed,
                error => DialError::Resolve { address: target.address.clone(), reason: error.to_string() },
            })?;
        match connecting.await {
            Ok(connection) => return Ok(connection),
            // The other peer did not hear this dial because it is busy with others for the moment.
            Err(error) if tries_left > 0 && is_refused(&error) => {
                let pause = backoff.next_jittered(&mut rand::rng());
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(explain(target, error)),
        }
    }
    Err(timed_out(&target.address))
}

fn is_refused(error: &quinn::ConnectionError) -> bool {
    matches!(error, quinn::ConnectionError::ConnectionClosed(close)
        if close.error_code == Code::CONNECTION_REFUSED)
}

/// The identity of the answering peer, if it is the expected one.
pub(super) fn proven_as_expected(
    quic: &quinn::Connection,
    target: &Target,
    revoked: &RevokedKeys,
) -> Result<Proven, DialError> {
    let address = target.address.clone();
    let proven = connection::proven(quic, revoked).map_err(|error| {
        quic.close(close_code::NO_PEER, b"");
        let refusal = match error {
            IdentityError::Revoked { .. } => Refusal::Revoked,
            _ => Refusal::NoPeer,
        };
        DialError::Refused { address: address.clone(), refusal }
    })?;
    match target.position.filter(|expected| *expected != proven.position) {
        Some(expected) => {
            quic.close(close_code::NO_PEER, b"");
            Err(DialError::WrongPeer { address, expected, found: Some(proven.position) })
        }
        None => Ok(proven),
    }
}

/// The dial error that a failed hello means.
pub(super) fn ungreeted(target: &Target, quic: &quinn::Connection, error: &StreamError) -> DialError {
    match (quic.close_reason(), error) {
        (_, StreamError::AgainstRules { reason }) => {
            DialError::Refused { address: target.address.clone(), refusal: Refusal::BadHello(reason.clone()) }
        }
        (Some(reason), _) => explain(target, reason),
        (None, StreamError::Silent { .. }) => timed_out(&target.address),
        (None, _) => {
            quic.close(close_code::NO_HELLO, b"");
            DialError::Refused { address: target.address.clone(), refusal: Refusal::NoHello }
        }
    }
}

/// Why a socket with that address cannot reach an address.
fn why_no_way(listen: &SocketAddr, to: &SocketAddr) -> Option<String> {
    let port = listen.port();
    if listen.is_ipv4() && to.is_ipv6() {
        Some(format!(
            "it is an IPv6 address, and this peer listens on {listen}, IPv4 only; a peer that listens on [::]:{port} serves both"
        ))
    } else if listen.is_ipv6() && to.is_ipv4() && !listen.ip().is_unspecified() {
        Some(format!(
            "it is an IPv4 address, and this peer listens on {listen}, IPv6 only; a peer that listens on [::]:{port} serves both"
        ))
    } else if listen.ip().is_loopback() && !to.ip().is_loopback() {
        Some(format!(
            "this peer listens on {listen}, which no other machine can answer; give it a network address \
             to listen on: 0.0.0.0:{port}, or [::]:{port}"
        ))
    } else {
        None
    }
}

/// The dial error that an end of a connection before its hello means.
fn explain(target: &Target, error: quinn::ConnectionError) -> DialError {
    use quinn::ConnectionError as Error;
    let address = target.address.clone();
    let refusal = match &error {
        Error::TransportError(local) => match (alert(local.code), target.position) {
            (Some(Alert::UnknownCA), _) => Refusal::OtherRing,
            (Some(Alert::CertificateExpired), _) => Refusal::Expired,
            (Some(Alert::BadCertificate), Some(expected)) => {
                return DialError::WrongPeer { address, expected, found: None };
            }
            (Some(Alert::BadCertificate), None) => Refusal::NoPeer,
            _ => Refusal::Other(local.to_string()),
        },
        Error::ConnectionClosed(close) => match alert(close.error_code) {
            Some(Alert::UnknownCA | Alert::DecryptError) => Refusal::OursOtherRing,
            Some(Alert::CertificateExpired) => Refusal::OursExpired,
            Some(Alert::BadCertificate | Alert::CertificateRequired) => Refusal::OursNoPeer,
            Some(Alert::NoApplicationProtocol) => Refusal::OtherProtocol,
            None if close.error_code == Code::CONNECTION_REFUSED => Refusal::Full,
            _ => Refusal::Other(close.to_string()),
        },
        Error::ApplicationClosed(close) => match close.error_code {
            close_code::SAME_POSITION => return DialError::SamePosition { address },
            close_code::NO_PEER => Refusal::OursNoPeer,
            close_code::NO_CLIENT => Refusal::NotYours,
            close_code::FULL => Refusal::Full,
            close_code::NO_HELLO => Refusal::NoHello,
            close_code::ENDED => Refusal::Ending,
            close_code::MISBEHAVED => Refusal::Shunned(reason_of(close)),
            close_code::BAD_HELLO => Refusal::BadHello(reason_of(close)),
            _ => return DialError::Broken { address, reason: error.to_string() },
        },
        Error::TimedOut => return timed_out(&target.address),
        Error::LocallyClosed => return DialError::Closed,
        Error::VersionMismatch => Refusal::OtherProtocol,
        Error::Reset | Error::CidsExhausted => {
            return DialError::Broken { address, reason: error.to_string() };
        }
    };
    DialError::Refused { address, refusal }
}

/// Closes a connection, and waits a moment until the other side has been told: a process that ends before that leaves
/// the connection open there until it falls silent. (quinn's own wait is for packets of this connection that may still
/// arrive, which do not matter to a process that ends.)
pub(super) async fn end(quic: &quinn::Connection) {
    let sent = quic.stats().udp_tx.datagrams;
    quic.close(close_code::ENDED, b"");
    for _ in 0..CLOSE_LOOKS_MAX {
        if quic.stats().udp_tx.datagrams > sent {
            break;
        }
        tokio::time::sleep(CLOSE_LOOK).await;
    }
}

/// The reason in the other side's words, without control characters that could change a terminal.
fn reason_of(close: &quinn::ApplicationClose) -> String {
    let text = String::from_utf8_lossy(&close.reason);
    shortened(text.chars().filter(|c| !c.is_control()).collect(), limits::REASON_BYTES_MAX)
}

/// The TLS alert in an error code of QUIC (RFC 9001, section 4.8).
pub(super) fn alert(code: Code) -> Option<Alert> {
    let code = u64::from(code);
    (0x100..0x200).contains(&code).then(|| Alert::from(code as u8))
}

pub(super) fn timed_out(address: &Address) -> DialError {
    DialError::Timeout { address: address.clone(), waited_ms: waited_ms(limits::CONNECT_TIMEOUT) }
}

fn waited_ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// How often, and how many times, a close checks whether the goodbye was sent.
const CLOSE_LOOK: Duration = Duration::from_micros(500);
const CLOSE_LOOKS_MAX: u32 = 100;
/// The most tries at an address that refuses to hear, and the pauses between them.
const REFUSED_TRIES_MAX: u32 = 7;
const REFUSED_BACKOFF: Backoff = Backoff::doubling(Duration::from_millis(25), Duration::from_millis(400));
/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
