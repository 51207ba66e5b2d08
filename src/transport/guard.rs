//! Limits on incoming handshakes, and the cost of misbehaviour, for each address and each peer.
//!
//! Addresses pay for handshakes that fail; peers, known by their certificates, pay for their faults. An address without
//! credit is not locked out, since honest neighbours may come from it: it has to prove itself, and its handshakes are
//! heard in turn (`turns.rs`). A peer without credit is shunned for a while: its connections are closed, with the
//! reason, and new ones are closed right after their handshake. A peer that made one mistake pays nothing that it would
//! notice; a shunned peer comes back by itself.
//!
//! No address pays for another: packets from an address that did not answer from there cost that address no more than a
//! proof. Both tables are bounded; entries with nothing against them are forgotten first.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bucket::{Bucket, Rate};
use super::connection::Connection;
use super::counters::TransportCounters;
use super::lock;
use super::settings::{HANDSHAKES_MAX, TransportSettings};
use super::stream_error::close_code;
use super::turns::Turns;
use crate::backoff::Backoff;
use crate::id::Position;
use crate::wire::Fault;

/// The limits of one transport, and the part of them that is used.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) counters: Arc<TransportCounters>,
    faults: FaultListener,
    sources: Mutex<HashMap<Source, Credit>>,
    accounts: Mutex<HashMap<Position, Account>>,
    shun_min: Duration,
    shun_max: Duration,
}

/// The part of the program that is told of the faults of peers. The guard does not know it: its streams report to the
/// guard.
struct FaultListener(Box<dyn Fn(Position, Fault) + Send + Sync>);

impl fmt::Debug for FaultListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultListener")
    }
}

/// The answer to a source that wants to do a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Knock {
    /// Accept the handshake.
    Open,
    /// Ask the address to prove itself first: one more round trip.
    Prove,
    /// Hear the handshake in turn, with the others from that address.
    InTurn,
    /// Refuse, with the reason.
    Closed(&'static str),
}

/// An IPv4 address, or an IPv6 network of 64 bits: as much as one stranger can have without effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Source([u8; 8]);

/// The state of one address.
#[derive(Debug)]
struct Credit {
    failures: Bucket,
    /// Failures that another host may have caused by forging this address.
    unverified_failures: Bucket,
    under_way: usize,
    /// The handshakes under way from known ports, which have places of their own.
    known_under_way: usize,
    /// The ports from which peers of the ring came; the latest last.
    known: Vec<u16>,
    turns: Turns,
}

/// The state of one peer.
#[derive(Debug)]
struct Account {
    /// All connections to the peer, in use or about to end, the oldest first.
    connections: Vec<Connection>,
    hellos: Bucket,
    faults: Bucket,
    shun: Option<Shun>,
    used: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Shun {
    until: Instant,
    /// How long it is shunned the next time, if that is soon.
    lengths: Backoff,
}

/// A handshake under way, while this value lives.
#[derive(Debug)]
pub(super) struct Handshake {
    guard: Arc<Guard>,
    from: SocketAddr,
    known: bool,
    proven: bool,
    in_turn: bool,
}

impl Guard {
    /// No address and no peer has anything against it yet. Each fault of a peer goes to `on_fault`, which must not wait.
    pub(super) fn new(
        counters: Arc<TransportCounters>,
        on_fault: impl Fn(Position, Fault) + Send + Sync + 'static,
        settings: &TransportSettings,
    ) -> Guard {
        let (sources, accounts) = (Mutex::default(), Mutex::default());
        let faults = FaultListener(Box::new(on_fault));
        let TransportSettings { shun_min, shun_max, .. } = *settings;
        Guard { counters, faults, sources, accounts, shun_min, shun_max }
    }

    /// Decides about a source that wants to do a handshake while `free` places are left. Nothing is paid yet.
    pub(super) fn knock(&self, from: SocketAddr, proven: bool, free: usize) -> Knock {
        let now = Instant::now();
        let share = share_of(free);
        let mut sources = lock(&self.sources);
        // A source that only knocks is not recorded.
        let Some(credit) = sources.get_mut(&Source::of(from.ip())) else {
            return if share > 0 { Knock::Open } else { Knock::Closed(CROWDED) };
        };
        let left = credit.failures.left(now);
        let pressed = left.min(credit.unverified_failures.left(now)) < 0.5 || credit.under_way >= share / 2;
        if free > 0 && credit.is_known(from.port()) {
            return if pressed && !proven { Knock::Prove } else { Knock::Open };
        }
        if pressed && !proven {
            Knock::Prove
        } else if left > 0.0 && credit.under_way < share {
            Knock::Open
        } else if left == 0.0 && credit.turns.has_just_failed(from.port(), now) {
            Knock::Closed(FAILED)
        } else {
            Knock::InTurn
        }
    }

    /// Changes the line of this address.
    pub(super) fn with_turns<T>(&self, from: SocketAddr, change: impl FnOnce(&mut Turns, Instant) -> T) -> T {
        self.with_credit(from, |credit, now| change(&mut credit.turns, now))
    }

    /// Begins a handshake; says whether its address has proven itself, and whether it waited for its turn.
    pub(super) fn begin(self: &Arc<Self>, from: SocketAddr, proven: bool, in_turn: bool) -> Handshake {
        let known = self.with_credit(from, |credit, _| {
            let known = credit.is_known(from.port());
            if known {
                credit.known_under_way += 1;
            } else {
                credit.under_way += 1;
            }
            known
        });
        Handshake { guard: self.clone(), from, known, proven, in_turn }
    }

    /// Notes that a peer of this ring has come from this port: it is let in even if its neighbours behind the same
    /// address fail.
    pub(super) fn succeeded(&self, from: SocketAddr) {
        self.with_credit(from, |credit, _| {
            credit.known.retain(|port| *port != from.port());
            if credit.known.len() >= KNOWN_PORTS_MAX {
                credit.known.remove(0);
            }
            credit.known.push(from.port());
        });
    }

    /// Notes that a handshake from this address failed.
    fn failed(&self, from: SocketAddr) {
        self.with_credit(from, |credit, now| {
            credit.failures.take(now);
            credit.known.retain(|port| *port != from.port());
            credit.turns.failed(from.port(), now);
        });
    }

    /// How much longer a peer is shunned, if it is.
    pub(super) fn shunned(&self, position: &Position) -> Option<Duration> {
        let shun = lock(&self.accounts).get(position)?.shun?;
        Some(shun.until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// Records a new connection; if its peer has too many, the oldest one is closed.
    ///
    /// # Errors
    /// The reason why the new connection is closed instead.
    pub(super) fn enter(&self, connection: &Connection, dialled_here: bool) -> Result<(), &'static str> {
        let position = connection.peer().position;
        let mut churns = false;
        let surplus = {
            let mut accounts = lock(&self.accounts);
            let (account, now) = account_of(&mut accounts, position);
            if account.shun.is_some_and(|shun| shun.until > now) {
                return Err(SHUNNED);
            }
            if !dialled_here && !account.hellos.take(now) {
                churns = true;
            }
            account.connections.push(connection.clone());
            let of_key = |c: &&Connection| c.peer().key == connection.peer().key;
            let surplus = account.connections.iter().filter(of_key).count() > CONNECTIONS_PER_PEER_MAX;
            let oldest = account.connections.iter().position(|c| of_key(&c)).filter(|_| surplus);
            oldest.map(|oldest| account.connections.remove(oldest))
        };
        if let Some(oldest) = surplus {
            self.counters.count_surplus();
            oldest.quic().close(close_code::SUPERSEDED, b"too many connections");
        }
        if churns {
            self.fault(&position, Fault::Reconnecting);
        }
        Ok(())
    }

    /// All connections, in use or about to end.
    pub(super) fn connections(&self) -> Vec<Connection> {
        lock(&self.accounts).values().flat_map(|account| account.connections.clone()).collect()
    }

    /// Notes that a connection has ended.
    pub(super) fn leave(&self, connection: &Connection) {
        let mut accounts = lock(&self.accounts);
        let (account, _) = account_of(&mut accounts, connection.peer().position);
        account.connections.retain(|other| !other.is_same(connection));
    }

    /// Records a fault of a peer. After too many faults all its connections are closed.
    pub(super) fn fault(&self, position: &Position, fault: Fault) {
        let ended = {
            let mut accounts = lock(&self.accounts);
            let (account, now) = account_of(&mut accounts, *position);
            if account.faults.take(now) {
                Vec::new()
            } else {
                account.shun(now, self.shun_min, self.shun_max);
                // Connections that end now may still have messages on their way; these do not count again.
                account.faults = Bucket::full(FAULTS, now);
                std::mem::take(&mut account.connections)
            }
        };
        (self.faults.0)(*position, fault);
        if ended.is_empty() {
            return;
        }
        self.counters.count_shunned();
        let seconds = self.shunned(position).unwrap_or_default().as_secs_f64().ceil();
        let reason = format!("{fault}; come back in {seconds} s");
        for connection in ended {
            self.failed(connection.quic().remote_address());
            connection.quic().close(close_code::MISBEHAVED, reason.as_bytes());
        }
    }

    fn with_credit<T>(&self, from: SocketAddr, change: impl FnOnce(&mut Credit, Instant) -> T) -> T {
        let now = Instant::now();
        let source = Source::of(from.ip());
        let mut sources = lock(&self.sources);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            sources.retain(|_, credit| credit.is_busy() || credit.failures.left(now) < 1.0);
            if sources.len() >= SOURCES_MAX {
                // All of them failed lately: the address with the most credit left is forgotten.
                let best = sources
                    .iter_mut()
                    .filter(|(_, credit)| !credit.is_busy())
                    .map(|(source, credit)| (*source, credit.failures.left(now)))
                    .max_by(|(_, a), (_, b)| a.total_cmp(b));
                best.map(|(source, _)| sources.remove(&source));
            }
        }
        let credit = sources.entry(source).or_insert_with(|| Credit {
            failures: Bucket::full(FAILURES, now),
            unverified_failures: Bucket::full(FAILURES, now),
            under_way: 0,
            known_under_way: 0,
            known: Vec::new(),
            turns: Turns::new(now),
        });
        change(credit, now)
    }
}

impl Credit {
    /// Whether a peer came from this port, and one of the places that are kept for such ports is free.
    fn is_known(&self, port: u16) -> bool {
        self.known_under_way < KNOWN_PER_SOURCE_MAX && self.known.contains(&port)
    }

    fn is_busy(&self) -> bool {
        self.under_way > 0 || self.known_under_way > 0 || !self.turns.is_empty()
    }
}

impl Account {
    /// Shuns the peer for the shortest time, or twice as long as the last time if that was not long ago.
    fn shun(&mut self, now: Instant, min: Duration, max: Duration) {
        let again = self.shun.filter(|last| now.saturating_duration_since(last.until) < FORGIVEN_AFTER);
        let mut lengths = again.map_or(Backoff::doubling(min, max), |last| last.lengths);
        self.shun = Some(Shun { until: now + lengths.next(), lengths });
    }

    fn is_worth_keeping(&self, now: Instant) -> bool {
        !self.connections.is_empty() || self.shun.is_some_and(|shun| shun.until + FORGIVEN_AFTER > now)
    }
}

impl Handshake {
    /// Notes that the other side has answered from its claimed address.
    pub(super) fn prove(&mut self) {
        self.proven = true;
    }

    /// Notes that the handshake led to a connection with a peer of this ring.
    pub(super) fn succeeded(&self) {
        self.succeeded_as_client();
        self.guard.succeeded(self.from);
    }

    /// Notes that the handshake led to a connection with a client. Its port is not remembered: the next client comes
    /// from another port, and a loop of commands would push out the ports of peers.
    pub(super) fn succeeded_as_client(&self) {
        if self.in_turn {
            self.guard.with_turns(self.from, |turns, _| turns.succeeded());
        }
    }

    /// Notes that the handshake failed by the other side's fault. An unproven address pays nothing, since another may
    /// forge it; it will have to prove itself.
    pub(super) fn failed(&self) {
        if self.proven {
            self.guard.failed(self.from);
        } else {
            self.guard.with_credit(self.from, |credit, now| credit.unverified_failures.take(now));
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.guard.with_credit(self.from, |credit, _| {
            let under_way = if self.known { &mut credit.known_under_way } else { &mut credit.under_way };
            *under_way = under_way.saturating_sub(1);
        });
    }
}

impl Source {
    fn of(address: IpAddr) -> Source {
        let mut network = [0; 8];
        match address.to_canonical() {
            // The other values of these eight bytes are no IPv6 network in use: ::/8 is reserved.
            IpAddr::V4(v4) => network[4..].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) if v6.is_loopback() => network[7] = 1,
            IpAddr::V6(v6) => network.copy_from_slice(&v6.octets()[..8]),
        }
        Source(network)
    }
}

/// The most places for handshakes that one address may have: a quarter of the free ones, so that neither one address
/// nor a few together keep others out. Some places are kept for known ports.
pub(super) fn share_of(free: usize) -> usize {
    free.saturating_sub(KNOWN_PLACES).div_ceil(4)
}

fn account_of(accounts: &mut HashMap<Position, Account>, position: Position) -> (&mut Account, Instant) {
    let now = Instant::now();
    if accounts.len() >= ACCOUNTS_MAX && !accounts.contains_key(&position) {
        accounts.retain(|_, account| account.is_worth_keeping(now));
        if accounts.len() >= ACCOUNTS_MAX {
            let idle = accounts.iter().filter(|(_, account)| account.connections.is_empty());
            let oldest = idle.min_by_key(|(_, account)| account.used).map(|(position, _)| *position);
            oldest.map(|position| accounts.remove(&position));
        }
    }
    let account = accounts.entry(position).or_insert_with(|| Account {
        connections: Vec::new(),
        hellos: Bucket::full(HELLOS, now),
        faults: Bucket::full(FAULTS, now),
        shun: None,
        used: now,
    });
    account.used = now;
    (account, now)
}

/// The reasons for which a handshake is not heard.
pub(super) const CROWDED: &str = "too many handshakes are under way";
pub(super) const FAILED: &str = "too many handshakes from there failed";
/// The reason that a shunned peer is given when it comes again.
pub(super) const SHUNNED: &str = "it misbehaved, and is not let in for a while";

/// The handshakes of one address that may fail before they are heard in turn. A whole classroom behind one address with
/// wrong certificates has 32 tries at once.
pub(super) const FAILURES: Rate = Rate { burst: 32.0, per_second: 2.0 };
/// The most handshakes of one address under way at once, while there are no others.
#[cfg(test)]
pub(super) const HANDSHAKES_PER_SOURCE_MAX: usize = (HANDSHAKES_MAX - KNOWN_PLACES) / 4;
/// The places for handshakes from known ports, and the most of them that one address takes.
const KNOWN_PLACES: usize = HANDSHAKES_MAX / 8;
const KNOWN_PER_SOURCE_MAX: usize = KNOWN_PLACES / 2;
/// The most connections of one peer at once. One is used; a second and third belong to dials that crossed and to ending
/// incarnations, whose exchanges go on for a while.
pub(super) const CONNECTIONS_PER_PEER_MAX: usize = 4;
/// The rate of new connections of one peer. It needs one, and another for each change of its incarnation.
pub(super) const HELLOS: Rate = Rate { burst: 32.0, per_second: 1.0 };
/// The rate of faults that a peer may make before it is shunned.
pub(super) const FAULTS: Rate = Rate { burst: 16.0, per_second: 0.1 };
/// A peer that was not shunned for this long starts again at the shortest time.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);
/// The most addresses that are remembered, ports of each, and peers.
const SOURCES_MAX: usize = 4_096;
const KNOWN_PORTS_MAX: usize = 256;
const ACCOUNTS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Arc<Guard> {
        Arc::new(Guard::new(Arc::default(), |_, _| {}, &TransportSettings::default()))
    }

    fn from(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    /// Lets handshakes from an address fail until its budget is empty.
    fn exhaust(guard: &Arc<Guard>, address: SocketAddr) {
        for _ in 0..FAILURES.burst as usize + 1 {
            guard.begin(address, true, false).failed();
        }
    }

    /// Knocks while all places are free.
    fn knock(guard: &Guard, from: SocketAddr, proven: bool) -> Knock {
        guard.knock(from, proven, HANDSHAKES_MAX)
    }

    #[test]
    fn an_address_pays_for_what_failed_and_its_neighbours_do_not() {
        let guard = guard();
        let (bad, other, known) = (from("10.0.0.1:5"), from("10.0.0.2:5"), from("10.0.0.1:6"));
        guard.begin(known, true, false).succeeded();
        exhaust(&guard, bad);
        assert!(matches!(knock(&guard, bad, true), Knock::Closed(_)), "it has just failed");
        assert!(matches!(knock(&guard, from("[::ffff:10.0.0.1]:5"), true), Knock::Closed(_)), "the same one");
        assert_eq!(knock(&guard, other, false), Knock::Open);
        assert_eq!(knock(&guard, known, true), Knock::Open, "a peer of this ring came from there");
        assert_eq!(knock(&guard, known, false), Knock::Prove, "or somebody says so");
        let stranger = from("10.0.0.1:7");
        assert_eq!(knock(&guard, stranger, false), Knock::Prove, "nobody pays for a forger's trouble");
        assert_eq!(knock(&guard, stranger, true), Knock::InTurn, "slowed, not locked out");
    }

    #[test]
    fn an_address_that_proved_nothing_pays_nothing_but_a_proof() {
        let guard = guard();
        let victim = from("10.0.0.1:5");
        guard.begin(victim, true, false).succeeded();
        for port in 5..1_000 {
            guard.begin(from(&format!("10.0.0.1:{port}")), false, false).failed();
        }
        assert_eq!(knock(&guard, victim, true), Knock::Open);
        assert_eq!(knock(&guard, from("10.0.0.1:1001"), true), Knock::Open);
        assert_eq!(
            knock(&guard, victim, false),
            Knock::Prove,
            "handshakes without a proof cost us something"
        );
        assert!(
            lock(&guard.sources)[&Source::of(victim.ip())].known.contains(&5),
            "and it is known as before"
        );
    }

    #[test]
    fn ports_of_clients_do_not_push_out_those_of_peers() {
        let guard = guard();
        let peer = from("127.0.0.1:4");
        guard.begin(peer, true, false).succeeded();
        for port in 10_000..10_000 + 2 * KNOWN_PORTS_MAX {
            guard.begin(from(&format!("127.0.0.1:{port}")), true, false).succeeded_as_client();
        }
        exhaust(&guard, from("127.0.0.1:5"));
        assert_eq!(knock(&guard, peer, true), Knock::Open);
        assert_eq!(knock(&guard, from("127.0.0.1:10001"), true), Knock::InTurn);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let guard = guard();
        exhaust(&guard, from("[2001:db8:1:2::1]:5"));
        assert_eq!(knock(&guard, from("[2001:db8:1:2:ffff::9]:7"), true), Knock::InTurn);
        assert_eq!(knock(&guard, from("[2001:db8:1:3::1]:5"), false), Knock::Open);
    }

    #[test]
    fn handshakes_under_way_are_bounded_for_each_address_and_for_many() {
        let guard = guard();
        let known = from("10.0.0.1:4");
        guard.succeeded(known);
        let mut under_way: Vec<Handshake> = Vec::new();
        for host in 1..=64 {
            let address = from(&format!("10.0.0.{host}:5"));
            let before = under_way.len();
            while guard.knock(address, true, HANDSHAKES_MAX - under_way.len()) == Knock::Open {
                under_way.push(guard.begin(address, true, false));
            }
            let of_one = under_way.len() - before;
            assert!(of_one <= HANDSHAKES_PER_SOURCE_MAX && (of_one > 0 || host > 16), "{host} got {of_one}");
        }
        assert_eq!(under_way.len(), HANDSHAKES_MAX - KNOWN_PLACES, "all strangers together");
        let mut let_in = 0;
        while guard.knock(known, true, HANDSHAKES_MAX - under_way.len()) == Knock::Open {
            under_way.push(guard.begin(known, true, false));
            let_in += 1;
        }
        assert_eq!(let_in, KNOWN_PER_SOURCE_MAX, "of a port that is known");
        drop(under_way);
        assert_eq!(knock(&guard, known, false), Knock::Open);
    }

    #[test]
    fn the_tables_are_bounded_whoever_comes() {
        let guard = guard();
        for i in 0..2 * SOURCES_MAX as u32 {
            let address = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + i), 5));
            guard.begin(address, true, false).failed();
            guard.fault(&Position::of_public_key(&i.to_be_bytes()), Fault::Malformed);
        }
        assert!(lock(&guard.sources).len() <= SOURCES_MAX);
        assert!(lock(&guard.accounts).len() <= ACCOUNTS_MAX);
    }

    #[test]
    fn a_peer_that_goes_on_is_shunned_for_longer_up_to_a_bound() {
        let guard = guard();
        let peer = Position::of_number(5);
        let mut last = Duration::ZERO;
        for round in 0..12 {
            for _ in 0..FAULTS.burst as usize + 1 {
                guard.fault(&peer, Fault::Malformed);
            }
            let left = guard.shunned(&peer).expect("shunned");
            assert!(
                left > last || left > guard.shun_max.mul_f64(0.9),
                "round {round}: {left:?} after {last:?}"
            );
            assert!(left <= guard.shun_max);
            last = left;
        }
        assert_eq!(guard.shunned(&Position::of_number(6)), None);
    }
}
