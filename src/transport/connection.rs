//! A connection that is up: the peer at the other end, and which of two connections to keep.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;

use super::frame;
use super::identity_error::IdentityError;
use super::pace;
use super::revoked_keys::RevokedKeys;
use super::settings::TransportSettings;
use super::stream_error::{StreamError, close_code};
use super::verifier;
use crate::id::{KeyHash, Position};
use crate::wire::{Address, Entry, Hello, Life, SignedRevocation, codec, limits};

/// A connection to a peer, authenticated and greeted. Cheap to clone; all clones are the same connection.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    quic: quinn::Connection,
    peer: Entry,
    display_name: Option<String>,
    own_incarnation: u64,
    /// The digest of the revoked keys that the other side knew at its hello.
    revocations: u64,
    dialled_by: Position,
    up_since: Instant,
    streams: AtomicUsize,
    last_used_ms: AtomicU64,
    suspect_at: AtomicU64,
    send_window_bytes: u64,
    stream_silence: Duration,
}

impl Connection {
    /// The peer at the other end: position and key from its certificate, incarnation and address from its hello.
    pub fn peer(&self) -> &Entry {
        &self.0.peer
    }

    /// The display name in the certificate of the peer at the other end.
    pub fn display_name(&self) -> Option<&str> {
        self.0.display_name.as_deref()
    }

    /// The current estimate of the round-trip time.
    pub fn round_trip_time(&self) -> Duration {
        self.0.quic.rtt()
    }

    pub(super) fn quic(&self) -> &quinn::Connection {
        &self.0.quic
    }

    /// Whether the connection can take new streams and is not suspect.
    pub(super) fn is_usable(&self) -> bool {
        let suspect_at = self.0.suspect_at.load(Ordering::Relaxed);
        self.0.quic.close_reason().is_none() && (suspect_at == TRUSTED || self.heard() > suspect_at)
    }

    pub(super) fn is_same(&self, other: &Connection) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The incarnation of this side in its hello.
    pub(super) fn own_incarnation(&self) -> u64 {
        self.0.own_incarnation
    }

    /// The digest of the revoked keys that the other side knew at its hello.
    pub(super) fn revocations(&self) -> u64 {
        self.0.revocations
    }

    pub(super) fn streams(&self) -> usize {
        self.0.streams.load(Ordering::Acquire)
    }

    pub(super) fn touch(&self) {
        let used = self.0.up_since.elapsed().as_millis() as u64;
        self.0.last_used_ms.store(used, Ordering::Relaxed);
    }

    pub(super) fn last_used(&self) -> Instant {
        self.0.up_since + Duration::from_millis(self.0.last_used_ms.load(Ordering::Relaxed))
    }

    /// Whether this side dialled.
    pub(super) fn is_ours(&self) -> bool {
        self.0.dialled_by != self.0.peer.position
    }

    pub(super) fn in_use(&self) -> InUse {
        self.0.streams.fetch_add(1, Ordering::AcqRel);
        self.touch();
        InUse(self.clone())
    }

    /// How long a stream of this connection may be silent while bytes are due.
    pub(super) fn stream_silence(&self) -> Duration {
        self.0.stream_silence
    }

    /// The number of packets that have come, of any kind.
    pub(super) fn heard(&self) -> u64 {
        self.0.quic.stats().udp_rx.datagrams
    }

    /// Whether the bytes under way are bounded by the speed of the path: sending more at once would only wait longer.
    pub fn is_full(&self) -> bool {
        pace::is_bound(self.0.quic.congestion_state())
    }

    /// Marks a stream as bulk. It waits behind everything else of this connection, and this side keeps only as many of
    /// its bytes as the path takes within a few round trips, so that bytes that were taken have really moved.
    pub(super) fn begin_bulk(&self, stream: &quinn::SendStream) {
        // A stream that has ended says so itself.
        let _ = stream.set_priority(BULK_PRIORITY);
        let window =
            self.0.quic.stats().path.cwnd.saturating_mul(BULK_WINDOWS).saturating_add(BULK_BYTES_MIN);
        self.0.quic.set_send_window(window.min(self.0.send_window_bytes));
    }

    /// The number of frames that this side took from the other one; only a holder of the connection's keys can make
    /// them.
    pub fn frames_taken(&self) -> u64 {
        let frames = self.0.quic.stats().frame_rx;
        let counts = [frames.acks, frames.ping, frames.stream, frames.datagram, frames.crypto];
        let windows = [frames.max_data, frames.max_stream_data, frames.stop_sending, frames.reset_stream];
        counts.into_iter().chain(windows).sum()
    }

    /// Makes the connection suspect if no packet has come since `heard`: until one comes, no new stream uses it.
    pub(super) fn suspect_if_silent_since(&self, heard: u64) {
        if self.heard() == heard {
            self.0.suspect_at.store(heard, Ordering::Relaxed);
        }
    }

    /// Whether this connection replaces an older one to the same peer with the same key.
    ///
    /// Both sides must decide the same. They saw the same two hellos on each connection, and incarnations only grow, so
    /// the connection with the greater sum is the later one. At equal sums the dialler decides, for dials that crossed.
    /// A dial long after the other connection came up did not cross it: its dialler had found that connection dead.
    pub(super) fn replaces(&self, older: &Connection) -> bool {
        let sum = |c: &Connection| u128::from(c.0.own_incarnation) + u128::from(c.0.peer.incarnation);
        let crossed = self.0.up_since.saturating_duration_since(older.0.up_since) < limits::CONNECT_TIMEOUT;
        if !older.is_usable() {
            true
        } else if sum(self) != sum(older) {
            sum(self) > sum(older)
        } else {
            !crossed || self.0.dialled_by <= older.0.dialled_by
        }
    }

    /// Closes the connection once its streams have ended, or after a long time.
    pub(super) async fn retire(self) {
        let deadline = Instant::now() + RETIREMENT_MAX;
        // Only streams that are already open continue here, and there are few of them.
        self.0.quic.set_receive_window(quinn::VarInt::from_u32(RETIRED_WINDOW_BYTES));
        // The other side may have opened a stream before it learned of the winner.
        tokio::time::sleep(RETIREMENT_MIN).await;
        while self.streams() > 0 && Instant::now() < deadline && self.0.quic.close_reason().is_none() {
            tokio::time::sleep(RETIREMENT_STEP).await;
        }
        self.0.quic.close(close_code::SUPERSEDED, b"superseded");
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({:?} at {})", self.0.peer, self.0.quic.remote_address())
    }
}

/// Counts a stream of a connection while it lives.
#[derive(Debug)]
pub(super) struct InUse(Connection);

impl InUse {
    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.0.streams.fetch_sub(1, Ordering::AcqRel);
        self.0.touch();
    }
}

/// The facts that a certificate proves about the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proven {
    pub(super) position: Position,
    pub(super) key: KeyHash,
    pub(super) display_name: Option<String>,
}

/// Reads the certificate that TLS has already checked. A connection of a revoked key is closed with the ring CA's
/// statement: unlike a refusal within TLS, that proves to the other side that it was revoked.
pub(super) fn proven(quic: &quinn::Connection, revoked: &RevokedKeys) -> Result<Proven, IdentityError> {
    let certificate = certificate(quic)?;
    let position = verifier::certificate_position(&certificate)?;
    let key = verifier::key_hash(&certificate)?;
    check_revoked(quic, &key, revoked)?;
    Ok(Proven { position, key, display_name: verifier::certificate_display_name(&certificate) })
}

/// Closes a connection with this key if the key is revoked.
pub(super) fn check_revoked(
    quic: &quinn::Connection,
    key: &KeyHash,
    revoked: &RevokedKeys,
) -> Result<(), IdentityError> {
    let (Some(revocation), Some(statement)) = (revoked.of(key), revoked.statement(key)) else {
        return Ok(());
    };
    quic.close(close_code::REVOKED, &codec::encode(&statement).unwrap_or_default());
    Err(IdentityError::Revoked { position: revocation.position, at_ms: revocation.at_ms })
}

/// The ring CA's statement with which the other side closed this connection, unchecked.
pub(super) fn closed_as_revoked(quic: &quinn::Connection) -> Option<SignedRevocation> {
    match quic.close_reason()? {
        quinn::ConnectionError::ApplicationClosed(close) if close.error_code == close_code::REVOKED => {
            codec::decode(&close.reason).ok()
        }
        _ => None,
    }
}

/// Like [`proven`], for a client: it may command the peer with this position and key if its certificate is that peer's
/// own or a client's. It counts as that peer, since it speaks for it.
pub(super) fn proven_client(
    quic: &quinn::Connection,
    own: Position,
    own_key: KeyHash,
    revoked: &RevokedKeys,
) -> Result<Proven, IdentityError> {
    let certificate = certificate(quic)?;
    let key = verifier::key_hash(&certificate)?;
    check_revoked(quic, &key, revoked)?;
    let is_own = key == own_key && verifier::certificate_position(&certificate)? == own;
    if is_own || verifier::is_client_certificate(&certificate) {
        return Ok(Proven { position: own, key, display_name: None });
    }
    Err(IdentityError::Position { reason: "it is neither this peer's own nor a client's" })
}

/// The certificate that the other side shows.
pub(super) fn certificate(quic: &quinn::Connection) -> Result<CertificateDer<'static>, IdentityError> {
    let chain = quic.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let first = chain.and_then(|chain| chain.into_iter().next());
    first.ok_or(IdentityError::Position { reason: "none is shown" })
}

/// The dialler's half of the hello: it opens the first stream, speaks first, then listens.
pub(super) async fn greet(
    quic: quinn::Connection,
    proven: Proven,
    own_position: Position,
    hello: &Hello,
    settings: &TransportSettings,
) -> Result<Connection, StreamError> {
    let (mut send, mut recv) = quic.open_bi().await?;
    frame::write(&mut send, hello).await?;
    let _ = send.finish();
    let theirs = read_hello(&quic, &mut recv).await?;
    Ok(up(quic, proven, hello, theirs, own_position, settings))
}

/// The other half of the hello: it listens, then answers.
pub(super) async fn welcome(
    quic: quinn::Connection,
    proven: Proven,
    hello: &Hello,
    settings: &TransportSettings,
) -> Result<Connection, StreamError> {
    let (mut send, mut recv) = quic.accept_bi().await?;
    let theirs = read_hello(&quic, &mut recv).await?;
    frame::write(&mut send, hello).await?;
    let _ = send.finish();
    let dialled_by = proven.position;
    Ok(up(quic, proven, hello, theirs, dialled_by, settings))
}

/// Reads a hello. A hello gives no position: that comes from the certificate. An impossible incarnation ends the
/// connection with the reason. An incarnation lower than the known one may be that of a peer whose disk was restored to
/// an earlier state: that peer learns of it when it joins, and takes a greater one.
async fn read_hello(quic: &quinn::Connection, recv: &mut quinn::RecvStream) -> Result<Hello, StreamError> {
    let hello: Hello = frame::read(recv).await?;
    if (1..=limits::INCARNATION_MAX).contains(&hello.incarnation) {
        return Ok(hello);
    }
    let reason = format!("incarnation {} is not one of 1 to {}", hello.incarnation, limits::INCARNATION_MAX);
    quic.close(close_code::BAD_HELLO, reason.as_bytes());
    Err(StreamError::AgainstRules { reason })
}

fn up(
    quic: quinn::Connection,
    proven: Proven,
    ours: &Hello,
    theirs: Hello,
    dialled_by: Position,
    settings: &TransportSettings,
) -> Connection {
    let peer = Entry::from(Life {
        position: proven.position,
        incarnation: theirs.incarnation,
        key: proven.key,
        // An unspecified address is as good as none.
        address: theirs
            .advertised
            .filter(|address| !address.is_unspecified())
            .unwrap_or_else(|| observed(&quic)),
    });
    Connection(Arc::new(Inner {
        quic,
        peer,
        display_name: proven.display_name,
        own_incarnation: ours.incarnation,
        revocations: theirs.revocations,
        dialled_by,
        up_since: Instant::now(),
        streams: AtomicUsize::new(0),
        last_used_ms: AtomicU64::new(0),
        suspect_at: AtomicU64::new(TRUSTED),
        send_window_bytes: settings.send_window_bytes,
        stream_silence: settings.stream_silence,
    }))
}

/// The address of the other end. A socket for both families shows IPv4 addresses as mapped IPv6 addresses.
fn observed(quic: &quinn::Connection) -> Address {
    let mut address = quic.remote_address();
    address.set_ip(address.ip().to_canonical());
    address.into()
}

/// The priority of bulk: below that of requests and their answers, which is 0.
const BULK_PRIORITY: i32 = -1;
/// The congestion windows of bulk that are kept for sending and until they are acknowledged, and the least number of
/// bytes beside them.
const BULK_WINDOWS: u64 = 4;
const BULK_BYTES_MIN: u64 = 128 << 10;
/// The value of `suspect_at` while no request has failed in silence.
const TRUSTED: u64 = u64::MAX;
/// The most bytes that may be on their way to us on a connection that is about to end.
const RETIRED_WINDOW_BYTES: u32 = 4 << 20;
const RETIREMENT_MIN: Duration = Duration::from_secs(1);
const RETIREMENT_STEP: Duration = Duration::from_millis(200);
const RETIREMENT_MAX: Duration = Duration::from_secs(600);
