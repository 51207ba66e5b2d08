//! One UDP socket: it accepts, dials, pools, and passes on incoming requests and datagrams.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::background::background;
use super::bucket::{Bucket, Rate};
use super::connection::{self, Connection};
use super::counters::{LogGate, TransportCounters};
use super::dial_error::{DIALS_MAX, DialError};
use super::directory::Directory;
use super::guard::Guard;
use super::helpers::Detours;
use super::identity::Identity;
use super::incoming::Incoming;
use super::lock;
use super::pool::{Offer, Pool};
use super::settings::{self, TransportSettings};
use super::stream::RequestStream;
use super::stream_error::close_code;
use super::unanswered::Unanswered;
use super::verifier::Verifier;
use crate::backoff::Backoff;
use crate::id::{KeyHash, Position};
use crate::wire::{Entry, Fault, Hello, Target, limits};

/// A peer's end of the network. Cheap to clone; it lives until [`Transport::close`], or until the
/// receiver of [`Incoming`] is dropped.
#[derive(Debug, Clone)]
pub struct Transport {
    pub(super) shared: Arc<Shared>,
}

/// The result of a dial.
pub(super) type Outcome = Result<Connection, DialError>;

/// The state that all handles and tasks of one transport share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) client: quinn::ClientConfig,
    pub(super) unanswered: Unanswered,
    pub(super) own: Position,
    pub(super) own_key: KeyHash,
    pub(super) verifier: Verifier,
    /// The address that the socket listens on; it decides which addresses the socket can reach.
    pub(super) listen: SocketAddr,
    pub(super) hello: Mutex<Hello>,
    pub(super) pool: Mutex<Pool>,
    pub(super) dials: Mutex<HashMap<Target, watch::Receiver<Option<Outcome>>>>,
    /// Datagrams that wait for a dial; one for each target.
    pub(super) waiting: Mutex<HashMap<Target, Bytes>>,
    /// The helpers of peers that cannot be reached directly.
    pub(super) detours: Arc<Mutex<Detours>>,
    pub(super) counters: Arc<TransportCounters>,
    pub(super) guard: Arc<Guard>,
    names: Mutex<Directory>,
    pub(super) incoming: mpsc::Sender<Incoming>,
    pub(super) handshakes: Arc<Semaphore>,
    pub(super) clients: Arc<Semaphore>,
    pub(super) strangers: Arc<Semaphore>,
    pub(super) settings: TransportSettings,
    pub(super) log: LogGate,
}

impl Transport {
    /// Binds the socket and begins to accept. `listen` with port 0 takes a free port. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the address cannot be bound, or the identity cannot serve TLS.
    pub fn bind(
        identity: &Identity,
        verifier: &Verifier,
        listen: SocketAddr,
        hello: Hello,
        settings: &TransportSettings,
    ) -> io::Result<(Transport, mpsc::Receiver<Incoming>)> {
        let socket = bind_socket(listen, settings)?;
        let endpoint = quinn::Endpoint::new(
            settings::endpoint(identity, settings)?,
            Some(settings::server(identity, verifier, settings)?),
            socket,
            Arc::new(quinn::TokioRuntime),
        )?;
        let listens = endpoint.local_addr()?;
        let (incoming, receiver) = mpsc::channel(INCOMING_MAX);
        let (chain, key) = identity.for_tls();
        let counters: Arc<TransportCounters> = Arc::default();
        let told = incoming.clone();
        let on_fault = move |peer, fault| {
            // A full queue loses the report, but the guard has counted it.
            let _ = told.try_send(Incoming::Misbehaved { peer, fault });
        };
        let guard = Arc::new(Guard::new(counters.clone(), on_fault, settings));
        let client = settings::client(chain, key, verifier, settings::ALPN_PEER, settings)?;
        let shared = Arc::new(Shared {
            endpoint,
            unanswered: Unanswered::new(&client, settings),
            client,
            own: identity.position(),
            own_key: identity.key_hash(),
            verifier: verifier.clone(),
            listen: listens,
            hello: Mutex::new(hello),
            pool: Mutex::new(Pool::new(settings.connections_max)),
            dials: Mutex::default(),
            waiting: Mutex::default(),
            detours: Arc::default(),
            counters,
            guard,
            names: Mutex::new(Directory::new(identity.position(), identity.display_name())),
            incoming,
            handshakes: Arc::new(Semaphore::new(settings::HANDSHAKES_MAX)),
            clients: Arc::new(Semaphore::new(limits::CLIENTS_MAX)),
            strangers: Arc::new(Semaphore::new(limits::ENROLMENTS_MAX)),
            settings: settings.clone(),
            log: LogGate::default(),
        });
        background(shared.clone().accept());
        Ok((Transport { shared }, receiver))
    }

    /// The address of the socket.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// The address by which a connected peer reaches this one, as far as this machine knows. For a peer on this
    /// machine, an address by which other machines would reach it, if there is any.
    pub fn own_address_towards(&self, peer: &Position) -> Option<SocketAddr> {
        let port = self.local_address().ok()?.port();
        let mut remote = self.connection(peer)?.quic().remote_address();
        remote.set_ip(remote.ip().to_canonical());
        let elsewhere = ELSEWHERE.map(|ip| SocketAddr::new(ip, port));
        let outward = elsewhere.into_iter().filter(|_| remote.ip().is_loopback());
        outward.chain([remote]).find_map(source_towards).map(|ip| SocketAddr::new(ip, port))
    }

    /// Whether this machine has an IP address at the moment.
    pub fn has_address(&self, ip: IpAddr) -> bool {
        std::net::UdpSocket::bind((ip, 0)).is_ok()
    }

    /// Counts of what went wrong so far.
    pub fn counters(&self) -> Arc<TransportCounters> {
        self.shared.counters.clone()
    }

    /// The connection to the target: the existing one, or a new one. Dials to the same target at the same time are one
    /// dial.
    ///
    /// # Errors
    /// [`DialError`], after [`limits::CONNECT_TIMEOUT`] at the latest.
    pub async fn connect(&self, target: &Target) -> Result<Connection, DialError> {
        self.shared.connect(target).await
    }

    /// The peers that there are connections to, in no order.
    pub fn connected(&self) -> Vec<Entry> {
        lock(&self.shared.pool).peers()
    }

    /// The connection to this peer, if there is one that can be used.
    pub fn connection(&self, position: &Position) -> Option<Connection> {
        lock(&self.shared.pool).usable(position)
    }

    /// The display name in the certificate of the peer at this position, if such a certificate was seen.
    pub fn display_name(&self, position: &Position) -> Option<String> {
        lock(&self.shared.names).name(position).map(str::to_owned)
    }

    /// Puts back a name that was kept over a restart. It serves until a certificate gives another; text that cannot be
    /// a display name is ignored.
    pub fn learn_display_name(&self, position: Position, name: &str) {
        lock(&self.shared.names).learn(position, name);
    }

    /// Notes that a datagram of this peer was not a message. After too many of them, its connections are closed and it
    /// is shunned for a while.
    pub fn malformed_datagram(&self, from: &Position) {
        self.shared.counters.count_malformed();
        self.shared.guard.fault(from, Fault::Malformed);
    }

    /// Closes the connection to this incarnation of a peer, or to an earlier one, with all its streams: the peer is
    /// believed dead. The next use dials anew.
    pub fn drop_connection(&self, position: &Position, incarnation: u64) {
        // Before a death is believed, its connection is usually suspect, but its streams still wait.
        if let Some(connection) = lock(&self.shared.pool).take(position, incarnation) {
            connection.quic().close(close_code::DROPPED, b"");
        }
    }

    /// Closes all connections with revoked keys, and tells the other side why.
    pub fn drop_revoked(&self) {
        let revoked = self.shared.verifier.revoked();
        for connection in self.shared.guard.connections() {
            let _ = connection::check_revoked(connection.quic(), &connection.peer().key, revoked);
        }
    }

    /// Closes connections that this peer dialled and has not used for `since`, except those to peers that are to be
    /// kept. In a large ring each lookup dials some peer, and a quiet connection costs both sides its keep-alives.
    pub fn release_unused(&self, since: Duration, keep: impl Fn(&Position) -> bool) {
        for connection in lock(&self.shared.pool).take_unused(since, keep) {
            connection.quic().close(close_code::RELEASED, b"");
        }
    }

    /// Sets this peer's incarnation; it is never lowered. Peers that were greeted with an earlier incarnation are
    /// dialled again in the background, so that both sides go over to the new one.
    pub fn set_incarnation(&self, incarnation: u64) {
        {
            let mut hello = lock(&self.shared.hello);
            if incarnation <= hello.incarnation {
                return;
            }
            hello.incarnation = incarnation;
        }
        let outdated = lock(&self.shared.pool).greeted_before(incarnation);
        background(self.shared.clone().greet_again(outdated));
    }

    /// Sends a datagram at once on the existing connection; without one, dials in the background and sends it then.
    /// During that dial only the latest datagram for its target is kept. A datagram may be lost without a sign, as all
    /// datagrams may; losses that are known are counted.
    pub fn send_datagram(&self, target: &Target, bytes: Bytes) {
        let pooled = target.position.and_then(|position| lock(&self.shared.pool).usable(&position));
        match pooled {
            Some(connection) => self.shared.send_on(&connection, bytes),
            // A peer that is reached through a helper is dialled now and then, not with every ping.
            None if target.position.is_some_and(|to| self.detour(&to).is_some()) => {
                self.shared.counters.count_undelivered();
            }
            None => self.shared.send_after_dial(target, bytes),
        }
    }

    /// Closes all connections and tells the peers so; waits at most a moment for that.
    pub async fn close(&self) {
        self.shared.endpoint.close(close_code::ENDED, b"");
        let _ = timeout(CLOSE_MAX, self.shared.endpoint.wait_idle()).await;
    }
}

impl Shared {
    /// Puts a connection into its place and serves it. Returns the connection to use for its peer: this one or a better
    /// one.
    ///
    /// # Errors
    /// The reason why the connection was closed instead.
    pub(super) fn admit(
        self: &Arc<Self>,
        connection: Connection,
        dialled_here: bool,
    ) -> Result<Connection, &'static str> {
        lock(&self.names).prove(connection.peer().position, connection.display_name());
        if let Err(reason) = self.guard.enter(&connection, dialled_here) {
            connection.quic().close(close_code::MISBEHAVED, reason.as_bytes());
            return Err(reason);
        }
        // The key may have been revoked since the handshake. From here on `drop_revoked` finds the connection.
        let revoked = self.verifier.revoked();
        if connection::check_revoked(connection.quic(), &connection.peer().key, revoked).is_err() {
            self.guard.leave(&connection);
            return Err("its certificate was revoked");
        }
        if dialled_here && connection.revocations() != revoked.digest() {
            // A full queue loses this; peers compare what they know now and then.
            let _ = self.incoming.try_send(Incoming::OtherRevocations { peer: connection.peer().clone() });
        }
        let offer = lock(&self.pool).offer(&connection);
        let winner = match offer {
            Offer::Pooled { displaced } => {
                displaced.map(|displaced| background(displaced.retire()));
                // The hello may have been sent just before this peer's incarnation was raised.
                if self.is_outdated(&connection) {
                    background(self.clone().greet_again(vec![connection.peer().clone()]));
                }
                connection.clone()
            }
            Offer::Second { first } => {
                background(connection.clone().retire());
                first
            }
            Offer::Apart => {
                background(connection.clone().retire());
                connection.clone()
            }
            Offer::Full => {
                connection.quic().close(close_code::FULL, b"");
                self.guard.leave(&connection);
                return Err("there is no place for one more");
            }
        };
        background(self.clone().serve(connection));
        Ok(winner)
    }

    /// Passes on incoming requests and datagrams of a connection until it ends.
    async fn serve(self: Arc<Self>, connection: Connection) {
        tokio::join!(self.serve_streams(&connection), self.serve_datagrams(&connection));
        self.heed_revocation(connection.quic());
        let was_pooled = lock(&self.pool).remove(&connection);
        self.guard.leave(&connection);
        if was_pooled {
            let _ = self.incoming.send(Incoming::Closed { peer: connection.peer().clone() }).await;
        }
    }

    /// Serves the streams of a connection. A full queue, or too many streams in a second, hold back this connection's
    /// further streams, which QUIC bounds.
    async fn serve_streams(&self, connection: &Connection) {
        let mut rate = Bucket::full(STREAMS, Instant::now());
        while let Ok(halves) = connection.quic().accept_bi().await {
            while !rate.take(Instant::now()) {
                tokio::time::sleep(rate.wait(Instant::now())).await;
            }
            let stream = RequestStream::new(connection, halves, self.guard.clone());
            let from = connection.peer().clone();
            if self.incoming.send(Incoming::Stream { from, stream }).await.is_err() {
                break;
            }
        }
    }

    async fn serve_datagrams(&self, connection: &Connection) {
        let mut rate = Bucket::full(DATAGRAMS, Instant::now());
        let mut flooded: u64 = 0;
        while let Ok(bytes) = connection.quic().read_datagram().await {
            if !rate.take(Instant::now()) {
                self.counters.count_flooded();
                flooded += 1;
                if flooded.is_multiple_of(FLOODED_PER_FAULT) {
                    self.guard.fault(&connection.peer().position, Fault::Flood);
                }
                continue;
            }
            connection.touch();
            let from = connection.peer().clone();
            if self.incoming.try_send(Incoming::Datagram { from, bytes }).is_err() {
                self.counters.count_dropped();
            }
        }
    }

    /// The hello of this peer now.
    pub(super) fn own_hello(&self) -> Hello {
        let hello = lock(&self.hello).clone();
        Hello { revocations: self.verifier.revoked().digest(), ..hello }
    }

    /// Whether the other side closed this connection with the ring CA's statement that this peer's key was revoked. The
    /// peer is told then. Without the CA's signature nobody can make it believe that.
    pub(super) fn heed_revocation(&self, quic: &quinn::Connection) -> bool {
        let Some(signed) = connection::closed_as_revoked(quic) else { return false };
        let is_own = self.verifier.check_revocation(&signed).is_ok_and(|r| r.key == self.own_key);
        if is_own {
            // A full queue loses the report; the next connection brings it again.
            let _ = self.incoming.try_send(Incoming::Revoked(signed));
        }
        is_own
    }

    fn send_on(&self, connection: &Connection, bytes: Bytes) {
        connection.touch();
        if connection.quic().send_datagram(bytes).is_err() {
            self.counters.count_undelivered();
        }
    }

    fn send_after_dial(self: &Arc<Self>, target: &Target, bytes: Bytes) {
        {
            let mut waiting = lock(&self.waiting);
            if waiting.len() >= DIALS_MAX && !waiting.contains_key(target) {
                self.counters.count_undelivered();
                return;
            }
            if waiting.insert(target.clone(), bytes).is_some() {
                self.counters.count_undelivered();
                return;
            }
        }
        let (shared, target) = (self.clone(), target.clone());
        background(async move {
            let outcome = shared.connect(&target).await;
            let bytes = lock(&shared.waiting).remove(&target);
            match (outcome, bytes) {
                (Ok(connection), Some(bytes)) => shared.send_on(&connection, bytes),
                _ => shared.counters.count_undelivered(),
            }
        });
    }

    async fn greet_again(self: Arc<Self>, peers: Vec<Entry>) {
        let mut greetings = JoinSet::new();
        for peer in peers {
            if greetings.len() >= GREETINGS_AT_ONCE_MAX {
                let _ = greetings.join_next().await;
            }
            greetings.spawn(self.clone().greet_one_again(peer));
        }
        while greetings.join_next().await.is_some() {}
    }

    /// Dials a peer that knows this one by an earlier incarnation, until it knows the new one. If that fails for long,
    /// the old connection stays.
    async fn greet_one_again(self: Arc<Self>, peer: Entry) {
        let mut backoff = GREETING_BACKOFF;
        for _ in 0..GREETINGS_MAX {
            let known = lock(&self.pool).usable(&peer.position);
            if !known.is_some_and(|connection| self.is_outdated(&connection)) {
                return;
            }
            if self.dial(&Target::from(&peer)).await.is_err() {
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }

    /// Whether the other side knows this peer by an earlier incarnation.
    fn is_outdated(&self, connection: &Connection) -> bool {
        connection.own_incarnation() < lock(&self.hello).incarnation
    }
}

/// The address that the system would send from. Nothing is sent.
fn source_towards(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified()).then_some(source)
}

fn bind_socket(listen: SocketAddr, settings: &TransportSettings) -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind(listen)?;
    // The system caps these sizes silently; a smaller buffer is slower, but not wrong.
    let options = socket2::SockRef::from(&socket);
    let _ = options.set_recv_buffer_size(settings.socket_buffer_bytes);
    let _ = options.set_send_buffer_size(settings.socket_buffer_bytes);
    Ok(socket)
}

/// Addresses of other networks that no machine has (RFC 5737, RFC 3849).
const ELSEWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
/// The most dials to a peer that knows this one by an earlier incarnation, and the pauses after failed ones: for about a
/// minute.
const GREETINGS_MAX: u32 = 8;
const GREETING_BACKOFF: Backoff = Backoff::doubling(Duration::from_millis(250), Duration::from_secs(32));
/// The streams, datagrams and reports that wait for their reader.
const INCOMING_MAX: usize = 1_024;
/// The rate of requests on one connection. Further requests wait at the other side; an honest peer that stores small
/// files sends some hundreds a second.
const STREAMS: Rate = Rate { burst: 1_000.0, per_second: 1_000.0 };
/// The rate of datagrams on one connection. At the shortest interval a neighbour sends 40 a second, pings and pongs.
const DATAGRAMS: Rate = Rate { burst: 1_000.0, per_second: 500.0 };
/// The number of surplus datagrams that make one fault.
const FLOODED_PER_FAULT: u64 = 256;
const GREETINGS_AT_ONCE_MAX: usize = 16;
const CLOSE_MAX: Duration = Duration::from_millis(500);
